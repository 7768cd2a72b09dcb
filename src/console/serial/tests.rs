// SPDX-License-Identifier: Apache-2.0 OR MIT
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::spec::*;
use super::*;
use devices::testing::TestWire;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A port, its wire, and how often it told of room.
struct Bench {
    port: SerialPort<Vec<u8>>,
    wire: TestWire,
    room: Arc<AtomicUsize>,
}

impl Bench {
    fn new() -> Self {
        let wire = TestWire::new();
        let room = Arc::new(AtomicUsize::new(0));
        let count = room.clone();
        Self {
            port: SerialPort::new(wire.wire.driver(), Vec::new(), move || {
                count.fetch_add(1, Ordering::Relaxed);
            }),
            wire,
            room,
        }
    }

    /// A port with OUT2 on, the FIFOs on at trigger level 1, and these interrupts enabled.
    fn ready(enable: u8) -> Self {
        let mut b = Self::new();
        b.out(MODEM_CONTROL, MCR_OUT2);
        b.out(IDENTIFICATION_OR_FIFO, 0x07);
        b.out(INTERRUPT_ENABLE, enable);
        b
    }

    fn out(&mut self, offset: u64, value: u8) {
        self.port.write_byte(offset, value);
    }

    fn inb(&mut self, offset: u64) -> u8 {
        self.port.read_byte(offset)
    }

    fn sent(&self) -> &[u8] {
        self.port.inner.writer()
    }

    fn take_rooms(&self) -> usize {
        self.room.swap(0, Ordering::Relaxed)
    }
}

#[test]
fn reset_values() {
    let mut b = Bench::new();
    for (offset, value) in [
        (DATA, 0x00),
        (INTERRUPT_ENABLE, 0x00),
        (IDENTIFICATION_OR_FIFO, 0x01),
        (LINE_CONTROL, 0x00),
        (MODEM_CONTROL, 0x00),
        (LINE_STATUS, 0x60),
        (MODEM_STATUS, 0xb0),
        (8, 0xff),
    ] {
        assert_eq!(b.inb(offset), value, "{offset}");
    }
    assert!(!b.wire.level());
}

#[test]
fn a_reset_keeps_divisor_and_scratch() {
    let mut b = Bench::ready(0x0f);
    b.out(SCRATCH, 0x5a);
    b.out(LINE_CONTROL, 0x83);
    b.out(DATA, 0x34);
    b.out(INTERRUPT_ENABLE, 0x12);
    b.port.receive(b"abc");
    b.port.reset();
    assert_eq!(b.inb(LINE_CONTROL), 0);
    assert_eq!(b.inb(MODEM_CONTROL), 0);
    assert_eq!(b.inb(INTERRUPT_ENABLE), 0);
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0x01);
    assert_eq!(b.inb(LINE_STATUS), 0x60);
    assert_eq!(b.inb(SCRATCH), 0x5a);
    assert!(!b.wire.level());
    b.out(LINE_CONTROL, 0x80);
    assert_eq!((b.inb(DATA), b.inb(INTERRUPT_ENABLE)), (0x34, 0x12));
}

#[test]
fn registers_keep_only_their_bits() {
    let mut b = Bench::new();
    b.out(INTERRUPT_ENABLE, 0xff);
    b.out(MODEM_CONTROL, 0xff);
    b.out(LINE_CONTROL, 0x7f);
    assert_eq!(b.inb(INTERRUPT_ENABLE), 0x0f);
    assert_eq!(b.inb(MODEM_CONTROL), 0x1f);
    assert_eq!(b.inb(LINE_CONTROL), 0x7f);
}

/// The steps by which drivers (Linux, NT) tell an 8250, a 16450, a 16550 and a 16550A apart.
#[test]
fn drivers_find_a_16550a() {
    let mut b = Bench::new();
    b.out(SCRATCH, 0xa5);
    assert_eq!(b.inb(SCRATCH), 0xa5);
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO) & 0xc0, 0x00);
    b.out(IDENTIFICATION_OR_FIFO, 0x01);
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO) & 0xc0, 0xc0);
    b.out(IDENTIFICATION_OR_FIFO, 0x00);
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO) & 0xc0, 0x00);
    // No 16750: bit 5 stays away, and trigger bits without enable do nothing.
    b.out(IDENTIFICATION_OR_FIFO, 0x21);
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc1);
    b.out(IDENTIFICATION_OR_FIFO, 0xc0);
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0x01);
    // Linux's loopback test: RTS and OUT2 show as CTS and DCD.
    b.out(MODEM_CONTROL, 0x1a);
    assert_eq!(b.inb(MODEM_STATUS) & 0xf0, 0x90);
}

