// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The long operations: the content stays what it was, and what fails leaves everything as it was.

use crate::lab::{Lab, pattern};
use std::collections::HashMap;

const SIZE: u64 = 32 << 20;

/// A base with data here and there, and a child with changes.
fn chain() -> (Lab, Vec<u8>) {
    let lab = Lab::new();
    lab.ok(&format!("create base.vhd --type dynamic --size {SIZE}"));
    let mut content = vec![0; SIZE as usize];
    let mut write = |image: &str, offset: usize, bytes: Vec<u8>| {
        lab.write(image, offset as u64, &bytes);
        content[offset..offset + bytes.len()].copy_from_slice(&bytes);
    };
    write("base.vhd", 0, pattern(5 << 20, 1));
    write("base.vhd", 20 << 20, pattern(70_000, 2));
    lab.ok("create child.vhd --type differencing --parent base.vhd");
    write("child.vhd", 4 << 20, pattern(2 << 20, 3));
    write("child.vhd", 1 << 20, vec![0; 65_536]);
    write("child.vhd", (31 << 20) + 512, pattern(512, 4));
    (lab, content)
}

fn files(lab: &Lab) -> HashMap<String, Vec<u8>> {
    let names = lab.names().into_iter();
    names
        .filter_map(|name| Some((name.clone(), std::fs::read(lab.path(&name)).ok()?)))
        .collect()
}

#[test]
fn a_chain_converts_to_every_format_and_back() {
    let (lab, content) = chain();
    for format in ["raw", "fixed", "dynamic"] {
        lab.ok(&format!("convert child.vhd new/{format}.img --to {format}"));
        let image = format!("new/{format}.img");
        assert!(lab.ok(&format!("read {image}")) == content, "{format}");
        lab.ok(&format!("convert {image} back-{format}.vhd --to dynamic"));
        lab.ok(&format!("compare --strict child.vhd back-{format}.vhd"));
    }
    assert!(std::fs::read(lab.path("new/raw.img")).unwrap() == content);
    let sparse = std::fs::metadata(lab.path("new/dynamic.img")).unwrap().len();
    assert!(sparse < 12 << 20, "zeros take no space: {sparse}");

    if let Some(done) = lab.qemu_img("convert -f vpc -O raw new/dynamic.img theirs.raw") {
        assert_eq!(done.code, 0, "{}", done.stderr);
        lab.ok("compare theirs.raw child.vhd");
        let done = lab.qemu_img("check -f vpc new/dynamic.img").unwrap();
        assert!([0, 63].contains(&done.code), "{}", done.stderr);
    }
}

#[test]
fn a_child_merges_into_its_parent() {
    let (lab, content) = chain();
    lab.ok("merge child.vhd");
    assert!(!lab.path("child.vhd").exists());
    assert!(lab.ok("read base.vhd") == content);
}

#[test]
fn a_parent_with_other_children_is_merged_into_by_force_only() {
    let (lab, content) = chain();
    lab.ok("create other/sibling.vhd --type differencing --parent base.vhd");
    // In a folder that nobody named it is not known.
    lab.ok("create sibling.vhd --type differencing --parent base.vhd");
    let before = files(&lab);
    for search in ["", "--search other"] {
        let done = lab.disk(&format!("merge child.vhd {search}"));
        assert_eq!(done.code, 2);
        assert!(
            done.stderr.contains("sibling.vhd") && done.stderr.contains("force"),
            "{}",
            done.stderr
        );
        assert_eq!(
            done.stderr.contains("other/sibling.vhd"),
            !search.is_empty(),
            "{}",
            done.stderr
        );
    }
    assert!(files(&lab) == before);
    lab.ok("merge child.vhd --force");
    assert!(lab.ok("read base.vhd") == content);
    // Time stamps have seconds, so a child of the old content may be noticed or not; it is read all the same.
    lab.ok("info sibling.vhd --ignore-parent-time");
}

