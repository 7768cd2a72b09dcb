// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk convert`

use super::{files, progress};
use crate::cli::{Error, exit, size};
use std::path::PathBuf;

/// Makes a new image with the content of another, all of its parents included.
///
/// The source may also be a qcow2 image; of its backing files only those in its own folder, and in the folders given with --search, are
/// read.
/// What reads as zeros takes no space where it need not. The source is not changed, and a file that is there already is never
/// overwritten.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image
    source: PathBuf,
    /// The new image
    target: PathBuf,
    /// Its format
    #[arg(long, value_enum)]
    to: Format,
    /// Size of the blocks of a dynamic image
    #[arg(long, value_parser = size::parse, default_value = "2M")]
    block_size: u64,
    #[command(flatten)]
    opening: files::Opening,
}

/// The formats that stand alone.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Format {
    /// The bare content
    Raw,
    /// A VHD with all of the disk in it
    Fixed,
    /// A VHD that grows
    Dynamic,
}

impl From<Format> for vhd::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Raw => Self::Raw,
            Format::Fixed => Self::Fixed,
            Format::Dynamic => Self::Dynamic,
        }
    }
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let source = self.opening.read(&self.source)?;
        to_new(source, self.target, self.to, self.block_size)
    }
}

/// Converts a disk to a new image.
pub fn to_new(source: vhd::Disk, target: PathBuf, format: Format, block_size: u64) -> Result<u8, Error> {
    // A number that does not fit is no power of two either: zero stands for it.
    let options = files::creating().block_size(u32::try_from(block_size).unwrap_or(0));
    files::in_new_folder(&target.clone(), || {
        progress::run("Converting", move |watch| {
            vhd::convert::convert(&source, &target, format.into(), &options, watch)
        })
    })?;
    Ok(exit::DONE)
}
