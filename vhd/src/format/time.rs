// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The format's clock: seconds since 2000-01-01 00:00 UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// From the Unix epoch to the format's.
const EPOCH: u64 = 946_684_800;

/// A host time as a time stamp; times outside of the 32-bit range give the nearest stamp.
pub fn stamp(time: SystemTime) -> u32 {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    u32::try_from(seconds.saturating_sub(EPOCH)).unwrap_or(u32::MAX)
}

/// Whether two stamps mean the same moment.
///
/// Two seconds are the resolution of FAT. Some programs store local time, so a difference of whole half hours, up
/// to the 14 that time zones reach, is taken for a zone.
pub fn agree(one: u32, other: u32) -> bool {
    const TOLERANCE: u32 = 2;
    const ZONE_STEP: u32 = 30 * 60;
    const ZONE_REACH: u32 = 14 * 3600;
    let apart = one.abs_diff(other);
    let off = apart % ZONE_STEP;
    apart <= ZONE_REACH + TOLERANCE && (off <= TOLERANCE || off >= ZONE_STEP - TOLERANCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn stamps_count_from_2000() {
        assert_eq!(stamp(UNIX_EPOCH), 0);
        assert_eq!(stamp(UNIX_EPOCH + Duration::from_secs(EPOCH + 5)), 5);
        assert_eq!(stamp(UNIX_EPOCH + Duration::from_secs(1 << 34)), u32::MAX);
    }

    #[test]
    fn zones_are_noise_and_changes_are_not() {
        assert!(agree(10_000, 10_002));
        assert!(agree(10_000, 13_600));
        assert!(agree(100_000, 100_000 - 5 * 3600 - 1800));
        assert!(!agree(10_000, 10_060));
        assert!(!agree(100_000, 100_000 + 15 * 3600));
    }
}
