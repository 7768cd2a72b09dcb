// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any access in any order: no panic, and lines that agree with the registers.
use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Read(u64, usize),
    Write(u64, Vec<u8>),
    Key(Key, bool),
    Codes(Vec<u8>),
    Mouse(i32, i32, i32, u8),
    Advance(u64),
    Expire,
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    let offset = prop_oneof![4 => Just(DATA), 4 => Just(COMMAND), 1 => 0..8_u64];
    let width = prop::sample::select(vec![1_usize, 1, 1, 2, 4, 8]);
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![
            0x20_u8, 0x60, 0xaa, 0xa8, 0xae, 0xd4, 0xd4, 0xd4, 0xf3, 200, 100, 80, 0xf4, 0xf0, 0xe9, 0xeb,
            0x47
        ])
    ];
    prop_oneof![
        6 => (offset.clone(), width).prop_map(|(at, width)| Step::Read(at, width)),
        8 => (offset, prop::collection::vec(byte, 1..3)).prop_map(|(at, data)| Step::Write(at, data)),
        1 => (prop::sample::select(Key::ALL.to_vec()), any::<bool>()).prop_map(|(key, pressed)| Step::Key(key, pressed)),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Step::Codes),
        1 => (any::<i32>(), any::<i32>(), any::<i32>(), any::<u8>()).prop_map(|(x, y, w, b)| Step::Mouse(x, y, w, b)),
        1 => prop_oneof![0..2 * BYTE_TIME, any::<u64>()].prop_map(Step::Advance),
        1 => Just(Step::Expire),
        1 => Just(Step::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn nothing_upsets_the_controller(steps in prop::collection::vec(step(), 1..300)) {
        let mut bench = Bench::new();
        for step in steps {
            match step {
                Step::Read(at, width) => bench.chip.read(at, &mut [0; 8][..width]),
                Step::Write(at, data) => bench.chip.write(at, &data),
                Step::Key(key, pressed) => drop(bench.chip.key(key, pressed)),
                Step::Codes(codes) => drop(bench.chip.scan_codes(&codes)),
                Step::Mouse(x, y, wheel, buttons) => {
                    bench.chip.mouse(x, y, wheel, MouseButtons::from_bits_truncate(buttons));
                }
                // The clock never goes backwards.
                Step::Advance(by) => bench.clock.set(bench.clock.now().saturating_add(by)),
                Step::Expire => bench.chip.expire(),
                Step::Reset => bench.chip.reset(),
            }
            let status = bench.status();
            let full = status & OUTPUT_FULL != 0;
            let aux = status & AUX_FULL != 0;
            prop_assert!(full || !aux);
            prop_assert!(!bench.keyboard_irq.level() || (full && !aux));
            prop_assert!(!bench.mouse_irq.level() || (full && aux));
        }
        // It still works.
        bench.chip.reset();
        prop_assert_eq!(bench.ask(0xaa), 0x55);
        prop_assert_eq!(bench.keyboard(&[0xee]), [0xee]);
        prop_assert_eq!(bench.mouse(&[0xf2]), [ACK, 0]);
    }
}
