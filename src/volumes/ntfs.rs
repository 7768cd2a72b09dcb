// SPDX-License-Identifier: Apache-2.0 OR MIT
//! NTFS.
//!
//! The bitmap of clusters has no copy and no checksum. So it is believed only if it agrees with all files: every record of the master file
//! table is looked through, and each cluster that one has must be its own and marked as used. The volume must be clean (its flags, and its
//! log), not hibernated, and without restore points, whose content is in clusters that the file system counts as free.
//!
//! Source: the on-disk structures as ntfs-3g's layout.h and the Linux-NTFS documentation describe them; for restore points J. Metz, Volume
//! Shadow Snapshot (VSS) format.

use super::{BEYOND, Bits, Fields, Space, Trouble, clear_ranges};
use std::ops::Range;

const DAMAGED: &str = "has a damaged NTFS boot sector";
const RECORD_DAMAGED: &str = "has a damaged record in its master file table: run chkdsk in its system";
const INCONSISTENT: &str =
    "has files that do not agree with its bitmap of clusters: run chkdsk in its system";
const DIRTY: &str = "was not closed cleanly: start and shut down its system, or run chkdsk there";
const HIBERNATED: &str =
    "belongs to a system that is hibernated: start it and shut it down (`shutdown /s /f /t 0`)";

/// Records with fixed numbers.
mod number {
    pub const MFT: u64 = 0;
    pub const LOG: u64 = 2;
    pub const VOLUME: u64 = 3;
    pub const ROOT: u64 = 5;
    pub const BITMAP: u64 = 6;
}

/// Types of attributes.
mod attribute {
    pub const LIST: u32 = 0x20;
    pub const FILE_NAME: u32 = 0x30;
    pub const VOLUME_INFORMATION: u32 = 0x70;
    pub const DATA: u32 = 0x80;
    pub const END: u32 = 0xffff_ffff;
}

/// Volume flags that call for work when it is mounted: dirty, resize the log, upgrade, delete the journal, repair IDs, chkdsk is at it,
/// chkdsk changed it.
const BUSY: u16 = 0xc037;
/// Bytes of the table that are read at a time.
const PIECE: u64 = 1 << 20;

/// Whether this is the boot sector of such a file system.
pub fn recognised(sector: &[u8]) -> bool {
    sector.get(3..11) == Some(b"NTFS    ")
}

/// The numbers of the boot sector.
struct Layout {
    cluster: u64,
    clusters: u64,
    record: usize,
    mft: u64,
}

impl Layout {
    fn read(space: &Space<'_>) -> Result<Self, Trouble> {
        let sector = space.read(0, 512)?;
        let fields = Fields(&sector);
        let bytes = u64::from(fields.u16(11));
        let per_cluster = match fields.u8(13) {
            count @ 1..=128 if count.is_power_of_two() => u64::from(count),
            // Large clusters: the negative binary logarithm.
            log @ 0xf4..=0xff => 1 << (256 - u32::from(log)),
            _ => return Err(DAMAGED.into()),
        };
        let total = fields.u64(40);
        let cluster = bytes * per_cluster;
        if !matches!(bytes, 512 | 1024 | 2048 | 4096) || cluster > 2 << 20 {
            return Err(DAMAGED.into());
        }
        let record = match fields.u8(64) as i8 {
            count @ 1.. => cluster * count.unsigned_abs() as u64,
            log @ -16..=-9 => 1 << log.unsigned_abs(),
            _ => return Err(DAMAGED.into()),
        };
        // A copy of the boot sector stands behind the last sector that the file system counts.
        let copy = total.checked_mul(bytes).ok_or(DAMAGED)?;
        if space.read(copy, 512)?.get(3..84) != sector.get(3..84) {
            return Err("has a boot sector that differs from its copy: run chkdsk in its system".into());
        }
        if !matches!(record, 512 | 1024 | 2048 | 4096) {
            return Err(DAMAGED.into());
        }
        Ok(Self {
            cluster,
            clusters: total / per_cluster,
            record: record as usize,
            mft: fields.u64(48),
        })
    }
}

