// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Growing a dynamic image where it stands.
//!
//! Nothing that the old disk needs is overwritten before what takes its place is durable, and what makes the difference is
//! always one sector:
//!
//! 1. Behind the end of the file come a longer table with the entries of the old one, and an end footer, still for the old
//!    size. Meanwhile the footer copy at the start of the file says what it is.
//! 2. The first sector of the header names that table and its length. A table may be longer than its disk.
//! 3. The footer copy, and then the end footer, get the new size. While they differ the end footer counts.

use zerocopy::IntoBytes;

use crate::chain::leaf::{ENTRIES_PER_SECTOR, Leaf};
use crate::chain::space::{ALIGNMENT, is_own};
use crate::disk::{Disk, OpenOptions};
use crate::error::Result;
use crate::format::{Footer, spec};
use crate::geometry::Geometry;
use crate::image::Image;
use crate::image::sparse::Sparse;

/// Bytes of a table that are written at a time.
const PIECE: u64 = 256 << 10;

/// Makes the disk larger, or says that it cannot be done in this way; nothing has changed then. The disk is of no further use but to be
/// closed: it does not know of its new size.
pub(super) fn grow(disk: &Disk, size: u64, options: &OpenOptions) -> Result<bool> {
    let chain = disk.chain();
    let image = chain.top();
    let (Some(leaf), Some(sparse), Some(mut footer)) = (chain.leaf(), image.sparse(), image.footer) else {
        return Ok(false);
    };
    let tail = sparse.tail;
    let entries = size.div_ceil(sparse.blocks.size());
    let entries = u32::try_from(entries).unwrap_or(u32::MAX);
    // In the files of other programs nobody knows what else there may be.
    let fits = is_own(&footer) && tail.copy_is_good && tail.footer_is_good;
    if !fits || entries > spec::MAX_TABLE_ENTRIES {
        return Ok(false);
    }
    // What children know of this image is unchanged, and so is the time by which they know it.
    let files = &*options.file_system;
    let modified = files.modified(&image.path);
    let end = if entries > sparse.header.max_table_entries.get() {
        let (table, end) = lay_table(image, leaf, sparse, &footer, entries).inspect_err(|_| {
            // As long as the header does not name what is there, the file may end where it did.
            let _ = image.storage.set_len(tail.file_len);
        })?;
        // From here on nothing is taken back: a write that failed may have happened.
        name_table(image, sparse, &footer, table, entries)?;
        end
    } else {
        tail.limit
    };
    footer.current_size = size.into();
    footer.geometry = Geometry::from_sectors(size / spec::SECTOR).into();
    footer.seal();
    for place in [0, end] {
        write(image, footer.as_bytes(), place, "writing the footer of")?;
        sync(image)?;
    }
    if let Ok(time) = modified {
        // A child that has another time of its parent says so, and what to do.
        let _ = files.set_modified(&image.path, time);
    }
    Ok(true)
}

/// Writes a longer table behind the end of the file, and an end footer behind that; gives the places of both.
fn lay_table(
    image: &Image,
    leaf: &Leaf,
    sparse: &Sparse,
    footer: &Footer,
    entries: u32,
) -> Result<(u64, u64)> {
    const STEP: &str = "writing the block allocation table of";
    let start = (sparse.tail.file_len.max(sparse.tail.end)).next_multiple_of(ALIGNMENT);
    let mut at = start;
    let mut piece = Vec::new();
    for sector in 0..entries.div_ceil(ENTRIES_PER_SECTOR) {
        // Behind the end of the old table no block is in use.
        piece.extend(leaf.table_sector(sector));
        if piece.len() as u64 >= PIECE {
            write(image, &piece, at, STEP)?;
            at += piece.len() as u64;
            piece.clear();
        }
    }
    write(image, &piece, at, STEP)?;
    let end = (at + piece.len() as u64).next_multiple_of(ALIGNMENT);
    write(image, footer.as_bytes(), end, "writing the footer of")?;
    sync(image)?;
    Ok((start, end))
}

/// Has the header name a table.
fn name_table(image: &Image, sparse: &Sparse, footer: &Footer, table: u64, entries: u32) -> Result<()> {
    let mut header = sparse.header;
    header.table_offset = table.into();
    header.max_table_entries = entries.into();
    header.seal();
    let (changed, _) = header.as_bytes().split_at(spec::SECTOR as usize);
    write(
        image,
        changed,
        footer.data_offset.get(),
        "writing the dynamic disk header of",
    )?;
    sync(image)
}

fn write(image: &Image, bytes: &[u8], at: u64, step: &'static str) -> Result<()> {
    let written = image.storage.write_at(bytes, at);
    written.map_err(|error| image.io_error(error, step))
}

fn sync(image: &Image) -> Result<()> {
    image
        .storage
        .sync()
        .map_err(|error| image.io_error(error, "flushing"))
}
