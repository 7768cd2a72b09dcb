// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ext2, ext3 and ext4.
//!
//! A bitmap of blocks is believed if it has its checksum, or, where the file system has none, if each block that an inode or a structure
//! uses is marked in it; and in both cases if the counts of free blocks are right.
//!
//! Source: The Linux Kernel documentation, "ext4 Data Structures and Algorithms".

use super::{BEYOND, Bits, Fields, Space, Trouble, clear_ranges};
use group::{Groups, Kind};
use std::ops::Range;

mod group;
mod inode;

const SUPERBLOCK: u64 = 1024;
const DAMAGED: &str = "has a damaged superblock: run e2fsck in its system";
const INCONSISTENT: &str = "has structures that do not agree: run e2fsck in its system";
const DIRTY: &str = "was not closed cleanly: start and shut down its system, or run e2fsck there";

/// Features that change the format in a way that its reader must know (incompatible), or that its writer must (read-only).
mod feature {
    pub const RECOVER: u32 = 0x4;
    pub const EXTENTS: u32 = 0x40;
    pub const WIDE: u32 = 0x80;
    pub const CSUM_SEED: u32 = 0x2000;
    /// File types, extents, 64 bits, flexible groups, EA inodes, checksum seed, large directories, inline data, encryption, case.
    pub const KNOWN: u32 =
        0x2 | EXTENTS | WIDE | 0x200 | 0x400 | CSUM_SEED | 0x4000 | 0x8000 | 0x1_0000 | 0x2_0000;

    pub const SPARSE_SUPER: u32 = 0x1;
    pub const GDT_CSUM: u32 = 0x10;
    pub const METADATA_CSUM: u32 = 0x400;
    pub const ORPHAN_PRESENT: u32 = 0x1_0000;
    /// Sparse superblocks, large files, hashed folders, huge files, links, inode sizes, quota, read-only, project quota, verity.
    pub const KNOWN_RO: u32 = SPARSE_SUPER
        | 0x2
        | 0x4
        | 0x8
        | GDT_CSUM
        | 0x20
        | 0x40
        | 0x100
        | METADATA_CSUM
        | 0x1000
        | 0x2000
        | 0x8000;

    /// Compatible: two backups of the superblock, wherever it says.
    pub const SPARSE_SUPER_2: u32 = 0x200;
    /// Compatible: an old kind of snapshots.
    pub const EXCLUDE: u32 = 0x180;
}

/// Checksums here have no final inversion.
const CRC_32C: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::Algorithm {
    xorout: 0,
    ..crc::CRC_32_ISCSI
});

