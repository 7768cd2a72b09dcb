// SPDX-License-Identifier: Apache-2.0 OR MIT
#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::TestMedium;

const LEN: usize = 1_474_560;

/// A medium whose sectors hold their own number, and a diskette made of it.
fn numbered() -> (TestMedium, Diskette) {
    let data = (0..LEN / SECTOR).flat_map(|n| [n as u8; SECTOR]).collect();
    let medium = TestMedium::new(data);
    let diskette = Diskette::new(Box::new(medium.clone()), Format::INCH3_1440K, 1);
    (medium, diskette)
}

#[test]
fn one_read_fetches_the_cylinder() {
    let (medium, mut diskette) = numbered();
    assert_eq!(diskette.fetch(36 + 5), Progress::Ready(31));
    assert_eq!(diskette.data(36 + 5, 2), [[41; SECTOR], [42; SECTOR]].concat());
    assert_eq!(diskette.fetch(36), Progress::Ready(36));
    assert_eq!(
        medium.take_operations(),
        [(Operation::Read, 36 * SECTOR as u64, 36 * SECTOR)]
    );
}

#[test]
fn a_bad_sector_does_not_spoil_its_neighbours() {
    let (medium, mut diskette) = numbered();
    medium.fail(Some(MediumError::Io));
    assert_eq!(diskette.fetch(3), Progress::Failed(MediumError::Io));
    medium.fail(None);
    medium.take_operations();
    assert_eq!(diskette.fetch(4), Progress::Ready(1));
    assert_eq!(diskette.data(4, 1), [4; SECTOR]);
    assert_eq!(diskette.fetch(3), Progress::Ready(1));
    assert_eq!(
        medium.take_operations(),
        [
            (Operation::Read, 4 * SECTOR as u64, SECTOR),
            (Operation::Read, 3 * SECTOR as u64, SECTOR)
        ]
    );
}

#[test]
fn what_was_written_is_read_without_asking_the_medium() {
    let (medium, mut diskette) = numbered();
    diskette.fetch(0);
    diskette.write(2, vec![0xaa; 2 * SECTOR], false);
    assert_eq!(diskette.written(), Progress::Ready(()));
    medium.take_operations();
    assert_eq!(diskette.fetch(1), Progress::Ready(35));
    assert_eq!(
        diskette.data(1, 4),
        [[1; SECTOR], [0xaa; SECTOR], [0xaa; SECTOR], [4; SECTOR]].concat()
    );
    assert!(medium.take_operations().is_empty());
    assert_eq!(medium.data()[2 * SECTOR..4 * SECTOR], [0xaa; 2 * SECTOR]);
}

#[test]
fn a_failed_write_forgets_what_was_in_memory() {
    let (medium, mut diskette) = numbered();
    diskette.fetch(0);
    medium.fail(Some(MediumError::Io));
    diskette.write(2, vec![0xaa; SECTOR], false);
    assert_eq!(diskette.written(), Progress::Failed(MediumError::Io));
    medium.fail(None);
    assert_eq!(diskette.fetch(2), Progress::Ready(34));
    assert_eq!(diskette.data(2, 1), [2; SECTOR]);
}

#[test]
fn at_most_one_request_is_under_way() {
    let (medium, mut diskette) = numbered();
    medium.hold();
    assert_eq!(diskette.fetch(0), Progress::Pending);
    diskette.abort();
    diskette.write(0, vec![7; SECTOR], false);
    diskette.abort();
    diskette.write(0, vec![8; SECTOR], false);
    assert_eq!(diskette.written(), Progress::Pending);
    medium.release();
    assert_eq!(diskette.written(), Progress::Ready(()));
    let operations: Vec<_> = medium.take_operations().into_iter().map(|o| o.0).collect();
    assert_eq!(operations, [Operation::Read, Operation::Write]);
    assert_eq!(medium.data()[..SECTOR], [8; SECTOR]);
}

#[test]
fn the_end_of_an_abandoned_write_is_not_taken_for_the_end_of_the_next() {
    let (medium, mut diskette) = numbered();
    medium.hold();
    diskette.write(0, vec![7; SECTOR], false);
    diskette.abort();
    diskette.write(1, vec![8; SECTOR], false);
    medium.fail(Some(MediumError::Io));
    medium.release();
    medium.fail(None);
    medium.hold();
    diskette.service();
    assert_eq!(diskette.written(), Progress::Pending);
    medium.release();
    assert_eq!(diskette.written(), Progress::Ready(()));
}

#[test]
fn a_short_image_reads_as_zeros_and_cannot_be_written_there() {
    let medium = TestMedium::new(vec![0x55; 700]);
    let mut diskette = Diskette::new(Box::new(medium), Format::INCH3_1440K, 1);
    assert_eq!(diskette.fetch(0), Progress::Ready(36));
    assert_eq!(diskette.data(1, 1)[..188], [0x55; 188]);
    assert_eq!(diskette.data(1, 1)[188..], [0; 324]);
    assert_eq!(diskette.fetch(2000), Progress::Ready(16));
    assert_eq!(diskette.data(2000, 1), [0; SECTOR]);
    diskette.write(1, vec![1; SECTOR], false);
    assert_eq!(diskette.written(), Progress::Failed(MediumError::OutOfRange));
    diskette.write(0, vec![1; SECTOR], false);
    assert_eq!(diskette.written(), Progress::Ready(()));
}

#[test]
fn writes_become_durable_when_the_motor_stops() {
    let (medium, mut diskette) = numbered();
    diskette.motor_off();
    assert!(medium.take_operations().is_empty());
    medium.hold();
    diskette.write(0, vec![1; SECTOR], false);
    diskette.motor_off();
    medium.release();
    diskette.service();
    let operations: Vec<_> = medium.take_operations().into_iter().map(|o| o.0).collect();
    assert_eq!(operations, [Operation::Write, Operation::Flush]);
}

#[test]
fn a_completion_of_an_earlier_stay_is_ignored() {
    let (medium, mut diskette) = numbered();
    medium.hold();
    assert_eq!(diskette.fetch(0), Progress::Pending);
    let mut diskette = Diskette::new(diskette.into_medium(), Format::INCH3_1440K, 2);
    assert_eq!(diskette.fetch(36), Progress::Pending);
    medium.release();
    assert_eq!(diskette.fetch(36), Progress::Ready(36));
    assert_eq!(diskette.data(36, 1), [36; SECTOR]);
}
