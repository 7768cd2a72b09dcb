// SPDX-License-Identifier: Apache-2.0 OR MIT
//! CD sectors of mode 1 as they lie on the disc (ECMA-130 14): what an image of user data leaves out, worked out again.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0–11 | synchronisation |
//! | 12–15 | header: address in BCD, mode |
//! | 16–2063 | user data |
//! | 2064–2067 | EDC over all of the above |
//! | 2068–2075 | zeros |
//! | 2076–2247 | P parity |
//! | 2248–2351 | Q parity |

use super::address::Msf;
use super::spec::{RAW_SECTOR, SECTOR};
use serde::{Deserialize, Serialize};
use std::ops::Range;

const SYNC: [u8; 12] = [0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0];
const MODE_1: u8 = 1;
const HEADER: usize = 12;
const USER: usize = 16;
const EDC: usize = USER + SECTOR;
const P_PARITY: usize = 2076;
const Q_PARITY: usize = 2248;

/// Builds the sector at `lba` around `user` data, of which at most 2,048 bytes are taken.
pub fn mode_1_sector(lba: u32, user: &[u8]) -> [u8; RAW_SECTOR] {
    let mut sector = [0; RAW_SECTOR];
    sector[..HEADER].copy_from_slice(&SYNC);
    sector[HEADER..HEADER + 3].copy_from_slice(&Msf::from_lba(lba).to_bcd());
    sector[HEADER + 3] = MODE_1;
    for (to, from) in sector[USER..EDC].iter_mut().zip(user) {
        *to = *from;
    }
    let edc = edc(&sector[..EDC]);
    sector[EDC..EDC + 4].copy_from_slice(&edc.to_le_bytes());
    P.add(&mut sector);
    Q.add(&mut sector);
    sector
}

/// What READ CD may ask of a sector (MMC-5 6.20.2.7): a piece without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    start: usize,
    end: usize,
}

impl Selection {
    /// Refuses what [`from_bits`](Self::from_bits) would not have given, and what has no bytes.
    pub fn is_possible(self) -> bool {
        self.start < self.end && self.end <= RAW_SECTOR
    }

    /// Decodes the main channel selection bits (byte 9 of READ CD), for mode 1. `None`: a combination that is not allowed.
    pub fn from_bits(bits: u8) -> Option<Self> {
        let (sync, user, edc) = (bits & 0x80 != 0, bits & 0x10 != 0, bits & 0x08 != 0);
        // The sub-header of mode 2 has no length here, but sync goes with it only across the header.
        let (header, subheader) = (bits & 0x20 != 0, bits & 0x40 != 0);
        let end = match (header, user, edc) {
            (_, true, true) => RAW_SECTOR,
            (_, true, false) => EDC,
            (true, false, false) => USER,
            (false, false, false) if sync => HEADER,
            (false, false, false) => 0,
            (_, false, true) => return None,
        };
        let start = match (sync, header) {
            (true, false) if user || subheader => return None,
            (true, _) => 0,
            (false, true) => HEADER,
            (false, false) if user => USER,
            (false, false) => 0,
        };
        Some(Self { start, end })
    }

    /// Bytes a sector.
    pub fn len(self) -> usize {
        self.end - self.start
    }

    /// Just the user data: no sector needs to be built.
    pub fn is_user_data(self) -> bool {
        self == Self {
            start: USER,
            end: EDC,
        }
    }

    /// Where in the sector.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// Divisor of the EDC, (x^16 + x^15 + x^2 + 1)(x^16 + x^2 + x + 1), low bit first.
const EDC_POLYNOMIAL: u32 = 0xd801_8001;

const EDC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ if value & 1 != 0 { EDC_POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[i] = value;
        i += 1;
    }
    table
};

fn edc(data: &[u8]) -> u32 {
    data.iter().fold(0, |edc, byte| {
        (edc >> 8) ^ EDC_TABLE[usize::from(edc as u8 ^ byte)]
    })
}

/// Doubles in GF(2^8) over x^8 + x^4 + x^3 + x^2 + 1.
const fn double(value: u8) -> u8 {
    (value << 1) ^ if value & 0x80 != 0 { 0x1d } else { 0 }
}

/// Divides by α + 1 in the same field.
const DIVIDE_BY_3: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[(i as u8 ^ double(i as u8)) as usize] = i as u8;
        i += 1;
    }
    table
};

/// One of the two Reed-Solomon product codes (ECMA-130 annex A). It runs over the bytes from the header on, seen as two interleaved
/// planes of 16-bit words; each code word gets two parity symbols.
struct Code {
    /// Where its parity stands.
    parity: usize,
    /// Code words, over both planes.
    words: usize,
    /// Information symbols in a code word.
    symbols: usize,
    /// Byte step from one code word's start to the next but one (the one between is on the other plane).
    next_word: usize,
    /// Byte step from symbol to symbol of a code word, round the end of what the code covers.
    next_symbol: usize,
}

/// 43 columns of 24 symbols in each plane.
const P: Code = Code {
    parity: P_PARITY,
    words: 86,
    symbols: 24,
    next_word: 2,
    next_symbol: 86,
};

/// 26 diagonals of 43 symbols in each plane.
const Q: Code = Code {
    parity: Q_PARITY,
    words: 52,
    symbols: 43,
    next_word: 86,
    next_symbol: 88,
};

