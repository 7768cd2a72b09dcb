// SPDX-License-Identifier: Apache-2.0 OR MIT
//! FAT12, FAT16 and FAT32.
//!
//! What is believed: both copies of the table when they are the same, the volume is not marked as dirty, and every chain that starts in a
//! folder is whole and nobody else's.
//!
//! Source: Microsoft, FAT: General Overview of On-Disk Format, version 1.03.

use super::{Bits, Fields, Space, Trouble, clear_ranges};
use std::ops::Range;

/// The largest table that is taken into memory: that of a 2 TiB volume in clusters of 32 KiB.
const MOST_TABLE: u64 = 256 << 20;
const ENTRY: usize = 32;

/// Whether this is the boot sector of such a file system, as far as one can tell from it.
pub fn recognised(sector: &[u8]) -> bool {
    let fields = Fields(sector);
    let jump = matches!(fields.array(0), [0xeb, _, 0x90] | [0xe9, _, _]);
    jump && fields.u16(510) == 0xaa55
        && matches!(fields.u16(11), 512 | 1024 | 2048 | 4096)
        && fields.u8(13).is_power_of_two()
        && fields.u16(14) != 0
        && matches!(fields.u8(16), 1 | 2)
        && (fields.u8(21) == 0xf0 || fields.u8(21) >= 0xf8)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// The numbers of the boot sector.
struct Layout {
    width: Width,
    table: u64,
    table_bytes: u64,
    root: Range<u64>,
    root_cluster: u32,
    data: u64,
    cluster: u64,
    clusters: u64,
    media: u8,
}

impl Layout {
    fn read(space: &Space<'_>, sector: &[u8]) -> Result<Self, Trouble> {
        let damaged = || Trouble::from("has a damaged FAT boot sector");
        let fields = Fields(sector);
        let bytes = u64::from(fields.u16(11));
        let is_32 = fields.u16(22) == 0;
        let reserved = u64::from(fields.u16(14));
        let root_entries = u64::from(fields.u16(17));
        let table = match is_32 {
            true => u64::from(fields.u32(36)),
            false => u64::from(fields.u16(22)),
        };
        let total = match fields.u16(19) {
            0 => u64::from(fields.u32(32)),
            total => u64::from(total),
        };
        if fields.u8(16) != 2 {
            return Err("has one file allocation table only, and nothing to compare it with".into());
        }
        let root = reserved + 2 * table;
        let data = root + (root_entries * ENTRY as u64).div_ceil(bytes);
        let per_cluster = u64::from(fields.u8(13));
        let clusters = total.checked_sub(data).ok_or_else(damaged)? / per_cluster;
        let width = match clusters {
            ..4085 => Width::Fat12,
            4085..65525 => Width::Fat16,
            _ => Width::Fat32,
        };
        let layout = Self {
            width,
            table: reserved * bytes,
            table_bytes: table * bytes,
            root: root * bytes..data * bytes,
            root_cluster: fields.u32(44),
            data: data * bytes,
            cluster: per_cluster * bytes,
            clusters,
            media: fields.u8(21),
        };
        let entries = match width {
            Width::Fat12 => layout.table_bytes * 2 / 3,
            Width::Fat16 => layout.table_bytes / 2,
            Width::Fat32 => layout.table_bytes / 4,
        };
        let sound = total * bytes <= space.len
            && is_32 == (width == Width::Fat32)
            && is_32 == (root_entries == 0)
            && clusters > 0
            && clusters < 1 << 28
            && entries >= clusters + 2
            && layout.table_bytes <= MOST_TABLE;
        if !sound {
            return Err(damaged());
        }
        if is_32 {
            Self::check_32(space, sector, reserved * bytes, bytes)?;
        }
        let dirty = if is_32 { fields.u8(65) } else { fields.u8(37) };
        if dirty & 3 != 0 {
            return Err(DIRTY.into());
        }
        Ok(layout)
    }

    /// FAT32 has a copy of its boot sector, and must use both tables alike.
    fn check_32(space: &Space<'_>, sector: &[u8], reserved: u64, bytes: u64) -> Result<(), Trouble> {
        let fields = Fields(sector);
        if fields.u16(40) & 0x80 != 0 || fields.u16(42) != 0 {
            return Err("has file allocation tables that are not copies of each other".into());
        }
        let copy = u64::from(fields.u16(50)) * bytes;
        if copy == 0 || copy >= reserved {
            return Ok(());
        }
        let copy = space.read(copy, 512)?;
        if copy.get(11..64) != sector.get(11..64) {
            return Err("has a boot sector that differs from its copy".into());
        }
        Ok(())
    }
}

const DIRTY: &str = "was not closed cleanly: start and shut down its system, or check it there";
const INCONSISTENT: &str = "has files that do not agree with its allocation table: check it in its system";

/// What no file uses, in bytes from the start.
pub fn unused(space: &Space<'_>) -> Result<Vec<Range<u64>>, Trouble> {
    let sector = space.read(0, 512)?;
    let layout = Layout::read(space, &sector)?;
    let table = space.read(layout.table, layout.table_bytes as usize)?;
    let mut copy = vec![0; 1 << 20];
    for (at, own) in (0..).step_by(copy.len()).zip(table.chunks(1 << 20)) {
        let other = copy.get_mut(..own.len()).unwrap_or_default();
        space.read_into(layout.table + layout.table_bytes + at, other)?;
        if own != other {
            return Err("has two file allocation tables that differ: check it in its system".into());
        }
    }
    let volume = Fat { space, layout, table };
    volume.check_marks()?;
    volume.check_folders()?;
    let mut taken = Bits::new(volume.layout.clusters).ok_or(INCONSISTENT)?;
    for cluster in 0..volume.layout.clusters {
        if volume.entry(cluster as u32 + 2) != 0 {
            taken.set(cluster..cluster + 1);
        }
    }
    Ok(clear_ranges(&taken, volume.layout.data, volume.layout.cluster))
}

struct Fat<'a> {
    space: &'a Space<'a>,
    layout: Layout,
    table: Vec<u8>,
}

