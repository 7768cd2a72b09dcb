// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A command's sectors on their way between the medium and the channel, in pieces.

use super::{HardDisk, MAX_READS_UNDER_WAY, Work};
use crate::block::{Completion, Data, MediumError, Operation, Segment};
use crate::ide::drive::{Fault, Next};
use crate::ide::registers::{Addressing, TaskFile};
use crate::ide::spec::{Error, SECTOR};
use crate::snapshot::{BadState, must};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Sectors in one request at most: 256 KiB.
const PIECE: u64 = 512;

/// Requests under way at a time: the medium works on one while the channel moves the other.
const DEPTH: usize = 2;

/// What comes after a read's last sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum ReadEnd {
    /// Nothing: PIO data-in.
    Silent,
    /// An interrupt: DMA.
    Interrupt,
    /// An interrupt, and nobody wants the data: READ VERIFY.
    Verify,
}

enum Flight {
    Waiting,
    Read(Vec<u8>),
    Failed(MediumError),
}

/// A read. Its requests come back in any order and are passed on in the order of the sectors.
pub(super) struct Reads {
    addressing: Addressing,
    end_with: ReadEnd,
    /// First sector of the oldest flight.
    oldest: u64,
    /// First sector not yet asked for.
    next: u64,
    end: u64,
    flights: VecDeque<(u64, Flight)>,
}

/// What a saved machine keeps of a read.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedReads {
    addressing: Addressing,
    end_with: ReadEnd,
    oldest: u64,
    next: u64,
    end: u64,
}

impl Reads {
    /// What has been read and not passed on is read again.
    pub(super) fn save(&self) -> SavedReads {
        let Self {
            addressing,
            end_with,
            oldest,
            next,
            end,
            flights,
        } = self;
        SavedReads {
            addressing: *addressing,
            end_with: *end_with,
            oldest: *oldest,
            next: flights.front().map_or(*next, |(first, _)| *first),
            end: *end,
        }
    }

    pub(super) fn restore(saved: SavedReads, sectors: u64) -> Result<Self, BadState> {
        let SavedReads {
            addressing,
            end_with,
            oldest,
            next,
            end,
        } = saved;
        must(
            oldest <= next && next <= end && end <= sectors,
            "a read that is not on the disk",
        )?;
        Ok(Self {
            addressing,
            end_with,
            oldest,
            next,
            end,
            flights: VecDeque::with_capacity(DEPTH),
        })
    }

    pub(super) fn new(addressing: Addressing, first: u64, count: u64, end_with: ReadEnd) -> Self {
        Self {
            addressing,
            end_with,
            oldest: first,
            next: first,
            end: first + count,
            flights: VecDeque::with_capacity(DEPTH),
        }
    }

    /// All of it, as a request.
    fn whole(&self) -> Whole {
        Whole::of(Operation::Read, self.oldest, self.end)
    }

    /// All of it has been moved.
    fn skip(&mut self) {
        (self.oldest, self.next) = (self.end, self.end);
    }

    /// The next request's first sector and length in sectors, if there is to be one now.
    fn ask(&mut self) -> Option<(u64, u64)> {
        let count = (self.end - self.next).min(PIECE);
        if count == 0 || self.flights.len() == DEPTH {
            return None;
        }
        let first = self.next;
        self.next += count;
        self.flights.push_back((first, Flight::Waiting));
        Some((first, count))
    }

    /// Files a completion, or gives its buffer back.
    pub(super) fn completed(&mut self, completion: Completion) -> Vec<u8> {
        let first = completion.offset / SECTOR as u64;
        match self.flights.iter_mut().find(|(at, _)| *at == first) {
            Some((_, flight)) => match completion.result {
                Ok(()) => {
                    *flight = Flight::Read(completion.data.into_buffer());
                    Vec::new()
                }
                Err(error) => {
                    *flight = Flight::Failed(error);
                    completion.data.into_buffer()
                }
            },
            None => completion.data.into_buffer(),
        }
    }

    fn is_done(&self) -> bool {
        self.next == self.end && self.flights.is_empty()
    }

    /// The oldest flight, if it has come back.
    fn land(&mut self) -> Option<Result<Vec<u8>, MediumError>> {
        if matches!(self.flights.front(), Some((_, Flight::Waiting))) {
            return None;
        }
        let (first, flight) = self.flights.pop_front()?;
        self.oldest = first;
        match flight {
            Flight::Waiting => None,
            Flight::Read(buffer) => Some(Ok(buffer)),
            Flight::Failed(error) => Some(Err(error)),
        }
    }
}

