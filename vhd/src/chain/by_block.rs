// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Maps with the number of a block for their key.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from block numbers.
pub(super) type ByBlock<T> = HashMap<u32, T, BuildHasherDefault<BlockHasher>>;

/// Spreads block numbers by one multiplication.
///
/// The numbers come from the guest, which can make some of them collide; that costs it time on its own disk and
/// nobody else. The standard hasher would take as long as all the rest of a look-up.
#[derive(Debug, Default)]
pub(super) struct BlockHasher(u64);

impl Hasher for BlockHasher {
    fn finish(&self) -> u64 {
        // The map uses the lowest and the highest bits; the product's best ones are in the middle and above.
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, block: u32) {
        self.0 = (self.0 ^ u64::from(block)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