impl Code {
    fn add(&self, sector: &mut [u8; RAW_SECTOR]) {
        let covered = self.words * self.symbols;
        for word in 0..self.words {
            let mut at = word / 2 * self.next_word + word % 2;
            // Sum of the symbols, and the same weighted with rising powers of α towards the first.
            let (mut plain, mut weighted) = (0, 0);
            for _ in 0..self.symbols {
                let symbol = sector[HEADER + at];
                plain ^= symbol;
                weighted = double(weighted ^ symbol);
                at = (at + self.next_symbol) % covered;
            }
            // Both sums, parity included, must be zero.
            let first = DIVIDE_BY_3[usize::from(double(weighted) ^ plain)];
            sector[self.parity + word] = first;
            sector[self.parity + self.words + word] = first ^ plain;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sector() -> [u8; RAW_SECTOR] {
        let user: Vec<u8> = (0..SECTOR).map(|i| (i * i + 7 * i) as u8).collect();
        mode_1_sector(12_345, &user)
    }

    /// α^n.
    fn power(n: usize) -> u8 {
        (0..n).fold(1, |value, _| double(value))
    }

    fn multiply(mut a: u8, mut b: u8) -> u8 {
        let mut product = 0;
        while b != 0 {
            if b & 1 != 0 {
                product ^= a;
            }
            a = double(a);
            b >>= 1;
        }
        product
    }

    /// Both rows of the parity check matrix of ECMA-130 annex A on one code word, whose byte positions count from the header.
    fn check(sector: &[u8], positions: &[usize]) {
        let n = positions.len();
        let symbols = positions.iter().map(|at| sector[HEADER + at]);
        assert_eq!(symbols.clone().fold(0, |sum, symbol| sum ^ symbol), 0);
        let weighted = symbols
            .enumerate()
            .fold(0, |sum, (i, symbol)| sum ^ multiply(power(n - 1 - i), symbol));
        assert_eq!(weighted, 0);
    }

    #[test]
    fn layout() {
        let sector = sector();
        assert_eq!(sector[..12], SYNC);
        // 12,345 + 150 frames: 2 minutes 46 seconds 45 frames.
        assert_eq!(sector[12..16], [0x02, 0x46, 0x45, 1]);
        assert_eq!(sector[17], 8);
        assert_eq!(sector[2068..2076], [0; 8]);
    }

    #[test]
    fn the_edc_leaves_no_remainder() {
        // Bit by bit, as ECMA-130 14.3 has it: the sector with its EDC divides by the polynomial.
        let remainder = sector()[..EDC + 4]
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| u32::from(byte >> bit & 1)))
            .fold(0_u32, |register, bit| {
                let out = register >> 31;
                let divisor = 0x8001_801b;
                (register << 1 | bit) ^ if out != 0 { divisor } else { 0 }
            });
        assert_eq!(remainder, 0);
        assert_ne!(sector()[EDC..EDC + 4], [0; 4]);
    }

    /// Word positions as the annex counts them: P has N_P = 0..42 and M_P = 0..25 at 43 M + N.
    #[test]
    fn p_code_words_check() {
        let sector = sector();
        for plane in 0..2 {
            for n in 0..43 {
                let positions: Vec<_> = (0..26).map(|m| 2 * (43 * m + n) + plane).collect();
                check(&sector, &positions);
            }
        }
    }

    /// Q has N_Q = 0..25 and M_Q = 0..42 at (44 M + 43 N) mod 1118, with parity at 1118 + N and 1144 + N.
    #[test]
    fn q_code_words_check() {
        let sector = sector();
        for plane in 0..2 {
            for n in 0..26 {
                let words = (0..43)
                    .map(|m| (44 * m + 43 * n) % 1118)
                    .chain([1118 + n, 1144 + n]);
                let positions: Vec<_> = words.map(|word| 2 * word + plane).collect();
                check(&sector, &positions);
            }
        }
    }

    #[test]
    fn selections() {
        let len = |bits| Selection::from_bits(bits).map(Selection::len);
        for (bits, expected) in [
            (0x00, 0),
            (0x10, 2048),
            (0x18, 2336),
            (0x20, 4),
            (0x30, 2052),
            (0x38, 2340),
            (0x40, 0),
            (0x50, 2048),
            (0x58, 2336),
            (0x60, 4),
            (0x70, 2052),
            (0x78, 2340),
            (0x80, 12),
            (0xa0, 16),
            (0xb0, 2064),
            (0xb8, 2352),
            (0xe0, 16),
            (0xf0, 2064),
            (0xf8, 2352),
        ] {
            assert_eq!(len(bits), Some(expected), "{bits:#x}");
        }
        for bits in [
            0x08, 0x28, 0x48, 0x68, 0x88, 0x90, 0x98, 0xa8, 0xc0, 0xd0, 0xd8, 0xe8,
        ] {
            assert_eq!(len(bits), None, "{bits:#x}");
        }
        assert!(Selection::from_bits(0x10).unwrap().is_user_data());
        assert!(Selection::from_bits(0x50).unwrap().is_user_data());
        assert!(!Selection::from_bits(0x18).unwrap().is_user_data());
    }
}
