// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What drives with removable media have in common.

use super::enums::DriveType;
use super::error::{Error, Result};
use super::event::EventKind;
use super::hresult;
use super::machine::{self, VirtualMachine};
use super::place::{self, Place};
use super::vmc::Vmc;
use crate::machine::control::{Command, CommandError, Drive, Remote};
use crate::storage::{self, Image, Purpose};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// The name that the running machine has for the DVD drive at a place.
pub(super) fn dvd_name(vmc: &Vmc, place: Place) -> Drive {
    let before = machine::places_of(vmc, DriveType::DVD)
        .into_iter()
        .filter(|other| *other < place);
    // Four places are the most.
    Drive::Dvd(before.count() as u8)
}

/// Opens an image, to see that it can be used.
pub(super) fn check(path: &Path, purpose: Purpose) -> std::result::Result<Image, storage::Error> {
    Image::open(path, purpose)
}

/// Whether a path names a drive of the host, not an image. One that is not there any more is taken for what its name says.
pub(super) fn is_host_drive(path: &Path) -> bool {
    match std::fs::metadata(path) {
        Ok(metadata) => crate::host::is_drive(&metadata),
        Err(_) => path.starts_with("/dev") && !path.starts_with("/dev/shm"),
    }
}

/// Takes what the guest has ejected out of the drive and the configuration. Called by the machine's process, not on its director's thread,
/// which answers others who hold the configuration's lock.
pub(super) fn guest_ejected(
    machine: &VirtualMachine,
    remote: &Remote,
    drive: Drive,
    path: &Path,
) -> Result<()> {
    let Drive::Dvd(number) = drive else {
        return Ok(());
    };
    let taken = machine.change(|vmc| {
        let place = machine::places_of(vmc, DriveType::DVD)
            .into_iter()
            .nth(number.into());
        let Some(group) = place.map(|place| format!("{}/pathname", place.key())) else {
            return Ok(false);
        };
        // Somebody may have changed it meanwhile.
        if place::file(vmc, &group, machine.folder()).as_deref() != Some(path) {
            return Ok(false);
        }
        // A machine that has ended holds nothing any more.
        let _ = remote.command(Command::Eject { drive, force: true });
        place::put_file(vmc, &group, None, machine.folder());
        Ok(true)
    })?;
    if taken {
        machine.note(EventKind::MediaEject {
            drive: drive.to_string(),
            path: Some(path.to_owned()),
        });
    }
    Ok(())
}

/// Refuses what is no drive of the host.
pub(super) fn check_host_drive(device: &str) -> Result<()> {
    let path = Path::new(device);
    let is_block = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device());
    if path.is_absolute() && is_block {
        return Ok(());
    }
    Err(Error::new(
        hresult::E_INVALIDARG,
        format!("`{device}` is no drive of this host: name a block device such as /dev/sr0"),
    ))
}

/// Puts an image into a drive of the machine, if it runs; tells whether it does. The machine then has looked at the image itself.
pub(super) fn insert(
    machine: &VirtualMachine,
    drive: Drive,
    path: &Path,
    refused: impl Fn(&str) -> Error,
) -> Result<bool> {
    let command = Command::Insert {
        drive,
        path: path.to_owned(),
        force: false,
    };
    change(machine, &command, refused)
}

/// Takes the medium out of a drive of the machine, if it runs.
pub(super) fn eject(machine: &VirtualMachine, drive: Drive, force: bool) -> Result<()> {
    let command = Command::Eject { drive, force };
    change(machine, &command, |detail| Error::new(hresult::E_FAIL, detail)).map(drop)
}

fn change(machine: &VirtualMachine, command: &Command, refused: impl Fn(&str) -> Error) -> Result<bool> {
    let instance = machine.instance();
    if !instance.is_running() {
        return Ok(false);
    }
    match instance.command(command)? {
        // The guest itself may have taken the medium out.
        Ok(_) | Err(CommandError::Empty { .. }) => Ok(true),
        Err(CommandError::Locked { drive }) => Err(Error::new(
            hresult::VM_E_MEDIA_UNMOUNT_FAIL,
            format!("the guest has locked {drive}; it was asked to release it"),
        )),
        Err(error @ CommandError::NoSuchDrive { .. }) => {
            Err(Error::new(hresult::VM_E_DRIVE_INVALID, error.to_string()))
        }
        Err(error) => Err(refused(&error.to_string())),
    }
}
