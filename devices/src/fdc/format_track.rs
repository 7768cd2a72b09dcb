// SPDX-License-Identifier: Apache-2.0 OR MIT
//! FORMAT TRACK (82077AA data sheet, section 5.1.7).
//!
//! An image holds sectors in one fixed layout. A sector that the host formats with an ID of that layout is filled, wherever it stands
//! on the track; an ID outside it (another size, a number that the track has not, another density) has no place, and the command
//! ends with No Data, as a verify after it would.

use super::command::{FormatCommand, SectorId, Target};
use super::diskette::{Diskette, Progress};
use super::drive::Drive;
use super::fifo::FifoBuffer;
use super::spec::{SECTOR, SECTOR_CODE, St1, St2, timing};
use super::transfer::write_fault;
use super::{End, Fdc, Job, Phase};
use crate::clock::Nanos;
use crate::snapshot::{BadState, must};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Bytes of an ID that the host sends.
const ID: usize = 4;

/// A track being formatted.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormatTrack {
    command: FormatCommand,
    non_dma: bool,
    /// What the result phase shows. Its meaning is undefined; it is the last ID sent.
    last: SectorId,
    patience: Option<Nanos>,
    stage: Stage,
}

/// What it waits for.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Stage {
    /// The index hole.
    Search { at: Nanos },
    /// The DMA channel.
    Stalled { retry: Nanos },
    /// The host, byte by byte.
    Fifo(FifoBuffer),
    /// The medium, which writes the runs one after another.
    Writing { runs: Vec<Run>, end: End },
    /// Nothing: the diskette was taken out.
    Gone,
}

/// Neighbouring sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    first: u32,
    count: usize,
}

impl FormatTrack {
    /// Refuses what no command leads to.
    pub fn check(&self) -> Result<(), BadState> {
        self.command.target.check()?;
        match &self.stage {
            Stage::Search { .. } | Stage::Stalled { .. } | Stage::Gone => Ok(()),
            Stage::Fifo(fifo) => fifo.check(usize::from(self.command.sectors) * ID),
            Stage::Writing { runs, end } => {
                let near = |run: &Run| run.first < 1 << 20 && run.count <= 255;
                must(
                    runs.len() <= 255 && runs.iter().all(near),
                    "sectors that no track has",
                )?;
                end.check()
            }
        }
    }

    /// The index hole comes by at `at`.
    pub fn new(command: FormatCommand, non_dma: bool, at: Nanos) -> Self {
        Self {
            command,
            non_dma,
            last: SectorId::default(),
            patience: None,
            stage: Stage::Search { at },
        }
    }

    /// See [`Job::deadline`].
    pub fn deadline(&self) -> Option<Nanos> {
        match self.stage {
            Stage::Search { at } | Stage::Stalled { retry: at } => Some(at),
            Stage::Fifo(_) | Stage::Writing { .. } | Stage::Gone => None,
        }
    }

    /// See [`Job::fifo`].
    pub fn fifo(&self) -> Option<&FifoBuffer> {
        match &self.stage {
            Stage::Fifo(fifo) => Some(fifo),
            _ => None,
        }
    }

    /// See [`Job::fifo`].
    pub fn fifo_mut(&mut self) -> Option<&mut FifoBuffer> {
        match &mut self.stage {
            Stage::Fifo(fifo) => Some(fifo),
            _ => None,
        }
    }

    /// The diskette in drive `unit` was exchanged.
    pub fn diskette_gone(&mut self, unit: usize) {
        if self.command.target.unit == unit {
            self.stage = Stage::Gone;
        }
    }

    fn target(&self) -> Target {
        self.command.target
    }
}

impl Fdc {
    /// Lets the command go on as far as it can.
    pub(super) fn run_format(&mut self, mut format: FormatTrack, now: Nanos) -> Phase {
        match self.step_format(&mut format, now) {
            Some(mut end) => {
                if format.non_dma {
                    end.after = end.after.max(timing::RESULT);
                }
                self.end(end, format.target(), format.last, now)
            }
            None => Phase::Execution(Job::Format(format)),
        }
    }

