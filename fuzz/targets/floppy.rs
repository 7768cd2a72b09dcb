// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any guest on the floppy controller: any register, width, value and time, and diskettes that come, go, wait and fail.
#![no_main]

use devices::block::MediumError;
use devices::bus::Device;
use devices::clock::Timed;
use devices::fdc::media::{DriveType, Format};
use devices::fdc::{DriveId, Fdc, Wiring};
use devices::testing::{TestClock, TestDma, TestMedium, TestTimer, TestWire};
use fuzz::Choices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let clock = TestClock::new();
    let timer = TestTimer::new();
    let dma = TestDma::new(Vec::new());
    let irq = TestWire::new();
    let wiring = Wiring {
        clock: clock.clone(),
        timer: Box::new(timer),
        dma: Box::new(dma.clone()),
        irq: irq.wire.driver(),
    };
    let mut fdc = Fdc::new(wiring, [Some(DriveType::Inch3High), Some(DriveType::Inch5High)]);
    fdc.write(2, &[0x3c]);
    let mut medium = TestMedium::new(vec![5; 1_474_560]);
    let mut steps = 0;
    while !choices.is_empty() && steps < 400 {
        steps += 1;
        let what = choices.byte();
        match what % 8 {
            0 => fdc.write(
                u64::from(what >> 4),
                &choices.array::<4>()[..1 + usize::from(what >> 3 & 1)],
            ),
            1 => fdc.read(
                u64::from(what >> 4),
                &mut [0; 4][..1 + usize::from(what >> 3 & 1)],
            ),
            2 | 3 => {
                // A command, for as long as the controller asks for its bytes.
                for _ in 0..9 {
                    fdc.write(5, &[choices.byte()]);
                    let mut status = [0];
                    fdc.read(4, &mut status);
                    if status[0] & 0xf0 != 0x90 {
                        break;
                    }
                }
            }
            4 => clock.advance(u64::from(choices.long()) >> (what >> 4)),
            5 => {
                fdc.expire();
                fdc.service();
            }
            6 => {
                dma.program(vec![6; usize::from(choices.short())]);
                dma.mask(what & 0x80 != 0);
            }
            _ => {
                let drive = if what & 0x80 == 0 { DriveId::A } else { DriveId::B };
                match choices.byte() % 8 {
                    0 => medium.hold(),
                    1 => medium.release(),
                    2 => medium.fail(Some(MediumError::Io)),
                    3 => medium.fail(None),
                    4 => drop(fdc.eject(drive)),
                    5 => fdc.reset(),
                    size => {
                        let len = if size == 6 { 1_474_560 } else { 368_640 };
                        let new = TestMedium::new(vec![5; len]);
                        if let Ok(format) = Format::detect(len as u64, &[], None)
                            && fdc.insert(drive, Box::new(new.clone()), format).is_ok()
                        {
                            medium = new;
                        }
                    }
                }
            }
        }
    }
    medium.fail(None);
    medium.release();
    fdc.service();
    fdc.write(2, &[0]);
    fdc.write(2, &[0x3c]);
    for _ in 0..4 {
        clock.advance(1_000_000_000);
        fdc.expire();
    }
    let mut status = [0];
    fdc.read(4, &mut status);
    assert_eq!(status, [0x80], "a reset always helps");
});
