// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands without data (82077AA data sheet, section 5.2).
use super::*;

#[test]
fn identification() {
    let mut rig = Rig::warm();
    assert_eq!(rig.command(&[0x10]), [0x90]);
    assert_eq!(rig.command(&[0x18]), [0x80], "PART ID is of the 82078");
    assert_eq!(rig.command(&[0xff]), [0x80]);
    assert_eq!(rig.command(&[0x08]), [0x80], "no interrupt is pending");
    assert_eq!(rig.irq.take_rises(), 0);
}

#[test]
fn the_main_status_follows_the_phases() {
    let (mut rig, medium) = Rig::with_1440k();
    assert_eq!(rig.inp(MSR), 0x80);
    rig.out(FIFO, 0x4a);
    assert_eq!(rig.inp(MSR), 0x90);
    rig.out(FIFO, 0x00);
    assert_eq!(rig.inp(MSR), 0x10);
    rig.run();
    for _ in 0..7 {
        assert_eq!(rig.inp(MSR), 0xd0);
        rig.inp(FIFO);
    }
    assert_eq!(rig.inp(MSR), 0x80);

    rig.dma.program(vec![0; 512]);
    medium.hold();
    rig.send(&transfer(0xe6, 0, [0, 0, 1], 18));
    rig.run();
    assert_eq!(rig.inp(MSR), 0x10, "the medium is at work");
}

#[test]
fn dumpreg_tells_all() {
    let mut rig = Rig::warm();
    rig.command(&[0x03, 0xdf, 0x02]);
    rig.command(&[0x13, 0, 0x57, 0x12]);
    rig.command(&[0x12, 0x84]);
    rig.seek(0, 7);
    rig.seek(1, 9);
    rig.seek(3, 200);
    rig.read(&transfer(0xe6, 0, [7, 0, 1], 15), 512);
    assert_eq!(
        rig.command(&[0x0e]),
        [7, 9, 0, 200, 0xdf, 0x02, 15, 0x04, 0x57, 0x12]
    );
    rig.write(&[0x4d, 0, 2, 18, 0x50, 0xf6], &[0; 72]);
    assert_eq!(rig.command(&[0x0e])[6], 18);
}

#[test]
fn the_drive_bits_of_perpendicular_mode_need_ow() {
    let mut rig = Rig::warm();
    rig.command(&[0x12, 0x3c | 0x03]);
    assert_eq!(rig.command(&[0x0e])[7], 0x03);
    rig.command(&[0x12, 0x80 | 0x3c]);
    assert_eq!(rig.command(&[0x0e])[7], 0x3c);
    rig.command(&[0x12, 0x01]);
    assert_eq!(rig.command(&[0x0e])[7], 0x3d);
}

#[test]
fn a_seek_interrupts_when_it_has_ended() {
    let mut rig = Rig::warm();
    rig.send(&[0x0f, 0, 10]);
    assert!(!rig.irq.level());
    rig.send(&[0x08]);
    assert_eq!(rig.result(), [0x80], "the seek has not ended");
    rig.run();
    assert!(rig.irq.level());
    assert_eq!(rig.command(&[0x08]), [0x20, 10]);
    rig.send(&[0x0f, 0x04, 20]);
    rig.run();
    assert!(rig.irq.level());
    assert_eq!(rig.command(&[0x08]), [0x20, 20], "H is always 0");
    assert!(!rig.irq.level());
}

#[test]
fn overlapping_seeks_each_interrupt() {
    let mut rig = Rig::warm_with([Some(DriveType::Inch3High); 2]);
    rig.send(&[0x0f, 0, 70]);
    rig.send(&[0x0f, 1, 3]);
    assert_eq!(rig.inp(MSR), 0x83);
    rig.run();
    assert_eq!(rig.irq.take_rises(), 2);
    assert_eq!(rig.command(&[0x08]), [0x20, 70]);
    assert!(rig.irq.level());
    assert_eq!(rig.command(&[0x08]), [0x21, 3]);
    assert_eq!(rig.irq.take_rises(), 1);
    assert_eq!(rig.command(&[0x08]), [0x80]);
}

#[test]
fn relative_seeks_count_on() {
    let mut rig = Rig::warm();
    rig.seek(0, 10);
    rig.command(&[0xcf, 0, 5]);
    assert_eq!(rig.command(&[0x08]), [0x20, 15]);
    rig.command(&[0x8f, 0, 20]);
    assert_eq!(rig.command(&[0x08]), [0x20, 251], "the cylinder number wraps");
    assert_eq!(rig.command(&[0x04, 0])[0] & 0x10, 0x10, "the heads stopped at 0");
}

#[test]
fn recalibrate_makes_79_steps_at_most() {
    let mut rig = Rig::warm();
    rig.seek(0, 79);
    assert_eq!(rig.recalibrate(0), [0x20, 0]);
    rig.seek(0, 82);
    assert_eq!(rig.recalibrate(0), [0x70, 0]);
    assert_eq!(rig.command(&[0x04, 0])[0] & 0x10, 0);
    assert_eq!(rig.recalibrate(0), [0x20, 0]);
    assert_eq!(rig.command(&[0x04, 0])[0] & 0x10, 0x10);
}

#[test]
fn an_absent_drive_never_reaches_track_0() {
    let mut rig = Rig::warm();
    for drive in 1..4 {
        assert_eq!(rig.recalibrate(drive), [0x70 | drive, 0]);
        assert_eq!(rig.command(&[0x04, drive]), [0x28 | drive]);
        assert_eq!(
            rig.seek(drive, 5),
            [0x20 | drive, 5],
            "nobody notices a seek into the void"
        );
        let (result, _) = rig.read(&transfer(0xe6, drive, [5, 0, 1], 1), 512);
        assert_eq!(result[..3], [0x40 | drive, 0x01, 0x00]);
    }
}

