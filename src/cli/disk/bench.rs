// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk bench`

use super::files;
use crate::cli::{Error, exit, size};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Measures the block layer alone. With `--op write` the content of the image is destroyed.
///
/// Each request goes `--step` bytes further than the one before and wraps at the end of the disk. Writes are flushed at the end,
/// inside of the measured time.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image
    path: PathBuf,
    /// What to do
    #[arg(long, value_enum)]
    op: Op,
    /// Bytes of a request
    #[arg(long, value_parser = size::parse, default_value = "4K")]
    bs: u64,
    /// Requests under way at once, each on a thread of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    depth: u16,
    /// Requests
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Bytes from one request to the next; without it, the size of a request
    #[arg(long, value_parser = size::parse)]
    step: Option<u64>,
    /// The host's cache
    #[arg(long, value_enum, default_value = "writeback")]
    cache: Cache,
    /// Flush after so many writes; 0 for only at the end
    #[arg(long, default_value_t = 0)]
    flush: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    opening: files::Opening,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Op {
    /// Read
    Read,
    /// Write
    Write,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Cache {
    /// Past the host's cache
    None,
    /// Through it
    Writeback,
}

#[derive(Debug, Serialize)]
struct Figures {
    op: Op,
    seconds: f64,
    requests: u64,
    bytes: u64,
    iops: f64,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        if self.cache == Cache::None {
            return Err(Error::Use(
                "--cache none is not there yet: images are opened through the host's cache only".to_owned(),
            ));
        }
        let read_only = self.op == Op::Read;
        let disk = files::open(&self.path, &self.opening.for_writing().read_only(read_only))?;
        if self.bs == 0 || self.bs > disk.len().min(64 << 20) {
            return Err(Error::Use(
                "--bs must be from 1 to the disk's size, and at most 64M".to_owned(),
            ));
        }
        let seconds = self.measure(&disk).map_err(|e| Error::wrong(&e))?;
        disk.close().map_err(|e| Error::wrong(&e))?;
        let figures = Figures {
            op: self.op,
            seconds,
            requests: self.count,
            bytes: self.count.saturating_mul(self.bs),
            iops: self.count as f64 / seconds,
        };
        if self.json {
            crate::cli::print_json(&figures)?;
        } else {
            println!(
                "completed in {seconds:.6} seconds, {:.0} requests per second",
                figures.iops
            );
        }
        Ok(exit::DONE)
    }

    fn measure(&self, disk: &vhd::Disk) -> vhd::Result<f64> {
        let next = AtomicU64::new(0);
        let start = Instant::now();
        let work = || self.work(disk, &next);
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..self.depth).map(|_| scope.spawn(work)).collect();
            let mut result = work();
            for other in others {
                // A thread that panicked has said so; there is no figure then.
                let other = other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result = result.and(other);
            }
            result
        })?;
        if self.op == Op::Write {
            disk.flush()?;
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// Does requests until there are none left.
    fn work(&self, disk: &vhd::Disk, next: &AtomicU64) -> vhd::Result<()> {
        let mut buffer = vec![0x5a; self.bs as usize];
        // The last place where a whole request fits.
        let places = u128::from(disk.len() - self.bs) + 1;
        let step = u128::from(self.step.unwrap_or(self.bs));
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                return Ok(());
            }
            let place = (u128::from(index) * step % places) as u64;
            // A wrap must not make aligned requests unaligned.
            let offset = place - place % self.bs;
            match self.op {
                Op::Read => disk.read_at(offset, &mut buffer)?,
                Op::Write => {
                    disk.write_at(offset, &buffer)?;
                    if self.flush != 0 && (index + 1).is_multiple_of(self.flush) {
                        disk.flush()?;
                    }
                }
            }
        }
    }
}
