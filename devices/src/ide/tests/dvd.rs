// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The transport with the real command set behind it.
use super::*;
use crate::block::{MediumError, Operation};
use crate::mmc::{self, DvdDrive};

/// Bytes in a sector of a disc.
const DISC_SECTOR: usize = 2048;

fn host() -> (Host, TestMedium) {
    with(TestRam::new(0x20_0000), medium(4 * 300))
}

/// With a medium that reaches memory.
fn reaching() -> (Host, TestMedium) {
    let ram = TestRam::new(0x20_0000);
    with(ram.clone(), medium(4 * 300).with_ram(ram))
}

fn with(ram: Arc<TestRam>, disc: TestMedium) -> (Host, TestMedium) {
    let dvd = DvdDrive::new(mmc::Identity::default(), Some(Box::new(disc.clone())));
    let drive = PacketDrive::new(Box::new(dvd), identity());
    (Host::on(ram, [Drive::from(drive), Drive::Empty]), disc)
}

fn packet(host: &mut Host, features: u8, limit: u16, packet: [u8; 12]) {
    let [mid, high] = limit.to_le_bytes();
    for (register, value) in [(FEATURES, features), (MID, mid), (HIGH, high), (COMMAND, 0xa0)] {
        host.outb(register, value);
    }
    host.outsw(&packet);
}

/// TEST UNIT READY until what is due after power-on has been told.
fn ready(host: &mut Host) {
    for _ in 0..4 {
        packet(host, 0, 0, [0; 12]);
        if host.inb(STATUS) == READY {
            host.wire.take_rises();
            return;
        }
        packet(host, 0, 18, [3, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0]);
        let len = u16::from_le_bytes([host.inb(MID), host.inb(HIGH)]);
        host.insw(usize::from(len));
        assert_eq!(host.inb(STATUS), READY);
    }
    panic!("the drive does not become ready");
}

fn read10(lba: u8, count: u8) -> [u8; 12] {
    [0x28, 0, 0, 0, 0, lba, 0, 0, count, 0, 0, 0]
}

#[test]
fn sectors_by_pio_one_at_a_time_as_firmware_reads() {
    let (mut host, disc) = host();
    ready(&mut host);
    disc.hold();
    packet(&mut host, 0, 2048, read10(16, 3));
    assert_eq!(host.alternate(), READY | BSY);
    disc.release();
    host.channel.service();
    for sector in 16..19 {
        assert_eq!(host.interrupted(), DATA);
        assert_eq!(host.insw(DISC_SECTOR), patterns(4 * sector..4 * sector + 4));
    }
    assert_eq!(host.interrupted(), READY);
}

#[test]
fn sectors_by_pio_in_the_largest_and_in_odd_pieces() {
    for limit in [0xffff, 0xfffe, 0x8000, 2047, 333] {
        let (mut host, _) = host();
        ready(&mut host);
        packet(&mut host, 0, limit, read10(5, 40));
        let mut data = Vec::new();
        while host.inb(STATUS) == DATA {
            let len = u16::from_le_bytes([host.inb(MID), host.inb(HIGH)]);
            assert!(len > 0 && len <= limit);
            data.extend(host.insw(usize::from(len)));
        }
        assert_eq!(host.alternate(), READY);
        assert_eq!(data, patterns(20..180), "limit {limit}");
    }
}

#[test]
fn sectors_by_dma() {
    for (mut host, disc) in [host(), reaching()] {
        sectors_by_dma_of(&mut host, &disc);
    }
}

fn sectors_by_dma_of(host: &mut Host, disc: &TestMedium) {
    ready(host);
    let regions: Vec<_> = (0..10).map(|i| (BUFFER + i * 0x1_0000, 0x1_0000)).collect();
    // More than the disc has is refused before anything moves.
    host.regions(&regions);
    packet(host, 1, 0, [0xa8, 0, 0, 0, 0, 0, 0, 0, 1, 64, 0, 0]);
    host.start_engine(true);
    assert_eq!(host.interrupted(), FAILED);
    assert_eq!(host.inb(ERROR) >> 4, 5, "ILLEGAL REQUEST");

    host.regions(&regions);
    disc.hold();
    packet(host, 1, 0, [0xa8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    host.start_engine(true);
    assert_eq!(host.engine_status(), 0x01);
    let mut rounds = 0;
    while host.alternate() & BSY != 0 {
        host.quiet();
        disc.release();
        disc.hold();
        host.channel.service();
        rounds += 1;
        assert!(rounds < 100);
    }
    assert_eq!(host.engine_status(), 0x05, "the table is longer");
    assert_eq!(host.interrupted(), READY);
    assert_eq!(host.ram.get(BUFFER, 256 * DISC_SECTOR), patterns(0..1024));
}

#[test]
fn a_disc_that_reaches_memory_goes_there_without_the_drives_buffer() {
    let (mut host, disc) = reaching();
    ready(&mut host);
    disc.take_operations();
    host.regions(&[(BUFFER, 3 * DISC_SECTOR)]);
    packet(&mut host, 1, 0, read10(16, 3));
    assert_eq!(host.alternate(), READY | BSY, "only the table tells where to");
    host.start_engine(true);
    assert_eq!((host.engine_status(), host.interrupted()), (0x04, READY));
    assert_eq!(host.ram.get(BUFFER, 3 * DISC_SECTOR), patterns(64..76));
    let all = (Operation::Read, 16 * DISC_SECTOR as u64, 3 * DISC_SECTOR);
    assert_eq!((disc.take_operations(), disc.straight()), (vec![all], 1));
    // READ CD with more than the user data: the drive puts the sectors together.
    host.regions(&[(BUFFER, 2352)]);
    packet(&mut host, 1, 0, [0xbe, 0, 0, 0, 0, 16, 0, 0, 1, 0xf8, 0, 0]);
    host.start_engine(true);
    assert_eq!(host.interrupted(), READY);
    assert_eq!(host.ram.get(BUFFER + 16, DISC_SECTOR), patterns(64..68));
    assert_eq!(disc.straight(), 1);
}

#[test]
fn a_bad_sector_is_found_piece_by_piece() {
    let (mut host, disc) = reaching();
    ready(&mut host);
    disc.fail(Some(MediumError::Io));
    host.regions(&[(BUFFER, 3 * DISC_SECTOR)]);
    packet(&mut host, 1, 0, read10(16, 3));
    host.start_engine(true);
    assert_eq!(disc.straight(), 1);
    assert_eq!(host.interrupted(), FAILED);
    assert_eq!(host.inb(ERROR) >> 4, 3, "MEDIUM ERROR");
    disc.fail(None);
    packet(&mut host, 0, 18, [3, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(host.insw(18)[3..7], [0, 0, 0, 16], "at the first sector");
}

#[test]
fn a_reset_waits_for_what_the_disc_still_moves() {
    let (mut host, disc) = reaching();
    ready(&mut host);
    host.regions(&[(BUFFER, DISC_SECTOR)]);
    disc.hold();
    packet(&mut host, 1, 0, read10(7, 1));
    host.start_engine(true);
    host.outb(CONTROL_BLOCK, 0x04);
    host.outb(CONTROL_BLOCK, 0x00);
    assert_eq!(host.inb(STATUS) & BSY, BSY);
    disc.release();
    host.channel.service();
    assert_eq!(host.inb(STATUS) & BSY, 0);
    host.quiet();
    ready(&mut host);
    packet(&mut host, 0, 2048, read10(9, 1));
    assert_eq!(host.insw(DISC_SECTOR), patterns(36..40));
}
