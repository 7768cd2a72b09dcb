// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine with a name, from its creation to its end, with Debian in it.

use crate::guest::{VPC, Work, media};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The longest that the guest takes for anything. (In the lab an instruction takes a hundred times its usual time.)
const PATIENCE: Duration = Duration::from_secs(240);

struct Session {
    work: Work,
    /// What the guest has said to processes that have ended.
    said: String,
}

impl Session {
    /// `vpc` for a user of this session's own.
    fn vpc(&self, words: &[&dyn AsRef<OsStr>]) -> Result<String, String> {
        let mut command = Command::new(VPC);
        for (variable, folder) in [
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_RUNTIME_DIR", "run"),
        ] {
            command.env(variable, self.work.path(folder));
        }
        for word in words {
            command.arg(word.as_ref());
        }
        let output = command.output().expect("vpc starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    #[track_caller]
    fn ok(&self, words: &[&dyn AsRef<OsStr>]) -> String {
        self.vpc(words).unwrap_or_else(|why| panic!("{why}"))
    }

    /// What the guest has said to the process that there is.
    fn console(&self) -> String {
        let bytes = std::fs::read(self.work.path("com1")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[track_caller]
    fn wait_for(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.console().contains(what) {
            assert!(
                Instant::now() < deadline,
                "`{what}` did not come; the console:\n{}",
                self.console()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The numbers that the guest has counted to for the process that there is.
    fn counted(&self) -> Vec<u32> {
        numbers(&self.console())
    }

    /// Waits until the guest has counted on.
    #[track_caller]
    fn wait_for_more(&self) {
        let seen = self.counted().len();
        let deadline = Instant::now() + PATIENCE;
        while self.counted().len() < seen + 2 {
            assert!(Instant::now() < deadline, "{}", self.console());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Puts another medium into a drive. While the guest has a disc mounted it locks the drive: then it is asked again, as a person would.
    #[track_caller]
    fn swap(&self, drive: &str, medium: &Path) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(why) = self.vpc(&[&drive, &"xp", &"release"]) {
            assert!(Instant::now() < deadline, "{why}");
            std::thread::sleep(Duration::from_millis(100));
        }
        self.ok(&[&drive, &"xp", &"attach", &medium]);
    }
}

fn numbers(console: &str) -> Vec<u32> {
    let lines = console
        .lines()
        .filter_map(|line| line.strip_prefix("VPCTEST alive "));
    lines
        .filter_map(|rest| rest.trim_end().strip_suffix('.')?.parse().ok())
        .collect()
}

/// The image of a disk whose boot loader starts Debian with the test that counts, in place of the one that looks at media.
fn counting(work: &Work) -> std::path::PathBuf {
    let image = work.copy("disk.img");
    let mut bytes = std::fs::read(&image).unwrap();
    let (old, new) = (b"vpctest=media", b"vpctest=alive");
    let at = bytes.windows(old.len()).position(|there| there == old);
    bytes[at.expect("GRUB's configuration")..][..new.len()].copy_from_slice(new);
    std::fs::write(&image, bytes).unwrap();
    image
}

#[test]
#[ignore = "needs a KVM that runs ordinary kernels: scripts/test"]
fn a_session_with_a_machine_that_has_a_name() {
    let mut session = Session {
        work: Work::new(),
        said: String::new(),
    };
    let raw = counting(&session.work);
    let disk = session.work.path("disk.vhd");
    session.ok(&[&"disk", &"convert", &raw, &disk, &"--to", &"dynamic"]);
    session.ok(&[&"create", &"xp", &"--memory", &"256"]);
    session.ok(&[&"set", &"xp", &"--undoable", &"yes"]);
    session.ok(&[&"hd", &"xp", &"attach", &disk]);
    session.ok(&[&"dvd", &"xp", &"attach", &media("dvd-A.iso")]);
    let floppies = ["A", "B"].map(|letter| session.work.copy(&format!("floppy-{letter}.img")));
    let serial = session.work.path("com1");
    session.ok(&[&"serial", &"xp", &"1", &"file", &serial]);
    session.ok(&[&"start", &"xp"]);
    session.wait_for("VPCTEST alive 1.");
    // Firmware would have started from it.
    session.ok(&[&"floppy", &"xp", &"attach", &floppies[0]]);
    for what in ["dvd VPC_DVD_A ok", "floppy VPCFLOPPY_A ok"] {
        session.wait_for(&format!("VPCTEST {what}"));
    }
    // With the guest at work.
    session.swap("dvd", &media("dvd-B.iso"));
    session.swap("floppy", &floppies[1]);
    for what in ["dvd VPC_DVD_B ok", "floppy VPCFLOPPY_B ok"] {
        session.wait_for(&format!("VPCTEST {what}"));
    }

    session.ok(&[&"pause", &"xp"]);
    let still = session.counted();
    assert!(session.ok(&[&"show", &"xp"]).contains("paused"));
    assert_eq!(session.counted(), still);
    session.ok(&[&"resume", &"xp"]);
    session.wait_for_more();

    session.ok(&[&"save", &"xp"]);
    session.said += &session.console();
    assert!(session.ok(&[&"show", &"xp"]).contains("saved"));
    session.ok(&[&"start", &"xp"]);
    session.wait_for_more();
    session.said += &session.console();
    let counted = numbers(&session.said);
    let expected: Vec<u32> = (1..=counted.len() as u32).collect();
    assert_eq!(counted, expected, "nothing is missed, nothing is done twice");
    assert!(!session.said.contains("FAIL"), "{}", session.said);

    let content = || std::fs::read(&disk).unwrap();
    let before = content();
    session.ok(&[&"stop", &"xp", &"--undo", &"discard"]);
    assert!(before == content(), "what was discarded is on the disk");
    session.ok(&[&"floppy", &"xp", &"release"]);
    std::fs::write(&serial, "").unwrap();
    session.ok(&[&"start", &"xp"]);
    session.wait_for("VPCTEST alive 2.");
    session.ok(&[&"stop", &"xp", &"--undo", &"commit"]);
    assert!(before != content(), "what was committed is not on the disk");
    session.ok(&[&"disk", &"check", &disk]);
    session.ok(&[&"delete", &"xp"]);
    assert!(disk.exists());
}
