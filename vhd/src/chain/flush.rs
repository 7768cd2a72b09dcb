// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The order in which writes reach the disk: everything that crash safety rests on.
//!
//! # Rules
//!
//! A guest's write changes its data in the file at once and the image's structures in memory only. FLUSH is the
//! only point of durability. It does, in this order:
//!
//! 1. **Take** what changed: bitmaps, sectors of the table, the place of the end footer, freed blocks. The content
//!    to be written is copied now; every write in it was committed, so its data is in the file.
//! 2. **Sync.** The data and the file's new length are stable.
//! 3. **Write** the bitmaps, the end footer, and the sectors of the table.
//! 4. **Sync.** The structures are stable; the flush is done.
//! 5. **Release** the space of freed blocks: no structure on disk names it any more.
//!
//! When nothing was allocated or freed and no bitmap changed since the flush before, step 2 is all there is.
//!
//! # Why a cut at any moment does no harm
//!
//! The host may have lost any write since its last sync, done them in any order, and torn one at sector borders.
//!
//! * *A bitmap or a table entry never names data that is not stable* (2 before 3). Were it otherwise, a cut would
//!   put zeros or old bytes in place of what the parents have there.
//! * *A new block's space reads as zeros, bitmap included, before a table entry names it.* It is new in the file, or
//!   was made zero before its first use, and 2 makes that stable. So it does not matter in which order the writes
//!   of step 3 happen, or whether the entry of a block gets there that was committed between the two copies of step 1:
//!   in a differencing disk an empty bitmap says that everything is the parents', in a dynamic one zeros are what
//!   an unwritten block holds. What was written to the block is lost; it was not flushed.
//! * *Each sector of bitmaps and table is valid by itself*, so a torn write is nothing new: every bit and every entry
//!   is the old or the new one, and both are right.
//! * *Freed space is used again only after step 4* of the flush that cleared its table entry, and after all readers
//!   that were under way have left. Until then a cut brings the block back as it was.
//! * *No block is ever laid over an end footer* (see [`super::space`]), and growing leaves the old one where it was.
//!   After a cut the file may end anywhere behind it: the copy of the footer at the start of the file, which was made
//!   good before the first growth, serves until the next flush writes a footer at the end.
//! * *Closing* flushes, writes the footer behind the last block, syncs, and only then cuts the file there.
//!
//! After a cut the file may be longer than its blocks need, with anything in that space. It is cut off before the
//! file grows again, so no stale byte ever becomes part of a block.
//!
//! # Failures
//!
//! If any of these writes fails, nobody knows which structures are on disk. The chain becomes read-only, keeps what
//! it has in memory so that reads stay right, and every later write and flush names the first failure.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use zerocopy::IntoBytes;

use super::Chain;
use super::leaf::{Dirty, Leaf};
use crate::error::{Error, Result};
use crate::format::spec;

/// Flushes that arrive while one is under way share the next one.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Something was committed since the last flush began.
    written: AtomicBool,
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    started: u64,
    completed: u64,
}

impl Chain {
    /// Notes, after a commit, that there is something for a flush to make stable.
    pub fn note_written(&self) {
        self.flushes.written.store(true, Ordering::Release);
    }

    /// Makes everything durable that was committed before this call.
    pub fn flush(&self) -> Result<()> {
        if !self.writable() {
            return Ok(());
        }
        self.check_writable()?;
        let mut state = self.flushes.state.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is under way took its changes before those that are noted now, which are for the next one.
        let wanted = state.started + u64::from(self.flushes.written.load(Ordering::Acquire));
        while state.completed < wanted {
            if state.started == state.completed {
                state.started += 1;
                // An exchange, so that whatever was committed before the mark it takes is seen from here on.
                self.flushes.written.swap(false, Ordering::AcqRel);
                let running = Running {
                    chain: self,
                    number: state.started,
                };
                drop(state);
                let result = self.flush_now();
                drop(running);
                result?;
                state = self.flushes.state.lock().unwrap_or_else(PoisonError::into_inner);
            } else {
                state = self
                    .flushes
                    .done
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                // Whoever did the flush reports its failure; the others must not report success.
                self.check_writable()?;
            }
        }
        Ok(())
    }

