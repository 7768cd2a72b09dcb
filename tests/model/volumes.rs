// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Volumes that fill up, drives of the host, and guests that eject.

use super::{Lab, pairs, support, text};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::wait_for;
use virtualpc::virtual_pc::enums::{DvdAttachment, FloppyAttachment, MachineState};
use virtualpc::virtual_pc::event::EventKind;
use virtualpc::virtual_pc::vmc::Value;

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let _undisturbed = support::alone();
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(said)
}

/// A volume of its own. None where this user may not mount: then the test says so, as nothing was tested.
struct Volume(PathBuf);

impl Volume {
    fn mount(folder: PathBuf, megabytes: u64) -> Option<Self> {
        std::fs::create_dir(&folder).unwrap();
        let size = format!("size={megabytes}m");
        let mounted = run("mount", &["-t", "tmpfs", "-o", &size, "vpc-test", text(&folder)]);
        if mounted.is_none() {
            eprintln!("NOT TESTED: this user may not mount a tmpfs");
        }
        mounted.map(|_| Self(folder))
    }

    fn fill(&self, name: &str, free_then: u64) {
        let free = virtualpc::host::free_space(&self.0).unwrap();
        std::fs::write(self.0.join(name), vec![1; (free - free_then) as usize]).unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        run("umount", &["-l", text(&self.0)]);
    }
}

#[test]
fn a_full_volume_pauses_the_machine_until_there_is_room() {
    const MB: u64 = 1 << 20;
    let lab = Lab::new();
    let Some(volume) = Volume::mount(lab.path("volume"), 160) else {
        return;
    };
    let disk = volume.0.join("disk.vhd");
    vhd::create::dynamic(&disk, 100 * MB, &vhd::CreateOptions::new()).unwrap();
    let machine = lab.guest("m", &support::firmware("grow"));
    machine.add_hard_disk_connection(text(&disk), 0, 0).unwrap();
    let debug = Value::String(lab.text("debug"));
    machine
        .set_configuration_value("virtualpc/debug_console", &debug)
        .unwrap();
    volume.fill("filler", 104 * MB);
    lab.start(&machine);
    let told = |critical: bool| {
        let events = lab.app.journal().read().unwrap();
        events.into_iter().find_map(|event| match event.kind {
            EventKind::DiskOutOfSpace {
                critically_low,
                volume,
                free,
            } if critically_low == critical => Some((volume, free)),
            _ => None,
        })
    };
    let (folder, free) = wait_for("the first warning", || told(false));
    assert_eq!(folder, volume.0);
    assert!(free < 100 * MB, "{free}");
    let (_, free) = wait_for("the second", || told(true));
    assert!(free < 20 * MB, "{free}");
    wait_for("the pause", || {
        (machine.state().unwrap() == MachineState::Paused).then_some(())
    });
    let alive = || std::fs::metadata(lab.path("debug")).unwrap().len();
    std::fs::remove_file(volume.0.join("filler")).unwrap();
    wait_for("the machine to go on", || {
        (machine.state().unwrap() == MachineState::Running).then_some(())
    });
    let before = alive();
    // Twice the whole disk: each of its sectors was written when there was room.
    wait_for("the guest to go on", || (alive() > before + 100).then_some(()));
    machine.turn_off().unwrap().finish().unwrap();
    let states: Vec<_> = lab
        .app
        .journal()
        .read()
        .unwrap()
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::StateChange { state } => Some(state),
            _ => None,
        })
        .collect();
    use MachineState::{Paused, Running, TurnedOff, TurningOff, TurningOn};
    assert_eq!(
        states,
        [TurningOn, Running, Paused, Running, TurningOff, TurnedOff]
    );
    // Nothing that the guest wrote was lost.
    let disk = vhd::Disk::open(&disk, &vhd::OpenOptions::new().read_only(true)).unwrap();
    for block in 0..50 {
        let mut sector = [0; 512];
        disk.read_at(block * 2 * MB, &mut sector).unwrap();
        assert!(sector.iter().any(|byte| *byte != 0), "{block}");
    }
}

/// A loop device over a file, which is a drive of the host as good as any.
struct HostDrive(String);

impl HostDrive {
    fn of(file: &str) -> Option<Self> {
        let device = run("losetup", &["--find", "--show", file]);
        if device.is_none() {
            eprintln!("NOT TESTED: this user may not make loop devices");
        }
        device.map(Self)
    }
}

