// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The blocks of a sparse leaf, in memory.
//!
//! A reader of a block that is absent or full takes no lock. The bitmap of a block that is neither is in one of
//! several shards, with the [`View`] that readers use of it, and the count of writes in flight to each block. Bitmaps
//! are a cache with a cap; only those that are on disk as they are here may be dropped. Views may always be.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Chain;
use super::extent::{Sink, Source};
use super::space::Space;
use crate::error::{Error, Kind, Result};
use crate::format::{Footer, bitmap, spec};
use crate::image::sparse::Blocks;
use crate::image::table::Table;
use crate::image::{Image, Layout};

mod shard;
#[cfg(test)]
mod tests;
mod view;
pub(crate) use shard::Outcome;
use shard::{Added, Shard, Slot, Stage};
use view::{View, Writer};

/// What is known of a block without a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Not in the file.
    Absent,
    /// In the file; its bitmap was not looked at yet.
    Unread,
    /// In the file, with some of its sectors.
    Partial,
    /// In the file with all of its sectors.
    Full,
}

/// Entries of the table in one sector of the file.
pub(crate) const ENTRIES_PER_SECTOR: u32 = (spec::SECTOR / 4) as u32;

const SHARDS: usize = 16;

#[derive(Debug)]
pub(crate) struct Leaf {
    // Configuration.
    pub blocks: Blocks,
    pub differencing: bool,
    pub table_offset: u64,
    /// The footer as it was read, flags and all; never made anew.
    pub footer: Footer,
    /// Bytes of bitmaps that a shard may hold.
    cap: usize,
    // State.
    /// The sectors of the blocks; each one's note is its [`State`].
    table: Table,
    shards: [RwLock<Shard>; SHARDS],
    dirty: Mutex<Dirty>,
    pub space: Space,
}

/// What a flush has to write. See [`super::flush`].
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    /// Blocks whose bitmap changed.
    pub bitmaps: HashSet<u32>,
    /// Sectors of the table that changed.
    pub table: BTreeSet<u32>,
    /// First sectors of blocks that no table entry names any more.
    pub freed: Vec<u32>,
}

impl Dirty {
    pub fn is_empty(&self) -> bool {
        self.bitmaps.is_empty() && self.table.is_empty()
    }
}

impl Leaf {
    /// Takes the table out of an image; `None` if the image has none.
    pub fn new(image: &mut Image, writable: bool, cache: usize, ahead: u64) -> Option<Self> {
        let (Some(footer), Layout::Sparse(sparse)) = (image.footer, &mut image.layout) else {
            return None;
        };
        let table = std::mem::take(&mut sparse.table);
        let space = Space::new(sparse, &footer, &table, writable, ahead);
        for (block, _) in table.used() {
            table.set_note(block, State::Unread as u8);
        }
        Some(Self {
            blocks: sparse.blocks,
            differencing: sparse.parent.is_some(),
            table_offset: sparse.table_offset,
            footer,
            // Less than a few would be loaded and dropped in turn.
            cap: (cache / SHARDS).max(4 * sparse.blocks.bitmap as usize),
            table,
            shards: Default::default(),
            dirty: Mutex::default(),
            space,
        })
    }

    /// The blocks that a range touches, each with the part of the range in it.
    pub fn split(&self, range: Range<u64>) -> impl Iterator<Item = (u32, Range<u64>)> + use<> {
        self.blocks.split(range)
    }

    /// The first sector of a block, or [`spec::UNUSED`].
    pub fn sector(&self, block: u32) -> u32 {
        self.table.get(block)
    }

    /// How many blocks are in the file.
    pub fn used_blocks(&self) -> usize {
        self.table.used().count()
    }

    /// The first sector of the block that is last in the file.
    pub fn last_sector(&self) -> Option<u32> {
        self.table.used().map(|(_, sector)| sector).max()
    }

    pub fn state(&self, block: u32) -> State {
        match self.table.note(block) {
            state if state == State::Unread as u8 => State::Unread,
            state if state == State::Partial as u8 => State::Partial,
            state if state == State::Full as u8 => State::Full,
            _ => State::Absent,
        }
    }

    fn set_state(&self, block: u32, state: State) {
        self.table.set_note(block, state as u8);
    }

    fn set_sector(&self, block: u32, sector: u32) {
        self.table.set(block, sector);
    }

    fn shard(&self, block: u32) -> &RwLock<Shard> {
        let [first, rest @ ..] = &self.shards;
        rest.get((block as usize % SHARDS).wrapping_sub(1))
            .unwrap_or(first)
    }

