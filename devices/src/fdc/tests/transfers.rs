// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands that move data by DMA (82077AA data sheet, section 5.1).
use super::*;
use crate::block::Operation;

/// READ DATA and WRITE DATA in MFM, without and with MT.
const READ: u8 = 0x46;
const READ_MT: u8 = 0xc6;
const WRITE: u8 = 0x45;
const WRITE_MT: u8 = 0xc5;

#[test]
fn the_result_phase_table() {
    // Table 5-6: MT, head, last sector moved, then C, H, R.
    for (opcode, head, last, expected) in [
        (READ, 0, 5, [0, 0, 6]),
        (READ, 0, 9, [1, 0, 1]),
        (READ, 1, 5, [0, 1, 6]),
        (READ, 1, 9, [1, 1, 1]),
        (READ_MT, 0, 5, [0, 0, 6]),
        (READ_MT, 0, 9, [0, 1, 1]),
        (READ_MT, 1, 5, [0, 1, 6]),
        (READ_MT, 1, 9, [1, 0, 1]),
    ] {
        for write in [false, true] {
            let (mut rig, _) = Rig::with_1440k();
            let len = (last - 2) * SECTOR;
            let command = transfer(opcode - u8::from(write), 0, [0, head, 3], 9);
            let result = if write {
                rig.write(&command, &vec![1; len])
            } else {
                rig.read(&command, len).0
            };
            assert_eq!(
                result[0] & 0xf8,
                0,
                "{opcode:#x} head {head} last {last}: {result:x?}"
            );
            assert_eq!(result[1..3], [0, 0]);
            assert_eq!(result[3..6], expected, "{opcode:#x} head {head} last {last}");
            assert_eq!(result[6], 2);
        }
    }
}

#[test]
fn a_read_brings_the_right_sectors() {
    let (mut rig, medium) = Rig::with_1440k();
    rig.seek(0, 3);
    medium.take_operations();
    let (result, data) = rig.read(&transfer(READ, 0, [3, 1, 4], 18), 5 * SECTOR);
    assert_eq!(result, [0x04, 0, 0, 3, 1, 9, 2]);
    assert_eq!(data, sectors(3 * 36 + 18 + 3, 5));
    let (_, data) = rig.read(&transfer(READ, 0, [3, 0, 1], 18), 18 * SECTOR);
    assert_eq!(data, sectors(3 * 36, 18));
    assert_eq!(medium.take_operations().len(), 1, "the cylinder was read at once");
}

#[test]
fn without_a_terminal_count_a_read_ends_with_the_cylinder() {
    let (mut rig, _) = Rig::with_1440k();
    let (result, data) = rig.read(&transfer(READ, 0, [0, 0, 17], 18), 4 * SECTOR);
    assert_eq!(result, [0x40, 0x80, 0, 1, 0, 1, 2]);
    assert_eq!(data[..2 * SECTOR], sectors(16, 2));
    assert_eq!(data[2 * SECTOR..], [0xee; 2 * SECTOR]);
    let (result, data) = rig.read(&transfer(READ_MT, 0, [0, 0, 17], 18), 21 * SECTOR);
    assert_eq!(result, [0x44, 0x80, 0, 1, 0, 1, 2]);
    assert_eq!(data[..20 * SECTOR], sectors(16, 20));
}

#[test]
fn multi_track_goes_on_with_sector_1_of_side_1() {
    let (mut rig, _) = Rig::with_1440k();
    let (result, data) = rig.read(&transfer(READ_MT, 0, [0, 0, 16], 18), 6 * SECTOR);
    assert_eq!(result, [0x04, 0, 0, 0, 1, 4, 2]);
    assert_eq!(data, sectors(15, 6));
    // A smaller EOT leaves a gap in the image.
    let (result, data) = rig.read(&transfer(READ_MT, 0, [0, 0, 9], 9), 2 * SECTOR);
    assert_eq!(result, [0x04, 0, 0, 0, 1, 2, 2]);
    assert_eq!(data, [sectors(8, 1), sectors(18, 1)].concat());
    // And so does it when writing.
    rig.write(&transfer(WRITE_MT, 0, [0, 0, 9], 9), &[0x77; 2 * SECTOR]);
    let (_, data) = rig.read(&transfer(READ_MT, 0, [0, 0, 8], 18), 12 * SECTOR);
    let expected = [
        sectors(7, 1),
        vec![0x77; SECTOR],
        sectors(9, 9),
        vec![0x77; SECTOR],
    ];
    assert_eq!(data, expected.concat());
}

