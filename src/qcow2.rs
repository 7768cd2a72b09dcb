// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images in QEMU's qcow2 format, to be read only.
//!
//! The crate `imago` reads the format. What is here is what an image of unknown origin calls for: its header is checked before that crate
//! sees it, and the files that it names are opened by this program's rules (`backing`), or not at all. The content comes out as a raw
//! [`vhd::Disk`], so whatever reads disks reads these.
//!
//! Source: QEMU, docs/interop/qcow2.rst.

use header::Header;
use imago::{FormatAccess, Mapping, Storage as _, StorageExt as _};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod backing;
mod header;

/// Images in a chain that are followed, as for differencing disks.
const DEEPEST: usize = 64;

/// A qcow2 image that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host cannot read it.
    #[error("`{}` cannot be read: {source}", path.display())]
    Host {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is in use.
    #[error("`{}` is in use by another program: close it there first", .0.display())]
    InUse(PathBuf),
    /// It is damaged.
    #[error("`{}` is damaged: {what}. See what `qemu-img check` says of it", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It has a feature that is not known here.
    #[error("`{}` {what}", path.display())]
    Feature {
        /// Which.
        path: PathBuf,
        /// What it has, and what to do.
        what: String,
    },
    /// Its backing file is not to be found, or not to be used.
    #[error("the backing file of `{}`, `{name}`, {what}", path.display())]
    Backing {
        /// Which.
        path: PathBuf,
        /// The name of the file, as the image has it.
        name: String,
        /// Why, and what to do.
        what: String,
    },
    /// What is in it makes no disk.
    #[error(transparent)]
    Disk(#[from] vhd::Error),
}

impl Error {
    fn host(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Host { path, source }
    }
}

/// Whether a file is a qcow2 image: by its first bytes, and because it has no VHD footer at its end.
pub fn recognised(path: &Path) -> bool {
    let Ok(file) = open_file(path) else { return false };
    let file = vhd::storage::FileStorage::new(file, vhd::storage::HostCalls::default());
    header::recognised(&file)
}

/// Opens an image with its backing files as a disk that can only be read. Backing files are looked for, and allowed to be, in the folder
/// of the image and in these folders, and below.
///
/// # Errors
/// Those of [`Error`].
pub fn open(path: &Path, folders: &[PathBuf]) -> Result<vhd::Disk, Error> {
    let image = open_chain(path, folders, &mut Vec::new())?;
    let content = Content { image };
    Ok(vhd::Disk::over(path, Arc::new(content))?)
}

/// The name of the backing file, as the image has it, fit for a terminal.
pub fn backing_name(path: &Path) -> Option<String> {
    let image = open_image(path).ok()?;
    image.implicit_backing_file().map(|name| backing::printable(name))
}

type Qcow2 = imago::qcow2::Qcow2<imago::file::File>;
type Access = FormatAccess<imago::file::File>;

fn open_file(path: &Path) -> io::Result<File> {
    // A pipe would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        ));
    }
    File::open(path)
}

/// Opens one image, which is not written to while it is open.
fn open_image(path: &Path) -> Result<Qcow2, Error> {
    let host = |e| Error::host(path, e);
    let file = lock(open_file(path).map_err(host)?, path)?;
    let storage = vhd::storage::FileStorage::new(
        file.try_clone().map_err(host)?,
        vhd::storage::HostCalls::default(),
    );
    Header::read(&storage, path)?.check(path)?;
    let file = imago::file::File::try_from(file).map_err(host)?;
    Qcow2::open_image(file, false).map_err(|e| damaged(path, &e))
}

fn lock(file: File, path: &Path) -> Result<File, Error> {
    match file.try_lock_shared() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::InUse(path.to_owned())),
        Err(std::fs::TryLockError::Error(e)) => Err(Error::host(path, e)),
    }
}

fn damaged(path: &Path, error: &dyn std::error::Error) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        what: error.to_string(),
    }
}

