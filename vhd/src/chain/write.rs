// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Changing the disk: tickets for writes, zeroing and discarding.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::Chain;
use super::extent::{Extent, Source};
use super::leaf::{Leaf, Outcome};
use super::space::write_zeros;
use crate::error::{Error, Kind, Result};
use crate::format::spec;

/// Requests larger than this are done in pieces, so that one of them cannot hold space for the whole disk.
const PIECE: u64 = 64 << 20;

/// A piece of the disk with the place in the leaf's file that takes its new content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteExtent {
    /// Where it starts on the disk, in bytes.
    pub offset: u64,
    /// Its length in bytes; never zero.
    pub len: u64,
    /// Where it goes in the file of layer 0, in bytes.
    pub file_offset: u64,
    /// The place reads as zeros now: zeros need not be written.
    pub fresh: bool,
}

/// A write that has begun. See [`crate::Disk::begin_write`].
///
/// The blocks it touches stay where they are until it ends. Dropping it aborts the write.
#[derive(Debug)]
#[must_use = "a write that is not committed is lost"]
pub struct WriteTicket {
    chain: Arc<Chain>,
    pending: Pending,
}

impl WriteTicket {
    pub(crate) fn new(chain: &Arc<Chain>, range: Range<u64>) -> Result<Self> {
        let pending = chain.begin_write(range)?;
        Ok(Self {
            chain: Arc::clone(chain),
            pending,
        })
    }

    /// Where the data goes, in order.
    #[must_use]
    pub fn extents(&self) -> &[WriteExtent] {
        &self.pending.extents
    }

    /// All of the data is in the file: from now on reads of the range find it there. It is durable after a flush.
    ///
    /// # Errors
    /// When many writes wait for a flush this does one, and that failed.
    pub fn commit(mut self) -> Result<()> {
        self.chain.finish_write(&mut self.pending, Outcome::Commit);
        self.chain.flush_if_wanted()
    }

    /// Nothing, or not all, of the data was written, and that is no failure of the host.
    ///
    /// What was written so far may be what is read in its place from now on.
    pub fn abort(self) {}

    /// Writing the data failed: the disk becomes read-only. Returns the error to report.
    pub fn fail(self, error: io::Error) -> Error {
        self.chain.write_io(error, "writing data to")
    }
}

impl Drop for WriteTicket {
    fn drop(&mut self) {
        self.chain.finish_write(&mut self.pending, Outcome::Abort);
    }
}

/// A write that has begun: where it goes, and what of it has not ended yet.
#[derive(Debug)]
pub(crate) struct Pending {
    range: Range<u64>,
    extents: Vec<WriteExtent>,
}

impl Chain {
    /// Finds or makes a place for every byte of the range.
    pub fn begin_write(&self, range: Range<u64>) -> Result<Pending> {
        self.check_writable()?;
        let Some(leaf) = self.leaf() else {
            let (offset, len) = (range.start, range.end - range.start);
            let whole = WriteExtent {
                offset,
                len,
                file_offset: offset,
                fresh: false,
            };
            let extents = if len == 0 { Vec::new() } else { vec![whole] };
            return Ok(Pending { range, extents });
        };
        if !range.start.is_multiple_of(spec::SECTOR) || !range.end.is_multiple_of(spec::SECTOR) {
            return Err(Error::new(Kind::OutOfRange, &self.top().path));
        }
        let mut extents: Vec<WriteExtent> = Vec::new();
        for (block, part) in leaf.split(range.clone()) {
            let (sector, fresh) = match leaf.begin(self, block) {
                Ok(place) => place,
                Err(error) => {
                    let begun = range.start..part.start;
                    self.finish_write(
                        &mut Pending {
                            range: begun,
                            extents: Vec::new(),
                        },
                        Outcome::Abort,
                    );
                    return Err(error);
                }
            };
            let file_offset = leaf.blocks.locate(sector, part.start);
            let len = part.end - part.start;
            match extents.last_mut() {
                Some(last) if last.file_offset + last.len == file_offset && last.fresh == fresh => {
                    last.len += len;
                }
                _ => extents.push(WriteExtent {
                    offset: part.start,
                    len,
                    file_offset,
                    fresh,
                }),
            }
        }
        Ok(Pending { range, extents })
    }

    /// Ends a write; a second time does nothing.
    fn finish_write(&self, pending: &mut Pending, outcome: Outcome) {
        let range = std::mem::take(&mut pending.range);
        if range.is_empty() {
            return;
        }
        if let Some(leaf) = self.leaf() {
            for (block, part) in leaf.split(range) {
                leaf.finish(block, &part, outcome);
            }
        }
        if outcome == Outcome::Commit {
            self.note_written();
        }
    }

    /// Keeps the memory that changed structures take below its cap.
    fn flush_if_wanted(&self) -> Result<()> {
        match self.leaf() {
            Some(leaf) if leaf.wants_flush() => self.flush(),
            _ => Ok(()),
        }
    }

