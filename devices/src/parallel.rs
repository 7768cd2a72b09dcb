// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The parallel port (SPP), with a printer on it that takes each byte at once.

mod snapshot;

use crate::bus::Device;
use crate::line::IrqLine;
use bitflags::bitflags;
use serde::{Deserialize, Serialize};

bitflags! {
    /// Status register (IEEE 1284-1994 annex C.2). A set bit is a high line; the port inverts BUSY.
    struct StatusBits: u8 {
        /// Not busy.
        const READY = 1 << 7;
        /// nACK: low for a moment when a byte has been taken.
        const NOT_ACK = 1 << 6;
        /// Out of paper.
        const PAPER_OUT = 1 << 5;
        /// On line.
        const SELECT = 1 << 4;
        /// nERROR.
        const NOT_ERROR = 1 << 3;
        /// Not decoded: float high.
        const UNUSED = 0x07;
    }
}

bitflags! {
    /// Control register.
    #[derive(Clone, Copy, Serialize, Deserialize)]
    struct ControlBits: u8 {
        /// Data is valid (pulls nSTROBE low).
        const STROBE = 1 << 0;
        /// Feed a line at each carriage return.
        const AUTO_FEED = 1 << 1;
        /// nINIT: clear resets the printer.
        const NOT_INIT = 1 << 2;
        /// The printer is addressed.
        const SELECT_IN = 1 << 3;
        /// Acknowledgements interrupt.
        const IRQ_ENABLE = 1 << 4;
        /// The port does not drive the data lines.
        const INPUT = 1 << 5;
    }
}

/// Control bits that are not decoded read as ones.
const CONTROL_UNUSED: u8 = 0xc0;

/// Registers by their offset, for both directions.
enum Register {
    Data,
    Status,
    Control,
}

impl Register {
    fn at(offset: u64) -> Option<Self> {
        match offset {
            0 => Some(Self::Data),
            1 => Some(Self::Status),
            2 => Some(Self::Control),
            _ => None,
        }
    }
}

/// How far the printer is with the byte on its lines.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Handshake {
    /// It waits for a strobe.
    Idle,
    /// It has latched a byte; the strobe is still there.
    Busy,
    /// It has pulsed nACK. One look at the status still sees that, for those who poll for it.
    Acknowledged,
}

/// Registers and handshake; also what a saved machine keeps.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    data: u8,
    control: ControlBits,
    handshake: Handshake,
}

impl State {
    fn power_on() -> Self {
        Self {
            data: 0,
            control: ControlBits::NOT_INIT | ControlBits::SELECT_IN,
            handshake: Handshake::Idle,
        }
    }
}

/// Takes what the guest prints.
type Sink = Box<dyn FnMut(&[u8]) + Send>;

/// A parallel port at three consecutive ports.
pub struct ParallelPort {
    // Dependencies.
    irq: IrqLine,
    sink: Sink,

    // Volatile state.
    state: State,
}

impl ParallelPort {
    /// A port whose bytes go to `sink`, which runs on the processor's thread and must not block for long. Without an interrupt, `irq` is
    /// [`IrqLine::detached`].
    pub fn new(irq: IrqLine, sink: impl FnMut(&[u8]) + Send + 'static) -> Self {
        Self {
            irq,
            sink: Box::new(sink),
            state: State::power_on(),
        }
    }

    /// Power-on.
    pub fn reset(&mut self) {
        self.state = State::power_on();
        self.irq.set(false);
    }

    fn status(&mut self) -> u8 {
        let mut status = StatusBits::READY
            | StatusBits::NOT_ACK
            | StatusBits::SELECT
            | StatusBits::NOT_ERROR
            | StatusBits::UNUSED;
        match self.state.handshake {
            Handshake::Idle => {}
            Handshake::Busy => status.remove(StatusBits::READY),
            Handshake::Acknowledged => {
                status.remove(StatusBits::NOT_ACK);
                self.state.handshake = Handshake::Idle;
            }
        }
        status.bits()
    }

    fn set_control(&mut self, control: ControlBits) {
        let before = std::mem::replace(&mut self.state.control, control).contains(ControlBits::STROBE);
        if !control.contains(ControlBits::NOT_INIT) {
            self.state.handshake = Handshake::Idle;
            return;
        }
        match (before, control.contains(ControlBits::STROBE)) {
            (false, true) if control.contains(ControlBits::SELECT_IN) => {
                self.state.handshake = Handshake::Busy;
                (self.sink)(&[self.state.data]);
            }
            (true, false) if self.state.handshake == Handshake::Busy => {
                self.state.handshake = Handshake::Acknowledged;
                if control.contains(ControlBits::IRQ_ENABLE) {
                    // The line follows nACK.
                    self.irq.pulse();
                }
            }
            _ => {}
        }
    }
}

