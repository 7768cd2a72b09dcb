// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Numbers of the command set, from SPC-3 and MMC-5.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

/// User data of a sector: CD mode 1 and DVD alike.
pub const SECTOR: usize = 2048;
/// The same, for positions on a medium.
pub const SECTOR_BYTES: u64 = SECTOR as u64;
/// A CD sector as it lies on the disc: sync, header, user data, EDC and ECC.
pub const RAW_SECTOR: usize = 2352;
/// Frames from 00:00:00 to logical block 0: the two seconds of the first pregap.
pub const PREGAP: u32 = 150;
/// Frames in a second and seconds in a minute of an MSF address.
pub const FRAMES_A_SECOND: u32 = 75;
/// Seconds in a minute of an MSF address.
pub const SECONDS_A_MINUTE: u32 = 60;
/// Sectors of an 80-minute disc, the longest that a CD is taken to be; anything longer is a DVD.
pub const CD_SECTORS: u32 = 80 * SECONDS_A_MINUTE * FRAMES_A_SECOND;
/// Sectors of one DVD layer (ECMA-267 with the slack that masters use); anything longer has two layers.
pub const DVD_LAYER_SECTORS: u32 = 2_298_496;
/// First physical sector of the data area of a DVD layer (ECMA-267).
pub const DVD_FIRST_SECTOR: u32 = 0x03_0000;
/// Sectors in a DVD ECC block.
pub const DVD_ECC_SECTORS: u32 = 16;
/// Size of the drive's buffer as it reports it, in KiB.
pub const BUFFER_KIB: u16 = 512;
/// Nominal 1x rates, in bytes a second divided by 1000.
pub const CD_1X: u32 = 176;
/// As [`CD_1X`], for DVD.
pub const DVD_1X: u32 = 1385;
/// Rated speed for a CD (52x).
pub const CD_MAX_SPEED: u16 = 52 * CD_1X as u16;
/// Rated speed for a DVD (16x).
pub const DVD_MAX_SPEED: u16 = 16 * DVD_1X as u16;
/// SET CD SPEED: as fast as the drive can.
pub const SPEED_MAXIMUM: u16 = 0xffff;
/// Q sub-channel of a data track: ADR 1 (position), CONTROL 4 (data, no copy).
pub const ADR_CONTROL_DATA: u8 = 0x14;
/// Track number of the lead-out.
pub const LEAD_OUT: u8 = 0xaa;

/// The commands that the drive knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// TEST UNIT READY.
    TestUnitReady,
    /// REQUEST SENSE.
    RequestSense,
    /// INQUIRY.
    Inquiry,
    /// MODE SELECT (6).
    ModeSelect6,
    /// MODE SENSE (6).
    ModeSense6,
    /// START STOP UNIT.
    StartStopUnit,
    /// PREVENT ALLOW MEDIUM REMOVAL.
    PreventAllow,
    /// READ CAPACITY.
    ReadCapacity,
    /// READ (10).
    Read10,
    /// SEEK (10).
    Seek10,
    /// VERIFY (10).
    Verify10,
    /// SYNCHRONIZE CACHE.
    SynchronizeCache,
    /// READ SUB-CHANNEL.
    ReadSubChannel,
    /// READ TOC/PMA/ATIP.
    ReadToc,
    /// GET CONFIGURATION.
    GetConfiguration,
    /// GET EVENT STATUS NOTIFICATION.
    GetEventStatus,
    /// READ DISC INFORMATION.
    ReadDiscInformation,
    /// READ TRACK INFORMATION.
    ReadTrackInformation,
    /// MODE SELECT (10).
    ModeSelect10,
    /// MODE SENSE (10).
    ModeSense10,
    /// REPORT LUNS.
    ReportLuns,
    /// SET READ AHEAD.
    SetReadAhead,
    /// READ (12).
    Read12,
    /// GET PERFORMANCE.
    GetPerformance,
    /// READ DVD STRUCTURE (READ DISC STRUCTURE since MMC-5).
    ReadDvdStructure,
    /// READ CD MSF.
    ReadCdMsf,
    /// SET CD SPEED.
    SetCdSpeed,
    /// MECHANISM STATUS.
    MechanismStatus,
    /// READ CD.
    ReadCd,
}

