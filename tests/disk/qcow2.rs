// SPDX-License-Identifier: Apache-2.0 OR MIT
//! qcow2 images as sources: qemu-img makes them, and says what is in them.

use crate::lab::{Lab, pattern};
use vhd::testing::Dice;

const SIZE: usize = 24 << 20;

/// A raw disk with data, zeros that are written, and holes; `None` where there is no qemu-img.
fn lab() -> Option<(Lab, Vec<u8>)> {
    let lab = Lab::new();
    lab.qemu_img("--version")?;
    let mut content = vec![0; SIZE];
    content[..300_000].copy_from_slice(&pattern(300_000, 1));
    content[5 << 20..6 << 20].fill(b'a');
    content[SIZE - 512..].copy_from_slice(&pattern(512, 2));
    std::fs::write(lab.path("disk.raw"), &content).unwrap();
    Some((lab, content))
}

fn qemu_img(lab: &Lab, words: &str) {
    let done = lab.qemu_img(words).unwrap();
    assert_eq!(done.code, 0, "qemu-img {words}: {}", done.stderr);
}

fn make(lab: &Lab, words: &str) {
    qemu_img(lab, &format!("convert -f raw -O qcow2 {words}"));
}

#[test]
fn every_kind_of_image_converts_to_every_format() {
    let Some((lab, content)) = lab() else { return };
    make(&lab, "-o compat=0.10 disk.raw v2.qcow2");
    make(&lab, "-o compat=1.1 disk.raw v3.qcow2");
    make(&lab, "-c disk.raw compressed.qcow2");
    make(&lab, "-o cluster_size=512 disk.raw small.qcow2");
    make(&lab, "-c -o cluster_size=2M disk.raw large.qcow2");
    make(&lab, "-o preallocation=metadata disk.raw allocated.qcow2");
    for image in ["v2", "v3", "compressed", "small", "large", "allocated"] {
        let before = std::fs::read(lab.path(&format!("{image}.qcow2"))).unwrap();
        for (format, theirs) in [("raw", "raw"), ("fixed", "vpc"), ("dynamic", "vpc")] {
            let target = format!("{image}-{format}.img");
            lab.ok(&format!("convert {image}.qcow2 {target} --to {format}"));
            assert!(lab.ok(&format!("read {target}")) == content, "{target}");
            qemu_img(
                &lab,
                &format!("compare -f {theirs} -F qcow2 {target} {image}.qcow2"),
            );
        }
        lab.ok(&format!("compare {image}.qcow2 {image}-dynamic.img"));
        assert!(before == std::fs::read(lab.path(&format!("{image}.qcow2"))).unwrap());
        let dynamic = std::fs::metadata(lab.path(&format!("{image}-dynamic.img"))).unwrap();
        assert!(dynamic.len() < 8 << 20, "{image}: holes stay holes");
    }
    let info = lab.ok("info v3.qcow2");
    let info = String::from_utf8(info).unwrap();
    assert!(
        info.contains("qcow2") && info.contains(&SIZE.to_string()),
        "{info}"
    );
    let map = lab.ok("map v3.qcow2 --json");
    let map: serde_json::Value = serde_json::from_slice(&map).unwrap();
    let hole = |entry: &serde_json::Value| entry["layer"].is_null();
    assert!(map.as_array().unwrap().iter().any(hole), "{map}");
}

#[test]
fn what_is_in_front_hides_what_is_behind() {
    let Some((lab, mut content)) = lab() else { return };
    make(&lab, "disk.raw base.qcow2");
    qemu_img(&lab, "create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 32M");
    qemu_img(&lab, "create -q -f qcow2 -b disk.raw -F raw over-raw.qcow2");
    qemu_img(
        &lab,
        "create -q -f qcow2 -b over-raw.qcow2 -F qcow2 -o compat=0.10 third.qcow2",
    );
    if !Lab::installed("qemu-io") {
        return;
    }
    let writes = [
        "write -P 7 65536 131072",
        "write -z 5M 512K",
        "write -P 9 5767168 512",
    ];
    for image in ["top.qcow2", "over-raw.qcow2"] {
        let mut words = vec!["-f", "qcow2", image];
        writes.iter().for_each(|write| words.extend(["-c", write]));
        assert_eq!(lab.run_words("qemu-io", &words).code, 0);
    }
    content[65_536..196_608].fill(7);
    content[5 << 20..(5 << 20) + (512 << 10)].fill(0);
    content[5_767_168..5_767_168 + 512].fill(9);
    for (image, size) in [("top", 32 << 20), ("over-raw", SIZE), ("third", SIZE)] {
        content.resize(size, 0);
        lab.ok(&format!("convert {image}.qcow2 {image}.vhd --to dynamic"));
        assert!(lab.ok(&format!("read {image}.vhd")) == content, "{image}");
        qemu_img(
            &lab,
            &format!("compare -f vpc -F qcow2 {image}.vhd {image}.qcow2"),
        );
    }
}

