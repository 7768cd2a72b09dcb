// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which block a job's request is for. Part of the program and of the benchmark guest.

/// In which order a job takes its blocks. Every round takes each block once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    blocks: u64,
    order: Order,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// One after the other.
    Rising,
    /// So many blocks further each time.
    Strided(u64),
    /// As the key of a Feistel network says: a permutation without a table.
    Random(u64),
}

impl Sequence {
    /// All of `blocks` in rising order.
    #[must_use]
    pub fn rising(blocks: u64) -> Self {
        let order = Order::Rising;
        Self { blocks, order }
    }

    /// So many blocks further each time, and from the start again: all of them only if the two numbers have no factor in common.
    #[must_use]
    pub fn strided(blocks: u64, step: u64) -> Self {
        let order = Order::Strided(step);
        Self { blocks, order }
    }

    /// All of `blocks` in an order that depends on `seed`.
    #[must_use]
    pub fn random(blocks: u64, seed: u64) -> Self {
        let order = Order::Random(seed);
        Self { blocks, order }
    }

    /// The block of the `index`th request, and the round that it belongs to.
    #[must_use]
    pub fn block(&self, index: u64) -> (u64, u64) {
        if self.blocks == 0 {
            return (0, 0);
        }
        let (round, place) = (index / self.blocks, index % self.blocks);
        match self.order {
            Order::Rising => (place, round),
            Order::Strided(step) => {
                let at = u128::from(index) * u128::from(step) % u128::from(self.blocks);
                (at as u64, round)
            }
            Order::Random(seed) => (self.shuffled(place, seed), round),
        }
    }

    /// Walks along the cycle of a larger permutation until it is among the blocks again: at most four steps on average.
    fn shuffled(&self, place: u64, seed: u64) -> u64 {
        let half = (u64::BITS - (self.blocks - 1).leading_zeros()).div_ceil(2).max(1);
        let mask = (1u64 << half) - 1;
        let mut at = place;
        loop {
            let (mut left, mut right) = (at >> half & mask, at & mask);
            for round in 0..4 {
                (left, right) = (right, left ^ (mix(right ^ seed.rotate_left(16 * round)) & mask));
            }
            at = left << half | right;
            if at < self.blocks {
                return at;
            }
        }
    }
}

/// Scatters bits: the finalizer of splitmix64 (Steele, Lea and Flood, 2014).
#[must_use]
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_takes_each_block_once() {
        for blocks in [1, 2, 3, 7, 64, 1000, 4096, 5000] {
            for sequence in [
                Sequence::rising(blocks),
                Sequence::strided(blocks, 11 * 13),
                Sequence::random(blocks, 1),
                Sequence::random(blocks, 99),
            ] {
                let mut seen = vec![0; blocks as usize];
                for index in 0..2 * blocks {
                    let (block, round) = sequence.block(index);
                    assert_eq!(round, index / blocks);
                    seen[block as usize] += 1;
                }
                assert!(seen.iter().all(|&times| times == 2), "{blocks} {sequence:?}");
            }
        }
        assert_eq!(Sequence::random(0, 1).block(5), (0, 0));
    }

    #[test]
    fn random_orders_are_neither_rising_nor_alike() {
        let order = |seed| -> Vec<u64> {
            let sequence = Sequence::random(1 << 20, seed);
            (0..64).map(|index| sequence.block(index).0).collect()
        };
        assert_ne!(order(1), order(2));
        // Neighbours are far from each other: as many pairs up as down, about.
        let ups = order(1).windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((16..48).contains(&ups), "{ups}");
    }
}
