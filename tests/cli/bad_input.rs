// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Bad input: one line that names file and cause, exit code 2, nothing created or changed.

use super::support::{SEABIOS, alone, firmware, guest, loader};
use super::{Lab, output, spawn, text, words};
use std::fs::File;

/// A lab with one of each: good files, and every kind of bad one.
fn lab() -> Lab {
    let lab = Lab::new(&firmware("cycle"));
    lab.write("disk.img", &[0; 1 << 20]);
    let options = vhd::CreateOptions::new();
    // Another test's program, started just now, would hold the locks of these files for a moment.
    let undisturbed = alone();
    vhd::create::dynamic(lab.path("disk.vhd"), 4 << 20, &options).unwrap();
    let vhd = std::fs::read(lab.path("disk.vhd")).unwrap();
    // Without its end footer and its last blocks; the copy at its start makes it a VHD all the same.
    lab.write("short.vhd", &vhd[..1000]);
    let mut other = vhd.clone();
    other[512..1536].fill(0xaa);
    lab.write("broken.vhd", &other);
    vhd::create::dynamic(lab.path("parent.vhd"), 4 << 20, &options).unwrap();
    vhd::create::differencing(lab.path("orphan.vhd"), lab.path("parent.vhd"), &options).unwrap();
    drop(undisturbed);
    std::fs::remove_file(lab.path("parent.vhd")).unwrap();
    lab.write("nothing", b"");
    lab.write("odd.img", &[1; 1000]);
    lab.write("text", b"This is no image of anything.\n");
    lab.write("large.img", &vec![1; 8 << 20]);
    lab.write("disc.iso", &[0; 40 << 10]);
    std::fs::copy(guest("pvh.elf"), lab.path("pvh.elf")).unwrap();
    lab.write("short.elf", &std::fs::read(guest("pvh.elf")).unwrap()[..100]);
    lab.write("log", b"precious");
    std::fs::create_dir(lab.path("folder")).unwrap();
    lab
}

/// Runs the program, which must refuse; its line must hold each of `parts`.
fn refused(lab: &Lab, arguments: &[&str], parts: &[&str]) {
    let before = lab.contents();
    let (code, out, err) = words(&output(&mut lab.vpc(arguments)));
    let what = format!("{arguments:?}: {err}");
    assert_eq!(code, Some(2), "{what}");
    assert_eq!(out, "", "{what}");
    assert!(err.starts_with("vpc: ") && err.ends_with('\n'), "{what}");
    assert_eq!(err.lines().count(), 1, "{what}");
    for part in parts {
        assert!(err.contains(part), "without `{part}`: {what}");
    }
    assert!(lab.contents() == before, "files were changed: {what}");
}

/// As [`refused`], for `vpc run` with new files as outputs, which must not come into being.
fn run_refused(lab: &Lab, arguments: &[&str], parts: &[&str]) {
    let outputs = [
        "run",
        "--serial",
        "file:new",
        "--debug-console",
        "file:log",
        "--control",
        "socket",
        "--text-dump",
        "screen",
    ];
    refused(lab, &[&outputs, arguments].concat(), parts);
}

#[test]
fn disks() {
    let lab = lab();
    for option in ["--hda", "--hdb", "--hdc", "--hdd"] {
        for (image, cause) in [
            ("missing.img", "no image"),
            ("folder", "folder"),
            ("nothing", "empty"),
            ("short.vhd", "short.vhd"),
            ("broken.vhd", "header"),
            ("orphan.vhd", "parent"),
            ("/dev/null", "/dev/null"),
        ] {
            run_refused(
                &lab,
                &["--firmware", "firmware", option, image],
                &[image, cause, "hard disk"][..2],
            );
        }
    }
}

#[test]
fn discs_and_diskettes() {
    let lab = lab();
    for (option, image, cause) in [
        ("--dvd", "missing.iso", "no image"),
        ("--dvd", "folder", "folder"),
        ("--dvd", "nothing", "empty"),
        ("--dvd", "/dev/null", ""),
        ("--fda", "missing.img", "no image"),
        ("--fda", "folder", "folder"),
        ("--fda", "large.img", ""),
        ("--fdb", "large.img", ""),
        ("--fdb", "/dev/null", ""),
    ] {
        run_refused(&lab, &["--firmware", "firmware", option, image], &[image, cause]);
    }
    run_refused(&lab, &["--dvd", ""], &["--dvd"]);
}

#[test]
fn firmware_images() {
    let lab = lab();
    for option in ["--firmware", "--vga-bios"] {
        for (image, cause) in [
            ("missing.bin", "No such file"),
            ("folder", "directory"),
            ("nothing", "BIOS"),
            ("text", "BIOS"),
            ("disk.img", "BIOS"),
        ] {
            run_refused(&lab, &[option, image], &[image, cause]);
        }
    }
    let mut cut = std::fs::read(SEABIOS).unwrap();
    cut.truncate(cut.len() - 1000);
    lab.write("cut.bin", &cut);
    run_refused(&lab, &["--firmware", "cut.bin"], &["cut.bin", "KiB"]);
}

