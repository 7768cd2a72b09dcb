// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pseudo-terminals.

use super::check;
use super::terminal::make_raw;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The near end of a pseudo-terminal in raw mode.
#[derive(Debug)]
pub struct Pty {
    master: OwnedFd,
    path: PathBuf,
    /// Held open: while nobody has the far end open, the near end would report a hang-up without end, and the far end's settings
    /// would be lost.
    far: File,
}

impl Pty {
    /// A new pseudo-terminal. Its near end does not block.
    pub fn open() -> io::Result<Self> {
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: takes no pointers.
        let master = check(unsafe { libc::posix_openpt(flags) })?;
        // SAFETY: `posix_openpt` gave a new descriptor that nobody else knows.
        let master = unsafe { OwnedFd::from_raw_fd(master) };
        // SAFETY: `master` is an open pseudo-terminal.
        check(unsafe { libc::grantpt(master.as_raw_fd()) })?;
        // SAFETY: as above.
        check(unsafe { libc::unlockpt(master.as_raw_fd()) })?;
        let path = far_end(&master)?;
        let far = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(&path)?;
        make_raw(&far)?;
        Ok(Self { master, path, far })
    }

    /// The device to open for the far end.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The near end. The far end counts as open while `self` lives.
    pub fn near(&self) -> io::Result<File> {
        self.master.try_clone().map(File::from)
    }

    /// The far end, as this process holds it.
    pub fn far(&self) -> &File {
        &self.far
    }
}

fn far_end(master: &OwnedFd) -> io::Result<PathBuf> {
    let mut name = [0_u8; 64];
    // SAFETY: `name` is valid for its length, and `master` is an open pseudo-terminal.
    let error = unsafe { libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr().cast(), name.len()) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let name = CStr::from_bytes_until_nul(&name).map_err(io::Error::other)?;
    Ok(PathBuf::from(name.to_string_lossy().into_owned()))
}
