// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc ctl` and the control socket behind it.

use super::support::{firmware, guest, loader, wait_for};
use super::{Lab, text, words};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

/// A machine whose guest does nothing.
fn idle() -> Lab {
    Lab::new(&loader("ending-idle.img"))
}

fn status(lab: &Lab) -> serde_json::Value {
    let (code, out, err) = words(&lab.ctl(&["--json", "status"]));
    assert_eq!((code, &*err), (Some(0), ""));
    serde_json::from_str(&out).unwrap()
}

fn ok(lab: &Lab, arguments: &[&str]) {
    let (code, out, err) = words(&lab.ctl(arguments));
    assert_eq!((code, &*out, &*err), (Some(0), "", ""), "{arguments:?}");
}

fn refused(lab: &Lab, arguments: &[&str], parts: &[&str]) {
    let (code, out, err) = words(&lab.ctl(arguments));
    assert_eq!((code, &*out), (Some(2), ""), "{arguments:?}: {err}");
    assert_eq!(err.lines().count(), 1, "{arguments:?}: {err}");
    assert!(err.starts_with("vpc: "), "{err}");
    for part in parts {
        assert!(err.contains(part), "without `{part}`: {err}");
    }
}

#[test]
fn the_life_of_a_machine() {
    let lab = Lab::new(&firmware("counter"));
    let machine = lab.start(&["--cpus", "2"]);
    let mode = std::fs::metadata(lab.path("control"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "the socket is its user's alone");
    let (code, out, _) = words(&lab.ctl(&["status"]));
    assert_eq!(code, Some(0));
    for part in ["running", "processors  2", "memory      2 MiB", "dvd0", "fd0"] {
        assert!(out.contains(part), "{out}");
    }
    assert_eq!(
        words(&lab.ctl(&["screen"])).1,
        "(the screen is off or in a graphics mode)\n"
    );
    ok(&lab, &["pause"]);
    assert_eq!(status(&lab)["state"], "paused");
    let seconds = status(&lab)["seconds"].as_f64();
    assert_eq!(status(&lab)["seconds"].as_f64(), seconds);
    ok(&lab, &["resume"]);
    assert_eq!(status(&lab)["state"], "running");
    ok(&lab, &["reset"]);
    assert_eq!(status(&lab)["resets"], 1);
    ok(&lab, &["quit"]);
    let (code, _, err) = machine.end();
    assert_eq!((code, &*err), (Some(0), ""));
    assert!(!lab.path("control").exists());
}

#[test]
fn media() {
    let lab = idle();
    lab.write("disc.iso", &[1; 40 << 10]);
    lab.write("a.img", &vec![1; 1440 << 10]);
    let machine = lab.start(&["--fdb", "empty"]);
    // A relative path counts from where the command is given.
    ok(&lab, &["insert", "dvd0", "disc.iso"]);
    ok(&lab, &["insert", "fd0", "a.img"]);
    let drives = status(&lab)["drives"].clone();
    assert_eq!(drives[0]["medium"], text(&lab.path("disc.iso")), "{drives}");
    assert_eq!(drives[1]["medium"], text(&lab.path("a.img")), "{drives}");
    for (arguments, parts) in [
        (["insert", "dvd1", "disc.iso"], ["no drive", "dvd1"]),
        (["insert", "dvd0", "missing.iso"], ["missing.iso", "no image"]),
        (["insert", "dvd0", "."], ["folder", "DVD"]),
        (["insert", "dvd0", "/dev/null"], ["/dev/null", "DVD"]),
        (["insert", "fd0", "missing.img"], ["missing.img", "no image"]),
        (["insert", "fd0", "."], ["folder", "diskette"]),
        (["insert", "fd0", "disc.iso"], ["disc.iso", "diskette"]),
        // Two drives cannot write one file.
        (["insert", "fd1", "a.img"], ["a.img", "in use"]),
    ] {
        refused(&lab, &arguments, &parts);
    }
    // What was refused has changed nothing.
    assert_eq!(status(&lab)["drives"], drives);
    ok(&lab, &["eject", "dvd0"]);
    ok(&lab, &["eject", "fd0"]);
    refused(&lab, &["eject", "dvd0"], &["dvd0 is empty"]);
    refused(&lab, &["eject", "fd0"], &["fd0 is empty"]);
    // The image is free again.
    ok(&lab, &["insert", "fd1", "a.img"]);
    // In place of what is there.
    let other = guest("dvdsum.iso");
    ok(&lab, &["insert", "dvd0", "disc.iso"]);
    ok(&lab, &["insert", "dvd0", text(&other)]);
    assert_eq!(status(&lab)["drives"][0]["medium"], text(&other));
    ok(&lab, &["quit"]);
    assert_eq!(machine.end().0, Some(0));
}

#[test]
fn the_power_button() {
    let lab = Lab::new(&loader("ending-power-button.img"));
    let machine = lab.start(&["--debug-console", "file:log"]);
    let log = || std::fs::read_to_string(lab.path("log")).unwrap_or_default();
    wait_for("the guest", || log().contains("waiting").then_some(()));
    ok(&lab, &["power-button"]);
    assert_eq!(machine.end().0, Some(0));
    assert!(log().ends_with("\r\npower button\r\n"), "{}", log());
}

/// Sends bytes and gives the first line that comes back, if one does.
fn say(lab: &Lab, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(lab.path("control")).unwrap();
    stream.set_read_timeout(Some(super::support::PATIENCE)).unwrap();
    // The machine may hang up before it has heard all of it.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut line = String::new();
    let _ = BufReader::new(stream).read_line(&mut line);
    line
}

#[test]
fn malformed_requests_harm_nobody() {
    let lab = idle();
    let machine = lab.start(&[]);
    let long = [b'x'; 1 << 20];
    let padded = [&b"{\"command\":\"quit\""[..], &[b' '; 1 << 20], b"}\n"].concat();
    let deep = [b'['; 60_000];
    for bad in [
        &b"\n"[..],
        b"\0\xff\xfe\n",
        b"{}\n",
        b"[1,2\n",
        b"quit\n",
        b"{\"command\":\"fly\"}\n",
        b"{\"command\":\"eject\",\"drive\":\"dvd0\",\"now\":true}\n",
        b"{\"command\":\"insert\",\"drive\":\"dvd9\",\"path\":\"/x\"}\n",
        b"{\"command\":\"insert\",\"drive\":\"dvd0\"}\n",
        // Half a line is no command, even if it would make one.
        b"{\"command\":\"quit\"}",
        b"{\"comm",
        &long,
        &padded,
        &deep,
    ] {
        let answer = say(&lab, bad);
        let what = String::from_utf8_lossy(&bad[..bad.len().min(60)]).into_owned();
        // A client that was cut off may not see why.
        if bad.len() < 60_000 {
            let answer: serde_json::Value =
                serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{what}: {e}: {answer}"));
            assert_eq!(
                answer["failed"]["cause"]["error"], "malformed",
                "{what}: {answer}"
            );
        }
        assert_eq!(status(&lab)["state"], "running", "{what}");
    }
    // One connection may go on after a mistake.
    let mut stream = UnixStream::connect(lab.path("control")).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    stream.write_all(b"nonsense\n{\"command\":\"pause\"}\n").unwrap();
    assert!(lines.next().unwrap().unwrap().contains("malformed"));
    assert!(lines.next().unwrap().unwrap().contains("ok"));
    // In pieces.
    for piece in [&b"{\"command\""[..], b":\"resu", b"me\"}", b"\n"] {
        stream.write_all(piece).unwrap();
    }
    assert!(lines.next().unwrap().unwrap().contains("ok"));
    assert_eq!(status(&lab)["state"], "running");
    ok(&lab, &["quit"]);
    assert_eq!(machine.end().0, Some(0));
}

#[test]
fn many_connections() {
    let lab = idle();
    let machine = lab.start(&[]);
    let threads = || {
        let tasks = format!("/proc/{}/task", machine.child.id());
        std::fs::read_dir(tasks).unwrap().count()
    };
    let before = threads();
    let silent: Vec<_> = (0..200)
        .filter_map(|_| UnixStream::connect(lab.path("control")).ok())
        .collect();
    // Those above the limit are hung up on: they see the end.
    let mut last = silent.last().unwrap();
    last.set_read_timeout(Some(super::support::PATIENCE)).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap(), 0);
    assert!(threads() <= before + 20, "{} threads, {before} before", threads());
    drop(silent);
    wait_for("room", || lab.ctl(&["status"]).status.success().then_some(()));
    // A signal ends the machine though clients say nothing.
    let _idle: Vec<_> = (0..5)
        .map(|_| UnixStream::connect(lab.path("control")).unwrap())
        .collect();
    machine.signal("TERM");
    assert_eq!(machine.end().0, Some(143));
}
