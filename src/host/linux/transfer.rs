// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Single transfers between slices of memory and files, and files past the page cache.

use super::check;
use crate::host::ring::{DirectFile, Direction, Slice, Slices};
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// The most pieces that the kernel takes at once (`UIO_MAXIOV`). A request of more is done in steps.
const MAX_VECTORS: usize = 1024;

/// The pieces of memory behind the first `skip` bytes of `slices`, as the kernel wants them. They are valid while the slices are.
pub fn vectors(slices: &Slices, skip: usize, vectors: &mut Vec<libc::iovec>) {
    vectors.clear();
    let mut skip = skip;
    for slice in slices.as_slice() {
        let lead = skip.min(slice.len());
        skip -= lead;
        if lead < slice.len() && vectors.len() < MAX_VECTORS {
            vectors.push(vector(slice, lead));
        }
    }
}

fn vector(slice: &Slice, skip: usize) -> libc::iovec {
    libc::iovec {
        // Not beyond the slice: callers skip less than it has.
        iov_base: slice.address().wrapping_add(skip).cast(),
        iov_len: slice.len() - skip,
    }
}

/// Moves some bytes, of what is behind the first `skip` ones; says how many.
pub fn blocking(
    direction: Direction,
    file: &File,
    offset: u64,
    slices: &Slices,
    skip: usize,
) -> io::Result<usize> {
    let mut pieces = Vec::new();
    vectors(slices, skip, &mut pieces);
    let (Ok(offset), count) = (i64::try_from(offset), pieces.len() as libc::c_int) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let fd = file.as_raw_fd();
    result(match direction {
        // SAFETY: the vectors describe memory that the slices keep alive, and that nobody has a reference to.
        Direction::Read => unsafe { libc::preadv64(fd, pieces.as_ptr(), count, offset) },
        // SAFETY: as above.
        Direction::Write => unsafe { libc::pwritev64(fd, pieces.as_ptr(), count, offset) },
    })
}

/// Whether a file is never anywhere else than in memory: then no read of it waits for more than memory itself does.
pub fn is_in_memory(file: &File) -> bool {
    let mut status = MaybeUninit::<libc::statfs64>::zeroed();
    // SAFETY: the descriptor is open while `file` is borrowed, and `status` has room for the result.
    let result = check(unsafe { libc::fstatfs64(file.as_raw_fd(), status.as_mut_ptr()) });
    // SAFETY: it was zeroed, and all zeros is a value of it.
    let status = unsafe { status.assume_init() };
    result.is_ok() && status.f_type == libc::TMPFS_MAGIC
}

/// Reads what is in the page cache, without waiting for more; says how many bytes that was.
///
/// # Errors
/// The volume cannot do that.
pub fn read_cached(file: &File, offset: u64, slices: &Slices) -> io::Result<usize> {
    let Ok(offset) = i64::try_from(offset) else {
        return Ok(0);
    };
    let fd = file.as_raw_fd();
    let read = match slices {
        Slices::One(slice) => {
            let piece = vector(slice, 0);
            // SAFETY: the vector describes memory that the slice keeps alive, and that nobody has a reference to.
            unsafe { libc::preadv2(fd, &raw const piece, 1, offset, libc::RWF_NOWAIT) }
        }
        Slices::Many(_) => {
            let mut pieces = Vec::new();
            vectors(slices, 0, &mut pieces);
            // SAFETY: as above.
            unsafe {
                libc::preadv2(
                    fd,
                    pieces.as_ptr(),
                    pieces.len() as libc::c_int,
                    offset,
                    libc::RWF_NOWAIT,
                )
            }
        }
    };
    match result(read) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Err(error),
        // Whatever else it is, a read that waits says it too.
        result => Ok(result.unwrap_or(0)),
    }
}

/// Makes a file's data and length durable; moves nothing.
pub fn sync(file: &File) -> io::Result<usize> {
    // SAFETY: takes numbers only, and the descriptor is open while `file` is borrowed.
    result(unsafe { libc::fdatasync(file.as_raw_fd()) } as isize)
}

fn result(returned: isize) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}

/// Opens a file once more that is open already: the new handle has no part in the lock that `file` may have.
///
/// A kernel's ring keeps its files until some time after the process has gone; with the lock, nobody could use the file until then.
///
/// # Errors
/// What the host says.
pub fn open_again(file: &File, write: bool) -> io::Result<File> {
    open_with(file, write, 0)
}

/// As [`open_again`], past the page cache; `None` where the file's volume cannot do that.
///
/// # Errors
/// What the host says.
pub fn open_direct(file: &File, write: bool) -> io::Result<Option<DirectFile>> {
    let Some((memory_alignment, offset_alignment)) = alignment(file)? else {
        return Ok(None);
    };
    match open_with(file, write, libc::O_DIRECT) {
        Ok(file) => Ok(Some(DirectFile {
            file,
            offset_alignment,
            memory_alignment,
        })),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

fn open_with(file: &File, write: bool, flags: libc::c_int) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(flags)
        // Through its descriptor, so that it is the same file whatever its name means by now.
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// What direct transfers of a file have to be aligned to: memory, and offsets; `None` if it has none.
fn alignment(file: &File) -> io::Result<Option<(usize, u64)>> {
    let mut status = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is an empty string, so that the call is about the descriptor, which is open; `status` has room for the result.
    check(unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_DIOALIGN,
            status.as_mut_ptr(),
        )
    })?;
    // SAFETY: it was zeroed, and the call succeeded.
    let status = unsafe { status.assume_init() };
    if status.stx_mask & libc::STATX_DIOALIGN == 0 {
        // Kernels before 6.1 do not tell; pages are enough for every drive.
        return Ok(Some((4096, 4096)));
    }
    let (memory, offset) = (status.stx_dio_mem_align, status.stx_dio_offset_align);
    Ok((offset != 0).then_some((memory.max(1) as usize, u64::from(offset))))
}
