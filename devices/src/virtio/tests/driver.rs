// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A driver of virtio disks: what an operating system does, with every mistake it could make.

use crate::bus::{Device, lock};
use crate::line::Wire;
use crate::pci::Function;
use crate::pci::config::{command, reg};
use crate::testing::{MappedRam, TestMedium};
use crate::virtio::Ram;
use crate::virtio::block::{Block, spec};
use crate::virtio::pci::VirtioPci;
use std::sync::{Arc, Mutex};
use vm_memory::{Bytes, GuestAddress};

pub const MIB: usize = 1 << 20;
/// Buffers lie from here on; the queues below.
pub const BUFFERS: u64 = MIB as u64;
/// Base address registers, as the bus passes them to the function.
pub const LEGACY: u64 = 0;
pub const MSIX: u64 = 1 << 32;
pub const COMMON: u64 = 4 << 32;
pub const ISR: u64 = COMMON + 0x1000;
pub const CONFIG: u64 = COMMON + 0x2000;
pub const NOTIFY: u64 = COMMON + 0x3000;

/// Status bits.
pub const KNOWN: u8 = 3;
pub const DRIVER_OK: u8 = 4;
pub const FEATURES_OK: u8 = 8;
pub const NEEDS_RESET: u8 = 0x40;

pub const VERSION_1: u64 = 1 << 32;
pub const EVENT_IDX: u64 = 1 << 29;

const WRITE: u16 = 2;
const NEXT: u16 = 1;
pub const INDIRECT: u16 = 4;

/// A part of a request: address, bytes, and whether the device writes it.
pub type Part = (u64, u32, bool);

#[derive(Clone, Copy)]
struct Ring {
    descriptors: u64,
    available: u64,
    used: u64,
    free: u16,
    seen: u16,
}

pub struct Driver {
    pub ram: Ram,
    pub device: VirtioPci<Block>,
    pub medium: TestMedium,
    pub wire: Wire,
    pub messages: Arc<Mutex<Vec<u32>>>,
    pub size: u16,
    rings: Vec<Ring>,
    legacy: bool,
    /// Where the next buffer lies.
    pub next: u64,
}

fn device(
    ram: &Ram,
    medium: &TestMedium,
    wire: &Wire,
    messages: &Arc<Mutex<Vec<u32>>>,
    queues: u16,
) -> VirtioPci<Block> {
    let seen = messages.clone();
    let sink = move |_, data| lock(&seen).push(data);
    let block = Block::new(Box::new(medium.clone()), "a serial number of 24 B.", queues);
    VirtioPci::new(
        spec::DEVICE_TYPE,
        0x01_00_00,
        block,
        ram.clone(),
        wire.driver(),
        Arc::new(sink),
    )
}

impl Driver {
    /// A machine with the disk, not set up yet, whose medium reaches memory.
    pub fn plugged(medium: TestMedium, queues: u16) -> Self {
        Self::with(medium, queues, true)
    }

    /// A machine with the disk, not set up yet.
    pub fn with(medium: TestMedium, queues: u16, reaches: bool) -> Self {
        let ram = Ram::from_ranges(&[(GuestAddress(0), 96 * MIB)]).unwrap();
        let medium = match reaches {
            true => medium.with_ram(Arc::new(MappedRam(ram.clone()))),
            false => medium,
        };
        let wire = Wire::new(|_| {});
        let messages = Arc::new(Mutex::new(Vec::new()));
        let mut device = device(&ram, &medium, &wire, &messages, queues);
        device
            .config_mut()
            .write(reg::COMMAND, &(command::IO | command::MEMORY).to_le_bytes());
        Self {
            ram,
            device,
            medium,
            wire,
            messages,
            size: 64,
            rings: Vec::new(),
            legacy: false,
            next: BUFFERS,
        }
    }

    /// Another device in the same place, as after power-on. The old one lets go of the wire when it is dropped.
    pub fn sibling(&self) -> VirtioPci<Block> {
        device(&self.ram, &self.medium, &self.wire, &self.messages, 1)
    }

    /// A disk of `data` with one queue, driven by a modern driver that takes all features that are offered, but for `without`.
    pub fn modern(medium: TestMedium, without: u64) -> Self {
        let mut this = Self::plugged(medium, 1);
        this.start(without);
        this
    }

