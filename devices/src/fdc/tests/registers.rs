// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Registers and resets (82077AA data sheet, sections 2 and 4).
use super::*;

#[test]
fn values_after_the_reset_pin() {
    let mut rig = Rig::cold([Some(DriveType::Inch3High), None]);
    assert_eq!(rig.inp(DOR), 0x00);
    assert_eq!(rig.inp(MSR), 0x00, "held in reset");
    assert_eq!(rig.inp(TDR), 0xfc);
    assert_eq!(rig.inp(SRB), 0xc0);
    // No second drive; no drive is selected while no motor is on, so its lines are idle.
    assert_eq!(rig.inp(SRA), 0x56);
    assert_eq!(rig.inp(DIR), 0x7d, "250 kbit/s, change line not driven");
    assert_eq!(rig.inp(6), 0xff);
    assert!(!rig.irq.level());
}

#[test]
fn registers_that_can_be_written_read_back() {
    let mut rig = Rig::warm();
    rig.out(DOR, 0x2d);
    assert_eq!(rig.inp(DOR), 0x2d);
    assert_eq!(rig.inp(SRB), 0xc0 | 0x20 | 0x02);
    rig.out(TDR, 0xff);
    assert_eq!(rig.inp(TDR), 0xff);
    rig.out(TDR, 0x01);
    assert_eq!(rig.inp(TDR), 0xfd);
    for (rate, low_density) in [(0, 0), (1, 1), (2, 1), (3, 0)] {
        rig.out(CCR, rate);
        assert_eq!(rig.inp(DIR) & 0x7f, 0x78 | rate << 1 | low_density);
        rig.out(CCR, 3 - rate);
        rig.out(DSR, rate);
        assert_eq!(rig.inp(DIR) & 0x06, rate << 1, "DSR and CCR share the data rate");
    }
}

#[test]
fn leaving_reset_takes_a_while_and_gives_four_statuses() {
    let mut rig = Rig::cold([Some(DriveType::Inch3High), None]);
    rig.out(DOR, 0x0c);
    assert_eq!(rig.inp(MSR), 0x00);
    assert!(!rig.irq.level());
    rig.run();
    assert_eq!(rig.inp(MSR), 0x80);
    assert!(rig.irq.level());
    assert_eq!(rig.inp(SRA) & 0x80, 0x80);
    for drive in 0..4 {
        assert_eq!(rig.command(&[0x08]), [0xc0 | drive, 0]);
        assert!(!rig.irq.level());
    }
    assert_eq!(rig.command(&[0x08]), [0x80]);
    assert_eq!(rig.irq.take_rises(), 1);
}

#[test]
fn reset_by_the_dsr_ends_by_itself() {
    let (mut rig, _) = Rig::with_1440k();
    rig.irq.take_rises();
    rig.dma.program(vec![0; 512]);
    rig.send(&transfer(0xe6, 0, [0, 0, 1], 18));
    rig.out(DSR, 0x80);
    assert_eq!(rig.inp(MSR), 0x00);
    rig.run();
    assert_eq!(rig.irq.take_rises(), 1);
    assert_eq!(rig.inp(MSR), 0x80);
    assert_eq!(rig.command(&[0x08]), [0xc0, 0]);
    assert_eq!(rig.inp(DOR), RUNNING, "the DSR does not touch the DOR");
    assert_eq!(rig.dma.memory(), [0; 512], "the command was given up");
}

#[test]
fn the_dor_holds_the_chip_in_reset() {
    let mut rig = Rig::warm();
    rig.out(DOR, RUNNING & !0x04);
    rig.run();
    assert_eq!(rig.inp(MSR), 0x00);
    rig.out(FIFO, 0x10);
    rig.out(DSR, 0x80);
    rig.run();
    assert_eq!(rig.inp(MSR), 0x00, "the DOR has precedence");
    assert_eq!(rig.irq.take_rises(), 0);
    rig.out(DOR, RUNNING);
    rig.run();
    assert_eq!(rig.irq.take_rises(), 1);
}

#[test]
fn reset_forgets_what_configure_set_unless_locked() {
    let mut rig = Rig::warm();
    let options = |rig: &mut Rig| {
        let dump = rig.command(&[0x0e]);
        (dump[7], dump[8], dump[9])
    };
    assert_eq!(options(&mut rig), (0x00, 0x20, 0));
    rig.command(&[0x13, 0, 0x5a, 0x33]);
    rig.command(&[0x12, 0xaf]);
    assert_eq!(options(&mut rig), (0x2f, 0x5a, 0x33));
    assert_eq!(rig.command(&[0x94]), [0x10]);
    assert_eq!(options(&mut rig), (0xaf, 0x5a, 0x33));

    rig.out(DSR, 0x80);
    rig.run();
    // LOCK keeps FIFO, threshold and PRETRK, but neither EIS nor POLL; PERPENDICULAR keeps its drive bits.
    assert_eq!(options(&mut rig), (0xac, 0x0a, 0x33));
    assert_eq!(rig.command(&[0x14]), [0x00]);
    rig.out(DSR, 0x80);
    rig.run();
    assert_eq!(options(&mut rig), (0x2c, 0x20, 0));

    rig.command(&[0x94]);
    rig.command(&[0x13, 0, 0x0a, 0x33]);
    rig.fdc.reset();
    rig.out(DOR, RUNNING);
    rig.run();
    assert_eq!(options(&mut rig), (0x00, 0x20, 0), "the RESET pin clears LOCK");
}

