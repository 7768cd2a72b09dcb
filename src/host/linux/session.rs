// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sessions of processes.

use super::check;
use std::io;

/// Leaves the terminal's session, so that neither its end nor its Ctrl-C reaches this process. It must not lead a process group.
pub fn leave_session() -> io::Result<()> {
    // SAFETY: the call takes nothing.
    check(unsafe { libc::setsid() }).map(drop)
}
