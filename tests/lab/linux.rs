// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Debian's kernels, started without firmware, with the tests of `tests/guests/init`.

use crate::guest::{Run, VPC, Work, ctl, insert, media};
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

#[track_caller]
fn disk(words: &[&OsStr], input: Stdio) {
    let output = Command::new(VPC)
        .arg("disk")
        .args(words)
        .stdin(input)
        .output()
        .expect("vpc disk starts");
    assert!(
        output.status.success(),
        "vpc disk {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A differencing disk on a dynamic one that holds `content`.
fn chain(work: &Work, content: &Path) -> std::path::PathBuf {
    let (base, child) = (work.path("base.vhd"), work.path("child.vhd"));
    let word = OsStr::new;
    disk(
        &[
            word("create"),
            base.as_ref(),
            word("--type"),
            word("dynamic"),
            word("--size"),
            word("64M"),
        ],
        Stdio::null(),
    );
    disk(
        &[word("write"), base.as_ref(), word("--offset"), word("0")],
        File::open(content).unwrap().into(),
    );
    let kind = word("differencing");
    disk(
        &[
            word("create"),
            child.as_ref(),
            word("--type"),
            kind,
            word("--parent"),
            base.as_ref(),
        ],
        Stdio::null(),
    );
    child
}

#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn cloud_kernel_with_either_irqchip() {
    for irqchip in ["kernel", "split"] {
        let ended = Run::new()
            .arg("--irqchip", irqchip)
            .kernel("cloud", "vpctest=hello")
            .finish();
        ended.assert_passed();
        ended.assert_says("VPCTEST machine cpus 1");
        ended.assert_says("AT Translated Set 2 keyboard");
        ended.assert_says("rtc_cmos 00:00: setting system clock");
    }
}

/// Reads and writes on every drive; the guest itself looks for resets, time-outs and lost interrupts, and for UDMA modes.
#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn media_of_a_differencing_disk_dvd_and_floppy() {
    let work = Work::new();
    let child = chain(&work, &media("disk.img"));
    let base = work.path("base.vhd");
    let before = std::fs::read(&base).unwrap();
    let floppy = work.copy("floppy-A.img");
    let ended = Run::new()
        .arg("--hda", &child)
        .arg("--dvd", media("dvd-A.iso"))
        .arg("--fda", &floppy)
        .kernel("standard", "vpctest=media vpcudma=1")
        .finish();
    ended.assert_passed();
    for step in [
        "disk:reread",
        "dvd:read",
        "floppy:reread",
        "log",
        "udma dev1.0",
        "udma dev2.0",
    ] {
        ended.assert_says(&format!("VPCTEST {step} ok"));
    }
    assert!(
        before == std::fs::read(&base).unwrap(),
        "the base disk has changed"
    );
    assert_ne!(
        std::fs::read(&floppy).unwrap(),
        std::fs::read(media("floppy-A.img")).unwrap(),
        "what the guest wrote is not on the floppy"
    );
}

/// The same by our own interrupt controllers, from a raw image.
#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn media_with_the_split_irqchip() {
    let work = Work::new();
    Run::new()
        .arg("--irqchip", "split")
        .arg("--hda", work.copy("disk.img"))
        .arg("--dvd", media("dvd-A.iso"))
        .arg("--fda", work.copy("floppy-A.img"))
        .kernel("standard", "vpctest=media vpcudma=1")
        .finish()
        .assert_passed();
}

#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn two_and_four_processors() {
    for (cpus, irqchip) in [("2", "split"), ("4", "kernel")] {
        let ended = Run::new()
            .arg("--cpus", cpus)
            .arg("--irqchip", irqchip)
            .kernel("cloud", &format!("vpctest=smp vpccpus={cpus}"))
            .finish();
        ended.assert_passed();
        ended.assert_says("VPCTEST parallel ok");
    }
}

