// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The hard disk's commands through the data register, and those without data.
use super::*;
use crate::block::{Chs, MediumError, Operation};

fn identify(host: &mut Host) -> Vec<u8> {
    host.outb(COMMAND, 0xec);
    host.inb(STATUS);
    host.insw(512)
}

/// A host whose device 0 has the given medium.
fn host_of(medium: &TestMedium) -> Host {
    Host::new([disk(medium), Drive::Empty])
}

#[test]
fn identify_is_one_block_and_one_interrupt() {
    let (mut host, _) = Host::with_disk();
    host.outb(COMMAND, 0xec);
    assert_eq!(host.interrupted(), DATA);
    let words = host.insw(512);
    assert_eq!(host.alternate(), READY);
    host.quiet();
    assert_eq!([1, 3, 6].map(|i| word(&words, i)), [2, 16, 63]);
    assert_eq!((word(&words, 60), word(&words, 61)), (2048, 0));
    assert_eq!(&words[54..64], b"iVtrau lDH");
}

#[test]
fn the_medium_names_serial_number_and_geometry() {
    let medium = medium(100 * 4 * 17).with_info(|info| {
        info.serial = Some("0a1b2c3d".into());
        info.geometry = Some(Chs {
            cylinders: 100,
            heads: 4,
            sectors: 17,
        });
    });
    let mut host = host_of(&medium);
    let words = identify(&mut host);
    assert_eq!(&words[20..28], b"a0b1c2d3");
    assert_eq!(
        [1, 3, 6, 54, 55, 56].map(|i| word(&words, i)),
        [100, 4, 17, 100, 4, 17]
    );
}

#[test]
fn read_sectors_interrupts_for_each_and_not_at_the_end() {
    let (mut host, medium) = Host::with_disk();
    host.lba28(0x20, 5, 3);
    for sector in 5..8 {
        assert_eq!(host.interrupted(), DATA);
        assert_eq!(host.insw(SECTOR), pattern(sector));
    }
    assert_eq!(host.alternate(), READY);
    host.quiet();
    assert_eq!(medium.take_operations(), [(Operation::Read, 5 * 512, 3 * 512)]);
    assert_eq!((host.shown_lba(), host.inb(COUNT)), (7, 0));
}

#[test]
fn one_string_may_take_several_blocks() {
    let (mut host, _) = Host::with_disk();
    host.lba28(0x20, 5, 3);
    assert_eq!(host.insw(3 * SECTOR), patterns(5..8));
    assert_eq!(host.alternate(), READY);
}

#[test]
fn a_count_of_zero_is_256_and_65536_sectors() {
    let (mut host, medium) = Host::with_disk();
    host.lba28(0x20, 0, 0);
    assert_eq!(host.insw(256 * SECTOR), patterns(0..256));
    assert_eq!(host.alternate(), READY);
    host.lba48(0x24, 0, 0);
    assert_eq!(host.interrupted(), FAILED, "more than the disk has");
    assert_eq!(host.inb(ERROR), 0x10);
    medium.take_operations();
    let large = TestMedium::new(vec![7; 65_536 * SECTOR]);
    let mut host = host_of(&large);
    host.lba48(0x42, 0, 0);
    assert_eq!(host.interrupted(), READY);
    let read: usize = large.take_operations().iter().map(|(_, _, len)| len).sum();
    assert_eq!(read, 65_536 * SECTOR);
}

#[test]
fn read_multiple_gives_blocks_and_a_shorter_last_one() {
    let (mut host, _) = Host::with_disk();
    host.outb(COUNT, 4);
    host.outb(COMMAND, 0xc6);
    assert_eq!(host.interrupted(), READY);
    for command in [0xc4, 0x29] {
        if command == 0xc4 {
            host.lba28(command, 10, 6);
        } else {
            host.lba48(command, 10, 6);
        }
        assert_eq!(host.interrupted(), DATA);
        assert_eq!(host.insw(4 * SECTOR), patterns(10..14));
        assert_eq!(host.interrupted(), DATA);
        assert_eq!(host.insw(2 * SECTOR), patterns(14..16));
        assert_eq!(host.alternate(), READY);
        host.quiet();
    }
}

