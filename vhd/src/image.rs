// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One image file: what it is, and that it is sound. Everything is validated here before any other part of the
//! library does arithmetic with it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zerocopy::IntoBytes;

use crate::error::{Damage, Error, Kind, Result, Structure};
use crate::format::{Footer, spec};
use crate::geometry::Geometry;
use crate::storage::Storage;

mod map;
pub(crate) mod sparse;
pub(crate) mod table;
use sparse::Sparse;

/// The format of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The bare content of a disk.
    Raw,
    /// A VHD with all of the disk at the start of the file.
    Fixed,
    /// A VHD whose blocks are allocated as they are written.
    Dynamic,
    /// A VHD that holds only the differences from its parent.
    Differencing,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Fixed => "fixed",
            Self::Dynamic => "dynamic",
            Self::Differencing => "differencing",
        })
    }
}

/// Something unusual about an image that does not keep it from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Notice {
    /// The end footer is missing or damaged; the copy at the start of the file serves.
    EndFooterDamaged,
    /// The end footer is filled as some programs do while they have the image open: it is in use, or was not closed.
    InUse,
    /// The copy of the footer at the start of the file is missing or damaged; the end footer serves.
    FooterCopyDamaged,
    /// The copy of the footer is another one than the end footer, which serves.
    FooterCopyDiffers,
    /// The footer has 511 bytes, as early versions of Virtual PC wrote it.
    ShortFooter,
    /// The geometry covers less than the disk size; programs that trust the geometry see a smaller disk.
    GeometrySmaller,
    /// The disk is marked as temporary.
    Temporary,
    /// A machine with this disk is in a saved state; writing to the disk would make that state useless.
    SavedState,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndFooterDamaged => {
                "the end footer is missing or damaged; the copy at the start of the file serves"
            }
            Self::InUse => "the end footer says that another program has the image open, or did not close it",
            Self::FooterCopyDamaged => {
                "the footer copy at the start of the file is damaged; the end footer serves"
            }
            Self::FooterCopyDiffers => "the footer copy at the start of the file differs from the end footer",
            Self::ShortFooter => "the footer has 511 bytes, as early versions of Virtual PC wrote it",
            Self::GeometrySmaller => "the geometry covers less than the disk size",
            Self::Temporary => "the disk is marked as temporary",
            Self::SavedState => "a machine with this disk is in a saved state",
        })
    }
}

/// An open image file whose structures are sound.
#[derive(Debug)]
pub(crate) struct Image {
    pub path: PathBuf,
    pub storage: Arc<dyn Storage>,
    /// Bytes of the virtual disk.
    pub size: u64,
    /// None in a raw image.
    pub footer: Option<Footer>,
    pub layout: Layout,
    pub notices: Vec<Notice>,
}

/// Where the content of an image is in its file.
#[derive(Debug)]
pub(crate) enum Layout {
    /// At the start of the file, as it is: raw and fixed images.
    Linear,
    /// In blocks.
    Sparse(Box<Sparse>),
}

impl Image {
    /// Finds out what a file is, and whether it is sound. `format` demands one; without it VHD formats are
    /// recognised by their footers, and anything else in whole sectors is raw.
    pub fn open(path: &Path, storage: Arc<dyn Storage>, format: Option<Format>) -> Result<Self> {
        let len = storage
            .len()
            .map_err(|error| Error::io(error, path, "reading the length of"))?;
        if format == Some(Format::Raw) {
            return Self::raw(path, storage, len);
        }
        let footers = Footers::read(path, &*storage, len)?;
        let Some(footer) = footers.choose(path)? else {
            return match format {
                None if len % spec::SECTOR == 0 => Self::raw(path, storage, len),
                None => Err(Error::new(Kind::NotAnImage, path)),
                Some(_) => Err(Error::new(Kind::InvalidFooter, path)),
            };
        };
        let found = validate(&footer, path)?;
        if format.is_some_and(|wanted| wanted != found) {
            return Err(Error::new(Kind::WrongFormat, path));
        }
        let size = footer.current_size.get();
        let layout = if found == Format::Fixed {
            let data = footers.limit();
            if size > data {
                return Err(Error::corrupt(
                    Damage::DataMissing {
                        needed: size,
                        found: data,
                    },
                    path,
                ));
            }
            Layout::Linear
        } else {
            Layout::Sparse(Box::new(Sparse::read(path, &*storage, &footer, &footers)?))
        };
        let notices = footers.notices(&footer, found);
        Ok(Self {
            path: path.to_owned(),
            storage,
            size,
            footer: Some(footer),
            layout,
            notices,
        })
    }

