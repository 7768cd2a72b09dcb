// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Partitions, in the styles MBR and GPT.
//!
//! Source: UEFI Specification 2.10, chapter 5; for extended partitions what MS-DOS's FDISK makes.

use super::{BEYOND, Fields, Space, Trouble, fat, ntfs};
use std::ops::Range;

const SECTOR: u64 = 512;
/// Logical drives that are followed.
const MOST_LOGICAL: u32 = 128;
/// Bytes of GPT entries; the usual 128 take 16 KiB.
const MOST_ENTRIES: u64 = 1 << 20;

/// A partition.
#[derive(Debug)]
pub struct Part {
    /// As Linux counts them.
    pub number: u32,
    /// In bytes.
    pub range: Range<u64>,
    /// What it is if its type says that it holds no file system of a known kind.
    pub other: Option<&'static str>,
}

/// The partitions; `None` if there is no table, so that the disk could be one volume.
pub fn read(disk: &Space<'_>) -> Result<Option<Vec<Part>>, Trouble> {
    let sector = disk.read(0, SECTOR as usize)?;
    if !sector.ends_with(&[0x55, 0xaa]) {
        return Ok(None);
    }
    let entries = entries(&sector);
    // Boot sectors of file systems end alike, and have code where the table would be.
    let is_boot_sector = fat::recognised(&sector) || ntfs::recognised(&sector);
    let empty = entries.iter().all(|entry| entry.kind == 0);
    let plausible = entries
        .iter()
        .all(|entry| entry.kind == 0 || (entry.status & 0x7f == 0 && entry.sectors != 0));
    match (is_boot_sector, empty, plausible) {
        (_, true, _) | (true, _, false) => return Ok(None),
        (true, false, true) => return Err("has a partition table and a file system in one sector".into()),
        (false, false, false) => return Err("has a damaged partition table".into()),
        (false, false, true) => {}
    }
    let parts = if entries.iter().any(|entry| entry.kind == 0xee) {
        gpt(disk)?
    } else {
        mbr(disk, &entries)?
    };
    check(disk, &parts)?;
    Ok(Some(parts))
}

/// Partitions lie inside of the disk and not in one another, or the table cannot be believed.
fn check(disk: &Space<'_>, parts: &[Part]) -> Result<(), Trouble> {
    let mut ranges: Vec<&Range<u64>> = parts.iter().map(|part| &part.range).collect();
    ranges.sort_by_key(|range| range.start);
    if ranges.iter().any(|range| range.end > disk.len) {
        return Err(BEYOND.into());
    }
    let overlap = |pair: &[&Range<u64>]| matches!(pair, [a, b] if a.end > b.start);
    if ranges.windows(2).any(overlap) {
        return Err("has partitions that overlap".into());
    }
    Ok(())
}

/// An entry of an MBR's table.
struct Entry {
    status: u8,
    kind: u8,
    first: u64,
    sectors: u64,
}

impl Entry {
    fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    fn part(&self, number: u32, base: u64) -> Part {
        let start = (base + self.first) * SECTOR;
        Part {
            number,
            range: start..start + self.sectors * SECTOR,
            other: self.other(),
        }
    }

    fn other(&self) -> Option<&'static str> {
        Some(match self.kind {
            // FAT, NTFS, their hidden twins, Windows' recovery, Linux, EFI.
            0x01 | 0x04 | 0x06 | 0x07 | 0x0b | 0x0c | 0x0e | 0x27 | 0x83 | 0xef => return None,
            0x11 | 0x14 | 0x16 | 0x17 | 0x1b | 0x1c | 0x1e => return None,
            0x42 => "a dynamic disk of Windows",
            0x82 => "swap space, or of Solaris",
            0x84 => "for hibernation",
            0x8e => "a physical volume of LVM",
            0xa5 | 0xa6 | 0xa9 => "of BSD",
            0xe8 => "an encrypted volume (LUKS)",
            0xfd => "a part of a RAID",
            _ => "of a type that is not known",
        })
    }
}

fn entries(sector: &[u8]) -> [Entry; 4] {
    let fields = Fields(sector);
    std::array::from_fn(|index| {
        let at = 446 + index * 16;
        Entry {
            status: fields.u8(at),
            kind: fields.u8(at + 4),
            first: u64::from(fields.u32(at + 8)),
            sectors: u64::from(fields.u32(at + 12)),
        }
    })
}

fn mbr(disk: &Space<'_>, entries: &[Entry; 4]) -> Result<Vec<Part>, Trouble> {
    let mut parts = Vec::new();
    for (number, entry) in (1..).zip(entries).filter(|(_, entry)| entry.kind != 0) {
        if entry.is_extended() {
            logical(disk, entry.first, &mut parts)?;
        } else {
            parts.push(entry.part(number, 0));
        }
    }
    Ok(parts)
}

/// The chain of sectors in an extended partition, each with a logical drive and the place of the next sector.
fn logical(disk: &Space<'_>, base: u64, parts: &mut Vec<Part>) -> Result<(), Trouble> {
    let mut at = base;
    for number in 5..5 + MOST_LOGICAL {
        let sector = disk.read(at * SECTOR, SECTOR as usize)?;
        if !sector.ends_with(&[0x55, 0xaa]) {
            return Err("has a damaged extended partition".into());
        }
        let [drive, next, ..] = entries(&sector);
        if drive.kind != 0 {
            parts.push(drive.part(number, at));
        }
        if !next.is_extended() {
            return Ok(());
        }
        at = base + next.first;
    }
    Err("has more logical drives than can be".into())
}

