// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The structures of a dynamic or differencing image: header, block allocation table and parent locators.

use std::ops::Range;
use std::path::Path;

use zerocopy::{FromZeros, IntoBytes};

use super::Footers;
use super::map::Map;
use super::table::Table;
use crate::error::{Damage, Error, Kind, Result, Structure};
use crate::format::locator::{self, Place};
use crate::format::{Footer, Header, bitmap, spec};
use crate::storage::Storage;

/// What a sparse image says about itself, checked.
#[derive(Debug)]
pub(crate) struct Sparse {
    pub header: Header,
    pub blocks: Blocks,
    pub table: Table,
    /// File offset of the table.
    pub table_offset: u64,
    /// Present in a differencing image.
    pub parent: Option<Parent>,
    /// Where everything is but blocks and the end footer.
    pub structures: Vec<Range<u64>>,
    /// The state of the file's tail and of its footers, for a writer.
    pub tail: Tail,
}

/// Sizes of the blocks of an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks {
    /// The block size is two to this power.
    pub shift: u32,
    /// Bytes of the sector bitmap in front of each block.
    pub bitmap: u64,
    /// Bytes of the disk.
    pub disk: u64,
}

impl Blocks {
    pub fn new(block_size: u32, disk: u64) -> Self {
        Self {
            shift: block_size.trailing_zeros(),
            bitmap: bitmap::bytes(u64::from(block_size)),
            disk,
        }
    }

    /// Bytes of data in a block.
    pub const fn size(&self) -> u64 {
        1 << self.shift
    }

    /// Number of blocks of the disk.
    pub const fn count(&self) -> u64 {
        self.disk.div_ceil(self.size())
    }

    /// Bytes that a block takes in the file.
    pub const fn footprint(&self) -> u64 {
        self.bitmap + self.size()
    }

    /// Sectors of the disk in a block: fewer in the last one.
    pub fn sectors(&self, block: u32) -> u32 {
        let start = u64::from(block) << self.shift;
        (self.disk.saturating_sub(start).min(self.size()) / spec::SECTOR) as u32
    }

    /// The blocks that a range of the disk touches, each with the part of the range in it.
    pub fn split(&self, range: Range<u64>) -> impl Iterator<Item = (u32, Range<u64>)> + use<> {
        let shift = self.shift;
        let mut at = range.start;
        std::iter::from_fn(move || {
            (at < range.end).then(|| {
                let block = at >> shift;
                let part = at..range.end.min((block + 1) << shift);
                at = part.end;
                (block as u32, part)
            })
        })
    }

    /// File offset of the byte at `position` of the disk, whose block starts at `sector`.
    pub const fn locate(&self, sector: u32, position: u64) -> u64 {
        sector as u64 * spec::SECTOR + self.bitmap + (position & (self.size() - 1))
    }
}

/// What a differencing image says about its parent.
#[derive(Debug, Clone)]
pub(crate) struct Parent {
    pub id: [u8; 16],
    pub time_stamp: u32,
    /// The file name in the header.
    pub name: String,
    /// In the order of the header.
    pub places: Vec<Place>,
}

/// The state of a file's end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tail {
    /// Bytes of the file.
    pub file_len: u64,
    /// Where the end footer starts, or the file ends without one.
    pub limit: u64,
    /// The first byte behind every structure but the blocks.
    pub metadata_end: u64,
    /// The first byte behind every structure and block.
    pub end: u64,
    /// The end footer is whole and has all 512 bytes.
    pub footer_is_good: bool,
    /// The copy at the start is the footer that serves.
    pub copy_is_good: bool,
}

