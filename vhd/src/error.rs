// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one error type of this crate: a [`Kind`] to act on, the file and the step it happened in, and the
//! source below it.
//!
//! `Display` prints one sentence for a person (which file, what is wrong, what to do) and never repeats the
//! source; whoever reports the error prints the chain.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::format::spec;

mod damage;
pub use damage::{Damage, Structure};

/// The result of every call of this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for control flow. Stable: callers map it to exit codes and result codes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The image file does not exist.
    NotFound,
    /// The folder of a new image does not exist.
    FolderNotFound,
    /// The host refuses access to the file.
    PermissionDenied,
    /// A new image would replace an existing file.
    AlreadyExists,
    /// The path cannot name an image, or cannot be stored in a parent locator.
    InvalidName,
    /// Another program has the image open in a way that excludes this use.
    Locked,
    /// The disk was opened read-only and a write was asked for.
    ReadOnly,
    /// An earlier failure made the disk read-only; the text is that failure.
    Latched(String),
    /// The host volume is full.
    HostDiskFull,
    /// The host volume cannot hold a file of this size.
    FileTooLarge,
    /// Any other failure of the host's file I/O.
    Io,
    /// The file ended inside of something that a valid image has; it was probably cut while open.
    UnexpectedEnd,

    /// The file is neither a VHD nor a plausible raw disk.
    NotAnImage,
    /// The file is a valid image, of another format than the one asked for.
    WrongFormat,
    /// Neither the end footer nor the copy at the start of the file can be used.
    InvalidFooter,
    /// A structure's cookie is wrong: it is not there, or it was overwritten.
    InvalidHeader,
    /// A structure's checksum is wrong and no copy of it serves.
    Checksum(Structure),
    /// A structure has a version that this library does not know.
    UnsupportedVersion {
        /// The structure that carries the version.
        structure: Structure,
        /// The version field as stored: major in the upper half, minor in the lower.
        version: u32,
    },
    /// The disk type is not fixed, dynamic or differencing: "linked" disks and reserved types.
    UnsupportedDiskType(u32),
    /// The image contradicts itself.
    Corrupt(Damage),

    /// The size asked for exceeds what the format holds.
    TooLarge,
    /// The size asked for is below the minimum.
    TooSmall,
    /// The size asked for is not a whole number of sectors.
    InvalidSize,
    /// The block size asked for is not a legal one.
    InvalidBlockSize,
    /// The request reaches beyond the end of the disk, or is not made of whole sectors where it must be.
    OutOfRange,

    /// No parent was found at any of the places the child names.
    ParentNotFound {
        /// Every path that was tried, in order.
        tried: Vec<PathBuf>,
    },
    /// A parent file was found, but it is another disk than the one the child was made from.
    ParentIdMismatch {
        /// The unique ID that the child expects.
        expected: [u8; 16],
        /// The unique ID of the file that was found.
        found: [u8; 16],
    },
    /// The parent was changed after the child was made.
    ParentModified,
    /// The chain of parents comes back to an image that is in it already.
    Loop,
    /// The chain is longer than this library follows.
    ChainTooDeep,

    /// The image has children besides the one that would be merged into it, and they would be corrupted.
    OtherChildren(Vec<PathBuf>),
    /// A machine with this disk is in a saved state, which a change of the disk would make useless.
    SavedState,

    /// The operation was asked to stop.
    Cancelled,
}

