// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the file systems on a disk do not use.
//!
//! A disk image keeps what was deleted long ago. To give its space back one must know that nothing needs it, and a mistake destroys data:
//! so a file system says what is free, and must prove that it can be believed. It must have been closed cleanly and have no feature that
//! is not known here, and what it says twice (copies of tables, checksums, counts, and who uses which block) must agree. Otherwise it is
//! left alone, and so are partitions of other kinds and all that is outside of partitions.
//!
//! | part | what it knows |
//! | --- | --- |
//! | `table` | partitions, in the styles MBR and GPT |
//! | `fat`, `ntfs`, `ext` | one kind of file system each |
//! | `bits` | a bit for each cluster or block |

use bits::Bits;
use std::borrow::Cow;
use std::ops::Range;

mod bits;
mod ext;
mod fat;
mod ntfs;
mod table;

/// A part of a disk that a file system could be in.
#[derive(Debug)]
pub struct Volume {
    /// What to call it: `partition 2`, say.
    pub name: String,
    /// Where it is, in bytes of the disk.
    pub range: Range<u64>,
    /// What is in it.
    pub content: Content,
}

/// What a [`Volume`] holds.
#[derive(Debug)]
pub enum Content {
    /// A file system that can be believed.
    Known {
        /// Its kind.
        system: &'static str,
        /// What it does not use, in bytes of the disk, in order.
        unused: Vec<Range<u64>>,
    },
    /// Something else, or a file system that cannot be believed.
    LeftAlone {
        /// Why; goes on after the name.
        why: String,
    },
}

/// Looks at all volumes of a disk. When `watch` is cancelled the answer is of no use.
///
/// # Errors
/// Those of reading the disk; what is wrong with its content is in the answer.
pub fn survey(disk: &vhd::Disk, watch: &vhd::Watch) -> vhd::Result<Vec<Volume>> {
    let whole = Space {
        disk,
        watch,
        start: 0,
        len: disk.len(),
    };
    let parts = match table::read(&whole) {
        Ok(parts) => parts,
        Err(Trouble::Disk(error)) => return Err(error),
        Err(Trouble::Left(why)) => return Ok(vec![whole.left("the disk", why)]),
    };
    let Some(parts) = parts else {
        return Ok(vec![whole.survey("the disk")?]);
    };
    parts
        .into_iter()
        .map(|part| {
            let name = format!("partition {}", part.number);
            let space = Space {
                start: part.range.start,
                len: part.range.end - part.range.start,
                ..whole
            };
            match part.other {
                Some(what) => Ok(space.left(&name, format!("is {what}").into())),
                None => space.survey(&name),
            }
        })
        .collect()
}

/// Why a file system cannot be looked through.
#[derive(Debug)]
enum Trouble {
    /// It is to be left alone, because of this.
    Left(Cow<'static, str>),
    /// The disk cannot be read.
    Disk(vhd::Error),
}

impl From<&'static str> for Trouble {
    fn from(why: &'static str) -> Self {
        Self::Left(why.into())
    }
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Left(why.into())
    }
}

const BEYOND: &str = "is damaged: it points beyond its end";

/// A part of a disk, addressed from its start.
#[derive(Clone, Copy)]
struct Space<'a> {
    disk: &'a vhd::Disk,
    watch: &'a vhd::Watch,
    start: u64,
    len: u64,
}

