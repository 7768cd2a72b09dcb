// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sequences of real drivers, on a real DMA controller.
use super::*;
use crate::dma8237::{ChannelNumber, Dma8237, DmaChannel};
use crate::testing::TestRam;
use std::sync::Mutex;

const BUFFER: usize = 0x8000;

/// A machine: the controller of the rig with channel 2 of an 8237A.
struct Machine {
    rig: Rig,
    dma: Arc<Mutex<Dma8237>>,
    ram: Arc<TestRam>,
}

impl Machine {
    fn new(drives: [Option<DriveType>; 2]) -> Self {
        let dma = Arc::new(Mutex::new(Dma8237::new()));
        let ram = TestRam::new(1 << 20);
        let mut rig = Rig::cold(drives);
        rig.fdc.dma = Box::new(DmaChannel::new(dma.clone(), ram.clone(), ChannelNumber::Dma2));
        let machine = Self { rig, dma, ram };
        // As firmware does: channel 4 cascades.
        machine.dma_out(0xd6, 0xc0);
        machine.dma_out(0xd4, 0x00);
        machine
    }

    fn dma_out(&self, port: u64, value: u8) {
        crate::bus::lock(&self.dma).write_byte(port, value);
    }

    /// Programs channel 2 for `len` bytes at [`BUFFER`].
    fn program(&self, mode: u8, len: usize) {
        let count = (len - 1) as u16;
        self.dma_out(0x0a, 0x06);
        self.dma_out(0x0c, 0x00);
        self.dma_out(0x0b, mode);
        for byte in (BUFFER as u16).to_le_bytes() {
            self.dma_out(0x04, byte);
        }
        for byte in count.to_le_bytes() {
            self.dma_out(0x05, byte);
        }
        self.dma_out(0x81, (BUFFER >> 16) as u8);
        self.dma_out(0x0a, 0x02);
    }

    /// Waits for the interrupt, as a driver does: it must come once.
    fn wait_irq(&mut self) {
        self.rig.run();
        assert_eq!(self.rig.irq.take_rises(), 1);
    }

    fn with_irq(&mut self, command: &[u8]) -> Vec<u8> {
        self.rig.send(command);
        assert_eq!(
            self.rig.irq.take_rises(),
            0,
            "not inside the access that starts the command"
        );
        self.wait_irq();
        self.rig.result()
    }

    fn sense_interrupt(&mut self) -> Vec<u8> {
        self.rig.send(&[0x08]);
        self.rig.result()
    }

    /// Lets the reset bit of the DOR fall and rise.
    fn dor_reset(&mut self, dor: u8) {
        self.rig.out(DOR, dor & !0x04);
        self.rig.out(DOR, dor);
        self.wait_irq();
        for drive in 0..4 {
            assert_eq!(self.sense_interrupt()[0], 0xc0 | drive);
        }
    }
}

#[test]
fn a_bios_reads_a_boot_sector_and_writes() {
    let mut machine = Machine::new([Some(DriveType::Inch3High), None]);
    let medium = machine.rig.insert(DriveId::A, 1_474_560);
    machine.dor_reset(0x0c);
    machine.rig.out(DOR, 0x1c);
    assert_eq!(machine.with_irq(&[0x07, 0]), []);
    assert_eq!(machine.sense_interrupt(), [0x20, 0]);
    machine.rig.out(CCR, 0);
    assert_eq!(machine.with_irq(&[0x4a, 0])[..3], [0, 0, 0]);
    machine.rig.send(&[0x03, 0xaf, 0x02]);

    machine.program(0x46, 512);
    let result = machine.with_irq(&[0xe6, 0, 0, 0, 1, 2, 1, 0x1b, 0xff]);
    assert_eq!(result[0] & 0xc0, 0);
    assert_eq!(machine.ram.get(BUFFER, 512), sectors(0, 1));

    // A cylinder at a time, both sides.
    machine.with_irq(&[0x0f, 0, 40]);
    assert_eq!(machine.sense_interrupt(), [0x20, 40]);
    machine.program(0x46, 36 * 512);
    let result = machine.with_irq(&[0xe6, 0, 40, 0, 1, 2, 18, 0x1b, 0xff]);
    assert_eq!(result, [0x04, 0, 0, 41, 0, 1, 2]);
    assert_eq!(machine.ram.get(BUFFER, 36 * 512), sectors(40 * 36, 36));

    machine.ram.put(BUFFER, &[0xa5; 1024]);
    machine.program(0x4a, 1024);
    let result = machine.with_irq(&[0xc5, 4, 40, 1, 9, 2, 10, 0x1b, 0xff]);
    assert_eq!(result[0] & 0xc0, 0);
    assert_eq!(medium.data()[(40 * 36 + 26) * 512..][..1024], [0xa5; 1024]);

    // The verify mode of the DMA controller: everything as a read, but memory stays as it is.
    machine.ram.put(BUFFER, &[0x11; 1024]);
    machine.program(0x42, 1024);
    let result = machine.with_irq(&[0xe6, 0, 40, 0, 1, 2, 2, 0x1b, 0xff]);
    assert_eq!(result[..3], [0, 0, 0]);
    assert_eq!(machine.ram.get(BUFFER, 1024), [0x11; 1024]);
}

#[test]
fn a_bios_finds_no_diskette() {
    let mut machine = Machine::new([Some(DriveType::Inch3High), None]);
    machine.dor_reset(0x0c);
    machine.rig.out(DOR, 0x1c);
    machine.with_irq(&[0x07, 0]);
    machine.sense_interrupt();
    for rate in [0, 2, 1, 3] {
        machine.rig.out(CCR, rate);
        assert_eq!(machine.with_irq(&[0x4a, 0])[0] & 0xc0, 0x40);
    }
}

