// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk compact`

use super::info::short;
use super::{files, progress};
use crate::cli::{Error, exit};
use crate::volumes::{self, Content, Volume};
use std::path::PathBuf;
use vhd::compact::{Mode, compact_unused};

/// Makes an image as small as its content allows.
///
/// What reads as zeros, or as the parent does, takes no space any more, and neither does what the file systems on the disk do not use:
/// FAT, NTFS and ext2/3/4, in MBR and GPT partitions or on the whole disk. A file system that was not closed cleanly, or that does not
/// agree with itself, is left alone and named, and so are all of a disk that has children in its folder or those given with --search. Deleted files cannot be recovered afterwards. The old file is replaced when the new one is
/// complete.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image
    path: PathBuf,
    /// Give back zeros alone; file systems are not looked at
    #[arg(long)]
    zeros_only: bool,
    /// Only say how much would be given back
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    opening: files::Opening,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        self.opening.check(&self.path)?;
        let before = files::allocated(&self.path);
        let (path, options) = (self.path.clone(), self.opening.for_writing());
        let mode = if self.dry_run { Mode::Count } else { Mode::Compact };
        let children = if self.zeros_only {
            Vec::new()
        } else {
            vhd::merge::children(&path, &options).map_err(|e| Error::wrong(&e))?
        };
        if let Some(child) = children.first() {
            println!(
                "file systems are left alone: the content of a parent must not change, and `{}` is a child of this one",
                child.display()
            );
        }
        let zeros_only = self.zeros_only || !children.is_empty();
        let (found, bytes) = progress::run("Compacting", move |watch| {
            let mut found = Vec::new();
            let unused = |disk: &vhd::Disk| {
                if !zeros_only {
                    found = volumes::survey(disk, watch)?;
                }
                let unused = found.iter().flat_map(|volume| match &volume.content {
                    Content::Known { unused, .. } => unused.as_slice(),
                    Content::LeftAlone { .. } => &[],
                });
                Ok(unused.cloned().collect())
            };
            let bytes = compact_unused(&path, &options, mode, unused, watch)?;
            Ok((found, bytes))
        })?;
        found.iter().for_each(print);
        if self.dry_run {
            println!(
                "{} would be given back, of {} on the host",
                short(bytes),
                short(before)
            );
        } else {
            let after = files::allocated(&self.path);
            println!("{} on the host, {} before", short(after), short(before));
        }
        Ok(exit::DONE)
    }
}

fn print(volume: &Volume) {
    let size = short(volume.range.end - volume.range.start);
    match &volume.content {
        Content::Known { system, unused } => {
            let free = unused.iter().map(|range| range.end - range.start).sum();
            println!("{}: {system}, {} of {size} unused", volume.name, short(free));
        }
        Content::LeftAlone { why } => println!("{}: {size}, left alone: it {why}", volume.name),
    }
}
