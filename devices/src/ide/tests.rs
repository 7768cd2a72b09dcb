// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A driver in a test's hand, and the tests by subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod disk;
mod dma;
mod dvd;
mod hostile;
mod packet;
mod pci;
mod probe;
mod registers;

use super::spec::{DeviceHead, SECTOR};
use super::{BUS_MASTER, CONTROL_BLOCK, Channel, Drive, HardDisk, Identity, PacketDrive};
use crate::bus::Device;
use crate::packet::{PacketDevice, Pull, Reply, Status};
use crate::testing::{TestMedium, TestRam, TestWire};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

const ERROR: u64 = 1;
const FEATURES: u64 = 1;
const COUNT: u64 = 2;
const LOW: u64 = 3;
const MID: u64 = 4;
const HIGH: u64 = 5;
const DEVICE: u64 = 6;
const STATUS: u64 = 7;
const COMMAND: u64 = 7;

const BSY: u8 = 0x80;
/// DRDY and DSC.
const READY: u8 = 0x50;
/// The same with DRQ.
const DATA: u8 = 0x58;
/// The same with ERR.
const FAILED: u8 = 0x51;

/// Where tests keep their descriptor table and data.
const TABLE: usize = 0x1000;
const BUFFER: usize = 0x1_0000;

fn identity() -> Identity {
    Identity {
        model: "Virtual HD".into(),
        firmware: "1.1".into(),
        serial: "SERIAL".into(),
    }
}

/// A medium each of whose sectors is filled from its own number.
fn medium(sectors: usize) -> TestMedium {
    TestMedium::new((0..sectors).flat_map(pattern).collect())
}

fn pattern(sector: usize) -> Vec<u8> {
    (0..SECTOR)
        .map(|at| (sector * 31 + at) as u8 ^ (at >> 8) as u8)
        .collect()
}

fn patterns(sectors: std::ops::Range<usize>) -> Vec<u8> {
    sectors.flat_map(pattern).collect()
}

fn disk(medium: &TestMedium) -> Drive {
    Drive::from(HardDisk::new(Box::new(medium.clone()), identity()))
}

/// A packet device that does as it is told.
#[derive(Default)]
struct FakePacket {
    reply: Option<Reply>,
    pulls: VecDeque<Pull>,
    /// Answers for pulls once `pulls` is empty: so many bytes, counting up, then the end.
    stream: usize,
    streamed: usize,
    end: Option<Status>,
    asked: Vec<usize>,
    packets: Vec<[u8; 12]>,
    pushed: Vec<Vec<u8>>,
    aborts: usize,
    resets: usize,
}

impl PacketDevice for FakePacket {
    fn execute(&mut self, packet: &[u8; 12]) -> Reply {
        self.packets.push(*packet);
        self.reply.unwrap_or(Reply::Done(Status::Good))
    }
    fn pull(&mut self, max: usize) -> Pull {
        self.asked.push(max);
        if let Some(pull) = self.pulls.pop_front() {
            return pull;
        }
        let len = (self.stream - self.streamed).min(max);
        if len == 0 {
            return Pull::End(self.end.unwrap_or(Status::Good));
        }
        let from = self.streamed;
        self.streamed += len;
        Pull::Data((from..from + len).map(|i| i as u8).collect())
    }
    fn push(&mut self, data: &[u8]) -> Status {
        self.pushed.push(data.to_vec());
        self.end.unwrap_or(Status::Good)
    }
    fn abort(&mut self) {
        self.aborts += 1;
    }
    fn reset(&mut self) {
        self.resets += 1;
    }
}

fn packet_drive() -> (Drive, Arc<Mutex<FakePacket>>) {
    let fake = Arc::new(Mutex::new(FakePacket::default()));
    let drive = PacketDrive::new(Box::new(fake.clone()), identity());
    (Drive::from(drive), fake)
}

/// A channel, its surroundings, and the accesses that a driver makes.
struct Host {
    channel: Channel,
    ram: Arc<TestRam>,
    wire: TestWire,
}

impl Host {
    fn new(drives: [Drive; 2]) -> Self {
        Self::on(TestRam::new(0x20_0000), drives)
    }

    fn on(ram: Arc<TestRam>, drives: [Drive; 2]) -> Self {
        let wire = TestWire::new();
        let channel = Channel::new(drives, ram.clone(), wire.wire.driver());
        Self { channel, ram, wire }
    }

    /// One disk of 2048 sectors as device 0.
    fn with_disk() -> (Self, TestMedium) {
        let medium = medium(2048);
        (Self::new([disk(&medium), Drive::Empty]), medium)
    }

