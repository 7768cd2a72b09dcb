// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A bit for each cluster or block of a file system.

use std::ops::Range;

/// The most bits that there may be: those of a 2 TiB disk in blocks of 1 KiB, in 256 MiB of memory.
pub const MOST: u64 = 1 << 31;

/// A set of the numbers below a bound.
#[derive(Debug, Clone)]
pub struct Bits {
    words: Vec<u64>,
    len: u64,
}

impl Bits {
    /// With none set; `None` if there are more than [`MOST`].
    pub fn new(len: u64) -> Option<Self> {
        (len <= MOST).then(|| Self {
            words: vec![0; len.div_ceil(64) as usize],
            len,
        })
    }

    /// As file systems store them: the lowest bit of the first byte comes first. What the bytes lack is clear.
    pub fn from_bytes(bytes: &[u8], len: u64) -> Option<Self> {
        let mut bits = Self::new(len)?;
        for (word, bytes) in bits.words.iter_mut().zip(bytes.chunks(8)) {
            let mut padded = [0; 8];
            for (to, from) in padded.iter_mut().zip(bytes) {
                *to = *from;
            }
            *word = u64::from_le_bytes(padded);
        }
        Some(bits)
    }

    pub fn get(&self, bit: u64) -> bool {
        let word = self.words.get((bit / 64) as usize).copied().unwrap_or(0);
        bit < self.len && word >> (bit % 64) & 1 == 1
    }

    /// Sets a range. Tells whether all of it was clear before; `None` if it reaches beyond the end.
    pub fn set(&mut self, range: Range<u64>) -> Option<bool> {
        if range.start > range.end || range.end > self.len {
            return None;
        }
        let mut clear = true;
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min((at / 64 + 1) * 64);
            let mask = (u64::MAX >> (64 - (end - at))) << (at % 64);
            let word = self.words.get_mut((at / 64) as usize)?;
            clear &= *word & mask == 0;
            *word |= mask;
            at = end;
        }
        Some(clear)
    }

    /// Whether each bit that is set here is set in the other one too.
    pub fn is_within(&self, other: &Self) -> bool {
        self.len <= other.len
            && self
                .words
                .iter()
                .zip(&other.words)
                .all(|(own, other)| own & !other == 0)
    }

    pub fn count_clear(&self) -> u64 {
        self.clear_runs().map(|run| run.end - run.start).sum()
    }

    /// The runs of clear bits.
    pub fn clear_runs(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = self.next(at, false)?;
            let end = self.next(start, true).unwrap_or(self.len);
            at = end;
            Some(start..end)
        })
    }

    /// The next bit from one on that has a value.
    fn next(&self, from: u64, value: bool) -> Option<u64> {
        let mut at = from;
        while at < self.len {
            let word = self.words.get((at / 64) as usize)?;
            let word = if value { *word } else { !*word };
            let rest = word >> (at % 64);
            if rest != 0 {
                let found = at + u64::from(rest.trailing_zeros());
                return (found < self.len).then_some(found);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_across_words() {
        let mut bits = Bits::new(200).unwrap();
        assert_eq!(bits.set(0..3), Some(true));
        assert_eq!(bits.set(2..4), Some(false));
        assert_eq!(bits.set(60..130), Some(true));
        assert_eq!(bits.set(199..200), Some(true));
        assert_eq!(bits.set(199..201), None);
        assert_eq!(bits.clear_runs().collect::<Vec<_>>(), [4..60, 130..199]);
        assert_eq!(bits.count_clear(), 56 + 69);
        assert!(bits.get(60) && !bits.get(59) && !bits.get(200));
    }

    #[test]
    fn bytes_come_lowest_bit_first() {
        let bits = Bits::from_bytes(&[0b1000_0001, 0xff], 12).unwrap();
        assert_eq!(bits.clear_runs().collect::<Vec<_>>(), vec![1..7]);
        let mut some = Bits::new(12).unwrap();
        some.set(7..9);
        assert!(some.is_within(&bits));
        some.set(6..7);
        assert!(!some.is_within(&bits));
    }
}
