// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Stand-ins for what surrounds a chip: memory, time, wires and media that a test holds in its hand.

use crate::block::{Completion, Data, Medium, MediumError, MediumInfo, Operation, Request};
use crate::bus::lock;
use crate::clock::{Clock, Nanos, Timer};
use crate::isa_dma::{IsaDma, Transfer};
use crate::line::Wire;
use crate::power::{PowerControl, PowerRequest};
use crate::ram::{BadAddress, GuestRam};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Guest memory from address 0.
pub struct TestRam(Mutex<Vec<u8>>);

impl TestRam {
    /// `len` bytes of zeros.
    pub fn new(len: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(vec![0; len])))
    }

    /// A copy of `len` bytes at `address`.
    pub fn get(&self, address: usize, len: usize) -> Vec<u8> {
        lock(&self.0)[address..address + len].to_vec()
    }

    /// Puts `data` at `address`.
    pub fn put(&self, address: usize, data: &[u8]) {
        lock(&self.0)[address..address + data.len()].copy_from_slice(data);
    }
}

fn span(address: u64, len: usize, all: usize) -> Result<Range<usize>, BadAddress> {
    let start = usize::try_from(address).map_err(|_| BadAddress { address })?;
    let end = start
        .checked_add(len)
        .filter(|end| *end <= all)
        .ok_or(BadAddress { address })?;
    Ok(start..end)
}

impl GuestRam for TestRam {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), BadAddress> {
        let ram = lock(&self.0);
        buffer.copy_from_slice(&ram[span(address, buffer.len(), ram.len())?]);
        Ok(())
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), BadAddress> {
        let mut ram = lock(&self.0);
        let span = span(address, data.len(), ram.len())?;
        ram[span].copy_from_slice(data);
        Ok(())
    }
}

/// Guest memory as virtio devices see it, for media that reach it.
#[cfg(feature = "virtio")]
pub struct MappedRam(pub crate::virtio::Ram);

#[cfg(feature = "virtio")]
impl GuestRam for MappedRam {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), BadAddress> {
        let read = vm_memory::Bytes::read_slice(&self.0, buffer, vm_memory::GuestAddress(address));
        read.map_err(|_| BadAddress { address })
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), BadAddress> {
        let written = vm_memory::Bytes::write_slice(&self.0, data, vm_memory::GuestAddress(address));
        written.map_err(|_| BadAddress { address })
    }
}

/// A clock that only moves when told.
#[derive(Default)]
pub struct TestClock(AtomicU64);

