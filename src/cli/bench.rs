// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc bench`: benchmarks, with nothing needed but this program.

mod compare;
mod disk;
mod guest;
mod machine;
mod stop;

use super::Error;
use std::path::PathBuf;

/// Measures disks and machines, or compares results.
///
/// Results are printed for people, or with --json in the fields of fio, whose own results --compare reads, too.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Args {
    /// Compare two files of results, of --json or of fio: the ratios of the second to the first
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    compare: Vec<PathBuf>,
    /// Draw both into one chart: FILE.svg or FILE.png
    #[arg(long, value_name = "FILE", requires = "compare")]
    plot: Option<PathBuf>,
    /// Print the comparison as JSON
    #[arg(long, requires = "compare")]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Disk(Box<disk::Args>),
    Machine(machine::Args),
    Guest(guest::Args),
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        match (self.command, self.compare.as_slice()) {
            (Some(Command::Disk(args)), _) => args.run(),
            (Some(Command::Machine(args)), _) => args.run(),
            (Some(Command::Guest(args)), _) => args.run(),
            (None, [a, b]) => compare::run(a, b, self.plot.as_deref(), self.json),
            (None, _) => Err(Error::Use(
                "say what to measure: disk, machine, or --compare A B".to_owned(),
            )),
        }
    }
}

/// A chart's or result's file that cannot be written.
fn unwritable(path: &std::path::Path, error: &dyn std::error::Error) -> Error {
    Error::Use(format!(
        "`{}` cannot be written: {}",
        path.display(),
        crate::storage::chain(error)
    ))
}
