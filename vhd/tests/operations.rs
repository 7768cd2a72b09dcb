// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The long operations, cut off by the power, by their user, or by the host.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use vhd::check::{Mode, check};
use vhd::storage::{FileSystem, MemoryFileSystem, MemoryStorage, Storage};
use vhd::testing::{Dice, RecordingStorage};
use vhd::{
    CreateOptions, Disk, Format, Kind, MergeOptions, OpenOptions, Watch, compact, convert, create, merge,
    relink, resize,
};

const SIZE: usize = 3 << 20;
const KEEP: MergeOptions = MergeOptions {
    keep: true,
    force: false,
};

/// A base and a child in memory, and what the child's disk reads.
fn chain() -> (MemoryFileSystem, Vec<u8>) {
    let files = MemoryFileSystem::new();
    let options = CreateOptions::new()
        .block_size(4096)
        .file_system(Arc::new(files.clone()));
    let mut content = vec![0; SIZE];
    let mut dice = Dice::new(1);
    create::dynamic("/base.vhd", SIZE as u64, &options).unwrap();
    fill("/base.vhd", &files, &mut content, &mut dice);
    create::differencing("/child.vhd", "/base.vhd", &options).unwrap();
    fill("/child.vhd", &files, &mut content, &mut dice);
    (files, content)
}

fn opening(files: &MemoryFileSystem) -> OpenOptions {
    OpenOptions::new()
        .file_system(Arc::new(files.clone()))
        .ignore_parent_timestamp(true)
        .grow_ahead(0)
}

fn fill(path: &str, files: &MemoryFileSystem, content: &mut [u8], dice: &mut Dice) {
    let disk = Disk::open(path, &opening(files)).unwrap();
    for _ in 0..12 {
        let offset = dice.roll(60) as usize * 512;
        let bytes = vec![dice.roll(256) as u8; 512 * (1 + dice.roll(9) as usize)];
        disk.write_at(offset as u64, &bytes).unwrap();
        content[offset..offset + bytes.len()].copy_from_slice(&bytes);
    }
    disk.close().unwrap();
}

fn read(path: &str, files: &MemoryFileSystem) -> Vec<u8> {
    let disk = Disk::open(path, &opening(files).read_only(true)).unwrap();
    let mut bytes = vec![0; disk.len() as usize];
    disk.read_at(0, &mut bytes).unwrap();
    bytes
}

/// The chain with these files in the place of its own.
fn with(base: Vec<u8>, child: Vec<u8>) -> MemoryFileSystem {
    let files = MemoryFileSystem::new();
    files.insert("/base.vhd", vhd::storage::MemoryStorage::new(base));
    files.insert("/child.vhd", vhd::storage::MemoryStorage::new(child));
    files
}

#[test]
fn a_merge_can_lose_power_at_any_write_and_be_done_again() {
    let (before, content) = chain();
    let base = RecordingStorage::new(&before.content("/base.vhd").unwrap());
    let child = RecordingStorage::new(&before.content("/child.vhd").unwrap());
    let files = MemoryFileSystem::new();
    files.insert("/base.vhd", base.clone());
    files.insert("/child.vhd", child.clone());
    merge::into_parent("/child.vhd", &opening(&files), KEEP, &Watch::default()).unwrap();
    assert!(read("/base.vhd", &files) == content);
    assert!(base.count() > 10, "there is something to cut off");

    let old_child = before.content("/child.vhd").unwrap();
    base.cut_everywhere(4, &mut Dice::new(2), |moment, bytes| {
        let files = with(bytes, old_child.clone());
        assert!(read("/child.vhd", &files) == content, "cut at {moment}");
        merge::into_parent(
            "/child.vhd",
            &opening(&files),
            MergeOptions::default(),
            &Watch::default(),
        )
        .unwrap();
        assert!(read("/base.vhd", &files) == content, "done again after {moment}");
    });
    let merged = files.content("/base.vhd").unwrap();
    child.cut_everywhere(4, &mut Dice::new(3), |moment, bytes| {
        let files = with(merged.clone(), bytes);
        assert!(read("/child.vhd", &files) == content, "child cut at {moment}");
    });
}

