// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Making one disk read as another does, with as few reads and writes as that takes.
//!
//! One thread reads a piece and writes it. The piece stays in the processor's cache, so that only one of the two copies goes
//! through memory; pieces of 2 MiB take several times as long. The target's disk is busy meanwhile: it is told to begin
//! with what was written ([`crate::storage::Storage::start_sync`]), so that the sync at the end has little left to wait for.

use std::ops::Range;
use std::sync::Arc;

use crate::buffer::PageBuffer;
use crate::chain::extent::{Extent, Source};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::spec;
use crate::image::Format;
use crate::storage::Storage;
use crate::task::Watch;

/// Bytes that are moved in one step: the most that a cancelled transfer still does.
const STEP: u64 = 2 << 20;
/// Bytes that are read and written at a time. See above.
const PIECE: u64 = 256 << 10;
/// Bytes after which the target's disk is told to begin.
const BATCH: u64 = 8 << 20;

/// What is known of the two disks beforehand, so that it need not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The target was just made, and reads as zeros.
    Empty,
    /// Nothing: all of both is compared.
    All,
    /// What its top image has; for all else the target reads as the source already.
    Leaf,
    /// As [`Scope::Leaf`], and the target is not read: what its file has in the same place is written over.
    Over,
}

/// Writes to `target` what differs from `source`, up to the end of the shorter one. Returns how many bytes it wrote.
///
/// Zeros are not written where the target reads as zeros, so a sparse target stays as sparse as it can be. It is not
/// durable before the target is flushed.
pub(crate) fn transfer(source: &Disk, target: &Disk, scope: Scope, watch: &Watch) -> Result<u64> {
    let len = source.len().min(target.len());
    let mut mover = Mover::new(source, target, scope);
    let mut extents = Vec::new();
    watch.begin(len);
    let mut at = 0;
    while at < len {
        watch.check(target)?;
        let end = (at + STEP).min(len);
        extents.clear();
        let guard = source.resolve_read(at..end, &mut extents)?;
        for extent in extents.iter().filter(|extent| wanted(extent, scope)) {
            mover.move_extent(extent)?;
        }
        drop(guard);
        watch.advance(end - at);
        at = end;
    }
    Ok(mover.written)
}

/// Whether an extent has to be looked at.
fn wanted(extent: &Extent, scope: Scope) -> bool {
    match (scope, extent.source) {
        (Scope::Empty | Scope::All, _) | (Scope::Leaf | Scope::Over, Source::File { layer: 0, .. }) => true,
        (Scope::Leaf | Scope::Over, Source::File { .. } | Source::Zero) => false,
    }
}

/// A transfer under way.
struct Mover<'a> {
    // Wiring.
    source: &'a Disk,
    target: &'a Disk,
    target_file: Option<Arc<dyn Storage>>,
    // Configuration.
    scope: Scope,
    /// What is written is whole ones of these, in bytes.
    grain: usize,
    // State.
    new: PageBuffer,
    old: PageBuffer,
    written: u64,
    /// What `written` was when the target's disk was told to begin.
    begun: u64,
}

/// What a part of the target holds so far.
enum Old {
    Zero,
    /// The bytes in the buffer for that.
    Read,
    Unknown,
}

impl<'a> Mover<'a> {
    fn new(source: &'a Disk, target: &'a Disk, scope: Scope) -> Self {
        Self {
            source,
            target,
            target_file: target.storage(0),
            scope,
            // A sector is the finest that an image over a parent can hold; others are written in pages, as the host would.
            grain: match target.format() {
                Format::Differencing => spec::SECTOR as usize,
                Format::Raw | Format::Fixed | Format::Dynamic => 4096,
            },
            new: PageBuffer::new(PIECE as usize),
            old: PageBuffer::new(if matches!(scope, Scope::All | Scope::Leaf) {
                PIECE as usize
            } else {
                0
            }),
            written: 0,
            begun: 0,
        }
    }

    fn move_extent(&mut self, extent: &Extent) -> Result<()> {
        let mut at = extent.offset;
        let end = extent.offset + extent.len;
        while at < end {
            let data = self.data_from(extent, at)?;
            self.move_zeros(at..data.start)?;
            at = data.start;
            while at < data.end {
                // Pieces end on borders of their size, wherever the extent begins.
                let stop = data.end.min((at / PIECE + 1) * PIECE);
                self.move_bytes(at..stop)?;
                at = stop;
            }
        }
        Ok(())
    }