#[test]
fn characters_go_out_but_not_while_the_divisor_is_selected() {
    let mut b = Bench::new();
    b.out(DATA, b'a');
    b.out(LINE_CONTROL, 0x80);
    b.out(DATA, b'b');
    b.out(LINE_CONTROL, 0x03);
    b.out(DATA, b'c');
    assert_eq!(b.sent(), b"ac");
    assert_eq!(b.inb(LINE_STATUS), 0x60);
}

#[test]
fn received_data_interrupts_until_it_is_read() {
    let mut b = Bench::ready(IER_RECEIVED);
    assert_eq!(b.port.receive(b"xy"), 2);
    assert!(b.wire.level());
    // Looking at the cause does not take it away.
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc4);
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc4);
    assert_eq!(b.inb(LINE_STATUS), 0x61);
    assert_eq!(b.inb(DATA), b'x');
    assert!(b.wire.level());
    assert_eq!(b.inb(DATA), b'y');
    assert!(!b.wire.level());
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc1);
    // The wire rose once for both.
    assert_eq!(b.wire.take_rises(), 1);
}

#[test]
fn less_than_the_trigger_level_times_out() {
    let mut b = Bench::ready(IER_RECEIVED);
    b.out(IDENTIFICATION_OR_FIFO, 0x81);
    b.port.receive(b"1234567");
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xcc);
    b.port.receive(b"8");
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc4);
    b.inb(DATA);
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xcc);
    assert!(b.wire.level());
}

#[test]
fn the_transmitter_interrupts_when_it_becomes_empty() {
    let mut b = Bench::ready(0);
    b.out(DATA, b'a');
    // Enabling tells of the empty transmitter at once; reading the cause takes it away.
    b.out(INTERRUPT_ENABLE, IER_TRANSMITTER);
    assert!(b.wire.level());
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc2);
    assert!(!b.wire.level());
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc1);
    // Enabled already: no new interrupt.
    b.out(INTERRUPT_ENABLE, IER_TRANSMITTER);
    assert!(!b.wire.level());
    b.wire.take_rises();
    b.out(DATA, b'b');
    assert_eq!(b.wire.take_rises(), 1);
    // Masked and unmasked: told anew.
    b.inb(IDENTIFICATION_OR_FIFO);
    b.out(INTERRUPT_ENABLE, 0);
    b.out(INTERRUPT_ENABLE, IER_TRANSMITTER);
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc2);
}

#[test]
fn causes_come_by_priority_and_one_at_a_time() {
    let mut b = Bench::ready(0x0f);
    // Loopback with all lines off: CTS, DSR and DCD drop. OUT2 keeps the gate open, which holds DCD.
    b.out(MODEM_CONTROL, MCR_LOOP | MCR_OUT2);
    for value in 0..17 {
        b.out(DATA, value);
    }
    assert!(b.wire.level());
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc6);
    assert_eq!(b.inb(LINE_STATUS), 0x63);
    // Overrun: told once, and the first sixteen are there.
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc4);
    for value in 0..16 {
        assert_eq!(b.inb(DATA), value);
    }
    assert_eq!(b.inb(LINE_STATUS), 0x60);
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc2);
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc0);
    assert!(b.wire.level());
    assert_eq!(b.inb(MODEM_STATUS), 0x83);
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc1);
    assert!(!b.wire.level());
    assert!(b.sent().is_empty());
}

#[test]
fn the_end_of_a_ring_counts_but_not_its_start() {
    let mut b = Bench::ready(IER_MODEM);
    b.out(MODEM_CONTROL, MCR_LOOP | MCR_OUT2);
    b.inb(MODEM_STATUS);
    // OUT1 is the ring indicator in loopback.
    b.out(MODEM_CONTROL, MCR_LOOP | MCR_OUT2 | 0x04);
    assert!(!b.wire.level());
    assert_eq!(b.inb(MODEM_STATUS), 0xc0);
    b.out(MODEM_CONTROL, MCR_LOOP | MCR_OUT2);
    assert!(b.wire.level());
    assert_eq!(b.inb(MODEM_STATUS), 0x84);
    // Leaving loopback brings the lines back.
    b.out(MODEM_CONTROL, MCR_OUT2);
    assert_eq!(b.inb(MODEM_STATUS), 0xb3);
}

#[test]
fn out2_is_the_gate_to_the_wire() {
    let mut b = Bench::ready(IER_RECEIVED);
    b.out(MODEM_CONTROL, 0x03);
    b.port.receive(b"x");
    assert_eq!(b.inb(IDENTIFICATION_OR_FIFO), 0xc4);
    assert!(!b.wire.level());
    b.out(MODEM_CONTROL, 0x0b);
    assert!(b.wire.level());
    b.out(MODEM_CONTROL, 0x03);
    assert!(!b.wire.level());
}

