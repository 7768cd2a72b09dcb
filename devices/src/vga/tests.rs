// SPDX-License-Identifier: Apache-2.0 OR MIT
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod data_path;
mod screen;

use super::*;
use crate::testing::{TestClock, TestRam};
use proptest::prelude::*;

/// A card, the guest's memory and the clock.
struct Bench {
    vga: Vga,
    ram: Arc<TestRam>,
    clock: Arc<TestClock>,
}

/// CR0 to CR18 of mode 3, 720 × 400 (IBM's video parameter table).
const CRTC_MODE_3: [u8; 25] = [
    0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c,
    0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
];

impl Bench {
    /// A card after power-on.
    fn new() -> Self {
        let (ram, clock) = (TestRam::new(0x10_0000), TestClock::new());
        Self {
            vga: Vga::new(ram.clone(), clock.clone()),
            ram,
            clock,
        }
    }

    /// A card in 80 × 25 colour text.
    fn mode_3() -> Self {
        let mut bench = Self::new();
        bench.out(0x3c2, 0x67);
        bench.sequencer(&[(0, 3), (1, 0), (2, 3), (3, 0), (4, 2)]);
        for (index, value) in CRTC_MODE_3.into_iter().enumerate() {
            bench.crtc(index as u8, value);
        }
        bench.graphics(&[(5, 0x10), (6, 0x0e), (7, 0x0f), (8, 0xff)]);
        bench.attribute(0x10, 0x0c);
        bench.attribute(0x12, 0x0f);
        bench.out(0x3c0, 0x20);
        bench
    }

    fn out(&mut self, port: u64, value: u8) {
        self.vga.write(port, &[value]);
    }

    fn inb(&mut self, port: u64) -> u8 {
        let mut data = [0];
        self.vga.read(port, &mut data);
        data[0]
    }

    fn sequencer(&mut self, registers: &[(u8, u8)]) {
        for (index, value) in registers {
            self.vga.write(0x3c4, &[*index, *value]);
        }
    }

    fn graphics(&mut self, registers: &[(u8, u8)]) {
        for (index, value) in registers {
            self.vga.write(0x3ce, &[*index, *value]);
        }
    }

    fn crtc(&mut self, index: u8, value: u8) {
        self.vga.write(0x3d4, &[index, value]);
    }

    fn read_crtc(&mut self, index: u8) -> u8 {
        self.out(0x3d4, index);
        self.inb(0x3d5)
    }

    fn attribute(&mut self, index: u8, value: u8) {
        self.inb(0x3da);
        self.out(0x3c0, index);
        self.out(0x3c0, value);
    }

    fn read_attribute(&mut self, index: u8) -> u8 {
        self.inb(0x3da);
        self.out(0x3c0, index);
        let value = self.inb(0x3c1);
        self.inb(0x3da);
        value
    }
}

#[test]
fn power_on_values() {
    let mut b = Bench::new();
    for (port, value) in [
        (0x3c0, 0x00),
        (0x3c1, 0x00),
        (0x3c2, 0x10),
        (0x3c4, 0x00),
        (0x3c5, 0x00),
        (0x3c6, 0xff),
        (0x3c7, 0x00),
        (0x3c8, 0x00),
        (0x3ca, 0x00),
        (0x3cc, 0x00),
        (0x3ce, 0x00),
        (0x3cf, 0x00),
    ] {
        assert_eq!(b.inb(port), value, "{port:#x}");
    }
    // The card wakes up as a monochrome one, with its memory off.
    assert_eq!(b.inb(0x3b4), 0);
    assert_eq!(b.inb(0x3d4), 0xff);
    assert_eq!(b.inb(0xa_0000), 0xff);
    assert_eq!(b.vga.mode(), Mode::Off);
    assert_eq!(b.vga.text_screen(), None);
}

#[test]
fn reset_puts_registers_back_and_leaves_memory() {
    let mut b = Bench::mode_3();
    b.sequencer(&[(2, 4), (4, 6)]);
    b.graphics(&[(4, 2), (5, 0), (6, 4)]);
    b.out(0xa_1234, 0x5a);
    b.vga.reset();
    assert_eq!(b.inb(0x3cc), 0);
    assert_eq!(b.vga.mode(), Mode::Off);
    b.out(0x3c2, 0x02);
    b.sequencer(&[(4, 6)]);
    b.graphics(&[(4, 2)]);
    assert_eq!(b.inb(0xa_1234), 0x5a);
}

