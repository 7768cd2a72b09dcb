// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Facts of the Intel 8259A (data sheet 231468) and of the PIIX4's pair of them.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

/// The master's input from the slave.
pub const CASCADE: u8 = 2;
/// The level that an acknowledge without a request gives.
pub const SPURIOUS: u8 = 7;
/// IRQ 0 to 2 (timer, keyboard, cascade) are edges always.
pub const MASTER_TRIGGER_BITS: u8 = 0xf8;
/// IRQ 8 (clock) and 13 (coprocessor) are edges always.
pub const SLAVE_TRIGGER_BITS: u8 = 0xde;

/// The ports.
#[derive(Debug, Clone, Copy)]
pub enum Port {
    MasterCommand,
    MasterData,
    SlaveCommand,
    SlaveData,
    MasterTrigger,
    SlaveTrigger,
}

impl Port {
    pub fn from_offset(offset: u64) -> Option<Self> {
        Some(match offset {
            0 => Self::MasterCommand,
            1 => Self::MasterData,
            2 => Self::SlaveCommand,
            3 => Self::SlaveData,
            4 => Self::MasterTrigger,
            5 => Self::SlaveTrigger,
            _ => return None,
        })
    }
}

/// What a write to the command port (A0 = 0) means.
#[derive(Debug, Clone, Copy)]
pub enum Command {
    Icw1(Icw1),
    Ocw2(Ocw2),
    Ocw3(Ocw3),
}

impl Command {
    pub fn decode(value: u8) -> Self {
        if value & 0x10 != 0 {
            Self::Icw1(Icw1::from_bits_truncate(value))
        } else if value & 0x08 != 0 {
            Self::Ocw3(Ocw3::from_bits_truncate(value))
        } else {
            Self::Ocw2(Ocw2::decode(value))
        }
    }
}

bitflags! {
    /// First initialisation word.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Icw1: u8 {
        /// ICW4 follows.
        const ICW4 = 0x01;
        /// There is no slave, and no ICW3.
        const SINGLE = 0x02;
    }

    /// Fourth initialisation word.
    #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Icw4: u8 {
        const AUTO_EOI = 0x02;
        /// Special fully nested mode: a slave in service may interrupt again.
        const SPECIAL_FULLY_NESTED = 0x10;
    }

    /// Third operation word.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Ocw3: u8 {
        /// 1: reads of the command port give the ISR, 0: the IRR.
        const READ_ISR = 0x01;
        /// `READ_ISR` counts.
        const READ_REGISTER = 0x02;
        const POLL = 0x04;
        const SPECIAL_MASK = 0x20;
        /// `SPECIAL_MASK` counts.
        const ENABLE_SPECIAL_MASK = 0x40;
    }
}

/// Second operation word: end of interrupt and rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ocw2 {
    /// Ends the most urgent level in service; `rotate`: makes it the least urgent.
    NonSpecificEoi {
        rotate: bool,
    },
    /// Ends `level`; `rotate`: makes it the least urgent.
    SpecificEoi {
        level: u8,
        rotate: bool,
    },
    /// Whether an automatic EOI rotates.
    RotateInAutoEoi(bool),
    /// Makes `level` the least urgent.
    SetPriority {
        level: u8,
    },
    NoOperation,
}

impl Ocw2 {
    fn decode(value: u8) -> Self {
        let level = value & 7;
        match value >> 5 {
            0 => Self::RotateInAutoEoi(false),
            1 => Self::NonSpecificEoi { rotate: false },
            3 => Self::SpecificEoi { level, rotate: false },
            4 => Self::RotateInAutoEoi(true),
            5 => Self::NonSpecificEoi { rotate: true },
            6 => Self::SetPriority { level },
            7 => Self::SpecificEoi { level, rotate: true },
            _ => Self::NoOperation,
        }
    }
}
