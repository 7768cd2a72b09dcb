// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The joint between drives and disk images: [`devices::block::Medium`] on top of [`vhd::Disk`].
//!
//! Each medium has a thread of its own. A drive's request goes to it through a queue; when it is done, the completion is put where the
//! drive finds it and the drive's controller is called. So a processor never waits for a disk, and a slow image holds up nobody else.

use devices::block::{Chs, Completion, Medium, MediumError, MediumInfo, Operation, Request};
use devices::bus::lock;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

#[cfg(target_os = "linux")]
pub mod engine;

/// Called when a medium has completed something: tells the drive's controller to look. It runs on the medium's thread, and may
/// take the controller's lock.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

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
    /// The host has no thread for it.
    #[error("the host cannot start a thread for a disk")]
    Thread(#[source] io::Error),
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
    let calls = vhd::storage::HostCalls {
        punch: Some(crate::host::punch),
        allocate: Some(crate::host::allocate),
        data: Some(crate::host::data_from),
        start_sync: Some(crate::host::start_sync),
        volume: Some(crate::host::volume),
    };
    Arc::new(vhd::storage::HostFileSystem::new(calls))
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
}

impl Image {
    /// Opens an image. Discs are opened read-only, and so is a diskette whose file cannot be written.
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
        // Only hard disks come as VHDs: a disc or diskette whose last bytes look like a VHD's footer is still what it is.
        let read_only =
            purpose == Purpose::Dvd || metadata.as_ref().is_ok_and(|m| m.permissions().readonly());
        let options = options().read_only(read_only);
        let options = if purpose == Purpose::HardDisk {
            options
        } else {
            options.format(vhd::Format::Raw)
        };
        let disk = vhd::Disk::open(path, &options).map_err(|source| Error::Open {
            path: path.to_owned(),
            purpose: words,
            source: Box::new(source),
        })?;
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
        Ok(Self {
            disk,
            path: path.to_owned(),
            info,
        })
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
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

    /// Starts the image's thread and makes it a medium. `waker` is called after each completion.
    pub fn into_medium(self, waker: Waker) -> Result<DiskMedium, Error> {
        let shared = Arc::new(Mutex::new(VecDeque::new()));
        let (requests, queue) = mpsc::channel();
        let info = self.info.clone();
        let worker = Worker {
            image: self,
            done: shared.clone(),
            waker,
        };
        let thread = std::thread::Builder::new()
            .name("disk".into())
            .spawn(move || worker.serve(&queue))
            .map_err(Error::Thread)?;
        Ok(DiskMedium {
            info,
            requests: Some(requests),
            done: shared,
            thread: Some(thread),
        })
    }
}

type Done = Arc<Mutex<VecDeque<Completion>>>;

/// An image in a drive. Dropping it carries out what is still queued, flushes, and closes the image; that may take a while and must
/// not happen under the controller's lock.
pub struct DiskMedium {
    info: MediumInfo,
    requests: Option<mpsc::Sender<Request>>,
    done: Done,
    thread: Option<JoinHandle<()>>,
}

impl Medium for DiskMedium {
    fn info(&self) -> &MediumInfo {
        &self.info
    }

    fn submit(&mut self, request: Request) {
        let Some(requests) = &self.requests else {
            return self.refuse(request);
        };
        if let Err(mpsc::SendError(request)) = requests.send(request) {
            self.refuse(request);
        }
    }

    fn completed(&mut self) -> Option<Completion> {
        lock(&self.done).pop_front()
    }
}

impl DiskMedium {
    /// The thread is gone, which only a panic in it can cause.
    fn refuse(&self, request: Request) {
        lock(&self.done).push_back(request.complete(Err(MediumError::Io)));
    }
}

impl Drop for DiskMedium {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    image: Image,
    done: Done,
    waker: Waker,
}

impl Worker {
    fn serve(self, queue: &mpsc::Receiver<Request>) {
        // A guest that hits a broken disk retries without end: a few lines a medium are enough.
        let mut lines_left = 8;
        while let Ok(mut request) = queue.recv() {
            let result = self.carry_out(&mut request).map_err(|error| {
                if let Some(cause) = error.cause.filter(|_| lines_left > 0) {
                    lines_left -= 1;
                    log::error!(
                        "{}: {request:?} failed: {}",
                        self.image.path.display(),
                        chain(&cause)
                    );
                }
                error.kind
            });
            lock(&self.done).push_back(request.complete(result));
            (self.waker)();
        }
        let path = self.image.path;
        if let Err(error) = self.image.disk.close() {
            log::error!(
                "{}: not everything could be written: {}",
                path.display(),
                chain(&error)
            );
        }
    }

    fn carry_out(&self, request: &mut Request) -> Result<(), Failure> {
        let disk = &self.image.disk;
        let len = match request.operation {
            Operation::Discard { len } | Operation::WriteZeroes { len } => len,
            Operation::Read | Operation::Write | Operation::Flush => request.buffer.len() as u64,
        };
        let end = request.offset.checked_add(len);
        if end.is_none_or(|end| end > self.image.info.len) {
            return Err(MediumError::OutOfRange.into());
        }
        let result = match request.operation {
            Operation::Read => disk.read_at(request.offset, &mut request.buffer),
            Operation::Write if self.image.info.read_only => return Err(MediumError::ReadOnly.into()),
            Operation::Write => disk.write_at(request.offset, &request.buffer),
            Operation::Flush => disk.flush(),
            Operation::Discard { .. } | Operation::WriteZeroes { .. } if self.image.info.read_only => {
                return Err(MediumError::ReadOnly.into());
            }
            Operation::Discard { len } => disk.discard(request.offset, len),
            Operation::WriteZeroes { len } => disk.write_zeroes(request.offset, len),
        };
        result.map_err(|error| Failure {
            kind: MediumError::Io,
            cause: Some(error),
        })
    }
}

/// What the drive hears, and what the log does.
struct Failure {
    kind: MediumError,
    cause: Option<vhd::Error>,
}

impl From<MediumError> for Failure {
    fn from(kind: MediumError) -> Self {
        Self { kind, cause: None }
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
