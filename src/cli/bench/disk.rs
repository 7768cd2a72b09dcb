// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc bench disk`

use super::stop::{Goal, Stop};
use crate::bench::guest::{self, Setup, Slot};
use crate::bench::job::{Device, Job, Operation};
use crate::bench::report::{JobReport, Report};
use crate::bench::{Outcome, layer, plot};
use crate::cli::disk::Opening;
use crate::cli::{Error, exit, size};
use crate::host::ring::Caching;
use crate::hypervisor;
use crate::machine::CPUS_MOST;
use crate::storage::Image;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Measures a disk: the image's chain alone, or in a machine behind IDE or virtio.
///
/// The machine runs a small guest that this program carries, without an operating system. After writes the disk is flushed, inside
/// of the measured time. Without --size, --io-size and --runtime it goes on for 5 seconds.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image
    path: PathBuf,
    /// What is measured
    #[arg(long, value_enum, default_value = "layer")]
    level: Level,
    /// What requests do
    #[arg(long, value_enum, default_value = "read")]
    rw: Access,
    /// Bytes of a request
    #[arg(long, value_parser = size::parse, default_value = "4K", value_name = "SIZE")]
    bs: u64,
    /// Requests under way at once in each job; IDE has no more than one
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    iodepth: u16,
    /// Jobs at once, each on its share of the disk: threads, or queues of a virtio disk
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=8))]
    jobs: u16,
    /// Use only so much of the disk, from its start on; without --runtime, once
    #[arg(long, value_parser = size::parse, value_name = "SIZE")]
    size: Option<u64>,
    /// Go on for so many seconds, over and over
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    runtime: Option<Duration>,
    /// Stop after so much was moved by each job
    #[arg(long, value_parser = size::parse, value_name = "SIZE", conflicts_with = "runtime")]
    io_size: Option<u64>,
    /// Of a hundred requests of randrw, so many read
    #[arg(long, default_value_t = 50, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    rwmixread: u8,
    /// Each request so many bytes further than the one before, in place of the order that --rw says
    #[arg(long, value_parser = size::parse, value_name = "SIZE")]
    step: Option<u64>,
    /// Seed of random orders and of what --verify writes
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Write what tells its place and time, and read it again afterwards; of reads, look at what --verify wrote before
    #[arg(long)]
    verify: bool,
    /// Past the host's cache (--level layer)
    #[arg(long)]
    direct: bool,
    /// Flush after so many writes, too (--level layer)
    #[arg(long, default_value_t = 0, value_name = "N")]
    fsync: u64,
    /// By the data register, not by the bus master (--level ide)
    #[arg(long)]
    pio: bool,
    /// The guest looks for completions again and again, and does not wait for interrupts (--level ide, virtio)
    #[arg(long)]
    poll: bool,
    /// Write to an image that holds data, which is lost
    #[arg(long)]
    destroy: bool,
    /// Print JSON, in fio's fields
    #[arg(long)]
    json: bool,
    /// Draw latencies, and IOPS over time: FILE.svg or FILE.png
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    opening: Opening,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Level {
    /// The image's chain alone
    Layer,
    /// In a machine, as IDE primary master
    Ide,
    /// In a machine, as a virtio disk
    Virtio,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lowercase")]
enum Access {
    /// Read in order
    Read,
    /// Write in order
    Write,
    /// Read in random order
    RandRead,
    /// Write in random order
    RandWrite,
    /// Both, in random order
    RandRw,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    let wrong = || format!("`{text}` is no time: use seconds, such as 5 or 0.5");
    let seconds: f64 = number.parse().map_err(|_| wrong())?;
    if !(0.001..=1e6).contains(&seconds) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(seconds))
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        self.check()?;
        if let Some(path) = &self.plot {
            plot::check(path).map_err(|e| Error::wrong(&e))?;
        }
        let job = self.job()?;
        let read_only = job.operation.only_reads();
        if !read_only {
            self.refuse_data()?;
        }
        let hypervisor = match self.level {
            Level::Layer => None,
            Level::Ide | Level::Virtio => {
                guest::image().map_err(|e| Error::wrong(&e))?;
                Some(hypervisor::open().map_err(Error::Unavailable)?)
            }
        };
        let disk = self
            .opening
            .open(&self.path, &self.opening.for_writing().read_only(read_only))?;
        let goal = match self.time() {
            Some(time) => Goal::Time(time),
            None => Goal::Requests(job.requests * u64::from(job.jobs)),
        };
        let stop = Stop::heed(goal, format!("{} {}", job.operation.name(), self.path.display()))?;
        let outcome = match hypervisor {
            None => self.layer(disk, &job, &stop),
            Some(hypervisor) => self.in_machine(disk, &job, &*hypervisor, &stop),
        };
        stop.end()?;
        let outcome = outcome?;
        let report = Report::new(
            &job,
            &outcome,
            self.level.name(),
            &self.path.display().to_string(),
            self.direct,
        );
        if let Some(path) = &self.plot {
            plot::save(path, &[("", &report)]).map_err(|e| super::unwritable(path, &e))?;
        }
        if self.json {
            crate::cli::print_json(&report)?;
        } else {
            report.jobs.iter().for_each(print);
        }
        Ok(exit::DONE)
    }

    /// Mixes of options that cannot be meant.
    fn check(&self) -> Result<(), Error> {
        let wrong = |text: &str| Err(Error::Use(text.to_owned()));
        let layer = self.level == Level::Layer;
        if self.direct && !layer {
            return wrong(
                "--direct: disks of machines use the host's cache; only --level layer goes past it",
            );
        }
        if self.fsync != 0 && !layer {
            return wrong("--fsync: only --level layer flushes in between");
        }
        if self.pio && self.level != Level::Ide {
            return wrong("--pio is for --level ide");
        }
        if self.poll && layer {
            return wrong(
                "--poll is for --level ide and virtio: without a guest nobody waits for interrupts",
            );
        }
        if self.level == Level::Ide && (self.iodepth > 1 || self.jobs > 1) {
            return wrong(
                "--level ide: an IDE disk takes one request at a time, so --iodepth and --jobs must be 1",
            );
        }
        if self.verify && self.step.is_some() {
            return wrong("--verify needs an order that takes every block: leave out --step");
        }
        if u32::from(self.iodepth) * u32::from(self.jobs) > 256 {
            return wrong("--iodepth times --jobs must be 256 at most");
        }
        Ok(())
    }

    fn time(&self) -> Option<Duration> {
        const BY_DEFAULT: Duration = Duration::from_secs(5);
        let bounded = self.size.is_some() || self.io_size.is_some();
        self.runtime.or((!bounded).then_some(BY_DEFAULT))
    }

    fn job(&self) -> Result<Job, Error> {
        const SECTOR: u64 = 512;
        const LARGEST: u64 = 1 << 20;
        let len = self.opening.open(&self.path, &self.opening.read_only())?.len();
        let (block, jobs) = (self.bs, u64::from(self.jobs));
        if block == 0
            || !block.is_multiple_of(SECTOR)
            || (self.level != Level::Layer && block > LARGEST)
            || block > 64 << 20
        {
            return Err(Error::Use(format!(
                "--bs must be a multiple of 512, and {} at most",
                if self.level == Level::Layer { "64M" } else { "1M" }
            )));
        }
        let size = self.size.unwrap_or(len);
        if size > len {
            return Err(Error::Use(format!(
                "--size: `{}` has {len} bytes only",
                self.path.display()
            )));
        }
        let blocks = size / block / jobs;
        if blocks == 0 {
            return Err(Error::Use(format!(
                "{size} bytes are too few for {jobs} jobs of requests of {block} bytes: make --bs smaller, or --size larger"
            )));
        }
        // Two writes of a block that are under way together could end in any order.
        if self.verify && blocks < u64::from(self.iodepth) {
            return Err(Error::Use(
                "--verify needs at least --iodepth blocks in --size".to_owned(),
            ));
        }
        if self
            .step
            .is_some_and(|step| step == 0 || !step.is_multiple_of(block))
        {
            return Err(Error::Use("--step must be a multiple of --bs".to_owned()));
        }
        let time = self.time();
        let requests = match (time, self.io_size) {
            (Some(_), _) => 0,
            (None, Some(bytes)) => bytes.div_ceil(block).max(1),
            (None, None) => blocks,
        };
        Ok(Job {
            device: match (self.level, self.pio) {
                (Level::Ide, true) => Device::Pio,
                (Level::Ide, false) => Device::Dma,
                (Level::Virtio | Level::Layer, _) => Device::Virtio,
            },
            operation: self.rw.operation(),
            block: block as u32,
            depth: u32::from(self.iodepth),
            jobs: u32::from(self.jobs),
            size: blocks * block * jobs,
            // Of two writes of a block that are under way at a time, nobody can say which comes last: what is verified is written once.
            requests: match (self.verify && !self.rw.operation().only_reads(), requests) {
                (true, 0) => blocks,
                (true, wanted) => wanted.min(blocks),
                (false, wanted) => wanted,
            },
            runtime: time.map_or(0, |time| time.as_micros() as u64),
            reads: u32::from(self.rwmixread),
            step: self.step.unwrap_or(0) / block,
            seed: self.seed,
            verify: self.verify,
            poll: self.poll,
            progress: 100_000,
            settle: 0,
        })
    }

    /// Refuses an image that has anything but zeros in it, or in a parent.
    fn refuse_data(&self) -> Result<(), Error> {
        if self.destroy {
            return Ok(());
        }
        let disk = self.opening.open(&self.path, &self.opening.read_only())?;
        match first_data(&disk).map_err(|e| Error::wrong(&e))? {
            None => Ok(()),
            Some(offset) => Err(Error::Use(format!(
                "`{}` holds data (the first at byte {offset} of the disk), which --rw {} would destroy. Make a new image with \
                 `vpc disk create`, or say --destroy if it may be lost",
                self.path.display(),
                self.rw.operation().name()
            ))),
        }
    }

    fn layer(&self, disk: vhd::Disk, job: &Job, stop: &Stop) -> Result<Outcome, Error> {
        let disk = Arc::new(disk);
        let caching = if self.direct {
            Caching::Direct
        } else {
            Caching::Cached
        };
        let outcome = layer::run(&disk, job, caching, self.fsync, stop).map_err(|e| match e {
            layer::Error::Host(_) => Error::host(&e),
            _ => self.about(&e),
        });
        if let Some(disk) = Arc::into_inner(disk) {
            disk.close().map_err(|e| Error::wrong(&e))?;
        }
        outcome
    }

    fn in_machine(
        &self,
        disk: vhd::Disk,
        job: &Job,
        hypervisor: &dyn hypervisor::Hypervisor,
        stop: &Stop,
    ) -> Result<Outcome, Error> {
        let slot = match self.level {
            Level::Virtio => Slot::Virtio,
            Level::Ide | Level::Layer => Slot::Ide,
        };
        let setup = Setup {
            command_line: format!("mode=disk {job}"),
            buffers: u64::from(job.block) * u64::from(job.depth) * u64::from(job.jobs),
            cpus: (job.jobs as u8).clamp(1, CPUS_MOST),
            irqchip: hypervisor.default_irqchip(),
            image: Some((slot, Image::new(disk, &self.path))),
        };
        let told = guest::run(setup, hypervisor, stop).map_err(|e| self.about(&e))?;
        Ok(told.outcome)
    }

    fn about(&self, error: &dyn std::error::Error) -> Error {
        Error::Use(format!(
            "`{}`: {}",
            self.path.display(),
            crate::storage::chain(error)
        ))
    }
}