impl Space<'_> {
    /// Reads bytes, of which the caller knows that they are not too many.
    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, Trouble> {
        let mut bytes = vec![0; len];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn read_into(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Trouble> {
        if self.watch.is_cancelled() {
            return Err("was not looked through to its end".into());
        }
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(BEYOND.into());
        }
        self.disk
            .read_at(self.start + offset, bytes)
            .map_err(Trouble::Disk)
    }

    fn survey(&self, name: &str) -> vhd::Result<Volume> {
        let found = self.identify().and_then(|system| {
            let unused = match system {
                System::Fat => fat::unused(self)?,
                System::Ntfs => ntfs::unused(self)?,
                System::Ext => ext::unused(self)?,
            };
            Ok((system, unused))
        });
        match found {
            Ok((system, unused)) => Ok(Volume {
                name: name.to_owned(),
                range: self.range(),
                content: Content::Known {
                    system: system.name(),
                    unused: self.on_disk(unused),
                },
            }),
            Err(Trouble::Left(why)) => Ok(self.left(name, why)),
            Err(Trouble::Disk(error)) => Err(error),
        }
    }

    fn range(&self) -> Range<u64> {
        self.start..self.start + self.len
    }

    fn left(&self, name: &str, why: Cow<'_, str>) -> Volume {
        Volume {
            name: name.to_owned(),
            range: self.range(),
            content: Content::LeftAlone {
                why: why.into_owned(),
            },
        }
    }

    /// Ranges of the disk from ranges of this, in which no more than this can be.
    fn on_disk(&self, ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
        let moved = ranges.into_iter().map(|range| {
            let (start, end) = (range.start.min(self.len), range.end.min(self.len));
            self.start + start..self.start + end
        });
        moved.filter(|range| !range.is_empty()).collect()
    }

    /// Finds out what file system is here: there must be the marks of one, and of nothing else.
    fn identify(&self) -> Result<System, Trouble> {
        let start = self.read(0, self.len.min(MARKS_END) as usize)?;
        let mut systems = Vec::new();
        if ntfs::recognised(&start) {
            systems.push(System::Ntfs);
        }
        if fat::recognised(&start) {
            systems.push(System::Fat);
        }
        if ext::recognised(&start) {
            systems.push(System::Ext);
        }
        let mut names: Vec<&str> = systems.iter().map(|system| system.name()).collect();
        let bears = |&&(at, mark, _): &&(usize, &[u8], &str)| {
            start.get(at..).is_some_and(|from| from.starts_with(mark))
        };
        names.extend(MARKS.iter().filter(bears).map(|&(_, _, name)| name));
        names.dedup();
        if self.is_raid_member()? {
            names.push("a RAID");
        }
        match (systems.as_slice(), names.as_slice()) {
            (&[system], [_]) => Ok(system),
            (_, []) => Err("has no file system that is known".into()),
            (_, [name]) => Err(format!("holds {name}").into()),
            (_, names) => Err(format!("bears the marks of {}", names.join(" and of ")).into()),
        }
    }

    /// Linux' RAID keeps its superblock at the end in two of its four versions, where a file system's own marks are whole.
    fn is_raid_member(&self) -> Result<bool, Trouble> {
        let version_0 = (self.len & !0xffff).checked_sub(0x1_0000);
        let version_1 = self.len.checked_sub(0x2000).map(|at| at & !0xfff);
        for at in [version_0, version_1].into_iter().flatten() {
            if self.read(at, RAID.len())? == RAID {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

const RAID: &[u8] = &[0xfc, 0x4e, 0x2b, 0xa9];

/// Where the last of the marks ends.
const MARKS_END: u64 = 0x1_1000;

/// What else may be in a partition, by the bytes that tell.
const MARKS: [(usize, &[u8], &str); 21] = [
    (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
    (3, b"-FVE-FS-", "an encrypted volume (BitLocker)"),
    (
        // BitLocker To Go poses as a FAT file system.
        424,
        b"\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01",
        "an encrypted volume (BitLocker)",
    ),
    (0, b"LABELONE", "a physical volume of LVM"),
    (512, b"LABELONE", "a physical volume of LVM"),
    (1024, b"LABELONE", "a physical volume of LVM"),
    (1536, b"LABELONE", "a physical volume of LVM"),
    (0, RAID, "a RAID"),
    (4096, RAID, "a RAID"),
    (3, b"EXFAT   ", "exFAT"),
    (3, b"ReFS", "ReFS"),
    (0, b"XFSB", "XFS"),
    (1024, b"\x10\x20\xf5\xf2", "F2FS"),
    (1024, b"H+", "HFS+"),
    (4086, b"SWAP-SPACE", "swap space"),
    (4086, b"SWAPSPACE2", "swap space"),
    (0x8000, b"JFS1", "JFS"),
    (0x8001, b"CD001", "ISO 9660"),
    (0x1_0034, b"ReIsEr", "ReiserFS"),
    (0x1_0040, b"_BHRfS_M", "Btrfs"),
    (
        4120,
        b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81",
        "bcache",
    ),
];

#[derive(Debug, Clone, Copy)]
enum System {
    Fat,
    Ntfs,
    Ext,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            Self::Fat => "FAT",
            Self::Ntfs => "NTFS",
            Self::Ext => "ext2/3/4",
        }
    }
}

/// Little-endian fields of a structure; what is beyond its end reads as zero.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        let from = self.0.get(at..).unwrap_or_default();
        for (to, from) in bytes.iter_mut().zip(from) {
            *to = *from;
        }
        bytes
    }

    fn u8(&self, at: usize) -> u8 {
        u8::from_le_bytes(self.array(at))
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    /// Two halves of a number, the low one first.
    fn split(&self, low: usize, high: usize) -> u64 {
        u64::from(self.u32(low)) | u64::from(self.u32(high)) << 32
    }
}

/// Ranges of bytes from the clear bits: `unit` bytes each, the first one `from` bytes into the space.
fn clear_ranges(bits: &Bits, from: u64, unit: u64) -> Vec<Range<u64>> {
    let runs = bits.clear_runs();
    runs.map(|run| from + run.start * unit..from + run.end * unit)
        .collect()
}
