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
//!
//! What changes in the parent is not hidden by *other* children of it: their content would be a mix of two disks. The
//! format has no list of an image's children, so they are looked for where they usually are.

use std::path::{Path, PathBuf};

use zerocopy::{FromZeros, IntoBytes};

use crate::disk::{Disk, OpenOptions};
use crate::error::{Error, Kind, Result};
use crate::format::{Footer, Header, spec, time};
use crate::image::Notice;
use crate::storage::Access;
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

/// What can be chosen about a merge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MergeOptions {
    /// The child stays.
    pub keep: bool,
    /// Other children, and saved states, are of no interest any more.
    pub force: bool,
}

/// Writes the content of a differencing image to its parent, and removes the image then unless it is kept. Both images
/// must be free for writing.
///
/// # Errors
/// As [`Disk::open`] and [`Disk::write_at`]; [`Kind::WrongFormat`] if the image has no parent;
/// [`Kind::OutOfRange`] if the parent's disk is smaller; [`Kind::OtherChildren`] and [`Kind::SavedState`] unless it is
/// forced; [`Kind::Cancelled`], with which nothing is lost: the chain reads the same, and the merge can be done again.
pub fn into_parent(
    path: impl AsRef<Path>,
    options: &OpenOptions,
    choice: MergeOptions,
    watch: &Watch,
) -> Result<Merged> {
    let path = path.as_ref();
    let chain = Disk::open(path, &options.clone().read_only(true))?;
    let Some(parent_path) = chain.layers().nth(1).map(|layer| layer.path().to_owned()) else {
        return Err(Error::new(Kind::WrongFormat, path));
    };
    if !choice.force {
        for layer in chain.layers().take(2) {
            if layer.notices().contains(&Notice::SavedState) {
                return Err(Error::new(Kind::SavedState, layer.path()));
            }
        }
        let others = other_children(&chain, path, &parent_path, options)?;
        if !others.is_empty() {
            return Err(Error::new(Kind::OtherChildren(others), &parent_path));
        }
    }
    chain.close()?;

    let child = Disk::open_alone(path, &options.clone().read_only(false))?;
    let parent = Disk::open(&parent_path, &options.clone().read_only(false))?;
    check_pair(&child, &parent)?;
    let transferred = transfer(&child, &parent, Scope::Over, watch);
    // A failed parent says why it cannot be closed; the first failure is the one that counts.
    let closed = parent.close();
    let noted = note_time(&child, &parent_path, options);
    let written = transferred?;
    closed?;
    noted?;
    child.close()?;
    if !choice.keep {
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

/// The images besides `child` that say that their parent is `parent`, of those in the folders of the two and in the
/// search paths.
fn other_children(chain: &Disk, child: &Path, parent: &Path, options: &OpenOptions) -> Result<Vec<PathBuf>> {
    let own = full_name(child, options)?;
    let footer = chain.layers().nth(1).and_then(|layer| layer.footer());
    let mut others = children_of(footer, &[&own, &full_name(parent, options)?], options);
    others.retain(|path| options.file_system.canonical(path).is_ok_and(|path| path != own));
    Ok(others)
}

/// The differencing images whose parent this one is, of those in its folder and in the search paths. The format has no list
/// of them, so others may be elsewhere.
///
/// # Errors
/// As [`Disk::open`].
pub fn children(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Vec<PathBuf>> {
    let path = path.as_ref();
    let disk = Disk::open(path, &options.clone().read_only(true))?;
    let footer = disk.layers().next().and_then(|layer| layer.footer());
    Ok(children_of(footer, &[&full_name(path, options)?], options))
}

fn full_name(path: &Path, options: &OpenOptions) -> Result<PathBuf> {
    let full = options.file_system.canonical(path);
    full.map_err(|error| Error::io(error, path, "finding the full name of"))
}

/// The images that name the one with this footer as their parent, in the folders of some files and in the search paths.
/// One that cannot be read is no reason to refuse: it is damaged, or in use, and then it holds a lock on the parent that
/// whoever asks will meet.
fn children_of(footer: Option<&Footer>, beside: &[&PathBuf], options: &OpenOptions) -> Vec<PathBuf> {
    let Some(id) = footer.map(|footer| footer.unique_id) else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = beside
        .iter()
        .filter_map(|path| path.parent().map(Path::to_owned))
        .chain(options.search_paths.iter().cloned())
        .collect();
    folders.sort();
    folders.dedup();
    // A search path that is not there has no children in it.
    let files = folders
        .iter()
        .flat_map(|folder| options.file_system.list(folder).unwrap_or_default());
    let mut children: Vec<PathBuf> = files
        .filter(|path| parent_of(path, options) == Some(id))
        .collect();
    children.sort();
    children
}

/// The identity of the parent that a file names, if it is a differencing image. Two reads, whatever the file is.
fn parent_of(path: &Path, options: &OpenOptions) -> Option<[u8; 16]> {
    let storage = options.file_system.open(path, Access::Shared).ok()?;
    let mut footer = Footer::new_zeroed();
    storage.read_at(footer.as_mut_bytes(), 0).ok()?;
    if !footer.has_cookie() || footer.disk_type.get() != spec::DISK_TYPE_DIFFERENCING {
        return None;
    }
    let mut header = Header::new_zeroed();
    storage
        .read_at(header.as_mut_bytes(), footer.data_offset.get())
        .ok()?;
    (header.cookie == spec::HEADER_COOKIE).then_some(header.parent_unique_id)
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
