// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What takes special files.

use super::*;

#[test]
fn the_hosts_errors_come_back() {
    let full = || {
        let full = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/full")
            .unwrap();
        vec![cached(&full)]
    };
    both(&full, &|mut ring| {
        let memory = Buffer::zeroed(512, 1);
        let error = one(&mut ring, write(0, slice(&memory, 0..512))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        // A failure ends its own request only.
        one(&mut ring, read(0, slice(&memory, 0..512))).unwrap();
    });
    let read_only = || vec![cached(&File::open("/dev/null").unwrap())];
    both(&read_only, &|mut ring| {
        let memory = Buffer::zeroed(512, 1);
        let error = one(&mut ring, write(0, slice(&memory, 0..512))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    });
}

#[test]
fn a_wait_ends_when_it_is_woken() {
    // Nothing comes out of an empty pipe, so that only the notifier can end the wait.
    let mut pipe = [0; 2];
    // SAFETY: `pipe` has room for both descriptors.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    // SAFETY: the descriptors are new and nobody else's.
    let (reader, writer) = pipe
        .map(|fd| unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(fd) })
        .into();
    let direct = RingFile {
        file: reader,
        // So that the blocking way is not tried first.
        caching: Caching::Direct,
    };
    let mut ring = Ring::new(DEPTH, vec![direct]);
    let wake = Notifier::new().unwrap();
    if ring.kind() == Kind::Uring {
        let memory = Buffer::zeroed(1, 1);
        ring.push(1, read(0, slice(&memory, 0..1))).unwrap();
        for _ in 0..3 {
            wake.notify();
            ring.wait(Some(&wake)).unwrap();
            assert!(ring.next().is_none());
            wake.clear();
        }
        std::io::Write::write_all(&mut &writer, b"x").unwrap();
        let mut found = None;
        while found.is_none() {
            ring.wait(Some(&wake)).unwrap();
            found = ring.next();
        }
        assert_eq!(found.unwrap().token, 1);
    }
    wake.notify();
    ring.wait(Some(&wake)).unwrap();
    let mut blocking = Ring::blocking(DEPTH, Vec::new());
    blocking.wait(Some(&wake)).unwrap();
    blocking.wait(None).unwrap();
}