#[test]
fn multi_track_crosses_over_where_eot_lies_beyond_the_track() {
    let (mut rig, _) = Rig::with_1440k();
    let (result, data) = rig.read(&transfer(0xe6, 0, [0, 0, 10], 27), 18 * SECTOR);
    assert_eq!(result, [0x04, 0, 0, 0, 1, 10, 2]);
    assert_eq!(data, sectors(9, 18));
    let (result, _) = rig.read(&transfer(READ, 0, [0, 0, 10], 27), 18 * SECTOR);
    assert_eq!(
        result,
        [0x40, 0x04, 0, 0, 0, 19, 2],
        "not without MT: there is no sector 19"
    );
}

#[test]
fn a_terminal_count_inside_a_sector_counts_it() {
    let (mut rig, medium) = Rig::with_1440k();
    let (result, data) = rig.read(&transfer(READ, 0, [0, 0, 1], 18), SECTOR + 100);
    assert_eq!(result[3..6], [0, 0, 3]);
    assert_eq!(data, sectors(0, 2)[..SECTOR + 100]);
    let result = rig.write(&transfer(WRITE, 0, [0, 0, 1], 18), &[0x99; SECTOR + 100]);
    assert_eq!(result[3..6], [0, 0, 3]);
    let written = medium.data();
    assert_eq!(written[..SECTOR + 100], [0x99; SECTOR + 100]);
    assert_eq!(
        written[SECTOR + 100..2 * SECTOR],
        [0; SECTOR - 100],
        "the rest is zeros"
    );
    assert_eq!(written[2 * SECTOR..3 * SECTOR], sectors(2, 1));
}

#[test]
fn a_sector_is_found_by_its_whole_id() {
    let (mut rig, _) = Rig::with_1440k();
    rig.seek(0, 2);
    let mut read = |bytes: [u8; 9]| rig.read(&bytes, SECTOR).0;
    assert_eq!(read(transfer(READ, 0, [2, 0, 1], 18))[..3], [0, 0, 0]);
    assert_eq!(
        read(transfer(READ, 0, [3, 0, 1], 18)),
        [0x40, 0x04, 0x10, 3, 0, 1, 2],
        "C"
    );
    assert_eq!(
        read([READ, 0, 2, 1, 1, 2, 18, 0x1b, 0xff]),
        [0x40, 0x04, 0, 2, 1, 1, 2],
        "H"
    );
    assert_eq!(
        read(transfer(READ, 0, [2, 0, 19], 19)),
        [0x40, 0x04, 0, 2, 0, 19, 2],
        "R"
    );
    assert_eq!(read(transfer(READ, 0, [2, 0, 0], 18))[..3], [0x40, 0x04, 0], "R");
    assert_eq!(
        read([READ, 0, 2, 0, 1, 3, 18, 0x1b, 0xff])[..3],
        [0x40, 0x04, 0],
        "N"
    );
    assert_eq!(
        read([READ, 0, 2, 0, 1, 0, 18, 0x1b, 0x80])[..3],
        [0x40, 0x04, 0],
        "N = 0 with DTL"
    );
    assert_eq!(read(transfer(0x06, 0, [2, 0, 1], 18))[..3], [0x40, 0x01, 0], "FM");
}

#[test]
fn tracks_past_the_last_one_are_not_formatted() {
    let (mut rig, _) = Rig::with_1440k();
    rig.seek(0, 79);
    assert_eq!(rig.read(&transfer(READ, 0, [79, 0, 1], 18), SECTOR).0[0], 0);
    rig.seek(0, 80);
    assert_eq!(
        rig.read(&transfer(READ, 0, [80, 0, 1], 18), SECTOR).0[..2],
        [0x40, 0x01]
    );
    rig.insert(DriveId::A, 1_492_992);
    let (result, data) = rig.read(&transfer(READ, 0, [80, 0, 1], 18), SECTOR);
    assert_eq!(result[0], 0, "an 81-track diskette");
    assert_eq!(data, sectors(80 * 36, 1));
}

