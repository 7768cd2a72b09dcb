// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A serial port of a PC: a 16550A.
//!
//! The data path, the divisor, the line and modem control and the scratch register are `vm_superio::Serial`. That device is made for
//! Linux consoles: it has no FIFO control register and always says that its FIFOs are on, its FIFO holds 64 characters, it pulses
//! an edge for each event and forgets all causes when the identification register is read, it reports two causes at once as an
//! impossible third, and it has neither line and modem interrupts nor OUT2's gate. Drivers written to the data sheet lose interrupts
//! with it. [`SerialPort`] keeps its own interrupt enables hidden from it and adds what is missing:
//!
//! - interrupt causes by priority, each cleared as the data sheet says, and a level on the wire that is computed from them after
//!   each access and gated by OUT2;
//! - the FIFO control register with its trigger levels, and a receive FIFO of 16 characters (one while the FIFOs are off);
//! - overrun in the line status, and changes of the modem lines, which only loopback can cause: the far end always holds CTS, DSR
//!   and DCD.
//!
//! Characters are sent in no time, so the transmitter is always empty. A FIFO that holds less than its trigger level times out at
//! once, because more characters come when the guest has read these, not later. Breaks, parity and framing do not exist here.

mod snapshot;
mod spec;

#[cfg(test)]
mod tests;

use super::attachment::Receiver;
use devices::bus::Device;
use devices::line::IrqLine;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::io::Write;
use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial};

/// The interrupt of the inner device leads nowhere: it is never enabled.
struct Unwired;

impl Trigger for Unwired {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Why the chip interrupts, as the identification register tells it, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    LineStatus = 0x06,
    ReceivedData = 0x04,
    /// Data waits, but less than the trigger level.
    Timeout = 0x0c,
    TransmitterEmpty = 0x02,
    ModemStatus = 0x00,
    None = 0x01,
}

/// Whether the FIFOs are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Fifo {
    Off,
    /// With the receiver's trigger level.
    On(usize),
}

impl Fifo {
    fn decode(value: u8) -> Self {
        if value & spec::FCR_ENABLE == 0 {
            return Self::Off;
        }
        Self::On(match value >> 6 {
            0 => 1,
            1 => 4,
            2 => 8,
            _ => 14,
        })
    }

    fn is_on(self) -> bool {
        self != Self::Off
    }

    /// How many characters the receiver holds.
    fn depth(self) -> usize {
        match self {
            Self::Off => 1,
            Self::On(_) => spec::FIFO_DEPTH,
        }
    }
}

/// A serial port. Offsets are 0 to 7.
pub struct SerialPort<W: Write> {
    // Dependencies.
    inner: Serial<Unwired, NoEvents, W>,
    irq: IrqLine,
    /// Called when there is room again for a far end that had to wait.
    room: Box<dyn Fn() + Send>,
    // Book-keeping: the far end offered more than fitted.
    starved: bool,
    // Volatile state.
    state: State,
}

/// What the inner device does not have.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    interrupt_enable: u8,
    fifo: Fifo,
    /// The transmitter became empty and nobody was told yet.
    transmitter_empty: bool,
    overrun: bool,
    /// Modem lines when they were last looked at.
    lines: u8,
    /// Changes since the modem status was read.
    changes: u8,
}

/// CTS, DSR and DCD, as the far end holds them.
const LINES_AT_RESET: u8 = 0xb0;

impl Default for State {
    fn default() -> Self {
        Self {
            interrupt_enable: 0,
            fifo: Fifo::Off,
            transmitter_empty: false,
            overrun: false,
            lines: LINES_AT_RESET,
            changes: 0,
        }
    }
}

impl<W: Write> SerialPort<W> {
    /// A port after reset, on `irq`, that writes to `out`, whose writes must not block. `room` is called, with the port locked, when
    /// the guest has emptied the receiver after [`receive`](Receiver::receive) took less than it was offered.
    pub fn new(irq: IrqLine, out: W, room: impl Fn() + Send + 'static) -> Self {
        let mut port = Self {
            inner: Serial::new(Unwired, out),
            irq,
            room: Box::new(room),
            starved: false,
            state: State::default(),
        };
        // The inner device comes up as firmware would leave it.
        port.reset();
        port
    }

