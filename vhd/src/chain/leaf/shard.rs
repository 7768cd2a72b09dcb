// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known of some of a leaf's blocks under one lock: bitmaps, views, and writes in flight.

use std::ops::Range;

use super::view::View;
use crate::chain::by_block::ByBlock;
use crate::format::bitmap;

/// A part of the blocks.
#[derive(Debug, Default)]
pub(super) struct Shard {
    bitmaps: ByBlock<Bitmap>,
    in_flight: ByBlock<InFlight>,
    /// Counts changes, so that a bitmap that was read from the file meanwhile is not taken for the present one.
    version: u64,
    /// Bytes of bitmaps and views.
    held: usize,
}

/// The bitmap of a partial block.
#[derive(Debug)]
struct Bitmap {
    bits: Box<[u8]>,
    /// Sectors of the disk whose bit is clear.
    clear: u32,
    stage: Stage,
    /// Made when the block is first read.
    view: Option<View>,
}

impl Bitmap {
    fn bytes(&self) -> usize {
        self.bits.len() + self.view.as_ref().map_or(0, View::bytes)
    }
}

/// How a bitmap relates to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// As in the file. Only such a bitmap may be dropped.
    Clean,
    /// Changed since it was written.
    Dirty,
    /// Being written, and not changed since.
    Writing,
}

/// Writes to a block that have begun and were neither committed nor aborted.
#[derive(Debug, Default)]
struct InFlight {
    writers: usize,
    /// Where the block goes when the first of them commits, if it is absent.
    slot: Option<u32>,
}

/// The end of a write to a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Commit,
    Abort,
}

/// What the end of a write means for the space that was set aside for its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// None was, or others still wait for it.
    Keep,
    /// The block is there now.
    Take(u32),
    /// Nobody is left to use it.
    GiveBack(u32),
}

/// What setting bits did to a bitmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// All of them were set, or there is no bitmap.
    Nothing,
    Some,
    /// Now all bits are set, and the bitmap is gone.
    Last,
}

impl Shard {
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Bitmaps read before this are out of date.
    pub fn note_change(&mut self) {
        self.version += 1;
    }

    pub fn bits(&self, block: u32) -> Option<&[u8]> {
        self.bitmaps.get(&block).map(|bitmap| &*bitmap.bits)
    }

    /// Bytes of bitmaps and views.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        let sum = self.bitmaps.values().map(Bitmap::bytes).sum();
        assert_eq!(self.held, sum);
        sum
    }

    /// The view of a block, if there is one: then the block is partial.
    pub fn view(&self, block: u32) -> Option<&View> {
        self.bitmaps.get(&block)?.view.as_ref()
    }

    /// Adds a bitmap, of which `clear` bits are clear; drops others so that `cap` bytes are held at most.
    pub fn insert(&mut self, block: u32, bits: Box<[u8]>, clear: u32, stage: Stage, cap: usize) {
        self.make_room(block, bits.len(), cap);
        self.remove(block);
        self.held += bits.len();
        let view = None;
        let bitmap = Bitmap {
            bits,
            clear,
            stage,
            view,
        };
        self.bitmaps.insert(block, bitmap);
    }

    /// Adds a view to a bitmap, if both are within the cap.
    pub fn insert_view(&mut self, block: u32, view: View, cap: usize) {
        self.make_room(block, view.bytes(), cap);
        if self.held + view.bytes() > cap {
            return;
        }
        if let Some(bitmap) = self.bitmaps.get_mut(&block) {
            self.held -= bitmap.bytes();
            bitmap.view = Some(view);
            self.held += bitmap.bytes();
        }
    }

    /// Drops bitmaps and views of other blocks than `block`, so that there is room for `wanted` bytes.
    fn make_room(&mut self, block: u32, wanted: usize, cap: usize) {
        if self.held + wanted <= cap {
            return;
        }
        // A quarter goes at once, so that this look at all of them is rare.
        let goal = cap - cap / 4;
        let (held, in_flight) = (&mut self.held, &self.in_flight);
        self.bitmaps.retain(|&other, bitmap| {
            if other == block || *held + wanted <= goal {
                return true;
            }
            *held -= bitmap.bytes();
            bitmap.view = None;
            let pinned = bitmap.stage != Stage::Clean || in_flight.contains_key(&other);
            if pinned {
                *held += bitmap.bytes();
            }
            pinned
        });
        self.version += 1;
    }

    pub fn remove(&mut self, block: u32) {
        if let Some(bitmap) = self.bitmaps.remove(&block) {
            self.held -= bitmap.bytes();
        }
    }

    /// Sets bits of a block, whose data begins at sector `data` of the file.
    pub fn add(&mut self, block: u32, sectors: Range<u32>, data: u64, cap: usize) -> Added {
        let Some(bitmap) = self.bitmaps.get_mut(&block) else {
            return Added::Nothing;
        };
        let added = bitmap::set(&mut bitmap.bits, sectors.clone());
        if added == 0 {
            return Added::Nothing;
        }
        if let Some(mut view) = bitmap.view.take() {
            self.held -= view.bytes();
            let place = data + u64::from(sectors.start);
            view.claim(sectors, place);
            // One that has grown too large is made again when others have gone.
            if self.held + view.bytes() <= cap {
                self.held += view.bytes();
                bitmap.view = Some(view);
            }
        }
        bitmap.clear = bitmap.clear.saturating_sub(added);
        bitmap.stage = Stage::Dirty;
        if bitmap.clear > 0 {
            return Added::Some;
        }
        self.remove(block);
        Added::Last
    }

    /// A copy of a bitmap, which counts as being written from now on.
    pub fn start_writing(&mut self, block: u32) -> Option<Box<[u8]>> {
        let bitmap = self.bitmaps.get_mut(&block)?;
        bitmap.stage = Stage::Writing;
        Some(bitmap.bits.clone())
    }

    /// A bitmap is in the file as it was when it was copied, or (after a failure) perhaps not.
    pub fn finish_writing(&mut self, block: u32, good: bool) {
        if let Some(bitmap) = self.bitmaps.get_mut(&block)
            && bitmap.stage == Stage::Writing
        {
            bitmap.stage = if good { Stage::Clean } else { Stage::Dirty };
        }
    }

    /// The space set aside for an absent block.
    pub fn slot(&self, block: u32) -> Option<u32> {
        self.in_flight.get(&block)?.slot
    }

    /// Counts a writer of a block, with the space it brings if the block needs some.
    pub fn join(&mut self, block: u32, slot: Option<u32>) {
        let entry = self.in_flight.entry(block).or_default();
        entry.writers += 1;
        entry.slot = entry.slot.or(slot);
    }

    /// Counts a writer out.
    pub fn leave(&mut self, block: u32, outcome: Outcome) -> Slot {
        let Some(entry) = self.in_flight.get_mut(&block) else {
            return Slot::Keep;
        };
        entry.writers = entry.writers.saturating_sub(1);
        let last = entry.writers == 0;
        let slot = if last || outcome == Outcome::Commit {
            entry.slot.take()
        } else {
            None
        };
        if last {
            self.in_flight.remove(&block);
        }
        match (slot, outcome) {
            (None, _) => Slot::Keep,
            (Some(slot), Outcome::Commit) => Slot::Take(slot),
            (Some(slot), Outcome::Abort) => Slot::GiveBack(slot),
        }
    }

    pub fn is_in_flight(&self, block: u32) -> bool {
        self.in_flight.contains_key(&block)
    }
}
