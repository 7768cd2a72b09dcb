// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The block device: a disk with queues (VIRTIO 1.2, section 5.2).
//!
//! A request is taken off its queue, becomes a [`Job`], and is carried out in pieces of at most [`PIECE`] bytes.
//!
//! A medium that reaches guest memory moves the pieces of a modern driver straight there. A reset is not over before it has let go of
//! all of them ([`Kind::settled`]), for which a modern driver waits. A legacy driver does not: for it the medium owns a buffer
//! meanwhile, and memory is touched only while the device's lock is held; so its reset needs to forget the jobs, no more.

mod snapshot;
pub mod spec;

use super::transport::{self, Kind};
use super::{Broken, Ram};
use crate::block::{Completion, Data, Medium, MediumInfo, Operation, Request, Segment};
use spec::{config, feature, request, status};
use std::collections::HashMap;
use virtio_queue::desc::split::Descriptor;
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

/// The most bytes that one request to the medium moves.
const PIECE: u64 = 1 << 20;
/// Bytes of buffers that a guest's requests may hold at a time; further requests wait in their queues.
const BUFFERS: u64 = 64 << 20;
/// How often a settling takes up queues anew that had to wait.
const ROUNDS: usize = 16;
/// Data segments in a request: what a queue holds beside header and status.
const SEGMENTS: u32 = super::transport::QUEUE_SIZE as u32 - 2;

/// What is left to do for a job.
#[derive(Debug)]
enum Work {
    /// Read into the segments, from this byte of the disk on.
    Read { from: u64 },
    /// Write the segments, from this byte of the disk on.
    Write { from: u64 },
    /// Discard or zero these ranges.
    Ranges { zero: bool, left: Vec<(u64, u64)> },
    /// Make it durable.
    Flush,
    /// Nothing.
    None,
}

/// A request of the guest under way.
#[derive(Debug)]
struct Job {
    queue: u16,
    head: u16,
    status: GuestAddress,
    work: Work,
    /// Where the data goes or comes from, how much it is, and how much of it is done.
    segments: Vec<Segment>,
    total: u64,
    done: u64,
    /// The data goes to the guest.
    fills: bool,
    /// What it changes must be durable before it ends.
    write_through: bool,
}

/// A request that has ended and is not handed back yet.
#[derive(Debug, Clone, Copy)]
struct Ended {
    queue: u16,
    head: u16,
    status_at: GuestAddress,
    status: u8,
    /// Bytes written to the guest's buffers, beside the status.
    written: u64,
}

#[derive(Default)]
struct State {
    features: u64,
    /// The driver lets writes stay in the cache until it flushes.
    write_back: bool,
    jobs: HashMap<u64, Job>,
    ended: Vec<Ended>,
    /// Requests under way, by queue.
    under_way: Vec<u16>,
    /// Bytes in buffers.
    buffered: u64,
    /// Queues with requests that wait for room, a bit each.
    waiting: u64,
    /// Requests that were taken since the medium was last asked for attendance.
    found: usize,
    /// The medium's thread looks at the queues, and the driver need not ring.
    attended: bool,
}

/// A disk.
pub struct Block {
    // Configuration.
    features: u64,
    config: [u8; config::LEN],
    capacity: u64,
    identity: [u8; spec::ID],
    queues: u16,
    // Dependencies.
    medium: Box<dyn Medium>,
    // Book-keeping: no tag is used twice, also across resets; nor does a reset take back what the medium moves.
    tags: u64,
    /// Requests to the medium that name guest memory.
    straight: usize,
    // Volatile state.
    state: State,
}

