// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One index over all parents of a chain.
//!
//! The disk is cut into chunks: of the parents' smallest block size, as a rule. A byte per chunk says which parent serves all
//! of it, that none does, or that several share it; then a list of runs, built from the parents' bitmaps when it is
//! first needed, says who has which sectors. The lists are a cache with a cap: a lost one is built again.

use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{PoisonError, RwLock};

use super::by_block::ByBlock;
use super::extent::{Sink, Source};
use crate::error::{Error, Kind, Result};
use crate::format::{bitmap, spec};
use crate::image::{Image, Layout};

/// Nobody has anything of the chunk.
const ZERO: u8 = 0xff;
/// Several sources share the chunk: see its runs.
const SHARED: u8 = 0xfe;
/// With a layer's number: that layer has a block there, but its bitmap was not looked at yet.
const UNREAD: u8 = 0x80;

/// The index.
#[derive(Debug)]
pub(crate) struct Base {
    /// The chunk size is two to this power.
    shift: u32,
    /// A code per chunk; empty when there are no parents.
    codes: Box<[AtomicU8]>,
    /// How much of each layer is visible: a short layer hides what is behind its end.
    limits: Vec<u64>,
    runs: RunCache,
}

/// The sectors of a chunk from `start` up to the next run's, with the layer that has them, or [`ZERO`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: u32,
    owner: u8,
}

impl Base {
    /// `layers` are the leaf and its parents.
    pub fn new(layers: &[Image], cache: usize) -> Self {
        let mut visible = layers.first().map_or(0, |leaf| leaf.size);
        let limits: Vec<u64> = layers
            .iter()
            .map(|image| {
                visible = visible.min(image.size);
                visible
            })
            .collect();
        let parents = || layers.iter().zip(&limits).enumerate().skip(1);
        let shifts = parents().filter_map(|(_, (image, _))| Some(image.sparse()?.blocks.shift));
        let visible = limits.get(1).copied().unwrap_or(0);
        // A small parent far down may have tiny blocks; they must not make chunks of them for all of a large disk.
        let mut shift = shifts.min().unwrap_or(spec::BLOCK_SIZE.trailing_zeros());
        while visible >> shift > u64::from(spec::MAX_TABLE_ENTRIES) {
            shift += 1;
        }
        let mut codes = vec![ZERO; visible.div_ceil(1 << shift) as usize];
        // From the bottom up, so that the topmost layer that has something is what stays.
        for (layer, (image, &limit)) in parents().rev() {
            let whole = (limit >> shift) as usize;
            let count = limit.div_ceil(1 << shift) as usize;
            match &image.layout {
                Layout::Linear => {
                    let (complete, cut) = codes.split_at_mut_checked(whole).unwrap_or_default();
                    complete.fill(layer as u8);
                    cut.iter_mut()
                        .take(count - whole)
                        .for_each(|code| *code = UNREAD | layer as u8);
                }
                Layout::Sparse(sparse) => {
                    for (block, _) in sparse.table.used() {
                        let start = u64::from(block) << sparse.blocks.shift;
                        let end = (start + sparse.blocks.size()).min(limit);
                        let chunks = (start >> shift) as usize..end.div_ceil(1 << shift) as usize;
                        codes
                            .get_mut(chunks)
                            .unwrap_or_default()
                            .fill(UNREAD | layer as u8);
                    }
                }
            }
        }
        let codes = codes.into_iter().map(AtomicU8::new).collect();
        Self {
            shift,
            codes,
            limits,
            runs: RunCache::new(cache),
        }
    }

    /// Says where the parents have the range.
    pub fn resolve(&self, layers: &[Image], range: Range<u64>, sink: &mut dyn Sink) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let chunk = at >> self.shift;
            let end = range.end.min((chunk + 1) << self.shift);
            match self
                .codes
                .get(chunk as usize)
                .map_or(ZERO, |code| code.load(Ordering::Acquire))
            {
                SHARED => {
                    let first = chunk << self.shift;
                    let Some((stop, owner)) = self.runs.find(chunk as u32, sector_of(at - first)) else {
                        self.learn(layers, chunk as u32, sink)?;
                        continue;
                    };
                    let end = end.min(first + u64::from(stop) * spec::SECTOR);
                    push(layers, owner, at..end, sink)?;
                    at = end;
                    continue;
                }
                code if code != ZERO && code & UNREAD != 0 => {
                    self.learn(layers, chunk as u32, sink)?;
                    continue;
                }
                owner => push(layers, owner, at..end, sink)?,
            }
            at = end;
        }
        Ok(())
    }

    /// As [`Base::build`], if files may be read.
    fn learn(&self, layers: &[Image], chunk: u32, sink: &dyn Sink) -> Result<()> {
        match layers.first() {
            Some(leaf) if !sink.may_read() => Err(Error::new(Kind::Cancelled, &leaf.path)),
            _ => self.build(layers, chunk),
        }
    }

    /// Looks at the bitmaps of all layers that have a block at a chunk, and writes down who has what.
    fn build(&self, layers: &[Image], chunk: u32) -> Result<()> {
        let start = u64::from(chunk) << self.shift;
        let sectors = 1usize << (self.shift - spec::SECTOR.trailing_zeros());
        let mut owners = vec![ZERO; sectors];
        let mut missing = sectors;
        for (layer, (image, &limit)) in layers.iter().zip(&self.limits).enumerate().skip(1) {
            let visible = (limit.saturating_sub(start) / spec::SECTOR).min(sectors as u64) as usize;
            // What a layer cannot reach is zero, whatever the layers below it have there.
            let owners = owners.get_mut(..visible).unwrap_or_default();
            match &image.layout {
                Layout::Linear => missing -= claim(owners, layer as u8),
                Layout::Sparse(sparse) => {
                    for (block, part) in sparse.blocks.split(start..start + visible as u64 * spec::SECTOR) {
                        let sector = sparse.table.get(block);
                        if sector == spec::UNUSED {
                            continue;
                        }
                        let first = sector_of(part.start - start) as usize;
                        let last = sector_of(part.end - start) as usize;
                        let owners = owners.get_mut(first..last).unwrap_or_default();
                        let inside = sector_of(part.start & (sparse.blocks.size() - 1));
                        missing -= claim_present(image, sector, inside, owners, layer as u8)?;
                    }
                }
            }
            if missing == 0 {
                break;
            }
        }
        let code = match owners.split_first() {
            Some((&owner, rest)) if rest.iter().all(|&other| other == owner) => owner,
            _ => {
                self.runs.insert(chunk, &owners);
                SHARED
            }
        };
        if let Some(slot) = self.codes.get(chunk as usize) {
            slot.store(code, Ordering::Release);
        }
        Ok(())
    }
}

