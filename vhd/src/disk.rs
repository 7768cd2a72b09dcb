// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The disk that an image, or a chain of them, holds.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chain::extent::Extent;
use crate::chain::leaf::Leaf;
use crate::chain::write::WriteTicket;
use crate::chain::{Chain, ReadGuard, open};
use crate::compact::unused;
use crate::error::Result;
use crate::format::{Footer, Header};
use crate::geometry::Geometry;
use crate::image::{Format, Image, Notice};
use crate::storage::{Access, FileSystem, HostFileSystem, Storage};

/// How a disk is opened.
///
/// ```
/// let options = vhd::OpenOptions::new().read_only(true).search_path("/srv/bases");
/// ```
#[derive(Debug, Clone)]
pub struct OpenOptions {
    pub(crate) read_only: bool,
    pub(crate) format: Option<Format>,
    pub(crate) ignore_parent_timestamp: bool,
    pub(crate) search_paths: Vec<PathBuf>,
    pub(crate) file_system: Arc<dyn FileSystem>,
    pub(crate) cache: usize,
    pub(crate) ahead: u64,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            format: None,
            ignore_parent_timestamp: false,
            search_paths: Vec::new(),
            file_system: Arc::new(HostFileSystem::default()),
            cache: 16 << 20,
            ahead: 32 << 20,
        }
    }
}

impl OpenOptions {
    /// For reading and writing, any format, on the host's file system.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens without the right to write; others may read the image at the same time.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Demands a format. Without it a file without a footer is raw.
    ///
    /// A raw disk that a guest writes to should be opened with its format named: a guest can write a footer, and
    /// probing would believe it.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Accepts a parent that was modified after its child was made, so long as its ID is right.
    #[must_use]
    pub fn ignore_parent_timestamp(mut self, ignore: bool) -> Self {
        self.ignore_parent_timestamp = ignore;
        self
    }

    /// Adds a folder where parents are looked for when they are at none of the places that their children name.
    #[must_use]
    pub fn search_path(mut self, folder: impl Into<PathBuf>) -> Self {
        self.search_paths.push(folder.into());
        self
    }

    /// Finds and opens files through another file system than the host's.
    #[must_use]
    pub fn file_system(mut self, files: Arc<dyn FileSystem>) -> Self {
        self.file_system = files;
        self
    }

    /// Bytes that cached bitmaps and extents of the chain may take; 16 MiB by default.
    #[must_use]
    pub fn cache_size(mut self, bytes: usize) -> Self {
        self.cache = bytes;
        self
    }

    /// How far an image grows ahead of what it needs while it is open; 32 MiB by default.
    #[must_use]
    pub fn grow_ahead(mut self, bytes: u64) -> Self {
        self.ahead = bytes;
        self
    }
}

/// An open disk. All calls take `&self` and may come from many threads; reads take no lock that covers the image.
///
/// Writes are visible at once and durable after [`Disk::flush`], which is the only point of durability. Dropping
/// the disk flushes and closes it, but only [`Disk::close`] tells whether that went well.
#[derive(Debug)]
pub struct Disk {
    chain: Arc<Chain>,
    /// What is of no use to anyone: see [`Disk::overlook`].
    unused: Vec<Range<u64>>,
}

