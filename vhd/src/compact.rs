// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Giving back the space of what reads as zeros, or as the parent does.

use std::ops::Range;
use std::path::Path;

use crate::convert;
use crate::disk::{Disk, OpenOptions};
use crate::draft::Draft;
use crate::error::Result;
use crate::image::Format;
use crate::rewrite::{over_parent, same_identity};
use crate::task::Watch;
use crate::transfer::{Scope, is_zero};

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
    let path = path.as_ref();
    let disk = Disk::open(path, &options.clone().read_only(false))?;
    let format = disk.format();
    if matches!(format, Format::Raw | Format::Fixed) {
        punch_zeros(&disk, watch)?;
        return disk.close();
    }
    let draft = Draft::for_existing(path, &options.file_system)?;
    let parent = disk.layers().nth(1).map(|layer| layer.path().to_owned());
    match parent {
        Some(parent) => over_parent(&disk, &draft, &parent, options, Scope::Leaf, watch)?,
        None => {
            let identity = same_identity(&disk, options);
            convert::fill(&disk, &draft, path, format, disk.len(), &identity, watch)?;
        }
    }
    draft.replace()
}

fn punch_zeros(disk: &Disk, watch: &Watch) -> Result<()> {
    let Some(storage) = disk.storage(0) else {
        return Ok(());
    };
    let mut buffer = vec![0; STEP as usize];
    watch.begin(disk.len());
    let mut at = 0;
    while at < disk.len() {
        watch.check(disk)?;
        let end = (at + STEP).min(disk.len());
        let bytes = buffer.get_mut(..(end - at) as usize).unwrap_or_default();
        disk.read_at(at, bytes)?;
        for hole in zero_pages(bytes) {
            // Holes are a gift: a host that cannot make them leaves the image as it is.
            if !storage.punch(at + hole.start..at + hole.end).unwrap_or(false) {
                return Ok(());
            }
        }
        watch.advance(end - at);
        at = end;
    }
    Ok(())
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
