// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A diskette in a drive: sectors on top of a medium that answers later.
//!
//! Reads fetch the whole cylinder, as the next sectors are nearly always asked for next; if that fails, sector by sector, so that the
//! good ones around a bad one stay readable. At most one request is under way, therefore a read can never overtake a write, and a
//! guest that resets the controller over and over cannot pile up requests.
//!
//! An image that is shorter than its format reads as zeros where it ends, and cannot be written there.

use super::media::Format;
use super::spec::SECTOR;
use crate::block::{Completion, Medium, MediumError, Operation, Request};
use crate::snapshot::{BadState, Busy, must};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How far something has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<T> {
    /// Done.
    Ready(T),
    /// The medium is at work.
    Pending,
    /// The medium could not.
    Failed(MediumError),
}

/// What the medium is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Nothing,
    /// Fills the window.
    Read {
        tag: u64,
        first: u32,
        count: u32,
    },
    Write {
        tag: u64,
        /// Nobody gave the command up meanwhile.
        awaited: bool,
    },
    Flush {
        tag: u64,
    },
}

/// A run of sectors in memory.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    first: u32,
    #[serde(with = "crate::snapshot::hex")]
    data: Vec<u8>,
}

impl Window {
    /// Sectors from `sector` on.
    fn available(&self, sector: u32) -> usize {
        let count = self.data.len() / SECTOR;
        sector
            .checked_sub(self.first)
            .map_or(0, |at| count.saturating_sub(at as usize))
    }

    fn patch(&mut self, first: u32, data: &[u8]) {
        for (n, sector) in data.chunks_exact(SECTOR).enumerate() {
            let number = first + n as u32;
            if self.available(number) > 0 {
                let at = (number - self.first) as usize * SECTOR;
                self.data[at..at + SECTOR].copy_from_slice(sector);
            }
        }
    }
}

/// A write that waits for its turn.
struct Queued {
    first: u32,
    data: Vec<u8>,
}

/// The diskette. Sectors are numbered as in the image: track by track, side 0 first.
pub struct Diskette {
    // Configuration.
    format: Format,
    // Dependencies.
    medium: Box<dyn Medium>,
    // Book-keeping.
    next_tag: u64,
    work: Work,
    /// There are writes that no flush has covered, and the motor has stopped since.
    flush: Flush,
    // Volatile state.
    window: Window,
    /// The first sector of a cylinder that cannot be read as a whole.
    fragile: Option<u32>,
    /// The sector that could not be read last, and why.
    bad: Option<(u32, MediumError)>,
    queued: Option<Queued>,
    /// How the last write ended, until it is asked for.
    outcome: Option<Result<(), MediumError>>,
    /// Sectors with a deleted data address mark. An image has no place for marks: they last as long as the diskette stays in.
    deleted: BTreeSet<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Flush {
    /// All writes are durable, as far as we know.
    Clean,
    /// Something was written.
    Dirty,
    /// It is time to make it durable.
    Due,
}

/// What a saved machine keeps of a diskette: its shape by which it is known again, and what the image does not hold.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedDiskette {
    /// Cylinders, heads, sectors a track.
    format: [u8; 3],
    flush: Flush,
    window: Window,
    fragile: Option<u32>,
    bad: Option<(u32, MediumError)>,
    outcome: Option<Result<(), MediumError>>,
    deleted: BTreeSet<u32>,
}

impl Diskette {
    /// The state, when its medium has nothing to do.
    pub fn save(&self) -> Result<SavedDiskette, Busy> {
        let Self {
            format: _,
            medium: _,
            next_tag: _,
            work,
            flush,
            window,
            fragile,
            bad,
            queued,
            outcome,
            deleted,
        } = self;
        if *work != Work::Nothing || queued.is_some() {
            return Err(Busy);
        }
        Ok(SavedDiskette {
            format: self.shape(),
            flush: *flush,
            window: window.clone(),
            fragile: *fragile,
            bad: *bad,
            outcome: *outcome,
            deleted: deleted.clone(),
        })
    }

