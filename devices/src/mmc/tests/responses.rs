// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Responses, byte by byte, against the tables of SPC-3 and MMC-5.
use super::*;

/// Sectors of a disc whose lead-out is at 60:00:00.
const HOUR: u64 = 270_000 - 150;

#[test]
fn standard_inquiry() {
    let mut host = Host::empty();
    let data = host.ok(&[0x12, 0, 0, 0, 0xff]);
    assert_eq!(data[..8], [0x05, 0x80, 0x05, 0x32, 31, 0, 0, 0]);
    assert_eq!(data[8..], *b"VENDOR  A PRODUCT       9.8 ");
    assert_eq!(host.ok(&[0x12, 0, 0, 0, 5]), data[..5]);
    assert_eq!(host.ok(&[0x12, 0, 0, 0, 0]), []);
    assert_eq!(host.check(&[0x12, 0, 0x80, 0, 36]), INVALID_FIELD);
    assert_eq!(host.check(&[0x12, 2, 0, 0, 36]), INVALID_FIELD);
}

#[test]
fn vital_product_data() {
    let mut host = Host::empty();
    assert_eq!(host.ok(&[0x12, 1, 0, 0, 0xff]), [5, 0, 0, 3, 0x00, 0x80, 0x83]);
    let serial = host.ok(&[0x12, 1, 0x80, 0, 0xff]);
    assert_eq!(serial[..4], [5, 0x80, 0, 20]);
    assert_eq!(serial[4..], *b"S123                ");
    let name = host.ok(&[0x12, 1, 0x83, 0, 0xff]);
    assert_eq!(name[..8], [5, 0x83, 0, 48, 2, 1, 0, 44]);
    assert_eq!(name[8..], *b"VENDOR  A PRODUCT       S123                ");
    assert_eq!(host.check(&[0x12, 1, 0xb0, 0, 0xff]), INVALID_FIELD);
}

#[test]
fn request_sense_is_cut_off_too() {
    let mut host = Host::empty();
    host.start(&[0xff]);
    let reply = host.start(&[3, 0, 0, 0, 4]);
    assert_eq!(host.finish(reply), (vec![0x70, 0, 5, 0], Status::Good));
    assert_eq!(host.check(&[3, 1, 0, 0, 18]), INVALID_FIELD);
}

#[test]
fn invalid_fields_are_pointed_at() {
    let mut host = Host::small();
    host.start(&[0x43, 0, 5]);
    assert_eq!(host.sense_bytes()[15..], [0xc0, 0, 2]);
}

#[test]
fn unknown_commands() {
    let mut host = Host::small();
    // READ (6), WRITE (10), FORMAT UNIT, PLAY AUDIO (10), REPORT KEY.
    for opcode in [0x08, 0x2a, 0x04, 0x45, 0xa4, 0xff] {
        assert_eq!(host.check(&[opcode]), (5, 0x20, 0), "{opcode:#x}");
    }
}

#[test]
fn commands_that_have_nothing_to_do() {
    let mut host = Host::small();
    // SYNCHRONIZE CACHE, SET CD SPEED, START, STOP.
    for command in [
        [0x35, 0, 0, 0, 0],
        [0xbb, 0, 2, 0xc0, 0],
        [0x1b, 0, 0, 0, 1],
        [0x1b, 0, 0, 0, 0],
    ] {
        assert_eq!(host.ok(&command), []);
    }
    assert_eq!(host.check(&[0x1b, 0, 0, 0, 4]), INVALID_FIELD);
}

#[test]
fn report_luns() {
    let mut host = Host::empty();
    let data = host.ok(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16]);
    assert_eq!(data, [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(host.ok(&[0xa0, 0, 1, 0, 0, 0, 0, 0, 0, 16]), [0; 8]);
    assert_eq!(host.check(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15]), INVALID_FIELD);
    assert_eq!(host.check(&[0xa0, 0, 3, 0, 0, 0, 0, 0, 0, 16]), INVALID_FIELD);
}

