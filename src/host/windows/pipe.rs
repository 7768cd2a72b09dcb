// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Named pipes in the shape of the standard library's Unix sockets, as far as this program uses them.
//!
//! All calls are overlapped and waited for, so that reads and writes can have a time-out.

use super::wait::{Interest, Notifier, wait};
use super::{check, wide};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_NO_DATA, ERROR_PIPE_BUSY,
    ERROR_PIPE_CONNECTED, ERROR_PIPE_NOT_CONNECTED, GENERIC_READ, GENERIC_WRITE, HANDLE,
    INVALID_HANDLE_VALUE, LocalFree,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, OPEN_EXISTING, PIPE_ACCESS_DUPLEX,
    ReadFile, SECURITY_IDENTIFICATION, SECURITY_SQOS_PRESENT, WriteFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, DisconnectNamedPipe, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE,
    PIPE_UNLIMITED_INSTANCES, WaitNamedPipeW,
};

/// What all pipes' names begin with.
const PREFIX: &[u8] = br"\\.\pipe\";
/// Bytes that the system keeps each way.
const BUFFER: u32 = 64 << 10;
/// How long a client waits for a server that is busy with another one, in milliseconds.
const BUSY_MILLIS: u32 = 5000;
/// The owner and the system may do everything, others nothing.
const OWNER_ONLY: &str = "D:P(A;;GA;;;SY)(A;;GA;;;OW)";

/// The server's side of a named pipe.
#[derive(Debug)]
pub struct LocalListener {
    name: Vec<u16>,
    /// The end that the next client gets. There is always one, so that the name stays ours and a client finds it.
    next: Mutex<OwnedHandle>,
}

impl LocalListener {
    /// Makes the pipe, for this user only.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if !path.as_os_str().as_encoded_bytes().starts_with(PREFIX) {
            let why = r"the name of a pipe begins with \\.\pipe\";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let name = wide(path);
        let first = instance(&name, FILE_FLAG_FIRST_PIPE_INSTANCE).map_err(|error| {
            match error.raw_os_error().map(|code| code as u32) {
                Some(ERROR_ACCESS_DENIED | ERROR_PIPE_BUSY) => {
                    io::Error::new(io::ErrorKind::AddrInUse, error)
                }
                _ => error,
            }
        })?;
        Ok(Self {
            name,
            next: Mutex::new(first),
        })
    }

    /// Waits for a client.
    pub fn accept(&self) -> io::Result<(LocalStream, ())> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let connected = overlapped(next.as_handle(), None, |handle, overlapped| {
            // SAFETY: the handle is a pipe's, and `overlapped` stays valid until the call is done (see `overlapped`).
            unsafe { ConnectNamedPipe(handle, overlapped) }
        });
        match connected {
            Ok(_) => {}
            Err(error) => match error.raw_os_error().map(|code| code as u32) {
                Some(ERROR_PIPE_CONNECTED) => {}
                // Came and went; this end can serve no other.
                Some(ERROR_NO_DATA) => {
                    *next = instance(&self.name, 0)?;
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                _ => return Err(error),
            },
        }
        let ours = std::mem::replace(&mut *next, instance(&self.name, 0)?);
        Ok((LocalStream::new(ours), ()))
    }

    /// One client after the other.
    pub fn incoming(&self) -> impl Iterator<Item = io::Result<LocalStream>> {
        std::iter::repeat_with(|| self.accept().map(|(stream, ())| stream))
    }

    /// Fails: a pipe here is always waited for.
    pub fn set_nonblocking(&self, _nonblocking: bool) -> io::Result<()> {
        let why = "a port cannot be a pipe on Windows: use stdio or file:PATH";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }
}

impl AsHandle for LocalListener {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: an end is replaced only by `accept`, after which nobody waits for the old one; this is never reached, since
        // `set_nonblocking` fails.
        unsafe { BorrowedHandle::borrow_raw(next.as_raw_handle()) }
    }
}

/// Another end of the pipe `name`.
fn instance(name: &[u16], flags: u32) -> io::Result<OwnedHandle> {
    let descriptor = OwnerOnly::new()?;
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor.0,
        bInheritHandle: 0,
    };
    // SAFETY: `name` ends in a zero, and the descriptor lives until after the call.
    let handle = unsafe {
        CreateNamedPipeW(
            name.as_ptr(),
            PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | flags,
            PIPE_TYPE_BYTE | PIPE_REJECT_REMOTE_CLIENTS,
            PIPE_UNLIMITED_INSTANCES,
            BUFFER,
            BUFFER,
            0,
            &attributes,
        )
    };
    own(handle)
}

/// A security descriptor that keeps all others out.
struct OwnerOnly(PSECURITY_DESCRIPTOR);

impl OwnerOnly {
    fn new() -> io::Result<Self> {
        let text = wide(Path::new(OWNER_ONLY));
        let mut descriptor = ptr::null_mut();
        // SAFETY: `text` ends in a zero; the call makes a descriptor, which `drop` frees.
        check(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &mut descriptor,
                ptr::null_mut(),
            )
        })?;
        Ok(Self(descriptor))
    }
}

impl Drop for OwnerOnly {
    fn drop(&mut self) {
        // SAFETY: the descriptor came from the system's local heap and is freed once.
        unsafe { LocalFree(self.0) };
    }
}