#[test]
fn multiple_mode_is_a_power_of_two_or_off() {
    let (mut host, _) = Host::with_disk();
    for (count, good) in [
        (1, true),
        (16, true),
        (128, true),
        (3, false),
        (0, true),
        (255, false),
    ] {
        host.outb(COUNT, count);
        host.outb(COMMAND, 0xc6);
        assert_eq!(host.interrupted(), if good { READY } else { FAILED }, "{count}");
        let set = if good && count > 0 {
            0x0100 | u16::from(count)
        } else {
            0
        };
        let words = identify(&mut host);
        host.wire.take_rises();
        assert_eq!(word(&words, 59), set, "{count}");
    }
    for command in [0xc4, 0xc5, 0x29, 0x39, 0xce] {
        host.lba28(command, 0, 1);
        assert_eq!(host.interrupted(), FAILED);
        assert_eq!(host.inb(ERROR), 0x04);
    }
}

#[test]
fn write_sectors_asks_silently_first_and_interrupts_after_each() {
    let (mut host, medium) = Host::with_disk();
    host.lba28(0x30, 20, 2);
    host.quiet();
    assert_eq!(host.alternate(), DATA);
    host.outsw(&[0x11; SECTOR]);
    assert_eq!(host.interrupted(), DATA);
    medium.hold();
    host.outsw(&[0x22; SECTOR]);
    assert_eq!(host.alternate(), READY | BSY);
    host.quiet();
    medium.release();
    host.channel.service();
    assert_eq!(host.interrupted(), READY);
    assert_eq!(medium.take_operations(), [(Operation::Write, 20 * 512, 1024)]);
    assert_eq!(&medium.data()[20 * 512..21 * 512], [0x11; 512]);
    assert_eq!(&medium.data()[21 * 512..22 * 512], [0x22; 512]);
    assert_eq!(&medium.data()[22 * 512..23 * 512], pattern(22));
    assert_eq!((host.shown_lba(), host.inb(COUNT)), (21, 0));
}

#[test]
fn a_long_write_goes_out_in_pieces_while_the_host_writes_on() {
    let (mut host, medium) = Host::with_disk();
    medium.hold();
    host.lba48(0x39, 100, 1600);
    let data: Vec<u8> = (0..1600 * SECTOR).map(|i| (i / 7) as u8).collect();
    // Two pieces of 512 sectors may be under way; the third has to wait for one of them.
    host.outsw(&data);
    assert_eq!(host.alternate(), READY | BSY);
    medium.release();
    host.channel.service();
    assert_eq!(host.alternate(), DATA);
    host.outsw(&data[1024 * SECTOR..]);
    assert_eq!(host.alternate(), READY);
    assert_eq!(&medium.data()[100 * SECTOR..1700 * SECTOR], data);
    let operations = medium.take_operations();
    assert!(operations.iter().all(|(_, _, len)| *len <= 256 * 1024));
}

#[test]
fn forced_unit_access_and_a_disabled_cache_flush_before_the_end() {
    let (mut host, medium) = Host::with_disk();
    let flushed = |medium: &TestMedium| {
        let last = medium.take_operations().last().copied();
        last == Some((Operation::Flush, 0, 0))
    };
    host.lba48(0x34, 0, 1);
    host.outsw(&[1; SECTOR]);
    assert!(!flushed(&medium));
    host.lba48(0xce, 0, 1);
    host.outsw(&[1; SECTOR]);
    assert!(flushed(&medium));
    assert_eq!(host.features(0x82, 0), READY);
    assert!(flushed(&medium), "what was in the cache goes out");
    host.lba28(0x30, 0, 1);
    host.outsw(&[1; SECTOR]);
    assert!(flushed(&medium));
    assert_eq!(host.features(0x02, 0), READY);
    host.lba28(0x30, 0, 1);
    host.outsw(&[1; SECTOR]);
    assert!(!flushed(&medium));
}

#[test]
fn flush_standby_and_sleep_make_writes_durable() {
    for command in [0xe7, 0xea, 0xe0, 0xe2, 0xe6, 0x94] {
        let (mut host, medium) = Host::with_disk();
        host.lba28(0x30, 1, 1);
        host.outsw(&[1; SECTOR]);
        medium.take_operations();
        medium.hold();
        host.wire.take_rises();
        host.inb(STATUS);
        host.outb(COMMAND, command);
        assert_eq!(host.alternate(), READY | BSY, "{command:#x}");
        medium.release();
        host.channel.service();
        assert_eq!(host.interrupted(), READY);
        assert_eq!(medium.take_operations(), [(Operation::Flush, 0, 0)]);
        assert_eq!(host.shown_lba(), 1, "the address is left alone");
    }
}

