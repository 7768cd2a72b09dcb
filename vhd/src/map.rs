// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where each part of a disk is in its chain.

use crate::chain::extent::{Extent, Source};
use crate::disk::Disk;
use crate::error::Result;
use crate::task::Watch;

/// Bytes that are resolved at a time, which bounds the memory that it takes.
const STEP: u64 = 64 << 20;

/// Calls `each` for every extent of the disk, in order and without gaps; neighbours in a file come as one.
///
/// # Errors
/// As [`Disk::read_at`]; [`crate::Kind::Cancelled`].
pub fn map(disk: &Disk, watch: &Watch, mut each: impl FnMut(Extent)) -> Result<()> {
    let mut held: Option<Extent> = None;
    let mut extents = Vec::new();
    watch.begin(disk.len());
    let mut at = 0;
    while at < disk.len() {
        watch.check(disk)?;
        let end = (at + STEP).min(disk.len());
        extents.clear();
        let guard = disk.resolve_read(at..end, &mut extents)?;
        for extent in extents.drain(..) {
            match &mut held {
                Some(held) if goes_on(held, &extent) => held.len += extent.len,
                held => {
                    if let Some(whole) = held.replace(extent) {
                        each(whole);
                    }
                }
            }
        }
        drop(guard);
        watch.advance(end - at);
        at = end;
    }
    if let Some(last) = held {
        each(last);
    }
    Ok(())
}

fn goes_on(one: &Extent, next: &Extent) -> bool {
    match (one.source, next.source) {
        (Source::Zero, Source::Zero) => true,
        (
            Source::File { layer, offset },
            Source::File {
                layer: other,
                offset: at,
            },
        ) => layer == other && offset + one.len == at,
        (Source::Zero | Source::File { .. }, _) => false,
    }
}