impl Disk {
    /// Opens an image with all of its parents: a fixed, dynamic or differencing VHD, else a raw disk.
    ///
    /// The image is locked against all other use, or against writers if it is opened read-only; its parents are
    /// locked against writers.
    ///
    /// # Errors
    /// Any [`crate::Kind`] that speaks of opening; nothing was changed then.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let layers = open::open(path.as_ref(), options)?;
        let chain = Chain::new(layers, !options.read_only, options.cache, options.ahead);
        Ok(Self {
            chain: Arc::new(chain),
            unused: Vec::new(),
        })
    }

    /// A raw disk that can only be read, over a storage that is open already. It need not be a file: so a program reads
    /// disks in formats that this library does not know.
    ///
    /// # Errors
    /// [`crate::Kind::NotAnImage`] if it is empty, or what the storage says.
    pub fn over(path: impl AsRef<Path>, storage: Arc<dyn Storage>) -> Result<Self> {
        let image = Image::open(path.as_ref(), storage, Some(Format::Raw))?;
        let options = OpenOptions::default();
        let chain = Chain::new(vec![image], false, options.cache, options.ahead);
        Ok(Self {
            chain: Arc::new(chain),
            unused: Vec::new(),
        })
    }

    /// Opens one image without its parents: what it does not have itself reads as zeros.
    pub(crate) fn open_alone(path: &Path, options: &OpenOptions) -> Result<Self> {
        let access = if options.read_only {
            Access::Shared
        } else {
            Access::Exclusive
        };
        let image = open::open_image(&*options.file_system, path, access, options.format)?;
        // Read-only as a disk even if its file is not: a write would lack the rest of its sectors.
        let chain = Chain::new(vec![image], false, options.cache, options.ahead);
        Ok(Self {
            chain: Arc::new(chain),
            unused: Vec::new(),
        })
    }

    /// The disk's size in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a disk is never empty")]
    pub fn len(&self) -> u64 {
        self.chain.size()
    }

    /// Whether writes are refused: opened so, or made so by a failure.
    #[must_use]
    pub fn read_only(&self) -> bool {
        !self.chain.writable() || self.chain.latched()
    }

    /// The geometry to show to the guest.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.chain.top().geometry()
    }

    /// The disk's identity; raw disks have none.
    #[must_use]
    pub fn unique_id(&self) -> Option<[u8; 16]> {
        self.chain.top().unique_id()
    }

    /// The format of the image it was opened by.
    #[must_use]
    pub fn format(&self) -> Format {
        self.chain.top().format()
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.chain.top().path
    }

    /// The images of the chain: the one it was opened by, then its parent, and so on.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = Layer<'_>> {
        let leaf = self.chain.leaf();
        let images = self.chain.layers().iter().enumerate();
        images.map(move |(index, image)| Layer {
            image,
            leaf: leaf.filter(|_| index == 0),
        })
    }

    /// Fills a buffer with the disk's content from `offset` on, in bytes.
    ///
    /// # Errors
    /// [`crate::Kind::OutOfRange`] beyond the end of the disk, or what the host says.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.chain.read_at(offset, buffer)
    }

    /// Writes a buffer at `offset`, in bytes. Whole sectors are faster than parts of them.
    ///
    /// A part of a sector is written by reading the rest of it first; a write of another part of the same sector
    /// at the same time is safe only if it is of a part too.
    ///
    /// # Errors
    /// As [`Disk::read_at`], and [`crate::Kind::ReadOnly`]. After a failure of the host the disk is read-only.
    pub fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<()> {
        self.chain.write_at(offset, buffer)
    }

    /// Makes a range of whole sectors read as zeros; what can be given back to the host is.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn write_zeroes(&self, offset: u64, len: u64) -> Result<()> {
        self.chain.write_zeroes(offset, len)
    }

    /// Tells that a range's content is of no use any more (TRIM). It may read as before or as zeros after this.
    ///
    /// # Errors
    /// As [`Disk::write_at`].
    pub fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.chain.discard(offset, len)
    }

    /// Makes everything durable that was written before this call.
    ///
    /// # Errors
    /// What the host says; the disk is read-only then.
    pub fn flush(&self) -> Result<()> {
        self.chain.flush()
    }

    /// Flushes, gives back the space that the image grew ahead, and closes the files.
    ///
    /// # Errors
    /// As [`Disk::flush`].
    pub fn close(self) -> Result<()> {
        match Arc::try_unwrap(self.chain) {
            Ok(chain) => chain.close(),
            // A ticket is still held: the last one closes.
            Err(shared) => shared.flush(),
        }
    }

    /// Says where the content of a range is, for callers that read it on their own. Appends to `extents`, in order
    /// and without gaps; they may be read until the guard is dropped.
    ///
    /// This may read a block's bitmap, the first time that one is needed.
    ///
    /// # Errors
    /// As [`Disk::read_at`].
    pub fn resolve_read(&self, range: Range<u64>, extents: &mut Vec<Extent>) -> Result<ReadGuard> {
        let range = self
            .chain
            .check(range.start, range.end.saturating_sub(range.start))?;
        let guard = ReadGuard::new(&self.chain);
        self.chain.resolve(range, |extent| {
            if self.unused.is_empty() {
                extents.push(extent);
            } else {
                extents.extend(unused::without(extent, &self.unused));
            }
            Ok(())
        })?;
        Ok(guard)
    }

    /// As [`Disk::resolve_read`], without a look at any file, so that it never waits; `None` if memory does not know it all. `extents`
    /// may have grown then.
    ///
    /// # Errors
    /// [`crate::Kind::OutOfRange`] beyond the end of the disk.
    pub fn resolve_known(&self, range: Range<u64>, extents: &mut Vec<Extent>) -> Result<Option<ReadGuard>> {
        let range = self
            .chain
            .check(range.start, range.end.saturating_sub(range.start))?;
        let guard = ReadGuard::new(&self.chain);
        Ok(self.chain.resolve_known(range, extents).then_some(guard))
    }

    /// The chain behind it.
    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// From now on [`Disk::resolve_read`] says of these ranges, which are in order and apart, that they are zeros: a new
    /// version of the image does not get them. Reads are not changed.
    pub(crate) fn overlook(&mut self, ranges: Vec<Range<u64>>) {
        self.unused = ranges;
    }

    /// Begins a write of whole sectors, for callers that write the data on their own, to the places the ticket
    /// names. Nothing of it is seen before the ticket is committed.
    ///
    /// # Errors
    /// As [`Disk::write_at`]; [`crate::Kind::OutOfRange`] also if the range is not of whole sectors.
    pub fn begin_write(&self, range: Range<u64>) -> Result<WriteTicket> {
        let range = self
            .chain
            .check(range.start, range.end.saturating_sub(range.start))?;
        WriteTicket::new(&self.chain, range)
    }

    /// The file of a layer, for callers that do payload I/O on their own.
    #[must_use]
    pub fn storage(&self, layer: usize) -> Option<Arc<dyn Storage>> {
        self.chain
            .layers()
            .get(layer)
            .map(|image| Arc::clone(&image.storage))
    }
}

