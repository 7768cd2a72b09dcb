// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A virtio device as a PCI function (VIRTIO 1.2, section 4.1), transitional: modern drivers find its registers by capabilities, legacy
//! ones in the ports of base address register 0.
//!
//! | base address register | what is there |
//! | --- | --- |
//! | 0, ports | the legacy registers |
//! | 1, memory | the MSI-X table |
//! | 4, memory | common configuration, interrupt status, device configuration, doorbells |
//!
//! Bus mastering is not asked for before memory is touched: drivers from before 2010 do not switch it on.

mod registers;
mod snapshot;

use super::Ram;
use super::msix::{self, MessageSink, Msix};
use super::transport::{Interrupts, Kind, Transport};
use crate::bus::Device;
use crate::line::IrqLine;
use crate::pci::config::{ConfigSpace, Identity, command, reg};
use crate::pci::{Function, Space};
use registers::Window;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where the parts stand in configuration space.
mod capability {
    pub const MSIX: usize = 0x40;
    pub const COMMON: usize = 0x50;
    pub const ISR: usize = 0x60;
    pub const DEVICE: usize = 0x70;
    pub const NOTIFY: usize = 0x80;
    pub const ACCESS: usize = 0x94;
    /// Behind the last one.
    pub const END: usize = 0xa8;

    /// Capability identities.
    pub const ID_MSIX: u8 = 0x11;
    pub const ID_VENDOR: u8 = 0x09;

    /// Kinds of virtio structure (4.1.4).
    pub const COMMON_CFG: u8 = 1;
    pub const NOTIFY_CFG: u8 = 2;
    pub const ISR_CFG: u8 = 3;
    pub const DEVICE_CFG: u8 = 4;
    pub const PCI_CFG: u8 = 5;
}

/// Base address registers.
mod bar {
    pub const LEGACY: usize = 0;
    pub const MSIX: usize = 1;
    pub const MODERN: usize = 4;
}

const VENDOR: u16 = 0x1af4;
/// Transitional device identities count from here, by device type.
const FIRST_TRANSITIONAL: u16 = 0x0fff;
/// There is a list of capabilities.
const STATUS_CAPABILITIES: u16 = 1 << 4;
/// INTx# is asserted.
const STATUS_INTERRUPT: u16 = 1 << 3;

/// Bits of the interrupt status register (4.1.4.5).
mod isr {
    pub const QUEUE: u8 = 1;
    pub const CONFIG: u8 = 2;
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    isr: u8,
    device_feature_select: u32,
    driver_feature_select: u32,
    queue_select: u16,
    config_vector: u16,
    queue_vectors: Vec<u16>,
    /// Legacy page numbers of the queues.
    pages: Vec<u32>,
}

impl State {
    fn new(queues: u16) -> Self {
        Self {
            isr: 0,
            device_feature_select: 0,
            driver_feature_select: 0,
            queue_select: 0,
            config_vector: msix::spec::NO_VECTOR,
            queue_vectors: vec![msix::spec::NO_VECTOR; usize::from(queues)],
            pages: vec![0; usize::from(queues)],
        }
    }
}

/// A virtio device on the PCI bus.
pub struct VirtioPci<K> {
    // Dependencies.
    transport: Transport<K>,
    line: IrqLine,
    // Volatile state.
    config: ConfigSpace,
    msix: Msix,
    state: State,
}

impl<K: Kind> VirtioPci<K> {
    /// A function for a device of type `device_type` (VIRTIO 1.2, chapter 5) and PCI class `class`. `line` is its INTA#, and `messages` takes
    /// its message-signalled interrupts.
    pub fn new(
        device_type: u16,
        class: u32,
        kind: K,
        ram: Ram,
        line: IrqLine,
        messages: Arc<dyn MessageSink>,
    ) -> Self {
        let transport = Transport::new(kind, ram);
        let queues = transport.queues();
        let msix = Msix::new(queues + 1, messages);
        Self {
            config: power_on(device_type, class, msix.vectors()),
            transport,
            line,
            msix,
            state: State::new(queues),
        }
    }

    /// PCIRST#: as after power-on. Requests under way end without effect on memory.
    pub fn reset(&mut self) {
        let (device_type, class) = (
            self.config.u16(reg::SUBSYSTEM_ID),
            self.config.u32(reg::REVISION) >> 8,
        );
        self.config = power_on(device_type, class, self.msix.vectors());
        self.msix.reset();
        self.reset_device();
    }

