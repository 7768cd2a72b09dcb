// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Floppy drives: `IVMFloppyDrive`.

use super::enums::FloppyAttachment;
use super::error::{Error, Result};
use super::event::EventKind;
use super::machine::{self, VirtualMachine};
use super::vmc::Vmc;
use super::{hresult, media, paths, place};
use crate::machine as board;
use crate::machine::control::Drive;
use crate::storage::Purpose;
use std::path::{Path, PathBuf};

/// A floppy drive: `IVMFloppyDrive`. Clones are the same one.
#[derive(Clone)]
pub struct FloppyDrive {
    machine: VirtualMachine,
    number: u8,
}

/// The floppy drives of a configuration.
pub(super) fn numbers(vmc: &Vmc) -> Vec<u8> {
    let Ok(group) = "hardware/super_io".parse() else {
        return vec![];
    };
    let ids = vmc.ids(&group, "floppy").into_iter();
    ids.filter(|id| *id < machine::FLOPPIES)
        .map(|id| id as u8)
        .collect()
}

/// The group of a drive's file.
pub(super) fn group(number: u8) -> String {
    format!("hardware/super_io/floppy[@id={number}]/pathname")
}

impl FloppyDrive {
    pub(super) fn new(machine: VirtualMachine, number: u8) -> Self {
        Self { machine, number }
    }

    /// `IVMFloppyDrive::DriveNumber`: 0 is A, 1 is B.
    pub fn drive_number(&self) -> u8 {
        self.number
    }

    /// `IVMFloppyDrive::Attachment`: what is in it.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn attachment(&self) -> Result<FloppyAttachment> {
        self.machine.configuration().map(|vmc| self.attached(&vmc).0)
    }

    /// `IVMFloppyDrive::ImageFile`: the image in it, if there is one.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn image_file(&self) -> Result<Option<PathBuf>> {
        self.file(FloppyAttachment::Image)
    }

    /// `IVMFloppyDrive::HostDriveLetter`: the host's drive in it, if there is one; here a device such as `/dev/fd0`.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn host_drive(&self) -> Result<Option<PathBuf>> {
        self.file(FloppyAttachment::HostDrive)
    }

    fn file(&self, wanted: FloppyAttachment) -> Result<Option<PathBuf>> {
        let (kind, path) = self.attached(&self.machine.configuration()?);
        Ok(path.filter(|_| kind == wanted))
    }

    /// `IVMFloppyDrive::AttachImage`: puts an image in, in place of what is there, as the documents name no error for that.
    ///
    /// # Errors
    /// `E_POINTER` without a path, the documented ones for the path; `E_INVALIDARG` for a folder or a missing file;
    /// `VM_E_IMAGE_CAPTURE_FAIL` for what is no diskette or is in use; `VM_E_VM_UNKNOWN`.
    pub fn attach_image(&self, path: &str) -> Result<()> {
        self.machine.configuration()?;
        if path.is_empty() {
            return Err(Error::new(hresult::E_POINTER, "no path was given"));
        }
        let path = paths::check(path)?;
        if !path.is_file() {
            let what = if path.is_dir() {
                "it is a folder"
            } else {
                "there is no such file"
            };
            return Err(Error::of_file(hresult::E_INVALIDARG, &path, what));
        }
        self.attach(&path, |detail| {
            Error::new(hresult::VM_E_IMAGE_CAPTURE_FAIL, detail)
        })
    }

    /// `IVMFloppyDrive::ReleaseImage`: takes the image out.
    ///
    /// # Errors
    /// `VM_E_NO_MEDIA_CAPTURED` if the drive is empty, `VM_E_MEDIA_WRONG_TYPE` if it holds something else, `VM_E_VM_UNKNOWN`.
    pub fn release_image(&self) -> Result<()> {
        self.release(FloppyAttachment::Image, "an image")
    }

    /// `IVMFloppyDrive::AttachHostDrive`: puts a drive of the host in, in place of what is there.
    ///
    /// # Errors
    /// `E_INVALIDARG` for what is no drive of the host, and for one without a diskette; `VM_E_VM_UNKNOWN`.
    pub fn attach_host_drive(&self, device: &str) -> Result<()> {
        self.machine.configuration()?;
        media::check_host_drive(device)?;
        self.attach(Path::new(device), |detail| {
            Error::new(hresult::E_INVALIDARG, detail)
        })
    }

    fn attach(&self, path: &Path, refused: impl Fn(&str) -> Error) -> Result<()> {
        self.machine.change(|vmc| {
            if !media::insert(&self.machine, self.drive(), path, &refused)? {
                let image = media::check(path, Purpose::Floppy);
                let image = image.map_err(|error| refused(&crate::storage::chain(&error)))?;
                // Its size must be that of a diskette.
                let drive = board::FloppyDrive { image: Some(image) };
                drive
                    .kind()
                    .map_err(|error| refused(&crate::storage::chain(&error)))?;
            }
            self.put(vmc, Some(path));
            Ok(())
        })?;
        self.machine.note(EventKind::MediaInsert {
            drive: self.drive().to_string(),
            path: path.to_owned(),
        });
        Ok(())
    }

    /// `IVMFloppyDrive::ReleaseHostDrive`: takes the host's drive out.
    ///
    /// # Errors
    /// `VM_E_NO_MEDIA_CAPTURED` if the drive is empty, `VM_E_MEDIA_WRONG_TYPE` if it holds something else, `VM_E_VM_UNKNOWN`.
    pub fn release_host_drive(&self) -> Result<()> {
        self.release(FloppyAttachment::HostDrive, "a host drive")
    }

    fn release(&self, wanted: FloppyAttachment, word: &str) -> Result<()> {
        let drive = self.drive();
        let taken = self.machine.change(|vmc| {
            let (kind, path) = self.attached(vmc);
            match kind {
                FloppyAttachment::None => {
                    return Err(Error::new(
                        hresult::VM_E_NO_MEDIA_CAPTURED,
                        format!("{drive} is empty"),
                    ));
                }
                kind if kind != wanted => {
                    return Err(Error::new(
                        hresult::VM_E_MEDIA_WRONG_TYPE,
                        format!("{drive} does not hold {word}"),
                    ));
                }
                _ => {}
            }
            media::eject(&self.machine, drive, false)?;
            self.put(vmc, None);
            Ok(path)
        })?;
        let drive = drive.to_string();
        self.machine.note(EventKind::MediaEject { drive, path: taken });
        Ok(())
    }

    fn drive(&self) -> Drive {
        Drive::Floppy(self.number)
    }

    fn attached(&self, vmc: &Vmc) -> (FloppyAttachment, Option<PathBuf>) {
        let path = place::file(vmc, &group(self.number), self.machine.folder());
        let kind = match &path {
            None => FloppyAttachment::None,
            Some(path) if media::is_host_drive(path) => FloppyAttachment::HostDrive,
            Some(_) => FloppyAttachment::Image,
        };
        (kind, path)
    }

    fn put(&self, vmc: &mut Vmc, path: Option<&Path>) {
        place::put_file(vmc, &group(self.number), path, self.machine.folder());
    }
}
