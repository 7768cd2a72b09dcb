// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Boot code from the field, started by SeaBIOS.

use crate::guest::{Ended, Run, Work, ctl, media};
use std::time::{Duration, Instant};

#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn grub_from_a_dvd_boots_debian() {
    let ended = Run::new()
        .arg("--dvd", media("grub.iso"))
        .arg("--boot", "d")
        .finish();
    ended.assert_says("VPCTEST grub from the DVD");
    ended.assert_says("VPCTEST hello ok");
    ended.assert_passed();
}

/// From an IDE disk `scripts/demo` starts it.
#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn grub_from_a_virtio_disk_boots_debian() {
    let work = Work::new();
    let ended = Run::new()
        .arg("--virtio-disk", work.copy("disk.img"))
        .arg("--dvd", media("dvd-A.iso"))
        .arg("--fda", work.copy("floppy-A.img"))
        .arg("--boot", "c")
        .finish();
    ended.assert_says("VPCTEST disk:reread ok");
    ended.assert_passed();
}

#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn grub_from_a_floppy_reads_a_file() {
    let work = Work::new();
    let ended = Run::new()
        .arg("--fda", work.copy("grub-floppy.img"))
        .arg("--boot", "a")
        .finish();
    ended.assert_says("VPCTEST grub from the floppy");
    ended.assert_says("VPCTEST a file on the floppy");
    // GRUB's `halt` switches off by the BIOS' power management.
    assert_eq!(ended.status.code(), Some(0), "{}", ended.text());
}

#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn memtest86_starts_from_a_floppy() {
    let work = Work::new();
    let socket = work.path("control");
    let mut guest = Run::new()
        .arg("--fda", work.copy("memtest-floppy.img"))
        .arg("--boot", "a")
        .arg("--memory", "32M")
        .arg("--control", &socket)
        .start();
    guest.wait_for("VPCTEST memtest86+ from the floppy");
    guest.wait_for("Memtest86+");
    guest.wait_for("Memory");
    quit(guest, &socket);
}

/// iPXE talks on the screen only.
#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn ipxe_starts_from_a_floppy() {
    let work = Work::new();
    let floppy = work.copy("ipxe-floppy.img");
    let socket = work.path("control");
    let mut guest = Run::new()
        .arg("--fda", &floppy)
        .arg("--boot", "a")
        .arg("--memory", "64M")
        .arg("--control", &socket)
        .start();
    guest.wait_for("VPCTEST iPXE from the floppy");
    // How long it takes to start is the host's affair.
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        let screen = ctl(&socket, &["screen".as_ref()]).unwrap();
        if screen.contains("Open Source Network Boot Firmware") {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "iPXE did not start; the screen:\n{screen}"
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    quit(guest, &socket);
}

fn quit(guest: crate::guest::Guest, socket: &std::path::Path) -> Ended {
    ctl(socket, &["quit".as_ref()]).unwrap();
    let ended = guest.finish();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.text());
    ended
}