impl TestClock {
    /// A clock at zero.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Moves time on.
    pub fn advance(&self, nanos: Nanos) {
        self.0.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Sets the time.
    pub fn set(&self, now: Nanos) {
        self.0.store(now, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Nanos {
        self.0.load(Ordering::SeqCst)
    }
}

/// A timer whose deadline the test reads through a clone; the test calls `expire` itself.
#[derive(Clone, Default)]
pub struct TestTimer(Arc<Mutex<Option<Nanos>>>);

impl TestTimer {
    /// A timer that is not armed.
    pub fn new() -> Self {
        Self::default()
    }

    /// The armed deadline.
    pub fn deadline(&self) -> Option<Nanos> {
        *lock(&self.0)
    }
}

impl TestTimer {
    /// The timer fires: gives its deadline, which it then knows no more.
    pub fn fire(&self) -> Option<Nanos> {
        lock(&self.0).take()
    }
}

impl Timer for TestTimer {
    fn arm(&mut self, deadline: Nanos) {
        *lock(&self.0) = Some(deadline);
    }

    fn disarm(&mut self) {
        *lock(&self.0) = None;
    }
}

/// A wire and the record of what its far end saw.
#[derive(Clone)]
pub struct TestWire {
    /// The wire to take drivers from.
    pub wire: Wire,
    edges: Arc<Mutex<Vec<bool>>>,
}

impl TestWire {
    /// A wire at low level.
    pub fn new() -> Self {
        let edges = Arc::new(Mutex::new(Vec::new()));
        let sink = edges.clone();
        Self {
            wire: Wire::new(move |high| lock(&sink).push(high)),
            edges,
        }
    }

    /// The level now.
    pub fn level(&self) -> bool {
        self.wire.level()
    }

    /// How often the wire went up since the last call.
    pub fn take_rises(&self) -> usize {
        std::mem::take(&mut *lock(&self.edges))
            .into_iter()
            .filter(|high| *high)
            .count()
    }
}

impl Default for TestWire {
    fn default() -> Self {
        Self::new()
    }
}

/// Collects what chips ask of the machine.
#[derive(Default)]
pub struct TestPower(Mutex<Vec<PowerRequest>>);

impl TestPower {
    /// No requests yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// All requests since the last call.
    pub fn take(&self) -> Vec<PowerRequest> {
        std::mem::take(&mut *lock(&self.0))
    }
}

impl PowerControl for TestPower {
    fn request(&self, request: PowerRequest) {
        lock(&self.0).push(request);
    }
}

/// A DMA channel that moves bytes to and from a buffer until its count runs out.
#[derive(Clone, Default)]
pub struct TestDma(Arc<Mutex<TestDmaState>>);

#[derive(Default)]
struct TestDmaState {
    memory: Vec<u8>,
    position: usize,
    masked: bool,
}

impl TestDma {
    /// A channel programmed for `memory.len()` bytes.
    pub fn new(memory: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(TestDmaState {
            memory,
            position: 0,
            masked: false,
        })))
    }

    /// Programs the channel anew.
    pub fn program(&self, memory: Vec<u8>) {
        *lock(&self.0) = TestDmaState {
            memory,
            position: 0,
            masked: false,
        };
    }

    /// Masks or unmasks the channel.
    pub fn mask(&self, masked: bool) {
        lock(&self.0).masked = masked;
    }

    /// The memory behind the channel.
    pub fn memory(&self) -> Vec<u8> {
        lock(&self.0).memory.clone()
    }

    fn transfer(&self, len: usize, mut each: impl FnMut(&mut [u8])) -> Transfer {
        let mut state = lock(&self.0);
        let left = state.memory.len() - state.position;
        let count = if state.masked { 0 } else { len.min(left) };
        let from = state.position;
        each(&mut state.memory[from..from + count]);
        state.position += count;
        Transfer {
            count,
            terminal_count: !state.masked && count > 0 && count == left,
        }
    }
}

impl IsaDma for TestDma {
    fn ready(&self) -> bool {
        let state = lock(&self.0);
        !state.masked && state.position < state.memory.len()
    }

    fn write_memory(&mut self, data: &[u8]) -> Transfer {
        self.transfer(data.len(), |memory| memory.copy_from_slice(&data[..memory.len()]))
    }

