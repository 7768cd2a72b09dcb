// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whatever a guest, a host and a medium do: no panic, no endless loop, and a reset always brings the controller back.
use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Act {
    Read(u64, usize),
    Write(u64, Vec<u8>),
    /// A command that makes sense, mostly.
    Command(u8, [u8; 8]),
    Time(u64),
    Expire,
    Dma(usize, bool),
    Hold,
    Release,
    Fail(bool),
    Insert(bool, usize),
    Eject(bool),
    Service,
    Reset,
}

fn act() -> impl Strategy<Value = Act> {
    let lengths = prop::sample::select(vec![1usize, 368_640, 737_280, 1_474_560, 1_720_320, 10_000]);
    // First bytes of real commands come up often enough to get anywhere.
    let opcodes = prop::sample::select(vec![
        0xe6u8, 0x46, 0xc5, 0x45, 0x49, 0x4c, 0x6c, 0x42, 0x4d, 0x4a, 0x56, 0xd6, 0x51, 0x59, 0x5d, 0x07,
        0x0f, 0xcf, 0x8f, 0x08, 0x03, 0x04, 0x13, 0x0e, 0x12, 0x94,
    ]);
    let small = prop::array::uniform8(prop_oneof![0u8..4, 0u8..40, any::<u8>()]);
    prop_oneof![
        4 => (0u64..9, 1usize..5).prop_map(|(offset, width)| Act::Read(offset, width)),
        4 => (0u64..9, prop::collection::vec(any::<u8>(), 1..5)).prop_map(|(o, v)| Act::Write(o, v)),
        8 => (opcodes, small).prop_map(|(opcode, rest)| Act::Command(opcode, rest)),
        4 => (0u64..400_000_000).prop_map(Act::Time),
        6 => Just(Act::Expire),
        3 => (0usize..20_000, any::<bool>()).prop_map(|(len, masked)| Act::Dma(len, masked)),
        1 => Just(Act::Hold),
        2 => Just(Act::Release),
        1 => any::<bool>().prop_map(Act::Fail),
        2 => (any::<bool>(), lengths).prop_map(|(b, len)| Act::Insert(b, len)),
        1 => any::<bool>().prop_map(Act::Eject),
        2 => Just(Act::Service),
        1 => Just(Act::Reset),
    ]
}

fn drive(second: bool) -> DriveId {
    if second { DriveId::B } else { DriveId::A }
}

fn perform(rig: &mut Rig, media: &mut Vec<TestMedium>, act: Act) {
    match act {
        Act::Read(offset, width) => rig.fdc.read(offset, &mut vec![0; width]),
        Act::Write(offset, data) => rig.fdc.write(offset, &data),
        Act::Command(opcode, rest) => {
            rig.out(FIFO, opcode);
            for byte in rest {
                if rig.inp(MSR) & 0xf0 != 0x90 {
                    break;
                }
                rig.out(FIFO, byte);
            }
        }
        Act::Time(nanos) => rig.clock.advance(nanos),
        Act::Expire => rig.fdc.expire(),
        Act::Dma(len, masked) => {
            rig.dma.program(vec![0; len]);
            rig.dma.mask(masked);
        }
        Act::Hold => media.iter().for_each(TestMedium::hold),
        Act::Release => media.iter().for_each(TestMedium::release),
        Act::Fail(fail) => {
            for medium in media {
                medium.fail(fail.then_some(MediumError::Io));
            }
        }
        Act::Insert(second, len) => {
            let medium = TestMedium::new(vec![0; len]);
            let format = Format::detect(len as u64, &[], None).unwrap();
            if rig
                .fdc
                .insert(drive(second), Box::new(medium.clone()), format)
                .is_ok()
            {
                media.push(medium);
            }
        }
        Act::Eject(second) => drop(rig.fdc.eject(drive(second))),
        Act::Service => rig.fdc.service(),
        Act::Reset => rig.fdc.reset(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn nothing_panics_and_a_reset_always_helps(acts in prop::collection::vec(act(), 1..120)) {
        let mut rig = Rig::warm_with([Some(DriveType::Inch3High), Some(DriveType::Inch5High)]);
        let mut media = vec![rig.insert(DriveId::A, 1_474_560)];
        rig.out(CCR, 0);
        for act in acts {
            perform(&mut rig, &mut media, act);
            let gate = rig.fdc.state.dor.contains(Dor::DMA_GATE);
            prop_assert_eq!(rig.irq.level(), gate && rig.fdc.interrupt());
            prop_assert_eq!(rig.fdc.deadline(), rig.fdc.armed);
        }
        // Whatever has come before, a read works now.
        media.iter().for_each(TestMedium::release);
        for medium in &media {
            medium.fail(None);
        }
        let last = TestMedium::new(numbered(1_474_560));
        rig.insert_medium(DriveId::A, &last);
        rig.out(DOR, 0);
        rig.out(DOR, RUNNING);
        rig.run();
        prop_assert_eq!(rig.inp(MSR), 0x80);
        prop_assert!(rig.irq.level());
        for unit in 0..4 {
            prop_assert_eq!(rig.command(&[0x08])[0], 0xc0 | unit);
        }
        rig.out(CCR, 0);
        rig.command(&[0x03, 0xdf, 0x02]);
        rig.command(&[0x13, 0, 0x20, 0]);
        rig.recalibrate(0);
        rig.recalibrate(0);
        let (result, data) = rig.read(&transfer(0xe6, 0, [0, 0, 1], 18), SECTOR);
        prop_assert_eq!(&result[..3], &[0, 0, 0]);
        prop_assert_eq!(data, sectors(0, 1));
    }

    /// Any byte at any register, at random times, without knowing anything of commands.
    #[test]
    fn noise_does_not_panic(accesses in prop::collection::vec((0u64..10, any::<u8>(), any::<bool>(), 0u64..2_000_000), 0..400)) {
        let (mut rig, _medium) = Rig::with_1440k();
        for (register, value, write, nanos) in accesses {
            if write {
                rig.out(register, value);
            } else {
                rig.inp(register);
            }
            rig.clock.advance(nanos);
        }
        rig.run();
    }
}
