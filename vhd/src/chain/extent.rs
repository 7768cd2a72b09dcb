// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Extents: pieces of the disk with the place where they are.

use crate::error::Result;

/// A piece of the disk that is in one piece in one file, or nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where it starts on the disk, in bytes.
    pub offset: u64,
    /// Its length in bytes; never zero.
    pub len: u64,
    /// Where its content is.
    pub source: Source,
}

/// Where the content of an extent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: it reads as zeros.
    Zero,
    /// In the file of a layer.
    File {
        /// Index into [`crate::Disk::layers`]; the leaf is 0.
        layer: usize,
        /// File offset in bytes.
        offset: u64,
    },
}

impl Source {
    /// The source of what lies `distance` bytes further on, if it is one piece.
    const fn after(self, distance: u64) -> Self {
        match self {
            Self::Zero => Self::Zero,
            Self::File { layer, offset } => Self::File {
                layer,
                offset: offset + distance,
            },
        }
    }
}

/// Takes pieces of a resolved range, in order and without gaps.
pub(crate) trait Sink {
    /// The disk's bytes from `start` to `end` are at `source`. Empty pieces are fine.
    fn push(&mut self, start: u64, end: u64, source: Source) -> Result<()>;

    /// Asked before a file is read to learn what is next: false ends the search with [`crate::Kind::Cancelled`].
    fn may_read(&self) -> bool;
}

/// Joins pieces that go on where the one before ended.
pub(crate) struct Joiner<'a, F: FnMut(Extent) -> Result<()>> {
    held: Option<Extent>,
    each: &'a mut F,
    may_read: bool,
}

impl<'a, F: FnMut(Extent) -> Result<()>> Joiner<'a, F> {
    pub fn new(each: &'a mut F) -> Self {
        Self {
            held: None,
            each,
            may_read: true,
        }
    }

    /// One that ends the search where memory does not know what is next.
    pub fn known(each: &'a mut F) -> Self {
        Self {
            may_read: false,
            ..Self::new(each)
        }
    }

    /// Hands the last piece over.
    pub fn finish(self) -> Result<()> {
        self.held.map_or(Ok(()), self.each)
    }
}

impl<F: FnMut(Extent) -> Result<()>> Sink for Joiner<'_, F> {
    fn may_read(&self) -> bool {
        self.may_read
    }

    fn push(&mut self, start: u64, end: u64, source: Source) -> Result<()> {
        if start == end {
            return Ok(());
        }
        let next = Extent {
            offset: start,
            len: end - start,
            source,
        };
        match &mut self.held {
            Some(held) if held.source.after(held.len) == source => held.len += next.len,
            held => {
                if let Some(full) = held.replace(next) {
                    (self.each)(full)?;
                }
            }
        }
        Ok(())
    }
}
