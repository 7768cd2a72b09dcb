// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Making new images.
//!
//! An image appears under its name when it is complete and durable, or not at all; a file that has the name
//! already is never touched. Sizes are exact.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use zerocopy::{FromZeros, IntoBytes};

use crate::buffer::PageBuffer;
use crate::chain::open::open_image;
use crate::chain::space::ALIGNMENT;
use crate::error::{Error, Kind, Result};
use crate::format::{Footer, Header, LocatorEntry, locator, spec, time};
use crate::geometry::Geometry;
use crate::image::Format;
use crate::storage::{Access, FileSystem, HostFileSystem, Storage};
use crate::task::Watch;

mod id;

/// What can be chosen about a new image.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    block_size: u32,
    unique_id: Option<[u8; 16]>,
    time: Option<SystemTime>,
    /// The footer of the image that this is a new version of.
    previous: Option<Box<Footer>>,
    watch: Watch,
    file_system: Arc<dyn FileSystem>,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            block_size: spec::BLOCK_SIZE,
            unique_id: None,
            time: None,
            previous: None,
            watch: Watch::default(),
            file_system: Arc::new(HostFileSystem::default()),
        }
    }
}

impl CreateOptions {
    /// Blocks of 2 MiB, a random ID, the present time, on the host's file system.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes in a block of a dynamic or differencing image: a power of two from 4 KiB to 256 MiB.
    #[must_use]
    pub fn block_size(mut self, bytes: u32) -> Self {
        self.block_size = bytes;
        self
    }

    /// The disk's identity, where it must be a known one.
    #[must_use]
    pub fn unique_id(mut self, id: [u8; 16]) -> Self {
        self.unique_id = Some(id);
        self
    }

    /// The time of creation to write down.
    #[must_use]
    pub fn time(mut self, time: SystemTime) -> Self {
        self.time = Some(time);
        self
    }

    /// Lets the image not be made when the watch is cancelled before it is there.
    #[must_use]
    pub fn watch(mut self, watch: &Watch) -> Self {
        self.watch = watch.clone();
        self
    }

    /// Makes the image on another file system than the host's.
    #[must_use]
    pub fn file_system(mut self, files: Arc<dyn FileSystem>) -> Self {
        self.file_system = files;
        self
    }

    /// Keeps what a footer says about the disk rather than about its file: who made it and when, its identity, its
    /// marks, and the geometry that the guest knows.
    pub(crate) fn previous(mut self, footer: &Footer) -> Self {
        self.previous = Some(Box::new(*footer));
        self
    }

    pub(crate) fn files(&self) -> &Arc<dyn FileSystem> {
        &self.file_system
    }

    fn footer(&self, format: Format, size: u64) -> Footer {
        let mut footer = self.new_footer(format, size);
        if let Some(previous) = &self.previous {
            let made = footer;
            footer = **previous;
            footer.version = made.version;
            footer.data_offset = made.data_offset;
            footer.disk_type = made.disk_type;
            footer.features = (previous.features.get() | spec::FEATURE_RESERVED).into();
            footer.current_size = made.current_size;
            if previous.current_size != made.current_size {
                // A program that knows a geometry's maker reads the size from it.
                footer.geometry = made.geometry;
                footer.creator_application = made.creator_application;
                footer.creator_version = made.creator_version;
                footer.creator_host_os = made.creator_host_os;
            }
        }
        footer.seal();
        footer
    }

    fn new_footer(&self, format: Format, size: u64) -> Footer {
        let mut footer = Footer::new_zeroed();
        footer.cookie = spec::FOOTER_COOKIE;
        footer.features = spec::FEATURE_RESERVED.into();
        footer.version = spec::VERSION.into();
        footer.data_offset = if format == Format::Fixed {
            spec::NONE
        } else {
            HEADER_OFFSET
        }
        .into();
        footer.time_stamp = time::stamp(self.time.unwrap_or_else(SystemTime::now)).into();
        footer.creator_application = spec::CREATOR_APPLICATION;
        footer.creator_version = spec::CREATOR_VERSION.into();
        footer.creator_host_os = spec::CREATOR_HOST_OS;
        footer.original_size = size.into();
        footer.current_size = size.into();
        footer.geometry = Geometry::from_sectors(size / spec::SECTOR).into();
        footer.disk_type = match format {
            Format::Fixed | Format::Raw => spec::DISK_TYPE_FIXED,
            Format::Dynamic => spec::DISK_TYPE_DYNAMIC,
            Format::Differencing => spec::DISK_TYPE_DIFFERENCING,
        }
        .into();
        footer.unique_id = self.unique_id.unwrap_or_else(id::random);
        footer
    }
}