#[test]
fn a_child_that_is_kept_goes_on_working() {
    let (lab, content) = chain();
    lab.ok("merge --keep child.vhd");
    assert!(lab.ok("read base.vhd") == content);
    assert!(lab.ok("read child.vhd") == content);
    lab.ok("merge child.vhd");
    assert!(lab.ok("read base.vhd") == content);
}

#[test]
fn a_chain_merges_to_a_new_image() {
    let (lab, content) = chain();
    let before = files(&lab);
    lab.ok("merge child.vhd --to whole.vhd");
    assert!(lab.ok("read whole.vhd") == content);
    for (name, bytes) in before {
        assert!(
            std::fs::read(lab.path(&name)).unwrap() == bytes,
            "{name} is unchanged"
        );
    }
}

#[test]
fn zeros_take_no_space_after_compacting() {
    let (lab, _) = chain();
    let mut content = lab.ok("read base.vhd");
    lab.write("base.vhd", 0, &vec![0; 4 << 20]);
    content[..4 << 20].fill(0);
    let id = |lab: &Lab| {
        let info: serde_json::Value = serde_json::from_slice(&lab.ok("info base.vhd --json")).unwrap();
        (info["vhd"].clone(), info["blocks"]["used"].as_u64().unwrap())
    };
    let (identity, used) = id(&lab);
    lab.ok("compact base.vhd");
    let (same, less) = id(&lab);
    assert_eq!(same, identity, "it is the same disk to its children");
    assert!(less < used, "{less} of {used} blocks");
    assert!(lab.ok("read base.vhd") == content);
}

#[test]
fn a_compacted_child_lacks_what_the_parent_has() {
    let (lab, content) = chain();
    lab.write("child.vhd", 20 << 20, &pattern(70_000, 2));
    let before = std::fs::metadata(lab.path("child.vhd")).unwrap().len();
    lab.ok("compact child.vhd");
    let after = std::fs::metadata(lab.path("child.vhd")).unwrap().len();
    assert!(after < before, "{after} < {before}");
    assert!(lab.ok("read child.vhd") == content);
}

#[test]
fn disks_grow_and_shrink() {
    for kind in ["fixed", "dynamic"] {
        let lab = Lab::new();
        lab.ok(&format!("create disk.vhd --type {kind} --size 10M"));
        lab.write("disk.vhd", 9 << 20, &pattern(1000, 1));
        let mut content = lab.ok("read disk.vhd");
        lab.ok("resize disk.vhd 40M");
        content.resize(40 << 20, 0);
        assert!(lab.ok("read disk.vhd") == content);
        lab.ok("resize disk.vhd 9961472");
        let done = lab.disk("resize disk.vhd 9M");
        assert_eq!(done.code, 2);
        assert!(done.stderr.contains("would be lost"), "{}", done.stderr);
        content.truncate(9_961_472);
        assert!(lab.ok("read disk.vhd") == content);
    }
}

#[test]
fn raw_disks_grow_and_shrink_in_place() {
    let lab = Lab::new();
    std::fs::write(lab.path("disk.raw"), pattern(4096, 1)).unwrap();
    lab.ok("resize disk.raw 1M");
    assert_eq!(lab.ok("read disk.raw").len(), 1 << 20);
    assert_eq!(lab.disk("resize disk.raw 100").code, 2);
    lab.ok("resize disk.raw 4096");
    assert_eq!(lab.ok("read disk.raw"), pattern(4096, 1));
}

#[test]
fn a_child_finds_a_parent_that_was_moved() {
    let (lab, content) = chain();
    std::fs::create_dir(lab.path("far")).unwrap();
    std::fs::rename(lab.path("base.vhd"), lab.path("far/away.vhd")).unwrap();
    assert_eq!(lab.disk("info child.vhd").code, 2);
    lab.ok("relink child.vhd far/away.vhd");
    assert!(lab.ok("read child.vhd") == content);

    lab.ok(&format!("create other.vhd --type dynamic --size {SIZE}"));
    let done = lab.disk("relink child.vhd other.vhd");
    assert_eq!(done.code, 2);
    assert!(lab.ok("read child.vhd") == content, "{}", done.stderr);
}