/// What makes writes durable before their command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Flush {
    /// Nothing: the write cache is on.
    None,
    /// A flush after the last write.
    Due,
    /// That flush is under way or done.
    Sent,
}

/// A write, or with no sectors a flush.
pub(super) struct Writes {
    addressing: Addressing,
    /// First sector not yet handed to the medium.
    next: u64,
    end: u64,
    under_way: usize,
    flush: Flush,
    /// The first sector of the lowest request that failed.
    failed: Option<(u64, MediumError)>,
}

/// What a saved machine keeps of a write.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedWrites {
    addressing: Addressing,
    next: u64,
    end: u64,
    flush: Flush,
    failed: Option<(u64, MediumError)>,
}

impl Writes {
    pub(super) fn save(&self) -> SavedWrites {
        let Self {
            addressing,
            next,
            end,
            // None: the disk is not saved while there are any.
            under_way: _,
            flush,
            failed,
        } = self;
        SavedWrites {
            addressing: *addressing,
            next: *next,
            end: *end,
            flush: *flush,
            failed: *failed,
        }
    }

    pub(super) fn restore(saved: SavedWrites, sectors: u64) -> Result<Self, BadState> {
        let SavedWrites {
            addressing,
            next,
            end,
            flush,
            failed,
        } = saved;
        let inside = failed.is_none_or(|(first, _)| first <= end);
        must(
            next <= end && end <= sectors && inside,
            "a write that is not on the disk",
        )?;
        Ok(Self {
            addressing,
            next,
            end,
            under_way: 0,
            flush,
            failed,
        })
    }

    pub(super) fn new(addressing: Addressing, first: u64, count: u64, durable: bool) -> Self {
        Self {
            addressing,
            next: first,
            end: first + count,
            under_way: 0,
            flush: if durable { Flush::Due } else { Flush::None },
            failed: None,
        }
    }

    /// All of it, as a request.
    fn whole(&self) -> Whole {
        Whole::of(Operation::Write, self.next, self.end)
    }

    /// All of it has been moved.
    fn skip(&mut self) {
        self.next = self.end;
    }

    /// The next `len` bytes go to the medium; says where.
    pub(super) fn hand_over(&mut self, len: usize) -> u64 {
        let offset = self.next * SECTOR as u64;
        self.next = self.end.min(self.next + (len / SECTOR) as u64);
        self.under_way += 1;
        offset
    }

    pub(super) fn completed(&mut self, completion: Completion) -> Vec<u8> {
        self.under_way = self.under_way.saturating_sub(1);
        if let Err(error) = completion.result {
            let first = completion.offset / SECTOR as u64;
            if self.failed.is_none_or(|(lowest, _)| first < lowest) {
                self.failed = Some((first, error));
            }
        }
        completion.data.into_buffer()
    }
}

/// All of a command's data in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Whole {
    operation: Operation,
    /// In bytes.
    offset: u64,
    len: u64,
}

impl Whole {
    fn of(operation: Operation, first: u64, end: u64) -> Self {
        Self {
            operation,
            offset: first * SECTOR as u64,
            len: (end - first) * SECTOR as u64,
        }
    }
}

/// A command whose data the medium moves itself.
pub(super) struct Straight {
    /// The command as it was, which goes on when the data has moved, and is done over if that failed.
    command: Work,
    result: Option<Result<(), MediumError>>,
}

impl Straight {
    pub(super) fn completed(&mut self, result: Result<(), MediumError>) {
        self.result = Some(result);
    }
}

impl HardDisk {
    /// What the DMA command that has just begun moves.
    fn whole(&self) -> Option<Whole> {
        let whole = match &self.state.work {
            Work::Read(reads) if reads.end_with == ReadEnd::Interrupt => reads.whole(),
            Work::Write(writes) => writes.whole(),
            _ => return None,
        };
        (self.medium.reaches_memory() && whole.len > 0).then_some(whole)
    }

    pub(super) fn straight_len(&self) -> Option<u64> {
        self.whole().map(|whole| whole.len)
    }

