// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Discs from folders: xorriso, isoinfo and 7z read them; they are independent of this project and of one another.

use crate::lab::{Lab, pattern};
use crate::volume::run;
use std::collections::BTreeMap;
use std::fs::FileTimes;
use std::path::Path;
use std::time::{Duration, SystemTime};

const LONG: &str = "a name that is longer than the sixty-four characters that Joliet has room for.text";

/// What is on a disc: names and contents.
fn content() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("read me.txt", b"hello\n".to_vec()),
        ("empty", Vec::new()),
        ("Grüße aus Köln – ein Text.txt", b"umlauts".to_vec()),
        ("日本語.txt", b"kanji".to_vec()),
        ("UPPER.TXT", pattern(2048, 1)),
        ("a.b.c.tar.gz", pattern(2049, 2)),
        ("folder/data.bin", pattern(300_000, 3)),
        ("folder/program", b"#!/bin/sh\n".to_vec()),
        ("1/2/3/4/5/6/7/8/9/10/deep", b"down here".to_vec()),
        (LONG, b"long".to_vec()),
    ]
}

/// Makes a folder with that, and with fixed times.
fn folder(root: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds);
    for (index, (name, bytes)) in (0u64..).zip(content()) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_times(FileTimes::new().set_modified(time(index * 60)))
            .unwrap();
    }
    let program = root.join("folder/program");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o775)).unwrap();
    // Folders last, from the inside out, as what is put into them changes their times.
    let mut folders = vec![root.to_owned()];
    let mut at = 0;
    while let Some(folder) = folders.get(at).cloned() {
        let entries = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        folders.extend(entries.filter(|path| path.is_dir()));
        at += 1;
    }
    for folder in folders.iter().rev() {
        let times = FileTimes::new().set_modified(time(7));
        std::fs::File::open(folder).unwrap().set_times(times).unwrap();
    }
}

/// All files below a folder, by their names from there.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn expected() -> BTreeMap<String, Vec<u8>> {
    content()
        .into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn other_programs_find_every_file_with_its_name_and_content() {
    let lab = Lab::new();
    folder(&lab.path("from"));
    std::os::unix::fs::symlink("read me.txt", lab.path("from/link")).unwrap();
    let done = lab.disk("create disc.iso --type iso --from from --label tools");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stderr.contains(LONG) && done.stderr.contains("64 characters"),
        "{}",
        done.stderr
    );
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);

    // Rock Ridge.
    if Lab::installed("xorriso") {
        run(
            &lab,
            &[
                "xorriso", "-osirrox", "on", "-indev", "disc.iso", "-extract", "/", "xorriso",
            ],
        );
        std::fs::remove_dir(lab.path("xorriso/rr_moved")).ok();
        let link = std::fs::read_link(lab.path("xorriso/link")).unwrap();
        assert_eq!(link, Path::new("read me.txt"));
        std::fs::remove_file(lab.path("xorriso/link")).unwrap();
        assert_eq!(files(&lab.path("xorriso")), expected());
        let program = std::fs::metadata(lab.path("xorriso/folder/program")).unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!(
            (program.mode() & 0o777, program.mtime()),
            (0o755, 1_000_000_000 + 7 * 60)
        );
    }
    // Joliet, which has neither the link nor all of the long name.
    if Lab::installed("7z") {
        run(&lab, &["7z", "x", "-y", "-o7z", "disc.iso"]);
        let mut joliet = expected();
        let long = joliet.remove(LONG).unwrap();
        joliet.insert(LONG.chars().take(64).collect(), long);
        assert_eq!(files(&lab.path("7z")), joliet);
    }
    if Lab::installed("isoinfo") {
        let said = text(&run(&lab, &["isoinfo", "-d", "-i", "disc.iso"]));
        for words in ["Volume id: TOOLS", "Joliet with UCS level 3", "Rock Ridge"] {
            assert!(said.contains(words), "{said}");
        }
        let listed = text(&run(&lab, &["isoinfo", "-f", "-i", "disc.iso"]));
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "/_.;\n".contains(c);
        assert!(
            listed.contains("/UPPER.TXT;1") && listed.chars().all(plain),
            "{listed}"
        );
    }
}

#[test]
fn the_same_folder_gives_the_same_image() {
    let lab = Lab::new();
    for (from, disc) in [("one", "a.iso"), ("two/from", "b.iso")] {
        folder(&lab.path(from));
        lab.ok(&format!("create {disc} --type iso --from {from}"));
        // Reading changes times of access; they are no part of it.
        files(&lab.path(from));
    }
    lab.ok("create c.iso --type iso --from one");
    let bytes = std::fs::read(lab.path("a.iso")).unwrap();
    for other in ["b.iso", "c.iso"] {
        assert!(bytes == std::fs::read(lab.path(other)).unwrap(), "{other}");
    }
    std::fs::write(lab.path("one/read me.txt"), "Hello\n").unwrap();
    lab.ok("create d.iso --type iso --from one");
    assert!(bytes != std::fs::read(lab.path("d.iso")).unwrap());
}

