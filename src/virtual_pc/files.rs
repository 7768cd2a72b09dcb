// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small files of the model: read whole, written so that a reader or a crash sees the old or the new one, locked while they are changed.

use super::error::{Error, Result};
use super::hresult;
use super::vmc::Vmc;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a folder for this user only, and those it stands in.
pub fn make_folder(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| failed(path, &error))
}

/// Writes a file in place of what is there. After a crash there is one or the other.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut draft = tempfile::Builder::new().prefix(".vpc-").tempfile_in(folder)?;
        draft.write_all(bytes)?;
        if let Ok(present) = fs::metadata(path) {
            draft.as_file().set_permissions(present.permissions())?;
        }
        draft.as_file().sync_all()?;
        draft.persist(path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| failed(path, &error))
}

/// Writes a file that must not be there yet.
pub fn create(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut draft = tempfile::Builder::new().prefix(".vpc-").tempfile_in(folder)?;
        draft.write_all(bytes)?;
        draft.as_file().sync_all()?;
        draft.persist_noclobber(path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::of_file(
            hresult::ERROR_ALREADY_EXISTS,
            path,
            "a file of this name exists already",
        ),
        _ => failed(path, &error),
    })
}

/// Takes a lock for as long as the file is held, waiting for whoever has it.
pub fn lock(path: &Path) -> Result<File> {
    let file = open_lock(path)?;
    file.lock().map_err(|error| failed(path, &error))?;
    Ok(file)
}

/// Opens a file to be locked.
pub fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .read(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| failed(path, &error))
}

/// Reads a configuration tree; `None` if there is no such file.
pub fn read_tree(path: &Path) -> Result<Option<Vmc>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, &error)),
    };
    let tree = Vmc::parse(&bytes).map_err(|error| Error::of_file(hresult::DISP_E_EXCEPTION, path, error))?;
    Ok(Some(tree))
}

/// What the host's answer means.
pub fn failed(path: &Path, error: &io::Error) -> Error {
    let result = match error.kind() {
        io::ErrorKind::NotFound => hresult::ERROR_PATH_NOT_FOUND,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => hresult::E_ACCESSDENIED,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => hresult::ERROR_DISK_FULL,
        io::ErrorKind::OutOfMemory => hresult::ERROR_OUTOFMEMORY,
        io::ErrorKind::InvalidFilename => hresult::ERROR_BUFFER_OVERFLOW,
        _ => hresult::DISP_E_EXCEPTION,
    };
    Error::of_file(result, path, error)
}
