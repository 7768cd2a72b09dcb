// SPDX-License-Identifier: Apache-2.0 OR MIT
#![allow(clippy::unwrap_used)]
use super::*;
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
    r.clock.set(crate::clock::SECOND);
    r.pm.read(ACPI + 8, &mut data);
    assert_eq!(u32::from_le_bytes(data), 3_579_545);
    r.clock.set(5 * crate::clock::SECOND);
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
