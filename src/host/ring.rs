// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Many transfers at once between memory and files.
//!
//! A [`Ring`] belongs to one thread. Requests are [pushed](Ring::push) with a token, [submitted](Ring::submit) together, and their
//! [completions](Ring::next) come in any order. The ring owns what a request uses until its completion is taken: files and memory
//! stay valid whatever the caller drops, and dropping the ring waits for what is under way.
//!
//! There are two kinds, chosen when the ring is made: io_uring, and blocking calls, which do the work inside of `submit`. The
//! first is not there on old kernels and where a sandbox forbids it.
//!
//! Not everything goes through io_uring that could. What the page cache answers at once costs less by a plain call: buffered writes
//! (which io_uring hands to a worker thread on most file systems) and single reads are tried that way first.

use super::system::{transfer, uring::Uring};
use super::{AsSource, Interest, Notifier, wait};
use std::collections::VecDeque;
use std::fs::File;
use std::io;

mod buffer;
#[cfg(test)]
mod tests;

pub use buffer::{Buffer, Slice, Slices};

/// Batches of fewer reads from the page cache are done by plain calls; from here on one `io_uring_enter` for all of them is cheaper.
const BATCH: usize = 4;

/// How a ring does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// io_uring.
    Uring,
    /// Calls that block.
    Blocking,
}

/// What passes through the host's page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// All transfers.
    Cached,
    /// None: the file was opened with `O_DIRECT`, and transfers have to be aligned.
    Direct,
}

/// A file of a ring.
#[derive(Debug)]
pub struct RingFile {
    /// Open for what the requests do.
    pub file: File,
    /// How it was opened.
    pub caching: Caching,
}

/// What a request does. `file` is an index into the ring's files; offsets are in bytes.
#[derive(Debug)]
pub enum Operation {
    /// Fills the slices from the file.
    Read {
        /// From which.
        file: usize,
        /// From where on.
        offset: u64,
        /// Where to.
        into: Slices,
    },
    /// Writes the slices to the file.
    Write {
        /// To which.
        file: usize,
        /// From where on.
        offset: u64,
        /// What.
        from: Slices,
    },
    /// Makes all writes durable that were completed before this was submitted, and the file's length.
    Sync {
        /// Of which.
        file: usize,
    },
}

/// A file that is read and written past the page cache.
#[derive(Debug)]
pub struct DirectFile {
    /// The file.
    pub file: File,
    /// What offsets in the file and lengths have to be multiples of, in bytes.
    pub offset_alignment: u64,
    /// What addresses of memory have to be multiples of, in bytes.
    pub memory_alignment: usize,
}

/// Which way a transfer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the file.
    Read,
    /// To the file.
    Write,
}

/// The end of a request: all of it was done, or it failed. A read beyond the file's end fails with
/// [`io::ErrorKind::UnexpectedEof`]. After a failure part of it may have been done.
#[derive(Debug)]
pub struct Completion {
    /// The token that was pushed with it.
    pub token: u64,
    /// How it went.
    pub result: io::Result<()>,
}

/// A request with how much of it is done.
#[derive(Debug)]
pub(super) struct Request {
    pub token: u64,
    pub operation: Operation,
    pub done: usize,
}

/// What is to be done after a step of a request.
pub(super) enum Progress {
    /// The rest.
    Again,
    /// Nothing.
    Complete(io::Result<()>),
}

