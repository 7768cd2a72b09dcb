// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The power goes at every write, and every change of a name, of the operations on whole images. Whatever is left has the
//! content, and the operation can be done again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::path::Path;
use std::sync::Arc;

use vhd::check::{Mode, Summary, check};
use vhd::storage::{FileSystem, MemoryFileSystem, MemoryStorage};
use vhd::testing::{Dice, RecordingFileSystem};
use vhd::{
    CreateOptions, Disk, Format, Kind, MergeOptions, Notice, OpenOptions, Watch, compact, convert, create,
    merge, relink, resize,
};

const SIZE: usize = 3 << 20;
const OUTCOMES: usize = 6;

fn opening(files: impl FileSystem + 'static) -> OpenOptions {
    OpenOptions::new()
        .file_system(Arc::new(files))
        .ignore_parent_timestamp(true)
        .grow_ahead(0)
}

fn write(files: &MemoryFileSystem, path: &str, content: &mut [u8], seed: u64) {
    let mut dice = Dice::new(seed);
    let disk = Disk::open(path, &opening(files.clone())).unwrap();
    for _ in 0..10 {
        let offset = dice.roll(200) as usize * 512;
        let bytes = vec![dice.roll(256) as u8; 512 * (1 + dice.roll(9) as usize)];
        disk.write_at(offset as u64, &bytes).unwrap();
        content[offset..offset + bytes.len()].copy_from_slice(&bytes);
    }
    // Something that compaction takes away.
    disk.write_at(64 << 10, &[7; 8192]).unwrap();
    disk.write_at(64 << 10, &[0; 8192]).unwrap();
    content[64 << 10..(64 << 10) + 8192].fill(0);
    disk.close().unwrap();
}

/// A base, two children of it, and what the disks of base and child read.
fn scene() -> (MemoryFileSystem, Vec<u8>, Vec<u8>) {
    let files = MemoryFileSystem::new();
    let options = CreateOptions::new()
        .block_size(4096)
        .file_system(Arc::new(files.clone()));
    let mut content = vec![0; SIZE];
    create::dynamic("/d/base.vhd", SIZE as u64, &options).unwrap();
    write(&files, "/d/base.vhd", &mut content, 1);
    let base = content.clone();
    create::differencing("/d/child.vhd", "/d/base.vhd", &options).unwrap();
    write(&files, "/d/child.vhd", &mut content, 2);
    (files, base, content)
}

fn read(files: &MemoryFileSystem, path: &str) -> Vec<u8> {
    let disk = Disk::open(path, &opening(files.clone()).read_only(true)).unwrap();
    let mut bytes = vec![0; disk.len() as usize];
    disk.read_at(0, &mut bytes).unwrap();
    bytes
}

/// Only files whose names say that they are not finished may be there in addition.
fn only(files: &MemoryFileSystem, names: &[&str], moment: usize) {
    for path in files.names() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let draft = name.starts_with('.') && name.ends_with(".new");
        assert!(
            draft || names.iter().any(|known| path == Path::new(known)),
            "{name} after a cut at {moment}"
        );
    }
}

/// Does something, cuts it off everywhere, looks at what is left, and does it again.
fn cut(
    what: &str,
    start: &MemoryFileSystem,
    act: impl Fn(&OpenOptions) -> vhd::Result<()>,
    check: impl Fn(&MemoryFileSystem, usize),
    done: impl Fn(&MemoryFileSystem),
) {
    let files = RecordingFileSystem::new(start);
    act(&opening(files.clone())).unwrap();
    done(&files.now());
    assert!(files.count() > 1, "{what}: there is something to cut off");
    let mut cuts = 0;
    files.cut_everywhere(OUTCOMES, &mut Dice::new(9), |moment, left| {
        check(&left, moment);
        act(&opening(left.clone()))
            .unwrap_or_else(|error| panic!("{what} again after a cut at {moment}: {error}"));
        done(&left);
        cuts += 1;
    });
    assert!(cuts > 10, "{what}: {cuts} cuts");
}