/// The header stands behind the footer copy.
const HEADER_OFFSET: u64 = spec::SECTOR;
/// Then come the locators, if there are any.
const LOCATORS_OFFSET: u64 = HEADER_OFFSET + size_of::<Header>() as u64;

/// Makes a fixed image of `size` bytes. Its space is reserved on the host if the file system can do that.
///
/// # Errors
/// [`Kind::TooSmall`], [`Kind::TooLarge`], [`Kind::InvalidSize`], [`Kind::AlreadyExists`], [`Kind::Cancelled`], or what the host
/// says.
pub fn fixed(path: impl AsRef<Path>, size: u64, options: &CreateOptions) -> Result<()> {
    let path = path.as_ref();
    check_size(size, path)?;
    let footer = options.footer(Format::Fixed, size);
    publish(path, options, |storage| {
        if !storage.allocate(0..size + spec::SECTOR)? {
            storage.set_len(size + spec::SECTOR)?;
        }
        storage.write_at(footer.as_bytes(), size)
    })
}

/// Makes an empty dynamic image of a disk of `size` bytes.
///
/// # Errors
/// As [`fixed`], and [`Kind::InvalidBlockSize`].
pub fn dynamic(path: impl AsRef<Path>, size: u64, options: &CreateOptions) -> Result<()> {
    let path = path.as_ref();
    check_size(size, path)?;
    sparse(
        path,
        options.footer(Format::Dynamic, size),
        Header::new_zeroed(),
        &[],
        options,
    )
}

/// Makes an empty differencing image over a parent, of the same size. The parent is opened to see that it is an
/// image; it is not changed.
///
/// # Errors
/// As [`dynamic`]; [`Kind::WrongFormat`] for a raw parent, and all that opening the parent can give.
pub fn differencing(path: impl AsRef<Path>, parent: impl AsRef<Path>, options: &CreateOptions) -> Result<()> {
    let (path, parent) = (path.as_ref(), parent.as_ref());
    let files = &*options.file_system;
    let image = open_image(files, parent, Access::Shared, None)?;
    let Some(parent_id) = image.unique_id() else {
        return Err(Error::new(Kind::WrongFormat, parent));
    };
    if image.size > spec::MAX_SIZE {
        return Err(Error::new(Kind::TooLarge, path));
    }
    let parent_error = |error| Error::io(error, parent, "finding the full name of");
    let full = files.canonical(parent).map_err(parent_error)?;
    let modified = files
        .modified(parent)
        .map_err(|error| Error::io(error, parent, "reading the time of"))?;
    let folder = match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => files.canonical(folder),
        None => files.canonical(Path::new(".")),
    };
    let folder = folder
        .map_err(|error| Error::io(error, path, "finding the folder of").with_kind(Kind::FolderNotFound))?;
    let invalid = || Error::new(Kind::InvalidName, parent);
    let locators = locator::encode(&folder, &full).ok_or_else(invalid)?;
    let name: Vec<u16> = full
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(invalid)?
        .encode_utf16()
        .collect();

    let mut header = Header::new_zeroed();
    header.parent_unique_id = parent_id;
    header.parent_time_stamp = time::stamp(modified).into();
    // The last unit stays zero: readers may count on an end.
    if name.len() >= header.parent_unicode_name.len() {
        return Err(invalid());
    }
    for (slot, unit) in header.parent_unicode_name.iter_mut().zip(name) {
        *slot = unit.into();
    }
    let mut footer = options.footer(Format::Differencing, image.size);
    // The guest sees the parent's geometry, so that a system that boots from the parent boots from the child.
    if options.previous.is_none() {
        footer.geometry = image.geometry().into();
        footer.seal();
    }
    sparse(path, footer, header, &locators, options)
}

