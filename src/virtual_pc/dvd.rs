// SPDX-License-Identifier: Apache-2.0 OR MIT
//! DVD drives: `IVMDVDDrive`.

use super::enums::{DriveType, DvdAttachment};
use super::error::{Error, Result};
use super::event::EventKind;
use super::hresult;
use super::machine::VirtualMachine;
use super::media;
use super::place::{self, Place};
use super::vmc::Vmc;
use crate::machine::control::Drive;
use crate::storage::Purpose;
use std::path::{Path, PathBuf};

/// A DVD drive at a place of a machine's IDE buses: `IVMDVDDrive`. Clones are the same one.
#[derive(Clone)]
pub struct DvdDrive {
    machine: VirtualMachine,
    place: Place,
}

impl DvdDrive {
    pub(super) fn new(machine: VirtualMachine, place: Place) -> Self {
        Self { machine, place }
    }

    /// Where it is: `IVMDVDDrive::BusNumber` and `IVMDVDDrive::DeviceNumber`.
    pub fn place(&self) -> Place {
        self.place
    }

    /// `IVMDVDDrive::BusNumber`: the bus that it is on.
    ///
    /// # Errors
    /// `VM_E_DRIVE_INVALID` if it is there no more.
    pub fn bus_number(&self) -> Result<u8> {
        self.configuration().map(|_| self.place.bus())
    }

    /// `IVMDVDDrive::DeviceNumber`: its number on the bus.
    ///
    /// # Errors
    /// `VM_E_DRIVE_INVALID` if it is there no more.
    pub fn device_number(&self) -> Result<u8> {
        self.configuration().map(|_| self.place.device())
    }

    /// `IVMDVDDrive::SetBusLocation`: moves it to another place.
    ///
    /// # Errors
    /// `E_INVALIDARG`, `VM_E_VM_RUNNING_OR_SAVED`, `VM_E_DRIVE_BUS_LOC_IN_USE`, `VM_E_DRIVE_INVALID`, `VM_E_VM_UNKNOWN`.
    pub fn set_bus_location(&mut self, bus: i32, device: i32) -> Result<()> {
        let to = Place::new(bus, device)?;
        self.machine.move_drive(self.place, to, DriveType::DVD)?;
        self.place = to;
        Ok(())
    }

    /// `IVMDVDDrive::Attachment`: what is in it.
    ///
    /// # Errors
    /// `VM_E_DRIVE_INVALID`, `VM_E_VM_UNKNOWN`.
    pub fn attachment(&self) -> Result<DvdAttachment> {
        self.configuration().map(|vmc| self.attached(&vmc).0)
    }

    /// `IVMDVDDrive::ImageFile`: the image in it.
    ///
    /// # Errors
    /// `VM_E_MEDIA_WRONG_TYPE` if there is none, `VM_E_DRIVE_INVALID`, `VM_E_VM_UNKNOWN`.
    pub fn image_file(&self) -> Result<PathBuf> {
        match self.attached(&self.configuration()?) {
            (DvdAttachment::Image, Some(path)) => Ok(path),
            (kind, _) => Err(self.wrong_type(kind, "an image")),
        }
    }

    /// `IVMDVDDrive::HostDriveLetter`: the host's drive in it; here a device such as `/dev/sr0`.
    ///
    /// # Errors
    /// `VM_E_MEDIA_WRONG_TYPE` if there is none, `VM_E_VM_UNKNOWN`.
    pub fn host_drive(&self) -> Result<PathBuf> {
        match self.attached(&self.configuration()?) {
            (DvdAttachment::HostDrive, Some(path)) => Ok(path),
            (kind, _) => Err(self.wrong_type(kind, "a host drive")),
        }
    }

    /// `IVMDVDDrive::AttachImage`: puts an ISO image in. A running machine's guest is told of the new disc.
    ///
    /// # Errors
    /// `E_POINTER` without a path; `E_INVALIDARG` for a folder, a missing file or what is no disc; `VM_E_DRIVE_IN_USE` if something is in the
    /// drive, `VM_E_DRIVE_INVALID`, `VM_E_VM_UNKNOWN`.
    pub fn attach_image(&self, path: &str) -> Result<()> {
        if path.is_empty() {
            return Err(Error::new(hresult::E_POINTER, "no path was given"));
        }
        let path = PathBuf::from(path);
        let invalid = |what: String| Error::new(hresult::E_INVALIDARG, what);
        self.machine.change(|vmc| {
            self.check(vmc)?;
            self.must_be_empty(vmc)?;
            if !path.is_absolute() {
                return Err(invalid(format!("`{}` is not an absolute path", path.display())));
            }
            if path.is_dir() {
                return Err(invalid(format!("{}: it is a folder", path.display())));
            }
            let drive = self.drive(vmc);
            if !media::insert(&self.machine, drive, &path, |detail| invalid(detail.to_owned()))? {
                media::check(&path, Purpose::Dvd).map_err(|error| invalid(crate::storage::chain(&error)))?;
            }
            self.put(vmc, Some(&path));
            Ok(())
        })?;
        self.note(|drive| EventKind::MediaInsert {
            drive,
            path: path.clone(),
        });
        Ok(())
    }

