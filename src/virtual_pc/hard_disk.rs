// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Hard disks and their connections to machines: `IVMHardDisk` and `IVMHardDiskConnection`.

use super::application::VirtualPc;
use super::enums::{DriveType, HardDiskType};
use super::error::{Error, Result};
use super::hresult::{self, HResult};
use super::machine::VirtualMachine;
use super::place::{self, Place};
use super::task::{Cancelling, Task};
use super::{files, paths};
use crate::storage::{self, chain};
use std::io;
use std::path::{Path, PathBuf};
use vhd::merge::MergeOptions;
use vhd::{Disk, Kind};

/// The most that an IDE drive of Virtual PC holds: 127 GB, counted in binary.
const IDE_MOST: u64 = 127 << 30;

/// A hard disk's image: `IVMHardDisk`. Clones are the same one.
#[derive(Clone)]
pub struct HardDisk {
    app: VirtualPc,
    path: PathBuf,
}

/// The code for what became of an image, and the cause.
pub(super) fn image_error(error: &vhd::Error) -> Error {
    Error::new(HResult::from(error), chain(error))
}

/// Refuses an image that cannot be a disk of a machine.
pub(super) fn check_for_ide(path: &Path) -> Result<()> {
    let options = storage::options().read_only(true).ignore_parent_timestamp(true);
    let disk = match Disk::open(path, &options) {
        Ok(disk) => disk,
        Err(error) => {
            return Err(match error.kind() {
                // It is an image; who has it is a matter of starting.
                Kind::Locked => return Ok(()),
                Kind::UnsupportedDiskType(_) => image_error(&error),
                Kind::PermissionDenied => Error::new(hresult::E_ACCESSDENIED, chain(&error)),
                _ => Error::new(hresult::VM_E_INVALID_HD_FILE, chain(&error)),
            });
        }
    };
    if disk.len() > IDE_MOST {
        return Err(Error::of_file(
            hresult::VM_E_INVALID_HD_FILE,
            path,
            format!(
                "the disk has {} GB: an IDE disk holds 127 GB at most",
                disk.len() >> 30
            ),
        ));
    }
    Ok(())
}

impl HardDisk {
    pub(super) fn new(app: VirtualPc, path: PathBuf) -> Self {
        Self { app, path }
    }

