// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Wrong use gives one clear line and the exit code 2, and leaves the host as it was.

use crate::lab::{Lab, pattern};

/// Runs a command that must be refused, for a reason that has these words, with nothing made or changed.
fn refused(lab: &Lab, words: &str, reason: &str) {
    let before = lab.names();
    let done = lab.disk(words);
    assert_eq!(done.code, 2, "vpc disk {words}: {}", done.stderr);
    assert!(done.stdout.is_empty(), "vpc disk {words}");
    assert!(done.stderr.contains(reason), "vpc disk {words}: {}", done.stderr);
    assert_eq!(lab.names(), before, "vpc disk {words}");
}

/// As [`refused`], and it is said in one line.
fn refused_in_a_line(lab: &Lab, words: &str, reason: &str) {
    refused(lab, words, reason);
    let text = lab.disk(words).stderr;
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("vpc: "), "{text}");
}

#[test]
fn images_that_cannot_be_made() {
    let lab = Lab::new();
    lab.ok("create there.vhd --type dynamic --size 8M");
    std::fs::write(lab.path("file.txt"), "text").unwrap();
    std::fs::write(lab.path("disk.raw"), [0; 1 << 20]).unwrap();
    for (words, reason) in [
        ("create there.vhd --type dynamic --size 8M", "exists already"),
        ("create . --type dynamic --size 8M", "name"),
        ("create a/b/too-large.vhd --type dynamic --size 2041G", "2040 GiB"),
        (
            "create a/b/too-large.vhd --type fixed --size 16777215T",
            "2040 GiB",
        ),
        ("create a/b/odd.vhd --type dynamic --size 10000001", "512"),
        ("create a/b/small.vhd --type dynamic --size 0", "small"),
        (
            "create a/b/blocks.vhd --type dynamic --size 8M --block-size 3M",
            "block size",
        ),
        (
            "create a/b/blocks.vhd --type dynamic --size 8M --block-size 8G",
            "block size",
        ),
        ("create file.txt/a.vhd --type dynamic --size 8M", "folder"),
        (
            "create a/child.vhd --type differencing --parent gone.vhd",
            "gone.vhd",
        ),
        ("create a/child.vhd --type differencing --parent .", "a folder"),
        ("create a/child.vhd --type differencing --parent disk.raw", "raw"),
        (
            "create a/child.vhd --type dynamic --parent there.vhd",
            "differencing",
        ),
    ] {
        refused_in_a_line(&lab, words, reason);
    }
    for (words, reason) in [
        ("create a.vhd --type dynamic", "--size"),
        ("create a.vhd --type differencing --size 8M", "--parent"),
        ("create a.vhd --type dynamic --size 8X", "8X"),
        ("create a.vhd --size 8M", "--type"),
        ("create a.vhd --type other --size 8M", "other"),
    ] {
        refused(&lab, words, reason);
    }
}

#[test]
fn images_that_cannot_be_used() {
    let lab = Lab::new();
    std::fs::create_dir(lab.path("folder")).unwrap();
    std::fs::write(lab.path("empty.vhd"), "").unwrap();
    std::fs::write(lab.path("text.vhd"), "some text").unwrap();
    lab.ok("create base.vhd --type dynamic --size 8M");
    lab.ok("create child.vhd --type differencing --parent base.vhd");
    std::fs::rename(lab.path("base.vhd"), lab.path("folder/moved.vhd")).unwrap();
    for command in ["info", "read"] {
        for (image, reason) in [
            ("gone.vhd", "no image"),
            ("folder", "a folder"),
            ("empty.vhd", "empty"),
            ("/dev/null", "not a regular file"),
            ("text.vhd", "not a disk image"),
            ("child.vhd", "base.vhd"),
        ] {
            refused_in_a_line(&lab, &format!("{command} {image}"), reason);
        }
    }
}

#[test]
fn ranges_beyond_the_end() {
    let lab = Lab::new();
    lab.ok("create disk.vhd --type dynamic --size 8M");
    let before = std::fs::read(lab.path("disk.vhd")).unwrap();
    for words in [
        "read disk.vhd --offset 8M --length 1",
        "read disk.vhd --offset 9M",
        "read disk.vhd --offset 1 --length 18446744073709551615",
        "write disk.vhd --offset 9M",
    ] {
        refused_in_a_line(&lab, words, "beyond the end");
    }
    assert_eq!(std::fs::read(lab.path("disk.vhd")).unwrap(), before);

    // A pipe cannot be measured beforehand: what was written is named.
    let done = lab.disk_with("write disk.vhd --offset 6M", &pattern(3 << 20, 1));
    assert_eq!(done.code, 2);
    assert!(
        done.stderr.contains("2097152 bytes were written"),
        "{}",
        done.stderr
    );
    assert_eq!(lab.read("disk.vhd", 6 << 20, 2 << 20), pattern(2 << 20, 1));
}
