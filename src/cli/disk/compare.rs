// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk compare`

use super::{files, progress};
use crate::cli::{Error, exit};
use std::path::PathBuf;

/// Compares the content of two disks, whatever their formats. Exits with 0 if they are equal, with 1 if they differ.
///
/// When one disk is larger than the other they are equal if the rest of it is zeros.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One image
    a: PathBuf,
    /// The other
    b: PathBuf,
    /// Disks of different sizes differ
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    opening: files::Opening,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let a = self.opening.read(&self.a)?;
        let b = self.opening.read(&self.b)?;
        let sizes = (a.len(), b.len());
        if sizes.0 != sizes.1 {
            println!("the disks have {} and {} bytes", sizes.0, sizes.1);
            if self.strict {
                return Ok(exit::FOUND);
            }
        }
        let found = progress::run("Comparing", move |watch| vhd::compare::compare(&a, &b, watch))?;
        match found {
            Some(offset) => {
                println!("the disks differ, first at offset {offset}");
                Ok(exit::FOUND)
            }
            None => {
                println!("the disks are equal");
                Ok(exit::DONE)
            }
        }
    }
}