#[test]
fn implied_seeks_have_to_be_enabled() {
    let (mut rig, _) = Rig::with_1440k();
    assert_eq!(
        rig.read(&transfer(READ, 0, [5, 0, 1], 18), SECTOR).0[1..3],
        [0x04, 0x10]
    );
    rig.command(&[0x13, 0, 0x60, 0]);
    let (result, data) = rig.read(&transfer(READ, 0, [5, 0, 1], 18), SECTOR);
    assert_eq!(result, [0, 0, 0, 5, 0, 2, 2]);
    assert_eq!(data, sectors(5 * 36, 1));
    assert_eq!(rig.command(&[0x0e])[0], 5);
    assert_eq!(
        rig.command(&[0x08]),
        [0x80],
        "the seek has no interrupt of its own"
    );
}

#[test]
fn a_read_waits_for_the_heads() {
    let (mut rig, _) = Rig::with_1440k();
    rig.dma.program(vec![0; SECTOR]);
    rig.send(&[0x0f, 0, 70]);
    rig.send(&transfer(READ, 0, [70, 0, 1], 18));
    rig.run();
    assert_eq!(rig.result()[..3], [0, 0, 0]);
    assert_eq!(rig.dma.memory(), sectors(70 * 36, 1));
    assert_eq!(rig.command(&[0x08]), [0x20, 70]);
}

#[test]
fn writes_reach_the_medium_in_one_piece() {
    let (mut rig, medium) = Rig::with_1440k();
    let data: Vec<u8> = (0..30 * SECTOR).map(|n| (n / 7) as u8).collect();
    medium.take_operations();
    let result = rig.write(&transfer(WRITE_MT, 0, [0, 0, 3], 18), &data);
    assert_eq!(result, [0x04, 0, 0, 0, 1, 15, 2]);
    assert_eq!(
        medium.take_operations(),
        [(Operation::Write, 2 * SECTOR as u64, 30 * SECTOR)]
    );
    assert_eq!(medium.data()[2 * SECTOR..32 * SECTOR], data);
    let (_, read) = rig.read(&transfer(READ_MT, 0, [0, 0, 3], 18), 30 * SECTOR);
    assert_eq!(read, data);
    let result = rig.write(&transfer(WRITE, 0, [0, 0, 17], 18), &[5; 4 * SECTOR]);
    assert_eq!(result[..3], [0x40, 0x80, 0], "no terminal count");
}

#[test]
fn the_interrupt_comes_when_the_medium_has_done_it() {
    let (mut rig, medium) = Rig::with_1440k();
    rig.irq.take_rises();
    medium.hold();
    rig.dma.program(vec![0x11; SECTOR]);
    for command in [
        transfer(WRITE, 0, [0, 0, 1], 18),
        transfer(READ, 0, [0, 0, 1], 18),
    ] {
        medium.hold();
        rig.dma.program(vec![0x11; SECTOR]);
        rig.send(&command);
        assert!(!rig.irq.level());
        rig.run();
        assert!(!rig.irq.level());
        assert_eq!(rig.inp(MSR), 0x10);
        rig.fdc.service();
        assert!(!rig.irq.level(), "nothing was completed");
        medium.release();
        rig.fdc.service();
        assert!(rig.irq.level());
        rig.inp(FIFO);
        assert!(!rig.irq.level(), "the first result byte acknowledges");
        rig.result();
        assert_eq!(rig.irq.take_rises(), 1);
    }
}

#[test]
fn a_protected_diskette_is_not_written() {
    let mut rig = Rig::warm();
    let medium = TestMedium::new(numbered(1_474_560)).with_info(|info| info.read_only = true);
    rig.insert_medium(DriveId::A, &medium);
    rig.out(CCR, 0);
    let result = rig.write(&transfer(WRITE, 0, [0, 0, 1], 18), &[1; SECTOR]);
    assert_eq!(result, [0x40, 0x02, 0, 0, 0, 1, 2]);
    rig.dma.program(vec![0; 72]);
    assert_eq!(rig.command(&[0x4d, 0, 2, 18, 0x50, 0xf6])[..3], [0x40, 0x02, 0]);
    assert_eq!(medium.data(), numbered(1_474_560));
    assert_eq!(rig.read(&transfer(READ, 0, [0, 0, 1], 18), SECTOR).0[0], 0);
}

