// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The planes' data path: examples from the manual, and an independent model that works on one bit at a time.

use super::*;

/// 16-colour graphics with 8 pixels a byte.
fn planar() -> Bench {
    let mut b = Bench::mode_3();
    b.sequencer(&[(2, 0xf), (4, 6)]);
    b.graphics(&[(5, 0), (6, 5), (7, 0xf), (8, 0xff)]);
    b
}

/// The byte of each plane at `address`, seen through the read map.
fn planes(b: &mut Bench, address: u64) -> [u8; 4] {
    b.graphics(&[(5, 0)]);
    [0, 1, 2, 3].map(|plane| {
        b.graphics(&[(4, plane)]);
        b.inb(address)
    })
}

#[test]
fn write_mode_0_rotates_and_sets() {
    let mut b = planar();
    b.graphics(&[(3, 1), (0, 0b0101), (1, 0b0011)]);
    b.out(0xa_0000, 0x81);
    // Planes 0 and 1 take set/reset, 2 and 3 the rotated byte.
    assert_eq!(planes(&mut b, 0xa_0000), [0xff, 0x00, 0xc0, 0xc0]);
}

#[test]
fn the_bit_mask_keeps_latched_bits() {
    let mut b = planar();
    b.out(0xa_0010, 0xa5);
    b.inb(0xa_0010);
    b.graphics(&[(8, 0x0f)]);
    b.out(0xa_0010, 0xff);
    assert_eq!(planes(&mut b, 0xa_0010), [0xaf; 4]);
}

#[test]
fn functions_combine_with_the_latches() {
    for (function, result) in [(0x00, 0x3c), (0x08, 0x24), (0x10, 0xbd), (0x18, 0x99)] {
        let mut b = planar();
        b.out(0xa_0000, 0xa5);
        b.inb(0xa_0000);
        b.graphics(&[(3, function)]);
        b.out(0xa_0000, 0x3c);
        assert_eq!(planes(&mut b, 0xa_0000), [result; 4], "{function:#x}");
    }
}

#[test]
fn write_mode_1_copies_all_planes() {
    let mut b = planar();
    for plane in 0..4 {
        b.sequencer(&[(2, 1 << plane)]);
        b.out(0xa_0000, 0x11 << plane);
    }
    b.sequencer(&[(2, 0xf)]);
    b.graphics(&[(5, 1)]);
    b.inb(0xa_0000);
    b.out(0xa_4000, 0xee);
    assert_eq!(planes(&mut b, 0xa_4000), [0x11, 0x22, 0x44, 0x88]);
}

#[test]
fn write_mode_2_draws_a_colour() {
    let mut b = planar();
    b.graphics(&[(5, 2), (8, 0x18)]);
    b.out(0xa_0000, 0xfa);
    assert_eq!(planes(&mut b, 0xa_0000), [0x00, 0x18, 0x00, 0x18]);
}

#[test]
fn write_mode_3_masks_with_the_rotated_byte() {
    let mut b = planar();
    b.graphics(&[(5, 3), (0, 0b1001), (3, 4), (8, 0x3c)]);
    b.out(0xa_0000, 0xf0);
    // F0h rotated by four is 0Fh, of which the bit mask leaves 0Ch.
    assert_eq!(planes(&mut b, 0xa_0000), [0x0c, 0x00, 0x00, 0x0c]);
}

#[test]
fn read_mode_1_finds_a_colour() {
    let mut b = planar();
    for (plane, byte) in [0xf0, 0xcc, 0xaa, 0x00].into_iter().enumerate() {
        b.sequencer(&[(2, 1 << plane)]);
        b.out(0xa_0000, byte);
    }
    b.graphics(&[(5, 8), (2, 0b0011)]);
    assert_eq!(b.inb(0xa_0000), 0x40);
    b.graphics(&[(7, 0b1011)]);
    assert_eq!(b.inb(0xa_0000), 0xc0);
    b.graphics(&[(7, 0)]);
    assert_eq!(b.inb(0xa_0000), 0xff);
}

#[test]
fn chain_4_spreads_bytes_over_the_planes() {
    let mut b = planar();
    b.sequencer(&[(4, 0x0e)]);
    b.graphics(&[(5, 0x40)]);
    b.vga.write(0xa_0104, &[1, 2, 3, 4]);
    let mut data = [0; 4];
    b.vga.read(0xa_0104, &mut data);
    assert_eq!(data, [1, 2, 3, 4]);
    b.sequencer(&[(4, 0x06)]);
    assert_eq!(planes(&mut b, 0xa_0104), [1, 2, 3, 4]);
    assert_eq!(planes(&mut b, 0xa_0105), [0; 4]);
}

#[test]
fn odd_and_even_addresses_have_planes_of_their_own() {
    let mut b = planar();
    b.sequencer(&[(2, 3), (4, 2)]);
    b.graphics(&[(5, 0x10), (6, 6)]);
    b.vga.write(0xa_0000, &[b'A', 0x07, b'B', 0x70]);
    let mut data = [0; 4];
    b.vga.read(0xa_0000, &mut data);
    assert_eq!(&data, &[b'A', 0x07, b'B', 0x70]);
    b.sequencer(&[(4, 6)]);
    b.graphics(&[(6, 5)]);
    assert_eq!(planes(&mut b, 0xa_0000), [b'A', 0x07, 0, 0]);
    assert_eq!(planes(&mut b, 0xa_0001), [0; 4]);
    assert_eq!(planes(&mut b, 0xa_0002), [b'B', 0x70, 0, 0]);
}

