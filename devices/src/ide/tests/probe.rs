// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What firmware and drivers do to find and set up drives, access by access.
use super::*;

/// SRST as drivers pulse it.
fn soft_reset(host: &mut Host) {
    for control in [0x08, 0x0c, 0x08] {
        host.outb(CONTROL_BLOCK, control);
    }
}

/// libata's check whether a device is there.
fn device_check(host: &mut Host, device: u8) -> bool {
    host.select(device);
    for (count, low) in [(0x55, 0xaa), (0xaa, 0x55), (0x55, 0xaa)] {
        host.outb(COUNT, count);
        host.outb(LOW, low);
    }
    [host.inb(COUNT), host.inb(LOW)] == [0x55, 0xaa]
}

/// Error, LBA mid and LBA high, and the status: how libata classifies after a reset.
fn classify(host: &mut Host, device: u8) -> ([u8; 3], u8) {
    host.select(device);
    ([ERROR, MID, HIGH].map(|r| host.inb(r)), host.inb(STATUS))
}

#[test]
fn libata_finds_a_disk_and_a_dvd() {
    let (drive, _) = packet_drive();
    let mut host = Host::new([disk(&medium(64)), drive]);
    assert!(device_check(&mut host, 0) && device_check(&mut host, 1));
    soft_reset(&mut host);
    assert_eq!(classify(&mut host, 0), ([1, 0, 0], READY));
    assert_eq!(classify(&mut host, 1), ([1, 0x14, 0xeb], 0));
    // IDENTIFY and SET FEATURES by polling, the line switched off.
    for (device, command, mode_word) in [(0, 0xec, 0x043f), (1, 0xa1, 0x043f)] {
        host.outb(CONTROL_BLOCK, 0x0a);
        host.select(device);
        host.outb(COMMAND, command);
        assert_eq!(host.inb(STATUS), DATA);
        let words = host.insw(512);
        assert_eq!(word(&words, 88), mode_word);
        assert_eq!(word(&words, 93) & 0xe000, 0x6000, "80 conductors");
        assert_eq!(host.features(0x03, 0x42), READY);
        host.outb(CONTROL_BLOCK, 0x08);
        host.quiet();
    }
}

#[test]
fn libata_finds_nobody_behind_a_single_disk() {
    let (mut host, _) = Host::with_disk();
    assert!(device_check(&mut host, 0));
    // Device 0 holds the registers for device 1, so only the status after the reset tells.
    assert!(device_check(&mut host, 1));
    soft_reset(&mut host);
    assert_eq!(classify(&mut host, 1), ([1, 0, 0], 0), "a status of 0: no device");
    let mut host = Host::new([Drive::Empty, Drive::Empty]);
    assert!(!device_check(&mut host, 0) && !device_check(&mut host, 1));
    let mut host = Host::new([Drive::Empty, disk(&medium(64))]);
    assert!(!device_check(&mut host, 0) && device_check(&mut host, 1));
}

#[test]
fn seabios_looks_at_a_disk() {
    let (mut host, _) = Host::with_disk();
    for (device, status) in [(0xa0, READY), (0xb0, 0)] {
        host.outb(DEVICE, device);
        assert_eq!(host.inb(STATUS) & BSY, 0);
        host.outb(DEVICE, device);
        assert_eq!(host.inb(DEVICE), device);
        soft_reset(&mut host);
        // It selects again until the device register reads back as written.
        host.outb(DEVICE, device);
        assert_eq!(host.inb(DEVICE), device);
        assert_eq!(host.inb(STATUS), status);
        // IDENTIFY PACKET DEVICE first: neither gives data.
        host.outb(COMMAND, 0xa1);
        assert_eq!(host.inb(STATUS) & 0x08, 0);
    }
}

#[test]
fn libata_reads_the_upper_halves_back_after_an_error() {
    let medium = medium(64);
    let mut host = Host::new([disk(&medium), Drive::Empty]);
    host.lba48(0x25, 0x0102_0304_0506, 1);
    assert_eq!(host.inb(STATUS), FAILED);
    let low = [LOW, MID, HIGH].map(|r| host.inb(r));
    host.outb(CONTROL_BLOCK, 0x88);
    let high = [LOW, MID, HIGH].map(|r| host.inb(r));
    host.outb(CONTROL_BLOCK, 0x08);
    assert_eq!((low, high), ([0x06, 0x05, 0x04], [0x03, 0x02, 0x01]));
}