#[test]
fn kernels() {
    let lab = lab();
    for (kernel, cause) in [
        ("missing", "No such file"),
        ("folder", "directory"),
        ("nothing", "kernel"),
        ("text", "kernel"),
        ("short.elf", "cut short"),
        ("/dev/null", "ordinary file"),
    ] {
        run_refused(&lab, &["--kernel", kernel], &[kernel, cause]);
    }
    for (initrd, cause) in [("missing", "No such file"), ("folder", "directory")] {
        run_refused(
            &lab,
            &["--kernel", "pvh.elf", "--initrd", initrd],
            &[initrd, cause],
        );
    }
    // Larger than the machine.
    File::create(lab.path("initrd"))
        .unwrap()
        .set_len(20 << 20)
        .unwrap();
    run_refused(
        &lab,
        &["--memory", "16M", "--kernel", "pvh.elf", "--initrd", "initrd"],
        &["initrd", "memory", "--memory"],
    );
    run_refused(
        &lab,
        &["--memory", "1M", "--kernel", "pvh.elf"],
        &["pvh.elf", "memory", "--memory"],
    );
    let long = "x".repeat(5000);
    run_refused(
        &lab,
        &["--kernel", "pvh.elf", "--cmdline", &long],
        &["command line", "5000"],
    );
}

#[test]
fn without_the_right_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let lab = lab();
    let unreadable = ["disk.img", "pvh.elf", "firmware"];
    for name in unreadable {
        std::fs::set_permissions(lab.path(name), std::fs::Permissions::from_mode(0o000)).unwrap();
    }
    // Root may read everything: then there is nothing to see here, and the machine is left to say so.
    if File::open(lab.path("disk.img")).is_ok() {
        return;
    }
    for (option, name) in [
        ("--hda", "disk.img"),
        ("--kernel", "pvh.elf"),
        ("--firmware", "firmware"),
    ] {
        let (code, _, err) = words(&output(&mut lab.vpc(&["run", option, name])));
        assert_eq!((code, err.lines().count()), (Some(2), 1), "{err}");
        assert!(err.contains(name), "{err}");
    }
}

#[test]
fn sizes_of_memory() {
    let lab = lab();
    for (size, cause) in [
        ("0", "memory"),
        ("512K", "memory"),
        ("1025K", "whole MiB"),
        ("2T", "memory"),
        ("", "--memory"),
        ("lots", "lots"),
        ("-1", "-1"),
        ("99999999999999999999", "99999999999999999999"),
        ("16777216T", "too large"),
    ] {
        run_refused(
            &lab,
            &["--firmware", "firmware", &format!("--memory={size}")],
            &[cause],
        );
    }
}

#[test]
fn values_of_options() {
    let lab = lab();
    for (arguments, parts) in [
        (&["--boot", ""][..], &["--boot"][..]),
        (&["--boot", "x"], &["--boot", "`x`"]),
        (&["--boot", "cc"], &["--boot", "twice"]),
        (&["--serial", "tcp:1"], &["--serial", "tcp"]),
        (&["--serial", "file:"], &["--serial", "path"]),
        (&["--serial", "stdio:x"], &["--serial", "stdio"]),
        (&["--cpu-without", "warp"], &["--cpu-without", "warp"]),
        (&["--cpu-without", "1:ecx:99"], &["--cpu-without"]),
        (&["--rtc", "yesterday"], &["--rtc", "yesterday"]),
        (&["--rtc", "2026-02-30"], &["--rtc", "2026-02-30"]),
        (&["--cpus", "0"], &["--cpus", "0"]),
        (&["--cpus", "9"], &["--cpus", "9"]),
        (&["--cpus", "many"], &["--cpus", "many"]),
        (&["--irqchip", "none"], &["--irqchip", "none"]),
        (&["--warp"], &["--warp"]),
        (&["surplus"], &["surplus"]),
        (&["--hda"], &["--hda"]),
        (&["--hda", "disk.img", "--hda", "disk.img"], &["--hda"]),
    ] {
        refused(&lab, &[&["run"], arguments].concat(), parts);
    }
    refused(&lab, &["fly"], &["fly"]);
    refused(&lab, &["ctl", "control", "insert", "hd0", "x"], &["hd0"]);
    refused(&lab, &["ctl", "control", "insert", "dvd0"], &["required"]);
}

