// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Results of drives with removable media and of ports, while the machine is off and while it runs.

use super::{Lab, pairs, support, text};
use virtualpc::virtual_pc::dvd::DvdDrive;
use virtualpc::virtual_pc::enums::{DvdAttachment, FloppyAttachment, SerialPortType};
use virtualpc::virtual_pc::event::EventKind;
use virtualpc::virtual_pc::floppy::FloppyDrive;
use virtualpc::virtual_pc::machine::VirtualMachine;
use virtualpc::virtual_pc::vmc::Value;

const DVD_FILE: &str = "hardware/pci_bus/ide_adapter/ide_controller[@id=1]/location[@id=0]/pathname/absolute";
const FLOPPY_FILE: &str = "hardware/super_io/floppy[@id=0]/pathname/absolute";

fn dvd(machine: &VirtualMachine) -> DvdDrive {
    machine.dvd_drives().unwrap().item(1).unwrap().clone()
}

fn floppy(machine: &VirtualMachine) -> FloppyDrive {
    machine.floppy_drives().unwrap().item(1).unwrap().clone()
}

/// Each test of media twice: off, and running.
fn both(test: impl Fn(&Lab, &VirtualMachine)) {
    for runs in [false, true] {
        let lab = Lab::new();
        let machine = lab.guest("m", &support::firmware("counter"));
        if runs {
            lab.start(&machine);
        }
        // Images are opened in this process while the machine is off.
        let undisturbed = (!runs).then(support::alone);
        test(&lab, &machine);
        drop(undisturbed);
        assert_eq!(machine.turn_off().is_ok(), runs, "it still runs");
    }
}

#[test]
fn discs() {
    both(|lab, machine| {
        let dvd = dvd(machine);
        let (disc, other) = (lab.file("a.iso", 40 << 10), lab.file("b.iso", 40 << 10));
        pairs!(S_OK:
            "IVMDVDDrive::Attachment" => dvd.attachment().map(|kind| assert_eq!(kind, DvdAttachment::None)),
            "IVMDVDDrive::AttachImage" => dvd.attach_image(&disc),
            "IVMDVDDrive::Attachment" => dvd.attachment().map(|kind| assert_eq!(kind, DvdAttachment::Image)),
            "IVMDVDDrive::ImageFile" => dvd.image_file().map(|path| assert_eq!(text(&path), disc)),
            "IVMDVDDrive::BusNumber" => dvd.bus_number().map(|bus| assert_eq!(bus, 1)),
            "IVMDVDDrive::DeviceNumber" => dvd.device_number().map(|device| assert_eq!(device, 0)),
        );
        pairs!(VM_E_DRIVE_IN_USE:
            "IVMDVDDrive::AttachImage" => dvd.attach_image(&other),
            "IVMDVDDrive::AttachImage" => dvd.attach_image(&disc),
            "IVMDVDDrive::AttachHostDrive" => dvd.attach_host_drive("/dev/sr0"),
        );
        pairs!(VM_E_MEDIA_WRONG_TYPE:
            "IVMDVDDrive::ReleaseHostDrive" => dvd.release_host_drive(),
            "IVMDVDDrive::HostDriveLetter" => dvd.host_drive(),
        );
        pairs!(S_OK: "IVMDVDDrive::ReleaseImage" => dvd.release_image(false));
        pairs!(VM_E_MEDIA_WRONG_TYPE:
            "IVMDVDDrive::ReleaseImage" => dvd.release_image(false),
            "IVMDVDDrive::ReleaseHostDrive" => dvd.release_host_drive(),
            "IVMDVDDrive::ImageFile" => dvd.image_file(),
        );
        pairs!(E_POINTER: "IVMDVDDrive::AttachImage" => dvd.attach_image(""));
        pairs!(E_INVALIDARG:
            "IVMDVDDrive::AttachImage" => dvd.attach_image(lab.folder.path().to_str().unwrap()),
            "IVMDVDDrive::AttachImage" => dvd.attach_image(&lab.text("missing.iso")),
            "IVMDVDDrive::AttachImage" => dvd.attach_image("a.iso"),
            "IVMDVDDrive::AttachImage" => dvd.attach_image(&lab.file("empty.iso", 0)),
            "IVMDVDDrive::AttachHostDrive" => dvd.attach_host_drive(""),
            "IVMDVDDrive::AttachHostDrive" => dvd.attach_host_drive("/dev/null"),
            "IVMDVDDrive::AttachHostDrive" => dvd.attach_host_drive(&disc),
        );
        // What was refused has changed nothing, and the events tell of what was not.
        assert_eq!(dvd.attachment().unwrap(), DvdAttachment::None);
        let events = lab.app.journal().read().unwrap();
        let media: Vec<_> = events
            .into_iter()
            .map(|event| event.kind)
            .filter(|kind| matches!(kind, EventKind::MediaInsert { .. } | EventKind::MediaEject { .. }))
            .collect();
        let drive = "dvd0".to_owned();
        let path = std::path::PathBuf::from(&disc);
        assert_eq!(
            media,
            [
                EventKind::MediaInsert {
                    drive: drive.clone(),
                    path: path.clone()
                },
                EventKind::MediaEject {
                    drive,
                    path: Some(path)
                }
            ]
        );
    });
}

