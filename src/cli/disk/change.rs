// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The commands that change an image as a whole: `vpc disk merge`, `resize`, `relink` and `rebase`.

use super::info::short;
use super::{convert, files, progress};
use crate::cli::{Error, exit, size};
use std::path::{Path, PathBuf};

/// Writes the content of a differencing image to its parent, and removes the image then.
///
/// Other children of the same parent would be corrupted, so there must be none beside the two images or in the folders given
/// with --search. With --to nothing is changed: a new image has the content of the whole chain.
#[derive(Debug, clap::Args)]
pub struct MergeArgs {
    /// Image
    path: PathBuf,
    /// Merge the whole chain to a new dynamic image
    #[arg(long, value_name = "NEW")]
    to: Option<PathBuf>,
    /// Do not remove the image
    #[arg(long, conflicts_with = "to")]
    keep: bool,
    /// Merge even if the parent has other children, which are corrupted then, or a machine with the disk is in a saved state
    #[arg(long, conflicts_with = "to")]
    force: bool,
    #[command(flatten)]
    opening: files::Opening,
}

impl MergeArgs {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let disk = self.opening.open(&self.path, &self.opening.read_only())?;
        if let Some(target) = self.to {
            let block_size = disk.layers().find_map(|layer| layer.block_size());
            return convert::to_new(
                disk,
                target,
                convert::Format::Dynamic,
                block_size.unwrap_or(2 << 20),
            );
        }
        if disk.format() != vhd::Format::Differencing {
            return Err(no_parent(&self.path));
        }
        drop(disk);
        let (path, options) = (self.path, self.opening.for_writing());
        let choice = vhd::MergeOptions {
            keep: self.keep,
            force: self.force,
        };
        let merged = progress::run("Merging", move |watch| {
            vhd::merge::into_parent(&path, &options, choice, watch)
        })?;
        println!(
            "{} were written to `{}`",
            short(merged.written),
            merged.parent.display()
        );
        Ok(exit::DONE)
    }
}

/// Gives a disk another size. What would be cut off must be zeros.
#[derive(Debug, clap::Args)]
pub struct ResizeArgs {
    /// Image
    path: PathBuf,
    /// New size, exact to the byte
    #[arg(value_parser = size::parse)]
    size: u64,
    #[command(flatten)]
    opening: files::Opening,
}

impl ResizeArgs {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let disk = self.opening.open(&self.path, &self.opening.for_writing())?;
        if disk.format() == vhd::Format::Differencing {
            return Err(Error::Use(format!(
                "`{}` is a differencing disk, whose size is its parent's: merge it first, with `vpc disk merge`",
                self.path.display()
            )));
        }
        let old = disk.len();
        drop(disk);
        let (size, options) = (self.size, self.opening.for_writing());
        let path = self.path.clone();
        let resized = progress::run("Resizing", move |watch| {
            match vhd::resize::resize(&path, size, &options, watch) {
                Err(error) if *error.kind() == vhd::Kind::Cancelled => Err(error),
                resized => Ok(resized),
            }
        })?;
        resized.map_err(|e| match e.kind() {
            vhd::Kind::OutOfRange if size < old => Error::Use(format!(
                "`{}` has content behind the first {size} bytes, which would be lost: make its partitions smaller first",
                self.path.display()
            )),
            _ => Error::wrong(&e),
        })?;
        Ok(exit::DONE)
    }
}

/// Tells a differencing image where its parent is now. It must be the same disk; its content is not compared.
#[derive(Debug, clap::Args)]
pub struct RelinkArgs {
    /// Image
    path: PathBuf,
    /// Where its parent is
    parent: PathBuf,
    #[command(flatten)]
    opening: files::Opening,
}

impl RelinkArgs {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        self.opening.check(&self.path)?;
        self.opening.check(&self.parent)?;
        let options = self.opening.for_writing();
        progress::run("Relinking", move |watch| {
            vhd::relink::relink(&self.path, &self.parent, &options, watch)
        })?;
        Ok(exit::DONE)
    }
}

/// Gives a differencing image another parent and keeps its content: it takes over what the new parent lacks.
#[derive(Debug, clap::Args)]
pub struct RebaseArgs {
    /// Image
    path: PathBuf,
    /// New parent, with a disk of the same size
    parent: PathBuf,
    #[command(flatten)]
    opening: files::Opening,
}

impl RebaseArgs {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let disk = self.opening.open(&self.path, &self.opening.read_only())?;
        let parent = self.opening.open(&self.parent, &self.opening.read_only())?;
        if disk.format() != vhd::Format::Differencing {
            return Err(no_parent(&self.path));
        }
        if disk.len() != parent.len() {
            return Err(Error::Use(format!(
                "`{}` has a disk of {} bytes, and `{}` one of {}: they must have the same size",
                self.path.display(),
                disk.len(),
                self.parent.display(),
                parent.len()
            )));
        }
        drop((disk, parent));
        let options = self.opening.for_writing();
        progress::run("Rebasing", move |watch| {
            vhd::relink::rebase(&self.path, &self.parent, &options, watch)
        })?;
        Ok(exit::DONE)
    }
}

fn no_parent(path: &Path) -> Error {
    Error::Use(format!(
        "`{}` is no differencing disk, so it has no parent",
        path.display()
    ))
}
