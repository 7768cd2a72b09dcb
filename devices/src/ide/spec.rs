// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Facts of ATA/ATAPI-6 (T13 1410D): register bits, signatures and commands.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

/// Bytes in a logical sector.
pub const SECTOR: usize = 512;

/// Sectors that a 28-bit address reaches (ATA/ATAPI-6, IDENTIFY DEVICE words 60 and 61).
pub const LBA28_SECTORS: u64 = 0x0fff_ffff;

/// From this many sectors on, the default translation is 16383/16/63 (ATA/ATAPI-6, annex C).
pub const CHS_SECTORS: u64 = 16_383 * 16 * 63;

bitflags! {
    /// Status and alternate status registers.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    pub struct Status: u8 {
        /// The device owns the command block; no other bit means anything.
        const BSY = 1 << 7;
        /// The device takes commands.
        const DRDY = 1 << 6;
        /// Device fault.
        const DF = 1 << 5;
        /// Seek complete (ATA-3 and earlier; drivers of that age wait for it).
        const DSC = 1 << 4;
        /// A data transfer waits for the host.
        const DRQ = 1 << 3;
        /// The error register says what went wrong. CHK for packet commands.
        const ERR = 1 << 0;
    }
}

bitflags! {
    /// Error register after a command that is not PACKET.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Error: u8 {
        /// Data could not be read. On a write, the same bit says that the medium is write-protected.
        const UNC = 1 << 6;
        /// Write-protected.
        const WP = 1 << 6;
        /// The sector's address is not on the device.
        const IDNF = 1 << 4;
        /// The device refuses the command.
        const ABRT = 1 << 2;
    }
}

bitflags! {
    /// Device control register.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    pub struct Control: u8 {
        /// Reads show the previous contents of the registers that are two deep.
        const HOB = 1 << 7;
        /// Software reset.
        const SRST = 1 << 2;
        /// INTRQ is not driven.
        const NIEN = 1 << 1;
    }
}

bitflags! {
    /// Device register. Bits 7 and 5 are obsolete and read back as they were written.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    pub struct DeviceHead: u8 {
        /// The address is a logical block address.
        const LBA = 1 << 6;
        /// Device 1 is selected.
        const DEV = 1 << 4;
        /// Head, or bits 27:24 of the logical block address.
        const HEAD = 0x0f;
        /// Obsolete.
        const _ = !0;
    }
}

bitflags! {
    /// Interrupt reason register: the sector count register during PACKET.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct InterruptReason: u8 {
        /// Command, not data.
        const COD = 1 << 0;
        /// To the host.
        const IO = 1 << 1;
    }
}

bitflags! {
    /// Features register of PACKET.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct PacketFeatures: u8 {
        /// Data moves by DMA.
        const DMA = 1 << 0;
        /// The device may release the bus (overlap).
        const OVL = 1 << 1;
    }
}

/// Error register after a reset or EXECUTE DEVICE DIAGNOSTIC: device 0 passed, and device 1 passed or is not there (diagnostic codes).
pub const DIAGNOSTIC_PASSED: u8 = 0x01;

/// What a device shows in sector count, LBA low, mid and high after a reset.
pub type Signature = [u8; 4];
/// A device without the PACKET feature set.
pub const ATA_SIGNATURE: Signature = [0x01, 0x01, 0x00, 0x00];
/// A device with the PACKET feature set.
pub const PACKET_SIGNATURE: Signature = [0x01, 0x01, 0x14, 0xeb];

/// How wide a command's address and count are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// 28-bit address or CHS, 8-bit count.
    Bits28,
    /// 48-bit address, 16-bit count.
    Bits48,
}

/// How a command's data crosses the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataProtocol {
    /// Through the data register, one sector for each DRQ.
    Pio,
    /// Through the data register, as many sectors for each DRQ as SET MULTIPLE MODE said.
    Multiple,
    /// By DMA.
    Dma,
}

/// The command register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Always ends with ABRT.
    Nop,
    /// Packet devices only, also while busy.
    DeviceReset,
    /// Head to cylinder 0 (ATA-3).
    Recalibrate,
    /// All forms of READ.
    Read(DataProtocol, Extent),
    /// All forms of WRITE.
    Write {
        /// How the data comes.
        protocol: DataProtocol,
        /// How wide the address is.
        extent: Extent,
        /// Force unit access: the data is on the medium before the command ends.
        fua: bool,
    },
    /// READ VERIFY SECTORS.
    ReadVerify(Extent),
    /// Head to an address.
    Seek,
    /// EXECUTE DEVICE DIAGNOSTIC, taken by both devices.
    ExecuteDeviceDiagnostic,
    /// The CHS translation.
    InitializeDeviceParameters,
    /// PACKET.
    Packet,
    /// IDENTIFY PACKET DEVICE.
    IdentifyPacketDevice,
    /// SMART, with a subcommand in the features register.
    Smart,
    /// Sectors a DRQ for READ and WRITE MULTIPLE.
    SetMultipleMode,
    /// STANDBY and STANDBY IMMEDIATE.
    Standby,
    /// IDLE and IDLE IMMEDIATE.
    Idle,
    /// CHECK POWER MODE.
    CheckPowerMode,
    /// SLEEP: only a reset wakes the device.
    Sleep,
    /// FLUSH CACHE and FLUSH CACHE EXT.
    FlushCache,
    /// IDENTIFY DEVICE.
    IdentifyDevice,
    /// SET FEATURES.
    SetFeatures,
    /// SECURITY FREEZE LOCK.
    SecurityFreezeLock,
    /// READ NATIVE MAX ADDRESS.
    ReadNativeMaxAddress(Extent),
}

