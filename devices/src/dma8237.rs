// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two 8237A DMA controllers of a PC with their page registers.
//!
//! [`Dma8237`] is the register side, [`DmaChannel`] is one channel as the device on it holds it. Channels 0-3 move bytes, 5-7 move
//! words; channel 4 carries the first controller's requests to the second, so software has to set it to cascade mode and unmask it
//! (firmware does; a boot without firmware calls [`Dma8237::cascade_as_firmware_does`]).
//!
//! A transfer takes no time, therefore the priority, timing and single, demand and block settings make no difference to a device.
//! A channel whose direction is not the one its device asks for counts, but moves nothing.
//!
//! Sources: Intel 8237A data sheet; IBM PC/AT technical reference (page registers); Intel 82371AB (PIIX4) data sheet, section 4.2.1.

mod controller;
mod snapshot;
mod spec;
#[cfg(test)]
mod tests;

use crate::bus::{Device, lock};
use crate::isa_dma::{IsaDma, Transfer};
use crate::ram::GuestRam;
use controller::{Controller, Run};
use spec::{CASCADE, CHANNELS, Direction, PAGE_OF_CHANNEL, Service};
use std::sync::{Arc, Mutex};

/// Both controllers and the page registers.
///
/// The board maps three ranges, each with its first port as its base: 00h-0Fh (first controller), C0h-DFh (second controller, A0
/// is not decoded) and 81h-8Fh (page registers; 80h belongs to the POST code).
pub struct Dma8237 {
    // Volatile state.
    controllers: [Controller; 2],
    pages: [u8; 16],
}

/// A channel that a device can be wired to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum ChannelNumber {
    Dma0 = 0,
    Dma1 = 1,
    Dma2 = 2,
    Dma3 = 3,
    Dma5 = 5,
    Dma6 = 6,
    Dma7 = 7,
}

/// What an offset that a bus hands over means.
enum Port {
    /// Controller and A3-A0.
    Controller(usize, u8),
    Page(usize),
    Nothing,
}

impl Port {
    fn decode(offset: u64) -> Self {
        match offset {
            0x00..=0x0f => Self::Controller(0, offset as u8),
            0x80..=0x8f => Self::Page(offset as usize & 0xf),
            0xc0..=0xdf => Self::Controller(1, (offset as u8 & 0x1f) >> 1),
            _ => Self::Nothing,
        }
    }
}

impl Dma8237 {
    /// Both controllers after power-on: all channels masked.
    pub fn new() -> Self {
        Self {
            controllers: [Controller::new(), Controller::new()],
            pages: [0; 16],
        }
    }

    /// RSTDRV: everything as after power-on.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Sets channel 4 as firmware leaves it: cascade mode, unmasked. For machines that start an operating system without firmware.
    pub fn cascade_as_firmware_does(&mut self) {
        self.write_byte(0xd6, 0xc0);
        self.write_byte(0xd4, 0x00);
    }

    fn ready(&self, channel: usize) -> bool {
        let [first, second] = &self.controllers;
        let (controller, n) = (channel / CHANNELS, channel % CHANNELS);
        let granted = if controller == 0 {
            first.grants(n) && second.grants(CASCADE) && second.mode(CASCADE).service() == Service::Cascade
        } else {
            second.grants(n)
        };
        // A channel in cascade mode grants the bus, but neither addresses nor counts.
        granted && self.controllers[controller].mode(n).service() != Service::Cascade
    }

    /// Runs a channel on for up to `len` bytes; `each` moves one run: guest address of its lowest byte, and where in the caller's
    /// buffer it lies.
    fn transfer(&mut self, channel: usize, len: usize, mut each: impl FnMut(Span)) -> Transfer {
        let mut done = Transfer::default();
        if !self.ready(channel) {
            return done;
        }
        let (controller, n) = (channel / CHANNELS, channel % CHANNELS);
        let wiring = Wiring {
            shift: u32::from(controller == 1),
            page: self.pages[PAGE_OF_CHANNEL[channel]],
        };
        while let Some(run) = self.controllers[controller].run(n, (len - done.count) >> wiring.shift) {
            let span = wiring.span(run, done.count);
            done.count += span.len;
            done.terminal_count = run.terminal_count;
            each(span);
            if run.terminal_count {
                break;
            }
        }
        done
    }

    fn direction(&self, channel: usize) -> Direction {
        self.controllers[channel / CHANNELS]
            .mode(channel % CHANNELS)
            .direction()
    }
}

impl Default for Dma8237 {
    fn default() -> Self {
        Self::new()
    }
}

