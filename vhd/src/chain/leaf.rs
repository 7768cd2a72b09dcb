// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The blocks of a sparse leaf, in memory.
//!
//! A reader of a block that is absent or full takes no lock. The bitmap of a block that is neither is in one of
//! several shards, with the count of writes in flight to each block. Bitmaps are a cache with a cap; only those
//! that are on disk as they are here may be dropped.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Chain;
use super::by_block::ByBlock;
use super::extent::{Sink, Source};
use super::space::Space;
use crate::error::Result;
use crate::format::{Footer, bitmap, spec};
use crate::image::sparse::Blocks;
use crate::image::table::Table;
use crate::image::{Image, Layout};

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

/// A part of the blocks.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    bitmaps: ByBlock<Bitmap>,
    in_flight: ByBlock<InFlight>,
    /// Counts changes of bitmaps, so that one that was read meanwhile is not taken for the present one.
    version: u64,
    held: usize,
}

/// The bitmap of a partial block.
#[derive(Debug)]
struct Bitmap {
    bits: Box<[u8]>,
    /// Sectors of the disk whose bit is clear.
    clear: u32,
    stage: Stage,
}

/// How a bitmap relates to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// As in the file.
    Clean,
    /// Changed since it was written.
    Dirty,
    /// Being written, and not changed since.
    Writing,
}

/// Writes that have begun and were neither committed nor aborted.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    writers: usize,
    /// Where the block goes when the first of them commits, if it is absent.
    slot: Option<u32>,
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

/// The end of a write to a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Commit,
    Abort,
}

