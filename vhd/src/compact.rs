// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Giving back the space of what reads as zeros, or as the parent does, or is of no use to anyone.

use std::ops::Range;
use std::path::Path;

use crate::chain::extent::{Extent, Source};
use crate::convert;
use crate::disk::{Disk, OpenOptions};
use crate::draft::Draft;
use crate::error::Result;
use crate::image::Format;
use crate::rewrite::{over_parent, same_identity};
use crate::task::Watch;
use crate::transfer::{Scope, is_zero};

pub(crate) mod unused;

/// Bytes that are looked at in one step in an image that is made smaller in its place.
const STEP: u64 = 2 << 20;
/// The grain in which hosts give space back.
const PAGE: usize = 4096;

/// Makes an image as small as its content allows.
///
/// Dynamic and differencing images are written anew beside the old file, which is replaced when that is complete and
/// durable. In raw and fixed images holes are made where there are zeros, if the file system can do that.
///
/// # Errors
/// As [`Disk::open`] and [`Disk::write_at`]; [`crate::Kind::Cancelled`].
pub fn compact(path: impl AsRef<Path>, options: &OpenOptions, watch: &Watch) -> Result<()> {
    let nothing = |_: &Disk| Ok(Vec::new());
    compact_unused(path, options, Mode::Compact, nothing, watch).map(|_| ())
}

/// Whether a compaction is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    Compact,
    /// Only what it would give back is counted.
    Count,
}

/// As [`compact`], and leaves out what `unused` says that nobody needs: ranges of the disk in bytes. It may look at the
/// disk, to which nobody can write meanwhile.
///
/// The image must have no children ([`crate::merge::children`]): they would see other content.
///
/// A block is left out if it has nothing but that, and zeros: all that shares a block with what is needed stays as it
/// is. In raw and fixed images the blocks are pages of 4 KiB. What is left out reads as zeros then, or in a child as the
/// parent does.
///
/// [`Mode::Count`] gives the bytes of the image's own blocks that would be given back; in raw and fixed images those
/// that have data in them. Otherwise the number is zero.
///
/// # Errors
/// As [`compact`], and those of `unused`.
pub fn compact_unused(
    path: impl AsRef<Path>,
    options: &OpenOptions,
    mode: Mode,
    unused: impl FnOnce(&Disk) -> Result<Vec<Range<u64>>>,
    watch: &Watch,
) -> Result<u64> {
    let path = path.as_ref();
    let read_only = mode == Mode::Count;
    let mut disk = Disk::open(path, &options.clone().read_only(read_only))?;
    let ranges = unused::in_order(unused(&disk)?, disk.len());
    watch.check(&disk)?;
    let block_size = disk.layers().next().and_then(|layer| layer.block_size());
    let free = unused::blocks(&disk, &ranges, block_size.unwrap_or(PAGE as u64), watch)?;
    if mode == Mode::Count {
        return match block_size {
            Some(size) => count_blocks(&disk, &free, size, watch),
            None => count_pages(&disk, &free, watch),
        };
    }
    let format = disk.format();
    if matches!(format, Format::Raw | Format::Fixed) {
        punch_zeros(&disk, &free, watch)?;
        return disk.close().map(|()| 0);
    }
    disk.overlook(free);
    let draft = Draft::for_existing(path, &options.file_system)?;
    let parent = disk.layers().nth(1).map(|layer| layer.path().to_owned());
    match parent {
        Some(parent) => over_parent(&disk, &draft, &parent, options, Scope::Leaf, watch)?,
        None => {
            let identity = same_identity(&disk, options);
            convert::fill(&disk, &draft, path, format, disk.len(), &identity, watch)?;
        }
    }
    draft.replace().map(|()| 0)
}

/// Calls `each` for the parts of a disk, of a size each.
fn parts(
    disk: &Disk,
    size: u64,
    watch: &Watch,
    mut each: impl FnMut(Range<u64>) -> Result<bool>,
) -> Result<()> {
    watch.begin(disk.len());
    let mut at = 0;
    while at < disk.len() {
        watch.check(disk)?;
        let end = (at + size).min(disk.len());
        if !each(at..end)? {
            return Ok(());
        }
        watch.advance(end - at);
        at = end;
    }
    Ok(())
}

fn count_blocks(disk: &Disk, free: &[Range<u64>], size: u64, watch: &Watch) -> Result<u64> {
    let mut bytes = 0;
    let mut extents = Vec::new();
    parts(disk, size, watch, |block| {
        extents.clear();
        let guard = disk.resolve_read(block.clone(), &mut extents)?;
        drop(guard);
        let own = |extent: &Extent| matches!(extent.source, Source::File { layer: 0, .. });
        if extents.iter().any(own) && unused::rest_is_zero(disk, free, &block)? {
            bytes += size;
        }
        Ok(true)
    })?;
    Ok(bytes)
}

fn count_pages(disk: &Disk, free: &[Range<u64>], watch: &Watch) -> Result<u64> {
    let mut bytes = 0;
    let mut buffer = vec![0; STEP as usize];
    parts(disk, STEP, watch, |step| {
        for range in unused::within(free, &step) {
            let (start, end) = (range.start.max(step.start), range.end.min(step.end));
            let part = buffer.get_mut(..(end - start) as usize).unwrap_or_default();
            disk.read_at(start, part)?;
            let zeros: u64 = zero_pages(part).iter().map(|run| run.end - run.start).sum();
            bytes += end - start - zeros;
        }
        Ok(true)
    })?;
    Ok(bytes)
}

fn punch_zeros(disk: &Disk, free: &[Range<u64>], watch: &Watch) -> Result<()> {
    let Some(storage) = disk.storage(0) else {
        return Ok(());
    };
    let mut buffer = vec![0; STEP as usize];
    parts(disk, STEP, watch, |step| {
        let bytes = buffer
            .get_mut(..(step.end - step.start) as usize)
            .unwrap_or_default();
        disk.read_at(step.start, bytes)?;
        for range in unused::within(free, &step) {
            let (start, end) = (range.start.max(step.start), range.end.min(step.end));
            let place = (start - step.start) as usize..(end - step.start) as usize;
            bytes.get_mut(place).unwrap_or_default().fill(0);
        }
        for hole in zero_pages(bytes) {
            // Holes are a gift: a host that cannot make them leaves the image as it is.
            let place = step.start + hole.start..step.start + hole.end;
            if !storage.punch(place).unwrap_or(false) {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// The runs of pages that have nothing but zeros; the last page may be a part of one.
fn zero_pages(bytes: &[u8]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    let mut start = 0;
    for page in bytes.chunks(PAGE) {
        let end = start + page.len() as u64;
        if is_zero(page) {
            match runs.last_mut() {
                Some(run) if run.end == start => run.end = end,
                _ => runs.push(start..end),
            }
        }
        start = end;
    }
    runs
}
