// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a command to its execution: commands without data are done here, the others become a [`Job`].

use super::command::{Command, SectorId, Target};
use super::fifo::{Direction, FifoBuffer};
use super::format_track::FormatTrack;
use super::spec::{Configure, SECTOR_CODE, St0, St1, St2, St3, UNITS, VERSION, timing};
use super::transfer::Transfer;
use super::{End, Fdc, Job, Phase, Reply};
use crate::clock::Nanos;

impl Job {
    /// When it goes on by itself; `None` while it waits for the medium or the host.
    pub(super) fn deadline(&self) -> Option<Nanos> {
        match self {
            Self::Transfer(transfer) => transfer.deadline(),
            Self::Format(format) => format.deadline(),
            Self::ReadId { at, .. } | Self::Ending { at, .. } => Some(*at),
        }
    }

    /// In non-DMA mode: what the host is to read or write.
    pub(super) fn fifo(&self) -> Option<&FifoBuffer> {
        match self {
            Self::Transfer(transfer) => transfer.fifo(),
            Self::Format(format) => format.fifo(),
            Self::ReadId { .. } | Self::Ending { .. } => None,
        }
    }

    pub(super) fn fifo_mut(&mut self) -> Option<&mut FifoBuffer> {
        match self {
            Self::Transfer(transfer) => transfer.fifo_mut(),
            Self::Format(format) => format.fifo_mut(),
            Self::ReadId { .. } | Self::Ending { .. } => None,
        }
    }

    /// In non-DMA mode: which way a byte is asked for now.
    pub(super) fn fifo_direction(&self) -> Option<Direction> {
        self.fifo().and_then(FifoBuffer::wants)
    }
}

impl Fdc {
    /// Begins a command whose bytes are complete.
    pub(super) fn start(&mut self, command: Command) {
        let now = self.clock.now();
        self.state.phase = match command {
            Command::Transfer(command) => {
                self.state.eot = command.eot;
                self.state.head = command.target.head;
                let unit = command.target.unit;
                let mut at = self.heads_rest(unit).max(now);
                if self.state.options.contains(Configure::IMPLIED_SEEK) {
                    at = at.max(self.implied_seek(unit, command.id.c));
                }
                let transfer = Transfer::new(command, self.state.non_dma(), at + timing::START);
                Phase::Execution(Job::Transfer(transfer))
            }
            Command::Format(command) => {
                self.state.eot = command.sectors;
                self.state.head = command.target.head;
                let at = self.heads_rest(command.target.unit).max(now) + timing::START;
                let format = FormatTrack::new(command, self.state.non_dma(), at);
                Phase::Execution(Job::Format(format))
            }
            Command::ReadId { mfm, target } => {
                self.state.head = target.head;
                let at = self.heads_rest(target.unit).max(now) + timing::START;
                Phase::Execution(Job::ReadId { at, mfm, target })
            }
            Command::Recalibrate { unit } => {
                self.recalibrate(unit);
                Phase::Idle
            }
            Command::Seek { unit, cylinder } => {
                self.seek(unit, cylinder);
                Phase::Idle
            }
            Command::RelativeSeek { unit, inwards, steps } => {
                self.relative_seek(unit, inwards, steps);
                Phase::Idle
            }
            Command::SenseInterrupt => Phase::Result(self.sense_interrupt()),
            Command::SenseDrive(target) => {
                self.state.head = target.head;
                Phase::Result(Reply::immediate(&[self.drive_status(target)]))
            }
            Command::Specify(bytes) => {
                self.state.specify = bytes;
                Phase::Idle
            }
            Command::Configure { options, pretrk } => {
                self.state.options = Configure::from_bits_truncate(options);
                self.state.pretrk = pretrk;
                Phase::Idle
            }
            Command::Perpendicular(value) => {
                // The drive bits count only with OW.
                let drives = if value & 0x80 != 0 {
                    value
                } else {
                    self.state.perpendicular
                };
                self.state.perpendicular = drives & 0x3c | value & 0x03;
                Phase::Idle
            }
            Command::Lock(lock) => {
                self.state.lock = lock;
                Phase::Result(Reply::immediate(&[u8::from(lock) << 4]))
            }
            Command::DumpReg => Phase::Result(self.dump_registers()),
            Command::Version => Phase::Result(Reply::immediate(&[VERSION])),
            Command::Invalid => Phase::Result(Reply::immediate(&[St0::INVALID.bits()])),
        };
    }

    /// ST3 (section 6.4).
    fn drive_status(&self, target: Target) -> u8 {
        let drive = self.drive(target.unit);
        let mut st3 = St3::TWO_SIDE | St3::READY;
        st3.set(St3::TRACK_0, drive.is_some_and(|d| d.at_track_0()));
        st3.set(St3::WRITE_PROTECT, drive.is_some_and(|d| d.write_protected()));
        st3.bits() | target.bits()
    }

    fn dump_registers(&self) -> Reply {
        let state = &self.state;
        let mut bytes = [0; 10];
        bytes[..UNITS].copy_from_slice(&state.pcn);
        bytes[4..6].copy_from_slice(&state.specify);
        bytes[6] = state.eot;
        bytes[7] = u8::from(state.lock) << 7 | state.perpendicular;
        bytes[8] = state.options.bits();
        bytes[9] = state.pretrk;
        Reply::immediate(&bytes)
    }

    /// Lets the job in the execution phase go on as far as it can.
    pub(super) fn execute(&mut self, now: Nanos) {
        let job = match std::mem::replace(&mut self.state.phase, Phase::Idle) {
            Phase::Execution(job) => job,
            other => {
                self.state.phase = other;
                return;
            }
        };
        self.state.phase = match job {
            Job::Transfer(transfer) => self.run_transfer(transfer, now),
            Job::Format(format) => self.run_format(format, now),
            Job::ReadId { at, mfm, target } if now >= at => self.read_id(mfm, target, now),
            Job::Ending { at, reply } if now >= at => self.enter_result(reply),
            waiting => Phase::Execution(waiting),
        };
    }

    fn enter_result(&mut self, reply: Reply) -> Phase {
        self.new_interrupt();
        Phase::Result(reply)
    }

    /// The next phase of a command that ends with `end`, now or after a while.
    pub(super) fn end(&mut self, end: End, target: Target, id: SectorId, now: Nanos) -> Phase {
        let reply = end.reply(target, id);
        if end.after == 0 {
            self.enter_result(reply)
        } else {
            Phase::Execution(Job::Ending {
                at: now + end.after,
                reply,
            })
        }
    }

    /// READ ID: the ID field that comes by next.
    fn read_id(&mut self, mfm: bool, target: Target, now: Nanos) -> Phase {
        let Some(track) = self.track(target, mfm) else {
            let end = End::not_found(St1::MISSING_ADDRESS_MARK, St2::empty());
            return self.end(end, target, SectorId::default(), now);
        };
        let angle = self
            .drive(target.unit)
            .map_or(0, |drive| drive.angle(now, track.sectors));
        let id = SectorId {
            c: track.cylinder,
            h: target.head,
            r: angle + 1,
            n: SECTOR_CODE,
        };
        self.state.read_toggle ^= true;
        self.end(End::NORMAL, target, id, now)
    }

    /// The diskette of a drive was taken out: what was using it ends.
    pub(super) fn diskette_gone(&mut self, unit: usize) {
        if let Phase::Execution(job) = &mut self.state.phase {
            match job {
                Job::Transfer(transfer) => transfer.diskette_gone(unit),
                Job::Format(format) => format.diskette_gone(unit),
                Job::ReadId { .. } | Job::Ending { .. } => {}
            }
        }
    }
}
