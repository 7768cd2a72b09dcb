// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A driver for virtio disks as modern PCI devices with message-signalled interrupts (VIRTIO 1.2, sections 2.7, 4.1 and 5.2).

use super::cpu::{self, Area};
use super::disk::{Disk, Failure, SLOTS, Transfer};
use super::pci::Function;
use super::platform::MESSAGES;
use core::sync::atomic::{Ordering, fence};

mod feature {
    pub const FLUSH: u64 = 1 << 9;
    pub const MQ: u64 = 1 << 12;
    pub const INDIRECT: u64 = 1 << 28;
    pub const EVENT_IDX: u64 = 1 << 29;
    pub const VERSION_1: u64 = 1 << 32;
    pub const PLATFORM: u64 = 1 << 33;
}

/// Registers of the common configuration.
mod common {
    pub const FEATURE_SELECT: u64 = 0;
    pub const FEATURE: u64 = 4;
    pub const DRIVER_FEATURE_SELECT: u64 = 8;
    pub const DRIVER_FEATURE: u64 = 12;
    pub const CONFIG_VECTOR: u64 = 16;
    pub const QUEUES: u64 = 18;
    pub const STATUS: u64 = 20;
    pub const QUEUE_SELECT: u64 = 22;
    pub const QUEUE_SIZE: u64 = 24;
    pub const QUEUE_VECTOR: u64 = 26;
    pub const QUEUE_ENABLE: u64 = 28;
    pub const QUEUE_NOTIFY: u64 = 30;
    pub const QUEUE_DESCRIPTORS: u64 = 32;
}

mod kind {
    pub const COMMON: u8 = 1;
    pub const NOTIFY: u8 = 2;
    pub const DEVICE: u8 = 4;
}

const WRITABLE: u16 = 2;
const NEXT: u16 = 1;
const INDIRECT: u16 = 4;
const NO_VECTOR: u16 = 0xffff;
/// Request types.
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
/// Descriptors of a request: header, data, status.
const CHAIN: u64 = 3;
/// Memory of a request: its chain of descriptors if they are indirect, its header, its status.
const SLOT: u64 = 128;
const HEADER: u64 = 64;
const STATUS: u64 = 96;
/// Memory of a queue: descriptors, available ring and used ring of at most [`SLOTS`] places.
const QUEUE: u64 = 16384;
const AVAILABLE: u64 = 4096;
const USED: u64 = 8192;
/// Queues at most.
const QUEUES: usize = 8;

/// Bytes that the driver needs.
pub const MEMORY: u64 = QUEUES as u64 * QUEUE + SLOTS as u64 * SLOT + SLOT;

/// A queue.
struct Queue {
    ring: Area,
    notify: Area,
    number: u16,
    size: u16,
    /// Heads that the device was given, was told of, and gave back.
    given: u16,
    told: u16,
    seen: u16,
}

/// The disk.
pub struct Virtio {
    features: u64,
    sectors: u64,
    queues: [Option<Queue>; QUEUES],
    count: usize,
    slots: Area,
}

impl Virtio {
    /// Finds the first disk and starts it, with as many queues as there are jobs, if it has them.
    pub fn new(jobs: u32, memory: &Area) -> Result<Self, Failure> {
        const MODERN: u32 = 0x1042_1af4;
        const TRANSITIONAL: u32 = 0x1001_1af4;
        let function = Function::find(|identity, _| identity == MODERN || identity == TRANSITIONAL)
            .ok_or(Failure::Device("there is no virtio disk"))?;
        function.enable();
        let missing = Failure::Device("the virtio disk has no modern registers below 4 GiB");
        let Some((config, _)) = structure(function, kind::COMMON) else {
            return Err(missing);
        };
        let (Some((notify, notify_cap)), Some((device, _))) = (
            structure(function, kind::NOTIFY),
            structure(function, kind::DEVICE),
        ) else {
            return Err(missing);
        };
        let multiplier = u64::from(function.read(notify_cap + 16));
        config.write(common::STATUS, 0u8);
        while config.read::<u8>(common::STATUS) != 0 {}
        config.write(common::STATUS, 3u8);
        let mut offered = 0;
        for half in [0u32, 1] {
            config.write(common::FEATURE_SELECT, half);
            offered |= u64::from(config.read::<u32>(common::FEATURE)) << (32 * half);
        }
        let wanted = feature::FLUSH
            | feature::MQ
            | feature::INDIRECT
            | feature::EVENT_IDX
            | feature::VERSION_1
            | feature::PLATFORM;
        let features = offered & wanted;
        for half in [0u32, 1] {
            config.write(common::DRIVER_FEATURE_SELECT, half);
            config.write(common::DRIVER_FEATURE, (features >> (32 * half)) as u32);
        }
        config.write(common::STATUS, 0xbu8);
        if features & feature::VERSION_1 == 0 || config.read::<u8>(common::STATUS) & 8 == 0 {
            return Err(Failure::Device("the virtio disk takes no modern driver"));
        }
        let queues = config
            .read::<u16>(common::QUEUES)
            .min(jobs as u16)
            .clamp(1, QUEUES as u16);
        switch_messages_on(function, queues)?;
        config.write(common::CONFIG_VECTOR, NO_VECTOR);
        let mut disk = Self {
            features,
            sectors: device.read::<u64>(0),
            queues: [const { None }; QUEUES],
            count: usize::from(queues),
            slots: memory.part(QUEUES as u64 * QUEUE, SLOTS as u64 * SLOT + SLOT),
        };
        for number in 0..queues {
            config.write(common::QUEUE_SELECT, number);
            let size = config.read::<u16>(common::QUEUE_SIZE).min(SLOTS as u16);
            let ring = memory.part(u64::from(number) * QUEUE, QUEUE);
            // SAFETY: the queue is not in use yet.
            unsafe { ring.bytes() }.fill(0);
            config.write(common::QUEUE_SIZE, size);
            config.write(common::QUEUE_VECTOR, number);
            if config.read::<u16>(common::QUEUE_VECTOR) != number {
                return Err(Failure::Device("the virtio disk has too few interrupt messages"));
            }
            for (at, offset) in [(0, 0), (8, AVAILABLE), (16, USED)] {
                let address = ring.start() + offset;
                config.write(common::QUEUE_DESCRIPTORS + at, address as u32);
                config.write(common::QUEUE_DESCRIPTORS + at + 4, 0u32);
            }
            let offset = u64::from(config.read::<u16>(common::QUEUE_NOTIFY)) * multiplier;
            config.write(common::QUEUE_ENABLE, 1u16);
            disk.queues[usize::from(number)] = Some(Queue {
                ring,
                notify: notify.part(offset, 2),
                number,
                size,
                given: 0,
                told: 0,
                seen: 0,
            });
        }
        config.write(common::STATUS, 0xfu8);
        disk.prepare_slots();
        Ok(disk)
    }

