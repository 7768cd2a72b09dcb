// SPDX-License-Identifier: Apache-2.0 OR MIT
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::host::{Interest, Pty, wait};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Marks the process that [`run`] starts.
const CHILD: &str = "VPC_TEST_STDIO";

/// No test of its own: what [`run`] runs. It prints what it receives to the port.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let mut backend = Backend::open(&Spec::Stdio).unwrap();
    assert!(matches!(Backend::open(&Spec::Stdio), Err(OpenError::StdioTaken)));
    backend.output.push(b"<begin>");
    let input = backend.input.as_mut().unwrap();
    loop {
        wait(&[(input.as_source(), Interest::Read)], None).unwrap();
        let mut buffer = [0; 64];
        match input.read(&mut buffer).unwrap() {
            Received::Bytes(count) => backend.output.push(&buffer[..count]),
            Received::Nothing => {}
            Received::End => break backend.output.push(b"<end>"),
            Received::Quit => break backend.output.push(b"<quit>"),
        }
    }
}

/// The running [`child`] and what it has printed.
struct Running {
    child: std::process::Child,
    printed: Vec<u8>,
}

impl Running {
    fn new(stdin: impl Into<Stdio>) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "console::backend::stdio::tests::child", "--nocapture"])
            .env(CHILD, "1")
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            printed: Vec::new(),
        }
    }

    /// Reads until `mark` is there, and takes what stands before it.
    fn until(&mut self, mark: &[u8]) -> Vec<u8> {
        let stdout = self.child.stdout.as_mut().unwrap();
        loop {
            if let Some(at) = self.printed.windows(mark.len()).position(|window| window == mark) {
                let rest = self.printed.split_off(at + mark.len());
                let mut before = std::mem::replace(&mut self.printed, rest);
                before.truncate(at);
                return before;
            }
            let ready = wait(&[(stdout.as_fd(), Interest::Read)], Some(Duration::from_secs(30))).unwrap();
            assert!(ready[0], "nothing arrives");
            let mut buffer = [0; 256];
            let count = stdout.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "{}", String::from_utf8_lossy(&self.printed));
            self.printed.extend(&buffer[..count]);
        }
    }

    fn succeeds(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn a_terminal_has_an_escape_key() {
    let pty = Pty::open().unwrap();
    let mut near = pty.near().unwrap();
    let mut running = Running::new(pty.far().try_clone().unwrap());
    running.until(b"<begin>");
    near.write_all(b"a\x03\x01\x01b").unwrap();
    assert_eq!(running.until(b"b"), b"a\x03\x01");
    near.write_all(b"\x01h").unwrap();
    assert_eq!(running.until(HELP.as_bytes()), b"");
    near.write_all(b"\x01x").unwrap();
    assert_eq!(running.until(b"<quit>"), b"");
    running.succeeds();
}

#[test]
fn a_pipe_is_passed_on_as_it_is() {
    let mut running = Running::new(Stdio::piped());
    running.until(b"<begin>");
    running.child.stdin.take().unwrap().write_all(b"a\x01xb").unwrap();
    assert_eq!(running.until(b"<end>"), b"a\x01xb");
    running.succeeds();
}

#[test]
fn files_and_dev_null_end() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"from a file").unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    for (stdin, contents) in [(Stdio::null(), &b""[..]), (file.into(), b"from a file")] {
        let mut running = Running::new(stdin);
        running.until(b"<begin>");
        assert_eq!(running.until(b"<end>"), contents);
        running.succeeds();
    }
}