#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn ten_swaps_of_dvd_and_floppy() {
    const SWAPS: usize = 10;
    let work = Work::new();
    let socket = work.path("control");
    let letters = ["A", "B", "C"];
    for letter in letters {
        work.copy(&format!("floppy-{letter}.img"));
    }
    let mut guest = Run::new()
        .arg("--hda", work.copy("disk.img"))
        .arg("--dvd", media("dvd-A.iso"))
        .arg("--fda", work.path("floppy-A.img"))
        .arg("--control", &socket)
        .kernel("standard", &format!("vpctest=swap vpcswaps={SWAPS}"))
        .start();
    for swap in 1..=SWAPS {
        let letter = letters[swap % letters.len()];
        guest.wait_for(&format!("VPCTEST swap ready {swap} "));
        insert(&socket, "dvd0", &media(&format!("dvd-{letter}.iso")));
        insert(&socket, "fd0", &work.path(&format!("floppy-{letter}.img")));
    }
    let ended = guest.finish();
    ended.assert_passed();
    for medium in ["dvd", "floppy"] {
        let read = format!(" {medium} read ");
        let count = ended
            .log
            .iter()
            .filter(|line| line.contains(&read) && line.ends_with(" ok"))
            .count();
        assert_eq!(count, SWAPS, "{}", ended.text());
    }
}

/// A differencing disk on virtio, with a queue for each of two processors, by either irqchip.
#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn a_virtio_disk() {
    for irqchip in ["kernel", "split"] {
        let work = Work::new();
        let child = chain(&work, &media("disk.img"));
        let ended = Run::new()
            .arg("--irqchip", irqchip)
            .arg("--cpus", "2")
            .arg("--virtio-disk", &child)
            .kernel("standard", "vpctest=media vpcdisk=vda vpcmedia=vda1")
            .finish();
        ended.assert_passed();
        ended.assert_says("VPCTEST disk:reread ok");
        let status = Command::new(VPC)
            .args(["disk", "check"])
            .arg(&child)
            .status()
            .expect("vpc disk check starts");
        assert!(status.success(), "the image is damaged");
    }
}

/// A counting guest is saved twice in the midst of its work, and goes on in another process.
#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn saved_and_restored() {
    // Many more than it gets to while it is told to save.
    const COUNT: usize = 150;
    for (irqchip, option, name) in [("kernel", "--hda", "sda"), ("split", "--virtio-disk", "vda")] {
        let work = Work::new();
        let (image, socket, state) = (work.path("disk.vhd"), work.path("control"), work.path("state"));
        let word = OsStr::new;
        let create = ["create", "--type", "dynamic", "--size", "32M"].map(word);
        disk(&[&create[..], &[image.as_ref()]].concat(), Stdio::null());
        let run = || {
            Run::new()
                .arg("--irqchip", irqchip)
                .arg("--cpus", "2")
                .arg(option, &image)
                .arg("--control", &socket)
                .kernel(
                    "standard",
                    &format!("vpctest=count vpcdisk={name} vpccount={COUNT}"),
                )
        };
        let mut said = String::new();
        let mut guest = run().start();
        for _ in 0..2 {
            guest.wait_for("VPCTEST count ");
            ctl(&socket, &[word("save"), state.as_ref()]).unwrap();
            let ended = guest.finish();
            assert!(ended.status.success(), "{}", ended.text());
            said += &ended.log.join("\n");
            guest = run().arg("--restore", &state).start();
        }
        let ended = guest.finish();
        ended.assert_clean();
        assert!(
            ended.log.iter().any(|line| line == "VPCTEST done"),
            "{}",
            ended.text()
        );
        said += &ended.log.join("\n");
        for number in 1..=COUNT {
            let times = said.matches(&format!("VPCTEST count {number}.")).count();
            assert_eq!(times, 1, "{number}: {said}");
        }
        assert!(!said.contains("FAIL"), "{said}");
        assert!(!state.exists(), "what has gone on is no state any more");
    }
}

