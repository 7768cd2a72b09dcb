// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The keyboard.
use super::*;

#[test]
fn commands() {
    let mut bench = Bench::new();
    assert_eq!(bench.keyboard(&[0xff]), [ACK, 0xaa]);
    assert_eq!(bench.keyboard(&[0xf2]), [ACK, 0xab, 0x83]);
    assert_eq!(bench.keyboard(&[0xee]), [0xee]);
    assert_eq!(bench.keyboard(&[0xed, 0x05]), [ACK, ACK]);
    assert_eq!(bench.chip.leds(), 5);
    assert_eq!(bench.keyboard(&[0xf3, 0x20]), [ACK, ACK]);
    for command in 0xf4..=0xfa {
        assert_eq!(bench.keyboard(&[command]), [ACK]);
    }
    // The kind of single keys: a list that ends with a command.
    assert_eq!(bench.keyboard(&[0xfb, 0x1c, 0x1b, 0xf4]), [ACK; 4]);
    // Defaults leave the indicators alone, a reset does not.
    assert_eq!(bench.chip.leds(), 5);
    bench.keyboard(&[0xff]);
    assert_eq!(bench.chip.leds(), 0);
}

#[test]
fn what_is_not_understood() {
    let mut bench = Bench::new();
    for byte in [0x00, 0x60, 0xec, 0xef, 0xf1] {
        assert_eq!(bench.keyboard(&[byte]), [RESEND]);
    }
    assert_eq!(bench.keyboard(&[0xf0, 4]), [ACK, RESEND]);
    // A command where a parameter was due.
    assert_eq!(bench.keyboard(&[0xed, 0xf2]), [ACK, ACK, 0xab, 0x83]);
    assert_eq!(bench.chip.leds(), 0);
}

#[test]
fn the_last_byte_again() {
    let mut bench = Bench::new();
    assert_eq!(bench.keyboard(&[0xfe]), [0xaa]);
    bench.keyboard(&[0xf2]);
    assert_eq!(bench.keyboard(&[0xfe, 0xfe]), [0x83, 0x83]);
    bench.chip.key(Key::A, true).unwrap();
    assert_eq!(bench.listen(0), [0x1c]);
    assert_eq!(bench.keyboard(&[0xfe]), [0x1c]);
}

#[test]
fn scan_code_sets() {
    let mut bench = Bench::new();
    assert_eq!(bench.keyboard(&[0xf0, 0]), [ACK, ACK, 2]);
    for (set, expected) in [
        (1, vec![0xe0, 0x4b, 0xe0, 0xcb]),
        (2, vec![0xe0, 0x6b, 0xe0, 0xf0, 0x6b]),
        (3, vec![0x61, 0xf0, 0x61]),
    ] {
        assert_eq!(bench.keyboard(&[0xf0, set]), [ACK, ACK]);
        assert_eq!(bench.keyboard(&[0xf0, 0]), [ACK, ACK, set]);
        bench.chip.key(Key::Left, true).unwrap();
        bench.chip.key(Key::Left, false).unwrap();
        assert_eq!(bench.listen(0), expected);
    }
    bench.keyboard(&[0xf6]);
    assert_eq!(bench.keyboard(&[0xf0, 0]), [ACK, ACK, 2]);
}

#[test]
fn translated() {
    let mut bench = Bench::with(0x40);
    // As all BIOSes have it, the identification included.
    assert_eq!(bench.keyboard(&[0xf2]), [ACK, 0xab, 0x41]);
    bench.chip.key(Key::Delete, true).unwrap();
    bench.chip.key(Key::Delete, false).unwrap();
    assert_eq!(bench.listen(0), [0xe0, 0x53, 0xe0, 0xd3]);
}

