// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a processor sees outside itself: the port bus, the memory bus, and the interrupt acknowledge cycle.

use super::interrupts::Controllers;
use crate::hypervisor::IoHandler;
use crate::memory::Memory;
use devices::bus::{Bus, lock};
use std::sync::Arc;

/// The processor's side of the board.
pub struct Buses {
    pub ports: Bus,
    pub memory_bus: Bus,
    pub memory: Arc<Memory>,
    pub controllers: Option<Controllers>,
}

impl IoHandler for Buses {
    fn port_read(&self, port: u16, width: usize, data: &mut [u8]) {
        if data.len() == width {
            self.ports.read(u64::from(port), data);
        } else {
            self.ports.read_string(u64::from(port), width, data);
        }
    }

    fn port_write(&self, port: u16, width: usize, data: &[u8]) {
        if data.len() == width {
            self.ports.write(u64::from(port), data);
        } else {
            self.ports.write_string(u64::from(port), width, data);
        }
    }

    fn memory_read(&self, address: u64, data: &mut [u8]) {
        self.memory_bus.read(address, data);
    }

    fn memory_write(&self, address: u64, data: &[u8]) {
        self.memory_bus.write(address, data);
    }

    fn interrupt_pending(&self) -> bool {
        self.controllers.as_ref().is_some_and(Controllers::pending)
    }

    fn acknowledge_interrupt(&self) -> u8 {
        self.controllers
            .as_ref()
            .map_or(0, |c| lock(&c.pic).acknowledge())
    }

    fn end_of_interrupt(&self, vector: u8) {
        if let Some(controllers) = &self.controllers {
            lock(&controllers.ioapic).end_of_interrupt(vector);
        }
    }

    fn peek(&self, address: u64, data: &mut [u8]) -> bool {
        self.memory.peek(address, data)
    }
}
