// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs a job on a disk and tells what came of it.

use super::console::Line;
use super::cpu::{self, Area};
use super::histogram::Histogram;
use super::job::{Job, Request};
use super::pattern::{self, SECTOR};
use super::platform::{self, Clock};
use super::say;
use core::fmt::Write;

/// Requests under way at most.
pub const SLOTS: usize = 256;
const SECTOR_BYTES: u64 = SECTOR as u64;

/// What stops a benchmark.
pub enum Failure {
    /// The device is not there, or not as it must be.
    Device(&'static str),
    /// A request failed: what the device said.
    Request(u32),
    /// The machine has too little memory for the buffers.
    Memory,
    /// The disk has too few sectors.
    Small,
    /// A sector does not hold what it should.
    Content(u64, pattern::Wrong),
}

/// A request for a disk.
pub struct Transfer<'a> {
    /// Comes back when it is done.
    pub slot: usize,
    /// To the disk.
    pub write: bool,
    /// First sector, of 512 bytes.
    pub sector: u64,
    /// The memory, whose length is that of the transfer.
    pub buffer: &'a Area,
    /// Whose queue it goes to, if there are several.
    pub job: u32,
}

/// A disk's driver.
pub trait Disk {
    /// Sectors of 512 bytes.
    fn sectors(&self) -> u64;
    /// Requests that it takes at once.
    fn depth(&self) -> usize;
    /// Takes a request.
    fn submit(&mut self, transfer: &Transfer<'_>) -> Result<(), Failure>;
    /// Tells the device of what was taken since the last call.
    fn kick(&mut self);
    /// A request that is done.
    fn reap(&mut self) -> Result<Option<usize>, Failure>;
    /// Asks for an interrupt at the next completion; false if there has been one already.
    fn arm(&mut self) -> bool;
    /// Makes what was written durable. Nothing is under way.
    fn flush(&mut self) -> Result<(), Failure>;
}

/// A job's account.
struct Account {
    reads: Histogram,
    writes: Histogram,
}

/// A slot's request.
#[derive(Clone, Copy)]
struct Under {
    begun: u64,
    request: Request,
}

/// Too large for a stack.
static mut ACCOUNT: Account = Account {
    reads: Histogram::new(),
    writes: Histogram::new(),
};

/// Runs a job.
pub fn run(job: &Job, disk: &mut dyn Disk, memory: &Area, clock: &mut Clock) -> Result<(), Failure> {
    let account = &raw mut ACCOUNT;
    // SAFETY: the guest has one thread and comes here once.
    let account = unsafe { &mut *account };
    Runner::new(job, disk, memory, *clock, account)?.run()
}

struct Runner<'a> {
    job: &'a Job,
    disk: &'a mut dyn Disk,
    memory: &'a Area,
    clock: Clock,
    account: &'a mut Account,
    under: [Option<Under>; SLOTS],
    /// Requests that each job has begun.
    issued: [u64; SLOTS],
    under_way: usize,
    done: [u64; 2],
    next_progress: u64,
}

impl<'a> Runner<'a> {
    fn new(
        job: &'a Job,
        disk: &'a mut dyn Disk,
        memory: &'a Area,
        clock: Clock,
        account: &'a mut Account,
    ) -> Result<Self, Failure> {
        let slots = u64::from(job.depth) * u64::from(job.jobs);
        if slots == 0 || slots > SLOTS as u64 || slots > disk.depth() as u64 {
            return Err(Failure::Device("the device has no room for as many requests"));
        }
        if u64::from(job.block) * slots > memory.len() {
            return Err(Failure::Memory);
        }
        if job.block == 0
            || !job.block.is_multiple_of(SECTOR as u32)
            || job.blocks() == 0
            || job.size > disk.sectors() * SECTOR_BYTES
        {
            return Err(Failure::Small);
        }
        Ok(Self {
            job,
            disk,
            memory,
            clock,
            account,
            under: [None; SLOTS],
            issued: [0; SLOTS],
            under_way: 0,
            done: [0; 2],
            next_progress: job.progress.saturating_mul(1000),
        })
    }

    fn run(&mut self) -> Result<(), Failure> {
        let slots = (self.job.depth * self.job.jobs) as usize;
        // Pages are touched, and what is written is no zeros, before time is taken.
        for slot in 0..slots {
            let buffer = self.buffer(slot);
            // SAFETY: nothing is under way.
            pattern::fill(unsafe { buffer.bytes() }, self.job.seed, slot as u64, 0);
        }
        say!("begin sectors={} hertz={}", self.disk.sectors(), self.clock.hertz);
        platform::sleep(&self.clock, self.job.settle.saturating_mul(1000));
        self.clock.restart();
        for slot in 0..slots {
            self.begin(slot, 0)?;
        }
        self.disk.kick();
        while self.under_way > 0 {
            let seen = cpu::interrupts();
            let mut reaped = false;
            // No more than could be under way: what completes as fast as it is begun must not keep the rest from its turn.
            for _ in 0..slots {
                let Some(slot) = self.disk.reap()? else {
                    break;
                };
                reaped = true;
                let now = self.end(slot)?;
                self.begin(slot, now)?;
            }
            if reaped {
                self.disk.kick();
                self.tell_progress();
            } else if self.job.poll {
                core::hint::spin_loop();
            } else if self.disk.arm() {
                cpu::wait(seen);
            }
        }
        if !self.job.operation.only_reads() {
            self.disk.flush()?;
        }
        let nanos = self.clock.now();
        say!("end ns={nanos} reads={} writes={}", self.done[0], self.done[1]);
        platform::sleep(&self.clock, self.job.settle.saturating_mul(1000));
        tell("read", &self.account.reads);
        tell("write", &self.account.writes);
        if self.job.verify && !self.job.operation.only_reads() {
            let sectors = self.read_again()?;
            say!("verified sectors={sectors}");
        }
        Ok(())
    }