impl Drop for HostDrive {
    fn drop(&mut self) {
        run("losetup", &["--detach", &self.0]);
    }
}

#[test]
fn drives_of_the_host() {
    for runs in [false, true] {
        let lab = Lab::new();
        let (disc, diskette) = (lab.file("disc", 1 << 20), lab.file("diskette", 1440 << 10));
        let (Some(sr), Some(fd)) = (HostDrive::of(&disc), HostDrive::of(&diskette)) else {
            return;
        };
        let machine = lab.guest("m", &support::firmware("counter"));
        if runs {
            lab.start(&machine);
        }
        let undisturbed = (!runs).then(support::alone);
        let dvd = machine.dvd_drives().unwrap().item(1).unwrap().clone();
        let floppy = machine.floppy_drives().unwrap().item(1).unwrap().clone();
        pairs!(S_OK:
            "IVMDVDDrive::AttachHostDrive" => dvd.attach_host_drive(&sr.0),
            "IVMDVDDrive::Attachment" => dvd.attachment().map(|kind| assert_eq!(kind, DvdAttachment::HostDrive)),
            "IVMDVDDrive::HostDriveLetter" => dvd.host_drive().map(|path| assert_eq!(path, Path::new(&sr.0))),
            "IVMFloppyDrive::AttachHostDrive" => floppy.attach_host_drive(&fd.0),
            "IVMFloppyDrive::Attachment" => floppy.attachment().map(|kind| assert_eq!(kind, FloppyAttachment::HostDrive)),
        );
        pairs!(VM_E_DRIVE_IN_USE: "IVMDVDDrive::AttachHostDrive" => dvd.attach_host_drive(&sr.0));
        pairs!(VM_E_MEDIA_WRONG_TYPE:
            "IVMDVDDrive::ReleaseImage" => dvd.release_image(false),
            "IVMFloppyDrive::ReleaseImage" => floppy.release_image(),
        );
        if runs {
            // The guest has the disc, and at the next start it has it again.
            let medium = || machine.status().unwrap().drives[0].medium.clone();
            assert_eq!(medium().as_deref(), Some(Path::new(&sr.0)));
            machine.turn_off().unwrap().finish().unwrap();
            lab.start(&machine);
            assert_eq!(medium().as_deref(), Some(Path::new(&sr.0)));
        }
        pairs!(S_OK:
            "IVMDVDDrive::ReleaseHostDrive" => dvd.release_host_drive(),
            "IVMFloppyDrive::ReleaseHostDrive" => floppy.release_host_drive(),
        );
        assert_eq!(dvd.attachment().unwrap(), DvdAttachment::None);
        // A drive without a disc.
        std::fs::write(&disc, "").unwrap();
        let Some(empty) = ({
            drop(undisturbed);
            HostDrive::of(&disc)
        }) else {
            return;
        };
        pairs!(E_FAIL: "IVMDVDDrive::AttachHostDrive" => dvd.attach_host_drive(&empty.0));
        pairs!(E_INVALIDARG: "IVMFloppyDrive::AttachHostDrive" => floppy.attach_host_drive(&empty.0));
    }
}

#[test]
fn what_a_guest_ejects_leaves_the_configuration_too() {
    let lab = Lab::new();
    let machine = lab.guest("m", &support::firmware("eject"));
    let disc = lab.file("a.iso", 40 << 10);
    let dvd = machine.dvd_drives().unwrap().item(1).unwrap().clone();
    {
        let _undisturbed = support::alone();
        dvd.attach_image(&disc).unwrap();
    }
    lab.start(&machine);
    wait_for("the disc to leave", || {
        (dvd.attachment().unwrap() == DvdAttachment::None).then_some(())
    });
    let ejected = EventKind::MediaEject {
        drive: "dvd0".into(),
        path: Some(disc.clone().into()),
    };
    wait_for("the event", || {
        let events = lab.app.journal().read().unwrap();
        events.iter().any(|event| event.kind == ejected).then_some(())
    });
    let drive = machine.status().unwrap().drives[0].clone();
    assert_eq!((drive.medium, drive.tray_open), (None, true));
    // It is free for another one.
    dvd.attach_image(&disc).unwrap();
    dvd.release_image(false).unwrap();
}