#[test]
fn verify_reads_the_medium_and_moves_nothing() {
    let (mut host, medium) = Host::with_disk();
    host.lba28(0x40, 8, 4);
    assert_eq!(host.interrupted(), READY);
    assert_eq!(medium.take_operations(), [(Operation::Read, 8 * 512, 4 * 512)]);
    medium.fail(Some(MediumError::Io));
    host.lba28(0x41, 8, 4);
    assert_eq!(host.interrupted(), FAILED);
    assert_eq!((host.inb(ERROR), host.shown_lba()), (0x40, 8));
}

#[test]
fn addresses_past_the_end_are_not_found() {
    let (mut host, medium) = Host::with_disk();
    for command in [0x20, 0x30, 0x40, 0xc4, 0xc5, 0xc8, 0xca, 0x70] {
        host.lba28(command, 2048, 1);
        assert_eq!(host.interrupted(), FAILED, "{command:#x}");
        assert_eq!((host.inb(ERROR), host.shown_lba()), (0x10, 2048));
    }
    // A transfer that only ends there names the first sector that is missing, and moves nothing.
    host.lba28(0x30, 2040, 16);
    assert_eq!(host.interrupted(), FAILED);
    assert_eq!((host.inb(ERROR), host.shown_lba()), (0x10, 2048));
    host.lba48(0x24, 0xffff_ffff_fff0, 32);
    assert_eq!(host.interrupted(), FAILED);
    assert_eq!(host.inb(ERROR), 0x10);
    assert!(medium.take_operations().is_empty());
    host.lba28(0x20, 2040, 8);
    assert_eq!(host.insw(8 * SECTOR), patterns(2040..2048));
}

#[test]
fn chs_and_the_translation() {
    let (mut host, _) = Host::with_disk();
    let read = |host: &mut Host, cylinder: u16, head: u8, sector: u8| {
        let [mid, high] = cylinder.to_le_bytes();
        for (register, value) in [(COUNT, 1), (LOW, sector), (MID, mid), (HIGH, high)] {
            host.outb(register, value);
        }
        host.outb(DEVICE, 0xa0 | head);
        host.outb(COMMAND, 0x20);
        host.inb(STATUS)
    };
    assert_eq!(read(&mut host, 1, 2, 3), DATA);
    assert_eq!(host.insw(SECTOR), pattern(1008 + 2 * 63 + 2));
    assert_eq!(read(&mut host, 0, 0, 0), FAILED);
    assert_eq!(host.inb(ERROR), 0x10);
    assert_eq!(read(&mut host, 2, 0, 1), FAILED, "two cylinders");
    // 4 heads and 17 sectors a track.
    host.outb(COUNT, 17);
    host.outb(DEVICE, 0xa3);
    host.outb(COMMAND, 0x91);
    assert_eq!(host.inb(STATUS), READY);
    assert_eq!(read(&mut host, 3, 2, 1), DATA);
    assert_eq!(host.insw(SECTOR), pattern((3 * 4 + 2) * 17));
    assert_eq!(read(&mut host, 0, 4, 1), FAILED);
    let words = identify(&mut host);
    assert_eq!(
        [1, 3, 6].map(|i| word(&words, i)),
        [2, 16, 63],
        "the default stays"
    );
    assert_eq!(
        [53, 54, 55, 56, 57].map(|i| word(&words, i)),
        [7, 30, 4, 17, 2040]
    );
    // No sectors: refused, and nothing changes.
    host.outb(COUNT, 0);
    host.outb(COMMAND, 0x91);
    assert_eq!(host.inb(STATUS), FAILED);
    assert_eq!(word(&identify(&mut host), 54), 30);
}

#[test]
fn a_read_error_comes_where_it_is() {
    let (mut host, medium) = Host::with_disk();
    host.lba48(0x24, 0, 1024);
    assert_eq!(host.alternate(), DATA);
    // Both requests of this command have been read; the next command's fail.
    assert_eq!(host.insw(1024 * SECTOR), patterns(0..1024));
    medium.fail(Some(MediumError::Io));
    host.wire.take_rises();
    host.inb(STATUS);
    host.lba28(0x20, 0x123, 2);
    assert_eq!(host.interrupted(), FAILED);
    assert_eq!(
        (host.inb(ERROR), host.shown_lba(), host.inb(COUNT)),
        (0x40, 0x123, 2)
    );
    medium.fail(None);
    host.lba28(0x20, 0x123, 1);
    assert_eq!(host.interrupted(), DATA);
    assert_eq!(host.inb(ERROR), 0, "the error was the last command's");
}

