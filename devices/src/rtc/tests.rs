// SPDX-License-Identifier: Apache-2.0 OR MIT
#![allow(clippy::unwrap_used)]
use super::*;
use crate::clock::SECOND;
use crate::testing::{TestClock, TestTimer, TestWire};
use proptest::prelude::*;

/// 2024-02-28 23:59:58, a Wednesday.
const START: i64 = 1_709_164_798;

struct Fixture {
    rtc: Rtc,
    clock: Arc<TestClock>,
    timer: TestTimer,
    wire: TestWire,
}

impl Fixture {
    fn new() -> Self {
        Self::with(&CmosSetup::default())
    }

    fn with(setup: &CmosSetup) -> Self {
        let (clock, timer, wire) = (TestClock::new(), TestTimer::new(), TestWire::new());
        let rtc = Rtc::new(
            clock.clone(),
            Box::new(timer.clone()),
            wire.wire.driver(),
            START,
            setup,
        );
        Self {
            rtc,
            clock,
            timer,
            wire,
        }
    }

    fn get(&mut self, index: u8) -> u8 {
        self.rtc.write_byte(0, index);
        self.rtc.read_byte(1)
    }

    fn put(&mut self, index: u8, value: u8) {
        self.rtc.write_byte(0, index);
        self.rtc.write_byte(1, value);
    }

    /// Century, year, month, day, weekday, hour, minute, second as bytes.
    fn date(&mut self) -> [u8; 8] {
        [0x32, 9, 8, 7, 6, 4, 2, 0].map(|index| self.get(index))
    }

    /// Goes where the timer points and fires it.
    fn run_to_deadline(&mut self) -> Nanos {
        let deadline = self.timer.deadline().unwrap();
        self.clock.set(deadline);
        self.timer.disarm();
        self.rtc.expire();
        deadline
    }
}

#[test]
fn values_after_power_on() {
    let mut f = Fixture::new();
    assert_eq!(f.get(0x0a), 0x26);
    assert_eq!(f.get(0x0b), 0x02);
    assert_eq!(f.get(0x0c), 0x00);
    assert_eq!(f.get(0x0d), 0x80);
    assert_eq!(f.date(), [0x20, 0x24, 0x02, 0x28, 0x04, 0x23, 0x59, 0x58]);
    assert_eq!(f.timer.deadline(), None);
    // The index ports cannot be read.
    assert_eq!((f.rtc.read_byte(0), f.rtc.read_byte(2)), (0xff, 0xff));
}

#[test]
fn a_leap_day_begins() {
    let mut f = Fixture::new();
    f.clock.advance(2 * SECOND - 1);
    assert_eq!(f.date(), [0x20, 0x24, 0x02, 0x28, 0x04, 0x23, 0x59, 0x59]);
    f.clock.advance(1);
    assert_eq!(f.date(), [0x20, 0x24, 0x02, 0x29, 0x05, 0, 0, 0]);
}

#[test]
fn the_century_turns() {
    let mut f = Fixture::new();
    f.put(0x0b, 0x82);
    for (index, value) in [
        (0x32, 0x19),
        (9, 0x99),
        (8, 0x12),
        (7, 0x31),
        (4, 0x23),
        (2, 0x59),
        (0, 0x59),
        (6, 6),
    ] {
        f.put(index, value);
    }
    f.put(0x0b, 0x02);
    f.clock.advance(SECOND);
    assert_eq!(f.date(), [0x20, 0, 1, 1, 7, 0, 0, 0]);
}

#[test]
fn set_freezes_the_date_but_not_the_divider() {
    let mut f = Fixture::new();
    f.put(0x0b, 0x82);
    f.clock.advance(3 * SECOND + SECOND / 4);
    assert_eq!(f.get(0), 0x58);
    f.put(0, 0x10);
    f.put(0x0b, 0x02);
    assert_eq!(f.get(0), 0x10);
    // The next update comes where seconds have always ended.
    f.clock.advance(SECOND * 3 / 4);
    assert_eq!(f.get(0), 0x11);
    assert_eq!(f.get(0x0c), 0x50);
}

#[test]
fn a_released_divider_updates_after_half_a_second() {
    let mut f = Fixture::new();
    f.clock.advance(SECOND / 3);
    f.put(0x0a, 0x76);
    f.clock.advance(10 * SECOND);
    assert_eq!(f.get(0), 0x58);
    assert_eq!(f.get(0x0a), 0x76);
    f.put(0x0a, 0x26);
    f.clock.advance(SECOND / 2 - 1);
    assert_eq!(f.get(0), 0x58);
    f.clock.advance(1);
    assert_eq!(f.get(0), 0x59);
}

#[test]
fn binary_and_twelve_hours() {
    let mut f = Fixture::new();
    // As real software does: stop, change the format, write everything anew.
    f.put(0x0b, 0x84);
    for (index, value) in [
        (0x32, 20),
        (9, 25),
        (8, 12),
        (7, 31),
        (6, 4),
        (4, 0x80 | 11),
        (2, 59),
        (0, 59),
    ] {
        f.put(index, value);
    }
    f.put(0x0b, 0x04);
    f.clock.advance(SECOND);
    assert_eq!(f.date(), [20, 26, 1, 1, 5, 12, 0, 0]);
}

