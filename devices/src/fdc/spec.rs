// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Facts of the Intel 82077AA data sheet (order number 290166), and the times that this model takes.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

/// Drives that the chip can address. A PC board wires two.
pub const UNITS: usize = 4;

/// Bytes of a sector on every diskette that an image can hold.
pub const SECTOR: usize = 512;

/// The size code N of such a sector: 128 << N bytes.
pub const SECTOR_CODE: u8 = 2;

/// Steps that RECALIBRATE makes at most (section 5.2.2).
pub const RECALIBRATE_STEPS: u8 = 79;

/// Depth of the FIFO.
pub const FIFO_DEPTH: usize = 16;

/// Result of VERSION: an enhanced controller.
pub const VERSION: u8 = 0x90;

/// Times. A real drive is a hundred times slower; but every interrupt comes some time after the access that started its command,
/// since drivers set up their wait after that access.
pub mod timing {
    use crate::clock::Nanos;

    const MICROSECOND: Nanos = 1_000;

    /// From the end of a reset to the interrupt of the drive poll.
    pub const RESET: Nanos = 100 * MICROSECOND;
    /// From the last command byte to the first sector.
    pub const START: Nanos = 50 * MICROSECOND;
    /// From the last command byte to the end of the shortest seek.
    pub const SEEK: Nanos = 50 * MICROSECOND;
    /// Each step of a seek.
    pub const STEP: Nanos = 5 * MICROSECOND;
    /// Two turns of the disk in vain.
    pub const NOT_FOUND: Nanos = 1_000 * MICROSECOND;
    /// From the last byte through the FIFO to the result phase.
    pub const RESULT: Nanos = 20 * MICROSECOND;
    /// How long a masked DMA channel is waited for before it counts as an overrun, and how often it is looked at.
    pub const DMA_PATIENCE: Nanos = 20_000 * MICROSECOND;
    /// See [`DMA_PATIENCE`].
    pub const DMA_RETRY: Nanos = 500 * MICROSECOND;
}

/// Data rates, as coded in the DSR and the CCR (table 2-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum DataRate {
    /// 500 kbit/s: 1.2M and 1.44M.
    Kbps500,
    /// 300 kbit/s: 360K in a 1.2M drive.
    Kbps300,
    /// 250 kbit/s: 360K and 720K.
    Kbps250,
    /// 1 Mbit/s: 2.88M.
    Mbps1,
}

impl DataRate {
    /// The rate in bits 1-0.
    pub fn decode(value: u8) -> Self {
        match value & 3 {
            0 => Self::Kbps500,
            1 => Self::Kbps300,
            2 => Self::Kbps250,
            _ => Self::Mbps1,
        }
    }

    /// The code for bits 1-0.
    pub fn code(self) -> u8 {
        match self {
            Self::Kbps500 => 0,
            Self::Kbps300 => 1,
            Self::Kbps250 => 2,
            Self::Mbps1 => 3,
        }
    }

    /// What the nHIGH DENS bit of the DIR shows inverted.
    pub fn is_high_density(self) -> bool {
        matches!(self, Self::Kbps500 | Self::Mbps1)
    }
}

/// Registers that can be read, by their distance from 3F0h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadRegister {
    /// Status register A (PS/2 mode).
    StatusA,
    /// Status register B (PS/2 mode).
    StatusB,
    /// Digital output register.
    Dor,
    /// Tape drive register.
    Tdr,
    /// Main status register.
    Msr,
    /// FIFO.
    Fifo,
    /// Digital input register.
    Dir,
    /// Nothing of this chip.
    Reserved,
}

impl ReadRegister {
    /// Decodes A2-A0.
    pub fn decode(offset: u64) -> Self {
        match offset {
            0 => Self::StatusA,
            1 => Self::StatusB,
            2 => Self::Dor,
            3 => Self::Tdr,
            4 => Self::Msr,
            5 => Self::Fifo,
            7 => Self::Dir,
            _ => Self::Reserved,
        }
    }
}

/// Registers that can be written, by their distance from 3F0h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteRegister {
    /// Digital output register.
    Dor,
    /// Tape drive register.
    Tdr,
    /// Data rate select register.
    Dsr,
    /// FIFO.
    Fifo,
    /// Configuration control register.
    Ccr,
    /// Nothing of this chip.
    Reserved,
}

impl WriteRegister {
    /// Decodes A2-A0.
    pub fn decode(offset: u64) -> Self {
        match offset {
            2 => Self::Dor,
            3 => Self::Tdr,
            4 => Self::Dsr,
            5 => Self::Fifo,
            7 => Self::Ccr,
            _ => Self::Reserved,
        }
    }
}

