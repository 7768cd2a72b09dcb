// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waiting for file descriptors.

use super::check;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// What a descriptor is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something can be read, or the other end is gone.
    Read,
    /// Something can be written, or the other end is gone.
    Write,
}

/// Waits until one of `sources` is ready, for `timeout` at most; tells for each of them whether it is. After a signal it returns
/// early with none ready, as after the time-out.
pub fn wait(sources: &[(BorrowedFd<'_>, Interest)], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polls: Vec<libc::pollfd> = sources
        .iter()
        .map(|(fd, interest)| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: match interest {
                Interest::Read => libc::POLLIN,
                Interest::Write => libc::POLLOUT,
            },
            revents: 0,
        })
        .collect();
    // Rounded up, so that a short time-out does not become a busy loop.
    let millis = timeout.map_or(-1, |timeout| {
        timeout.as_micros().div_ceil(1000).try_into().unwrap_or(i32::MAX)
    });
    // SAFETY: `polls` is a valid array of its length, and the descriptors in it are borrowed for the duration of the call.
    let result = check(unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, millis) });
    match result {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(vec![false; sources.len()]),
        Err(error) => Err(error),
        Ok(_) => Ok(polls.iter().map(|poll| poll.revents != 0).collect()),
    }
}

fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: the system call that gave `fd` succeeded, and nobody else knows the descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A flag that threads can wait for together with other descriptors: readable while it is raised.
#[derive(Debug)]
pub struct Notifier(OwnedFd);

impl Notifier {
    /// A flag that is down.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(Self)
    }

    /// Raises the flag.
    pub fn notify(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: `one` is valid for its length. The result does not matter: the only failure is a full counter, and then the flag
        // is up already.
        let _ = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes the flag down.
    pub fn clear(&self) {
        let mut count = [0; 8];
        // SAFETY: `count` is valid for its length. The result does not matter: the only failure is a flag that is down already.
        let _ = unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Notifier {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Several descriptors that are waited for through one. A descriptor leaves the set when it is closed.
#[derive(Debug)]
pub struct PollSet(OwnedFd);

impl PollSet {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Self)
    }

    /// Adds `fd`: the set is readable while `fd` is, or while its other end is gone.
    pub fn add(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN)
    }

    /// From now on only the other end's disappearance counts, not what can be read from `fd`.
    pub fn ignore_input(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, 0)
    }

    /// Takes `fd` out.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0)
    }

    fn control(&self, operation: libc::c_int, fd: BorrowedFd<'_>, events: libc::c_int) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: fd.as_raw_fd() as u64,
        };
        // SAFETY: `event` is valid for the duration of the call, and both descriptors are open.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd.as_raw_fd(), &mut event) }).map(drop)
    }
}

impl AsFd for PollSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn ready(fd: &impl AsFd) -> bool {
        wait(&[(fd.as_fd(), Interest::Read)], Some(Duration::ZERO)).unwrap()[0]
    }

    #[test]
    fn a_notifier_stays_up_until_it_is_cleared() {
        let notifier = Notifier::new().unwrap();
        assert!(!ready(&notifier));
        notifier.notify();
        notifier.notify();
        assert!(ready(&notifier) && ready(&notifier));
        notifier.clear();
        assert!(!ready(&notifier));
        notifier.clear();
    }

    #[test]
    fn wait_tells_which() {
        let (mut a, b) = UnixStream::pair().unwrap();
        let sources = [
            (a.as_fd(), Interest::Read),
            (b.as_fd(), Interest::Read),
            (b.as_fd(), Interest::Write),
        ];
        assert_eq!(wait(&sources, None).unwrap(), [false, false, true]);
        a.write_all(b"x").unwrap();
        let sources = [(a.as_fd(), Interest::Read), (b.as_fd(), Interest::Read)];
        assert_eq!(wait(&sources, None).unwrap(), [false, true]);
    }

    #[test]
    fn a_set_is_ready_while_one_of_its_members_is() {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        let set = PollSet::new().unwrap();
        set.add(b.as_fd()).unwrap();
        assert!(!ready(&set));
        a.write_all(b"x").unwrap();
        assert!(ready(&set));
        set.ignore_input(b.as_fd()).unwrap();
        assert!(!ready(&set));
        b.read_exact(&mut [0]).unwrap();
        // The other end's disappearance counts all the same.
        drop(a);
        assert!(ready(&set));
        set.remove(b.as_fd()).unwrap();
        assert!(!ready(&set));
    }
}
