// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The built program: what it says to bad input, how it ends, and its control socket.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/control.rs"]
mod control;
#[path = "cli/signals.rs"]
mod signals;
#[allow(dead_code)]
#[path = "support/support.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use support::wait_for;

/// Starts a program.
fn spawn(command: &mut Command) -> Child {
    let _undisturbed = support::alone();
    command.spawn().unwrap()
}

/// Runs a program to its end.
fn output(command: &mut Command) -> Output {
    spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
        .wait_with_output()
        .unwrap()
}

/// `vpc` with arguments, without the environment's log level.
fn vpc<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vpc"));
    command.env_remove("VPC_LOG").args(arguments).stdin(Stdio::null());
    command
}

fn words(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A folder with what a machine needs to run a guest of a few bytes.
struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    /// With a firmware image named `firmware`.
    fn new(firmware: &[u8]) -> Self {
        let lab = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        lab.write("firmware", firmware);
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// `vpc` in this folder.
    fn vpc(&self, arguments: &[&str]) -> Command {
        let mut command = vpc(arguments);
        command.current_dir(self.folder.path());
        command
    }

    /// Starts a machine in the background, with a control socket named `control`.
    fn start(&self, arguments: &[&str]) -> Running {
        let all = [
            &[
                "run",
                "--memory",
                "2M",
                "--firmware",
                "firmware",
                "--control",
                "control",
            ],
            arguments,
        ]
        .concat();
        let child = spawn(self.vpc(&all).stdout(Stdio::piped()).stderr(Stdio::piped()));
        let mut running = Running { child };
        wait_for("the control socket", || {
            if let Some(status) = running.child.try_wait().unwrap() {
                panic!("the machine ended: {status}");
            }
            self.ctl(&["status"]).status.success().then_some(())
        });
        running
    }

    fn ctl(&self, arguments: &[&str]) -> Output {
        output(&mut self.vpc(&[&["ctl", "control"], arguments].concat()))
    }

    /// All files with their contents; a socket has none.
    fn contents(&self) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let mut files: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let bytes = path.is_file().then(|| std::fs::read(&path).unwrap());
                (path, bytes)
            })
            .collect();
        files.sort();
        files
    }
}

/// A running program; killed if a test leaves it.
struct Running {
    child: Child,
}

impl Running {
    /// Waits for its end.
    fn end(mut self) -> (Option<i32>, String, String) {
        let status = wait_for("the end of the machine", || self.child.try_wait().unwrap());
        let read = |pipe: &mut dyn std::io::Read| {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let out = read(&mut self.child.stdout.take().unwrap());
        let err = read(&mut self.child.stderr.take().unwrap());
        (status.code(), out, err)
    }

    fn signal(&self, name: &str) {
        let done = output(Command::new("kill").args(["-s", name, &self.child.id().to_string()]));
        assert!(done.status.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit codes that README.md lists for `vpc host`.
const HOST_CODES: [i32; 8] = [0, 10, 11, 12, 13, 14, 15, 16];

#[test]
fn host_for_people() {
    let (code, out, err) = words(&output(&mut vpc(["host"])));
    assert!(HOST_CODES.contains(&code.unwrap()), "{code:?}");
    assert_eq!(err, "");
    for part in ["machines can run", "ordinary kernels", "processor"] {
        assert!(out.contains(part), "{out}");
    }
    assert_eq!(out.contains("cause"), code != Some(0), "{out}");
    assert_eq!(out.contains("remedy"), code != Some(0), "{out}");
}

#[test]
fn host_as_json() {
    let (code, out, err) = words(&output(&mut vpc(["host", "--json"])));
    assert_eq!(err, "");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["exit_code"].as_i64(), code.map(i64::from));
    let available = report["available"].as_bool().unwrap();
    assert_eq!(available, matches!(code, Some(0 | 16)), "{out}");
    assert_eq!(
        report["ordinary_kernels"].as_bool(),
        Some(code == Some(0)),
        "{out}"
    );
    assert_eq!(report["cause"].is_string(), code != Some(0), "{out}");
    assert_eq!(report["result"].is_object(), !available, "{out}");
    assert_eq!(
        !report["capabilities"].as_array().unwrap().is_empty(),
        available,
        "{out}"
    );
}

#[test]
fn exit_codes_tell_how_the_guest_ended() {
    for (guest, more, code, words) in [
        ("hello.img", &[][..], 0, ""),
        (
            "ending-reset-cf9.img",
            &["--no-reboot"],
            20,
            "vpc: the guest reset the machine\n",
        ),
        (
            "ending-triple-fault.img",
            &["--no-reboot"],
            21,
            "triple fault\nrax ",
        ),
    ] {
        let lab = Lab::new(&support::loader(guest));
        let all = [&["run", "--memory", "1M", "--firmware", "firmware"], more].concat();
        let (ended, _, err) = self::words(&output(&mut lab.vpc(&all)));
        assert_eq!(ended, Some(code), "{guest}: {err}");
        assert!(err.contains(words), "{guest}: {err}");
        assert_eq!(err.is_empty(), words.is_empty(), "{guest}: {err}");
    }
}

#[test]
fn what_the_guest_says_reaches_files_and_the_terminal() {
    let lab = Lab::new(&support::loader("hello.img"));
    let arguments = [
        "run",
        "--memory",
        "1M",
        "--firmware",
        "firmware",
        "--serial",
        "stdio",
        "--debug-console",
        "file:debug",
        "--text-dump",
        "screen",
        "--serial",
        "file:com2",
    ];
    lab.write("debug", b"old contents, which go");
    let (code, out, err) = words(&output(&mut lab.vpc(&arguments)));
    assert_eq!((code, &*err), (Some(0), ""));
    assert_eq!(out, "hello from the boot sector\r\n");
    assert_eq!(std::fs::read(lab.path("debug")).unwrap(), out.as_bytes());
    assert_eq!(std::fs::read(lab.path("com2")).unwrap(), b"");
    assert!(lab.path("screen").is_file());
}

/// A path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