/// Where a folder is.
#[derive(Clone, Copy)]
enum Folder {
    /// The root of FAT12 and FAT16, which is no chain.
    Root,
    /// In this chain.
    Chain(u32),
}

impl Fat<'_> {
    fn entry(&self, cluster: u32) -> u32 {
        let fields = Fields(&self.table);
        let index = cluster as usize;
        match self.layout.width {
            Width::Fat12 => {
                let pair = u32::from(fields.u16(index + index / 2));
                if index.is_multiple_of(2) {
                    pair & 0xfff
                } else {
                    pair >> 4
                }
            }
            Width::Fat16 => u32::from(fields.u16(index * 2)),
            Width::Fat32 => fields.u32(index * 4) & 0x0fff_ffff,
        }
    }

    /// The last eight values end a chain.
    fn is_end(&self, entry: u32) -> bool {
        let first = match self.layout.width {
            Width::Fat12 => 0xff8,
            Width::Fat16 => 0xfff8,
            Width::Fat32 => 0x0fff_fff8,
        };
        entry >= first
    }

    /// The first two entries: the medium's kind, and whether the volume was closed and had no errors.
    fn check_marks(&self) -> Result<(), Trouble> {
        if self.entry(0) & 0xff != u32::from(self.layout.media) {
            return Err("has a damaged file allocation table".into());
        }
        let clean = match self.layout.width {
            Width::Fat12 => 0,
            Width::Fat16 => 0xc000,
            Width::Fat32 => 0x0c00_0000,
        };
        if self.entry(1) & clean != clean {
            return Err(DIRTY.into());
        }
        Ok(())
    }

    fn offset(&self, cluster: u32) -> u64 {
        self.layout.data + u64::from(cluster.saturating_sub(2)) * self.layout.cluster
    }

    /// The clusters of a chain, which nobody else may have.
    fn chain(&self, first: u32, used: &mut Bits) -> Result<Vec<u32>, Trouble> {
        let mut clusters = Vec::new();
        let mut cluster = first;
        loop {
            let index = u64::from(cluster.checked_sub(2).ok_or(INCONSISTENT)?);
            // One that comes a second time ends this too: there is no endless chain.
            if used.set(index..index + 1) != Some(true) {
                return Err(INCONSISTENT.into());
            }
            clusters.push(cluster);
            cluster = self.entry(cluster);
            if self.is_end(cluster) {
                return Ok(clusters);
            }
        }
    }

    fn check_folders(&self) -> Result<(), Trouble> {
        let mut used = Bits::new(self.layout.clusters).ok_or(INCONSISTENT)?;
        let root = match self.layout.width {
            Width::Fat32 => Folder::Chain(self.layout.root_cluster),
            Width::Fat12 | Width::Fat16 => Folder::Root,
        };
        let mut folders = vec![(root, true)];
        while let Some((folder, is_root)) = folders.pop() {
            let parts: Vec<Range<u64>> = match folder {
                Folder::Root => vec![self.layout.root.clone()],
                Folder::Chain(first) => {
                    let clusters = self.chain(first, &mut used)?;
                    let place =
                        |cluster: u32| self.offset(cluster)..self.offset(cluster) + self.layout.cluster;
                    clusters.into_iter().map(place).collect()
                }
            };
            let mut dots = !is_root;
            'folder: for part in parts {
                let bytes = self.space.read(part.start, (part.end - part.start) as usize)?;
                for entry in bytes.chunks_exact(ENTRY) {
                    let fields = Fields(entry);
                    if std::mem::take(&mut dots) {
                        let Folder::Chain(own) = folder else { continue };
                        if !entry.starts_with(b".          ") || self.first_cluster(fields) != own {
                            return Err(INCONSISTENT.into());
                        }
                    }
                    match fields.u8(0) {
                        0 => break 'folder,
                        // Deleted, or the folder itself and the one above.
                        0xe5 | b'.' => continue,
                        _ => {}
                    }
                    match fields.u8(11) {
                        // A piece of a long name, or the volume's name.
                        attributes if attributes & 0x08 != 0 => {}
                        attributes if attributes & 0x10 != 0 => {
                            folders.push((Folder::Chain(self.first_cluster(fields)), false));
                        }
                        _ => self.check_file(entry, is_root, &mut used)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn first_cluster(&self, entry: Fields<'_>) -> u32 {
        let low = u32::from(entry.u16(26));
        match self.layout.width {
            Width::Fat32 => u32::from(entry.u16(20)) << 16 | low,
            Width::Fat12 | Width::Fat16 => low,
        }
    }

    fn check_file(&self, entry: &[u8], in_root: bool, used: &mut Bits) -> Result<(), Trouble> {
        let fields = Fields(entry);
        let (first, size) = (self.first_cluster(fields), u64::from(fields.u32(28)));
        if first == 0 && size == 0 {
            return Ok(());
        }
        let clusters = self.chain(first, used)?;
        if size > clusters.len() as u64 * self.layout.cluster {
            return Err(INCONSISTENT.into());
        }
        if in_root && entry.starts_with(b"HIBERFILSYS") {
            super::ntfs::check_hibernation(&self.space.read(self.offset(first), 512)?)?;
        }
        Ok(())
    }
}
