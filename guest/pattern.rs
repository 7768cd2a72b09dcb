// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What `--verify` writes: every sector says which it is and when it was written, and the rest of it follows from that. Part of the program
//! and of the benchmark guest.

use super::sequence::mix;

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// "vpcbench", read as a little-endian number.
const MAGIC: u64 = u64::from_le_bytes(*b"vpcbench");

/// What is wrong with a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It does not begin as a written sector does.
    Never,
    /// It is another sector's content, or was written with another seed.
    Misplaced {
        /// What it says that it is.
        sector: u64,
    },
    /// It was written in another round than it should have been.
    Stale {
        /// What it says.
        round: u64,
    },
    /// Its head is right, and something behind it is not.
    Damaged {
        /// The first wrong byte.
        at: usize,
    },
}

/// The eight bytes at a place of a sector's content.
fn word(seed: u64, sector: u64, round: u64, index: usize) -> u64 {
    match index {
        0 => MAGIC ^ mix(seed),
        1 => sector,
        2 => round,
        // One mixing a sector, and a cheap step a word: the content must be hard to guess wrong, not to guess.
        _ => mix(seed ^ sector.rotate_left(20) ^ round.rotate_left(40))
            .wrapping_mul(index as u64 * 2 + 1)
            .rotate_left(index as u32),
    }
}

/// Fills whole sectors from `first` on.
pub fn fill(data: &mut [u8], seed: u64, first: u64, round: u64) {
    for (sector, bytes) in (first..).zip(data.chunks_exact_mut(SECTOR)) {
        for (index, bytes) in bytes.chunks_exact_mut(8).enumerate() {
            bytes.copy_from_slice(&word(seed, sector, round, index).to_le_bytes());
        }
    }
}

/// Looks at whole sectors from `first` on. `round`: when they must have been written, if that is known.
///
/// # Errors
/// The first sector that is wrong, and how.
pub fn check(data: &[u8], seed: u64, first: u64, round: Option<u64>) -> Result<(), (u64, Wrong)> {
    for (sector, bytes) in (first..).zip(data.chunks_exact(SECTOR)) {
        let read = |index: usize| {
            let bytes = bytes
                .get(8 * index..8 * index + 8)
                .and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        let found = read(2);
        let wrong = if read(0) != word(seed, sector, 0, 0) {
            Some(Wrong::Never)
        } else if read(1) != sector {
            Some(Wrong::Misplaced { sector: read(1) })
        } else if round.is_some_and(|round| round != found) {
            Some(Wrong::Stale { round: found })
        } else {
            let mut words = bytes.chunks_exact(8).enumerate();
            let differs =
                words.find(|(index, bytes)| **bytes != word(seed, sector, found, *index).to_le_bytes());
            differs.map(|(index, bytes)| {
                let right = word(seed, sector, found, index).to_le_bytes();
                let within = bytes.iter().zip(right).position(|(a, b)| *a != b);
                Wrong::Damaged {
                    at: 8 * index + within.unwrap_or(0),
                }
            })
        };
        if let Some(wrong) = wrong {
            return Err((sector, wrong));
        }
    }
    Ok(())
}

impl core::fmt::Display for Wrong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Never => f.write_str("holds nothing that was written with this seed"),
            Self::Misplaced { sector } => write!(f, "holds what was written to sector {sector}"),
            Self::Stale { round } => write!(
                f,
                "holds what was written in round {round}, not the last that was"
            ),
            Self::Damaged { at } => write!(f, "is damaged from its byte {at} on"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sectors() -> Vec<u8> {
        let mut data = vec![0; 4 * SECTOR];
        fill(&mut data, 7, 100, 3);
        data
    }

    #[test]
    fn what_was_written_is_right() {
        let data = sectors();
        assert_eq!(check(&data, 7, 100, Some(3)), Ok(()));
        assert_eq!(check(&data, 7, 100, None), Ok(()));
    }

    #[test]
    fn every_kind_of_wrong_is_told_apart() {
        let data = sectors();
        assert_eq!(check(&data, 8, 100, None), Err((100, Wrong::Never)));
        assert_eq!(
            check(&data, 7, 100, Some(4)),
            Err((100, Wrong::Stale { round: 3 }))
        );
        let misplaced = Err((100, Wrong::Misplaced { sector: 101 }));
        assert_eq!(check(&data[SECTOR..], 7, 100, Some(3)), misplaced);
        let mut zeroed = data.clone();
        zeroed[2 * SECTOR..3 * SECTOR].fill(0);
        assert_eq!(check(&zeroed, 7, 100, None), Err((102, Wrong::Never)));
    }

    #[test]
    fn every_bit_counts() {
        let data = sectors();
        for at in 0..data.len() {
            let mut wrong = data.clone();
            wrong[at] ^= 1 << (at % 8);
            assert!(check(&wrong, 7, 100, Some(3)).is_err(), "{at}");
        }
        let mut wrong = data;
        wrong[SECTOR + 300] ^= 1;
        assert_eq!(
            check(&wrong, 7, 100, None),
            Err((101, Wrong::Damaged { at: 300 }))
        );
    }
}