    /// The next part of an extent that may be anything but zeros, from `at` on.
    fn data_from(&self, extent: &Extent, at: u64) -> Result<Range<u64>> {
        let end = extent.offset + extent.len;
        let Source::File { layer, offset } = extent.source else {
            return Ok(end..end);
        };
        // A short one is read sooner than asked about.
        let (Some(storage), true) = (self.source.storage(layer), end - at >= PIECE) else {
            return Ok(at..end);
        };
        let place = offset + (at - extent.offset);
        let data = storage.data_from(place).map_err(|error| {
            let layer = self.source.layers().nth(layer);
            let path = layer.map_or(self.source.path(), |layer| layer.path());
            Error::io(error, path, "finding the holes of")
        })?;
        // In places of the disk. An empty range, or one that is behind the extent, leaves nothing.
        if data.is_empty() {
            return Ok(end..end);
        }
        let on_disk = |place_of: u64| at.saturating_add(place_of.saturating_sub(place)).min(end);
        Ok(on_disk(data.start)..on_disk(data.end))
    }

    /// Gives the target zeros.
    fn move_zeros(&mut self, range: Range<u64>) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let stop = range.end.min((at / PIECE + 1) * PIECE);
            let old = self.old(at..stop)?;
            if !matches!(old, Old::Zero) {
                let new = self.new.get_mut(..(stop - at) as usize).unwrap_or_default();
                new.fill(0);
                self.write_changes(at, (stop - at) as usize, &old)?;
            }
            at = stop;
        }
        Ok(())
    }

    fn move_bytes(&mut self, range: Range<u64>) -> Result<()> {
        let len = (range.end - range.start) as usize;
        let new = self.new.get_mut(..len).unwrap_or_default();
        self.source.read_at(range.start, new)?;
        let at = range.start;
        let old = self.old(range)?;
        self.write_changes(at, len, &old)
    }

    /// What the target holds in a range of one piece, as far as that has to be known.
    fn old(&mut self, range: Range<u64>) -> Result<Old> {
        if self.scope == Scope::Empty {
            return Ok(Old::Zero);
        }
        let mut extents = Vec::new();
        let guard = self.target.resolve_read(range.clone(), &mut extents)?;
        drop(guard);
        if extents.iter().all(|extent| extent.source == Source::Zero) {
            return Ok(Old::Zero);
        }
        if self.scope == Scope::Over {
            return Ok(Old::Unknown);
        }
        let len = (range.end - range.start) as usize;
        let old = self.old.get_mut(..len).unwrap_or_default();
        self.target.read_at(range.start, old)?;
        Ok(Old::Read)
    }

    /// Writes the runs of grains of the new bytes that the target does not have.
    fn write_changes(&mut self, offset: u64, len: usize, old: &Old) -> Result<()> {
        let mut run = 0..0;
        while run.end < len {
            let grain = run.end..(run.end + self.grain).min(len);
            let new = self.new.get(grain.clone()).unwrap_or_default();
            let same = match old {
                Old::Zero => is_zero(new),
                Old::Read => self.old.get(grain.clone()) == Some(new),
                Old::Unknown => false,
            };
            if same {
                self.write(offset, run)?;
                run = grain.end..grain.end;
            } else {
                run.end = grain.end;
            }
        }
        self.write(offset, run)
    }

    /// Writes a part of the new bytes, the first of which belongs at `offset`.
    fn write(&mut self, offset: u64, part: Range<usize>) -> Result<()> {
        let new = self.new.get(part.clone()).unwrap_or_default();
        if new.is_empty() {
            return Ok(());
        }
        self.target.write_at(offset + part.start as u64, new)?;
        self.written += new.len() as u64;
        if self.written - self.begun >= BATCH {
            self.begun = self.written;
            if let Some(file) = &self.target_file {
                file.start_sync();
            }
        }
        Ok(())
    }
}

/// Whether there is nothing but zeros; at the speed of memory.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    // Some words at a time, without a branch, are done by wide instructions; the first that is not zero ends it.
    let zero = |words: &[[u8; 16]]| words.iter().fold(0, |all, word| all | u128::from_ne_bytes(*word)) == 0;
    words.chunks(16).all(zero) && rest.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::is_zero;

    #[test]
    fn one_bit_anywhere_is_not_zero() {
        for len in [0, 1, 15, 16, 17, 300, 512, 4096, 4099] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes));
            for at in 0..len {
                bytes[at] = 0x40;
                assert!(!is_zero(&bytes), "{at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}
