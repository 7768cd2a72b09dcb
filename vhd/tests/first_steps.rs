// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The public interface on real files: make, open, write, close, open again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use vhd::{CreateOptions, Disk, Format, Kind, OpenOptions, Source, create};

const MIB: u64 = 1 << 20;

fn kind(result: vhd::Result<impl Sized>) -> Kind {
    result.err().expect("it must fail").kind().clone()
}

#[test]
fn every_format_keeps_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let size = 5 * MIB + 512;
    create::fixed(at("fixed.vhd"), size, &CreateOptions::new()).unwrap();
    create::dynamic(at("dynamic.vhd"), size, &CreateOptions::new()).unwrap();
    create::differencing(at("child.vhd"), at("dynamic.vhd"), &CreateOptions::new()).unwrap();
    fs::write(at("raw.img"), vec![0; size as usize]).unwrap();
    let formats = [
        ("fixed.vhd", Format::Fixed),
        ("dynamic.vhd", Format::Dynamic),
        ("child.vhd", Format::Differencing),
        ("raw.img", Format::Raw),
    ];
    for (name, format) in formats {
        let options = OpenOptions::new().ignore_parent_timestamp(true);
        let disk = Disk::open(at(name), &options).unwrap();
        assert_eq!(
            (disk.format(), disk.len(), disk.read_only()),
            (format, size, false),
            "{name}"
        );
        assert_eq!(disk.unique_id().is_some(), format != Format::Raw);
        disk.write_at(1000, b"across a sector border and more").unwrap();
        disk.write_at(size - 3, b"end").unwrap();
        disk.write_at(2 * MIB - 256, &[7; 512]).unwrap();
        disk.close().unwrap();
        let disk = Disk::open(at(name), &options.read_only(true)).unwrap();
        assert!(disk.read_only());
        let mut content = vec![0; size as usize];
        disk.read_at(0, &mut content).unwrap();
        let mut expected = vec![0; size as usize];
        expected[1000..1031].copy_from_slice(b"across a sector border and more");
        expected[size as usize - 3..].copy_from_slice(b"end");
        expected[2 * MIB as usize - 256..][..512].fill(7);
        assert!(content == expected, "{name}");
        assert_eq!(kind(disk.write_at(0, b"x")), Kind::ReadOnly);
        assert_eq!(kind(disk.read_at(size - 1, &mut [0; 2])), Kind::OutOfRange);
        assert_eq!(kind(disk.read_at(u64::MAX, &mut [0; 2])), Kind::OutOfRange);
    }
}

#[test]
fn sizes_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.vhd");
    let options = CreateOptions::new();
    assert_eq!(
        kind(create::dynamic(&path, 3 * MIB - 512, &options)),
        Kind::TooSmall
    );
    assert_eq!(
        kind(create::dynamic(&path, 3 * MIB + 1, &options)),
        Kind::InvalidSize
    );
    assert_eq!(
        kind(create::fixed(&path, (2040 << 30) + 512, &options)),
        Kind::TooLarge
    );
    assert_eq!(
        kind(create::dynamic(
            &path,
            3 * MIB,
            &options.clone().block_size(3 << 20)
        )),
        Kind::InvalidBlockSize
    );
    assert_eq!(
        kind(create::dynamic(
            &path,
            2040 << 30,
            &options.clone().block_size(64 << 10)
        )),
        Kind::InvalidBlockSize
    );
    assert_eq!(
        kind(create::dynamic(
            folder.path().join("none/disk.vhd"),
            3 * MIB,
            &options
        )),
        Kind::FolderNotFound
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is left behind"
    );
    for size in [3 * MIB, 3 * MIB + 512, 100 * MIB + 1536, 2040 << 30] {
        create::dynamic(&path, size, &options).unwrap();
        assert_eq!(Disk::open(&path, &OpenOptions::new()).unwrap().len(), size);
        assert_eq!(kind(create::dynamic(&path, size, &options)), Kind::AlreadyExists);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn leaves_are_exclusive_and_parents_shared() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    create::dynamic(at("base.vhd"), 4 * MIB, &CreateOptions::new()).unwrap();
    for child in ["one.vhd", "two.vhd"] {
        create::differencing(at(child), at("base.vhd"), &CreateOptions::new()).unwrap();
    }
    let one = Disk::open(at("one.vhd"), &OpenOptions::new()).unwrap();
    let two = Disk::open(at("two.vhd"), &OpenOptions::new()).unwrap();
    assert_eq!(
        kind(Disk::open(at("one.vhd"), &OpenOptions::new().read_only(true))),
        Kind::Locked
    );
    assert_eq!(
        kind(Disk::open(at("base.vhd"), &OpenOptions::new())),
        Kind::Locked
    );
    assert!(Disk::open(at("base.vhd"), &OpenOptions::new().read_only(true)).is_ok());
    one.write_at(0, &[1; 512]).unwrap();
    let mut sector = [9; 512];
    two.read_at(0, &mut sector).unwrap();
    assert_eq!(sector, [0; 512]);
    drop((one, two));
    assert!(Disk::open(at("base.vhd"), &OpenOptions::new()).is_ok());
}