    /// `IVMHardDisk::File`: its file.
    pub fn file(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> Result<Disk> {
        let options = storage::options().read_only(true).ignore_parent_timestamp(true);
        Disk::open(&self.path, &options).map_err(|error| match error.kind() {
            Kind::NotFound => Error::new(hresult::ERROR_FILE_NOT_FOUND, chain(&error)),
            Kind::Io | Kind::UnexpectedEnd | Kind::Corrupt(_) => {
                Error::new(hresult::VM_E_HD_IMAGE_ACCESS, chain(&error))
            }
            _ => Error::new(hresult::VM_E_HD_IMAGE_OPEN_FAIL, chain(&error)),
        })
    }

    /// `IVMHardDisk::Type`: its kind.
    ///
    /// # Errors
    /// `ERROR_FILE_NOT_FOUND`, `VM_E_HD_IMAGE_OPEN_FAIL`, `VM_E_HD_IMAGE_ACCESS`; `VM_E_DRIVE_INVALID` for a raw disk, which has no kind.
    pub fn kind(&self) -> Result<HardDiskType> {
        match self.open()?.format() {
            vhd::Format::Fixed => Ok(HardDiskType::FixedSize),
            vhd::Format::Dynamic => Ok(HardDiskType::Dynamic),
            vhd::Format::Differencing => Ok(HardDiskType::Differencing),
            vhd::Format::Raw => {
                let what = "it is a raw disk, which is no VHD";
                Err(Error::of_file(hresult::VM_E_DRIVE_INVALID, &self.path, what))
            }
        }
    }

    /// `IVMHardDisk::SizeInGuest`: the disk's size, in bytes.
    ///
    /// # Errors
    /// `ERROR_FILE_NOT_FOUND`, `VM_E_HD_IMAGE_OPEN_FAIL`, `VM_E_HD_IMAGE_ACCESS`.
    pub fn size_in_guest(&self) -> Result<u64> {
        Ok(self.open()?.len())
    }

    /// `IVMHardDisk::SizeOnHost`: the file's size, in bytes.
    ///
    /// # Errors
    /// `ERROR_FILE_NOT_FOUND`.
    pub fn size_on_host(&self) -> Result<u64> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::of_file(
                hresult::ERROR_FILE_NOT_FOUND,
                &self.path,
                "there is no such file",
            )),
            Err(error) => Err(files::failed(&self.path, &error)),
        }
    }

    /// `IVMHardDisk::Parent`: the image that it holds the differences from, if it is a differencing one.
    ///
    /// # Errors
    /// `S_FALSE` if it has none; `ERROR_FILE_NOT_FOUND` without the file, `ERROR_PATH_NOT_FOUND` without the parent's,
    /// `VM_E_PARENT_CHILD_ID_MISMATCH`, `VM_E_HD_IMAGE_OPEN_FAIL`, `VM_E_HD_IMAGE_ACCESS`.
    pub fn parent(&self) -> Result<Self> {
        let options = storage::options().read_only(true).ignore_parent_timestamp(true);
        let disk = Disk::open(&self.path, &options).map_err(|error| match error.kind() {
            Kind::ParentNotFound { .. } => Error::new(hresult::ERROR_PATH_NOT_FOUND, chain(&error)),
            Kind::ParentIdMismatch { .. } => image_error(&error),
            Kind::NotFound => Error::new(hresult::ERROR_FILE_NOT_FOUND, chain(&error)),
            Kind::Io | Kind::UnexpectedEnd => Error::new(hresult::VM_E_HD_IMAGE_ACCESS, chain(&error)),
            _ => Error::new(hresult::VM_E_HD_IMAGE_OPEN_FAIL, chain(&error)),
        })?;
        match disk.layers().nth(1) {
            Some(parent) => Ok(Self::new(self.app.clone(), parent.path().to_owned())),
            None => Err(Error::of_file(hresult::S_FALSE, &self.path, "it has no parent")),
        }
    }

    /// Sets [`Self::parent`] to the same disk at another path.
    ///
    /// # Errors
    /// `VM_E_PARENT_CHILD_ID_MISMATCH` for another disk; those of [`Self::parent`].
    pub fn set_parent(&self, parent: &Self) -> Result<()> {
        let options = storage::options().ignore_parent_timestamp(true);
        vhd::relink::relink(&self.path, parent.file(), &options, &vhd::Watch::default()).map_err(|error| {
            match error.kind() {
                Kind::NotFound | Kind::ParentIdMismatch { .. } => image_error(&error),
                Kind::Io | Kind::UnexpectedEnd => Error::new(hresult::VM_E_HD_IMAGE_ACCESS, chain(&error)),
                _ => Error::new(hresult::VM_E_HD_IMAGE_OPEN_FAIL, chain(&error)),
            }
        })
    }

    /// `IVMHardDisk::Compact`: gives the host back what the disk does not use.
    ///
    /// # Errors
    /// At once: `VM_E_WRONG_HD_IMAGE_TYPE` unless it is a dynamic image, `VM_E_INVALID_HD_FILE`, `VM_E_FILE_READ_ONLY`,
    /// `ERROR_SHARING_VIOLATION`. By the task: `ERROR_DISK_FULL`.
    pub fn compact(&self) -> Result<Task> {
        self.must_be_writable(&self.path)?;
        let disk = self.open_for_change()?;
        self.must_have_format(&disk, vhd::Format::Dynamic)?;
        drop(disk);
        let path = self.path.clone();
        self.task(format!("compact {}", path.display()), move |watch| {
            vhd::compact::compact(&path, &storage::options(), watch).map_err(|error| image_error(&error))
        })
    }

    /// `IVMHardDisk::Merge`: writes what it holds to its parent, and removes it.
    ///
    /// # Errors
    /// At once: `VM_E_WRONG_HD_IMAGE_TYPE` unless it is a differencing image, `VM_E_FILE_READ_ONLY`, `ERROR_SHARING_VIOLATION`,
    /// `VM_E_PARENT_PATH_NOT_FOUND`.
    pub fn merge(&self) -> Result<Task> {
        let disk = self.open_for_change()?;
        self.must_have_format(&disk, vhd::Format::Differencing)?;
        let parent = disk.layers().nth(1).map(|parent| parent.path().to_owned());
        drop(disk);
        self.must_be_writable(&parent.unwrap_or_default())?;
        let path = self.path.clone();
        self.task(format!("merge {}", path.display()), move |watch| {
            let options = storage::options();
            let merged = vhd::merge::into_parent(&path, &options, MergeOptions::default(), watch);
            merged.map(drop).map_err(|error| image_error(&error))
        })
    }

    /// `IVMHardDisk::MergeTo`: writes the whole disk, all its parents included, to a new image.
    ///
    /// # Errors
    /// At once: `E_INVALIDARG` without a path, the documented ones for it, `ERROR_ALREADY_EXISTS`, `VM_E_WRONG_HD_IMAGE_TYPE` unless
    /// this is a differencing image and the new one is not, `ERROR_SHARING_VIOLATION`, `VM_E_PARENT_PATH_NOT_FOUND`. By the task:
    /// `ERROR_DISK_FULL`.
    pub fn merge_to(&self, path: &str, kind: HardDiskType) -> Result<Task> {
        let target = self.new_image(path, kind)?;
        let disk = self.open_for_change()?;
        self.must_have_format(&disk, vhd::Format::Differencing)?;
        drop(disk);
        self.convert_task("merge", target, kind)
    }

    /// `IVMHardDisk::Convert`: writes the disk to a new image of another kind; this one stays as it is.
    ///
    /// # Errors
    /// At once: `E_INVALIDARG` without a path or with one that does not end in `.vhd`, the documented ones for it, `ERROR_ALREADY_EXISTS`,
    /// `VM_E_WRONG_HD_IMAGE_TYPE` for a differencing one, `VM_E_INVALID_HD_FILE`, `ERROR_SHARING_VIOLATION`,
    /// `VM_E_PARENT_PATH_NOT_FOUND`. By the task: `ERROR_DISK_FULL`.
    pub fn convert(&self, path: &str, kind: HardDiskType) -> Result<Task> {
        let is_vhd = Path::new(path)
            .extension()
            .is_some_and(|suffix| suffix.eq_ignore_ascii_case("vhd"));
        if !path.is_empty() && !is_vhd {
            return Err(Error::new(
                hresult::E_INVALIDARG,
                format!("`{path}` does not end in .vhd"),
            ));
        }
        let target = self.new_image(path, kind)?;
        drop(self.open_for_change()?);
        self.convert_task("convert", target, kind)
    }

    /// `IVMHardDisk::HostFreeDiskSpace`: how many bytes are free where its file is.
    ///
    /// # Errors
    /// `ERROR_BAD_PATHNAME` if its folder is gone.
    pub fn host_free_disk_space(&self) -> Result<u64> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        crate::host::free_space(folder)
            .map_err(|error| Error::of_file(hresult::ERROR_BAD_PATHNAME, folder, error))
    }

    fn new_image(&self, path: &str, kind: HardDiskType) -> Result<PathBuf> {
        if path.is_empty() {
            return Err(Error::new(
                hresult::E_INVALIDARG,
                "no path was given for the new image",
            ));
        }
        let target = paths::check(path)?;
        if kind == HardDiskType::Differencing {
            return Err(Error::new(
                hresult::VM_E_WRONG_HD_IMAGE_TYPE,
                "the new image can be dynamic or fixed, not differencing",
            ));
        }
        match target.parent() {
            Some(folder) if !folder.is_dir() => Err(Error::of_file(
                hresult::ERROR_PATH_NOT_FOUND,
                folder,
                "there is no such folder",
            )),
            _ if target.exists() => Err(Error::of_file(
                hresult::ERROR_ALREADY_EXISTS,
                &target,
                "a file of this name exists already",
            )),
            _ => Ok(target),
        }
    }

    /// Opens it as an operation will; its locks tell who else has it.
    fn open_for_change(&self) -> Result<Disk> {
        let options = storage::options().read_only(true).ignore_parent_timestamp(true);
        let disk = Disk::open(&self.path, &options).map_err(|error| image_error(&error))?;
        // A reader's lock suits other readers; whether somebody reads it must be known too.
        let file = std::fs::File::open(&self.path).map_err(|error| files::failed(&self.path, &error))?;
        drop(disk);
        if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
            return Err(Error::of_file(
                hresult::ERROR_SHARING_VIOLATION,
                &self.path,
                "the image is in use",
            ));
        }
        drop(file);
        Disk::open(&self.path, &options).map_err(|error| image_error(&error))
    }

    fn must_have_format(&self, disk: &Disk, format: vhd::Format) -> Result<()> {
        if disk.format() == format {
            return Ok(());
        }
        let what = format!("it is a {:?} image; this needs a {format:?} one", disk.format()).to_lowercase();
        Err(Error::of_file(
            hresult::VM_E_WRONG_HD_IMAGE_TYPE,
            &self.path,
            what,
        ))
    }

    fn must_be_writable(&self, path: &Path) -> Result<()> {
        if std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().readonly()) {
            return Err(Error::of_file(
                hresult::VM_E_FILE_READ_ONLY,
                path,
                "the file is read-only",
            ));
        }
        Ok(())
    }

    fn convert_task(&self, verb: &str, target: PathBuf, kind: HardDiskType) -> Result<Task> {
        let path = self.path.clone();
        let format = match kind {
            HardDiskType::FixedSize => vhd::Format::Fixed,
            HardDiskType::Dynamic | HardDiskType::Differencing => vhd::Format::Dynamic,
        };
        let description = format!("{verb} {} to {}", path.display(), target.display());
        self.task(description, move |watch| {
            let create = vhd::CreateOptions::new().file_system(storage::file_system());
            let options = storage::options().ignore_parent_timestamp(true);
            let source = Disk::open(&path, &options.read_only(true)).map_err(|error| image_error(&error))?;
            vhd::convert::convert(&source, &target, format, &create, watch)
                .map_err(|error| image_error(&error))
        })
    }

    fn task(
        &self,
        description: String,
        operation: impl FnOnce(&vhd::Watch) -> Result<()> + Send + 'static,
    ) -> Result<Task> {
        let task = Task::start(self.app.places(), description, Cancelling::Obeyed, operation)?;
        self.app.keep(&task);
        Ok(task)
    }
}