    /// The device may have done something.
    pub fn service(&mut self) {
        let interrupts = self.transport.service();
        self.interrupt(interrupts);
    }

    /// Changes the device's configuration from outside, and tells the driver.
    pub fn configure(&mut self, change: impl FnOnce(&mut K)) {
        let interrupts = self.transport.configure(change);
        self.interrupt(interrupts);
    }

    /// Looks at all queues once, rung or not: a driver may have been told that it need not ring by whoever looked after it before.
    pub fn look(&mut self) {
        for queue in 0..self.transport.queues() {
            self.notify(queue);
        }
    }

    /// The driver wrote 0 to the status: everything but what belongs to PCI starts anew.
    fn reset_device(&mut self) {
        self.transport.reset();
        self.state = State::new(self.transport.queues());
        self.update_line();
    }

    fn interrupt(&mut self, interrupts: Interrupts) {
        if self.msix.enabled() {
            if interrupts.config {
                self.msix.signal(self.state.config_vector);
            }
            for (queue, vector) in self.state.queue_vectors.iter().enumerate() {
                if interrupts.queues & 1 << queue != 0 {
                    self.msix.signal(*vector);
                }
            }
            return;
        }
        if interrupts.queues != 0 {
            self.state.isr |= isr::QUEUE;
        }
        if interrupts.config {
            self.state.isr |= isr::QUEUE | isr::CONFIG;
        }
        self.update_line();
    }

    fn update_line(&mut self) {
        let asserted = self.show_status();
        self.line
            .set(asserted && self.config.command() & command::INTX_DISABLE == 0);
    }

    /// Shows in the status register whether INTx# is wanted.
    fn show_status(&mut self) -> bool {
        let asserted = self.state.isr != 0 && !self.msix.enabled();
        let status = self.config.u16(reg::STATUS);
        self.config.set_u16(
            reg::STATUS,
            if asserted {
                status | STATUS_INTERRUPT
            } else {
                status & !STATUS_INTERRUPT
            },
        );
        asserted
    }

    /// The interrupt status, which a read clears.
    fn take_isr(&mut self) -> u8 {
        let isr = std::mem::take(&mut self.state.isr);
        self.update_line();
        isr
    }

    fn set_status(&mut self, value: u8) {
        if value == 0 {
            return self.reset_device();
        }
        let interrupts = self.transport.set_status(value);
        self.interrupt(interrupts);
    }

    fn notify(&mut self, queue: u16) {
        let interrupts = self.transport.notify(queue);
        self.interrupt(interrupts);
    }

    /// A vector as far as it exists: what a driver reads back tells it whether the device took it.
    fn vector(&self, wanted: u16) -> u16 {
        if wanted < self.msix.vectors() {
            wanted
        } else {
            msix::spec::NO_VECTOR
        }
    }

    fn queue_vector(&mut self) -> Option<&mut u16> {
        self.state
            .queue_vectors
            .get_mut(usize::from(self.state.queue_select))
    }

    /// The access through configuration space (4.1.4.9): base address register and offset in it, and width.
    fn access(&self) -> Option<(u64, usize)> {
        let bar = self.config.u8(capability::ACCESS + 4);
        let offset = self.config.u32(capability::ACCESS + 8);
        let len = self.config.u32(capability::ACCESS + 12) as usize;
        let known = [bar::LEGACY, bar::MSIX, bar::MODERN].contains(&usize::from(bar));
        (known && matches!(len, 1 | 2 | 4) && (offset as usize).is_multiple_of(len))
            .then_some((u64::from(bar) << 32 | u64::from(offset), len))
    }
}

