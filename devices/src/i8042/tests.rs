// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The controller as a driver sees it, and its devices through it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hostile;
mod keyboard;
mod mouse;

use super::*;
use crate::testing::{TestClock, TestPower, TestTimer, TestWire};

const DATA: u64 = 0;
const COMMAND: u64 = 4;

const EMPTY: u8 = 0x10;
const OUTPUT_FULL: u8 = 0x01;
const SYSTEM: u8 = 0x04;
const COMMAND_WRITTEN: u8 = 0x08;
const AUX_FULL: u8 = 0x20;

const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;

/// A controller with what surrounds it.
struct Bench {
    chip: I8042,
    keyboard_irq: TestWire,
    mouse_irq: TestWire,
    power: Arc<TestPower>,
    clock: Arc<TestClock>,
    timer: TestTimer,
}

impl Bench {
    fn new() -> Self {
        let (keyboard_irq, mouse_irq) = (TestWire::new(), TestWire::new());
        let (power, clock, timer) = (TestPower::new(), TestClock::new(), TestTimer::new());
        let chip = I8042::new(Wiring {
            keyboard_irq: keyboard_irq.wire.driver(),
            mouse_irq: mouse_irq.wire.driver(),
            power: power.clone(),
            clock: clock.clone(),
            timer: Box::new(timer.clone()),
        });
        Self {
            chip,
            keyboard_irq,
            mouse_irq,
            power,
            clock,
            timer,
        }
    }

    /// With this command byte.
    fn with(command_byte: u8) -> Self {
        let mut bench = Self::new();
        bench.set_command_byte(command_byte);
        bench
    }

    fn set_command_byte(&mut self, value: u8) {
        self.command(0x60);
        self.write(value);
    }

    fn command(&mut self, value: u8) {
        self.chip.write_byte(COMMAND, value);
    }

    fn write(&mut self, value: u8) {
        self.chip.write_byte(DATA, value);
    }

    fn status(&mut self) -> u8 {
        self.chip.read_byte(COMMAND)
    }

    fn read(&mut self) -> u8 {
        self.chip.read_byte(DATA)
    }

    /// A command and the controller's answer to it.
    fn ask(&mut self, command: u8) -> u8 {
        self.command(command);
        assert_eq!(self.status() & (OUTPUT_FULL | AUX_FULL), OUTPUT_FULL);
        self.read()
    }

    fn keyboard(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        for byte in bytes {
            self.write(*byte);
            answers.extend(self.drain(0));
        }
        answers
    }

    fn mouse(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        for byte in bytes {
            self.command(0xd4);
            self.write(*byte);
            answers.extend(self.drain(AUX_FULL));
        }
        answers
    }

    /// All bytes that are there now, which must come from one port.
    fn drain(&mut self, aux: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.status() & OUTPUT_FULL != 0 {
            assert_eq!(self.status() & AUX_FULL, aux);
            bytes.push(self.read());
        }
        bytes
    }

    /// All bytes that come as time passes.
    fn listen(&mut self, aux: u8) -> Vec<u8> {
        let mut bytes = self.drain(aux);
        for _ in 0..1000 {
            self.clock.advance(BYTE_TIME);
            bytes.extend(self.drain(aux));
        }
        bytes
    }
}

#[test]
fn reset_values() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        assert_eq!(bench.status(), EMPTY);
        assert_eq!(bench.read(), 0);
        assert!(!bench.keyboard_irq.level() && !bench.mouse_irq.level());
        assert!(bench.chip.a20());
        assert_eq!(bench.ask(0x20), 0);
        bench.set_command_byte(0x47);
        bench.command(0xaa);
        bench.command(0xdd);
        bench.command(0xd4);
        bench.chip.reset();
    }
    assert_eq!(bench.chip.read_byte(1), 0xff);
}