    /// `IVMDVDDrive::ReleaseImage`: takes the image out; with `force` even if the guest has locked the drive.
    ///
    /// # Errors
    /// `VM_E_MEDIA_WRONG_TYPE` if there is none, `VM_E_MEDIA_UNMOUNT_FAIL` if the guest does not let go, `VM_E_DRIVE_INVALID`,
    /// `VM_E_VM_UNKNOWN`.
    pub fn release_image(&self, force: bool) -> Result<()> {
        self.release(DvdAttachment::Image, "an image", force)
    }

    /// `IVMDVDDrive::AttachHostDrive`: puts in the disc that is in a drive of the host, such as `/dev/sr0`. When that is changed there, release
    /// and attach it again.
    ///
    /// # Errors
    /// `E_INVALIDARG` for what is no drive of the host; `VM_E_DRIVE_IN_USE` if something is in the drive; `VM_E_DRIVE_INVALID`,
    /// `VM_E_VM_UNKNOWN`; `E_FAIL` if there is no disc in the host's drive, or it cannot be used.
    pub fn attach_host_drive(&self, device: &str) -> Result<()> {
        let path = Path::new(device);
        let refused = |detail: &str| {
            Error::new(hresult::E_FAIL, detail)
                .with_remedy("put a disc into the host's drive, and see who else uses it")
        };
        self.machine.change(|vmc| {
            self.check(vmc)?;
            self.must_be_empty(vmc)?;
            media::check_host_drive(device)?;
            if !media::insert(&self.machine, self.drive(vmc), path, refused)? {
                media::check(path, Purpose::Dvd).map_err(|error| refused(&crate::storage::chain(&error)))?;
            }
            self.put(vmc, Some(path));
            Ok(())
        })?;
        self.note(|drive| EventKind::MediaInsert {
            drive,
            path: path.to_owned(),
        });
        Ok(())
    }

    /// `IVMDVDDrive::ReleaseHostDrive`: takes the host's drive out.
    ///
    /// # Errors
    /// `VM_E_MEDIA_WRONG_TYPE` if there is none, `E_FAIL` if the guest does not let go, `VM_E_DRIVE_INVALID`, `VM_E_VM_UNKNOWN`.
    pub fn release_host_drive(&self) -> Result<()> {
        let released = self.release(DvdAttachment::HostDrive, "a host drive", false);
        released.map_err(|error| match error.result() {
            // The documents have another code here than for images.
            hresult::VM_E_MEDIA_UNMOUNT_FAIL => {
                Error::new(hresult::E_FAIL, error.cause()).with_remedy("unmount the disc in the guest")
            }
            _ => error,
        })
    }

    fn release(&self, wanted: DvdAttachment, word: &str, force: bool) -> Result<()> {
        let taken = self.machine.change(|vmc| {
            self.check(vmc)?;
            let (kind, path) = self.attached(vmc);
            if kind != wanted {
                return Err(self.wrong_type(kind, word));
            }
            media::eject(&self.machine, self.drive(vmc), force)?;
            self.put(vmc, None);
            Ok(path)
        })?;
        self.note(|drive| EventKind::MediaEject {
            drive,
            path: taken.clone(),
        });
        Ok(())
    }

    /// The name that the running machine has for it.
    pub fn drive_name(&self) -> Result<Drive> {
        self.configuration().map(|vmc| self.drive(&vmc))
    }

    fn drive(&self, vmc: &Vmc) -> Drive {
        media::dvd_name(vmc, self.place)
    }

    fn configuration(&self) -> Result<Vmc> {
        let vmc = self.machine.configuration()?;
        self.check(&vmc)?;
        Ok(vmc)
    }

    fn check(&self, vmc: &Vmc) -> Result<()> {
        super::machine::must_be(vmc, self.place, DriveType::DVD)
    }

    fn group(&self) -> String {
        format!("{}/pathname", self.place.key())
    }

    fn attached(&self, vmc: &Vmc) -> (DvdAttachment, Option<PathBuf>) {
        let path = place::file(vmc, &self.group(), self.machine.folder());
        let kind = match &path {
            None => DvdAttachment::None,
            Some(path) if media::is_host_drive(path) => DvdAttachment::HostDrive,
            Some(_) => DvdAttachment::Image,
        };
        (kind, path)
    }

    fn must_be_empty(&self, vmc: &Vmc) -> Result<()> {
        match self.attached(vmc) {
            (DvdAttachment::None, _) => Ok(()),
            (_, path) => Err(Error::new(
                hresult::VM_E_DRIVE_IN_USE,
                format!(
                    "the drive at {} holds {}",
                    self.place,
                    path.unwrap_or_default().display()
                ),
            )),
        }
    }

    fn put(&self, vmc: &mut Vmc, path: Option<&Path>) {
        place::put_file(vmc, &self.group(), path, self.machine.folder());
    }

    fn wrong_type(&self, kind: DvdAttachment, wanted: &str) -> Error {
        let holds = match kind {
            DvdAttachment::None => "nothing",
            DvdAttachment::Image => "an image",
            DvdAttachment::HostDrive => "a host drive",
        };
        Error::new(
            hresult::VM_E_MEDIA_WRONG_TYPE,
            format!("the drive at {} holds {holds}, not {wanted}", self.place),
        )
    }

    fn note(&self, kind: impl Fn(String) -> EventKind) {
        if let Ok(drive) = self.drive_name() {
            self.machine.note(kind(drive.to_string()));
        }
    }
}
