// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The disk in its driver's hands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod driver;
mod hostile;
mod saved;

use super::block::spec::{feature, request, status};
use crate::block::{Chs, MediumError, Operation};
use crate::bus::{Device, lock};
use crate::pci::Function;
use crate::testing::TestMedium;
use driver::{
    COMMON, CONFIG, DRIVER_OK, Driver, EVENT_IDX, FEATURES_OK, INDIRECT, ISR, KNOWN, LEGACY, MIB, VERSION_1,
};

fn disk() -> TestMedium {
    TestMedium::new((0..4 * MIB).map(|n| (n / 512) as u8 ^ n as u8).collect())
}

#[test]
fn a_driver_finds_the_registers_by_their_capabilities() {
    let mut d = Driver::plugged(disk(), 2);
    let config = d.device.config();
    assert_eq!(config.u32(0), 0x1001_1af4);
    assert_eq!(config.u32(0x2c), 0x0002_1af4);
    assert_eq!(config.u16(6) & 0x10, 0x10, "there are capabilities");
    let (mut at, mut found) = (usize::from(config.u8(0x34)), Vec::new());
    while at != 0 {
        assert!(found.len() < 8 && at.is_multiple_of(4));
        let kind = (config.u8(at) == 9).then(|| (config.u8(at + 3), config.u8(at + 4), config.u32(at + 8)));
        found.push((config.u8(at), kind));
        at = usize::from(config.u8(at + 1));
    }
    assert_eq!(
        found,
        [
            (0x11, None),
            (9, Some((1, 4, 0))),
            (9, Some((3, 4, 0x1000))),
            (9, Some((4, 4, 0x2000))),
            (9, Some((2, 4, 0x3000))),
            (9, Some((5, 0, 0))),
        ]
    );
    assert_eq!(config.u16(0x42), 2, "three vectors");
    assert_eq!(d.get16(COMMON + 18), 2, "two queues");
}

#[test]
fn reads_writes_and_flushes() {
    for medium in [disk(), disk().with_info(|info| info.serial = None)] {
        let before = medium.data();
        let mut d = Driver::modern(medium, 0);
        let (ended, data, len) = d.read(3, 1024);
        assert_eq!((ended, len), (status::OK, 1025));
        assert_eq!(data, before[3 * 512..5 * 512]);
        assert_eq!(d.write(8000, &[7; 512]), status::OK);
        assert_eq!(d.medium.data()[8000 * 512..8001 * 512], [7; 512]);
        assert_eq!(d.run(request::FLUSH, 0, &[], false), (status::OK, vec![], 1));
        assert_eq!(
            d.medium.take_operations(),
            [
                (Operation::Read, 3 * 512, 1024),
                (Operation::Write, 8000 * 512, 512),
                (Operation::Flush, 0, 0)
            ]
        );
    }
}

#[test]
fn a_legacy_driver_reads_and_writes() {
    let mut d = Driver::legacy(disk());
    let before = d.medium.data();
    let mut capacity = [0; 8];
    d.device.read(LEGACY + 20, &mut capacity);
    assert_eq!(u64::from_le_bytes(capacity), 8192);
    let (ended, data, _) = d.read(1, 512);
    assert_eq!((ended, &data[..]), (status::OK, &before[512..1024]));
    assert!(d.wire.level());
    let mut isr = [0];
    d.device.read(LEGACY + 19, &mut isr);
    assert_eq!(isr, [1]);
    assert!(!d.wire.level(), "reading the status ends the interrupt");
    assert_eq!(d.write(1, &[1; 512]), status::OK);
    d.set(LEGACY + 18, &[0]);
    assert_eq!(d.get32(LEGACY + 8), 0, "a reset takes the queue away");
}