/// What no file uses, in bytes from the start.
pub fn unused(space: &Space<'_>) -> Result<Vec<Range<u64>>, Trouble> {
    let layout = Layout::read(space)?;
    check_restore_points(space)?;
    let offset = layout.mft.checked_mul(layout.cluster).ok_or(BEYOND)?;
    let mut first = space.read(offset, layout.record)?;
    let table = Record::new(&mut first).and_then(|record| record.table(&layout))?;
    let used = Bits::new(layout.clusters).ok_or("has more clusters than can be looked through")?;
    let mut walk = Walk {
        space,
        layout: &layout,
        used,
        bitmap: None,
        log: None,
        flags: None,
        hibernation: None,
    };
    walk.table(&table)?;
    let (Some(bitmap), Some(log), Some(flags)) = (&walk.bitmap, &walk.log, walk.flags) else {
        return Err("has a bitmap or a log in too many pieces, or none".into());
    };
    if flags & BUSY != 0 {
        return Err(DIRTY.into());
    }
    check_log(space, &layout, log)?;
    if let Some(file) = &walk.hibernation {
        check_hibernation(&file.start(space, &layout)?)?;
    }
    let bytes = bitmap.all(space, &layout, layout.clusters.div_ceil(8))?;
    let taken = Bits::from_bytes(&bytes, layout.clusters).ok_or(INCONSISTENT)?;
    if !walk.used.is_within(&taken) {
        return Err(INCONSISTENT.into());
    }
    Ok(clear_ranges(&taken, 0, layout.cluster))
}

/// Refuses a hibernation file that a system would wake up from. Once it has, the file begins with `wake` or with zeros.
pub fn check_hibernation(start: &[u8]) -> Result<(), Trouble> {
    let woken = start
        .get(..4)
        .is_some_and(|mark| mark.eq_ignore_ascii_case(b"wake"));
    if woken || start.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    Err(HIBERNATED.into())
}

/// Restore points need clusters that are free by now, as they were.
fn check_restore_points(space: &Space<'_>) -> Result<(), Trouble> {
    const HEADER: u64 = 0x1e00;
    const MARK: &[u8] = b"\x6b\x87\x08\x38\x76\xc1\x48\x4e\xb7\xae\x04\x04\x6e\x6c\xc7\x52";
    let header = space.read(HEADER, 128)?;
    if header.starts_with(MARK) && Fields(&header).u64(48) != 0 {
        return Err("has restore points, which need deleted data: delete them in its system (`vssadmin delete shadows`)".into());
    }
    Ok(())
}

/// A record of the table, after its fix-ups: the last two bytes of each sector, which tell a torn write.
struct Record<'a>(&'a [u8]);

impl<'a> Record<'a> {
    fn new(bytes: &'a mut [u8]) -> Result<Self, Trouble> {
        if !bytes.starts_with(b"FILE") {
            return Err(RECORD_DAMAGED.into());
        }
        fix_up(bytes)?;
        Ok(Self(bytes))
    }

    fn in_use(&self) -> bool {
        Fields(self.0).u16(22) & 1 != 0
    }

    /// Whether it goes on with what another record has no place for.
    fn is_extension(&self) -> bool {
        Fields(self.0).u64(32) != 0
    }

    fn attributes(&self) -> impl Iterator<Item = Result<Attribute<'a>, Trouble>> + 'a {
        let bytes = self.0;
        let end = (Fields(bytes).u32(24) as usize).min(bytes.len());
        let mut at = usize::from(Fields(bytes).u16(20));
        let mut over = false;
        std::iter::from_fn(move || {
            if over {
                return None;
            }
            let rest = bytes.get(at..end).unwrap_or_default();
            let kind = Fields(rest).u32(0);
            if rest.len() >= 4 && kind == attribute::END {
                return None;
            }
            let len = Fields(rest).u32(4) as usize;
            match rest.get(..len) {
                Some(own) if len >= 24 => {
                    at += len;
                    Some(Ok(Attribute { kind, bytes: own }))
                }
                _ => {
                    over = true;
                    Some(Err(RECORD_DAMAGED.into()))
                }
            }
        })
    }

