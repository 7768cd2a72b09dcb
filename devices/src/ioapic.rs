// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The 82093AA I/O APIC (Intel data sheet 290566) with the EOI register of later chips: 24 inputs, each with an entry of the
//! redirection table that says which interrupt message its assertion sends to which local APICs.
//!
//! An input is asserted or not: wires of this crate are logical, so the polarity bits are kept and change nothing, as in the
//! hypervisors' own I/O APICs. A message is sent at once, so delivery status always reads idle.

mod snapshot;
mod spec;

use crate::bus::Device;
use serde::{Deserialize, Serialize};
pub use spec::{DeliveryMode, PINS};
use spec::{Entry, IndirectRegister, Window};
use std::sync::Arc;

/// What an input sends: the contents of an MSI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// APIC ID, or a set of logical APIC IDs.
    pub destination: u8,
    /// What `destination` is: logical or physical.
    pub logical: bool,
    /// How the local APIC takes it.
    pub mode: DeliveryMode,
    /// Interrupt vector. For [`DeliveryMode::ExtInt`] it comes from the 8259A instead, the other modes have none.
    pub vector: u8,
    /// The local APIC broadcasts the end of this interrupt (see [`Ioapic::end_of_interrupt`]).
    pub level_triggered: bool,
}

impl Message {
    /// Address and data of the MSI with the same meaning (Intel SDM volume 3, section 12.11).
    pub fn to_msi(self) -> (u64, u32) {
        let address = spec::MSI_ADDRESS
            | u64::from(self.destination) << 12
            | if self.logical { spec::MSI_LOGICAL } else { 0 };
        let trigger = if self.level_triggered {
            spec::MSI_LEVEL_TRIGGERED | spec::MSI_ASSERT
        } else {
            0
        };
        (
            address,
            u32::from(self.vector) | (self.mode as u32) << 8 | trigger,
        )
    }
}

/// An input as a routing table sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The input sends nothing now. A table that also knows which vectors are to report their end keeps the last unmasked message: it
    /// may still be in service.
    pub masked: bool,
    /// What the input sends when it is not masked. `None`: nothing, because its vector or delivery mode does not exist.
    pub message: Option<Message>,
}

/// The local APICs, as an I/O APIC sees them. Called with the I/O APIC's lock held: it must not call back.
pub trait InterruptSink: Send + Sync {
    /// Sends a message.
    fn deliver(&self, message: Message);

    /// The guest wrote the redirection table and changed what input `pin` sends. For a hypervisor that routes some wires itself.
    fn route_changed(&self, pin: u8, route: Route) {
        let _ = (pin, route);
    }
}

/// The I/O APIC. Base 0 is address FEC00000h, the window is 4 KiB.
pub struct Ioapic {
    // Dependencies.
    sink: Arc<dyn InterruptSink>,
    // Book-keeping.
    /// Which inputs are asserted; bit n is input n.
    asserted: u32,
    // Volatile state.
    state: State,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// IOREGSEL.
    select: u8,
    id: u8,
    arbitration_id: u8,
    table: [Entry; PINS],
}

impl Default for State {
    fn default() -> Self {
        Self {
            select: 0,
            id: 0,
            arbitration_id: 0,
            table: [Entry::RESET; PINS],
        }
    }
}

impl Ioapic {
    /// An I/O APIC with ID 0 and all inputs masked.
    pub fn new(sink: Arc<dyn InterruptSink>) -> Self {
        Self {
            sink,
            asserted: 0,
            state: State::default(),
        }
    }

    /// As after power-on. The wires keep the levels that their drivers give them.
    pub fn reset(&mut self) {
        let before = self.routes();
        self.state = State::default();
        for (pin, (before, now)) in (0..).zip(before.into_iter().zip(self.routes())) {
            if before != now {
                self.sink.route_changed(pin, now);
            }
        }
    }

    /// Input `pin` was asserted or released.
    pub fn set_irq(&mut self, pin: u8, asserted: bool) {
        let Some(entry) = self.state.table.get_mut(usize::from(pin)) else {
            return;
        };
        let bit = 1 << pin;
        if !asserted {
            self.asserted &= !bit;
            return;
        }
        let rises = self.asserted & bit == 0;
        self.asserted |= bit;
        // An edge at a masked input is lost.
        if entry.is_level() || rises {
            Self::serve(&*self.sink, entry);
        }
    }

