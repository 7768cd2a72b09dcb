// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Merging a differencing image into its parent.
//!
//! The order of writes, and why it may stop anywhere:
//!
//! 1. The child's data goes to the parent. All that changes in the parent is hidden by the child, so the disk that
//!    the child shows is the same before, while and after.
//! 2. The parent is flushed and closed.
//! 3. The child takes note of the parent's new time: one write of one sector. This is done too when the merge was
//!    cancelled or failed, as far as the host lets it. After a power cut before this the child opens when the
//!    parent's time is ignored ([`crate::OpenOptions::ignore_parent_timestamp`]), and can be merged again so.
//! 4. The child is removed, if its owner wants that.

use std::path::{Path, PathBuf};

use zerocopy::IntoBytes;

use crate::disk::{Disk, OpenOptions};
use crate::error::{Error, Kind, Result};
use crate::format::{spec, time};
use crate::task::Watch;
use crate::transfer::{Scope, transfer};

/// What a merge did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The image that has the content now.
    pub parent: PathBuf,
    /// Bytes that were written to it.
    pub written: u64,
}

/// Writes the content of a differencing image to its parent, and removes the image then unless it is kept.
///
/// Other children of the same parent are of no use afterwards: they say so when they are opened. Both images must be
/// free for writing.
///
/// # Errors
/// As [`Disk::open`] and [`Disk::write_at`]; [`Kind::WrongFormat`] if the image has no parent;
/// [`Kind::OutOfRange`] if the parent's disk is smaller; [`Kind::Cancelled`], with which nothing is lost.
pub fn into_parent(
    path: impl AsRef<Path>,
    options: &OpenOptions,
    keep: bool,
    watch: &Watch,
) -> Result<Merged> {
    let path = path.as_ref();
    let chain = Disk::open(path, &options.clone().read_only(true))?;
    let Some(parent_path) = chain.layers().nth(1).map(|layer| layer.path().to_owned()) else {
        return Err(Error::new(Kind::WrongFormat, path));
    };
    chain.close()?;

    let child = Disk::open_alone(path, &options.clone().read_only(false))?;
    let parent = Disk::open(&parent_path, &options.clone().read_only(false))?;
    check_pair(&child, &parent)?;
    let transferred = transfer(&child, &parent, Scope::Leaf, watch);
    // A failed parent says why it cannot be closed; the first failure is the one that counts.
    let closed = parent.close();
    let noted = note_time(&child, &parent_path, options);
    let written = transferred?;
    closed?;
    noted?;
    child.close()?;
    if !keep {
        let files = &options.file_system;
        files
            .remove(path)
            .map_err(|error| Error::io(error, path, "removing"))?;
    }
    Ok(Merged {
        parent: parent_path,
        written,
    })
}

/// Between the two openings somebody may have put another file in the parent's place.
fn check_pair(child: &Disk, parent: &Disk) -> Result<()> {
    let expected = child
        .layers()
        .next()
        .and_then(|layer| layer.header())
        .map(|header| header.parent_unique_id);
    if parent.unique_id() != expected {
        return Err(Error::new(
            Kind::ParentIdMismatch {
                expected: expected.unwrap_or_default(),
                found: parent.unique_id().unwrap_or_default(),
            },
            child.path(),
        ));
    }
    if child.len() > parent.len() {
        return Err(Error::new(Kind::OutOfRange, parent.path()));
    }
    Ok(())
}

/// Writes the parent's time to the child's header. What changes is in the header's first sector, which the host
/// writes as a whole or not at all.
fn note_time(child: &Disk, parent: &Path, options: &OpenOptions) -> Result<()> {
    let modified = options.file_system.modified(parent);
    let modified = modified.map_err(|error| Error::io(error, parent, "reading the time of"))?;
    let layer = child.layers().next();
    let (Some(footer), Some(header), Some(storage)) = (
        layer.and_then(|layer| layer.footer()),
        layer.and_then(|layer| layer.header()),
        child.storage(0),
    ) else {
        return Ok(());
    };
    let mut header = *header;
    header.parent_time_stamp = time::stamp(modified).into();
    header.seal();
    let sector = header.as_bytes().get(..spec::SECTOR as usize).unwrap_or_default();
    storage
        .write_at(sector, footer.data_offset.get())
        .and_then(|()| storage.sync())
        .map_err(|error| Error::io(error, child.path(), "writing the parent's time to"))
}
