// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files that misbehave on purpose, for tests of everything that writes images.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::format::spec;
use crate::storage::{MemoryStorage, Storage};

mod host;

pub use host::RecordingFileSystem;

/// Numbers that look random and are the same in every run.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// A sequence of its own for each seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Splits seeds that are close together; xorshift must not start at zero.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number below `limit`; zero if that is zero.
    pub fn roll(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11).checked_rem(limit).unwrap_or(0)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.roll(times) == 0
    }
}

/// A change of a file, in the order in which the file's owner made it.
#[derive(Debug, Clone)]
pub enum Event {
    /// Bytes were written at an offset.
    Write(u64, Arc<[u8]>),
    /// A range was made zero.
    Punch(Range<u64>),
    /// The file was cut or extended.
    SetLen(u64),
    /// All before this is durable.
    Sync,
}

/// A file in memory that remembers every change, to find out what a power cut could leave of it.
#[derive(Debug, Clone)]
pub struct RecordingStorage {
    initial: Arc<[u8]>,
    file: MemoryStorage,
    events: Arc<Mutex<Vec<Event>>>,
}

impl RecordingStorage {
    /// With this content, which is durable.
    #[must_use]
    pub fn new(content: &[u8]) -> Self {
        Self {
            initial: content.into(),
            file: MemoryStorage::new(content.to_vec()),
            events: Arc::default(),
        }
    }

    /// How many changes there were so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.events().len()
    }

    /// Calls `each` for every moment at which the power can go, with what the file may hold then: as many different
    /// outcomes for each moment as `outcomes` says. The moment is given as the number of changes that were begun.
    pub fn cut_everywhere(&self, outcomes: usize, dice: &mut Dice, mut each: impl FnMut(usize, Vec<u8>)) {
        let events = self.events().clone();
        let mut durable = self.initial.to_vec();
        let mut loose: Vec<&Event> = Vec::new();
        each(0, durable.clone());
        for (index, event) in events.iter().enumerate() {
            if matches!(event, Event::Sync) {
                // While it is under way anything may be lost; after it nothing is.
                loose.drain(..).for_each(|event| apply(&mut durable, event));
                each(index + 1, durable.clone());
                continue;
            }
            loose.push(event);
            for outcome in 0..outcomes {
                let mut content = durable.clone();
                match outcome {
                    // All of it arrived, and all but the last of it: the plain cases.
                    0 => loose.iter().for_each(|event| apply(&mut content, event)),
                    // Only the last of it arrived.
                    1 => apply(&mut content, event),
                    _ => survive(&mut content, &loose, dice),
                }
                each(index + 1, content);
            }
        }
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: Event) {
        self.events().push(event);
    }
}

/// Applies some of the changes, in any order, and some of them in parts.
fn survive(content: &mut Vec<u8>, loose: &[&Event], dice: &mut Dice) {
    let mut order: Vec<&Event> = loose.to_vec();
    for index in (1..order.len()).rev() {
        order.swap(index, dice.roll(index as u64 + 1) as usize);
    }
    for event in order {
        match (dice.roll(3), event) {
            (0, _) => {}
            (1, Event::Write(offset, bytes)) => {
                for (index, sector) in bytes.chunks(spec::SECTOR as usize).enumerate() {
                    if dice.once_in(2) {
                        apply(
                            content,
                            &Event::Write(offset + index as u64 * spec::SECTOR, sector.into()),
                        );
                    }
                }
            }
            _ => apply(content, event),
        }
    }
}

fn apply(content: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Write(offset, bytes) => {
            let start = *offset as usize;
            let end = start + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            if let Some(target) = content.get_mut(start..end) {
                target.copy_from_slice(bytes);
            }
        }
        Event::Punch(range) => {
            let len = content.len() as u64;
            let (start, end) = (range.start.min(len) as usize, range.end.min(len) as usize);
            if let Some(target) = content.get_mut(start..end) {
                target.fill(0);
            }
        }
        Event::SetLen(len) => content.resize(*len as usize, 0),
        Event::Sync => {}
    }
}

impl Storage for RecordingStorage {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.note(Event::Write(offset, buffer.into()));
        self.file.write_at(buffer, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(Event::SetLen(len));
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.note(Event::Sync);
        Ok(())
    }

    fn punch(&self, range: Range<u64>) -> io::Result<bool> {
        self.note(Event::Punch(range.clone()));
        self.file.punch(range)
    }

    fn allocate(&self, _range: Range<u64>) -> io::Result<bool> {
        Ok(false)
    }
}

/// Counts of the calls that reached a [`FaultyStorage`].
#[derive(Debug, Default)]
pub struct Calls {
    /// Reads.
    pub reads: AtomicU64,
    /// Bytes read.
    pub read_bytes: AtomicU64,
    /// Writes.
    pub writes: AtomicU64,
    /// Syncs.
    pub syncs: AtomicU64,
    /// Changes of length.
    pub resizes: AtomicU64,
}

impl Calls {
    /// The counts of writes, syncs and changes of length, starting again at zero.
    pub fn take_changes(&self) -> (u64, u64, u64) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        (take(&self.writes), take(&self.syncs), take(&self.resizes))
    }
}

/// What a [`FaultyStorage`] fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Syncs.
    Sync,
    /// Growing.
    Grow,
}

/// Passes everything on to another storage, counts it, and fails what it is told to.
#[derive(Debug, Clone)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    calls: Arc<Calls>,
    fault: Arc<Mutex<Option<(Fault, io::ErrorKind)>>>,
    punches: bool,
}

impl FaultyStorage {
    /// Works as `inner` until told otherwise.
    #[must_use]
    pub fn new(inner: impl Storage + 'static) -> Self {
        Self {
            inner: Arc::new(inner),
            calls: Arc::default(),
            fault: Arc::default(),
            punches: true,
        }
    }

    /// As on a host that cannot punch holes.
    #[must_use]
    pub fn without_punch(mut self) -> Self {
        self.punches = false;
        self
    }

    /// From now on these calls fail; `None` mends it.
    pub fn set_fault(&self, fault: Option<(Fault, io::ErrorKind)>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// What was called.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    fn check(&self, what: Fault) -> io::Result<()> {
        match *self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((fault, kind)) if fault == what => Err(kind.into()),
            _ => Ok(()),
        }
    }
}

impl Storage for FaultyStorage {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.calls.reads.fetch_add(1, Ordering::Relaxed);
        self.calls
            .read_bytes
            .fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.check(Fault::Read)?;
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.calls.writes.fetch_add(1, Ordering::Relaxed);
        self.check(Fault::Write)?;
        self.inner.write_at(buffer, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.calls.resizes.fetch_add(1, Ordering::Relaxed);
        self.check(Fault::Grow)?;
        self.inner.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.calls.syncs.fetch_add(1, Ordering::Relaxed);
        self.check(Fault::Sync)?;
        self.inner.sync()
    }

    fn punch(&self, range: Range<u64>) -> io::Result<bool> {
        if self.punches {
            self.inner.punch(range)
        } else {
            Ok(false)
        }
    }

    fn allocate(&self, _range: Range<u64>) -> io::Result<bool> {
        Ok(false)
    }

    fn file(&self) -> Option<&File> {
        self.inner.file()
    }
}
