// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Floppies from files and folders, read by mtools and checked by fsck.fat, which are independent of this project.

use crate::lab::{Lab, pattern};

#[test]
fn a_folder_becomes_a_floppy_that_others_read() {
    let lab = Lab::new();
    let folder = lab.path("files");
    std::fs::create_dir_all(folder.join("Sub folder/deeper")).unwrap();
    let files = [
        ("README.TXT", b"hello\r\n".to_vec()),
        ("A long name with spaces.txt", pattern(3000, 1)),
        ("Sub folder/data.bin", pattern(100_000, 2)),
        ("Sub folder/deeper/empty", Vec::new()),
    ];
    for (name, content) in &files {
        std::fs::write(folder.join(name), content).unwrap();
    }
    let sizes = [
        ("360K", 360),
        ("720K", 720),
        ("1200K", 1200),
        ("1440K", 1440),
        ("2880K", 2880),
    ];
    for (size, kib) in sizes {
        let image = format!("new/{size}.img");
        lab.ok(&format!(
            "create {image} --type floppy --from files --size {size} --label test"
        ));
        assert_eq!(std::fs::metadata(lab.path(&image)).unwrap().len(), kib << 10);
        if Lab::installed("fsck.fat") {
            let done = lab.run_words("fsck.fat", &["-n", "-v", &image]);
            assert_eq!(done.code, 0, "{size}: {}", String::from_utf8_lossy(&done.stdout));
        }
        if Lab::installed("mcopy") {
            for (name, content) in &files {
                let done = lab.run_words("mcopy", &["-n", "-i", &image, &format!("::{name}"), "-"]);
                assert_eq!(done.code, 0, "{size}: {name}: {}", done.stderr);
                assert!(done.stdout == *content, "{size}: {name}");
            }
            let done = lab.run_words("mdir", &["-i", &image]);
            let listing = String::from_utf8(done.stdout).unwrap();
            assert!(listing.contains("Volume in drive : is TEST"), "{listing}");
        }
    }
    // The same files give the same image, but for the volume's number.
    lab.ok("create one.img --type floppy --from files/README.TXT");
    assert_eq!(std::fs::metadata(lab.path("one.img")).unwrap().len(), 1440 << 10);
    if Lab::installed("mcopy") {
        let done = lab.run_words("mcopy", &["-n", "-i", "one.img", "::README.TXT", "-"]);
        assert!(done.stdout == files[0].1);
    }
    lab.ok("create empty.img --type floppy");
}

#[test]
fn what_does_not_fit_on_a_floppy_is_said_and_nothing_is_made() {
    let lab = Lab::new();
    std::fs::create_dir(lab.path("big")).unwrap();
    std::fs::write(lab.path("big/a"), pattern(1 << 20, 1)).unwrap();
    std::fs::write(lab.path("big/b"), pattern(1 << 20, 2)).unwrap();
    std::fs::write(lab.path("huge"), pattern(4 << 20, 2)).unwrap();
    std::fs::create_dir(lab.path("case")).unwrap();
    std::fs::write(lab.path("case/name"), "1").unwrap();
    std::fs::write(lab.path("case/NAME"), "2").unwrap();
    std::fs::create_dir(lab.path("links")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", lab.path("links/link")).unwrap();
    std::fs::write(lab.path("there.img"), "x").unwrap();
    let before = lab.names();
    for (words, reason) in [
        ("create new/f.img --type floppy --from big", "larger"),
        ("create new/f.img --type floppy --from huge", "larger"),
        ("create new/f.img --type floppy --from case", "case"),
        ("create new/f.img --type floppy --from links", "neither"),
        ("create new/f.img --type floppy --from missing", "missing"),
        ("create new/f.img --type floppy --size 1M", "1440K"),
        ("create new/f.img --type floppy --label a/b", "label"),
        ("create new/f.img --type floppy --parent x.vhd", "parent"),
        ("create there.img --type floppy", "exists already"),
        ("create new/f.vhd --type dynamic --size 10M --from big", "floppy"),
        ("create new/f.vhd --type dynamic", "--size"),
    ] {
        let done = lab.disk(words);
        assert_eq!(done.code, 2, "{words}");
        assert!(done.stderr.contains(reason), "{words}: {}", done.stderr);
        assert_eq!(lab.names(), before, "{words}");
    }
}
