// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What differs per operating system.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{
    poll::{Interest, Notifier, PollSet, wait},
    pty::Pty,
    session::leave_session,
    space::{allocate, free_space, punch},
    terminal::RawMode,
    volume::volume,
};