    fn read_memory(&mut self, buffer: &mut [u8]) -> Transfer {
        self.transfer(buffer.len(), |memory| {
            buffer[..memory.len()].copy_from_slice(memory);
        })
    }
}

/// A medium in memory. By default it completes each request at once; [`hold`](TestMedium::hold) makes it wait, and
/// [`fail`](TestMedium::fail) makes it fail. Clones share the contents, so a test keeps one while the drive owns another.
#[derive(Clone)]
pub struct TestMedium {
    info: MediumInfo,
    state: Arc<Mutex<TestMediumState>>,
}

#[derive(Default)]
struct TestMediumState {
    data: Vec<u8>,
    waiting: VecDeque<Request>,
    done: VecDeque<Completion>,
    held: bool,
    error: Option<MediumError>,
    operations: Vec<(Operation, u64, usize)>,
    ram: Option<Arc<dyn GuestRam>>,
    /// Requests that named guest memory.
    straight: usize,
    /// Whether it attends, and what it was told each time it was asked.
    attends: bool,
    asked: Vec<usize>,
}

impl TestMedium {
    /// A writable medium that holds `data`.
    pub fn new(data: Vec<u8>) -> Self {
        let info = MediumInfo {
            len: data.len() as u64,
            ..MediumInfo::default()
        };
        let mut state = TestMediumState::default();
        state.data = data;
        Self {
            info,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The same medium, described otherwise (read-only, with a geometry, with a serial number).
    pub fn with_info(mut self, change: impl FnOnce(&mut MediumInfo)) -> Self {
        change(&mut self.info);
        self
    }

    /// The same medium, which reaches this memory.
    pub fn with_ram(self, ram: Arc<dyn GuestRam>) -> Self {
        lock(&self.state).ram = Some(ram);
        self
    }

    /// How many requests have named guest memory.
    pub fn straight(&self) -> usize {
        lock(&self.state).straight
    }

    /// Keeps requests back until [`release`](TestMedium::release).
    pub fn hold(&self) {
        lock(&self.state).held = true;
    }

    /// Carries out what was held back. The drive must then be told to look for completions.
    pub fn release(&self) {
        let mut state = lock(&self.state);
        state.held = false;
        while let Some(request) = state.waiting.pop_front() {
            state.carry_out(request, self.info.read_only);
        }
    }

    /// From now on it attends its drive when asked, or does not. (Whoever has the drive does the calling.)
    pub fn attends(&self, attends: bool) {
        lock(&self.state).attends = attends;
    }

    /// What it was told since the last time, whenever it was asked to attend.
    pub fn take_asked(&self) -> Vec<usize> {
        std::mem::take(&mut lock(&self.state).asked)
    }

    /// How many requests are held back.
    pub fn waiting(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    /// Lets all requests from now on fail (`None`: succeed again).
    pub fn fail(&self, error: Option<MediumError>) {
        lock(&self.state).error = error;
    }

    /// A copy of the contents.
    pub fn data(&self) -> Vec<u8> {
        lock(&self.state).data.clone()
    }

    /// Every operation since the last call, with its offset and length.
    pub fn take_operations(&self) -> Vec<(Operation, u64, usize)> {
        std::mem::take(&mut lock(&self.state).operations)
    }
}

impl TestMediumState {
    fn carry_out(&mut self, mut request: Request, read_only: bool) {
        self.operations
            .push((request.operation, request.offset, request.data.len() as usize));
        self.straight += usize::from(matches!(request.data, Data::Memory(_)));
        let len = match request.operation {
            Operation::Discard { len } | Operation::WriteZeroes { len } => len as usize,
            _ => request.data.len() as usize,
        };
        let span = span(request.offset, len, self.data.len());
        let result = match (self.error, request.operation, span) {
            (Some(error), ..) => Err(error),
            (None, Operation::Flush, _) => Ok(()),
            (None, _, Err(_)) => Err(MediumError::OutOfRange),
            (None, Operation::Read, Ok(span)) => self.read(&mut request.data, span),
            (None, ..) if read_only => Err(MediumError::ReadOnly),
            (None, Operation::Write, Ok(span)) => self.write(&request.data, span),
            // What is discarded may read as anything: here as what no test expects.
            (None, Operation::Discard { .. }, Ok(span)) => {
                self.data[span].fill(0xdb);
                Ok(())
            }
            (None, Operation::WriteZeroes { .. }, Ok(span)) => {
                self.data[span].fill(0);
                Ok(())
            }
        };
        self.done.push_back(request.complete(result));
    }

    fn read(&self, into: &mut Data, span: Range<usize>) -> Result<(), MediumError> {
        let mut rest = &self.data[span];
        match into {
            Data::Buffer(buffer) => buffer.copy_from_slice(rest),
            Data::Memory(segments) => {
                for segment in segments {
                    let (now, later) = rest.split_at(segment.len as usize);
                    let ram = self.ram.as_ref().ok_or(MediumError::Io)?;
                    ram.write(segment.address, now).map_err(|_| MediumError::Io)?;
                    rest = later;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, from: &Data, span: Range<usize>) -> Result<(), MediumError> {
        let mut rest = &mut self.data[span];
        match from {
            Data::Buffer(buffer) => rest.copy_from_slice(buffer),
            Data::Memory(segments) => {
                for segment in segments {
                    let (now, later) = rest.split_at_mut(segment.len as usize);
                    let ram = self.ram.as_ref().ok_or(MediumError::Io)?;
                    ram.read(segment.address, now).map_err(|_| MediumError::Io)?;
                    rest = later;
                }
            }
        }
        Ok(())
    }
}

impl Drop for TestMediumState {
    fn drop(&mut self) {
        for request in self.waiting.drain(..) {
            drop(request.complete(Err(MediumError::Io)));
        }
    }
}

impl Medium for TestMedium {
    fn info(&self) -> &MediumInfo {
        &self.info
    }

    fn reaches_memory(&self) -> bool {
        lock(&self.state).ram.is_some()
    }

    fn attend(&mut self, found: usize) -> bool {
        let mut state = lock(&self.state);
        state.asked.push(found);
        state.attends
    }

    fn submit(&mut self, request: Request) {
        let mut state = lock(&self.state);
        if state.held {
            state.waiting.push_back(request);
        } else {
            state.carry_out(request, self.info.read_only);
        }
    }

    fn completed(&mut self) -> Option<Completion> {
        lock(&self.state).done.pop_front()
    }
}