impl Block {
    /// A disk with a queue for each of `queues` processors. `serial` is cut to 20 bytes.
    pub fn new(medium: Box<dyn Medium>, serial: &str, queues: u16) -> Self {
        let queues = queues.clamp(1, 32);
        let info = medium.info().clone();
        let mut features = feature::SEG_MAX | feature::BLK_SIZE | feature::TOPOLOGY;
        features |= if info.read_only {
            feature::READ_ONLY
        } else {
            feature::FLUSH | feature::CONFIG_WCE | feature::DISCARD | feature::WRITE_ZEROES
        };
        let mut bytes = [0; config::LEN];
        let mut put = |at: usize, value: &[u8]| {
            for (to, from) in bytes.iter_mut().skip(at).zip(value) {
                *to = *from;
            }
        };
        put(config::SEG_MAX, &SEGMENTS.to_le_bytes());
        if info.geometry.is_some() {
            features |= feature::GEOMETRY;
        }
        put(config::BLK_SIZE, &(spec::SECTOR as u32).to_le_bytes());
        // Images place their data in pages of 4 KiB: smaller writes cost a read.
        put(config::PHYSICAL_BLOCK_EXP, &[3]);
        put(config::MIN_IO_SIZE, &8u16.to_le_bytes());
        put(config::NUM_QUEUES, &queues.to_le_bytes());
        if queues > 1 {
            features |= feature::MQ;
        }
        let ranges = [spec::RANGE_SECTORS, spec::RANGES, 1];
        for (at, value) in (config::MAX_DISCARD_SECTORS..).step_by(4).zip(ranges) {
            put(at, &value.to_le_bytes());
        }
        for (at, value) in (config::MAX_WRITE_ZEROES_SECTORS..).step_by(4).zip(ranges) {
            put(at, &value.to_le_bytes());
        }
        let mut identity = [0; spec::ID];
        for (to, from) in identity.iter_mut().zip(serial.bytes()) {
            *to = from;
        }
        let mut this = Self {
            features,
            config: bytes,
            capacity: 0,
            identity,
            queues,
            medium,
            tags: 0,
            straight: 0,
            state: State::default(),
        };
        this.set_size(&info);
        this.reset();
        this
    }

    /// The medium has another size now: length and geometry are taken from `info`. The driver is to be told that the configuration changed.
    pub fn set_size(&mut self, info: &MediumInfo) {
        let sectors = info.len / spec::SECTOR;
        self.capacity = sectors * spec::SECTOR;
        let mut put = |at: usize, value: &[u8]| {
            for (to, from) in self.config.iter_mut().skip(at).zip(value) {
                *to = *from;
            }
        };
        put(config::CAPACITY, &sectors.to_le_bytes());
        if let Some(chs) = info.geometry {
            let [low, high] = u16::try_from(chs.cylinders).unwrap_or(u16::MAX).to_le_bytes();
            put(config::GEOMETRY, &[low, high, chs.heads as u8, chs.sectors as u8]);
        }
    }

