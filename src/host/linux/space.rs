// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Giving file space back to the host, and taking it ahead.

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
