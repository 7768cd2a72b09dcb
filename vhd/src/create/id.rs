// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random identities for new disks.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// A random UUID (RFC 9562, version 4).
///
/// The standard library's hasher keys come from the system's random numbers; time, process and a counter make the
/// hashed value another one each time, whatever the keys are.
pub fn random() -> [u8; 16] {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let half = |which: u8| {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u8(which);
        hasher.write_u64(COUNT.fetch_add(1, Ordering::Relaxed));
        hasher.write_u32(std::process::id());
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        hasher.write_u128(since.as_nanos());
        u128::from(hasher.finish())
    };
    const VERSION: u128 = 0xf000 << 64;
    const VARIANT: u128 = 0xc000_0000_0000_0000;
    let bits = half(0) << 64 | half(1);
    let bits = bits & !VERSION & !VARIANT | 0x4000 << 64 | 0x8000_0000_0000_0000;
    bits.to_be_bytes()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_are_version_4_and_differ() {
        let (one, other) = (super::random(), super::random());
        assert_ne!(one, other);
        assert_eq!((one[6] >> 4, one[8] >> 6), (4, 2));
    }
}
