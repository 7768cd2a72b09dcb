// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Results of a machine's members.

use super::{Lab, begin, pairs, support, text};
use virtualpc::virtual_pc::enums::{MachineState, ShutdownAction, UndoAction};
use virtualpc::virtual_pc::machine::FirmwareString;
use virtualpc::virtual_pc::vmc::Value;

#[test]
fn a_machine_that_is_off() {
    // Its locks are taken and let go in this process.
    let _undisturbed = support::alone();
    let lab = Lab::new();
    let machine = lab.machine("m");
    let long = "x".repeat(33);
    pairs!(S_OK:
        "IVMVirtualMachine::State" => machine.state().map(|state| assert_eq!(state, MachineState::TurnedOff)),
        "IVMVirtualMachine::File" => Ok(machine.path()),
        "IVMVirtualMachine::ConfigID" => machine.config_id().map(|id| assert_eq!(id.len(), 38)),
        "IVMVirtualMachine::Memory" => machine.set_memory(3712),
        "IVMVirtualMachine::Memory" => machine.memory().map(|memory| assert_eq!(memory, 3712)),
        "IVMVirtualMachine::Notes" => machine.set_notes("two\nlines & <more>"),
        "IVMVirtualMachine::Notes" => machine.notes().map(|notes| assert_eq!(notes, "two\nlines & <more>")),
        "IVMVirtualMachine::Name" => machine.set_name("other"),
        "IVMVirtualMachine::Name" => machine.name().map(|name| assert_eq!(name, "other")),
        "IVMVirtualMachine::BIOSGUID" => machine.set_firmware_string(FirmwareString::BiosGuid, "{FC6B238E-80C0-4599-9F27-E400B691686E}"),
        "IVMVirtualMachine::BIOSSerialNumber" => machine.set_firmware_string(FirmwareString::BiosSerialNumber, "1234-5678"),
        "IVMVirtualMachine::BaseBoardSerialNumber" => machine.set_firmware_string(FirmwareString::BaseBoardSerialNumber, "1"),
        "IVMVirtualMachine::ChassisSerialNumber" => machine.set_firmware_string(FirmwareString::ChassisSerialNumber, "2"),
        "IVMVirtualMachine::ChassisAssetTag" => machine.set_firmware_string(FirmwareString::ChassisAssetTag, "3"),
        "IVMVirtualMachine::ChassisAssetTag" => machine.firmware_string(FirmwareString::ChassisAssetTag).map(|tag| assert_eq!(tag, "3")),
        "IVMVirtualMachine::ShutdownActionOnQuit" => machine.set_shutdown_action_on_quit(ShutdownAction::Shutdown),
        "IVMVirtualMachine::ShutdownActionOnQuit" => machine.shutdown_action_on_quit().map(|action| assert_eq!(action, ShutdownAction::Shutdown)),
        "IVMVirtualMachine::Undoable" => machine.set_undoable(true),
        "IVMVirtualMachine::Undoable" => machine.undoable().map(|undoable| assert!(undoable)),
        "IVMVirtualMachine::UndoAction" => machine.set_undo_action(UndoAction::Commit),
        "IVMVirtualMachine::UndoAction" => machine.undo_action().map(|action| assert_eq!(action, UndoAction::Commit)),
        "IVMVirtualMachine::ProcessorSpeed" => machine.processor_speed(),
        "IVMVirtualMachine::HasMMX" => machine.has_mmx(),
        "IVMVirtualMachine::HasSSE" => machine.has_sse(),
        "IVMVirtualMachine::HasSSE2" => machine.has_sse2(),
        "IVMVirtualMachine::Has3DNow" => machine.has_3dnow(),
        "IVMVirtualMachine::Accountant" => machine.accountant(),
        "IVMVirtualMachine::AttachedDriveTypes" => machine.attached_drive_types(),
        "IVMVirtualMachine::DVDROMDrives" => machine.dvd_drives(),
        "IVMVirtualMachine::FloppyDrives" => machine.floppy_drives(),
        "IVMVirtualMachine::HardDiskConnections" => machine.hard_disk_connections(),
        "IVMVirtualMachine::SerialPorts" => machine.serial_ports(),
        "IVMVirtualMachine::ParallelPorts" => machine.parallel_ports(),
        "IVMVirtualMachine::DiscardUndoDisks" => machine.discard_undo_disks(),
        "IVMVirtualMachine::MergeUndoDisks" => machine.merge_undo_disks().and_then(|task| task.finish()),
    );
    pairs!(E_INVALIDARG:
        "IVMVirtualMachine::Memory" => machine.set_memory(3),
        "IVMVirtualMachine::Memory" => machine.set_memory(3713),
        "IVMVirtualMachine::Notes" => machine.set_notes(&"x".repeat(65_537)),
        "IVMVirtualMachine::BIOSGUID" => machine.set_firmware_string(FirmwareString::BiosGuid, "FC6B238E-80C0-4599-9F27-E400B691686E"),
        "IVMVirtualMachine::BIOSSerialNumber" => machine.set_firmware_string(FirmwareString::BiosSerialNumber, ""),
        "IVMVirtualMachine::BaseBoardSerialNumber" => machine.set_firmware_string(FirmwareString::BaseBoardSerialNumber, &long),
        "IVMVirtualMachine::ChassisSerialNumber" => machine.set_firmware_string(FirmwareString::ChassisSerialNumber, "\u{7f}"),
        "IVMVirtualMachine::ChassisAssetTag" => machine.set_firmware_string(FirmwareString::ChassisAssetTag, "ä"),
        "IVMVirtualMachine::Startup2" => machine.startup2(2),
    );
    pairs!(VM_E_CONFIG_NO_NAME: "IVMVirtualMachine::Name" => machine.set_name(""));
    pairs!(VM_E_CONFIG_NAME_TOO_LONG: "IVMVirtualMachine::Name" => machine.set_name(&"x".repeat(81)));
    pairs!(VM_E_CONFIG_NAME_INVALID_CHAR: "IVMVirtualMachine::Name" => machine.set_name("a/b"));
    lab.machine("Second");
    pairs!(VM_E_CONFIG_DUPLICATE_NAME: "IVMVirtualMachine::Name" => machine.set_name("second"));
    pairs!(VM_E_VM_NOT_RUNNING:
        "IVMVirtualMachine::Pause" => machine.pause(),
        "IVMVirtualMachine::Resume" => machine.resume(),
        "IVMVirtualMachine::Reset" => machine.reset(),
        "IVMVirtualMachine::TurnOff" => machine.turn_off(),
        "IVMVirtualMachine::Save" => machine.save(),
    );
    let accountant = machine.accountant().unwrap();
    pairs!(S_FALSE:
        "IVMAccountant::UpTime" => accountant.up_time(),
        "IVMAccountant::CPUUtilization" => accountant.cpu_utilization(),
        "IVMAccountant::NetworkBytesReceived" => accountant.network_bytes_received(),
        "IVMAccountant::NetworkBytesSent" => accountant.network_bytes_sent(),
    );
    pairs!(VM_E_VM_NO_SAVED_STATE:
        "IVMVirtualMachine::SavedStateFilePath" => machine.saved_state_file_path(),
        "IVMVirtualMachine::DiscardSavedState" => machine.discard_saved_state(),
    );
}

