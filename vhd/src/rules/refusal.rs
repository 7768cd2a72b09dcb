// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The ways in which the API refuses to make an image.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

use super::MAX_PATH;
use crate::error::{Error, Kind};
use crate::format::spec;

/// Which argument of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// The new image.
    ImagePath,
    /// Its parent.
    ParentPath,
}

/// Why an image cannot be made. Each has one result code of the API.
#[derive(Debug)]
pub enum Refusal {
    /// An argument was not given at all.
    Missing(Argument),
    /// The size, in megabytes, is zero or below.
    SizeNotPositive(i32),
    /// The parent, or the folder of the image, is not there and cannot be made.
    PathNotFound(PathBuf),
    /// The image would be on a CD or DVD.
    OpticalDrive(PathBuf),
    /// A path has a character that no path may have.
    InvalidCharacter {
        /// The path.
        path: String,
        /// The first such character.
        character: char,
    },
    /// No path is absolute, or a path is empty.
    NotAbsolute(PathBuf),
    /// A path is too long.
    PathTooLong {
        /// The path.
        path: String,
        /// Its length in UTF-16 units.
        length: usize,
    },
    /// There is a file of this name.
    AlreadyExists(PathBuf),
    /// The volume has too little space.
    DiskFull {
        /// The image.
        image: PathBuf,
        /// Bytes that must be free.
        needed: u64,
        /// Bytes that are.
        free: u64,
    },
    /// The disk, in bytes, is larger than the format holds.
    SizeTooLarge(u64),
    /// The disk, in bytes, is smaller than the API makes them.
    SizeTooSmall(u64),
    /// The volume cannot hold the file when the image is full.
    FileTooLarge {
        /// The image.
        image: PathBuf,
        /// Bytes of its file when it is full.
        file: u64,
        /// Bytes of the largest file that the volume holds.
        largest: u64,
    },
    /// The application is shutting down.
    ShuttingDown,
    /// The host has no hardware virtualization that could be used.
    VirtualizationDisabled,
    /// Anything else.
    Unexpected(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let path = error.path().to_owned();
        match error.kind() {
            Kind::NotFound | Kind::FolderNotFound | Kind::ParentNotFound { .. } => Self::PathNotFound(path),
            Kind::AlreadyExists => Self::AlreadyExists(path),
            // The host has counted: how much is missing it does not say.
            Kind::HostDiskFull => Self::DiskFull {
                image: path,
                needed: super::FREE_AT_LEAST,
                free: 0,
            },
            _ => Self::Unexpected(error),
        }
    }
}

impl StdError for Refusal {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Unexpected(error) => error.source(),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(Argument::ImagePath) => write!(f, "The image's path is missing. Give one"),
            Self::Missing(Argument::ParentPath) => write!(f, "The parent's path is missing. Give one"),
            Self::SizeNotPositive(size) => {
                write!(f, "{size} MB is no size of a disk. Give a number above zero")
            }
            Self::PathNotFound(path) => write!(
                f,
                "`{}` is not there, or its folder can neither be found nor made. Check the path",
                path.display()
            ),
            Self::OpticalDrive(path) => write!(
                f,
                "`{}` is on a CD or DVD, which cannot be written. Choose a place on a hard disk",
                path.display()
            ),
            Self::InvalidCharacter { path, character } => write!(
                f,
                "`{}` has {character:?}, which no path may have. Choose another name",
                path.escape_debug()
            ),
            Self::NotAbsolute(path) => write!(
                f,
                "`{}` is empty or relative, and no other path says to what. Give an absolute path",
                path.display()
            ),
            Self::PathTooLong { path, length } => {
                let start: String = path.chars().take(40).collect();
                write!(
                    f,
                    "`{}...` has {length} characters; a path must have less than {MAX_PATH}. Choose a shorter one",
                    start.escape_debug()
                )
            }
            Self::AlreadyExists(path) => write!(
                f,
                "`{}` exists already and is never overwritten. Choose another name or remove it",
                path.display()
            ),
            Self::DiskFull { image, needed, free } => write!(
                f,
                "The host volume of `{}` has {free} bytes free, and needs {needed}. Free space, or choose another volume",
                image.display()
            ),
            Self::SizeTooLarge(size) => write!(
                f,
                "A disk of {size} bytes is too large: the most is {} ({} MB). Choose a smaller size",
                spec::MAX_SIZE,
                spec::MAX_SIZE >> 20
            ),
            Self::SizeTooSmall(size) => write!(
                f,
                "A disk of {size} bytes is too small: the least is {} ({} MB). Choose a larger size",
                spec::MIN_SIZE,
                spec::MIN_SIZE >> 20
            ),
            Self::FileTooLarge { image, file, largest } => write!(
                f,
                "`{}` can become {file} bytes long, and its host volume holds files of at most {largest}. Choose another volume, \
                 or a smaller size",
                image.display()
            ),
            Self::ShuttingDown => write!(
                f,
                "The application is shutting down, so no image is made. Start it again"
            ),
            Self::VirtualizationDisabled => write!(
                f,
                "The processor's hardware virtualization cannot be used. Switch it on in the firmware"
            ),
            Self::Unexpected(error) => error.fmt(f),
        }
    }
}