#[test]
fn drive_status() {
    let (mut rig, medium) = Rig::with_1440k();
    assert_eq!(rig.command(&[0x04, 0x00]), [0x38]);
    assert_eq!(rig.command(&[0x04, 0x04]), [0x3c]);
    rig.seek(0, 1);
    assert_eq!(rig.command(&[0x04, 0x00]), [0x28]);
    let protected = medium.with_info(|info| info.read_only = true);
    rig.insert_medium(DriveId::A, &protected);
    assert_eq!(rig.command(&[0x04, 0x00]), [0x68]);
}

#[test]
fn read_id_needs_the_right_rate_encoding_and_side() {
    for (len, drive, rate) in [
        (368_640, DriveType::Inch5Double, 2),
        (368_640, DriveType::Inch5High, 1),
        (1_228_800, DriveType::Inch5High, 0),
        (737_280, DriveType::Inch3High, 2),
        (1_474_560, DriveType::Inch3High, 0),
        (1_720_320, DriveType::Inch3High, 0),
        (2_949_120, DriveType::Inch3ExtraHigh, 3),
    ] {
        let mut rig = Rig::warm_with([Some(drive), None]);
        rig.insert(DriveId::A, len);
        let steps = if drive == DriveType::Inch5High && len < 400_000 {
            2
        } else {
            1
        };
        rig.seek(0, 3 * steps);
        for tried in 0..4 {
            rig.out(CCR, tried);
            let result = rig.command(&[0x4a, 0x04]);
            if tried == rate {
                assert_eq!((result[0], result[1], result[2]), (0x04, 0, 0), "{len}");
                assert_eq!((result[3], result[4], result[6]), (3, 1, 2));
                assert!((1..=36).contains(&result[5]));
            } else {
                assert_eq!(result[..3], [0x44, 0x01, 0x00], "{len} at rate {tried}");
            }
        }
        rig.out(CCR, rate);
        assert_eq!(rig.command(&[0x0a, 0x00])[1], 0x01, "FM");
    }
    let mut rig = Rig::warm_with([Some(DriveType::Inch5Double), None]);
    rig.insert(DriveId::A, 184_320);
    rig.out(CCR, 2);
    assert_eq!(rig.command(&[0x4a, 0x00])[1], 0);
    assert_eq!(rig.command(&[0x4a, 0x04])[1], 0x01, "a one-sided diskette");
}

#[test]
fn read_id_sees_the_disk_turn() {
    let (mut rig, _) = Rig::with_1440k();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        seen.insert(rig.command(&[0x4a, 0])[5]);
        rig.clock.advance(200_000_000 / 36);
    }
    assert_eq!(seen, (1..=18).collect());
}

#[test]
fn nothing_is_read_without_a_diskette_or_a_motor() {
    let mut rig = Rig::warm();
    rig.out(CCR, 0);
    assert_eq!(rig.command(&[0x4a, 0])[..3], [0x40, 0x01, 0x00]);
    rig.insert(DriveId::A, 1_474_560);
    assert_eq!(rig.command(&[0x4a, 0])[..3], [0x00, 0x00, 0x00]);
    rig.out(DOR, 0x0c);
    assert_eq!(rig.command(&[0x4a, 0])[..3], [0x40, 0x01, 0x00]);
    assert_eq!(
        rig.write(&transfer(0xc5, 0, [0, 0, 1], 1), &[0; 512])[..3],
        [0x40, 0x01, 0x00]
    );
    rig.dma.program(vec![0; 72]);
    assert_eq!(
        rig.command(&[0x4d, 0, 2, 18, 0x50, 0xf6])[..3],
        [0x40, 0x01, 0x00]
    );
}

#[test]
fn diskettes_go_where_they_fit() {
    let mut rig = Rig::warm_with([Some(DriveType::Inch3High), None]);
    let medium = |len| Box::new(TestMedium::new(vec![0; len]));
    let format = |len| Format::detect(len, &[], None).unwrap();
    let rejected = rig
        .fdc
        .insert(DriveId::A, medium(368_640), format(368_640))
        .err()
        .unwrap();
    assert_eq!(
        rejected.to_string(),
        "a 5.25\" 360K (40 tracks, 2 heads, 9 sectors) diskette does not fit into a 3.5\" 1.44M drive"
    );
    assert_eq!(rejected.medium.info().len, 368_640);
    let rejected = rig
        .fdc
        .insert(DriveId::B, medium(512), format(512))
        .err()
        .unwrap();
    assert_eq!(rejected.reason, RejectReason::NoDrive);
    assert!(rig.fdc.eject(DriveId::B).is_none());

    assert!(
        rig.fdc
            .insert(DriveId::A, medium(737_280), format(737_280))
            .unwrap()
            .is_none()
    );
    let old = rig
        .fdc
        .insert(DriveId::A, medium(1_474_560), format(1_474_560))
        .unwrap();
    assert_eq!(old.unwrap().info().len, 737_280);
    let status = rig.fdc.status(DriveId::A).unwrap();
    assert_eq!(status.diskette, Some(format(1_474_560)));
    assert!(status.motor && !status.write_protected);
    assert_eq!(rig.fdc.eject(DriveId::A).unwrap().info().len, 1_474_560);
    assert_eq!(rig.fdc.status(DriveId::A).unwrap().diskette, None);
    assert_eq!(rig.fdc.status(DriveId::B), None);
    assert_eq!(rig.fdc.cmos_drive_types(), 0x40);
}