#[test]
fn payload_can_be_done_outside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.vhd");
    create::dynamic(&path, 8 * MIB, &CreateOptions::new()).unwrap();
    let disk = Disk::open(&path, &OpenOptions::new()).unwrap();
    let file = disk.storage(0).unwrap();
    let range = 2 * MIB - 4096..2 * MIB + 4096;

    let ticket = disk.begin_write(range.clone()).unwrap();
    assert_eq!(ticket.extents().len(), 2);
    for extent in ticket.extents() {
        assert_eq!(extent.file_offset % 4096, 0, "data is aligned");
        assert!(extent.fresh);
        file.write_at(&vec![5; extent.len as usize], extent.file_offset)
            .unwrap();
    }
    let mut extents = Vec::new();
    let guard = disk.resolve_read(range.clone(), &mut extents).unwrap();
    assert_eq!(extents.len(), 1);
    assert_eq!(extents[0].source, Source::Zero, "nothing shows before the commit");
    drop(guard);
    ticket.commit().unwrap();

    disk.begin_write(0..512).unwrap().abort();
    extents.clear();
    let guard = disk.resolve_read(0..8 * MIB, &mut extents).unwrap();
    let mut at = 0;
    for extent in &extents {
        assert_eq!(extent.offset, at);
        at += extent.len;
    }
    assert_eq!(at, 8 * MIB);
    drop(guard);
    let mut content = [0; 8192];
    disk.read_at(range.start, &mut content).unwrap();
    assert_eq!(content, [5; 8192]);
    assert_eq!(kind(disk.begin_write(1..513)), Kind::OutOfRange);
}

#[test]
fn what_memory_knows_is_told_without_a_look_at_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let options = CreateOptions::new();
    create::dynamic(at("base.vhd"), 8 * MIB, &options).unwrap();
    let base = Disk::open(at("base.vhd"), &OpenOptions::new()).unwrap();
    base.write_at(0, &[1; 4096]).unwrap();
    base.write_at(4 * MIB, &[1; 4096]).unwrap();
    base.close().unwrap();
    create::differencing(at("leaf.vhd"), at("base.vhd"), &options).unwrap();
    let leaf = Disk::open(at("leaf.vhd"), &OpenOptions::new()).unwrap();
    leaf.write_at(0, &[2; 512]).unwrap();
    leaf.close().unwrap();

    let disk = Disk::open(at("leaf.vhd"), &OpenOptions::new()).unwrap();
    let known = |range: std::ops::Range<u64>| {
        let mut extents = Vec::new();
        let guard = disk.resolve_known(range, &mut extents).unwrap();
        guard.map(|_| extents)
    };
    let read = |range: std::ops::Range<u64>| {
        let mut extents = Vec::new();
        let _guard = disk.resolve_read(range, &mut extents).unwrap();
        extents
    };
    assert_eq!(known(0..4096), None, "the leaf's bitmap was not read yet");
    assert_eq!(known(4 * MIB..4 * MIB + 512), None, "nor was the parent's");
    assert_eq!(
        known(2 * MIB..4 * MIB),
        Some(read(2 * MIB..4 * MIB)),
        "nobody has this"
    );
    for range in [0..4096, 4 * MIB..4 * MIB + 8192] {
        let extents = read(range.clone());
        assert_eq!(known(range), Some(extents));
    }
    assert_eq!(
        kind(disk.resolve_known(8 * MIB..8 * MIB + 1, &mut Vec::new())),
        Kind::OutOfRange
    );
}

#[test]
fn everything_can_go_to_another_thread() {
    fn sendable<T: Send + Sync + 'static>() {}
    sendable::<Disk>();
    sendable::<vhd::ReadGuard>();
    sendable::<vhd::WriteTicket>();
    sendable::<vhd::Error>();
}
