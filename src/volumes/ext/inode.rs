// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which blocks the inodes have, for file systems whose bitmaps have no checksums.

use super::group::Groups;
use super::{INCONSISTENT, Super, feature};
use crate::volumes::{Bits, Fields, Space, Trouble};

/// Inodes from this one on are files; those before it are the file system's own, and may have no links.
const FIRST_FILE: u64 = 11;
/// Extents are in a tree, and not in lists of blocks.
const EXTENTS_FLAG: u32 = 0x8_0000;
/// The content is in the inode.
const INLINE_FLAG: u32 = 0x1000_0000;
/// Bytes of inodes that are read at a time.
const PIECE: usize = 1 << 20;

/// Sets the bits of all blocks that an inode has.
pub(super) fn mark(
    space: &Space<'_>,
    volume: &Super,
    groups: &Groups,
    used: &mut Bits,
) -> Result<(), Trouble> {
    let mut walk = Walk {
        space,
        volume,
        used,
        seen: Bits::new(volume.blocks).ok_or(INCONSISTENT)?,
    };
    let mut number = 1;
    for group in &groups.list {
        let written = volume.inodes_per_group.saturating_sub(group.unused_inodes);
        let end = number + volume.inodes_per_group;
        let len = written as usize * volume.inode_size;
        let start = group.inode_table.checked_mul(volume.block).ok_or(INCONSISTENT)?;
        for at in (0..len).step_by(PIECE) {
            let bytes = space.read(start.saturating_add(at as u64), PIECE.min(len - at))?;
            for inode in bytes.chunks_exact(volume.inode_size) {
                walk.inode(number, inode)?;
                number += 1;
            }
        }
        number = end;
    }
    Ok(())
}

struct Walk<'a> {
    space: &'a Space<'a>,
    volume: &'a Super,
    used: &'a mut Bits,
    /// Blocks of pointers that were read: one that comes a second time is damage, and could make this endless.
    seen: Bits,
}

impl Walk<'_> {
    fn inode(&mut self, number: u64, bytes: &[u8]) -> Result<(), Trouble> {
        let fields = Fields(bytes);
        let (mode, links, flags) = (fields.u16(0), fields.u16(26), fields.u32(32));
        if links == 0 && number >= FIRST_FILE {
            return Ok(());
        }
        let high = u64::from(fields.u16(118)) << 32;
        let attributes = u64::from(fields.u32(104)) | high;
        let sectors = fields.u32(28);
        if attributes != 0 {
            self.take(attributes, 1)?;
        }
        // The kinds that have content: folders, files, and links that are too long for the inode. The inode of bad blocks has no kind.
        let has_content = match mode >> 12 {
            0x4 | 0x8 => true,
            0xa => {
                sectors
                    > if attributes == 0 {
                        0
                    } else {
                        (self.volume.block / 512) as u32
                    }
            }
            0 => number < FIRST_FILE,
            _ => false,
        };
        if !has_content || flags & INLINE_FLAG != 0 {
            return Ok(());
        }
        let content = bytes.get(40..100).unwrap_or_default();
        if flags & EXTENTS_FLAG != 0 && self.volume.incompatible & feature::EXTENTS != 0 {
            return self.extents(content, None);
        }
        let pointers = Fields(content);
        for index in 0..12 {
            self.pointer(pointers.u32(index * 4), 0)?;
        }
        (1..4).try_for_each(|level| self.pointer(pointers.u32((11 + level as usize) * 4), level))
    }

    /// A block that a file has, or one of pointers to such blocks, or to such again.
    fn pointer(&mut self, block: u32, level: u32) -> Result<(), Trouble> {
        if block == 0 {
            return Ok(());
        }
        let block = u64::from(block);
        self.take(block, 1)?;
        if level == 0 {
            return Ok(());
        }
        let bytes = self.pointers(block)?;
        for pointer in bytes.chunks_exact(4) {
            self.pointer(Fields(pointer).u32(0), level - 1)?;
        }
        Ok(())
    }

    /// A node of a tree of extents. All of its leaves are at the same depth.
    fn extents(&mut self, node: &[u8], depth: Option<u16>) -> Result<(), Trouble> {
        const DEEPEST: u16 = 5;
        let fields = Fields(node);
        let (magic, count, own) = (fields.u16(0), usize::from(fields.u16(2)), fields.u16(6));
        let expected = depth.is_none_or(|depth| depth == own);
        if magic != 0xf30a || (count + 1) * 12 > node.len() || own > DEEPEST || !expected {
            return Err(INCONSISTENT.into());
        }
        for entry in node.chunks_exact(12).skip(1).take(count) {
            let fields = Fields(entry);
            if own == 0 {
                // Lengths over 32768 are of extents that are reserved and not written yet.
                let len = match fields.u16(4) {
                    len @ ..=0x8000 => len,
                    len => len - 0x8000,
                };
                let start = u64::from(fields.u32(8)) | u64::from(fields.u16(6)) << 32;
                self.take(start, u64::from(len))?;
            } else {
                let block = u64::from(fields.u32(4)) | u64::from(fields.u16(8)) << 32;
                self.take(block, 1)?;
                let bytes = self.pointers(block)?;
                self.extents(&bytes, Some(own - 1))?;
            }
        }
        Ok(())
    }

    fn pointers(&mut self, block: u64) -> Result<Vec<u8>, Trouble> {
        if self.seen.set(block..block + 1) != Some(true) {
            return Err(INCONSISTENT.into());
        }
        self.space
            .read(block * self.volume.block, self.volume.block as usize)
    }

    fn take(&mut self, start: u64, count: u64) -> Result<(), Trouble> {
        let end = start.checked_add(count).ok_or(INCONSISTENT)?;
        self.used.set(start..end).map(|_| ()).ok_or(INCONSISTENT.into())
    }
}