impl Device for ParallelPort {
    fn read_byte(&mut self, offset: u64) -> u8 {
        match Register::at(offset) {
            // Nobody drives the lines when the port does not.
            Some(Register::Data) if self.state.control.contains(ControlBits::INPUT) => 0xff,
            Some(Register::Data) => self.state.data,
            Some(Register::Status) => self.status(),
            Some(Register::Control) => self.state.control.bits() | CONTROL_UNUSED,
            None => 0xff,
        }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        match Register::at(offset) {
            Some(Register::Data) => self.state.data = value,
            Some(Register::Control) => self.set_control(ControlBits::from_bits_truncate(value)),
            Some(Register::Status) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::lock;
    use crate::testing::TestWire;
    use std::sync::{Arc, Mutex};

    const DATA: u64 = 0;
    const STATUS: u64 = 1;
    const CONTROL: u64 = 2;
    const IDLE: u8 = 0xdf;

    fn port() -> (ParallelPort, TestWire, Arc<Mutex<Vec<u8>>>) {
        let (wire, printed) = (TestWire::new(), Arc::new(Mutex::new(Vec::new())));
        let paper = printed.clone();
        let port = ParallelPort::new(wire.wire.driver(), move |bytes| lock(&paper).extend(bytes));
        (port, wire, printed)
    }

    #[test]
    fn reset_values() {
        let (mut port, _, _) = port();
        for _ in 0..2 {
            assert_eq!(
                [DATA, STATUS, CONTROL, 3].map(|at| port.read_byte(at)),
                [0, IDLE, 0xcc, 0xff]
            );
            port.write_byte(DATA, 1);
            port.write_byte(CONTROL, 0x3d);
            port.reset();
        }
    }

    /// As the BIOS prints: data, strobe on, strobe off.
    #[test]
    fn a_strobe_takes_one_byte() {
        let (mut port, wire, printed) = port();
        for byte in *b"hi" {
            assert_eq!(port.read_byte(STATUS), IDLE);
            port.write_byte(DATA, byte);
            port.write_byte(CONTROL, 0x0d);
            // Busy for as long as the strobe lasts; repeating it is no new strobe.
            assert_eq!(port.read_byte(STATUS), IDLE & !0x80);
            port.write_byte(CONTROL, 0x0d);
            assert_eq!(port.read_byte(STATUS), IDLE & !0x80);
            port.write_byte(CONTROL, 0x0c);
            // Ready, and the acknowledgement can be seen once.
            assert_eq!(port.read_byte(STATUS), IDLE & !0x40);
            assert_eq!(port.read_byte(STATUS), IDLE);
        }
        assert_eq!(*lock(&printed), b"hi");
        assert_eq!(wire.take_rises(), 0);
    }

    #[test]
    fn acknowledgements_interrupt_if_enabled() {
        let (mut port, wire, _) = port();
        port.write_byte(CONTROL, 0x1d);
        assert_eq!(wire.take_rises(), 0);
        port.write_byte(CONTROL, 0x1c);
        assert_eq!(wire.take_rises(), 1);
        port.write_byte(CONTROL, 0x1c);
        assert_eq!(wire.take_rises(), 0);
        assert!(!wire.level());
    }

    #[test]
    fn a_printer_in_reset_or_not_selected_takes_nothing() {
        let (mut port, wire, printed) = port();
        port.write_byte(DATA, 1);
        for control in [0x08, 0x04] {
            port.write_byte(CONTROL, control);
            port.write_byte(CONTROL, control | 0x11);
            port.write_byte(CONTROL, control | 0x10);
            assert_eq!(port.read_byte(STATUS), IDLE);
        }
        assert!(lock(&printed).is_empty());
        assert_eq!(wire.take_rises(), 0);
    }

    #[test]
    fn the_data_lines_float_when_turned_round() {
        let (mut port, _, _) = port();
        port.write_byte(DATA, 0x5a);
        assert_eq!(port.read_byte(DATA), 0x5a);
        port.write_byte(CONTROL, 0x2c);
        assert_eq!(port.read_byte(DATA), 0xff);
        port.write_byte(CONTROL, 0x0c);
        assert_eq!(port.read_byte(DATA), 0x5a);
    }

    #[test]
    fn the_status_register_cannot_be_written() {
        let (mut port, _, _) = port();
        port.write_byte(STATUS, 0);
        assert_eq!(port.read_byte(STATUS), IDLE);
    }
}
