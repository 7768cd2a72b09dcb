// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an image is stored in, and where images are found.
//!
//! [`Storage`] is one open file; [`FileSystem`] opens, creates and names them. The library does all of its I/O
//! through these two, so that tests can cut the power and a host can bring calls that the standard library lacks.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

mod file;
mod memory;

pub use file::{DataCall, FileStorage, HostCalls, HostFileSystem, RangeCall, StartCall, VolumeCall};
pub use memory::{MemoryFileSystem, MemoryStorage};

/// One open file, addressed by position. All calls may come from many threads at once.
///
/// Callers never ask for ranges that overflow, and check ranges against the file's length where the format calls
/// for it; an implementation reports what the host says.
pub trait Storage: Send + Sync + fmt::Debug {
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Fills all of `buffer` from `offset` on; [`io::ErrorKind::UnexpectedEof`] when the file ends before that.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buffer` at `offset`. A file that ends before `offset` grows, with zeros in between.
    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts or extends the file; bytes that come into being are zero.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes all completed writes and changes of length durable.
    fn sync(&self) -> io::Result<()>;

    /// Makes a range read as zeros and gives its space back to the host. `false`: not supported, nothing changed.
    fn punch(&self, range: Range<u64>) -> io::Result<bool>;

    /// Reserves space so that later writes to the range cannot run out of it. `false`: not supported.
    fn allocate(&self, range: Range<u64>) -> io::Result<bool>;

    /// The first range at `offset` or behind that may hold anything but zeros; empty when there is none. What it leaves
    /// out need not be read.
    fn data_from(&self, offset: u64) -> io::Result<Range<u64>> {
        Ok(offset..self.len()?.max(offset))
    }

    /// Begins to bring to the disk what was written, without waiting for it, so that a later [`Storage::sync`] finds
    /// less to do. It promises nothing.
    fn start_sync(&self) {}

    /// The file itself, for callers that do payload I/O on their own.
    fn file(&self) -> Option<&File> {
        None
    }
}

/// How a file is opened, and which other openings that excludes, in this program and in others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For reading; excludes writers.
    Shared,
    /// For reading and writing; excludes everyone.
    Exclusive,
}

/// What a host volume can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    /// Bytes that this user may still fill.
    pub free: u64,
    /// Bytes of the largest file that it can hold, where that is less than any image has.
    pub largest_file: Option<u64>,
    /// Whether it is a CD or DVD.
    pub optical: bool,
}

/// Where images are.
pub trait FileSystem: Send + Sync + fmt::Debug {
    /// Opens an existing file and locks it; [`io::ErrorKind::WouldBlock`] when the lock is held elsewhere.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn Storage>>;

    /// Makes a new file, exclusively locked; [`io::ErrorKind::AlreadyExists`] when the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn Storage>>;

    /// Gives a complete file its final name, durably; [`io::ErrorKind::AlreadyExists`] when that is taken.
    fn publish(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Puts a complete file in the place of another one, which keeps its time of change and its permissions: whoever
    /// opens that name finds either the one or the other, and after this, durably, the new one.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The one absolute name of a file, by which two ways to it can be compared.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;

    /// When the file's content last changed.
    fn modified(&self, path: &Path) -> io::Result<SystemTime>;

    /// Gives a file the time of its last modification.
    fn set_modified(&self, path: &Path, time: SystemTime) -> io::Result<()>;

    /// The files in a folder, in no order.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes a folder with all that lead to it, and returns those that were not there before, the outermost first.
    fn create_folders(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// Removes an empty folder.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;

    /// What the volume of a folder can take; `None` where nobody knows.
    fn volume(&self, folder: &Path) -> io::Result<Option<Volume>>;
}