#[test]
fn one_file_makes_a_disc_too() {
    let lab = Lab::new();
    std::fs::write(lab.path("one.txt"), "alone").unwrap();
    lab.ok("create new/disc.iso --type iso --from one.txt");
    if Lab::installed("7z") {
        run(&lab, &["7z", "x", "-y", "-o7z", "new/disc.iso"]);
        let only = BTreeMap::from([("one.txt".to_owned(), b"alone".to_vec())]);
        assert_eq!(files(&lab.path("7z")), only);
    }
}

/// By the specification: the descriptor in sector 17 leads to the catalog, whose first entry leads to the image.
fn boot_entry(disc: &[u8]) -> (u8, u16, usize) {
    let number = |at: usize| u32::from_le_bytes(disc[at..at + 4].try_into().unwrap()) as usize;
    let descriptor = 17 * 2048;
    assert_eq!(&disc[descriptor..descriptor + 7], b"\0CD001\x01");
    assert!(disc[descriptor + 7..].starts_with(b"EL TORITO SPECIFICATION"));
    let catalog = number(descriptor + 71) * 2048;
    let sum = disc[catalog..catalog + 32]
        .chunks_exact(2)
        .fold(0u16, |sum, pair| {
            sum.wrapping_add(u16::from_le_bytes([pair[0], pair[1]]))
        });
    assert_eq!(
        (disc[catalog], disc[catalog + 30], disc[catalog + 31], sum),
        (1, 0x55, 0xaa, 0)
    );
    let entry = catalog + 32;
    assert_eq!(disc[entry], 0x88);
    let sectors = u16::from_le_bytes([disc[entry + 6], disc[entry + 7]]);
    (disc[entry + 1], sectors, number(entry + 8) * 2048)
}

#[test]
fn discs_boot() {
    let lab = Lab::new();
    folder(&lab.path("from"));
    for (name, size, emulation, sectors) in [("small.bin", 5000, 0, 10), ("floppy.img", 1440 << 10, 2, 1)] {
        let image = pattern(size, 9);
        std::fs::write(lab.path(name), &image).unwrap();
        lab.ok(&format!("create {name}.iso --type iso --from from --boot {name}"));
        let disc = std::fs::read(lab.path(&format!("{name}.iso"))).unwrap();
        let (kind, load, place) = boot_entry(&disc);
        assert_eq!((kind, load), (emulation, sectors), "{name}");
        assert!(disc[place..place + size] == image, "{name}");
        if Lab::installed("xorriso") {
            let said = run(
                &lab,
                &[
                    "xorriso",
                    "-indev",
                    &format!("{name}.iso"),
                    "-report_el_torito",
                    "plain",
                ],
            );
            assert!(text(&said).contains("/boot.img"), "{}", text(&said));
        }
    }
    // One that is in the folder stays where it is, and is told where that is.
    std::fs::write(lab.path("from/folder/loader.bin"), pattern(9000, 4)).unwrap();
    lab.ok("create loader.iso --type iso --from from --boot from/folder/loader.bin --boot-info-table");
    let disc = std::fs::read(lab.path("loader.iso")).unwrap();
    let (kind, load, place) = boot_entry(&disc);
    assert_eq!((kind, load), (0, 4));
    let number =
        |at: usize| u32::from_le_bytes(disc[place + at..place + at + 4].try_into().unwrap()) as usize;
    assert_eq!((number(8), number(12) * 2048, number(16)), (16, place, 9000));
    assert!(disc[place + 64..place + 9000] == pattern(9000, 4)[64..]);
    assert!(lab.path("from/boot.img").symlink_metadata().is_err());
}

#[test]
fn what_makes_no_disc_is_refused_and_leaves_nothing() {
    let lab = Lab::new();
    folder(&lab.path("from"));
    std::fs::create_dir(lab.path("pipes")).unwrap();
    run(&lab, &["mkfifo", "pipes/pipe"]);
    std::fs::write(lab.path("taken.iso"), "mine").unwrap();
    let before = lab.names();
    for (words, said) in [
        ("create new.iso --type iso", "--from"),
        ("create new.iso --type iso --from nothing", "nothing"),
        ("create new.iso --type iso --from pipes", "pipes/pipe"),
        ("create new.iso --type iso --from from --size 1M", "--size"),
        (
            "create new.iso --type iso --from from --label Ünïcode",
            "name of a disc",
        ),
        (
            "create new.iso --type iso --from from --label SEVENTEEN_LETTERS",
            "name of a disc",
        ),
        ("create new.iso --type iso --from from --boot from", "boot image"),
        (
            "create new.iso --type iso --from from --boot-info-table",
            "--boot",
        ),
        (
            "create new.vhd --type dynamic --size 3M --boot from",
            "--type iso",
        ),
        ("create taken.iso --type iso --from from", "exists already"),
    ] {
        let done = lab.disk(words);
        assert_eq!(done.code, 2, "{words}");
        assert!(done.stderr.contains(said), "{words}: {}", done.stderr);
    }
    assert_eq!(lab.names(), before);
    assert_eq!(std::fs::read(lab.path("taken.iso")).unwrap(), b"mine");
}
