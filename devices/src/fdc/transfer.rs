// SPDX-License-Identifier: Apache-2.0 OR MIT
//! READ, WRITE, READ TRACK, VERIFY and SCAN (82077AA data sheet, section 5.1; µPD765A for SCAN).
//!
//! A transfer moves the longest run of sectors that is in memory at once, and asks for the next run when that has passed. Where it
//! stands is a sector ID; the same ID is what the result phase shows, so that table 5-6 holds by construction.
//!
//! One thing is more generous than the chip: with MT set, a transfer that runs off the end of side 0 goes on with side 1 even if EOT
//! is greater than the number of sectors. BIOSes that pass EOT from a disk parameter table never come here, but SeaBIOS computes EOT
//! from the number of sectors asked for, and boot sectors expect that such reads cross to the other side.

use super::command::{Condition, Kind, SectorId, Target, TransferCommand};
use super::diskette::{Diskette, Progress};
use super::drive::{Drive, Track};
use super::fifo::FifoBuffer;
use super::spec::{Dor, SECTOR, SECTOR_CODE, St0, St1, St2, timing};
use super::{End, Fdc, Job, Phase};
use crate::block::MediumError;
use crate::clock::Nanos;
use crate::snapshot::BadState;
use serde::{Deserialize, Serialize};

/// A data transfer in its execution phase.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    command: TransferCommand,
    non_dma: bool,
    /// Head of the sector that comes next, and drive.
    target: Target,
    /// The head in use, which changes only when a sector is looked for on the other side.
    in_use: Target,
    /// The sector that comes next.
    id: SectorId,
    /// Sectors passed since the index hole (READ TRACK).
    passed: u8,
    /// Sectors still to verify, if VERIFY counts them.
    left: u16,
    /// Faults that did not end the command.
    st1: St1,
    st2: St2,
    /// When the DMA channel will have been waited for long enough.
    patience: Option<Nanos>,
    stage: Stage,
}

/// What a transfer waits for.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Stage {
    /// The heads and the disk.
    Search { at: Nanos },
    /// Nothing or the medium: goes on with the next sector.
    Next,
    /// The DMA channel.
    Stalled { retry: Nanos },
    /// The host, byte by byte.
    Fifo(FifoBuffer),
    /// The medium, which writes. If it cannot, the transfer ends where the write began.
    Writing {
        began: (Target, SectorId),
        then: Option<End>,
    },
    /// Nothing: the diskette was taken out.
    Gone,
}

/// What came of one step.
enum Step {
    Again,
    Wait,
    End(End),
}

/// A sector that was found.
struct Found {
    /// Its number in the image.
    sector: u32,
    track: Track,
}

impl Transfer {
    /// Refuses what no command leads to.
    pub fn check(&self) -> Result<(), BadState> {
        for target in [self.command.target, self.target, self.in_use] {
            target.check()?;
        }
        match &self.stage {
            Stage::Search { .. } | Stage::Next | Stage::Stalled { .. } | Stage::Gone => Ok(()),
            Stage::Fifo(fifo) => fifo.check(SECTOR),
            Stage::Writing {
                began: (target, _),
                then,
            } => {
                target.check()?;
                then.map_or(Ok(()), End::check)
            }
        }
    }

    /// A transfer that finds its first sector at `at`.
    pub fn new(command: TransferCommand, non_dma: bool, at: Nanos) -> Self {
        Self {
            command,
            non_dma,
            target: command.target,
            in_use: command.target,
            id: command.id,
            passed: 0,
            left: if command.last == 0 {
                256
            } else {
                u16::from(command.last)
            },
            st1: St1::empty(),
            st2: St2::empty(),
            patience: None,
            stage: Stage::Search { at },
        }
    }

