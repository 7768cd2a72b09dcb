// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Results of the application's members.

use super::{Lab, pairs, support};
use virtualpc::virtual_pc::enums::FloppyImageType;
use virtualpc::virtual_pc::vmc::Value;

#[test]
fn plain_properties() {
    let lab = Lab::new();
    let app = &lab.app;
    assert!(app.suggested_maximum_memory_per_vm() >= app.minimum_memory_per_vm());
    pairs!(S_OK:
        "IVMVirtualPC::Name" => Ok(app.name()),
        "IVMVirtualPC::Version" => Ok(app.version()),
        "IVMVirtualPC::UpTime" => Ok(app.up_time()),
        "IVMVirtualPC::HostInfo" => Ok(app.host_info()),
        "IVMVirtualPC::MinimumMemoryPerVM" => Ok(app.minimum_memory_per_vm()),
        "IVMVirtualPC::MaximumMemoryPerVM" => Ok(app.maximum_memory_per_vm()),
        "IVMVirtualPC::SuggestedMaximumMemoryPerVM" => Ok(app.suggested_maximum_memory_per_vm()),
        "IVMVirtualPC::MaximumFloppyDrivesPerVM" => Ok(app.maximum_floppy_drives_per_vm()),
        "IVMVirtualPC::MaximumNumberOfIDEBuses" => Ok(app.maximum_number_of_ide_buses()),
        "IVMVirtualPC::MaximumSerialPortsPerVM" => Ok(app.maximum_serial_ports_per_vm()),
        "IVMVirtualPC::MaximumParallelPortsPerVM" => Ok(app.maximum_parallel_ports_per_vm()),
        "IVMVirtualPC::MaximumNetworkAdaptersPerVM" => Ok(app.maximum_network_adapters_per_vm()),
        "IVMVirtualPC::Tasks" => Ok(app.tasks()),
        "IVMVirtualPC::VirtualMachines" => app.virtual_machines(),
    );
    assert_eq!(app.virtual_machines().unwrap().count(), 0);
}