#[test]
fn the_configuration_tells_of_the_disk() {
    let geometry = Chs {
        cylinders: 70_000,
        heads: 16,
        sectors: 63,
    };
    let mut d = Driver::modern(disk().with_info(|info| info.geometry = Some(geometry)), 0);
    assert_eq!(d.get32(CONFIG), 8192);
    assert_eq!(d.get32(CONFIG + 12), 254, "segments");
    assert_eq!(d.get32(CONFIG + 16), 0x3f10_ffff, "as many cylinders as fit");
    assert_eq!(d.get32(CONFIG + 20), 512);
    let mut id = d.run(request::GET_ID, 0, &[0x55; 20], true);
    assert_eq!((id.0, id.2), (status::OK, 21));
    assert_eq!(id.1, b"a serial number of 2");
    id = d.run(request::GET_ID, 0, &[0x55; 4], true);
    assert_eq!(
        (id.0, &id.1[..]),
        (status::OK, &b"a se"[..]),
        "a short buffer gets a part"
    );
}

#[test]
fn without_flushes_each_write_is_durable_before_it_ends() {
    let mut d = Driver::modern(disk(), feature::FLUSH);
    d.write(0, &[1; 512]);
    assert_eq!(
        d.medium.take_operations(),
        [(Operation::Write, 0, 512), (Operation::Flush, 0, 0)]
    );
    // And with them, when the driver switches the cache off.
    let mut d = Driver::modern(disk(), 0);
    let mut cache = [0];
    d.device.read(CONFIG + 32, &mut cache);
    assert_eq!(cache, [1]);
    d.set(CONFIG + 32, &[0]);
    let (ended, _, len) = d.run(request::OUT, 0, &[1; 512], false);
    assert_eq!(
        (ended, len),
        (status::OK, 1),
        "nothing but the status was written to the guest"
    );
    assert_eq!(
        d.medium.take_operations(),
        [(Operation::Write, 0, 512), (Operation::Flush, 0, 0)]
    );
    d.set(CONFIG + 32, &[1]);
    d.write(0, &[1; 512]);
    assert_eq!(d.medium.take_operations(), [(Operation::Write, 0, 512)]);
}