#[test]
fn a_rebased_child_keeps_its_content() {
    let (lab, content) = chain();
    lab.ok(&format!("create other.vhd --type dynamic --size {SIZE}"));
    lab.write("other.vhd", 0, &pattern(6 << 20, 9));
    lab.ok("rebase child.vhd other.vhd");
    std::fs::remove_file(lab.path("base.vhd")).unwrap();
    assert!(lab.ok("read child.vhd") == content);
    lab.ok("create small.vhd --type dynamic --size 8M");
    let done = lab.disk("rebase child.vhd small.vhd");
    assert_eq!(
        (done.code, done.stderr.contains("same size")),
        (2, true),
        "{}",
        done.stderr
    );
}

#[test]
fn a_map_is_the_disk_from_start_to_end() {
    let (lab, content) = chain();
    let map: serde_json::Value =
        serde_json::from_slice(&lab.ok("map child.vhd --json --png map.png")).unwrap();
    let layers = ["child.vhd", "base.vhd"].map(|name| std::fs::read(lab.path(name)).unwrap());
    let mut at = 0;
    for extent in map.as_array().unwrap() {
        assert_eq!(extent["start"].as_u64().unwrap() as usize, at);
        let length = extent["length"].as_u64().unwrap() as usize;
        let expected = &content[at..at + length];
        match extent["layer"].as_u64() {
            Some(layer) => {
                let offset = extent["offset"].as_u64().unwrap() as usize;
                assert!(
                    layers[layer as usize][offset..offset + length] == *expected,
                    "{at}"
                );
            }
            None => assert!(expected.iter().all(|&byte| byte == 0), "{at}"),
        }
        at += length;
    }
    assert_eq!(at as u64, SIZE);
    let picture = std::fs::read(lab.path("map.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert_eq!(
        lab.disk("map child.vhd --png map.png").code,
        2,
        "never overwritten"
    );
    let text = String::from_utf8(lab.ok("map child.vhd")).unwrap();
    assert!(text.contains("base.vhd") && text.contains("zeros"), "{text}");
}

#[test]
fn what_cannot_be_done_leaves_everything_as_it_was() {
    let (lab, _) = chain();
    std::fs::write(lab.path("disk.raw"), [1; 1536]).unwrap();
    let before = files(&lab);
    for (words, reason) in [
        ("convert child.vhd base.vhd --to dynamic", "exists already"),
        ("convert gone.vhd new.vhd --to dynamic", "no image"),
        (
            "convert child.vhd a/new.vhd --to dynamic --block-size 3M",
            "block size",
        ),
        ("convert disk.raw a/new.vhd --to fixed", "small"),
        ("merge base.vhd", "no differencing disk"),
        ("merge child.vhd --to base.vhd", "exists already"),
        ("resize base.vhd 2041G", "2040 GiB"),
        ("resize base.vhd 40000001", "512"),
        ("resize child.vhd 64M", "merge it first"),
        ("resize disk.raw 512", "would be lost"),
        ("relink base.vhd child.vhd", ""),
        ("relink child.vhd gone.vhd", "no image"),
        ("relink child.vhd disk.raw", ""),
        ("rebase base.vhd child.vhd", "no differencing disk"),
        ("compact gone.vhd", "no image"),
        ("map gone.vhd", "no image"),
    ] {
        let done = lab.disk(words);
        assert_eq!(done.code, 2, "vpc disk {words}: {}", done.stderr);
        assert!(done.stderr.contains(reason), "vpc disk {words}: {}", done.stderr);
        assert_eq!(
            done.stderr.lines().count(),
            1,
            "vpc disk {words}: {}",
            done.stderr
        );
        assert!(files(&lab) == before, "vpc disk {words}");
    }
}