#[test]
fn a_change_of_format_alone_converts_nothing() {
    let mut f = Fixture::new();
    f.put(0x0b, 0x86);
    assert_eq!(f.get(0), 0x58);
    f.put(0x0b, 0x02);
    assert_eq!(f.get(0), 0x58);
}

#[test]
fn uip_announces_each_update() {
    let mut f = Fixture::new();
    let window = clock::ticks_to_nanos(spec::UPDATE_WINDOW, spec::CRYSTAL);
    f.clock.set(SECOND - window - 40_000);
    assert_eq!(f.get(0x0a), 0x26);
    f.clock.set(SECOND - window + 40_000);
    assert_eq!(f.get(0x0a), 0xa6);
    f.clock.set(SECOND - 1);
    assert_eq!(f.get(0x0a), 0xa6);
    f.put(0x0b, 0x82);
    assert_eq!(f.get(0x0a), 0x26, "SET stops update cycles");
    f.put(0x0b, 0x02);
    f.clock.set(SECOND);
    assert_eq!(f.get(0x0a), 0x26);
    // UIP is read-only.
    f.put(0x0a, 0xa6);
    assert_eq!(f.get(0x0a), 0x26);
}

#[test]
fn an_update_interrupt_each_second() {
    let mut f = Fixture::new();
    f.clock.advance(SECOND / 2);
    f.put(0x0b, 0x12);
    assert_eq!(f.run_to_deadline(), SECOND);
    assert!(f.wire.level());
    assert_eq!(f.timer.deadline(), None, "one is pending, no other can rise");
    assert_eq!(f.get(0x0c), 0xd0);
    assert!(!f.wire.level());
    assert_eq!(f.get(0x0c), 0x00);
    assert_eq!(f.run_to_deadline(), 2 * SECOND);
    assert_eq!(f.wire.take_rises(), 2);
    // SET takes the enable bit away.
    f.put(0x0b, 0x92);
    assert_eq!(f.get(0x0b), 0x82);
    assert!(!f.wire.level());
}

#[test]
fn flags_rise_without_being_enabled() {
    let mut f = Fixture::new();
    f.put(0x01, 0x59);
    f.put(0x03, 0xff);
    f.put(0x05, 0xff);
    f.clock.advance(SECOND);
    assert_eq!(f.get(0x0c), 0x70);
    assert_eq!(f.wire.take_rises(), 0);
    assert_eq!(f.timer.deadline(), None);
    // An interrupt enabled on top of a raised flag comes at once.
    f.clock.advance(SECOND);
    f.put(0x0b, 0x12);
    assert!(f.wire.level());
}

#[test]
fn the_alarm_of_the_next_day() {
    let mut f = Fixture::new();
    f.put(0x05, 0x00);
    f.put(0x03, 0x00);
    f.put(0x01, 0x01);
    f.put(0x0b, 0x22);
    assert_eq!(f.run_to_deadline(), 3 * SECOND);
    assert_eq!(f.get(0x0c) & 0xa0, 0xa0);
    assert_eq!(f.timer.deadline(), Some((3 + 86_400) * SECOND));
    // Not a BCD number: never.
    f.put(0x01, 0x7f);
    assert_eq!(f.timer.deadline(), None);
    // All don't care: each second.
    for index in [1, 3, 5] {
        f.put(index, 0xc0);
    }
    assert_eq!(f.timer.deadline(), Some(4 * SECOND));
}

#[test]
fn periodic_rates() {
    for (rate, hertz) in [
        (1, 256),
        (2, 128),
        (3, 8192),
        (4, 4096),
        (6, 1024),
        (10, 64),
        (15, 2),
    ] {
        let mut f = Fixture::new();
        f.put(0x0a, 0x20 | rate);
        f.put(0x0b, 0x42);
        for n in 1..=hertz {
            assert_eq!(f.run_to_deadline(), clock::ticks_to_nanos(n, hertz));
            assert_eq!(f.get(0x0c) & 0xc0, 0xc0);
        }
        assert_eq!(f.wire.take_rises() as u64, hertz, "no drift over a second");
    }
    let mut f = Fixture::new();
    f.put(0x0a, 0x20);
    f.put(0x0b, 0x42);
    assert_eq!(f.timer.deadline(), None);
}

#[test]
fn reset_takes_interrupts_and_keeps_the_battery() {
    let mut f = Fixture::new();
    f.put(0x0f, 0x0a);
    f.put(0x0b, 0x7a);
    f.run_to_deadline();
    assert!(f.wire.level());
    f.rtc.write_byte(0, 0x80);
    assert!(f.rtc.nmi_masked());
    f.rtc.reset();
    assert!(!f.wire.level());
    assert!(!f.rtc.nmi_masked());
    assert_eq!(f.timer.deadline(), None);
    assert_eq!(f.get(0x0b), 0x02);
    assert_eq!(f.get(0x0c), 0x00);
    assert_eq!(f.get(0x0f), 0x0a);
    f.clock.set(SECOND);
    assert_eq!(f.get(0), 0x59);
}

