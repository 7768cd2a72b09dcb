// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Space in the leaf's file: where the next block goes, and what can be used again.
//!
//! A new block is placed so that its *data* starts on a 4 KiB border, with the bitmap right before it and at least
//! one sector left before that. The end footer stands in such a sector: the place where the next block's padding
//! begins. So no block is ever laid over a footer, and all space a block gets is either new, and then it is zero,
//! or was made zero before.
//!
//! The file grows by many blocks at a time. When the disk is closed it is cut again behind the last block.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zerocopy::IntoBytes;

use super::Chain;
use super::leaf::Leaf;
use crate::error::{Error, Kind, Result};
use crate::format::{Footer, spec};
use crate::image::sparse::{Blocks, Sparse, Tail};
use crate::image::table::Table;

/// What data is aligned to: the page of the host and the sector of new drives.
pub(crate) const ALIGNMENT: u64 = 4096;

/// Zeros are written in pieces of this size.
const ZEROS: usize = 256 << 10;

#[derive(Debug)]
pub(crate) struct Space {
    // Configuration.
    blocks: Blocks,
    /// How far the file grows ahead, in bytes.
    ahead: u64,
    /// This library made the file, so nothing but blocks can be behind its structures.
    own: bool,
    tail: Tail,
    // State.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The file may grow: see [`Space::prepare`].
    prepared: bool,
    /// The next block's padding starts here.
    next: u64,
    /// Bytes of the file.
    len: u64,
    /// The footer has to be written at the end of the file.
    footer_moved: bool,
    /// The file's length or blocks were changed, so that closing has something to do.
    touched: bool,
    free: Vec<Free>,
    limbo: Vec<Limbo>,
    /// Ranges of the file between blocks, left by blocks that were freed before the image was opened; the first in
    /// the file is the last here. Anything may be in them.
    gaps: Vec<Range<u64>>,
}

/// Space for a block that no table entry names, neither in memory nor on disk.
#[derive(Debug, Clone, Copy)]
struct Free {
    sector: u32,
    /// It reads as zeros.
    clean: bool,
}

/// As [`Free`], but a reader may still look at it.
#[derive(Debug, Clone, Copy)]
struct Limbo {
    sector: u32,
    /// The phases of readers that were seen empty since.
    quiet: [bool; 2],
}