#[test]
fn a_drive_of_the_host_in_the_configuration() {
    both(|_, machine| {
        let (dvd, floppy) = (dvd(machine), floppy(machine));
        machine
            .set_configuration_value(DVD_FILE, &Value::String("/dev/sr0".into()))
            .unwrap();
        machine
            .set_configuration_value(FLOPPY_FILE, &Value::String("/dev/fd0".into()))
            .unwrap();
        pairs!(VM_E_MEDIA_WRONG_TYPE:
            "IVMDVDDrive::ReleaseImage" => dvd.release_image(false),
            "IVMDVDDrive::ImageFile" => dvd.image_file(),
            "IVMFloppyDrive::ReleaseImage" => floppy.release_image(),
        );
        pairs!(S_OK:
            "IVMDVDDrive::Attachment" => dvd.attachment().map(|kind| assert_eq!(kind, DvdAttachment::HostDrive)),
            "IVMDVDDrive::HostDriveLetter" => dvd.host_drive().map(|path| assert_eq!(text(&path), "/dev/sr0")),
            "IVMDVDDrive::ReleaseHostDrive" => dvd.release_host_drive(),
            "IVMFloppyDrive::Attachment" => floppy.attachment().map(|kind| assert_eq!(kind, FloppyAttachment::HostDrive)),
            "IVMFloppyDrive::HostDriveLetter" => floppy.host_drive().map(|path| assert!(path.is_some())),
            "IVMFloppyDrive::ReleaseHostDrive" => floppy.release_host_drive(),
        );
        assert_eq!(dvd.attachment().unwrap(), DvdAttachment::None);
    });
}

#[test]
fn a_drive_that_was_taken_away() {
    let lab = Lab::new();
    let machine = lab.machine("m");
    let mut dvd = dvd(&machine);
    pairs!(S_OK: "IVMVirtualMachine::RemoveDVDROMDrive" => machine.remove_dvd_drive(&dvd));
    pairs!(VM_E_DRIVE_INVALID:
        "IVMDVDDrive::AttachImage" => dvd.attach_image("/x.iso"),
        "IVMDVDDrive::AttachHostDrive" => dvd.attach_host_drive("/dev/sr0"),
        "IVMDVDDrive::ReleaseImage" => dvd.release_image(true),
        "IVMDVDDrive::ReleaseHostDrive" => dvd.release_host_drive(),
        "IVMDVDDrive::Attachment" => dvd.attachment(),
        "IVMDVDDrive::ImageFile" => dvd.image_file(),
        "IVMDVDDrive::BusNumber" => dvd.bus_number(),
        "IVMDVDDrive::DeviceNumber" => dvd.device_number(),
        "IVMDVDDrive::SetBusLocation" => dvd.set_bus_location(0, 0),
        "IVMVirtualMachine::RemoveDVDROMDrive" => machine.remove_dvd_drive(&dvd),
    );
}

