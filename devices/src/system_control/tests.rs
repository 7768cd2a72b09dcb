// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;
use crate::clock::{SECOND, ticks_to_nanos};
use crate::line::IrqLine;
use crate::testing::{TestClock, TestPower, TestTimer};

fn speaker() -> (SpeakerPort, Arc<Mutex<Pit>>, Arc<TestClock>) {
    let clock = TestClock::new();
    let pit = Arc::new(Mutex::new(Pit::new(
        clock.clone(),
        Box::new(TestTimer::new()),
        IrqLine::detached(),
    )));
    (SpeakerPort::new(clock.clone(), pit.clone()), pit, clock)
}

#[test]
fn the_refresh_bit_toggles() {
    let (mut port, _, clock) = speaker();
    let mut changes = 0;
    let mut last = port.read_byte(0) & 0x10;
    for _ in 0..10_000 {
        clock.advance(5_000);
        let now = port.read_byte(0) & 0x10;
        changes += u32::from(now != last);
        last = now;
    }
    // 50 ms of 18 ticks each.
    assert!((3_313..=3_315).contains(&changes), "{changes}");
}

#[test]
fn software_times_a_delay_with_channel_2() {
    let (mut port, pit, clock) = speaker();
    // As Linux calibrates its TSC: gate up, speaker off, mode 0, wait for the output.
    port.write_byte(0, 0x01);
    {
        let mut pit = bus::lock(&pit);
        pit.write_byte(3, 0xb0);
        pit.write_byte(2, 0x00);
        pit.write_byte(2, 0x10);
    }
    assert_eq!(port.read_byte(0) & 0x2f, 0x01);
    clock.set(ticks_to_nanos(0x1000, FREQUENCY));
    assert_eq!(port.read_byte(0) & 0x20, 0);
    clock.set(ticks_to_nanos(0x1001, FREQUENCY));
    assert_eq!(port.read_byte(0) & 0x20, 0x20);
}

#[test]
fn a_low_gate_stops_channel_2() {
    let (mut port, pit, clock) = speaker();
    port.write_byte(0, 0x01);
    {
        let mut pit = bus::lock(&pit);
        pit.write_byte(3, 0xb0);
        pit.write_byte(2, 0x00);
        pit.write_byte(2, 0x10);
    }
    clock.set(ticks_to_nanos(0x0801, FREQUENCY));
    port.write_byte(0, 0x00);
    clock.advance(SECOND);
    assert_eq!(port.read_byte(0) & 0x20, 0);
    port.write_byte(0, 0x01);
    clock.advance(ticks_to_nanos(0x0800, FREQUENCY));
    assert_eq!(port.read_byte(0) & 0x20, 0x20);
}

#[test]
fn port_61_keeps_its_writable_bits_only() {
    let (mut port, _, _) = speaker();
    port.write_byte(0, 0xff);
    assert_eq!(port.read_byte(0) & 0xcf, 0x0f);
    port.reset();
    assert_eq!(port.read_byte(0) & 0xcf, 0x00);
    assert_eq!(port.read_byte(1), 0xff);
}

const RESET: fn(ResetCause) -> Vec<PowerRequest> = |cause| vec![PowerRequest::Reset(cause)];

#[test]
fn port_92_resets_on_the_edge() {
    let power = TestPower::new();
    let mut port = FastControl::new(power.clone());
    assert_eq!(port.read_byte(0), 0x00);
    port.write_byte(0, 0x02);
    assert!(port.a20_enabled());
    assert!(power.take().is_empty());
    port.write_byte(0, 0x03);
    assert_eq!(power.take(), RESET(ResetCause::FastReset));
    port.write_byte(0, 0x03);
    assert!(power.take().is_empty());
    port.write_byte(0, 0x02);
    port.write_byte(0, 0xff);
    assert_eq!(power.take(), RESET(ResetCause::FastReset));
    assert_eq!(port.read_byte(0), 0x03);
    port.reset();
    assert!(!port.a20_enabled());
}

#[test]
fn reset_control_resets_on_the_edge_of_bit_2() {
    let power = TestPower::new();
    let mut port = ResetControl::new(power.clone());
    port.write_byte(0, 0x02);
    assert_eq!(port.read_byte(0), 0x02);
    assert!(power.take().is_empty());
    port.write_byte(0, 0x06);
    assert_eq!(power.take(), RESET(ResetCause::ResetControl));
    port.write_byte(0, 0x0e);
    assert!(power.take().is_empty());
    port.reset();
    assert_eq!(port.read_byte(0), 0x00);
    port.write_byte(0, 0x0e);
    assert_eq!(power.take(), RESET(ResetCause::ResetControl));
    // No other bit exists, no other offset answers.
    port.reset();
    port.write_byte(0, 0xf1);
    port.write_byte(1, 0x06);
    assert_eq!((port.read_byte(0), port.read_byte(1)), (0x00, 0xff));
    assert!(power.take().is_empty());
}