    /// The end of interrupt `vector`, as local APICs broadcast it for level-triggered ones: an input that is still asserted interrupts
    /// again.
    pub fn end_of_interrupt(&mut self, vector: u8) {
        for (pin, entry) in self.state.table.iter_mut().enumerate() {
            if entry.vector() == vector && entry.remote_irr() {
                entry.set_remote_irr(false);
                if self.asserted & (1 << pin) != 0 {
                    Self::serve(&*self.sink, entry);
                }
            }
        }
    }

    /// What each input sends.
    pub fn routes(&self) -> [Route; PINS] {
        self.state.table.map(Entry::route)
    }

    /// Sends the message of an asserted input, unless it is masked or its last one is not ended.
    fn serve(sink: &dyn InterruptSink, entry: &mut Entry) {
        let Route {
            masked: false,
            message: Some(message),
        } = entry.route()
        else {
            return;
        };
        if message.level_triggered {
            if entry.remote_irr() {
                return;
            }
            entry.set_remote_irr(true);
        }
        sink.deliver(message);
    }

    fn read_register(&self) -> u32 {
        match IndirectRegister::from_index(self.state.select) {
            Some(IndirectRegister::Id) => u32::from(self.state.id) << 24,
            Some(IndirectRegister::Version) => spec::VERSION,
            Some(IndirectRegister::ArbitrationId) => u32::from(self.state.arbitration_id) << 24,
            Some(IndirectRegister::EntryLow(pin)) => self.entry(pin).low(),
            Some(IndirectRegister::EntryHigh(pin)) => self.entry(pin).high(),
            None => 0,
        }
    }

    fn entry(&self, pin: usize) -> Entry {
        self.state.table.get(pin).copied().unwrap_or(Entry::RESET)
    }

    fn write_register(&mut self, value: u32) {
        match IndirectRegister::from_index(self.state.select) {
            Some(IndirectRegister::Id) => {
                self.state.id = (value >> 24) as u8 & spec::ID_MASK;
                self.state.arbitration_id = self.state.id;
            }
            Some(IndirectRegister::EntryLow(pin)) => self.write_entry(pin, |entry| entry.set_low(value)),
            Some(IndirectRegister::EntryHigh(pin)) => self.write_entry(pin, |entry| entry.set_high(value)),
            Some(IndirectRegister::Version | IndirectRegister::ArbitrationId) | None => {}
        }
    }

    fn write_entry(&mut self, pin: usize, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.state.table.get_mut(pin) else {
            return;
        };
        let before = entry.route();
        change(entry);
        let route = entry.route();
        if route != before {
            self.sink.route_changed(pin as u8, route);
        }
        // A level that waited behind the mask.
        if entry.is_level() && self.asserted & (1 << pin) != 0 {
            Self::serve(&*self.sink, entry);
        }
    }
}

/// The registers are dwords. Reads of any width give the part that they name; IOWIN takes whole dwords only.
impl Device for Ioapic {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        let value = match Window::from_offset(offset) {
            Some(Window::Select) => self.state.select.into(),
            Some(Window::Data) => self.read_register(),
            // The EOI register is write-only.
            Some(Window::EndOfInterrupt) | None => 0,
        };
        let bytes = u64::from(value).to_le_bytes();
        let bytes = bytes.iter().skip((offset & 3) as usize);
        for (to, from) in data.iter_mut().zip(bytes.chain(std::iter::repeat(&0))) {
            *to = *from;
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let Some(low) = data.first().copied().filter(|_| offset & 3 == 0) else {
            return;
        };
        match Window::from_offset(offset) {
            Some(Window::Select) => self.state.select = low,
            Some(Window::Data) => {
                if let Some(bytes) = data.first_chunk() {
                    self.write_register(u32::from_le_bytes(*bytes));
                }
            }
            Some(Window::EndOfInterrupt) => self.end_of_interrupt(low),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
