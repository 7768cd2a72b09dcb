// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Windows: events and waiting, files, the console, its signals, and named pipes.

pub mod events;
pub mod files;
pub mod guest;
pub mod kernel;
pub mod pipe;
pub mod pty;
pub mod signals;
pub mod stdio;
pub mod transfer;
pub mod uring;
pub mod usage;
pub mod virtio;
pub mod volume;
pub mod wait;

use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::path::Path;

/// What can be waited for: a handle.
pub type Source<'a> = BorrowedHandle<'a>;

impl<T: AsHandle> super::AsSource for T {
    fn as_source(&self) -> Source<'_> {
        self.as_handle()
    }
}

/// The result of a call that tells failure by FALSE and `GetLastError`.
fn check(result: windows_sys::core::BOOL) -> io::Result<()> {
    if result == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A path as Windows' calls take it.
fn wide(path: &Path) -> Vec<u16> {
    path.as_os_str().encode_wide().chain([0]).collect()
}