#[test]
fn tests_and_ports() {
    let mut bench = Bench::new();
    assert_eq!(bench.ask(0xaa), 0x55);
    assert_eq!(bench.status(), EMPTY | SYSTEM | COMMAND_WRITTEN);
    assert_eq!(bench.ask(0xab), 0);
    assert_eq!(bench.ask(0xa9), 0);
    assert_eq!(bench.ask(0xa4), 0xf1);
    assert_eq!(bench.ask(0xc0), 0xa0);
    assert_eq!(bench.ask(0xd0), 0xcf);
    assert_eq!(bench.ask(0xe0), 3);
    // Unknown: no answer.
    bench.command(0xa1);
    assert_eq!(bench.status() & OUTPUT_FULL, 0);
}

#[test]
fn memory() {
    let mut bench = Bench::new();
    bench.set_command_byte(0x65);
    assert_eq!(bench.ask(0x20), 0x65);
    assert_eq!(bench.status(), EMPTY | SYSTEM | COMMAND_WRITTEN);
    bench.command(0x7f);
    bench.write(0xa5);
    assert_eq!(bench.ask(0x3f), 0xa5);
    assert_eq!(bench.ask(0x20), 0x65);
    // Port switches are bits of the command byte.
    for (command, expected) in [(0xa8, 0x45), (0xad, 0x55), (0xa7, 0x75), (0xae, 0x65)] {
        bench.command(command);
        assert_eq!(bench.ask(0x20), expected);
    }
}

#[test]
fn a_command_forgets_what_waited_for_a_byte() {
    let mut bench = Bench::new();
    bench.command(0x60);
    bench.command(0xae);
    // For the keyboard, then, which does not know it.
    bench.write(0x47);
    assert_eq!(bench.read(), RESEND);
    assert_eq!(bench.ask(0x20), 0);
}

#[test]
fn the_status_tells_commands_from_data() {
    let mut bench = Bench::new();
    bench.command(0xa8);
    assert_eq!(bench.status(), EMPTY | COMMAND_WRITTEN);
    bench.write(0xee);
    assert_eq!(bench.status(), EMPTY | OUTPUT_FULL);
}

#[test]
fn the_reset_line() {
    let reset = [PowerRequest::Reset(ResetCause::KeyboardController)];
    let mut bench = Bench::new();
    for command in [0xfe, 0xf0, 0xfc] {
        bench.command(command);
        assert_eq!(bench.power.take(), reset);
    }
    bench.command(0xff);
    bench.command(0xd1);
    bench.write(0xdf);
    assert_eq!(bench.power.take(), []);
    bench.command(0xd1);
    bench.write(0xde);
    assert_eq!(bench.power.take(), reset);
}

#[test]
fn address_line_20() {
    let mut bench = Bench::new();
    bench.command(0xd1);
    bench.write(0xdd);
    assert!(!bench.chip.a20());
    assert_eq!(bench.ask(0xd0) & 0x03, 0x01);
    bench.command(0xdf);
    assert!(bench.chip.a20());
    bench.command(0xdd);
    assert!(!bench.chip.a20());
}

#[test]
fn the_output_port_shows_the_buffer() {
    let mut bench = Bench::new();
    bench.command(0xd3);
    bench.write(1);
    bench.command(0xd0);
    assert_eq!(bench.read(), 1);
    assert_eq!(bench.read(), 0xef);
    bench.write(0xee);
    bench.command(0xd0);
    assert_eq!(bench.read(), 0xee);
    assert_eq!(bench.read(), 0xdf);
}

#[test]
fn loop_back_of_both_kinds() {
    let mut bench = Bench::with(0x03);
    bench.command(0xd2);
    bench.write(0x1c);
    assert_eq!(bench.status(), EMPTY | OUTPUT_FULL);
    assert!(bench.keyboard_irq.level() && !bench.mouse_irq.level());
    assert_eq!(bench.read(), 0x1c);
    bench.command(0xd3);
    bench.write(0x5a);
    assert_eq!(bench.status(), EMPTY | OUTPUT_FULL | AUX_FULL);
    assert!(!bench.keyboard_irq.level() && bench.mouse_irq.level());
    assert_eq!(bench.read(), 0x5a);
    assert!(!bench.mouse_irq.level());
}

