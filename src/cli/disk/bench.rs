// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk bench`

use super::files;
use crate::cli::{Error, exit, size};
use crate::host::ring::{Buffer, Caching, Kind, Slices};
use crate::host::{peak_memory, processor_time};
use crate::storage::engine::{Engine, Operation, Request};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod latency;

use latency::Latencies;

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
    /// Requests under way at once
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Cache {
    /// Past the host's cache
    None,
    /// Through it
    Writeback,
}

/// What was measured. Processor time and latencies are of the measured part alone, memory is the whole process's.
#[derive(Debug, Serialize)]
struct Figures {
    op: Op,
    cache: Cache,
    ring: &'static str,
    seconds: f64,
    requests: u64,
    bytes: u64,
    iops: f64,
    megabytes_per_second: f64,
    latency_us: latency::Summary,
    cpu_us_per_request: f64,
    peak_memory_bytes: u64,
}

/// A flush is no place in the list of buffers.
const FLUSH: usize = usize::MAX;

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let read_only = self.op == Op::Read;
        let disk = self
            .opening
            .open(&self.path, &self.opening.for_writing().read_only(read_only))?;
        if self.bs == 0 || self.bs > disk.len().min(64 << 20) {
            return Err(Error::Use(
                "--bs must be from 1 to the disk's size, and at most 64M".to_owned(),
            ));
        }
        let disk = Arc::new(disk);
        let caching = match self.cache {
            Cache::None => Caching::Direct,
            Cache::Writeback => Caching::Cached,
        };
        let engine = Engine::new(Arc::clone(&disk), caching, self.depth).map_err(|e| Error::host(&e))?;
        if engine.caching() != caching {
            return Err(Error::Use(format!(
                "--cache none: the volume of `{}` or of one of its parents has no I/O past the host's cache",
                self.path.display()
            )));
        }
        let figures = self.measure(engine, &disk)?;
        if let Some(disk) = Arc::into_inner(disk) {
            disk.close().map_err(|e| Error::wrong(&e))?;
        }
        if self.json {
            crate::cli::print_json(&figures)?;
        } else {
            println!(
                "completed in {:.6} seconds, {:.0} requests per second, {:.1} us of processor time each",
                figures.seconds, figures.iops, figures.cpu_us_per_request
            );
        }
        Ok(exit::DONE)
    }

    fn measure(&self, mut engine: Engine<usize>, disk: &vhd::Disk) -> Result<Figures, Error> {
        let ring = match engine.kind() {
            Kind::Uring => "io_uring",
            Kind::Blocking => "blocking",
        };
        // Aligned, as a guest's memory is.
        let mut buffers: Vec<Buffer> = (0..self.depth)
            .map(|_| Buffer::zeroed(self.bs as usize, 4096))
            .collect();
        buffers
            .iter_mut()
            .filter_map(Buffer::bytes)
            .for_each(|bytes| bytes.fill(0x5a));
        let mut latencies = Latencies::default();
        let mut begun = vec![Instant::now(); buffers.len()];
        let used = processor_time().map_err(|e| Error::host(&e))?;
        let start = Instant::now();
        let mut next = 0;
        for (tag, buffer) in buffers
            .iter()
            .enumerate()
            .take(self.count.min(u64::from(self.depth)) as usize)
        {
            engine.push(self.request(disk, tag, next, buffer.slices()));
            next += 1;
        }
        while engine.under_way() > 0 {
            engine.wait().map_err(|e| Error::host(&e))?;
            // One look at the clock for all that came together.
            let now = Instant::now();
            while let Some(completion) = engine.next() {
                completion.result.map_err(|e| Error::wrong(&e))?;
                let Request { tag, memory, .. } = completion.request;
                let Some(begun) = begun.get_mut(tag) else { continue };
                latencies.add(now.duration_since(*begun));
                *begun = now;
                if self.op == Op::Write
                    && self.flush != 0
                    && next.is_multiple_of(self.flush)
                    && next <= self.count
                {
                    engine.push(Request {
                        tag: FLUSH,
                        operation: Operation::Flush,
                        offset: 0,
                        memory: Slices::default(),
                    });
                }
                if next < self.count {
                    engine.push(self.request(disk, tag, next, memory));
                    next += 1;
                }
            }
        }
        if self.op == Op::Write {
            disk.flush().map_err(|e| Error::wrong(&e))?;
        }
        let elapsed = start.elapsed();
        let used = processor_time()
            .map_err(|e| Error::host(&e))?
            .saturating_sub(used);
        let bytes = self.count.saturating_mul(self.bs);
        let seconds = elapsed.max(Duration::from_nanos(1)).as_secs_f64();
        Ok(Figures {
            op: self.op,
            cache: self.cache,
            ring,
            seconds,
            requests: self.count,
            bytes,
            iops: self.count as f64 / seconds,
            megabytes_per_second: bytes as f64 / 1e6 / seconds,
            latency_us: latencies.summary(),
            cpu_us_per_request: used.as_secs_f64() * 1e6 / self.count as f64,
            peak_memory_bytes: peak_memory(),
        })
    }

    fn request(&self, disk: &vhd::Disk, tag: usize, index: u64, memory: Slices) -> Request<usize> {
        // The last place where a whole request fits.
        let places = u128::from(disk.len() - self.bs) + 1;
        let step = u128::from(self.step.unwrap_or(self.bs));
        let place = (u128::from(index) * step % places) as u64;
        let operation = match self.op {
            Op::Read => Operation::Read,
            Op::Write => Operation::Write,
        };
        Request {
            tag,
            operation,
            // A wrap must not make aligned requests unaligned.
            offset: place - place % self.bs,
            memory,
        }
    }
}
