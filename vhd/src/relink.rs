// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Another parent for a differencing image, or another place for the same one.
//!
//! Both write the image anew beside the old file, which is replaced when that is complete and durable.

use std::path::Path;

use crate::disk::{Disk, OpenOptions};
use crate::draft::Draft;
use crate::error::{Error, Kind, Result};
use crate::image::Format;
use crate::rewrite::over_parent;
use crate::task::Watch;
use crate::transfer::Scope;

/// Tells a differencing image where its parent is now. The old place need not exist; the content is not compared.
///
/// # Errors
/// As [`Disk::open`] and [`crate::create::differencing`]; [`Kind::WrongFormat`] if the image has no parent;
/// [`Kind::ParentIdMismatch`] for another disk than the one that the image was made from; [`Kind::Cancelled`].
pub fn relink(
    path: impl AsRef<Path>,
    parent: impl AsRef<Path>,
    options: &OpenOptions,
    watch: &Watch,
) -> Result<()> {
    let (path, parent) = (path.as_ref(), parent.as_ref());
    let child = Disk::open_alone(path, &options.clone().read_only(false))?;
    let header = child.layers().next().and_then(|layer| layer.header());
    let expected = header
        .filter(|_| child.format() == Format::Differencing)
        .map(|header| header.parent_unique_id)
        .ok_or_else(|| Error::new(Kind::WrongFormat, path))?;
    let found = identity(parent, options)?;
    if found != Some(expected) {
        let found = found.unwrap_or_default();
        return Err(Error::new(Kind::ParentIdMismatch { expected, found }, path));
    }
    let draft = Draft::for_existing(path, &options.file_system)?;
    over_parent(&child, &draft, parent, options, Scope::Leaf, watch)?;
    draft.replace()
}

/// Gives a differencing image another parent and keeps its content: it takes over what the new parent lacks.
///
/// # Errors
/// As [`relink`]; [`Kind::OutOfRange`] if the parents' disks differ in size.
pub fn rebase(
    path: impl AsRef<Path>,
    parent: impl AsRef<Path>,
    options: &OpenOptions,
    watch: &Watch,
) -> Result<()> {
    let (path, parent) = (path.as_ref(), parent.as_ref());
    let disk = Disk::open(path, &options.clone().read_only(false))?;
    if disk.format() != Format::Differencing {
        return Err(Error::new(Kind::WrongFormat, path));
    }
    let other = Disk::open(parent, &options.clone().read_only(true))?;
    if other.len() != disk.len() {
        return Err(Error::new(Kind::OutOfRange, parent));
    }
    other.close()?;
    let draft = Draft::for_existing(path, &options.file_system)?;
    over_parent(&disk, &draft, parent, options, Scope::All, watch)?;
    draft.replace()
}

/// Which disk an image is, once all of its own parents are found.
fn identity(path: &Path, options: &OpenOptions) -> Result<Option<[u8; 16]>> {
    let disk = Disk::open(path, &options.clone().read_only(true))?;
    let id = disk.unique_id();
    disk.close()?;
    Ok(id)
}