#[test]
fn the_fifo_control_register_empties_the_receiver() {
    let mut b = Bench::ready(IER_RECEIVED);
    b.port.receive(b"abc");
    // With the divisor selected too.
    b.out(LINE_CONTROL, 0x80);
    b.out(IDENTIFICATION_OR_FIFO, 0x03);
    assert_eq!(b.inb(LINE_STATUS), 0x60);
    assert!(!b.wire.level());
    b.port.receive(b"d");
    b.out(LINE_CONTROL, 0x03);
    assert_eq!(b.inb(DATA), b'd');
    // Switching the FIFOs empties them, leaving them on does not.
    b.port.receive(b"e");
    b.out(IDENTIFICATION_OR_FIFO, 0x01);
    assert_eq!(b.inb(LINE_STATUS), 0x61);
    b.out(IDENTIFICATION_OR_FIFO, 0x00);
    assert_eq!(b.inb(LINE_STATUS), 0x60);
}

#[test]
fn the_far_end_waits_for_room() {
    let mut b = Bench::ready(0);
    assert_eq!(b.port.receive(&[7; 20]), 16);
    assert_eq!(b.port.receive(&[7; 4]), 0);
    for _ in 0..15 {
        b.inb(DATA);
        assert_eq!(b.take_rooms(), 0);
    }
    b.inb(DATA);
    assert_eq!(b.take_rooms(), 1);
    assert_eq!(b.port.receive(&[7; 4]), 4);
    // Nobody waits: nobody is told.
    for _ in 0..4 {
        b.inb(DATA);
    }
    assert_eq!(b.take_rooms(), 0);
    // One character without FIFOs; none in loopback.
    b.out(IDENTIFICATION_OR_FIFO, 0);
    assert_eq!(b.port.receive(b"ab"), 1);
    b.out(IDENTIFICATION_OR_FIFO, 1);
    assert_eq!(b.take_rooms(), 1);
    b.out(MODEM_CONTROL, MCR_LOOP);
    assert_eq!(b.port.receive(b"ab"), 0);
    b.out(MODEM_CONTROL, 0);
    assert_eq!(b.take_rooms(), 1);
}

#[test]
fn without_fifos_an_overrun_replaces_the_character() {
    let mut b = Bench::new();
    b.out(MODEM_CONTROL, MCR_LOOP);
    b.out(DATA, 1);
    b.out(DATA, 2);
    assert_eq!(b.inb(LINE_STATUS), 0x63);
    assert_eq!(b.inb(LINE_STATUS), 0x61);
    assert_eq!(b.inb(DATA), 2);
    assert_eq!(b.inb(LINE_STATUS), 0x60);
}

/// An interrupt handler as drivers have it: until no cause is left. Nothing may be lost or repeated.
#[test]
fn an_interrupt_driven_echo() {
    let mut b = Bench::ready(IER_RECEIVED | IER_LINE);
    let text: Vec<u8> = (0..=255).collect();
    let (mut offered, mut heard, mut queue) = (0, Vec::new(), Vec::new());
    while heard.len() < text.len() || !queue.is_empty() {
        offered += b.port.receive(&text[offered..]);
        assert!(b.wire.level(), "an interrupt was lost");
        loop {
            match b.inb(IDENTIFICATION_OR_FIFO) & 0x0f {
                0x04 | 0x0c => {
                    while b.inb(LINE_STATUS) & 0x01 != 0 {
                        let byte = b.inb(DATA);
                        heard.push(byte);
                        queue.push(byte);
                    }
                    b.out(INTERRUPT_ENABLE, IER_RECEIVED | IER_LINE | IER_TRANSMITTER);
                }
                0x02 => {
                    for byte in queue.drain(..queue.len().min(16)) {
                        b.port.write_byte(DATA, byte);
                    }
                    if queue.is_empty() {
                        b.out(INTERRUPT_ENABLE, IER_RECEIVED | IER_LINE);
                    }
                }
                0x01 => break,
                other => panic!("cause {other:#x}"),
            }
        }
        assert!(!b.wire.level());
    }
    assert_eq!(heard, text);
    assert_eq!(b.sent(), text);
}

#[test]
fn no_access_panics() {
    let mut b = Bench::new();
    // A fixed sequence of pseudo-random accesses (Knuth's multiplier).
    let mut x = 1_u64;
    for _ in 0..200_000 {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let [what, offset, value, width, ..] = x.to_be_bytes();
        let mut data = [value; 8];
        let data = &mut data[..1 << (width & 3)];
        match what & 7 {
            0..=3 => b.port.write(u64::from(offset & 15), data),
            4..=6 => b.port.read(u64::from(offset & 15), data),
            _ => assert!(b.port.receive(data) <= data.len()),
        }
        assert!(b.port.received() <= b.port.state.fifo.depth());
    }
}