#[test]
fn values_of_the_configuration() {
    let lab = Lab::new();
    let machine = lab.machine("m");
    let key = "alpha/bravo[@id=1]/charlie";
    pairs!(E_INVALIDARG:
        "IVMVirtualMachine::GetConfigurationValue" => machine.configuration_value(""),
        "IVMVirtualMachine::SetConfigurationValue" => machine.set_configuration_value("", &Value::Integer(1)),
        "IVMVirtualMachine::SetConfigurationValue" => machine.set_configuration_value("hardware", &Value::Integer(1)),
        "IVMVirtualMachine::RemoveConfigurationValue" => machine.remove_configuration_value(""),
        "IVMVirtualMachine::GetActivationValue" => machine.activation_value(""),
        "IVMVirtualMachine::SetActivationValue" => machine.set_activation_value("", &Value::Integer(1)),
        "IVMVirtualMachine::RemoveActivationValue" => machine.remove_activation_value(""),
    );
    pairs!(VM_E_PREF_NOT_FOUND:
        "IVMVirtualMachine::GetConfigurationValue" => machine.configuration_value(key),
        "IVMVirtualMachine::RemoveConfigurationValue" => machine.remove_configuration_value(key),
        "IVMVirtualMachine::GetActivationValue" => machine.activation_value("hardware/memory/ram_size"),
        "IVMVirtualMachine::SetActivationValue" => machine.set_activation_value(key, &Value::Integer(1)),
        "IVMVirtualMachine::RemoveActivationValue" => machine.remove_activation_value(key),
    );
    pairs!(S_OK:
        "IVMVirtualMachine::SetConfigurationValue" => machine.set_configuration_value(key, &Value::Boolean(true)),
        "IVMVirtualMachine::GetConfigurationValue" => machine.configuration_value(key).map(|value| assert_eq!(value, Value::Boolean(true))),
        "IVMVirtualMachine::RemoveConfigurationValue" => machine.remove_configuration_value(key),
    );
    machine
        .remove_configuration_value("hardware/memory/ram_size")
        .unwrap();
    pairs!(VM_E_PREF_NOT_FOUND: "IVMVirtualMachine::Memory" => machine.memory());
}

