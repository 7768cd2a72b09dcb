// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Diskettes and drives: which formats there are, how an image shows which one it is, and what drive reads which.
//!
//! An image is taken by an exact table of lengths first; then by the BIOS parameter block in its first sector; and else as the
//! beginning of a diskette of the drive's own density. Length alone is no guide: 1,492,992 bytes are an 81-track 1.44M diskette, not
//! the beginning of a 2.88M one.

use super::spec::{DataRate, SECTOR};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::RangeInclusive;

/// The size of a diskette's jacket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormFactor {
    /// 5.25 inches.
    Inch5,
    /// 3.5 inches.
    Inch3,
}

/// What the coating is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Density {
    /// 360K, 720K.
    Double,
    /// 1.2M, 1.44M.
    High,
    /// 2.88M.
    ExtraHigh,
}

/// A kind of diskette drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum DriveType {
    /// 5.25", 40 tracks, double density.
    Inch5Double,
    /// 5.25", 80 tracks, 1.2M.
    Inch5High,
    /// 3.5", 720K.
    Inch3Double,
    /// 3.5", 1.44M.
    Inch3High,
    /// 3.5", 2.88M.
    Inch3ExtraHigh,
}

impl DriveType {
    /// The drive for a diskette if nobody chose one; a 1.44M drive if there is no diskette.
    ///
    /// A 40-track diskette gets a 40-track drive: in an 80-track drive it needs double steps, which firmware does not make.
    pub fn for_format(format: Option<Format>) -> Self {
        match format.map(|f| (f.form_factor, f.density)) {
            Some((FormFactor::Inch5, Density::Double)) => Self::Inch5Double,
            Some((FormFactor::Inch5, _)) => Self::Inch5High,
            Some((FormFactor::Inch3, Density::ExtraHigh)) => Self::Inch3ExtraHigh,
            Some((FormFactor::Inch3, _)) | None => Self::Inch3High,
        }
    }

    /// The code of the drive in a nibble of CMOS byte 10h. No drive is 0.
    pub fn cmos_code(self) -> u8 {
        match self {
            Self::Inch5Double => 1,
            Self::Inch5High => 2,
            Self::Inch3Double => 3,
            Self::Inch3High => 4,
            Self::Inch3ExtraHigh => 5,
        }
    }

    /// The diskettes that go in.
    pub fn form_factor(self) -> FormFactor {
        match self {
            Self::Inch5Double | Self::Inch5High => FormFactor::Inch5,
            Self::Inch3Double | Self::Inch3High | Self::Inch3ExtraHigh => FormFactor::Inch3,
        }
    }

    /// The highest density the drive reads.
    pub fn density(self) -> Density {
        match self {
            Self::Inch5Double | Self::Inch3Double => Density::Double,
            Self::Inch5High | Self::Inch3High => Density::High,
            Self::Inch3ExtraHigh => Density::ExtraHigh,
        }
    }

    /// The innermost cylinder that the heads reach.
    pub fn last_cylinder(self) -> u8 {
        match self {
            Self::Inch5Double => 41,
            _ => MAX_CYLINDERS + 1,
        }
    }

    /// Nanoseconds of one turn: 360 revolutions a minute in a 1.2M drive, 300 in all others.
    pub fn revolution(self) -> u64 {
        match self {
            Self::Inch5High => 166_666_667,
            _ => 200_000_000,
        }
    }
}

impl fmt::Display for DriveType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inch5Double => "5.25\" 360K drive",
            Self::Inch5High => "5.25\" 1.2M drive",
            Self::Inch3Double => "3.5\" 720K drive",
            Self::Inch3High => "3.5\" 1.44M drive",
            Self::Inch3ExtraHigh => "3.5\" 2.88M drive",
        })
    }
}

/// Why an image is no diskette.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// There is nothing in it.
    #[error("a diskette image cannot be empty")]
    Empty,
    /// More than the drive's largest format.
    #[error("{len} bytes are too many for a diskette (at most {most})")]
    TooLarge {
        /// Length of the image.
        len: u64,
        /// Length of the largest diskette that could be meant.
        most: u64,
    },
}

/// How a diskette is formatted. All sectors have 512 bytes and stand in MFM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    cylinders: u8,
    heads: u8,
    sectors: u8,
    form_factor: FormFactor,
    density: Density,
}