    /// What stays the same in all requests of a slot.
    fn prepare_slots(&self) {
        for slot in 0..=SLOTS as u64 {
            let at = slot * SLOT;
            for (number, offset, len) in [(0, HEADER, 16u32), (2, STATUS, 1)] {
                let descriptor = at + 16 * number;
                self.slots.write(descriptor, self.slots.start() + at + offset);
                self.slots.write(descriptor + 8, len);
            }
            self.slots.write(at + 12, NEXT);
            self.slots.write(at + 14, 1u16);
            self.slots.write(at + 30, 2u16);
            self.slots.write(at + 44, WRITABLE);
        }
    }

    /// Gives a queue a request with the memory of `slot`; `data` is where it goes and how long it is.
    fn give(&mut self, queue: usize, slot: usize, kind: u32, sector: u64, data: Option<(u64, u32)>) {
        let (indirect, at) = (self.features & feature::INDIRECT != 0, slot as u64 * SLOT);
        let Some(Some(queue)) = self.queues.get_mut(queue) else {
            return;
        };
        self.slots.write(at + HEADER, kind);
        self.slots.write(at + HEADER + 8, sector);
        self.slots.write(at + STATUS, 0xffu8);
        let mut parts = 2u32;
        if let Some((address, len)) = data {
            self.slots.write(at + 16, address);
            self.slots.write(at + 24, len);
            self.slots
                .write(at + 28, NEXT | if kind == IN { WRITABLE } else { 0 });
            parts = 3;
        }
        // Without data the first descriptor goes on with the last.
        self.slots.write(at + 14, if parts == 3 { 1u16 } else { 2 });
        let places = if indirect { 1 } else { CHAIN };
        let head = ((slot as u64) % (u64::from(queue.size) / places)) * places;
        if indirect {
            queue.ring.write(16 * head, self.slots.start() + at);
            queue.ring.write(16 * head + 8, 16 * CHAIN as u32);
            queue.ring.write(16 * head + 12, INDIRECT);
        } else {
            for number in 0..CHAIN {
                let (from, to) = (at + 16 * number, 16 * (head + number));
                queue.ring.write(to, self.slots.read::<u64>(from));
                queue.ring.write(to + 8, self.slots.read::<u64>(from + 8));
                let next = self.slots.read::<u16>(from + 14);
                queue.ring.write(to + 14, head as u16 + next);
            }
        }
        // The identity that comes back is the head's; what slot it is stands beside it.
        let place = AVAILABLE + 4 + 2 * u64::from(queue.given % queue.size);
        queue.ring.write(place, head as u16);
        queue.given = queue.given.wrapping_add(1);
        fence(Ordering::Release);
        queue.ring.write(AVAILABLE + 2, queue.given);
    }

    fn kick_queue(&mut self, queue: usize) {
        let by_event = self.features & feature::EVENT_IDX != 0;
        let Some(Some(queue)) = self.queues.get_mut(queue) else {
            return;
        };
        if queue.given == queue.told {
            return;
        }
        // What was given must be visible before the device's wish is read.
        fence(Ordering::SeqCst);
        let used_end = USED + 4 + 8 * u64::from(queue.size);
        let wanted = if by_event {
            let event: u16 = queue.ring.read(used_end);
            queue.given.wrapping_sub(event).wrapping_sub(1) < queue.given.wrapping_sub(queue.told)
        } else {
            queue.ring.read::<u16>(USED) & 1 == 0
        };
        queue.told = queue.given;
        if wanted {
            queue.notify.write(0, queue.number);
        }
    }