impl Sparse {
    pub fn read(path: &Path, storage: &dyn Storage, footer: &Footer, footers: &Footers) -> Result<Self> {
        let limit = footers.limit();
        let header_offset = footer.data_offset.get();
        let mut map = Map::new(path, limit);
        let header_range = map.place(Structure::Header, header_offset, size_of::<Header>() as u64)?;
        let header = read_header(path, storage, header_range.start)?;

        let block_size = header.block_size.get();
        if !block_size.is_power_of_two() || u64::from(block_size) < spec::SECTOR {
            return Err(Error::corrupt(Damage::BlockSize(block_size), path));
        }
        let blocks = Blocks::new(block_size, footer.current_size.get());
        let entries = header.max_table_entries.get();
        if u64::from(entries) < blocks.count() {
            return Err(Error::corrupt(
                Damage::TableTooShort {
                    needed: blocks.count(),
                    found: entries,
                },
                path,
            ));
        }
        if entries > spec::MAX_TABLE_ENTRIES {
            return Err(Error::corrupt(Damage::TableTooLong(entries), path));
        }
        let table_range = map.place(
            Structure::Table,
            header.table_offset.get(),
            u64::from(entries) * 4,
        )?;
        let parent = if footer.disk_type.get() == spec::DISK_TYPE_DIFFERENCING {
            Some(read_parent(path, storage, &header, &mut map, &footer.unique_id)?)
        } else {
            None
        };
        let table = Table::read(storage, table_range.start, entries)
            .map_err(|error| Error::io(error, path, "reading the block allocation table of"))?;
        let end = map.check_blocks(&table, &blocks)?;
        let tail = Tail {
            metadata_end: map.end(),
            file_len: footers.file_len(),
            limit,
            end,
            footer_is_good: footers.end_is_good() && limit + spec::SECTOR == footers.file_len(),
            copy_is_good: footers.copy_serves(footer),
        };
        Ok(Self {
            header,
            blocks,
            table,
            table_offset: table_range.start,
            parent,
            structures: map.into_ranges(),
            tail,
        })
    }
}

fn read_header(path: &Path, storage: &dyn Storage, offset: u64) -> Result<Header> {
    let mut header = Header::new_zeroed();
    storage
        .read_at(header.as_mut_bytes(), offset)
        .map_err(|error| Error::io(error, path, "reading the dynamic disk header of"))?;
    if header.cookie != spec::HEADER_COOKIE {
        return Err(Error::new(Kind::InvalidHeader, path));
    }
    if header.checksum.get() != header.sum() {
        return Err(Error::new(Kind::Checksum(Structure::Header), path));
    }
    let version = header.header_version.get();
    if version >> 16 != spec::VERSION >> 16 {
        return Err(Error::new(
            Kind::UnsupportedVersion {
                structure: Structure::Header,
                version,
            },
            path,
        ));
    }
    Ok(header)
}

fn read_parent(
    path: &Path,
    storage: &dyn Storage,
    header: &Header,
    map: &mut Map<'_>,
    own_id: &[u8; 16],
) -> Result<Parent> {
    let id = header.parent_unique_id;
    if id == [0; 16] || id == *own_id {
        return Err(Error::corrupt(Damage::ParentId, path));
    }
    let mut places = Vec::new();
    for entry in &header.parent_locators {
        let length = entry.data_length.get();
        if !locator::is_known(entry.platform_code) || length == 0 {
            continue;
        }
        if length > spec::MAX_LOCATOR {
            return Err(Error::corrupt(Damage::LocatorTooLong(length), path));
        }
        let range = map.place(Structure::Locator, entry.data_offset.get(), u64::from(length))?;
        let mut data = vec![0; length as usize];
        storage
            .read_at(&mut data, range.start)
            .map_err(|error| Error::io(error, path, "reading a parent locator of"))?;
        places.extend(locator::decode(entry.platform_code, &data));
    }
    let name = header.parent_name();
    if name.is_empty() && places.is_empty() {
        return Err(Error::corrupt(Damage::NoParentName, path));
    }
    Ok(Parent {
        id,
        time_stamp: header.parent_time_stamp.get(),
        name,
        places,
    })
}
