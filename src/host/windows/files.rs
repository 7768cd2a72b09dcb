// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the standard library does not say about files in the same words on all systems.

use super::super::AsSource;
use super::check;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::mem::size_of;
use std::ops::Range;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::ptr;
use windows_sys::Win32::Foundation::{ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT, FILE_STANDARD_INFO,
    FileStandardInfo, GetFileInformationByHandle, GetFileInformationByHandleEx,
};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::{FILE_ZERO_DATA_INFORMATION, FSCTL_SET_SPARSE, FSCTL_SET_ZERO_DATA};

/// What tells a file from all others of this host, whatever its names: the volume's serial number and the file's index on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId(u32, u64);

/// Identifies the file that `path` leads to.
pub fn file_id(path: &Path) -> io::Result<FileId> {
    id(path, FILE_FLAG_BACKUP_SEMANTICS)
}

/// Identifies what is at `path` itself, be it a link.
pub fn link_id(path: &Path) -> io::Result<FileId> {
    id(path, FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
}

fn id(path: &Path, flags: u32) -> io::Result<FileId> {
    let file = look(path, flags)?;
    let mut info = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open for the duration of the call, which fills `info`.
    check(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &mut info) })?;
    let index = u64::from(info.nFileIndexHigh) << 32 | u64::from(info.nFileIndexLow);
    Ok(FileId(info.dwVolumeSerialNumber, index))
}

/// Opens a file or folder for its attributes only, which disturbs nobody who uses it.
fn look(path: &Path, flags: u32) -> io::Result<File> {
    OpenOptions::new().access_mode(0).custom_flags(flags).open(path)
}

/// Bytes that a file takes on the host, which is less than its length if it has holes.
pub fn allocated(path: &Path) -> io::Result<u64> {
    let file = look(path, 0)?;
    let mut info = FILE_STANDARD_INFO::default();
    // SAFETY: the handle is open for the duration of the call, which fills `info` up to the size given.
    check(unsafe {
        GetFileInformationByHandleEx(
            file.as_raw_handle(),
            FileStandardInfo,
            (&raw mut info).cast(),
            size_of::<FILE_STANDARD_INFO>() as u32,
        )
    })?;
    Ok(u64::try_from(info.AllocationSize).unwrap_or(0))
}

/// Whether a file is the name of a local socket. Pipes have names of their own here, outside all folders.
pub fn is_socket(_metadata: &Metadata) -> bool {
    false
}

/// Whether a file is a disk or drive of the host. Those have names of their own here, outside all folders.
pub fn is_drive(_metadata: &Metadata) -> bool {
    false
}

/// Whether the owner may run the file: that is a matter of its name here, which Unix does not go by.
pub fn is_executable(_metadata: &Metadata) -> bool {
    false
}

/// Whether a path names something outside all folders: a device or a pipe (`\\.\`).
pub fn is_device_name(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().starts_with(br"\\.\")
}

/// Lets only this user use a pipe. It was made so.
pub fn restrict(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes `link` lead to the file `target`.
pub fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

/// Another handle to an open stream, as a file.
pub fn file_of(stream: &impl AsSource) -> io::Result<File> {
    stream.as_source().try_clone_to_owned().map(File::from)
}

/// Makes `range` of a file read as zeros and gives its space back; the file keeps its length. `false` where the volume cannot.
pub fn punch(file: &File, range: Range<u64>) -> io::Result<bool> {
    let too_far = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let zero = FILE_ZERO_DATA_INFORMATION {
        FileOffset: i64::try_from(range.start).map_err(too_far)?,
        BeyondFinalZero: i64::try_from(range.end).map_err(too_far)?,
    };
    if range.is_empty() {
        return Ok(true);
    }
    // Only a file that is marked sparse gives space back; marking it again changes nothing.
    Ok(control(file, FSCTL_SET_SPARSE, &[0u8; 0])? && control(file, FSCTL_SET_ZERO_DATA, &[zero])?)
}

/// The first range of a file, from `offset` on, that is no hole. That is not asked here yet.
pub fn data_from(_file: &File, _offset: u64) -> io::Result<Option<Range<u64>>> {
    Ok(None)
}

/// Has the system begin to write what its cache holds of a file. It does that by itself, and has no call for it.
pub fn start_sync(_file: &File) {}

/// A control call with an input and no output; `false` where the volume does not have it.
fn control<T: Copy>(file: &File, code: u32, input: &[T]) -> io::Result<bool> {
    let mut returned = 0;
    // SAFETY: the handle is open for the duration of the call, which reads `input` within its size and writes one number.
    let done = check(unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            code,
            input.as_ptr().cast(),
            size_of_val(input) as u32,
            ptr::null_mut(),
            0,
            &mut returned,
            ptr::null_mut(),
        )
    });
    match done {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error().map(|code| code as u32) {
            Some(ERROR_INVALID_FUNCTION | ERROR_NOT_SUPPORTED) => Ok(false),
            _ => Err(error),
        },
    }
}

/// Takes space for `range` of a file, which grows over it: a file that is not sparse has its space as soon as it has its length.
pub fn allocate(file: &File, range: Range<u64>) -> io::Result<bool> {
    if file.metadata()?.len() < range.end {
        file.set_len(range.end)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::windows::fs::FileExt;

    #[test]
    fn files_are_told_apart_by_more_than_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a"), b"x").unwrap();
        std::fs::write(at("b"), b"x").unwrap();
        std::fs::hard_link(at("a"), at("c")).unwrap();
        assert_eq!(file_id(&at("a")).unwrap(), file_id(&at("c")).unwrap());
        assert_ne!(file_id(&at("a")).unwrap(), file_id(&at("b")).unwrap());
        assert!(file_id(&at("d")).is_err());
        file_id(folder.path()).unwrap();
    }

    #[test]
    fn what_is_punched_reads_as_zeros_or_is_said_to_be_impossible() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().seek_write(&[7; 1 << 17], 0).unwrap();
        let punched = punch(file.as_file(), 0..1 << 16).unwrap();
        let mut byte = [1];
        file.as_file().seek_read(&mut byte, 4096).unwrap();
        assert_eq!(byte == [0], punched);
        file.as_file().seek_read(&mut byte, 1 << 16).unwrap();
        assert_eq!((byte, file.as_file().metadata().unwrap().len()), ([7], 1 << 17));
    }

    #[test]
    fn space_is_taken_with_the_length() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(allocate(file.as_file(), 0..1 << 20).unwrap());
        assert_eq!(file.as_file().metadata().unwrap().len(), 1 << 20);
        allocated(file.path()).unwrap();
    }

    #[test]
    fn pipes_are_outside_all_folders() {
        assert!(is_device_name(Path::new(r"\\.\pipe\vpc")));
        assert!(
            !is_device_name(Path::new(r"\\server\share\disk.vhd"))
                && !is_device_name(Path::new(r"C:\disk.vhd"))
        );
    }
}