/// A hostile image must not get a file copied into a disk that its user did not mean.
#[test]
fn backing_files_elsewhere_are_read_only_when_their_folder_is_named() {
    let Some((lab, content)) = lab() else { return };
    for folder in ["images", "private"] {
        std::fs::create_dir(lab.path(folder)).unwrap();
    }
    std::fs::rename(lab.path("disk.raw"), lab.path("private/secret.raw")).unwrap();
    let secret = lab.path("private/secret.raw");
    let secret = secret.to_str().unwrap();
    std::os::unix::fs::symlink(secret, lab.path("images/link.raw")).unwrap();
    for (name, backing) in [
        ("absolute", secret),
        ("upward", "../private/secret.raw"),
        ("linked", "link.raw"),
    ] {
        let image = format!("images/{name}.qcow2");
        qemu_img(
            &lab,
            &format!("create -q -f qcow2 -u -b {backing} -F raw {image} {SIZE}"),
        );
        let done = lab.disk(&format!("convert {image} {name}.vhd --to dynamic"));
        assert_eq!(done.code, 2, "{name}");
        for words in [image.as_str(), backing, "--search", "private"] {
            assert!(done.stderr.contains(words), "{name}: {}", done.stderr);
        }
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        assert!(!lab.path(&format!("{name}.vhd")).exists());
        lab.ok(&format!(
            "convert {image} {name}.vhd --to dynamic --search private"
        ));
        assert!(lab.ok(&format!("read {name}.vhd")) == content);
    }
    // One that was moved is found by its name.
    qemu_img(
        &lab,
        &format!("create -q -f qcow2 -u -b gone/secret.raw -F raw moved.qcow2 {SIZE}"),
    );
    let done = lab.disk("convert moved.qcow2 moved.vhd --to dynamic");
    assert!(
        done.code == 2 && done.stderr.contains("not found"),
        "{}",
        done.stderr
    );
    lab.ok("convert moved.qcow2 moved.vhd --to dynamic --search private");
}

#[test]
fn chains_that_cannot_be_followed_are_refused() {
    let Some((lab, _)) = lab() else { return };
    qemu_img(&lab, "create -q -f qcow2 -u -b b.qcow2 -F qcow2 a.qcow2 4M");
    qemu_img(&lab, "create -q -f qcow2 -u -b a.qcow2 -F qcow2 b.qcow2 4M");
    qemu_img(
        &lab,
        "create -q -f qcow2 -u -b nbd://localhost/x -F raw remote.qcow2 4M",
    );
    qemu_img(&lab, "create -q -f qcow2 -u -b disk.raw -F vpc format.qcow2 4M");
    for (image, words) in [
        ("a", "in front of it already"),
        ("remote", "is no file"),
        ("format", "vpc"),
    ] {
        let done = lab.disk(&format!("convert {image}.qcow2 new.vhd --to dynamic"));
        assert_eq!(done.code, 2);
        assert!(done.stderr.contains(words), "{image}: {}", done.stderr);
    }
    assert!(!lab.path("new.vhd").exists());
}

