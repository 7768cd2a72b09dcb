// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command phase: from bytes to a command (82077AA data sheet, table 5-1).

use super::spec::UNITS;
use crate::snapshot::{BadState, must};
use serde::{Deserialize, Serialize};

/// Bytes of the longest command.
pub const LONGEST: usize = 9;

/// Which command a first byte begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// READ DATA and its kin: all that name a sector.
    Transfer(Kind),
    /// FORMAT TRACK.
    Format,
    /// READ ID.
    ReadId,
    /// RECALIBRATE.
    Recalibrate,
    /// SENSE INTERRUPT STATUS.
    SenseInterrupt,
    /// SPECIFY.
    Specify,
    /// SENSE DRIVE STATUS.
    SenseDrive,
    /// SEEK.
    Seek,
    /// RELATIVE SEEK.
    RelativeSeek,
    /// CONFIGURE.
    Configure,
    /// DUMPREG.
    DumpReg,
    /// VERSION.
    Version,
    /// PERPENDICULAR MODE.
    Perpendicular,
    /// LOCK and UNLOCK.
    Lock,
    /// Anything else.
    Invalid,
}

/// What a transfer does with each sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Kind {
    /// READ DATA, READ DELETED DATA.
    Read {
        /// Sectors with a deleted data address mark are wanted.
        deleted: bool,
    },
    /// WRITE DATA, WRITE DELETED DATA.
    Write {
        /// The sectors get a deleted data address mark.
        deleted: bool,
    },
    /// READ TRACK.
    ReadTrack,
    /// VERIFY.
    Verify,
    /// SCAN EQUAL, SCAN LOW OR EQUAL, SCAN HIGH OR EQUAL.
    Scan(Condition),
}

/// What a scanned byte has to be, compared with the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Condition {
    /// Equal.
    Equal,
    /// Lower or equal.
    LowOrEqual,
    /// Higher or equal.
    HighOrEqual,
}

impl Opcode {
    /// Decodes a first byte. The bits that the data sheet shows as 0 have to be 0.
    pub fn decode(byte: u8) -> Self {
        // MT, MFM and SK stand in bits 7, 6 and 5; which of them a command has differs.
        match (byte & 0x1f, byte >> 5) {
            (0x06, _) => Self::Transfer(Kind::Read { deleted: false }),
            (0x0c, _) => Self::Transfer(Kind::Read { deleted: true }),
            (0x05, 0b000 | 0b010 | 0b100 | 0b110) => Self::Transfer(Kind::Write { deleted: false }),
            (0x09, 0b000 | 0b010 | 0b100 | 0b110) => Self::Transfer(Kind::Write { deleted: true }),
            (0x02, 0b000 | 0b010) => Self::Transfer(Kind::ReadTrack),
            (0x16, _) => Self::Transfer(Kind::Verify),
            (0x11, _) => Self::Transfer(Kind::Scan(Condition::Equal)),
            (0x19, _) => Self::Transfer(Kind::Scan(Condition::LowOrEqual)),
            (0x1d, _) => Self::Transfer(Kind::Scan(Condition::HighOrEqual)),
            (0x0d, 0b000 | 0b010) => Self::Format,
            (0x0a, 0b000 | 0b010) => Self::ReadId,
            (0x07, 0) => Self::Recalibrate,
            (0x08, 0) => Self::SenseInterrupt,
            (0x03, 0) => Self::Specify,
            (0x04, 0) => Self::SenseDrive,
            (0x0f, 0) => Self::Seek,
            (0x0f, 0b100 | 0b110) => Self::RelativeSeek,
            (0x13, 0) => Self::Configure,
            (0x0e, 0) => Self::DumpReg,
            (0x10, 0) => Self::Version,
            (0x12, 0) => Self::Perpendicular,
            (0x14, 0b000 | 0b100) => Self::Lock,
            _ => Self::Invalid,
        }
    }

    /// Bytes of the command, with the first one.
    pub fn len(self) -> usize {
        match self {
            Self::Transfer(_) => 9,
            Self::Format => 6,
            Self::Configure => 4,
            Self::Specify | Self::Seek | Self::RelativeSeek => 3,
            Self::ReadId | Self::Recalibrate | Self::SenseDrive | Self::Perpendicular => 2,
            Self::SenseInterrupt | Self::DumpReg | Self::Version | Self::Lock | Self::Invalid => 1,
        }
    }
}

/// The drive and the head that a second command byte names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// 0 to 3.
    pub unit: usize,
    /// 0 or 1.
    pub head: u8,
}

impl Target {
    /// Refuses a drive or a head that no command can name.
    pub fn check(self) -> Result<(), BadState> {
        must(
            self.unit < UNITS && self.head < 2,
            "a head that no floppy drive has",
        )
    }

    fn new(byte: u8) -> Self {
        Self {
            unit: usize::from(byte & 3),
            head: byte >> 2 & 1,
        }
    }

    /// Head and drive as bits 2-0 of ST0 and ST3.
    pub fn bits(self) -> u8 {
        self.head << 2 | self.unit as u8
    }
}

/// The ID field of a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorId {
    /// Cylinder.
    pub c: u8,
    /// Head.
    pub h: u8,
    /// Sector number.
    pub r: u8,
    /// Size code.
    pub n: u8,
}

