// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What differs per operating system. Each system's module brings the same names; here, and where [`crate::hypervisor::open`] picks a
//! back end, are the only places that ask which system it is.

#[cfg(target_os = "linux")]
mod linux;
pub mod ring;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(target_os = "windows")]
use windows as system;

#[cfg(target_os = "linux")]
pub use linux::{
    Source,
    events::{EventLoop, Waker},
    files::{
        FileId, allocated, file_id, file_of, is_device_name, is_drive, is_executable, is_socket, link_id,
        restrict, symlink,
    },
    guest::BENCH_GUEST,
    kernel,
    poll::{Interest, Notifier, PollSet, wait},
    pty::Pty,
    session::leave_session,
    signals::{on_end, on_stop},
    space::{allocate, data_from, free_space, punch, start_sync},
    stdio::{StandardInput, standard_output},
    terminal::RawMode,
    transfer::{open_again, open_direct},
    usage::{memory_of, peak_memory, processor_time},
    virtio,
    volume::volume,
};
#[cfg(target_os = "linux")]
pub use std::os::unix::net::{UnixListener as LocalListener, UnixStream as LocalStream};

#[cfg(target_os = "windows")]
mod windows;
#[cfg(target_os = "windows")]
pub use windows::{
    Source,
    events::{EventLoop, Waker},
    files::{
        FileId, allocate, allocated, data_from, file_id, file_of, is_device_name, is_drive, is_executable,
        is_socket, link_id, punch, restrict, start_sync, symlink,
    },
    guest::BENCH_GUEST,
    kernel,
    pipe::{LocalListener, LocalStream},
    pty::Pty,
    signals::{on_end, on_stop},
    stdio::{RawMode, StandardInput, standard_output},
    transfer::{open_again, open_direct},
    usage::{memory_of, peak_memory, processor_time},
    virtio,
    volume::volume,
    wait::{Interest, Notifier, PollSet, wait},
};

/// Something that can be waited for ([`wait`], [`EventLoop`]).
pub trait AsSource {
    /// What the operating system waits for.
    fn as_source(&self) -> Source<'_>;
}

/// What an [`EventLoop`] serves.
pub trait Subscriber: Send {
    /// What it waits for now; asked again after each [`ready`](Subscriber::ready). A source keeps its place while it is waited for.
    fn sources(&self) -> Vec<Source<'_>>;
    /// Source number `index` is ready. It is told again for as long as that is so.
    fn ready(&mut self, index: usize);
}
