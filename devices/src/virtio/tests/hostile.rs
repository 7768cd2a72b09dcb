// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Drivers that break the rules: the device stops with `DEVICE_NEEDS_RESET`, and works again after a reset.

use super::driver::{BUFFERS, COMMON, Driver, INDIRECT, MIB, NEEDS_RESET, Part};
use super::{disk, request, status};
use crate::bus::{Device, lock};
use crate::pci::Function;
use crate::testing::TestMedium;
use proptest::prelude::*;

/// Has a driver do something wrong.
fn broken_by(what: &str, wrong: impl FnOnce(&mut Driver)) {
    let mut d = Driver::modern(disk(), 0);
    d.use_messages();
    wrong(&mut d);
    d.kick(0);
    assert_eq!(d.status() & NEEDS_RESET, NEEDS_RESET, "{what}");
    assert_eq!(*lock(&d.messages), [0x40], "{what}: the driver is told");
    d.kick(0);
    d.device.service();
    assert_eq!(lock(&d.messages).len(), 1, "{what}: once");
    d.set(COMMON + 20, &[0]);
    d.start(0);
    assert_eq!(d.read(0, 512).0, status::OK, "{what}: a reset mends it");
}

fn header(d: &mut Driver, kind: u32) -> Part {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend([0; 12]);
    (d.buffer(&bytes), 16, false)
}

#[test]
fn malformed_chains() {
    broken_by("no status", |d| {
        let header = header(d, request::FLUSH);
        d.offer(0, &[header]);
    });
    broken_by("a status of no bytes", |d| {
        let header = header(d, request::FLUSH);
        d.offer(0, &[header, (BUFFERS, 0, true)]);
    });
    broken_by("half a header", |d| {
        let (at, ..) = header(d, request::FLUSH);
        d.offer(0, &[(at, 15, false), (at + 32, 1, true)]);
    });
    broken_by("nothing", |d| {
        d.offer(0, &[(BUFFERS, 0, false)]);
    });
    broken_by("data outside memory", |d| {
        let (at, ..) = header(d, request::IN);
        d.offer(0, &[(at, 16, false), (1 << 40, 512, true), (at + 32, 1, true)]);
    });
    broken_by("data across the end of the address space", |d| {
        let (at, ..) = header(d, request::OUT);
        d.offer(
            0,
            &[(at, 16, false), (u64::MAX - 100, 512, false), (at + 32, 1, true)],
        );
    });
    broken_by("a header outside memory", |d| {
        d.offer(0, &[(96 << 20, 16, false), (BUFFERS, 1, true)]);
    });
    broken_by("a status outside memory", |d| {
        let header = header(d, request::FLUSH);
        d.offer(0, &[header, (u64::MAX, 1, true)]);
    });
}

#[test]
fn malformed_rings() {
    broken_by("a chain that bites its tail", |d| {
        let (at, ..) = header(d, request::IN);
        d.describe(d.table(0), 0, at, 16, 1, 1);
        d.describe(d.table(0), 1, at, 16, 1, 0);
        d.offer_head(0, 0);
    });
    broken_by("more requests than the queue holds", |d| d.set_available(0, 65));
    broken_by("a head outside the table", |d| d.offer_head(0, 64));
    broken_by("an indirect table that leads to another", |d| {
        let table = d.buffer(&[0; 16]);
        d.describe(table, 0, table, 16, INDIRECT, 0);
        d.describe(d.table(0), 0, table, 16, INDIRECT, 0);
        d.offer_head(0, 0);
    });
    broken_by("an indirect table longer than the queue", |d| {
        let len = 16 * 1000;
        let table = d.buffer(&vec![0; len]);
        for index in 0..1000 {
            d.describe(table, index, BUFFERS, 16, 1, index + 1);
        }
        d.describe(d.table(0), 0, table, len as u32, INDIRECT, 0);
        d.offer_head(0, 0);
    });
}

