// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the standard library does not say about files in the same words on all systems.

use super::super::AsSource;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// What tells a file from all others of this host, whatever its names: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId(u64, u64);

/// Identifies the file that `path` leads to.
pub fn file_id(path: &Path) -> io::Result<FileId> {
    std::fs::metadata(path).map(|metadata| id(&metadata))
}

/// Identifies what is at `path` itself, be it a link.
pub fn link_id(path: &Path) -> io::Result<FileId> {
    path.symlink_metadata().map(|metadata| id(&metadata))
}

fn id(metadata: &Metadata) -> FileId {
    FileId(metadata.dev(), metadata.ino())
}

/// Bytes that a file takes on the host, which is less than its length if it has holes.
pub fn allocated(path: &Path) -> io::Result<u64> {
    // The unit of `st_blocks` is 512 bytes whatever the file system's blocks are.
    std::fs::metadata(path).map(|metadata| metadata.blocks() * 512)
}

/// Whether a file is the name of a local socket.
pub fn is_socket(metadata: &Metadata) -> bool {
    metadata.file_type().is_socket()
}

/// Whether a file is a disk or drive of the host.
pub fn is_drive(metadata: &Metadata) -> bool {
    metadata.file_type().is_block_device()
}

/// Whether the owner may run the file.
pub fn is_executable(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o100 != 0
}

/// Whether a path names something outside all folders. No path does here: devices and sockets are files in folders.
pub fn is_device_name(_path: &Path) -> bool {
    false
}

/// Lets only this user use a socket.
pub fn restrict(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
}

/// Makes `link` lead to `target`.
pub fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Another handle to an open stream, as a file.
pub fn file_of(stream: &impl AsSource) -> io::Result<File> {
    stream.as_source().try_clone_to_owned().map(File::from)
}