/// A file with holes that may not be read.
#[derive(Debug)]
struct Holes {
    inner: MemoryStorage,
    data: Vec<Range<u64>>,
}

impl Storage for Holes {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        // Opening it looks for a footer at both ends.
        let inside = |data: &Range<u64>| data.start <= offset && end <= data.end;
        let allowed = buffer.len() <= 512 || self.data.iter().any(inside);
        assert!(allowed, "{offset}..{end} is no data");
        self.inner.read_at(buffer, offset)
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn punch(&self, _: Range<u64>) -> io::Result<bool> {
        Ok(false)
    }
    fn allocate(&self, _: Range<u64>) -> io::Result<bool> {
        Ok(false)
    }
    fn data_from(&self, offset: u64) -> io::Result<Range<u64>> {
        let next = self.data.iter().find(|data| data.end > offset);
        Ok(next.map_or(offset..offset, |data| data.start.max(offset)..data.end))
    }
}

#[test]
fn holes_of_a_source_are_not_read() {
    const LEN: usize = 10 << 20;
    let mut content = vec![0; LEN];
    // On no border of anything but sectors, across a step, and at the very end.
    let data = [
        (1 << 20) + 512..(1 << 20) + 1024,
        (3 << 20) + 512..(5 << 20) - 512,
        LEN - 4096..LEN,
    ];
    let mut dice = Dice::new(8);
    for range in data.clone() {
        content[range].fill_with(|| dice.roll(256) as u8);
    }
    let files = MemoryFileSystem::new();
    let data = data.map(|range| range.start as u64..range.end as u64).to_vec();
    let inner = MemoryStorage::new(content.clone());
    files.insert("/holes.raw", Holes { inner, data });
    let options = CreateOptions::new().file_system(Arc::new(files.clone()));
    for format in [Format::Raw, Format::Fixed, Format::Dynamic] {
        let opening = opening(&files).read_only(true).format(Format::Raw);
        let source = Disk::open("/holes.raw", &opening).unwrap();
        let path = format!("/{format}");
        convert::convert(&source, &path, format, &options, &Watch::default()).unwrap();
        assert!(read(&path, &files) == content, "{format}");
    }
}

#[test]
fn a_merge_writes_no_more_than_the_child_has() {
    const BLOCK: u64 = 2 << 20;
    let files = MemoryFileSystem::new();
    let options = CreateOptions::new().file_system(Arc::new(files.clone()));
    create::dynamic("/base.vhd", 4 * BLOCK, &options).unwrap();
    let base = Disk::open("/base.vhd", &opening(&files)).unwrap();
    base.write_at(0, &vec![1; BLOCK as usize]).unwrap();
    base.close().unwrap();
    create::differencing("/child.vhd", "/base.vhd", &options).unwrap();
    let child = Disk::open("/child.vhd", &opening(&files)).unwrap();
    // Zeros over something, in a new block beside something, and over nothing.
    child.write_at(512, &[0; 4096]).unwrap();
    child.write_at(BLOCK, &[2; 4096]).unwrap();
    child.write_at(2 * BLOCK, &[0; 65536]).unwrap();
    child.close().unwrap();
    let before = read("/child.vhd", &files);
    let merged = merge::into_parent(
        "/child.vhd",
        &opening(&files),
        MergeOptions::default(),
        &Watch::default(),
    )
    .unwrap();
    assert_eq!(merged.written, 2 * 4096);
    assert!(read("/base.vhd", &files) == before);
}