#[test]
fn places_of_dvd_drives() {
    let lab = Lab::new();
    let machine = lab.machine("m");
    pairs!(S_OK:
        "IVMVirtualMachine::AddDVDROMDrive" => machine.add_dvd_drive(0, 1),
        "IVMDVDDriveCollection::Count" => machine.dvd_drives().map(|drives| assert_eq!(drives.count(), 2)),
        "IVMDVDDriveCollection::Item" => machine.dvd_drives().unwrap().item(2),
        "IVMDVDDriveCollection::_NewEnum" => machine.dvd_drives().map(|drives| drives.into_iter().count()),
    );
    pairs!(DISP_E_BADINDEX: "IVMDVDDriveCollection::Item" => machine.dvd_drives().unwrap().item(3));
    pairs!(VM_E_DRIVE_BUS_LOC_IN_USE:
        "IVMVirtualMachine::AddDVDROMDrive" => machine.add_dvd_drive(0, 1),
        "IVMDVDDrive::SetBusLocation" => dvd(&machine).set_bus_location(1, 0),
    );
    pairs!(E_INVALIDARG:
        "IVMVirtualMachine::AddDVDROMDrive" => machine.add_dvd_drive(2, 0),
        "IVMVirtualMachine::AddDVDROMDrive" => machine.add_dvd_drive(0, -1),
        "IVMDVDDrive::SetBusLocation" => dvd(&machine).set_bus_location(0, 2),
    );
    let disc = lab.file("a.iso", 40 << 10);
    let mut first = dvd(&machine);
    first.attach_image(&disc).unwrap();
    pairs!(S_OK: "IVMDVDDrive::SetBusLocation" => first.set_bus_location(0, 0));
    assert_eq!(first.bus_number().unwrap(), 0);
    assert_eq!(
        text(&first.image_file().unwrap()),
        disc,
        "what was in it went along"
    );
}

#[test]
fn diskettes() {
    both(|lab, machine| {
        let floppy = floppy(machine);
        let (disk, other) = (lab.file("a.img", 1440 << 10), lab.file("b.img", 1440 << 10));
        pairs!(VM_E_NO_MEDIA_CAPTURED:
            "IVMFloppyDrive::ReleaseImage" => floppy.release_image(),
            "IVMFloppyDrive::ReleaseHostDrive" => floppy.release_host_drive(),
        );
        pairs!(S_OK:
            "IVMFloppyDrive::AttachImage" => floppy.attach_image(&disk),
            "IVMFloppyDrive::AttachImage" => floppy.attach_image(&other),
            "IVMFloppyDrive::Attachment" => floppy.attachment().map(|kind| assert_eq!(kind, FloppyAttachment::Image)),
            "IVMFloppyDrive::ImageFile" => floppy.image_file().map(|path| assert_eq!(text(&path.unwrap()), other)),
            "IVMFloppyDrive::HostDriveLetter" => floppy.host_drive().map(|path| assert_eq!(path, None)),
            "IVMFloppyDrive::DriveNumber" => Ok(assert_eq!(floppy.drive_number(), 0)),
        );
        pairs!(VM_E_MEDIA_WRONG_TYPE: "IVMFloppyDrive::ReleaseHostDrive" => floppy.release_host_drive());
        pairs!(S_OK: "IVMFloppyDrive::ReleaseImage" => floppy.release_image());
        pairs!(E_POINTER: "IVMFloppyDrive::AttachImage" => floppy.attach_image(""));
        pairs!(ERROR_BAD_PATHNAME: "IVMFloppyDrive::AttachImage" => floppy.attach_image("a.img"));
        pairs!(ERROR_INVALID_NAME: "IVMFloppyDrive::AttachImage" => floppy.attach_image("/a?.img"));
        pairs!(ERROR_BUFFER_OVERFLOW: "IVMFloppyDrive::AttachImage" => floppy.attach_image(&format!("/{}", "x".repeat(260))));
        pairs!(E_INVALIDARG:
            "IVMFloppyDrive::AttachImage" => floppy.attach_image(lab.folder.path().to_str().unwrap()),
            "IVMFloppyDrive::AttachImage" => floppy.attach_image(&lab.text("missing.img")),
            "IVMFloppyDrive::AttachHostDrive" => floppy.attach_host_drive(""),
            "IVMFloppyDrive::AttachHostDrive" => floppy.attach_host_drive(&disk),
        );
        pairs!(VM_E_IMAGE_CAPTURE_FAIL:
            "IVMFloppyDrive::AttachImage" => floppy.attach_image(&lab.file("large.img", 10 << 20)),
            "IVMFloppyDrive::AttachImage" => floppy.attach_image(&lab.file("empty.img", 0)),
        );
        assert_eq!(floppy.attachment().unwrap(), FloppyAttachment::None);
    });
}