    fn raw(path: &Path, storage: Arc<dyn Storage>, len: u64) -> Result<Self> {
        if len == 0 {
            return Err(Error::new(Kind::NotAnImage, path));
        }
        let (size, footer, layout, notices) = (len, None, Layout::Linear, Vec::new());
        Ok(Self {
            path: path.to_owned(),
            storage,
            size,
            footer,
            layout,
            notices,
        })
    }

    pub fn format(&self) -> Format {
        match (&self.footer, &self.layout) {
            (None, _) => Format::Raw,
            (Some(_), Layout::Linear) => Format::Fixed,
            (Some(_), Layout::Sparse(sparse)) if sparse.parent.is_some() => Format::Differencing,
            (Some(_), Layout::Sparse(_)) => Format::Dynamic,
        }
    }

    pub fn geometry(&self) -> Geometry {
        self.footer.map_or_else(
            || Geometry::from_sectors(self.size / spec::SECTOR),
            |footer| Geometry::from(footer.geometry),
        )
    }

    pub fn unique_id(&self) -> Option<[u8; 16]> {
        self.footer.map(|footer| footer.unique_id)
    }

    pub fn sparse(&self) -> Option<&Sparse> {
        match &self.layout {
            Layout::Linear => None,
            Layout::Sparse(sparse) => Some(sparse),
        }
    }

    /// An I/O error on this file.
    pub fn io_error(&self, source: std::io::Error, step: &'static str) -> Error {
        Error::io(source, &self.path, step)
    }
}

/// One of the two places where a footer stands.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::large_enum_variant,
    reason = "two of these live on the stack while an image is opened"
)]
enum Found {
    /// No cookie there.
    Nothing,
    /// A cookie with a wrong checksum.
    Damaged,
    /// A footer whose checksum is right.
    Good(Footer),
}

impl Found {
    fn classify(footer: Footer) -> Self {
        if !footer.has_cookie() {
            Self::Nothing
        } else if footer.checksum.get() != footer.sum() {
            Self::Damaged
        } else {
            Self::Good(footer)
        }
    }

    fn good(&self) -> Option<&Footer> {
        match self {
            Self::Good(footer) => Some(footer),
            Self::Nothing | Self::Damaged => None,
        }
    }
}

/// Both footers of a file, and its length.
#[derive(Debug)]
pub(crate) struct Footers {
    len: u64,
    end: Found,
    copy: Found,
    /// Bytes of the end footer.
    end_len: u64,
    in_use: bool,
}

impl Footers {
    fn read(path: &Path, storage: &dyn Storage, len: u64) -> Result<Self> {
        let at = |offset: u64| -> Result<Footer> {
            let mut bytes = [0; spec::SECTOR as usize];
            let count = (len - offset).min(spec::SECTOR) as usize;
            let target = bytes.get_mut(..count).unwrap_or_default();
            storage
                .read_at(target, offset)
                .map_err(|error| Error::io(error, path, "reading the footer of"))?;
            Ok(zerocopy::transmute!(bytes))
        };
        let mut footers = Self {
            len,
            end: Found::Nothing,
            copy: Found::Nothing,
            end_len: spec::SECTOR,
            in_use: false,
        };
        // Early versions of Virtual PC left the last byte of the footer out.
        if len % spec::SECTOR == spec::SECTOR - 1 {
            footers.end = Found::classify(at(len - (spec::SECTOR - 1))?);
            footers.end_len = spec::SECTOR - 1;
        } else if len >= spec::SECTOR {
            let footer = at(len - spec::SECTOR)?;
            footers.end = Found::classify(footer);
            footers.in_use = footer.as_bytes().iter().all(|&byte| byte == spec::IN_USE_FILL);
        }
        if len > spec::SECTOR {
            footers.copy = Found::classify(at(0)?);
        }
        Ok(footers)
    }

