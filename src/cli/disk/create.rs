// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk create`

use super::{files, floppy, progress};
use crate::cli::{Error, exit, size};
use crate::iso;
use std::path::{Path, PathBuf};

/// Makes a new image. Its folder is created; a file that is there already is never overwritten.
///
/// A floppy is a raw image of a diskette with a FAT file system, and with what --from names in it. An iso is an image of a CD or DVD with
/// what --from names: ISO 9660 with long names for Windows (Joliet) and Unix (Rock Ridge). The same folder gives the same image.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The new image
    path: PathBuf,
    /// What kind of image
    #[arg(long = "type", value_enum)]
    kind: Kind,
    /// Size of the disk, exact to the byte; a differencing disk has its parent's, a floppy one of 360K, 720K, 1200K, 1440K and 2880K
    #[arg(long, value_parser = size::parse, conflicts_with = "parent")]
    size: Option<u64>,
    /// The parent of a differencing disk
    #[arg(long, required_if_eq("kind", "differencing"))]
    parent: Option<PathBuf>,
    /// Size of the blocks of a dynamic or differencing disk: a power of two from 4K to 256M
    #[arg(long, value_parser = size::parse, default_value = "2M")]
    block_size: u64,
    /// Put this file, or all that is in this folder, on the floppy or disc
    #[arg(long, value_name = "FILE|FOLDER")]
    from: Option<PathBuf>,
    /// The volume label of the floppy or disc
    #[arg(long)]
    label: Option<String>,
    /// Make the disc bootable with this image: a diskette of 1200K, 1440K or 2880K is shown as one, anything else is loaded and run
    #[arg(long, value_name = "IMAGE")]
    boot: Option<PathBuf>,
    /// Write its place on the disc into the boot image, as ISOLINUX and GRUB want
    #[arg(long, requires = "boot")]
    boot_info_table: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// All of the disk is in the file
    Fixed,
    /// The file grows as the disk is written
    Dynamic,
    /// The file has what differs from its parent
    Differencing,
    /// A diskette with a FAT file system
    Floppy,
    /// A CD or DVD
    Iso,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        if self.boot.is_some() && self.kind != Kind::Iso {
            return Err(Error::Use("--boot is for discs: use --type iso".to_owned()));
        }
        match self.kind {
            Kind::Floppy => return self.floppy(),
            Kind::Iso => return self.iso(),
            Kind::Fixed | Kind::Dynamic | Kind::Differencing => {}
        }
        if self.from.is_some() || self.label.is_some() {
            return Err(Error::Use(
                "--from and --label are for floppies and discs: use --type floppy or --type iso".to_owned(),
            ));
        }
        // A number that does not fit is no power of two either: zero stands for it.
        let block_size = u32::try_from(self.block_size).unwrap_or(0);
        let options = files::creating().block_size(block_size);
        let (path, kind) = (self.path.clone(), self.kind);
        match (kind, self.parent) {
            (Kind::Differencing, Some(parent)) => {
                // Else the folder would be made for nothing.
                check_parent(&parent)?;
                files::in_new_folder(&self.path, || {
                    progress::run("Creating", move |watch| {
                        vhd::create::differencing(path, parent, &options.watch(watch))
                    })
                })?;
            }
            (_, Some(_)) => {
                return Err(Error::Use(
                    "only a differencing disk has a parent: use --type differencing, or --size in place of --parent"
                        .to_owned(),
                ));
            }
            (kind, None) => {
                let size = self.size.ok_or_else(|| {
                    Error::Use("--size says how large the disk is to be, such as --size 10G".to_owned())
                })?;
                files::in_new_folder(&self.path, || {
                    progress::run("Creating", move |watch| {
                        let options = options.watch(watch);
                        match kind {
                            Kind::Fixed => vhd::create::fixed(path, size, &options),
                            _ => vhd::create::dynamic(path, size, &options),
                        }
                    })
                })?;
            }
        }
        Ok(exit::DONE)
    }

    fn floppy(&self) -> Result<u8, Error> {
        if self.parent.is_some() {
            return Err(Error::Use(
                "a floppy has no parent: use --type differencing".to_owned(),
            ));
        }
        let bytes = floppy::image(
            self.size.unwrap_or(floppy::USUAL),
            self.from.as_deref(),
            self.label.as_deref(),
        )?;
        files::in_new_folder(&self.path, || files::publish(&self.path, &bytes))?;
        Ok(exit::DONE)
    }
}

/// The parts of [`Args`] that are of a disc.
impl Args {
    fn iso(self) -> Result<u8, Error> {
        if self.parent.is_some() || self.size.is_some() {
            return Err(Error::Use(
                "a disc has no parent, and as many bytes as its files need: leave --parent and --size out"
                    .to_owned(),
            ));
        }
        let from = self
            .from
            .ok_or_else(|| Error::Use("--from says which file or folder is to be on the disc".to_owned()))?;
        let choice = iso::Choice {
            label: self.label,
            boot: self.boot,
            boot_info_table: self.boot_info_table,
        };
        let disc = iso::Disc::plan(&from, &choice).map_err(|e| Error::wrong(&e))?;
        for note in disc.notes() {
            eprintln!("vpc: note: {note}");
        }
        let path = self.path;
        files::in_new_folder(&path.clone(), || {
            progress::run("Creating", move |watch| {
                let made = files::publish_with(&path, |file| disc.write(file, watch));
                if made.is_err() {
                    watch.check_path(&path)?;
                }
                Ok(made)
            })?
        })?;
        Ok(exit::DONE)
    }
}

/// A parent must be usable with all of its own parents, or the child could never be opened.
fn check_parent(parent: &Path) -> Result<(), Error> {
    let opening = files::Opening::default();
    let disk = opening.open(parent, &opening.read_only())?;
    if disk.format() == vhd::Format::Raw {
        return Err(Error::Use(format!(
            "`{}` is a raw disk, which has no identity that a child could know it by: convert it with `vpc disk convert` first",
            parent.display()
        )));
    }
    disk.close().map_err(|e| Error::wrong(&e))
}