#[test]
fn compact_resize_relink_and_rebase_leave_the_old_image_or_the_new() {
    let (start, base, content) = scene();
    let now = Watch::default;
    // A base with the same content as the child, under which nothing of the child is needed.
    let options = CreateOptions::new()
        .block_size(4096)
        .file_system(Arc::new(start.clone()));
    let source = Disk::open("/d/child.vhd", &opening(start.clone()).read_only(true)).unwrap();
    convert::convert(&source, "/d/other.vhd", Format::Dynamic, &options, &now()).unwrap();
    drop(source);
    let names = ["/d/base.vhd", "/d/child.vhd", "/d/other.vhd"];
    let whole = |files: &MemoryFileSystem, moment: usize| {
        assert!(read(files, "/d/base.vhd") == base, "base after a cut at {moment}");
        assert!(
            read(files, "/d/child.vhd") == content,
            "child after a cut at {moment}"
        );
        assert!(
            read(files, "/d/other.vhd") == content,
            "other after a cut at {moment}"
        );
        only(files, &names, moment);
    };
    let smaller = |files: &MemoryFileSystem, path: &str| {
        assert!(
            files.content(path).unwrap().len() < start.content(path).unwrap().len(),
            "{path} is smaller"
        );
    };
    for path in ["/d/base.vhd", "/d/child.vhd"] {
        cut(
            "compact",
            &start,
            |options| compact::compact(path, options, &now()),
            whole,
            |files| {
                whole(files, usize::MAX);
                smaller(files, path);
            },
        );
    }
    cut(
        "relink",
        &start,
        |options| relink::relink("/d/child.vhd", "/d/base.vhd", options, &now()),
        whole,
        |files| whole(files, usize::MAX),
    );
    cut(
        "rebase",
        &start,
        |options| relink::rebase("/d/child.vhd", "/d/other.vhd", options, &now()),
        whole,
        |files| {
            whole(files, usize::MAX);
            let disk = Disk::open("/d/child.vhd", &opening(files.clone()).read_only(true)).unwrap();
            assert!(disk.layers().nth(1).unwrap().path().ends_with("other.vhd"));
            assert_eq!(disk.layers().next().unwrap().allocated_blocks(), Some(0));
        },
    );
    let larger = |files: &MemoryFileSystem, moment: usize| {
        let found = read(files, "/d/other.vhd");
        assert!(found[..SIZE] == content, "resized after a cut at {moment}");
        assert!(found[SIZE..].iter().all(|&byte| byte == 0));
        only(files, &names, moment);
    };
    cut(
        "resize",
        &start,
        |options| resize::resize("/d/other.vhd", 4 << 20, options, &now()),
        larger,
        |files| assert_eq!(read(files, "/d/other.vhd").len(), 4 << 20),
    );
}

#[test]
fn raw_and_fixed_images_are_changed_in_their_place() {
    let (start, _, content) = scene();
    let options = CreateOptions::new().file_system(Arc::new(start.clone()));
    for (name, format) in [("/d/disk.raw", Format::Raw), ("/d/fixed.vhd", Format::Fixed)] {
        let source = Disk::open("/d/child.vhd", &opening(start.clone()).read_only(true)).unwrap();
        convert::convert(&source, name, format, &options, &Watch::default()).unwrap();
        let whole = |files: &MemoryFileSystem, moment: usize| {
            let found = read(files, name);
            assert!(found[..SIZE] == content, "{name} after a cut at {moment}");
            assert!(found[SIZE..].iter().all(|&byte| byte == 0));
        };
        cut(
            "compact in place",
            &start,
            |options| compact::compact(name, options, &Watch::default()),
            whole,
            |files| whole(files, usize::MAX),
        );
        let files = RecordingFileSystem::new(&start);
        resize::resize(name, 5 << 20, &opening(files.clone()), &Watch::default()).unwrap();
        files.cut_everywhere(OUTCOMES, &mut Dice::new(3), |moment, left| {
            whole(&left, moment);
            resize::resize(name, 5 << 20, &opening(left.clone()), &Watch::default()).unwrap();
            assert_eq!(read(&left, name).len(), 5 << 20);
        });
    }
}

#[test]
fn a_conversion_appears_as_a_whole_or_not_at_all() {
    let (start, _, content) = scene();
    for format in [Format::Raw, Format::Fixed, Format::Dynamic] {
        let act = |options: &OpenOptions, files: Arc<dyn FileSystem>| {
            let source = Disk::open("/d/child.vhd", &options.clone().read_only(true)).unwrap();
            let create = CreateOptions::new().block_size(4096).file_system(files);
            convert::convert(&source, "/d/new.img", format, &create, &Watch::default())
        };
        let files = RecordingFileSystem::new(&start);
        act(&opening(files.clone()), Arc::new(files.clone())).unwrap();
        let (mut with, mut without) = (0, 0);
        files.cut_everywhere(OUTCOMES, &mut Dice::new(4), |moment, left| {
            only(&left, &["/d/base.vhd", "/d/child.vhd", "/d/new.img"], moment);
            for name in ["/d/base.vhd", "/d/child.vhd"] {
                assert!(left.content(name) == start.content(name), "{name} is not touched");
            }
            if left.content("/d/new.img").is_some() {
                assert!(
                    read(&left, "/d/new.img") == content,
                    "{format} after a cut at {moment}"
                );
                with += 1;
            } else {
                act(&opening(left.clone()), Arc::new(left.clone())).unwrap();
                without += 1;
            }
        });
        assert!(with > 0 && without > 10, "{format}: {with} and {without}");
    }
}