impl Access {
    fn operation(self) -> Operation {
        match self {
            Self::Read => Operation::Read,
            Self::Write => Operation::Write,
            Self::RandRead => Operation::RandRead,
            Self::RandWrite => Operation::RandWrite,
            Self::RandRw => Operation::RandRw,
        }
    }
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Ide => "ide",
            Self::Virtio => "virtio",
        }
    }
}

/// The first byte that is no zero, to a page.
fn first_data(disk: &vhd::Disk) -> vhd::Result<Option<u64>> {
    const PIECE: u64 = 256 << 10;
    let mut ranges = Vec::new();
    vhd::map::map(disk, &vhd::Watch::default(), |extent| {
        if !matches!(extent.source, vhd::Source::Zero) {
            ranges.push(extent.offset..extent.offset + extent.len);
        }
    })?;
    let mut data = vec![0; PIECE as usize];
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(PIECE) as usize;
            let Some(piece) = data.get_mut(..len) else {
                break;
            };
            disk.read_at(at, piece)?;
            if let Some(first) = piece.iter().position(|byte| *byte != 0) {
                return Ok(Some(at + first as u64));
            }
            at += len as u64;
        }
    }
    Ok(None)
}

/// A result in words.
fn print(job: &JobReport) {
    for (name, direction) in [("read", &job.read), ("write", &job.write)] {
        if direction.total_ios == 0 {
            continue;
        }
        println!(
            "{name}: {:.0} IOPS, {:.1} MB/s: {} requests in {:.3} s",
            direction.iops,
            direction.bw_bytes as f64 / 1e6,
            direction.total_ios,
            job.vpc
                .as_ref()
                .map_or(direction.runtime as f64 / 1e3, |own| own.seconds),
        );
        let latency = &direction.clat_ns;
        let at = |parts| Micros(latency.at(parts).unwrap_or(0));
        println!(
            "  latency: least {}, mean {}, 50 % {}, 90 % {}, 99 % {}, 99.9 % {}, most {}",
            Micros(latency.min),
            Micros(latency.mean as u64),
            at(500_000),
            at(900_000),
            at(990_000),
            at(999_000),
            Micros(latency.max)
        );
    }
    if let Some(own) = &job.vpc {
        print!("{:.2} us of processor time a request", own.cpu_us_per_io);
        if let Some(exits) = &own.exits_per_io {
            print!(
                ", {:.2} exits (ports: {:.2} in, {:.2} out; memory: {:.2} loads, {:.2} stores)",
                exits.total, exits.port_reads, exits.port_writes, exits.memory_reads, exits.memory_writes
            );
        }
        println!();
        if let Some(sectors) = own.verified_sectors {
            println!("{sectors} sectors were read again, and are right");
        }
    }
}

/// Nanoseconds, shown as microseconds.
struct Micros(u64);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} us", self.0 as f64 / 1e3)
    }
}