/// A hard disk at a place of a machine's IDE buses: `IVMHardDiskConnection`. Clones are the same one.
#[derive(Clone)]
pub struct HardDiskConnection {
    machine: VirtualMachine,
    place: Place,
}

impl HardDiskConnection {
    pub(super) fn new(machine: VirtualMachine, place: Place) -> Self {
        Self { machine, place }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// `IVMHardDiskConnection::BusNumber`: the bus that it is on.
    ///
    /// # Errors
    /// `VM_E_DRIVE_INVALID` if it is there no more, `VM_E_VM_UNKNOWN`.
    pub fn bus_number(&self) -> Result<u8> {
        self.file("pathname").map(|_| self.place.bus())
    }

    /// `IVMHardDiskConnection::DeviceNumber`: its number on the bus.
    ///
    /// # Errors
    /// `VM_E_DRIVE_INVALID` if it is there no more, `VM_E_VM_UNKNOWN`.
    pub fn device_number(&self) -> Result<u8> {
        self.file("pathname").map(|_| self.place.device())
    }

    /// `IVMHardDiskConnection::HardDisk`: the disk's image.
    ///
    /// # Errors
    /// `VM_E_DRIVE_INVALID` if it is there no more, `VM_E_VM_UNKNOWN`.
    pub fn hard_disk(&self) -> Result<HardDisk> {
        let path = self.file("pathname")?.ok_or_else(|| {
            Error::new(
                hresult::VM_E_DRIVE_INVALID,
                format!("the hard disk at {} has no image", self.place),
            )
        })?;
        Ok(HardDisk::new(self.machine.app().clone(), path))
    }

    /// `IVMHardDiskConnection::UndoHardDisk`: its undo disk.
    ///
    /// # Errors
    /// `ERROR_FILE_NOT_FOUND` if there is none, `VM_E_DRIVE_INVALID`, `VM_E_VM_UNKNOWN`.
    pub fn undo_hard_disk(&self) -> Result<HardDisk> {
        match self.file("undo_pathname")?.filter(|path| path.is_file()) {
            Some(path) => Ok(HardDisk::new(self.machine.app().clone(), path)),
            None => Err(Error::new(
                hresult::ERROR_FILE_NOT_FOUND,
                format!("the hard disk at {} has no undo disk", self.place),
            )),
        }
    }

    /// `IVMHardDiskConnection::SetBusLocation`: moves it to another place.
    ///
    /// # Errors
    /// `E_INVALIDARG`, `VM_E_VM_RUNNING_OR_SAVED`, `VM_E_DRIVE_BUS_LOC_IN_USE`, `VM_E_DRIVE_INVALID`, `VM_E_VM_UNKNOWN`.
    pub fn set_bus_location(&mut self, bus: i32, device: i32) -> Result<()> {
        let to = Place::new(bus, device)?;
        self.machine.move_drive(self.place, to, DriveType::HardDisk)?;
        self.place = to;
        Ok(())
    }

    fn file(&self, group: &str) -> Result<Option<PathBuf>> {
        let vmc = self.machine.configuration()?;
        super::machine::must_be(&vmc, self.place, DriveType::HardDisk)?;
        Ok(place::file(
            &vmc,
            &format!("{}/{group}", self.place.key()),
            self.machine.folder(),
        ))
    }
}
