// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Facts of the Intel 8254 (data sheet 231164).

/// Clock of all three channels in a PC, in hertz: a twelfth of the 14.31818 MHz crystal.
pub const FREQUENCY: u64 = 1_193_182;

/// The four ports.
#[derive(Debug, Clone, Copy)]
pub enum Port {
    Counter(usize),
    Command,
}

use serde::{Deserialize, Serialize};

impl Port {
    pub fn from_offset(offset: u64) -> Option<Self> {
        Some(match offset {
            0 => Self::Counter(0),
            1 => Self::Counter(1),
            2 => Self::Counter(2),
            3 => Self::Command,
            _ => return None,
        })
    }
}

/// What a write to the command port means.
#[derive(Debug, Clone, Copy)]
pub enum Command {
    Program {
        channel: usize,
        control: Control,
    },
    Latch {
        channel: usize,
    },
    ReadBack {
        channels: [bool; 3],
        count: bool,
        status: bool,
    },
}

impl Command {
    pub fn decode(value: u8) -> Self {
        match (value >> 6, value >> 4 & 3) {
            // Both "latch" bits are active low.
            (3, _) => Self::ReadBack {
                channels: [value & 0x02 != 0, value & 0x04 != 0, value & 0x08 != 0],
                count: value & 0x20 == 0,
                status: value & 0x10 == 0,
            },
            (channel, 0) => Self::Latch {
                channel: channel.into(),
            },
            (channel, _) => Self::Program {
                channel: channel.into(),
                control: Control(value & 0x3f),
            },
        }
    }
}

/// The lower six bits of a control word, kept as written because the status byte shows them so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control(pub u8);

impl Control {
    /// Where a channel is before its first control word.
    pub const UNPROGRAMMED: Self = Self(0x36);

    pub fn mode(self) -> Mode {
        match self.0 >> 1 & 7 {
            0 => Mode::InterruptOnTerminalCount,
            1 => Mode::OneShot,
            2 | 6 => Mode::RateGenerator,
            3 | 7 => Mode::SquareWave,
            4 => Mode::SoftwareStrobe,
            _ => Mode::HardwareStrobe,
        }
    }

    pub fn access(self) -> Access {
        match self.0 >> 4 & 3 {
            1 => Access::Low,
            2 => Access::High,
            _ => Access::Both,
        }
    }

    pub fn number(self) -> Number {
        if self.0 & 1 == 0 {
            Number::Binary
        } else {
            Number::Bcd
        }
    }
}

/// Modes 0 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// 0: low until the count ends.
    InterruptOnTerminalCount,
    /// 1: as 0, started by the gate.
    OneShot,
    /// 2: low in the last tick of each period.
    RateGenerator,
    /// 3: high in the first half of each period.
    SquareWave,
    /// 4: low for one tick when the count ends.
    SoftwareStrobe,
    /// 5: as 4, started by the gate.
    HardwareStrobe,
}

impl Mode {
    pub fn periodic(self) -> bool {
        matches!(self, Self::RateGenerator | Self::SquareWave)
    }

    /// A rising gate loads the count and starts; the gate's level means nothing.
    pub fn triggered(self) -> bool {
        matches!(self, Self::OneShot | Self::HardwareStrobe)
    }
}

/// Which bytes of the count a data port moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Low,
    High,
    /// Low byte first.
    Both,
}

/// How the counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    Binary,
    /// Four decimal digits.
    Bcd,
}

impl Number {
    /// The count that a written 0 stands for.
    pub fn modulus(self) -> u64 {
        match self {
            Self::Binary => 0x1_0000,
            Self::Bcd => 10_000,
        }
    }

    /// Ticks that a written count stands for: 1 to [`modulus`](Number::modulus).
    pub fn decode(self, value: u16) -> u64 {
        let count = match self {
            Self::Binary => u64::from(value),
            Self::Bcd => [12, 8, 4, 0]
                .iter()
                .fold(0, |sum, shift| sum * 10 + u64::from(value >> shift & 0x0f)),
        };
        match count % self.modulus() {
            0 => self.modulus(),
            count => count,
        }
    }

    /// The count as it is read.
    pub fn encode(self, count: u64) -> u16 {
        let count = count % self.modulus();
        match self {
            Self::Binary => count as u16,
            Self::Bcd => [1000, 100, 10, 1]
                .iter()
                .fold(0, |value, power| value << 4 | (count / power % 10) as u16),
        }
    }
}

/// Status byte: level of the output.
pub const STATUS_OUTPUT: u8 = 0x80;
/// Status byte: a written count is not in the counter yet.
pub const STATUS_NULL_COUNT: u8 = 0x40;