    /// See [`Job::deadline`].
    pub fn deadline(&self) -> Option<Nanos> {
        match self.stage {
            Stage::Search { at } | Stage::Stalled { retry: at } => Some(at),
            Stage::Next | Stage::Fifo(_) | Stage::Writing { .. } | Stage::Gone => None,
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
        if self.target.unit == unit {
            self.stage = Stage::Gone;
        }
    }

    /// Sectors from here to the end of the track or to EOT.
    fn run(&self, track: Track) -> usize {
        if self.command.kind == Kind::ReadTrack {
            return usize::from(self.track_end(track).saturating_sub(self.passed)).max(1);
        }
        let end = if self.id.r <= self.command.eot {
            self.command.eot.min(track.sectors)
        } else {
            track.sectors
        };
        usize::from(end.saturating_sub(self.id.r)) + 1
    }

    /// Sectors that READ TRACK reads.
    fn track_end(&self, track: Track) -> u8 {
        self.command.eot.clamp(1, track.sectors)
    }

    /// Goes `sectors` on, which do not leave the track before the last of them. True at the end of the cylinder.
    fn advance(&mut self, sectors: usize, track: Track) -> bool {
        self.patience = None;
        if self.command.kind == Kind::ReadTrack {
            self.passed = self.passed.saturating_add(sectors as u8);
            self.id.r = self.id.r.wrapping_add(sectors as u8);
            return self.passed >= self.track_end(track);
        }
        self.id.r = self.id.r.wrapping_add((sectors as u8).wrapping_sub(1));
        let other_side = self.command.multi_track && self.target.head == 0;
        let last = self.id.r == self.command.eot || other_side && self.id.r == track.sectors;
        if !last {
            self.id.r = self.id.r.wrapping_add(1);
            return false;
        }
        self.id.r = 1;
        if self.command.multi_track {
            self.id.h ^= 1;
        }
        if other_side {
            self.target.head = 1;
        } else {
            self.id.c = self.id.c.wrapping_add(1);
        }
        !other_side
    }
}

/// A read that the medium could not do looks like a CRC error in the data field.
fn read_fault(error: MediumError) -> End {
    log::debug!("floppy controller: a sector cannot be read: {error}");
    End {
        st2: St2::DATA_ERROR_IN_DATA,
        ..End::failed(St1::DATA_ERROR)
    }
}

pub(super) fn write_fault(error: MediumError) -> End {
    log::debug!("floppy controller: sectors cannot be written: {error}");
    End::failed(match error {
        MediumError::ReadOnly => St1::NOT_WRITABLE,
        MediumError::OutOfRange => St1::NO_DATA,
        MediumError::Io => St1::DATA_ERROR,
    })
}

impl Fdc {
    /// Lets a transfer go on as far as it can.
    pub(super) fn run_transfer(&mut self, mut transfer: Transfer, now: Nanos) -> Phase {
        let mut end = loop {
            match self.step_transfer(&mut transfer, now) {
                Step::Again => {}
                Step::Wait => return Phase::Execution(Job::Transfer(transfer)),
                Step::End(end) => break end,
            }
        };
        end.st1 |= transfer.st1;
        end.st2 |= transfer.st2;
        if !end.st1.is_empty() {
            end.st0 |= St0::ABNORMAL;
        }
        if transfer.non_dma {
            end.after = end.after.max(timing::RESULT);
        }
        self.state.head = transfer.in_use.head;
        self.end(end, transfer.in_use, transfer.id, now)
    }

    fn step_transfer(&mut self, transfer: &mut Transfer, now: Nanos) -> Step {
        match std::mem::replace(&mut transfer.stage, Stage::Next) {
            Stage::Gone => Step::End(End::not_found(St1::MISSING_ADDRESS_MARK, St2::empty())),
            Stage::Writing { began, then } => self.await_write(transfer, began, then),
            Stage::Fifo(fifo) if fifo.is_done() => self.fifo_done(transfer, fifo),
            Stage::Search { at } | Stage::Stalled { retry: at } if now >= at => Step::Again,
            Stage::Next => match transfer.command.kind {
                Kind::Read { .. } | Kind::ReadTrack => self.read_sectors(transfer, now),
                Kind::Write { deleted } => self.write_sectors(transfer, deleted, now),
                Kind::Verify => self.verify_sector(transfer),
                Kind::Scan(condition) => self.scan_sector(transfer, condition, now),
            },
            waiting => {
                transfer.stage = waiting;
                Step::Wait
            }
        }
    }

    /// Looks for the sector at which the transfer stands.
    fn find(&self, transfer: &mut Transfer) -> Result<Found, End> {
        let missing = End::not_found(St1::MISSING_ADDRESS_MARK, St2::empty());
        let target = transfer.target;
        transfer.in_use = target;
        let track = self.track(target, transfer.command.mfm).ok_or(missing)?;
        let diskette = self.drive(target.unit).and_then(Drive::diskette).ok_or(missing)?;
        let id = transfer.id;
        let r = if transfer.command.kind == Kind::ReadTrack {
            transfer.passed.saturating_add(1)
        } else {
            if id.c != track.cylinder {
                return Err(End::not_found(St1::NO_DATA, St2::WRONG_CYLINDER));
            }
            if id.h != target.head || id.n != SECTOR_CODE || !(1..=track.sectors).contains(&id.r) {
                return Err(End::not_found(St1::NO_DATA, St2::empty()));
            }
            id.r
        };
        Ok(Found {
            sector: diskette.sector(track.cylinder, target.head, r),
            track,
        })
    }

