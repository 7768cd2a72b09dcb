// SPDX-License-Identifier: Apache-2.0 OR MIT
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::host::Pty;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// There is one raw terminal in a process, so the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A terminal as a shell leaves it.
fn cooked() -> Pty {
    let pty = Pty::open().unwrap();
    let mut mode = get(pty.far().as_fd()).unwrap();
    mode.c_lflag |= libc::ICANON | libc::ECHO | libc::ISIG;
    mode.c_iflag |= libc::ICRNL;
    mode.c_oflag |= libc::OPOST | libc::ONLCR;
    set(pty.far().as_fd(), &mode).unwrap();
    pty
}

fn is_raw(pty: &Pty) -> bool {
    let mode = get(pty.far().as_fd()).unwrap();
    let local = mode.c_lflag & (libc::ICANON | libc::ECHO | libc::ISIG);
    assert!(local == 0 || local == libc::ICANON | libc::ECHO | libc::ISIG);
    // Line feeds keep going to the left margin.
    assert_ne!(mode.c_oflag & libc::OPOST, 0);
    local == 0
}

#[test]
fn the_guard_takes_and_gives_back() {
    let _turn = turn();
    let pty = cooked();
    let raw = RawMode::enter(pty.far().as_fd()).unwrap();
    assert!(is_raw(&pty));
    let other = cooked();
    assert_eq!(
        RawMode::enter(other.far().as_fd()).unwrap_err().kind(),
        io::ErrorKind::ResourceBusy
    );
    assert!(!is_raw(&other));
    drop(raw);
    assert!(!is_raw(&pty));
    drop(RawMode::enter(other.far().as_fd()).unwrap());
}

#[test]
fn what_is_no_terminal_is_refused() {
    let _turn = turn();
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(RawMode::enter(file.as_fd()).is_err());
    // The failure left nothing behind.
    drop(RawMode::enter(cooked().far().as_fd()).unwrap());
}

#[test]
fn a_panic_gives_the_terminal_back_before_anything_unwinds() {
    let _turn = turn();
    let pty = cooked();
    let raw = RawMode::enter(pty.far().as_fd()).unwrap();
    // On another thread, so that only the hook can have done it.
    std::thread::spawn(|| panic!("a panic for the test"))
        .join()
        .unwrap_err();
    assert!(!is_raw(&pty));
    drop(raw);
}

/// Runs this test binary again, in a new session, with a raw terminal as its standard input, and lets it end by `how`.
fn end_by(how: &str) -> (bool, Option<i32>) {
    let pty = cooked();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "host::linux::terminal::tests::child", "--nocapture"])
        .env(CHILD, how)
        .stdin(pty.far().try_clone().unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = command.status().unwrap();
    (is_raw(&pty), status.signal())
}

/// Tells the child how to end.
const CHILD: &str = "VPC_TEST_TERMINAL_END";

/// No test of its own: what [`end_by`] runs.
#[test]
fn child() {
    let Ok(how) = std::env::var(CHILD) else {
        return;
    };
    // A deliberate crash must leave no core file behind.
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `none` is valid for the duration of the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) }).unwrap();
    // Whoever started the tests may ignore a signal (nohup does), and that is inherited.
    for signal in ENDING {
        set_default(signal);
    }
    let stdin = io::stdin();
    let _raw = RawMode::enter(stdin.as_fd()).unwrap();
    let raw = get(stdin.as_fd()).unwrap();
    assert_eq!(raw.c_lflag & libc::ICANON, 0);
    match how.as_str() {
        "abort" => std::process::abort(),
        "fault" => {
            // SAFETY: takes no pointers. A fault that someone sends: the handler ends in the action from before.
            unsafe { libc::raise(libc::SIGSEGV) };
            // SAFETY: as above. Now there is the standard library's handler, which puts the default action in.
            unsafe { libc::raise(libc::SIGSEGV) };
            // SAFETY: as above.
            unsafe { libc::raise(libc::SIGSEGV) };
        }
        signal => {
            // SAFETY: takes no pointers.
            unsafe { libc::raise(signal.parse().unwrap()) };
        }
    }
    panic!("still alive");
}

#[test]
fn signals_that_end_the_process_give_the_terminal_back() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        assert_eq!(end_by(&signal.to_string()), (false, Some(signal)));
    }
    assert_eq!(end_by("abort"), (false, Some(libc::SIGABRT)));
    assert_eq!(end_by("fault"), (false, Some(libc::SIGSEGV)));
}
