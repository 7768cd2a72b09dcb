// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What differs per operating system.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub mod ring;

#[cfg(target_os = "linux")]
pub use linux::{
    poll::{Interest, Notifier, PollSet, wait},
    pty::Pty,
    space::{allocate, punch},
    terminal::RawMode,
    transfer::{DirectFile, open_again, open_direct},
    usage::{peak_memory, processor_time},
};
