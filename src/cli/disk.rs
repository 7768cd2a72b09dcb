// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk`: disk images.

mod change;
mod check;
mod compact;
mod compare;
mod convert;
mod create;
mod files;
mod floppy;
mod info;
mod map;
mod nbd;
mod progress;
mod range;
mod serve;

use super::Error;
pub use files::{Opening, publish};

/// Makes, shows and changes disk images: fixed, dynamic and differencing VHDs, and raw disks. It reads qcow2 images too.
///
/// Sizes and offsets are in bytes, or take K, M, G and T. The exit code is 0 when it is done, 1 when a difference or damage was
/// found, 2 for wrong use or a failure, and 128 + N when signal N stopped it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Create(create::Args),
    Info(info::Args),
    Read(range::ReadArgs),
    Write(range::WriteArgs),
    Check(check::Args),
    Compare(compare::Args),
    Convert(convert::Args),
    Merge(change::MergeArgs),
    Compact(compact::Args),
    Resize(change::ResizeArgs),
    Relink(change::RelinkArgs),
    Rebase(change::RebaseArgs),
    Map(map::Args),
    Serve(serve::Args),
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        match self.command {
            Command::Create(args) => args.run(),
            Command::Info(args) => args.run(),
            Command::Read(args) => args.run(),
            Command::Write(args) => args.run(),
            Command::Check(args) => args.run(),
            Command::Compare(args) => args.run(),
            Command::Convert(args) => args.run(),
            Command::Merge(args) => args.run(),
            Command::Compact(args) => args.run(),
            Command::Resize(args) => args.run(),
            Command::Relink(args) => args.run(),
            Command::Rebase(args) => args.run(),
            Command::Map(args) => args.run(),
            Command::Serve(args) => args.run(),
        }
    }
}
