// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The long operations, cut off by the power, by their user, or by the host.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::Arc;

use vhd::storage::MemoryFileSystem;
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