fn range(sector: u64, sectors: u32, flags: u32) -> Vec<u8> {
    let mut bytes = sector.to_le_bytes().to_vec();
    bytes.extend(sectors.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes
}

#[test]
fn sectors_are_discarded_and_zeroed() {
    let mut d = Driver::modern(disk(), 0);
    let two = [range(1, 2, 0), range(100, 1, 0)].concat();
    assert_eq!(d.run(request::WRITE_ZEROES, 0, &two, false).0, status::OK);
    let data = d.medium.data();
    assert!(
        data[512..3 * 512]
            .iter()
            .chain(&data[51_200..51_712])
            .all(|b| *b == 0)
    );
    assert_ne!(data[3 * 512..4 * 512], [0; 512]);
    assert_eq!(
        d.run(request::WRITE_ZEROES, 0, &range(8, 1, 1), false).0,
        status::OK,
        "may unmap"
    );
    assert_eq!(d.run(request::DISCARD, 0, &range(5, 3, 0), false).0, status::OK);
    assert_eq!(
        d.medium.take_operations().pop(),
        Some((Operation::Discard { len: 1536 }, 2560, 0))
    );
    for (kind, bytes, why) in [
        (request::DISCARD, range(5, 3, 1), status::UNSUPP),
        (request::WRITE_ZEROES, range(5, 3, 2), status::UNSUPP),
        (request::DISCARD, range(8191, 2, 0), status::IOERR),
        (request::DISCARD, range(u64::MAX, 1, 0), status::IOERR),
        (
            request::DISCARD,
            range(u64::MAX / 512, u32::MAX, 0),
            status::IOERR,
        ),
        (request::DISCARD, vec![0; 15], status::IOERR),
        (request::DISCARD, vec![0; 16 * 17], status::IOERR),
        (request::WRITE_ZEROES, vec![], status::IOERR),
    ] {
        assert_eq!(d.run(kind, 0, &bytes, false).0, why, "{kind} {bytes:?}");
    }
    assert!(d.medium.take_operations().is_empty());
}

#[test]
fn what_cannot_be_done_fails_alone() {
    let mut d = Driver::modern(disk(), 0);
    assert_eq!(d.read(8192, 512).0, status::IOERR, "behind the end");
    assert_eq!(d.read(8191, 1024).0, status::IOERR, "across the end");
    assert_eq!(d.read(u64::MAX, 512).0, status::IOERR);
    assert_eq!(d.read(0, 511).0, status::IOERR, "half a sector");
    assert_eq!(d.run(99, 0, &[], false).0, status::UNSUPP);
    assert_eq!(d.read(0, 512).0, status::OK);
    d.medium.fail(Some(MediumError::Io));
    let (ended, _, len) = d.read(0, 512);
    assert_eq!((ended, len), (status::IOERR, 1));
    d.medium.fail(None);
    assert_eq!(d.read(0, 512).0, status::OK);
}

#[test]
fn a_read_only_disk_says_so() {
    let mut d = Driver::modern(disk().with_info(|info| info.read_only = true), 0);
    d.set(COMMON, &[0; 4]);
    let offered = u64::from(d.get32(COMMON + 4));
    assert_eq!(
        offered & (feature::READ_ONLY | feature::FLUSH | feature::DISCARD),
        feature::READ_ONLY
    );
    let before = d.medium.data();
    assert_eq!(d.write(0, &[1; 512]), status::IOERR);
    assert_eq!(
        d.run(request::DISCARD, 0, &range(0, 1, 0), false).0,
        status::UNSUPP
    );
    assert_eq!(d.medium.data(), before);
    assert_eq!(d.read(0, 512).0, status::OK);
}

#[test]
fn a_feature_that_was_not_offered_is_refused() {
    let mut d = Driver::plugged(disk(), 1);
    d.set(COMMON + 20, &[KNOWN]);
    d.set(COMMON + 8, &1u32.to_le_bytes());
    d.set(COMMON + 12, &u32::MAX.to_le_bytes());
    d.set(COMMON + 20, &[KNOWN | FEATURES_OK]);
    assert_eq!(d.status(), KNOWN);
    d.set(COMMON + 12, &((VERSION_1 >> 32) as u32).to_le_bytes());
    d.set(COMMON + 20, &[KNOWN | FEATURES_OK]);
    assert_eq!(d.status(), KNOWN | FEATURES_OK);
    d.set(COMMON + 12, &[0; 4]);
    assert_eq!(d.get32(COMMON + 12), 1, "what is chosen stays chosen");
}

#[test]
fn requests_of_any_layout() {
    let mut d = Driver::modern(disk(), 0);
    let before = d.medium.data();
    // The header in two parts, the data in three, the status behind data in one descriptor.
    let mut header = request::IN.to_le_bytes().to_vec();
    header.extend([0; 4]);
    header.extend(2u64.to_le_bytes());
    let (h1, h2) = (d.buffer(&header[..7]), d.buffer(&header[7..]));
    let (a, b, c) = (d.buffer(&[0; 100]), d.buffer(&[0; 1]), d.buffer(&[0xee; 412]));
    d.offer(
        0,
        &[
            (h1, 7, false),
            (h2, 9, false),
            (a, 100, true),
            (b, 1, true),
            (c, 412, true),
        ],
    );
    d.kick(0);
    assert_eq!(d.used(0), [(0, 513)]);
    let read = [d.bytes(a, 100), d.bytes(b, 1), d.bytes(c, 412)].concat();
    assert_eq!(read[..512], before[1024..1536]);
    assert_eq!(read[512], status::OK);
}

#[test]
fn an_indirect_table() {
    let mut d = Driver::modern(disk(), 0);
    let before = d.medium.data();
    let mut header = [0; 16];
    header[8] = 4;
    let (header, data, ended) = (d.buffer(&header), d.buffer(&[0; 512]), d.buffer(&[0xee]));
    let table = d.buffer(&[0; 48]);
    d.describe(table, 0, header, 16, 1, 1);
    d.describe(table, 1, data, 512, 3, 2);
    d.describe(table, 2, ended, 1, 2, 0);
    d.describe(d.table(0), 0, table, 48, INDIRECT, 0);
    d.offer_head(0, 0);
    d.kick(0);
    assert_eq!(d.used(0), [(0, 513)]);
    assert_eq!(d.bytes(data, 512), before[2048..2560]);
    assert_eq!(d.bytes(ended, 1), [status::OK]);
}

#[test]
fn large_requests_go_in_pieces() {
    let mut d = Driver::modern(disk(), 0);
    let before = d.medium.data();
    let (ended, data, len) = d.read(1, 3 * MIB - 512);
    assert_eq!((ended, len as usize), (status::OK, 3 * MIB - 512 + 1));
    assert_eq!(data, before[512..3 * MIB]);
    let lengths: Vec<_> = d
        .medium
        .take_operations()
        .iter()
        .map(|(_, _, len)| *len)
        .collect();
    assert_eq!(lengths, [MIB, MIB, MIB - 512]);
    let pattern: Vec<_> = (0..2 * MIB).map(|n| (n / 77) as u8).collect();
    assert_eq!(d.write(0, &pattern), status::OK);
    assert_eq!(d.medium.data()[..2 * MIB], pattern);
}

#[test]
fn what_a_guest_has_under_way_is_bounded() {
    let mut d = Driver::with(disk(), 1, false);
    d.size = 256;
    d.start(0);
    d.medium.hold();
    assert_eq!(d.medium.straight(), 0);
    // 80 requests of 4 MiB into the same buffer, three descriptors each; of each a MiB is under way at a time.
    let (at, first) = d.request(0, request::IN, 0, &vec![0; 4 * MIB], true);
    let header = at - 16;
    let mut statuses = vec![first];
    for _ in 1..80 {
        let ended = d.buffer(&[0xee]);
        d.offer(0, &[(header, 16, false), (at, 4 << 20, true), (ended, 1, true)]);
        statuses.push(ended);
    }
    d.kick(0);
    assert!(d.used(0).is_empty());
    assert_eq!(d.medium.waiting(), 64, "64 MiB of buffers, and no more");
    d.medium.release();
    d.device.service();
    assert_eq!(d.used(0).len(), 80, "the rest follows");
    assert!(statuses.iter().all(|at| d.bytes(*at, 1) == [status::OK]));
    assert_eq!(d.bytes(at, 4 * MIB), d.medium.data());
}

#[test]
fn data_goes_straight_where_it_can() {
    let before = disk().data();
    let mut d = Driver::modern(disk(), 0);
    assert_eq!(d.read(5, 512).1, before[5 * 512..6 * 512]);
    assert_eq!(d.write(5, &[9; 2 * MIB]), status::OK);
    assert_eq!(d.medium.straight(), 3, "a read, and a write in two pieces");
    assert_eq!(d.medium.data()[2560..2560 + 2 * MIB], [9; 2 * MIB]);
    let mut d = Driver::legacy(disk());
    assert_eq!(d.read(5, 512).1, before[5 * 512..6 * 512]);
    assert_eq!(
        d.medium.straight(),
        0,
        "a legacy driver does not wait for a reset to end"
    );
}

#[test]
fn a_reset_lasts_until_memory_is_let_go() {
    let mut d = Driver::modern(disk(), 0);
    d.medium.hold();
    let (at, ended) = d.request(0, request::IN, 0, &[0x55; 512], true);
    d.kick(0);
    d.set(COMMON + 20, &[0]);
    assert_eq!(
        d.status(),
        KNOWN | FEATURES_OK | DRIVER_OK,
        "the reset is under way"
    );
    d.set(COMMON + 20, &[0]);
    assert_eq!(d.status(), KNOWN | FEATURES_OK | DRIVER_OK, "still");
    d.medium.release();
    assert_eq!(d.status(), 0);
    assert_ne!(d.bytes(at, 512), [0x55; 512]);
    assert_eq!(d.bytes(ended, 1), [0xee], "but the request is forgotten");
    assert!(d.messages.lock().unwrap().is_empty());
    d.start(0);
    assert_eq!(d.read(0, 512).0, status::OK, "and the device works");
}

#[test]
fn a_reset_forgets_what_is_under_way() {
    let mut d = Driver::with(disk(), 1, false);
    d.start(0);
    d.medium.hold();
    let (at, ended) = d.request(0, request::IN, 0, &[0x55; 512], true);
    d.kick(0);
    d.set(COMMON + 20, &[0]);
    assert_eq!(d.status(), 0);
    d.medium.release();
    d.device.service();
    assert_eq!(d.bytes(at, 512), [0x55; 512], "memory is the driver's again");
    assert_eq!(d.bytes(ended, 1), [0xee]);
    d.start(0);
    assert_eq!(d.read(0, 512).0, status::OK, "and the device works");
}

#[test]
fn interrupts_by_wire() {
    let mut d = Driver::modern(disk(), EVENT_IDX);
    d.read(0, 512);
    assert!(d.wire.level());
    assert_eq!(d.device.config().u16(6) & 8, 8, "the status register shows it");
    let mut isr = [0];
    d.device.read(ISR, &mut isr);
    assert_eq!(isr, [1]);
    assert!(!d.wire.level());
    d.device.read(ISR, &mut isr);
    assert_eq!(isr, [0]);
    // INTx# switched off in the command register.
    d.device.config_mut().write(4, &[3, 4]);
    d.device.config_written(4, 2);
    d.read(0, 512);
    assert!(!d.wire.level());
    d.device.config_mut().write(4, &[3, 0]);
    d.device.config_written(4, 2);
    assert!(d.wire.level());
}

#[test]
fn interrupts_by_message_one_vector_a_queue() {
    let mut d = Driver::plugged(disk(), 2);
    d.use_messages();
    d.start(EVENT_IDX);
    d.request(1, request::IN, 0, &[0; 512], true);
    d.kick(1);
    assert_eq!(*lock(&d.messages), [0x42]);
    d.request(0, request::IN, 0, &[0; 512], true);
    d.kick(0);
    assert_eq!(*lock(&d.messages), [0x42, 0x41]);
    assert!(!d.wire.level());
    d.set(COMMON + 22, &[1, 0]);
    d.set(COMMON + 26, &9u16.to_le_bytes());
    assert_eq!(d.get16(COMMON + 26), 0xffff, "there is no vector 9");
}

#[test]
fn both_sides_hear_only_what_they_ask_for() {
    let mut d = Driver::modern(disk(), 0);
    d.use_messages();
    assert_eq!(d.available_event(0), 0, "the first request is to be told");
    d.set_used_event(0, 1);
    d.read(0, 512);
    assert!(
        lock(&d.messages).is_empty(),
        "the driver wanted to hear of the second one"
    );
    assert_eq!(d.available_event(0), 1);
    d.read(0, 512);
    assert_eq!(*lock(&d.messages), [0x41]);
}

#[test]
fn registers_through_configuration_space() {
    let mut d = Driver::modern(disk(), 0);
    let access = |d: &mut Driver, bar: u8, offset: u32, len: u32| {
        for (at, value) in [
            (0x98, vec![bar]),
            (0x9c, offset.to_le_bytes().into()),
            (0xa0, len.to_le_bytes().into()),
        ] {
            d.device.config_mut().write(at, &value);
            d.device.config_written(at, value.len());
        }
        d.device.config_reading(0xa4, 4);
        d.device.config().u32(0xa4)
    };
    assert_eq!(access(&mut d, 4, 0x2000, 4), 8192, "the capacity");
    assert_eq!(
        access(&mut d, 4, 20, 1),
        u32::from(KNOWN | FEATURES_OK | DRIVER_OK)
    );
    let stale = access(&mut d, 3, 20, 1);
    assert_eq!(access(&mut d, 4, 20, 3), stale, "there is no such access");
    access(&mut d, 4, 20, 1);
    d.device.config_mut().write(0xa4, &[0]);
    d.device.config_written(0xa4, 1);
    assert_eq!(d.status(), 0, "a write reset the device");
}

#[test]
fn pci_reset_is_power_on() {
    let mut d = Driver::modern(disk(), 0);
    d.use_messages();
    d.medium.hold();
    d.request(0, request::IN, 0, &[0; 512], true);
    d.kick(0);
    d.device.reset();
    d.medium.release();
    d.device.service();
    assert_eq!(d.device.config().command(), 0);
    assert_eq!(d.device.config().u16(0x42), 1);
    assert_eq!(d.device.config().u32(0x2c), 0x0002_1af4);
    assert_eq!(d.device.config().u32(8), 0x0100_0000);
    assert!(lock(&d.messages).is_empty());
    assert_eq!(d.status(), 0);
}

#[test]
fn a_driver_is_told_when_its_disk_grows() {
    let larger = |info: &mut crate::block::MediumInfo| {
        info.len = 8 * MIB as u64;
        info.geometry = Some(Chs {
            cylinders: 20,
            heads: 4,
            sectors: 17,
        });
    };
    let info = {
        let medium = disk().with_info(larger);
        crate::block::Medium::info(&medium).clone()
    };
    let mut d = Driver::modern(disk(), 0);
    let generation = |d: &mut Driver| {
        let mut byte = [0];
        d.device.read(COMMON + 21, &mut byte);
        byte[0]
    };
    let before = generation(&mut d);
    d.device.configure(|block| block.set_size(&info));
    assert_eq!(d.get32(CONFIG), 16384);
    assert_ne!(
        generation(&mut d),
        before,
        "what was read in two pieces is read again"
    );
    assert!(d.wire.level());
    let mut isr = [0];
    d.device.read(ISR, &mut isr);
    assert_eq!(isr[0] & 2, 2, "the configuration changed");
    let (ended, ..) = d.read(16383, 512);
    assert_eq!(ended, status::IOERR, "the medium itself is smaller, and says so");

    let mut d = Driver::modern(disk(), 0);
    d.use_messages();
    d.device.configure(|block| block.set_size(&info));
    assert_eq!(lock(&d.messages).len(), 1);
    // A driver that is not ready yet reads the new size when it is.
    let mut d = Driver::plugged(disk(), 1);
    d.device.configure(|block| block.set_size(&info));
    assert!(!d.wire.level());
}

/// Whether the driver has to ring for its next request.
fn rings(d: &Driver) -> bool {
    d.bytes(0x1_8000, 2) == [0, 0]
}

#[test]
fn an_attended_driver_need_not_ring() {
    let mut d = Driver::modern(disk(), EVENT_IDX);
    assert_eq!(d.read(0, 512).0, status::OK);
    assert_eq!(d.medium.take_asked(), [1]);
    assert!(rings(&d), "the medium does not attend");

    d.medium.attends(true);
    assert_eq!(d.read(0, 512).0, status::OK);
    assert!(!rings(&d));
    // The medium's thread calls, and finds what nobody has rung for.
    for count in [0, 1, 3, 0] {
        let before: Vec<_> = (0..count)
            .map(|n| d.request(0, request::IN, n, &[0; 512], true))
            .collect();
        d.medium.take_asked();
        d.device.service();
        assert_eq!(d.used(0).len(), before.len());
        for (_, ended) in before {
            assert_eq!(d.bytes(ended, 1), [status::OK]);
        }
        assert_eq!(d.medium.take_asked(), [count as usize]);
        assert!(!rings(&d));
    }
    // A request that comes when the medium has had enough is not forgotten.
    d.medium.attends(false);
    d.request(0, request::IN, 1, &[0; 512], true);
    d.device.service();
    assert_eq!(d.used(0).len(), 1);
    assert!(rings(&d));
    d.device.service();
    assert_eq!(d.medium.take_asked(), [1], "who does not attend is not asked");
}

#[test]
fn what_waits_for_a_disk_and_a_reset_end_an_attendance() {
    let mut d = Driver::modern(disk(), EVENT_IDX);
    d.medium.attends(true);
    assert_eq!(d.read(0, 512).0, status::OK);
    assert!(!rings(&d));
    d.medium.hold();
    d.request(0, request::IN, 0, &[0; 512], true);
    d.device.service();
    assert!(rings(&d), "the thread waits for the transfer now");
    d.medium.release();
    d.device.service();
    assert_eq!(d.used(0).len(), 1);
    assert_eq!(d.read(0, 512).0, status::OK);
    assert!(!rings(&d));

    d.set(COMMON + 20, &[0]);
    d.medium.take_asked();
    d.device.service();
    assert_eq!(d.medium.take_asked(), [0; 0], "nobody is there who could ring");
    d.medium.attends(false);
    d.start(EVENT_IDX);
    assert_eq!(d.read(0, 512).0, status::OK);
    assert!(rings(&d));
}