#[test]
fn a_machine_that_runs() {
    let lab = Lab::new();
    let machine = lab.guest("m", &support::firmware("counter"));
    let second = lab.machine("second");
    pairs!(S_OK:
        "IVMVirtualMachine::Startup" => begin(|| machine.startup()),
        "IVMVirtualMachine::State" => machine.state().map(|state| assert_eq!(state, MachineState::Running)),
    );
    pairs!(VM_E_VM_RUNNING:
        "IVMVirtualMachine::Startup" => machine.startup(),
        "IVMVirtualMachine::Startup2" => machine.startup2(1),
        "IVMVirtualMachine::MergeUndoDisks" => machine.merge_undo_disks(),
        "IVMVirtualMachine::DiscardSavedState" => machine.discard_saved_state(),
    );
    pairs!(VM_E_PREF_VM_ACTIVE:
        "IVMVirtualMachine::Memory" => machine.set_memory(8),
        "IVMVirtualMachine::Name" => machine.set_name("x"),
        "IVMVirtualMachine::Undoable" => machine.set_undoable(true),
    );
    pairs!(VM_E_VM_RUNNING_OR_SAVED:
        "IVMVirtualMachine::BIOSGUID" => machine.set_firmware_string(FirmwareString::BiosGuid, "x"),
        "IVMVirtualMachine::BIOSSerialNumber" => machine.set_firmware_string(FirmwareString::BiosSerialNumber, "x"),
        "IVMVirtualMachine::BaseBoardSerialNumber" => machine.set_firmware_string(FirmwareString::BaseBoardSerialNumber, "x"),
        "IVMVirtualMachine::ChassisSerialNumber" => machine.set_firmware_string(FirmwareString::ChassisSerialNumber, "x"),
        "IVMVirtualMachine::ChassisAssetTag" => machine.set_firmware_string(FirmwareString::ChassisAssetTag, "x"),
        "IVMVirtualMachine::AddDVDROMDrive" => machine.add_dvd_drive(0, 0),
        "IVMVirtualMachine::RemoveDVDROMDrive" => machine.remove_dvd_drive(machine.dvd_drives().unwrap().item(1).unwrap()),
        "IVMVirtualMachine::AddHardDiskConnection" => machine.add_hard_disk_connection("/x", 0, 0),
        "IVMVirtualMachine::DiscardUndoDisks" => machine.discard_undo_disks(),
        "IVMDVDDrive::SetBusLocation" => machine.dvd_drives().unwrap().item(1).unwrap().clone().set_bus_location(0, 0),
    );
    let accountant = machine.accountant().unwrap();
    // The guest computes without end.
    let used = accountant.cpu_time().unwrap();
    support::wait_for("its processor to run", || {
        (accountant.cpu_time().unwrap() > used).then_some(())
    });
    let key = "settings/undo_drives/default_action";
    pairs!(S_OK:
        "IVMAccountant::UpTime" => accountant.up_time(),
        "IVMAccountant::CPUUtilization" => accountant.cpu_utilization().map(|percent| assert!(percent <= 100)),
        "IVMAccountant::NetworkBytesReceived" => accountant.network_bytes_received(),
        "IVMAccountant::NetworkBytesSent" => accountant.network_bytes_sent(),
        "IVMVirtualMachine::SetActivationValue" => machine.set_activation_value(key, &Value::Integer(0)),
        "IVMVirtualMachine::GetActivationValue" => machine.activation_value(key).map(|value| assert_eq!(value, Value::Integer(0))),
        "IVMVirtualMachine::RemoveActivationValue" => machine.remove_activation_value(key),
        "IVMVirtualMachine::Pause" => machine.pause(),
        "IVMVirtualMachine::State" => machine.state().map(|state| assert_eq!(state, MachineState::Paused)),
    );
    assert_eq!(
        machine.configuration_value(key).unwrap(),
        Value::Integer(1),
        "the run's value is the run's"
    );
    pairs!(E_FAIL: "IVMVirtualMachine::Pause" => machine.pause());
    pairs!(S_OK: "IVMVirtualMachine::Resume" => machine.resume());
    pairs!(E_FAIL: "IVMVirtualMachine::Resume" => machine.resume());
    lab.app
        .set_configuration_value("limits/running_machines", &Value::Integer(1))
        .unwrap();
    pairs!(VM_E_TOO_MANY_VMS:
        "IVMVirtualMachine::Startup" => second.startup(),
        "IVMVirtualMachine::Startup2" => second.startup2(0),
    );
    pairs!(S_OK:
        "IVMVirtualMachine::Reset" => machine.reset().and_then(|task| task.finish()),
        "IVMVirtualMachine::TurnOff" => machine.turn_off().and_then(|task| task.finish()),
        "IVMVirtualMachine::Startup2" => begin(|| machine.startup2(0)),
    );
}

