// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a benchmark does, as the words of a kernel's command line. Part of the program, which writes them, and of the benchmark guest, which
//! reads them.

use super::sequence::{Sequence, mix};
use core::fmt;

/// Where requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The primary master, by the bus master.
    Dma,
    /// The primary master, by the data register.
    Pio,
    /// The disc in the secondary master, by the bus master.
    Dvd,
    /// The first virtio disk.
    Virtio,
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reads in rising order.
    Read,
    /// Writes in rising order.
    Write,
    /// Reads in random order.
    RandRead,
    /// Writes in random order.
    RandWrite,
    /// Both, in random order.
    RandRw,
}

/// What to do. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Where requests go.
    pub device: Device,
    /// What they are.
    pub operation: Operation,
    /// Bytes of each.
    pub block: u32,
    /// Requests under way at once in each job.
    pub depth: u32,
    /// Jobs, each with its share of the disk.
    pub jobs: u32,
    /// Of the disk, from its start on, what is used by all jobs.
    pub size: u64,
    /// Requests of each job; 0 for as many as there is time for.
    pub requests: u64,
    /// Microseconds after which no request begins; 0 for no such limit.
    pub runtime: u64,
    /// Of a hundred requests of [`Operation::RandRw`], how many read.
    pub reads: u32,
    /// Blocks from one request to the next, in place of the operation's order; 0 for that.
    pub step: u64,
    /// Of random orders and of what is written.
    pub seed: u64,
    /// Write content that tells what it is, and look at what was read; after writes all is read again.
    pub verify: bool,
    /// Look for completions again and again instead of waiting for interrupts.
    pub poll: bool,
    /// Microseconds between lines that tell how far it is; 0 for none.
    pub progress: u64,
    /// Microseconds to halt before the first request and after the last, for those who look at the process from outside.
    pub settle: u64,
}

/// One request of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Read, or else write.
    pub read: bool,
    /// Which block of the disk.
    pub block: u64,
    /// How often the job has been through its blocks before.
    pub round: u64,
}

impl Operation {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::RandRead => "randread",
            Self::RandWrite => "randwrite",
            Self::RandRw => "randrw",
        }
    }

    /// Nothing is written.
    #[must_use]
    pub fn only_reads(self) -> bool {
        matches!(self, Self::Read | Self::RandRead)
    }
}

impl Device {
    fn name(self) -> &'static str {
        match self {
            Self::Dma => "dma",
            Self::Pio => "pio",
            Self::Dvd => "dvd",
            Self::Virtio => "virtio",
        }
    }
}

impl Job {
    /// Blocks of each job.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.size / u64::from(self.block.max(1)) / u64::from(self.jobs.max(1))
    }

    /// The `index`th request of a job.
    #[must_use]
    pub fn request(&self, job: u32, index: u64) -> Request {
        let blocks = self.blocks();
        let random = matches!(
            self.operation,
            Operation::RandRead | Operation::RandWrite | Operation::RandRw
        );
        let sequence = match (self.step, random) {
            (0, true) => Sequence::random(blocks, mix(self.seed ^ u64::from(job))),
            (0, false) => Sequence::rising(blocks),
            (step, _) => Sequence::strided(blocks, step),
        };
        let (block, round) = sequence.block(index);
        Request {
            read: match self.operation {
                Operation::RandRw => mix(self.seed ^ index.rotate_left(32)) % 100 < u64::from(self.reads),
                operation => operation.only_reads(),
            },
            block: u64::from(job) * blocks + block,
            round,
        }
    }

    /// The last write to the block of the `place`th request of a round, when `issued` requests have been made.
    #[must_use]
    pub fn last_write(&self, job: u32, place: u64, issued: u64) -> Option<Request> {
        let blocks = self.blocks().max(1);
        if place >= issued {
            return None;
        }
        let mut index = place + (issued - 1 - place) / blocks * blocks;
        loop {
            let request = self.request(job, index);
            if !request.read {
                return Some(request);
            }
            index = index.checked_sub(blocks)?;
        }
    }

    /// Reads the words of a command line; those that it does not know belong to someone else.
    ///
    /// # Errors
    /// The word that has no meaning.
    pub fn parse(line: &str) -> Result<Self, &str> {
        let mut job = Self::default();
        for word in line.split_ascii_whitespace() {
            let Some((key, value)) = word.split_once('=') else {
                continue;
            };
            let number = || value.parse::<u64>().map_err(|_| word);
            let small = || value.parse::<u32>().map_err(|_| word);
            match key {
                "device" => {
                    job.device = *[Device::Dma, Device::Pio, Device::Dvd, Device::Virtio]
                        .iter()
                        .find(|device| device.name() == value)
                        .ok_or(word)?;
                }
                "rw" => {
                    use Operation::{RandRead, RandRw, RandWrite, Read, Write};
                    job.operation = *[Read, Write, RandRead, RandWrite, RandRw]
                        .iter()
                        .find(|operation| operation.name() == value)
                        .ok_or(word)?;
                }
                "bs" => job.block = small()?,
                "depth" => job.depth = small()?,
                "jobs" => job.jobs = small()?,
                "size" => job.size = number()?,
                "requests" => job.requests = number()?,
                "runtime" => job.runtime = number()?,
                "reads" => job.reads = small()?,
                "step" => job.step = number()?,
                "seed" => job.seed = number()?,
                "verify" => job.verify = value == "1",
                "poll" => job.poll = value == "1",
                "progress" => job.progress = number()?,
                "settle" => job.settle = number()?,
                _ => {}
            }
        }
        Ok(job)
    }
}