/// Writes a sparse image with no blocks, from its start to its end:
///
/// | offset | what |
/// | --- | --- |
/// | 0 | footer copy |
/// | 512 | header |
/// | 1536 | parent locators, each from a sector border on |
/// | a 4 KiB border | block allocation table, then padding to the next border |
/// | there | end footer |
fn sparse(
    path: &Path,
    footer: Footer,
    mut header: Header,
    locators: &[([u8; 4], Vec<u8>)],
    options: &CreateOptions,
) -> Result<()> {
    let block_size = options.block_size;
    let legal = spec::MIN_NEW_BLOCK_SIZE..=spec::MAX_NEW_BLOCK_SIZE;
    let entries = footer.current_size.get().div_ceil(u64::from(block_size.max(1)));
    let entries = u32::try_from(entries).unwrap_or(u32::MAX);
    if !block_size.is_power_of_two() || !legal.contains(&block_size) || entries > spec::MAX_TABLE_ENTRIES {
        return Err(Error::new(Kind::InvalidBlockSize, path));
    }
    let mut front = vec![0; LOCATORS_OFFSET as usize];
    for (slot, (code, data)) in header.parent_locators.iter_mut().zip(locators) {
        let space = (data.len() as u64).next_multiple_of(spec::SECTOR) as u32;
        *slot = LocatorEntry {
            platform_code: *code,
            data_space: space.into(),
            data_length: (data.len() as u32).into(),
            reserved: 0.into(),
            data_offset: (front.len() as u64).into(),
        };
        front.extend(data);
        front.resize(front.len().next_multiple_of(spec::SECTOR as usize), 0);
    }
    let table_offset = front.len().next_multiple_of(ALIGNMENT as usize);
    header.cookie = spec::HEADER_COOKIE;
    header.data_offset = spec::NONE.into();
    header.table_offset = (table_offset as u64).into();
    header.header_version = spec::VERSION.into();
    header.max_table_entries = entries.into();
    header.block_size = block_size.into();
    header.seal();

    let table = u64::from(entries) * 4;
    let table = table_offset as u64..(table_offset as u64 + table).next_multiple_of(ALIGNMENT);
    front.resize(table_offset, 0);
    let start = [footer.as_bytes(), header.as_bytes()].concat();
    if let Some(target) = front.get_mut(..start.len()) {
        target.copy_from_slice(&start);
    }
    publish(path, options, |storage| {
        storage.write_at(&front, 0)?;
        write_empty_table(storage, table.clone())?;
        storage.write_at(footer.as_bytes(), table.end)
    })
}

/// Writes a table that names no block. That of a large disk has megabytes, so it comes from one piece of memory that stays
/// in the processor's cache, and the disk begins with it early.
fn write_empty_table(storage: &dyn Storage, range: Range<u64>) -> std::io::Result<()> {
    const PIECE: u64 = 256 << 10;
    const BATCH: u64 = 1 << 20;
    let mut unused = PageBuffer::new((range.end - range.start).min(PIECE) as usize);
    unused.fill(0xff);
    let mut at = range.start;
    while at < range.end {
        let len = (range.end - at).min(PIECE);
        storage.write_at(unused.get(..len as usize).unwrap_or_default(), at)?;
        at += len;
        if (at - range.start).is_multiple_of(BATCH) {
            storage.start_sync();
        }
    }
    Ok(())
}

/// Bytes of the file of an image that grows, with blocks of the usual size, when all of its blocks are there. What comes
/// with a parent is not counted: less than a block.
pub(crate) fn full_file(size: u64) -> u64 {
    let block = u64::from(spec::BLOCK_SIZE);
    let blocks = size.div_ceil(block);
    let front = LOCATORS_OFFSET.next_multiple_of(ALIGNMENT) + (blocks * 4).next_multiple_of(ALIGNMENT);
    // A block's bitmap is padded so that its data is aligned.
    front + blocks * (block + ALIGNMENT) + spec::SECTOR
}

/// Whether a VHD's disk may have `size` bytes.
pub(crate) fn check_size(size: u64, path: &Path) -> Result<()> {
    let kind = match size {
        _ if size < spec::MIN_SIZE => Kind::TooSmall,
        _ if size > spec::MAX_SIZE => Kind::TooLarge,
        _ if !size.is_multiple_of(spec::SECTOR) => Kind::InvalidSize,
        _ => return Ok(()),
    };
    Err(Error::new(kind, path))
}

/// Fills a file under a temporary name beside the final one, makes it durable, and gives it its name.
fn publish(
    path: &Path,
    options: &CreateOptions,
    fill: impl FnOnce(&dyn Storage) -> std::io::Result<()>,
) -> Result<()> {
    let files = &*options.file_system;
    if path.file_name().is_none() {
        return Err(Error::new(Kind::InvalidName, path));
    }
    // Says so before any work is done; `publish` is what makes sure.
    if files.canonical(path).is_ok() {
        return Err(Error::new(Kind::AlreadyExists, path));
    }
    let temporary = temporary_name(path);
    let storage = files.create_new(&temporary).map_err(|error| {
        let error = Error::io(error, path, "creating");
        match error.kind() {
            Kind::NotFound => error.with_kind(Kind::FolderNotFound),
            _ => error,
        }
    })?;
    let filled = fill(&*storage).and_then(|()| storage.sync());
    drop(storage);
    if let Err(cancelled) = options.watch.check_path(path) {
        let _ = files.remove(&temporary);
        return Err(cancelled);
    }
    let published = filled.and_then(|()| files.publish(&temporary, path));
    published.map_err(|error| {
        // Nothing half-made stays; if that fails too, the first failure is the one to report.
        let _ = files.remove(&temporary);
        Error::io(error, path, "creating")
    })
}

pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    let [a, b, c, d, ..] = id::random();
    path.with_file_name(format!(".{a:02x}{b:02x}{c:02x}{d:02x}.vhd.new"))
}