/// Several writers at once, flushes, discards, verified by fio.
#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn fio_on_a_virtio_disk() {
    let work = Work::new();
    let image = work.path("disk.vhd");
    let word = OsStr::new;
    disk(
        &[
            word("create"),
            image.as_ref(),
            word("--type"),
            word("dynamic"),
            word("--size"),
            word("32M"),
        ],
        Stdio::null(),
    );
    let ended = Run::new()
        .arg("--memory", "512M")
        .arg("--virtio-disk", &image)
        .kernel("tools", "vpctest=virtio")
        .finish();
    ended.assert_passed();
    ended.assert_says("VPCTEST vda queue/write_cache write back");
    ended.assert_says("VPCTEST vda size 65536");
    ended.assert_says("VPCTEST end 0 /bin/fio --name=trim");
    ended.assert_says("VPCTEST end 0 /bin/fio --name=again");
    ended.assert_says("VPCTEST end 0 /bin/fio --name=give-back");
    let disk = vhd::Disk::open(&image, &vhd::OpenOptions::new().read_only(true)).unwrap();
    let blocks = disk.layers().next().unwrap().allocated_blocks();
    assert_eq!(
        blocks,
        Some(4),
        "of 16 MiB that were written, the last 8 were discarded"
    );
}

/// While it is read and written.
#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn a_virtio_disk_grows_under_load() {
    let work = Work::new();
    let (image, socket) = (work.path("disk.vhd"), work.path("control"));
    let word = OsStr::new;
    disk(
        &[
            word("create"),
            image.as_ref(),
            word("--type"),
            word("dynamic"),
            word("--size"),
            word("32M"),
        ],
        Stdio::null(),
    );
    let mut guest = Run::new()
        .arg("--memory", "512M")
        .arg("--virtio-disk", &image)
        .arg("--control", &socket)
        .kernel("tools", "vpctest=grow")
        .start();
    guest.wait_for("VPCTEST grow ready 65536");
    // Its table gets longer than the sectors that it had.
    ctl(&socket, &[word("grow"), word("virtio0"), word("1G")]).unwrap();
    let ended = guest.finish();
    ended.assert_passed();
    ended.assert_says("VPCTEST grow 65536 to 2097152");
    ended.assert_says("VPCTEST end 0 /bin/fio --name=new");
    let status = Command::new(VPC).args(["disk", "check"]).arg(&image).status();
    assert!(status.unwrap().success(), "the image is damaged");
}

/// hdparm, sg3-utils, blockdev and fio with verification on two disks and a DVD drive.
#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn tools_on_every_drive() {
    let work = Work::new();
    let second = work.path("second.vhd");
    let word = OsStr::new;
    disk(
        &[
            word("create"),
            second.as_ref(),
            word("--type"),
            word("dynamic"),
            word("--size"),
            word("32M"),
        ],
        Stdio::null(),
    );
    let ended = Run::new()
        .arg("--memory", "512M")
        .arg("--hda", work.copy("disk.img"))
        .arg("--hdb", &second)
        .arg("--dvd", media("dvd-A.iso"))
        .kernel("tools", "vpctest=tools vpcudma=1")
        .finish();
    ended.assert_passed();
    for drive in ["sda", "sdb", "sr0"] {
        ended.assert_says(&format!("VPCTEST end 0 /bin/hdparm -I /dev/{drive}"));
        ended.assert_says(&format!("VPCTEST end 0 /bin/sg_modes -a /dev/{drive}"));
        ended.assert_says(&format!("VPCTEST end 0 /bin/fio --name={drive}"));
    }
}

/// The button is an event of ACPI's: SCI, status register, Linux's button driver. The guest then switches off by ACPI as well.
#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn the_power_button_reaches_the_guest() {
    let work = Work::new();
    let socket = work.path("control");
    let mut guest = Run::new()
        .arg("--control", &socket)
        .kernel("cloud", "vpctest=button")
        .start();
    guest.wait_for("VPCTEST button ready");
    let pressed = Command::new(VPC)
        .arg("ctl")
        .arg(&socket)
        .arg("power-button")
        .status();
    assert!(pressed.unwrap().success());
    let ended = guest.finish();
    ended.assert_passed();
    ended.assert_says("VPCTEST button 1-116-1-0- ok");
}

#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn a_reboot_ends_a_machine_that_may_not_restart() {
    const RESET: i32 = 20;
    let ended = Run::new().kernel("cloud", "vpctest=reboot").finish();
    assert_eq!(ended.status.code(), Some(RESET), "{}", ended.text());
    ended.assert_says("VPCTEST reboot ok");
    ended.assert_clean();
}