/// With tables that are larger than blocks, so that a block in a table's place would be found out.
#[test]
fn a_dynamic_disk_grows_where_it_stands_again_and_again() {
    let (files, mut content) = chain();
    let mut dice = Dice::new(7);
    let (path, options) = ("/base.vhd", opening(&files));
    fill(path, &files, &mut content, &mut dice);
    content = read(path, &files);
    let born = UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    files.set_modified(path, born);
    for size in [8 << 20, 24 << 20, (40 << 20) + 512] {
        let before = files.content(path).unwrap();
        resize::resize(path, size, &options, &Watch::default()).unwrap();
        let after = files.content(path).unwrap();
        // All that was there is there still, but for the footer copy, the first sector of the header, and the end footer.
        assert!(before[1024..before.len() - 512] == after[1024..before.len() - 512]);
        assert_eq!(FileSystem::modified(&files, Path::new(path)).unwrap(), born);
        content.resize(size as usize, 0);
        assert!(read(path, &files) == content, "{size}");

        // Blocks go away and others come, in the gaps as well.
        for round in 0..3 {
            let disk = Disk::open(path, &options).unwrap();
            assert_eq!(disk.len(), size);
            let mut random = |most: u64| dice.roll(most / 4096) * 4096;
            for _ in 0..200 {
                let at = random(size - 4096) as usize;
                disk.discard(at as u64, 4096).unwrap();
                disk.write_zeroes(at as u64, 4096).unwrap();
                content[at..at + 4096].fill(0);
                let at = random(size - 4096) as usize;
                disk.write_at(at as u64, &[round + 1; 4096]).unwrap();
                content[at..at + 4096].fill(round + 1);
            }
            disk.close().unwrap();
            let summary = check(path, &options, Mode::Look, &Watch::default(), |finding| {
                println!("{finding}");
            });
            assert_eq!(summary.unwrap().damages, 0);
            assert!(read(path, &files) == content, "{size}, round {round}");
        }
    }
}

#[test]
fn cancelled_operations_leave_everything_as_it_was() {
    let (files, _) = chain();
    let options = opening(&files);
    let create = CreateOptions::new().file_system(Arc::new(files.clone()));
    let watch = Watch::default();
    watch.cancel();
    let names = files.names();
    let before: Vec<_> = names.iter().map(|name| files.content(name)).collect();
    let convert = |format| {
        let source = Disk::open("/child.vhd", &opening(&files).read_only(true)).unwrap();
        convert::convert(&source, "/new.img", format, &create, &watch)
    };
    for (what, result) in [
        ("raw", convert(Format::Raw)),
        ("fixed", convert(Format::Fixed)),
        ("dynamic", convert(Format::Dynamic)),
        ("compact", compact::compact("/child.vhd", &options, &watch)),
        ("resize", resize::resize("/base.vhd", 8 << 20, &options, &watch)),
        (
            "relink",
            relink::relink("/child.vhd", "/base.vhd", &options, &watch),
        ),
        (
            "rebase",
            relink::rebase("/child.vhd", "/base.vhd", &options, &watch),
        ),
    ] {
        assert_eq!(result.unwrap_err().kind(), &Kind::Cancelled, "{what}");
        assert_eq!(files.names(), names, "{what}");
        for (name, content) in names.iter().zip(&before) {
            assert!(files.content(name) == *content, "{what} and {}", name.display());
        }
    }
}

#[test]
fn a_cancelled_merge_leaves_a_chain_that_opens() {
    let (files, content) = chain();
    let watch = Watch::default();
    watch.cancel();
    let error =
        merge::into_parent("/child.vhd", &opening(&files), MergeOptions::default(), &watch).unwrap_err();
    assert_eq!(error.kind(), &Kind::Cancelled);
    // Without the parent's time ignored: the child has taken note of it.
    let options = opening(&files).ignore_parent_timestamp(false).read_only(true);
    let disk = Disk::open("/child.vhd", &options).unwrap();
    let mut bytes = vec![0; SIZE];
    disk.read_at(0, &mut bytes).unwrap();
    assert!(bytes == content);
}
