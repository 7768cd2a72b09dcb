// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Transfers by bus master.
use super::*;
use crate::block::{MediumError, Operation};

#[test]
fn read_dma_as_libata_does_it() {
    let (mut host, _) = Host::with_disk();
    host.regions(&[(BUFFER, 4096), (0x4_0000, 4096)]);
    host.outb(BUS_MASTER, 0x08);
    host.lba28(0xc8, 16, 16);
    assert_eq!(host.alternate(), DATA, "DMARQ: the engine has not been started");
    assert_eq!(host.insw(4), [0xff; 4], "the data register is not the way");
    host.outb(BUS_MASTER, 0x09);
    assert_eq!(host.engine_status(), 0x04);
    assert_eq!(host.interrupted(), READY);
    assert_eq!(host.ram.get(BUFFER, 4096), patterns(16..24));
    assert_eq!(host.ram.get(0x4_0000, 4096), patterns(24..32));
    host.outb(BUS_MASTER, 0x00);
    host.outb(BUS_MASTER + 2, 0x04);
    assert_eq!(host.engine_status(), 0x00);
}

#[test]
fn a_medium_that_reaches_memory_moves_the_data_itself() {
    let (mut host, medium) = Host::with_reaching_disk();
    host.regions(&[(BUFFER, 4096), (0x4_0000, 4096)]);
    host.lba28(0xc8, 16, 16);
    assert_eq!(host.alternate(), READY | BSY, "only the table tells where to");
    assert!(medium.take_operations().is_empty());
    medium.hold();
    host.start_engine(true);
    assert_eq!((host.alternate(), host.engine_status()), (READY | BSY, 0x01));
    host.quiet();
    medium.release();
    host.channel.service();
    assert_eq!((host.interrupted(), host.engine_status()), (READY, 0x04));
    assert_eq!(host.shown_lba(), 31);
    assert_eq!(host.ram.get(BUFFER, 4096), patterns(16..24));
    assert_eq!(host.ram.get(0x4_0000, 4096), patterns(24..32));
    assert_eq!(medium.take_operations(), [(Operation::Read, 16 * 512, 8192)]);
    assert_eq!(medium.straight(), 1);
    host.lba28(0x20, 0, 1);
    assert_eq!(host.insw(512), pattern(0));
    assert_eq!(medium.straight(), 1, "the data register is the channel's");
}

#[test]
fn what_fails_on_its_way_to_memory_is_done_again_in_pieces() {
    let (mut host, medium) = Host::with_reaching_disk();
    // One region more than there is memory, behind all that the transfer needs: the table fits, the memory does not.
    host.regions(&[(BUFFER, 512), (0x20_0000, 512)]);
    host.lba28(0xc8, 5, 2);
    host.start_engine(true);
    assert_eq!(medium.straight(), 1);
    assert_eq!(host.engine_status(), 0x02, "the engine finds out where it ends");
    assert_eq!(host.ram.get(BUFFER, 512), pattern(5));
    assert_eq!(host.alternate(), DATA);
    let whole = (Operation::Read, 5 * 512, 1024);
    assert_eq!(medium.take_operations(), [whole, whole]);
}

#[test]
fn a_reset_waits_for_what_still_goes_to_memory() {
    for hard in [false, true] {
        let (mut host, medium) = Host::with_reaching_disk();
        host.regions(&[(BUFFER, 512)]);
        medium.hold();
        host.lba28(0xc8, 5, 1);
        host.start_engine(true);
        if hard {
            host.channel.reset();
        } else {
            host.outb(CONTROL_BLOCK, 0x04);
            host.outb(CONTROL_BLOCK, 0x00);
        }
        assert_eq!(host.inb(STATUS) & BSY, BSY, "the reset is not over");
        medium.release();
        host.channel.service();
        assert_eq!(host.inb(STATUS), READY);
        host.quiet();
        host.lba28(0x20, 7, 1);
        assert_eq!(host.insw(512), pattern(7), "and the next command is a new one");
    }
}

#[test]
fn the_engine_may_be_started_first() {
    for (mut host, medium) in Host::each_way() {
        host.regions(&[(BUFFER, 1024)]);
        host.start_engine(true);
        assert_eq!(host.engine_status(), 0x01);
        medium.hold();
        host.lba48(0x25, 3, 2);
        assert_eq!(host.alternate(), READY | BSY);
        assert_eq!(host.engine_status(), 0x01);
        host.quiet();
        medium.release();
        host.channel.service();
        assert_eq!(host.engine_status(), 0x04);
        assert_eq!(host.interrupted(), READY);
        assert_eq!(host.ram.get(BUFFER, 1024), patterns(3..5));
    }
}

#[test]
fn write_dma() {
    let commands = [(0xca, false, false), (0x35, true, false), (0x3d, true, true)];
    let all = commands
        .into_iter()
        .flat_map(|command| Host::each_way().map(|way| (command, way)));
    for ((command, wide, flush), (mut host, medium)) in all {
        let data: Vec<u8> = (0..8 * SECTOR).map(|i| (i / 3) as u8).collect();
        host.ram.put(BUFFER, &data);
        host.regions(&[(BUFFER, 1000), (BUFFER + 1000, 3096)]);
        if wide {
            host.lba48(command, 40, 8);
        } else {
            host.lba28(command, 40, 8);
        }
        medium.hold();
        host.start_engine(false);
        assert_eq!(host.alternate(), READY | BSY);
        host.quiet();
        medium.release();
        host.channel.service();
        assert_eq!(host.engine_status(), 0x04);
        assert_eq!(host.interrupted(), READY);
        assert_eq!(&medium.data()[40 * SECTOR..48 * SECTOR], data);
        assert_eq!(&medium.data()[48 * SECTOR..49 * SECTOR], pattern(48));
        let operations = medium.take_operations();
        assert_eq!(operations[0], (Operation::Write, 40 * 512, 4096));
        assert_eq!(operations.len() == 2, flush);
    }
}