    /// The master reset. The divisor and the scratch register keep their values.
    pub fn reset(&mut self) {
        self.set_inner(spec::LINE_CONTROL, 0);
        self.set_inner(spec::MODEM_CONTROL, 0);
        self.clear_receiver();
        self.state = State::default();
        self.update();
    }

    /// The inner device fails only when its output does, and [`Output`](super::Output) never does.
    fn set_inner(&mut self, offset: u64, value: u8) {
        if let Err(error) = self.inner.write(offset as u8, value) {
            log::debug!("serial port: {error}");
        }
    }

    fn divisor_selected(&mut self) -> bool {
        self.inner.read(spec::LINE_CONTROL as u8) & spec::LCR_DIVISOR != 0
    }

    fn modem_control(&mut self) -> u8 {
        self.inner.read(spec::MODEM_CONTROL as u8)
    }

    /// Characters in the receiver. The inner FIFO is larger than the chip's, and never holds more than the chip's would.
    fn received(&self) -> usize {
        INNER_DEPTH.saturating_sub(self.inner.fifo_capacity())
    }

    fn clear_receiver(&mut self) {
        let divisor = self.divisor_selected();
        let line_control = self.inner.read(spec::LINE_CONTROL as u8);
        if divisor {
            self.set_inner(spec::LINE_CONTROL, line_control & !spec::LCR_DIVISOR);
        }
        for _ in 0..self.received() {
            self.inner.read(spec::DATA as u8);
        }
        if divisor {
            self.set_inner(spec::LINE_CONTROL, line_control);
        }
    }

    fn cause(&self) -> Cause {
        let state = &self.state;
        let enabled = |bit| state.interrupt_enable & bit != 0;
        let received = self.received();
        if enabled(spec::IER_LINE) && state.overrun {
            Cause::LineStatus
        } else if enabled(spec::IER_RECEIVED) && received > 0 {
            match state.fifo {
                Fifo::On(trigger) if received < trigger => Cause::Timeout,
                _ => Cause::ReceivedData,
            }
        } else if enabled(spec::IER_TRANSMITTER) && state.transmitter_empty {
            Cause::TransmitterEmpty
        } else if enabled(spec::IER_MODEM) && state.changes != 0 {
            Cause::ModemStatus
        } else {
            Cause::None
        }
    }

    /// Recomputes what follows from the registers: changes of the modem lines, the interrupt, and room for the far end.
    fn update(&mut self) {
        let lines = self.inner.read(spec::MODEM_STATUS as u8) & spec::MSR_LINES;
        let mut changed = lines ^ self.state.lines;
        if lines & spec::MSR_RING != 0 {
            // The start of a ring is no change.
            changed &= !spec::MSR_RING;
        }
        self.state.changes |= changed >> 4;
        self.state.lines = lines;
        let gate = self.modem_control() & spec::MCR_OUT2 != 0;
        self.irq.set(gate && self.cause() != Cause::None);
        if self.starved && self.received() == 0 && self.capacity() > 0 {
            self.starved = false;
            (self.room)();
        }
    }

    /// Characters that the far end may send now. In loopback it is cut off.
    fn capacity(&mut self) -> usize {
        if self.modem_control() & spec::MCR_LOOP != 0 {
            return 0;
        }
        self.state.fifo.depth().saturating_sub(self.received())
    }

    fn transmit(&mut self, value: u8) {
        if self.modem_control() & spec::MCR_LOOP != 0 && self.received() >= self.state.fifo.depth() {
            self.state.overrun = true;
            if self.state.fifo.is_on() {
                // The FIFO stays as it is: the character is lost.
                self.state.transmitter_empty = true;
                return;
            }
            // Without FIFO the new character takes the place of the old one.
            self.clear_receiver();
        }
        self.set_inner(spec::DATA, value);
        self.state.transmitter_empty = true;
    }

    fn control_fifo(&mut self, value: u8) {
        let fifo = Fifo::decode(value);
        let switched = fifo.is_on() != self.state.fifo.is_on();
        if switched || fifo.is_on() && value & spec::FCR_CLEAR_RECEIVER != 0 {
            self.clear_receiver();
        }
        self.state.fifo = fifo;
    }

