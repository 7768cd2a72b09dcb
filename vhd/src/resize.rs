// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Another size for a disk.

use std::path::Path;

mod in_place;

use crate::buffer::PageBuffer;
use crate::chain::extent::{Extent, Source};
use crate::convert;
use crate::create::check_size;
use crate::disk::{Disk, OpenOptions};
use crate::draft::Draft;
use crate::error::{Error, Kind, Result};
use crate::format::spec;
use crate::image::Format;
use crate::rewrite::same_identity;
use crate::task::Watch;
use crate::transfer::is_zero;

/// Gives a disk another size, in bytes. What is new reads as zeros; what is cut off must read as zeros before.
///
/// Raw images, and dynamic ones of this library's making that grow, are changed where they stand, at once. Other VHDs are
/// written anew beside the old file, which is replaced when that is complete and durable. The size of a differencing disk
/// is its parent's.
///
/// # Errors
/// As [`Disk::open`], [`Disk::write_at`] and [`crate::create`]; [`Kind::WrongFormat`] for a differencing disk;
/// [`Kind::OutOfRange`] when content would be cut off; [`Kind::Cancelled`].
pub fn resize(path: impl AsRef<Path>, size: u64, options: &OpenOptions, watch: &Watch) -> Result<()> {
    let path = path.as_ref();
    let disk = Disk::open(path, &options.clone().read_only(false))?;
    if size == disk.len() {
        return disk.close();
    }
    if size < disk.len() && !reads_as_zero(&disk, size, watch)? {
        return Err(Error::new(Kind::OutOfRange, path));
    }
    match disk.format() {
        Format::Differencing => Err(Error::new(Kind::WrongFormat, path)),
        Format::Raw => {
            if size == 0 || !size.is_multiple_of(spec::SECTOR) {
                return Err(Error::new(Kind::InvalidSize, path));
            }
            let storage = disk.storage(0);
            let changed = storage.map_or(Ok(()), |file| file.set_len(size).and_then(|()| file.sync()));
            changed.map_err(|error| Error::io(error, path, "changing the length of"))
        }
        format @ (Format::Fixed | Format::Dynamic) => {
            check_size(size, path)?;
            watch.check(&disk)?;
            if format == Format::Dynamic && size > disk.len() && in_place::grow(&disk, size, options)? {
                return disk.close();
            }
            let draft = Draft::for_existing(path, &options.file_system)?;
            let identity = same_identity(&disk, options);
            convert::fill(&disk, &draft, path, format, size, &identity, watch)?;
            draft.replace()
        }
    }
}

fn reads_as_zero(disk: &Disk, from: u64, watch: &Watch) -> Result<bool> {
    const STEP: u64 = 256 << 10;
    let mut buffer = PageBuffer::new(STEP as usize);
    let mut extents: Vec<Extent> = Vec::new();
    let mut at = from;
    watch.begin(disk.len() - from);
    while at < disk.len() {
        watch.check(disk)?;
        let end = (at + STEP).min(disk.len());
        extents.clear();
        let guard = disk.resolve_read(at..end, &mut extents)?;
        drop(guard);
        if extents.iter().any(|extent| extent.source != Source::Zero) {
            let bytes = buffer.get_mut(..(end - at) as usize).unwrap_or_default();
            disk.read_at(at, bytes)?;
            if !is_zero(bytes) {
                return Ok(false);
            }
        }
        watch.advance(end - at);
        at = end;
    }
    Ok(true)
}
