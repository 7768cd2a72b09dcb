// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How parents are found, recognised and kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vhd::format::{Footer, Header};
use vhd::storage::{FileSystem, MemoryFileSystem, MemoryStorage};
use vhd::{CreateOptions, Disk, Kind, Notice, OpenOptions, create};
use zerocopy::FromBytes;

const SIZE: u64 = 4 << 20;

fn memory() -> (MemoryFileSystem, CreateOptions, OpenOptions) {
    let files = MemoryFileSystem::new();
    let shared: Arc<dyn FileSystem> = Arc::new(files.clone());
    (
        files,
        CreateOptions::new().file_system(shared.clone()),
        OpenOptions::new().file_system(shared),
    )
}

fn kind(result: vhd::Result<Disk>) -> Kind {
    result.expect_err("it must fail").kind().clone()
}

/// Moves a file of a memory file system.
fn rename(files: &MemoryFileSystem, from: &str, to: &str) {
    files.publish(from.as_ref(), to.as_ref()).unwrap();
}

fn header(image: &mut [u8], change: impl FnOnce(&mut Header)) {
    let header = Header::mut_from_bytes(&mut image[512..1536]).unwrap();
    change(header);
    header.seal();
}

/// Replaces the text of all locators by one.
fn relocate(files: &MemoryFileSystem, name: &str, code: &[u8; 4], text: &[u8]) {
    let mut image = files.content(name).unwrap();
    image[1536..1536 + text.len()].copy_from_slice(text);
    header(&mut image, |header| {
        header
            .parent_locators
            .iter_mut()
            .for_each(|locator| locator.platform_code = [0; 4]);
        header.parent_locators[0].platform_code = *code;
        header.parent_locators[0].data_offset = 1536.into();
        header.parent_locators[0].data_length = (text.len() as u32).into();
    });
    files.insert(name, MemoryStorage::new(image));
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_chain_may_be_64_deep_and_no_deeper() {
    let (_, create, open) = memory();
    create::dynamic("/c/0.vhd", SIZE, &create).unwrap();
    for depth in 1..=65 {
        let (child, parent) = (format!("/c/{depth}.vhd"), format!("/c/{}.vhd", depth - 1));
        create::differencing(&child, &parent, &create).unwrap();
        if depth <= 64 {
            let disk = Disk::open(&child, &open).unwrap();
            disk.write_at(depth * 4096, &[depth as u8; 4096]).unwrap();
            disk.close().unwrap();
        }
    }
    let disk = Disk::open("/c/64.vhd", &open).unwrap();
    assert_eq!(disk.layers().len(), 65);
    for depth in 1..=64 {
        let mut content = [0; 4096];
        disk.read_at(depth * 4096, &mut content).unwrap();
        assert_eq!(content, [depth as u8; 4096]);
    }
    drop(disk);
    assert_eq!(kind(Disk::open("/c/65.vhd", &open)), Kind::ChainTooDeep);
}

#[test]
fn places_are_tried_in_order() {
    let (files, create, open) = memory();
    create::dynamic("/vm/bases/base.vhd", SIZE, &create).unwrap();
    files.insert("/vm/children/keeps the folder", MemoryStorage::default());
    create::differencing("/vm/children/child.vhd", "/vm/bases/base.vhd", &create).unwrap();
    let parent = |options: &OpenOptions| {
        let disk = Disk::open("/vm/children/child.vhd", options).unwrap();
        disk.layers().nth(1).unwrap().path().to_owned()
    };
    assert_eq!(parent(&open), Path::new("/vm/children/../bases/base.vhd"));
    // Moved together: the relative place still holds. Moved alone: the absolute one does.
    rename(&files, "/vm/bases/base.vhd", "/vm/children/base.vhd");
    assert_eq!(parent(&open), Path::new("/vm/children/base.vhd"));
    rename(&files, "/vm/children/base.vhd", "/vm/bases/base.vhd");
    rename(&files, "/vm/children/child.vhd", "/else/where/child.vhd");
    let disk = Disk::open("/else/where/child.vhd", &open).unwrap();
    assert_eq!(
        disk.layers().nth(1).unwrap().path(),
        Path::new("/vm/bases/base.vhd")
    );
    drop(disk);
    // Nowhere it is said to be: only a search path helps, and the error names all that was tried.
    rename(&files, "/vm/bases/base.vhd", "/archive/bases/base.vhd");
    let Kind::ParentNotFound { tried } = kind(Disk::open("/else/where/child.vhd", &open)) else {
        panic!()
    };
    let expected = [
        "/else/where/../bases/base.vhd",
        "/vm/bases/base.vhd",
        "/else/where/base.vhd",
    ];
    assert_eq!(tried, expected.map(PathBuf::from));
    let message = Disk::open("/else/where/child.vhd", &open)
        .err()
        .unwrap()
        .to_string();
    assert!(
        tried
            .iter()
            .all(|path| message.contains(&path.display().to_string())),
        "{message}"
    );
    let found = Disk::open(
        "/else/where/child.vhd",
        &open.clone().search_path("/archive/bases"),
    );
    assert_eq!(
        found.unwrap().layers().nth(1).unwrap().path(),
        Path::new("/archive/bases/base.vhd")
    );
}

#[test]
fn another_disk_of_the_same_name_is_passed_over() {
    let (files, create, open) = memory();
    create::dynamic("/vm/bases/base.vhd", SIZE, &create).unwrap();
    create::differencing("/vm/child.vhd", "/vm/bases/base.vhd", &create).unwrap();
    rename(&files, "/vm/child.vhd", "/new/child.vhd");
    create::dynamic("/new/bases/base.vhd", SIZE, &create.unique_id([7; 16])).unwrap();
    let disk = Disk::open("/new/child.vhd", &open).unwrap();
    assert_eq!(
        disk.layers().nth(1).unwrap().path(),
        Path::new("/vm/bases/base.vhd")
    );
    drop(disk);
    files.remove("/vm/bases/base.vhd".as_ref()).unwrap();
    let Kind::ParentIdMismatch { found, .. } = kind(Disk::open("/new/child.vhd", &open)) else {
        panic!()
    };
    assert_eq!(found, [7; 16]);
}

#[test]
fn locators_of_other_programs_are_understood() {
    let (files, create, open) = memory();
    create::dynamic("/vm/my bases/base.vhd", SIZE, &create).unwrap();
    create::differencing("/vm/child.vhd", "/vm/my bases/base.vhd", &create).unwrap();
    let cases: [(&[u8; 4], Vec<u8>); 7] = [
        (b"W2ru", wide(".\\my bases\\base.vhd")),
        (b"W2ru", wide("my bases\\base.vhd\0\0\0")),
        (b"W2ru", wide("./my bases/base.vhd")),
        (b"W2ku", wide("\\vm\\my bases\\base.vhd")),
        (b"Wi2r", b".\\my bases\\base.vhd\0".to_vec()),
        (b"MacX", b"file://localhost/vm/my%20bases/base.vhd".to_vec()),
        (b"MacX", b"file:///vm/my%20bases/base.vhd\0".to_vec()),
    ];
    for (code, text) in cases {
        relocate(&files, "/vm/child.vhd", code, &text);
        Disk::open("/vm/child.vhd", &open).unwrap_or_else(|error| panic!("{code:?} {text:?}: {error}"));
    }
    // A drive of another host says no more than the name, which a search path makes use of.
    for (code, text) in [
        (b"W2ku", wide("C:\\my bases\\base.vhd")),
        (b"Wi2k", b"D:\\my bases\\base.vhd".to_vec()),
    ] {
        relocate(&files, "/vm/child.vhd", code, &text);
        assert!(matches!(
            kind(Disk::open("/vm/child.vhd", &open)),
            Kind::ParentNotFound { .. }
        ));
        // Where drives are this host's own, a folder on one is not looked for elsewhere.
        if cfg!(unix) {
            Disk::open("/vm/child.vhd", &open.clone().search_path("/vm")).unwrap();
        }
        Disk::open("/vm/child.vhd", &open.clone().search_path("/vm/my bases")).unwrap();
    }
}

#[test]
fn what_is_written_follows_the_specification() {
    let (files, create, _) = memory();
    create::dynamic("/vm/bases/größe.vhd", SIZE, &create).unwrap();
    create::differencing("/vm/child.vhd", "/vm/bases/größe.vhd", &create).unwrap();
    let image = files.content("/vm/child.vhd").unwrap();
    let footer = Footer::read_from_bytes(&image[..512]).unwrap();
    assert_eq!(
        image[..512],
        image[image.len() - 512..],
        "both footers are the same"
    );
    assert_eq!((footer.features.get(), footer.version.get()), (2, 0x1_0000));
    assert_eq!(footer.data_offset.get(), 512);
    let header = Header::read_from_bytes(&image[512..1536]).unwrap();
    assert_eq!(header.data_offset.get(), u64::MAX);
    assert_eq!(header.parent_name(), "größe.vhd");
    assert_eq!(
        image[512 + 64..512 + 70],
        [0, b'g', 0, b'r', 0, 0xf6],
        "UTF-16 big-endian"
    );
    let parent = files.content("/vm/bases/größe.vhd").unwrap();
    assert_eq!(
        header.parent_unique_id,
        Footer::read_from_bytes(&parent[..512]).unwrap().unique_id
    );
    // 1,700,000,000 - 946,684,800: the file system's fixed time, from 2000 on.
    assert_eq!(header.parent_time_stamp.get(), 753_315_200);
    let texts: Vec<_> = header
        .parent_locators
        .iter()
        .filter(|locator| locator.platform_code != [0; 4])
        .map(|locator| {
            assert!(
                locator.data_space.get() % 512 == 0 && locator.data_space.get() >= locator.data_length.get()
            );
            let start = locator.data_offset.get() as usize;
            (
                locator.platform_code,
                image[start..start + locator.data_length.get() as usize].to_vec(),
            )
        })
        .collect();
    let expected = [
        (*b"W2ru", wide(".\\bases\\größe.vhd")),
        (*b"W2ku", wide("\\vm\\bases\\größe.vhd")),
        (
            *b"MacX",
            b"file://localhost/vm/bases/gr%C3%B6%C3%9Fe.vhd".to_vec(),
        ),
    ];
    assert_eq!(texts, expected);
    let dynamic = Header::read_from_bytes(&parent[512..1536]).unwrap();
    assert_eq!(
        dynamic.parent_unique_id, [0; 16],
        "no parent fields in a disk that has none"
    );
    assert!(
        dynamic
            .parent_locators
            .iter()
            .all(|locator| locator.platform_code == [0; 4])
    );
}

#[test]
fn loops_are_found() {
    let (files, create, open) = memory();
    create::dynamic("/l/base.vhd", SIZE, &create).unwrap();
    create::differencing("/l/a.vhd", "/l/base.vhd", &create.clone().unique_id([0xa; 16])).unwrap();
    create::differencing("/l/b.vhd", "/l/a.vhd", &create.clone().unique_id([0xb; 16])).unwrap();
    // A child of B now: A takes B for its parent.
    let mut image = files.content("/l/a.vhd").unwrap();
    header(&mut image, |header| {
        header.parent_unique_id = [0xb; 16];
        header.parent_unicode_name = [0.into(); 256];
        "b.vhd"
            .encode_utf16()
            .zip(&mut header.parent_unicode_name)
            .for_each(|(unit, slot)| *slot = unit.into());
        header
            .parent_locators
            .iter_mut()
            .for_each(|locator| locator.platform_code = [0; 4]);
    });
    files.insert("/l/a.vhd", MemoryStorage::new(image));
    assert_eq!(kind(Disk::open("/l/a.vhd", &open)), Kind::Loop);
    assert_eq!(
        kind(Disk::open("/l/b.vhd", &open.clone().read_only(true))),
        Kind::Loop
    );
    // A copy with the same ID is no way out of it.
    files.insert("/l/b.vhd", MemoryStorage::new(files.content("/l/a.vhd").unwrap()));
    let mut copy = files.content("/l/b.vhd").unwrap();
    header(&mut copy, |header| header.parent_unique_id = [0xb; 16]);
    files.insert("/l/b.vhd", MemoryStorage::new(copy));
    assert!(matches!(
        kind(Disk::open("/l/a.vhd", &open)),
        Kind::ParentIdMismatch { .. }
    ));
}

#[test]
fn a_short_parent_hides_what_is_behind_its_end() {
    let (files, create, open) = memory();
    let create = create.block_size(64 << 10);
    create::dynamic("/s/base.vhd", SIZE, &create).unwrap();
    let disk = Disk::open("/s/base.vhd", &open).unwrap();
    disk.write_at(0, &vec![1; SIZE as usize]).unwrap();
    disk.close().unwrap();
    create::differencing("/s/middle.vhd", "/s/base.vhd", &create).unwrap();
    create::differencing("/s/top.vhd", "/s/middle.vhd", &create).unwrap();
    // The middle one shrinks to a length inside of a block; its table may stay too long.
    let short = (1 << 20) + 3 * 512;
    let mut image = files.content("/s/middle.vhd").unwrap();
    let end = image.len() - 512;
    for at in [0, end] {
        let footer = Footer::mut_from_bytes(&mut image[at..at + 512]).unwrap();
        footer.current_size = (short as u64).into();
        footer.seal();
    }
    files.insert("/s/middle.vhd", MemoryStorage::new(image));
    let disk = Disk::open("/s/top.vhd", &open).unwrap();
    let mut content = vec![9; SIZE as usize];
    disk.read_at(0, &mut content).unwrap();
    assert!(content[..short].iter().all(|&byte| byte == 1));
    assert!(content[short..].iter().all(|&byte| byte == 0));
}

/// A large disk over a small one with tiny blocks: the index over the parents must not get as fine as those.
#[test]
fn a_tiny_block_size_far_down_does_no_harm() {
    let (files, create, open) = memory();
    create::dynamic(
        "/t/small.vhd",
        SIZE,
        &create.clone().block_size(4 << 10).unique_id([1; 16]),
    )
    .unwrap();
    let disk = Disk::open("/t/small.vhd", &open).unwrap();
    let mut expected = vec![0; SIZE as usize];
    // Pieces that start and end inside of blocks, in an order that scatters the blocks in the file.
    for piece in (0..400).map(|piece: usize| piece * 311 % 400) {
        let start = piece * 10 * 1024;
        expected[start..start + 5 * 1024].fill(1 + (piece % 250) as u8);
        disk.write_at(start as u64, &expected[start..start + 5 * 1024])
            .unwrap();
    }
    disk.close().unwrap();
    create::dynamic("/t/large.vhd", 2040 << 30, &create.clone().unique_id([2; 16])).unwrap();
    let mut image = files.content("/t/large.vhd").unwrap();
    header(&mut image, |header| {
        header.parent_unique_id = [1; 16];
        "small.vhd"
            .encode_utf16()
            .zip(&mut header.parent_unicode_name)
            .for_each(|(unit, slot)| *slot = unit.into());
    });
    let end = image.len() - 512;
    for at in [0, end] {
        let footer = Footer::mut_from_bytes(&mut image[at..at + 512]).unwrap();
        footer.disk_type = 4.into();
        footer.seal();
    }
    files.insert("/t/large.vhd", MemoryStorage::new(image));
    create::differencing("/t/top.vhd", "/t/large.vhd", &create).unwrap();
    let disk = Disk::open("/t/top.vhd", &open).unwrap();
    let mut content = vec![9; SIZE as usize + 4096];
    disk.read_at(0, &mut content).unwrap();
    expected.resize(content.len(), 0);
    assert!(content == expected);
    disk.read_at((2040 << 30) - 4096, &mut content[..4096]).unwrap();
    assert_eq!(content[..4096], [0; 4096]);
}

#[test]
fn flags_survive_and_unusual_footers_serve() {
    let (files, create, open) = memory();
    create::dynamic("/n/disk.vhd", SIZE, &create).unwrap();
    let disk = Disk::open("/n/disk.vhd", &open).unwrap();
    disk.write_at(0, b"content").unwrap();
    disk.close().unwrap();
    let mut image = files.content("/n/disk.vhd").unwrap();
    let end = image.len() - 512;
    for at in [0, end] {
        let footer = Footer::mut_from_bytes(&mut image[at..at + 512]).unwrap();
        footer.saved_state = 1;
        footer.features = 3.into();
        footer.creator_application = *b"othr";
        footer.seal();
    }
    let footer: [u8; 512] = image[..512].try_into().unwrap();
    let notices = |image: &[u8]| {
        files.insert("/n/disk.vhd", MemoryStorage::new(image.to_vec()));
        let disk = Disk::open("/n/disk.vhd", &open).unwrap();
        let mut content = [0; 7];
        disk.read_at(0, &mut content).unwrap();
        assert_eq!(&content, b"content");
        let notices = disk.layers().next().unwrap().notices().to_vec();
        // Growth moves the footer; it has to come out whole at the end of the file, as it was.
        disk.write_at(2 << 20, b"more").unwrap();
        disk.close().unwrap();
        let after = files.content("/n/disk.vhd").unwrap();
        assert!(
            after[..512] == footer && after[after.len() - 512..] == footer,
            "both footers as they were"
        );
        let disk = Disk::open("/n/disk.vhd", &open).unwrap();
        let mut content = [0; 11];
        disk.read_at(0, &mut content[..7]).unwrap();
        disk.read_at(2 << 20, &mut content[7..]).unwrap();
        assert_eq!(&content, b"contentmore");
        notices
    };
    let flags = [Notice::Temporary, Notice::SavedState];
    let with = |first: &[Notice]| [first, &flags[..]].concat();
    assert_eq!(notices(&image), with(&[]));
    assert_eq!(notices(&image[..image.len() - 1]), with(&[Notice::ShortFooter]));
    assert_eq!(notices(&image[..end]), with(&[Notice::EndFooterDamaged]));
    let mut in_use = image.clone();
    in_use[end..].fill(0xc7);
    assert_eq!(notices(&in_use), with(&[Notice::InUse]));
    let mut no_copy = image.clone();
    no_copy[..512].fill(0);
    assert_eq!(notices(&no_copy), with(&[Notice::FooterCopyDamaged]));
    let mut torn = image.clone();
    torn[end + 300] = 1;
    assert_eq!(notices(&torn), with(&[Notice::EndFooterDamaged]));
    let mut other = image.clone();
    let copy = Footer::mut_from_bytes(&mut other[..512]).unwrap();
    copy.saved_state = 0;
    copy.seal();
    assert_eq!(notices(&other), with(&[Notice::FooterCopyDiffers]));
}

#[test]
fn a_short_footer_of_a_fixed_disk_serves() {
    let (files, create, open) = memory();
    create::fixed("/f/disk.vhd", SIZE, &create).unwrap();
    let mut image = files.content("/f/disk.vhd").unwrap();
    image.pop();
    files.insert("/f/disk.vhd", MemoryStorage::new(image));
    let disk = Disk::open("/f/disk.vhd", &open).unwrap();
    assert_eq!(
        (disk.len(), disk.layers().next().unwrap().notices()),
        (SIZE, &[Notice::ShortFooter][..])
    );
}

#[cfg(unix)]
#[test]
fn links_do_not_mislead() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("real")).unwrap();
    std::fs::create_dir(at("links")).unwrap();
    create::dynamic(at("real/base.vhd"), SIZE, &CreateOptions::new()).unwrap();
    create::differencing(at("real/child.vhd"), at("real/base.vhd"), &CreateOptions::new()).unwrap();
    std::os::unix::fs::symlink(at("real/child.vhd"), at("links/child.vhd")).unwrap();
    let disk = Disk::open(at("links/child.vhd"), &OpenOptions::new()).unwrap();
    assert_eq!(disk.layers().len(), 2);
    // A path that names no file must not hang or be taken for one.
    for name in [at("real"), "/dev/zero".into()] {
        assert_eq!(
            kind(Disk::open(name, &OpenOptions::new().read_only(true))),
            Kind::NotAnImage
        );
    }
}