    /// The same, with a medium that reaches memory.
    fn with_reaching_disk() -> (Self, TestMedium) {
        let ram = TestRam::new(0x20_0000);
        let medium = medium(2048).with_ram(ram.clone());
        (Self::on(ram, [disk(&medium), Drive::Empty]), medium)
    }

    /// With both kinds of medium, which must not make a difference.
    fn each_way() -> [(Self, TestMedium); 2] {
        [Self::with_disk(), Self::with_reaching_disk()]
    }

    fn with_packet() -> (Self, Arc<Mutex<FakePacket>>) {
        let (drive, fake) = packet_drive();
        (Self::new([drive, Drive::Empty]), fake)
    }

    fn outb(&mut self, offset: u64, value: u8) {
        self.channel.write(offset, &[value]);
    }

    fn inb(&mut self, offset: u64) -> u8 {
        let mut byte = [0];
        self.channel.read(offset, &mut byte);
        byte[0]
    }

    /// Status without clearing the interrupt.
    fn alternate(&mut self) -> u8 {
        self.inb(CONTROL_BLOCK)
    }

    /// `REP INSW`.
    fn insw(&mut self, bytes: usize) -> Vec<u8> {
        let mut data = vec![0xee; bytes];
        self.channel.read_string(0, 2, &mut data);
        data
    }

    /// `REP OUTSW`.
    fn outsw(&mut self, data: &[u8]) {
        self.channel.write_string(0, 2, data);
    }

    fn select(&mut self, device: u8) {
        self.outb(DEVICE, 0xa0 | device << 4);
    }

    /// A command with a 28-bit address on device 0.
    fn lba28(&mut self, command: u8, lba: u32, count: u8) {
        let [low, mid, high, top] = lba.to_le_bytes();
        self.outb(COUNT, count);
        self.outb(LOW, low);
        self.outb(MID, mid);
        self.outb(HIGH, high);
        self.outb(DEVICE, 0xe0 | top);
        self.outb(COMMAND, command);
    }

    /// A command with a 48-bit address on device 0: the upper halves first, as libata writes them.
    fn lba48(&mut self, command: u8, lba: u64, count: u16) {
        let [b0, b1, b2, b3, b4, b5, ..] = lba.to_le_bytes();
        let [count_low, count_high] = count.to_le_bytes();
        for (register, values) in [
            (COUNT, [count_high, count_low]),
            (LOW, [b3, b0]),
            (MID, [b4, b1]),
            (HIGH, [b5, b2]),
        ] {
            for value in values {
                self.outb(register, value);
            }
        }
        self.outb(DEVICE, 0xe0);
        self.outb(COMMAND, command);
    }

    fn features(&mut self, subcommand: u8, value: u8) -> u8 {
        self.outb(FEATURES, subcommand);
        self.outb(COUNT, value);
        self.outb(COMMAND, 0xef);
        self.inb(STATUS)
    }

    /// The address registers as a 28-bit address.
    fn shown_lba(&mut self) -> u32 {
        let head = DeviceHead::from_bits_retain(self.inb(DEVICE)) & DeviceHead::HEAD;
        u32::from_le_bytes([self.inb(LOW), self.inb(MID), self.inb(HIGH), head.bits()])
    }

    /// An interrupt came, once; taking note of it clears it.
    fn interrupted(&mut self) -> u8 {
        assert_eq!(self.wire.take_rises(), 1, "interrupts");
        assert!(self.wire.level());
        let status = self.inb(STATUS);
        assert!(!self.wire.level());
        status
    }

    fn quiet(&self) {
        assert_eq!(self.wire.take_rises(), 0, "interrupts");
    }

    /// Sets up the bus master and leaves it stopped.
    fn regions(&mut self, regions: &[(usize, usize)]) {
        for (i, (address, len)) in regions.iter().enumerate() {
            let end = u32::from(i + 1 == regions.len()) << 31;
            let at = TABLE + 8 * i;
            self.ram.put(at, &(*address as u32).to_le_bytes());
            self.ram.put(at + 4, &(*len as u32 & 0xffff | end).to_le_bytes());
        }
        self.outb(BUS_MASTER, 0);
        self.channel.write(BUS_MASTER + 4, &(TABLE as u32).to_le_bytes());
        self.outb(BUS_MASTER + 2, 0x06);
    }

    fn start_engine(&mut self, to_memory: bool) {
        let direction = u8::from(to_memory) << 3;
        self.outb(BUS_MASTER, direction);
        self.outb(BUS_MASTER, direction | 1);
    }

    fn engine_status(&mut self) -> u8 {
        self.inb(BUS_MASTER + 2)
    }
}

fn word(data: &[u8], index: usize) -> u16 {
    u16::from_le_bytes([data[2 * index], data[2 * index + 1]])
}
