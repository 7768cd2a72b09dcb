// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Registers, selection, interrupts and resets.
use super::*;
use crate::block::MediumError;

/// What a driver reads of the task file: error, count, low, mid, high, device.
fn task_file(host: &mut Host) -> [u8; 6] {
    [ERROR, COUNT, LOW, MID, HIGH, DEVICE].map(|register| host.inb(register))
}

#[test]
fn reset_values() {
    let (mut host, _) = Host::with_disk();
    assert_eq!(host.inb(STATUS), READY);
    assert_eq!(host.alternate(), READY);
    assert_eq!(task_file(&mut host), [1, 1, 1, 0, 0, 0]);
    host.quiet();
    let (mut host, _) = Host::with_packet();
    assert_eq!(host.inb(STATUS), 0, "not ready until it has been spoken to");
    assert_eq!(task_file(&mut host), [1, 1, 1, 0x14, 0xeb, 0]);
}

#[test]
fn status_clears_the_interrupt_and_alternate_status_does_not() {
    let (mut host, _) = Host::with_disk();
    host.outb(COMMAND, 0x10);
    assert!(host.wire.level());
    assert_eq!(host.alternate(), READY);
    assert!(host.wire.level());
    assert_eq!(host.inb(STATUS), READY);
    assert!(!host.wire.level());
}

#[test]
fn a_command_clears_the_interrupt_of_the_one_before() {
    let (mut host, medium) = Host::with_disk();
    host.outb(COMMAND, 0x10);
    medium.hold();
    host.outb(COMMAND, 0xe7);
    assert!(!host.wire.level());
    assert_eq!(host.alternate(), READY | BSY);
    medium.release();
    host.channel.service();
    assert!(host.wire.level());
}

#[test]
fn nien_gates_the_line_and_not_the_interrupt() {
    let (mut host, _) = Host::with_disk();
    host.outb(CONTROL_BLOCK, 0x02);
    host.outb(COMMAND, 0x10);
    host.quiet();
    assert_eq!(host.engine_status(), 0, "the bus master sees the line");
    host.outb(CONTROL_BLOCK, 0x00);
    assert!(host.wire.level());
    assert_eq!(host.engine_status(), 0x04);
    host.outb(CONTROL_BLOCK, 0x02);
    assert!(!host.wire.level());
    host.inb(STATUS);
    host.outb(CONTROL_BLOCK, 0x00);
    assert!(!host.wire.level());
}

#[test]
fn the_line_belongs_to_the_selected_device() {
    let (one, two) = (medium(16), medium(16));
    let mut host = Host::new([disk(&one), disk(&two)]);
    host.outb(COMMAND, 0x10);
    assert!(host.wire.level());
    host.select(1);
    assert!(!host.wire.level());
    assert_eq!(host.inb(STATUS), READY, "this clears nothing of device 0");
    host.select(0);
    assert!(host.wire.level());
}

#[test]
fn a_missing_device_1_is_never_ready() {
    let (mut host, _) = Host::with_disk();
    // As SeaBIOS probes: select, write two registers, read all three back.
    host.outb(DEVICE, 0xb0);
    host.outb(COUNT, 0x55);
    host.outb(LOW, 0xaa);
    assert_eq!([COUNT, LOW, DEVICE].map(|r| host.inb(r)), [0x55, 0xaa, 0xb0]);
    assert_eq!(host.inb(STATUS), 0);
    assert_eq!(host.alternate(), 0);
    for command in [0xec, 0xa1, 0x20, 0xc8, 0xa0, 0x08] {
        host.outb(COMMAND, command);
        assert_eq!(host.inb(STATUS), 0, "{command:#x}");
    }
    host.quiet();
    assert_eq!(host.insw(4), [0xff; 4]);
    host.select(0);
    assert_eq!(host.inb(STATUS), READY);
}

#[test]
fn a_missing_device_0_leaves_the_bus_alone() {
    let mut host = Host::new([Drive::Empty, disk(&medium(16))]);
    assert_eq!(host.inb(STATUS), 0x7f);
    assert_eq!(task_file(&mut host), [0x7f; 6]);
    host.select(1);
    assert_eq!(host.inb(STATUS), READY);
    assert_eq!(host.inb(DEVICE), 0xb0);
}

#[test]
fn a_missing_channel_is_pulled_down_to_not_busy() {
    let mut host = Host::new([Drive::Empty, Drive::Empty]);
    for device in [0, 1] {
        host.select(device);
        host.outb(COUNT, 0x55);
        host.outb(COMMAND, 0x90);
        assert_eq!(task_file(&mut host), [0x7f; 6]);
        assert_eq!([host.inb(STATUS), host.alternate()], [0x7f; 2]);
    }
    host.outb(CONTROL_BLOCK, 0x04);
    host.outb(CONTROL_BLOCK, 0x00);
    assert_eq!(host.inb(STATUS), 0x7f);
    host.quiet();
}