#[test]
fn modifiers_are_remembered_across_a_reset() {
    let mut bench = Bench::with(0x40);
    bench.chip.key(Key::RightAlt, true).unwrap();
    bench.keyboard(&[0xff]);
    bench.chip.key(Key::PrintScreen, true).unwrap();
    assert_eq!(bench.listen(0), [0x54]);
    bench.chip.key(Key::RightAlt, false).unwrap();
    bench.chip.key(Key::LeftControl, true).unwrap();
    assert_eq!(bench.listen(0), [0xe0, 0xb8, 0x1d]);
    bench.chip.key(Key::Pause, true).unwrap();
    assert_eq!(bench.listen(0), [0xe0, 0x46, 0xe0, 0xc6]);
}

/// A DOS program reads the port in its own handler and then lets the BIOS read it again.
#[test]
fn the_same_key_can_be_read_twice() {
    let mut bench = Bench::with(0x41);
    bench.chip.key(Key::A, true).unwrap();
    bench.chip.key(Key::B, true).unwrap();
    assert_eq!(bench.keyboard_irq.take_rises(), 1);
    assert_eq!([bench.read(), bench.read()], [0x1e, 0x1e]);
    assert!(!bench.keyboard_irq.level());
    // The next one comes with the timer.
    assert_eq!(bench.timer.deadline(), Some(BYTE_TIME));
    bench.clock.advance(BYTE_TIME - 1);
    bench.chip.expire();
    assert_eq!(bench.status() & OUTPUT_FULL, 0);
    bench.clock.advance(1);
    bench.chip.expire();
    assert_eq!(bench.keyboard_irq.take_rises(), 1);
    assert_eq!(bench.read(), 0x30);
}

#[test]
fn who_polls_needs_no_timer() {
    let mut bench = Bench::with(0x40);
    bench.chip.scan_codes(&[0x1c, 0x32]).unwrap();
    assert_eq!(bench.read(), 0x1e);
    bench.clock.advance(BYTE_TIME);
    assert_eq!(bench.status(), EMPTY | OUTPUT_FULL);
    assert_eq!(bench.read(), 0x30);
}

#[test]
fn a_disabled_port_holds_its_bytes() {
    let mut bench = Bench::with(0x00);
    bench.command(0xad);
    bench.chip.key(Key::A, true).unwrap();
    bench.clock.advance(BYTE_TIME);
    assert_eq!(bench.status() & OUTPUT_FULL, 0);
    bench.command(0xae);
    assert_eq!(bench.read(), 0x1c);
    // Sending enables it.
    bench.command(0xad);
    assert_eq!(bench.keyboard(&[0xee]), [0xee]);
    assert_eq!(bench.ask(0x20) & 0x10, 0);
}

#[test]
fn a_keyboard_that_does_not_scan_notices_no_keys() {
    let mut bench = Bench::new();
    bench.keyboard(&[0xf5]);
    bench.chip.key(Key::A, true).unwrap();
    assert_eq!(bench.listen(0), []);
    bench.keyboard(&[0xf4]);
    bench.chip.key(Key::A, false).unwrap();
    assert_eq!(bench.listen(0), [0xf0, 0x1c]);
}

#[test]
fn a_full_keyboard_takes_no_half_keys() {
    let mut bench = Bench::new();
    let mut taken = 0;
    while bench.chip.key(Key::PrintScreen, true).is_ok() {
        taken += 1;
        assert!(taken < 1000);
    }
    assert_eq!(bench.chip.key(Key::PrintScreen, false), Err(QueueFull));
    // One byte has gone to the output buffer.
    assert_eq!(bench.listen(0).len(), taken * 4);
    bench.chip.key(Key::PrintScreen, false).unwrap();
}

#[test]
fn answers_that_nobody_fetches_do_not_pile_up() {
    let mut bench = Bench::new();
    for _ in 0..10_000 {
        bench.write(0xf2);
        bench.command(0xd4);
        bench.write(0xe9);
    }
    let mut left = 0;
    while bench.status() & OUTPUT_FULL != 0 {
        bench.read();
        left += 1;
        assert!(left < 100);
    }
    assert_eq!(bench.keyboard(&[0xee]), [0xee]);
}
