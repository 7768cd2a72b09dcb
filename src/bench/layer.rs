// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Jobs on an image's chain alone: no machine, one thread a job.

use super::histogram::Histogram;
use super::job::{Job, Request};
use super::pattern::{self, SECTOR};
use super::{Outcome, Watch};
use crate::host::processor_time;
use crate::host::ring::{Buffer, Caching, Kind, Slices};
use crate::storage::engine::{self, Engine, Operation};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has no ring or thread for it.
    #[error("the host cannot run the jobs")]
    Host(#[from] io::Error),
    /// The volume has no I/O past the page cache.
    #[error("the volume of the image, or of one of its parents, has no I/O past the host's cache (--direct)")]
    NotDirect,
    /// A request failed.
    #[error(transparent)]
    Disk(#[from] vhd::Error),
    /// A sector does not hold what it should.
    #[error("verify: sector {sector} {wrong}")]
    Content {
        /// Which, of 512 bytes.
        sector: u64,
        /// How.
        wrong: pattern::Wrong,
    },
    /// Something stops it.
    #[error("stopped before the end")]
    Stopped,
}

/// A flush is no place in the list of buffers.
const FLUSH: usize = usize::MAX;

/// Runs a job's jobs at once. `flush`: after so many writes of a job there is a flush; 0 for only one at the end.
///
/// # Errors
/// See [`Error`].
pub fn run(
    disk: &Arc<vhd::Disk>,
    job: &Job,
    caching: Caching,
    flush: u64,
    watch: &dyn Watch,
) -> Result<Outcome, Error> {
    let depth = u16::try_from(job.depth).unwrap_or(u16::MAX);
    // An engine belongs to its thread; none begins before all are there, with their memory, and one that is missing keeps nobody waiting.
    let begin = Barrier::new(job.jobs as usize);
    let (used, failed) = (OnceLock::new(), AtomicBool::new(false));
    let mut results: Vec<Result<Account, Error>> = std::thread::scope(|scope| {
        let work = |number| {
            let (worker, begin) = (Worker::new(disk, job, number, flush, watch, &failed), &begin);
            let (used, failed) = (&used, &failed);
            move || {
                let engine = Engine::new(disk.clone(), caching, depth);
                let buffers = buffers(job);
                if begin.wait().is_leader() {
                    let _ = used.set(processor_time());
                }
                let done = match engine {
                    Ok(engine) if engine.caching() != caching => Err(Error::NotDirect),
                    Ok(engine) => worker.run(engine, &buffers),
                    Err(error) => Err(Error::Host(error)),
                };
                if done.is_err() {
                    failed.store(true, Ordering::Relaxed);
                }
                done
            }
        };
        // The last one is this thread's own, so that a single job is measured without another.
        let own = job.jobs.saturating_sub(1);
        let threads: Vec<_> = (0..own).map(|number| scope.spawn(work(number))).collect();
        let own = work(own)();
        let others = threads.into_iter().map(|thread| {
            let panicked = || Error::Host(io::Error::other("a job's thread panicked"));
            thread.join().unwrap_or_else(|_| Err(panicked()))
        });
        others.chain([own]).collect()
    });
    let mut outcome = Outcome::default();
    let mut accounts = Vec::new();
    // One that was stopped because another one failed has less to tell than that.
    results.sort_by_key(|result| matches!(result, Ok(_) | Err(Error::Stopped)));
    for result in results {
        let account = result?;
        outcome.reads.merge(&account.reads);
        outcome.writes.merge(&account.writes);
        outcome.elapsed = outcome.elapsed.max(account.elapsed);
        outcome.ring = account.ring;
        accounts.push(account);
    }
    let used = used.into_inner().unwrap_or_else(processor_time)?;
    outcome.processor = processor_time()?.saturating_sub(used);
    outcome.timeline = add_up(&accounts);
    if job.verify && !job.operation.only_reads() {
        let mut sectors = 0;
        for (number, account) in (0..).zip(&accounts) {
            sectors += read_again(disk, job, number, account.issued, watch)?;
        }
        outcome.verified = Some(sectors);
    }
    Ok(outcome)
}

/// The memory of a job's requests: aligned, as a guest's is, and no zeros.
fn buffers(job: &Job) -> Vec<Buffer> {
    let block = job.block as usize;
    let mut buffers: Vec<Buffer> = (0..job.depth).map(|_| Buffer::zeroed(block, 4096)).collect();
    for (sector, bytes) in (0..).zip(buffers.iter_mut().filter_map(Buffer::bytes)) {
        pattern::fill(bytes, job.seed, sector, 0);
    }
    buffers
}

/// What one job did.
#[derive(Default)]
struct Account {
    reads: Histogram,
    writes: Histogram,
    elapsed: Duration,
    issued: u64,
    ring: Option<&'static str>,
    /// Requests that were done at each step of time.
    timeline: Vec<(Duration, u64)>,
}

/// All jobs' requests, at the steps of the first.
fn add_up(accounts: &[Account]) -> Vec<(Duration, u64)> {
    let Some((first, others)) = accounts.split_first() else {
        return Vec::new();
    };
    let steps = first.timeline.iter().map(|&(at, done)| {
        let others = others.iter().map(|account| {
            let before = account.timeline.partition_point(|(other, _)| *other <= at);
            before
                .checked_sub(1)
                .and_then(|n| account.timeline.get(n))
                .map_or(0, |(_, done)| *done)
        });
        (at, done + others.sum::<u64>())
    });
    steps.collect()
}

/// One job.
struct Worker<'a> {
    disk: &'a vhd::Disk,
    job: &'a Job,
    number: u32,
    flush: u64,
    watch: &'a dyn Watch,
    /// Another job has failed, and so has the whole.
    failed: &'a AtomicBool,
    account: Account,
    start: Instant,
}