impl SectorId {
    /// The ID in four bytes, in the order of the medium.
    pub fn from_bytes([c, h, r, n]: [u8; 4]) -> Self {
        Self { c, h, r, n }
    }
}

/// The parameters of a [`Kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferCommand {
    /// What to do.
    pub kind: Kind,
    /// Go on with the other side.
    pub multi_track: bool,
    /// Double density.
    pub mfm: bool,
    /// Skip sectors with the other data address mark.
    pub skip: bool,
    /// VERIFY only: the last byte counts sectors.
    pub enable_count: bool,
    /// Drive and head.
    pub target: Target,
    /// First sector.
    pub id: SectorId,
    /// Number of the last sector of a track.
    pub eot: u8,
    /// DTL, SC or STP.
    pub last: u8,
}

/// The parameters of FORMAT TRACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormatCommand {
    /// Double density.
    pub mfm: bool,
    /// Drive and head.
    pub target: Target,
    /// Size code.
    pub n: u8,
    /// Sectors a track.
    pub sectors: u8,
    /// What to fill them with.
    pub filler: u8,
}

/// A whole command, named as in the data sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Transfer(TransferCommand),
    Format(FormatCommand),
    ReadId { mfm: bool, target: Target },
    Recalibrate { unit: usize },
    SenseInterrupt,
    Specify([u8; 2]),
    SenseDrive(Target),
    Seek { unit: usize, cylinder: u8 },
    RelativeSeek { unit: usize, inwards: bool, steps: u8 },
    Configure { options: u8, pretrk: u8 },
    DumpReg,
    Version,
    Perpendicular(u8),
    Lock(bool),
    Invalid,
}

impl Command {
    /// The command in `bytes`. Those after the command's length are not looked at.
    pub fn parse(bytes: &[u8; LONGEST]) -> Self {
        let [first, second, third, ..] = *bytes;
        let target = Target::new(second);
        let unit = target.unit;
        let mfm = first & 0x40 != 0;
        match Opcode::decode(first) {
            Opcode::Transfer(kind) => {
                let [_, _, c, h, r, n, eot, _gap, last] = *bytes;
                Self::Transfer(TransferCommand {
                    kind,
                    multi_track: first & 0x80 != 0,
                    mfm,
                    skip: first & 0x20 != 0,
                    enable_count: kind == Kind::Verify && second & 0x80 != 0,
                    target,
                    id: SectorId { c, h, r, n },
                    eot,
                    last,
                })
            }
            Opcode::Format => {
                let [_, _, n, sectors, _gap, filler, ..] = *bytes;
                Self::Format(FormatCommand {
                    mfm,
                    target,
                    n,
                    sectors,
                    filler,
                })
            }
            Opcode::ReadId => Self::ReadId { mfm, target },
            Opcode::Recalibrate => Self::Recalibrate { unit },
            Opcode::SenseInterrupt => Self::SenseInterrupt,
            Opcode::Specify => Self::Specify([second, third]),
            Opcode::SenseDrive => Self::SenseDrive(target),
            Opcode::Seek => Self::Seek {
                unit,
                cylinder: third,
            },
            Opcode::RelativeSeek => Self::RelativeSeek {
                unit,
                inwards: first & 0x40 != 0,
                steps: third,
            },
            Opcode::Configure => Self::Configure {
                options: third,
                pretrk: bytes[3],
            },
            Opcode::DumpReg => Self::DumpReg,
            Opcode::Version => Self::Version,
            Opcode::Perpendicular => Self::Perpendicular(second),
            Opcode::Lock => Self::Lock(first & 0x80 != 0),
            Opcode::Invalid => Self::Invalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_that_are_zero_in_the_data_sheet_have_to_be_zero() {
        let valid = (0..=255).filter(|byte| Opcode::decode(*byte) != Opcode::Invalid);
        // Six with MT, MFM and SK; two writes with MT and MFM; three with MFM; RELATIVE SEEK and LOCK twice; nine others.
        assert_eq!(valid.count(), 6 * 8 + 2 * 4 + 3 * 2 + 2 + 2 + 9);
        for byte in [
            0x00, 0x01, 0x0b, 0x17, 0x18, 0x1f, 0x25, 0x48, 0x4f, 0x2e, 0x82, 0xff,
        ] {
            assert_eq!(Opcode::decode(byte), Opcode::Invalid, "{byte:#x}");
        }
    }

    #[test]
    fn a_read_command_is_taken_apart() {
        let bytes = [0xe6, 0x05, 10, 1, 3, 2, 18, 0x1b, 0xff];
        let Command::Transfer(command) = Command::parse(&bytes) else {
            unreachable!()
        };
        assert_eq!(command.kind, Kind::Read { deleted: false });
        assert!(command.multi_track && command.mfm && command.skip && !command.enable_count);
        assert_eq!(command.target, Target { unit: 1, head: 1 });
        assert_eq!(
            command.id,
            SectorId {
                c: 10,
                h: 1,
                r: 3,
                n: 2
            }
        );
        assert_eq!((command.eot, command.last), (18, 0xff));
    }
}