#[test]
fn a_long_transfer_is_read_ahead_by_one_piece() {
    let (mut host, medium) = Host::with_disk();
    let regions: Vec<_> = (0..16).map(|i| (BUFFER + i * 0x1_0000, 0x1_0000)).collect();
    host.regions(&regions);
    medium.hold();
    host.lba48(0x25, 0, 2048);
    host.start_engine(true);
    let mut rounds = 0;
    while host.alternate() & BSY != 0 {
        medium.release();
        medium.hold();
        host.channel.service();
        rounds += 1;
        assert!(rounds < 10);
    }
    assert_eq!(host.interrupted(), READY);
    assert_eq!(host.ram.get(BUFFER, 2048 * SECTOR), patterns(0..2048));
    let operations = medium.take_operations();
    let expected = [0, 1, 2, 3].map(|i| (Operation::Read, i * 0x4_0000, 0x4_0000));
    assert_eq!(operations, expected);
}

#[test]
fn a_table_longer_than_the_transfer_stays_active() {
    for (mut host, _) in Host::each_way() {
        host.regions(&[(BUFFER, 4096)]);
        host.lba28(0xc8, 0, 4);
        host.start_engine(true);
        assert_eq!(host.engine_status(), 0x05);
        assert_eq!(host.interrupted(), READY);
        host.outb(BUS_MASTER, 0x08);
        assert_eq!(host.engine_status(), 0x04);
    }
}

#[test]
fn a_table_shorter_than_the_transfer_leaves_the_device_waiting() {
    for (mut host, _) in Host::each_way() {
        host.regions(&[(BUFFER, 512)]);
        host.lba28(0xc8, 0, 2);
        host.start_engine(true);
        assert_eq!(host.engine_status(), 0x00);
        host.quiet();
        assert_eq!(host.alternate(), DATA);
        assert_eq!(host.ram.get(BUFFER, 512), pattern(0));
        // More regions take the rest.
        host.regions(&[(BUFFER + 512, 512)]);
        host.start_engine(true);
        assert_eq!(host.engine_status(), 0x04);
        assert_eq!(host.interrupted(), READY);
        assert_eq!(host.ram.get(BUFFER, 1024), patterns(0..2));
    }
}

#[test]
fn a_reset_frees_a_device_that_waits_for_the_engine() {
    for (mut host, medium) in Host::each_way() {
        host.regions(&[(BUFFER, 512)]);
        host.lba28(0xca, 0, 2);
        host.start_engine(false);
        assert_eq!(host.alternate(), DATA);
        host.outb(CONTROL_BLOCK, 0x04);
        host.outb(CONTROL_BLOCK, 0x00);
        assert_eq!(host.inb(STATUS), READY);
        assert!(medium.take_operations().is_empty(), "half a piece is not written");
    }
}

#[test]
fn memory_that_is_not_there() {
    for (mut host, _) in Host::each_way() {
        host.regions(&[(BUFFER, 512), (0x4000_0000, 512)]);
        host.lba28(0xc8, 0, 2);
        host.start_engine(true);
        assert_eq!(host.engine_status(), 0x02, "error, not active, no interrupt");
        host.quiet();
        assert_eq!(host.alternate(), DATA);
    }
}

#[test]
fn the_interrupt_bit_of_a_pio_command() {
    for (mut host, _) in Host::each_way() {
        host.lba28(0x20, 0, 1);
        assert_eq!(host.engine_status(), 0x04);
        host.outb(BUS_MASTER + 2, 0x04);
        assert_eq!(host.engine_status(), 0x00, "no new edge");
        assert!(host.wire.level());
    }
}

#[test]
fn a_failing_medium_ends_a_dma_command() {
    for (mut host, medium) in Host::each_way() {
        host.regions(&[(BUFFER, 1024)]);
        medium.fail(Some(MediumError::Io));
        host.lba28(0xc8, 9, 2);
        host.start_engine(true);
        assert_eq!(host.engine_status(), 0x05);
        assert_eq!(host.interrupted(), FAILED);
        assert_eq!((host.inb(ERROR), host.shown_lba()), (0x40, 9));
        host.outb(BUS_MASTER, 0);
        host.regions(&[(BUFFER, 1024)]);
        host.lba28(0xca, 9, 2);
        host.start_engine(false);
        assert_eq!(host.interrupted(), FAILED | 0x20);
    }
}

#[test]
fn a_stopped_engine_does_not_move_what_comes_later() {
    let (mut host, medium) = Host::with_disk();
    host.regions(&[(BUFFER, 512)]);
    medium.hold();
    host.lba28(0xc8, 1, 1);
    host.start_engine(true);
    host.outb(BUS_MASTER, 0x08);
    medium.release();
    host.channel.service();
    host.quiet();
    assert_eq!(host.ram.get(BUFFER, 512), [0; 512]);
    assert_eq!(host.alternate(), DATA);
}