    /// The end, when it has come.
    fn step_format(&mut self, format: &mut FormatTrack, now: Nanos) -> Option<End> {
        match &mut format.stage {
            Stage::Search { at } | Stage::Stalled { retry: at } if now < *at => None,
            Stage::Search { .. } | Stage::Stalled { .. } => self.ask_for_ids(format, now),
            Stage::Fifo(fifo) if !fifo.is_done() => None,
            Stage::Fifo(fifo) => {
                let ids = std::mem::replace(fifo, FifoBuffer::from_host(0)).into_data();
                self.fill(format, &ids)
            }
            Stage::Writing { .. } => self.await_runs(format),
            Stage::Gone => Some(End::not_found(St1::MISSING_ADDRESS_MARK, St2::empty())),
        }
    }

    fn ask_for_ids(&mut self, format: &mut FormatTrack, now: Nanos) -> Option<End> {
        let unit = format.target().unit;
        let diskette = self.drive(unit).and_then(Drive::diskette);
        match diskette {
            Some(diskette) if self.state.dor.motor(unit) => {
                if diskette.write_protected() {
                    return Some(End::failed(St1::NOT_WRITABLE));
                }
            }
            // No index hole comes by.
            _ => return Some(End::not_found(St1::MISSING_ADDRESS_MARK, St2::empty())),
        }
        let len = usize::from(format.command.sectors) * ID;
        if len == 0 {
            return Some(End::NORMAL);
        }
        if format.non_dma {
            format.stage = Stage::Fifo(FifoBuffer::from_host(len));
            return None;
        }
        if self.dma_ready() {
            let mut ids = vec![0; len];
            let moved = self.dma.read_memory(&mut ids);
            if moved.count > 0 {
                ids.truncate(moved.count);
                return self.fill(format, &ids);
            }
        }
        let give_up = *format
            .patience
            .get_or_insert(now.saturating_add(timing::DMA_PATIENCE));
        format.stage = Stage::Stalled {
            retry: now.saturating_add(timing::DMA_RETRY),
        };
        (now >= give_up).then(|| End::failed(St1::OVERRUN))
    }

    /// Fills the sectors with these IDs.
    fn fill(&mut self, format: &mut FormatTrack, ids: &[u8]) -> Option<End> {
        let target = format.target();
        let track = self.track(target, format.command.mfm);
        let mut sectors = BTreeSet::new();
        let mut end = End::NORMAL;
        for bytes in ids.chunks_exact(ID) {
            let id = SectorId::from_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            format.last = id;
            let fits = track.is_some_and(|track| {
                id.c == track.cylinder
                    && id.h == target.head
                    && (1..=track.sectors).contains(&id.r)
                    && id.n == SECTOR_CODE
                    && format.command.n == SECTOR_CODE
            });
            if fits {
                sectors.insert(id.r);
            } else {
                end = End::failed(St1::NO_DATA);
            }
        }
        self.state.write_toggle ^= true;
        let Some(diskette) = self.drive(target.unit).and_then(Drive::diskette) else {
            return Some(End::not_found(St1::MISSING_ADDRESS_MARK, St2::empty()));
        };
        let cylinder = track.map_or(0, |track| track.cylinder);
        let mut runs: Vec<Run> = Vec::new();
        for r in sectors {
            let sector = diskette.sector(cylinder, target.head, r);
            match runs.last_mut() {
                Some(run) if run.first + run.count as u32 == sector => run.count += 1,
                _ => runs.push(Run {
                    first: sector,
                    count: 1,
                }),
            }
        }
        format.stage = Stage::Writing { runs, end };
        self.next_run(format);
        self.await_runs(format)
    }

    /// Hands the last run of those left to the medium.
    fn next_run(&mut self, format: &FormatTrack) {
        if let Stage::Writing { runs, .. } = &format.stage
            && let Some(run) = runs.last()
        {
            let data = vec![format.command.filler; run.count * SECTOR];
            let first = run.first;
            if let Some(diskette) = self.diskette_mut(format.target().unit) {
                diskette.write(first, data, false);
            }
        }
    }

    fn await_runs(&mut self, format: &mut FormatTrack) -> Option<End> {
        loop {
            let Stage::Writing { runs, end } = &mut format.stage else {
                return None;
            };
            if runs.is_empty() {
                return Some(*end);
            }
            match self
                .diskette_mut(format.command.target.unit)
                .map(Diskette::written)
            {
                Some(Progress::Pending) => return None,
                Some(Progress::Ready(())) => {
                    runs.pop();
                    self.next_run(format);
                }
                Some(Progress::Failed(error)) => return Some(write_fault(error)),
                None => return Some(End::not_found(St1::MISSING_ADDRESS_MARK, St2::empty())),
            }
        }
    }
}