    /// Where the table itself is.
    fn table(&self, layout: &Layout) -> Result<Runs, Trouble> {
        let mut table = None;
        for attribute in self.attributes() {
            let attribute = attribute?;
            match attribute.kind {
                attribute::LIST => return Err("has a master file table in too many pieces".into()),
                attribute::DATA if attribute.is_unnamed() => table = Some(attribute.runs(layout)?),
                _ => {}
            }
        }
        table.filter(|table| table.is_whole).ok_or(RECORD_DAMAGED.into())
    }
}

fn fix_up(bytes: &mut [u8]) -> Result<(), Trouble> {
    let fields = Fields(bytes);
    let (offset, count) = (usize::from(fields.u16(4)), usize::from(fields.u16(6)));
    let sectors = bytes.len() / 512;
    if count != sectors + 1 || offset % 2 != 0 || offset + count * 2 > 512 - 2 {
        return Err(RECORD_DAMAGED.into());
    }
    let number: [u8; 2] = fields.array(offset);
    for sector in 0..sectors {
        let saved: [u8; 2] = Fields(bytes).array(offset + 2 + sector * 2);
        let end = (sector + 1) * 512;
        match bytes.get_mut(end - 2..end) {
            Some(place) if place == number.as_slice() => place.copy_from_slice(&saved),
            _ => return Err(RECORD_DAMAGED.into()),
        }
    }
    Ok(())
}

struct Attribute<'a> {
    kind: u32,
    bytes: &'a [u8],
}

impl<'a> Attribute<'a> {
    fn is_resident(&self) -> bool {
        Fields(self.bytes).u8(8) == 0
    }

    fn is_unnamed(&self) -> bool {
        Fields(self.bytes).u8(9) == 0
    }

    /// The value of a resident attribute.
    fn value(&self) -> &'a [u8] {
        let fields = Fields(self.bytes);
        let (len, at) = (fields.u32(16) as usize, usize::from(fields.u16(20)));
        self.bytes.get(at..at.saturating_add(len)).unwrap_or_default()
    }

    /// Where the value of another one is.
    fn runs(&self, layout: &Layout) -> Result<Runs, Trouble> {
        let fields = Fields(self.bytes);
        if self.is_resident() {
            return Err(RECORD_DAMAGED.into());
        }
        let (first, last) = (fields.u64(16), fields.u64(24));
        let list = self.bytes.get(usize::from(fields.u16(32))..).unwrap_or_default();
        let runs = decode(list, layout.clusters)?;
        let count: u64 = runs.iter().map(|run| run.clusters).sum();
        if last.wrapping_add(1).checked_sub(first) != Some(count) {
            return Err(RECORD_DAMAGED.into());
        }
        // Sizes stand in the first of the records that share an attribute.
        let (allocated, size, initialized) = (fields.u64(40), fields.u64(48), fields.u64(56));
        let is_whole = first == 0 && allocated == count.saturating_mul(layout.cluster) && size <= allocated;
        Ok(Runs {
            runs,
            is_whole,
            bytes: size.min(initialized),
        })
    }
}

/// Clusters in a row.
struct Run {
    /// The first one, where it is not a hole.
    start: Option<u64>,
    clusters: u64,
}

/// Where the bytes of an attribute are.
struct Runs {
    runs: Vec<Run>,
    /// All of it is here, and not in several records.
    is_whole: bool,
    /// How many have been written.
    bytes: u64,
}