/// One image of a chain.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    image: &'a Image,
    /// Has the table of the leaf, which changes.
    leaf: Option<&'a Leaf>,
}

impl<'a> Layer<'a> {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &'a Path {
        &self.image.path
    }

    /// Its format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.image.format()
    }

    /// Its disk's size in bytes.
    #[must_use]
    pub fn disk_size(&self) -> u64 {
        self.image.size
    }

    /// Its geometry.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.image.geometry()
    }

    /// Its footer; raw images have none.
    #[must_use]
    pub fn footer(&self) -> Option<&'a Footer> {
        self.image.footer.as_ref()
    }

    /// Its dynamic disk header, if it is made of blocks.
    #[must_use]
    pub fn header(&self) -> Option<&'a Header> {
        self.image.sparse().map(|sparse| &sparse.header)
    }

    /// Bytes in a block, if it is made of blocks.
    #[must_use]
    pub fn block_size(&self) -> Option<u64> {
        self.image.sparse().map(|sparse| sparse.blocks.size())
    }

    /// How many blocks are in the file, if it is made of blocks.
    #[must_use]
    pub fn allocated_blocks(&self) -> Option<u64> {
        let sparse = self.image.sparse()?;
        let count = self
            .leaf
            .map_or_else(|| sparse.table.used().count(), Leaf::used_blocks);
        Some(count as u64)
    }

    /// The name of its parent, as its header has it.
    #[must_use]
    pub fn parent_name(&self) -> Option<&'a str> {
        self.image
            .sparse()?
            .parent
            .as_ref()
            .map(|parent| parent.name.as_str())
    }

    /// What is unusual about it.
    #[must_use]
    pub fn notices(&self) -> &'a [Notice] {
        &self.image.notices
    }
}