    /// Takes over what [`save`](Self::save) gave.
    pub fn restore(&mut self, saved: SavedDiskette) -> Result<(), BadState> {
        let SavedDiskette {
            format,
            flush,
            window,
            fragile,
            bad,
            outcome,
            deleted,
        } = saved;
        must(format == self.shape(), "a diskette of another format")?;
        let [cylinders, heads, sectors] = format.map(u32::from);
        let total = cylinders * heads * sectors;
        let end = u64::from(window.first) + (window.data.len() / SECTOR) as u64;
        must(
            deleted.iter().all(|sector| *sector < total)
                && window.data.len().is_multiple_of(SECTOR)
                && end <= u64::from(total),
            "sectors that the diskette does not have",
        )?;
        (self.flush, self.window, self.fragile) = (flush, window, fragile);
        (self.bad, self.outcome, self.deleted) = (bad, outcome, deleted);
        Ok(())
    }

    fn shape(&self) -> [u8; 3] {
        [
            self.format.cylinders(),
            self.format.heads(),
            self.format.sectors(),
        ]
    }

    /// `generation` tells the requests of this insertion from those of all others.
    pub fn new(medium: Box<dyn Medium>, format: Format, generation: u32) -> Self {
        Self {
            format,
            medium,
            next_tag: u64::from(generation) << 32,
            work: Work::Nothing,
            flush: Flush::Clean,
            window: Window::default(),
            fragile: None,
            bad: None,
            queued: None,
            outcome: None,
            deleted: BTreeSet::new(),
        }
    }

    /// Takes the diskette apart. Requests that are under way stay with the medium.
    pub fn into_medium(self) -> Box<dyn Medium> {
        self.medium
    }

    /// How it is formatted.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The notch is open.
    pub fn write_protected(&self) -> bool {
        self.medium.info().read_only
    }

    /// The number of the sector `r` (from 1) of a track.
    pub fn sector(&self, cylinder: u8, head: u8, r: u8) -> u32 {
        let (heads, sectors) = (u32::from(self.format.heads()), u32::from(self.format.sectors()));
        (u32::from(cylinder) * heads + u32::from(head)) * sectors + u32::from(r.saturating_sub(1))
    }

    /// The sector has a deleted data address mark.
    pub fn is_deleted(&self, sector: u32) -> bool {
        self.deleted.contains(&sector)
    }

    /// Has `sector` in memory, and tells how many follow it there.
    pub fn fetch(&mut self, sector: u32) -> Progress<usize> {
        loop {
            self.service();
            let available = self.window.available(sector);
            if available > 0 {
                return Progress::Ready(available);
            }
            if self.work != Work::Nothing {
                return Progress::Pending;
            }
            if let Some((_, error)) = self.bad.take().filter(|(bad, _)| *bad == sector) {
                return Progress::Failed(error);
            }
            let in_cylinder = u32::from(self.format.heads()) * u32::from(self.format.sectors());
            let cylinder = sector - sector % in_cylinder;
            if self.fragile == Some(cylinder) {
                self.submit_read(sector, 1);
            } else {
                self.submit_read(cylinder, in_cylinder);
            }
        }
    }

    /// The data of `count` sectors that [`fetch`](Self::fetch) has found.
    pub fn data(&self, sector: u32, count: usize) -> &[u8] {
        let at = sector.saturating_sub(self.window.first) as usize * SECTOR;
        self.window.data.get(at..at + count * SECTOR).unwrap_or(&[])
    }

    /// Writes whole sectors and marks them. The end is asked for with [`written`](Self::written).
    pub fn write(&mut self, first: u32, data: Vec<u8>, deleted: bool) {
        let count = (data.len() / SECTOR) as u32;
        let end = (u64::from(first) + u64::from(count)) * SECTOR as u64;
        if end > self.medium.info().len {
            self.outcome = Some(Err(MediumError::OutOfRange));
            return;
        }
        for sector in first..first + count {
            if deleted {
                self.deleted.insert(sector);
            } else {
                self.deleted.remove(&sector);
            }
        }
        self.outcome = None;
        self.queued = Some(Queued { first, data });
        self.service();
    }

