// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Waiting for handles.

use super::Source;
use std::convert::Infallible;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::time::Duration;
use windows_sys::Win32::Foundation::{HANDLE, WAIT_FAILED, WAIT_OBJECT_0};
use windows_sys::Win32::System::SystemServices::MAXIMUM_WAIT_OBJECTS;
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, ResetEvent, SetEvent, WaitForMultipleObjects, WaitForSingleObject,
};

/// What a handle is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something can be read, or the other end is gone: the handle is signalled.
    Read,
    /// Something can be written. Writes wait by themselves here, so that is always so.
    Write,
}

/// Waits until one of `sources` is ready, for `timeout` at most; tells for each of them whether it is.
pub fn wait(sources: &[(Source<'_>, Interest)], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let handles: Vec<HANDLE> = sources
        .iter()
        .filter(|(_, interest)| *interest == Interest::Read)
        .map(|(source, _)| source.as_raw_handle())
        .collect();
    if handles.len() > MAXIMUM_WAIT_OBJECTS as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let now = handles.len() < sources.len();
    // Rounded up, so that a short time-out does not become a busy loop.
    let millis = match timeout {
        _ if now => 0,
        None => INFINITE,
        Some(timeout) => timeout
            .as_micros()
            .div_ceil(1000)
            .try_into()
            .unwrap_or(INFINITE - 1),
    };
    if handles.is_empty() {
        std::thread::sleep(Duration::from_millis(u64::from(millis)));
    } else {
        // SAFETY: the array is valid for its length, and the handles in it are borrowed for the duration of the call.
        let result = unsafe { WaitForMultipleObjects(handles.len() as u32, handles.as_ptr(), 0, millis) };
        if result == WAIT_FAILED {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(sources
        .iter()
        .map(|(source, interest)| *interest == Interest::Write || is_signalled(*source))
        .collect())
}

fn is_signalled(source: Source<'_>) -> bool {
    // SAFETY: the handle is borrowed for the duration of the call, which does not wait.
    unsafe { WaitForSingleObject(source.as_raw_handle(), 0) == WAIT_OBJECT_0 }
}

/// A flag that threads can wait for together with other handles: signalled while it is raised.
#[derive(Debug)]
pub struct Notifier(OwnedHandle);

impl Notifier {
    /// A flag that is down.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no name and no attributes; the event is reset by hand and begins unsignalled.
        let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
        if event.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call gave a new handle that nobody else knows.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(event) }))
    }

    /// Raises the flag.
    pub fn notify(&self) {
        // SAFETY: the handle is an open event, for which the call does not fail.
        unsafe { SetEvent(self.0.as_raw_handle()) };
    }

    /// Takes the flag down.
    pub fn clear(&self) {
        // SAFETY: as in `notify`.
        unsafe { ResetEvent(self.0.as_raw_handle()) };
    }
}

impl AsHandle for Notifier {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// Several handles that are waited for through one: Windows has no such thing, so there is none.
#[derive(Debug)]
pub struct PollSet(Infallible);

impl PollSet {
    /// Fails.
    pub fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Cannot be called.
    pub fn add(&self, _source: Source<'_>) -> io::Result<()> {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn ignore_input(&self, _source: Source<'_>) -> io::Result<()> {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn remove(&self, _source: Source<'_>) -> io::Result<()> {
        match self.0 {}
    }
}

impl AsHandle for PollSet {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_notifier_stays_up_until_it_is_cleared() {
        let (one, other) = (Notifier::new().unwrap(), Notifier::new().unwrap());
        let ready = || {
            let sources = [
                (one.as_handle(), Interest::Read),
                (other.as_handle(), Interest::Read),
            ];
            wait(&sources, Some(Duration::ZERO)).unwrap()
        };
        assert_eq!(ready(), [false, false]);
        other.notify();
        other.notify();
        assert_eq!(ready(), [false, true]);
        assert_eq!(ready(), [false, true]);
        other.clear();
        assert_eq!(ready(), [false, false]);
    }
}