#[test]
fn host_errors_are_crc_errors() {
    let (mut rig, medium) = Rig::with_1440k();
    medium.fail(Some(MediumError::Io));
    assert_eq!(
        rig.read(&transfer(READ, 0, [0, 0, 4], 18), SECTOR).0,
        [0x40, 0x20, 0x20, 0, 0, 4, 2]
    );
    assert_eq!(
        rig.write(&transfer(WRITE, 0, [0, 0, 4], 18), &[1; 3 * SECTOR]),
        [0x40, 0x20, 0x00, 0, 0, 4, 2],
        "the position is where the write began"
    );
    medium.fail(None);
    assert_eq!(rig.read(&transfer(READ, 0, [0, 0, 4], 18), SECTOR).0[0], 0);
}

#[test]
fn a_masked_channel_is_waited_for_and_then_an_overrun() {
    let (mut rig, _) = Rig::with_1440k();
    rig.dma.program(vec![0; SECTOR]);
    rig.dma.mask(true);
    rig.send(&transfer(READ, 0, [0, 0, 1], 18));
    for _ in 0..3 {
        let at = rig.timer.fire().unwrap();
        rig.clock.set(at);
        rig.fdc.expire();
    }
    assert_eq!(rig.inp(MSR), 0x10);
    rig.dma.mask(false);
    rig.run();
    assert_eq!(rig.result()[..3], [0, 0, 0]);
    assert_eq!(rig.dma.memory(), sectors(0, 1));

    for command in [
        transfer(READ, 0, [0, 0, 1], 18),
        transfer(WRITE, 0, [0, 0, 1], 18),
    ] {
        rig.dma.program(vec![0; SECTOR]);
        rig.dma.mask(true);
        assert_eq!(rig.command(&command)[..3], [0x40, 0x10, 0]);
    }
}

#[test]
fn deleted_data_address_marks() {
    let (mut rig, _) = Rig::with_1440k();
    // Sectors 3 and 4 get the mark.
    rig.write(&transfer(0x49, 0, [0, 0, 3], 18), &[0xdd; 2 * SECTOR]);
    // READ DATA stops with the first one it meets (table 5-4) ...
    let (result, data) = rig.read(&transfer(READ, 0, [0, 0, 1], 18), 6 * SECTOR);
    assert_eq!(result, [0x00, 0, 0x40, 0, 0, 3, 2]);
    assert_eq!(
        data[..4 * SECTOR],
        [sectors(0, 2), vec![0xdd; SECTOR], vec![0xee; SECTOR]].concat()
    );
    // ... or passes over them.
    let (result, data) = rig.read(&transfer(READ | 0x20, 0, [0, 0, 1], 18), 4 * SECTOR);
    assert_eq!(result, [0x00, 0, 0x40, 0, 0, 7, 2]);
    assert_eq!(data, [sectors(0, 2), sectors(4, 2)].concat());
    // READ DELETED DATA the other way round (table 5-5).
    let (result, data) = rig.read(&transfer(0x4c, 0, [0, 0, 3], 18), 2 * SECTOR);
    assert_eq!(result, [0x00, 0, 0x00, 0, 0, 5, 2]);
    assert_eq!(data, [0xdd; 2 * SECTOR]);
    let (result, data) = rig.read(&transfer(0x4c, 0, [0, 0, 2], 18), 2 * SECTOR);
    assert_eq!(result, [0x00, 0, 0x40, 0, 0, 2, 2]);
    assert_eq!(data[..SECTOR], sectors(1, 1));
    let (result, data) = rig.read(&transfer(0x6c, 0, [0, 0, 1], 18), 2 * SECTOR);
    assert_eq!(result, [0x00, 0, 0x40, 0, 0, 5, 2]);
    assert_eq!(data, [0xdd; 2 * SECTOR]);
    // A normal write takes the mark away.
    rig.write(&transfer(WRITE, 0, [0, 0, 3], 18), &[1; 2 * SECTOR]);
    assert_eq!(
        rig.read(&transfer(READ, 0, [0, 0, 1], 18), 6 * SECTOR).0,
        [0, 0, 0, 0, 0, 7, 2]
    );
}

