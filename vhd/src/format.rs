// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The structures of the Virtual Hard Disk Image Format Specification 1.0, byte for byte.
//!
//! All numbers are big-endian. Where practice differs from the text of the specification, the field says so.

use zerocopy::byteorder::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::geometry::Geometry;

pub(crate) mod bitmap;
pub(crate) mod locator;
pub mod spec;
pub(crate) mod time;

/// The hard disk footer: the last sector of every VHD, and a copy of it in the first one of a sparse VHD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Footer {
    /// [`spec::FOOTER_COOKIE`].
    pub cookie: [u8; 8],
    /// [`spec::FEATURE_TEMPORARY`] and [`spec::FEATURE_RESERVED`], which is always set.
    pub features: U32,
    /// [`spec::VERSION`].
    pub version: U32,
    /// File offset of the [`Header`]; [`spec::NONE`] in a fixed disk.
    pub data_offset: U64,
    /// Creation time, in seconds since 2000-01-01 00:00 UTC.
    pub time_stamp: U32,
    /// Which program made the image.
    pub creator_application: [u8; 4],
    /// The version of that program.
    pub creator_version: U32,
    /// Which system it ran on.
    pub creator_host_os: [u8; 4],
    /// The disk's size when it was made.
    pub original_size: U64,
    /// The disk's size now.
    pub current_size: U64,
    /// The geometry that the guest sees.
    pub geometry: DiskGeometry,
    /// One of the `DISK_TYPE` constants of [`spec`].
    pub disk_type: U32,
    /// See [`Footer::sum`].
    pub checksum: U32,
    /// The disk's identity, by which a child knows its parent.
    pub unique_id: [u8; 16],
    /// One while a machine with this disk is in a saved state.
    pub saved_state: u8,
    /// Zero.
    pub reserved: [u8; 427],
}

/// The geometry as the footer holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DiskGeometry {
    /// Cylinders.
    pub cylinders: U16,
    /// Heads.
    pub heads: u8,
    /// Sectors per track.
    pub sectors: u8,
}

impl From<Geometry> for DiskGeometry {
    fn from(geometry: Geometry) -> Self {
        Self {
            cylinders: geometry.cylinders.into(),
            heads: geometry.heads,
            sectors: geometry.sectors,
        }
    }
}

impl From<DiskGeometry> for Geometry {
    fn from(stored: DiskGeometry) -> Self {
        Self {
            cylinders: stored.cylinders.get(),
            heads: stored.heads,
            sectors: stored.sectors,
        }
    }
}

/// The dynamic disk header of dynamic and differencing disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`spec::HEADER_COOKIE`].
    pub cookie: [u8; 8],
    /// [`spec::NONE`]: 64 one-bits in practice, 32 in the specification's text. Never used.
    pub data_offset: U64,
    /// File offset of the block allocation table.
    pub table_offset: U64,
    /// [`spec::VERSION`].
    pub header_version: U32,
    /// Entries of the table: at least the number of blocks. It does not define the disk's size.
    pub max_table_entries: U32,
    /// Bytes of data in a block, without its sector bitmap.
    pub block_size: U32,
    /// See [`Header::sum`].
    pub checksum: U32,
    /// The unique ID of the parent of a differencing disk.
    pub parent_unique_id: [u8; 16],
    /// The modification time of the parent's file, in seconds since 2000-01-01 00:00 UTC.
    pub parent_time_stamp: U32,
    /// Zero.
    pub reserved_1: U32,
    /// The parent's file name, in UTF-16 big-endian.
    pub parent_unicode_name: [U16; 256],
    /// Where the parent is.
    pub parent_locators: [LocatorEntry; spec::LOCATORS],
    /// Zero.
    pub reserved_2: [u8; 256],
}

/// One of the places where a differencing disk says its parent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LocatorEntry {
    /// One of the `LOCATOR` constants of [`spec`], or zero for an unused entry.
    pub platform_code: [u8; 4],
    /// Space set aside for the data: in sectors by the specification, in bytes as Microsoft writes it.
    pub data_space: U32,
    /// Length of the data in bytes.
    pub data_length: U32,
    /// Zero.
    pub reserved: U32,
    /// File offset of the data.
    pub data_offset: U64,
}

impl Footer {
    /// The checksum that belongs to the present content: the one's complement of the sum of all bytes, with the
    /// checksum field taken as zero.
    #[must_use]
    pub fn sum(&self) -> u32 {
        complement_of_sum(self.as_bytes(), self.checksum.as_bytes())
    }

    /// Makes the checksum right after a change.
    pub fn seal(&mut self) {
        self.checksum = self.sum().into();
    }

    /// Whether the cookie says that this is a footer at all.
    #[must_use]
    pub fn has_cookie(&self) -> bool {
        self.cookie == spec::FOOTER_COOKIE
    }
}

impl Header {
    /// The checksum that belongs to the present content, as for [`Footer::sum`].
    #[must_use]
    pub fn sum(&self) -> u32 {
        complement_of_sum(self.as_bytes(), self.checksum.as_bytes())
    }

    /// Makes the checksum right after a change.
    pub fn seal(&mut self) {
        self.checksum = self.sum().into();
    }

    /// The parent's file name, without the zeros behind it.
    #[must_use]
    pub fn parent_name(&self) -> String {
        let units = self
            .parent_unicode_name
            .iter()
            .map(|unit| unit.get())
            .take_while(|&unit| unit != 0);
        char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    }
}

/// The sum counts the checksum field as zero, so its bytes are taken out again.
fn complement_of_sum(bytes: &[u8], checksum: &[u8]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    !(sum(bytes) - sum(checksum))
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn structures_have_their_sizes() {
        assert_eq!(size_of::<Footer>(), 512);
        assert_eq!(size_of::<Header>(), 1024);
        assert_eq!(size_of::<LocatorEntry>(), 24);
        assert_eq!(std::mem::offset_of!(Footer, checksum), 64);
        assert_eq!(std::mem::offset_of!(Footer, saved_state), 84);
        assert_eq!(std::mem::offset_of!(Header, checksum), 36);
        assert_eq!(std::mem::offset_of!(Header, parent_unicode_name), 64);
        assert_eq!(std::mem::offset_of!(Header, parent_locators), 576);
    }

    #[test]
    fn checksum_ignores_its_own_field() {
        let mut footer = Footer::new_zeroed();
        assert_eq!(footer.sum(), u32::MAX);
        footer.cookie = spec::FOOTER_COOKIE;
        footer.seal();
        let sum: u32 = b"conectix".iter().map(|&byte| u32::from(byte)).sum();
        assert_eq!(footer.checksum.get(), !sum);
        assert_eq!(footer.sum(), footer.checksum.get());
    }
}