impl Leaf {
    /// Takes the table out of an image; `None` if the image has none.
    pub fn new(image: &mut Image, cache: usize, ahead: u64) -> Option<Self> {
        let (Some(footer), Layout::Sparse(sparse)) = (image.footer, &mut image.layout) else {
            return None;
        };
        let table = std::mem::take(&mut sparse.table);
        let space = Space::new(sparse, &footer, &table, ahead);
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
        let shift = self.blocks.shift;
        let mut at = range.start;
        std::iter::from_fn(move || {
            (at < range.end).then(|| {
                let block = at >> shift;
                let part = at..range.end.min((block + 1) << shift);
                at = part.end;
                (block as u32, part)
            })
        })
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
                State::Unread | State::Partial => self.resolve_partial(chain, block, part, sink)?,
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
            // One run at a time: what the sink does with it may take long, and must not keep the lock.
            let (present, stop, sector) = {
                let shard = self.read(block);
                match (self.state(block), shard.bitmaps.get(&block)) {
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
                        self.load(chain, block)?;
                        continue;
                    }
                    (_, Some(bitmap)) => {
                        let first = ((at - start) / spec::SECTOR) as u32;
                        let last = (part.end - start).div_ceil(spec::SECTOR) as u32;
                        let (present, stop) = bitmap::run(&bitmap.bits, first, last);
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
            if shard.bitmaps.contains_key(&block) || matches!(self.state(block), State::Absent | State::Full)
            {
                return Ok(());
            }
            (shard.version, self.sector(block))
        };
        let mut bits = vec![0; self.blocks.bitmap as usize].into_boxed_slice();
        let image = chain.top();
        image
            .storage
            .read_at(&mut bits, u64::from(sector) * spec::SECTOR)
            .map_err(|error| image.io_error(error, "reading a sector bitmap of"))?;
        let clear = bitmap::count_clear(&bits, self.blocks.sectors(block));
        let mut shard = self.write(block);
        if shard.version != version || shard.bitmaps.contains_key(&block) {
            return Ok(());
        }
        if clear == 0 {
            self.set_state(block, State::Full);
        } else {
            self.make_room(&mut shard, bits.len());
            shard.held += bits.len();
            shard.bitmaps.insert(
                block,
                Bitmap {
                    bits,
                    clear,
                    stage: Stage::Clean,
                },
            );
            self.set_state(block, State::Partial);
        }
        Ok(())
    }

    /// Drops bitmaps that are on disk and that no write in flight needs.
    fn make_room(&self, shard: &mut Shard, wanted: usize) {
        if shard.held + wanted <= self.cap {
            return;
        }
        // A quarter goes at once, so that this look at all of them is rare.
        let goal = self.cap - self.cap / 4;
        let Shard {
            bitmaps,
            in_flight,
            held,
            version,
        } = shard;
        bitmaps.retain(|block, bitmap| {
            let keep =
                *held + wanted <= goal || bitmap.stage != Stage::Clean || in_flight.contains_key(block);
            if !keep {
                *held -= bitmap.bits.len();
            }
            keep
        });
        *version += 1;
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
                    let entry = shard.in_flight.entry(block).or_default();
                    if let Some(slot) = entry.slot {
                        entry.writers += 1;
                        break Ok((slot, false));
                    }
                    if let Some(slot) = spare.take() {
                        entry.writers += 1;
                        entry.slot = Some(slot);
                        break Ok((slot, true));
                    }
                    if entry.writers == 0 {
                        shard.in_flight.remove(&block);
                    }
                    drop(shard);
                    match self.space.reserve(chain, self) {
                        Ok(slot) => spare = Some(slot),
                        Err(error) => break Err(error),
                    }
                }
                State::Partial if shard.bitmaps.contains_key(&block) => {
                    shard.in_flight.entry(block).or_default().writers += 1;
                    break Ok((self.sector(block), false));
                }
                State::Full => {
                    shard.in_flight.entry(block).or_default().writers += 1;
                    break Ok((self.sector(block), false));
                }
                State::Unread | State::Partial => {
                    drop(shard);
                    if let Err(error) = self.load(chain, block) {
                        break Err(error);
                    }
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
        let mut guard = self.write(block);
        let shard = &mut *guard;
        let Some(entry) = shard.in_flight.get_mut(&block) else {
            return;
        };
        entry.writers -= 1;
        let slot = match (outcome, entry.writers) {
            (Outcome::Commit, _) => entry.slot.take(),
            (Outcome::Abort, 0) => {
                // Nobody is left to use the space; what the aborted write put there must not show up elsewhere.
                if let Some(slot) = entry.slot.take() {
                    self.space.give_back_used(slot);
                }
                None
            }
            (Outcome::Abort, _) => None,
        };
        if entry.writers == 0 {
            shard.in_flight.remove(&block);
        }
        if outcome == Outcome::Abort {
            return;
        }
        if let Some(slot) = slot {
            self.set_sector(block, slot);
            if self.differencing {
                let bits = vec![0; self.blocks.bitmap as usize].into_boxed_slice();
                self.make_room(shard, bits.len());
                shard.held += bits.len();
                let bitmap = Bitmap {
                    bits,
                    clear: self.blocks.sectors(block),
                    stage: Stage::Dirty,
                };
                shard.bitmaps.insert(block, bitmap);
                self.set_state(block, State::Partial);
            } else {
                // New space is all zeros, which is what the rest of the block has to be.
                self.set_state(block, State::Full);
            }
        }
        let changed = self.mark(shard, block, part) || slot.is_some();
        if changed {
            shard.version += 1;
            let mut dirty = self.dirty();
            dirty.bitmaps.insert(block);
            if slot.is_some() {
                dirty.table.insert(block / ENTRIES_PER_SECTOR);
            }
        }
    }

    /// Sets the bits of a range of the disk; says whether any was clear.
    fn mark(&self, shard: &mut Shard, block: u32, part: &Range<u64>) -> bool {
        let Some(bitmap) = shard.bitmaps.get_mut(&block) else {
            return false;
        };
        let start = u64::from(block) << self.blocks.shift;
        let sectors =
            ((part.start - start) / spec::SECTOR) as u32..((part.end - start) / spec::SECTOR) as u32;
        let added = bitmap::set(&mut bitmap.bits, sectors);
        if added == 0 {
            return false;
        }
        bitmap.clear = bitmap.clear.saturating_sub(added);
        bitmap.stage = Stage::Dirty;
        if bitmap.clear == 0 {
            self.set_state(block, State::Full);
            if let Some(full) = shard.bitmaps.remove(&block) {
                shard.held -= full.bits.len();
            }
        }
        true
    }

    /// Takes a block out of the file; `false` if a write to it is in flight.
    pub fn free(&self, block: u32) -> bool {
        let mut guard = self.write(block);
        let shard = &mut *guard;
        if shard.in_flight.contains_key(&block) {
            return false;
        }
        let sector = self.sector(block);
        if sector == spec::UNUSED {
            return true;
        }
        self.set_state(block, State::Absent);
        self.set_sector(block, spec::UNUSED);
        if let Some(dropped) = shard.bitmaps.remove(&block) {
            shard.held -= dropped.bits.len();
        }
        shard.version += 1;
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
        match (self.state(block), shard.bitmaps.get_mut(&block)) {
            (State::Full, _) => {
                let mut bits = vec![0; self.blocks.bitmap as usize].into_boxed_slice();
                bitmap::set(&mut bits, 0..self.blocks.sectors(block));
                Some((sector, bits))
            }
            (State::Partial, Some(bitmap)) => {
                bitmap.stage = Stage::Writing;
                Some((sector, bitmap.bits.clone()))
            }
            _ => None,
        }
    }

    /// A block's bitmap is in the file now: as it is here, or (after a failure) perhaps not.
    pub fn bitmap_written(&self, block: u32, good: bool) {
        let mut shard = self.write(block);
        if let Some(bitmap) = shard.bitmaps.get_mut(&block)
            && bitmap.stage == Stage::Writing
        {
            bitmap.stage = if good { Stage::Clean } else { Stage::Dirty };
        }
    }

    /// The content of a sector of the table.
    pub fn table_sector(&self, index: u32) -> Vec<u8> {
        let first = index * ENTRIES_PER_SECTOR;
        (first..first + ENTRIES_PER_SECTOR)
            .flat_map(|block| self.sector(block).to_be_bytes())
            .collect()
    }
}
