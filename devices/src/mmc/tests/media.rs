// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Changing media, locking, and what each side learns of the other.
use super::*;

const EJECT: [u8; 5] = [0x1b, 0, 0, 0, 2];
const LOAD: [u8; 5] = [0x1b, 0, 0, 0, 3];
const LOCK: [u8; 5] = [0x1e, 0, 0, 0, 1];
const UNLOCK: [u8; 5] = [0x1e, 0, 0, 0, 0];
const READ_CAPACITY: [u8; 1] = [0x25];

/// Media events and status bits.
const NOTHING: u8 = 0;
const EJECT_REQUEST: u8 = 1;
const NEW_MEDIA: u8 = 2;
const REMOVAL: u8 = 3;
const ABSENT_OPEN: u8 = 1;
const PRESENT: u8 = 2;

#[test]
fn power_on_is_reported_once_and_only_by_those_who_may() {
    let mut drive = DvdDrive::new(identity(), None);
    let mut packet = [0; 12];
    for opcode in [0x12, 0x46, 0x4a, 0xa0] {
        packet[0] = opcode;
        packet[1] = u8::from(opcode == 0x4a);
        packet[9] = 16;
        assert!(
            !matches!(drive.execute(&packet), Reply::Done(Status::CheckCondition { .. })),
            "{opcode:#x}"
        );
    }
    let mut host = Host { drive, piece: 4096 };
    // An unknown command reports it as well.
    assert_eq!(host.check(&[0xff]), POWER_ON);
    assert_eq!(host.check(&[0]), TRAY_CLOSED);
    host.drive.reset();
    // REQUEST SENSE is the one that takes it away.
    assert_eq!(host.sense(), POWER_ON);
    assert_eq!(host.sense(), (0, 0, 0));
    assert_eq!(host.check(&[0]), TRAY_CLOSED);
}

#[test]
fn sense_data_lasts_until_the_next_command() {
    let mut host = Host::empty();
    assert!(matches!(
        host.start(&[0]),
        Reply::Done(Status::CheckCondition { sense_key: 2 })
    ));
    host.start(&[0x12, 0, 0, 0, 36]);
    assert_eq!(host.sense(), (0, 0, 0));
}

#[test]
fn a_swap_between_two_commands_is_seen_step_by_step() {
    let mut host = Host::small();
    host.ok(&[0]);
    let old = host.drive.insert(Box::new(medium(50)));
    assert_eq!(old.unwrap().info().len, u64::from(SMALL) * 2048);
    assert_eq!(host.check(&READ_CAPACITY), TRAY_OPEN);
    assert_eq!(host.check(&READ_CAPACITY), MEDIUM_CHANGED);
    assert_eq!(host.ok(&READ_CAPACITY)[..4], [0, 0, 0, 49]);
    assert_eq!(host.media_event(), (REMOVAL, ABSENT_OPEN));
    assert_eq!(host.media_event(), (NEW_MEDIA, PRESENT));
    assert_eq!(host.media_event(), (NOTHING, PRESENT));
    host.ok(&[0]);
}

#[test]
fn a_swap_is_seen_step_by_step_by_one_who_only_polls_for_events() {
    let mut host = Host::small();
    host.insert(50);
    assert_eq!(host.media_event(), (REMOVAL, ABSENT_OPEN));
    assert_eq!(host.media_event(), (NEW_MEDIA, PRESENT));
    assert_eq!(host.media_event(), (NOTHING, PRESENT));
    assert_eq!(host.check(&READ_CAPACITY), MEDIUM_CHANGED);
    assert_eq!(host.ok(&READ_CAPACITY)[..4], [0, 0, 0, 49]);
}

#[test]
fn until_the_guest_has_missed_the_old_medium_it_has_none() {
    let mut host = Host::small();
    host.insert(50);
    // No current profile, open door, no medium.
    assert_eq!(host.ok(&[0x46, 0, 0, 0, 0, 0, 0, 0, 8])[6..], [0, 0]);
    assert_eq!(host.ok(&[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8])[1], 0x10);
    assert_eq!(host.ok(&[0x5a, 0, 1, 0, 0, 0, 0, 0, 8])[2], 0x71);
}

#[test]
fn an_eject_and_a_later_insert() {
    let mut host = Host::small();
    assert!(host.drive.eject(false).unwrap().is_some());
    let status = host.drive.status();
    assert!(status.tray_open && !status.medium_present);
    assert_eq!(host.check(&[0]), TRAY_OPEN);
    assert_eq!(host.check(&[0]), TRAY_OPEN);
    assert!(host.drive.insert(Box::new(medium(50))).is_none());
    // The guest has already seen the empty drive.
    assert_eq!(host.check(&[0]), MEDIUM_CHANGED);
    host.ok(&[0]);
    assert!(!host.drive.status().tray_open);
    assert_eq!(host.media_event(), (REMOVAL, ABSENT_OPEN));
    assert_eq!(host.media_event(), (NEW_MEDIA, PRESENT));
}

