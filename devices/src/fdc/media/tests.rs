// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;
use proptest::prelude::*;

fn shape(len: u64, sector: &[u8]) -> (u8, u8, u8) {
    let format = Format::detect(len, sector, None).unwrap();
    (format.cylinders, format.heads, format.sectors)
}

/// A boot sector with a BIOS parameter block.
fn boot_sector(total: u16, sectors: u16, heads: u16) -> Vec<u8> {
    let mut sector = vec![0; SECTOR];
    sector[11..13].copy_from_slice(&512u16.to_le_bytes());
    sector[13] = 1;
    sector[14] = 1;
    sector[16] = 2;
    sector[19..21].copy_from_slice(&total.to_le_bytes());
    sector[21] = 0xf0;
    sector[24..26].copy_from_slice(&sectors.to_le_bytes());
    sector[26..28].copy_from_slice(&heads.to_le_bytes());
    sector
}

#[test]
fn every_known_length_has_its_format() {
    use DriveType::{Inch3ExtraHigh, Inch3High, Inch5Double, Inch5High};
    for (len, cylinders, heads, sectors, drive) in [
        (163_840, 40, 1, 8, Inch5Double),
        (184_320, 40, 1, 9, Inch5Double),
        (327_680, 40, 2, 8, Inch5Double),
        (368_640, 40, 2, 9, Inch5Double),
        (377_856, 41, 2, 9, Inch5Double),
        (387_072, 42, 2, 9, Inch5Double),
        (409_600, 40, 2, 10, Inch5Double),
        (655_360, 80, 2, 8, Inch3High),
        (737_280, 80, 2, 9, Inch3High),
        (746_496, 81, 2, 9, Inch3High),
        (755_712, 82, 2, 9, Inch3High),
        (764_928, 83, 2, 9, Inch3High),
        (819_200, 80, 2, 10, Inch3High),
        (839_680, 82, 2, 10, Inch3High),
        (849_920, 83, 2, 10, Inch3High),
        (1_228_800, 80, 2, 15, Inch5High),
        (1_244_160, 81, 2, 15, Inch5High),
        (1_474_560, 80, 2, 18, Inch3High),
        (1_492_992, 81, 2, 18, Inch3High),
        (1_511_424, 82, 2, 18, Inch3High),
        (1_529_856, 83, 2, 18, Inch3High),
        (1_638_400, 80, 2, 20, Inch3High),
        (1_720_320, 80, 2, 21, Inch3High),
        (1_763_328, 82, 2, 21, Inch3High),
        (1_802_240, 80, 2, 22, Inch3High),
        (1_884_160, 80, 2, 23, Inch3High),
        (1_966_080, 80, 2, 24, Inch3High),
        (2_949_120, 80, 2, 36, Inch3ExtraHigh),
        (2_985_984, 81, 2, 36, Inch3ExtraHigh),
        (3_194_880, 80, 2, 39, Inch3ExtraHigh),
    ] {
        let format = Format::detect(len, &[], None).unwrap();
        assert_eq!(
            (format.cylinders, format.heads, format.sectors),
            (cylinders, heads, sectors),
            "{len}"
        );
        assert_eq!(DriveType::for_format(Some(format)), drive, "{len}");
        assert_eq!(format.capacity(), len);
        assert!(format.rate_in(drive).is_some());
    }
}

#[test]
fn no_length_stands_for_two_formats() {
    let mut lengths: Vec<u64> = TABLE
        .iter()
        .flat_map(|row| row.cylinders.clone().map(|n| Format::from_row(row, n).capacity()))
        .collect();
    let all = lengths.len();
    lengths.sort_unstable();
    lengths.dedup();
    assert_eq!(lengths.len(), all);
}

#[test]
fn the_table_comes_before_the_parameter_block() {
    assert_eq!(shape(1_474_560, &boot_sector(1440, 9, 2)), (80, 2, 18));
}

#[test]
fn an_unknown_length_is_explained_by_the_parameter_block() {
    assert_eq!(shape(700_000, &boot_sector(1440, 9, 2)), (80, 2, 9));
    assert_eq!(shape(200_000, &boot_sector(720, 9, 2)), (40, 2, 9));
    assert_eq!(shape(1_000_000, &boot_sector(2400, 15, 2)), (80, 2, 15));
    assert_eq!(shape(1_600_000, &boot_sector(3360, 21, 2)), (80, 2, 21));
    assert_eq!(shape(2_000_000, &boot_sector(5760, 36, 2)), (80, 2, 36));
    // The image goes on after the file system: more tracks, as long as there can be any.
    assert_eq!(shape(1_480_000, &boot_sector(2880, 18, 2)), (81, 2, 18));
}