    /// Reads a chain of descriptors as a request, and begins it.
    fn begin(
        &mut self,
        queue: u16,
        chain: DescriptorChain<&Ram>,
        most: u16,
        ram: &Ram,
    ) -> Result<(), Broken> {
        let head = chain.head_index();
        let Some(count) = self.state.under_way.get_mut(usize::from(queue)) else {
            return Ok(());
        };
        *count += 1;
        let (mut readable, mut writable) = (Vec::new(), Vec::new());
        for descriptor in chain {
            if readable.len() + writable.len() >= usize::from(most) {
                return Err(Broken::Request("end: it is longer than its queue"));
            }
            let segment = segment(&descriptor);
            if descriptor.is_write_only() {
                writable.push(segment);
            } else {
                readable.push(segment);
            }
        }
        let mut header = [0; spec::HEADER];
        if length(&readable) < spec::HEADER as u64 {
            return Err(Broken::Request("header"));
        }
        copy_in(ram, &readable, 0, &mut header)?;
        let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = header;
        let kind = u32::from_le_bytes([t0, t1, t2, t3]);
        let from = u64::from_le_bytes(sector).checked_mul(spec::SECTOR);
        skip(&mut readable, spec::HEADER as u64);
        // The status is the last byte that the device may write.
        let last = writable.iter_mut().rev().find(|s| s.len > 0);
        let Some(last) = last else {
            return Err(Broken::Request("status"));
        };
        last.len -= 1;
        let status = GuestAddress(last.address.checked_add(last.len).ok_or(Broken::Memory)?);

        let mut job = Job {
            queue,
            head,
            status,
            work: Work::None,
            segments: Vec::new(),
            total: 0,
            done: 0,
            fills: matches!(kind, request::IN | request::GET_ID),
            write_through: !self.state.write_back,
        };
        match kind {
            request::IN | request::OUT => {
                job.segments = if kind == request::IN { writable } else { readable };
                job.total = length(&job.segments);
                let end = from.and_then(|from| from.checked_add(job.total));
                let inside = end.is_some_and(|end| end <= self.capacity);
                let Some(from) = from.filter(|_| inside && job.total.is_multiple_of(spec::SECTOR)) else {
                    self.end(&job, status::IOERR);
                    return Ok(());
                };
                if kind == request::OUT && self.features & feature::READ_ONLY != 0 {
                    self.end(&job, status::IOERR);
                    return Ok(());
                }
                if self.goes_straight() && !in_memory(ram, &job.segments) {
                    return Err(Broken::Memory);
                }
                job.work = if kind == request::IN {
                    Work::Read { from }
                } else {
                    Work::Write { from }
                };
            }
            request::FLUSH => job.work = Work::Flush,
            request::GET_ID => {
                job.done = length(&writable).min(spec::ID as u64);
                copy_out(ram, &writable, 0, &self.identity[..job.done as usize])?;
                self.end(&job, status::OK);
                return Ok(());
            }
            request::DISCARD | request::WRITE_ZEROES if self.features & feature::DISCARD != 0 => {
                let zero = kind == request::WRITE_ZEROES;
                match self.ranges(&readable, zero, ram)? {
                    Ok(left) => job.work = Work::Ranges { zero, left },
                    Err(status) => {
                        self.end(&job, status);
                        return Ok(());
                    }
                }
            }
            _ => {
                self.end(&job, status::UNSUPP);
                return Ok(());
            }
        }
        self.go_on(job, ram)
    }