#[test]
fn two_banks_of_memory() {
    let mut f = Fixture::new();
    f.put(0x7f, 0x11);
    f.rtc.write_byte(2, 0x7f);
    f.rtc.write_byte(3, 0x22);
    assert_eq!(f.get(0xff), 0x11, "bit 7 of the index masks NMI only");
    assert_eq!(f.rtc.read_byte(3), 0x22);
    // A word cycle is index and data in one.
    f.rtc.write(0, &[0x40, 0x99]);
    assert_eq!(f.get(0x40), 0x99);
}

#[test]
fn a_date_from_the_host() {
    let mut f = Fixture::new();
    f.rtc.set_date(0);
    assert_eq!(f.date(), [0x19, 0x70, 1, 1, 5, 0, 0, 0]);
}

#[test]
fn a_machine_that_is_built_late_has_the_right_date() {
    let clock = TestClock::new();
    clock.set(SECOND * 7 / 2);
    let mut rtc = Rtc::new(
        clock.clone(),
        Box::new(TestTimer::new()),
        IrqLine::detached(),
        0,
        &CmosSetup::default(),
    );
    rtc.write_byte(0, 0);
    assert_eq!(rtc.read_byte(1), 0x03);
    clock.set(4 * SECOND);
    assert_eq!(rtc.read_byte(1), 0x04);
}

#[test]
fn setup_bytes() {
    let disk = DiskGeometry {
        cylinders: 1023,
        heads: 16,
        sectors: 63,
    };
    let mut f = Fixture::with(&CmosSetup {
        ram_below_4g: 3 << 30,
        ram_above_4g: 5 << 30,
        floppies: [FloppyType::High35, FloppyType::None],
        disks: [Some(disk), None],
        translations: [
            Translation::Lba,
            Translation::None,
            Translation::Large,
            Translation::RevisedEchs,
        ],
        mouse: true,
        boot_order: [
            Some(BootDevice::Optical),
            Some(BootDevice::HardDisk),
            Some(BootDevice::Floppy),
        ],
        skip_floppy_signature: true,
        processors: 4,
        ..CmosSetup::default()
    });
    for (index, value) in [
        (0x10, 0x40),
        (0x12, 0xf0),
        (0x14, 0x07),
        (0x15, 0x80),
        (0x16, 0x02),
        (0x17, 0xff),
        (0x18, 0xff),
        (0x19, 47),
        (0x1a, 0),
        (0x1b, 0xff),
        (0x1c, 0x03),
        (0x1d, 16),
        (0x20, 0xc8),
        (0x23, 63),
        (0x24, 0),
        (0x2c, 0),
        (0x30, 0xff),
        (0x31, 0xff),
        (0x34, 0x00),
        (0x35, 0xbf),
        (0x38, 0x11),
        (0x39, 0b11_10_00_01),
        (0x3d, 0x23),
        (0x5b, 0x00),
        (0x5c, 0x40),
        (0x5d, 0x01),
        (0x5f, 3),
    ] {
        assert_eq!(f.get(index), value, "byte {index:#x}");
    }
    let sum: u16 = (0x10..0x2e).map(|index| u16::from(f.get(index))).sum();
    assert_eq!([f.get(0x2e), f.get(0x2f)], sum.to_be_bytes());
}

#[test]
fn a_small_machine() {
    let mut f = Fixture::with(&CmosSetup {
        ram_below_4g: 8 << 20,
        floppies: [FloppyType::High35, FloppyType::High525],
        ..CmosSetup::default()
    });
    assert_eq!((f.get(0x17), f.get(0x18)), (0x00, 0x1c), "7 MiB above 1 MiB");
    assert_eq!((f.get(0x34), f.get(0x35)), (0, 0));
    assert_eq!((f.get(0x10), f.get(0x14)), (0x42, 0x43));
}

proptest! {
    #[test]
    fn no_access_panics(accesses in prop::collection::vec((0_u64..6, any::<u8>(), any::<bool>(), any::<u32>()), 0..200)) {
        let mut f = Fixture::new();
        for (offset, value, write, time) in accesses {
            // Small steps and, now and then, years.
            f.clock.advance(if time % 16 == 0 { u64::from(time) << 24 } else { u64::from(time) });
            if f.timer.deadline().is_some_and(|deadline| deadline <= f.clock.now()) {
                f.timer.disarm();
                f.rtc.expire();
            }
            if write {
                f.rtc.write_byte(offset, value);
            } else {
                f.rtc.read_byte(offset);
            }
        }
        // After reading register C nothing is pending, whatever was written.
        f.get(0x0c);
        prop_assert!(!f.wire.level());
    }
}
