// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc completions` and `man`: what shells and readers of manuals want, made from the command line's own description.

use super::{Cli, Error, exit};
use clap::CommandFactory;
use std::io::Write;
use std::path::PathBuf;

/// Prints a shell's completions.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// Shell
    shell: clap_complete::Shell,
}

impl Completions {
    /// Runs the command.
    pub fn run(&self) -> Result<u8, Error> {
        let mut text = vec![];
        clap_complete::generate(self.shell, &mut Cli::command(), "vpc", &mut text);
        // Whoever reads only the start has what they want.
        let _ = std::io::stdout().write_all(&text);
        Ok(exit::DONE)
    }
}

/// Writes the manual pages, one for each word.
#[derive(Debug, clap::Args)]
pub struct Man {
    /// Folder
    folder: PathBuf,
}

impl Man {
    /// Runs the command.
    pub fn run(&self) -> Result<u8, Error> {
        let failed = |error: std::io::Error| Error::Host(format!("{}: {error}", self.folder.display()));
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        clap_mangen::generate_to(Cli::command(), &self.folder).map_err(failed)?;
        Ok(exit::DONE)
    }
}