    /// The ranges of a discard or write-zeroes request in bytes, last one first, or its status.
    fn ranges(&self, data: &[Segment], zero: bool, ram: &Ram) -> Result<Result<Vec<(u64, u64)>, u8>, Broken> {
        let len = length(data);
        if len == 0
            || !len.is_multiple_of(spec::RANGE as u64)
            || len > (spec::RANGE as u64) * u64::from(spec::RANGES)
        {
            return Ok(Err(status::IOERR));
        }
        let mut bytes = vec![0; len as usize];
        copy_in(ram, data, 0, &mut bytes)?;
        let mut ranges = Vec::new();
        for range in bytes.chunks_exact(spec::RANGE) {
            let &[s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, f0, f1, f2, f3] = range else {
                return Ok(Err(status::IOERR));
            };
            let flags = u32::from_le_bytes([f0, f1, f2, f3]);
            let sectors = u32::from_le_bytes([n0, n1, n2, n3]);
            if flags & !(if zero { spec::UNMAP } else { 0 }) != 0 {
                return Ok(Err(status::UNSUPP));
            }
            let from = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]).checked_mul(spec::SECTOR);
            let len = u64::from(sectors) * spec::SECTOR;
            match from {
                Some(from)
                    if sectors <= spec::RANGE_SECTORS
                        && from.checked_add(len).is_some_and(|end| end <= self.capacity) =>
                {
                    ranges.push((from, len));
                }
                _ => return Ok(Err(status::IOERR)),
            }
        }
        ranges.reverse();
        Ok(Ok(ranges))
    }

    /// Hands the next piece of a job to the medium, or ends it.
    fn go_on(&mut self, mut job: Job, ram: &Ram) -> Result<(), Broken> {
        let left = (job.total - job.done).min(PIECE);
        let straight = self.goes_straight();
        let memory = |job: &Job| -> Data {
            let segments = pieces(&job.segments, job.done, left);
            segments.collect::<Vec<_>>().into()
        };
        let (operation, offset, data) = loop {
            match job.work {
                Work::Read { from } if left > 0 && straight => {
                    break (Operation::Read, from + job.done, memory(&job));
                }
                Work::Write { from } if left > 0 && straight => {
                    break (Operation::Write, from + job.done, memory(&job));
                }
                Work::Read { from } if left > 0 => {
                    break (Operation::Read, from + job.done, vec![0; left as usize].into());
                }
                Work::Write { from } if left > 0 => {
                    let mut buffer = vec![0; left as usize];
                    copy_in(ram, &job.segments, job.done, &mut buffer)?;
                    break (Operation::Write, from + job.done, buffer.into());
                }
                _ => {}
            }
            match &mut job.work {
                Work::Ranges { zero, left } if !left.is_empty() => {
                    let (offset, len) = left.pop().unwrap_or_default();
                    let operation = if *zero {
                        Operation::WriteZeroes { len }
                    } else {
                        Operation::Discard { len }
                    };
                    break (operation, offset, Data::default());
                }
                Work::Flush => {
                    job.work = Work::None;
                    break (Operation::Flush, 0, Data::default());
                }
                Work::Write { .. } | Work::Ranges { .. } if job.write_through => job.work = Work::Flush,
                Work::Read { .. } | Work::Write { .. } | Work::Ranges { .. } | Work::None => {
                    self.end(&job, status::OK);
                    return Ok(());
                }
            }
        };
        self.tags += 1;
        match &data {
            Data::Buffer(buffer) => self.state.buffered += buffer.len() as u64,
            Data::Memory(_) => self.straight += 1,
        }
        self.state.jobs.insert(self.tags, job);
        self.medium
            .submit(Request::new(operation, offset, data, self.tags));
        Ok(())
    }

    /// Whether the medium moves data to and from guest memory itself.
    fn goes_straight(&self) -> bool {
        self.medium.reaches_memory() && self.state.features & transport::feature::VERSION_1 != 0
    }

    /// The next piece that the medium has done.
    fn next_completed(&mut self) -> Option<Completion> {
        let completion = self.medium.completed()?;
        if matches!(completion.data, Data::Memory(_)) {
            self.straight = self.straight.saturating_sub(1);
        }
        Some(completion)
    }

    /// The medium has done a piece.
    fn completed(&mut self, completion: &Completion, ram: &Ram) -> Result<(), Broken> {
        // A job from before a reset is nobody's.
        let Some(mut job) = self.state.jobs.remove(&completion.tag) else {
            return Ok(());
        };
        let len = completion.data.len();
        if let Data::Buffer(buffer) = &completion.data {
            self.state.buffered = self.state.buffered.saturating_sub(buffer.len() as u64);
        }
        if completion.result.is_err() {
            self.end(&job, status::IOERR);
            return Ok(());
        }
        if let (Work::Read { .. }, Data::Buffer(buffer)) = (&job.work, &completion.data) {
            copy_out(ram, &job.segments, job.done, buffer)?;
        }
        job.done += len;
        self.go_on(job, ram)
    }

    fn end(&mut self, job: &Job, status: u8) {
        self.state.ended.push(Ended {
            queue: job.queue,
            head: job.head,
            status_at: job.status,
            status,
            written: if job.fills { job.done } else { 0 },
        });
    }

    /// Hands ended requests back; the queues that got some, a bit each.
    fn hand_back(&mut self, queues: &mut [Queue], ram: &Ram) -> Result<u64, Broken> {
        let mut touched = 0;
        for ended in std::mem::take(&mut self.state.ended) {
            ram.write_obj(ended.status, ended.status_at)
                .map_err(|_| Broken::Memory)?;
            let index = usize::from(ended.queue);
            if let (Some(queue), Some(count)) = (queues.get_mut(index), self.state.under_way.get_mut(index)) {
                queue.add_used(
                    ram,
                    ended.head,
                    u32::try_from(ended.written + 1).unwrap_or(u32::MAX),
                )?;
                *count = count.saturating_sub(1);
                touched |= 1 << index;
            }
        }
        Ok(touched)
    }

    /// Hands back all that is done, and takes up what waited for that; the queues that got something, a bit each.
    fn hand_back_all(&mut self, queues: &mut [Queue], ram: &Ram) -> Result<u64, Broken> {
        let mut touched = 0;
        for round in 0..=ROUNDS {
            while let Some(completion) = self.next_completed() {
                self.completed(&completion, ram)?;
            }
            touched |= self.hand_back(queues, ram)?;
            let mut served = false;
            for (index, queue) in (0..self.queues).zip(queues.iter_mut()) {
                let waits = self.state.waiting & 1 << index != 0;
                // In the last round queues are looked at no more: a guest that fills them as fast must not keep this thread.
                if waits && self.has_room(index, queue.size()) && round < ROUNDS {
                    self.serve(index, queue, ram)?;
                    served = true;
                }
            }
            if !served {
                break;
            }
        }
        Ok(touched)
    }

    /// Decides who looks at the queues from here on: the medium's thread, or whoever the driver rings for. What has to wait for a disk
    /// ends an attendance, because the thread waits then as well. Whether requests were taken.
    fn look_after(&mut self, queues: &mut [Queue], ram: &Ram) -> Result<bool, Broken> {
        let found = std::mem::take(&mut self.state.found);
        let asks = self.state.jobs.is_empty() && (found > 0 || self.state.attended);
        let attended = asks && self.medium.attend(found);
        if attended == self.state.attended {
            return Ok(false);
        }
        self.state.attended = attended;
        // Either way each queue is looked at once more: a request may have come between the last look and the change.
        self.serve_all(queues, ram)?;
        Ok(true)
    }

    /// Takes the requests of all queues that are in use.
    fn serve_all(&mut self, queues: &mut [Queue], ram: &Ram) -> Result<(), Broken> {
        for (index, queue) in (0..self.queues).zip(queues.iter_mut()) {
            if queue.ready() {
                self.serve(index, queue, ram)?;
            }
        }
        Ok(())
    }

    fn has_room(&self, index: u16, size: u16) -> bool {
        let under_way = self
            .state
            .under_way
            .get(usize::from(index))
            .copied()
            .unwrap_or(u16::MAX);
        under_way < size && self.state.buffered < BUFFERS
    }
}