impl Default for Job {
    fn default() -> Self {
        Self {
            device: Device::Virtio,
            operation: Operation::Read,
            block: 4096,
            depth: 1,
            jobs: 1,
            size: 0,
            requests: 0,
            runtime: 0,
            reads: 50,
            step: 0,
            seed: 1,
            verify: false,
            poll: false,
            progress: 0,
            settle: 0,
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "device={} rw={} bs={} depth={} jobs={} size={} requests={} runtime={} reads={} step={} seed={} verify={} poll={} progress={} settle={}",
            self.device.name(),
            self.operation.name(),
            self.block,
            self.depth,
            self.jobs,
            self.size,
            self.requests,
            self.runtime,
            self.reads,
            self.step,
            self.seed,
            u8::from(self.verify),
            u8::from(self.poll),
            self.progress,
            self.settle
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_command_line_says_all_of_a_job() {
        let job = Job {
            device: Device::Pio,
            operation: Operation::RandRw,
            block: 512,
            depth: 3,
            jobs: 2,
            size: 1 << 40,
            requests: 5,
            runtime: 6,
            reads: 70,
            step: 9,
            seed: u64::MAX,
            verify: true,
            poll: true,
            progress: 8,
            settle: 11,
        };
        assert_eq!(Job::parse(&job.to_string()), Ok(job));
        assert_eq!(Job::parse("mode=disk console=ttyS0 quiet"), Ok(Job::default()));
        for wrong in ["bs=x", "bs=-1", "bs=99999999999", "rw=erase", "device=", "size="] {
            assert_eq!(Job::parse(wrong), Err(wrong));
        }
    }

    #[test]
    fn jobs_keep_to_their_shares() {
        let job = Job {
            operation: Operation::RandRead,
            jobs: 3,
            size: 100 * 4096,
            ..Job::default()
        };
        let mut seen = std::collections::HashSet::new();
        for number in 0..3 {
            for index in 0..job.blocks() {
                let block = job.request(number, index).block;
                assert!(block / 33 == u64::from(number) && seen.insert(block));
            }
        }
        assert_eq!(seen.len(), 99);
    }

    #[test]
    fn the_last_write_of_every_block_is_known() {
        for operation in [Operation::Write, Operation::RandWrite, Operation::RandRw] {
            let job = Job {
                operation,
                size: 10 * 4096,
                ..Job::default()
            };
            for issued in [0, 1, 9, 10, 11, 25, 40] {
                let mut last = std::collections::BTreeMap::new();
                for request in (0..issued).map(|index| job.request(0, index)) {
                    if !request.read {
                        last.insert(request.block, request.round);
                    }
                }
                let told = (0..job.blocks()).filter_map(|place| job.last_write(0, place, issued));
                assert!(
                    last.into_iter().eq(told
                        .map(|r| (r.block, r.round))
                        .collect::<std::collections::BTreeMap<_, _>>())
                );
            }
        }
    }

    #[test]
    fn a_mix_has_about_as_many_reads_as_it_should() {
        let job = Job {
            operation: Operation::RandRw,
            reads: 70,
            size: 1 << 30,
            ..Job::default()
        };
        let reads = (0..10_000).filter(|&index| job.request(0, index).read).count();
        assert!((6800..7200).contains(&reads), "{reads}");
    }
}