    /// Whether the sector has the other data address mark than the command wants: notes it, and with SK set passes the sector over.
    fn check_mark(&mut self, transfer: &mut Transfer, found: &Found) -> Mark {
        let wanted = match transfer.command.kind {
            Kind::Read { deleted } => deleted,
            Kind::ReadTrack | Kind::Verify | Kind::Scan(_) | Kind::Write { .. } => false,
        };
        let deleted = self
            .diskette_mut(transfer.target.unit)
            .is_some_and(|d| d.is_deleted(found.sector));
        if deleted == wanted || transfer.command.kind == Kind::ReadTrack {
            return Mark::Wanted;
        }
        transfer.st2 |= St2::CONTROL_MARK;
        if !transfer.command.skip {
            return Mark::LastOne;
        }
        let step = if transfer.advance(1, found.track) {
            Step::End(END_OF_CYLINDER)
        } else {
            Step::Again
        };
        Mark::Skipped(step)
    }

    fn read_sectors(&mut self, transfer: &mut Transfer, now: Nanos) -> Step {
        let found = match self.find(transfer) {
            Ok(found) => found,
            Err(end) => return Step::End(end),
        };
        let mark = match self.check_mark(transfer, &found) {
            Mark::Skipped(step) => return step,
            mark => mark,
        };
        let ready = self.dma_ready();
        let Some(diskette) = self
            .drives
            .get_mut(transfer.target.unit)
            .and_then(|drive| drive.as_mut()?.diskette_mut())
        else {
            return Step::End(End::not_found(St1::MISSING_ADDRESS_MARK, St2::empty()));
        };
        let available = match diskette.fetch(found.sector) {
            Progress::Ready(available) => available,
            Progress::Pending => return Step::Wait,
            Progress::Failed(error) => return Step::End(read_fault(error)),
        };
        self.state.read_toggle ^= true;
        if transfer.non_dma {
            let data = diskette.data(found.sector, 1).to_vec();
            transfer.stage = Stage::Fifo(FifoBuffer::to_host(data));
            return Step::Wait;
        }
        if !ready {
            return stall(transfer, now);
        }
        let run = match mark {
            Mark::LastOne => 1,
            _ => same_marks(diskette, found.sector, transfer.run(found.track).min(available)),
        };
        let moved = self.dma.write_memory(diskette.data(found.sector, run));
        if moved.count == 0 {
            return stall(transfer, now);
        }
        let sectors = moved.count.div_ceil(SECTOR);
        if !moved.terminal_count && moved.count < run * SECTOR {
            return Step::End(End::failed(St1::OVERRUN));
        }
        self.sectors_read(transfer, &found, sectors, moved.terminal_count)
    }

    /// `sectors` have gone to the host.
    fn sectors_read(
        &mut self,
        transfer: &mut Transfer,
        found: &Found,
        sectors: usize,
        terminal_count: bool,
    ) -> Step {
        if transfer.command.kind == Kind::ReadTrack {
            let expected = SectorId {
                c: found.track.cylinder,
                h: transfer.target.head,
                r: transfer.passed.saturating_add(1),
                n: SECTOR_CODE,
            };
            if transfer.id != expected {
                transfer.st1 |= St1::NO_DATA;
            }
        } else if transfer.st2.contains(St2::CONTROL_MARK) && !transfer.command.skip {
            // The sector with the other mark is the last one, and the address stays on it (tables 5-4 and 5-5).
            return Step::End(End::NORMAL);
        }
        let at_end = transfer.advance(sectors, found.track);
        if terminal_count {
            Step::End(End::NORMAL)
        } else if at_end {
            Step::End(END_OF_CYLINDER)
        } else {
            Step::Again
        }
    }