impl Kind for Block {
    fn features(&self) -> u64 {
        self.features
    }

    fn queues(&self) -> u16 {
        self.queues
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        for (byte, at) in data.iter_mut().zip(offset..) {
            *byte = match usize::try_from(at) {
                Ok(config::WRITEBACK) => u8::from(self.state.write_back),
                Ok(at) => self.config.get(at).copied().unwrap_or(0),
                Err(_) => 0,
            };
        }
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let at = (config::WRITEBACK as u64).checked_sub(offset);
        let value = at.and_then(|at| data.get(usize::try_from(at).ok()?));
        if let Some(value) = value.filter(|_| self.state.features & feature::CONFIG_WCE != 0) {
            self.state.write_back = *value & 1 != 0;
        }
    }

    fn start(&mut self, features: u64) {
        self.state.features = features;
        // A driver that does not know how to flush wants what is written to be written (5.2.6.2).
        self.state.write_back = features & feature::FLUSH != 0;
    }

    fn reset(&mut self) {
        self.state = State {
            write_back: self.features & feature::FLUSH != 0,
            under_way: vec![0; usize::from(self.queues)],
            ..State::default()
        };
    }

    fn reset_requests(&mut self) {
        self.state = State {
            features: self.state.features,
            write_back: self.state.write_back,
            under_way: vec![0; usize::from(self.queues)],
            ..State::default()
        };
    }

