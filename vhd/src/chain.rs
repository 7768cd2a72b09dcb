// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The chain behind a disk: which byte of which file holds which byte of the disk.
//!
//! A chain is a leaf, the only file that is ever written, over a base of parents, which never change while it is
//! open. A look-up costs the same whatever the depth: the leaf's block table tells whether a block is its own, its
//! parents', or shared; then one search says who has which sectors, in a view of the shared block ([`leaf`]) or in the
//! index over all parents ([`base`]).
//!
//! | part | what it knows |
//! | --- | --- |
//! | [`open`] | finding the parents, and that they are the right ones |
//! | [`base`] | the merged extents of all parents |
//! | [`leaf`] | the leaf's blocks in memory: table, bitmaps, writes in flight, what is not yet on disk |
//! | [`space`] | where new blocks go in the leaf's file, and which space is free again |
//! | [`write`] | tickets for writes, zeroing and discarding |
//! | [`flush`] | the order in which all of it becomes durable |
//!
//! Locks, in the order in which they may be taken: a shard of the leaf, then its dirty set or its space. None of
//! them is held while the host does I/O, but for growing the file, which happens once for many blocks.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::{Error, Kind, Result};
use crate::image::Image;

pub(crate) mod base;
mod by_block;
pub(crate) mod extent;
pub(crate) mod flush;
pub(crate) mod leaf;
pub(crate) mod open;
pub(crate) mod space;
pub(crate) mod write;

use base::Base;
use extent::{Extent, Joiner, Sink, Source};
use leaf::Leaf;

/// An open chain.
#[derive(Debug)]
pub(crate) struct Chain {
    // Configuration.
    /// The leaf first.
    layers: Vec<Image>,
    writable: bool,
    // Book-keeping.
    /// None when the leaf is raw or fixed.
    leaf: Option<Leaf>,
    base: Base,
    readers: Readers,
    flushes: flush::Queue,
    /// Held by writes that must read a sector before they change a part of it.
    unaligned: Mutex<()>,
    /// Why the chain became read-only.
    latch: OnceLock<String>,
}

impl Chain {
    pub fn new(mut layers: Vec<Image>, writable: bool, cache: usize, ahead: u64) -> Self {
        let base = Base::new(&layers, cache / 2);
        let leaf = layers
            .first_mut()
            .and_then(|image| Leaf::new(image, writable, cache / 2, ahead));
        Self {
            layers,
            writable,
            leaf,
            base,
            readers: Readers::default(),
            flushes: flush::Queue::default(),
            unaligned: Mutex::new(()),
            latch: OnceLock::new(),
        }
    }

    /// The leaf first, then its parent, and so on.
    pub fn layers(&self) -> &[Image] {
        &self.layers
    }

