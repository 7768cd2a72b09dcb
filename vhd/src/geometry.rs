// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Cylinders, heads and sectors of a disk, as the guest sees them.

/// The geometry of a disk. Guests boot by it, so an image keeps the one that it was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: u16,
    /// Heads, 1 to 16 for an ATA disk.
    pub heads: u8,
    /// Sectors per track.
    pub sectors: u8,
}

impl Geometry {
    /// The largest geometry that the format expresses; it means "use the size field".
    pub const MAX: Self = Self {
        cylinders: 65535,
        heads: 16,
        sectors: 255,
    };

    /// The geometry for a disk of `total` sectors (VHD specification 1.0, appendix "CHS Calculation").
    ///
    /// It may describe fewer sectors than the disk has, never more.
    #[must_use]
    pub fn from_sectors(total: u64) -> Self {
        let total = total.min(Self::MAX.capacity());
        let (sectors, heads, tracks);
        if total >= 65535 * 16 * 63 {
            (sectors, heads, tracks) = (255, 16, total / 255);
        } else {
            let narrow = total / 17;
            let wanted = narrow.div_ceil(1024).max(4);
            let middle = total / 31;
            if narrow < wanted * 1024 && wanted <= 16 {
                (sectors, heads, tracks) = (17, wanted, narrow);
            } else if middle < 16 * 1024 {
                (sectors, heads, tracks) = (31, 16, middle);
            } else {
                (sectors, heads, tracks) = (63, 16, total / 63);
            }
        }
        // The branches bound each part: 65535 cylinders, 16 heads, 255 sectors.
        Self {
            cylinders: (tracks / heads) as u16,
            heads: heads as u8,
            sectors,
        }
    }

    /// How many sectors the geometry describes.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.cylinders as u64 * self.heads as u64 * self.sectors as u64
    }

    /// Whether each part is at least one, as on every disk that can be addressed by it.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.capacity() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::Geometry;

    fn parts(total: u64) -> (u16, u8, u8) {
        let Geometry {
            cylinders,
            heads,
            sectors,
        } = Geometry::from_sectors(total);
        (cylinders, heads, sectors)
    }

    #[test]
    fn the_specification_gives_these() {
        // 17 sectors per track, 4 heads at least.
        assert_eq!(parts(68), (1, 4, 17));
        assert_eq!(parts(3 << 11), (90, 4, 17));
        // Heads grow with the size until 16.
        assert_eq!(parts(40 << 11), (963, 5, 17));
        // Then 31 and 63 sectors per track.
        assert_eq!(parts(200 << 11), (825, 16, 31));
        assert_eq!(parts(1 << 21), (2080, 16, 63));
        // 255 sectors per track from 65535 * 16 * 63 on.
        assert_eq!(parts(65535 * 16 * 63 - 1), (65534, 16, 63));
        assert_eq!(parts(65535 * 16 * 63), (16191, 16, 255));
        assert_eq!(parts(65535 * 16 * 255), (65535, 16, 255));
        assert_eq!(parts(u64::MAX), (65535, 16, 255));
    }

    #[test]
    fn it_is_never_larger_than_the_disk() {
        for total in (0..200_000).chain((0..20_000).map(|step| step * 240_007)) {
            let geometry = Geometry::from_sectors(total);
            assert!(geometry.capacity() <= total, "{total}: {geometry:?}");
            assert!(geometry.heads <= 16 && geometry.heads >= 4);
        }
    }
}