impl Command {
    /// Byte 0 of a command packet.
    pub fn from_opcode(opcode: u8) -> Option<Self> {
        Some(match opcode {
            0x00 => Self::TestUnitReady,
            0x03 => Self::RequestSense,
            0x12 => Self::Inquiry,
            0x15 => Self::ModeSelect6,
            0x1a => Self::ModeSense6,
            0x1b => Self::StartStopUnit,
            0x1e => Self::PreventAllow,
            0x25 => Self::ReadCapacity,
            0x28 => Self::Read10,
            0x2b => Self::Seek10,
            0x2f => Self::Verify10,
            0x35 => Self::SynchronizeCache,
            0x42 => Self::ReadSubChannel,
            0x43 => Self::ReadToc,
            0x46 => Self::GetConfiguration,
            0x4a => Self::GetEventStatus,
            0x51 => Self::ReadDiscInformation,
            0x52 => Self::ReadTrackInformation,
            0x55 => Self::ModeSelect10,
            0x5a => Self::ModeSense10,
            0xa0 => Self::ReportLuns,
            0xa7 => Self::SetReadAhead,
            0xa8 => Self::Read12,
            0xac => Self::GetPerformance,
            0xad => Self::ReadDvdStructure,
            0xb9 => Self::ReadCdMsf,
            0xbb => Self::SetCdSpeed,
            0xbd => Self::MechanismStatus,
            0xbe => Self::ReadCd,
            _ => return None,
        })
    }

    /// Runs although a unit attention is due, and leaves it due (MMC-5 4.1.6.1, SPC-3 4.5.6). REQUEST SENSE is the one that reports it.
    pub fn passes_attention(self) -> bool {
        matches!(
            self,
            Self::RequestSense
                | Self::Inquiry
                | Self::GetConfiguration
                | Self::GetEventStatus
                | Self::ReportLuns
        )
    }
}

/// Profiles (MMC-5 table 92): what a drive is, with the medium that is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Profile {
    /// No medium.
    None = 0x0000,
    /// CD-ROM.
    CdRom = 0x0008,
    /// DVD-ROM.
    DvdRom = 0x0010,
}

/// Features (MMC-5 table 88) of the drive, in rising order as they are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Feature {
    /// Profile List.
    ProfileList = 0x0000,
    /// Core.
    Core = 0x0001,
    /// Morphing.
    Morphing = 0x0002,
    /// Removable Medium.
    RemovableMedium = 0x0003,
    /// Random Readable.
    RandomReadable = 0x0010,
    /// Multi-Read.
    MultiRead = 0x001d,
    /// CD Read.
    CdRead = 0x001e,
    /// DVD Read.
    DvdRead = 0x001f,
    /// Power Management.
    PowerManagement = 0x0100,
    /// Timeout.
    Timeout = 0x0105,
    /// Logical Unit Serial Number.
    SerialNumber = 0x0108,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::ProfileList,
        Self::Core,
        Self::Morphing,
        Self::RemovableMedium,
        Self::RandomReadable,
        Self::MultiRead,
        Self::CdRead,
        Self::DvdRead,
        Self::PowerManagement,
        Self::Timeout,
        Self::SerialNumber,
    ];
}

bitflags! {
    /// Event classes of GET EVENT STATUS NOTIFICATION (MMC-5 6.7.2.1), as requested and as supported.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct EventClasses: u8 {
        /// Operational change.
        const OPERATIONAL_CHANGE = 1 << 1;
        /// Power management.
        const POWER_MANAGEMENT = 1 << 2;
        /// Media.
        const MEDIA = 1 << 4;
        /// Device busy.
        const DEVICE_BUSY = 1 << 6;
    }
}

/// Bit 7 of the notification class byte: none of the requested classes is supported.
pub const NO_EVENT_AVAILABLE: u8 = 0x80;

/// Media events (MMC-5 table 347).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[repr(u8)]
pub enum MediaEvent {
    /// The user asks for the medium of a locked drive.
    EjectRequest = 1,
    /// A medium has come.
    NewMedia = 2,
    /// The medium has gone.
    MediaRemoval = 3,
}

/// Power states of START STOP UNIT and of the power management events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[repr(u8)]
pub enum PowerState {
    /// Active.
    Active = 1,
    /// Idle.
    Idle = 2,
    /// Standby.
    Standby = 3,
    /// Sleep.
    Sleep = 4,
}
