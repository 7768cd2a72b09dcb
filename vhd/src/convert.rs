// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A disk's content in a new image of another format.

use std::path::Path;

use crate::create::{self, CreateOptions};
use crate::disk::{Disk, OpenOptions};
use crate::draft::Draft;
use crate::error::{Error, Kind, Result};
use crate::image::Format;
use crate::task::Watch;
use crate::transfer::{Scope, transfer};

/// Makes a new image with the content of a disk, all of its parents included. What reads as zeros takes no space
/// where the format, or the host's file system, can leave it out.
///
/// The new image appears when it is complete and durable, or not at all.
///
/// # Errors
/// As the functions of [`create`], and [`Disk::read_at`]; [`Kind::WrongFormat`] for a differencing image, which needs
/// a parent; [`Kind::Cancelled`].
pub fn convert(
    source: &Disk,
    path: impl AsRef<Path>,
    format: Format,
    options: &CreateOptions,
    watch: &Watch,
) -> Result<()> {
    let path = path.as_ref();
    let draft = Draft::for_new(path, options.files())?;
    fill(source, &draft, path, format, source.len(), options, watch)?;
    draft.publish()
}

/// Makes the file of a draft an image with the content of a disk, as far as that reaches.
pub(crate) fn fill(
    source: &Disk,
    draft: &Draft,
    path: &Path,
    format: Format,
    size: u64,
    options: &CreateOptions,
    watch: &Watch,
) -> Result<()> {
    fill_draft(source, draft, path, format, size, options, watch)
        .map_err(|error| error.renamed(draft.path(), path))
}

fn fill_draft(
    source: &Disk,
    draft: &Draft,
    path: &Path,
    format: Format,
    size: u64,
    options: &CreateOptions,
    watch: &Watch,
) -> Result<()> {
    match format {
        Format::Raw => {
            let error = |error| Error::io(error, path, "creating");
            let file = options.files().create_new(draft.path()).map_err(error)?;
            file.set_len(size).map_err(error)?;
        }
        Format::Fixed => create::fixed(draft.path(), size, options)?,
        Format::Dynamic => create::dynamic(draft.path(), size, options)?,
        Format::Differencing => return Err(Error::new(Kind::WrongFormat, path)),
    }
    let opening = OpenOptions::new()
        .format(format)
        .file_system(options.files().clone());
    let target = Disk::open(draft.path(), &opening)?;
    transfer(source, &target, Scope::Empty, watch)?;
    watch.check_path(path)?;
    target.close()
}