#[test]
fn toc() {
    let mut host = Host::with(huge(HOUR));
    let lba = [
        0, 18, 1, 1, // length, first and last track
        0, 0x14, 1, 0, 0, 0, 0, 0, // track 1 at 0
        0, 0x14, 0xaa, 0, 0x00, 0x04, 0x1e, 0x1a, // lead-out at 269,850
    ];
    let msf = [
        0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x14, 0xaa, 0, 0, 60, 0, 0,
    ];
    assert_eq!(host.ok(&[0x43, 0, 0, 0, 0, 0, 0, 0, 0xff]), lba);
    assert_eq!(host.ok(&[0x43, 2, 0, 0, 0, 0, 0, 0, 0xff]), msf);
    assert_eq!(host.ok(&[0x43, 0, 0, 0, 0, 0, 1, 0, 0xff]), lba);
    // Cut off: the length still counts it all.
    assert_eq!(host.ok(&[0x43, 2, 0, 0, 0, 0, 0, 0, 12]), msf[..12]);
    assert_eq!(host.ok(&[0x43, 2, 0, 0, 0, 0, 0, 0, 0]), []);
    let lead_out = host.ok(&[0x43, 2, 0, 0, 0, 0, 0xaa, 0, 0xff]);
    assert_eq!(lead_out, [0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 60, 0, 0]);
    for track in [2, 99, 0xa9, 0xab, 0xff] {
        assert_eq!(host.check(&[0x43, 0, 0, 0, 0, 0, track, 0, 0xff]), INVALID_FIELD);
    }
    // PMA, ATIP, CD-TEXT and what does not exist.
    for format in 3..16 {
        assert_eq!(host.check(&[0x43, 0, format, 0, 0, 0, 0, 0, 0xff]), INVALID_FIELD);
    }
}

#[test]
fn sessions() {
    let mut host = Host::with(huge(HOUR));
    let lba = [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0];
    assert_eq!(host.ok(&[0x43, 0, 1, 0, 0, 0, 0, 0, 12]), lba);
    // The format where ATAPI had it first.
    assert_eq!(host.ok(&[0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0x40]), lba);
    assert_eq!(host.ok(&[0x43, 2, 1, 0, 0, 0, 0, 0, 12])[8..], [0, 0, 2, 0]);
}

#[test]
fn raw_toc() {
    let mut host = Host::with(huge(HOUR));
    let expected = [
        0, 46, 1, 1, //
        1, 0x14, 0, 0xa0, 0, 0, 0, 0, 1, 0, 0, // first track, CD-ROM
        1, 0x14, 0, 0xa1, 0, 0, 0, 0, 1, 0, 0, // last track
        1, 0x14, 0, 0xa2, 0, 0, 0, 0, 60, 0, 0, // lead-out
        1, 0x14, 0, 1, 0, 0, 0, 0, 0, 2, 0, // track 1
    ];
    // In minutes and seconds, asked for or not.
    assert_eq!(host.ok(&[0x43, 0, 2, 0, 0, 0, 1, 0, 0xff]), expected);
    assert_eq!(host.ok(&[0x43, 2, 0, 0, 0, 0, 0, 0, 0xff, 0x80]), expected);
    assert_eq!(host.check(&[0x43, 2, 2, 0, 0, 0, 2, 0, 0xff]), INVALID_FIELD);
    assert_eq!(
        Host::dvd().check(&[0x43, 2, 2, 0, 0, 0, 0, 0, 0xff]),
        INVALID_FIELD
    );
}

#[test]
fn a_dvd_has_a_toc_whose_times_saturate() {
    let mut host = Host::dvd();
    let lba = host.ok(&[0x43, 0, 0, 0, 0, 0, 0xaa, 0, 0xff]);
    assert_eq!(lba[8..], 2_000_000_u32.to_be_bytes());
    let msf = host.ok(&[0x43, 2, 0, 0, 0, 0, 0xaa, 0, 0xff]);
    assert_eq!(msf[8..], [0, 0xff, 59, 74]);
}

#[test]
fn sub_channel() {
    let mut host = Host::small();
    host.ok(&[0x2b, 0, 0, 0, 0, 80]);
    assert_eq!(host.ok(&[0x42, 0, 0, 1, 0, 0, 0, 0, 0xff]), [0, 0x15, 0, 0]);
    assert_eq!(
        host.ok(&[0x42, 0, 0x40, 1, 0, 0, 0, 0, 0xff]),
        [0, 0x15, 0, 12, 1, 0x14, 1, 1, 0, 0, 0, 80, 0, 0, 0, 80]
    );
    assert_eq!(
        host.ok(&[0x42, 2, 0x40, 1, 0, 0, 0, 0, 0xff]),
        [0, 0x15, 0, 12, 1, 0x14, 1, 1, 0, 0, 3, 5, 0, 0, 1, 5]
    );
    let catalogue = host.ok(&[0x42, 0, 0x40, 2, 0, 0, 0, 0, 0xff]);
    assert_eq!(
        (catalogue.len(), &catalogue[..9]),
        (24, &[0, 0x15, 0, 20, 2, 0, 0, 0, 0][..])
    );
    let isrc = host.ok(&[0x42, 0, 0x40, 3, 0, 0, 1, 0, 0xff]);
    assert_eq!(
        (isrc.len(), &isrc[..9]),
        (24, &[0, 0x15, 0, 20, 3, 0x14, 1, 0, 0][..])
    );
    assert_eq!(host.check(&[0x42, 0, 0x40, 3, 0, 0, 2, 0, 24]), INVALID_FIELD);
    assert_eq!(host.check(&[0x42, 0, 0x40, 0, 0, 0, 0, 0, 24]), INVALID_FIELD);
}