fn own(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call that gave the handle succeeded, and nobody else knows it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// An end of a connected pipe.
#[derive(Debug)]
pub struct LocalStream {
    handle: OwnedHandle,
    timeouts: Mutex<Timeouts>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Timeouts {
    read: Option<Duration>,
    write: Option<Duration>,
}

impl LocalStream {
    fn new(handle: OwnedHandle) -> Self {
        Self {
            handle,
            timeouts: Mutex::default(),
        }
    }

    /// Connects to the server of a pipe.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let name = wide(path);
        loop {
            // SAFETY: `name` ends in a zero. The server may not act in this user's name.
            let handle = unsafe {
                CreateFileW(
                    name.as_ptr(),
                    GENERIC_READ | GENERIC_WRITE,
                    0,
                    ptr::null(),
                    OPEN_EXISTING,
                    FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION,
                    ptr::null_mut(),
                )
            };
            match own(handle) {
                Ok(handle) => return Ok(Self::new(handle)),
                Err(error) if error.raw_os_error().map(|code| code as u32) == Some(ERROR_PIPE_BUSY) => {
                    // SAFETY: `name` ends in a zero.
                    check(unsafe { WaitNamedPipeW(name.as_ptr(), BUSY_MILLIS) })?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn timeouts(&self) -> Timeouts {
        *self.timeouts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a read waits at most.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeouts.lock().unwrap_or_else(PoisonError::into_inner).read = timeout;
        Ok(())
    }

    /// How long a write waits at most.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeouts.lock().unwrap_or_else(PoisonError::into_inner).write = timeout;
        Ok(())
    }

    /// Fails: a pipe here is always waited for.
    pub fn set_nonblocking(&self, _nonblocking: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Another handle to the same end.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            handle: self.handle.try_clone()?,
            timeouts: Mutex::new(self.timeouts()),
        })
    }

    /// Ends the connection for both sides, whatever `how` says; what the other side has not read is lost.
    pub fn shutdown(&self, _how: Shutdown) -> io::Result<()> {
        // SAFETY: the handle is open for the duration of the call; a client's end refuses.
        check(unsafe { DisconnectNamedPipe(self.handle.as_raw_handle()) })
    }
}

impl AsHandle for LocalStream {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}

impl Read for &LocalStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let result = overlapped(
            self.handle.as_handle(),
            self.timeouts().read,
            |handle, overlapped| {
                // SAFETY: the buffer is valid for `len` bytes and, like `overlapped`, until the call is done (see `overlapped`).
                unsafe { ReadFile(handle, buffer.as_mut_ptr(), len, ptr::null_mut(), overlapped) }
            },
        );
        match result {
            Err(error) => match error.raw_os_error().map(|code| code as u32) {
                Some(ERROR_BROKEN_PIPE | ERROR_PIPE_NOT_CONNECTED) => Ok(0),
                _ => Err(error),
            },
            result => result,
        }
    }
}

impl Write for &LocalStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        overlapped(
            self.handle.as_handle(),
            self.timeouts().write,
            |handle, overlapped| {
                // SAFETY: as in `read`.
                unsafe { WriteFile(handle, buffer.as_ptr(), len, ptr::null_mut(), overlapped) }
            },
        )
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for LocalStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for LocalStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&*self).write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts a call and waits until it is done, or for `timeout`. When this returns the system uses neither the structure nor a buffer of
/// the call any more.
fn overlapped(
    handle: BorrowedHandle<'_>,
    timeout: Option<Duration>,
    start: impl FnOnce(HANDLE, *mut OVERLAPPED) -> windows_sys::core::BOOL,
) -> io::Result<usize> {
    let done = Notifier::new()?;
    let mut state = OVERLAPPED {
        hEvent: done.as_handle().as_raw_handle(),
        ..OVERLAPPED::default()
    };
    let raw = handle.as_raw_handle();
    let pending = match check(start(raw, &mut state)) {
        Ok(()) => false,
        Err(error) if error.raw_os_error().map(|code| code as u32) == Some(ERROR_IO_PENDING) => true,
        Err(error) => return Err(error),
    };
    let mut timed_out = false;
    if pending {
        timed_out = matches!(
            wait(&[(done.as_handle(), Interest::Read)], timeout).as_deref(),
            Ok([false]) | Err(_)
        );
        if timed_out {
            // SAFETY: the handle is open and `state` is that of a call on it. Whether it was still under way shows below.
            unsafe { CancelIoEx(raw, &state) };
        }
    }
    let mut count = 0;
    // SAFETY: both are valid; the call returns when the system has let go of `state`.
    let result = check(unsafe { GetOverlappedResult(raw, &state, &mut count, 1) });
    match result {
        Err(_) if timed_out => Err(io::ErrorKind::TimedOut.into()),
        result => result.map(|()| count as usize),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_ways_and_the_end() {
        let name = format!(r"\\.\pipe\vpc-test-{}", std::process::id());
        let path = Path::new(&name);
        let listener = LocalListener::bind(path).unwrap();
        let mut client = LocalStream::connect(path).unwrap();
        let (mut server, ()) = listener.accept().unwrap();
        client.write_all(b"question").unwrap();
        let mut buffer = [0; 8];
        server.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"question");
        server.write_all(b"answered").unwrap();
        client.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"answered");
        client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert_eq!(
            client.read(&mut buffer).unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        drop(client);
        assert_eq!(server.read(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn a_name_outside_the_pipes_is_refused() {
        let error = LocalListener::bind(Path::new(r"C:\vpc")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let missing = LocalStream::connect(Path::new(r"\\.\pipe\vpc-test-missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
