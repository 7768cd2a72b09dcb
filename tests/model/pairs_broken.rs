// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What no member expects: options that are no XML, and folders that are files.

use super::{Lab, pairs};
use virtualpc::virtual_pc::enums::{ShutdownAction, UndoAction};
use virtualpc::virtual_pc::machine::FirmwareString;
use virtualpc::virtual_pc::vmc::Value;

#[test]
fn options_that_cannot_be_read() {
    let lab = Lab::new();
    let app = &lab.app;
    let machine = lab.machine("m");
    let here = lab.folder.path().to_str().unwrap().to_owned();
    let options = lab.path("config/virtualpc/options.xml");
    let good = std::fs::read(&options).unwrap();
    std::fs::write(&options, "<preferences>").unwrap();
    let one = Value::Integer(1);
    pairs!(DISP_E_EXCEPTION:
        "IVMVirtualPC::VirtualMachines" => app.virtual_machines(),
        "IVMVirtualPC::FindVirtualMachine" => app.find_virtual_machine("m"),
        "IVMVirtualPC::CreateVirtualMachine" => app.create_virtual_machine("n", &here),
        "IVMVirtualPC::RegisterVirtualMachine" => app.register_virtual_machine("", machine.path().to_str().unwrap()),
        "IVMVirtualPC::UnregisterVirtualMachine" => app.unregister_virtual_machine(&machine),
        "IVMVirtualPC::DeleteVirtualMachine" => app.delete_virtual_machine(&machine),
        "IVMVirtualPC::DefaultVMConfigurationPath" => app.default_vm_configuration_path(),
        "IVMVirtualPC::SearchPaths" => app.search_paths(),
        "IVMVirtualPC::GetVirtualMachineFiles" => app.virtual_machine_files(&[], true),
        "IVMVirtualPC::GetHardDiskFiles" => app.hard_disk_files(&[]),
        "IVMVirtualPC::GetDVDFiles" => app.dvd_files(&[]),
        "IVMVirtualPC::GetFloppyDiskFiles" => app.floppy_disk_files(&[]),
        "IVMVirtualPC::SetConfigurationValue" => app.set_configuration_value("a", &one),
        "IVMVirtualPC::RemoveConfigurationValue" => app.remove_configuration_value("a"),
        "IVMVirtualMachine::Name" => machine.name(),
    );
    // Nothing was thrown away.
    assert_eq!(std::fs::read(&options).unwrap(), b"<preferences>");
    assert!(machine.path().exists());
    std::fs::write(&options, good).unwrap();
    assert_eq!(machine.name().unwrap(), "m");
}

#[test]
fn a_runtime_folder_that_is_a_file() {
    let lab = Lab::new();
    let machine = lab.machine("m");
    let dvds = machine.dvd_drives().unwrap();
    let floppies = machine.floppy_drives().unwrap();
    let (mut dvd, floppy) = (dvds.item(1).unwrap().clone(), floppies.item(1).unwrap());
    let serial = machine.serial_ports().unwrap();
    let parallel = machine.parallel_ports().unwrap();
    let disk = lab.text("a.vhd");
    vhd::create::dynamic(&disk, 8 << 20, &vhd::CreateOptions::new()).unwrap();
    let mut hd = machine.add_hard_disk_connection(&disk, 0, 0).unwrap();
    std::fs::remove_dir_all(lab.path("run")).unwrap();
    std::fs::write(lab.path("run"), "").unwrap();
    let disc = lab.file("a.iso", 40 << 10);
    let diskette = lab.file("a.img", 1440 << 10);
    let one = Value::Integer(1);
    let before = std::fs::read(machine.path()).unwrap();
    pairs!(DISP_E_EXCEPTION:
        "IVMDVDDrive::AttachImage" => dvd.attach_image(&disc),
        "IVMDVDDrive::ReleaseImage" => dvd.release_image(false),
        "IVMDVDDrive::ReleaseHostDrive" => dvd.release_host_drive(),
        "IVMDVDDrive::SetBusLocation" => dvd.set_bus_location(1, 1),
        "IVMFloppyDrive::AttachImage" => floppy.attach_image(&diskette),
        "IVMFloppyDrive::ReleaseImage" => floppy.release_image(),
        "IVMFloppyDrive::ReleaseHostDrive" => floppy.release_host_drive(),
        "IVMSerialPort::Configure" => serial.item(1).unwrap().configure(3, "", false),
        "IVMParallelPort::Name" => parallel.item(1).unwrap().set_name(""),
        "IVMHardDiskConnection::SetBusLocation" => hd.set_bus_location(1, 1),
        "IVMVirtualMachine::AddDVDROMDrive" => machine.add_dvd_drive(0, 1),
        "IVMVirtualMachine::RemoveDVDROMDrive" => machine.remove_dvd_drive(&dvd),
        "IVMVirtualMachine::AddHardDiskConnection" => machine.add_hard_disk_connection(&disk, 0, 1),
        "IVMVirtualMachine::RemoveHardDiskConnection" => machine.remove_hard_disk_connection(&hd),
        "IVMVirtualMachine::Memory" => machine.set_memory(8),
        "IVMVirtualMachine::Notes" => machine.set_notes("x"),
        "IVMVirtualMachine::BIOSGUID" => machine.set_firmware_string(FirmwareString::BiosGuid, "{FC6B238E-80C0-4599-9F27-E400B691686E}"),
        "IVMVirtualMachine::BIOSSerialNumber" => machine.set_firmware_string(FirmwareString::BiosSerialNumber, "x"),
        "IVMVirtualMachine::BaseBoardSerialNumber" => machine.set_firmware_string(FirmwareString::BaseBoardSerialNumber, "x"),
        "IVMVirtualMachine::ChassisSerialNumber" => machine.set_firmware_string(FirmwareString::ChassisSerialNumber, "x"),
        "IVMVirtualMachine::ChassisAssetTag" => machine.set_firmware_string(FirmwareString::ChassisAssetTag, "x"),
        "IVMVirtualMachine::ShutdownActionOnQuit" => machine.set_shutdown_action_on_quit(ShutdownAction::Save),
        "IVMVirtualMachine::Undoable" => machine.set_undoable(true),
        "IVMVirtualMachine::UndoAction" => machine.set_undo_action(UndoAction::Keep),
        "IVMVirtualMachine::SetConfigurationValue" => machine.set_configuration_value("a", &one),
        "IVMVirtualMachine::RemoveConfigurationValue" => machine.remove_configuration_value("version"),
        "IVMVirtualMachine::SetActivationValue" => machine.set_activation_value("a", &one),
        "IVMVirtualMachine::RemoveActivationValue" => machine.remove_activation_value("a"),
        "IVMVirtualMachine::DiscardSavedState" => machine.discard_saved_state(),
    );
    assert_eq!(std::fs::read(machine.path()).unwrap(), before);
    // The start itself fails, by its task.
    assert_eq!(
        machine.startup().unwrap().finish().unwrap_err().result().name,
        "DISP_E_EXCEPTION"
    );
}