#[test]
fn disc_information() {
    let mut host = Host::small();
    let data = host.ok(&[0x51, 0, 0, 0, 0, 0, 0, 0, 0xff]);
    assert_eq!(data.len(), 34);
    assert_eq!(data[..12], [0, 32, 0x0e, 1, 1, 1, 1, 0x20, 0, 0, 0, 0]);
    assert_eq!(data[12..16], [0; 4]);
    assert_eq!(data[16..24], [0xff; 8]);
    assert_eq!(data[24..], [0; 10]);
    assert_eq!(host.check(&[0x51, 1, 0, 0, 0, 0, 0, 0, 0xff]), INVALID_FIELD);
}

#[test]
fn track_information() {
    let mut host = Host::small();
    let track = host.ok(&[0x52, 1, 0, 0, 0, 1, 0, 0, 0xff]);
    assert_eq!(track.len(), 36);
    assert_eq!(track[..8], [0, 34, 1, 1, 0, 4, 1, 0]);
    assert_eq!(track[8..12], [0; 4]);
    assert_eq!(track[24..28], SMALL.to_be_bytes());
    assert_eq!(host.ok(&[0x52, 0, 0, 0, 0, 99, 0, 0, 0xff]), track);
    assert_eq!(host.ok(&[0x52, 2, 0, 0, 0, 1, 0, 0, 0xff]), track);
    assert_eq!(host.check(&[0x52, 0, 0, 0, 0, 100, 0, 0, 0xff]), OUT_OF_RANGE);
    assert_eq!(host.check(&[0x52, 1, 0, 0, 0, 2, 0, 0, 0xff]), INVALID_FIELD);
    assert_eq!(host.check(&[0x52, 1, 0, 0, 0, 0xff, 0, 0, 0xff]), INVALID_FIELD);
    assert_eq!(host.check(&[0x52, 3, 0, 0, 0, 1, 0, 0, 0xff]), INVALID_FIELD);
}

#[test]
fn configuration_of_a_cd() {
    let mut host = Host::small();
    let data = host.ok(&[0x46, 0, 0, 0, 0, 0, 0, 1, 0]);
    #[rustfmt::skip]
    let expected = [
        0, 0, 0, 0, 0, 0, 0x00, 0x08,
        0x00, 0x00, 0x03, 8, 0x00, 0x10, 0, 0, 0x00, 0x08, 1, 0, // profiles
        0x00, 0x01, 0x0b, 8, 0, 0, 0, 2, 1, 0, 0, 0,             // core: ATAPI
        0x00, 0x02, 0x07, 4, 0, 0, 0, 0,                         // morphing
        0x00, 0x03, 0x03, 4, 0x29, 0, 0, 0,                      // removable medium
        0x00, 0x10, 0x01, 8, 0, 0, 8, 0, 0, 1, 1, 0,             // random readable
        0x00, 0x1d, 0x01, 0,                                     // multi-read
        0x00, 0x1e, 0x09, 4, 0, 0, 0, 0,                         // CD read
        0x00, 0x1f, 0x04, 4, 0, 0, 0, 0,                         // DVD read
        0x01, 0x00, 0x03, 0,                                     // power management
        0x01, 0x05, 0x03, 0,                                     // time-out
        0x01, 0x08, 0x03, 20,                                    // serial number
    ];
    assert_eq!(data[4..expected.len()], expected[4..]);
    assert_eq!(data[expected.len()..], *b"S123                ");
    assert_eq!(data[..4], (data.len() as u32 - 4).to_be_bytes());
    // The header tells the length of it all, wherever the host stops.
    assert_eq!(host.ok(&[0x46, 0, 0, 0, 0, 0, 0, 0, 8]), data[..8]);
}

#[test]
fn configuration_by_request_type() {
    let mut host = Host::dvd();
    let mut features = |rt, start: u16| {
        let [high, low] = start.to_be_bytes();
        let data = host.ok(&[0x46, rt, high, low, 0, 0, 0, 2, 0]);
        assert_eq!(data[6..8], [0, 0x10]);
        let mut codes = Vec::new();
        let mut at = 8;
        while at < data.len() {
            codes.push(u16::from_be_bytes([data[at], data[at + 1]]));
            at += 4 + usize::from(data[at + 3]);
        }
        codes
    };
    assert_eq!(features(0, 0x1e), [0x1e, 0x1f, 0x100, 0x105, 0x108]);
    assert_eq!(features(1, 0x03), [0x03, 0x10, 0x1f, 0x100, 0x105, 0x108]);
    assert_eq!(features(2, 0x1e), [0x1e]);
    assert_eq!(features(2, 0x20), [0u16; 0]);
    assert_eq!(features(0, 0xffff), [0u16; 0]);
    assert_eq!(host.check(&[0x46, 3, 0, 0, 0, 0, 0, 0, 8]), INVALID_FIELD);
    // Without a medium nothing about media is current.
    let mut host = Host::empty();
    let data = host.ok(&[0x46, 1, 0, 0x10, 0, 0, 0, 0, 16]);
    assert_eq!(data[6..10], [0, 0, 0x01, 0x00]);
}