impl<'a> Worker<'a> {
    fn new(
        disk: &'a vhd::Disk,
        job: &'a Job,
        number: u32,
        flush: u64,
        watch: &'a dyn Watch,
        failed: &'a AtomicBool,
    ) -> Self {
        Self {
            disk,
            job,
            number,
            flush,
            watch,
            failed,
            account: Account::default(),
            start: Instant::now(),
        }
    }

    fn run(mut self, mut engine: Engine<usize>, buffers: &[Buffer]) -> Result<Account, Error> {
        let mut scratch = vec![0; self.job.block as usize];
        let nothing = Request {
            read: true,
            block: 0,
            round: 0,
        };
        let mut under_way = vec![(Instant::now(), nothing); buffers.len()];
        self.start = Instant::now();
        let mut next_step = Duration::ZERO;
        for (tag, buffer) in buffers.iter().enumerate() {
            if let Some(slot) = under_way.get_mut(tag) {
                *slot = (Instant::now(), nothing);
                self.push(&mut engine, tag, buffer.slices(), &mut scratch, &mut slot.1);
            }
        }
        while engine.under_way() > 0 {
            engine.wait()?;
            // One look at the clock for all that came together.
            let now = Instant::now();
            // No more than could be under way: zeros are there as soon as they are asked for, again and again.
            for _ in 0..=buffers.len() {
                let Some(completion) = engine.next() else {
                    break;
                };
                completion.result?;
                let engine::Request { tag, memory, .. } = completion.request;
                let Some((begun, request)) = under_way.get_mut(tag) else {
                    continue;
                };
                let latency = now.duration_since(*begun).as_nanos() as u64;
                if request.read {
                    self.account.reads.add(latency);
                    if self.job.verify && self.job.operation.only_reads() {
                        memory.copy_to(&mut scratch);
                        check(self.job, &scratch, request.block, None)?;
                    }
                } else {
                    self.account.writes.add(latency);
                    let writes = self.account.writes.count();
                    if self.flush != 0 && writes.is_multiple_of(self.flush) {
                        engine.push(engine::Request {
                            tag: FLUSH,
                            operation: Operation::Flush,
                            offset: 0,
                            memory: Slices::default(),
                        });
                    }
                }
                *begun = now;
                if !self.is_over(now) {
                    self.push(&mut engine, tag, memory, &mut scratch, request);
                }
            }
            let elapsed = now.duration_since(self.start);
            if elapsed >= next_step {
                self.step(elapsed)?;
                next_step = elapsed + Duration::from_micros(self.job.progress.max(1000));
            }
        }
        if !self.job.operation.only_reads() {
            self.disk.flush()?;
        }
        self.account.elapsed = self.start.elapsed();
        self.account.ring = Some(match engine.kind() {
            Kind::Uring => "io_uring",
            Kind::Blocking => "blocking",
        });
        Ok(self.account)
    }

    /// Tells how far it is.
    fn step(&mut self, elapsed: Duration) -> Result<(), Error> {
        if self.watch.stopped() || self.failed.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let done = self.account.reads.count() + self.account.writes.count();
        if self.job.progress != 0 {
            self.account.timeline.push((elapsed, done));
        }
        if self.number + 1 == self.job.jobs {
            self.watch.progress(elapsed, done * u64::from(self.job.jobs));
        }
        Ok(())
    }

    fn is_over(&self, now: Instant) -> bool {
        let enough = self.job.requests != 0 && self.account.issued >= self.job.requests;
        let runtime = Duration::from_micros(self.job.runtime);
        enough || (self.job.runtime != 0 && now.duration_since(self.start) >= runtime)
    }

    fn push(
        &mut self,
        engine: &mut Engine<usize>,
        tag: usize,
        memory: Slices,
        scratch: &mut [u8],
        request: &mut Request,
    ) {
        if self.job.requests != 0 && self.account.issued >= self.job.requests {
            return;
        }
        *request = self.job.request(self.number, self.account.issued);
        self.account.issued += 1;
        let offset = request.block * u64::from(self.job.block);
        if !request.read && self.job.verify {
            pattern::fill(scratch, self.job.seed, offset / SECTOR as u64, request.round);
            memory.copy_from(scratch);
        }
        engine.push(engine::Request {
            tag,
            operation: if request.read {
                Operation::Read
            } else {
                Operation::Write
            },
            offset,
            memory,
        });
    }
}

fn check(job: &Job, data: &[u8], block: u64, round: Option<u64>) -> Result<(), Error> {
    let first = block * (u64::from(job.block) / SECTOR as u64);
    pattern::check(data, job.seed, first, round).map_err(|(sector, wrong)| Error::Content { sector, wrong })
}

/// Reads all that a job wrote; the sectors.
fn read_again(
    disk: &vhd::Disk,
    job: &Job,
    number: u32,
    issued: u64,
    watch: &dyn Watch,
) -> Result<u64, Error> {
    let mut data = vec![0; job.block as usize];
    let mut blocks = 0;
    for place in 0..job.blocks().min(issued) {
        if watch.stopped() {
            return Err(Error::Stopped);
        }
        let Some(written) = job.last_write(number, place, issued) else {
            continue;
        };
        disk.read_at(written.block * u64::from(job.block), &mut data)?;
        check(job, &data, written.block, Some(written.round))?;
        blocks += 1;
    }
    Ok(blocks * (u64::from(job.block) / SECTOR as u64))
}