#[test]
fn a_merge_leaves_the_content_in_the_chain_or_in_the_parent() {
    let (start, _, content) = scene();
    let act = |options: &OpenOptions| {
        merge::into_parent(
            "/d/child.vhd",
            options,
            MergeOptions::default(),
            &Watch::default(),
        )
    };
    let files = RecordingFileSystem::new(&start);
    act(&opening(files.clone())).unwrap();
    let (mut merged, mut open) = (0, 0);
    files.cut_everywhere(OUTCOMES, &mut Dice::new(5), |moment, left| {
        if left.content("/d/child.vhd").is_some() {
            assert!(read(&left, "/d/child.vhd") == content, "after a cut at {moment}");
            act(&opening(left.clone())).unwrap();
            open += 1;
        } else {
            merged += 1;
        }
        assert!(read(&left, "/d/base.vhd") == content, "after a cut at {moment}");
        assert_eq!(left.names(), [Path::new("/d/base.vhd")]);
    });
    assert!(merged > 0 && open > 50, "{merged} and {open}");
}

#[test]
fn a_cancelled_merge_can_be_done_again() {
    let (start, _, content) = scene();
    // The time of the parent counts here: a cancelled merge must leave the child in agreement with it.
    let options = opening(start.clone()).ignore_parent_timestamp(false);
    let watch = Watch::default();
    watch.cancel();
    for _ in 0..2 {
        let merged = merge::into_parent("/d/child.vhd", &options, MergeOptions::default(), &watch);
        assert_eq!(merged.unwrap_err().kind(), &Kind::Cancelled);
        assert!(read(&start, "/d/child.vhd") == content);
    }
    merge::into_parent(
        "/d/child.vhd",
        &options,
        MergeOptions::default(),
        &Watch::default(),
    )
    .unwrap();
    assert!(read(&start, "/d/base.vhd") == content);
}

#[test]
fn a_parent_with_other_children_is_not_merged_into() {
    let (start, _, content) = scene();
    let options = CreateOptions::new().file_system(Arc::new(start.clone()));
    for name in ["/d/sibling.vhd", "/elsewhere/sibling.vhd"] {
        create::differencing(name, "/d/base.vhd", &options).unwrap_or_else(|_| {
            // A folder in memory is there as soon as something is in it.
            start.insert("/elsewhere/x", MemoryStorage::new(vec![0; 3000]));
            create::differencing(name, "/d/base.vhd", &options).unwrap();
        });
    }
    // A child of another disk, and files that are none, are of no interest.
    create::dynamic("/d/stranger.vhd", SIZE as u64, &options).unwrap();
    create::differencing("/d/strangers-child.vhd", "/d/stranger.vhd", &options).unwrap();
    start.insert("/d/short", MemoryStorage::new(vec![1; 100]));
    let before: Vec<_> = start.names().iter().map(|name| start.content(name)).collect();
    let merge = |options: &OpenOptions, force| {
        merge::into_parent(
            "/d/child.vhd",
            options,
            MergeOptions { keep: false, force },
            &Watch::default(),
        )
    };
    let error = merge(&opening(start.clone()), false).unwrap_err();
    assert_eq!(error.kind(), &Kind::OtherChildren(vec!["/d/sibling.vhd".into()]));
    let error = merge(&opening(start.clone()).search_path("/elsewhere"), false).unwrap_err();
    let both = vec!["/d/sibling.vhd".into(), "/elsewhere/sibling.vhd".into()];
    assert_eq!(error.kind(), &Kind::OtherChildren(both));
    assert!(error.to_string().contains("elsewhere"), "{error}");
    let after: Vec<_> = start.names().iter().map(|name| start.content(name)).collect();
    assert!(before == after, "refused, and nothing was changed");
    merge(&opening(start.clone()), true).unwrap();
    assert!(read(&start, "/d/base.vhd") == content);
}

/// Changes the footers of an image.
fn change_footers(files: &MemoryFileSystem, path: &str, change: impl Fn(&mut vhd::format::Footer)) {
    use zerocopy::{FromBytes, IntoBytes};
    let mut content = files.content(path).unwrap();
    let mut footer = vhd::format::Footer::read_from_bytes(&content[..512]).unwrap();
    change(&mut footer);
    footer.seal();
    content[..512].copy_from_slice(footer.as_bytes());
    let end = content.len() - 512;
    content[end..].copy_from_slice(footer.as_bytes());
    files.insert(path, MemoryStorage::new(content));
}

