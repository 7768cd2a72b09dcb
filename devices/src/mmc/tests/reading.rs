// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sectors, and the requests that fetch them.
use super::*;
use crate::block::{MediumError, Operation};
use crate::mmc::raw;

fn read_10(lba: u32, count: u16) -> Vec<u8> {
    let mut command = vec![0x28, 0];
    command.extend(lba.to_be_bytes());
    command.push(0);
    command.extend(count.to_be_bytes());
    command
}

fn read_cd(lba: u32, count: u8, selection: u8) -> Vec<u8> {
    let mut command = vec![0xbe, 0];
    command.extend(lba.to_be_bytes());
    command.extend([0, 0, count, selection]);
    command
}

#[test]
fn capacity() {
    assert_eq!(Host::small().ok(&[0x25]), [0, 0, 0, 99, 0, 0, 8, 0]);
    assert_eq!(Host::empty().check(&[0x25]), TRAY_CLOSED);
}

#[test]
fn blocks() {
    let mut host = Host::small();
    assert_eq!(host.ok(&read_10(3, 2)), sectors(3..5));
    assert_eq!(host.ok(&read_10(0, 100)), sectors(0..100));
    assert_eq!(host.ok(&[0xa8, 0, 0, 0, 0, 98, 0, 0, 0, 2]), sectors(98..100));
    assert_eq!(host.ok(&read_10(99, 0)), []);
    assert_eq!(host.check(&read_10(100, 0)), OUT_OF_RANGE);
    assert_eq!(host.check(&read_10(99, 2)), OUT_OF_RANGE);
    assert_eq!(host.check(&read_10(u32::MAX, u16::MAX)), OUT_OF_RANGE);
    assert_eq!(
        host.check(&[0xa8, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]),
        OUT_OF_RANGE
    );
    assert_eq!(host.check(&[0x28, 1]), INVALID_FIELD);
    assert_eq!(Host::empty().check(&read_10(0, 1)), TRAY_CLOSED);
}

#[test]
fn any_piece_size_gives_the_same_bytes() {
    for piece in [1, 3, 512, 2047, 2048, 2049, 65_534, 131_072, 1 << 20] {
        let mut host = Host::small();
        host.piece = piece;
        assert_eq!(host.ok(&read_10(1, 4)), sectors(1..5), "{piece}");
        assert_eq!(
            host.ok(&read_cd(5, 2, 0xf8)),
            [
                raw::mode_1_sector(5, &sector(5)),
                raw::mode_1_sector(6, &sector(6))
            ]
            .concat(),
            "{piece}"
        );
    }
}

