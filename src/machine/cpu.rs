// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processor threads, and the gate that starts, parks and resets them together.
//!
//! The machine gives an [`Order`]; each thread carries it out at its next exit and says so. An order that the machine waits for is
//! carried out by all when [`Gate::order`] returns, so what follows (resetting chips, say) happens while no guest code runs.

use super::exits::{Counted, Exits};
use crate::hypervisor::saved::CpuState;
use crate::hypervisor::{self, Exit, FlatEntry, IoHandler, Kick, Vcpu};
use devices::bus::lock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// What processor threads are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Run guest code.
    Run,
    /// Run none.
    Park,
    /// Go back to reset state, and run none.
    Reset,
    /// Lay its state down at the gate, and run none.
    Save,
    /// Take its state up from there, and run none.
    Restore,
    /// End.
    Stop,
}

/// The end of a processor's run.
#[derive(Debug)]
pub enum Stopped {
    /// It stopped by itself.
    Exit(Exit),
    /// The hypervisor failed.
    Failed(hypervisor::Error),
}

/// The gate.
pub struct Gate {
    /// Counts orders: all that a running thread looks at.
    sequence: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
    /// States of processors on their way, by number.
    states: Mutex<BTreeMap<usize, hypervisor::Result<CpuState>>>,
}

struct State {
    order: Order,
    sequence: u64,
    /// Threads that have carried out the present order.
    done: usize,
    threads: usize,
    kicks: Vec<Box<dyn Kick>>,
}

impl Gate {
    /// A gate at [`Order::Park`].
    pub fn new() -> Arc<Self> {
        let state = State {
            order: Order::Park,
            sequence: 0,
            done: 0,
            threads: 0,
            kicks: Vec::new(),
        };
        Arc::new(Self {
            sequence: AtomicU64::new(0),
            state: Mutex::new(state),
            changed: Condvar::new(),
            states: Mutex::default(),
        })
    }

    /// Gives an order and does not wait. Safe to call from inside a processor's exit. The order's number.
    pub fn post(&self, order: Order) -> u64 {
        let mut state = lock(&self.state);
        if state.order == Order::Stop {
            return state.sequence;
        }
        state.order = order;
        state.sequence += 1;
        state.done = 0;
        self.sequence.store(state.sequence, Ordering::Release);
        for kick in &state.kicks {
            kick.kick();
        }
        let sequence = state.sequence;
        drop(state);
        self.changed.notify_all();
        sequence
    }

