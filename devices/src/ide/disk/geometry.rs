// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Cylinders, heads and sectors (ATA/ATAPI-6, annex C).

use crate::block::Chs;
use crate::ide::spec::CHS_SECTORS;

const MAX_CYLINDERS: u32 = 16_383;
const MAX_HEADS: u32 = 16;
const MAX_SECTORS: u32 = 63;

/// The default translation of a disk of so many sectors: what its image names, if that can be told in the words of IDENTIFY, else 16
/// heads and 63 sectors, which raw images have been partitioned with.
pub(super) fn of(total: u64, named: Option<Chs>) -> Chs {
    if total >= CHS_SECTORS {
        return Chs {
            cylinders: MAX_CYLINDERS,
            heads: MAX_HEADS,
            sectors: MAX_SECTORS,
        };
    }
    let fits = |chs: &Chs| {
        (1..=MAX_CYLINDERS).contains(&chs.cylinders)
            && (1..=MAX_HEADS).contains(&chs.heads)
            && (1..=MAX_SECTORS).contains(&chs.sectors)
            && u64::from(chs.cylinders * chs.heads * chs.sectors) <= total
    };
    named
        .filter(fits)
        .or_else(|| translate(total, MAX_HEADS, MAX_SECTORS))
        .or_else(|| translate(total, 1, 1))
        .unwrap_or_default()
}

/// The translation that INITIALIZE DEVICE PARAMETERS asks for. `None` if it has no cylinder or no sectors.
pub(super) fn translate(total: u64, heads: u32, sectors: u32) -> Option<Chs> {
    let track = u64::from(heads) * u64::from(sectors);
    let cylinders = total.min(CHS_SECTORS).checked_div(track)?.min(0xffff);
    (cylinders > 0).then_some(Chs {
        cylinders: cylinders as u32,
        heads,
        sectors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chs(cylinders: u32, heads: u32, sectors: u32) -> Chs {
        Chs {
            cylinders,
            heads,
            sectors,
        }
    }

    #[test]
    fn the_image_knows_best() {
        let named = chs(615, 4, 17);
        assert_eq!(of(615 * 4 * 17, Some(named)), named);
        assert_eq!(of(615 * 4 * 17 + 20, Some(named)), named);
    }

    #[test]
    fn but_not_what_cannot_be() {
        for named in [
            chs(0, 4, 17),
            chs(100, 17, 63),
            chs(100, 16, 255),
            chs(u32::MAX, 16, 63),
            chs(100, 0, 0),
        ] {
            assert_eq!(of(1_000_000, Some(named)), chs(992, 16, 63), "{named:?}");
        }
        assert_eq!(of(1_000, Some(chs(100, 4, 17))), chs(1_000, 1, 1));
    }

    #[test]
    fn large_disks_and_tiny_ones() {
        assert_eq!(of(CHS_SECTORS, Some(chs(1, 1, 1))), chs(16_383, 16, 63));
        assert_eq!(of(u64::MAX, None), chs(16_383, 16, 63));
        assert_eq!(of(1, None), chs(1, 1, 1));
        assert_eq!(of(0, None), Chs::default());
    }

    #[test]
    fn translations_that_drivers_ask_for() {
        assert_eq!(translate(1_000_000, 16, 63), Some(chs(992, 16, 63)));
        assert_eq!(translate(1_000_000, 1, 1), Some(chs(0xffff, 1, 1)));
        assert_eq!(translate(1_000_000, 16, 0), None);
        assert_eq!(translate(100, 16, 63), None);
    }
}
