// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A driver for the PIIX's IDE: a disk as primary master by bus master or data register, a disc as secondary master by bus master
//! (ATA/ATAPI-6; Intel 82371AB data sheet). It does what an operating system's driver does for a request, in the same order.

use super::cpu::{self, Area};
use super::disk::{Disk, Failure, Transfer};
use super::job::Device;
use super::pci::Function;
use super::platform::ide_vector;

mod command {
    pub const READ_SECTORS_MULTIPLE: u8 = 0xc4;
    pub const READ_MULTIPLE_EXT: u8 = 0x29;
    pub const WRITE_MULTIPLE: u8 = 0xc5;
    pub const WRITE_MULTIPLE_EXT: u8 = 0x39;
    pub const READ_DMA: u8 = 0xc8;
    pub const READ_DMA_EXT: u8 = 0x25;
    pub const WRITE_DMA: u8 = 0xca;
    pub const WRITE_DMA_EXT: u8 = 0x35;
    pub const SET_MULTIPLE: u8 = 0xc6;
    pub const IDENTIFY: u8 = 0xec;
    pub const FLUSH: u8 = 0xe7;
    pub const PACKET: u8 = 0xa0;
}

mod status {
    pub const ERR: u8 = 1;
    pub const DRQ: u8 = 8;
    pub const DF: u8 = 0x20;
    pub const BSY: u8 = 0x80;
}

/// Sectors that go through the data register between two interrupts.
const MULTIPLE: usize = 16;
/// Bytes of the table of a transfer's memory: more entries than any transfer needs.
const TABLE: u64 = 4096;
/// Bytes of a disc's sector, in units of 512.
const DISC_SECTOR: u64 = 4;

/// The drive.
pub struct Ide {
    device: Device,
    /// Ports of the command block, control block and bus master.
    base: u16,
    control: u16,
    master: u16,
    vector: u8,
    sectors: u64,
    table: Area,
    poll: bool,
    /// The request that the device has, and the interrupts that there were before it.
    under_way: Option<(usize, u64)>,
    /// One that ended while it was taken.
    ended: Option<usize>,
}

impl Ide {
    /// Finds the drive and makes it ready. `memory` is for the table, a page of it.
    pub fn new(device: Device, poll: bool, memory: &Area) -> Result<Self, Failure> {
        const IDE_CLASS: u32 = 0x0101;
        let function = Function::find(|_, class| class >> 8 == IDE_CLASS)
            .ok_or(Failure::Device("there is no IDE controller"))?;
        function.enable();
        let channel = u8::from(device == Device::Dvd);
        let mut ide = Self {
            device,
            base: [0x1f0, 0x170][usize::from(channel)],
            control: [0x3f6, 0x376][usize::from(channel)],
            master: function.base(4) as u16 + 8 * u16::from(channel),
            vector: ide_vector(channel),
            sectors: 0,
            table: memory.part(0, TABLE),
            poll,
            under_way: None,
            ended: None,
        };
        ide.out(6, 0xe0);
        const NO_INTERRUPT: u8 = 2;
        cpu::out8(ide.control, NO_INTERRUPT);
        if ide.status() == 0xff {
            return Err(Failure::Device("there is no drive"));
        }
        if device == Device::Dvd {
            ide.start_disc()?
        } else {
            ide.start_disk()?
        }
        cpu::out8(ide.control, if poll { NO_INTERRUPT } else { 0 });
        Ok(ide)
    }

    fn start_disk(&mut self) -> Result<(), Failure> {
        self.out(7, command::IDENTIFY);
        let mut data = [0; 512];
        self.ready(status::DRQ)?;
        cpu::read_words(self.base, &mut data);
        let word = |n: usize| u64::from(data[2 * n]) | u64::from(data[2 * n + 1]) << 8;
        let large = word(83) & 1 << 10 != 0;
        self.sectors = if large {
            word(100) | word(101) << 16 | word(102) << 32
        } else {
            word(60) | word(61) << 16
        };
        self.out(2, MULTIPLE as u8);
        self.out(7, command::SET_MULTIPLE);
        self.ready(0)?;
        Ok(())
    }