    fn buffer(&self, slot: usize) -> Area {
        let bytes = u64::from(self.job.block);
        self.memory.part(slot as u64 * bytes, bytes)
    }

    fn sector(&self, block: u64) -> u64 {
        block * (u64::from(self.job.block) / SECTOR_BYTES)
    }

    /// Begins the next request of a slot's job, if there is one left at the time `now`.
    fn begin(&mut self, slot: usize, now: u64) -> Result<(), Failure> {
        let job = slot as u32 / self.job.depth;
        let Some(issued) = self.issued.get_mut(job as usize) else {
            return Ok(());
        };
        let enough = self.job.requests != 0 && *issued >= self.job.requests;
        if enough || (self.job.runtime != 0 && now >= self.job.runtime.saturating_mul(1000)) {
            return Ok(());
        }
        let request = self.job.request(job, *issued);
        *issued += 1;
        let (buffer, sector) = (self.buffer(slot), self.sector(request.block));
        if self.job.verify && !request.read {
            // SAFETY: the slot's last request is done.
            pattern::fill(unsafe { buffer.bytes() }, self.job.seed, sector, request.round);
        }
        self.under[slot] = Some(Under {
            begun: self.clock.now(),
            request,
        });
        self.under_way += 1;
        self.disk.submit(&Transfer {
            slot,
            write: !request.read,
            sector,
            buffer: &buffer,
            job,
        })
    }

    /// Accounts for a request that is done; the time.
    fn end(&mut self, slot: usize) -> Result<u64, Failure> {
        let now = self.clock.now();
        let Some(under) = self.under.get_mut(slot).and_then(Option::take) else {
            return Err(Failure::Device("it completed what was not under way"));
        };
        self.under_way -= 1;
        let Request { read, block, .. } = under.request;
        let latency = now.saturating_sub(under.begun);
        if read {
            self.account.reads.add(latency);
            self.done[0] += 1;
        } else {
            self.account.writes.add(latency);
            self.done[1] += 1;
        }
        if read && self.job.verify && self.job.operation.only_reads() {
            self.check(slot, block, None)?;
        }
        Ok(now)
    }

    fn check(&self, slot: usize, block: u64, round: Option<u64>) -> Result<(), Failure> {
        let buffer = self.buffer(slot);
        // SAFETY: the slot's request is done.
        let data = unsafe { buffer.bytes() };
        pattern::check(data, self.job.seed, self.sector(block), round)
            .map_err(|(sector, wrong)| Failure::Content(sector, wrong))
    }

    /// Reads all that was written, one block after the other; the sectors.
    fn read_again(&mut self) -> Result<u64, Failure> {
        let mut blocks = 0;
        for job in 0..self.job.jobs {
            let issued = self.issued[job as usize];
            for place in 0..self.job.blocks().min(issued) {
                let Some(written) = self.job.last_write(job, place, issued) else {
                    continue;
                };
                let buffer = self.buffer(0);
                // SAFETY: nothing is under way. What is not read must not look right.
                unsafe { buffer.bytes() }.fill(0xa5);
                self.disk.submit(&Transfer {
                    slot: 0,
                    write: false,
                    sector: self.sector(written.block),
                    buffer: &buffer,
                    job,
                })?;
                self.disk.kick();
                loop {
                    let seen = cpu::interrupts();
                    if self.disk.reap()?.is_some() {
                        break;
                    }
                    if self.disk.arm() {
                        cpu::wait(seen);
                    }
                }
                self.check(0, written.block, Some(written.round))?;
                blocks += 1;
            }
        }
        Ok(self.sector(blocks))
    }

    fn tell_progress(&mut self) {
        if self.job.progress == 0 {
            return;
        }
        let now = self.clock.now();
        if now >= self.next_progress {
            self.next_progress = now + self.job.progress.saturating_mul(1000);
            say!("at ns={now} reads={} writes={}", self.done[0], self.done[1]);
        }
    }
}

/// A histogram, in as few lines as it takes.
pub fn tell(name: &str, histogram: &Histogram) {
    if histogram.count() == 0 {
        return;
    }
    say!(
        "latency {name} sum={} min={} max={}",
        histogram.sum(),
        histogram.min(),
        histogram.max()
    );
    let new = || {
        let mut line = Line::new();
        let _ = write!(line, "classes {name}");
        line
    };
    let mut line = new();
    for (class, count) in histogram.classes() {
        // The longest that one can be.
        if !line.has_room(28) {
            core::mem::replace(&mut line, new()).send();
        }
        let _ = write!(line, " {class}:{count}");
    }
    line.send();
}
