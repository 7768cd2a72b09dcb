// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Registers of the PIIX4's function 3 (82371AB data sheet, chapter 7).

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

/// Base of the ACPI registers, in configuration space.
pub const PMBASE: usize = 0x40;
/// Device activity B; bit 25 says that the APM port makes SMIs.
pub const DEVACTB: usize = 0x58;
/// Bit 0 opens the ACPI registers.
pub const PMREGMISC: usize = 0x80;
/// Base of the SMBus registers.
pub const SMBBA: usize = 0x90;
/// Bit 0 opens the SMBus registers.
pub const SMBHSTCFG: usize = 0xd2;

/// Frequency of the power management timer in hertz.
pub const PM_TIMER_HZ: u64 = 3_579_545;
/// The timer counts in 24 bits; a change of bit 23 sets its status.
pub const TIMER_MASK: u64 = 0xff_ffff;
/// Number of its most significant bit.
pub const TIMER_MSB: u32 = 23;
/// Offset of the timer.
pub const TIMER: u8 = 8;

/// Value of SUS_TYP for soft off (ACPI S5).
pub const SOFT_OFF: u8 = 0;
/// Written to the APM control port (B2h): switch ACPI on. The FADT names it.
pub const ACPI_ENABLE: u8 = 0xf1;
/// Written to the APM control port: switch ACPI off.
pub const ACPI_DISABLE: u8 = 0xf0;

bitflags! {
    /// PMSTS and PMEN.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Status: u16 {
        const TIMER_OVERFLOW = 1 << 0;
        const BUS_MASTER = 1 << 4;
        const GLOBAL = 1 << 5;
        const POWER_BUTTON = 1 << 8;
        const RTC = 1 << 10;
        const RESUME = 1 << 15;
        /// Those that have an enable bit.
        const CAN_INTERRUPT = 1 << 0 | 1 << 5 | 1 << 8 | 1 << 10;
    }

    /// PMCNTRL.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Control: u16 {
        const SCI_EN = 1 << 0;
        const BRLD_EN_BM = 1 << 1;
        const GBL_RLS = 1 << 2;
        const SUS_TYP = 7 << 10;
        const SUS_EN = 1 << 13;
    }
}

/// A byte of the 64 ports at PMBASE; the number is the byte within its register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    Status(u8),
    Enable(u8),
    Control(u8),
    Timer(u8),
    GeneralStatus(u8),
    GeneralEnable(u8),
    Kept(u8),
    Reserved,
}

impl Register {
    /// The register at `offset` from PMBASE.
    pub fn at(offset: u8) -> Self {
        match offset {
            0x00..=0x01 => Self::Status(offset),
            0x02..=0x03 => Self::Enable(offset - 2),
            0x04..=0x05 => Self::Control(offset - 4),
            0x08..=0x0b => Self::Timer(offset - TIMER),
            0x0c..=0x0d => Self::GeneralStatus(offset - 0xc),
            0x0e..=0x0f => Self::GeneralEnable(offset - 0xe),
            // PCNTRL, GLBEN, GLBCTL, DEVCTL, GPOREG.
            0x10..=0x13 | 0x20..=0x21 | 0x28..=0x2f | 0x34..=0x37 => Self::Kept(offset),
            _ => Self::Reserved,
        }
    }
}