#[test]
fn an_insane_parameter_block_is_not_believed() {
    let plain = (80, 2, 18);
    assert_eq!(shape(1_000_000, &boot_sector(2880, 63, 255)), plain);
    assert_eq!(shape(1_000_000, &boot_sector(2880, 0, 2)), plain);
    assert_eq!(shape(1_000_000, &boot_sector(0, 9, 2)), plain);
    assert_eq!(shape(1_000_000, &boot_sector(0xffff, 9, 2)), plain);
    assert_eq!(shape(1_000_000, &[0xeb; 20]), plain);
    let mut sector = boot_sector(1440, 9, 2);
    sector[11..13].copy_from_slice(&1024u16.to_le_bytes());
    assert_eq!(shape(1_000_000, &sector), plain);
}

#[test]
fn else_it_is_the_beginning_of_a_diskette_of_the_drive() {
    let sectors = |len, drive| Format::detect(len, &[], drive).map(Format::sectors);
    assert_eq!(sectors(10_240, None), Ok(18));
    assert_eq!(sectors(1, None), Ok(18));
    assert_eq!(sectors(1_474_559, None), Ok(18));
    assert_eq!(sectors(1_700_000, None), Ok(21));
    assert_eq!(sectors(2_500_000, None), Ok(36));
    assert_eq!(sectors(10_240, Some(DriveType::Inch5High)), Ok(15));
    assert_eq!(sectors(10_240, Some(DriveType::Inch5Double)), Ok(9));
    assert_eq!(sectors(10_240, Some(DriveType::Inch3Double)), Ok(9));
    assert_eq!(sectors(10_240, Some(DriveType::Inch3ExtraHigh)), Ok(36));
    assert_eq!(
        sectors(1_300_000, Some(DriveType::Inch5High)),
        Err(FormatError::TooLarge {
            len: 1_300_000,
            most: 83 * 2 * 15 * 512
        })
    );
    assert!(matches!(
        sectors(1 << 40, None),
        Err(FormatError::TooLarge { .. })
    ));
    assert_eq!(sectors(0, None), Err(FormatError::Empty));
}

#[test]
fn each_drive_reads_its_own_densities_at_its_own_rates() {
    use DataRate::{Kbps250, Kbps300, Kbps500, Mbps1};
    let format = |len| Format::detect(len, &[], None).unwrap();
    let (f360, f1200, f720, f1440, f2880) = (
        format(368_640),
        format(1_228_800),
        format(737_280),
        format(1_474_560),
        format(2_949_120),
    );
    for (drive, expected) in [
        (DriveType::Inch5Double, [Some(Kbps250), None, None, None, None]),
        (
            DriveType::Inch5High,
            [Some(Kbps300), Some(Kbps500), None, None, None],
        ),
        (DriveType::Inch3Double, [None, None, Some(Kbps250), None, None]),
        (
            DriveType::Inch3High,
            [None, None, Some(Kbps250), Some(Kbps500), None],
        ),
        (
            DriveType::Inch3ExtraHigh,
            [None, None, Some(Kbps250), Some(Kbps500), Some(Mbps1)],
        ),
    ] {
        assert_eq!(
            [f360, f1200, f720, f1440, f2880].map(|f| f.rate_in(drive)),
            expected
        );
    }
    assert_eq!(f360.steps_per_track(DriveType::Inch5High), 2);
    assert_eq!(f360.steps_per_track(DriveType::Inch5Double), 1);
    assert_eq!(f1200.steps_per_track(DriveType::Inch5High), 1);
}

#[test]
fn cmos_codes_are_the_ones_of_the_at_bios() {
    use DriveType::{Inch3Double, Inch3ExtraHigh, Inch3High, Inch5Double, Inch5High};
    let all = [Inch5Double, Inch5High, Inch3Double, Inch3High, Inch3ExtraHigh];
    assert_eq!(all.map(DriveType::cmos_code), [1, 2, 3, 4, 5]);
    assert_eq!(DriveType::for_format(None), Inch3High);
}

proptest! {
    /// Whatever an image holds: it is refused or held by its format.
    #[test]
    fn a_format_holds_its_image(len in 0u64..4_000_000, sector in proptest::collection::vec(any::<u8>(), 0..64), total: u16, sectors in 0u16..64, heads in 0u16..4) {
        for first in [sector, boot_sector(total, sectors, heads)] {
            if let Ok(format) = Format::detect(len, &first, None) {
                prop_assert!(format.capacity() >= len);
                prop_assert!(format.cylinders() <= MAX_CYLINDERS);
                prop_assert!(format.rate_in(DriveType::for_format(Some(format))).is_some());
            }
        }
    }
}
