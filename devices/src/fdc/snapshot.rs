// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the controller, its drives and what is known of the diskettes in them.

use super::diskette::SavedDiskette;
use super::drive::Drive;
use super::media::DriveType;
use super::spec::UNITS;
use super::{End, Fdc, Job, Phase, Reply, State};
use crate::clock::{Nanos, SECOND};
use crate::snapshot::{BadState, Busy, Snapshot, must};
use serde::{Deserialize, Serialize};

/// Everything but the media.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    drives: [Option<SavedDrive>; 2],
    state: State,
    irq: bool,
    armed: Option<Nanos>,
}

/// A drive.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedDrive {
    pub(super) kind: DriveType,
    pub(super) cylinder: u8,
    pub(super) changed: bool,
    pub(super) diskette: Option<SavedDiskette>,
}

impl End {
    pub(super) fn check(self) -> Result<(), BadState> {
        must(self.after <= SECOND, "a floppy command that takes too long")
    }
}

impl Reply {
    fn check(&self) -> Result<(), BadState> {
        must(
            self.len <= self.bytes.len() && self.read <= self.len,
            "a result that no floppy command has",
        )
    }
}

impl State {
    fn check(&self, now: Nanos) -> Result<(), BadState> {
        let soon = |at: Nanos| at <= now.saturating_add(SECOND);
        must(
            self.seeks.iter().filter_map(|seek| seek.deadline()).all(soon),
            "a seek that takes too long",
        )?;
        must(
            self.poll.next.is_none_or(|unit| unit < UNITS),
            "a drive that the floppy controller does not have",
        )?;
        match &self.phase {
            Phase::Idle => Ok(()),
            Phase::Command {
                bytes,
                received,
                expected,
            } => must(
                received < expected && *expected <= bytes.len(),
                "a command that the floppy controller does not have",
            ),
            Phase::Execution(Job::Transfer(transfer)) => transfer.check(),
            Phase::Execution(Job::Format(format)) => format.check(),
            Phase::Execution(Job::ReadId {
                at: _,
                mfm: _,
                target,
            }) => target.check(),
            Phase::Execution(Job::Ending { at: _, reply }) | Phase::Result(reply) => reply.check(),
        }
    }
}

impl Snapshot for Fdc {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        self.service();
        let Self {
            clock: _,
            timer: _,
            dma: _,
            irq,
            drives: [a, b],
            armed,
            insertions: _,
            state,
        } = self;
        let save = |drive: &Option<Drive>| drive.as_ref().map(Drive::save).transpose();
        Ok(Saved {
            drives: [save(a)?, save(b)?],
            state: state.clone(),
            irq: irq.level(),
            armed: *armed,
        })
    }

    fn restore(&mut self, saved: Saved) -> Result<(), BadState> {
        let Saved {
            drives,
            state,
            irq,
            armed,
        } = saved;
        state.check(self.clock.now())?;
        for (drive, saved) in self.drives.iter_mut().zip(drives) {
            match (drive, saved) {
                (None, None) => {}
                (Some(drive), Some(saved)) => drive.restore(saved)?,
                _ => return Err(BadState("another floppy drive")),
            }
        }
        (self.state, self.armed) = (state, armed);
        self.irq.restore(irq);
        match armed {
            Some(deadline) => self.timer.arm(deadline),
            None => self.timer.disarm(),
        }
        Ok(())
    }
}
