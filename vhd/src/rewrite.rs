// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A new version of an image with the same identity.

use std::path::Path;

use crate::create::{self, CreateOptions};
use crate::disk::{Disk, OpenOptions};
use crate::draft::Draft;
use crate::error::{Error, Result};
use crate::format::spec;
use crate::image::Format;
use crate::task::Watch;
use crate::transfer::{Scope, transfer};

/// Options that make an image with the identity, the marks, the geometry and the block size of the one that a disk was
/// opened by.
pub(crate) fn same_identity(disk: &Disk, options: &OpenOptions) -> CreateOptions {
    let mut create = CreateOptions::new().file_system(options.file_system.clone());
    let Some(layer) = disk.layers().next() else {
        return create;
    };
    if let Some(footer) = layer.footer() {
        create = create.previous(footer);
    }
    if let Some(header) = layer.header() {
        create = create.block_size(header.block_size.get().max(spec::MIN_NEW_BLOCK_SIZE));
    }
    create
}

/// Makes the file of a draft a differencing image with the identity of `source`'s, over a parent, and with as much of
/// the source's content as `scope` says.
pub(crate) fn over_parent(
    source: &Disk,
    draft: &Draft,
    parent: &Path,
    options: &OpenOptions,
    scope: Scope,
    watch: &Watch,
) -> Result<()> {
    let renamed = |error: Error| error.renamed(draft.path(), source.path());
    create::differencing(draft.path(), parent, &same_identity(source, options)).map_err(renamed)?;
    let opening = options.clone().read_only(false).format(Format::Differencing);
    let target = Disk::open(draft.path(), &opening).map_err(renamed)?;
    transfer(source, &target, scope, watch).map_err(renamed)?;
    watch.check(source)?;
    target.close().map_err(renamed)
}
