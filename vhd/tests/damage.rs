// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Damaged and hostile images: each is refused for the right reason, and not a byte of it changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use vhd::format::{Footer, Header, spec};
use vhd::storage::{FileSystem, MemoryFileSystem, MemoryStorage};
use vhd::testing::Dice;
use vhd::{CreateOptions, Damage, Disk, Format, Kind, OpenOptions, Structure, create};
use zerocopy::{FromBytes, IntoBytes};

const SIZE: u64 = 3 << 20;
const BLOCK: u32 = 64 << 10;
/// As [`create`] lays a dynamic image out.
const HEADER: usize = 512;
const TABLE: usize = 4096;
const BLOCK_ENTRIES: u32 = (SIZE / BLOCK as u64) as u32;

fn files() -> (MemoryFileSystem, Arc<dyn FileSystem>) {
    let files = MemoryFileSystem::new();
    (files.clone(), Arc::new(files))
}

/// A fixed image, a dynamic one with three blocks, and a child of it with one; the dynamic one's ID is all ones.
fn samples() -> MemoryFileSystem {
    let (files, shared) = files();
    let options = CreateOptions::new().file_system(shared.clone()).block_size(BLOCK);
    create::fixed("/d/fixed.vhd", SIZE, &options).unwrap();
    create::dynamic("/d/dynamic.vhd", SIZE, &options.clone().unique_id([1; 16])).unwrap();
    fill("/d/dynamic.vhd", &shared, &[0, 9, 3]);
    create::differencing(
        "/d/child.vhd",
        "/d/dynamic.vhd",
        &options.clone().unique_id([2; 16]),
    )
    .unwrap();
    fill("/d/child.vhd", &shared, &[5]);
    files
}

fn fill(name: &str, files: &Arc<dyn FileSystem>, blocks: &[u64]) {
    let disk = Disk::open(name, &OpenOptions::new().file_system(files.clone())).unwrap();
    for block in blocks {
        disk.write_at(block * u64::from(BLOCK), &[1; 4096]).unwrap();
    }
    disk.close().unwrap();
}

fn end_at(image: &[u8]) -> usize {
    image.len() - 512
}

/// Changes one footer and makes its checksum right again.
fn footer_at(image: &mut [u8], at: usize, change: impl Fn(&mut Footer)) {
    let footer = Footer::mut_from_bytes(&mut image[at..at + 512]).unwrap();
    change(footer);
    footer.seal();
}

/// Changes the end footer, and the copy if there is one.
fn footers(image: &mut [u8], change: impl Fn(&mut Footer)) {
    if image.starts_with(&spec::FOOTER_COOKIE) {
        footer_at(image, 0, &change);
    }
    footer_at(image, end_at(image), &change);
}

fn header(image: &mut [u8], change: impl Fn(&mut Header)) {
    let header = Header::mut_from_bytes(&mut image[HEADER..HEADER + 1024]).unwrap();
    change(header);
    header.seal();
}

fn entry(image: &[u8], block: usize) -> u32 {
    u32::from_be_bytes(image[TABLE + block * 4..][..4].try_into().unwrap())
}

fn set_entry(image: &mut [u8], block: usize, sector: u32) {
    image[TABLE + block * 4..][..4].copy_from_slice(&sector.to_be_bytes());
}