#[test]
fn machines_are_made_found_and_forgotten() {
    let lab = Lab::new();
    let app = &lab.app;
    let folder = lab.text("machines");
    let create = |name: &str| app.create_virtual_machine(name, &folder);
    let in_folder = |path: &str| app.create_virtual_machine("x", path);
    pairs!(S_OK:
        "IVMVirtualPC::CreateVirtualMachine" => create("Windows XP"),
        "IVMVirtualPC::CreateVirtualMachine" => app.create_virtual_machine("", &lab.text("machines/Other.vmc")),
    );
    std::fs::write(lab.path("machines/taken.vmc"), "").unwrap();
    std::fs::write(lab.path("file"), "").unwrap();
    pairs!(VM_E_CONFIG_NO_NAME: "IVMVirtualPC::CreateVirtualMachine" => create("  "));
    pairs!(VM_E_CONFIG_NAME_TOO_LONG: "IVMVirtualPC::CreateVirtualMachine" => create(&"x".repeat(81)));
    pairs!(VM_E_CONFIG_NAME_INVALID_CHAR: "IVMVirtualPC::CreateVirtualMachine" => create("a:b"));
    pairs!(VM_E_CONFIG_DUPLICATE_NAME: "IVMVirtualPC::CreateVirtualMachine" => create("WINDOWS xp"));
    pairs!(ERROR_ALREADY_EXISTS: "IVMVirtualPC::CreateVirtualMachine" => create("taken"));
    pairs!(ERROR_PATH_NOT_FOUND: "IVMVirtualPC::CreateVirtualMachine" => in_folder(&lab.text("file/folder")));
    pairs!(ERROR_BAD_PATHNAME: "IVMVirtualPC::CreateVirtualMachine" => in_folder("machines"));
    pairs!(ERROR_INVALID_NAME: "IVMVirtualPC::CreateVirtualMachine" => in_folder("/a*b"));
    pairs!(ERROR_BUFFER_OVERFLOW: "IVMVirtualPC::CreateVirtualMachine" => in_folder(&format!("/{}", "x".repeat(256))));
    pairs!(S_OK:
        "IVMVirtualPC::FindVirtualMachine" => app.find_virtual_machine("windows xp"),
        "IVMVirtualMachineCollection::Count" => app.virtual_machines().map(|all| assert_eq!(all.count(), 2)),
        "IVMVirtualMachineCollection::Item" => app.virtual_machines().and_then(|all| {
            assert_eq!(all.item(1)?.name()?, "Other");
            assert_eq!(all.item(2)?.name()?, "Windows XP");
            Ok(())
        }),
        "IVMVirtualMachineCollection::_NewEnum" => app.virtual_machines().map(|all| assert_eq!(all.into_iter().count(), 2)),
    );
    pairs!(DISP_E_BADINDEX:
        "IVMVirtualMachineCollection::Item" => app.virtual_machines().unwrap().item(0),
        "IVMVirtualMachineCollection::Item" => app.virtual_machines().unwrap().item(3),
        "IVMVirtualMachineCollection::Item" => app.virtual_machines().unwrap().item(-1),
    );
    pairs!(S_FALSE: "IVMVirtualPC::FindVirtualMachine" => app.find_virtual_machine("Windows"));

    let machine = app.find_virtual_machine("Windows XP").unwrap();
    pairs!(S_OK: "IVMVirtualPC::UnregisterVirtualMachine" => app.unregister_virtual_machine(&machine));
    assert!(machine.path().exists());
    pairs!(S_FALSE: "IVMVirtualPC::DeleteVirtualMachine" => app.delete_virtual_machine(&machine));
    let register = |name: &str, path: &str| app.register_virtual_machine(name, path);
    pairs!(ERROR_FILE_NOT_FOUND: "IVMVirtualPC::RegisterVirtualMachine" => register("nothing", &folder));
    pairs!(ERROR_PATH_NOT_FOUND: "IVMVirtualPC::RegisterVirtualMachine" => register("nothing", &lab.text("nowhere")));
    pairs!(ERROR_INVALID_NAME: "IVMVirtualPC::RegisterVirtualMachine" => register("a", "/a?"));
    pairs!(ERROR_BAD_PATHNAME: "IVMVirtualPC::RegisterVirtualMachine" => register("a", ""));
    pairs!(ERROR_BUFFER_OVERFLOW: "IVMVirtualPC::RegisterVirtualMachine" => register("a", &format!("/{}", "x".repeat(300))));
    pairs!(VM_E_CONFIG_NAME_TOO_LONG: "IVMVirtualPC::RegisterVirtualMachine" => register(&"x".repeat(81), &folder));
    pairs!(VM_E_CONFIG_NAME_INVALID_CHAR: "IVMVirtualPC::RegisterVirtualMachine" => register("a|b", &folder));
    pairs!(VM_E_CONFIG_DUPLICATE_NAME: "IVMVirtualPC::RegisterVirtualMachine" => register("other", &folder).or_else(|error| {
        // The file's own name is another one here; the name decides.
        std::fs::copy(lab.path("machines/Other.vmc"), lab.path("machines/other.vmc")).unwrap();
        let _ = error;
        register("other", &folder)
    }));
    pairs!(S_OK: "IVMVirtualPC::RegisterVirtualMachine" => register("Windows XP.vmc", &folder));
    pairs!(VM_E_CONFIG_DUPLICATE_NAME: "IVMVirtualPC::RegisterVirtualMachine" => register("", &lab.text("machines/Windows XP.vmc")));
    // The same file under another name.
    app.find_virtual_machine("Windows XP")
        .unwrap()
        .set_name("Renamed")
        .unwrap();
    pairs!(ERROR_ALREADY_EXISTS: "IVMVirtualPC::RegisterVirtualMachine" => register("Windows XP", &folder));
    assert!(
        register("taken", &folder).is_err(),
        "an empty file is no configuration"
    );
    pairs!(S_OK: "IVMVirtualPC::DeleteVirtualMachine" => app.delete_virtual_machine(&machine));
    assert!(!machine.path().exists());
}

#[test]
fn a_running_machine_is_not_forgotten() {
    let lab = Lab::new();
    let machine = lab.guest("m", &support::firmware("counter"));
    lab.start(&machine);
    pairs!(VM_E_VM_RUNNING:
        "IVMVirtualPC::DeleteVirtualMachine" => lab.app.delete_virtual_machine(&machine),
        "IVMVirtualPC::UnregisterVirtualMachine" => lab.app.unregister_virtual_machine(&machine),
    );
}

#[test]
fn options() {
    let lab = Lab::new();
    let app = &lab.app;
    let key = "customer/golf[@id=1]/colour";
    pairs!(VM_E_PREF_NOT_FOUND:
        "IVMVirtualPC::GetConfigurationValue" => app.configuration_value(key),
        "IVMVirtualPC::GetConfigurationValue" => app.configuration_value(""),
        "IVMVirtualPC::RemoveConfigurationValue" => app.remove_configuration_value(key),
        "IVMVirtualPC::SearchPaths" => app.search_paths(),
    );
    pairs!(E_INVALIDARG:
        "IVMVirtualPC::SetConfigurationValue" => app.set_configuration_value("", &Value::Integer(1)),
        "IVMVirtualPC::SetConfigurationValue" => app.set_configuration_value("a", &Value::String("\u{1}".into())),
        "IVMVirtualPC::RemoveConfigurationValue" => app.remove_configuration_value("a//b"),
    );
    pairs!(S_OK:
        "IVMVirtualPC::SetConfigurationValue" => app.set_configuration_value(key, &Value::Bytes(vec![1, 2])),
        "IVMVirtualPC::GetConfigurationValue" => app.configuration_value(key),
    );
    assert_eq!(app.configuration_value(key).unwrap(), Value::Bytes(vec![1, 2]));
    pairs!(S_OK: "IVMVirtualPC::RemoveConfigurationValue" => app.remove_configuration_value(key));
}

