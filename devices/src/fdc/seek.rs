// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SEEK, RELATIVE SEEK, RECALIBRATE and the way they end: SENSE INTERRUPT STATUS (82077AA data sheet, sections 5.2.2 to 5.2.4).

use super::spec::{RECALIBRATE_STEPS, St0, UNITS, timing};
use super::{Fdc, Reply};
use crate::clock::Nanos;
use serde::{Deserialize, Serialize};

/// What a drive's stepper does. The four drives seek independently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Seek {
    /// Nothing.
    Idle,
    /// It steps.
    Moving {
        /// When it arrives.
        at: Nanos,
        /// Where to.
        goal: Goal,
    },
    /// It has arrived; the status waits for SENSE INTERRUPT STATUS.
    Ended(St0),
}

/// Where a seek leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Goal {
    /// So many steps (inwards if positive), after which the controller believes in a cylinder number.
    Steps {
        /// Steps.
        steps: i16,
        /// The present cylinder number afterwards.
        pcn: u8,
    },
    /// Outwards until the track 0 sensor answers.
    Track0,
}

impl Seek {
    /// When it arrives.
    pub fn deadline(&self) -> Option<Nanos> {
        match self {
            Self::Moving { at, .. } => Some(*at),
            Self::Idle | Self::Ended(_) => None,
        }
    }
}

impl Fdc {
    /// SEEK.
    pub(super) fn seek(&mut self, unit: usize, cylinder: u8) {
        let steps = i16::from(cylinder) - i16::from(self.state.pcn[unit]);
        let goal = Goal::Steps { steps, pcn: cylinder };
        self.start_seek(unit, goal, steps.unsigned_abs());
    }

    /// RELATIVE SEEK. The cylinder number wraps, as there may be more than 256 tracks.
    pub(super) fn relative_seek(&mut self, unit: usize, inwards: bool, steps: u8) {
        let pcn = self.state.pcn[unit];
        let goal = if inwards {
            Goal::Steps {
                steps: i16::from(steps),
                pcn: pcn.wrapping_add(steps),
            }
        } else {
            Goal::Steps {
                steps: -i16::from(steps),
                pcn: pcn.wrapping_sub(steps),
            }
        };
        self.start_seek(unit, goal, u16::from(steps));
    }

    /// RECALIBRATE.
    pub(super) fn recalibrate(&mut self, unit: usize) {
        let steps = self.drive(unit).map_or(RECALIBRATE_STEPS, |d| d.cylinder());
        self.start_seek(unit, Goal::Track0, u16::from(steps));
    }

    fn start_seek(&mut self, unit: usize, goal: Goal, steps: u16) {
        let at = self.clock.now() + timing::SEEK + u64::from(steps) * timing::STEP;
        self.state.seeks[unit] = Seek::Moving { at, goal };
    }

    /// The seek that an implied-seek command makes first; gives the time at which the heads stand.
    pub(super) fn implied_seek(&mut self, unit: usize, cylinder: u8) -> Nanos {
        let steps = i16::from(cylinder) - i16::from(self.state.pcn[unit]);
        self.step(unit, steps);
        self.state.pcn[unit] = cylinder;
        self.clock.now() + u64::from(steps.unsigned_abs()) * timing::STEP
    }

    /// When the heads of a drive stand still.
    pub(super) fn heads_rest(&self, unit: usize) -> Nanos {
        self.state.seeks[unit].deadline().unwrap_or(0)
    }

    pub(super) fn finish_seeks(&mut self, now: Nanos) {
        for unit in 0..UNITS {
            if let Seek::Moving { at, goal } = self.state.seeks[unit]
                && now >= at
            {
                let st0 = self.arrive(unit, goal);
                self.state.seeks[unit] = Seek::Ended(st0);
                self.new_interrupt();
            }
        }
    }

    fn arrive(&mut self, unit: usize, goal: Goal) -> St0 {
        match goal {
            Goal::Steps { steps, pcn } => {
                // Nothing tells the controller whether there is a drive.
                self.step(unit, steps);
                self.state.pcn[unit] = pcn;
                St0::SEEK_END
            }
            Goal::Track0 => {
                let steps = self
                    .drive(unit)
                    .map_or(0, |d| d.cylinder().min(RECALIBRATE_STEPS));
                self.step(unit, -i16::from(steps));
                self.state.pcn[unit] = 0;
                if self.drive(unit).is_some_and(|d| d.at_track_0()) {
                    St0::SEEK_END
                } else {
                    St0::SEEK_END | St0::EQUIPMENT_CHECK | St0::ABNORMAL
                }
            }
        }
    }

    fn step(&mut self, unit: usize, steps: i16) {
        if steps != 0 {
            self.state.inwards = steps > 0;
        }
        if let Some(drive) = self.drive_mut(unit) {
            drive.step(steps);
        }
    }

    /// SENSE INTERRUPT STATUS: the end of a seek, else what the drive poll after reset has found, else an invalid command.
    pub(super) fn sense_interrupt(&mut self) -> Reply {
        let ended = self.state.seeks.iter().position(|s| matches!(s, Seek::Ended(_)));
        if let Some(unit) = ended
            && let Seek::Ended(st0) = self.state.seeks[unit]
        {
            self.state.seeks[unit] = Seek::Idle;
            // Another seek that has ended raises the line again.
            self.new_interrupt();
            return Reply::immediate(&[st0.bits() | unit as u8, self.state.pcn[unit]]);
        }
        if let Some(unit) = self.state.poll.next {
            self.state.poll.interrupt = false;
            self.state.poll.next = Some(unit + 1).filter(|next| *next < UNITS);
            return Reply::immediate(&[St0::POLLING.bits() | unit as u8, self.state.pcn[unit]]);
        }
        Reply::immediate(&[St0::INVALID.bits()])
    }
}
