// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Facts of the 8237A data sheet and of its wiring in an IBM PC/AT.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

/// Channels of one 8237A.
pub const CHANNELS: usize = 4;

/// DACK of the second controller's first channel grants the bus to the first controller.
pub const CASCADE: usize = 0;

/// The mask bit of every channel.
pub const ALL_MASKED: u8 = 0x0f;

bitflags! {
    /// Command register (data sheet, "Command Register"). The bits for timing, priority and the sense of DREQ and DACK mean nothing
    /// where transfers take no time; memory-to-memory transfers are not wired up in a PC.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    pub struct Command: u8 {
        /// The controller answers no request.
        const DISABLE = 1 << 2;
        /// The bits that are kept but have no effect.
        const _ = !0;
    }
}

/// Which way a channel moves data (mode register bits 3-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Addresses and counts, but no memory cycle. The illegal code 11 is taken for it.
    Verify,
    /// "Write": device to memory.
    ToMemory,
    /// "Read": memory to device.
    FromMemory,
}

/// How a channel shares the bus (mode register bits 7-6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Until the device lets go of DREQ.
    Demand,
    /// One transfer a request.
    Single,
    /// Until the terminal count.
    Block,
    /// The device drives the bus itself.
    Cascade,
}

/// Mode register, without the two bits that select the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mode(u8);

impl Mode {
    /// The mode in a byte written to the mode register.
    pub fn new(value: u8) -> Self {
        Self(value & 0xfc)
    }

    /// Bits 3-2.
    pub fn direction(self) -> Direction {
        match (self.0 >> 2) & 3 {
            1 => Direction::ToMemory,
            2 => Direction::FromMemory,
            _ => Direction::Verify,
        }
    }

    /// Bit 4: the base registers are loaded again at the terminal count, and the channel stays unmasked.
    pub fn autoinitialize(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// Bit 5: the address counts down.
    pub fn decrement(self) -> bool {
        self.0 & 0x20 != 0
    }

    /// Bits 7-6.
    pub fn service(self) -> Service {
        match self.0 >> 6 {
            0 => Service::Demand,
            1 => Service::Single,
            2 => Service::Block,
            _ => Service::Cascade,
        }
    }
}

/// What a read of A3-A0 selects (data sheet, "Register Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadRegister {
    /// Current address of a channel, one half.
    Address(usize),
    /// Current count of a channel, one half.
    Count(usize),
    /// Status: terminal counts (cleared by this read) and requests.
    Status,
    /// Temporary register of memory-to-memory transfers.
    Temporary,
    /// Mask bits, readable on the controllers of the PIIX.
    Mask,
    /// Illegal.
    Reserved,
}

impl ReadRegister {
    /// Decodes A3-A0.
    pub fn decode(code: u8) -> Self {
        match code & 0xf {
            n @ 0..8 if n & 1 == 0 => Self::Address(usize::from(n >> 1)),
            n @ 0..8 => Self::Count(usize::from(n >> 1)),
            0x8 => Self::Status,
            0xd => Self::Temporary,
            0xf => Self::Mask,
            _ => Self::Reserved,
        }
    }
}

/// What a write to A3-A0 selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteRegister {
    /// Base and current address of a channel, one half.
    Address(usize),
    /// Base and current count of a channel, one half.
    Count(usize),
    /// Command register.
    Command,
    /// Sets or clears one software request.
    Request,
    /// Sets or clears one mask bit.
    SingleMask,
    /// Mode of one channel.
    Mode,
    /// The next byte of an address or count is the low one.
    ClearFlipFlop,
    /// As a hardware reset.
    MasterClear,
    /// Unmasks all channels.
    ClearMask,
    /// All four mask bits.
    AllMask,
}

impl WriteRegister {
    /// Decodes A3-A0.
    pub fn decode(code: u8) -> Self {
        match code & 0xf {
            n @ 0..8 if n & 1 == 0 => Self::Address(usize::from(n >> 1)),
            n @ 0..8 => Self::Count(usize::from(n >> 1)),
            0x8 => Self::Command,
            0x9 => Self::Request,
            0xa => Self::SingleMask,
            0xb => Self::Mode,
            0xc => Self::ClearFlipFlop,
            0xd => Self::MasterClear,
            0xe => Self::ClearMask,
            _ => Self::AllMask,
        }
    }
}

/// Page registers: which of the sixteen holds address bits 23-16 of a channel (0-3 on the first controller, 4-7 on the second).
/// The one of channel 4 is driven during memory refresh. The other eight are plain storage.
pub const PAGE_OF_CHANNEL: [usize; 2 * CHANNELS] = [0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa];