#[test]
fn registers_that_are_write_only_or_absent_float() {
    let mut b = Bench::mode_3();
    for port in [
        0x3c3, 0x3cb, 0x3cd, 0x3d6, 0x3d7, 0x3d8, 0x3d9, 0x3db, 0x3b4, 0x3b5, 0x3ba, 0x3b8,
    ] {
        b.out(port, 0);
        assert_eq!(b.inb(port), 0xff, "{port:#x}");
    }
}

#[test]
fn misc_output_moves_the_crtc_and_its_companions() {
    let mut b = Bench::mode_3();
    b.out(0x3da, 0x03);
    assert_eq!(b.inb(0x3ca), 0x03);
    b.crtc(0x0e, 0x12);
    b.out(0x3c2, 0x66);
    assert_eq!(b.inb(0x3cc), 0x66);
    // The same registers, at the other address.
    assert_eq!(b.inb(0x3d5), 0xff);
    b.out(0x3b4, 0x0e);
    assert_eq!(b.inb(0x3b5), 0x12);
    b.out(0x3da, 0x00);
    assert_eq!(b.inb(0x3ca), 0x03);
    b.out(0x3ba, 0x00);
    assert_eq!(b.inb(0x3ca), 0x00);
    // Input status 1 moved too: only 3BAh puts the flip-flop back.
    b.out(0x3c0, 0x01);
    assert_eq!(b.inb(0x3da), 0xff);
    b.out(0x3c0, 0x15);
    b.out(0x3c0, 0x01);
    assert_ne!(b.inb(0x3ba), 0xff);
    b.out(0x3c0, 0x02);
    assert_eq!(b.inb(0x3c0), 0x02);
}

#[test]
fn sequencer_and_graphics_registers_keep_only_their_bits() {
    let mut b = Bench::new();
    for (index, mask) in [0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0].into_iter().enumerate() {
        b.sequencer(&[(index as u8, 0xff)]);
        assert_eq!(b.inb(0x3c5), mask, "SR{index}");
    }
    for (index, mask) in [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff, 0, 0]
        .into_iter()
        .enumerate()
    {
        b.graphics(&[(index as u8, 0xff)]);
        assert_eq!(b.inb(0x3cf), mask, "GR{index}");
    }
    b.out(0x3c4, 0xff);
    b.out(0x3ce, 0xff);
    assert_eq!((b.inb(0x3c4), b.inb(0x3ce)), (0x07, 0x0f));
}

#[test]
fn crtc_registers_read_back_and_the_rest_is_absent() {
    let mut b = Bench::mode_3();
    b.crtc(0x11, 0x00);
    for index in 0..=0x18_u8 {
        b.crtc(index, 0x40 | index);
    }
    for index in 0..=0x18_u8 {
        assert_eq!(b.read_crtc(index), 0x40 | index);
    }
    // Probes for extended registers of other cards must not reach a register of this one.
    for index in [0x19_u8, 0x1e, 0x38, 0x3f] {
        b.crtc(index, 0x48);
        assert_eq!(b.read_crtc(index), 0x00);
    }
    assert_eq!(b.read_crtc(0x18), 0x58);
}

#[test]
fn the_protect_bit_guards_the_first_eight_crtc_registers() {
    let mut b = Bench::mode_3();
    // Mode 3 leaves CR11 bit 7 set.
    for index in 0..8 {
        b.crtc(index, !CRTC_MODE_3[usize::from(index)]);
    }
    for index in 0..7 {
        assert_eq!(b.read_crtc(index), CRTC_MODE_3[usize::from(index)], "CR{index}");
    }
    // Only the line compare bit got through.
    assert_eq!(b.read_crtc(7), CRTC_MODE_3[7] ^ 0x10);
    b.crtc(8, 0x05);
    assert_eq!(b.read_crtc(8), 0x05);
    b.crtc(0x11, 0x0e);
    b.crtc(0, 0x12);
    assert_eq!(b.read_crtc(0), 0x12);
}

#[test]
fn the_attribute_flip_flop() {
    let mut b = Bench::mode_3();
    b.inb(0x3da);
    b.out(0x3c0, 0x13);
    assert_eq!(b.read_crtc(0x24), 0x80);
    // Reading does not move it.
    b.inb(0x3c0);
    b.inb(0x3c1);
    b.out(0x3c0, 0x07);
    assert_eq!(b.read_crtc(0x24), 0x00);
    assert_eq!(b.inb(0x3c1), 0x07);
    // Now an index again.
    b.out(0x3c0, 0x34);
    assert_eq!(b.inb(0x3c0), 0x34);
    assert_eq!(b.read_crtc(0x26), 0x34);
    // 3DAh takes it back from data to index.
    b.inb(0x3da);
    b.out(0x3c0, 0x33);
    assert_eq!(b.inb(0x3c1), 0x07);
}

