// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One 8259A.

use super::spec::{CASCADE, Command, Icw1, Icw4, Ocw2, Ocw3};
use crate::snapshot::{BadState, must};
use serde::{Deserialize, Serialize};

/// State of one chip. Bit n of a register belongs to input n.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chip {
    /// Levels of the inputs.
    lines: u8,
    /// The slave's output, for the master.
    cascade: bool,
    /// ELCR: 1 is level-triggered.
    level_triggered: u8,
    /// Edges that wait.
    edges: u8,
    in_service: u8,
    mask: u8,
    vector_base: u8,
    icw4: Icw4,
    progress: Progress,
    /// How far priorities are rotated: the most urgent level.
    first: u8,
    rotate_in_auto_eoi: bool,
    special_mask: bool,
    read: ReadRegister,
    /// The next read is a poll.
    poll: bool,
}

/// Where the initialisation sequence stands: what the data port takes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Progress {
    /// Never initialised: makes no interrupts.
    #[default]
    PowerOn,
    Icw2(Icw1),
    Icw3(Icw1),
    Icw4,
    Ready,
}

/// What the command port reads.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum ReadRegister {
    #[default]
    Requests,
    InService,
}

impl Chip {
    /// Refuses what no chip can be in.
    pub fn check(&self) -> Result<(), BadState> {
        must(self.first < 8, "a priority that the 8259A does not have")?;
        must(
            self.vector_base & 7 == 0,
            "a vector base that the 8259A does not have",
        )
    }

    /// A fresh chip on the same wires.
    pub fn reset(&self) -> Self {
        Self {
            lines: self.lines,
            ..Self::default()
        }
    }

    pub fn set_line(&mut self, level: u8, high: bool) {
        let bit = 1_u8.checked_shl(level.into()).unwrap_or(0);
        if high {
            self.edges |= bit & !self.lines & !self.level_triggered;
            self.lines |= bit;
        } else {
            self.lines &= !bit;
        }
    }

    pub fn set_cascade(&mut self, high: bool) {
        self.cascade = high;
    }

    pub fn level_triggered(&self) -> u8 {
        self.level_triggered
    }

    pub fn set_level_triggered(&mut self, inputs: u8) {
        self.level_triggered = inputs;
        // An input that becomes a level has no edges, neither before nor after.
        self.edges &= !inputs;
    }

    /// IRR.
    fn requests(&self) -> u8 {
        let cascade = if self.cascade { 1 << CASCADE } else { 0 };
        self.edges | (self.lines & self.level_triggered) | cascade
    }

    /// The most urgent of the levels in `set`.
    fn most_urgent(&self, set: u8) -> Option<u8> {
        (0..8)
            .map(|n| (self.first + n) & 7)
            .find(|level| set & (1 << level) != 0)
    }

    /// How far `level` is from the most urgent one.
    fn distance(&self, level: u8) -> u8 {
        level.wrapping_sub(self.first) & 7
    }

    /// The level to serve now.
    fn request(&self) -> Option<u8> {
        if self.progress != Progress::Ready {
            return None;
        }
        let level = self.most_urgent(self.requests() & !self.mask)?;
        let inhibiting = if self.special_mask {
            self.in_service & !self.mask
        } else {
            self.in_service
        };
        let Some(serving) = self.most_urgent(inhibiting) else {
            return Some(level);
        };
        let nested = self.icw4.contains(Icw4::SPECIAL_FULLY_NESTED) && self.cascade;
        let allowed =
            self.distance(level) < self.distance(serving) || (nested && level == serving && level == CASCADE);
        allowed.then_some(level)
    }

    /// INT.
    pub fn output(&self) -> bool {
        self.request().is_some()
    }

    /// INTA: the level that is served from now on.
    pub fn acknowledge(&mut self) -> Option<u8> {
        let level = self.request()?;
        self.edges &= !(1 << level);
        if !self.icw4.contains(Icw4::AUTO_EOI) {
            self.in_service |= 1 << level;
        } else if self.rotate_in_auto_eoi {
            self.make_least_urgent(level);
        }
        Some(level)
    }

    pub fn vector(&self, level: u8) -> u8 {
        self.vector_base | level
    }

    fn make_least_urgent(&mut self, level: u8) {
        self.first = (level + 1) & 7;
    }

    fn take_poll(&mut self) -> Option<u8> {
        std::mem::take(&mut self.poll).then(|| self.acknowledge().map_or(0, |level| 0x80 | level))
    }

    pub fn read_command(&mut self) -> u8 {
        self.take_poll().unwrap_or_else(|| match self.read {
            ReadRegister::Requests => self.requests(),
            ReadRegister::InService => self.in_service,
        })
    }

    pub fn read_data(&mut self) -> u8 {
        self.take_poll().unwrap_or(self.mask)
    }

    pub fn write_command(&mut self, value: u8) {
        match Command::decode(value) {
            Command::Icw1(icw1) => {
                *self = Self {
                    lines: self.lines,
                    cascade: self.cascade,
                    level_triggered: self.level_triggered,
                    vector_base: self.vector_base,
                    progress: Progress::Icw2(icw1),
                    ..Self::default()
                }
            }
            Command::Ocw2(ocw2) => self.end_of_interrupt(ocw2),
            Command::Ocw3(ocw3) => {
                if ocw3.contains(Ocw3::ENABLE_SPECIAL_MASK) {
                    self.special_mask = ocw3.contains(Ocw3::SPECIAL_MASK);
                }
                // A poll takes precedence over a read of a register.
                if ocw3.contains(Ocw3::POLL) {
                    self.poll = true;
                } else if ocw3.contains(Ocw3::READ_REGISTER) {
                    self.read = if ocw3.contains(Ocw3::READ_ISR) {
                        ReadRegister::InService
                    } else {
                        ReadRegister::Requests
                    };
                }
            }
        }
    }

    fn end_of_interrupt(&mut self, ocw2: Ocw2) {
        match ocw2 {
            Ocw2::NonSpecificEoi { rotate } => {
                // In special mask mode a masked level must be named to be ended.
                let candidates = if self.special_mask {
                    self.in_service & !self.mask
                } else {
                    self.in_service
                };
                if let Some(level) = self.most_urgent(candidates) {
                    self.end(level, rotate);
                }
            }
            Ocw2::SpecificEoi { level, rotate } => self.end(level, rotate),
            Ocw2::RotateInAutoEoi(rotate) => self.rotate_in_auto_eoi = rotate,
            Ocw2::SetPriority { level } => self.make_least_urgent(level),
            Ocw2::NoOperation => {}
        }
    }

    fn end(&mut self, level: u8, rotate: bool) {
        self.in_service &= !(1 << (level & 7));
        if rotate {
            self.make_least_urgent(level);
        }
    }

    pub fn write_data(&mut self, value: u8) {
        self.progress = match self.progress {
            Progress::PowerOn | Progress::Ready => {
                self.mask = value;
                self.progress
            }
            Progress::Icw2(icw1) => {
                self.vector_base = value & 0xf8;
                if icw1.contains(Icw1::SINGLE) {
                    Self::after_icw3(icw1)
                } else {
                    Progress::Icw3(icw1)
                }
            }
            Progress::Icw3(icw1) => Self::after_icw3(icw1),
            Progress::Icw4 => {
                self.icw4 = Icw4::from_bits_truncate(value);
                Progress::Ready
            }
        };
    }

    fn after_icw3(icw1: Icw1) -> Progress {
        if icw1.contains(Icw1::ICW4) {
            Progress::Icw4
        } else {
            Progress::Ready
        }
    }
}