#[test]
fn folders_and_files() {
    let lab = Lab::new();
    let app = &lab.app;
    let (here, file) = (lab.text("here"), lab.file("file.iso", 1));
    let long = format!("/{}", "x".repeat(300));
    std::fs::create_dir(&here).unwrap();
    pairs!(S_OK:
        "IVMVirtualPC::DefaultVMConfigurationPath" => app.set_default_vm_configuration_path(&here),
        "IVMVirtualPC::SearchPaths" => app.set_search_paths(&[&here, "/"]),
        "IVMVirtualPC::SearchPaths" => app.search_paths(),
        "IVMVirtualPC::GetDVDFiles" => app.dvd_files(&[lab.folder.path().to_str().unwrap()]),
        "IVMVirtualPC::GetFloppyDiskFiles" => app.floppy_disk_files(&[]),
        "IVMVirtualPC::GetHardDiskFiles" => app.hard_disk_files(&[]),
    );
    assert_eq!(
        text_of(app.default_vm_configuration_path()),
        std::slice::from_ref(&here)
    );
    pairs!(ERROR_FILE_NOT_FOUND:
        "IVMVirtualPC::DefaultVMConfigurationPath" => app.set_default_vm_configuration_path(&lab.text("none")),
        "IVMVirtualPC::SearchPaths" => app.set_search_paths(&[&here, &lab.text("none")]),
    );
    pairs!(ERROR_PATH_NOT_FOUND:
        "IVMVirtualPC::DefaultVMConfigurationPath" => app.set_default_vm_configuration_path(&lab.text("none/none")),
        "IVMVirtualPC::DefaultVMConfigurationPath" => app.set_default_vm_configuration_path(&file),
        "IVMVirtualPC::SearchPaths" => app.set_search_paths(&[&lab.text("none/none")]),
    );
    pairs!(ERROR_INVALID_NAME:
        "IVMVirtualPC::DefaultVMConfigurationPath" => app.set_default_vm_configuration_path("/a<b"),
        "IVMVirtualPC::SearchPaths" => app.set_search_paths(&["/a<b"]),
    );
    pairs!(ERROR_BAD_PATHNAME:
        "IVMVirtualPC::DefaultVMConfigurationPath" => app.set_default_vm_configuration_path("here"),
        "IVMVirtualPC::SearchPaths" => app.set_search_paths(&["here"]),
    );
    pairs!(ERROR_BUFFER_OVERFLOW:
        "IVMVirtualPC::DefaultVMConfigurationPath" => app.set_default_vm_configuration_path(&long),
        "IVMVirtualPC::SearchPaths" => app.set_search_paths(&[&long]),
    );
    pairs!(E_INVALIDARG:
        "IVMVirtualPC::GetDVDFiles" => app.dvd_files(&["here"]),
        "IVMVirtualPC::GetFloppyDiskFiles" => app.floppy_disk_files(&["here"]),
        "IVMVirtualPC::GetHardDiskFiles" => app.hard_disk_files(&[""]),
        "IVMVirtualPC::GetVirtualMachineFiles" => app.virtual_machine_files(&["here"], false),
    );
    let machine = app.create_virtual_machine("m", &here).unwrap();
    pairs!(S_OK: "IVMVirtualPC::GetVirtualMachineFiles" => app.virtual_machine_files(&[], false));
    assert_eq!(app.virtual_machine_files(&[], false).unwrap(), [machine.path()]);
    assert!(app.virtual_machine_files(&[], true).unwrap().is_empty());
}