/// Opens an image, and what it says is behind it. `seen` has the images in front of it.
fn open_chain(path: &Path, folders: &[PathBuf], seen: &mut Vec<PathBuf>) -> Result<Access, Error> {
    let mut image = open_image(path)?;
    seen.push(path.canonicalize().map_err(|e| Error::host(path, e))?);
    let behind = match image.implicit_backing_file() {
        None => None,
        Some(name) => {
            let refuse = |what: &str| Error::Backing {
                path: path.to_owned(),
                name: backing::printable(name),
                what: what.to_owned(),
            };
            let full = backing::find(path, name, folders)?;
            if seen.contains(&full) {
                return Err(refuse(
                    "is in front of it already: give it another one with `qemu-img rebase -u`",
                ));
            }
            if seen.len() >= DEEPEST {
                return Err(refuse(
                    "is too far down: only 64 are followed. Join some with `qemu-img commit`",
                ));
            }
            Some(match image.implicit_backing_format().map(String::as_str) {
                Some("qcow2") => open_chain(&full, folders, seen)?,
                None if recognised(&full) => open_chain(&full, folders, seen)?,
                None | Some("raw" | "file") => open_raw(&full)?,
                Some(format) => {
                    return Err(refuse(&format!(
                        "is in the format {:?}, which cannot be read here: join the two with `qemu-img convert` first",
                        backing::printable(format)
                    )));
                }
            })
        }
    };
    image.set_backing(behind);
    image.set_data_file(None);
    Ok(Access::new(image))
}

fn open_raw(path: &Path) -> Result<Access, Error> {
    let host = |e| Error::host(path, e);
    let file = lock(open_file(path).map_err(host)?, path)?;
    let file = imago::file::File::try_from(file).map_err(host)?;
    let raw = imago::raw::Raw::open_image(file, false).map_err(host)?;
    Ok(Access::new(raw))
}

/// What is in an image, as if it were the bytes of a file.
#[derive(Debug)]
struct Content {
    image: Access,
}

impl Content {
    /// What is at an offset, and how much of it there is.
    fn piece(&self, offset: u64, most: u64) -> io::Result<(Mapping<'_, imago::file::File>, u64)> {
        let (mapping, len) = self.image.get_mapping(offset, most)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((mapping, len.min(most)))
    }
}

impl vhd::Storage for Content {
    fn len(&self) -> io::Result<u64> {
        Ok(self.image.size())
    }

    fn read_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let (mapping, len) = self.piece(offset, buffer.len() as u64)?;
            // No longer than the buffer, so it fits.
            let (part, rest) = buffer.split_at_mut(len as usize);
            match mapping {
                Mapping::Zero { .. } => part.fill(0),
                Mapping::Raw {
                    storage, offset: at, ..
                } => {
                    // The crate reads zeros there. The last cluster alone may be a part of one.
                    if at >= storage.size()? {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "the qcow2 image ends before its data",
                        ));
                    }
                    storage.read(part, at)?;
                }
                Mapping::Special { .. } => self.image.read(part, offset)?,
                _ => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            buffer = rest;
            offset += len;
        }
        Ok(())
    }

    fn data_from(&self, offset: u64) -> io::Result<Range<u64>> {
        /// A hole is not followed further at a time: whoever asks about a part of one would wait for the look at all of it.
        const FURTHEST: u64 = 64 << 20;
        let size = self.image.size();
        let mut at = offset;
        while at < size && at - offset < FURTHEST {
            let (mapping, len) = self.piece(at, size - at)?;
            if !matches!(mapping, Mapping::Zero { .. }) {
                return Ok(at..at + len);
            }
            at += len;
        }
        // Nothing, or nobody has looked.
        Ok(at.min(size)..size)
    }

    fn write_at(&self, _buffer: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn punch(&self, _range: Range<u64>) -> io::Result<bool> {
        Ok(false)
    }

    fn allocate(&self, _range: Range<u64>) -> io::Result<bool> {
        Ok(false)
    }
}