    fn write_sectors(&mut self, transfer: &mut Transfer, deleted: bool, now: Nanos) -> Step {
        let unit = transfer.target.unit;
        if self.diskette_mut(unit).is_some_and(|d| d.write_protected()) {
            return Step::End(End::failed(St1::NOT_WRITABLE));
        }
        let first = match self.find(transfer) {
            Ok(found) => found,
            Err(end) => return Step::End(end),
        };
        if transfer.non_dma {
            transfer.stage = Stage::Fifo(FifoBuffer::from_host(SECTOR));
            return Step::Wait;
        }
        if !self.dma_ready() {
            return stall(transfer, now);
        }
        let began = (transfer.target, transfer.id);
        let mut data = Vec::new();
        let mut track = first.track;
        let then = loop {
            let at = data.len();
            let run = transfer.run(track);
            data.resize(at + run * SECTOR, 0);
            let moved = self.dma.read_memory(&mut data[at..]);
            let sectors = moved.count.div_ceil(SECTOR);
            // A sector that the terminal count cuts short is filled up with zeros.
            data.truncate(at + sectors * SECTOR);
            if sectors == 0 {
                break None;
            }
            let at_end = transfer.advance(sectors, track);
            if moved.terminal_count {
                break Some(End::NORMAL);
            }
            if moved.count < run * SECTOR {
                break Some(End::failed(St1::OVERRUN));
            }
            if at_end {
                break Some(END_OF_CYLINDER);
            }
            // The other side, if it follows in the image without a gap.
            match self.find(transfer) {
                Ok(next) if next.sector as usize == first.sector as usize + data.len() / SECTOR => {
                    track = next.track;
                }
                _ => break None,
            }
        };
        if data.is_empty() {
            return stall(transfer, now);
        }
        self.write_data(transfer, first.sector, data, deleted);
        transfer.stage = Stage::Writing { began, then };
        Step::Again
    }

    fn write_data(&mut self, transfer: &Transfer, first: u32, data: Vec<u8>, deleted: bool) {
        self.state.write_toggle ^= true;
        if let Some(diskette) = self.diskette_mut(transfer.target.unit) {
            diskette.write(first, data, deleted);
        }
    }

    fn await_write(&mut self, transfer: &mut Transfer, began: (Target, SectorId), then: Option<End>) -> Step {
        let progress = self
            .diskette_mut(began.0.unit)
            .map_or(Progress::Failed(MediumError::Io), Diskette::written);
        match progress {
            Progress::Ready(()) => then.map_or(Step::Again, Step::End),
            Progress::Pending => {
                transfer.stage = Stage::Writing { began, then };
                Step::Wait
            }
            Progress::Failed(error) => {
                (transfer.target, transfer.id) = began;
                transfer.in_use = transfer.target;
                Step::End(write_fault(error))
            }
        }
    }

    fn verify_sector(&mut self, transfer: &mut Transfer) -> Step {
        let found = match self.find(transfer) {
            Ok(found) => found,
            Err(end) => return Step::End(end),
        };
        let mark = match self.check_mark(transfer, &found) {
            Mark::Skipped(step) => return step,
            mark => mark,
        };
        let progress = self
            .diskette_mut(transfer.target.unit)
            .map_or(Progress::Failed(MediumError::Io), |d| d.fetch(found.sector));
        match progress {
            Progress::Ready(_) => {}
            Progress::Pending => return Step::Wait,
            Progress::Failed(error) => return Step::End(read_fault(error)),
        }
        self.state.read_toggle ^= true;
        if matches!(mark, Mark::LastOne) {
            return Step::End(End::NORMAL);
        }
        let at_end = transfer.advance(1, found.track);
        transfer.left = transfer.left.saturating_sub(1);
        match (transfer.command.enable_count, at_end) {
            (true, _) if transfer.left == 0 => Step::End(End::NORMAL),
            (true, true) => Step::End(End::failed(St1::END_OF_CYLINDER)),
            (false, true) => Step::End(End::NORMAL),
            (_, false) => Step::Again,
        }
    }

    fn scan_sector(&mut self, transfer: &mut Transfer, condition: Condition, now: Nanos) -> Step {
        let found = match self.find(transfer) {
            Ok(found) => found,
            Err(end) => return Step::End(end),
        };
        if let Mark::Skipped(step) = self.check_mark(transfer, &found) {
            return step;
        }
        let progress = self
            .diskette_mut(transfer.target.unit)
            .map_or(Progress::Failed(MediumError::Io), |d| d.fetch(found.sector));
        match progress {
            Progress::Ready(_) => {}
            Progress::Pending => return Step::Wait,
            Progress::Failed(error) => return Step::End(read_fault(error)),
        }
        if transfer.non_dma {
            transfer.stage = Stage::Fifo(FifoBuffer::from_host(SECTOR));
            return Step::Wait;
        }
        if !self.dma_ready() {
            return stall(transfer, now);
        }
        // What the host does not send matches anything.
        let mut host = [ANYTHING; SECTOR];
        let moved = self.dma.read_memory(&mut host);
        match (moved.count, moved.terminal_count) {
            (0, _) => stall(transfer, now),
            (1..SECTOR, false) => Step::End(End::failed(St1::OVERRUN)),
            (_, terminal_count) => self.compare(transfer, &found, condition, &host, terminal_count),
        }
    }