#[test]
fn an_empty_drive_gets_a_medium() {
    let mut host = Host::empty();
    assert_eq!(host.check(&[0]), TRAY_CLOSED);
    assert_eq!(host.media_event(), (NOTHING, 0));
    host.insert(50);
    assert_eq!(host.media_event(), (NEW_MEDIA, PRESENT));
    assert_eq!(host.check(&[0]), MEDIUM_CHANGED);
    host.ok(&[0]);
}

#[test]
fn swaps_that_nobody_watched_come_down_to_one() {
    let mut host = Host::small();
    for sectors in 10..20 {
        assert!(host.drive.insert(Box::new(medium(sectors))).is_some());
    }
    assert_eq!(host.media_event(), (REMOVAL, ABSENT_OPEN));
    assert_eq!(host.media_event(), (NEW_MEDIA, PRESENT));
    assert_eq!(host.media_event(), (NOTHING, PRESENT));
    assert_eq!(host.check(&[0]), MEDIUM_CHANGED);
    assert_eq!(host.ok(&READ_CAPACITY)[..4], [0, 0, 0, 18]);
}

#[test]
fn an_event_is_not_lost_on_a_host_that_reads_the_header_only() {
    let mut host = Host::empty();
    host.insert(50);
    assert_eq!(host.ok(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 4]), [0, 6, 4, 0x56]);
    assert_eq!(host.media_event(), (NEW_MEDIA, PRESENT));
}

#[test]
fn a_locked_drive_asks_the_guest() {
    let mut host = Host::small();
    host.ok(&LOCK);
    assert_eq!(host.check(&EJECT), (5, 0x53, 2));
    assert!(host.drive.status().locked);
    assert!(host.drive.eject(false).is_err());
    assert!(host.drive.eject(false).is_err());
    host.ok(&[0]);
    assert_eq!(host.media_event(), (EJECT_REQUEST, PRESENT));
    assert_eq!(host.media_event(), (NOTHING, PRESENT));
    host.ok(&UNLOCK);
    host.ok(&EJECT);
    assert_eq!(
        host.drive.take_events(),
        [DriveEvent::Locked, DriveEvent::Unlocked, DriveEvent::TrayOpened]
    );
    // The medium lies in the open tray for the host to take.
    assert!(host.drive.status().medium_present);
    assert!(host.drive.eject(false).unwrap().is_some());
    assert!(host.drive.eject(false).unwrap().is_none());
    assert_eq!(host.check(&[0]), TRAY_OPEN);
}

#[test]
fn force_is_stronger_than_the_lock() {
    let mut host = Host::small();
    host.ok(&LOCK);
    assert!(host.drive.eject(false).is_err());
    assert!(host.drive.eject(true).unwrap().is_some());
    // The request is moot.
    assert_eq!(host.media_event(), (REMOVAL, ABSENT_OPEN));
    assert_eq!(host.media_event(), (NOTHING, ABSENT_OPEN));
    // The lock stays, and an empty drive refuses with another key.
    host.ok(&LOAD);
    assert_eq!(host.check(&EJECT), (2, 0x53, 2));
    assert_eq!(host.check(&[0]), TRAY_CLOSED);
}

#[test]
fn persistent_prevent_is_a_lock_of_its_own() {
    let mut host = Host::small();
    host.ok(&[0x1e, 0, 0, 0, 3]);
    host.ok(&UNLOCK);
    assert_eq!(host.check(&EJECT), (5, 0x53, 2));
    // Operational change events show it.
    assert_eq!(host.ok(&[0x4a, 1, 0, 0, 2, 0, 0, 0, 8])[4..6], [0, 0x80]);
    host.ok(&[0x1e, 0, 0, 0, 2]);
    host.ok(&EJECT);
}

#[test]
fn the_guest_opens_and_closes_the_tray() {
    let mut host = Host::small();
    host.ok(&EJECT);
    host.ok(&EJECT);
    assert_eq!(host.check(&[0]), TRAY_OPEN);
    assert_eq!(host.media_event(), (REMOVAL, ABSENT_OPEN));
    host.ok(&LOAD);
    assert_eq!(host.check(&[0]), MEDIUM_CHANGED);
    host.ok(&[0]);
    assert_eq!(host.media_event(), (NEW_MEDIA, PRESENT));
    host.ok(&LOAD);
    host.ok(&[0]);
    assert_eq!(
        host.drive.take_events(),
        [DriveEvent::TrayOpened, DriveEvent::TrayClosed]
    );
}