/// Gives the sectors that nobody has yet to a layer; returns how many those were.
fn claim(owners: &mut [u8], layer: u8) -> usize {
    let mut count = 0;
    for owner in owners.iter_mut().filter(|owner| **owner == ZERO) {
        *owner = layer;
        count += 1;
    }
    count
}

/// As [`claim`], for the sectors that a block has. The owners are those of its sectors from `first` on.
fn claim_present(
    image: &Image,
    block_sector: u32,
    first: u32,
    owners: &mut [u8],
    layer: u8,
) -> Result<usize> {
    // Only the bytes of the bitmap that hold these bits, padded to words.
    let lead = first % 8;
    let end = lead + owners.len() as u32;
    let len = end.div_ceil(8) as usize;
    let mut bits = vec![0; len.next_multiple_of(8)];
    let offset = u64::from(block_sector) * spec::SECTOR + u64::from(first / 8);
    image
        .storage
        .read_at(bits.get_mut(..len).unwrap_or_default(), offset)
        .map_err(|error| image.io_error(error, "reading a sector bitmap of"))?;
    let (mut at, mut count) = (lead, 0);
    while at < end {
        let (present, stop) = bitmap::run(&bits, at, end);
        if present {
            let part = (at - lead) as usize..(stop - lead) as usize;
            count += claim(owners.get_mut(part).unwrap_or_default(), layer);
        }
        at = stop;
    }
    Ok(count)
}

/// The sector that holds a byte.
fn sector_of(position: u64) -> u32 {
    (position / spec::SECTOR) as u32
}

/// Passes on where an owner has a range that is all its own.
fn push(layers: &[Image], owner: u8, range: Range<u64>, sink: &mut dyn Sink) -> Result<()> {
    let layer = usize::from(owner);
    match layers.get(layer).map(|image| &image.layout) {
        // Nobody has it.
        None => sink.push(range.start, range.end, Source::Zero),
        Some(Layout::Linear) => {
            let offset = range.start;
            sink.push(range.start, range.end, Source::File { layer, offset })
        }
        Some(Layout::Sparse(sparse)) => {
            for (block, part) in sparse.blocks.split(range) {
                let offset = sparse.blocks.locate(sparse.table.get(block), part.start);
                sink.push(part.start, part.end, Source::File { layer, offset })?;
            }
            Ok(())
        }
    }
}

const SHARDS: usize = 16;

/// The runs of shared chunks, as many as fit.
#[derive(Debug)]
struct RunCache {
    shards: [RwLock<RunShard>; SHARDS],
    /// Runs that a shard may hold.
    cap: usize,
}

#[derive(Debug, Default)]
struct RunShard {
    chunks: ByBlock<Box<[Run]>>,
    held: usize,
}

impl RunCache {
    fn new(bytes: usize) -> Self {
        Self {
            shards: Default::default(),
            cap: bytes / SHARDS / size_of::<Run>(),
        }
    }

    fn shard(&self, chunk: u32) -> &RwLock<RunShard> {
        let [first, rest @ ..] = &self.shards;
        rest.get((chunk as usize % SHARDS).wrapping_sub(1))
            .unwrap_or(first)
    }

    /// Where the run ends that holds a sector of a chunk, and whose it is; `None` when the runs are not held.
    fn find(&self, chunk: u32, sector: u32) -> Option<(u32, u8)> {
        let shard = self.shard(chunk).read().unwrap_or_else(PoisonError::into_inner);
        let runs = shard.chunks.get(&chunk)?;
        let next = runs.partition_point(|run| run.start <= sector);
        let owner = runs.get(next.checked_sub(1)?)?.owner;
        Some((runs.get(next).map_or(u32::MAX, |run| run.start), owner))
    }

    fn insert(&self, chunk: u32, owners: &[u8]) {
        let mut runs: Vec<Run> = Vec::new();
        for (start, &owner) in (0u32..).zip(owners) {
            if runs.last().is_none_or(|last| last.owner != owner) {
                runs.push(Run { start, owner });
            }
        }
        let mut shard = self.shard(chunk).write().unwrap_or_else(PoisonError::into_inner);
        // The one that is wanted now stays, however large it is; others go in no particular order.
        while shard.held + runs.len() > self.cap {
            let Some(&victim) = shard.chunks.keys().next() else {
                break;
            };
            if let Some(dropped) = shard.chunks.remove(&victim) {
                shard.held -= dropped.len();
            }
        }
        shard.held += runs.len();
        if let Some(old) = shard.chunks.insert(chunk, runs.into()) {
            shard.held -= old.len();
        }
    }
}