#[test]
fn read_track_takes_sectors_as_they_come() {
    let (mut rig, _) = Rig::with_1440k();
    let (result, data) = rig.read(&transfer(0x42, 0, [0, 1, 1], 18), 18 * SECTOR);
    assert_eq!(result[..3], [0x04, 0, 0]);
    assert_eq!(data, sectors(18, 18));
    let (result, data) = rig.read(&transfer(0x42, 0, [0, 0, 7], 4), 18 * SECTOR);
    assert_eq!(
        result[..3],
        [0x40, 0x84, 0],
        "the IDs did not match, and there was no terminal count"
    );
    assert_eq!(data[..4 * SECTOR], sectors(0, 4));
    assert_eq!(data[4 * SECTOR..], [0xee; 14 * SECTOR]);
    rig.out(CCR, 2);
    assert_eq!(
        rig.read(&transfer(0x42, 0, [0, 0, 1], 18), SECTOR).0[..2],
        [0x40, 0x01]
    );
}

#[test]
fn verify_table() {
    // Table 5-7: MT, EC, SC, EOT, first sector; the end and C, H, R.
    for (mt, ec, sc, eot, r, st, id) in [
        (false, false, 0xff, 18, 1, [0x00, 0x00], [1, 0, 1]),
        (false, false, 0xff, 19, 1, [0x40, 0x04], [0, 0, 19]),
        (false, true, 5, 18, 1, [0x00, 0x00], [0, 0, 6]),
        (false, true, 18, 18, 1, [0x00, 0x00], [1, 0, 1]),
        (false, true, 19, 18, 1, [0x40, 0x80], [1, 0, 1]),
        (true, false, 0xff, 18, 1, [0x04, 0x00], [1, 0, 1]),
        (true, true, 20, 18, 1, [0x04, 0x00], [0, 1, 3]),
        (true, true, 36, 18, 1, [0x04, 0x00], [1, 0, 1]),
        (true, true, 37, 18, 1, [0x44, 0x80], [1, 0, 1]),
        (true, true, 0, 18, 1, [0x44, 0x80], [1, 0, 1]),
    ] {
        let (mut rig, _) = Rig::with_1440k();
        rig.dma.program(vec![0xee; 64 * SECTOR]);
        let opcode = 0x56 | u8::from(mt) << 7;
        let result = rig.command(&[opcode, u8::from(ec) << 7, 0, 0, r, 2, eot, 0x1b, sc]);
        assert_eq!(result[..2], st, "MT {mt} EC {ec} SC {sc} EOT {eot}: {result:x?}");
        assert_eq!(result[3..6], id, "MT {mt} EC {ec} SC {sc} EOT {eot}");
        assert_eq!(
            rig.dma.memory(),
            vec![0xee; 64 * SECTOR],
            "nothing is transferred"
        );
    }
    let (mut rig, medium) = Rig::with_1440k();
    medium.fail(Some(MediumError::Io));
    assert_eq!(
        rig.command(&transfer(0x56, 0, [0, 0, 1], 18))[..3],
        [0x40, 0x20, 0x20]
    );
}

#[test]
fn scans_look_for_a_sector() {
    let (mut rig, _) = Rig::with_1440k();
    let uniform = |bytes: [u8; 6]| bytes.into_iter().flat_map(|b| [b; SECTOR]).collect::<Vec<_>>();
    rig.write(
        &transfer(WRITE, 0, [0, 0, 1], 18),
        &uniform([10, 20, 30, 40, 50, 60]),
    );
    let mut scan = |opcode: u8, eot, stp, wanted: u8| {
        let host = uniform([wanted; 6]);
        rig.dma.program(host);
        let result = rig.command(&[opcode, 0, 0, 0, 1, 2, eot, 0x1b, stp]);
        (result[0], result[2], result[5])
    };
    // SCAN EQUAL, LOW OR EQUAL, HIGH OR EQUAL: hit (SH), met, not satisfied (SN).
    assert_eq!(scan(0x51, 6, 1, 30), (0x00, 0x08, 3));
    assert_eq!(scan(0x51, 6, 2, 30), (0x00, 0x08, 3), "sectors 1, 3");
    assert_eq!(scan(0x51, 6, 2, 40), (0x00, 0x04, 1), "sectors 1, 3, 5");
    assert_eq!(scan(0x51, 4, 1, 50), (0x00, 0x04, 1));
    assert_eq!(scan(0x59, 6, 1, 10), (0x00, 0x08, 1));
    assert_eq!(scan(0x59, 6, 1, 15), (0x00, 0x00, 1));
    assert_eq!(scan(0x59, 4, 1, 9), (0x00, 0x04, 1));
    assert_eq!(scan(0x5d, 6, 1, 45), (0x00, 0x00, 5));
    assert_eq!(scan(0x5d, 6, 1, 50), (0x00, 0x08, 5));
    assert_eq!(scan(0x51, 6, 1, 0xff), (0x00, 0x08, 1), "FFh matches anything");
    // The terminal count ends a scan.
    rig.dma.program(uniform([50; 6])[..2 * SECTOR].to_vec());
    assert_eq!(rig.command(&transfer(0x51, 0, [0, 0, 1], 18))[..3], [0, 0, 0x04]);
}