type Case = (&'static str, Option<Format>, fn(&mut Vec<u8>), Kind);

fn corrupt(damage: Damage) -> Kind {
    Kind::Corrupt(damage)
}

#[rustfmt::skip]
fn fixed_cases() -> Vec<Case> {
    use Damage as D;
    vec![
        ("empty file", None, |image| image.clear(), Kind::NotAnImage),
        ("one byte", None, |image| image.truncate(1), Kind::NotAnImage),
        ("odd length, no footer", None, |image| image.truncate(700), Kind::NotAnImage),
        ("footer cut off", Some(Format::Fixed), |image| image.truncate(SIZE as usize), Kind::InvalidFooter),
        ("half of the footer cut off", None, |image| image.truncate(SIZE as usize + 256), Kind::NotAnImage),
        ("first sector lost", None, |image| drop(image.drain(..512)), corrupt(D::DataMissing { needed: SIZE, found: SIZE - 512 })),
        ("only the footer", None, |image| drop(image.drain(..SIZE as usize)), corrupt(D::DataMissing { needed: SIZE, found: 0 })),
        ("a bit flipped", None, |image| *image.last_mut().unwrap() ^= 1, Kind::Checksum(Structure::Footer)),
        ("checksum zero", None, |image| image[SIZE as usize + 64..][..4].fill(0), Kind::Checksum(Structure::Footer)),
        ("cookie gone", Some(Format::Fixed), |image| image[SIZE as usize] = b'C', Kind::InvalidFooter),
        ("in use", None, |image| image[SIZE as usize..].fill(0xc7), Kind::InvalidFooter),
        ("version 2", None, |image| footers(image, |f| f.version = 0x2_0000.into()), Kind::UnsupportedVersion { structure: Structure::Footer, version: 0x2_0000 }),
        ("version 0", None, |image| footers(image, |f| f.version = 0.into()), Kind::UnsupportedVersion { structure: Structure::Footer, version: 0 }),
        ("type none", None, |image| footers(image, |f| f.disk_type = 0.into()), Kind::UnsupportedDiskType(0)),
        ("type linked", None, |image| footers(image, |f| f.disk_type = 1.into()), Kind::UnsupportedDiskType(1)),
        ("type 5", None, |image| footers(image, |f| f.disk_type = 5.into()), Kind::UnsupportedDiskType(5)),
        ("type 6", None, |image| footers(image, |f| f.disk_type = 6.into()), Kind::UnsupportedDiskType(6)),
        ("type all ones", None, |image| footers(image, |f| f.disk_type = u32::MAX.into()), Kind::UnsupportedDiskType(u32::MAX)),
        ("size zero", None, |image| footers(image, |f| f.current_size = 0.into()), corrupt(D::Size(0))),
        ("size odd", None, |image| footers(image, |f| f.current_size = 1000.into()), corrupt(D::Size(1000))),
        ("size 2^63", None, |image| footers(image, |f| f.current_size = (1 << 63).into()), corrupt(D::DataMissing { needed: 1 << 63, found: SIZE })),
        ("size near 2^64", None, |image| footers(image, |f| f.current_size = (u64::MAX - 511).into()), corrupt(D::DataMissing { needed: u64::MAX - 511, found: SIZE })),
        ("size one sector more", None, |image| footers(image, |f| f.current_size = (SIZE + 512).into()), corrupt(D::DataMissing { needed: SIZE + 512, found: SIZE })),
        ("no cylinders", None, |image| footers(image, |f| f.geometry.cylinders = 0.into()), corrupt(D::Geometry)),
        ("no heads", None, |image| footers(image, |f| f.geometry.heads = 0), corrupt(D::Geometry)),
        ("no sectors", None, |image| footers(image, |f| f.geometry.sectors = 0), corrupt(D::Geometry)),
        ("says it is dynamic", None, |image| { footers(image, |f| { f.disk_type = 3.into(); f.data_offset = 512.into(); }) }, Kind::InvalidHeader),
        ("another format", Some(Format::Dynamic), |_| {}, Kind::WrongFormat),
    ]
}

#[rustfmt::skip]
fn dynamic_cases() -> Vec<Case> {
    use Damage as D;
    use Structure as S;
    vec![
        ("both checksums wrong", None, |image| { let end = end_at(image); image[end + 100] ^= 1; image[100] ^= 1; }, Kind::Checksum(S::Footer)),
        ("end lost, copy's checksum wrong", None, |image| { image[100] ^= 1; image.truncate(end_at(image)); }, Kind::Checksum(S::FooterCopy)),
        ("end lost, copy lost", Some(Format::Dynamic), |image| { image[0] = 0; image.truncate(end_at(image)); }, Kind::InvalidFooter),
        ("end lost, copy says fixed", None, |image| { footers(image, |f| f.disk_type = 2.into()); image.truncate(end_at(image)); }, Kind::InvalidFooter),
        ("linked", None, |image| footers(image, |f| f.disk_type = 1.into()), Kind::UnsupportedDiskType(1)),
        ("no header cookie", None, |image| header(image, |h| h.cookie[0] = b'X'), Kind::InvalidHeader),
        ("header checksum", None, |image| image[HEADER + 800] ^= 1, Kind::Checksum(S::Header)),
        ("header version", None, |image| header(image, |h| h.header_version = 0x3_0001.into()), Kind::UnsupportedVersion { structure: S::Header, version: 0x3_0001 }),
        ("header misaligned", None, |image| footers(image, |f| f.data_offset = 513.into()), corrupt(D::Misaligned(S::Header))),
        ("no header", None, |image| footers(image, |f| f.data_offset = u64::MAX.into()), corrupt(D::Misaligned(S::Header))),
        ("header on the footer copy", None, |image| footers(image, |f| f.data_offset = 0.into()), corrupt(D::Overlap(S::FooterCopy, S::Header))),
        ("header behind the end", None, |image| footers(image, |f| f.data_offset = (1 << 40).into()), corrupt(D::OutsideFile(S::Header))),
        ("header offset overflows", None, |image| footers(image, |f| f.data_offset = (u64::MAX - 511).into()), corrupt(D::OutsideFile(S::Header))),
        ("header in the table", None, |image| footers(image, |f| f.data_offset = (TABLE as u64).into()), Kind::InvalidHeader),
        ("block size zero", None, |image| header(image, |h| h.block_size = 0.into()), corrupt(D::BlockSize(0))),
        ("block size one", None, |image| header(image, |h| h.block_size = 1.into()), corrupt(D::BlockSize(1))),
        ("block size below a sector", None, |image| header(image, |h| h.block_size = 256.into()), corrupt(D::BlockSize(256))),
        ("block size no power of two", None, |image| header(image, |h| h.block_size = (3 << 20).into()), corrupt(D::BlockSize(3 << 20))),
        ("block size all ones", None, |image| header(image, |h| h.block_size = u32::MAX.into()), corrupt(D::BlockSize(u32::MAX))),
        ("block size larger than the file", None, |image| header(image, |h| h.block_size = (1 << 31).into()), corrupt(D::BlockOutsideFile { block: 0, sector: 23 })),
        ("table empty", None, |image| header(image, |h| h.max_table_entries = 0.into()), corrupt(D::TableTooShort { needed: u64::from(BLOCK_ENTRIES), found: 0 })),
        ("table one short", None, |image| header(image, |h| h.max_table_entries = (BLOCK_ENTRIES - 1).into()), corrupt(D::TableTooShort { needed: u64::from(BLOCK_ENTRIES), found: BLOCK_ENTRIES - 1 })),
        ("table of 16 GiB", None, |image| header(image, |h| h.max_table_entries = u32::MAX.into()), corrupt(D::TableTooLong(u32::MAX))),
        ("table beyond the end", None, |image| header(image, |h| h.max_table_entries = (1 << 24).into()), corrupt(D::OutsideFile(S::Table))),
        ("table misaligned", None, |image| header(image, |h| h.table_offset = 4100.into()), corrupt(D::Misaligned(S::Table))),
        ("table on the footer copy", None, |image| header(image, |h| h.table_offset = 0.into()), corrupt(D::Overlap(S::FooterCopy, S::Table))),
        ("table on the header", None, |image| header(image, |h| h.table_offset = 1024.into()), corrupt(D::Overlap(S::Header, S::Table))),
        ("table on the footer", None, |image| { let end = end_at(image) as u64; header(image, |h| h.table_offset = end.into()); }, corrupt(D::OutsideFile(S::Table))),
        ("table offset 2^63", None, |image| header(image, |h| h.table_offset = (1 << 63).into()), corrupt(D::OutsideFile(S::Table))),
        ("table offset overflows", None, |image| header(image, |h| h.table_offset = (u64::MAX - 511).into()), corrupt(D::OutsideFile(S::Table))),
        ("disk larger than the table", None, |image| footers(image, |f| f.current_size = (2 * SIZE).into()), corrupt(D::TableTooShort { needed: u64::from(2 * BLOCK_ENTRIES), found: BLOCK_ENTRIES })),
        ("disk of 2 TiB", None, |image| footers(image, |f| f.current_size = (1 << 41).into()), corrupt(D::SizeTooLarge(1 << 41))),
        ("disk of 2^63", None, |image| footers(image, |f| f.current_size = (1 << 63).into()), corrupt(D::SizeTooLarge(1 << 63))),
        ("disk of zero", None, |image| footers(image, |f| f.current_size = 0.into()), corrupt(D::Size(0))),
        ("disk of parts of sectors", None, |image| footers(image, |f| f.current_size = (SIZE - 1).into()), corrupt(D::Size(SIZE - 1))),
        ("no heads", None, |image| footers(image, |f| f.geometry.heads = 0), corrupt(D::Geometry)),
        ("block on the footer copy", None, |image| set_entry(image, 7, 0), corrupt(D::BlockInMetadata { block: 7, structure: S::FooterCopy })),
        ("block on the header", None, |image| set_entry(image, 7, 2), corrupt(D::BlockInMetadata { block: 7, structure: S::Header })),
        ("block on the table", None, |image| set_entry(image, 7, 8), corrupt(D::BlockInMetadata { block: 7, structure: S::Table })),
        ("block behind the end", None, |image| set_entry(image, 7, 1 << 30), corrupt(D::BlockOutsideFile { block: 7, sector: 1 << 30 })),
        ("block at the last sector number", None, |image| set_entry(image, 7, u32::MAX - 1), corrupt(D::BlockOutsideFile { block: 7, sector: u32::MAX - 1 })),
        ("a block twice", None, |image| { let sector = entry(image, 0); set_entry(image, 47, sector); }, corrupt(D::BlocksOverlap { first: 0, second: 47 })),
        ("blocks a sector into each other", None, |image| { let sector = entry(image, 3); set_entry(image, 3, sector - 8); }, corrupt(D::BlocksOverlap { first: 9, second: 3 })),
        ("a bad entry behind the disk's end", None, |image| { header(image, |h| h.max_table_entries = 60.into()); set_entry(image, 59, 1 << 20); }, corrupt(D::BlockOutsideFile { block: 59, sector: 1 << 20 })),
        ("cut in the last block", None, |image| image.truncate(end_at(image) - 4096), corrupt(D::BlockOutsideFile { block: 3, sector: 295 })),
        ("cut in the table", None, |image| image.truncate(TABLE), corrupt(D::OutsideFile(S::Table))),
        ("cut in the header", None, |image| image.truncate(1024), corrupt(D::OutsideFile(S::Header))),
        ("cut behind the copy", None, |image| image.truncate(512), corrupt(D::OutsideFile(S::Header))),
        ("says it is a child", None, |image| footers(image, |f| f.disk_type = 4.into()), corrupt(D::ParentId)),
        ("another format", Some(Format::Fixed), |_| {}, Kind::WrongFormat),
    ]
}

#[rustfmt::skip]
fn child_cases() -> Vec<Case> {
    use Damage as D;
    use Structure as S;
    vec![
        ("parent ID zero", None, |image| header(image, |h| h.parent_unique_id = [0; 16]), corrupt(D::ParentId)),
        ("its own parent", None, |image| header(image, |h| h.parent_unique_id = [2; 16]), corrupt(D::ParentId)),
        ("another parent", None, |image| header(image, |h| h.parent_unique_id = [3; 16]), Kind::ParentIdMismatch { expected: [3; 16], found: [1; 16] }),
        ("parent changed", None, |image| header(image, |h| h.parent_time_stamp = 1000.into()), Kind::ParentModified),
        ("locator of 16 MiB", None, |image| header(image, |h| h.parent_locators[0].data_length = (1 << 24).into()), corrupt(D::LocatorTooLong(1 << 24))),
        ("locator behind the end", None, |image| header(image, |h| h.parent_locators[0].data_offset = (1 << 30).into()), corrupt(D::OutsideFile(S::Locator))),
        ("locator offset overflows", None, |image| { header(image, |h| { h.parent_locators[1].data_offset = (u64::MAX - 511).into() }) }, corrupt(D::OutsideFile(S::Locator))),
        ("locator misaligned", None, |image| header(image, |h| h.parent_locators[2].data_offset = 1537.into()), corrupt(D::Misaligned(S::Locator))),
        ("locator on the header", None, |image| header(image, |h| h.parent_locators[0].data_offset = 1024.into()), corrupt(D::Overlap(S::Header, S::Locator))),
        ("locator on the table", None, |image| header(image, |h| h.parent_locators[0].data_offset = 4096.into()), corrupt(D::Overlap(S::Table, S::Locator))),
        ("locators on each other", None, |image| { header(image, |h| { h.parent_locators[0].data_offset = h.parent_locators[1].data_offset }) }, corrupt(D::Overlap(S::Locator, S::Locator))),
        ("no name at all", None, |image| { header(image, |h| { h.parent_unicode_name = [0.into(); 256]; h.parent_locators.iter_mut().for_each(|l| l.platform_code = [0; 4]); }) }, corrupt(D::NoParentName)),
        ("locator in a block", None, |image| { let sector = entry(image, 5); header(image, |h| h.parent_locators[0].data_offset = (u64::from(sector) * 512).into()); }, corrupt(D::BlockInMetadata { block: 5, structure: S::Locator })),
        ("a name that is nowhere", None, |image| { header(image, |h| { h.parent_unicode_name[0] = 0x58.into(); h.parent_locators.iter_mut().for_each(|l| l.platform_code = [0; 4]); }) }, Kind::ParentNotFound { tried: vec![PathBuf::from("/d/Xynamic.vhd")] }),
    ]
}

#[test]
fn every_damage_is_named_and_nothing_is_changed() {
    let mut count = 0;
    let sets = [
        ("/d/fixed.vhd", fixed_cases()),
        ("/d/dynamic.vhd", dynamic_cases()),
        ("/d/child.vhd", child_cases()),
    ];
    for (name, cases) in sets {
        for (what, format, damage, expected) in cases {
            let files = samples();
            let mut image = files.content(name).unwrap();
            damage(&mut image);
            files.insert(name, MemoryStorage::new(image.clone()));
            for read_only in [true, false] {
                let mut options = OpenOptions::new()
                    .file_system(Arc::new(files.clone()))
                    .read_only(read_only);
                if let Some(format) = format {
                    options = options.format(format);
                }
                let error = Disk::open(name, &options)
                    .err()
                    .unwrap_or_else(|| panic!("{name}, {what}: it opens"));
                assert_eq!(*error.kind(), expected, "{name}, {what}: {error}");
                assert!(
                    error.to_string().contains("/d/"),
                    "{what}: the message names the file"
                );
            }
            assert!(
                files.content(name).unwrap() == image,
                "{name}, {what}: the file was changed"
            );
            // The lock is given back too.
            files
                .open(name.as_ref(), vhd::storage::Access::Exclusive)
                .unwrap();
            count += 1;
        }
    }
    assert!(count >= 90, "{count} kinds of damage");
}

#[test]
fn damage_of_a_parent_refuses_the_child() {
    for (what, _, damage, expected) in dynamic_cases().into_iter().filter(|case| case.1.is_none()) {
        let files = samples();
        let mut image = files.content("/d/dynamic.vhd").unwrap();
        damage(&mut image);
        files.insert("/d/dynamic.vhd", MemoryStorage::new(image));
        let options = OpenOptions::new().file_system(Arc::new(files.clone()));
        let error = Disk::open("/d/child.vhd", &options)
            .err()
            .unwrap_or_else(|| panic!("{what}: it opens"));
        assert_eq!(*error.kind(), expected, "{what}");
        assert_eq!(
            error.path(),
            "/d/dynamic.vhd",
            "{what}: the message names the parent"
        );
    }
}

#[test]
fn a_raw_disk_is_no_parent() {
    let files = samples();
    files.insert("/d/dynamic.vhd", MemoryStorage::new(vec![0; SIZE as usize]));
    let options = OpenOptions::new().file_system(Arc::new(files));
    let error = Disk::open("/d/child.vhd", &options).err().unwrap();
    assert_eq!(
        *error.kind(),
        Kind::ParentIdMismatch {
            expected: [1; 16],
            found: [0; 16]
        }
    );
}

#[test]
fn a_time_stamp_may_be_ignored_and_an_id_may_not() {
    let files = samples();
    files.set_modified(
        "/d/dynamic.vhd",
        UNIX_EPOCH + Duration::from_secs(1_700_000_000 + 100),
    );
    let options = OpenOptions::new().file_system(Arc::new(files.clone()));
    let kind = |options: &OpenOptions| {
        Disk::open("/d/child.vhd", options)
            .err()
            .map(|error| error.kind().clone())
    };
    assert_eq!(kind(&options), Some(Kind::ParentModified));
    assert_eq!(kind(&options.clone().ignore_parent_timestamp(true)), None);
    let mut image = files.content("/d/dynamic.vhd").unwrap();
    footers(&mut image, |footer| footer.unique_id = [9; 16]);
    files.insert("/d/dynamic.vhd", MemoryStorage::new(image));
    let mismatch = Some(Kind::ParentIdMismatch {
        expected: [1; 16],
        found: [9; 16],
    });
    assert_eq!(kind(&options.ignore_parent_timestamp(true)), mismatch);
}

/// Whatever the bytes are: no panic, no endless loop, and an image that opens can be read to its end.
#[test]
fn random_damage_never_panics() {
    let files = samples();
    let (child, parent) = (
        files.content("/d/child.vhd").unwrap(),
        files.content("/d/dynamic.vhd").unwrap(),
    );
    let options = OpenOptions::new()
        .file_system(Arc::new(files.clone()))
        .ignore_parent_timestamp(true);
    let mut dice = Dice::new(1);
    let mut opened = 0;
    for _ in 0..4000 {
        for (name, image) in [("/d/child.vhd", &child), ("/d/dynamic.vhd", &parent)] {
            let mut image = image.clone();
            for _ in 0..dice.roll(4) {
                let at = match dice.roll(4) {
                    0 => dice.roll(84),
                    1 => HEADER as u64 + dice.roll(1024),
                    2 => TABLE as u64 + dice.roll(200),
                    _ => dice.roll(image.len() as u64),
                };
                let values = [0, 1, 0x7f, 0x80, 0xff, dice.roll(256) as u8];
                image[at as usize] = values[dice.roll(6) as usize];
            }
            if dice.once_in(10) {
                image.truncate(dice.roll(image.len() as u64) as usize);
            } else if dice.once_in(2) {
                // With sums that are right, so that the checks behind them are reached.
                let end = end_at(&image);
                image[end..].copy_from_slice(Footer::read_from_bytes(&parent[..512]).unwrap().as_bytes());
                let copy: Vec<u8> = image[..512].to_vec();
                image[end..].copy_from_slice(&copy);
                footers(&mut image, |_| {});
                header(&mut image, |_| {});
            }
            files.insert(name, MemoryStorage::new(image));
        }
        if let Ok(disk) = Disk::open("/d/child.vhd", &options) {
            opened += 1;
            let mut content = vec![0; 1 << 20];
            let mut at = 0;
            while at < disk.len().min(64 << 20) {
                let len = (disk.len() - at).min(1 << 20) as usize;
                disk.read_at(at, &mut content[..len]).unwrap();
                at += len as u64;
            }
            disk.write_at(disk.len() / 2, b"still a disk").unwrap();
            disk.close().unwrap();
        }
    }
    assert!(opened > 100, "{opened} opened");
}