    fn settled(&mut self) -> bool {
        // Nobody waits for these any more.
        while self.next_completed().is_some() {}
        self.straight == 0
    }

    fn serve(&mut self, index: u16, queue: &mut Queue, ram: &Ram) -> Result<(), Broken> {
        let bit = 1 << index;
        self.state.waiting &= !bit;
        loop {
            queue.disable_notification(ram)?;
            loop {
                if !self.has_room(index, queue.size()) {
                    self.state.waiting |= bit;
                    return Ok(());
                }
                let most = queue.size();
                let Some(chain) = queue.iter(ram)?.next() else {
                    break;
                };
                self.state.found += 1;
                self.begin(index, chain, most, ram)?;
            }
            if self.state.attended || !queue.enable_notification(ram)? {
                return Ok(());
            }
        }
    }

    fn settle(&mut self, queues: &mut [Queue], ram: &Ram) -> Result<u64, Broken> {
        if self.state.attended {
            self.serve_all(queues, ram)?;
        }
        let mut touched = self.hand_back_all(queues, ram)?;
        if self.look_after(queues, ram)? {
            touched |= self.hand_back_all(queues, ram)?;
        }
        let mut wanted = 0;
        for (index, queue) in queues.iter_mut().enumerate() {
            if touched & 1 << index != 0 && queue.needs_notification(ram)? {
                wanted |= 1 << index;
            }
        }
        Ok(wanted)
    }
}

fn segment(descriptor: &Descriptor) -> Segment {
    Segment {
        address: descriptor.addr().0,
        len: u64::from(descriptor.len()),
    }
}

fn length(segments: &[Segment]) -> u64 {
    // A queue's worth of 32-bit lengths.
    segments.iter().map(|s| s.len).sum()
}

/// Takes `count` bytes off the front.
fn skip(segments: &mut [Segment], mut count: u64) {
    for segment in segments {
        let part = segment.len.min(count);
        segment.address = segment.address.wrapping_add(part);
        segment.len -= part;
        count -= part;
    }
}

/// Whether all of the segments is RAM.
fn in_memory(ram: &Ram, segments: &[Segment]) -> bool {
    let mut segments = segments.iter();
    segments.all(|s| s.len == 0 || ram.check_range(GuestAddress(s.address), s.len as usize))
}

/// The pieces of memory behind `len` bytes from byte `at` of the segments on.
fn pieces(segments: &[Segment], at: u64, len: u64) -> impl Iterator<Item = Segment> {
    let (mut skip, mut left) = (at, len);
    segments.iter().filter_map(move |segment| {
        let inside = skip.min(segment.len);
        skip -= inside;
        let part = (segment.len - inside).min(left);
        left -= part;
        (part > 0).then(|| Segment {
            address: segment.address.wrapping_add(inside),
            len: part,
        })
    })
}

fn copy_in(ram: &Ram, segments: &[Segment], at: u64, mut buffer: &mut [u8]) -> Result<(), Broken> {
    for Segment { address, len } in pieces(segments, at, buffer.len() as u64) {
        let (part, rest) = buffer.split_at_mut(len as usize);
        ram.read_slice(part, GuestAddress(address))
            .map_err(|_| Broken::Memory)?;
        buffer = rest;
    }
    Ok(())
}

fn copy_out(ram: &Ram, segments: &[Segment], at: u64, mut buffer: &[u8]) -> Result<(), Broken> {
    for Segment { address, len } in pieces(segments, at, buffer.len() as u64) {
        let (part, rest) = buffer.split_at(len as usize);
        ram.write_slice(part, GuestAddress(address))
            .map_err(|_| Broken::Memory)?;
        buffer = rest;
    }
    Ok(())
}