/// Pairs of a length and a signed distance from the run before, each in as many bytes as a nibble says.
fn decode(list: &[u8], clusters: u64) -> Result<Vec<Run>, Trouble> {
    let mut runs = Vec::new();
    let mut rest = list;
    let (mut last, mut total) = (0i64, 0u64);
    while let Some((&head, more)) = rest.split_first() {
        if head == 0 {
            return Ok(runs);
        }
        let (len, distance) = (usize::from(head & 15), usize::from(head >> 4));
        let numbers = more.split_at_checked(len).and_then(|(len, more)| {
            let (distance, more) = more.split_at_checked(distance)?;
            Some((number(len)?, number(distance)?, more))
        });
        let (count, moved, more) = numbers.ok_or(RECORD_DAMAGED)?;
        rest = more;
        let count = u64::try_from(count).ok().filter(|&count| count != 0);
        let count = count.ok_or(RECORD_DAMAGED)?;
        // A hole may be larger than the volume, but no file is larger than this.
        total = total
            .checked_add(count)
            .filter(|total| *total < 1 << 48)
            .ok_or(RECORD_DAMAGED)?;
        let start = if distance == 0 {
            None
        } else {
            last = last.checked_add(moved).ok_or(RECORD_DAMAGED)?;
            let start = u64::try_from(last).ok();
            let inside = start.filter(|start| start.checked_add(count).is_some_and(|end| end <= clusters));
            Some(inside.ok_or(INCONSISTENT)?)
        };
        runs.push(Run {
            start,
            clusters: count,
        });
    }
    Err(RECORD_DAMAGED.into())
}

/// A little-endian number with a sign, of up to eight bytes.
fn number(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.last().is_some_and(|&byte| byte & 0x80 != 0);
    let mut padded = if negative { [0xff; 8] } else { [0; 8] };
    padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(padded))
}

impl Runs {
    /// All of the bytes, of which there must be so many.
    fn all(&self, space: &Space<'_>, layout: &Layout, needed: u64) -> Result<Vec<u8>, Trouble> {
        if !self.is_whole || self.bytes < needed {
            return Err(INCONSISTENT.into());
        }
        let mut bytes = Vec::with_capacity(needed as usize);
        for run in &self.runs {
            let len = (run.clusters * layout.cluster).min(needed - bytes.len() as u64);
            let start = run.start.ok_or(INCONSISTENT)?;
            bytes.extend(space.read(start * layout.cluster, len as usize)?);
        }
        Ok(bytes)
    }

    /// The first bytes.
    fn start(&self, space: &Space<'_>, layout: &Layout) -> Result<Vec<u8>, Trouble> {
        match self.runs.first().and_then(|run| run.start) {
            Some(start) if self.is_whole => space.read(start * layout.cluster, 512),
            // A hole, which is zeros.
            _ => Ok(Vec::new()),
        }
    }
}

/// What is found in the table.
struct Walk<'a> {
    space: &'a Space<'a>,
    layout: &'a Layout,
    used: Bits,
    bitmap: Option<Runs>,
    log: Option<Runs>,
    flags: Option<u16>,
    hibernation: Option<Runs>,
}

