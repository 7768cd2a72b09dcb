// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counts of what a processor comes out of the guest for, by kind. The hypervisor finishes other exits by itself; it alone knows them.

use crate::hypervisor::IoHandler;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One processor's counts. Only its thread writes them.
#[derive(Debug, Default)]
pub struct Exits {
    port_reads: AtomicU64,
    port_writes: AtomicU64,
    memory_reads: AtomicU64,
    memory_writes: AtomicU64,
}

/// How often, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExitCounts {
    /// `IN`, `INS`.
    pub port_reads: u64,
    /// `OUT`, `OUTS`.
    pub port_writes: u64,
    /// Loads from devices.
    pub memory_reads: u64,
    /// Stores to devices.
    pub memory_writes: u64,
}

impl Exits {
    /// The counts.
    pub fn counts(&self) -> ExitCounts {
        ExitCounts {
            port_reads: self.port_reads.load(Relaxed),
            port_writes: self.port_writes.load(Relaxed),
            memory_reads: self.memory_reads.load(Relaxed),
            memory_writes: self.memory_writes.load(Relaxed),
        }
    }
}

impl ExitCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.port_reads + self.port_writes + self.memory_reads + self.memory_writes
    }

    /// What came after `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            port_reads: self.port_reads.saturating_sub(before.port_reads),
            port_writes: self.port_writes.saturating_sub(before.port_writes),
            memory_reads: self.memory_reads.saturating_sub(before.memory_reads),
            memory_writes: self.memory_writes.saturating_sub(before.memory_writes),
        }
    }
}

impl std::iter::Sum for ExitCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |all, one| Self {
            port_reads: all.port_reads + one.port_reads,
            port_writes: all.port_writes + one.port_writes,
            memory_reads: all.memory_reads + one.memory_reads,
            memory_writes: all.memory_writes + one.memory_writes,
        })
    }
}

/// The buses, with a count of what goes to them.
pub(super) struct Counted<'a> {
    pub io: &'a dyn IoHandler,
    pub exits: &'a Exits,
}

/// There is one writer, so that no locked instruction is needed.
fn count(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
}

impl IoHandler for Counted<'_> {
    fn port_read(&self, port: u16, width: usize, data: &mut [u8]) {
        count(&self.exits.port_reads);
        self.io.port_read(port, width, data);
    }

    fn port_write(&self, port: u16, width: usize, data: &[u8]) {
        count(&self.exits.port_writes);
        self.io.port_write(port, width, data);
    }

    fn memory_read(&self, address: u64, data: &mut [u8]) {
        count(&self.exits.memory_reads);
        self.io.memory_read(address, data);
    }

    fn memory_write(&self, address: u64, data: &[u8]) {
        count(&self.exits.memory_writes);
        self.io.memory_write(address, data);
    }

    fn interrupt_pending(&self) -> bool {
        self.io.interrupt_pending()
    }

    fn acknowledge_interrupt(&self) -> u8 {
        self.io.acknowledge_interrupt()
    }

    fn end_of_interrupt(&self, vector: u8) {
        self.io.end_of_interrupt(vector);
    }

    fn peek(&self, address: u64, data: &mut [u8]) -> bool {
        self.io.peek(address, data)
    }
}