/// Formats of one kind: a row of the table.
struct Row {
    form_factor: FormFactor,
    density: Density,
    heads: u8,
    sectors: u8,
    cylinders: RangeInclusive<u8>,
}

const fn row(
    form_factor: FormFactor,
    density: Density,
    heads: u8,
    sectors: u8,
    cylinders: RangeInclusive<u8>,
) -> Row {
    Row {
        form_factor,
        density,
        heads,
        sectors,
        cylinders,
    }
}

/// Tracks that the most daring formatters use.
const MAX_CYLINDERS: u8 = 83;

/// Every format with a length of its own, the standard one of each density first.
static TABLE: &[Row] = {
    use Density::{Double, ExtraHigh, High};
    use FormFactor::{Inch3, Inch5};
    &[
        row(Inch5, Double, 2, 9, 40..=42),     // 360K
        row(Inch5, Double, 1, 8, 40..=40),     // 160K
        row(Inch5, Double, 1, 9, 40..=40),     // 180K
        row(Inch5, Double, 2, 8, 40..=42),     // 320K
        row(Inch5, Double, 2, 10, 40..=42),    // 400K
        row(Inch5, High, 2, 15, 80..=83),      // 1.2M
        row(Inch3, Double, 2, 9, 80..=83),     // 720K
        row(Inch3, Double, 2, 8, 80..=80),     // 640K
        row(Inch3, Double, 2, 10, 80..=83),    // 800K
        row(Inch3, High, 2, 18, 80..=83),      // 1.44M
        row(Inch3, High, 2, 20, 80..=83),      // 1.6M
        row(Inch3, High, 2, 21, 80..=83),      // 1.68M (DMF), 1.72M
        row(Inch3, High, 2, 22, 80..=83),      // 1.76M
        row(Inch3, High, 2, 23, 80..=83),      // 1.84M (XDF, as far as 512-byte sectors can show it)
        row(Inch3, High, 2, 24, 80..=83),      // 1.92M
        row(Inch3, ExtraHigh, 2, 36, 80..=83), // 2.88M
        row(Inch3, ExtraHigh, 2, 39, 80..=80), // 3.12M
    ]
};

impl Format {
    /// The common 1.44M diskette.
    pub const INCH3_1440K: Self = Self {
        cylinders: 80,
        heads: 2,
        sectors: 18,
        form_factor: FormFactor::Inch3,
        density: Density::High,
    };

    /// The format of an image of `len` bytes that begins with `first_sector` (which may be short or empty). `drive` matters only for
    /// an image that is no known diskette; without it, a 1.44M drive is assumed, or a 2.88M drive if the image is too long for that.
    pub fn detect(len: u64, first_sector: &[u8], drive: Option<DriveType>) -> Result<Self, FormatError> {
        if len == 0 {
            return Err(FormatError::Empty);
        }
        Self::by_length(len)
            .or_else(|| Self::by_parameter_block(len, first_sector))
            .map_or_else(|| Self::nearest(len, drive), Ok)
    }

    fn by_length(len: u64) -> Option<Self> {
        TABLE.iter().find_map(|row| {
            row.cylinders
                .clone()
                .map(|cylinders| Self::from_row(row, cylinders))
                .find(|format| format.capacity() == len)
        })
    }

