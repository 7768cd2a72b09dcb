// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files of the host, through the standard library alone. The only file of the crate that differs by system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
#[cfg(unix)]
use std::os::unix::fs::FileExt;
#[cfg(windows)]
use std::os::windows::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Access, FileSystem, Storage, Volume};

/// A host call on a range of a file; `false` when the host or the file's volume does not have it.
pub type RangeCall = fn(&File, Range<u64>) -> io::Result<bool>;

/// A host call that finds the first range of a file, from an offset on, that is no hole; `None` where nobody knows.
pub type DataCall = fn(&File, u64) -> io::Result<Option<Range<u64>>>;

/// A host call that begins to write what the page cache has of a file.
pub type StartCall = fn(&File);

/// A host call that asks what the volume of a folder can take.
pub type VolumeCall = fn(&Path) -> io::Result<Volume>;

/// Calls that the standard library lacks. A host layer may bring them; without them holes are written, and read, as
/// zeros, and space is not reserved.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostCalls {
    /// Makes a range read as zeros and gives its space back (Linux: `FALLOC_FL_PUNCH_HOLE`).
    pub punch: Option<RangeCall>,
    /// Reserves space for a range, extending the file over it (Linux: `fallocate`).
    pub allocate: Option<RangeCall>,
    /// Finds what is no hole (Linux: `SEEK_DATA`).
    pub data: Option<DataCall>,
    /// Begins to write (Linux: `sync_file_range`).
    pub start_sync: Option<StartCall>,
    /// Asks what a volume can take (Linux: `statfs`).
    pub volume: Option<VolumeCall>,
}

/// An open file of the host.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
    calls: HostCalls,
}

impl FileStorage {
    /// Uses an open file as it is: nothing is locked.
    #[must_use]
    pub fn new(file: File, calls: HostCalls) -> Self {
        Self { file, calls }
    }

    #[cfg(unix)]
    fn read_some(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    #[cfg(windows)]
    fn read_some(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.seek_read(buffer, offset)
    }

    #[cfg(unix)]
    fn write_some(&self, buffer: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buffer, offset)
    }

    #[cfg(windows)]
    fn write_some(&self, buffer: &[u8], offset: u64) -> io::Result<usize> {
        self.file.seek_write(buffer, offset)
    }
}

impl Storage for FileStorage {
    fn len(&self) -> io::Result<u64> {
        let metadata = self.file.metadata()?;
        if metadata.is_file() {
            return Ok(metadata.len());
        }
        // A device says its size by its end alone. Nothing else uses the file's position.
        (&self.file).seek(SeekFrom::End(0))
    }

    fn read_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_some(buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    buffer = buffer.get_mut(count..).unwrap_or_default();
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_at(&self, mut buffer: &[u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.write_some(buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    buffer = buffer.get(count..).unwrap_or_default();
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn punch(&self, range: Range<u64>) -> io::Result<bool> {
        self.calls
            .punch
            .map_or(Ok(false), |punch| punch(&self.file, range))
    }

    fn allocate(&self, range: Range<u64>) -> io::Result<bool> {
        self.calls
            .allocate
            .map_or(Ok(false), |allocate| allocate(&self.file, range))
    }

    fn data_from(&self, offset: u64) -> io::Result<Range<u64>> {
        let found = self.calls.data.map(|data| data(&self.file, offset)).transpose()?;
        match found.flatten() {
            Some(range) => Ok(range),
            None => Ok(offset..self.len()?.max(offset)),
        }
    }

    fn start_sync(&self) {
        if let Some(start) = self.calls.start_sync {
            start(&self.file);
        }
    }

    fn file(&self) -> Option<&File> {
        Some(&self.file)
    }
}

/// The host's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostFileSystem {
    calls: HostCalls,
    devices: bool,
}

impl HostFileSystem {
    /// With the calls that the host layer brings.
    #[must_use]
    pub fn new(calls: HostCalls) -> Self {
        Self {
            calls,
            devices: false,
        }
    }

    /// The same, for a disk that is a device of the host, which else is taken for a mistake or an image's malice.
    #[must_use]
    pub fn with_devices(mut self) -> Self {
        self.devices = true;
        self
    }

    fn locked(&self, file: File, access: Access) -> io::Result<Box<dyn Storage>> {
        let lock = match access {
            Access::Shared => file.try_lock_shared(),
            Access::Exclusive => file.try_lock(),
        };
        match lock {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            // Some network file systems have no locks at all; that must not make their images useless.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Box::new(FileStorage::new(file, self.calls)))
    }
}

impl FileSystem for HostFileSystem {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn Storage>> {
        // Looked at before it is opened: opening a pipe or a device may wait for ever, and an image may name one as
        // its parent.
        let found = fs::metadata(path)?;
        if found.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !found.is_file() && !self.devices {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::Exclusive)
            .open(path)?;
        self.locked(file, access)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn Storage>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        self.locked(file, Access::Exclusive)
    }

    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        // A second link never replaces a file, which a rename would.
        match fs::hard_link(from, to) {
            Ok(()) => fs::remove_file(from).inspect_err(|_| drop(fs::remove_file(to)))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // No links on this volume: an empty file of our own claims the name, and only that is replaced.
            Err(_) => {
                OpenOptions::new().write(true).create_new(true).open(to)?;
                fs::rename(from, to).inspect_err(|_| drop(fs::remove_file(to)))?;
            }
        }
        sync_folder(to)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let old = fs::metadata(to)?;
        let file = OpenOptions::new().write(true).open(from)?;
        file.set_permissions(old.permissions())?;
        file.set_modified(old.modified()?)?;
        file.sync_all()?;
        drop(file);
        fs::rename(from, to)?;
        // Not every volume can sync a folder. Where that fails a power cut may bring the old version back, which is as
        // good an image as the new one.
        let _ = sync_folder(to);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        fs::metadata(path)?.modified()
    }

    fn set_modified(&self, path: &Path, time: SystemTime) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.set_modified(time)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // Links are followed: an image may be one.
            if fs::metadata(entry.path()).is_ok_and(|found| found.is_file()) {
                files.push(entry.path());
            }
        }
        Ok(files)
    }

    fn create_folders(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let mut missing: Vec<PathBuf> = folder
            .ancestors()
            .take_while(is_missing)
            .map(Path::to_owned)
            .collect();
        missing.reverse();
        fs::create_dir_all(folder).inspect_err(|_| {
            for folder in missing.iter().rev() {
                let _ = fs::remove_dir(folder);
            }
        })?;
        Ok(missing)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        fs::remove_dir(folder)
    }

    fn volume(&self, folder: &Path) -> io::Result<Option<Volume>> {
        self.calls.volume.map(|volume| volume(folder)).transpose()
    }
}

/// A new name is durable only when its folder is.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Folders cannot be synced here; the volume's journal keeps the order of names.
#[cfg(windows)]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}
