// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The constants of the VHD specification 1.0, and the limits that this library adds.

/// Bytes in a sector; every offset and size of the format counts in these.
pub const SECTOR: u64 = 512;

/// Starts every footer.
pub const FOOTER_COOKIE: [u8; 8] = *b"conectix";
/// Starts every dynamic disk header.
pub const HEADER_COOKIE: [u8; 8] = *b"cxsparse";
/// The version of footers and headers: 1.0.
pub const VERSION: u32 = 0x0001_0000;
/// "No next structure".
pub const NONE: u64 = u64::MAX;

/// The disk is temporary: a candidate for deletion when the machine stops.
pub const FEATURE_TEMPORARY: u32 = 1;
/// Always set.
pub const FEATURE_RESERVED: u32 = 2;

/// All of the disk lies at the start of the file.
pub const DISK_TYPE_FIXED: u32 = 2;
/// Blocks are allocated as they are written.
pub const DISK_TYPE_DYNAMIC: u32 = 3;
/// As dynamic, over the content of a parent.
pub const DISK_TYPE_DIFFERENCING: u32 = 4;

/// A table entry of a block that is not in the file.
pub const UNUSED: u32 = u32::MAX;

/// Entries for parent locators in a header.
pub const LOCATORS: usize = 8;
/// A relative Windows path in UTF-16 little-endian.
pub const LOCATOR_W2RU: [u8; 4] = *b"W2ru";
/// An absolute Windows path in UTF-16 little-endian.
pub const LOCATOR_W2KU: [u8; 4] = *b"W2ku";
/// A file URL in UTF-8.
pub const LOCATOR_MACX: [u8; 4] = *b"MacX";
/// A relative Windows path in 8-bit characters; obsolete.
pub const LOCATOR_WI2R: [u8; 4] = *b"Wi2r";
/// An absolute Windows path in 8-bit characters; obsolete.
pub const LOCATOR_WI2K: [u8; 4] = *b"Wi2k";

/// The tag of images made by this library. See [`CREATOR_VERSION`].
///
/// It is the one that Microsoft's later tools write: readers that know several tags take the disk's size from the
/// size field for it, and from the (smaller) geometry for tags they do not know.
pub const CREATOR_APPLICATION: [u8; 4] = *b"win ";
/// Tells images made by this library from others with the same tag.
pub const CREATOR_VERSION: u32 = 0x5650_0001;
/// The host system to name on Windows, and by convention elsewhere: the field knows Windows and Macintosh only.
pub const CREATOR_HOST_OS: [u8; 4] = *b"Wi2k";

/// The largest disk: 2040 GiB (2,088,960 MiB).
pub const MAX_SIZE: u64 = 2040 << 30;
/// The smallest disk that is made: 3 MiB. Smaller ones are opened.
pub const MIN_SIZE: u64 = 3 << 20;
/// The block size of Microsoft's tools, and the default.
pub const BLOCK_SIZE: u32 = 2 << 20;
/// The smallest block size that images are made with; one page, so that data can be aligned.
pub const MIN_NEW_BLOCK_SIZE: u32 = 4 << 10;
/// The largest block size that images are made with.
pub const MAX_NEW_BLOCK_SIZE: u32 = 256 << 20;
/// The most table entries that are accepted; enough for the largest disk in blocks of 128 KiB.
pub const MAX_TABLE_ENTRIES: u32 = 1 << 24;
/// The most differencing disks above their base.
pub const MAX_CHAIN: usize = 64;
/// The longest parent locator, in bytes.
pub const MAX_LOCATOR: u32 = 64 << 10;

/// What a program that has the image open may fill the end footer with (blktap does).
pub const IN_USE_FILL: u8 = 0xc7;