    /// What a modern driver does first.
    pub fn start(&mut self, without: u64) {
        self.set(COMMON + 20, &[0]);
        self.set(COMMON + 20, &[KNOWN]);
        let mut offered = 0;
        for half in [0u32, 1] {
            self.set(COMMON, &half.to_le_bytes());
            offered |= u64::from(self.get32(COMMON + 4)) << (32 * half);
        }
        let taken = offered & !without;
        for half in [0u32, 1] {
            self.set(COMMON + 8, &half.to_le_bytes());
            self.set(COMMON + 12, &((taken >> (32 * half)) as u32).to_le_bytes());
        }
        self.set(COMMON + 20, &[KNOWN | FEATURES_OK]);
        assert_eq!(self.status(), KNOWN | FEATURES_OK);
        let queues = self.get16(COMMON + 18);
        self.rings.clear();
        for queue in 0..queues {
            let base = u64::from(queue + 1) * 0x1_0000;
            let ring = Ring {
                descriptors: base,
                available: base + 0x4000,
                used: base + 0x8000,
                free: 0,
                seen: 0,
            };
            self.ram.write_slice(&[0; 0xc000], GuestAddress(base)).unwrap();
            self.set(COMMON + 22, &queue.to_le_bytes());
            assert_eq!(self.get16(COMMON + 24), 256);
            self.set(COMMON + 24, &self.size.to_le_bytes());
            self.set(COMMON + 26, &(queue + 1).to_le_bytes());
            for (at, address) in [(32, ring.descriptors), (40, ring.available), (48, ring.used)] {
                self.set(COMMON + at, &address.to_le_bytes());
            }
            self.set(COMMON + 28, &1u16.to_le_bytes());
            self.rings.push(ring);
        }
        self.set(COMMON + 20, &[KNOWN | FEATURES_OK | DRIVER_OK]);
    }

    /// A disk driven by a legacy driver, through ports.
    pub fn legacy(medium: TestMedium) -> Self {
        let mut this = Self::plugged(medium, 1);
        (this.legacy, this.size) = (true, 256);
        this.set(LEGACY + 18, &[KNOWN]);
        let mut features = [0; 4];
        this.device.read(LEGACY, &mut features);
        this.set(LEGACY + 4, &features);
        this.set(LEGACY + 14, &0u16.to_le_bytes());
        assert_eq!(this.get16(LEGACY + 12), 256);
        let base = 0x1_0000u64;
        this.set(LEGACY + 8, &((base / 4096) as u32).to_le_bytes());
        let available = base + 16 * 256;
        this.rings.push(Ring {
            descriptors: base,
            available,
            used: (available + 6 + 2 * 256).next_multiple_of(4096),
            free: 0,
            seen: 0,
        });
        this.set(LEGACY + 18, &[KNOWN | DRIVER_OK]);
        this
    }

    pub fn set(&mut self, at: u64, data: &[u8]) {
        self.device.write(at, data);
    }

    pub fn get16(&mut self, at: u64) -> u16 {
        let mut data = [0; 2];
        self.device.read(at, &mut data);
        u16::from_le_bytes(data)
    }

    pub fn get32(&mut self, at: u64) -> u32 {
        let mut data = [0; 4];
        self.device.read(at, &mut data);
        u32::from_le_bytes(data)
    }

    pub fn status(&mut self) -> u8 {
        let mut status = [0];
        let at = if self.legacy { LEGACY + 18 } else { COMMON + 20 };
        self.device.read(at, &mut status);
        status[0]
    }

    /// Switches MSI-X on; vector `n` sends `0x40 + n`.
    pub fn use_messages(&mut self) {
        for vector in 0..4u64 {
            self.set(MSIX + 16 * vector, &0xfee0_0000u64.to_le_bytes());
            self.set(MSIX + 16 * vector + 8, &(0x40 + vector as u32).to_le_bytes());
            self.set(MSIX + 16 * vector + 12, &[0; 4]);
        }
        self.device.config_mut().write(0x42, &[0, 0x80]);
        self.device.config_written(0x42, 2);
        self.set(COMMON + 16, &0u16.to_le_bytes());
    }

    /// A buffer with `data` in it.
    pub fn buffer(&mut self, data: &[u8]) -> u64 {
        let at = self.next;
        self.ram.write_slice(data, GuestAddress(at)).unwrap();
        self.next += (data.len() as u64).next_multiple_of(16);
        at
    }

