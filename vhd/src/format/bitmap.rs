// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sector bitmaps: one bit for each sector of a block, the most significant bit of a byte first.

use std::ops::Range;

use super::spec::SECTOR;

/// Bytes of the bitmap in front of a block of `block_size` bytes: whole sectors.
pub const fn bytes(block_size: u64) -> u64 {
    (block_size / SECTOR).div_ceil(8).next_multiple_of(SECTOR)
}

/// Sets the bits of a range and returns how many of them were clear before.
pub fn set(bits: &mut [u8], range: Range<u32>) -> u32 {
    let mut changed = 0;
    let (first, last) = (range.start as usize / 8, range.end as usize / 8);
    for (index, byte) in bits.iter_mut().enumerate().take(last + 1).skip(first) {
        let mut mask = 0xffu8;
        if index == first {
            mask &= 0xff >> (range.start % 8);
        }
        if index == last {
            mask &= !(0xff >> (range.end % 8));
        }
        changed += (mask & !*byte).count_ones();
        *byte |= mask;
    }
    changed
}

/// The value of the bit at `start` and where the run of equal bits that starts there ends, at most at `end`.
pub fn run(bits: &[u8], start: u32, end: u32) -> (bool, u32) {
    let word = |at: u32| -> u64 {
        let from = at as usize / 64 * 8;
        bits.get(from..from + 8)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_be_bytes)
    };
    let value = word(start) << (start % 64) >> 63 == 1;
    let flip = if value { u64::MAX } else { 0 };
    let mut at = start;
    while at < end {
        // Bits equal to the first one are zero here, so the run is the leading zeros.
        let differing = (word(at) ^ flip) << (at % 64);
        if differing == 0 {
            at += 64 - at % 64;
        } else {
            at += differing.leading_zeros();
            break;
        }
    }
    (value, at.min(end))
}

/// How many of the first `sectors` bits are clear.
pub fn count_clear(bits: &[u8], sectors: u32) -> u32 {
    let (mut at, mut clear) = (0, 0);
    while at < sectors {
        let (value, end) = run(bits, at, sectors);
        if !value {
            clear += end - at;
        }
        at = end;
    }
    clear
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_sectors() {
        assert_eq!(bytes(512), 512);
        assert_eq!(bytes(512 << 10), 512);
        assert_eq!(bytes(2 << 20), 512);
        assert_eq!(bytes(4 << 20), 1024);
        assert_eq!(bytes(256 << 20), 65536);
    }

    #[test]
    fn the_first_sector_is_the_most_significant_bit() {
        let mut bits = [0; 512];
        assert_eq!(set(&mut bits, 0..1), 1);
        assert_eq!(set(&mut bits, 9..11), 2);
        assert_eq!(bits[..2], [0x80, 0x60]);
        assert_eq!(set(&mut bits, 0..16), 13);
        assert_eq!(bits[..3], [0xff, 0xff, 0]);
        assert_eq!(set(&mut bits, 4090..4096), 6);
        assert_eq!(bits[511], 0x3f);
    }

    #[test]
    fn runs_and_counts_agree_with_single_bits() {
        let mut seed = 1u32;
        for _ in 0..50 {
            let mut bits = [0u8; 512];
            let mut plain = [false; 4096];
            for _ in 0..20 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let start = seed >> 20;
                let end = (start + (seed >> 8) % 300).min(4096);
                let fresh = plain[start as usize..end as usize]
                    .iter()
                    .filter(|&&bit| !bit)
                    .count();
                plain[start as usize..end as usize].fill(true);
                assert_eq!(set(&mut bits, start..end) as usize, fresh);
            }
            assert_eq!(
                count_clear(&bits, 4096) as usize,
                plain.iter().filter(|&&bit| !bit).count()
            );
            let mut at = 0;
            while at < 4096 {
                let (value, end) = run(&bits, at, 4096);
                assert!(end > at);
                assert!(plain[at as usize..end as usize].iter().all(|&bit| bit == value));
                assert!(end == 4096 || plain[end as usize] != value);
                at = end;
            }
        }
    }
}
