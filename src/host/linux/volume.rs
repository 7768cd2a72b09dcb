// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a volume can take.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use vhd::storage::Volume;

/// The magic number of UDF, which `libc` lacks (linux/magic.h).
const UDF_SUPER_MAGIC: libc::c_long = 0x1501_3346;
/// FAT's directories have 32 bits for a file's length.
const FAT_LARGEST: u64 = u32::MAX as u64;

/// Asks what the volume of a folder can take.
pub fn volume(folder: &Path) -> io::Result<Volume> {
    let name = CString::new(folder.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidFilename)?;
    let mut found = MaybeUninit::<libc::statfs64>::uninit();
    // SAFETY: the name ends with a zero, and the answer has room for what the call writes.
    super::check(unsafe { libc::statfs64(name.as_ptr(), found.as_mut_ptr()) })?;
    // SAFETY: the call went well, so it has filled the answer.
    let found = unsafe { found.assume_init() };
    let unit = u64::try_from(found.f_bsize).unwrap_or_default();
    // The type's width differs by architecture; all of these numbers fit into any.
    let kind = found.f_type as libc::c_long;
    Ok(Volume {
        free: found.f_bavail.saturating_mul(unit),
        largest_file: (kind == libc::MSDOS_SUPER_MAGIC as libc::c_long).then_some(FAT_LARGEST),
        optical: kind == libc::ISOFS_SUPER_MAGIC as libc::c_long || kind == UDF_SUPER_MAGIC,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_that_can_be_written_says_what_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let volume = volume(folder.path()).unwrap();
        assert!(volume.free > 0 && !volume.optical);
        let missing = folder.path().join("missing");
        assert_eq!(
            super::volume(&missing).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
