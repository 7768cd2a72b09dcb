// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Groups of blocks: their descriptors and their bitmaps.

use super::{INCONSISTENT, Super, crc_32c, feature};
use crate::volumes::{Bits, Fields, Space, Trouble};
use std::ops::Range;

/// Whether a group's bitmap is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is.
    Bitmap,
    /// No file has used a block of it yet, and nobody has written its bitmap.
    Unmade,
}

/// A descriptor.
pub(super) struct Group {
    block_bitmap: u64,
    inode_bitmap: u64,
    pub inode_table: u64,
    pub free: u64,
    pub kind: Kind,
    /// Inodes at the end of the table that nobody has used or written yet.
    pub unused_inodes: u64,
    checksum: u32,
}

/// All of them.
pub(super) struct Groups {
    pub list: Vec<Group>,
}

const BITMAP_UNMADE: u16 = 2;
const INODES_UNMADE: u16 = 1;
const CHECKSUM: usize = 30;

impl Groups {
    pub fn read(space: &Space<'_>, volume: &Super) -> Result<Self, Trouble> {
        let table = (volume.first + 1) * volume.block;
        let bytes = space.read(table, volume.groups as usize * volume.descriptor)?;
        let descriptors = bytes.chunks_exact(volume.descriptor);
        let list = (0..)
            .zip(descriptors)
            .map(|(index, bytes)| Group::new(volume, index, bytes));
        Ok(Self {
            list: list.collect::<Result<_, _>>()?,
        })
    }
}

impl Group {
    fn new(volume: &Super, index: u32, bytes: &[u8]) -> Result<Self, Trouble> {
        let fields = Fields(bytes);
        let stored = fields.u16(CHECKSUM);
        let has_sum = volume.read_only & (feature::METADATA_CSUM | feature::GDT_CSUM) != 0;
        if has_sum && stored != checksum(volume, index, bytes) {
            return Err("has a damaged group descriptor: run e2fsck in its system".into());
        }
        let flags = if has_sum { fields.u16(18) } else { 0 };
        let half = |low, high| u64::from(fields.u16(low)) | u64::from(fields.u16(high)) << 16;
        Ok(Self {
            // The high halves are beyond the end of a short descriptor, and read as zero.
            block_bitmap: fields.split(0, 32),
            inode_bitmap: fields.split(4, 36),
            inode_table: fields.split(8, 40),
            free: half(12, 44),
            kind: if flags & BITMAP_UNMADE != 0 {
                Kind::Unmade
            } else {
                Kind::Bitmap
            },
            unused_inodes: match flags & INODES_UNMADE {
                _ if !has_sum => 0,
                0 => half(28, 50),
                _ => volume.inodes_per_group,
            },
            checksum: half(24, 56) as u32,
        })
    }

    /// The blocks of its structures, wherever they are, and of the copies of the superblock and the table of groups in it.
    pub fn structures(&self, volume: &Super, index: u64) -> Vec<Range<u64>> {
        let one = |block: u64| block..block.saturating_add(1);
        let inodes = volume.inodes_per_group * volume.inode_size as u64;
        let end = self.inode_table.saturating_add(inodes.div_ceil(volume.block));
        let mut ranges = vec![
            one(self.block_bitmap),
            one(self.inode_bitmap),
            self.inode_table..end,
        ];
        if volume.has_super(index) {
            let blocks = volume.group(index);
            let table = (volume.groups * volume.descriptor as u64).div_ceil(volume.block);
            let end = blocks.start + 1 + table + volume.reserved_table;
            ranges.push(blocks.start..end.min(blocks.end));
        }
        ranges
    }

    /// Its bitmap, for as many blocks as it has.
    pub fn bitmap(&self, space: &Space<'_>, volume: &Super, blocks: u64) -> Result<Bits, Trouble> {
        let offset = self.block_bitmap.checked_mul(volume.block).ok_or(INCONSISTENT)?;
        let bytes = space.read(offset, volume.per_group as usize / 8)?;
        if volume.has_checksums() {
            let sum = crc_32c(volume.seed, &[&bytes]);
            let kept = if volume.descriptor >= 64 { !0 } else { 0xffff };
            if sum & kept != self.checksum & kept {
                return Err("has a damaged bitmap of blocks: run e2fsck in its system".into());
            }
        }
        Bits::from_bytes(&bytes, blocks).ok_or(INCONSISTENT.into())
    }
}

/// The checksum of a descriptor, with its own field left out.
fn checksum(volume: &Super, index: u32, bytes: &[u8]) -> u16 {
    let (before, rest) = bytes.split_at(CHECKSUM.min(bytes.len()));
    let after = rest.get(2..).unwrap_or_default();
    let index = index.to_le_bytes();
    if volume.has_checksums() {
        return crc_32c(volume.seed, &[&index, before, &[0, 0], after]) as u16;
    }
    const CRC_16: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_MODBUS);
    let mut digest = CRC_16.digest();
    [&volume.uuid, index.as_slice(), before, after]
        .iter()
        .for_each(|part| digest.update(part));
    digest.finalize()
}
