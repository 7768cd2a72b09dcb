// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Linux: waiting for descriptors, pseudo-terminals, terminal modes, signals, files, transfers, and kernels without firmware.

pub mod events;
pub mod files;
pub mod guest;
pub mod kernel;
pub mod poll;
pub mod pty;
pub mod session;
pub mod signals;
pub mod space;
pub mod stdio;
pub mod terminal;
pub mod transfer;
pub mod uring;
pub mod usage;
pub mod virtio;
pub mod volume;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// What can be waited for: a descriptor.
pub type Source<'a> = BorrowedFd<'a>;

impl<T: AsFd> super::AsSource for T {
    fn as_source(&self) -> Source<'_> {
        self.as_fd()
    }
}

/// The result of a system call that tells failure by −1 and `errno`.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