    /// The footer that serves; `None` when nothing says that this is a VHD.
    fn choose(&self, path: &Path) -> Result<Option<Footer>> {
        // Only sparse images have a copy: the first sector of a fixed disk belongs to the guest.
        let copy = self.copy.good().filter(|footer| is_sparse(footer));
        match (&self.end, copy, &self.copy) {
            (Found::Good(footer), ..) => Ok(Some(*footer)),
            (_, Some(copy), _) => Ok(Some(*copy)),
            (Found::Damaged, None, _) => Err(Error::new(Kind::Checksum(Structure::Footer), path)),
            (Found::Nothing, None, Found::Damaged) => {
                Err(Error::new(Kind::Checksum(Structure::FooterCopy), path))
            }
            (Found::Nothing, None, Found::Good(_)) => Err(Error::new(Kind::InvalidFooter, path)),
            (Found::Nothing, None, Found::Nothing) if self.in_use => {
                Err(Error::new(Kind::InvalidFooter, path))
            }
            (Found::Nothing, None, Found::Nothing) => Ok(None),
        }
    }

    /// Where the end footer starts, or the file ends without one: nothing else may reach beyond.
    pub fn limit(&self) -> u64 {
        match self.end {
            Found::Good(_) => self.len - self.end_len,
            Found::Nothing | Found::Damaged => self.len,
        }
    }

    /// Bytes of the file.
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// Whether the end footer is whole.
    pub fn end_is_good(&self) -> bool {
        self.end.good().is_some()
    }

    /// Whether the copy at the start is the footer that serves.
    pub fn copy_serves(&self, footer: &Footer) -> bool {
        self.copy.good() == Some(footer)
    }

    fn notices(&self, footer: &Footer, format: Format) -> Vec<Notice> {
        let mut notices = Vec::new();
        if !self.end_is_good() {
            notices.push(if self.in_use {
                Notice::InUse
            } else {
                Notice::EndFooterDamaged
            });
        } else if self.end_len != spec::SECTOR {
            notices.push(Notice::ShortFooter);
        }
        if format != Format::Fixed {
            match self.copy {
                Found::Good(copy) if copy == *footer => {}
                Found::Good(_) => notices.push(Notice::FooterCopyDiffers),
                Found::Nothing | Found::Damaged => notices.push(Notice::FooterCopyDamaged),
            }
        }
        let geometry = Geometry::from(footer.geometry);
        // Every geometry rounds down by less than a cylinder; only programs that trust it are at odds with the size.
        let trusted = footer.creator_application == *b"vpc " && geometry != Geometry::MAX;
        if trusted && geometry.capacity() < footer.current_size.get() / spec::SECTOR {
            notices.push(Notice::GeometrySmaller);
        }
        if footer.features.get() & spec::FEATURE_TEMPORARY != 0 {
            notices.push(Notice::Temporary);
        }
        if footer.saved_state != 0 {
            notices.push(Notice::SavedState);
        }
        notices
    }
}

fn is_sparse(footer: &Footer) -> bool {
    matches!(
        footer.disk_type.get(),
        spec::DISK_TYPE_DYNAMIC | spec::DISK_TYPE_DIFFERENCING
    )
}

/// The checks that need nothing but the footer.
fn validate(footer: &Footer, path: &Path) -> Result<Format> {
    let version = footer.version.get();
    if version >> 16 != spec::VERSION >> 16 {
        return Err(Error::new(
            Kind::UnsupportedVersion {
                structure: Structure::Footer,
                version,
            },
            path,
        ));
    }
    let format = match footer.disk_type.get() {
        spec::DISK_TYPE_FIXED => Format::Fixed,
        spec::DISK_TYPE_DYNAMIC => Format::Dynamic,
        spec::DISK_TYPE_DIFFERENCING => Format::Differencing,
        other => return Err(Error::new(Kind::UnsupportedDiskType(other), path)),
    };
    let size = footer.current_size.get();
    if size == 0 || !size.is_multiple_of(spec::SECTOR) {
        return Err(Error::corrupt(Damage::Size(size), path));
    }
    if format != Format::Fixed && size / spec::SECTOR > u64::from(u32::MAX) {
        return Err(Error::corrupt(Damage::SizeTooLarge(size), path));
    }
    // The smallest geometry that the specification gives has 68 sectors: below that a zero is no damage.
    if !Geometry::from(footer.geometry).is_valid() && size / spec::SECTOR >= 68 {
        return Err(Error::corrupt(Damage::Geometry, path));
    }
    Ok(format)
}
