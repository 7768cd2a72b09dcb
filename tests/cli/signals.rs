// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals end a machine cleanly.

use super::Lab;
use super::support::{alone, firmware, loader, wait_for};
use std::os::unix::net::UnixStream;

#[test]
fn signals_end_every_kind_of_guest() {
    for guest in ["ending-halt.img", "ending-idle.img", "ending-spin.img"] {
        for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
            let lab = Lab::new(&loader(guest));
            let machine = lab.start(&["--serial", "unix:com1", "--serial", "pty:com2"]);
            assert!(lab.path("com1").exists() && lab.path("com2").is_symlink());
            machine.signal(signal);
            let (ended, _, err) = machine.end();
            assert_eq!(ended, Some(code), "{guest}, {signal}: {err}");
            for left in ["com1", "com2", "control"] {
                assert!(lab.path(left).symlink_metadata().is_err(), "{left} stays");
            }
        }
    }
}

#[test]
fn a_paused_machine_ends_too() {
    let lab = Lab::new(&loader("ending-spin.img"));
    let machine = lab.start(&[]);
    assert!(lab.ctl(&["pause"]).status.success());
    machine.signal("TERM");
    assert_eq!(machine.end().0, Some(143));
}

/// A guest writes a sector and then spins; the signal comes before any flush command.
#[test]
fn what_the_guest_wrote_is_in_the_image() {
    let lab = Lab::new(&firmware("write"));
    let path = lab.path("disk.vhd");
    let undisturbed = alone();
    vhd::create::dynamic(&path, 4 << 20, &vhd::CreateOptions::new()).unwrap();
    drop(undisturbed);
    let machine = lab.start(&["--hda", "disk.vhd", "--debug-console", "file:log"]);
    wait_for("the guest's write", || {
        let log = std::fs::read(lab.path("log")).unwrap_or_default();
        log.ends_with(b"written\r\n").then_some(())
    });
    machine.signal("INT");
    let (code, _, err) = machine.end();
    assert_eq!(code, Some(130), "{err}");
    let _undisturbed = alone();
    let disk = vhd::Disk::open(&path, &vhd::OpenOptions::new()).unwrap();
    let mut sector = [0; 512];
    disk.read_at(5 * 512, &mut sector).unwrap();
    assert!(sector.iter().all(|byte| *byte == b'W'));
}

/// A far end that reads nothing, or has gone, holds nobody up.
#[test]
fn a_stuck_console_does_not_hold_up_the_end() {
    let lab = Lab::new(&firmware("counter"));
    let machine = lab.start(&["--serial", "unix:com1", "--serial", "unix:com2"]);
    let stuck = UnixStream::connect(lab.path("com2")).unwrap();
    let gone = UnixStream::connect(lab.path("com1")).unwrap();
    drop(gone);
    machine.signal("TERM");
    assert_eq!(machine.end().0, Some(143));
    drop(stuck);
}