#[test]
fn a_saved_state_that_another_program_made() {
    let lab = Lab::new();
    let machine = lab.machine("m");
    let saved = machine.path().with_extension("vsv");
    std::fs::write(&saved, "state").unwrap();
    let key = "settings/configuration/saved_state/path/relative";
    machine
        .set_configuration_value(key, &Value::String(".\\m.vsv".into()))
        .unwrap();
    assert_eq!(machine.state().unwrap(), MachineState::Saved);
    pairs!(S_OK: "IVMVirtualMachine::SavedStateFilePath" => machine.saved_state_file_path().map(|path| assert_eq!(path, saved)));
    pairs!(VM_E_PREF_VM_ACTIVE: "IVMVirtualMachine::Memory" => machine.set_memory(8));
    pairs!(VM_E_VM_RUNNING_OR_SAVED: "IVMVirtualMachine::AddDVDROMDrive" => machine.add_dvd_drive(0, 0));
    pairs!(VM_E_VM_RUNNING: "IVMVirtualMachine::MergeUndoDisks" => machine.merge_undo_disks());
    pairs!(VM_E_VM_RUNNING_OR_SAVED: "IVMVirtualMachine::DiscardUndoDisks" => machine.discard_undo_disks());
    // It is none of ours: the machine does not start, and nothing is lost.
    pairs!(DISP_E_EXCEPTION: "IVMVirtualMachine::Startup" => begin(|| machine.startup()));
    assert!(saved.exists() && machine.state().unwrap() == MachineState::Saved);
    pairs!(S_OK: "IVMVirtualMachine::DiscardSavedState" => machine.discard_saved_state());
    assert!(!saved.exists() && machine.state().unwrap() == MachineState::TurnedOff);
}