    pub(super) fn start_straight(&mut self, segments: Vec<Segment>) {
        if let Some(whole) = self.whole() {
            let command = std::mem::take(&mut self.state.work);
            self.state.work = Work::Straight(Box::new(Straight {
                command,
                result: None,
            }));
            self.submit(whole.operation, whole.offset, segments);
        }
    }

    pub(super) fn next_straight(&mut self, mut work: Work, registers: &mut TaskFile) -> Next {
        self.collect(&mut work);
        let Work::Straight(mut straight) = work else {
            return Next::End(Err(Fault::aborted()));
        };
        match straight.result.take() {
            None => {
                self.state.work = Work::Straight(straight);
                Next::Pending
            }
            Some(Err(_)) => {
                self.state.work = straight.command;
                Next::InPieces
            }
            Some(Ok(())) => {
                match &mut straight.command {
                    Work::Read(reads) => reads.skip(),
                    Work::Write(writes) => writes.skip(),
                    _ => {}
                }
                self.state.work = straight.command;
                self.proceed(registers)
            }
        }
    }

    pub(super) fn next_read(&mut self, mut work: Work, registers: &mut TaskFile) -> Next {
        loop {
            let Work::Read(reads) = &mut work else {
                return Next::End(Err(Fault::aborted()));
            };
            while self.reads_under_way < MAX_READS_UNDER_WAY
                && let Some((first, count)) = reads.ask()
            {
                let buffer = self.buffer(count as usize * SECTOR);
                self.submit(Operation::Read, first * SECTOR as u64, buffer);
            }
            self.collect(&mut work);
            let Work::Read(reads) = &mut work else {
                return Next::End(Err(Fault::aborted()));
            };
            match reads.land() {
                Some(Ok(buffer)) if reads.end_with == ReadEnd::Verify => self.recycle(buffer),
                Some(Ok(buffer)) => {
                    self.state.work = work;
                    return Next::Buffer(buffer);
                }
                Some(Err(error)) => {
                    let left = reads.end - reads.oldest;
                    self.show_end(registers, reads.addressing, reads.oldest, left);
                    return Next::End(Err(fault(error, Operation::Read)));
                }
                None if reads.is_done() => {
                    self.show_end(registers, reads.addressing, reads.end.saturating_sub(1), 0);
                    return match reads.end_with {
                        ReadEnd::Silent => Next::EndOfData,
                        ReadEnd::Interrupt | ReadEnd::Verify => Next::End(Ok(())),
                    };
                }
                None => {
                    self.state.work = work;
                    return Next::Pending;
                }
            }
        }
    }

    pub(super) fn next_write(&mut self, mut work: Work, registers: &mut TaskFile) -> Next {
        loop {
            self.collect(&mut work);
            let Work::Write(writes) = &mut work else {
                return Next::End(Err(Fault::aborted()));
            };
            let left = writes.end - writes.next;
            if let Some((first, error)) = writes.failed {
                if writes.under_way == 0 {
                    if left > 0 || writes.flush != Flush::Sent {
                        self.show_end(registers, writes.addressing, first, writes.end - first);
                    }
                    return Next::End(Err(fault(error, Operation::Write)));
                }
            } else if left > 0 && writes.under_way < DEPTH {
                let len = left.min(PIECE) as usize * SECTOR;
                let buffer = self.buffer(len);
                self.state.work = work;
                return Next::Buffer(buffer);
            } else if writes.under_way == 0 {
                match writes.flush {
                    Flush::Due => {
                        writes.flush = Flush::Sent;
                        writes.under_way += 1;
                        self.submit(Operation::Flush, 0, Data::default());
                        continue;
                    }
                    // A flush on its own has no address to show.
                    Flush::None | Flush::Sent => {
                        if writes.end > 0 {
                            self.show_end(registers, writes.addressing, writes.end - 1, 0);
                        }
                        return Next::End(Ok(()));
                    }
                }
            }
            self.state.work = work;
            return Next::Pending;
        }
    }
}

/// What a host's failure looks like on the cable.
fn fault(error: MediumError, operation: Operation) -> Fault {
    match (error, operation) {
        (MediumError::OutOfRange, _) => Fault::new(Error::IDNF),
        (MediumError::ReadOnly, _) => Fault::new(Error::WP | Error::ABRT),
        (MediumError::Io, Operation::Read) => Fault::new(Error::UNC),
        (MediumError::Io, _) => Fault::device_fault(),
    }
}
