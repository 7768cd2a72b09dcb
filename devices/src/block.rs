// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a drive holds: a disk, a disc or a diskette, with owned requests and completions.
//!
//! A drive hands a [`Request`] to its [`Medium`] and goes on; the medium's owner does the I/O elsewhere and then has the drive's
//! controller look for the [`Completion`] with [`Medium::completed`]. So no processor ever waits for a disk, and a test may hold a
//! request back for as long as it likes. A request that is dropped without [`Request::complete`] would hang its guest: it is logged
//! as the bug that it is, and stops a debug build.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// From the medium.
    Read,
    /// To the medium.
    Write,
    /// Make all completed writes durable. There is neither offset nor data.
    Flush,
    /// Forget what the medium holds from the offset on: what is read there later is anybody's guess. There is no data.
    Discard {
        /// Bytes.
        len: u64,
    },
    /// Make the medium read as zeros from the offset on, if it can without writing them. There is no data.
    WriteZeroes {
        /// Bytes.
        len: u64,
    },
}

/// Why a medium could not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum MediumError {
    /// The range does not lie on the medium.
    #[error("the range is outside the medium")]
    OutOfRange,
    /// The medium cannot be written.
    #[error("the medium is read-only")]
    ReadOnly,
    /// The host failed; the medium's owner has said why in the log.
    #[error("the host could not carry out the transfer")]
    Io,
}

/// A piece of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub len: u64,
}

/// Where a transfer's data goes or comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// A buffer that travels with the request.
    Buffer(Vec<u8>),
    /// Guest memory, one piece after the other. Only for media that [reach it](Medium::reaches_memory); a piece that is not all RAM
    /// fails the request, and part of the data may have moved then.
    Memory(Vec<Segment>),
}

impl Data {
    /// Bytes of the transfer.
    pub fn len(&self) -> u64 {
        match self {
            Self::Buffer(buffer) => buffer.len() as u64,
            // A sum that overflows fits no medium.
            Self::Memory(segments) => segments.iter().fold(0, |len, s| len.saturating_add(s.len)),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer; an empty one if there is none.
    pub fn into_buffer(self) -> Vec<u8> {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Memory(_) => Vec::new(),
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self::Buffer(Vec::new())
    }
}

impl From<Vec<u8>> for Data {
    fn from(buffer: Vec<u8>) -> Self {
        Self::Buffer(buffer)
    }
}

impl From<Vec<Segment>> for Data {
    fn from(segments: Vec<Segment>) -> Self {
        Self::Memory(segments)
    }
}

/// One transfer. Its data comes back in the [`Completion`].
pub struct Request {
    /// What to do.
    pub operation: Operation,
    /// First byte on the medium.
    pub offset: u64,
    /// Where the data goes or comes from; its length is the length of the transfer.
    pub data: Data,
    tag: u64,
    finished: bool,
}

impl Request {
    /// A request that its sender will know again by `tag`.
    pub fn new(operation: Operation, offset: u64, data: impl Into<Data>, tag: u64) -> Self {
        Self {
            operation,
            offset,
            data: data.into(),
            tag,
            finished: false,
        }
    }

    /// Ends the request. This is the only right way to let go of it.
    pub fn complete(mut self, result: Result<(), MediumError>) -> Completion {
        self.finished = true;
        Completion {
            operation: self.operation,
            offset: self.offset,
            data: std::mem::take(&mut self.data),
            tag: self.tag,
            result,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {}+{} (tag {})",
            self.operation,
            self.offset,
            self.data.len(),
            self.tag
        )
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.finished {
            log::error!("a disk request was dropped without being completed: {self:?}");
            debug_assert!(
                std::thread::panicking(),
                "{self:?} was dropped without being completed"
            );
        }
    }
}

/// The end of a [`Request`].
#[derive(Debug)]
pub struct Completion {
    /// What was to be done.
    pub operation: Operation,
    /// First byte on the medium.
    pub offset: u64,
    /// The request's; after a failed read it means nothing.
    pub data: Data,
    /// The sender's tag.
    pub tag: u64,
    /// How it went.
    pub result: Result<(), MediumError>,
}

/// A disk's shape in cylinders, heads and sectors a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chs {
    /// Cylinders (tracks a side, on a diskette).
    pub cylinders: u32,
    /// Heads.
    pub heads: u32,
    /// Sectors a track, numbered from 1.
    pub sectors: u32,
}

/// What a drive may know of a medium before it reads it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MediumInfo {
    /// Length in bytes.
    pub len: u64,
    /// Writes are refused.
    pub read_only: bool,
    /// The shape that the image itself names, if it does.
    pub geometry: Option<Chs>,
    /// An identity that is the same each time this medium is opened (hex digits), if it has one.
    pub serial: Option<String>,
}

/// Something with sectors in it.
///
/// Contract: a medium checks ranges itself and answers [`MediumError::OutOfRange`]; it completes every request exactly once, in any
/// order (a flush covers the writes that were *completed* before it was submitted); it may complete inside [`submit`](Medium::submit),
/// so a drive asks [`completed`](Medium::completed) right after; it never calls the drive while either method runs.
pub trait Medium: Send {
    /// What is known of the medium when it comes into the drive. (A disk that gets another size later tells its drive by other ways.)
    fn info(&self) -> &MediumInfo;
    /// Whether requests may name guest memory, which spares the copy through a buffer.
    fn reaches_memory(&self) -> bool {
        false
    }
    /// Asks for attendance: the medium's thread then calls the drive's controller again and again, for as long as it is asked again each
    /// time, so that a guest that keeps requests coming need not ring for each of them. `found` is how many requests there were since the
    /// last time. False: nobody attends, or not any more, and the guest has to ring.
    fn attend(&mut self, found: usize) -> bool {
        let _ = found;
        false
    }
    /// Takes a request. Never blocks.
    fn submit(&mut self, request: Request);
    /// The next finished request.
    fn completed(&mut self) -> Option<Completion>;
}