    pub fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.ram.read_slice(&mut data, GuestAddress(at)).unwrap();
        data
    }

    /// One descriptor of a queue's table, or of a table elsewhere.
    pub fn describe(&self, table: u64, index: u16, address: u64, len: u32, flags: u16, next: u16) {
        let at = table + 16 * u64::from(index);
        let mut bytes = address.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        self.ram.write_slice(&bytes, GuestAddress(at)).unwrap();
    }

    pub fn table(&self, queue: usize) -> u64 {
        self.rings[queue].descriptors
    }

    /// Puts a chain into a queue; its head.
    pub fn offer(&mut self, queue: usize, parts: &[Part]) -> u16 {
        let head = self.rings[queue].free;
        for (n, (address, len, write)) in parts.iter().enumerate() {
            let index = (head + n as u16) % self.size;
            let more = n + 1 < parts.len();
            let flags = (u16::from(*write) * WRITE) | (u16::from(more) * NEXT);
            self.describe(
                self.table(queue),
                index,
                *address,
                *len,
                flags,
                (index + 1) % self.size,
            );
        }
        self.rings[queue].free = (head + parts.len() as u16) % self.size;
        self.offer_head(queue, head);
        head
    }

    /// Makes a head available.
    pub fn offer_head(&mut self, queue: usize, head: u16) {
        let ring = self.rings[queue];
        let index: u16 = self.ram.read_obj(GuestAddress(ring.available + 2)).unwrap();
        let slot = ring.available + 4 + 2 * u64::from(index % self.size);
        self.ram.write_obj(head, GuestAddress(slot)).unwrap();
        self.set_available(queue, index.wrapping_add(1));
    }

    pub fn set_available(&mut self, queue: usize, index: u16) {
        let at = GuestAddress(self.rings[queue].available + 2);
        self.ram.write_obj(index, at).unwrap();
    }

    /// Where the device wants to be told next (VIRTIO 1.2, 2.7.10).
    pub fn available_event(&self, queue: usize) -> u16 {
        let at = self.rings[queue].used + 4 + 8 * u64::from(self.size);
        self.ram.read_obj(GuestAddress(at)).unwrap()
    }

    /// Where the driver wants to be told next.
    pub fn set_used_event(&self, queue: usize, index: u16) {
        let at = self.rings[queue].available + 4 + 2 * u64::from(self.size);
        self.ram.write_obj(index, GuestAddress(at)).unwrap();
    }

    pub fn kick(&mut self, queue: u16) {
        if self.legacy {
            self.set(LEGACY + 16, &queue.to_le_bytes());
        } else {
            self.set(NOTIFY + 4 * u64::from(queue), &queue.to_le_bytes());
        }
    }

    /// What came back since the last look: heads and lengths.
    pub fn used(&mut self, queue: usize) -> Vec<(u32, u32)> {
        let ring = &mut self.rings[queue];
        let index: u16 = self.ram.read_obj(GuestAddress(ring.used + 2)).unwrap();
        let mut back = Vec::new();
        while ring.seen != index {
            let at = ring.used + 4 + 8 * u64::from(ring.seen % self.size);
            let id: u32 = self.ram.read_obj(GuestAddress(at)).unwrap();
            let len: u32 = self.ram.read_obj(GuestAddress(at + 4)).unwrap();
            back.push((id, len));
            ring.seen = ring.seen.wrapping_add(1);
        }
        back
    }

    /// A request with one data buffer; where its data and its status are.
    pub fn request(&mut self, queue: usize, kind: u32, sector: u64, data: &[u8], fill: bool) -> (u64, u64) {
        let mut header = kind.to_le_bytes().to_vec();
        header.extend([0; 4]);
        header.extend(sector.to_le_bytes());
        let (header, data_at, status) = (self.buffer(&header), self.buffer(data), self.buffer(&[0xee]));
        let mut parts = vec![(header, 16, false)];
        if !data.is_empty() {
            parts.push((data_at, data.len() as u32, fill));
        }
        parts.push((status, 1, true));
        self.offer(queue, &parts);
        (data_at, status)
    }

    /// A request from its kick to its end: the status, the data, and the length in the used ring.
    pub fn run(&mut self, kind: u32, sector: u64, data: &[u8], fill: bool) -> (u8, Vec<u8>, u32) {
        let (at, status) = self.request(0, kind, sector, data, fill);
        self.kick(0);
        let used = self.used(0);
        assert_eq!(used.len(), 1, "one request, one answer: {used:?}");
        (self.bytes(status, 1)[0], self.bytes(at, data.len()), used[0].1)
    }

    pub fn read(&mut self, sector: u64, len: usize) -> (u8, Vec<u8>, u32) {
        self.run(spec::request::IN, sector, &vec![0x55; len], true)
    }

    pub fn write(&mut self, sector: u64, data: &[u8]) -> u8 {
        self.run(spec::request::OUT, sector, data, false).0
    }
}
