// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Making one disk read as another does, with as few reads and writes as that takes.

use crate::chain::extent::{Extent, Source};
use crate::disk::Disk;
use crate::error::Result;
use crate::format::spec;
use crate::image::Format;
use crate::task::Watch;

/// Bytes that are moved in one step: the most that a cancelled transfer still does.
const STEP: u64 = 2 << 20;

/// What is known of the two disks beforehand, so that it need not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The target was just made, and reads as zeros.
    Empty,
    /// Nothing: all of both is compared.
    All,
    /// What its top image has; for all else the target reads as the source already.
    Leaf,
}

/// Writes to `target` what differs from `source`, up to the end of the shorter one. Returns how many bytes it wrote.
///
/// Zeros are not written where the target reads as zeros, so a sparse target stays as sparse as it can be. It is not
/// durable before the target is flushed.
pub(crate) fn transfer(source: &Disk, target: &Disk, scope: Scope, watch: &Watch) -> Result<u64> {
    let len = source.len().min(target.len());
    // A sector is the finest that an image over a parent can hold; others are written in pages, as the host would.
    let grain = match target.format() {
        Format::Differencing => spec::SECTOR,
        Format::Raw | Format::Fixed | Format::Dynamic => 4096,
    };
    let mut written = 0;
    let mut extents = Vec::new();
    let (mut new, mut old) = (Vec::new(), Vec::new());
    watch.begin(len);
    let mut at = 0;
    while at < len {
        watch.check(target)?;
        let end = (at + STEP).min(len);
        extents.clear();
        let guard = source.resolve_read(at..end, &mut extents)?;
        drop(guard);
        for part in wanted(&extents, scope) {
            if part.source == Source::Zero && (scope == Scope::Empty || reads_as_zero(target, part)?) {
                continue;
            }
            let bytes = part.len as usize;
            new.resize(bytes, 0);
            // A target that is empty is never read, so these stay the zeros that they begin as.
            old.resize(bytes, 0);
            source.read_at(part.offset, &mut new)?;
            if scope != Scope::Empty {
                target.read_at(part.offset, &mut old)?;
            }
            written += write_changes(target, part.offset, &old, &new, grain as usize)?;
        }
        watch.advance(end - at);
        at = end;
    }
    Ok(written)
}

/// The parts that have to be looked at.
fn wanted(extents: &[Extent], scope: Scope) -> impl Iterator<Item = &Extent> {
    extents.iter().filter(move |extent| match (scope, extent.source) {
        (Scope::Empty | Scope::All, _) | (Scope::Leaf, Source::File { layer: 0, .. }) => true,
        (Scope::Leaf, Source::File { .. } | Source::Zero) => false,
    })
}

fn reads_as_zero(disk: &Disk, part: &Extent) -> Result<bool> {
    let mut extents = Vec::new();
    let _guard = disk.resolve_read(part.offset..part.offset + part.len, &mut extents)?;
    Ok(extents.iter().all(|extent| extent.source == Source::Zero))
}

/// Writes the runs of grains in which two buffers differ.
fn write_changes(target: &Disk, offset: u64, old: &[u8], new: &[u8], grain: usize) -> Result<u64> {
    let mut written = 0;
    let mut run = 0..0;
    let write = |run: std::ops::Range<usize>| -> Result<u64> {
        let bytes = new.get(run.clone()).unwrap_or_default();
        if !bytes.is_empty() {
            target.write_at(offset + run.start as u64, bytes)?;
        }
        Ok(bytes.len() as u64)
    };
    for (old, new) in old.chunks(grain).zip(new.chunks(grain)) {
        let next = run.end + new.len();
        if old == new {
            written += write(run)?;
            run = next..next;
        } else {
            run.end = next;
        }
    }
    Ok(written + write(run)?)
}