#[test]
fn attribute_registers_keep_only_their_bits() {
    let mut b = Bench::mode_3();
    for index in 0..0x20_u8 {
        b.attribute(index, 0xff);
        let mask = match index {
            0x00..=0x0f => 0x3f,
            0x10 => 0xef,
            0x11 => 0xff,
            0x12 => 0x3f,
            0x13 | 0x14 => 0x0f,
            _ => 0,
        };
        assert_eq!(b.read_attribute(index), mask, "AR{index:x}");
    }
}

#[test]
fn the_palette_is_closed_while_the_display_uses_it() {
    let mut b = Bench::mode_3();
    b.attribute(0x05, 0x15);
    b.attribute(0x25, 0x2a);
    assert_eq!(b.read_attribute(0x05), 0x15);
    // The other registers are open always.
    b.attribute(0x33, 0x04);
    assert_eq!(b.read_attribute(0x13), 0x04);
}

#[test]
fn dac_write_and_read_sequences() {
    let mut b = Bench::new();
    b.out(0x3c8, 0xfe);
    for value in [1, 2, 3, 0xff, 5, 6, 7, 8, 9] {
        b.out(0x3c9, value);
    }
    // Three colours on: FEh, FFh and, wrapped, 00h.
    assert_eq!(b.inb(0x3c8), 0x01);
    assert_eq!(b.inb(0x3c7), 0);
    b.out(0x3c7, 0xfe);
    assert_eq!(b.inb(0x3c7), 3);
    let mut data = [0; 9];
    for byte in &mut data {
        *byte = b.inb(0x3c9);
    }
    // Six bits a component.
    assert_eq!(data, [1, 2, 3, 0x3f, 5, 6, 7, 8, 9]);
}

#[test]
fn a_new_dac_address_starts_a_new_colour() {
    let mut b = Bench::new();
    b.out(0x3c8, 0x10);
    b.out(0x3c9, 0x11);
    b.out(0x3c9, 0x12);
    // The half-written colour never reaches the table.
    b.out(0x3c7, 0x10);
    assert_eq!(b.inb(0x3c9), 0);
    b.out(0x3c8, 0x10);
    for value in [0x21, 0x22, 0x23] {
        b.out(0x3c9, value);
    }
    b.out(0x3c7, 0x10);
    // The chip fetched the colour and is at the next address already.
    assert_eq!(b.inb(0x3c8), 0x11);
    assert_eq!([b.inb(0x3c9), b.inb(0x3c9), b.inb(0x3c9)], [0x21, 0x22, 0x23]);
    b.out(0x3c6, 0x0f);
    assert_eq!(b.inb(0x3c6), 0x0f);
}

/// Counts how often `bit` of input status 1 rises in a second that is sampled every microsecond, and how often it is seen set.
fn rises(b: &mut Bench, bit: u8) -> (u32, u32) {
    let (mut rises, mut set, mut before) = (0, 0, true);
    for _ in 0..1_000_000 {
        b.clock.advance(1_000);
        let now = b.inb(0x3da) & bit != 0;
        rises += u32::from(now && !before);
        set += u32::from(now);
        before = now;
    }
    (rises, set)
}

#[test]
fn text_mode_retraces_seventy_times_a_second() {
    let mut b = Bench::mode_3();
    let (frames, microseconds) = rises(&mut b, 0x08);
    assert!((70..=71).contains(&frames), "{frames}");
    // Two lines of 31.8 µs in each.
    let each = microseconds / frames;
    assert!((62..=65).contains(&each), "{each}");
}

#[test]
fn display_enable_follows_lines_and_frames() {
    let mut b = Bench::mode_3();
    // One blanking after each of the 400 drawn lines of 70 frames; the last one lasts through vertical retrace.
    let (blanks, microseconds) = rises(&mut b, 0x01);
    assert!((27_900..=28_200).contains(&blanks), "{blanks}");
    // 80 of 100 characters in 400 of 449 lines are visible: 71 %.
    assert!((280_000..=295_000).contains(&microseconds), "{microseconds}");
}