    fn identify(&mut self) -> u8 {
        let cause = self.cause();
        if cause == Cause::TransmitterEmpty {
            self.state.transmitter_empty = false;
        }
        cause as u8
            | if self.state.fifo.is_on() {
                spec::IIR_FIFO
            } else {
                0
            }
    }
}

/// Characters that the inner device's FIFO holds.
const INNER_DEPTH: usize = 64;

/// What a read cycle reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadRegister {
    /// The receiver, the divisor, and what the inner device knows alone.
    Inner,
    InterruptEnable,
    Identification,
    LineStatus,
    ModemStatus,
}

impl ReadRegister {
    fn decode(offset: u64, divisor: bool) -> Option<Self> {
        Some(match offset {
            spec::INTERRUPT_ENABLE if !divisor => Self::InterruptEnable,
            spec::IDENTIFICATION_OR_FIFO => Self::Identification,
            spec::LINE_STATUS => Self::LineStatus,
            spec::MODEM_STATUS => Self::ModemStatus,
            0..=spec::SCRATCH => Self::Inner,
            _ => return None,
        })
    }
}

/// What a write cycle reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteRegister {
    /// The divisor, and what the inner device knows alone.
    Inner,
    Transmitter,
    InterruptEnable,
    FifoControl,
    ModemControl,
}

impl WriteRegister {
    fn decode(offset: u64, divisor: bool) -> Option<Self> {
        Some(match offset {
            spec::DATA if !divisor => Self::Transmitter,
            spec::INTERRUPT_ENABLE if !divisor => Self::InterruptEnable,
            spec::IDENTIFICATION_OR_FIFO => Self::FifoControl,
            spec::MODEM_CONTROL => Self::ModemControl,
            spec::DATA | spec::INTERRUPT_ENABLE | spec::LINE_CONTROL | spec::SCRATCH => Self::Inner,
            // The status registers are written by factory tests only.
            _ => return None,
        })
    }
}

impl<W: Write + Send> Device for SerialPort<W> {
    fn read_byte(&mut self, offset: u64) -> u8 {
        let divisor = self.divisor_selected();
        let Some(register) = ReadRegister::decode(offset, divisor) else {
            return 0xff;
        };
        let value = match register {
            ReadRegister::Inner => self.inner.read(offset as u8),
            ReadRegister::InterruptEnable => self.state.interrupt_enable,
            ReadRegister::Identification => self.identify(),
            ReadRegister::LineStatus => {
                let overrun = std::mem::take(&mut self.state.overrun);
                self.inner.read(offset as u8) | if overrun { spec::LSR_OVERRUN } else { 0 }
            }
            ReadRegister::ModemStatus => self.state.lines | std::mem::take(&mut self.state.changes),
        };
        self.update();
        value
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        let divisor = self.divisor_selected();
        let Some(register) = WriteRegister::decode(offset, divisor) else {
            return;
        };
        match register {
            WriteRegister::Inner => self.set_inner(offset, value),
            WriteRegister::Transmitter => self.transmit(value),
            WriteRegister::InterruptEnable => {
                let risen = value & !self.state.interrupt_enable;
                self.state.interrupt_enable = value & spec::IER_MASK;
                if risen & spec::IER_TRANSMITTER != 0 {
                    // It is empty now, and whoever asks to be told is told of that.
                    self.state.transmitter_empty = true;
                }
            }
            WriteRegister::FifoControl => self.control_fifo(value),
            WriteRegister::ModemControl => self.set_inner(offset, value & spec::MCR_MASK),
        }
        self.update();
    }
}

impl<W: Write + Send> Receiver for SerialPort<W> {
    fn receive(&mut self, bytes: &[u8]) -> usize {
        let count = self.capacity().min(bytes.len());
        let taken = bytes
            .get(..count)
            .and_then(|bytes| self.inner.enqueue_raw_bytes(bytes).ok())
            .unwrap_or(0);
        self.starved = taken < bytes.len();
        self.update();
        taken
    }
}
