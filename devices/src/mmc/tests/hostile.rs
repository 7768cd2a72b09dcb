// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any packet, in any order, with any medium: no panic, no end of data that was not announced, no unbounded growth.
use super::*;
use crate::block::MediumError;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Packet([u8; 12]),
    Pull(usize),
    Push(Vec<u8>),
    Insert(u32),
    Eject(bool),
    Hold,
    Release,
    Fail(bool),
    Abort,
    Reset,
}

/// Packets that mostly get past the first checks: a known command, small numbers.
fn packet() -> impl Strategy<Value = [u8; 12]> {
    let opcodes = [
        0x00, 0x03, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2b, 0x2f, 0x35, 0x42, 0x43, 0x46, 0x4a, 0x51,
        0x52, 0x55, 0x5a, 0xa0, 0xa7, 0xa8, 0xac, 0xad, 0xb9, 0xbb, 0xbd, 0xbe,
    ];
    let byte = prop_oneof![4 => Just(0_u8), 3 => 0..20_u8, 2 => any::<u8>()];
    let known = (
        prop::sample::select(opcodes.to_vec()),
        prop::array::uniform11(byte),
    )
        .prop_map(|(opcode, rest)| {
            let mut packet = [opcode; 12];
            packet[1..].copy_from_slice(&rest);
            packet
        });
    prop_oneof![9 => known, 1 => any::<[u8; 12]>()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => packet().prop_map(Step::Packet),
        12 => prop_oneof![Just(0_usize), 1..5000_usize, Just(65_536)].prop_map(Step::Pull),
        3 => prop::collection::vec(any::<u8>(), 0..64).prop_map(Step::Push),
        1 => prop_oneof![Just(0_u32), 1..40_u32].prop_map(Step::Insert),
        1 => any::<bool>().prop_map(Step::Eject),
        1 => Just(Step::Hold),
        2 => Just(Step::Release),
        1 => any::<bool>().prop_map(Step::Fail),
        1 => Just(Step::Abort),
        1 => Just(Step::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn nothing_upsets_the_drive(steps in prop::collection::vec(step(), 1..120)) {
        let mut disc = medium(30);
        let mut drive = DvdDrive::new(identity(), Some(Box::new(disc.clone())));
        // Bytes that the running command may still give.
        let mut left = 0;
        for step in steps {
            match step {
                Step::Packet(packet) => {
                    left = match drive.execute(&packet) {
                        Reply::Done(_) => 0,
                        Reply::DataIn { len } => {
                            prop_assert!(len > 0);
                            len
                        }
                        Reply::DataOut { len } => {
                            prop_assert!(len > 0 && len <= 65_536);
                            0
                        }
                    }
                }
                Step::Pull(max) => match drive.pull(max) {
                    Pull::Data(data) => {
                        prop_assert!(!data.is_empty() && data.len() <= max.max(1));
                        prop_assert!(data.len() as u64 <= left);
                        left -= data.len() as u64;
                    }
                    Pull::Pending => prop_assert!(left > 0),
                    Pull::InPieces => prop_assert!(false, "nothing went straight"),
                    Pull::End(status) => {
                        prop_assert!(left == 0 || status != Status::Good);
                        left = 0;
                    }
                },
                Step::Push(data) => {
                    drive.push(&data);
                    left = 0;
                }
                Step::Insert(sectors) => {
                    disc = medium(sectors);
                    drop(drive.insert(Box::new(disc.clone())));
                }
                Step::Eject(force) => drop(drive.eject(force)),
                Step::Hold => disc.hold(),
                Step::Release => disc.release(),
                Step::Fail(fail) => disc.fail(fail.then_some(MediumError::Io)),
                Step::Abort => {
                    drive.abort();
                    left = 0;
                }
                Step::Reset => {
                    drive.reset();
                    left = 0;
                }
            }
        }
        prop_assert!(drive.take_events().len() <= 32);
    }

    /// However media come and go, a guest that keeps asking ends up with what is in the drive.
    #[test]
    fn the_guest_always_catches_up(steps in prop::collection::vec(step(), 1..40)) {
        let mut drive = DvdDrive::new(identity(), None);
        for step in steps {
            match step {
                Step::Packet(packet) => drop(drive.execute(&packet)),
                Step::Insert(sectors) => drop(drive.insert(Box::new(medium(sectors.max(1))))),
                Step::Eject(force) => drop(drive.eject(force)),
                _ => {}
            }
        }
        let mut host = Host { drive, piece: 4096 };
        let answers: Vec<_> = (0..6).map(|_| host.run(&[0]).err()).collect();
        let status = host.drive.status();
        let settled = match (status.tray_open, status.medium_present) {
            (true, _) => Some(TRAY_OPEN),
            (false, true) => None,
            (false, false) => Some(TRAY_CLOSED),
        };
        prop_assert_eq!(&answers[4..], &[settled, settled]);
    }
}