    /// Flushes and gives back the space at the end of the file. Nobody else may use the chain any more.
    pub fn close(&self) -> Result<()> {
        if !self.writable() {
            return Ok(());
        }
        self.flush()?;
        match self.leaf() {
            Some(leaf) => leaf.space.trim(self, leaf),
            None => Ok(()),
        }
    }

    fn flush_now(&self) -> Result<()> {
        let Some(leaf) = self.leaf() else {
            return self.sync();
        };
        leaf.space.repair(self, leaf)?;
        // 1. Take.
        let dirty = std::mem::take(&mut *leaf.dirty());
        if dirty.is_empty() && !leaf.space.footer_moved() {
            return self.sync();
        }
        let batch = Batch::new(leaf, dirty);
        match batch.write(self, leaf) {
            Ok(()) => {
                batch.retire(leaf, true);
                // 5. Release.
                leaf.space.release(self, batch.dirty.freed);
                Ok(())
            }
            Err(error) => {
                batch.retire(leaf, false);
                let mut dirty = leaf.dirty();
                dirty.bitmaps.extend(batch.dirty.bitmaps);
                dirty.table.extend(batch.dirty.table);
                dirty.freed.extend(batch.dirty.freed);
                Err(error)
            }
        }
    }

    fn sync(&self) -> Result<()> {
        self.top()
            .storage
            .sync()
            .map_err(|error| self.write_io(error, "flushing"))
    }

    fn write_structure(&self, bytes: &[u8], offset: u64, step: &'static str) -> Result<()> {
        self.top()
            .storage
            .write_at(bytes, offset)
            .map_err(|error: std::io::Error| -> Error { self.write_io(error, step) })
    }
}

/// A flush under way. However it ends, those who wait for it go on.
struct Running<'a> {
    chain: &'a Chain,
    number: u64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The storage panicked, so what it did is as unknown as after a failure.
            let _ = self.chain.latch.set("a flush was not finished".to_owned());
        }
        let queue = &self.chain.flushes;
        queue
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .completed = self.number;
        queue.done.notify_all();
    }
}

/// What one flush writes.
struct Batch {
    dirty: Dirty,
    /// File offset and content.
    bitmaps: Vec<(u64, Box<[u8]>)>,
    /// File offset and content of neighbouring sectors.
    table: Vec<(u64, Vec<u8>)>,
}

impl Batch {
    fn new(leaf: &Leaf, dirty: Dirty) -> Self {
        let mut bitmaps: Vec<_> = dirty
            .bitmaps
            .iter()
            .filter_map(|&block| leaf.bitmap_to_write(block))
            .map(|(sector, bits)| (u64::from(sector) * spec::SECTOR, bits))
            .collect();
        bitmaps.sort_unstable_by_key(|&(offset, _)| offset);
        let mut table: Vec<(u64, Vec<u8>)> = Vec::new();
        for &index in &dirty.table {
            let offset = leaf.table_offset + u64::from(index) * spec::SECTOR;
            let content = leaf.table_sector(index);
            match table.last_mut() {
                Some((start, run)) if *start + run.len() as u64 == offset => run.extend(content),
                _ => table.push((offset, content)),
            }
        }
        Self {
            dirty,
            bitmaps,
            table,
        }
    }

    fn write(&self, chain: &Chain, leaf: &Leaf) -> Result<()> {
        let footer = leaf.space.footer_to_write();
        // 2. Sync.
        chain.sync()?;
        // 3. Write.
        for (offset, bits) in &self.bitmaps {
            chain.write_structure(bits, *offset, "writing a sector bitmap of")?;
        }
        if let Some(offset) = footer {
            chain
                .write_structure(leaf.footer.as_bytes(), offset, "writing the footer of")
                .inspect_err(|_| leaf.space.footer_failed())?;
        }
        for (offset, entries) in &self.table {
            chain.write_structure(entries, *offset, "writing the block allocation table of")?;
        }
        // 4. Sync.
        chain.sync()
    }

    fn retire(&self, leaf: &Leaf, good: bool) {
        for &block in &self.dirty.bitmaps {
            leaf.bitmap_written(block, good);
        }
    }
}