#[test]
fn software_reset() {
    let (drive, fake) = packet_drive();
    let mut host = Host::new([disk(&medium(16)), drive]);
    host.outb(COMMAND, 0x10);
    host.select(1);
    host.outb(CONTROL_BLOCK, 0x06);
    assert_eq!(host.alternate(), BSY, "the packet device was not ready yet");
    host.select(0);
    host.outb(COMMAND, 0x10);
    assert_eq!(host.alternate(), BSY, "nothing is heard while SRST is set");
    host.outb(CONTROL_BLOCK, 0x00);
    assert_eq!(host.inb(DEVICE), 0, "device 0 is selected");
    assert_eq!(host.inb(STATUS), READY);
    assert_eq!(task_file(&mut host), [1, 1, 1, 0, 0, 0]);
    host.outb(DEVICE, 0xb0);
    assert_eq!(host.inb(STATUS), 0);
    assert_eq!(task_file(&mut host), [1, 1, 1, 0x14, 0xeb, 0xb0]);
    assert!(!host.wire.level());
    assert_eq!(fake.lock().unwrap().aborts, 1);
    assert_eq!(fake.lock().unwrap().resets, 0);
}

#[test]
fn a_reset_waits_for_writes_and_not_for_reads() {
    let (mut host, medium) = Host::with_disk();
    medium.hold();
    host.lba28(0x20, 0, 1);
    host.outb(CONTROL_BLOCK, 0x04);
    host.outb(CONTROL_BLOCK, 0x00);
    assert_eq!(host.inb(STATUS), READY, "nobody waits for the read");
    host.lba28(0x30, 3, 1);
    host.outsw(&[0x5a; SECTOR]);
    host.outb(CONTROL_BLOCK, 0x04);
    host.outb(CONTROL_BLOCK, 0x00);
    host.channel.service();
    assert_eq!(
        host.inb(STATUS),
        READY | BSY,
        "a later write must not be overtaken"
    );
    medium.release();
    host.channel.service();
    assert_eq!(host.inb(STATUS), READY);
    assert_eq!(&medium.data()[3 * SECTOR..4 * SECTOR], [0x5a; SECTOR]);
    host.quiet();
    // What the read brought is not taken for the data of the next one.
    host.lba28(0x20, 5, 1);
    assert_eq!(host.interrupted(), DATA);
    assert_eq!(host.insw(SECTOR), pattern(5));
}

#[test]
fn power_on_reset_ends_everything() {
    let (drive, fake) = packet_drive();
    let disk_medium = medium(16);
    let mut host = Host::new([disk(&disk_medium), drive]);
    host.features(0x82, 0);
    host.outb(COUNT, 0);
    host.outb(COMMAND, 0xc6);
    host.lba28(0x20, 0, 2);
    host.outb(BUS_MASTER + 2, 0x60);
    host.channel.reset();
    assert_eq!(host.inb(STATUS), READY);
    assert_eq!(task_file(&mut host), [1, 1, 1, 0, 0, 0]);
    assert_eq!(host.engine_status(), 0);
    assert!(!host.wire.level());
    assert_eq!(fake.lock().unwrap().resets, 1);
    host.outb(COMMAND, 0xec);
    let words = host.insw(512);
    assert_eq!(word(&words, 59), 0x0180);
    assert_eq!(word(&words, 85) & 0x20, 0x20);
}

#[test]
fn diagnostics_run_on_both_and_device_0_reports() {
    let (drive, _) = packet_drive();
    let mut host = Host::new([disk(&medium(16)), drive]);
    host.select(1);
    host.outb(COMMAND, 0x90);
    assert_eq!(host.interrupted(), READY);
    assert_eq!(task_file(&mut host), [1, 1, 1, 0, 0, 0]);
    host.outb(DEVICE, 0xb0);
    assert_eq!(host.inb(STATUS), 0);
    assert_eq!(task_file(&mut host)[..5], [1, 1, 1, 0x14, 0xeb]);
    // Also when it is sent to a device that is not there.
    let (mut host, _) = Host::with_disk();
    host.select(1);
    host.outb(COMMAND, 0x90);
    assert_eq!(host.interrupted(), READY);
}

#[test]
fn while_a_device_is_busy_the_command_block_is_its_own() {
    let (one, two) = (medium(16), medium(16));
    let mut host = Host::new([disk(&one), disk(&two)]);
    one.hold();
    host.lba28(0x20, 2, 1);
    assert_eq!(host.alternate(), READY | BSY);
    host.select(1);
    host.outb(COUNT, 0x77);
    host.outb(COMMAND, 0xe7);
    assert_eq!(host.alternate(), READY | BSY, "device 0 is still selected");
    one.release();
    host.channel.service();
    assert_eq!(host.alternate(), DATA);
    host.select(1);
    assert_eq!(host.alternate(), DATA, "DRQ holds it as well");
    host.outb(COMMAND, 0x10);
    assert_eq!(host.insw(SECTOR), pattern(2));
    host.select(1);
    assert_eq!(host.inb(DEVICE), 0xb0);
    assert!(two.take_operations().is_empty());
}

