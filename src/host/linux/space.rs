// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Giving file space back to the host, and taking it ahead; what is in use of it, and bringing that to the disk.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Makes `range` of a file read as zeros and gives its space back; the file keeps its length. `false` where the volume cannot.
pub fn punch(file: &File, range: Range<u64>) -> io::Result<bool> {
    fallocate(
        file,
        libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
        &range,
    )
}

/// Takes space for `range` of a file, which grows over it. `false` where the volume cannot.
pub fn allocate(file: &File, range: Range<u64>) -> io::Result<bool> {
    fallocate(file, 0, &range)
}

/// The first range of a file, from `offset` on, that is no hole; empty if all the rest is one. `None` where the volume does not say.
pub fn data_from(file: &File, offset: u64) -> io::Result<Option<Range<u64>>> {
    let start = match seek(file, offset, libc::SEEK_DATA) {
        Ok(start) => start,
        Err(error) => {
            return match error.raw_os_error() {
                // Nothing but a hole up to the end.
                Some(libc::ENXIO) => Ok(Some(offset..offset)),
                Some(libc::EINVAL) => Ok(None),
                _ => Err(error),
            };
        }
    };
    Ok(Some(start..seek(file, start, libc::SEEK_HOLE)?))
}

/// Moves the file's own position, which nothing here uses: all transfers name theirs.
fn seek(file: &File, offset: u64, whence: libc::c_int) -> io::Result<u64> {
    let offset = i64::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the call takes numbers only, and the descriptor is open for as long as `file` is borrowed.
    let found = unsafe { libc::lseek64(file.as_raw_fd(), offset, whence) };
    u64::try_from(found).map_err(|_| io::Error::last_os_error())
}

/// Has the kernel begin to write what its page cache holds of a file.
pub fn start_sync(file: &File) {
    // No promise hangs on it: what cannot be begun now is done by the sync that follows.
    // SAFETY: the call takes numbers only, and the descriptor is open for as long as `file` is borrowed.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Bytes that this user can still write on the volume of `path`.
pub fn free_space(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends in a zero, and `found` has room for the answer; both live through the call.
    super::check(unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) })?;
    // SAFETY: the call has succeeded, so it has filled all of it.
    let found = unsafe { found.assume_init() };
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn fallocate(file: &File, mode: libc::c_int, range: &Range<u64>) -> io::Result<bool> {
    let too_far = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let offset = i64::try_from(range.start).map_err(too_far)?;
    let len = i64::try_from(range.end.saturating_sub(range.start)).map_err(too_far)?;
    if len == 0 {
        return Ok(true);
    }
    // SAFETY: the call takes numbers only, and the descriptor is open for as long as `file` is borrowed.
    if unsafe { libc::fallocate64(file.as_raw_fd(), mode, offset, len) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::ENOSYS) => Ok(false),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn what_is_no_hole_is_found() {
        const MIB: u64 = 1 << 20;
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 * MIB).unwrap();
        file.write_all_at(&[1; 4096], 3 * MIB).unwrap();
        let Some(found) = data_from(&file, MIB).unwrap() else {
            return; // A volume that does not say.
        };
        // A volume without holes has nothing but data.
        assert!(found.start <= 3 * MIB && found.end >= 3 * MIB + 4096 && found.end <= 8 * MIB);
        assert_eq!(data_from(&file, 3 * MIB).unwrap().unwrap().start, 3 * MIB);
        assert!(data_from(&file, 8 * MIB).unwrap().unwrap().is_empty());
        assert!(data_from(&file, u64::MAX).is_err());
        start_sync(&file);
        let mut byte = [0];
        file.read_exact_at(&mut byte, 3 * MIB).unwrap();
        assert_eq!(byte, [1]);
    }

    #[test]
    fn space_comes_and_goes() {
        const LEN: u64 = 1 << 20;
        let file = tempfile::tempfile().unwrap();
        if !allocate(&file, 0..LEN).unwrap() {
            return; // A volume without fallocate: the answer says so, and that is all there is to see.
        }
        assert_eq!(file.metadata().unwrap().len(), LEN);
        file.write_all_at(&[7; 8192], 0).unwrap();
        let before = file.metadata().unwrap().blocks();
        if punch(&file, 0..LEN).unwrap() {
            assert!(file.metadata().unwrap().blocks() < before);
        }
        let mut byte = [1];
        file.read_exact_at(&mut byte, 4096).unwrap();
        assert_eq!((byte, file.metadata().unwrap().len()), ([0], LEN));
        assert!(punch(&file, 5..5).unwrap());
        assert!(allocate(&file, 0..u64::MAX).is_err());
    }
}