#[test]
fn collections_of_floppy_drives_and_ports() {
    let lab = Lab::new();
    let machine = lab.machine("m");
    let (floppies, serial, parallel) = (
        machine.floppy_drives().unwrap(),
        machine.serial_ports().unwrap(),
        machine.parallel_ports().unwrap(),
    );
    pairs!(S_OK:
        "IVMFloppyDriveCollection::Count" => Ok(assert_eq!(floppies.count(), 1)),
        "IVMFloppyDriveCollection::Item" => floppies.item(1),
        "IVMFloppyDriveCollection::_NewEnum" => Ok(floppies.iter().count()),
        "IVMSerialPortCollection::Count" => Ok(assert_eq!(serial.count(), 4)),
        "IVMSerialPortCollection::Item" => serial.item(4),
        "IVMSerialPortCollection::_NewEnum" => Ok(serial.iter().count()),
        "IVMParallelPortCollection::Count" => Ok(assert_eq!(parallel.count(), 1)),
        "IVMParallelPortCollection::Item" => parallel.item(1),
        "IVMParallelPortCollection::_NewEnum" => Ok(parallel.iter().count()),
    );
    pairs!(DISP_E_BADINDEX:
        "IVMFloppyDriveCollection::Item" => floppies.item(2),
        "IVMSerialPortCollection::Item" => serial.item(5),
        "IVMParallelPortCollection::Item" => parallel.item(0),
    );
}

#[test]
fn ports() {
    let lab = Lab::new();
    let machine = lab.machine("m");
    let ports = machine.serial_ports().unwrap();
    let (com1, com2) = (ports.item(1).unwrap(), ports.item(2).unwrap());
    let (file, pipe) = (
        SerialPortType::TextFile.value(),
        SerialPortType::NamedPipe.value(),
    );
    pairs!(S_OK:
        "IVMSerialPort::_ID" => com2.id().map(|id| assert_eq!(id, 2)),
        "IVMSerialPort::Type" => com1.kind().map(|kind| assert_eq!(kind, SerialPortType::Null)),
        "IVMSerialPort::Configure" => com1.configure(file, "/tmp/log", false),
        "IVMSerialPort::Configure" => com2.configure(pipe, "/tmp/pipe", true),
        "IVMSerialPort::Name" => com1.name().map(|name| assert_eq!(name, "/tmp/log")),
        "IVMSerialPort::ConnectImmediately" => com2.connect_immediately().map(|at_once| assert!(at_once)),
    );
    assert_eq!(com2.kind().unwrap(), SerialPortType::NamedPipe);
    pairs!(VM_E_PREF_ILLEGAL_VALUE: "IVMSerialPort::Configure" => com2.configure(file, "/tmp/log", false));
    pairs!(E_INVALIDARG: "IVMSerialPort::Configure" => com1.configure(4, "/tmp/log", false));
    pairs!(E_POINTER: "IVMSerialPort::Configure" => com1.configure(file, "", false));
    pairs!(ERROR_BAD_PATHNAME: "IVMSerialPort::Configure" => com1.configure(file, "log", false));
    pairs!(ERROR_INVALID_NAME: "IVMSerialPort::Configure" => com1.configure(file, "/a|b", false));
    pairs!(ERROR_BUFFER_OVERFLOW: "IVMSerialPort::Configure" => com1.configure(file, &format!("/{}", "x".repeat(260)), false));
    let ports = machine.parallel_ports().unwrap();
    let lpt1 = ports.item(1).unwrap();
    pairs!(S_OK:
        "IVMParallelPort::_ID" => lpt1.id().map(|id| assert_eq!(id, 1)),
        "IVMParallelPort::Name" => lpt1.set_name("/tmp/print"),
        "IVMParallelPort::Name" => lpt1.name().map(|name| assert_eq!(name, "/tmp/print")),
    );
    pairs!(E_INVALIDARG: "IVMParallelPort::Name" => lpt1.set_name("LPT1"));
}
