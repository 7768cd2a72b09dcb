// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A guest that does anything at all.
use super::*;
use crate::block::MediumError;
use proptest::prelude::*;

/// One thing that happens to a channel.
#[derive(Debug, Clone)]
enum Event {
    Write { offset: u64, data: Vec<u8> },
    Read { offset: u64, len: usize },
    StringOut { width: usize, data: Vec<u8> },
    StringIn { offset: u64, width: usize, len: usize },
    Descriptor { index: usize, bytes: [u8; 8] },
    Table(u32),
    Command { code: u8, lba: u32, count: u8 },
    Packet { features: u8, limit: u16 },
    Hold,
    Release,
    Fail(Option<MediumError>),
    Pulls(Vec<usize>),
    Service,
    Reset,
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0u64..0x30,
        1 => any::<u64>(),
    ]
}

/// Commands that exist, with the rest now and then.
fn code() -> impl Strategy<Value = u8> {
    let known: Vec<u8> = (0..=0xff)
        .filter(|code| crate::ide::spec::Command::decode(*code).is_some())
        .collect();
    prop_oneof![6 => proptest::sample::select(known), 1 => any::<u8>()]
}

fn event() -> impl Strategy<Value = Event> {
    let error = proptest::sample::select(vec![
        None,
        Some(MediumError::Io),
        Some(MediumError::ReadOnly),
        Some(MediumError::OutOfRange),
    ]);
    let width = || proptest::sample::select(vec![1usize, 2, 4, 8]);
    let bytes = |max| proptest::collection::vec(any::<u8>(), 0..max);
    prop_oneof![
        4 => (offset(), width(), bytes(8)).prop_map(|(offset, width, mut data)| {
            data.resize(width, 0x5a);
            Event::Write { offset, data }
        }),
        4 => (offset(), width()).prop_map(|(offset, len)| Event::Read { offset, len }),
        3 => (0usize..9, bytes(1500)).prop_map(|(width, data)| Event::StringOut { width, data }),
        3 => (prop_oneof![4 => Just(0), 1 => offset()], 0usize..9, 0usize..20_000)
            .prop_map(|(offset, width, len)| Event::StringIn { offset, width, len }),
        3 => (0usize..8, any::<[u8; 8]>(), any::<bool>()).prop_map(|(index, mut bytes, near)| {
            if near {
                // In memory, or just at its end.
                [bytes[2], bytes[3]] = [bytes[2] & 0x1f, 0];
            }
            Event::Descriptor { index, bytes }
        }),
        1 => prop_oneof![Just(TABLE as u32), any::<u32>()].prop_map(Event::Table),
        8 => (code(), prop_oneof![0u32..2100, any::<u32>()], any::<u8>())
            .prop_map(|(code, lba, count)| Event::Command { code, lba, count }),
        3 => (0u8..4, any::<u16>()).prop_map(|(features, limit)| Event::Packet { features, limit }),
        1 => Just(Event::Hold),
        2 => Just(Event::Release),
        1 => error.prop_map(Event::Fail),
        1 => proptest::collection::vec(0usize..3000, 0..4).prop_map(Event::Pulls),
        3 => Just(Event::Service),
        1 => Just(Event::Reset),
    ]
}

fn happen(host: &mut Host, medium: &TestMedium, fake: &Mutex<FakePacket>, event: Event) {
    match event {
        Event::Write { offset, data } => host.channel.write(offset, &data),
        Event::Read { offset, len } => host.channel.read(offset, &mut vec![0; len]),
        Event::StringOut { width, data } => host.channel.write_string(0, width, &data),
        Event::StringIn { offset, width, len } => {
            host.channel.read_string(offset, width, &mut vec![0; len]);
        }
        Event::Descriptor { index, bytes } => host.ram.put(TABLE + 8 * index, &bytes),
        Event::Table(table) => host.channel.write(BUS_MASTER + 4, &table.to_le_bytes()),
        Event::Command { code, lba, count } => host.lba28(code, lba, count),
        Event::Packet { features, limit } => {
            host.outb(FEATURES, features);
            host.channel.write(MID, &limit.to_le_bytes());
            host.outb(COMMAND, 0xa0);
            host.outsw(&[0; 12]);
        }
        Event::Hold => medium.hold(),
        Event::Release => medium.release(),
        Event::Fail(error) => medium.fail(error),
        Event::Pulls(lens) => {
            let mut fake = fake.lock().unwrap();
            fake.reply = Some(match lens.len() {
                0 => Reply::Done(Status::Good),
                1 => Reply::DataOut { len: lens[0].max(1) },
                _ => Reply::DataIn { len: 3000 },
            });
            fake.pulls = lens
                .into_iter()
                .map(|len| match len {
                    0 => Pull::Pending,
                    len => Pull::Data(vec![1; len]),
                })
                .collect();
        }
        Event::Service => host.channel.service(),
        Event::Reset => host.channel.reset(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Nothing panics or hangs; the line always follows from the registers; and after a reset the drives answer as ever.
    #[test]
    fn any_guest_any_time(events in proptest::collection::vec(event(), 1..120)) {
        let medium = medium(2048);
        let (drive, fake) = packet_drive();
        let mut host = Host::new([disk(&medium), drive]);
        for event in events {
            happen(&mut host, &medium, &fake, event);
            let before = host.wire.level();
            host.alternate();
            prop_assert_eq!(host.wire.level(), before);
            if before {
                host.inb(STATUS);
                prop_assert!(!host.wire.level());
            }
        }
        medium.fail(None);
        medium.release();
        host.channel.reset();
        prop_assert_eq!(host.inb(STATUS), READY);
        let expected = medium.data()[7 * SECTOR..8 * SECTOR].to_vec();
        host.lba28(0x20, 7, 1);
        prop_assert_eq!(host.inb(STATUS), DATA);
        prop_assert_eq!(host.insw(SECTOR), expected);
        host.select(1);
        host.outb(COMMAND, 0xa1);
        prop_assert_eq!(word(&host.insw(512), 0), 0x85c0);
    }
}

/// Every register in every width with every value, in every state that a few commands lead to.
#[test]
fn every_register_takes_every_value() {
    for command in [0x00u8, 0x20, 0x30, 0xa0, 0xc8, 0xca, 0xe7, 0xec] {
        let (mut host, medium) = Host::with_disk();
        medium.hold();
        host.lba28(command, 0, 2);
        for offset in 0..0x30 {
            for value in 0..=0xff {
                for width in [1, 2, 4, 8] {
                    host.channel.write(offset, &vec![value; width]);
                    host.channel.read(offset, &mut vec![0; width]);
                }
            }
        }
        medium.release();
        host.channel.reset();
        assert_eq!(host.inb(STATUS), READY);
    }
}
