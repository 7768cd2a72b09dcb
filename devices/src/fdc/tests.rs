// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tests of the whole controller through its registers, with a rig that plays the host.
#![allow(clippy::unwrap_used, clippy::panic)]

mod commands;
mod drivers;
mod hostile;
mod non_dma;
mod registers;
mod transfers;

use super::*;
use crate::block::MediumError;
use crate::bus::Device;
use crate::testing::{TestClock, TestDma, TestMedium, TestTimer, TestWire};
use media::DriveType;

pub const SRA: u64 = 0;
pub const SRB: u64 = 1;
pub const DOR: u64 = 2;
pub const TDR: u64 = 3;
pub const MSR: u64 = 4;
pub const DSR: u64 = 4;
pub const FIFO: u64 = 5;
pub const DIR: u64 = 7;
pub const CCR: u64 = 7;

pub const SECTOR: usize = 512;

/// DOR: out of reset, DMA and interrupt on, both motors on, drive 0 selected.
pub const RUNNING: u8 = 0x3c;

/// A controller and what surrounds it.
pub struct Rig {
    pub fdc: Fdc,
    pub clock: Arc<TestClock>,
    pub timer: TestTimer,
    pub dma: TestDma,
    pub irq: TestWire,
}

impl Rig {
    /// A controller after power-on.
    pub fn cold(drives: [Option<DriveType>; 2]) -> Self {
        let clock = TestClock::new();
        let timer = TestTimer::new();
        let dma = TestDma::new(Vec::new());
        let irq = TestWire::new();
        let wiring = Wiring {
            clock: clock.clone(),
            timer: Box::new(timer.clone()),
            dma: Box::new(dma.clone()),
            irq: irq.wire.driver(),
        };
        Self {
            fdc: Fdc::new(wiring, drives),
            clock,
            timer,
            dma,
            irq,
        }
    }

    /// A controller out of reset, its drive poll served, both motors on, with an empty 1.44M drive as drive 0.
    pub fn warm() -> Self {
        Self::warm_with([Some(DriveType::Inch3High), None])
    }

    pub fn warm_with(drives: [Option<DriveType>; 2]) -> Self {
        let mut rig = Self::cold(drives);
        rig.out(DOR, RUNNING);
        rig.run();
        for _ in 0..4 {
            rig.command(&[0x08]);
        }
        rig.irq.take_rises();
        rig
    }

    /// As [`warm`](Self::warm) with a 1.44M diskette whose sectors hold their own number, the data rate set, and the change line
    /// reset by a step.
    pub fn with_1440k() -> (Self, TestMedium) {
        let mut rig = Self::warm();
        let medium = rig.insert(DriveId::A, 1_474_560);
        rig.out(CCR, 0);
        rig.seek(0, 1);
        rig.seek(0, 0);
        (rig, medium)
    }

    pub fn insert(&mut self, id: DriveId, len: usize) -> TestMedium {
        let medium = TestMedium::new(numbered(len));
        self.insert_medium(id, &medium);
        medium
    }

    pub fn insert_medium(&mut self, id: DriveId, medium: &TestMedium) {
        let format = Format::detect(medium.info().len, &[], None).unwrap();
        self.fdc.insert(id, Box::new(medium.clone()), format).unwrap();
    }

    pub fn out(&mut self, register: u64, value: u8) {
        self.fdc.write_byte(register, value);
    }

    pub fn inp(&mut self, register: u64) -> u8 {
        self.fdc.read_byte(register)
    }

    /// Lets time pass until nothing is left to happen by itself.
    pub fn run(&mut self) {
        let mut turns = 0;
        while let Some(at) = self.timer.fire() {
            self.clock.set(at.max(self.clock.now()));
            self.fdc.expire();
            turns += 1;
            assert!(turns < 10_000, "the controller does not come to rest");
        }
    }

    /// Sends a command without waiting for its execution.
    pub fn send(&mut self, bytes: &[u8]) {
        for byte in bytes {
            assert_eq!(
                self.inp(MSR) & 0xc0,
                0x80,
                "the controller does not take a command byte"
            );
            self.out(FIFO, *byte);
        }
    }

    /// Reads a result.
    pub fn result(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.inp(MSR) & 0xf0 == 0xd0 {
            bytes.push(self.inp(FIFO));
        }
        bytes
    }

    /// A command from beginning to end.
    pub fn command(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.send(bytes);
        self.run();
        self.result()
    }

    /// SEEK and SENSE INTERRUPT STATUS.
    pub fn seek(&mut self, drive: u8, cylinder: u8) -> Vec<u8> {
        self.command(&[0x0f, drive, cylinder]);
        self.command(&[0x08])
    }

    /// RECALIBRATE and SENSE INTERRUPT STATUS.
    pub fn recalibrate(&mut self, drive: u8) -> Vec<u8> {
        self.command(&[0x07, drive]);
        self.command(&[0x08])
    }

    /// Reads with the channel programmed for `len` bytes; the result and the data.
    pub fn read(&mut self, bytes: &[u8], len: usize) -> (Vec<u8>, Vec<u8>) {
        self.dma.program(vec![0xee; len]);
        let result = self.command(bytes);
        (result, self.dma.memory())
    }

    /// Writes `data` from the channel.
    pub fn write(&mut self, bytes: &[u8], data: &[u8]) -> Vec<u8> {
        self.dma.program(data.to_vec());
        self.command(bytes)
    }
}

/// Sectors that hold their own number in every two bytes.
pub fn numbered(len: usize) -> Vec<u8> {
    let words = len.div_ceil(2);
    let mut data: Vec<u8> = (0..words)
        .flat_map(|n| ((n * 2 / SECTOR) as u16).to_le_bytes())
        .collect();
    data.truncate(len);
    data
}

/// What the sectors from `first` hold.
pub fn sectors(first: usize, count: usize) -> Vec<u8> {
    numbered((first + count) * SECTOR)[first * SECTOR..].to_vec()
}

/// The parameters after the first byte of a transfer command: head and drive, C, H, R, N, EOT, GPL, DTL.
pub fn transfer(opcode: u8, drive: u8, [c, h, r]: [u8; 3], eot: u8) -> [u8; 9] {
    [opcode, h << 2 | drive, c, h, r, 2, eot, 0x1b, 0xff]
}