#[test]
fn a_medium_loaded_without_waiting_becomes_ready() {
    let mut host = Host::small();
    host.ok(&EJECT);
    host.ok(&[0x1b, 1, 0, 0, 3]);
    assert_eq!(host.check(&[0]), (2, 4, 1));
    assert_eq!(host.check(&[0]), MEDIUM_CHANGED);
    host.ok(&[0]);
}

#[test]
fn a_medium_exchanged_in_the_open_tray_is_new() {
    let mut host = Host::small();
    host.ok(&EJECT);
    assert!(host.drive.insert(Box::new(medium(50))).is_some());
    // The guest knows that the old one is gone.
    assert_eq!(host.check(&[0]), MEDIUM_CHANGED);
    assert_eq!(host.ok(&READ_CAPACITY)[..4], [0, 0, 0, 49]);
}

#[test]
fn a_reset_moves_no_tray_but_opens_the_lock() {
    let mut host = Host::small();
    host.ok(&LOCK);
    host.drive.eject(true).unwrap();
    host.drive.reset();
    assert_eq!(host.check(&[0]), POWER_ON);
    assert_eq!(host.check(&[0]), TRAY_OPEN);
    assert_eq!(host.media_event(), (NOTHING, ABSENT_OPEN));
    assert_eq!(
        host.drive.take_events(),
        [DriveEvent::Locked, DriveEvent::Unlocked]
    );
}

#[test]
fn a_device_reset_forgets_the_command_only() {
    let mut host = Host::small();
    host.ok(&LOCK);
    host.drive.eject(true).unwrap();
    host.insert(50);
    assert_eq!(host.check(&[0]), TRAY_OPEN);
    host.start(&[0x12, 0, 0, 0, 36]);
    host.drive.abort();
    assert_eq!(host.drive.pull(512), Pull::End(Status::Good));
    assert!(host.drive.status().locked);
    assert_eq!(host.check(&[0]), MEDIUM_CHANGED);
}

#[test]
fn a_medium_with_nothing_on_it_cannot_be_read() {
    let mut host = Host::with(Box::new(TestMedium::new(Vec::new())));
    assert_eq!(host.check(&[0]), (2, 0x30, 0));
    assert_eq!(host.check(&READ_CAPACITY), (2, 0x30, 0));
}

#[test]
fn host_events_do_not_pile_up() {
    let mut host = Host::small();
    for _ in 0..1000 {
        host.ok(&LOCK);
        host.ok(&UNLOCK);
    }
    let events = host.drive.take_events();
    assert!(events.len() < 100);
    assert_eq!(events.last(), Some(&DriveEvent::Unlocked));
    assert!(host.drive.take_events().is_empty());
}

#[test]
fn power_states_are_events() {
    let power = [0x4a, 1, 0, 0, 4, 0, 0, 0, 8];
    let mut host = Host::small();
    assert_eq!(host.ok(&power), [0, 6, 2, 0x56, 0, 1, 0, 0]);
    host.ok(&[0x1b, 0, 0, 0, 0x30]);
    assert_eq!(host.ok(&power)[4..], [1, 3, 0, 0]);
    assert_eq!(host.ok(&power)[4..], [0, 3, 0, 0]);
    // Reading wakes the drive up.
    host.ok(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(host.ok(&power)[4..], [1, 1, 0, 0]);
    assert_eq!(host.check(&[0x1b, 0, 0, 0, 0xf0]), INVALID_FIELD);
}

#[test]
fn event_classes() {
    let mut host = Host::empty();
    let mut poll = |classes| host.ok(&[0x4a, 1, 0, 0, classes, 0, 0, 0, 0xff]);
    // None, and none that is supported.
    assert_eq!(poll(0), [0, 2, 0x80, 0x56]);
    assert_eq!(poll(0x28), [0, 2, 0x80, 0x56]);
    // Several: the first, unless a later one has something to tell.
    assert_eq!(poll(0x56), [0, 6, 1, 0x56, 0, 0, 0, 0]);
    assert_eq!(poll(0x40), [0, 6, 6, 0x56, 0, 0, 0, 0]);
    host.insert(1);
    let data = host.ok(&[0x4a, 1, 0, 0, 0x56, 0, 0, 0, 0xff]);
    assert_eq!(data, [0, 6, 4, 0x56, 2, 2, 0, 0]);
    // Not polled.
    assert_eq!(host.check(&[0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8]), INVALID_FIELD);
}