fn power_on(device_type: u16, class: u32, vectors: u16) -> ConfigSpace {
    let mut config = ConfigSpace::new(Identity {
        vendor: VENDOR,
        device: FIRST_TRANSITIONAL + device_type,
        // Transitional devices have revision 0 and the device type as subsystem (4.1.2.3).
        revision: 0,
        class,
        subsystem: (VENDOR, device_type),
        interrupt_pin: 1,
        ..Identity::default()
    });
    config.set_u16(reg::STATUS, STATUS_CAPABILITIES);
    config.allow(reg::COMMAND, &command::INTX_DISABLE.to_le_bytes());
    config.add_bar(bar::LEGACY, Space::Io, registers::LEGACY_LEN);
    config.add_bar(bar::MSIX, Space::Memory, 0x1000);
    config.add_bar(bar::MODERN, Space::Memory, registers::MODERN_LEN);

    let mut put = |at: usize, bytes: &[u8]| {
        for (at, byte) in (at..).zip(bytes) {
            config.set_u8(at, *byte);
        }
    };
    put(reg::CAPABILITIES, &[capability::MSIX as u8]);
    let table = bar::MSIX as u32;
    put(capability::MSIX, &[capability::ID_MSIX, capability::COMMON as u8]);
    put(capability::MSIX + 2, &(vectors - 1).to_le_bytes());
    put(capability::MSIX + 4, &table.to_le_bytes());
    put(
        capability::MSIX + 8,
        &(msix::spec::PENDING as u32 | table).to_le_bytes(),
    );
    let mut vendor = |at: usize, next: usize, len: u8, kind: u8, window: Option<Window>| {
        put(at, &[capability::ID_VENDOR, next as u8, len, kind]);
        if let Some(window) = window {
            put(at + 4, &[bar::MODERN as u8]);
            put(at + 8, &window.start().to_le_bytes());
            put(at + 12, &registers::WINDOW_LEN.to_le_bytes());
        }
    };
    use capability as cap;
    vendor(cap::COMMON, cap::ISR, 16, cap::COMMON_CFG, Some(Window::Common));
    vendor(cap::ISR, cap::DEVICE, 16, cap::ISR_CFG, Some(Window::Isr));
    vendor(
        cap::DEVICE,
        cap::NOTIFY,
        16,
        cap::DEVICE_CFG,
        Some(Window::Device),
    );
    vendor(
        cap::NOTIFY,
        cap::ACCESS,
        20,
        cap::NOTIFY_CFG,
        Some(Window::Notify),
    );
    vendor(cap::ACCESS, 0, 20, cap::PCI_CFG, None);
    put(
        capability::NOTIFY + 16,
        &registers::NOTIFY_MULTIPLIER.to_le_bytes(),
    );

    let control = msix::spec::ENABLE | msix::spec::FUNCTION_MASK;
    config.allow(capability::MSIX + 2, &control.to_le_bytes());
    config.allow(capability::ACCESS + 4, &[0xff]);
    config.allow(capability::ACCESS + 8, &[0xff; 12]);
    config
}

impl<K: Kind> Device for VirtioPci<K> {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let at = offset & 0xffff_ffff;
        match (offset >> 32) as usize {
            bar::LEGACY => self.read_legacy(at, data),
            bar::MSIX => self.msix.read(at, data),
            bar::MODERN => self.read_modern(at, data),
            _ => {}
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let at = offset & 0xffff_ffff;
        match (offset >> 32) as usize {
            bar::LEGACY => self.write_legacy(at, data),
            bar::MSIX => self.msix.write(at, data),
            bar::MODERN => self.write_modern(at, data),
            _ => {}
        }
    }
}

impl<K: Kind> Function for VirtioPci<K> {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_reading(&mut self, offset: usize, len: usize) {
        let window = capability::ACCESS + 16;
        if offset < capability::END
            && offset.saturating_add(len) > window
            && let Some((at, width)) = self.access()
        {
            let mut data = [0; 4];
            self.read(at, &mut data[..width]);
            self.config.set_u32(window, u32::from_le_bytes(data));
        }
    }

    fn config_written(&mut self, offset: usize, len: usize) {
        let end = offset.saturating_add(len);
        let touches = |first: usize, len: usize| offset < first + len && first < end;
        if touches(capability::MSIX + 2, 2) {
            let control = self.config.u16(capability::MSIX + 2);
            self.msix.set_control(control);
            self.update_line();
        }
        if touches(reg::COMMAND, 2) {
            self.update_line();
        }
        let window = capability::ACCESS + 16;
        if touches(window, 4)
            && let Some((at, width)) = self.access()
        {
            let data = self.config.u32(window).to_le_bytes();
            self.write(at, &data[..width]);
        }
    }
}