    /// The format that a FAT boot sector tells of, if it is a sane one and holds the image.
    fn by_parameter_block(len: u64, sector: &[u8]) -> Option<Self> {
        let byte = |at: usize| sector.get(at).copied();
        let word = |at: usize| Some(u16::from_le_bytes([byte(at)?, byte(at + 1)?]));
        let bytes_per_sector = word(11)?;
        let (cluster, reserved, fats) = (byte(13)?, word(14)?, byte(16)?);
        let (total, media) = (u32::from(word(19)?), byte(21)?);
        let (sectors, heads) = (word(24)?, word(26)?);
        let sane = usize::from(bytes_per_sector) == SECTOR
            && cluster.is_power_of_two()
            && reserved > 0
            && (1..=2).contains(&fats)
            && total > 0
            && media >= 0xf0
            && (8..=40).contains(&sectors)
            && (1..=2).contains(&heads);
        if !sane {
            return None;
        }
        let in_image = u32::try_from(len.div_ceil(SECTOR as u64)).ok()?;
        let used = total.max(in_image).div_ceil(u32::from(sectors * heads));
        let density = match sectors {
            ..=11 => Density::Double,
            12..=24 => Density::High,
            _ => Density::ExtraHigh,
        };
        let (form_factor, cylinders) = match (density, used) {
            (Density::Double, ..=42) => (FormFactor::Inch5, used.max(40)),
            (Density::High, _) if sectors <= 15 => (FormFactor::Inch5, used.max(80)),
            _ => (FormFactor::Inch3, used.max(80)),
        };
        Some(Self {
            cylinders: u8::try_from(cylinders).ok().filter(|n| *n <= MAX_CYLINDERS)?,
            heads: heads as u8,
            sectors: sectors as u8,
            form_factor,
            density,
        })
    }

    /// The smallest format of the drive's own density that holds the image.
    fn nearest(len: u64, drive: Option<DriveType>) -> Result<Self, FormatError> {
        let candidates = match drive {
            Some(drive) => vec![drive],
            None => vec![DriveType::Inch3High, DriveType::Inch3ExtraHigh],
        };
        let mut most = 0;
        for drive in candidates {
            let formats = TABLE
                .iter()
                .filter(|row| row.form_factor == drive.form_factor() && row.density == drive.density())
                .flat_map(|row| row.cylinders.clone().map(|n| Self::from_row(row, n)));
            for format in formats {
                most = most.max(format.capacity());
                if format.capacity() >= len {
                    return Ok(format);
                }
            }
        }
        Err(FormatError::TooLarge { len, most })
    }

    fn from_row(row: &Row, cylinders: u8) -> Self {
        Self {
            cylinders,
            heads: row.heads,
            sectors: row.sectors,
            form_factor: row.form_factor,
            density: row.density,
        }
    }

    /// Tracks a side.
    pub fn cylinders(self) -> u8 {
        self.cylinders
    }

    /// Sides.
    pub fn heads(self) -> u8 {
        self.heads
    }

    /// Sectors a track, numbered from 1.
    pub fn sectors(self) -> u8 {
        self.sectors
    }

    /// The size of the jacket.
    pub fn form_factor(self) -> FormFactor {
        self.form_factor
    }

    /// Bytes on the diskette.
    pub fn capacity(self) -> u64 {
        u64::from(self.cylinders) * u64::from(self.heads) * u64::from(self.sectors) * SECTOR as u64
    }

    /// The diskette's jacket fits into the drive.
    pub fn fits(self, drive: DriveType) -> bool {
        self.form_factor == drive.form_factor()
    }

    /// The data rate at which `drive` reads the diskette; `None` if it cannot. (The rate follows from the recording density and the
    /// drive's speed: a 1.2M drive turns 360K diskettes too fast.)
    pub fn rate_in(self, drive: DriveType) -> Option<DataRate> {
        if !self.fits(drive) {
            return None;
        }
        match (self.density, drive) {
            (Density::Double, DriveType::Inch5High) => Some(DataRate::Kbps300),
            (Density::Double, _) => Some(DataRate::Kbps250),
            (Density::High, DriveType::Inch5High | DriveType::Inch3High | DriveType::Inch3ExtraHigh) => {
                Some(DataRate::Kbps500)
            }
            (Density::ExtraHigh, DriveType::Inch3ExtraHigh) => Some(DataRate::Mbps1),
            _ => None,
        }
    }

    /// How many steps of `drive` lie between two tracks of the diskette.
    pub fn steps_per_track(self, drive: DriveType) -> u8 {
        match (self.form_factor, self.density, drive) {
            (FormFactor::Inch5, Density::Double, DriveType::Inch5High) => 2,
            _ => 1,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inches = match self.form_factor {
            FormFactor::Inch5 => "5.25\"",
            FormFactor::Inch3 => "3.5\"",
        };
        write!(
            f,
            "{inches} {}K ({} tracks, {} heads, {} sectors)",
            self.capacity() / 1024,
            self.cylinders,
            self.heads,
            self.sectors
        )
    }
}

#[cfg(test)]
mod tests;