    fn start_disc(&mut self) -> Result<(), Failure> {
        // What is due after power-on comes first.
        for _ in 0..4 {
            self.packet(&[0; 12], 0, 0)?;
            let _ = self.ready(0);
        }
        let mut capacity = [0; 12];
        capacity[0] = 0x25;
        self.packet(&capacity, 0, 8)?;
        self.ready(status::DRQ)?;
        let mut data = [0; 8];
        cpu::read_words(self.base, &mut data);
        self.ready(0)?;
        let last = u32::from_be_bytes([data[0], data[1], data[2], data[3]]);
        self.sectors = (u64::from(last) + 1) * DISC_SECTOR;
        Ok(())
    }

    fn out(&self, register: u16, value: u8) {
        cpu::out8(self.base + register, value);
    }

    /// The status, with the 400 ns that the drive may take to show it.
    fn status(&self) -> u8 {
        cpu::in8(self.control);
        cpu::in8(self.base + 7)
    }

    /// Waits until the drive is done with what it has, by looking.
    fn ready(&self, wanted: u8) -> Result<u8, Failure> {
        let mut found = self.status();
        while found & status::BSY != 0 {
            found = cpu::in8(self.base + 7);
        }
        if found & (status::ERR | status::DF) != 0 || found & wanted != wanted {
            return Err(Failure::Request(
                u32::from(found) << 8 | u32::from(cpu::in8(self.base + 1)),
            ));
        }
        Ok(found)
    }

    /// Waits until the drive is done, by an interrupt if it is not soon.
    fn ready_or_wait(&self, wanted: u8, before: u64) -> Result<u8, Failure> {
        if !self.poll {
            loop {
                let seen = cpu::interrupts();
                if cpu::interrupts_of(self.vector) != before || cpu::in8(self.control) & status::BSY == 0 {
                    break;
                }
                cpu::wait(seen);
            }
        }
        self.ready(wanted)
    }

    /// The registers of a command, in the form that the address and the count need.
    fn command(&self, sector: u64, count: u64, short: u8, long: u8) {
        let extended = sector + count > 1 << 28 || count > 256;
        let (device, command) = if extended {
            (0x40, long)
        } else {
            (0xe0 | (sector >> 24) as u8, short)
        };
        self.out(6, device);
        if extended {
            self.out(2, (count >> 8) as u8);
            for (register, shift) in [(3, 24), (4, 32), (5, 40)] {
                self.out(register, (sector >> shift) as u8);
            }
        }
        self.out(2, count as u8);
        for (register, shift) in [(3, 0), (4, 8), (5, 16)] {
            self.out(register, (sector >> shift) as u8);
        }
        self.out(7, command);
    }

    fn packet(&self, packet: &[u8; 12], features: u8, bytes: u16) -> Result<(), Failure> {
        self.out(6, 0xa0);
        self.out(1, features);
        self.out(4, bytes as u8);
        self.out(5, (bytes >> 8) as u8);
        self.out(7, command::PACKET);
        self.ready(status::DRQ)?;
        cpu::write_words(self.base, packet);
        Ok(())
    }

    /// Lists the memory for the bus master: pieces that do not cross 64 KiB.
    fn fill_table(&self, buffer: &Area) {
        let (mut at, end) = (buffer.start(), buffer.start() + buffer.len());
        let mut entry = 0;
        while at < end {
            let len = (end - at).min(0x1_0000 - (at & 0xffff));
            self.table.write(entry, at as u32);
            let last = u32::from(at + len == end) << 31;
            self.table.write(entry + 4, (len as u32 & 0xffff) | last);
            entry += 8;
            at += len;
        }
    }