#[test]
fn interrupts_follow_the_command_byte() {
    let mut bench = Bench::with(0x00);
    bench.command(0xd3);
    bench.write(1);
    assert!(!bench.mouse_irq.level());
    // Switching interrupts on finds the byte there.
    bench.set_command_byte(0x02);
    assert!(bench.mouse_irq.level());
    bench.set_command_byte(0x01);
    assert!(!bench.mouse_irq.level());
    bench.read();
    // The controller's own answers interrupt too, but not with the keyboard switched off.
    bench.command(0xaa);
    assert!(bench.keyboard_irq.level());
    bench.read();
    bench.command(0xad);
    bench.command(0xaa);
    assert!(!bench.keyboard_irq.level());
}

#[test]
fn every_byte_is_an_edge() {
    let mut bench = Bench::with(0x01);
    bench.write(0xf2);
    assert_eq!(bench.keyboard_irq.take_rises(), 1);
    for expected in [ACK, 0xab, 0x83] {
        assert!(bench.keyboard_irq.level());
        assert_eq!(bench.read(), expected);
    }
    assert_eq!(bench.keyboard_irq.take_rises(), 2);
    assert!(!bench.keyboard_irq.level());
}

#[test]
fn who_comes_first() {
    let mut bench = Bench::new();
    // Something is in the buffer; everything else comes in between and waits.
    bench.write(0xee);
    bench.mouse(&[]);
    bench.command(0xd4);
    bench.write(0xf2);
    bench.chip.key(Key::A, true).unwrap();
    bench.write(0xee);
    bench.command(0xaa);
    assert_eq!(bench.read(), 0xee);
    assert_eq!(bench.read(), 0x55);
    assert_eq!(bench.read(), 0xee);
    assert_eq!([bench.read(), bench.read()], [ACK, 0]);
    bench.clock.advance(BYTE_TIME);
    assert_eq!(bench.read(), 0x1c);
}

/// SeaBIOS: flush, self-test, port tests, keyboard reset, set 2, enable, command byte.
#[test]
fn the_bios_sets_up_the_keyboard() {
    let mut bench = Bench::new();
    assert_eq!(bench.drain(0), []);
    assert_eq!(bench.ask(0xaa), 0x55);
    assert_eq!(bench.ask(0xab), 0x00);
    bench.set_command_byte(0x30);
    assert_eq!(bench.keyboard(&[0xff]), [ACK, 0xaa]);
    assert_eq!(bench.keyboard(&[0xf5]), [ACK]);
    assert_eq!(bench.keyboard(&[0xf0, 0x02]), [ACK, ACK]);
    bench.set_command_byte(0x61);
    assert_eq!(bench.keyboard(&[0xf4]), [ACK]);
    bench.keyboard_irq.take_rises();
    bench.chip.key(Key::Enter, true).unwrap();
    bench.clock.advance(BYTE_TIME);
    bench.chip.expire();
    assert_eq!(bench.keyboard_irq.take_rises(), 1);
    assert_eq!(bench.read(), 0x1c);
}

/// Linux: loop-back with the port disabled, multiplexer knock, disabling shows in the command byte, interrupt by loop-back.
#[test]
fn linux_finds_the_auxiliary_port() {
    let mut bench = Bench::with(0x74);
    let mut looped = |value| {
        bench.command(0xd3);
        bench.write(value);
        assert_eq!(bench.status() & (OUTPUT_FULL | AUX_FULL), OUTPUT_FULL | AUX_FULL);
        bench.read()
    };
    // A multiplexer would answer a4h with its version.
    for value in [0x5a, 0xf0, 0x56, 0xa4] {
        assert_eq!(looped(value), value);
    }
    bench.command(0xa7);
    assert_eq!(bench.ask(0x20) & 0x20, 0x20);
    bench.command(0xa8);
    assert_eq!(bench.ask(0x20) & 0x20, 0);
    bench.set_command_byte(0x56);
    bench.command(0xd3);
    bench.write(0xa5);
    assert_eq!(bench.mouse_irq.take_rises(), 1);
    assert_eq!(bench.read(), 0xa5);
}