/// The IDs of a track, in the given order of sector numbers.
fn ids(cylinder: u8, head: u8, numbers: impl Iterator<Item = u8>) -> Vec<u8> {
    numbers.flat_map(|r| [cylinder, head, r, 2]).collect()
}

#[test]
fn a_track_is_formatted_and_reads_back() {
    let (mut rig, medium) = Rig::with_1440k();
    rig.seek(0, 2);
    medium.take_operations();
    // Interleaved: 1, 10, 2, 11 ...
    let order = (1..=9).flat_map(|n| [n, n + 9]);
    let result = rig.write(&[0x4d, 0x04, 2, 18, 0x54, 0xf6], &ids(2, 1, order));
    assert_eq!(result[..3], [0x04, 0, 0]);
    assert_eq!(
        medium.take_operations(),
        [(Operation::Write, (2 * 36 + 18) * SECTOR as u64, 18 * SECTOR)]
    );
    let (_, data) = rig.read(&transfer(READ_MT, 0, [2, 0, 18], 18), 19 * SECTOR);
    assert_eq!(data, [sectors(2 * 36 + 17, 1), vec![0xf6; 18 * SECTOR]].concat());
}

#[test]
fn sectors_that_the_image_cannot_hold_are_not_formatted() {
    let fails = |command: [u8; 6], ids: Vec<u8>, rate: u8| {
        let (mut rig, medium) = Rig::with_1440k();
        rig.out(CCR, rate);
        let result = rig.write(&command, &ids);
        assert_eq!(result[..3], [0x40, 0x04, 0], "{command:x?}");
        medium.data()
    };
    let untouched = numbered(1_474_560);
    assert_eq!(
        fails([0x4d, 0, 2, 9, 0x50, 0xf6], ids(0, 0, 1..=9), 2),
        untouched,
        "720K"
    );
    assert_eq!(
        fails([0x0d, 0, 2, 9, 0x50, 0xf6], ids(0, 0, 1..=9), 0),
        untouched,
        "FM"
    );
    assert_eq!(
        fails([0x4d, 0, 2, 2, 0x50, 0xf6], ids(255, 0, 1..=2), 0),
        untouched
    );
    assert_eq!(fails([0x4d, 0, 2, 2, 0x50, 0xf6], ids(0, 1, 1..=2), 0), untouched);
    assert_eq!(fails([0x4d, 0, 3, 2, 0x50, 0xf6], ids(0, 0, 1..=2), 0), untouched);
    assert_eq!(
        fails([0x4d, 0, 2, 2, 0x50, 0xf6], vec![0, 0, 0, 2, 0, 0, 255, 2], 0),
        untouched
    );
    let some = fails([0x4d, 0, 2, 21, 0x50, 0xf6], ids(0, 0, 1..=21), 0);
    assert_eq!(some[..18 * SECTOR], [0xf6; 18 * SECTOR]);
    assert_eq!(some[18 * SECTOR..], untouched[18 * SECTOR..]);
}