    fn compare(
        &mut self,
        transfer: &mut Transfer,
        found: &Found,
        condition: Condition,
        host: &[u8],
        terminal_count: bool,
    ) -> Step {
        self.state.read_toggle ^= true;
        let disk = self
            .drive(transfer.target.unit)
            .and_then(Drive::diskette)
            .map_or(&[][..], |d| d.data(found.sector, 1));
        let bytes = || {
            disk.iter()
                .zip(host)
                .filter(|(disk, host)| **disk != ANYTHING && **host != ANYTHING)
        };
        let equal = bytes().all(|(disk, host)| disk == host);
        let satisfied = equal
            || match condition {
                Condition::Equal => false,
                Condition::LowOrEqual => bytes().all(|(disk, host)| disk <= host),
                Condition::HighOrEqual => bytes().all(|(disk, host)| disk >= host),
            };
        if satisfied {
            transfer.st2.set(St2::SCAN_EQUAL_HIT, equal);
            return Step::End(End::NORMAL);
        }
        let control_mark = transfer.st2.contains(St2::CONTROL_MARK) && !transfer.command.skip;
        // STP: every sector or every other one.
        let steps = transfer.command.last.clamp(1, 2);
        let at_end = !control_mark && (0..steps).any(|_| transfer.advance(1, found.track));
        if terminal_count || control_mark || at_end {
            transfer.st2 |= St2::SCAN_NOT_SATISFIED;
            return Step::End(End::NORMAL);
        }
        Step::Again
    }

    /// A whole sector has passed the FIFO.
    fn fifo_done(&mut self, transfer: &mut Transfer, fifo: FifoBuffer) -> Step {
        let found = match self.find(transfer) {
            Ok(found) => found,
            Err(end) => return Step::End(end),
        };
        match transfer.command.kind {
            Kind::Read { .. } | Kind::ReadTrack => self.sectors_read(transfer, &found, 1, false),
            Kind::Scan(condition) => self.compare(transfer, &found, condition, &fifo.into_data(), false),
            Kind::Write { deleted } => {
                let began = (transfer.target, transfer.id);
                self.write_data(transfer, found.sector, fifo.into_data(), deleted);
                let then = transfer.advance(1, found.track).then_some(END_OF_CYLINDER);
                transfer.stage = Stage::Writing { began, then };
                Step::Again
            }
            Kind::Verify => Step::Again,
        }
    }

    /// The channel would move data now.
    pub(super) fn dma_ready(&self) -> bool {
        self.state.dor.contains(Dor::DMA_GATE) && self.dma.ready()
    }
}

/// There are no more sectors, and no terminal count has come.
const END_OF_CYLINDER: End = End {
    st0: St0::ABNORMAL,
    st1: St1::END_OF_CYLINDER,
    ..End::NORMAL
};

/// A byte that matches all others in a scan.
const ANYTHING: u8 = 0xff;

/// What a sector's data address mark means for the command.
enum Mark {
    /// It is the one that is looked for.
    Wanted,
    /// It is the other one: the command ends with this sector.
    LastOne,
    /// It is the other one, and was passed over.
    Skipped(Step),
}

/// Of `run` sectors from `first`, how many have the same data address mark as the first.
fn same_marks(diskette: &Diskette, first: u32, run: usize) -> usize {
    let mark = diskette.is_deleted(first);
    (first..)
        .take(run)
        .take_while(|sector| diskette.is_deleted(*sector) == mark)
        .count()
}

/// The DMA channel takes nothing. A driver may unmask it a little after it has started the command, so there is some patience.
fn stall(transfer: &mut Transfer, now: Nanos) -> Step {
    let give_up = *transfer
        .patience
        .get_or_insert(now.saturating_add(timing::DMA_PATIENCE));
    if now >= give_up {
        return Step::End(End::failed(St1::OVERRUN));
    }
    transfer.stage = Stage::Stalled {
        retry: now.saturating_add(timing::DMA_RETRY),
    };
    Step::Wait
}