#[test]
fn a_machine_without_its_file() {
    let lab = Lab::new();
    let machine = lab.machine("m");
    let mut dvd = machine.dvd_drives().unwrap().item(1).unwrap().clone();
    let floppy = machine.floppy_drives().unwrap().item(1).unwrap().clone();
    let serial = machine.serial_ports().unwrap().item(1).unwrap().clone();
    let parallel = machine.parallel_ports().unwrap().item(1).unwrap().clone();
    let disk = lab.text("d.vhd");
    vhd::create::dynamic(&disk, 8 << 20, &vhd::CreateOptions::new()).unwrap();
    let mut hd = machine.add_hard_disk_connection(&disk, 0, 0).unwrap();
    for contents in [None, Some("no configuration")] {
        match contents {
            None => std::fs::remove_file(machine.path()).unwrap(),
            Some(contents) => std::fs::write(machine.path(), contents).unwrap(),
        }
        pairs!(VM_E_VM_UNKNOWN:
            "IVMVirtualMachine::State" => machine.state(),
            "IVMVirtualMachine::ConfigID" => machine.config_id(),
            "IVMVirtualMachine::Memory" => machine.memory(),
            "IVMVirtualMachine::Notes" => machine.notes(),
            "IVMVirtualMachine::Name" => machine.set_name("x"),
            "IVMVirtualMachine::BIOSGUID" => machine.firmware_string(FirmwareString::BiosGuid),
            "IVMVirtualMachine::BIOSSerialNumber" => machine.firmware_string(FirmwareString::BiosSerialNumber),
            "IVMVirtualMachine::BaseBoardSerialNumber" => machine.firmware_string(FirmwareString::BaseBoardSerialNumber),
            "IVMVirtualMachine::ChassisSerialNumber" => machine.firmware_string(FirmwareString::ChassisSerialNumber),
            "IVMVirtualMachine::ChassisAssetTag" => machine.firmware_string(FirmwareString::ChassisAssetTag),
            "IVMVirtualMachine::ShutdownActionOnQuit" => machine.shutdown_action_on_quit(),
            "IVMVirtualMachine::Undoable" => machine.undoable(),
            "IVMVirtualMachine::UndoAction" => machine.undo_action(),
            "IVMVirtualMachine::ProcessorSpeed" => machine.processor_speed(),
            "IVMVirtualMachine::HasMMX" => machine.has_mmx(),
            "IVMVirtualMachine::HasSSE" => machine.has_sse(),
            "IVMVirtualMachine::HasSSE2" => machine.has_sse2(),
            "IVMVirtualMachine::Has3DNow" => machine.has_3dnow(),
            "IVMVirtualMachine::Accountant" => machine.accountant(),
            "IVMVirtualMachine::AttachedDriveTypes" => machine.attached_drive_types(),
            "IVMVirtualMachine::DVDROMDrives" => machine.dvd_drives(),
            "IVMVirtualMachine::FloppyDrives" => machine.floppy_drives(),
            "IVMVirtualMachine::HardDiskConnections" => machine.hard_disk_connections(),
            "IVMVirtualMachine::SerialPorts" => machine.serial_ports(),
            "IVMVirtualMachine::ParallelPorts" => machine.parallel_ports(),
            "IVMVirtualMachine::GetConfigurationValue" => machine.configuration_value("a"),
            "IVMVirtualMachine::SetConfigurationValue" => machine.set_configuration_value("a", &Value::Integer(1)),
            "IVMVirtualMachine::RemoveConfigurationValue" => machine.remove_configuration_value("a"),
            "IVMVirtualMachine::GetActivationValue" => machine.activation_value("a"),
            "IVMVirtualMachine::SetActivationValue" => machine.set_activation_value("a", &Value::Integer(1)),
            "IVMVirtualMachine::RemoveActivationValue" => machine.remove_activation_value("a"),
            "IVMVirtualMachine::SavedStateFilePath" => machine.saved_state_file_path(),
            "IVMVirtualMachine::DiscardSavedState" => machine.discard_saved_state(),
            "IVMVirtualMachine::DiscardUndoDisks" => machine.discard_undo_disks(),
            "IVMVirtualMachine::MergeUndoDisks" => machine.merge_undo_disks(),
            "IVMVirtualMachine::AddDVDROMDrive" => machine.add_dvd_drive(0, 1),
            "IVMVirtualMachine::RemoveDVDROMDrive" => machine.remove_dvd_drive(&dvd),
            "IVMVirtualMachine::AddHardDiskConnection" => machine.add_hard_disk_connection(&disk, 0, 1),
            "IVMVirtualMachine::RemoveHardDiskConnection" => machine.remove_hard_disk_connection(&hd),
            "IVMVirtualMachine::Pause" => machine.pause(),
            "IVMVirtualMachine::Resume" => machine.resume(),
            "IVMVirtualMachine::Reset" => machine.reset(),
            "IVMVirtualMachine::TurnOff" => machine.turn_off(),
            "IVMDVDDrive::AttachImage" => dvd.attach_image("/x.iso"),
            "IVMDVDDrive::ReleaseImage" => dvd.release_image(false),
            "IVMDVDDrive::AttachHostDrive" => dvd.attach_host_drive("/dev/sr0"),
            "IVMDVDDrive::ReleaseHostDrive" => dvd.release_host_drive(),
            "IVMDVDDrive::Attachment" => dvd.attachment(),
            "IVMDVDDrive::ImageFile" => dvd.image_file(),
            "IVMDVDDrive::HostDriveLetter" => dvd.host_drive(),
            "IVMDVDDrive::SetBusLocation" => dvd.set_bus_location(0, 1),
            "IVMDVDDriveCollection::Count" => machine.dvd_drives(),
            "IVMDVDDriveCollection::Item" => machine.dvd_drives(),
            "IVMFloppyDrive::AttachImage" => floppy.attach_image("/x.img"),
            "IVMFloppyDrive::ReleaseImage" => floppy.release_image(),
            "IVMFloppyDrive::AttachHostDrive" => floppy.attach_host_drive("/dev/fd0"),
            "IVMFloppyDrive::ReleaseHostDrive" => floppy.release_host_drive(),
            "IVMFloppyDrive::Attachment" => floppy.attachment(),
            "IVMFloppyDrive::ImageFile" => floppy.image_file(),
            "IVMFloppyDrive::HostDriveLetter" => floppy.host_drive(),
            "IVMFloppyDriveCollection::Count" => machine.floppy_drives(),
            "IVMFloppyDriveCollection::Item" => machine.floppy_drives(),
            "IVMHardDiskConnection::BusNumber" => hd.bus_number(),
            "IVMHardDiskConnection::DeviceNumber" => hd.device_number(),
            "IVMHardDiskConnection::HardDisk" => hd.hard_disk(),
            "IVMHardDiskConnection::UndoHardDisk" => hd.undo_hard_disk(),
            "IVMHardDiskConnection::SetBusLocation" => hd.set_bus_location(0, 1),
            "IVMHardDiskConnectionCollection::Count" => machine.hard_disk_connections(),
            "IVMHardDiskConnectionCollection::Item" => machine.hard_disk_connections(),
            "IVMSerialPort::_ID" => serial.id(),
            "IVMSerialPort::Type" => serial.kind(),
            "IVMSerialPort::Name" => serial.name(),
            "IVMSerialPort::ConnectImmediately" => serial.connect_immediately(),
            "IVMSerialPort::Configure" => serial.configure(3, "", false),
            "IVMSerialPortCollection::Item" => machine.serial_ports(),
            "IVMParallelPort::_ID" => parallel.id(),
            "IVMParallelPort::Name" => parallel.name(),
            "IVMParallelPortCollection::Item" => machine.parallel_ports(),
        );
    }
    // A machine that is in no list has no name.
    let other = lab.machine("other");
    lab.app.unregister_virtual_machine(&other).unwrap();
    pairs!(VM_E_VM_UNKNOWN: "IVMVirtualMachine::Name" => other.name());
}

#[test]
fn a_file_that_may_not_be_written() {
    let lab = Lab::new();
    let machine = lab.machine("m");
    // Root may write everything; then there is nothing to test.
    let mut permissions = std::fs::metadata(machine.path()).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(machine.path(), permissions).unwrap();
    let writable = std::fs::OpenOptions::new()
        .write(true)
        .open(machine.path())
        .is_ok();
    if !writable {
        let error = machine.startup().map(drop).unwrap_err();
        assert_eq!(
            error.result().name,
            "HRESULT_FROM_WIN32(ERROR_ACCESS_DENIED)",
            "{}",
            text(machine.path())
        );
    }
}
