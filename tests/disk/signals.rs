// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals in the middle of long operations: nothing half-done is left, one line says so, and the exit code names the signal.
//!
//! The middle is when the operation has read or written a file some times, of which inotify tells.

use crate::lab::{Lab, pattern};
use inotify::{EventMask, Inotify, WatchMask};
use std::collections::HashMap;
use std::io::Read;
use std::process::{Command, Stdio};

/// Bytes of data that an operation works on. It takes many times as long as the signal needs to get there.
const DATA: usize = 96 << 20;
/// A signal may come too late all the same; then the operation is done, and is tried again.
const TRIES: usize = 8;

/// Everything in the folder, by a checksum.
fn files(lab: &Lab) -> HashMap<String, u64> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let names = lab.names().into_iter();
    names
        .filter_map(|name| {
            let mut hasher = DefaultHasher::new();
            std::fs::read(lab.path(&name)).ok()?.hash(&mut hasher);
            Some((name, hasher.finish()))
        })
        .collect()
}

/// What an operation does to a file while it is in its middle.
#[derive(Clone, Copy, PartialEq)]
enum Sign {
    /// It writes to its draft.
    Draft,
    /// It makes its draft.
    NewDraft,
    /// It writes to this file.
    Writes(&'static str),
    /// It reads this file.
    Reads(&'static str),
}

impl Sign {
    fn mask(self) -> WatchMask {
        match self {
            Self::NewDraft => WatchMask::CREATE,
            Self::Draft | Self::Writes(_) => WatchMask::MODIFY,
            Self::Reads(_) => WatchMask::ACCESS,
        }
    }

    fn fits(self, name: &str) -> bool {
        match self {
            Self::Draft | Self::NewDraft => name.ends_with(".new"),
            Self::Writes(file) | Self::Reads(file) => name == file,
        }
    }
}

struct Ended {
    code: Option<i32>,
    stderr: String,
}

/// Runs `vpc disk` and sends it a signal when it gives a sign; tells how it ended.
fn stop(lab: &Lab, words: &str, sign: Sign, signal: &str) -> Ended {
    let mut inotify = Inotify::init().unwrap();
    // The end of the process is told too: of all files that it has open.
    let mask = sign.mask() | WatchMask::CLOSE;
    inotify.watches().add(lab.path("."), mask).unwrap();
    // Whoever started the tests may ignore signals, which a program inherits.
    let mut child = Command::new("env")
        .arg("--default-signal=INT,TERM,HUP")
        .arg(env!("CARGO_BIN_EXE_vpc"))
        .arg("disk")
        .args(words.split_whitespace())
        .current_dir(lab.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let needed = match sign {
        Sign::NewDraft => 1,
        Sign::Draft | Sign::Writes(_) => 3,
        // It is opened and looked at before the operation begins.
        Sign::Reads(_) => 12,
    };
    let mut count = 0;
    let mut buffer = [0; 16384];
    while count < needed && child.try_wait().unwrap().is_none() {
        for event in inotify.read_events_blocking(&mut buffer).unwrap() {
            let name = event.name.and_then(|name| name.to_str()).unwrap_or_default();
            let wanted = EventMask::CREATE | EventMask::MODIFY | EventMask::ACCESS;
            count += usize::from(event.mask.intersects(wanted) && sign.fits(name));
        }
    }
    let pid = child.id().to_string();
    // One that has ended already cannot be told.
    let _ = Command::new("kill")
        .args([&format!("-{signal}"), &pid])
        .stderr(Stdio::null())
        .status();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let code = child.wait().unwrap().code();
    Ended { code, stderr }
}

/// Stops an operation in its middle, and looks at what is left.
fn stops(make: impl Fn() -> Lab, words: &str, sign: Sign, check: impl Fn(&Lab, &HashMap<String, u64>)) {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let stopped = (0..TRIES).any(|_| {
            let lab = make();
            let before = files(&lab);
            let ended = stop(&lab, words, sign, signal);
            // Too late, or too early: before there was anything that a signal could leave behind it ends the program at once.
            if matches!(ended.code, None | Some(0 | 1)) {
                nothing_half_done(&lab, &before);
                return false;
            }
            assert_eq!(ended.code, Some(code), "{words}, {signal}: {}", ended.stderr);
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
            assert!(ended.stderr.contains("stopped by signal"), "{}", ended.stderr);
            check(&lab, &before);
            true
        });
        assert!(stopped, "{words}, {signal}: it was always faster");
    }
}

fn nothing_half_done(lab: &Lab, before: &HashMap<String, u64>) {
    let drafts = |name: &String| name.ends_with(".new") && !before.contains_key(name);
    assert!(!lab.names().iter().any(drafts), "{:?}", lab.names());
}

fn nothing_changed(lab: &Lab, before: &HashMap<String, u64>) {
    assert_eq!(&files(lab), before);
}

fn large() -> Lab {
    let lab = Lab::new();
    lab.ok("create large.vhd --type dynamic --size 128M");
    lab.write("large.vhd", 0, &pattern(DATA, 1));
    lab
}

fn raw() -> Lab {
    let lab = Lab::new();
    std::fs::write(lab.path("large.raw"), pattern(DATA, 1)).unwrap();
    lab
}

fn chain() -> Lab {
    let lab = Lab::new();
    lab.ok("create base.vhd --type dynamic --size 128M");
    lab.write("base.vhd", 0, &pattern(1 << 20, 1));
    lab.ok("create child.vhd --type differencing --parent base.vhd");
    lab.write("child.vhd", 0, &pattern(DATA, 2));
    lab
}

#[test]
fn a_conversion_leaves_nothing() {
    stops(
        raw,
        "convert large.raw new.vhd --to dynamic",
        Sign::Draft,
        nothing_changed,
    );
    stops(
        large,
        "convert large.vhd new.vhd --to fixed",
        Sign::Draft,
        nothing_changed,
    );
    stops(
        large,
        "convert large.vhd new.raw --to raw",
        Sign::Draft,
        nothing_changed,
    );
    stops(
        chain,
        "merge child.vhd --to new.vhd",
        Sign::Draft,
        nothing_changed,
    );
}

#[test]
fn folders_that_were_made_are_removed() {
    let words = "convert large.raw new/deep/new.vhd --to dynamic";
    stops(raw, words, Sign::Reads("large.raw"), |lab, before| {
        nothing_changed(lab, before);
        assert!(!lab.path("new").exists());
    });
}

#[test]
fn a_new_version_that_is_not_complete_is_removed() {
    stops(large, "compact large.vhd", Sign::Draft, nothing_changed);
    stops(large, "resize large.vhd 100M", Sign::Draft, nothing_changed);
    stops(
        || {
            let lab = chain();
            lab.ok("create other.vhd --type dynamic --size 128M");
            lab
        },
        "rebase child.vhd other.vhd",
        Sign::Draft,
        nothing_changed,
    );
}

/// The chain reads the same, and the merge can be done again.
#[test]
fn a_merge_can_be_taken_up_again() {
    stops(
        chain,
        "merge child.vhd",
        Sign::Writes("base.vhd"),
        |lab, before| {
            let mut names: Vec<&String> = before.keys().collect();
            names.sort();
            assert_eq!(lab.names().iter().collect::<Vec<_>>(), names);
            assert!(lab.read("child.vhd", 0, DATA as u64) == pattern(DATA, 2));
            lab.ok("merge child.vhd");
            assert!(lab.read("base.vhd", 0, DATA as u64) == pattern(DATA, 2));
            assert_eq!(lab.names(), ["base.vhd"]);
        },
    );
}

#[test]
fn a_new_image_is_complete_or_not_there() {
    let words = "create new.vhd --type fixed --size 4G";
    stops(Lab::new, words, Sign::NewDraft, nothing_changed);
}

#[test]
fn a_disc_is_complete_or_not_there() {
    let make = || {
        let lab = Lab::new();
        std::fs::create_dir(lab.path("folder")).unwrap();
        std::fs::write(lab.path("folder/large"), pattern(DATA, 1)).unwrap();
        lab
    };
    let words = "create new.iso --type iso --from folder";
    stops(make, words, Sign::Draft, nothing_changed);
}

#[test]
fn a_comparison_changes_nothing() {
    let make = || {
        let lab = raw();
        std::fs::write(lab.path("other.raw"), pattern(DATA, 1)).unwrap();
        lab
    };
    stops(
        make,
        "compare large.raw other.raw",
        Sign::Reads("other.raw"),
        nothing_changed,
    );
}

/// A signal is how a server is ended: it is no failure.
#[test]
fn a_server_ends_cleanly() {
    for signal in ["INT", "TERM"] {
        let lab = Lab::new();
        lab.ok("create disk.vhd --type dynamic --size 16M");
        lab.write("disk.vhd", 0, &pattern(4 << 20, 1));
        let before = files(&lab);
        let mut inotify = Inotify::init().unwrap();
        inotify.watches().add(lab.path("."), WatchMask::CREATE).unwrap();
        let mut child = Command::new("env")
            .arg("--default-signal=INT,TERM,HUP")
            .arg(env!("CARGO_BIN_EXE_vpc"))
            .args(["disk", "serve", "disk.vhd", "--socket", "socket"])
            .current_dir(lab.path("."))
            .spawn()
            .unwrap();
        // The socket.
        let _ = inotify.read_events_blocking(&mut [0; 4096]).unwrap().count();
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{signal}"), &pid])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        assert_eq!(files(&lab), before, "{signal}");
    }
}

/// `nohup` means that the end of a session does not end the work.
#[test]
fn signals_that_are_ignored_stay_ignored() {
    let lab = raw();
    let script = "trap '' HUP INT; exec \"$0\" disk convert large.raw new.vhd --to dynamic";
    let mut inotify = Inotify::init().unwrap();
    inotify.watches().add(lab.path("."), WatchMask::MODIFY).unwrap();
    let mut child = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_vpc")])
        .current_dir(lab.path("."))
        .spawn()
        .unwrap();
    let _ = inotify.read_events_blocking(&mut [0; 4096]).unwrap().count();
    let pid = child.id().to_string();
    for signal in ["-HUP", "-INT"] {
        let _ = Command::new("kill")
            .args([signal, &pid])
            .stderr(Stdio::null())
            .status();
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    lab.ok("compare large.raw new.vhd");
}