#[test]
fn a_later_piece_may_fail() {
    let (mut host, medium) = Host::with_disk();
    medium.hold();
    host.lba48(0x24, 0, 1536);
    medium.release();
    medium.hold();
    host.channel.service();
    let first = host.insw(1024 * SECTOR);
    assert_eq!(first, patterns(0..1024));
    assert_eq!(host.alternate(), READY | BSY);
    medium.fail(Some(MediumError::Io));
    medium.release();
    host.channel.service();
    assert_eq!(host.inb(STATUS), FAILED);
    assert_eq!((host.inb(ERROR), host.shown_lba()), (0x40, 1024));
    host.outb(CONTROL_BLOCK, 0x80);
    assert_eq!(host.inb(COUNT), 2, "512 sectors were left");
}

#[test]
fn a_write_error_is_a_device_fault_and_a_flush_error_too() {
    let (mut host, medium) = Host::with_disk();
    medium.fail(Some(MediumError::Io));
    host.lba28(0x30, 7, 1);
    host.outsw(&[0; SECTOR]);
    assert_eq!(host.interrupted(), FAILED | 0x20);
    assert_eq!((host.inb(ERROR), host.shown_lba()), (0x04, 7));
    host.outb(COMMAND, 0xe7);
    assert_eq!(host.interrupted(), FAILED | 0x20);
}

#[test]
fn a_read_only_disk_refuses_every_write() {
    let medium = medium(64).with_info(|info| info.read_only = true);
    let mut host = host_of(&medium);
    for command in [0x30, 0x34, 0x35, 0x39, 0x3d, 0xc5, 0xca, 0xce, 0x3c] {
        host.lba28(command, 0, 1);
        assert_eq!(host.interrupted(), FAILED, "{command:#x}");
        assert_eq!(host.inb(ERROR), 0x44);
    }
    assert!(medium.take_operations().is_empty());
    host.lba28(0x20, 0, 1);
    assert_eq!(host.interrupted(), DATA);
}

#[test]
fn commands_that_need_nothing() {
    let (mut host, _) = Host::with_disk();
    host.lba28(0x40, 0, 1);
    for command in [0x10, 0x1f, 0x70, 0x7f, 0xe1, 0xe3, 0x95, 0xe5, 0xf5] {
        host.inb(STATUS);
        host.wire.take_rises();
        host.lba28(command, 1, 1);
        assert_eq!(host.interrupted(), READY, "{command:#x}");
    }
}

#[test]
fn commands_that_a_disk_refuses() {
    let (mut host, _) = Host::with_disk();
    for command in [
        0x00, 0x08, 0x22, 0x50, 0xa0, 0xa1, 0xf1, 0xf2, 0xf4, 0xf6, 0xf9, 0xff,
    ] {
        host.lba28(command, 1, 1);
        assert_eq!(host.interrupted(), FAILED, "{command:#x}");
        assert_eq!(host.inb(ERROR), 0x04);
    }
}

#[test]
fn set_features() {
    let (mut host, _) = Host::with_disk();
    for (subcommand, value) in [(0x03, 0x45), (0x05, 0x80), (0x55, 0), (0x82, 0)] {
        assert_eq!(host.features(subcommand, value), READY, "{subcommand:#x}");
    }
    let words = identify(&mut host);
    assert_eq!(
        [85, 86, 88, 91].map(|i| word(&words, i)),
        [0x4009, 0x3408, 0x203f, 0x80]
    );
    for (subcommand, value) in [(0x03, 0x22), (0x85, 0), (0xaa, 0), (0x02, 0)] {
        assert_eq!(host.features(subcommand, value), READY, "{subcommand:#x}");
    }
    let words = identify(&mut host);
    assert_eq!(
        [63, 85, 86, 88, 91].map(|i| word(&words, i)),
        [0x0407, 0x4069, 0x3400, 0x003f, 0]
    );
    for (subcommand, value) in [
        (0x03, 0x46),
        (0x05, 0),
        (0x05, 0xff),
        (0x42, 0x80),
        (0x10, 2),
        (0, 0),
    ] {
        assert_eq!(host.features(subcommand, value), FAILED, "{subcommand:#x}");
        assert_eq!(host.inb(ERROR), 0x04);
    }
}

