// SPDX-License-Identifier: Apache-2.0 OR MIT
#![allow(clippy::unwrap_used)]
use super::*;
use crate::clock::SECOND;
use crate::testing::{TestClock, TestPower, TestTimer, TestWire};

struct Rig {
    pm: PowerManagement,
    clock: Arc<TestClock>,
    timer: TestTimer,
    sci: TestWire,
    power: Arc<TestPower>,
}

fn rig() -> Rig {
    let (clock, timer, sci, power) = (
        TestClock::new(),
        TestTimer::new(),
        TestWire::new(),
        TestPower::new(),
    );
    let pm = PowerManagement::new(
        clock.clone(),
        Box::new(timer.clone()),
        sci.wire.driver(),
        power.clone(),
    );
    Rig {
        pm,
        clock,
        timer,
        sci,
        power,
    }
}

fn write16(pm: &mut PowerManagement, at: u64, value: u16) {
    pm.write(ACPI + at, &value.to_le_bytes());
}

fn read16(pm: &mut PowerManagement, at: u64) -> u16 {
    let mut data = [0; 2];
    pm.read(ACPI + at, &mut data);
    u16::from_le_bytes(data)
}

#[test]
fn ranges_open_with_their_enable_bits() {
    let mut pm = rig().pm;
    assert!(pm.claims().is_empty());
    pm.config_mut().write(0x40, &0x601u32.to_le_bytes());
    pm.config_mut().write(0x80, &[1]);
    pm.config_mut().write(0x90, &0x701u32.to_le_bytes());
    pm.config_mut().write(0xd2, &[9]);
    let claims: Vec<_> = pm.claims().iter().map(|c| (c.address, c.len)).collect();
    assert_eq!(claims, [(0x600, 64), (0x700, 16)]);
    pm.reset();
    assert!(pm.claims().is_empty());
}

#[test]
fn the_timer_counts_in_24_bits() {
    let mut r = rig();
    let mut data = [0; 4];
    r.clock.set(SECOND);
    r.pm.read(ACPI + 8, &mut data);
    assert_eq!(u32::from_le_bytes(data), 3_579_545);
    r.clock.set(5 * SECOND);
    r.pm.read(ACPI + 8, &mut data);
    assert_eq!(u32::from_le_bytes(data), 5 * 3_579_545 - (1 << 24));
}

#[test]
fn the_timer_interrupts_each_half_turn() {
    let mut r = rig();
    write16(&mut r.pm, 4, 1);
    write16(&mut r.pm, 2, 1);
    let due = r.timer.deadline().unwrap();
    r.clock.set(due - 1);
    r.pm.expire();
    assert!(!r.sci.level());
    r.clock.set(due);
    r.pm.expire();
    assert!(r.sci.level());
    assert_eq!(r.timer.deadline(), None, "until it is acknowledged");
    write16(&mut r.pm, 0, 1);
    assert!(!r.sci.level());
    assert_eq!(r.timer.deadline(), Some(ticks_to_nanos(2 << 23, PM_TIMER_HZ)));
}

#[test]
fn the_power_button_needs_acpi() {
    let mut r = rig();
    write16(&mut r.pm, 2, 1 << 8);
    r.pm.press_power_button();
    assert!(!r.sci.level() && !r.pm.acpi_enabled());
    r.pm.write(APM, &[ACPI_ENABLE]);
    assert!(r.sci.level() && r.pm.acpi_enabled());
    assert_eq!(read16(&mut r.pm, 0), 1 << 8);
    write16(&mut r.pm, 0, 0xffff);
    assert!(!r.sci.level());
    r.pm.write(APM, &[ACPI_DISABLE]);
    assert!(!r.pm.acpi_enabled());
}

#[test]
fn soft_off_and_other_sleeps() {
    let mut r = rig();
    write16(&mut r.pm, 4, 1 << 13 | 5 << 10);
    assert!(r.power.take().is_empty());
    assert_eq!(read16(&mut r.pm, 0), 1 << 15, "awake again at once");
    write16(&mut r.pm, 0, 1 << 15);
    assert_eq!(read16(&mut r.pm, 0), 0);
    write16(&mut r.pm, 4, 1 << 13 | 1);
    assert_eq!(r.power.take(), [PowerRequest::Off]);
    assert_eq!(read16(&mut r.pm, 4), 1, "SUS_EN reads as zero");
    r.pm.write(ACPI + 5, &[1 << 5]);
    assert_eq!(r.power.take(), [PowerRequest::Off], "by its byte, too");
}

#[test]
fn an_empty_smbus_answers_at_once() {
    let mut pm = rig().pm;
    pm.write(SMBUS + 4, &[0xa1]);
    pm.write(SMBUS + 2, &[0x48]);
    let mut status = [0];
    pm.read(SMBUS, &mut status);
    assert_eq!(status, [4]);
    pm.write(SMBUS, &[0xff]);
    pm.read(SMBUS, &mut status);
    assert_eq!(status, [0]);
}

#[test]
fn reset_values() {
    let mut r = rig();
    let config = r.pm.config();
    assert_eq!(config.u32(0x00), 0x7113_8086);
    assert_eq!(config.u32(0x04), 0x0280_0000);
    assert_eq!(config.u32(0x40), 1);
    assert_eq!(config.u32(0x58), 0x0200_0000);
    assert_eq!(config.u8(0x80), 0);
    assert_eq!(config.u32(0x90), 1);
    for at in [0, 2, 4, 0xc, 0xe] {
        assert_eq!(read16(&mut r.pm, at), 0, "PMBASE+{at:x}");
    }
}

#[test]
fn reset_takes_back_what_was_pending() {
    let mut r = rig();
    write16(&mut r.pm, 2, 1 << 8 | 1);
    write16(&mut r.pm, 4, 1);
    r.pm.press_power_button();
    r.clock.advance(3 * SECOND);
    r.pm.expire();
    assert!(r.sci.level());
    r.pm.reset();
    assert!(!r.sci.level());
    assert_eq!(r.timer.deadline(), None);
    assert_eq!(read16(&mut r.pm, 0), 0, "the timer's overflow is forgotten, too");
}

proptest::proptest! {
    /// The interrupt is what the registers say, whatever was done to them.
    #[test]
    fn the_sci_follows_the_registers(steps in proptest::collection::vec((0u64..64, proptest::num::u32::ANY, 0u8..4), 1..64)) {
        let mut r = rig();
        for (at, value, what) in steps {
            match what {
                0 => r.pm.press_power_button(),
                1 => {
                    r.clock.advance(u64::from(value));
                    r.pm.expire();
                }
                _ => r.pm.write(ACPI + at, &value.to_le_bytes()[..1 << (at % 3)]),
            }
            let pending = read16(&mut r.pm, 0) & read16(&mut r.pm, 2) & 0x0521;
            let enabled = read16(&mut r.pm, 4) & 1 != 0;
            proptest::prop_assert_eq!(r.sci.level(), enabled && pending != 0);
        }
    }
}

#[test]
fn any_access_anywhere() {
    let mut pm = rig().pm;
    for base in [ACPI, SMBUS, APM, 0, 1 << 32] {
        for at in 0..=0xff {
            for len in [1, 2, 4, 8] {
                pm.write(base + at, &[0xff; 8][..len]);
                pm.write(base + at, &[0x5a; 8][..len]);
                pm.read(base + at, &mut [0; 8][..len]);
            }
        }
    }
}
