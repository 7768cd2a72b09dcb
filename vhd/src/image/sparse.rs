// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The structures of a dynamic or differencing image: header, block allocation table and parent locators.

use std::ops::Range;
use std::path::Path;

use zerocopy::{FromZeros, IntoBytes};

use super::Footers;
use crate::error::{Damage, Error, Kind, Result, Structure};
use crate::format::locator::{self, Place};
use crate::format::{Footer, Header, bitmap, spec};
use crate::storage::Storage;

/// What a sparse image says about itself, checked.
#[derive(Debug)]
pub(crate) struct Sparse {
    pub header: Header,
    pub blocks: Blocks,
    /// The first sector of each block that is in the file, else [`spec::UNUSED`].
    pub table: Vec<u32>,
    /// File offset of the table.
    pub table_offset: u64,
    /// Present in a differencing image.
    pub parent: Option<Parent>,
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
        let mut table = vec![0u32; entries as usize];
        storage
            .read_at(table.as_mut_bytes(), table_range.start)
            .map_err(|error| Error::io(error, path, "reading the block allocation table of"))?;
        for entry in &mut table {
            *entry = u32::from_be(*entry);
        }
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

/// Which structure is where in the file, to see that none overlaps another.
struct Map<'a> {
    path: &'a Path,
    /// Nothing may reach beyond.
    limit: u64,
    taken: Vec<(Structure, Range<u64>)>,
}

impl<'a> Map<'a> {
    fn new(path: &'a Path, limit: u64) -> Self {
        Self {
            path,
            limit,
            taken: vec![(Structure::FooterCopy, 0..spec::SECTOR)],
        }
    }

    /// Takes a range for a structure; it must start on a sector and lie inside of the file.
    fn place(&mut self, structure: Structure, offset: u64, len: u64) -> Result<Range<u64>> {
        if !offset.is_multiple_of(spec::SECTOR) {
            return Err(Error::corrupt(Damage::Misaligned(structure), self.path));
        }
        let end = offset.checked_add(len).filter(|&end| end <= self.limit);
        let Some(end) = end else {
            return Err(Error::corrupt(Damage::OutsideFile(structure), self.path));
        };
        // Writers work in whole sectors, so the rest of the last one belongs to the structure too.
        let range = offset..end.next_multiple_of(spec::SECTOR);
        if let Some((other, _)) = self.taken.iter().find(|(_, taken)| overlap(taken, &range)) {
            return Err(Error::corrupt(Damage::Overlap(*other, structure), self.path));
        }
        self.taken.push((structure, range.clone()));
        Ok(range)
    }

    /// Where the last structure ends.
    fn end(&self) -> u64 {
        self.taken.iter().map(|(_, range)| range.end).max().unwrap_or(0)
    }

    /// Checks every entry of a table, also those behind the end of the disk, and returns where the last
    /// structure or block ends.
    fn check_blocks(&self, table: &[u32], blocks: &Blocks) -> Result<u64> {
        let footprint = blocks.footprint();
        let first_free = self.end();
        let mut end = first_free;
        let mut ascending = true;
        let mut previous_end = 0;
        for (block, &sector) in (0u32..).zip(table) {
            if sector == spec::UNUSED {
                continue;
            }
            let start = u64::from(sector) * spec::SECTOR;
            let block_end = start + footprint;
            if block_end > self.limit {
                return Err(Error::corrupt(
                    Damage::BlockOutsideFile { block, sector },
                    self.path,
                ));
            }
            // Blocks stand behind all other structures as a rule; only then is there nothing to compare.
            if start < first_free
                && let Some((structure, _)) = self
                    .taken
                    .iter()
                    .find(|(_, taken)| overlap(taken, &(start..block_end)))
            {
                let structure = *structure;
                return Err(Error::corrupt(
                    Damage::BlockInMetadata { block, structure },
                    self.path,
                ));
            }
            ascending &= start >= previous_end;
            previous_end = block_end;
            end = end.max(block_end);
        }
        if !ascending {
            self.check_overlap(table, footprint)?;
        }
        Ok(end)
    }

    fn check_overlap(&self, table: &[u32], footprint: u64) -> Result<()> {
        let sorted = by_position(table);
        for pair in sorted.windows(2) {
            let &[(one, first), (other, second)] = pair else {
                continue;
            };
            if u64::from(other - one) * spec::SECTOR < footprint {
                return Err(Error::corrupt(Damage::BlocksOverlap { first, second }, self.path));
            }
        }
        Ok(())
    }
}

/// The blocks of a table that are in the file, as (sector, block), by their position.
pub(crate) fn by_position(table: &[u32]) -> Vec<(u32, u32)> {
    let blocks = table
        .iter()
        .zip(0u32..)
        .filter(|&(&sector, _)| sector != spec::UNUSED);
    let mut sorted: Vec<_> = blocks.map(|(&sector, block)| (sector, block)).collect();
    sorted.sort_unstable();
    sorted
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}