fn text_of(path: virtualpc::virtual_pc::Result<std::path::PathBuf>) -> Vec<String> {
    path.into_iter()
        .map(|path| path.to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_host() {
    let host = Lab::new().app.host_info();
    assert!(host.logical_processor_count() >= host.physical_processor_count());
    assert!(host.memory() >= host.memory_avail() && host.memory_avail() > 0);
    assert!(host.os_major_version() >= 3, "{}", host.os_version_string());
    pairs!(S_OK:
        "IVMHostInfo::DVDDrives" => Ok(host.dvd_drives()),
        "IVMHostInfo::FloppyDrives" => Ok(host.floppy_drives()),
        "IVMHostInfo::LogicalProcessorCount" => Ok(host.logical_processor_count()),
        "IVMHostInfo::PhysicalProcessorCount" => Ok(host.physical_processor_count()),
        "IVMHostInfo::Memory" => Ok(host.memory()),
        "IVMHostInfo::MemoryTotalString" => Ok(host.memory_total_string()),
        "IVMHostInfo::MemoryAvail" => Ok(host.memory_avail()),
        "IVMHostInfo::MemoryAvailString" => Ok(host.memory_avail_string()),
        "IVMHostInfo::MMX" => Ok(host.mmx()),
        "IVMHostInfo::SSE" => Ok(host.sse()),
        "IVMHostInfo::SSE2" => Ok(assert!(host.sse2())),
        "IVMHostInfo::ThreeDNow" => Ok(host.three_d_now()),
        "IVMHostInfo::NetworkAdapters" => Ok(host.network_adapters()),
        "IVMHostInfo::NetworkAddresses" => Ok(host.network_addresses()),
        "IVMHostInfo::OperatingSystem" => Ok(assert!(!host.operating_system().is_empty())),
        "IVMHostInfo::OSVersionString" => Ok(host.os_version_string()),
        "IVMHostInfo::OSMajorVersion" => Ok(host.os_major_version()),
        "IVMHostInfo::OSMinorVersion" => Ok(host.os_minor_version()),
        "IVMHostInfo::OSServicePackString" => Ok(host.os_service_pack_string()),
        "IVMHostInfo::ParallelPort" => Ok(host.parallel_port()),
        "IVMHostInfo::SerialPorts" => Ok(host.serial_ports()),
        "IVMHostInfo::ProcessorFeaturesString" => Ok(assert!(host.processor_features_string().contains("SSE2"))),
        "IVMHostInfo::ProcessorManufacturerString" => Ok(assert!(!host.processor_manufacturer_string().is_empty())),
        "IVMHostInfo::ProcessorVersionString" => Ok(host.processor_version_string()),
        "IVMHostInfo::ProcessorSpeed" => Ok(host.processor_speed()),
        "IVMHostInfo::ProcessorSpeedString" => Ok(host.processor_speed_string()),
        "IVMHostInfo::UTCTime" => Ok(host.utc_time()),
    );
}

#[test]
fn images_of_diskettes() {
    let lab = Lab::new();
    let create = |path: &str, kind| lab.app.create_floppy_disk_image(path, kind);
    let kind = |path: &str| lab.app.floppy_disk_image_type(path);
    let image = lab.text("new.vfd");
    let long = format!("/{}", "x".repeat(260));
    pairs!(E_INVALIDARG:
        "IVMVirtualPC::CreateFloppyDiskImage" => create(&image, 0),
        "IVMVirtualPC::CreateFloppyDiskImage" => create(&image, 3),
    );
    pairs!(S_OK:
        "IVMVirtualPC::CreateFloppyDiskImage" => create(&image, 2),
        "IVMVirtualPC::CreateFloppyDiskImage" => create(&lab.text("low.vfd"), 1),
        "IVMVirtualPC::GetFloppyDiskImageType" => kind(&image).map(|kind| assert_eq!(kind, FloppyImageType::HighDensity)),
        "IVMVirtualPC::GetFloppyDiskImageType" => kind(&lab.text("low.vfd")).map(|kind| assert_eq!(kind, FloppyImageType::LowDensity)),
        "IVMVirtualPC::GetFloppyDiskImageType" => kind(&lab.file("odd", 7)).map(|kind| assert_eq!(kind, FloppyImageType::Unknown)),
    );
    pairs!(ERROR_ALREADY_EXISTS: "IVMVirtualPC::CreateFloppyDiskImage" => create(&image, 2));
    pairs!(ERROR_FILE_NOT_FOUND: "IVMVirtualPC::GetFloppyDiskImageType" => kind(&lab.text("none")));
    pairs!(ERROR_PATH_NOT_FOUND:
        "IVMVirtualPC::CreateFloppyDiskImage" => create(&lab.text("none/new.vfd"), 1),
        "IVMVirtualPC::GetFloppyDiskImageType" => kind(&lab.text("none/none")),
    );
    pairs!(ERROR_INVALID_NAME:
        "IVMVirtualPC::CreateFloppyDiskImage" => create("/a*", 1),
        "IVMVirtualPC::GetFloppyDiskImageType" => kind("/a*"),
    );
    pairs!(ERROR_BAD_PATHNAME:
        "IVMVirtualPC::CreateFloppyDiskImage" => create("", 1),
        "IVMVirtualPC::GetFloppyDiskImageType" => kind("new.vfd"),
    );
    pairs!(ERROR_BUFFER_OVERFLOW:
        "IVMVirtualPC::CreateFloppyDiskImage" => create(&long, 1),
        "IVMVirtualPC::GetFloppyDiskImageType" => kind(&long),
    );
    // A machine takes it.
    let machine = lab.machine("m");
    machine
        .floppy_drives()
        .unwrap()
        .item(1)
        .unwrap()
        .attach_image(&image)
        .unwrap();
}