    /// The image that the chain is opened by. There always is one.
    #[expect(
        clippy::indexing_slicing,
        reason = "the constructor's callers pass at least the leaf"
    )]
    pub fn top(&self) -> &Image {
        &self.layers[0]
    }

    pub fn size(&self) -> u64 {
        self.top().size
    }

    pub fn writable(&self) -> bool {
        self.writable
    }

    /// The file of the leaf in blocks, if it is one.
    pub fn leaf(&self) -> Option<&Leaf> {
        self.leaf.as_ref()
    }

    /// Finds the range in the chain's files, in order; neighbours in a file come as one extent.
    ///
    /// The caller holds a reader ([`Chain::enter`]) until it has read the extents.
    pub fn resolve(&self, range: Range<u64>, mut each: impl FnMut(Extent) -> Result<()>) -> Result<()> {
        self.resolve_with(range, Joiner::new(&mut each))
    }

    /// As [`Chain::resolve`], from what is in memory: false if that is not enough.
    pub fn resolve_known(&self, range: Range<u64>, extents: &mut Vec<Extent>) -> bool {
        let mut each = |extent| {
            extents.push(extent);
            Ok(())
        };
        self.resolve_with(range, Joiner::known(&mut each)).is_ok()
    }

    fn resolve_with<F: FnMut(Extent) -> Result<()>>(
        &self,
        range: Range<u64>,
        mut joiner: Joiner<'_, F>,
    ) -> Result<()> {
        match &self.leaf {
            Some(leaf) => leaf.resolve(self, range, &mut joiner)?,
            None => self.resolve_linear(range, &mut joiner)?,
        }
        joiner.finish()
    }

    /// As [`Chain::resolve`], where the disk begins where its only file does.
    fn resolve_linear(&self, range: Range<u64>, sink: &mut dyn Sink) -> Result<()> {
        let top = self.top();
        let mut at = range.start;
        while at < range.end {
            let data = if self.writable {
                range.clone()
            } else {
                let found = top.storage.data_from(at);
                found.map_err(|error| top.io_error(error, "looking for data in"))?
            };
            // Whatever a storage says, this stays inside of the range, and goes on.
            let none = data.is_empty() || data.start >= range.end || data.end <= at;
            let (start, end) = if none {
                (range.end, range.end)
            } else {
                (data.start.max(at), data.end.min(range.end))
            };
            sink.push(at, start, Source::Zero)?;
            let source = Source::File {
                layer: 0,
                offset: start,
            };
            sink.push(start, end, source)?;
            at = end;
        }
        Ok(())
    }

    /// As [`Chain::resolve`], for what the parents hold.
    fn resolve_base(&self, range: Range<u64>, sink: &mut dyn Sink) -> Result<()> {
        self.base.resolve(&self.layers, range, sink)
    }

    /// Whether the parents have nothing but zeros in the range, as far as their bitmaps tell.
    fn base_is_zero(&self, range: Range<u64>) -> Result<bool> {
        let mut zero = true;
        let mut each = |extent: Extent| {
            zero &= extent.source == Source::Zero;
            Ok(())
        };
        let mut joiner = Joiner::new(&mut each);
        self.resolve_base(range, &mut joiner)?;
        joiner.finish()?;
        Ok(zero)
    }

    /// Announces a reader, so that space is not reused under it.
    pub fn enter(&self) -> Phase {
        self.readers.enter()
    }

    pub fn leave(&self, phase: Phase) {
        self.readers.leave(phase);
    }

    /// Fills a buffer from the disk.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let range = self.check(offset, buffer.len() as u64)?;
        let phase = self.enter();
        let result = self.resolve(range, |extent| {
            let from = (extent.offset - offset) as usize;
            let part = buffer
                .get_mut(from..from + extent.len as usize)
                .unwrap_or_default();
            match extent.source {
                Source::Zero => {
                    part.fill(0);
                    Ok(())
                }
                Source::File { layer, offset } => self.read_payload(layer, offset, part),
            }
        });
        self.leave(phase);
        result
    }

    fn read_payload(&self, layer: usize, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let Some(image) = self.layers.get(layer) else {
            return Err(Error::new(Kind::Io, &self.top().path));
        };
        image
            .storage
            .read_at(buffer, offset)
            .map_err(|error| self.read_error(layer, error))
    }

    fn read_error(&self, layer: usize, error: io::Error) -> Error {
        let cut = error.kind() == io::ErrorKind::UnexpectedEof;
        let image = self.layers.get(layer).unwrap_or_else(|| self.top());
        let error = image.io_error(error, "reading data of");
        // A file that was cut while open is not the image any more that was checked: nothing may be written on
        // top of that. A sector that cannot be read is the guest's to handle.
        if cut { self.fail(error) } else { error }
    }

    /// Checks that a request lies inside of the disk.
    pub fn check(&self, offset: u64, len: u64) -> Result<Range<u64>> {
        let end = offset.checked_add(len).filter(|&end| end <= self.size());
        let end = end.ok_or_else(|| Error::new(Kind::OutOfRange, &self.top().path))?;
        Ok(offset..end)
    }

    /// Checks that the chain can be written.
    pub fn check_writable(&self) -> Result<()> {
        if !self.writable {
            return Err(Error::new(Kind::ReadOnly, &self.top().path));
        }
        match self.latch.get() {
            Some(cause) => Err(Error::new(Kind::Latched(cause.clone()), &self.top().path)),
            None => Ok(()),
        }
    }

    /// Makes the chain read-only from here on: after a failed write nobody knows what the file holds.
    pub fn fail(&self, error: Error) -> Error {
        // The first failure is the cause; later ones follow from it.
        let _ = self.latch.set(error.to_string());
        error
    }

    /// Whether an earlier failure made the chain read-only.
    pub fn latched(&self) -> bool {
        self.latch.get().is_some()
    }

    fn write_io(&self, source: io::Error, step: &'static str) -> Error {
        self.fail(self.top().io_error(source, step))
    }

    /// Serialises writes of parts of sectors. A poisoned lock guards nothing that could be half-done.
    fn lock_unaligned(&self) -> std::sync::MutexGuard<'_, ()> {
        self.unaligned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`; here nobody is left to tell.
        let _ = self.close();
    }
}

/// Counts the readers that may still use extents they were given.
///
/// Freed space may be used again once every reader that was under way when it was freed has left. Readers count
/// themselves in one of two phases; the free space waits until each phase was seen empty once. The phase in use
/// changes with each flush, so a steady stream of readers cannot keep a phase busy for ever.
#[derive(Debug, Default)]
struct Readers {
    current: AtomicUsize,
    active: [AtomicUsize; 2],
}

/// The phase that a reader counted itself in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Even,
    Odd,
}

impl Readers {
    fn counter(&self, phase: Phase) -> &AtomicUsize {
        let [even, odd] = &self.active;
        match phase {
            Phase::Even => even,
            Phase::Odd => odd,
        }
    }

    fn enter(&self) -> Phase {
        let phase = if self.current.load(Ordering::Relaxed).is_multiple_of(2) {
            Phase::Even
        } else {
            Phase::Odd
        };
        // Orders this announcement before the reader's look at the block table; `quiet` does the reverse.
        self.counter(phase).fetch_add(1, Ordering::SeqCst);
        phase
    }

    fn leave(&self, phase: Phase) {
        self.counter(phase).fetch_sub(1, Ordering::Release);
    }

    /// Later readers use the other phase.
    fn turn(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }

    /// Which phases have no reader just now.
    fn quiet(&self) -> [bool; 2] {
        fence(Ordering::SeqCst);
        [Phase::Even, Phase::Odd].map(|phase| self.counter(phase).load(Ordering::SeqCst) == 0)
    }
}

/// A reader that outlives the call that resolved its extents. See [`crate::Disk::resolve_read`].
#[derive(Debug)]
#[must_use = "the extents may be read only while this is held"]
pub struct ReadGuard {
    chain: Arc<Chain>,
    phase: Phase,
}

impl ReadGuard {
    pub(crate) fn new(chain: &Arc<Chain>) -> Self {
        Self {
            chain: Arc::clone(chain),
            phase: chain.enter(),
        }
    }

    /// Reading an extent of a layer failed. Returns the error to report; a file that ended too early makes the disk
    /// read-only.
    #[must_use]
    pub fn fail(self, layer: usize, error: io::Error) -> Error {
        self.chain.read_error(layer, error)
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        self.chain.leave(self.phase);
    }
}