    fn read(&self, block: u32) -> RwLockReadGuard<'_, Shard> {
        self.shard(block).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, block: u32) -> RwLockWriteGuard<'_, Shard> {
        self.shard(block).write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of bitmaps in memory that wait for a flush, at most about this many.
    pub fn wants_flush(&self) -> bool {
        self.dirty().bitmaps.len() * self.blocks.bitmap as usize > self.cap * SHARDS / 2
    }

    /// Says where the chain has the range.
    pub fn resolve(&self, chain: &Chain, range: Range<u64>, sink: &mut dyn Sink) -> Result<()> {
        for (block, part) in self.split(range) {
            match self.state(block) {
                State::Absent => chain.resolve_base(part, sink)?,
                State::Full => self.resolve_full(chain, block, part, sink)?,
                State::Unread | State::Partial => self.resolve_viewed(chain, block, part, sink)?,
            }
        }
        Ok(())
    }

    fn resolve_full(&self, chain: &Chain, block: u32, part: Range<u64>, sink: &mut dyn Sink) -> Result<()> {
        match self.sector(block) {
            // Freed since its state was looked at.
            spec::UNUSED => chain.resolve_base(part, sink),
            sector => {
                let offset = self.blocks.locate(sector, part.start);
                sink.push(part.start, part.end, Source::File { layer: 0, offset })
            }
        }
    }

    /// Finds a part of a block in its view, one run at a time: what the sink does with it may take long, and must not
    /// keep the lock. Where there is no view, and none can be had or may be made, this walks.
    fn resolve_viewed(&self, chain: &Chain, block: u32, part: Range<u64>, sink: &mut dyn Sink) -> Result<()> {
        let start = u64::from(block) << self.blocks.shift;
        let mut at = part.start;
        let mut tried = false;
        while at < part.end {
            let found = self.read(block).view(block).map(|view| view.find(at - start));
            match found {
                Some((source, stop)) => {
                    let end = part.end.min(start + u64::from(stop) * spec::SECTOR);
                    sink.push(at, end, source)?;
                    at = end;
                }
                None if tried || !sink.may_read() => {
                    return self.resolve_partial(chain, block, at..part.end, sink);
                }
                None => {
                    self.look(chain, block)?;
                    tried = true;
                }
            }
        }
        Ok(())
    }

    /// Makes the view of a block, unless someone changed the block meanwhile.
    fn look(&self, chain: &Chain, block: u32) -> Result<()> {
        self.load(chain, block)?;
        let version = self.read(block).version();
        let start = u64::from(block) << self.blocks.shift;
        let end = start + u64::from(self.blocks.sectors(block)) * spec::SECTOR;
        let mut writer = Writer {
            start,
            view: View::default(),
        };
        self.resolve_partial(chain, block, start..end, &mut writer)?;
        let mut shard = self.write(block);
        if shard.version() == version && shard.bits(block).is_some() {
            shard.insert_view(block, writer.view, self.cap);
        }
        Ok(())
    }

    /// Finds a part of a block by its bitmap and, for what that lacks, by the index over the parents.
    fn resolve_partial(
        &self,
        chain: &Chain,
        block: u32,
        part: Range<u64>,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let start = u64::from(block) << self.blocks.shift;
        let mut at = part.start;
        while at < part.end {
            let (present, stop, sector) = {
                let shard = self.read(block);
                match (self.state(block), shard.bits(block)) {
                    (State::Absent, _) => {
                        drop(shard);
                        return chain.resolve_base(at..part.end, sink);
                    }
                    (State::Full, _) => {
                        drop(shard);
                        return self.resolve_full(chain, block, at..part.end, sink);
                    }
                    (_, None) => {
                        drop(shard);
                        if !sink.may_read() {
                            return Err(Error::new(Kind::Cancelled, &chain.top().path));
                        }
                        self.load(chain, block)?;
                        continue;
                    }
                    (_, Some(bits)) => {
                        let first = ((at - start) / spec::SECTOR) as u32;
                        let last = (part.end - start).div_ceil(spec::SECTOR) as u32;
                        let (present, stop) = bitmap::run(bits, first, last);
                        (present, stop, self.sector(block))
                    }
                }
            };
            let end = part.end.min(start + u64::from(stop) * spec::SECTOR);
            if present {
                let offset = self.blocks.locate(sector, at);
                sink.push(at, end, Source::File { layer: 0, offset })?;
            } else {
                chain.resolve_base(at..end, sink)?;
            }
            at = end;
        }
        Ok(())
    }

    /// Reads the bitmap of a block into the cache, unless someone changed the block meanwhile.
    pub fn load(&self, chain: &Chain, block: u32) -> Result<()> {
        let (version, sector) = {
            let shard = self.read(block);
            if shard.bits(block).is_some() || matches!(self.state(block), State::Absent | State::Full) {
                return Ok(());
            }
            (shard.version(), self.sector(block))
        };
        let mut bits = vec![0; self.blocks.bitmap as usize].into_boxed_slice();
        let image = chain.top();
        image
            .storage
            .read_at(&mut bits, u64::from(sector) * spec::SECTOR)
            .map_err(|error| image.io_error(error, "reading a sector bitmap of"))?;
        let clear = bitmap::count_clear(&bits, self.blocks.sectors(block));
        let mut shard = self.write(block);
        if shard.version() != version || shard.bits(block).is_some() {
            return Ok(());
        }
        if clear == 0 {
            self.set_state(block, State::Full);
        } else {
            shard.insert(block, bits, clear, Stage::Clean, self.cap);
            self.set_state(block, State::Partial);
        }
        Ok(())
    }

    /// Begins a write to a block: from here to [`Leaf::finish`] the block stays where it is.
    ///
    /// Returns the block's first sector, and whether its space is new, which means that it reads as zeros.
    pub fn begin(&self, chain: &Chain, block: u32) -> Result<(u32, bool)> {
        let mut spare = None;
        let result = loop {
            let mut shard = self.write(block);
            match self.state(block) {
                State::Absent => {
                    if let Some(slot) = shard.slot(block) {
                        shard.join(block, None);
                        break Ok((slot, false));
                    }
                    if let Some(slot) = spare.take() {
                        shard.join(block, Some(slot));
                        break Ok((slot, true));
                    }
                    drop(shard);
                    match self.space.reserve(chain, self) {
                        Ok(slot) => spare = Some(slot),
                        Err(error) => break Err(error),
                    }
                }
                State::Unread | State::Partial if shard.bits(block).is_none() => {
                    drop(shard);
                    if let Err(error) = self.load(chain, block) {
                        break Err(error);
                    }
                }
                State::Unread | State::Partial | State::Full => {
                    shard.join(block, None);
                    break Ok((self.sector(block), false));
                }
            }
        };
        if let Some(slot) = spare {
            self.space.give_back(slot);
        }
        result
    }

    /// Ends a write to a block. A commit makes the sectors of `part` the block's own.
    pub fn finish(&self, block: u32, part: &Range<u64>, outcome: Outcome) {
        let mut shard = self.write(block);
        let slot = match shard.leave(block, outcome) {
            Slot::Take(slot) => Some(slot),
            Slot::Keep => None,
            Slot::GiveBack(slot) => {
                // What the aborted writes put there must not show up elsewhere.
                self.space.give_back_used(slot);
                None
            }
        };
        if outcome == Outcome::Abort {
            return;
        }
        if let Some(slot) = slot {
            self.set_sector(block, slot);
            if self.differencing {
                let bits = vec![0; self.blocks.bitmap as usize].into_boxed_slice();
                shard.insert(block, bits, self.blocks.sectors(block), Stage::Dirty, self.cap);
                self.set_state(block, State::Partial);
            } else {
                // New space is all zeros, which is what the rest of the block has to be.
                self.set_state(block, State::Full);
            }
        }
        let start = u64::from(block) << self.blocks.shift;
        let sector = |position: u64| ((position - start) / spec::SECTOR) as u32;
        let data = self.blocks.locate(self.sector(block), start) / spec::SECTOR;
        let added = shard.add(block, sector(part.start)..sector(part.end), data, self.cap);
        if added == Added::Last {
            self.set_state(block, State::Full);
        }
        if added != Added::Nothing || slot.is_some() {
            shard.note_change();
            let mut dirty = self.dirty();
            dirty.bitmaps.insert(block);
            if slot.is_some() {
                dirty.table.insert(block / ENTRIES_PER_SECTOR);
            }
        }
    }

    /// Takes a block out of the file; `false` if a write to it is in flight.
    pub fn free(&self, block: u32) -> bool {
        let mut shard = self.write(block);
        if shard.is_in_flight(block) {
            return false;
        }
        let sector = self.sector(block);
        if sector == spec::UNUSED {
            return true;
        }
        self.set_state(block, State::Absent);
        self.set_sector(block, spec::UNUSED);
        shard.remove(block);
        shard.note_change();
        let mut dirty = self.dirty();
        dirty.bitmaps.remove(&block);
        dirty.table.insert(block / ENTRIES_PER_SECTOR);
        dirty.freed.push(sector);
        true
    }

    /// A copy of what a block's bitmap has to be in the file, with the sector it goes to; `None` when the block is
    /// not in the file. The cached one counts as being written.
    pub fn bitmap_to_write(&self, block: u32) -> Option<(u32, Box<[u8]>)> {
        let mut shard = self.write(block);
        let sector = self.sector(block);
        match self.state(block) {
            State::Full => {
                let mut bits = vec![0; self.blocks.bitmap as usize].into_boxed_slice();
                bitmap::set(&mut bits, 0..self.blocks.sectors(block));
                Some((sector, bits))
            }
            State::Partial => Some((sector, shard.start_writing(block)?)),
            State::Absent | State::Unread => None,
        }
    }

    /// A block's bitmap is in the file now: as it was when it was copied, or (after a failure) perhaps not.
    pub fn bitmap_written(&self, block: u32, good: bool) {
        self.write(block).finish_writing(block, good);
    }

    /// The content of a sector of the table.
    pub fn table_sector(&self, index: u32) -> Vec<u8> {
        let first = index * ENTRIES_PER_SECTOR;
        (first..first + ENTRIES_PER_SECTOR)
            .flat_map(|block| self.sector(block).to_be_bytes())
            .collect()
    }
}