#[test]
fn the_latches_show_in_cr22() {
    let mut b = planar();
    b.sequencer(&[(2, 4)]);
    b.out(0xa_0003, 0x77);
    b.inb(0xa_0003);
    b.graphics(&[(4, 2)]);
    assert_eq!(b.read_crtc(0x22), 0x77);
    b.graphics(&[(4, 1)]);
    assert_eq!(b.read_crtc(0x22), 0x00);
}

/// The data path as the manual tells it, one bit of one plane at a time.
#[derive(Clone)]
struct Model {
    sr: [u8; 8],
    gr: [u8; 16],
    planes: [Vec<u8>; 4],
    latches: [u8; 4],
}

impl Model {
    fn bit(byte: u8, n: usize) -> bool {
        byte & (1 << n) != 0
    }

    fn cell(&self, address: usize) -> usize {
        if Self::bit(self.sr[4], 3) {
            address / 4 * 4
        } else if Self::bit(self.gr[6], 1) {
            address / 2 * 2
        } else {
            address
        }
    }

    fn read(&mut self, address: usize) -> u8 {
        let cell = self.cell(address);
        for plane in 0..4 {
            self.latches[plane] = self.planes[plane][cell];
        }
        if Self::bit(self.gr[5], 3) {
            let mut result = 0;
            for bit in 0..8 {
                let matches = (0..4).all(|plane| {
                    !Self::bit(self.gr[7], plane)
                        || Self::bit(self.latches[plane], bit) == Self::bit(self.gr[2], plane)
                });
                result |= u8::from(matches) << bit;
            }
            return result;
        }
        let mut map = usize::from(self.gr[4] & 3);
        if Self::bit(self.sr[4], 3) {
            map = address % 4;
        } else if Self::bit(self.gr[5], 4) {
            map = map / 2 * 2 + address % 2;
        }
        self.latches[map]
    }

    fn write(&mut self, address: usize, value: u8) {
        let cell = self.cell(address);
        for plane in 0..4 {
            let chained = if Self::bit(self.sr[4], 3) {
                plane == address % 4
            } else {
                Self::bit(self.sr[4], 2) || plane % 2 == address % 2
            };
            if !chained || !Self::bit(self.sr[2], plane) {
                continue;
            }
            let mut result = 0;
            for bit in 0..8 {
                result |= u8::from(self.new_bit(plane, bit, value)) << bit;
            }
            self.planes[plane][cell] = result;
        }
    }

    fn new_bit(&self, plane: usize, bit: usize, value: u8) -> bool {
        let latch = Self::bit(self.latches[plane], bit);
        // Rotating right by n brings bit (b + n) mod 8 to bit b.
        let rotated = Self::bit(value, (bit + usize::from(self.gr[3] & 7)) % 8);
        let set_reset = Self::bit(self.gr[0], plane);
        let open = Self::bit(self.gr[8], bit);
        let (data, open) = match self.gr[5] & 3 {
            0 if Self::bit(self.gr[1], plane) => (set_reset, open),
            0 => (rotated, open),
            1 => return latch,
            2 => (Self::bit(value, plane), open),
            _ => (set_reset, open && rotated),
        };
        if !open {
            return latch;
        }
        match (self.gr[3] / 8) & 3 {
            0 => data,
            1 => data && latch,
            2 => data || latch,
            _ => data != latch,
        }
    }
}

/// What a guest does to the data path.
#[derive(Debug, Clone)]
enum Step {
    Sequencer(u8, u8),
    Graphics(u8, u8),
    Read(u16),
    Write(u16, u8),
}

fn step() -> impl Strategy<Value = Step> {
    // A few addresses, so that steps meet.
    let address = || prop_oneof![0..12_u16, 0xfff8..=0xffff_u16];
    prop_oneof![
        1 => (prop_oneof![Just(2_u8), Just(4)], any::<u8>()).prop_map(|(i, v)| Step::Sequencer(i, v)),
        // GR6 keeps the memory map at A0000h.
        3 => (0..9_u8, any::<u8>()).prop_map(|(i, v)| Step::Graphics(i, if i == 6 { v & 0x07 } else { v })),
        4 => address().prop_map(Step::Read),
        6 => (address(), any::<u8>()).prop_map(|(a, v)| Step::Write(a, v)),
    ]
}

proptest! {
    #[test]
    fn agrees_with_the_model(steps in prop::collection::vec(step(), 1..200)) {
        let mut b = planar();
        let mut model = Model {
            sr: [3, 0, 0xf, 0, 6, 0, 0, 0],
            gr: [0, 0, 0, 0, 0, 0, 5, 0xf, 0xff, 0, 0, 0, 0, 0, 0, 0],
            planes: [0; 4].map(|_| vec![0; 0x1_0000]),
            latches: [0; 4],
        };
        for step in steps {
            match step {
                Step::Sequencer(index, value) => {
                    b.sequencer(&[(index, value)]);
                    model.sr[usize::from(index)] = value;
                }
                Step::Graphics(index, value) => {
                    b.graphics(&[(index, value)]);
                    model.gr[usize::from(index)] = value;
                }
                Step::Read(address) => {
                    let seen = b.inb(0xa_0000 + u64::from(address));
                    prop_assert_eq!(seen, model.read(usize::from(address)));
                }
                Step::Write(address, value) => {
                    b.out(0xa_0000 + u64::from(address), value);
                    model.write(usize::from(address), value);
                }
            }
        }
        // Whatever no read saw.
        b.sequencer(&[(4, 6)]);
        b.graphics(&[(6, 5)]);
        for address in (0..12).chain(0xfff8..0x1_0000) {
            let seen = planes(&mut b, 0xa_0000 + address);
            prop_assert_eq!(seen, [0, 1, 2, 3].map(|p: usize| model.planes[p][address as usize]));
        }
    }
}