#[test]
fn options_that_exclude_each_other() {
    let lab = lab();
    for (arguments, parts) in [
        (&["--initrd", "text"][..], &["--kernel"][..]),
        (&["--cmdline", "quiet"], &["--kernel"]),
        (
            &["--kernel", "pvh.elf", "--firmware", "firmware"],
            &["--kernel", "--firmware"],
        ),
        (
            &["--kernel", "pvh.elf", "--vga-bios", "text"],
            &["--kernel", "--vga-bios"],
        ),
        (&["--dvd", "none", "--dvd", "disc.iso"], &["--dvd"]),
        (
            &[
                "--serial", "null", "--serial", "null", "--serial", "null", "--serial", "null",
            ],
            &["5 serial ports"],
        ),
        (
            &["--serial", "stdio", "--parallel", "stdio"],
            &["--parallel", "one port"],
        ),
        (
            &["--serial", "stdio", "--serial", "stdio"],
            &["--serial", "one port"],
        ),
        (&["--debug-console", "unix:x"], &["--debug-console"]),
        (
            &["--parallel", "unix:x"],
            &["--parallel", "unix:x", "only writes"],
        ),
        (&["--parallel", "pty"], &["--parallel", "pty", "only writes"]),
        (&["--serial", "file:new"], &["new", "twice"]),
        (&["--parallel", "file:./new"], &["new", "twice"]),
    ] {
        run_refused(&lab, arguments, parts);
    }
    let five = ["disc.iso"; 5].map(|iso| ["--dvd", iso]).concat();
    run_refused(
        &lab,
        &[&["--firmware", "firmware"], &five[..]].concat(),
        &["four IDE drives"],
    );
}

#[test]
fn outputs_that_would_destroy_inputs() {
    let lab = lab();
    std::fs::hard_link(lab.path("disk.img"), lab.path("link.img")).unwrap();
    for (input, output) in [
        (["--hda", "disk.img"], ["--serial", "file:disk.img"]),
        (["--hdd", "disk.img"], ["--parallel", "file:./link.img"]),
        (["--dvd", "disc.iso"], ["--text-dump", "disc.iso"]),
        (["--kernel", "pvh.elf"], ["--debug-console", "file:pvh.elf"]),
    ] {
        let name = output[1].trim_start_matches("file:");
        refused(
            &lab,
            &[&["run"], &input[..], &output].concat(),
            &[name, "reads this file"],
        );
    }
    for (arguments, parts) in [
        (["--serial", "file:folder"], ["folder", "folder"]),
        (["--serial", "file:no/log"], ["no/log", "folder"]),
        (["--serial", "unix:no/socket"], ["no/socket", "folder"]),
        (["--serial", "unix:log"], ["log", "no socket"]),
        (["--control", "log"], ["log", "no socket"]),
        (["--control", "no/socket"], ["no/socket", "folder"]),
        (["--text-dump", "folder"], ["folder", "folder"]),
        (["--text-dump", "no/screen"], ["no/screen", "folder"]),
    ] {
        refused(&lab, &[&["run"], &arguments[..]].concat(), &parts);
    }
}

#[test]
fn images_in_use() {
    let lab = lab();
    // Twice in one machine.
    for twice in [
        ["--hda", "disk.vhd", "--hdb", "disk.vhd"],
        ["--hda", "disk.img", "--hdc", "./disk.img"],
        ["--hda", "disk.img", "--dvd", "disk.img"],
    ] {
        let arguments = [&["--firmware", "firmware"], &twice[..]].concat();
        run_refused(&lab, &arguments, &[twice[3], "in use"]);
    }
    // In two machines.
    lab.write("firmware", &loader("ending-idle.img"));
    let options = vhd::CreateOptions::new();
    let undisturbed = alone();
    vhd::create::differencing(lab.path("child.vhd"), lab.path("disk.vhd"), &options).unwrap();
    drop(undisturbed);
    let machine = lab.start(&["--hda", "child.vhd", "--hdb", "disk.img", "--dvd", "disc.iso"]);
    for image in ["child.vhd", "disk.vhd", "disk.img", "disc.iso"] {
        run_refused(
            &lab,
            &["--firmware", "firmware", "--hda", image],
            &[image, "in use"],
        );
    }
    refused(
        &lab,
        &["run", "--control", "control"],
        &["control", "another process"],
    );
    // Discs are only read: two machines may.
    let iso = text(&lab.path("disc.iso")).to_owned();
    let mut second = lab.vpc(&[
        "run",
        "--firmware",
        "firmware",
        "--memory",
        "1M",
        "--dvd",
        &iso,
        "--control",
        "control2",
    ]);
    let mut second = spawn(&mut second);
    super::wait_for("the second machine", || {
        let out = output(&mut lab.vpc(&["ctl", "control2", "quit"]));
        out.status.success().then_some(())
    });
    assert_eq!(second.wait().unwrap().code(), Some(0));
    assert!(lab.ctl(&["quit"]).status.success());
    assert_eq!(machine.end().0, Some(0));
}

#[test]
fn ctl_without_a_machine() {
    let lab = lab();
    refused(
        &lab,
        &["ctl", "missing", "status"],
        &["missing", "no control socket"],
    );
    refused(&lab, &["ctl", "log", "status"], &["log"]);
    refused(&lab, &["ctl", "folder", "status"], &["folder"]);
    drop(std::os::unix::net::UnixListener::bind(lab.path("dead")).unwrap());
    refused(&lab, &["ctl", "dead", "quit"], &["dead", "has ended"]);
    // A machine takes the place of one that is gone.
    let (code, _, err) = words(&output(&mut lab.vpc(&[
        "run",
        "--memory",
        "1M",
        "--firmware",
        "firmware",
        "--control",
        "dead",
    ])));
    assert_eq!((code, &*err), (Some(0), ""));
    assert!(!lab.path("dead").exists());
}