#[test]
fn reset_keeps_what_specify_set() {
    let mut rig = Rig::warm();
    rig.command(&[0x03, 0xaf, 0x02]);
    rig.out(DSR, 0x80);
    rig.run();
    assert_eq!(rig.command(&[0x0e])[4..6], [0xaf, 0x02]);
}

#[test]
fn the_dma_gate_keeps_the_interrupt_off_the_bus() {
    let mut rig = Rig::cold([Some(DriveType::Inch3High), None]);
    rig.out(DOR, 0x04);
    rig.run();
    assert!(!rig.irq.level());
    assert_eq!(rig.inp(SRA) & 0x80, 0x80);
    rig.out(DOR, 0x0c);
    assert!(rig.irq.level());
}

#[test]
fn drive_lines_need_select_and_motor() {
    let mut rig = Rig::warm();
    assert_eq!(rig.inp(DIR) & 0x80, 0x80);
    rig.out(DOR, 0x0c);
    assert_eq!(rig.inp(DIR) & 0x80, 0, "motor off");
    rig.out(DOR, 0x2d);
    assert_eq!(rig.inp(DIR) & 0x80, 0, "no such drive");
    rig.out(DOR, 0x1c);
    assert_eq!(rig.inp(DIR) & 0x80, 0x80);
}

#[test]
fn the_change_line_stays_until_a_step_with_a_diskette() {
    let mut rig = Rig::warm();
    let changed = |rig: &mut Rig| rig.inp(DIR) & 0x80 != 0;
    assert!(changed(&mut rig));
    rig.seek(0, 1);
    assert!(changed(&mut rig), "a step without a diskette does not count");
    rig.insert(DriveId::A, 1_474_560);
    rig.out(CCR, 0);
    assert!(changed(&mut rig));
    let (result, _) = rig.read(&transfer(0xe6, 0, [0, 0, 1], 1), 512);
    assert_eq!(result[1] & 0x04, 0x04);
    assert!(changed(&mut rig), "nor does a read");
    rig.seek(0, 1);
    assert!(changed(&mut rig), "nor a seek to where the heads are");
    rig.recalibrate(0);
    assert!(!changed(&mut rig));
    rig.recalibrate(0);
    rig.insert(DriveId::A, 1_474_560);
    assert!(changed(&mut rig));
    rig.recalibrate(0);
    assert!(changed(&mut rig), "already at track 0: no step");
    rig.seek(0, 1);
    assert!(!changed(&mut rig));
    rig.fdc.eject(DriveId::A);
    assert!(changed(&mut rig));
}

#[test]
fn status_a_shows_the_drive() {
    let (mut rig, _) = Rig::with_1440k();
    assert_eq!(rig.inp(SRA) & 0x12, 0x02, "track 0, writable");
    rig.seek(0, 5);
    assert_eq!(rig.inp(SRA) & 0x11, 0x11, "not track 0, inwards");
    rig.seek(0, 4);
    assert_eq!(rig.inp(SRA) & 0x11, 0x10, "outwards");
    rig.send(&[0x0f, 0, 9]);
    assert_eq!(rig.inp(SRA) & 0x20, 0x20, "stepping");
    assert_eq!(
        rig.inp(MSR),
        0x81,
        "drive 0 seeks, and the controller takes commands"
    );
    rig.run();
    assert_eq!(rig.inp(MSR), 0x80);
    rig.command(&[0x04, 0x04]);
    assert_eq!(rig.inp(SRA) & 0x08, 0x08);
    rig.clock.set(200_000_000 * 1_000);
    assert_eq!(rig.inp(SRA) & 0x04, 0, "the index hole");
    rig.clock.advance(100_000_000);
    assert_eq!(rig.inp(SRA) & 0x04, 0x04);
    let mut two = Rig::cold([Some(DriveType::Inch3High); 2]);
    assert_eq!(two.inp(SRA) & 0x40, 0);
}

#[test]
fn status_b_turns_with_the_data() {
    let (mut rig, _) = Rig::with_1440k();
    let before = rig.inp(SRB);
    rig.read(&transfer(0xe6, 0, [0, 0, 1], 1), 512);
    let after = rig.inp(SRB);
    assert_eq!(before ^ after, 0x08);
    rig.write(&transfer(0xc5, 0, [0, 0, 1], 1), &[0; 512]);
    assert_eq!(after ^ rig.inp(SRB), 0x10);
}