#[test]
fn hob_shows_what_was_written_before_until_the_next_write() {
    let (mut host, _) = Host::with_disk();
    for (register, base) in [(COUNT, 0x10), (LOW, 0x20), (MID, 0x30), (HIGH, 0x40)] {
        host.outb(register, base + 1);
        host.outb(register, base);
    }
    let four = |host: &mut Host| [COUNT, LOW, MID, HIGH].map(|register| host.inb(register));
    assert_eq!(four(&mut host), [0x10, 0x20, 0x30, 0x40]);
    host.outb(CONTROL_BLOCK, 0x80);
    assert_eq!(four(&mut host), [0x11, 0x21, 0x31, 0x41]);
    host.outb(FEATURES, 0);
    assert_eq!(four(&mut host), [0x10, 0x20, 0x30, 0x40]);
}

#[test]
fn the_data_register_never_gives_more_than_drq_holds() {
    let (mut host, _) = Host::with_disk();
    assert_eq!(host.insw(4), [0xff; 4]);
    host.outsw(&[1; 512]);
    host.lba28(0x20, 1, 1);
    let mut data = vec![0; SECTOR + 8];
    host.channel.read_string(0, 4, &mut data);
    assert_eq!(&data[..SECTOR], pattern(1));
    assert_eq!(&data[SECTOR..], [0xff; 8]);
    assert_eq!(host.alternate(), READY);
}

#[test]
fn every_width_reads_the_same_bytes() {
    for width in [1, 2, 4, 8] {
        let (mut host, _) = Host::with_disk();
        host.lba28(0x20, 7, 1);
        let mut data = vec![0; SECTOR];
        for element in data.chunks_mut(width) {
            host.channel.read(0, element);
        }
        assert_eq!(data, pattern(7), "width {width}");
        assert_eq!(host.alternate(), READY);
    }
}

#[test]
fn a_wide_access_beside_the_data_register_is_so_many_bytes() {
    let (mut host, _) = Host::with_disk();
    host.channel.write(COUNT, &[0x12, 0x34]);
    let mut data = [0; 2];
    host.channel.read(COUNT, &mut data);
    assert_eq!(data, [0x12, 0x34]);
}

#[test]
fn resets_over_a_slow_medium_pile_nothing_up() {
    let (mut host, medium) = Host::with_disk();
    medium.hold();
    for _ in 0..1000 {
        host.lba48(0x24, 0, 2048);
        host.outb(CONTROL_BLOCK, 0x04);
        host.outb(CONTROL_BLOCK, 0x00);
    }
    // A flush does not come twice while the first is under way.
    for _ in 0..1000 {
        host.outb(COMMAND, 0xe7);
        host.outb(CONTROL_BLOCK, 0x04);
        host.outb(CONTROL_BLOCK, 0x00);
    }
    medium.release();
    let operations = medium.take_operations();
    assert_eq!(operations.len(), 9, "{operations:?}");
    host.channel.service();
    host.lba48(0x24, 3, 2);
    assert_eq!(host.insw(2 * SECTOR), patterns(3..5));
}

#[test]
fn a_read_waits_for_reads_that_nobody_wants_any_more() {
    let (mut host, medium) = Host::with_disk();
    medium.hold();
    for _ in 0..8 {
        host.lba28(0x20, 0, 1);
        host.outb(CONTROL_BLOCK, 0x04);
        host.outb(CONTROL_BLOCK, 0x00);
    }
    host.lba28(0x20, 9, 1);
    assert_eq!(host.alternate(), READY | BSY);
    medium.release();
    medium.take_operations();
    host.channel.service();
    assert_eq!(host.interrupted(), DATA);
    assert_eq!(host.insw(SECTOR), pattern(9));
}

#[test]
fn a_completion_from_before_a_reset_is_not_taken_for_a_later_one() {
    let (mut host, medium) = Host::with_disk();
    medium.hold();
    host.lba28(0x20, 5, 1);
    host.outb(CONTROL_BLOCK, 0x04);
    host.outb(CONTROL_BLOCK, 0x00);
    // The old read of the sector fails while the new one is under way.
    medium.fail(Some(MediumError::Io));
    medium.release();
    medium.fail(None);
    medium.hold();
    host.lba28(0x20, 5, 1);
    assert_eq!(host.alternate(), READY | BSY);
    medium.release();
    host.channel.service();
    assert_eq!(host.interrupted(), DATA);
    assert_eq!(host.insw(SECTOR), pattern(5));
}