#[test]
fn every_pull_but_the_last_is_full() {
    let mut host = Host::small();
    assert_eq!(host.start(&read_10(0, 100)), Reply::DataIn { len: 204_800 });
    for expected in [150_000, 54_800] {
        match host.drive.pull(150_000) {
            Pull::Data(data) => assert_eq!(data.len(), expected),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(host.drive.pull(150_000), Pull::End(Status::Good));
}

#[test]
fn a_partial_last_sector_is_filled_up() {
    let mut data = sectors(0..2);
    data.truncate(2048 + 100);
    let mut host = Host::with(Box::new(TestMedium::new(data.clone())));
    assert_eq!(host.ok(&[0x25])[..4], [0, 0, 0, 1]);
    data.resize(4096, 0);
    assert_eq!(host.ok(&read_10(0, 2)), data);
    assert_eq!(host.ok(&read_10(1, 1)), data[2048..]);
    assert_eq!(host.ok(&read_cd(1, 1, 0xf8))[16..2064], data[2048..]);
}

#[test]
fn cd_sectors() {
    let mut host = Host::small();
    let whole = raw::mode_1_sector(7, &sector(7));
    assert_eq!(host.ok(&read_cd(7, 1, 0x10)), sector(7));
    assert_eq!(host.ok(&read_cd(7, 1, 0xf8)), whole);
    assert_eq!(host.ok(&read_cd(7, 1, 0x20)), [0, 2, 7, 1]);
    assert_eq!(host.ok(&read_cd(7, 1, 0x18)), whole[16..]);
    // Mode 1 by name; nothing of a sector; no sector.
    assert_eq!(host.ok(&[0xbe, 2 << 2, 0, 0, 0, 7, 0, 0, 1, 0x10]), sector(7));
    assert_eq!(host.ok(&read_cd(7, 1, 0)), []);
    assert_eq!(host.ok(&read_cd(7, 0, 0x10)), []);
    // Audio and mode 2; EDC without data; C2 flags; sub-channel.
    for kind in [1, 3, 4, 5] {
        assert_eq!(
            host.check(&[0xbe, kind << 2, 0, 0, 0, 7, 0, 0, 1, 0x10]),
            (5, 0x64, 0)
        );
    }
    assert_eq!(host.check(&read_cd(7, 1, 0x08)), INVALID_FIELD);
    assert_eq!(host.check(&read_cd(7, 1, 0x12)), INVALID_FIELD);
    assert_eq!(
        host.check(&[0xbe, 0, 0, 0, 0, 7, 0, 0, 1, 0x10, 1]),
        INVALID_FIELD
    );
    assert_eq!(host.check(&read_cd(99, 2, 0x10)), OUT_OF_RANGE);
}

#[test]
fn a_dvd_has_only_user_data() {
    let mut host = Host::dvd();
    assert_eq!(host.check(&read_cd(0, 1, 0xf8)), (5, 0x64, 0));
    assert_eq!(host.start(&read_cd(0, 1, 0x10)), Reply::DataIn { len: 2048 });
}

#[test]
fn cd_sectors_by_time() {
    let mut host = Host::small();
    let read = |from: [u8; 3], to: [u8; 3]| [&[0xb9, 0, 0][..], &from, &to, &[0x10]].concat();
    assert_eq!(host.ok(&read([0, 2, 5], [0, 2, 7])), sectors(5..7));
    assert_eq!(host.ok(&read([0, 2, 74], [0, 3, 1])), sectors(74..76));
    assert_eq!(host.ok(&read([0, 2, 5], [0, 2, 5])), []);
    assert_eq!(host.check(&read([0, 2, 5], [0, 2, 4])), INVALID_FIELD);
    assert_eq!(host.check(&read([0, 2, 75], [0, 3, 4])), INVALID_FIELD);
    assert_eq!(host.check(&read([0, 1, 74], [0, 2, 4])), OUT_OF_RANGE);
    assert_eq!(host.check(&read([0, 3, 20], [0, 3, 30])), OUT_OF_RANGE);
}

#[test]
fn moving_the_head() {
    let mut host = Host::small();
    assert_eq!(host.ok(&[0x2b, 0, 0, 0, 0, 99]), []);
    assert_eq!(host.check(&[0x2b, 0, 0, 0, 0, 100]), OUT_OF_RANGE);
    assert_eq!(host.ok(&[0x2f, 0, 0, 0, 0, 98, 0, 0, 2]), []);
    assert_eq!(host.check(&[0x2f, 0, 0, 0, 0, 98, 0, 0, 3]), OUT_OF_RANGE);
    assert_eq!(host.check(&[0x2f, 2, 0, 0, 0, 0, 0, 0, 1]), INVALID_FIELD);
    assert_eq!(host.ok(&[0xa7, 0, 0, 0, 0, 98, 0, 0, 0, 5]), []);
    assert_eq!(host.check(&[0xa7, 0, 0, 0, 0, 98, 0, 0, 0, 100]), OUT_OF_RANGE);
}

#[test]
fn a_slow_medium_keeps_nobody_waiting() {
    let disc = medium(SMALL);
    let mut host = Host::with(Box::new(disc.clone()));
    disc.hold();
    assert_eq!(host.start(&read_10(10, 2)), Reply::DataIn { len: 4096 });
    assert_eq!(host.drive.pull(4096), Pull::Pending);
    assert_eq!(host.drive.pull(4096), Pull::Pending);
    disc.release();
    assert_eq!(host.drive.pull(4096), Pull::Data(sectors(10..12)));
    // However often it was asked, it was read once.
    assert_eq!(disc.take_operations(), [(Operation::Read, 10 * 2048, 4096)]);
    assert_eq!(host.drive.pull(4096), Pull::End(Status::Good));
}

#[test]
fn a_long_read_goes_ahead_by_a_piece() {
    let disc = medium(1000);
    let mut host = Host::with(Box::new(disc.clone()));
    assert_eq!(host.ok(&read_10(0, 1000)), sectors(0..1000));
    let operations = disc.take_operations();
    // Each byte once, in pieces.
    let mut next = 0;
    for (_, offset, len) in &operations {
        assert_eq!(*offset, next);
        assert!(*len <= 131_072);
        next += *len as u64;
    }
    assert_eq!(next, 1000 * 2048);
    assert_eq!(operations.len(), 16);
}

#[test]
fn reading_on_finds_the_next_piece_there() {
    let disc = medium(1000);
    let mut host = Host::with(Box::new(disc.clone()));
    host.ok(&read_10(0, 4));
    // Nothing says yet that anybody reads on.
    assert_eq!(disc.take_operations(), [(Operation::Read, 0, 8192)]);
    host.ok(&read_10(4, 4));
    assert_eq!(
        disc.take_operations(),
        [(Operation::Read, 8192, 8192), (Operation::Read, 16_384, 131_072)]
    );
    disc.hold();
    for lba in (8..40).step_by(4) {
        assert_eq!(host.ok(&read_10(lba, 4)), sectors(lba..lba + 4));
    }
    disc.release();
    assert!(disc.take_operations().len() <= 1);
    // A jump fetches what is asked for.
    host.ok(&read_10(700, 1));
    assert_eq!(disc.take_operations(), [(Operation::Read, 700 * 2048, 2048)]);
}

#[test]
fn a_bad_sector_is_named_and_what_stands_before_it_arrives() {
    // The medium is shorter than it says: the sectors from 70 on fail.
    let short = TestMedium::new(sectors(0..70)).with_info(|info| info.len = u64::from(SMALL) * 2048);
    for piece in [2048, 5000, 0x1_0000, 1 << 20] {
        let mut host = Host::with(Box::new(short.clone()));
        host.piece = piece;
        let reply = host.start(&read_10(0, 100));
        let (data, status) = host.finish(reply);
        assert_eq!(status, Status::CheckCondition { sense_key: 3 });
        assert_eq!(data, sectors(0..70));
        let sense = host.sense_bytes();
        assert_eq!(sense[..7], [0xf0, 0, 3, 0, 0, 0, 70]);
        assert_eq!(sense[12..14], [0x11, 0]);
        // What lies before and after is none the worse for it.
        assert_eq!(host.ok(&read_10(68, 2)), sectors(68..70));
        assert_eq!(host.check(&read_10(90, 1)), (3, 0x11, 0));
    }
}

#[test]
fn a_failure_passes() {
    let disc = medium(SMALL);
    let mut host = Host::with(Box::new(disc.clone()));
    disc.fail(Some(MediumError::Io));
    assert_eq!(host.check(&read_10(0, 1)), (3, 0x11, 0));
    assert_eq!(host.check(&read_cd(0, 1, 0xf8)), (3, 0x11, 0));
    disc.fail(None);
    assert_eq!(host.ok(&read_10(0, 1)), sector(0));
}

#[test]
fn taking_the_medium_out_ends_a_read() {
    let disc = medium(SMALL);
    let mut host = Host::with(Box::new(disc.clone()));
    disc.hold();
    host.start(&read_10(0, 10));
    assert_eq!(host.drive.pull(2048), Pull::Pending);
    let old = host.drive.insert(Box::new(medium(50)));
    // Nothing of the new medium goes into the old command.
    assert_eq!(
        host.drive.pull(2048),
        Pull::End(Status::CheckCondition { sense_key: 2 })
    );
    assert_eq!(host.sense(), TRAY_OPEN);
    assert_eq!(host.check(&read_10(0, 1)), MEDIUM_CHANGED);
    assert_eq!(host.ok(&read_10(0, 1)), sector(0));
    disc.release();
    drop(old);
}

#[test]
fn a_new_medium_has_nothing_of_the_old_one_in_the_buffer() {
    let mut host = Host::small();
    host.ok(&read_10(0, 4));
    host.ok(&read_10(4, 4));
    let other = TestMedium::new(vec![0xa5; 2048 * 50]);
    assert!(host.drive.insert(Box::new(other)).is_some());
    host.check(&[0]);
    host.check(&[0]);
    assert_eq!(host.ok(&read_10(8, 1)), [0xa5; 2048]);
    assert_eq!(host.ok(&read_10(0, 1)), [0xa5; 2048]);
}

#[test]
fn commands_that_are_given_up_do_not_pile_up_requests() {
    let disc = medium(1000);
    let mut host = Host::with(Box::new(disc.clone()));
    disc.hold();
    for lba in 0..200 {
        host.start(&read_10(lba * 5, 1));
        assert_eq!(host.drive.pull(2048), Pull::Pending);
    }
    disc.release();
    assert!(disc.take_operations().len() <= 4);
    assert_eq!(host.drive.pull(2048), Pull::Data(sector(995)));
}