#[test]
fn marks_and_geometry_stay_and_a_saved_state_forbids_a_merge() {
    let (start, _, content) = scene();
    let mark = |footer: &mut vhd::format::Footer| {
        footer.saved_state = 1;
        footer.features = (footer.features.get() | vhd::format::spec::FEATURE_TEMPORARY).into();
        footer.creator_application = *b"them";
        footer.geometry.cylinders = 17.into();
        footer.original_size = 12_345.into();
    };
    change_footers(&start, "/d/child.vhd", mark);
    let footer = |files: &MemoryFileSystem| {
        let disk = Disk::open("/d/child.vhd", &opening(files.clone()).read_only(true)).unwrap();
        let layer = disk.layers().next().unwrap();
        assert!(layer.notices().contains(&Notice::SavedState));
        assert!(layer.notices().contains(&Notice::Temporary));
        *layer.footer().unwrap()
    };
    let before = footer(&start);
    compact::compact("/d/child.vhd", &opening(start.clone()), &Watch::default()).unwrap();
    assert_eq!(footer(&start), before, "compact");
    relink::relink(
        "/d/child.vhd",
        "/d/base.vhd",
        &opening(start.clone()),
        &Watch::default(),
    )
    .unwrap();
    assert_eq!(footer(&start), before, "relink");
    let merge = |force| {
        let choice = MergeOptions { keep: false, force };
        merge::into_parent("/d/child.vhd", &opening(start.clone()), choice, &Watch::default())
    };
    assert_eq!(merge(false).unwrap_err().kind(), &Kind::SavedState);
    assert!(read(&start, "/d/child.vhd") == content);
    merge(true).unwrap();
    assert!(read(&start, "/d/base.vhd") == content);
}

#[test]
fn a_repair_can_be_cut_off_and_done_again() {
    let (start, base, _) = scene();
    let content = start.content("/d/base.vhd").unwrap();
    let table = u64::from_be_bytes(content[512 + 16..512 + 24].try_into().unwrap()) as usize;
    let mut blocks: Vec<usize> = (0..SIZE / 4096)
        .filter(|block| content[table + block * 4..table + block * 4 + 4] != [0xff; 4])
        .collect();
    let (lost, outside) = (blocks.pop().unwrap(), blocks.pop().unwrap());
    let entry = |content: &mut Vec<u8>, block: usize, value: [u8; 4]| {
        content[table + block * 4..table + block * 4 + 4].copy_from_slice(&value);
    };
    type Harm<'a> = &'a dyn Fn(&mut Vec<u8>) -> Vec<usize>;
    let harms: [(&str, Harm<'_>); 7] = [
        ("a whole footer where a short one would be", &|content| {
            let footer = content.split_off(content.len() - 512);
            content.extend([0x55; 511]);
            content.extend(footer);
            vec![]
        }),
        ("short footer, and the copy", &|content| {
            content.pop();
            content[..512].fill(0x55);
            vec![]
        }),
        ("end footer overwritten", &|content| {
            let end = content.len() - 512;
            content[end..].fill(0x55);
            vec![]
        }),
        ("end footer cut off", &|content| {
            content.truncate(content.len() - 512);
            vec![]
        }),
        ("copy overwritten", &|content| {
            content[..512].fill(0x55);
            vec![]
        }),
        ("block outside of the file", &|content| {
            entry(content, outside, 0x00ff_ffff_u32.to_be_bytes());
            vec![outside]
        }),
        ("three blocks, and the copy", &|content| {
            let other: [u8; 4] = content[table + blocks[0] * 4..table + blocks[0] * 4 + 4]
                .try_into()
                .unwrap();
            entry(content, lost, other);
            entry(content, outside, 1_u32.to_be_bytes());
            content[..512].fill(0);
            // Which of two blocks that share a place is the right one nobody knows; the later one gives way.
            vec![lost, outside]
        }),
    ];
    for (what, harm) in harms {
        let mut damaged = content.clone();
        let gone = harm(&mut damaged);
        let files = MemoryFileSystem::new();
        files.insert("/d/base.vhd", MemoryStorage::new(damaged));
        let expected = {
            let mut expected = base.clone();
            gone.iter()
                .for_each(|block| expected[block * 4096..(block + 1) * 4096].fill(0));
            expected
        };
        let repair =
            |options: &OpenOptions| check("/d/base.vhd", options, Mode::Repair, &Watch::default(), |_| {});
        let recorded = RecordingFileSystem::new(&files);
        let summary = repair(&opening(recorded.clone())).unwrap();
        assert!(
            summary.damages > 0 && summary.damages == summary.repaired,
            "{what}: {summary:?}"
        );
        recorded.cut_everywhere(OUTCOMES, &mut Dice::new(6), |moment, left| {
            let again = repair(&opening(left.clone())).unwrap();
            assert_eq!(again.damages, again.repaired, "{what}, cut at {moment}");
            let summary = repair(&opening(left.clone())).unwrap();
            assert_eq!(summary, Summary::default(), "{what}, cut at {moment}");
            assert!(read(&left, "/d/base.vhd") == expected, "{what}, cut at {moment}");
        });
    }
}