impl Space {
    /// For an image as it was opened, with its table.
    pub fn new(sparse: &Sparse, footer: &Footer, table: &Table, writable: bool, ahead: u64) -> Self {
        let own = is_own(footer);
        let tail = sparse.tail;
        // In a file of another program anything may stand behind the last block; it stays there.
        let next = if own {
            tail.end.next_multiple_of(ALIGNMENT)
        } else {
            tail.end.max(tail.limit).next_multiple_of(spec::SECTOR)
        };
        let gaps = if own && writable {
            gaps(table, sparse)
        } else {
            Vec::new()
        };
        let state = State {
            prepared: false,
            next,
            len: tail.file_len,
            footer_moved: false,
            touched: false,
            free: Vec::new(),
            limbo: Vec::new(),
            gaps,
        };
        Self {
            blocks: sparse.blocks,
            ahead,
            own,
            tail,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds room for a block; its bitmap and its data read as zeros.
    pub fn reserve(&self, chain: &Chain, leaf: &Leaf) -> Result<u32> {
        self.reclaim(chain);
        if let Some(Free { sector, clean }) = self.recycle() {
            if !clean {
                let start = u64::from(sector) * spec::SECTOR;
                write_zeros(chain, start..start + self.blocks.footprint())?;
            }
            return Ok(sector);
        }
        let mut state = self.state();
        self.prepare(chain, leaf, &mut state)?;
        let (sector, end) = self.slot(state.next);
        // The next footer has to fit too.
        if end + spec::SECTOR > u64::from(spec::UNUSED) * spec::SECTOR {
            return Err(Error::new(Kind::FileTooLarge, &chain.top().path));
        }
        if end + spec::SECTOR > state.len {
            self.grow(chain, leaf, &mut state, end)?;
        }
        state.next = end;
        Ok(sector)
    }

    /// Takes a free block, or as much of a gap as one needs.
    fn recycle(&self) -> Option<Free> {
        let mut state = self.state();
        if let Some(free) = state.free.pop() {
            return Some(free);
        }
        while let Some(gap) = state.gaps.last_mut() {
            let data = (gap.start + self.blocks.bitmap).next_multiple_of(ALIGNMENT);
            if data + self.blocks.size() <= gap.end {
                gap.start = data + self.blocks.size();
                let sector = ((data - self.blocks.bitmap) / spec::SECTOR) as u32;
                return Some(Free { sector, clean: false });
            }
            state.gaps.pop();
        }
        None
    }

    /// The block whose padding starts at `start`: its first sector, and where the next one's padding starts.
    fn slot(&self, start: u64) -> (u32, u64) {
        let data = (start + spec::SECTOR + self.blocks.bitmap).next_multiple_of(ALIGNMENT);
        (
            ((data - self.blocks.bitmap) / spec::SECTOR) as u32,
            data + self.blocks.size(),
        )
    }

    /// Makes damaged footers good again, now that the image changes anyway.
    pub fn repair(&self, chain: &Chain, leaf: &Leaf) -> Result<()> {
        if self.tail.copy_is_good && self.tail.footer_is_good {
            return Ok(());
        }
        self.prepare(chain, leaf, &mut self.state())
    }

    /// Makes the file fit to grow, once, before it does for the first time.
    ///
    /// When the file grows, its end footer is not at the end any more until the next flush, and a power cut may
    /// leave it so: the copy at the start has to be good before. And what lies behind the last block in a file of
    /// our own is left from before such a cut; the file is cut there, so that the space is zero when it comes back.
    fn prepare(&self, chain: &Chain, leaf: &Leaf, state: &mut State) -> Result<()> {
        if state.prepared {
            return Ok(());
        }
        let storage = &chain.top().storage;
        let mut changed = false;
        if !self.tail.copy_is_good {
            storage
                .write_at(leaf.footer.as_bytes(), 0)
                .map_err(|error| chain.write_io(error, "writing the footer copy of"))?;
            changed = true;
        }
        let leftover = self.own && state.len > state.next + spec::SECTOR;
        if leftover {
            if changed {
                storage
                    .sync()
                    .map_err(|error| chain.write_io(error, "flushing"))?;
            }
            storage
                .set_len(state.next)
                .map_err(|error| chain.write_io(error, "cutting the end of"))?;
            state.len = state.next;
            state.touched = true;
            changed = true;
        }
        if leftover || !self.tail.footer_is_good {
            state.footer_moved = true;
        }
        if changed {
            storage
                .sync()
                .map_err(|error| chain.write_io(error, "flushing"))?;
        }
        state.prepared = true;
        Ok(())
    }

    /// Extends the file for the block that ends at `end`, and for more to come.
    fn grow(&self, chain: &Chain, leaf: &Leaf, state: &mut State, end: u64) -> Result<()> {
        let step = self.blocks.footprint() + ALIGNMENT;
        let absent = leaf.blocks.count().saturating_sub(self.used(state.next));
        let more = (self.ahead / step).min(absent);
        let mut last = end;
        for _ in 0..more {
            let (_, next) = self.slot(last);
            if next + spec::SECTOR > u64::from(spec::UNUSED) * spec::SECTOR {
                break;
            }
            last = next;
        }
        let storage = &chain.top().storage;
        let extend = |len: u64| match storage.allocate(state.len..len)? {
            true => Ok(len),
            false => storage.set_len(len).map(|()| len),
        };
        // A volume that has no room for all of it may have some for the one block that is needed.
        let len = extend(last + spec::SECTOR).or_else(|_| extend(end + spec::SECTOR));
        state.len = len.map_err(|error| chain.write_io(error, "growing"))?;
        state.footer_moved = true;
        state.touched = true;
        Ok(())
    }

    /// About how many blocks fit into the file up to `end`: bounds what growing ahead can be good for.
    fn used(&self, end: u64) -> u64 {
        end / (self.blocks.footprint() + ALIGNMENT)
    }

    /// Takes back what [`Space::reserve`] gave, unused.
    pub fn give_back(&self, sector: u32) {
        self.state().free.push(Free { sector, clean: true });
    }

    /// Takes back what [`Space::reserve`] gave, after writes to it may have happened.
    pub fn give_back_used(&self, sector: u32) {
        self.state().free.push(Free { sector, clean: false });
    }

    /// Where the footer has to be written, if it is not at the end of the file.
    pub fn footer_to_write(&self) -> Option<u64> {
        let mut state = self.state();
        if !std::mem::take(&mut state.footer_moved) {
            return None;
        }
        // A file that was cut may end where its last block does.
        state.len = state.len.max(state.next + spec::SECTOR);
        Some(state.len - spec::SECTOR)
    }

    /// Whether there is a footer to write.
    pub fn footer_moved(&self) -> bool {
        self.state().footer_moved
    }

    /// The footer could not be written.
    pub fn footer_failed(&self) {
        self.state().footer_moved = true;
    }

    /// The table on disk no longer names these blocks.
    pub fn release(&self, chain: &Chain, freed: Vec<u32>) {
        if !freed.is_empty() {
            let mut state = self.state();
            state.touched = true;
            let quiet = [false; 2];
            state
                .limbo
                .extend(freed.into_iter().map(|sector| Limbo { sector, quiet }));
            drop(state);
            chain.readers.turn();
        }
        self.reclaim(chain);
    }

    /// Makes free blocks usable that no reader looks at any more.
    fn reclaim(&self, chain: &Chain) {
        let mut ready = Vec::new();
        {
            let mut state = self.state();
            if state.limbo.is_empty() {
                return;
            }
            let quiet = chain.readers.quiet();
            state.limbo.retain_mut(|limbo| {
                for (seen, now) in limbo.quiet.iter_mut().zip(quiet) {
                    *seen |= now;
                }
                let waits = limbo.quiet != [true; 2];
                if !waits {
                    ready.push(limbo.sector);
                }
                waits
            });
        }
        for sector in ready {
            let start = u64::from(sector) * spec::SECTOR;
            // A failure only means that the space stays as it is: it is made zero before it is used.
            let clean = chain
                .top()
                .storage
                .punch(start..start + self.blocks.footprint())
                .unwrap_or(false);
            self.state().free.push(Free { sector, clean });
        }
    }

    /// Cuts the file behind its last block, with the footer there, for the last time. Everything else is on disk.
    pub fn trim(&self, chain: &Chain, leaf: &Leaf) -> Result<()> {
        let mut state = self.state();
        if !state.touched {
            return Ok(());
        }
        let last = leaf.last_sector();
        let last_end = last.map_or(0, |sector| {
            u64::from(sector) * spec::SECTOR + self.blocks.footprint()
        });
        let floor = if self.own {
            self.tail.metadata_end
        } else {
            self.tail.limit.max(self.tail.end)
        };
        let end = last_end
            .max(floor)
            .next_multiple_of(if self.own { ALIGNMENT } else { spec::SECTOR });
        if end + spec::SECTOR >= state.len {
            state.touched = false;
            return Ok(());
        }
        let storage = &chain.top().storage;
        // The footer first: the file has one at its end whether the cut happens or not.
        storage
            .write_at(leaf.footer.as_bytes(), end)
            .and_then(|()| storage.sync())
            .and_then(|()| storage.set_len(end + spec::SECTOR))
            .and_then(|()| storage.sync())
            .map_err(|error| chain.write_io(error, "cutting the end of"))?;
        state.touched = false;
        Ok(())
    }
}

/// Whether this library made an image, so that nothing but structures and blocks can be in its file.
pub(crate) fn is_own(footer: &Footer) -> bool {
    footer.creator_application == spec::CREATOR_APPLICATION
        && footer.creator_version.get() == spec::CREATOR_VERSION
}

/// The ranges of a file that have room for another block, between what is in use; the first in the file last.
fn gaps(table: &Table, sparse: &Sparse) -> Vec<Range<u64>> {
    let footprint = sparse.blocks.footprint();
    let block = |(sector, _): (u32, u32)| {
        let start = u64::from(sector) * spec::SECTOR;
        start..start + footprint
    };
    let mut taken: Vec<_> = table.by_position().into_iter().map(block).collect();
    taken.extend(sparse.structures.iter().cloned());
    // Nearly sorted: the structures are few.
    taken.sort_by_key(|range| range.start);
    let between = taken.windows(2).rev().filter_map(|pair| match pair {
        [one, other] => Some(one.end..other.start),
        _ => None,
    });
    between
        .filter(|gap| gap.end.saturating_sub(gap.start) >= footprint)
        .collect()
}

/// Makes a range of the leaf's file zero.
pub(crate) fn write_zeros(chain: &Chain, range: Range<u64>) -> Result<()> {
    static ZERO: [u8; ZEROS] = [0; ZEROS];
    let mut at = range.start;
    while at < range.end {
        let len = (range.end - at).min(ZEROS as u64);
        let zeros = ZERO.get(..len as usize).unwrap_or(&ZERO);
        chain
            .top()
            .storage
            .write_at(zeros, at)
            .map_err(|error| chain.write_io(error, "writing zeros to"))?;
        at += len;
    }
    Ok(())
}