    /// Writes a buffer, at any offset.
    pub fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<()> {
        let range = self.check(offset, buffer.len() as u64)?;
        self.check_writable()?;
        if self.leaf().is_none() {
            return self.write_aligned(offset, buffer);
        }
        let first = range.start.next_multiple_of(spec::SECTOR).min(range.end);
        let last = (range.end - range.end % spec::SECTOR).max(first);
        let (head, rest) = buffer
            .split_at_checked((first - range.start) as usize)
            .unwrap_or((buffer, &[]));
        let (body, tail) = rest
            .split_at_checked((last - first) as usize)
            .unwrap_or((rest, &[]));
        self.write_inside_sector(range.start, head)?;
        self.write_aligned(first, body)?;
        self.write_inside_sector(last, tail)
    }

    /// Writes a part of one sector: the rest of it comes from wherever the chain has it.
    fn write_inside_sector(&self, offset: u64, part: &[u8]) -> Result<()> {
        if part.is_empty() {
            return Ok(());
        }
        let _guard = self.lock_unaligned();
        let start = offset - offset % spec::SECTOR;
        let mut sector = [0; spec::SECTOR as usize];
        self.read_at(start, &mut sector)?;
        let from = (offset - start) as usize;
        if let Some(target) = sector.get_mut(from..from + part.len()) {
            target.copy_from_slice(part);
        }
        self.write_aligned(start, &sector)
    }

    fn write_aligned(&self, offset: u64, buffer: &[u8]) -> Result<()> {
        let mut at = offset;
        for piece in buffer.chunks(PIECE as usize) {
            let mut pending = self.begin_write(at..at + piece.len() as u64)?;
            let mut rest = piece;
            for extent in &pending.extents {
                let (part, behind) = rest.split_at_checked(extent.len as usize).unwrap_or((rest, &[]));
                rest = behind;
                if let Err(error) = self.top().storage.write_at(part, extent.file_offset) {
                    let error = self.write_io(error, "writing data to");
                    self.finish_write(&mut pending, Outcome::Abort);
                    return Err(error);
                }
            }
            self.finish_write(&mut pending, Outcome::Commit);
            self.flush_if_wanted()?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Makes a range of whole sectors read as zeros, with as little space and I/O as possible.
    pub fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        self.clear(self.check(offset, len)?, Clear::Zero)
    }

    /// Tells that the content of a range is of no use any more. It may read as before or as zeros.
    pub fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.clear(self.check(offset, len)?, Clear::Discard)
    }

    fn clear(&self, range: Range<u64>, how: Clear) -> Result<()> {
        self.check_writable()?;
        let Some(leaf) = self.leaf() else {
            let result = self.clear_in_file(range, how);
            self.note_written();
            return result;
        };
        let aligned = range.start.is_multiple_of(spec::SECTOR) && range.end.is_multiple_of(spec::SECTOR);
        let range = match how {
            Clear::Zero if !aligned => return Err(Error::new(Kind::OutOfRange, &self.top().path)),
            Clear::Zero => range,
            Clear::Discard => {
                let start = range.start.next_multiple_of(spec::SECTOR);
                start..(range.end - range.end % spec::SECTOR).max(start)
            }
        };
        for (block, part) in leaf.split(range) {
            self.clear_in_block(leaf, block, part, how)?;
            self.flush_if_wanted()?;
        }
        Ok(())
    }

    fn clear_in_block(&self, leaf: &Leaf, block: u32, part: Range<u64>, how: Clear) -> Result<()> {
        let whole = part.end - part.start == u64::from(leaf.blocks.sectors(block)) * spec::SECTOR;
        // Without the block the parents' content shows, so it can go only where that is zero too.
        if whole && self.base_is_zero(part.clone())? && leaf.free(block) {
            self.note_written();
            return Ok(());
        }
        let mut pieces = Vec::new();
        let phase = self.enter();
        let found = self.resolve(part, |extent| {
            match (extent.source, how) {
                (Source::Zero, _) => {}
                // Only the leaf's own space can be given back.
                (Source::File { layer, .. }, Clear::Discard) if layer != 0 => {}
                _ => pieces.push(extent),
            }
            Ok(())
        });
        self.leave(phase);
        found?;
        for Extent { offset, len, .. } in pieces {
            let mut pending = self.begin_write(offset..offset + len)?;
            let mut result = Ok(());
            for extent in pending.extents.iter().filter(|extent| !extent.fresh) {
                result = result.and_then(|()| {
                    self.clear_in_file(extent.file_offset..extent.file_offset + extent.len, how)
                });
            }
            let outcome = if result.is_ok() {
                Outcome::Commit
            } else {
                Outcome::Abort
            };
            self.finish_write(&mut pending, outcome);
            result?;
        }
        Ok(())
    }

    fn clear_in_file(&self, range: Range<u64>, how: Clear) -> Result<()> {
        let storage = &self.top().storage;
        match storage.punch(range.clone()) {
            Ok(true) => Ok(()),
            // What a hole cannot do, a write of zeros can; a discard is content with nothing.
            Ok(false) | Err(_) if how == Clear::Zero => write_zeros(self, range),
            Ok(false) | Err(_) => Ok(()),
        }
    }
}

/// What clearing a range promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clear {
    /// The range reads as zeros afterwards.
    Zero,
    /// Nothing; space is given back if it can be.
    Discard,
}