    /// Gives an order and waits until all threads have carried it out. Not for processor threads.
    ///
    /// A guest that asks for a reset meanwhile parks its processors by itself. Then [`Order::Run`] is over, because they are to be reset
    /// first; any other order is given again, until all have carried it out.
    pub fn order(&self, order: Order) {
        loop {
            let sequence = self.post(order);
            let mut state = lock(&self.state);
            while state.done < state.threads && state.sequence == sequence {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.sequence == sequence || order == Order::Run || state.order == Order::Stop {
                return;
            }
        }
    }

    /// The states of all processors, which are parked then. Not for processor threads.
    pub fn save(&self) -> hypervisor::Result<Vec<CpuState>> {
        self.order(Order::Save);
        let states = std::mem::take(&mut *lock(&self.states));
        let threads = lock(&self.state).threads;
        if states.len() != threads {
            let detail = format!("{} of {threads} processors told their state", states.len());
            return Err(hypervisor::Error::Incompatible(detail));
        }
        states.into_values().collect()
    }

    /// Gives all processors their states. Not for processor threads.
    pub fn restore(&self, states: Vec<CpuState>) -> hypervisor::Result<()> {
        let threads = lock(&self.state).threads;
        if states.len() != threads {
            let detail = format!("{} processors were saved, and there are {threads}", states.len());
            return Err(hypervisor::Error::Incompatible(detail));
        }
        *lock(&self.states) = states.into_iter().map(Ok).enumerate().collect();
        self.order(Order::Restore);
        // What is left there was refused.
        let left = std::mem::take(&mut *lock(&self.states));
        left.into_values().try_for_each(|state| state.map(|_| ()))
    }

    /// Makes a processor look at pending work (the PIC's interrupt) soon.
    pub fn kick(&self, index: usize) {
        if let Some(kick) = lock(&self.state).kicks.get(index) {
            kick.kick();
        }
    }

    /// The order that comes after the one with number `seen`, if there is one.
    fn newer(&self, seen: u64) -> Option<(Order, u64)> {
        if self.sequence.load(Ordering::Acquire) == seen {
            return None;
        }
        let state = lock(&self.state);
        Some((state.order, state.sequence))
    }

    fn wait_newer(&self, seen: u64) -> (Order, u64) {
        let mut state = lock(&self.state);
        while state.sequence == seen {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (state.order, state.sequence)
    }

    fn done(&self, sequence: u64) {
        let mut state = lock(&self.state);
        if state.sequence == sequence {
            state.done += 1;
            self.changed.notify_all();
        }
    }

    fn enlist(&self, kick: Box<dyn Kick>) {
        let mut state = lock(&self.state);
        state.kicks.push(kick);
        state.threads += 1;
        self.changed.notify_all();
    }

    fn wait_enlisted(&self, threads: usize) {
        let mut state = lock(&self.state);
        while state.threads < threads {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// All processor threads. Dropping it stops them.
pub struct Processors {
    gate: Arc<Gate>,
    threads: Vec<JoinHandle<()>>,
    exits: Vec<Arc<Exits>>,
}

/// What a processor thread needs besides its processor.
pub struct Surroundings<T> {
    /// The buses.
    pub io: Arc<dyn IoHandler + Send>,
    /// Where a processor that stopped by itself reports, as `T`.
    pub reports: Sender<T>,
    /// Makes the report.
    pub report: fn(Stopped) -> T,
    /// Where processor 0 starts when there is no firmware. All processors are then left as firmware would leave them.
    pub entry: Option<FlatEntry>,
}

impl Processors {
    /// Starts one thread a processor, parked.
    pub fn start<T: Send + 'static>(
        gate: &Arc<Gate>,
        vcpus: Vec<Box<dyn Vcpu>>,
        surroundings: &Surroundings<T>,
    ) -> std::io::Result<Self> {
        let mut processors = Self {
            gate: gate.clone(),
            threads: Vec::new(),
            exits: Vec::new(),
        };
        for (index, vcpu) in vcpus.into_iter().enumerate() {
            let gate = gate.clone();
            let exits = Arc::new(Exits::default());
            processors.exits.push(exits.clone());
            let surroundings = Surroundings {
                io: surroundings.io.clone(),
                reports: surroundings.reports.clone(),
                report: surroundings.report,
                entry: surroundings.entry,
            };
            let thread = std::thread::Builder::new()
                .name(format!("vcpu{index}"))
                .spawn(move || {
                    Processor {
                        vcpu,
                        index,
                        gate,
                        exits,
                        surroundings,
                    }
                    .serve();
                })?;
            processors.threads.push(thread);
            // In order: a kick is found by the processor's number.
            processors.gate.wait_enlisted(index + 1);
        }
        Ok(processors)
    }
}

impl Processors {
    /// What each came out of the guest for.
    pub fn exits(&self) -> Vec<Arc<Exits>> {
        self.exits.clone()
    }

    /// Ends all threads, and with them their processors.
    pub fn stop(&mut self) {
        self.gate.post(Order::Stop);
        // A thread's handle is good for a kick until the thread is joined.
        lock(&self.gate.state).kicks.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Processors {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Processor<T> {
    vcpu: Box<dyn Vcpu>,
    /// Number 0 starts; the others wait to be started by it.
    index: usize,
    gate: Arc<Gate>,
    exits: Arc<Exits>,
    surroundings: Surroundings<T>,
}

/// A thread that could not be made kickable.
struct NoKick;

impl Kick for NoKick {
    fn kick(&self) {}
}

impl<T> Processor<T> {
    fn serve(mut self) {
        match self.vcpu.attach() {
            Ok(kick) => self.gate.enlist(kick),
            Err(error) => {
                self.gate.enlist(Box::new(NoKick));
                self.report(Stopped::Failed(error));
            }
        }
        if let Err(error) = self.enter() {
            self.report(Stopped::Failed(error));
        }
        let mut seen = 0;
        loop {
            let (order, sequence) = self.gate.wait_newer(seen);
            seen = sequence;
            match order {
                Order::Stop => return self.gate.done(sequence),
                Order::Park => {
                    if log::log_enabled!(log::Level::Trace)
                        && let Ok(registers) = self.vcpu.registers()
                    {
                        log::trace!("parked\n{registers}");
                    }
                    self.gate.done(sequence);
                }
                Order::Reset => {
                    if let Err(error) = self.vcpu.reset().and_then(|()| self.enter()) {
                        self.report(Stopped::Failed(error));
                    }
                    self.gate.done(sequence);
                }
                Order::Save => {
                    let state = self.vcpu.save();
                    lock(&self.gate.states).insert(self.index, state);
                    self.gate.done(sequence);
                }
                Order::Restore => {
                    let state = lock(&self.gate.states).remove(&self.index);
                    if let Some(Ok(state)) = state
                        && let Err(error) = self.vcpu.restore(&state)
                    {
                        lock(&self.gate.states).insert(self.index, Err(error));
                    }
                    self.gate.done(sequence);
                }
                Order::Run => {
                    self.gate.done(sequence);
                    self.run_until_newer(sequence);
                }
            }
        }
    }

    fn enter(&mut self) -> hypervisor::Result<()> {
        let Some(entry) = self.surroundings.entry else {
            return Ok(());
        };
        self.vcpu.set_up_without_firmware()?;
        if self.index == 0 {
            self.vcpu.enter(entry)
        } else {
            Ok(())
        }
    }

    fn run_until_newer(&mut self, seen: u64) {
        let io = Counted {
            io: &*self.surroundings.io,
            exits: &self.exits,
        };
        while self.gate.newer(seen).is_none() {
            match self.vcpu.run(&io) {
                Ok(Exit::Kicked) => {}
                Ok(exit) => return self.report(Stopped::Exit(exit)),
                Err(error) => return self.report(Stopped::Failed(error)),
            }
        }
    }

    fn report(&self, stopped: Stopped) {
        // Nobody listens any more when the machine is being taken down.
        let _ = self
            .surroundings
            .reports
            .send((self.surroundings.report)(stopped));
    }
}