#[test]
fn retrace_comes_by_before_anyone_programmed_the_crtc() {
    let mut b = Bench::new();
    b.out(0x3c2, 0x01);
    let (frames, _) = rises(&mut b, 0x08);
    assert!((70..=71).contains(&frames), "{frames}");
}

#[test]
fn graphics_at_480_lines_retraces_sixty_times_a_second() {
    let mut b = Bench::mode_3();
    b.out(0x3c2, 0xe3);
    b.sequencer(&[(1, 1)]);
    b.crtc(0x11, 0x00);
    for (index, value) in [
        (0x00, 0x5f),
        (0x06, 0x0b),
        (0x07, 0x3e),
        (0x09, 0x40),
        (0x10, 0xea),
        (0x12, 0xdf),
    ] {
        b.crtc(index, value);
    }
    b.crtc(0x11, 0x8c);
    b.graphics(&[(6, 0x05)]);
    assert_eq!(b.vga.mode(), Mode::Graphics { lines: 480 });
    assert_eq!(b.vga.text_screen(), None);
    let (frames, _) = rises(&mut b, 0x08);
    assert!((59..=60).contains(&frames), "{frames}");
}

#[test]
fn the_maps_decide_who_answers_at_a0000() {
    let mut b = Bench::mode_3();
    b.sequencer(&[(2, 0xf), (4, 6)]);
    b.graphics(&[(5, 0)]);
    for (map, answers) in [(0x00, true), (0x04, true), (0x08, false), (0x0c, false)] {
        b.graphics(&[(6, map)]);
        b.out(0xa_ffff, 0x42);
        assert_eq!(b.inb(0xa_ffff), if answers { 0x42 } else { 0xff }, "{map:#x}");
        b.graphics(&[(6, 0)]);
        b.out(0xa_ffff, 0);
    }
    // Bit 1 of the miscellaneous output register turns display memory off.
    b.out(0xa_0000, 0x24);
    b.out(0x3c2, 0x65);
    assert_eq!(b.inb(0xa_0000), 0xff);
    b.out(0xa_0000, 0x25);
    b.out(0x3c2, 0x67);
    assert_eq!(b.inb(0xa_0000), 0x24);
}

#[test]
fn a_font_loads_into_plane_2_from_text_mode() {
    let mut b = Bench::mode_3();
    b.ram.put(0xb_8000, b"H\x07i\x07");
    let before = b.vga.text_screen().unwrap();
    // What a video BIOS does.
    b.sequencer(&[(0, 1), (2, 4), (4, 7), (0, 3)]);
    b.graphics(&[(4, 2), (5, 0), (6, 4)]);
    for i in 0..0x2000_u64 {
        b.out(0xa_0000 + i, (i * 7) as u8);
    }
    let wrong = (0..0x2000_u64)
        .filter(|i| b.inb(0xa_0000 + i) != (i * 7) as u8)
        .count();
    assert_eq!(wrong, 0);
    // The text was not touched, and stays in view.
    assert_eq!(b.vga.text_screen().unwrap().cells, before.cells);
    b.graphics(&[(4, 0)]);
    assert_eq!(b.inb(0xa_0007), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Ports, window and unclaimed offsets, any width: nothing a guest does brings the card down, and the screen stays readable.
    #[test]
    fn no_access_panics(accesses in prop::collection::vec(
        (prop_oneof![
            4 => 0x3b0..0x3e0_u64,
            1 => 0xa_0000..=0xa_ffff_u64,
            1 => any::<u64>(),
        ], 0..4_u32, any::<u64>(), any::<bool>(), 0..40_000_u64),
        1..400,
    )) {
        let mut b = Bench::mode_3();
        for (offset, width, value, write, nanos) in accesses {
            b.clock.advance(nanos);
            let mut data = value.to_le_bytes();
            let data = &mut data[..1 << width];
            if write {
                b.vga.write(offset, data);
            } else {
                b.vga.read(offset, data);
            }
            if value % 16 == 0 && let Some(screen) = b.vga.text_screen() {
                prop_assert_eq!(screen.cells.len(), (screen.columns * screen.rows) as usize);
                prop_assert!(screen.cursor.is_none_or(|c| c.row < screen.rows && c.column < screen.columns));
                prop_assert_eq!(screen.to_string().lines().count(), screen.rows as usize);
                prop_assert!(!screen.to_ansi().is_empty() || screen.rows == 0);
            }
        }
    }
}
