// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A disk that is saved, and restored in another machine's place.

use super::*;
use crate::snapshot::{Busy, Snapshot};

/// Takes the device's state over to a device that has just been made, on the same memory.
fn move_house(d: &mut Driver) {
    let saved = d.device.snapshot().unwrap();
    let mut fresh = Driver::sibling(d);
    fresh.restore(saved).unwrap();
    d.device = fresh;
}

#[test]
fn a_driver_notices_nothing() {
    for messages in [false, true] {
        for mut d in [Driver::modern(disk(), 0), Driver::legacy(disk())] {
            if messages {
                d.use_messages();
            }
            for round in 0..200u8 {
                let sector = u64::from(round) * 7;
                assert_eq!(d.write(sector, &[round; 1024]), status::OK);
                if round % 3 == 0 {
                    move_house(&mut d);
                }
                assert_eq!(d.read(sector, 1024).1, [round; 1024]);
            }
        }
    }
}

#[test]
fn an_interrupt_that_was_not_taken_is_still_there() {
    let mut d = Driver::modern(disk(), EVENT_IDX);
    let (_, at) = d.request(0, request::IN, 0, &[0; 512], true);
    d.kick(0);
    assert!(d.wire.level() && at > 0);
    move_house(&mut d);
    assert!(d.wire.level());
    let mut isr = [0];
    d.device.read(ISR, &mut isr);
    assert_eq!(isr, [1]);
    assert!(!d.wire.level());
}

#[test]
fn a_disk_at_work_is_busy_and_a_broken_one_is_not() {
    let mut d = Driver::modern(disk(), 0);
    d.medium.hold();
    d.request(0, request::IN, 0, &[0; 512], true);
    d.kick(0);
    assert!(matches!(d.device.snapshot(), Err(Busy)));
    // A request without a status breaks the device.
    d.offer(0, &[(super::driver::BUFFERS, 16, false)]);
    d.kick(0);
    assert_eq!(
        d.status() & super::driver::NEEDS_RESET,
        super::driver::NEEDS_RESET
    );
    assert!(matches!(d.device.snapshot(), Err(Busy)));
    d.medium.release();
    move_house(&mut d);
    assert_eq!(
        d.status() & super::driver::NEEDS_RESET,
        super::driver::NEEDS_RESET
    );
    d.start(0);
    assert_eq!(d.write(1, &[3; 512]), status::OK);
}

#[test]
fn states_of_other_devices_are_refused() {
    let mut big = Driver::modern(TestMedium::new(vec![0; 8 * MIB]), 0);
    let mut two = Driver::plugged(disk(), 2);
    let mut d = Driver::modern(disk(), 0);
    for saved in [big.device.snapshot().unwrap(), two.device.snapshot().unwrap()] {
        assert!(d.device.restore(saved).is_err());
    }
}