impl Command {
    /// The command with this code, if any device here knows it.
    pub fn decode(code: u8) -> Option<Self> {
        use DataProtocol::{Dma, Multiple, Pio};
        use Extent::{Bits28, Bits48};
        let write = |protocol, extent, fua| Self::Write {
            protocol,
            extent,
            fua,
        };
        Some(match code {
            0x00 => Self::Nop,
            0x08 => Self::DeviceReset,
            0x10..=0x1f => Self::Recalibrate,
            0x20 | 0x21 => Self::Read(Pio, Bits28),
            0x24 => Self::Read(Pio, Bits48),
            0x25 => Self::Read(Dma, Bits48),
            0x27 => Self::ReadNativeMaxAddress(Bits48),
            0x29 => Self::Read(Multiple, Bits48),
            // WRITE VERIFY (3Ch) is a WRITE SECTORS on a device that verifies anyway.
            0x30 | 0x31 | 0x3c => write(Pio, Bits28, false),
            0x34 => write(Pio, Bits48, false),
            0x35 => write(Dma, Bits48, false),
            0x39 => write(Multiple, Bits48, false),
            0x3d => write(Dma, Bits48, true),
            0x40 | 0x41 => Self::ReadVerify(Bits28),
            0x42 => Self::ReadVerify(Bits48),
            0x70..=0x7f => Self::Seek,
            0x90 => Self::ExecuteDeviceDiagnostic,
            0x91 => Self::InitializeDeviceParameters,
            0xa0 => Self::Packet,
            0xa1 => Self::IdentifyPacketDevice,
            0xb0 => Self::Smart,
            0xc4 => Self::Read(Multiple, Bits28),
            0xc5 => write(Multiple, Bits28, false),
            0xc6 => Self::SetMultipleMode,
            0xc8 | 0xc9 => Self::Read(Dma, Bits28),
            0xca | 0xcb => write(Dma, Bits28, false),
            0xce => write(Multiple, Bits48, true),
            // 94h to 99h are the codes that ATA-1 gave the power commands.
            0x94 | 0x96 | 0xe0 | 0xe2 => Self::Standby,
            0x95 | 0x97 | 0xe1 | 0xe3 => Self::Idle,
            0x98 | 0xe5 => Self::CheckPowerMode,
            0x99 | 0xe6 => Self::Sleep,
            0xe7 | 0xea => Self::FlushCache,
            0xec => Self::IdentifyDevice,
            0xef => Self::SetFeatures,
            0xf5 => Self::SecurityFreezeLock,
            0xf8 => Self::ReadNativeMaxAddress(Bits28),
            _ => return None,
        })
    }
}

/// Subcommands of SET FEATURES.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Write cache on or off.
    WriteCache(bool),
    /// The transfer mode in the sector count register.
    TransferMode,
    /// Advanced power management at the level in the sector count register.
    EnablePowerManagement,
    /// Advanced power management off.
    DisablePowerManagement,
    /// Read look-ahead on or off.
    LookAhead(bool),
    /// Whether a software reset brings the power-on defaults back.
    RevertToDefaults(bool),
}

impl Feature {
    /// The subcommand with this code, if it is supported.
    pub fn decode(code: u8) -> Option<Self> {
        Some(match code {
            0x02 => Self::WriteCache(true),
            0x82 => Self::WriteCache(false),
            0x03 => Self::TransferMode,
            0x05 => Self::EnablePowerManagement,
            0x85 => Self::DisablePowerManagement,
            0xaa => Self::LookAhead(true),
            0x55 => Self::LookAhead(false),
            0x66 => Self::RevertToDefaults(false),
            0xcc => Self::RevertToDefaults(true),
            _ => return None,
        })
    }
}

/// Subcommands of SMART.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmartCommand {
    /// Attribute values.
    ReadData,
    /// Attribute thresholds (ATA-3; tools still ask for it).
    ReadThresholds,
    /// Saving of attributes on or off.
    AttributeAutosave,
    /// On.
    Enable,
    /// Off.
    Disable,
    /// Whether a threshold has been exceeded.
    ReturnStatus,
}

/// LBA mid and high of every SMART command.
pub const SMART_KEY: [u8; 2] = [0x4f, 0xc2];

impl SmartCommand {
    /// The subcommand with this code, if it is supported.
    pub fn decode(code: u8) -> Option<Self> {
        Some(match code {
            0xd0 => Self::ReadData,
            0xd1 => Self::ReadThresholds,
            0xd2 => Self::AttributeAutosave,
            0xd8 => Self::Enable,
            0xd9 => Self::Disable,
            0xda => Self::ReturnStatus,
            _ => return None,
        })
    }
}
