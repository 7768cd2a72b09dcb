// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Facts of the MC146818 (Motorola ADI-1023, "Real-Time Clock Plus RAM") and of the PIIX4's RTC (82371AB data sheet, section 9).

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

/// Bytes of each bank.
pub const BANK_SIZE: usize = 128;
/// Bits of an index port that select a byte.
pub const INDEX_MASK: u8 = 0x7f;
/// Bit 7 of port 70h keeps NMI from the processor.
pub const NMI_MASKED: u8 = 0x80;

/// Frequency of the crystal, in hertz; with it the divider chain makes seconds.
pub const CRYSTAL: u64 = 32_768;
/// The chain's count when register A lets it go: the first update follows half a second later.
pub const RELEASE_COUNT: u64 = CRYSTAL / 2;
/// Ticks from the rise of UIP to the end of the update: 244 us of warning (t_BUC) and 1984 us of update (t_UC).
pub const UPDATE_WINDOW: u64 = 8 + 65;

/// Register A: update in progress.
pub const UIP: u8 = 0x80;
/// Register C: an enabled flag is up.
pub const IRQF: u8 = 0x80;
/// Register D: the battery was never empty.
pub const VALID_RAM_AND_TIME: u8 = 0x80;

/// Indices of the date registers.
pub mod date {
    pub const SECONDS: usize = 0x00;
    pub const SECONDS_ALARM: usize = 0x01;
    pub const MINUTES: usize = 0x02;
    pub const MINUTES_ALARM: usize = 0x03;
    pub const HOURS: usize = 0x04;
    pub const HOURS_ALARM: usize = 0x05;
    /// 1 is Sunday.
    pub const DAY_OF_WEEK: usize = 0x06;
    pub const DAY_OF_MONTH: usize = 0x07;
    pub const MONTH: usize = 0x08;
    pub const YEAR: usize = 0x09;
    /// Not of the MC146818: where the IBM AT and ACPI firmware keep the century.
    pub const CENTURY: usize = 0x32;

    /// In an hour in 12-hour mode: afternoon.
    pub const PM: u8 = 0x80;
    /// An alarm byte with both of these bits set matches every value.
    pub const DONT_CARE: u8 = 0xc0;
}

/// The four ports.
#[derive(Debug, Clone, Copy)]
pub enum Port {
    Index,
    Data,
    ExtendedIndex,
    ExtendedData,
}

impl Port {
    pub fn from_offset(offset: u64) -> Option<Self> {
        Some(match offset {
            0 => Self::Index,
            1 => Self::Data,
            2 => Self::ExtendedIndex,
            3 => Self::ExtendedData,
            _ => return None,
        })
    }
}

/// What is behind an index of the first bank, in both directions.
#[derive(Debug, Clone, Copy)]
pub enum Register {
    Date(usize),
    A,
    B,
    C,
    D,
    Memory(usize),
}

impl Register {
    pub fn from_index(index: u8) -> Self {
        match index {
            0x00..=0x09 => Self::Date(index.into()),
            0x0a => Self::A,
            0x0b => Self::B,
            0x0c => Self::C,
            0x0d => Self::D,
            _ => Self::Memory(index.into()),
        }
    }
}

/// Bits 6-4 of register A.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Divider {
    /// 11x: the chain is held at zero.
    Held,
    /// 010 for a 32.768 kHz crystal; and what the data sheet keeps for other crystals or for tests.
    Counting,
}

/// Register A without UIP.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct RegisterA(u8);

impl RegisterA {
    /// The usual value: 32.768 kHz, 1024 Hz periodic rate.
    pub const DEFAULT: Self = Self(0x26);

    pub fn from_bits(value: u8) -> Self {
        Self(value & !UIP)
    }

    pub fn bits(self) -> u8 {
        self.0
    }

    pub fn divider(self) -> Divider {
        if self.0 & 0x60 == 0x60 {
            Divider::Held
        } else {
            Divider::Counting
        }
    }

    /// Ticks of the crystal between two periodic interrupts (table 5 of the data sheet). With a 32.768 kHz crystal, rates 1 and 2 are
    /// those of rates 8 and 9.
    pub fn period(self) -> Option<u64> {
        match self.0 & 0x0f {
            0 => None,
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }
}

bitflags! {
    /// Register B.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub struct RegisterB: u8 {
        /// Update cycles are stopped so that the date can be written.
        const SET = 0x80;
        const PERIODIC_INTERRUPT = 0x40;
        const ALARM_INTERRUPT = 0x20;
        const UPDATE_INTERRUPT = 0x10;
        const SQUARE_WAVE = 0x08;
        /// Binary, not BCD.
        const BINARY = 0x04;
        /// 24 hours, not 12.
        const HOURS_24 = 0x02;
        const DAYLIGHT_SAVING = 0x01;
        const INTERRUPTS = 0x70;
    }

    /// Interrupt sources: flags of register C, and at the same places their enable bits in register B.
    #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Interrupts: u8 {
        const PERIODIC = 0x40;
        const ALARM = 0x20;
        const UPDATE = 0x10;
    }
}

impl RegisterB {
    pub fn enabled(self) -> Interrupts {
        Interrupts::from_bits_truncate(self.bits())
    }
}

impl Interrupts {
    /// Each source once.
    pub const ALL: Self = Self::all();
}