    fn submit_dma(&mut self, transfer: &Transfer<'_>) -> Result<(), Failure> {
        let count = transfer.buffer.len() / 512;
        self.fill_table(transfer.buffer);
        cpu::out32(self.master + 4, self.table.start() as u32);
        // Direction, and the bits of the last transfer away.
        let direction = u8::from(!transfer.write) << 3;
        cpu::out8(self.master, direction);
        cpu::out8(self.master + 2, 0x66);
        let before = cpu::interrupts_of(self.vector);
        if self.device == Device::Dvd {
            let (sector, count) = (
                (transfer.sector / DISC_SECTOR) as u32,
                (count / DISC_SECTOR) as u16,
            );
            let mut read10 = [0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            read10[2..6].copy_from_slice(&sector.to_be_bytes());
            read10[7..9].copy_from_slice(&count.to_be_bytes());
            const DMA: u8 = 1;
            self.packet(&read10, DMA, 0)?;
        } else {
            let (short, long) = match transfer.write {
                false => (command::READ_DMA, command::READ_DMA_EXT),
                true => (command::WRITE_DMA, command::WRITE_DMA_EXT),
            };
            self.command(transfer.sector, count, short, long);
        }
        cpu::out8(self.master, direction | 1);
        self.under_way = Some((transfer.slot, before));
        Ok(())
    }

    fn reap_dma(&mut self) -> Result<Option<usize>, Failure> {
        let Some((slot, before)) = self.under_way else {
            return Ok(None);
        };
        if !self.poll && cpu::interrupts_of(self.vector) == before {
            return Ok(None);
        }
        let state = cpu::in8(self.master + 2);
        const INTERRUPT: u8 = 4;
        if state & INTERRUPT == 0 {
            return Ok(None);
        }
        cpu::out8(self.master, 0);
        cpu::out8(self.master + 2, 0x64);
        let found = cpu::in8(self.base + 7);
        if found & (status::ERR | status::DF | status::DRQ | status::BSY) != 0 || state & 2 != 0 {
            return Err(Failure::Request(
                u32::from(state) << 16 | u32::from(found) << 8 | u32::from(cpu::in8(self.base + 1)),
            ));
        }
        self.under_way = None;
        Ok(Some(slot))
    }

    fn submit_pio(&mut self, transfer: &Transfer<'_>) -> Result<(), Failure> {
        let count = transfer.buffer.len() / 512;
        // SAFETY: the device does not reach memory by itself, and the slot's request is this one.
        let data = unsafe { transfer.buffer.bytes() };
        let mut before = cpu::interrupts_of(self.vector);
        if transfer.write {
            self.command(
                transfer.sector,
                count,
                command::WRITE_MULTIPLE,
                command::WRITE_MULTIPLE_EXT,
            );
            // There is no interrupt before the first block.
            self.ready(status::DRQ)?;
            for block in data.chunks(512 * MULTIPLE) {
                before = cpu::interrupts_of(self.vector);
                cpu::write_words(self.base, block);
                self.ready_or_wait(0, before)?;
            }
        } else {
            self.command(
                transfer.sector,
                count,
                command::READ_SECTORS_MULTIPLE,
                command::READ_MULTIPLE_EXT,
            );
            for block in data.chunks_mut(512 * MULTIPLE) {
                self.ready_or_wait(status::DRQ, before)?;
                before = cpu::interrupts_of(self.vector);
                cpu::read_words(self.base, block);
            }
        }
        self.ended = Some(transfer.slot);
        Ok(())
    }
}

impl Disk for Ide {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn depth(&self) -> usize {
        1
    }

    fn submit(&mut self, transfer: &Transfer<'_>) -> Result<(), Failure> {
        if self.device == Device::Pio {
            self.submit_pio(transfer)
        } else {
            self.submit_dma(transfer)
        }
    }

    fn kick(&mut self) {}

    fn reap(&mut self) -> Result<Option<usize>, Failure> {
        match self.ended.take() {
            Some(slot) => Ok(Some(slot)),
            None => self.reap_dma(),
        }
    }

    fn arm(&mut self) -> bool {
        true
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let before = cpu::interrupts_of(self.vector);
        self.out(6, 0xe0);
        self.out(7, command::FLUSH);
        self.ready_or_wait(0, before).map(drop)
    }
}
