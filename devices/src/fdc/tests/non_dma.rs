// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Transfers through the FIFO.
use super::*;

/// A rig in non-DMA mode.
fn rig() -> (Rig, TestMedium) {
    let (mut rig, medium) = Rig::with_1440k();
    rig.command(&[0x03, 0xdf, 0x03]);
    rig.irq.take_rises();
    (rig, medium)
}

/// Moves bytes while the controller asks for them: reads with `None`, else writes.
fn poll(rig: &mut Rig, mut write: Option<&[u8]>) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        match (rig.inp(MSR), &mut write) {
            (0xf0, None) => read.push(rig.inp(FIFO)),
            (0xb0, Some(data)) => {
                let (first, rest) = data.split_first().unwrap();
                rig.out(FIFO, *first);
                *data = rest;
            }
            (0x30, _) => {
                rig.run();
                if rig.inp(MSR) == 0x30 {
                    return read;
                }
            }
            (0xd0, _) => return read,
            (msr, _) => panic!("{msr:#x} after {} bytes", read.len()),
        }
    }
}

#[test]
fn a_polled_read() {
    let (mut rig, _) = rig();
    rig.send(&transfer(0xc6, 0, [0, 0, 17], 18));
    assert_eq!(rig.inp(MSR), 0x30);
    rig.run();
    let data = poll(&mut rig, None);
    assert_eq!(data, sectors(16, 20));
    assert_eq!(
        rig.result(),
        [0x44, 0x80, 0, 1, 0, 1, 2],
        "there is no terminal count"
    );
    assert_eq!(rig.dma.memory(), [], "the DMA channel was left alone");
}

#[test]
fn a_polled_write() {
    let (mut rig, medium) = rig();
    let data: Vec<u8> = (0..3 * 512).map(|n| (n / 5) as u8).collect();
    rig.send(&transfer(0x45, 0, [0, 0, 16], 18));
    rig.run();
    poll(&mut rig, Some(&data));
    assert_eq!(rig.result(), [0x40, 0x80, 0, 1, 0, 1, 2]);
    assert_eq!(medium.data()[15 * 512..18 * 512], data);
    assert_eq!(medium.data()[18 * 512..19 * 512], sectors(18, 1));
}

#[test]
fn the_controller_stays_in_execution_while_the_medium_works() {
    let (mut rig, medium) = rig();
    medium.hold();
    rig.send(&transfer(0x45, 0, [0, 0, 17], 18));
    rig.run();
    poll(&mut rig, Some(&[7; 512]));
    assert_eq!(rig.inp(MSR), 0x30, "non-DMA and busy, but no request");
    assert!(!rig.irq.level());
    rig.out(FIFO, 1);
    assert_eq!(rig.inp(FIFO), 0);
    medium.release();
    rig.fdc.service();
    assert_eq!(rig.inp(MSR), 0xb0);
    assert!(rig.irq.level());
    poll(&mut rig, Some(&[8; 512]));
    assert_eq!(rig.result()[..3], [0x40, 0x80, 0]);
    assert_eq!(medium.data()[16 * 512..18 * 512], [[7; 512], [8; 512]].concat());
}

#[test]
fn each_piece_of_the_fifo_interrupts() {
    // Without FIFO: each byte. With a threshold of n + 1 bytes: the rest of the 16.
    for (options, piece) in [(0x20, 1), (0x00, 15), (0x07, 8), (0x0f, 1)] {
        let (mut rig, _) = rig();
        rig.command(&[0x13, 0, options, 0]);
        rig.send(&transfer(0x46, 0, [0, 0, 18], 18));
        assert_eq!(rig.irq.take_rises(), 0);
        rig.run();
        assert_eq!(rig.irq.take_rises(), 1);
        let mut data = Vec::new();
        while rig.inp(MSR) == 0xf0 {
            assert!(rig.irq.level());
            data.push(rig.inp(FIFO));
            let expected = usize::from(data.len() % piece == 0 && data.len() < 512);
            assert_eq!(rig.irq.take_rises(), expected, "byte {}", data.len());
        }
        assert_eq!(data, sectors(17, 1));
        assert!(!rig.irq.level());
        rig.run();
        assert_eq!(rig.irq.take_rises(), 1, "the result phase");
        assert_eq!(rig.result().len(), 7);
    }
}

#[test]
fn a_track_is_formatted_through_the_fifo() {
    let (mut rig, medium) = rig();
    rig.send(&[0x4d, 0, 2, 18, 0x54, 0xf6]);
    rig.run();
    let ids: Vec<u8> = (1..=18).flat_map(|r| [0, 0, r, 2]).collect();
    poll(&mut rig, Some(&ids));
    assert_eq!(rig.result()[..3], [0, 0, 0]);
    assert_eq!(medium.data()[..18 * 512], [0xf6; 18 * 512]);
    assert_eq!(medium.data()[18 * 512..19 * 512], sectors(18, 1));
}

#[test]
fn a_scan_through_the_fifo() {
    let (mut rig, _) = rig();
    let wanted = sectors(2, 1);
    rig.send(&[0x51, 0, 0, 0, 1, 2, 18, 0x1b, 1]);
    rig.run();
    poll(&mut rig, Some(&wanted.repeat(3)));
    assert_eq!(rig.result(), [0, 0, 0x08, 0, 0, 3, 2]);
}

#[test]
fn a_reset_ends_a_transfer_and_the_sectors_before_it_stay_written() {
    let (mut rig, medium) = rig();
    rig.send(&transfer(0x45, 0, [0, 0, 1], 18));
    rig.run();
    for _ in 0..700 {
        rig.out(FIFO, 0x5a);
    }
    rig.out(DSR, 0x80);
    rig.run();
    assert_eq!(rig.inp(MSR), 0x80);
    assert_eq!(medium.data()[..512], [0x5a; 512]);
    assert_eq!(medium.data()[512..1024], sectors(1, 1));
}

#[test]
fn a_diskette_pulled_out_while_the_host_is_asked_ends_the_command() {
    let (mut rig, _) = rig();
    rig.send(&transfer(0x46, 0, [0, 0, 1], 18));
    rig.run();
    rig.inp(FIFO);
    drop(rig.fdc.eject(DriveId::A));
    rig.run();
    assert_eq!(rig.result()[..3], [0x40, 0x01, 0]);
}