impl Request {
    /// Takes note of a step: the bytes that it moved.
    pub fn step(&mut self, result: io::Result<usize>) -> Progress {
        let moved = match result {
            Ok(moved) => moved,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Progress::Again,
                    _ => Progress::Complete(Err(error)),
                };
            }
        };
        let (total, end) = match &self.operation {
            Operation::Sync { .. } => return Progress::Complete(Ok(())),
            Operation::Read { into, .. } => (into.len(), io::ErrorKind::UnexpectedEof),
            Operation::Write { from, .. } => (from.len(), io::ErrorKind::WriteZero),
        };
        self.done += moved;
        if self.done >= total {
            Progress::Complete(Ok(()))
        } else if moved == 0 {
            Progress::Complete(Err(end.into()))
        } else {
            Progress::Again
        }
    }

    /// What is left to move: which way, the file, the offset and the slices; `None` for a sync.
    pub fn transfer(&self) -> Option<(Direction, usize, u64, &Slices)> {
        match &self.operation {
            Operation::Read { file, offset, into } => {
                Some((Direction::Read, *file, offset + self.done as u64, into))
            }
            Operation::Write { file, offset, from } => {
                Some((Direction::Write, *file, offset + self.done as u64, from))
            }
            Operation::Sync { .. } => None,
        }
    }

    /// Its file.
    pub fn file(&self) -> usize {
        match self.operation {
            Operation::Read { file, .. } | Operation::Write { file, .. } | Operation::Sync { file } => file,
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Ring {
    // Configuration.
    files: Vec<RingFile>,
    depth: usize,
    // State.
    uring: Option<Uring>,
    pending: Vec<Request>,
    ready: VecDeque<Completion>,
}

impl Ring {
    /// A ring for `files` that holds up to `depth` requests. Where io_uring is refused it is a blocking one; see [`Ring::kind`].
    #[must_use]
    pub fn new(depth: u16, files: Vec<RingFile>) -> Self {
        let uring = Uring::new(depth, &files)
            .inspect_err(|error| log::debug!("io_uring is not used: {error}"))
            .ok();
        Self::with(depth, files, uring)
    }

    /// A ring that uses blocking calls.
    #[must_use]
    pub fn blocking(depth: u16, files: Vec<RingFile>) -> Self {
        Self::with(depth, files, None)
    }

    fn with(depth: u16, files: Vec<RingFile>, uring: Option<Uring>) -> Self {
        Self {
            files,
            depth: usize::from(depth),
            uring,
            pending: Vec::with_capacity(usize::from(depth)),
            ready: VecDeque::new(),
        }
    }

    /// How it does its work.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.uring {
            Some(_) => Kind::Uring,
            None => Kind::Blocking,
        }
    }

    /// How many more requests can be pushed.
    #[must_use]
    pub fn room(&self) -> usize {
        let under_way = self.uring.as_ref().map_or(0, Uring::under_way);
        self.depth.saturating_sub(under_way + self.pending.len())
    }

    /// Takes a request, to be carried out with the next [`Ring::submit`].
    ///
    /// # Errors
    /// Gives the operation back when there is no room, or no such file.
    pub fn push(&mut self, token: u64, operation: Operation) -> Result<(), Operation> {
        let request = Request {
            token,
            operation,
            done: 0,
        };
        if self.room() == 0 || request.file() >= self.files.len() {
            return Err(request.operation);
        }
        self.pending.push(request);
        Ok(())
    }

    /// Starts everything that was pushed.
    ///
    /// # Errors
    /// When the kernel takes nothing any more. What was started before goes on, and dropping the ring is still safe.
    pub fn submit(&mut self) -> io::Result<()> {
        self.stage();
        match &mut self.uring {
            Some(uring) => uring.submit(&mut self.ready),
            None => Ok(()),
        }
    }

    /// Does what plain calls do best, and queues the rest for the kernel.
    fn stage(&mut self) {
        let idle = self.uring.as_ref().is_none_or(|uring| uring.under_way() == 0);
        let mut alone = self.pending.len() < BATCH && idle;
        for mut request in self.pending.drain(..) {
            let cached = self
                .files
                .get(request.file())
                .filter(|file| file.caching == Caching::Cached);
            let result = match (&self.uring, &request.operation, cached) {
                (None, ..) | (_, Operation::Write { .. }, Some(_)) => {
                    Some(carry_out(&self.files, &mut request))
                }
                (_, Operation::Read { .. }, Some(file)) if alone => read_cached(&file.file, &mut request),
                (_, Operation::Sync { .. }, _) if alone => Some(carry_out(&self.files, &mut request)),
                _ => None,
            };
            match (result, &mut self.uring) {
                (None, Some(uring)) => {
                    alone = false;
                    uring.push(request);
                }
                (result, _) => self.ready.push_back(Completion {
                    token: request.token,
                    result: result.unwrap_or_else(|| Err(io::ErrorKind::Unsupported.into())),
                }),
            }
        }
    }

    /// The next completion, if there is one by now. Asks the kernel for no more than it has already told.
    #[expect(clippy::should_implement_trait, reason = "there may be more after `None`")]
    pub fn next(&mut self) -> Option<Completion> {
        if self.ready.is_empty()
            && let Some(uring) = &mut self.uring
        {
            uring.reap(&mut self.ready);
        }
        self.ready.pop_front()
    }

    /// Submits, and waits until there is a completion, or until `wake` is raised. Without either to wait for it returns at once.
    ///
    /// # Errors
    /// As [`Ring::submit`].
    pub fn wait(&mut self, wake: Option<&Notifier>) -> io::Result<()> {
        self.stage();
        match (&mut self.uring, wake) {
            (Some(uring), _) if !self.ready.is_empty() => uring.submit(&mut self.ready),
            (Some(uring), wake) if uring.under_way() > 0 => uring.wait(wake, &mut self.ready),
            (_, Some(wake)) if self.ready.is_empty() => {
                wait(&[(wake.as_source(), Interest::Read)], None).map(drop)
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Some(uring) = &mut self.uring {
            uring.drain();
        }
    }
}

/// Does a request by calls that block.
fn carry_out(files: &[RingFile], request: &mut Request) -> io::Result<()> {
    let Some(RingFile { file, .. }) = files.get(request.file()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    loop {
        let result = match request.transfer() {
            None => transfer::sync(file),
            // An empty transfer would look like the end of the file.
            Some((.., slices)) if slices.is_empty() => return Ok(()),
            Some((direction, _, offset, slices)) => {
                transfer::blocking(direction, file, offset, slices, request.done)
            }
        };
        if let Progress::Complete(result) = request.step(result) {
            return result;
        }
    }
}

/// Reads what the page cache has; `None` if that was not all of it.
fn read_cached(file: &File, request: &mut Request) -> Option<io::Result<()>> {
    let (_, _, offset, slices) = request.transfer()?;
    if slices.is_empty() {
        return Some(Ok(()));
    }
    // Whatever else it is, io_uring says it too.
    match request.step(Ok(transfer::read_cached(file, offset, slices).unwrap_or(0))) {
        Progress::Complete(Ok(())) => Some(Ok(())),
        Progress::Complete(Err(_)) | Progress::Again => None,
    }
}

/// A file of which is read what memory holds.
#[derive(Debug)]
pub struct CachedFile {
    file: File,
    /// All of it is in memory, always.
    in_memory: bool,
}

impl CachedFile {
    /// A file that can be read.
    pub fn new(file: File) -> Self {
        let in_memory = transfer::is_in_memory(&file);
        Self { file, in_memory }
    }

    /// Reads, if all of it is in memory; false if not, and then part of the slices may have changed. Never waits for a disk.
    ///
    /// # Errors
    /// The file's volume cannot say what is in memory.
    pub fn read(&self, offset: u64, into: &Slices) -> io::Result<bool> {
        let len = into.len();
        if len == 0 {
            return Ok(true);
        }
        let moved = match self.in_memory {
            true => transfer::blocking(Direction::Read, &self.file, offset, into, 0).unwrap_or(0),
            false => transfer::read_cached(&self.file, offset, into)?,
        };
        Ok(moved == len)
    }
}
