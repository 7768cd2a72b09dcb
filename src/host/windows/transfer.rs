// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Single transfers between slices of memory and files.

use super::check;
use crate::host::ring::{DirectFile, Direction, Slices};
use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle;
use windows_sys::Win32::Foundation::ERROR_HANDLE_EOF;
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::OVERLAPPED;

/// The most bytes of one transfer.
const MAX_TRANSFER: usize = 1 << 30;

/// Moves some bytes, of what is behind the first `skip` ones; says how many. One slice at a time: the calls for several want whole
/// pages of each.
pub fn blocking(
    direction: Direction,
    file: &File,
    offset: u64,
    slices: &Slices,
    skip: usize,
) -> io::Result<usize> {
    let mut skip = skip;
    for slice in slices.as_slice() {
        if skip >= slice.len() {
            skip -= slice.len();
            continue;
        }
        // Not beyond the slice: it has more than what is skipped.
        let memory = slice.address().wrapping_add(skip);
        let len = (slice.len() - skip).min(MAX_TRANSFER) as u32;
        let mut position = OVERLAPPED::default();
        position.Anonymous.Anonymous.Offset = offset as u32;
        position.Anonymous.Anonymous.OffsetHigh = (offset >> 32) as u32;
        let (handle, mut moved) = (file.as_raw_handle(), 0);
        let result = check(match direction {
            // SAFETY: the slice keeps `len` bytes alive at `memory`, to which nobody has a reference; the handle is open and was not opened
            // for overlapped use, so that the call is over when it returns.
            Direction::Read => unsafe { ReadFile(handle, memory, len, &mut moved, &mut position) },
            // SAFETY: as above.
            Direction::Write => unsafe { WriteFile(handle, memory, len, &mut moved, &mut position) },
        });
        return match result {
            Err(error) if error.raw_os_error() == Some(ERROR_HANDLE_EOF as i32) => Ok(0),
            result => result.map(|()| moved as usize),
        };
    }
    Ok(0)
}

/// Whether a file is never anywhere else than in memory: nobody says so.
pub fn is_in_memory(_: &File) -> bool {
    false
}

/// Reads what is in the page cache.
///
/// # Errors
/// Always: there is no call that would not wait for more.
pub fn read_cached(_: &File, _: u64, _: &Slices) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes a file's data and length durable; moves nothing.
pub fn sync(file: &File) -> io::Result<usize> {
    file.sync_data().map(|()| 0)
}

/// A second handle of a file that is open already.
///
/// # Errors
/// What the host says.
pub fn open_again(file: &File, _write: bool) -> io::Result<File> {
    file.try_clone()
}

/// A file past the page cache: not used here.
///
/// # Errors
/// None.
pub fn open_direct(_: &File, _write: bool) -> io::Result<Option<DirectFile>> {
    Ok(None)
}