/// Features, by what stands in the header: offset, byte, and what the message says.
#[test]
fn what_is_not_known_is_refused_with_a_remedy() {
    let Some((lab, _)) = lab() else { return };
    make(&lab, "disk.raw good.qcow2");
    let good = std::fs::read(lab.path("good.qcow2")).unwrap();
    for (offset, byte, words) in [
        (7, 4, "version 4"),
        (35, 1, "encrypted"),
        (79, 1, "qemu-img check"),
        (79, 2, "corrupt"),
        (79, 4, "another file"),
        (79, 8, "zstd"),
        (79, 16, "subclusters"),
        (72, 1, "not known"),
        (23, 63, "cluster size"),
        (36, 0x7f, "L1 table"),
        (24, 0x7f, "L1 table"),
    ] {
        let mut bytes = good.clone();
        bytes[offset] = byte;
        std::fs::write(lab.path("bad.qcow2"), bytes).unwrap();
        let done = lab.disk("convert bad.qcow2 new.vhd --to dynamic");
        assert_eq!(done.code, 2);
        assert!(
            done.stderr.contains(words)
                && done.stderr.contains("bad.qcow2")
                && done.stderr.contains("qemu-img")
                || done.stderr.contains("program that made it"),
            "{offset}: {}",
            done.stderr
        );
        assert!(!lab.path("new.vhd").exists());
    }
    // Data that the file does not have is no zeros.
    std::fs::write(lab.path("cut.qcow2"), &good[..good.len() / 2]).unwrap();
    let done = lab.disk("convert cut.qcow2 new.vhd --to dynamic");
    assert!(
        done.code == 2 && done.stderr.contains("ends before"),
        "{}",
        done.stderr
    );
    assert!(!lab.path("new.vhd").exists());
}

#[test]
fn images_are_not_taken_for_raw_disks() {
    let Some((lab, _)) = lab() else { return };
    make(&lab, "disk.raw a.qcow2");
    let before = std::fs::read(lab.path("a.qcow2")).unwrap();
    for words in [
        "resize a.qcow2 64M",
        "compact a.qcow2",
        "check a.qcow2",
        "write a.qcow2 --offset 0",
    ] {
        let done = lab.disk_with(words, b"x");
        assert!(
            done.code == 2 && done.stderr.contains("vpc disk convert"),
            "{}",
            done.stderr
        );
    }
    assert!(before == std::fs::read(lab.path("a.qcow2")).unwrap());
    assert!(lab.ok("read a.qcow2 --raw") == before);
}

/// Whatever is in an image: it opens and reads, or says what is wrong; nothing panics, and nothing runs for ever.
#[test]
fn damaged_images_do_no_harm() {
    let Some((lab, _)) = lab() else { return };
    make(&lab, "-o cluster_size=4K disk.raw plain.qcow2");
    make(&lab, "-c -o cluster_size=4K disk.raw compressed.qcow2");
    let mut dice = Dice::new(7);
    let (mut opened, mut refused) = (0, 0);
    for round in 0..400 {
        let source = if round % 2 == 0 {
            "plain.qcow2"
        } else {
            "compressed.qcow2"
        };
        let mut bytes = std::fs::read(lab.path(source)).unwrap();
        // Most of a header's, a table's or a compressed cluster's bits matter; few of the others do.
        let reach = if dice.once_in(2) { 112 } else { bytes.len() as u64 };
        for _ in 0..=dice.roll(4) {
            let at = dice.roll(reach) as usize;
            bytes[at] = dice.roll(256) as u8;
        }
        if dice.once_in(8) {
            bytes.truncate(dice.roll(bytes.len() as u64) as usize);
        }
        let path = lab.path("damaged.qcow2");
        std::fs::write(&path, bytes).unwrap();
        let Ok(disk) = virtualpc::qcow2::open(&path, &[]) else {
            refused += 1;
            continue;
        };
        opened += 1;
        let mut buffer = vec![0; 1 << 20];
        let end = disk.len().min(SIZE as u64);
        for at in (0..end).step_by(1 << 20) {
            let piece = buffer.len().min((end - at) as usize);
            let mut extents = Vec::new();
            let resolved = disk.resolve_read(at..at + piece as u64, &mut extents);
            assert!(resolved.is_err() || !extents.is_empty());
            drop(resolved);
            let _ = disk.read_at(at, &mut buffer[..piece]);
        }
    }
    assert!(opened > 50 && refused > 50, "{opened} opened, {refused} refused");
}