    fn reap_from(&mut self, number: usize) -> Result<Option<usize>, Failure> {
        let places = if self.features & feature::INDIRECT != 0 {
            1
        } else {
            CHAIN as usize
        };
        let Some(Some(queue)) = self.queues.get_mut(number) else {
            return Ok(None);
        };
        if queue.ring.read::<u16>(USED + 2) == queue.seen {
            return Ok(None);
        }
        fence(Ordering::Acquire);
        let head: u32 = queue.ring.read(USED + 4 + 8 * u64::from(queue.seen % queue.size));
        queue.seen = queue.seen.wrapping_add(1);
        let slot = head as usize / places;
        if slot > SLOTS {
            return Err(Failure::Device("the virtio disk gave back what it was not given"));
        }
        match self.slots.read::<u8>(slot as u64 * SLOT + STATUS) {
            0 => Ok(Some(slot)),
            wrong => Err(Failure::Request(u32::from(wrong))),
        }
    }
}

/// Registers of a kind, and the capability that told where they are.
fn structure(function: Function, kind: u8) -> Option<(Area, u8)> {
    const VENDOR: u8 = 9;
    let capability = function
        .capabilities(VENDOR)
        .find(|&at| function.read8(at + 3) == kind)?;
    let bar = function.base(function.read8(capability + 4));
    let (offset, len) = (function.read(capability + 8), function.read(capability + 12));
    let start = bar + u64::from(offset);
    if start + u64::from(len) > 1 << 32 || bar == 0 {
        return None;
    }
    // SAFETY: the device's registers, as it says itself.
    Some((unsafe { Area::new(start, u64::from(len)) }, capability))
}

/// Message `n` interrupts this processor with vector [`MESSAGES`]` + n`.
fn switch_messages_on(function: Function, count: u16) -> Result<(), Failure> {
    const MSIX: u8 = 0x11;
    let none = Failure::Device("the virtio disk has no interrupt messages");
    let Some(capability) = function.capabilities(MSIX).next() else {
        return Err(none);
    };
    let place = function.read(capability + 4);
    let table = function.base((place & 7) as u8) + u64::from(place & !7);
    if table + 16 * u64::from(count) > 1 << 32 {
        return Err(none);
    }
    // SAFETY: the device's table, as it says itself.
    let table = unsafe { Area::new(table, 16 * u64::from(count)) };
    // The table takes entries only while messages are on: masked as a whole meanwhile.
    function.write(capability, function.read(capability) | 0xc000_0000);
    for number in 0..u64::from(count) {
        table.write(16 * number, 0xfee0_0000u32);
        table.write(16 * number + 4, 0u32);
        table.write(16 * number + 8, u32::from(MESSAGES) + number as u32);
        table.write(16 * number + 12, 0u32);
    }
    function.write(capability, function.read(capability) & !0x4000_0000);
    Ok(())
}

impl Disk for Virtio {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn depth(&self) -> usize {
        let places = if self.features & feature::INDIRECT != 0 {
            1
        } else {
            CHAIN as usize
        };
        let sizes = self
            .queues
            .iter()
            .flatten()
            .map(|queue| usize::from(queue.size) / places);
        sizes.min().unwrap_or(0)
    }

    fn submit(&mut self, transfer: &Transfer<'_>) -> Result<(), Failure> {
        let queue = transfer.job as usize % self.count;
        let data = (transfer.buffer.start(), transfer.buffer.len() as u32);
        let kind = if transfer.write { OUT } else { IN };
        self.give(queue, transfer.slot, kind, transfer.sector, Some(data));
        Ok(())
    }

    fn kick(&mut self) {
        for queue in 0..self.count {
            self.kick_queue(queue);
        }
    }

    fn reap(&mut self) -> Result<Option<usize>, Failure> {
        for queue in 0..self.count {
            if let Some(slot) = self.reap_from(queue)? {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    fn arm(&mut self) -> bool {
        let mut quiet = true;
        for queue in self.queues.iter().flatten() {
            let available_end = AVAILABLE + 4 + 2 * u64::from(queue.size);
            queue.ring.write(available_end, queue.seen);
            // The wish must be visible before the last look.
            fence(Ordering::SeqCst);
            quiet &= queue.ring.read::<u16>(USED + 2) == queue.seen;
        }
        quiet
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.features & feature::FLUSH == 0 {
            return Ok(());
        }
        self.give(0, 0, FLUSH, 0, None);
        self.kick_queue(0);
        loop {
            let seen = cpu::interrupts();
            if self.reap()?.is_some() {
                return Ok(());
            }
            if self.arm() {
                cpu::wait(seen);
            }
        }
    }
}
