// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a volume can take.

use super::check;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use vhd::storage::Volume;
use windows_sys::Win32::Storage::FileSystem::{
    GetDiskFreeSpaceExW, GetDriveTypeW, GetVolumeInformationW, GetVolumePathNameW,
};
use windows_sys::Win32::System::WindowsProgramming::DRIVE_CDROM;

/// FAT's directories have 32 bits for a file's length.
const FAT_LARGEST: u64 = u32::MAX as u64;
/// The longest name of a volume's root, and of a file system, in characters.
const NAME: usize = 261;

/// Asks what the volume of a folder can take.
pub fn volume(folder: &Path) -> io::Result<Volume> {
    let path: Vec<u16> = folder.as_os_str().encode_wide().chain([0]).collect();
    let mut free = 0;
    // SAFETY: the path ends with a zero, and `free` has room for what the call writes.
    check(unsafe { GetDiskFreeSpaceExW(path.as_ptr(), &mut free, ptr::null_mut(), ptr::null_mut()) })?;
    let mut root = [0u16; NAME];
    // SAFETY: the path ends with a zero, and the root's length is the one that is named.
    check(unsafe { GetVolumePathNameW(path.as_ptr(), root.as_mut_ptr(), NAME as u32) })?;
    let mut system = [0u16; NAME];
    // SAFETY: the root was ended with a zero by the call above; what is not wanted is null; the name's length is the one that is named.
    check(unsafe {
        GetVolumeInformationW(
            root.as_ptr(),
            ptr::null_mut(),
            0,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            system.as_mut_ptr(),
            NAME as u32,
        )
    })?;
    let system = String::from_utf16_lossy(system.split(|c| *c == 0).next().unwrap_or_default());
    // SAFETY: the root ends with a zero.
    let kind = unsafe { GetDriveTypeW(root.as_ptr()) };
    Ok(Volume {
        free,
        largest_file: matches!(system.as_str(), "FAT" | "FAT32").then_some(FAT_LARGEST),
        optical: kind == DRIVE_CDROM,
    })
}
