// SPDX-License-Identifier: Apache-2.0 OR MIT
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::super::backend::Backend;
use super::super::serial::SerialPort;
use super::*;
use crate::console::Output;
use crate::host::{EventLoop, Interest, wait};
use devices::bus::Device;
use devices::line::IrqLine;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

type Port = SerialPort<Output>;

/// A guest's port behind a Unix socket, and the event loop between them.
struct Bench {
    _directory: tempfile::TempDir,
    path: std::path::PathBuf,
    port: Arc<Mutex<Port>>,
    manager: EventLoop<Attachment>,
    _drain: super::super::Drain,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("com1");
        let backend = Backend::open(&super::super::Spec::Unix(path.clone())).unwrap();
        let room = Arc::new(Notifier::new().unwrap());
        let raise = room.clone();
        let port = Arc::new(Mutex::new(SerialPort::new(
            IrqLine::detached(),
            backend.output,
            move || {
                raise.notify();
            },
        )));
        lock(&port).write_byte(2, 0x01);
        let attachment = Attachment::new(backend.input.unwrap(), port.clone(), room, || {});
        let manager = EventLoop::new(vec![attachment]).unwrap();
        Self {
            _directory: directory,
            path,
            port,
            manager,
            _drain: backend.drain.unwrap(),
        }
    }

    /// Runs the event loop until `done`.
    fn run_until(&mut self, mut done: impl FnMut(&mut Port) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done(&mut lock(&self.port)) {
            assert!(Instant::now() < deadline, "nothing happens");
            self.manager.run(Some(Duration::from_secs(1))).unwrap();
        }
    }

    /// Runs the event loop until nothing is to be done.
    fn settle(&mut self) {
        while self.manager.run(Some(Duration::ZERO)).unwrap() > 0 {}
    }
}

fn data_ready(port: &mut Port) -> bool {
    port.read_byte(5) & 1 != 0
}

/// What the guest finds in its receiver.
fn drain(port: &mut Port) -> Vec<u8> {
    let mut bytes = Vec::new();
    while data_ready(port) {
        bytes.push(port.read_byte(0));
    }
    bytes
}

fn read_some(client: &mut UnixStream) -> Vec<u8> {
    let ready = wait(&[(client.as_fd(), Interest::Read)], Some(Duration::from_secs(30))).unwrap();
    assert!(ready[0], "nothing arrives");
    let mut buffer = [0; 256];
    let count = client.read(&mut buffer).unwrap();
    buffer[..count].to_vec()
}

#[test]
fn input_waits_in_the_far_end_until_the_guest_reads() {
    let mut b = Bench::new();
    let mut client = UnixStream::connect(&b.path).unwrap();
    let text: Vec<u8> = (0..2000_u32).map(|i| (i * 7) as u8).collect();
    client.write_all(&text).unwrap();
    // The port takes sixteen, and then the event loop has nothing to do although there is more.
    b.run_until(data_ready);
    b.settle();
    let mut heard = drain(&mut lock(&b.port));
    assert_eq!(heard, &text[..16]);
    b.run_until(|port| {
        heard.extend(drain(port));
        heard.len() >= text.len()
    });
    assert!(heard == text);
}

#[test]
fn both_ways_and_one_client_after_the_other() {
    let mut b = Bench::new();
    for byte in b"early " {
        lock(&b.port).write_byte(0, *byte);
    }
    let mut first = UnixStream::connect(&b.path).unwrap();
    let mut second = UnixStream::connect(&b.path).unwrap();
    second.write_all(b"2").unwrap();
    b.settle();
    // What was written before anyone came is there for the first client.
    let mut seen = read_some(&mut first);
    while seen.len() < 6 {
        seen.extend(read_some(&mut first));
    }
    assert_eq!(seen, b"early ");
    first.write_all(b"1").unwrap();
    b.run_until(data_ready);
    assert_eq!(drain(&mut lock(&b.port)), b"1");
    // The second one's turn comes when the first has gone.
    drop(first);
    b.run_until(data_ready);
    assert_eq!(drain(&mut lock(&b.port)), b"2");
    lock(&b.port).write_byte(0, b'!');
    assert_eq!(read_some(&mut second), b"!");
}