#[test]
fn a_queue_outside_memory() {
    let mut d = Driver::plugged(disk(), 1);
    d.set(COMMON + 20, &[11]);
    for at in [32, 40, 48] {
        d.set(COMMON + at, &(1u64 << 50).to_le_bytes());
    }
    d.set(COMMON + 28, &[1, 0]);
    d.set(COMMON + 20, &[15]);
    assert_eq!(d.status() & NEEDS_RESET, NEEDS_RESET);
    d.start(0);
    assert_eq!(d.read(0, 512).0, status::OK);
}

#[test]
fn the_same_request_without_end() {
    let mut d = Driver::modern(disk(), 0);
    d.medium.hold();
    let (at, ended) = d.request(0, request::IN, 0, &[0; 512], true);
    d.kick(0);
    // The driver offers the head again that the device still holds, as often as it can.
    for _ in 0..1000 {
        d.offer_head(0, 0);
        d.kick(0);
    }
    d.medium.release();
    d.device.service();
    assert!(d.medium.take_operations().len() <= 1001);
    let _ = (at, ended);
    d.set(COMMON + 20, &[0]);
    d.start(0);
    assert_eq!(d.read(0, 512).0, status::OK);
}

#[derive(Debug, Clone)]
enum Step {
    Register(u8, u32, u8, u64),
    Read(u8, u32, u8),
    Config(u8, u8, u32),
    Memory(u32, u64),
    Request(u32, u64, u32),
    Service,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6u8, 0..0x4100u32, 0..4u8, any::<u64>()).prop_map(|(b, o, w, v)| Step::Register(b, o, w, v)),
        // Where the registers are, and small values: what a driver would do.
        (Just(4u8), 0..60u32, 0..4u8, 0..0x100u64).prop_map(|(b, o, w, v)| Step::Register(b, o, w, v)),
        (Just(0u8), 0..24u32, 0..3u8, 0..0x100u64).prop_map(|(b, o, w, v)| Step::Register(b, o, w, v)),
        (0..6u8, 0..0x4100u32, 0..4u8).prop_map(|(b, o, w)| Step::Read(b, o, w)),
        (any::<u8>(), 0..3u8, any::<u32>()).prop_map(|(o, w, v)| Step::Config(o, w, v)),
        (0x1_0000..0x1_c000u32, any::<u64>()).prop_map(|(a, v)| Step::Memory(a, v)),
        (0..16u32, 0..9000u64, 0..8192u32).prop_map(|(k, s, l)| Step::Request(k, s, l)),
        Just(Step::Service),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever a driver does, nothing panics, and a reset brings the disk back.
    #[test]
    fn nothing_panics(steps in proptest::collection::vec(step(), 1..200)) {
        use vm_memory::{Bytes, GuestAddress};
        let mut d = Driver::modern(TestMedium::new(vec![1; MIB]), 0);
        for step in steps {
            match step {
                Step::Register(bar, offset, width, value) => {
                    let at = u64::from(bar) << 32 | u64::from(offset);
                    d.set(at, &value.to_le_bytes()[..1 << width]);
                }
                Step::Read(bar, offset, width) => {
                    let mut data = [0; 8];
                    d.device.read(u64::from(bar) << 32 | u64::from(offset), &mut data[..1 << width]);
                }
                Step::Config(offset, width, value) => {
                    let (at, len) = (usize::from(offset), 1 << width);
                    d.device.config_mut().write(at, &value.to_le_bytes()[..len]);
                    d.device.config_written(at, len);
                    d.device.config_reading(at, len);
                }
                Step::Memory(at, value) => d.ram.write_obj(value, GuestAddress(u64::from(at))).unwrap(),
                Step::Request(kind, sector, len) => {
                    d.next = BUFFERS;
                    d.request(0, kind, sector, &vec![0; len as usize], kind % 2 == 0);
                    d.kick(0);
                }
                Step::Service => d.device.service(),
            }
        }
        d.device.reset();
        d.next = BUFFERS;
        d.start(0);
        prop_assert_eq!(d.read(0, 512).0, status::OK);
    }
}