const TYPE_DATA: [&[u8; 16]; 11] = [
    // Windows' data and recovery.
    b"\xa2\xa0\xd0\xeb\xe5\xb9\x33\x44\x87\xc0\x68\xb6\xb7\x26\x99\xc7",
    b"\xa4\xbb\x94\xde\xd1\x06\x40\x4d\xa1\x6a\xbf\xd5\x01\x79\xd6\xac",
    // EFI.
    b"\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b",
    // Linux: data, root of x86-64, root of x86, /usr, /home, /srv, /var, /boot.
    b"\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4",
    b"\xe3\xbc\x68\x4f\xcd\xe8\xb1\x4d\x96\xe7\xfb\xca\xf9\x84\xb7\x09",
    b"\x40\x95\x47\x44\x97\xf2\xb2\x41\x9a\xf7\xd1\x31\xd5\xf0\x45\x8a",
    b"\x0c\x68\x84\x84\x21\x95\xc6\x48\x9c\x11\xb0\x72\x06\x56\xf6\x9e",
    b"\xe1\xc7\x3a\x93\xb4\x2e\x13\x4f\xb8\x44\x0e\x14\xe2\xae\xf9\x15",
    b"\x25\x84\x8f\x3b\xe0\x20\x3b\x4f\x90\x7f\x1a\x25\xa7\x6f\x98\xe8",
    b"\x16\xb0\x21\x4d\x34\xb5\x45\xc2\xa9\xfb\x5c\x16\xe0\x91\xfd\x2d",
    b"\xff\xc2\x13\xbc\xe6\x59\x62\x42\xa3\x52\xb2\x75\xfd\x6f\x71\x72",
];

const OTHER_TYPES: [(&[u8; 16], &str); 6] = [
    (
        b"\x16\xe3\xc9\xe3\x5c\x0b\xb8\x4d\x81\x7d\xf9\x2d\xf0\x02\x15\xae",
        "reserved by Windows",
    ),
    (
        b"\x79\xd3\xd6\xe6\x07\xf5\xc2\x44\xa2\x3c\x23\x8f\x2a\x3d\xf9\x28",
        "a physical volume of LVM",
    ),
    (
        b"\xcb\x7c\x7d\xca\xed\x63\x53\x4c\x86\x1c\x17\x42\x53\x60\x59\xcc",
        "an encrypted volume (LUKS)",
    ),
    (
        b"\x0f\x88\x9d\xa1\xfc\x05\x3b\x4d\xa0\x06\x74\x3f\x0f\x84\x91\x1e",
        "a part of a RAID",
    ),
    (
        b"\x6d\xfd\x57\x06\xab\xa4\xc4\x43\x84\xe5\x09\x33\xc8\x4b\x4f\x4f",
        "swap space",
    ),
    (
        b"\x48\x61\x68\x21\x49\x64\x6f\x6e\x74\x4e\x65\x65\x64\x45\x46\x49",
        "GRUB's",
    ),
];

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

fn gpt(disk: &Space<'_>) -> Result<Vec<Part>, Trouble> {
    let damaged = || Trouble::from("has a damaged GUID partition table");
    let mut header = disk.read(SECTOR, SECTOR as usize)?;
    let fields = Fields(&header);
    let (size, sum) = (fields.u32(12) as usize, fields.u32(16));
    let (table, count, entry) = (fields.u64(72), fields.u32(80), fields.u32(84));
    let (table_sum, own) = (fields.u32(88), fields.u64(24));
    if !header.starts_with(b"EFI PART") || !(92..=512).contains(&size) || own != 1 {
        return Err(damaged());
    }
    if let Some(field) = header.get_mut(16..20) {
        field.fill(0);
    }
    let bytes = u64::from(count) * u64::from(entry);
    if CRC.checksum(header.get(..size).unwrap_or_default()) != sum
        || !(128..=4096).contains(&entry)
        || bytes > MOST_ENTRIES
    {
        return Err(damaged());
    }
    let table = disk.read(table.checked_mul(SECTOR).ok_or_else(damaged)?, bytes as usize)?;
    if CRC.checksum(&table) != table_sum {
        return Err(damaged());
    }
    let mut parts = Vec::new();
    for (number, entry) in (1..).zip(table.chunks_exact(entry as usize)) {
        let fields = Fields(entry);
        let kind: [u8; 16] = fields.array(0);
        if kind == [0; 16] {
            continue;
        }
        let start = fields.u64(32).checked_mul(SECTOR);
        let end = fields
            .u64(40)
            .checked_add(1)
            .and_then(|end| end.checked_mul(SECTOR));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(damaged());
        };
        if start >= end {
            return Err(damaged());
        }
        let known = OTHER_TYPES.iter().find(|(known, _)| **known == kind);
        let other = match known {
            Some((_, what)) => Some(*what),
            None if TYPE_DATA.contains(&&kind) => None,
            None => Some("of a type that is not known"),
        };
        parts.push(Part {
            number,
            range: start..end,
            other,
        });
    }
    Ok(parts)
}
