// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The joint between drives and disk images: [`devices::block::Medium`] on top of [`vhd::Disk`].
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`medium`] | an image at work in a drive: what is done at once, and what goes to the image's own thread |
//! | [`engine`] | many requests at once on a chain, by [`crate::host::ring`] |

use crate::memory::Dma;
use devices::block::{Chs, MediumInfo};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod engine;
pub mod medium;

pub use medium::{DiskMedium, Handle, Waker};

/// An image that cannot be put into a drive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be opened.
    #[error("{path}: cannot be used as {purpose}")]
    Open {
        /// Which.
        path: PathBuf,
        /// What it was to be.
        purpose: &'static str,
        /// Why not.
        source: Box<vhd::Error>,
    },
    /// It is a folder.
    #[error("{path}: a folder cannot be used as {purpose}; give an image file")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What it was to be.
        purpose: &'static str,
    },
    /// It holds nothing.
    #[error("{path}: the file is empty, so it cannot be used as {purpose}")]
    Empty {
        /// Which.
        path: PathBuf,
        /// What it was to be.
        purpose: &'static str,
    },
    /// It is no diskette.
    #[error("{path}: {detail}")]
    Unsuitable {
        /// Which.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// It cannot be given another size.
    #[error("{path}: cannot be made larger")]
    Resize {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Box<vhd::Error>,
    },
    /// What was written to it cannot be made durable.
    #[error("{path}: what was written cannot be made durable")]
    Flush {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Box<vhd::Error>,
    },
    /// It is to become smaller, which no guest expects of its disk.
    #[error("{path}: the disk has {len} bytes already, and can only be made larger while it is in use")]
    Smaller {
        /// Which.
        path: PathBuf,
        /// Its size now.
        len: u64,
    },
    /// It has left its drive.
    #[error("the image is not in its drive any more")]
    Left,
    /// The host has no thread, or no descriptors, for it.
    #[error("{path}: the host cannot start a thread for it")]
    Thread {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What an image is to be used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A hard disk.
    HardDisk,
    /// A DVD or CD, from an ISO image.
    Dvd,
    /// A diskette.
    Floppy,
}

impl Purpose {
    fn words(self) -> &'static str {
        match self {
            Self::HardDisk => "a hard disk",
            Self::Dvd => "a DVD",
            Self::Floppy => "a diskette",
        }
    }
}

/// The host's files, with its calls for giving space back and taking it ahead.
pub fn file_system() -> Arc<dyn vhd::storage::FileSystem> {
    Arc::new(host_file_system())
}

fn host_file_system() -> vhd::storage::HostFileSystem {
    let calls = vhd::storage::HostCalls {
        punch: Some(crate::host::punch),
        allocate: Some(crate::host::allocate),
        data: Some(crate::host::data_from),
        start_sync: Some(crate::host::start_sync),
        volume: Some(crate::host::volume),
    };
    vhd::storage::HostFileSystem::new(calls)
}

/// How this program opens images.
pub fn options() -> vhd::OpenOptions {
    vhd::OpenOptions::new().file_system(file_system())
}

/// An opened image that is not in a drive yet.
pub struct Image {
    disk: vhd::Disk,
    path: PathBuf,
    info: MediumInfo,
    dma: Option<Arc<Dma>>,
}

impl Image {
    /// Opens an image, or for discs and diskettes a drive of the host. Discs are opened read-only, and so is a diskette whose file cannot be
    /// written.
    pub fn open(path: &Path, purpose: Purpose) -> Result<Self, Error> {
        let words = purpose.words();
        let metadata = std::fs::metadata(path);
        if metadata.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
            return Err(Error::Folder {
                path: path.to_owned(),
                purpose: words,
            });
        }
        if metadata.as_ref().is_ok_and(|m| m.is_file() && m.len() == 0) {
            return Err(Error::Empty {
                path: path.to_owned(),
                purpose: words,
            });
        }
        let is_drive = purpose != Purpose::HardDisk && metadata.as_ref().is_ok_and(crate::host::is_drive);
        // Only hard disks come as VHDs: a disc or diskette whose last bytes look like a VHD's footer is still what it is.
        let read_only =
            purpose == Purpose::Dvd || metadata.as_ref().is_ok_and(|m| m.permissions().readonly());
        let options = options().read_only(read_only);
        let options = if purpose == Purpose::HardDisk {
            options
        } else {
            options.format(vhd::Format::Raw)
        };
        let options = if is_drive {
            options.file_system(Arc::new(host_file_system().with_devices()))
        } else {
            options
        };
        // A diskette in a drive of the host says only then that it is write-protected.
        let protected = |error: &vhd::Error| {
            purpose == Purpose::Floppy
                && is_drive
                && matches!(error.kind(), vhd::Kind::PermissionDenied | vhd::Kind::Io)
        };
        let disk = match vhd::Disk::open(path, &options) {
            Err(error) if protected(&error) => vhd::Disk::open(path, &options.read_only(true)),
            other => other,
        };
        let disk = disk.map_err(|source| Error::Open {
            path: path.to_owned(),
            purpose: words,
            source: Box::new(source),
        })?;
        Ok(Self::new(disk, path))
    }

    /// An image that was opened elsewhere, from `path`.
    pub fn new(disk: vhd::Disk, path: &Path) -> Self {
        let geometry = disk.unique_id().map(|_| {
            let g = disk.geometry();
            Chs {
                cylinders: u32::from(g.cylinders),
                heads: u32::from(g.heads),
                sectors: u32::from(g.sectors),
            }
        });
        let serial = disk
            .unique_id()
            .map(|id| id.iter().map(|byte| format!("{byte:02X}")).collect());
        let info = MediumInfo {
            len: disk.len(),
            read_only: disk.read_only(),
            geometry,
            serial,
        };
        Self {
            disk,
            path: path.to_owned(),
            info,
            dma: None,
        }
    }

    /// The image as one whose medium reaches guest memory.
    #[must_use]
    pub fn reaching(mut self, dma: Arc<Dma>) -> Self {
        self.dma = Some(dma);
        self
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All files that it is made of, its own first.
    pub fn files(&self) -> Vec<PathBuf> {
        self.disk.layers().map(|layer| layer.path().to_owned()).collect()
    }

    /// Whether its file grows as the disk is written.
    pub fn grows(&self) -> bool {
        matches!(
            self.disk.format(),
            vhd::Format::Dynamic | vhd::Format::Differencing
        )
    }

    /// What a drive may know of it.
    pub fn info(&self) -> &MediumInfo {
        &self.info
    }

    /// The first sector, as far as there is one.
    pub fn first_sector(&self) -> Result<[u8; 512], Error> {
        let mut sector = [0; 512];
        let len = self.info.len.min(512) as usize;
        self.disk
            .read_at(0, &mut sector[..len])
            .map_err(|source| Error::Open {
                path: self.path.clone(),
                purpose: "a medium",
                source: Box::new(source),
            })?;
        Ok(sector)
    }

    /// Starts the image's thread and makes it a medium. `waker` is called after completions that come later than
    /// [`submit`](devices::block::Medium::submit).
    pub fn into_medium(self, waker: Waker) -> Result<DiskMedium, Error> {
        DiskMedium::new(self, waker)
    }
}

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}