/// A failure, with the file it happened to.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    path: PathBuf,
    step: Option<&'static str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: Kind, path: &Path) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            step: None,
            source: None,
        }
    }

    pub(crate) fn corrupt(damage: Damage, path: &Path) -> Self {
        Self::new(Kind::Corrupt(damage), path)
    }

    /// A host I/O failure during `step` ("reading the block allocation table").
    pub(crate) fn io(source: io::Error, path: &Path, step: &'static str) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::PermissionDenied,
            io::ErrorKind::AlreadyExists => Kind::AlreadyExists,
            io::ErrorKind::WouldBlock => Kind::Locked,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::HostDiskFull,
            io::ErrorKind::FileTooLarge => Kind::FileTooLarge,
            io::ErrorKind::UnexpectedEof => Kind::UnexpectedEnd,
            io::ErrorKind::InvalidFilename => Kind::InvalidName,
            io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput => Kind::NotAnImage,
            _ => Kind::Io,
        };
        Self {
            kind,
            path: path.to_owned(),
            step: Some(step),
            source: Some(Box::new(source)),
        }
    }

    /// Keeps everything but replaces the kind, where the caller knows better what the host's answer means.
    pub(crate) fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Speaks of another path if it is about this one: users do not know the names of files that are not complete.
    pub(crate) fn renamed(mut self, from: &Path, to: &Path) -> Self {
        if self.path == from {
            self.path = to.to_owned();
        }
        self
    }

    /// What went wrong, for control flow.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The file it happened to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            Kind::NotFound => write!(f, "There is no image `{path}`. Check the path"),
            Kind::FolderNotFound => write!(f, "The folder of `{path}` does not exist. Create it first"),
            Kind::PermissionDenied => write!(
                f,
                "The host refuses access to `{path}`. Change its permissions, or open the image read-only"
            ),
            Kind::AlreadyExists => {
                write!(
                    f,
                    "`{path}` exists already and is never overwritten. Choose another name or remove it"
                )
            }
            Kind::InvalidName => write!(
                f,
                "`{path}` cannot be used as the name of an image. Choose another name"
            ),
            Kind::Locked => write!(
                f,
                "`{path}` is in use by another program, or by a disk whose parent it is. Close it there first, \
                 or open it read-only"
            ),
            Kind::ReadOnly => write!(f, "`{path}` is open read-only. Open it for writing to change it"),
            Kind::Latched(cause) => write!(
                f,
                "`{path}` is read-only since an earlier failure ({}). Remove the cause, then close the disk and \
                 open it again",
                cause.trim_end_matches('.')
            ),
            Kind::HostDiskFull => {
                write!(
                    f,
                    "The host volume is full, so `{path}` cannot grow. Free space, then open the disk again"
                )
            }
            Kind::FileTooLarge => write!(
                f,
                "The host volume cannot hold a file as large as `{path}` would become. Move the image to a volume \
                 with larger files"
            ),
            Kind::Io => write!(
                f,
                "{} `{path}` failed on the host. Check the volume it is on",
                Capital(self.step.unwrap_or("using"))
            ),
            Kind::UnexpectedEnd => write!(
                f,
                "`{path}` ends too early ({}). It was cut off: restore it from a copy",
                self.step.unwrap_or("reading")
            ),
            Kind::NotAnImage => write!(
                f,
                "`{path}` is not a disk image: it is no file with a VHD footer, nor one of whole 512-byte sectors"
            ),
            Kind::WrongFormat => write!(f, "`{path}` is an image of another format than the one asked for"),
            Kind::InvalidFooter => write!(
                f,
                "`{path}` has no usable VHD footer, neither at its end nor at its start. Restore it from a copy"
            ),
            Kind::InvalidHeader => {
                write!(
                    f,
                    "`{path}` has no dynamic disk header where its footer says. Restore it from a copy"
                )
            }
            Kind::Checksum(structure) => write!(
                f,
                "The checksum of the {structure} of `{path}` is wrong and there is no good copy of it. Restore the \
                 image from a copy"
            ),
            Kind::UnsupportedVersion { structure, version } => write!(
                f,
                "The {structure} of `{path}` has version {}.{}; only version 1 is known",
                version >> 16,
                version & 0xffff
            ),
            Kind::UnsupportedDiskType(kind) => write!(
                f,
                "`{path}` is a virtual disk of type {kind}, such as a disk linked to a physical drive. Only fixed, \
                 dynamic and differencing disks are supported"
            ),
            Kind::Corrupt(damage) => {
                write!(
                    f,
                    "`{path}` is damaged: {damage}. Nothing was changed; check the image or restore it"
                )
            }
            Kind::TooLarge => write!(
                f,
                "The disk `{path}` would be too large: {} bytes (2040 GiB) is the limit",
                spec::MAX_SIZE
            ),
            Kind::TooSmall => {
                write!(
                    f,
                    "The disk `{path}` would be too small: the minimum is {} bytes (3 MiB)",
                    spec::MIN_SIZE
                )
            }
            Kind::InvalidSize => {
                write!(
                    f,
                    "The size of the disk `{path}` must be a multiple of 512 bytes, and is never rounded"
                )
            }
            Kind::InvalidBlockSize => write!(
                f,
                "The block size for `{path}` must be a power of two from 4 KiB to 256 MiB, and leave no more than \
                 {} blocks",
                spec::MAX_TABLE_ENTRIES
            ),
            Kind::OutOfRange => {
                write!(
                    f,
                    "The request does not lie in whole sectors inside of the disk `{path}`"
                )
            }
            Kind::ParentNotFound { tried } => {
                write!(f, "The parent of `{path}` was not found")?;
                for (index, candidate) in tried.iter().enumerate() {
                    let lead = if index == 0 { "; tried" } else { "," };
                    write!(f, "{lead} `{}`", candidate.display())?;
                }
                write!(
                    f,
                    ". Put it back, name its folder as a search path, or relink the image"
                )
            }
            Kind::ParentIdMismatch { expected, found } => write!(
                f,
                "The parent found for `{path}` is another disk: its ID is {}, expected {}. Put the right parent \
                 back, or relink the image",
                Id(found),
                Id(expected)
            ),
            Kind::ParentModified => write!(
                f,
                "The parent of `{path}` was modified after this image was made, so its content may be wrong. Restore \
                 the parent, or open with the time stamp ignored"
            ),
            Kind::Loop => write!(
                f,
                "The parents of `{path}` lead back to an image of the same chain. Relink it"
            ),
            Kind::ChainTooDeep => write!(
                f,
                "`{path}` is too far down its chain of differencing disks: {} are followed. Merge some",
                spec::MAX_CHAIN
            ),
            Kind::OtherChildren(children) => {
                write!(f, "`{path}` has other children, which a merge would corrupt:")?;
                for (index, child) in children.iter().enumerate() {
                    let lead = if index == 0 { "" } else { "," };
                    write!(f, "{lead} `{}`", child.display())?;
                }
                write!(
                    f,
                    ". Merge to a new image in place of this, rebase or remove them first, or force it"
                )
            }
            Kind::SavedState => write!(
                f,
                "A machine with the disk `{path}` is in a saved state, which this would make useless. Start and shut down \
                 that machine first, or force it"
            ),
            Kind::Cancelled => write!(f, "The work on `{path}` was cancelled"),
        }
    }
}

/// Prints a step's name as the first words of a sentence.
struct Capital(&'static str);

impl fmt::Display for Capital {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        characters.next().map_or(Ok(()), |first| {
            write!(f, "{}{}", first.to_uppercase(), characters.as_str())
        })
    }
}

/// Prints a unique ID in the usual groups.
struct Id<'a>(&'a [u8; 16]);

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                write!(f, "-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
