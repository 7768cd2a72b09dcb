// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ways in which an image can contradict itself.

use std::fmt;

/// A structure of the VHD format, to say which one is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Structure {
    /// The hard disk footer at the end of the file.
    Footer,
    /// The copy of the footer at the start of a dynamic or differencing image.
    FooterCopy,
    /// The dynamic disk header.
    Header,
    /// The block allocation table.
    Table,
    /// The data of a parent locator.
    Locator,
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Footer => "footer",
            Self::FooterCopy => "footer copy",
            Self::Header => "dynamic disk header",
            Self::Table => "block allocation table",
            Self::Locator => "parent locator",
        })
    }
}

/// One contradiction. The numbers are the image's own, in bytes unless they say sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The disk size is zero or not a whole number of sectors.
    Size(u64),
    /// The disk size is beyond what the format can address.
    SizeTooLarge(u64),
    /// The footer's geometry has a zero in it.
    Geometry,
    /// The file holds less data than the disk size says.
    DataMissing {
        /// Bytes that the disk needs.
        needed: u64,
        /// Bytes that the file has for it.
        found: u64,
    },
    /// A structure's offset is not on a sector border.
    Misaligned(Structure),
    /// A structure does not lie inside of the file.
    OutsideFile(Structure),
    /// Two structures share bytes of the file.
    Overlap(Structure, Structure),
    /// The block size is not a legal one.
    BlockSize(u32),
    /// The table has fewer entries than the disk has blocks.
    TableTooShort {
        /// Entries that the disk needs.
        needed: u64,
        /// Entries that the header names.
        found: u32,
    },
    /// The table has more entries than this library accepts.
    TableTooLong(u32),
    /// A block does not lie inside of the file.
    BlockOutsideFile {
        /// Index of the table entry.
        block: u32,
        /// The entry: a sector number.
        sector: u32,
    },
    /// A block shares bytes with a header, the table or a locator.
    BlockInMetadata {
        /// Index of the table entry.
        block: u32,
        /// The structure it runs into.
        structure: Structure,
    },
    /// Two blocks share bytes of the file.
    BlocksOverlap {
        /// Index of one table entry.
        first: u32,
        /// Index of the other.
        second: u32,
    },
    /// A parent locator's data is longer than any path.
    LocatorTooLong(u32),
    /// A differencing disk names its parent nowhere.
    NoParentName,
    /// A differencing disk names the null ID, or itself, as its parent.
    ParentId,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => write!(
                f,
                "its disk size of {size} bytes is not a whole number of sectors above zero"
            ),
            Self::SizeTooLarge(size) => {
                write!(f, "its disk size of {size} bytes is beyond the format's limit")
            }
            Self::Geometry => write!(f, "its geometry has a zero in it"),
            Self::DataMissing { needed, found } => {
                write!(
                    f,
                    "the disk has {needed} bytes, but the file holds only {found} of them"
                )
            }
            Self::Misaligned(structure) => write!(f, "the {structure} does not start on a sector border"),
            Self::OutsideFile(structure) => write!(f, "the {structure} does not lie inside of the file"),
            Self::Overlap(one, other) => write!(f, "the {one} and the {other} overlap"),
            Self::BlockSize(size) => write!(
                f,
                "its block size of {size} bytes is not a power of two above 511"
            ),
            Self::TableTooShort { needed, found } => {
                write!(
                    f,
                    "the block allocation table has {found} entries, but the disk needs {needed}"
                )
            }
            Self::TableTooLong(found) => write!(f, "the block allocation table claims {found} entries"),
            Self::BlockOutsideFile { block, sector } => {
                write!(
                    f,
                    "block {block} at sector {sector} does not lie inside of the file"
                )
            }
            Self::BlockInMetadata { block, structure } => write!(f, "block {block} overlaps the {structure}"),
            Self::BlocksOverlap { first, second } => write!(f, "blocks {first} and {second} overlap"),
            Self::LocatorTooLong(length) => write!(f, "a parent locator claims {length} bytes"),
            Self::NoParentName => write!(f, "it is a differencing disk that names no parent"),
            Self::ParentId => write!(f, "it is a differencing disk with no possible parent ID"),
        }
    }
}