#[test]
fn formatting_a_few_sectors_leaves_the_others() {
    let (mut rig, medium) = Rig::with_1440k();
    let result = rig.write(&[0x4d, 0, 2, 4, 0x50, 0xe5], &ids(0, 0, [2, 3, 7, 9].into_iter()));
    assert_eq!(result[..3], [0, 0, 0]);
    let data = medium.data();
    for n in 0..10 {
        let formatted = [1, 2, 6, 8].contains(&n);
        let expected = if formatted {
            vec![0xe5; SECTOR]
        } else {
            sectors(n, 1)
        };
        assert_eq!(data[n * SECTOR..(n + 1) * SECTOR], expected, "{n}");
    }
    assert_eq!(
        rig.command(&[0x4d, 0, 2, 0, 0x50, 0xe5])[..3],
        [0, 0, 0],
        "no sectors at all"
    );
}

#[test]
fn a_diskette_pulled_out_ends_what_was_using_it() {
    for command in [
        transfer(READ, 0, [0, 0, 1], 18).to_vec(),
        transfer(WRITE, 0, [0, 0, 1], 18).to_vec(),
        vec![0x4d, 0, 2, 2, 0x50, 0xf6],
    ] {
        for another in [false, true] {
            let (mut rig, medium) = Rig::with_1440k();
            medium.hold();
            rig.dma.program(ids(0, 0, 1..=2));
            rig.send(&command);
            rig.run();
            assert_eq!(rig.inp(MSR), 0x10);
            let second = TestMedium::new(vec![0; 1_474_560]);
            if another {
                rig.insert_medium(DriveId::A, &second);
            } else {
                drop(rig.fdc.eject(DriveId::A));
            }
            rig.run();
            assert_eq!(rig.result()[..3], [0x40, 0x01, 0], "{command:x?}");
            medium.release();
            rig.fdc.service();
            assert_eq!(rig.inp(MSR), 0x80);
        }
    }
}

#[test]
fn a_reset_in_the_middle_leaves_a_working_drive() {
    let (mut rig, medium) = Rig::with_1440k();
    medium.hold();
    rig.dma.program(vec![0x42; SECTOR]);
    rig.send(&transfer(WRITE, 0, [0, 0, 1], 18));
    rig.run();
    rig.out(DSR, 0x80);
    rig.run();
    for _ in 0..4 {
        rig.command(&[0x08]);
    }
    // The write is still under way; the next read waits for it.
    rig.dma.program(vec![0; SECTOR]);
    rig.send(&transfer(READ, 0, [0, 0, 1], 18));
    rig.run();
    assert_eq!(rig.inp(MSR), 0x10);
    medium.release();
    rig.fdc.service();
    assert_eq!(rig.result()[..3], [0, 0, 0]);
    assert_eq!(rig.dma.memory(), [0x42; SECTOR]);
}

#[test]
fn the_second_drive_is_another_drive() {
    let mut rig = Rig::warm_with([Some(DriveType::Inch3High), Some(DriveType::Inch5High)]);
    assert_eq!(rig.fdc.cmos_drive_types(), 0x42);
    rig.insert(DriveId::A, 1_474_560);
    let second = TestMedium::new((0..1_228_800).map(|n| (n / 512 * 3) as u8).collect());
    rig.insert_medium(DriveId::B, &second);
    rig.out(CCR, 0);
    rig.out(DOR, RUNNING | 1);
    rig.seek(1, 4);
    let (result, data) = rig.read(&transfer(READ, 1, [4, 1, 15], 15), SECTOR);
    assert_eq!(result, [0x05, 0, 0, 5, 1, 1, 2]);
    assert_eq!(data, second.data()[(4 * 30 + 29) * SECTOR..][..SECTOR]);
    let (result, data) = rig.read(&transfer(READ, 0, [0, 0, 1], 18), SECTOR);
    assert_eq!(result[0], 0);
    assert_eq!(data, sectors(0, 1));
}

#[test]
fn writes_are_flushed_when_the_motor_stops() {
    let (mut rig, medium) = Rig::with_1440k();
    rig.write(&transfer(WRITE, 0, [0, 0, 1], 18), &[1; SECTOR]);
    medium.take_operations();
    rig.out(DOR, 0x0c);
    assert_eq!(medium.take_operations(), [(Operation::Flush, 0, 0)]);
    rig.out(DOR, RUNNING);
    rig.out(DOR, 0x0c);
    assert!(medium.take_operations().is_empty());
}