impl Device for Dma8237 {
    fn read_byte(&mut self, offset: u64) -> u8 {
        match Port::decode(offset) {
            Port::Controller(n, code) => self.controllers[n].read(code),
            Port::Page(n) => self.pages[n],
            Port::Nothing => 0xff,
        }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        match Port::decode(offset) {
            Port::Controller(n, code) => self.controllers[n].write(code, value),
            Port::Page(n) => self.pages[n] = value,
            Port::Nothing => {}
        }
    }
}

/// How a channel's 16-bit address becomes a place in memory. The page register does not count, so that an address wraps inside 64 KiB
/// (128 KiB for the word channels, whose page register drives A23-A17 only).
#[derive(Debug, Clone, Copy)]
struct Wiring {
    /// 1 for word channels.
    shift: u32,
    page: u8,
}

/// Part of a transfer that is contiguous in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    address: u64,
    len: usize,
    /// First byte in the device's buffer.
    at: usize,
    /// The units lie in memory from the highest to the lowest.
    reversed: bool,
    /// Bytes a unit.
    unit: usize,
}

impl Wiring {
    fn span(self, run: Run, at: usize) -> Span {
        let lowest = if run.down {
            u64::from(run.first) + 1 - run.units as u64
        } else {
            u64::from(run.first)
        };
        let page = u64::from(self.page) & !u64::from(self.shift);
        Span {
            address: page << 16 | lowest << self.shift,
            len: run.units << self.shift,
            at,
            reversed: run.down,
            unit: 1 << self.shift,
        }
    }
}

/// One channel, as the device on it holds it.
pub struct DmaChannel {
    controllers: Arc<Mutex<Dma8237>>,
    ram: Arc<dyn GuestRam>,
    channel: usize,
}

impl DmaChannel {
    /// The handle of `channel`. There should be one a channel, as there is one DREQ wire.
    pub fn new(controllers: Arc<Mutex<Dma8237>>, ram: Arc<dyn GuestRam>, channel: ChannelNumber) -> Self {
        Self {
            controllers,
            ram,
            channel: channel as usize,
        }
    }
}

impl IsaDma for DmaChannel {
    fn ready(&self) -> bool {
        lock(&self.controllers).ready(self.channel)
    }

    // The lock is kept while memory is touched: a status that shows the terminal count must not be seen before the data.
    fn write_memory(&mut self, data: &[u8]) -> Transfer {
        let mut controllers = lock(&self.controllers);
        let moves = controllers.direction(self.channel) == Direction::ToMemory;
        controllers.transfer(self.channel, data.len(), |span| {
            let data = &data[span.at..span.at + span.len];
            if !moves {
            } else if span.reversed {
                store(&*self.ram, span.address, &reverse(data, span.unit));
            } else {
                store(&*self.ram, span.address, data);
            }
        })
    }

    fn read_memory(&mut self, buffer: &mut [u8]) -> Transfer {
        let mut controllers = lock(&self.controllers);
        let moves = controllers.direction(self.channel) == Direction::FromMemory;
        controllers.transfer(self.channel, buffer.len(), |span| {
            let buffer = &mut buffer[span.at..span.at + span.len];
            if moves {
                load(&*self.ram, span.address, buffer);
                if span.reversed {
                    let turned = reverse(buffer, span.unit);
                    buffer.copy_from_slice(&turned);
                }
            }
        })
    }
}

/// The units in opposite order, each with its own bytes in order.
fn reverse(data: &[u8], unit: usize) -> Vec<u8> {
    data.rchunks_exact(unit).flatten().copied().collect()
}

/// Granularity of the memory map: a smaller piece is either all memory or not at all.
const PAGE: u64 = 4096;

/// Lengths of the pieces of `len` bytes at `address`, cut at page bounds.
fn pieces(mut address: u64, mut len: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let piece = ((PAGE - address % PAGE) as usize).min(len);
        address += piece as u64;
        len -= piece;
        (piece > 0).then_some(piece)
    })
}

/// Writes what can be written: a cycle that no memory answers is lost, the next one is not.
fn store(ram: &dyn GuestRam, address: u64, mut data: &[u8]) {
    if ram.write(address, data).is_ok() {
        return;
    }
    let mut at = address;
    for piece in pieces(address, data.len()) {
        let (now, rest) = data.split_at(piece);
        if let Err(error) = ram.write(at, now) {
            log::debug!("ISA DMA: {error}");
        }
        at += piece as u64;
        data = rest;
    }
}

/// Reads what can be read: a cycle that no memory answers gives all ones.
fn load(ram: &dyn GuestRam, address: u64, buffer: &mut [u8]) {
    if ram.read(address, buffer).is_ok() {
        return;
    }
    let (mut at, mut done) = (address, 0);
    for piece in pieces(address, buffer.len()) {
        let now = &mut buffer[done..done + piece];
        if let Err(error) = ram.read(at, now) {
            log::debug!("ISA DMA: {error}");
            now.fill(0xff);
        }
        at += piece as u64;
        done += piece;
    }
}