    /// How the last write goes.
    pub fn written(&mut self) -> Progress<()> {
        self.service();
        match self.outcome.take() {
            Some(Ok(())) => Progress::Ready(()),
            Some(Err(error)) => Progress::Failed(error),
            None => Progress::Pending,
        }
    }

    /// The command was given up. What the medium has already been told to write, it writes.
    pub fn abort(&mut self) {
        self.queued = None;
        self.outcome = None;
        self.bad = None;
        if let Work::Write { awaited, .. } = &mut self.work {
            *awaited = false;
        }
    }

    /// The motor has stopped: a good moment to make writes durable.
    pub fn motor_off(&mut self) {
        if self.flush == Flush::Dirty {
            self.flush = Flush::Due;
        }
        self.service();
    }

    /// Takes completions and sends what waits.
    pub fn service(&mut self) {
        loop {
            while let Some(completion) = self.medium.completed() {
                self.complete(completion);
            }
            if self.work != Work::Nothing {
                return;
            }
            if let Some(Queued { first, data }) = self.queued.take() {
                self.window.patch(first, &data);
                self.flush = Flush::Dirty;
                let tag = self.take_tag();
                self.work = Work::Write { tag, awaited: true };
                self.submit(Operation::Write, first, data, tag);
            } else if self.flush == Flush::Due {
                self.flush = Flush::Clean;
                let tag = self.take_tag();
                self.work = Work::Flush { tag };
                self.submit(Operation::Flush, 0, Vec::new(), tag);
            } else {
                return;
            }
        }
    }

    fn submit_read(&mut self, first: u32, count: u32) {
        let len = self.medium.info().len;
        let offset = u64::from(first) * SECTOR as u64;
        let wanted = u64::from(count) * SECTOR as u64;
        let present = len.saturating_sub(offset).min(wanted) as usize;
        if present == 0 {
            self.window = Window {
                first,
                data: vec![0; wanted as usize],
            };
            return;
        }
        let tag = self.take_tag();
        self.work = Work::Read { tag, first, count };
        self.submit(Operation::Read, first, vec![0; present], tag);
    }

    fn submit(&mut self, operation: Operation, first: u32, buffer: Vec<u8>, tag: u64) {
        let offset = u64::from(first) * SECTOR as u64;
        self.medium.submit(Request::new(operation, offset, buffer, tag));
    }

    fn take_tag(&mut self) -> u64 {
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        tag
    }

    fn complete(&mut self, completion: Completion) {
        match self.work {
            Work::Read { tag, first, count } if tag == completion.tag => {
                self.work = Work::Nothing;
                match completion.result {
                    Ok(()) => {
                        let mut data = completion.data.into_buffer();
                        data.resize(count as usize * SECTOR, 0);
                        self.window = Window { first, data };
                        if count > 1 {
                            self.fragile = None;
                        }
                    }
                    Err(error) if count == 1 => self.bad = Some((first, error)),
                    Err(_) => self.fragile = Some(first),
                }
            }
            Work::Write { tag, awaited } if tag == completion.tag => {
                self.work = Work::Nothing;
                if completion.result.is_err() {
                    // Nobody knows what the medium holds now.
                    self.window = Window::default();
                }
                if awaited {
                    self.outcome = Some(completion.result);
                }
            }
            Work::Flush { tag } if tag == completion.tag => {
                self.work = Work::Nothing;
                if let Err(error) = completion.result {
                    log::debug!("the writes to a diskette could not be made durable: {error}");
                }
            }
            // It belongs to an earlier stay of this medium in a drive.
            _ => log::debug!("a diskette's request was completed after its time"),
        }
    }
}

#[cfg(test)]
mod tests;