/// As `CRC_32C`, going on from a value.
fn crc_32c(seed: u32, parts: &[&[u8]]) -> u32 {
    // The algorithm reflects its start value.
    let mut digest = CRC_32C.digest_with_initial(seed.reverse_bits());
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

/// Whether these bytes, from the start of a volume, have such a superblock.
pub fn recognised(start: &[u8]) -> bool {
    Fields(start.get(SUPERBLOCK as usize..).unwrap_or_default()).u16(56) == 0xef53
}

/// What the superblock says.
struct Super {
    block: u64,
    blocks: u64,
    first: u64,
    per_group: u64,
    inodes_per_group: u64,
    inode_size: usize,
    groups: u64,
    descriptor: usize,
    reserved_table: u64,
    incompatible: u32,
    read_only: u32,
    compatible: u32,
    backups: [u64; 2],
    seed: u32,
    uuid: [u8; 16],
    free: u64,
}

impl Super {
    fn read(space: &Space<'_>) -> Result<Self, Trouble> {
        let bytes = space.read(SUPERBLOCK, 1024)?;
        let fields = Fields(&bytes);
        let (compatible, incompatible, read_only) = (fields.u32(92), fields.u32(96), fields.u32(100));
        let revision = fields.u32(76);
        let wide = incompatible & feature::WIDE != 0;
        if read_only & feature::METADATA_CSUM != 0 {
            let covered = bytes.get(..1020).unwrap_or_default();
            if crc_32c(!0, &[covered]) != fields.u32(1020) || read_only & feature::GDT_CSUM != 0 {
                return Err(DAMAGED.into());
            }
        }
        check_state(fields, compatible, incompatible, read_only)?;
        let log = fields.u32(24);
        let block = 1024u64
            .checked_shl(log)
            .filter(|block| *block <= 65536)
            .ok_or(DAMAGED)?;
        let high = |at| if wide { u64::from(fields.u32(at)) << 32 } else { 0 };
        let uuid: [u8; 16] = fields.array(104);
        let blocks = u64::from(fields.u32(4)) | high(336);
        let first = u64::from(fields.u32(20));
        let per_group = u64::from(fields.u32(32));
        let own = Self {
            block,
            blocks,
            first,
            per_group,
            inodes_per_group: u64::from(fields.u32(40)),
            inode_size: if revision == 0 {
                128
            } else {
                usize::from(fields.u16(88))
            },
            groups: blocks.saturating_sub(first).div_ceil(per_group.max(1)),
            descriptor: if wide { usize::from(fields.u16(254)) } else { 32 },
            reserved_table: u64::from(fields.u16(206)),
            incompatible,
            read_only,
            compatible,
            backups: [u64::from(fields.u32(588)), u64::from(fields.u32(592))],
            seed: match incompatible & feature::CSUM_SEED {
                0 => crc_32c(!0, &[&uuid]),
                _ => fields.u32(624),
            },
            uuid,
            free: u64::from(fields.u32(12)) | high(344),
        };
        let bits = block * 8;
        let inode_size = own.inode_size as u64;
        let sound = fields.u32(28) == log
            && first == u64::from(block == 1024)
            && blocks > first
            && blocks.checked_mul(block).is_some_and(|end| end <= space.len)
            && (256..=bits).contains(&per_group)
            && per_group.is_multiple_of(8)
            && (1..=bits).contains(&own.inodes_per_group)
            && inode_size.is_power_of_two()
            && (128..=block).contains(&inode_size)
            && matches!(own.descriptor, 32 | 64)
            && own.groups <= 1 << 20
            && u64::from(fields.u32(0)) == own.groups * own.inodes_per_group;
        if !sound {
            return Err(DAMAGED.into());
        }
        Ok(own)
    }

    fn has_checksums(&self) -> bool {
        self.read_only & feature::METADATA_CSUM != 0
    }

    /// The blocks of a group.
    fn group(&self, index: u64) -> Range<u64> {
        let start = self.first + index * self.per_group;
        start..(start + self.per_group).min(self.blocks)
    }

    /// Whether a group begins with a copy of the superblock and of the table of groups.
    fn has_super(&self, group: u64) -> bool {
        let power_of = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        if group == 0 {
            return true;
        }
        if self.compatible & feature::SPARSE_SUPER_2 != 0 {
            return self.backups.contains(&group);
        }
        self.read_only & feature::SPARSE_SUPER == 0 || group == 1 || [3, 5, 7].into_iter().any(power_of)
    }
}

fn check_state(
    fields: Fields<'_>,
    compatible: u32,
    incompatible: u32,
    read_only: u32,
) -> Result<(), Trouble> {
    const CLEAN: u16 = 1;
    let orphans = read_only & feature::ORPHAN_PRESENT != 0 || fields.u32(232) != 0;
    if fields.u16(58) != CLEAN || incompatible & feature::RECOVER != 0 || orphans {
        return Err(DIRTY.into());
    }
    let unknown = incompatible & !feature::KNOWN != 0
        || read_only & !feature::KNOWN_RO != 0
        || compatible & feature::EXCLUDE != 0
        || fields.u32(76) > 1;
    if unknown {
        return Err("has features of ext4 that are not known here".into());
    }
    Ok(())
}

/// What no file uses, in bytes from the start.
pub fn unused(space: &Space<'_>) -> Result<Vec<Range<u64>>, Trouble> {
    let volume = Super::read(space)?;
    let groups = Groups::read(space, &volume)?;
    // Everything that is no file's, of all groups: a group's structures may be in another one.
    let mut used = Bits::new(volume.blocks).ok_or("has more blocks than can be looked through")?;
    let mut take = |range: Range<u64>| used.set(range).map(|_| ()).ok_or(Trouble::from(BEYOND));
    take(0..volume.first)?;
    for (index, group) in (0..).zip(&groups.list) {
        group
            .structures(&volume, index)
            .into_iter()
            .try_for_each(&mut take)?;
    }
    let structures = used.clone();
    if !volume.has_checksums() {
        inode::mark(space, &volume, &groups, &mut used)?;
    }
    let mut taken = Bits::new(volume.blocks).ok_or(INCONSISTENT)?;
    take_range(&mut taken, 0..volume.first)?;
    for (index, group) in (0..).zip(&groups.list) {
        let blocks = volume.group(index);
        let own = match group.kind {
            Kind::Bitmap => group.bitmap(space, &volume, blocks.end - blocks.start)?,
            // It was never made: the group has structures at most.
            Kind::Unmade => part(&structures, &blocks)?,
        };
        if own.count_clear() != group.free {
            return Err("has a count of free blocks that is wrong: run e2fsck in its system".into());
        }
        let mut at = blocks.start;
        for clear in own.clear_runs() {
            take_range(&mut taken, at..blocks.start + clear.start)?;
            at = blocks.start + clear.end;
        }
        take_range(&mut taken, at..blocks.end)?;
    }
    if taken.count_clear() != volume.free {
        return Err("has a count of free blocks that is wrong: run e2fsck in its system".into());
    }
    if !used.is_within(&taken) {
        return Err(INCONSISTENT.into());
    }
    Ok(clear_ranges(&taken, 0, volume.block))
}

fn take_range(bits: &mut Bits, range: Range<u64>) -> Result<(), Trouble> {
    bits.set(range).map(|_| ()).ok_or(INCONSISTENT.into())
}

/// The bits of some blocks, from the first one on.
fn part(bits: &Bits, blocks: &Range<u64>) -> Result<Bits, Trouble> {
    let mut own = Bits::new(blocks.end - blocks.start).ok_or(INCONSISTENT)?;
    for block in blocks.clone().filter(|&block| bits.get(block)) {
        let at = block - blocks.start;
        take_range(&mut own, at..at + 1)?;
    }
    Ok(own)
}
