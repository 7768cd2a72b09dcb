// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc bench guest`

use crate::bench::guest;
use crate::cli::{Error, exit};
use std::path::PathBuf;

/// Writes the benchmark guest to a file, to be run elsewhere.
///
/// It is an ELF kernel with a PVH entry: `vpc run --kernel FILE --cmdline 'mode=disk device=virtio rw=read bs=4096 size=67108864
/// requests=1000' --debug-console stdio`, or QEMU's `-kernel FILE -append WORDS -device isa-debugcon,iobase=0x402,chardev=ID`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A new file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let bytes = guest::image().map_err(|e| Error::wrong(&e))?;
        crate::cli::disk::publish(&self.out, bytes)?;
        Ok(exit::DONE)
    }
}