#[test]
fn settings_outlive_a_software_reset_unless_told_otherwise() {
    let (mut host, _) = Host::with_disk();
    let reset = |host: &mut Host| {
        host.outb(CONTROL_BLOCK, 0x04);
        host.outb(CONTROL_BLOCK, 0x00);
        word(&identify(host), 59)
    };
    host.outb(COUNT, 16);
    host.outb(COMMAND, 0xc6);
    assert_eq!(reset(&mut host), 0x0110);
    host.features(0xcc, 0);
    assert_eq!(reset(&mut host), 0x0180);
}

#[test]
fn power_modes() {
    let (mut host, _) = Host::with_disk();
    let mode = |host: &mut Host| {
        host.outb(COMMAND, 0xe5);
        assert_eq!(host.inb(STATUS), READY);
        host.inb(COUNT)
    };
    assert_eq!(mode(&mut host), 0xff);
    host.outb(COMMAND, 0xe0);
    assert_eq!(mode(&mut host), 0x00);
    host.lba28(0x40, 0, 1);
    assert_eq!(mode(&mut host), 0xff, "an access wakes it");
    host.outb(COMMAND, 0xe2);
    host.outb(COMMAND, 0xe1);
    assert_eq!(mode(&mut host), 0xff);
    host.inb(STATUS);
    host.outb(COMMAND, 0xe6);
    host.inb(STATUS);
    host.wire.take_rises();
    host.outb(COMMAND, 0xec);
    host.quiet();
    assert_eq!(host.alternate(), READY, "asleep");
    host.outb(CONTROL_BLOCK, 0x04);
    host.outb(CONTROL_BLOCK, 0x00);
    assert_eq!(mode(&mut host), 0xff);
}

#[test]
fn smart() {
    let (mut host, _) = Host::with_disk();
    let smart = |host: &mut Host, subcommand: u8, key: [u8; 2]| {
        host.outb(FEATURES, subcommand);
        host.outb(MID, key[0]);
        host.outb(HIGH, key[1]);
        host.outb(COMMAND, 0xb0);
        host.inb(STATUS)
    };
    let key = [0x4f, 0xc2];
    assert_eq!(smart(&mut host, 0xda, key), READY);
    assert_eq!([host.inb(MID), host.inb(HIGH)], key, "no threshold exceeded");
    for subcommand in [0xd0, 0xd1] {
        assert_eq!(smart(&mut host, subcommand, key), DATA);
        let data = host.insw(512);
        assert_eq!(data.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)), 0);
    }
    assert_eq!(smart(&mut host, 0xda, [0x2c, 0xf4]), FAILED);
    assert_eq!(smart(&mut host, 0xd4, key), FAILED);
    assert_eq!(smart(&mut host, 0xd9, key), READY);
    assert_eq!(smart(&mut host, 0xda, key), FAILED);
    assert_eq!(word(&identify(&mut host), 85) & 1, 0);
    assert_eq!(smart(&mut host, 0xd8, key), READY);
    assert_eq!(smart(&mut host, 0xda, key), READY);
}

#[test]
fn read_native_max() {
    let (mut host, _) = Host::with_disk();
    host.lba28(0xf8, 0, 0);
    assert_eq!(host.interrupted(), READY);
    assert_eq!(host.shown_lba(), 2047);
    host.lba48(0x27, 0x1234_5678_9abc, 0);
    assert_eq!(host.shown_lba() & 0xff_ffff, 2047);
    host.outb(CONTROL_BLOCK, 0x80);
    assert_eq!([LOW, MID, HIGH].map(|r| host.inb(r)), [0, 0, 0]);
}

#[test]
fn the_upper_half_of_a_48_bit_address_does_not_leak_into_28_bits() {
    let (mut host, medium) = Host::with_disk();
    host.lba48(0x34, 0x0100_0000, 0x0101);
    assert_eq!(host.inb(STATUS), FAILED, "far past the end");
    host.lba28(0x30, 5, 1);
    host.outsw(&[0xab; SECTOR]);
    assert_eq!(host.inb(STATUS), READY);
    assert_eq!(medium.take_operations(), [(Operation::Write, 5 * 512, 512)]);
}

#[test]
fn a_disk_without_a_sector_answers() {
    let mut host = host_of(&TestMedium::new(vec![0; 100]));
    let words = identify(&mut host);
    assert_eq!([1, 53, 60].map(|i| word(&words, i)), [0, 6, 0]);
    for command in [0x20, 0x30, 0x10, 0x70, 0x91, 0xf8, 0x27] {
        host.lba28(command, 0, 1);
        host.outb(DEVICE, 0xa0);
        host.outb(COMMAND, command);
        assert_eq!(host.alternate() & BSY, 0, "{command:#x}");
    }
}