bitflags! {
    /// Status register A in PS/2 mode (section 2.1.1).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct StatusA: u8 {
        /// The head steps inwards.
        const DIRECTION_IN = 1 << 0;
        /// Low: the diskette is write protected.
        const N_WRITE_PROTECT = 1 << 1;
        /// Low: the index hole passes.
        const N_INDEX = 1 << 2;
        /// Head 1 is selected.
        const HEAD_1 = 1 << 3;
        /// Low: the heads are over track 0.
        const N_TRACK_0 = 1 << 4;
        /// A step pulse.
        const STEP = 1 << 5;
        /// Low: a second drive is installed.
        const N_DRIVE_2 = 1 << 6;
        /// State of the INT pin.
        const INTERRUPT = 1 << 7;
    }

    /// Status register B in PS/2 mode (section 2.1.2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct StatusB: u8 {
        /// Motor of drive 0.
        const MOTOR_0 = 1 << 0;
        /// Motor of drive 1.
        const MOTOR_1 = 1 << 1;
        /// The write gate is open.
        const WRITE_ENABLE = 1 << 2;
        /// Turns with the data read.
        const READ_DATA = 1 << 3;
        /// Turns with the data written.
        const WRITE_DATA = 1 << 4;
        /// Bit 0 of the DOR.
        const DRIVE_SELECT_0 = 1 << 5;
        /// Always set.
        const RESERVED = 0xc0;
    }

    /// Digital output register (section 2.1.3). Bits 1-0 select a drive, bits 7-4 turn the four motors.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Dor: u8 {
        /// Selected drive.
        const DRIVE_MASK = 0x03;
        /// Low: the chip is held in reset.
        const N_RESET = 1 << 2;
        /// The INT and DRQ pins drive the bus.
        const DMA_GATE = 1 << 3;
        /// Motors of the drives 0 to 3.
        const MOTOR_MASK = 0xf0;
    }

    /// Main status register (section 2.1.6). Bits 3-0: the drive seeks.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Msr: u8 {
        /// A command is in progress.
        const BUSY = 1 << 4;
        /// Execution phase without DMA.
        const NON_DMA = 1 << 5;
        /// The FIFO is to be read.
        const DIRECTION_IN = 1 << 6;
        /// The FIFO can be accessed.
        const REQUEST = 1 << 7;
    }

    /// Status register 0 (section 6.1). Bits 2-0: head and drive.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    pub struct St0: u8 {
        /// RECALIBRATE found no track 0.
        const EQUIPMENT_CHECK = 1 << 4;
        /// A seek has ended.
        const SEEK_END = 1 << 5;
        /// Interrupt code 01: begun, but not ended well.
        const ABNORMAL = 0x40;
        /// Interrupt code 10: no such command.
        const INVALID = 0x80;
        /// Interrupt code 11: the drive poll saw a ready line change.
        const POLLING = 0xc0;
    }

    /// Status register 1 (section 6.2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    pub struct St1: u8 {
        /// No ID address mark on the track.
        const MISSING_ADDRESS_MARK = 1 << 0;
        /// The diskette is write protected.
        const NOT_WRITABLE = 1 << 1;
        /// No sector with that ID.
        const NO_DATA = 1 << 2;
        /// The host was too slow.
        const OVERRUN = 1 << 4;
        /// CRC error.
        const DATA_ERROR = 1 << 5;
        /// Beyond the last sector of the cylinder: there was no terminal count.
        const END_OF_CYLINDER = 1 << 7;
    }

    /// Status register 2 (section 6.3, and the 765's bits for the scan commands).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    pub struct St2: u8 {
        /// No scanned sector met the condition.
        const SCAN_NOT_SATISFIED = 1 << 2;
        /// The scanned sector is equal.
        const SCAN_EQUAL_HIT = 1 << 3;
        /// The sector's ID names another cylinder.
        const WRONG_CYLINDER = 1 << 4;
        /// CRC error in the data field.
        const DATA_ERROR_IN_DATA = 1 << 5;
        /// The sector has the other kind of data address mark.
        const CONTROL_MARK = 1 << 6;
    }

    /// Status register 3 (section 6.4). Bits 2-0: head and drive.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct St3: u8 {
        /// Always set: two sides.
        const TWO_SIDE = 1 << 3;
        /// The heads are over track 0.
        const TRACK_0 = 1 << 4;
        /// Always set: ready.
        const READY = 1 << 5;
        /// The write protect pin.
        const WRITE_PROTECT = 1 << 6;
    }

    /// Second byte of CONFIGURE (section 5.2.7), without the FIFO threshold in bits 3-0.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Configure: u8 {
        /// FIFO threshold, less one.
        const FIFO_THRESHOLD = 0x0f;
        /// The drive poll is switched off.
        const NO_POLL = 1 << 4;
        /// The FIFO is switched off.
        const NO_FIFO = 1 << 5;
        /// Implied seeks.
        const IMPLIED_SEEK = 1 << 6;
    }
}

impl Dor {
    /// Bits 1-0.
    pub fn drive(self) -> usize {
        usize::from(self.bits() & Self::DRIVE_MASK.bits())
    }

    /// The motor of `unit` is on.
    pub fn motor(self, unit: usize) -> bool {
        self.bits() & 0x10 << unit != 0
    }
}