impl Walk<'_> {
    fn table(&mut self, table: &Runs) -> Result<(), Trouble> {
        let record = self.layout.record;
        let mut left = table.bytes;
        let mut next = 0;
        // A record may begin in one run and end in the next.
        let mut pending = Vec::new();
        for run in &table.runs {
            let start = run.start.ok_or(RECORD_DAMAGED)? * self.layout.cluster;
            let len = (run.clusters * self.layout.cluster).min(left);
            left -= len;
            for at in (0..len).step_by(PIECE as usize) {
                let piece = PIECE.min(len - at) as usize;
                pending.extend(self.space.read(start + at, piece)?);
                let whole = pending.len() / record * record;
                for bytes in pending
                    .get_mut(..whole)
                    .unwrap_or_default()
                    .chunks_exact_mut(record)
                {
                    self.record(next, bytes)?;
                    next += 1;
                }
                pending.drain(..whole);
            }
        }
        Ok(())
    }

    fn record(&mut self, index: u64, bytes: &mut [u8]) -> Result<(), Trouble> {
        // One that was never used.
        if bytes.starts_with(&[0; 4]) && index >= 24 {
            return Ok(());
        }
        let record = Record::new(bytes)?;
        if !record.in_use() {
            return Ok(());
        }
        let base = !record.is_extension();
        let mut is_hibernation = false;
        let mut has_list = false;
        for attribute in record.attributes() {
            let attribute = attribute?;
            has_list |= attribute.kind == attribute::LIST;
            if attribute.is_resident() {
                match attribute.kind {
                    attribute::VOLUME_INFORMATION if index == number::VOLUME => {
                        self.flags = Some(Fields(attribute.value()).u16(10));
                    }
                    attribute::FILE_NAME => is_hibernation |= names_hibernation(attribute.value()),
                    _ => {}
                }
                continue;
            }
            let runs = attribute.runs(self.layout)?;
            for run in &runs.runs {
                let Some(start) = run.start else { continue };
                if self.used.set(start..start + run.clusters) != Some(true) {
                    return Err(INCONSISTENT.into());
                }
            }
            if attribute.kind == attribute::DATA && attribute.is_unnamed() && base {
                match index {
                    number::BITMAP => self.bitmap = Some(runs),
                    number::LOG => self.log = Some(runs),
                    _ if is_hibernation => self.hibernation = Some(runs),
                    _ => {}
                }
            }
        }
        if is_hibernation && has_list {
            // Where it begins stands elsewhere.
            return Err(HIBERNATED.into());
        }
        if index == number::MFT && has_list {
            return Err("has a master file table in too many pieces".into());
        }
        Ok(())
    }
}

/// Whether this is the name of the hibernation file, in the root. Names come before data in a record.
fn names_hibernation(value: &[u8]) -> bool {
    let fields = Fields(value);
    let parent = fields.u64(0) & 0xffff_ffff_ffff;
    let name = value
        .get(66..66 + usize::from(fields.u8(64)) * 2)
        .unwrap_or_default();
    let wide = b"hiberfil.sys".iter().flat_map(|&byte| [byte, 0]);
    let same = name.len() == 24 && name.iter().zip(wide).all(|(a, b)| a.eq_ignore_ascii_case(&b));
    parent == number::ROOT && same
}

/// The log says whether the volume was dismounted: when it has no client, or its flag says so. One full of ones was never used.
fn check_log(space: &Space<'_>, layout: &Layout, log: &Runs) -> Result<(), Trouble> {
    const CLEAN: u16 = 2;
    const NO_CLIENT: u16 = 0xffff;
    const PAGE: usize = 4096;
    let bytes = log.all(space, layout, 2 * PAGE as u64)?;
    if bytes.iter().all(|&byte| byte == 0xff) {
        return Ok(());
    }
    let mut newest: Option<(u64, bool)> = None;
    for page in bytes.chunks_exact(PAGE) {
        let mut page = page.to_vec();
        if !page.starts_with(b"RSTR") || fix_up(&mut page).is_err() {
            continue;
        }
        let fields = Fields(&page);
        if fields.u32(16) as usize != PAGE {
            return Err(DIRTY.into());
        }
        let area = Fields(page.get(usize::from(fields.u16(24))..).unwrap_or_default());
        let clean = area.u16(12) == NO_CLIENT || area.u16(14) & CLEAN != 0;
        if newest.is_none_or(|(sequence, _)| sequence < area.u64(0)) {
            newest = Some((area.u64(0), clean));
        }
    }
    match newest {
        Some((_, true)) => Ok(()),
        _ => Err(DIRTY.into()),
    }
}
