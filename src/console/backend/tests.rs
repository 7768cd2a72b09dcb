// SPDX-License-Identifier: Apache-2.0 OR MIT
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

fn open(spec: &str) -> Result<Backend, OpenError> {
    Backend::open(&spec.parse().unwrap())
}

fn until_ready(fd: BorrowedFd<'_>) {
    let ready = wait(&[(fd, Interest::Read)], Some(Duration::from_secs(30))).unwrap();
    assert!(ready[0], "nothing arrives");
}

/// Reads until `count` bytes are there.
fn hear(input: &mut dyn Input, count: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    while heard.len() < count {
        until_ready(input.as_source());
        let mut buffer = [0; 64];
        match input.read(&mut buffer).unwrap() {
            Received::Bytes(count) => heard.extend(&buffer[..count]),
            Received::Nothing => {}
            other => panic!("{other:?}"),
        }
    }
    heard
}

fn read_exactly(mut file: impl Read + AsFd, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let mut have = 0;
    while have < count {
        until_ready(file.as_fd());
        have += file.read(&mut bytes[have..]).unwrap();
    }
    bytes
}

#[test]
fn null_has_no_far_end() {
    let backend = open("null").unwrap();
    backend.output.push(b"x");
    assert!(backend.input.is_none() && backend.drain.is_none());
}

#[test]
fn a_file_holds_everything_when_the_machine_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    std::fs::write(&path, "old contents").unwrap();
    let backend = open(&format!("file:{}", path.display())).unwrap();
    assert!(backend.input.is_none());
    for i in 0..1000 {
        backend.output.push(format!("{i}\n").as_bytes());
    }
    drop(backend);
    let expected: String = (0..1000).map(|i| format!("{i}\n")).collect();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn a_file_that_cannot_be_made_is_named() {
    let error = open("file:/proc/none/log").err().unwrap();
    assert_eq!(error.to_string(), "cannot create '/proc/none/log'");
    assert!(matches!(error, OpenError::File { .. }));
}

#[test]
fn a_full_disk_is_counted() {
    let backend = open("file:/dev/full").unwrap();
    backend.output.push(b"lost");
    let output = backend.output.clone();
    drop(backend);
    assert_eq!(output.dropped(), 4);
}

#[test]
fn a_pseudo_terminal_is_a_plain_wire() {
    let mut backend = open("pty").unwrap();
    let path = backend.terminal.clone().unwrap();
    let far = File::options().read(true).write(true).open(&path).unwrap();
    let all: Vec<u8> = (0..=255).collect();
    backend.output.push(&all);
    assert_eq!(read_exactly(&far, 256), all);
    (&far).write_all(&all).unwrap();
    let input = &mut **backend.input.as_mut().unwrap();
    assert_eq!(hear(input, 256), all);
    // The far end comes and goes, and nothing hangs up.
    drop(far);
    assert_eq!(input.read(&mut [0; 8]).unwrap(), Received::Nothing);
    let far = File::options().read(true).write(true).open(&path).unwrap();
    backend.output.push(b"again");
    assert_eq!(read_exactly(&far, 5), b"again");
}

#[test]
fn a_link_leads_to_the_pseudo_terminal_while_it_lives() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("com1");
    // What a killed process left behind.
    std::os::unix::fs::symlink("/dev/pts/none", &link).unwrap();
    let backend = open(&format!("pty:{}", link.display())).unwrap();
    assert_eq!(Some(link.read_link().unwrap()), backend.terminal);
    drop(backend);
    assert!(link.symlink_metadata().is_err());
}

#[test]
fn foreign_files_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine");
    std::fs::write(&path, "precious").unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for spec in [
        format!("pty:{}", path.display()),
        format!("pty:{}", link.display()),
        format!("unix:{}", path.display()),
        format!("unix:{}", link.display()),
    ] {
        assert!(matches!(open(&spec), Err(OpenError::Exists(_))), "{spec}");
    }
    assert_eq!(std::fs::read(&link).unwrap(), b"precious");
}

#[test]
fn a_socket_is_removed_with_the_back_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("com1");
    let spec = format!("unix:{}", path.display());
    // A socket that nobody listens on is replaced.
    drop(UnixListener::bind(&path).unwrap());
    let backend = open(&spec).unwrap();
    assert!(matches!(open(&spec), Err(OpenError::SocketInUse(_))));
    UnixStream::connect(&path).unwrap();
    drop(backend);
    assert!(path.symlink_metadata().is_err());
    // One that somebody else put in its place is not removed.
    let backend = open(&spec).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(backend);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_socket_path_that_is_too_long_is_an_error() {
    let error = open(&format!("unix:/tmp/{}", "x".repeat(200))).err().unwrap();
    assert!(matches!(error, OpenError::Socket { .. }));
}

#[test]
fn output_survives_a_client_that_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("com1");
    let mut backend = open(&format!("unix:{}", path.display())).unwrap();
    let input = &mut **backend.input.as_mut().unwrap();
    let client = UnixStream::connect(&path).unwrap();
    until_ready(input.as_source());
    input.read(&mut []).unwrap();
    backend.output.push(b"one");
    assert_eq!(read_exactly(&client, 3), b"one");
    drop(client);
    // The writer thread finds the client gone and keeps its bytes.
    backend.output.push(b"two");
    let client = UnixStream::connect(&path).unwrap();
    let mut heard = [0; 3];
    let mut have = 0;
    while have < 3 {
        // Both ends move on: the event loop's half takes the new client when it has let the old one go.
        let sources = [
            (input.as_source(), Interest::Read),
            (client.as_fd(), Interest::Read),
        ];
        let ready = wait(&sources, Some(Duration::from_secs(30))).unwrap();
        assert!(ready.contains(&true), "nothing arrives");
        if ready[1] {
            have += (&client).read(&mut heard[have..]).unwrap();
        } else {
            input.read(&mut [0; 8]).unwrap();
        }
    }
    assert_eq!(&heard, b"two");
    assert_eq!(backend.output.dropped(), 0);
}
