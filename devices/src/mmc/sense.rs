// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why a command failed: sense data (SPC-3 4.5.3, MMC-5 annex F).

use serde::{Deserialize, Serialize};

/// Length of fixed format sense data with an additional length of 10.
const SENSE_LEN: usize = 18;

/// Response code: current error, fixed format.
const RESPONSE_CURRENT_FIXED: u8 = 0x70;
/// The INFORMATION field holds a block address.
const VALID: u8 = 0x80;
/// Bytes after byte 7.
const ADDITIONAL_LENGTH: u8 = 10;
/// The sense-key specific bytes are valid.
const SKSV: u8 = 0x80;
/// The field pointer counts in the command, not in the parameter list.
const IN_COMMAND: u8 = 0x40;

/// Sense keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[repr(u8)]
pub enum SenseKey {
    /// Nothing to report.
    NoSense = 0x0,
    /// The medium cannot be reached.
    NotReady = 0x2,
    /// The medium cannot be read.
    MediumError = 0x3,
    /// The command is wrong.
    IllegalRequest = 0x5,
    /// Something happened since the last command.
    UnitAttention = 0x6,
}

/// What a field pointer points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Field {
    Command(u8),
    Parameter(u16),
}

/// One reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sense {
    key: SenseKey,
    asc: u8,
    ascq: u8,
    information: Option<u32>,
    field: Option<Field>,
}

impl Sense {
    /// NO ADDITIONAL SENSE INFORMATION.
    pub const NONE: Self = Self::new(SenseKey::NoSense, 0x00, 0x00);
    /// LOGICAL UNIT IS IN PROCESS OF BECOMING READY.
    pub const BECOMING_READY: Self = Self::new(SenseKey::NotReady, 0x04, 0x01);
    /// INCOMPATIBLE MEDIUM INSTALLED.
    pub const INCOMPATIBLE_MEDIUM: Self = Self::new(SenseKey::NotReady, 0x30, 0x00);
    /// MEDIUM NOT PRESENT - TRAY CLOSED.
    pub const NO_MEDIUM_TRAY_CLOSED: Self = Self::new(SenseKey::NotReady, 0x3a, 0x01);
    /// MEDIUM NOT PRESENT - TRAY OPEN.
    pub const NO_MEDIUM_TRAY_OPEN: Self = Self::new(SenseKey::NotReady, 0x3a, 0x02);
    /// MEDIUM REMOVAL PREVENTED, with a medium in the drive.
    pub const REMOVAL_PREVENTED: Self = Self::new(SenseKey::IllegalRequest, 0x53, 0x02);
    /// MEDIUM REMOVAL PREVENTED, with no medium in the drive.
    pub const REMOVAL_PREVENTED_EMPTY: Self = Self::new(SenseKey::NotReady, 0x53, 0x02);
    /// UNRECOVERED READ ERROR.
    const READ_ERROR: Self = Self::new(SenseKey::MediumError, 0x11, 0x00);
    /// PARAMETER LIST LENGTH ERROR.
    pub const PARAMETER_LIST_LENGTH: Self = Self::new(SenseKey::IllegalRequest, 0x1a, 0x00);
    /// INVALID COMMAND OPERATION CODE.
    pub const INVALID_OPCODE: Self = Self::new(SenseKey::IllegalRequest, 0x20, 0x00);
    /// LOGICAL BLOCK ADDRESS OUT OF RANGE.
    pub const OUT_OF_RANGE: Self = Self::new(SenseKey::IllegalRequest, 0x21, 0x00);
    /// INVALID FIELD IN CDB.
    const INVALID_FIELD: Self = Self::new(SenseKey::IllegalRequest, 0x24, 0x00);
    /// INVALID FIELD IN PARAMETER LIST.
    const INVALID_PARAMETER: Self = Self::new(SenseKey::IllegalRequest, 0x26, 0x00);
    /// COMMAND SEQUENCE ERROR.
    pub const COMMAND_SEQUENCE: Self = Self::new(SenseKey::IllegalRequest, 0x2c, 0x00);
    /// CANNOT READ MEDIUM - INCOMPATIBLE FORMAT.
    pub const INCOMPATIBLE_FORMAT: Self = Self::new(SenseKey::IllegalRequest, 0x30, 0x02);
    /// SAVING PARAMETERS NOT SUPPORTED.
    pub const SAVING_NOT_SUPPORTED: Self = Self::new(SenseKey::IllegalRequest, 0x39, 0x00);
    /// ILLEGAL MODE FOR THIS TRACK.
    pub const ILLEGAL_MODE: Self = Self::new(SenseKey::IllegalRequest, 0x64, 0x00);
    /// NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED.
    pub const MEDIUM_CHANGED: Self = Self::new(SenseKey::UnitAttention, 0x28, 0x00);
    /// POWER ON, RESET, OR BUS DEVICE RESET OCCURRED.
    pub const POWER_ON: Self = Self::new(SenseKey::UnitAttention, 0x29, 0x00);

    const fn new(key: SenseKey, asc: u8, ascq: u8) -> Self {
        Self {
            key,
            asc,
            ascq,
            information: None,
            field: None,
        }
    }

    /// INVALID FIELD IN CDB, naming the byte.
    pub const fn invalid_field(byte: u8) -> Self {
        Self {
            field: Some(Field::Command(byte)),
            ..Self::INVALID_FIELD
        }
    }

    /// INVALID FIELD IN PARAMETER LIST, naming the byte.
    pub fn invalid_parameter(byte: usize) -> Self {
        Self {
            field: u16::try_from(byte).ok().map(Field::Parameter),
            ..Self::INVALID_PARAMETER
        }
    }

    /// UNRECOVERED READ ERROR at a block: what was transferred before it is good.
    pub const fn read_error(lba: u32) -> Self {
        Self {
            information: Some(lba),
            ..Self::READ_ERROR
        }
    }

    /// The sense key, as the transport shows it.
    pub fn key(&self) -> u8 {
        self.key as u8
    }

    /// Fixed format sense data.
    pub fn to_bytes(self) -> [u8; SENSE_LEN] {
        let mut data = [0; SENSE_LEN];
        data[0] = RESPONSE_CURRENT_FIXED;
        data[2] = self.key as u8;
        if let Some(lba) = self.information {
            data[0] |= VALID;
            data[3..7].copy_from_slice(&lba.to_be_bytes());
        }
        data[7] = ADDITIONAL_LENGTH;
        data[12] = self.asc;
        data[13] = self.ascq;
        let (flags, pointer) = match self.field {
            None => (0, 0),
            Some(Field::Command(byte)) => (SKSV | IN_COMMAND, u16::from(byte)),
            Some(Field::Parameter(byte)) => (SKSV, byte),
        };
        data[15] = flags;
        data[16..18].copy_from_slice(&pointer.to_be_bytes());
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_format() {
        assert_eq!(
            Sense::NO_MEDIUM_TRAY_OPEN.to_bytes(),
            [0x70, 0, 2, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x3a, 2, 0, 0, 0, 0]
        );
        assert_eq!(
            Sense::read_error(0x0102_0304).to_bytes(),
            [0xf0, 0, 3, 1, 2, 3, 4, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            Sense::invalid_field(9).to_bytes(),
            [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0xc0, 0, 9]
        );
        assert_eq!(
            Sense::invalid_parameter(0x102).to_bytes(),
            [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x26, 0, 0, 0x80, 1, 2]
        );
    }
}
