// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Facts of the 82093AA (data sheet 290566, section 3).

use super::{Message, Route};
use serde::{Deserialize, Serialize};

/// Inputs.
pub const PINS: usize = 24;
/// Version register: version 20h, the first with an EOI register, and the number of the last entry.
pub const VERSION: u32 = 0x20 | (PINS as u32 - 1) << 16;
/// Bits of an APIC ID.
pub const ID_MASK: u8 = 0x0f;
/// Vectors below this are the processor's own exceptions: a local APIC refuses them.
const FIRST_VECTOR: u8 = 0x10;

/// Where a local APIC takes messages.
pub const MSI_ADDRESS: u64 = 0xfee0_0000;
/// In the address: logical destination.
pub const MSI_LOGICAL: u64 = 1 << 2;
/// In the data: assert (of assert and de-assert).
pub const MSI_ASSERT: u32 = 1 << 14;
/// In the data: level-triggered.
pub const MSI_LEVEL_TRIGGERED: u32 = 1 << 15;

/// The registers of the memory window.
#[derive(Debug, Clone, Copy)]
pub enum Window {
    /// IOREGSEL: index of the register behind IOWIN.
    Select,
    /// IOWIN.
    Data,
    /// EOIR.
    EndOfInterrupt,
}

impl Window {
    pub fn from_offset(offset: u64) -> Option<Self> {
        Some(match offset & !3 {
            0x00 => Self::Select,
            0x10 => Self::Data,
            0x40 => Self::EndOfInterrupt,
            _ => return None,
        })
    }
}

/// The registers behind IOWIN.
#[derive(Debug, Clone, Copy)]
pub enum IndirectRegister {
    Id,
    Version,
    ArbitrationId,
    EntryLow(usize),
    EntryHigh(usize),
}

impl IndirectRegister {
    pub fn from_index(index: u8) -> Option<Self> {
        Some(match index {
            0x00 => Self::Id,
            0x01 => Self::Version,
            0x02 => Self::ArbitrationId,
            0x10..=0x3f => {
                let pin = usize::from(index - 0x10) / 2;
                if index & 1 == 0 {
                    Self::EntryLow(pin)
                } else {
                    Self::EntryHigh(pin)
                }
            }
            _ => return None,
        })
    }
}

/// Delivery modes with their codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryMode {
    /// The vector, to all processors of the destination.
    Fixed = 0,
    /// The vector, to the least busy processor of the destination.
    LowestPriority = 1,
    /// System management interrupt.
    Smi = 2,
    /// Non-maskable interrupt.
    Nmi = 4,
    /// Initialisation.
    Init = 5,
    /// An interrupt of the 8259A, which gives the vector.
    ExtInt = 7,
}

impl DeliveryMode {
    fn from_code(code: u32) -> Option<Self> {
        Some(match code & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            7 => Self::ExtInt,
            _ => return None,
        })
    }

    /// Uses the entry's vector, and may be level-triggered. The others are edges, whatever the entry says.
    fn has_vector(self) -> bool {
        matches!(self, Self::Fixed | Self::LowestPriority)
    }
}

/// An entry of the redirection table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry(u64);

impl Entry {
    /// Masked, all else zero.
    pub const RESET: Self = Self(Self::MASKED as u64);

    const LOGICAL: u32 = 1 << 11;
    // Bit 12 is delivery status: always idle.
    const ACTIVE_LOW: u32 = 1 << 13;
    const REMOTE_IRR: u32 = 1 << 14;
    const LEVEL: u32 = 1 << 15;
    const MASKED: u32 = 1 << 16;
    /// Vector, delivery mode and the bits above, without those that the chip sets itself.
    const LOW_WRITABLE: u32 = 0x7ff | Self::LOGICAL | Self::ACTIVE_LOW | Self::LEVEL | Self::MASKED;
    const HIGH_WRITABLE: u32 = 0xff00_0000;

    /// Only bits that the chip keeps are set.
    pub fn is_possible(self) -> bool {
        self.low() & !(Self::LOW_WRITABLE | Self::REMOTE_IRR) == 0 && self.high() & !Self::HIGH_WRITABLE == 0
    }

    pub fn low(self) -> u32 {
        self.0 as u32
    }

    pub fn high(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// An entry that becomes an edge forgets its remote IRR: software without an EOI register clears it so.
    pub fn set_low(&mut self, value: u32) {
        let mut low = (value & Self::LOW_WRITABLE) | (self.low() & Self::REMOTE_IRR);
        if low & Self::LEVEL == 0 {
            low &= !Self::REMOTE_IRR;
        }
        self.0 = u64::from(self.high()) << 32 | u64::from(low);
    }

    pub fn set_high(&mut self, value: u32) {
        self.0 = u64::from(value & Self::HIGH_WRITABLE) << 32 | u64::from(self.low());
    }

    pub fn vector(self) -> u8 {
        self.0 as u8
    }

    /// A level-triggered message was sent and its end is not reported.
    pub fn remote_irr(self) -> bool {
        self.low() & Self::REMOTE_IRR != 0
    }

    pub fn set_remote_irr(&mut self, waits: bool) {
        self.0 &= !u64::from(Self::REMOTE_IRR);
        if waits {
            self.0 |= u64::from(Self::REMOTE_IRR);
        }
    }

    /// The entry interrupts as long as its input is asserted.
    pub fn is_level(self) -> bool {
        self.low() & Self::LEVEL != 0
            && DeliveryMode::from_code(self.low() >> 8).is_some_and(DeliveryMode::has_vector)
    }

    pub fn route(self) -> Route {
        let vector = self.vector();
        let message = DeliveryMode::from_code(self.low() >> 8)
            .filter(|mode| !mode.has_vector() || vector >= FIRST_VECTOR)
            .map(|mode| Message {
                destination: (self.0 >> 56) as u8,
                logical: self.low() & Self::LOGICAL != 0,
                mode,
                vector,
                level_triggered: self.is_level(),
            });
        Route {
            masked: self.low() & Self::MASKED != 0,
            message,
        }
    }
}