#[test]
fn linux_identifies_an_82077() {
    let mut machine = Machine::new([Some(DriveType::Inch3High), None]);
    machine.rig.out(DOR, 0x0c);
    machine.wait_irq();
    for _ in 0..4 {
        machine.sense_interrupt();
    }
    machine.rig.send(&[0x0e]);
    assert_eq!(machine.rig.result().len(), 10);
    machine.rig.send(&[0x13, 0, 0x1a, 0]);
    machine.rig.send(&[0x12]);
    assert_eq!(
        machine.rig.inp(MSR),
        0x90,
        "PERPENDICULAR MODE wants a second byte"
    );
    machine.rig.send(&[0x00]);
    machine.rig.send(&[0x14]);
    assert_eq!(machine.rig.result(), [0x00]);
    machine.rig.send(&[0x18]);
    assert_eq!(machine.rig.result(), [0x80]);
    // Its reset through the DSR gives one interrupt although CONFIGURE had switched the poll off.
    machine.rig.out(DSR, 0x80);
    machine.wait_irq();
    for drive in 0..4 {
        assert_eq!(machine.sense_interrupt(), [0xc0 | drive, 0]);
    }
    assert_eq!(machine.sense_interrupt(), [0x80]);
}

#[test]
fn linux_probes_reads_and_sees_a_new_diskette() {
    let mut machine = Machine::new([Some(DriveType::Inch3High), None]);
    machine.rig.insert(DriveId::A, 737_280);
    machine.dor_reset(0x0c);
    machine.rig.send(&[0x03, 0xdf, 0x02]);
    machine.rig.out(DOR, 0x1c);
    machine.with_irq(&[0x07, 0]);
    machine.sense_interrupt();
    // The change line needs a step that a drive at track 0 does not make by itself.
    assert_eq!(machine.rig.inp(DIR) & 0x80, 0x80);
    for cylinder in [1, 0] {
        machine.with_irq(&[0x0f, 0, cylinder]);
        assert_eq!(machine.sense_interrupt(), [0x20, cylinder]);
    }
    assert_eq!(machine.rig.inp(DIR) & 0x80, 0);
    // The 1.44M rate fails, the 720K rate does.
    for (rate, expected) in [(0, [0x40, 0x01, 0x00]), (2, [0x00, 0x00, 0x00])] {
        machine.rig.out(CCR, rate);
        machine.program(0x46, 512);
        let result = machine.with_irq(&[0xe6, 0, 0, 0, 1, 2, 9, 0x2a, 0xff]);
        assert_eq!(result[..3], expected);
    }
    // A diskette is exchanged: the line rises, and the driver probes again.
    machine.rig.insert(DriveId::A, 1_474_560);
    assert_eq!(machine.rig.inp(DIR) & 0x80, 0x80);
    machine.with_irq(&[0x0f, 0, 1]);
    machine.sense_interrupt();
    assert_eq!(machine.rig.inp(DIR) & 0x80, 0);
    machine.rig.out(CCR, 0);
    machine.program(0x46, 18 * 512);
    let result = machine.with_irq(&[0xe6, 4, 1, 1, 1, 2, 18, 0x1b, 0xff]);
    assert_eq!(result, [0x04, 0, 0, 2, 0, 1, 2]);
    assert_eq!(machine.ram.get(BUFFER, 18 * 512), sectors(36 + 18, 18));
}

#[test]
fn a_formatter_formats_and_verifies_every_track() {
    let mut machine = Machine::new([Some(DriveType::Inch3High), None]);
    let medium = machine.rig.insert(DriveId::A, 1_474_560);
    machine.dor_reset(0x1c);
    machine.rig.out(CCR, 0);
    for cylinder in 0..80 {
        machine.with_irq(&[0x0f, 0, cylinder]);
        machine.sense_interrupt();
        for head in 0..2 {
            let ids: Vec<u8> = (1..=18).flat_map(|r| [cylinder, head, r, 2]).collect();
            machine.ram.put(BUFFER, &ids);
            machine.program(0x4a, ids.len());
            let result = machine.with_irq(&[0x4d, head << 2, 2, 18, 0x54, 0xf6]);
            assert_eq!(result[0] & 0xc0, 0);
            machine
                .rig
                .send(&[0x56, head << 2, cylinder, head, 1, 2, 18, 0x1b, 0xff]);
            machine.wait_irq();
            assert_eq!(machine.rig.result()[0] & 0xc0, 0);
        }
    }
    assert!(medium.data().iter().all(|byte| *byte == 0xf6));
}

#[test]
fn a_transfer_wraps_with_the_dma_page() {
    let mut machine = Machine::new([Some(DriveType::Inch3High), None]);
    machine.rig.insert(DriveId::A, 1_474_560);
    machine.dor_reset(0x1c);
    machine.rig.out(CCR, 0);
    machine.program(0x46, 1024);
    machine.dma_out(0x0c, 0);
    machine.dma_out(0x04, 0x00);
    machine.dma_out(0x04, 0xfe);
    machine.dma_out(0x81, 0x03);
    assert_eq!(machine.with_irq(&[0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff])[0], 0);
    assert_eq!(machine.ram.get(0x3_fe00, 512), sectors(0, 1));
    assert_eq!(machine.ram.get(0x3_0000, 512), sectors(1, 1));
}
