// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Linux: waiting for descriptors, pseudo-terminals, terminal modes and file space.

pub mod poll;
pub mod pty;
pub mod session;
pub mod space;
pub mod terminal;
pub mod volume;

use std::io;

/// The result of a system call that tells failure by −1 and `errno`.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