#[test]
fn a_client_that_has_no_more_to_say_may_still_listen() {
    let mut b = Bench::new();
    let mut client = UnixStream::connect(&b.path).unwrap();
    client.write_all(b"x").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    b.run_until(data_ready);
    b.settle();
    lock(&b.port).write_byte(0, b'y');
    assert_eq!(read_some(&mut client), b"y");
    // When it has gone for good there is room for the next.
    drop(client);
    let mut next = UnixStream::connect(&b.path).unwrap();
    next.write_all(b"z").unwrap();
    drain(&mut lock(&b.port));
    b.run_until(data_ready);
    assert_eq!(drain(&mut lock(&b.port)), b"z");
}

/// An input with a script, always ready.
struct Script {
    ready: Notifier,
    interactive: bool,
    steps: std::vec::IntoIter<Received>,
}

impl AsFd for Script {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

impl Input for Script {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<Received> {
        buffer.fill(b's');
        self.steps.next().ok_or_else(|| std::io::ErrorKind::Other.into())
    }

    fn interactive(&self) -> bool {
        self.interactive
    }
}

/// A port with FIFOs, an input that does `steps`, and the event loop. It also tells how often the user asked to quit.
fn scripted(
    interactive: bool,
    steps: Vec<Received>,
) -> (Arc<Mutex<Port>>, EventLoop<Attachment>, Arc<AtomicUsize>) {
    let ready = Notifier::new().unwrap();
    ready.notify();
    let script = Script {
        ready,
        interactive,
        steps: steps.into_iter(),
    };
    let quits = Arc::new(AtomicUsize::new(0));
    let count = quits.clone();
    let room = Arc::new(Notifier::new().unwrap());
    let raise = room.clone();
    let port = Arc::new(Mutex::new(SerialPort::new(
        IrqLine::detached(),
        Output::null(),
        move || raise.notify(),
    )));
    lock(&port).write_byte(2, 0x01);
    let attachment = Attachment::new(Box::new(script), port.clone(), room, move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let manager = EventLoop::new(vec![attachment]).unwrap();
    (port, manager, quits)
}

#[test]
fn quit_is_passed_on_and_the_end_is_the_end() {
    let (port, mut manager, quits) = scripted(
        false,
        vec![
            Received::Bytes(3),
            Received::Nothing,
            Received::Quit,
            Received::End,
            Received::Bytes(5),
        ],
    );
    // Once for the bytes, once for the rest; then the input is no longer watched.
    assert_eq!(manager.run(Some(Duration::ZERO)).unwrap(), 1);
    assert_eq!(manager.run(Some(Duration::ZERO)).unwrap(), 1);
    assert_eq!(manager.run(Some(Duration::ZERO)).unwrap(), 0);
    assert_eq!(quits.load(Ordering::Relaxed), 1);
    assert_eq!(drain(&mut lock(&port)), b"sss");
}

#[test]
fn commands_are_heard_while_the_guest_reads_nothing() {
    // More than the type-ahead, and then the command to quit.
    let mut steps = vec![Received::Bytes(CHUNK); 2 * TYPE_AHEAD / CHUNK];
    steps.extend([Received::Quit, Received::End]);
    let (port, mut manager, quits) = scripted(true, steps.clone());
    while manager.run(Some(Duration::ZERO)).unwrap() > 0 {}
    assert_eq!(quits.load(Ordering::Relaxed), 1);
    // What was typed ahead arrives when the guest reads.
    let mut heard = drain(&mut lock(&port)).len();
    while manager.run(Some(Duration::ZERO)).unwrap() > 0 {
        heard += drain(&mut lock(&port)).len();
    }
    assert_eq!(heard, TYPE_AHEAD + 16);
    // From anything but a terminal it waits.
    let (_port, mut manager, quits) = scripted(false, steps);
    while manager.run(Some(Duration::ZERO)).unwrap() > 0 {}
    assert_eq!(quits.load(Ordering::Relaxed), 0);
}