#[test]
fn mechanism_status() {
    let mut host = Host::small();
    host.ok(&[0x2b, 0, 0, 0, 0, 7]);
    assert_eq!(
        host.ok(&[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8]),
        [0, 0, 0, 0, 7, 0, 0, 0]
    );
    host.drive.eject(true).unwrap();
    assert_eq!(host.ok(&[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 2]), [0, 0x10]);
}

#[test]
fn performance() {
    let mut host = Host::small();
    let speed = (52 * 176_u32).to_be_bytes();
    let data = host.ok(&[0xac, 0x10, 0, 0, 0, 10, 0, 0, 0, 1, 0]);
    assert_eq!(data[..8], [0, 0, 0, 20, 0, 0, 0, 0]);
    assert_eq!(data[8..16], [[0, 0, 0, 10], speed].concat());
    assert_eq!(data[16..], [[0, 0, 0, 99], speed].concat());
    // No room for a descriptor; exceptions; writing.
    assert_eq!(host.ok(&[0xac, 0x10]), [0, 0, 0, 4, 0, 0, 0, 0]);
    assert_eq!(
        host.ok(&[0xac, 1, 0, 0, 0, 0, 0, 0, 0, 9]),
        [0, 0, 0, 4, 1, 0, 0, 0]
    );
    assert_eq!(
        host.ok(&[0xac, 4, 0, 0, 0, 0, 0, 0, 0, 9]),
        [0, 0, 0, 4, 2, 0, 0, 0]
    );
    assert_eq!(host.check(&[0xac, 0, 0, 0, 0, 100, 0, 0, 0, 1]), OUT_OF_RANGE);
    assert_eq!(host.check(&[0xac, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9]), INVALID_FIELD);
}

#[test]
fn dvd_structures() {
    let mut host = Host::dvd();
    let read = |layer, format| [0xad, 0, 0, 0, 0, 0, layer, format, 0x10, 0];
    let physical = host.ok(&read(0, 0));
    assert_eq!(physical.len(), 2052);
    assert_eq!(physical[..4], [8, 2, 0, 0]);
    assert_eq!(physical[4..12], [0x01, 0x02, 0x01, 0, 0, 3, 0, 0]);
    let last = 0x3_0000 + 2_000_000_u32 - 1;
    assert_eq!(physical[12..16], last.to_be_bytes());
    assert_eq!(physical[16..20], [0; 4]);
    assert_eq!(host.ok(&read(0, 1)), [0, 6, 0, 0, 0, 0, 0, 0]);
    assert_eq!(host.ok(&read(0, 4)).len(), 2052);
    assert_eq!(host.check(&read(1, 0)), INVALID_FIELD);
    assert_eq!(host.check(&read(0, 3)), INVALID_FIELD);
    assert_eq!(host.check(&[0xad, 1, 0, 0, 0, 0, 0, 0, 0, 4]), INVALID_FIELD);
    let list = [0, 14, 0, 0, 0, 0x40, 8, 4, 1, 0x40, 0, 8, 4, 0x40, 8, 4];
    assert_eq!(host.ok(&read(0, 0xff)), list);
    // The list is about the drive.
    assert_eq!(Host::empty().ok(&read(0, 0xff)), list);
    assert_eq!(Host::empty().check(&read(0, 0)), TRAY_CLOSED);
    assert_eq!(Host::small().check(&read(0, 0)), (5, 0x30, 2));
}

#[test]
fn a_large_dvd_has_two_layers() {
    let mut host = Host::with(huge(4_000_003));
    for layer in 0..2 {
        let data = host.ok(&[0xad, 0, 0, 0, 0, 0, layer, 0, 0, 24]);
        assert_eq!(data[6], 0x31);
        let number = |at: usize| u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
        let (start, end, end_0) = (number(8), number(12), number(16));
        let layer_0 = end_0 - start + 1;
        assert_eq!(layer_0 % 16, 0);
        // Layer 1 begins beneath the end of layer 0.
        let layer_1 = end - (!end_0 & 0xff_ffff) + 1;
        assert_eq!(layer_0 + layer_1, 4_000_003);
    }
    assert_eq!(host.check(&[0xad, 0, 0, 0, 0, 0, 2, 0, 0, 24]), INVALID_FIELD);
}
