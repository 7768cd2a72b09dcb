// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is wrong with an image, all of it, and mending what can be mended.
//!
//! Opening an image stops at the first damage. This goes on: it reads the structures on its own and believes none of
//! them. The time it takes is that of sorting the table of blocks; payload is not read.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use zerocopy::{FromZeros, IntoBytes};

use crate::disk::{Disk, OpenOptions};
use crate::error::{Damage, Error, Result, Structure};
use crate::format::{Footer, Header, bitmap, spec};
use crate::image::Notice;
use crate::storage::{Access, Storage};
use crate::task::Watch;

/// Something about an image that is not as it should be.
#[derive(Debug)]
#[non_exhaustive]
pub enum Finding {
    /// Unusual, or damaged with a good copy to mend it from.
    Notice(Notice),
    /// A contradiction in the table of blocks.
    Block(Damage),
    /// Space that nothing points to.
    Unused(Unused),
    /// The image, or its chain, cannot be opened for another reason.
    Unusable(Error),
}

/// What becomes of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It is no damage.
    None,
    /// The good copy of the footer is written in the place of the bad one; nothing is lost.
    WriteFooter,
    /// The block is taken out of the table: it reads as zeros, or as the parent does, and what it held is lost.
    DropBlock(u32),
    /// This cannot be mended: restore the image from a copy.
    Restore,
}

impl Finding {
    /// What a repair does about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Notice(
                Notice::EndFooterDamaged
                | Notice::InUse
                | Notice::FooterCopyDamaged
                | Notice::FooterCopyDiffers,
            ) => Remedy::WriteFooter,
            Self::Notice(_) | Self::Unused(_) => Remedy::None,
            Self::Block(
                Damage::BlockOutsideFile { block, .. }
                | Damage::BlockInMetadata { block, .. }
                | Damage::BlocksOverlap { second: block, .. },
            ) => Remedy::DropBlock(*block),
            Self::Block(_) | Self::Unusable(_) => Remedy::Restore,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice(notice) => notice.fmt(f),
            Self::Block(damage) => damage.fmt(f),
            Self::Unused(unused) => unused.fmt(f),
            Self::Unusable(error) => error.fmt(f),
        }
    }
}

/// Space in the file of an image that no structure and no block has. Other programs leave it behind, and so does a power
/// cut; it harms nothing, and a compaction gives it back. What is less than two pages is left out: it is there for alignment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unused {
    /// Where, in bytes of the file, in order.
    pub pieces: Vec<Range<u64>>,
    /// How many blocks with their bitmaps take about as much: most likely the table has lost them.
    pub blocks: u64,
    /// All of its bytes.
    pub bytes: u64,
}

impl Unused {
    /// Looks between what is taken, which is in order and may overlap, and up to the end of the space for blocks.
    fn between(taken: &[Range<u64>], limit: u64, footprint: u64) -> Self {
        /// Of our own blocks. Behind the table, whose end is aligned too, nearly two of these may be free.
        const ALIGNMENT: u64 = 4096;
        let stride = footprint.next_multiple_of(ALIGNMENT);
        let mut unused = Self::default();
        let mut end = 0;
        for range in taken.iter().chain([&(limit..limit)]) {
            // A damaged structure may say that it stands anywhere.
            let start = range.start.min(limit);
            let free = start.saturating_sub(end);
            if free >= 2 * ALIGNMENT {
                unused.pieces.push(end..start);
                // Rounded: some programs align blocks, others pack them.
                unused.blocks += (free + stride / 2) / stride;
                unused.bytes += free;
            }
            end = end.max(range.end);
        }
        unused
    }
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pieces,
            blocks,
            bytes,
        } = self;
        let place = pieces.first().map_or(0, |piece| piece.start);
        write!(f, "nothing points to {bytes} bytes of the file, ")?;
        match pieces.len() {
            1 => write!(f, "at offset {place}")?,
            count => write!(f, "in {count} places from offset {place} on")?,
        }
        match blocks {
            0 => {}
            1 => write!(f, ", about as much as a block takes")?,
            blocks => write!(f, ", about as much as {blocks} blocks take")?,
        }
        write!(f, "; a compaction gives them back")
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "this is no damage"),
            Self::WriteFooter => write!(f, "write the footer again"),
            Self::DropBlock(block) => write!(f, "take block {block} out of the table; its content is lost"),
            Self::Restore => write!(f, "this cannot be repaired"),
        }
    }
}

/// Whether findings are mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is written.
    Look,
    /// What has a remedy gets it.
    Repair,
}

/// How many findings there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Damages, mended or not.
    pub damages: u64,
    /// Those that were mended.
    pub repaired: u64,
}

/// Checks an image, and that its parents can be opened. Calls `each` for every finding, before it is mended.
///
/// Repairs can be cut off anywhere: each is one write of one sector, and doing them again finishes them.
///
/// # Errors
/// When the file cannot be read, or not be opened in the way that the mode needs; what is wrong with its content is a
/// finding. [`crate::Kind::Cancelled`].
pub fn check(
    path: impl AsRef<Path>,
    options: &OpenOptions,
    mode: Mode,
    watch: &Watch,
    mut each: impl FnMut(&Finding),
) -> Result<Summary> {
    let path = path.as_ref();
    let access = match mode {
        Mode::Look => Access::Shared,
        Mode::Repair => Access::Exclusive,
    };
    let files = &options.file_system;
    let storage = files
        .open(path, access)
        .map_err(|error| Error::io(error, path, "opening"))?;
    let checker = Checker {
        path,
        storage: Arc::from(storage),
        mode,
        watch,
    };
    let mut summary = Summary::default();
    checker.run(&mut |finding| {
        each(&finding);
        summary.damages += u64::from(finding.remedy() != Remedy::None);
        summary.repaired += u64::from(checker.mend(&finding)?);
        Ok(())
    })?;
    drop(checker);
    // With the image itself in order, what is left is the way to its parents.
    let opened = Disk::open(path, &options.clone().read_only(true)).and_then(Disk::close);
    if let Err(error) = opened
        && summary.damages == summary.repaired
    {
        each(&Finding::Unusable(error));
        summary.damages += 1;
    }
    Ok(summary)
}

type Found<'a> = &'a mut dyn FnMut(Finding) -> Result<()>;

struct Checker<'a> {
    path: &'a Path,
    storage: Arc<dyn Storage>,
    mode: Mode,
    watch: &'a Watch,
}

/// Footer, header and the place of the table, when they can be made out.
struct Frame {
    footer: Footer,
    header: Header,
    limit: u64,
}

impl Checker<'_> {
    fn run(&self, found: Found<'_>) -> Result<()> {
        if let Some(frame) = self.frame()? {
            self.check_table(&frame, found)?;
        }
        // The table is in order now, or its damage is told: the rest is what opening would say.
        match crate::image::Image::open(self.path, Arc::clone(&self.storage), None) {
            Ok(image) => image
                .notices
                .iter()
                .try_for_each(|&notice| found(Finding::Notice(notice))),
            Err(error) => match error.kind() {
                // Told already, and not mended.
                crate::Kind::Corrupt(
                    Damage::BlockOutsideFile { .. }
                    | Damage::BlockInMetadata { .. }
                    | Damage::BlocksOverlap { .. },
                ) => Ok(()),
                _ => found(Finding::Unusable(error)),
            },
        }
    }

    /// The structures in front of the blocks, of an image that has blocks and whose header is in order.
    fn frame(&self) -> Result<Option<Frame>> {
        let len = self.len()?;
        let Some((footer, limit)) = self.footer(len)? else {
            return Ok(None);
        };
        let sparse = [spec::DISK_TYPE_DYNAMIC, spec::DISK_TYPE_DIFFERENCING];
        let offset = footer.data_offset.get();
        let inside = |offset: u64, bytes: u64| offset.checked_add(bytes).is_some_and(|end| end <= len);
        if !sparse.contains(&footer.disk_type.get()) || !inside(offset, size_of::<Header>() as u64) {
            return Ok(None);
        }
        let mut header = Header::new_zeroed();
        self.read(header.as_mut_bytes(), offset)?;
        let block_size = header.block_size.get();
        let entries = header.max_table_entries.get();
        let sound = header.cookie == spec::HEADER_COOKIE
            && header.checksum.get() == header.sum()
            && block_size.is_power_of_two()
            && u64::from(block_size) >= spec::SECTOR
            && entries <= spec::MAX_TABLE_ENTRIES
            && inside(header.table_offset.get(), u64::from(entries) * 4);
        Ok(sound.then_some(Frame {
            footer,
            header,
            limit,
        }))
    }

    /// The footer that serves, and where the space for blocks ends.
    fn footer(&self, len: u64) -> Result<Option<(Footer, u64)>> {
        let good = |footer: &Footer| footer.has_cookie() && footer.checksum.get() == footer.sum();
        // Where opening looks: early versions of Virtual PC left the last byte of the footer out.
        let end_len = if len % spec::SECTOR == spec::SECTOR - 1 {
            spec::SECTOR - 1
        } else {
            spec::SECTOR
        };
        if len >= end_len {
            let mut footer = Footer::new_zeroed();
            let bytes = footer.as_mut_bytes().get_mut(..end_len as usize);
            self.read(bytes.unwrap_or_default(), len - end_len)?;
            if good(&footer) {
                return Ok(Some((footer, len - end_len)));
            }
        }
        if len >= spec::SECTOR {
            let mut footer = Footer::new_zeroed();
            self.read(footer.as_mut_bytes(), 0)?;
            if good(&footer) {
                return Ok(Some((footer, len)));
            }
        }
        Ok(None)
    }

    fn check_table(&self, frame: &Frame, found: Found<'_>) -> Result<()> {
        let entries = frame.header.max_table_entries.get();
        let mut table = vec![0; entries as usize * 4];
        let table_offset = frame.header.table_offset.get();
        self.read(&mut table, table_offset)?;
        let block_size = u64::from(frame.header.block_size.get());
        let footprint = bitmap::bytes(block_size) + block_size;
        let metadata = metadata(frame);
        let entry = |(block, bytes): (u32, &[u8; 4])| (u32::from_be_bytes(*bytes), block);
        let mut used: Vec<(u32, u32)> = (0..).zip(table.as_chunks().0).map(entry).collect();
        used.retain(|&(sector, _)| sector != spec::UNUSED);
        self.watch.begin(used.len() as u64);
        // In the order of the disk, so that findings come in an order that a person can follow.
        let mut placed = Vec::with_capacity(used.len());
        for (sector, block) in used {
            self.watch.check_path(self.path)?;
            let start = u64::from(sector) * spec::SECTOR;
            let end = start + footprint;
            let inside = metadata
                .iter()
                .find(|(_, range)| start < range.end && range.start < end);
            if end > frame.limit {
                found(Finding::Block(Damage::BlockOutsideFile { block, sector }))?;
            } else if let Some(&(structure, _)) = inside {
                found(Finding::Block(Damage::BlockInMetadata { block, structure }))?;
            } else {
                placed.push((sector, block));
            }
            self.watch.advance(1);
        }
        placed.sort_unstable();
        let blocks = placed.iter().map(|&(sector, _)| {
            let start = u64::from(sector) * spec::SECTOR;
            start..start + footprint
        });
        let mut taken: Vec<Range<u64>> = metadata
            .into_iter()
            .map(|(_, range)| range)
            .chain(blocks)
            .collect();
        taken.sort_unstable_by_key(|range| range.start);
        let unused = Unused::between(&taken, frame.limit, footprint);
        if !unused.pieces.is_empty() {
            found(Finding::Unused(unused))?;
        }
        let mut last: Option<(u32, u32)> = None;
        for (sector, second) in placed {
            match last {
                Some((start, first)) if u64::from(sector - start) * spec::SECTOR < footprint => {
                    found(Finding::Block(Damage::BlocksOverlap { first, second }))?;
                }
                _ => last = Some((sector, second)),
            }
        }
        Ok(())
    }

    /// Applies the remedy of a finding. Returns whether it is mended.
    fn mend(&self, finding: &Finding) -> Result<bool> {
        if self.mode == Mode::Look {
            return Ok(false);
        }
        match finding.remedy() {
            Remedy::None | Remedy::Restore => Ok(false),
            Remedy::DropBlock(block) => {
                let Some(frame) = self.frame()? else {
                    return Ok(false);
                };
                let offset = frame.header.table_offset.get() + u64::from(block) * 4;
                self.write(&spec::UNUSED.to_be_bytes(), offset)?;
                Ok(true)
            }
            Remedy::WriteFooter => {
                let len = self.len()?;
                let Some((footer, limit)) = self.footer(len)? else {
                    return Ok(false);
                };
                if limit == len {
                    // A footer behind the end harms nothing that the last sector may hold.
                    self.write(footer.as_bytes(), len.next_multiple_of(spec::SECTOR))?;
                } else {
                    self.write(footer.as_bytes(), 0)?;
                }
                Ok(true)
            }
        }
    }

    fn len(&self) -> Result<u64> {
        let len = self.storage.len();
        len.map_err(|error| Error::io(error, self.path, "reading the length of"))
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let read = self.storage.read_at(buffer, offset);
        read.map_err(|error| Error::io(error, self.path, "reading a structure of"))
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let written = self.storage.write_at(bytes, offset);
        written
            .and_then(|()| self.storage.sync())
            .map_err(|error| Error::io(error, self.path, "repairing"))
    }
}

/// Where the structures are that no block may touch.
fn metadata(frame: &Frame) -> Vec<(Structure, Range<u64>)> {
    let header = &frame.header;
    let sized = |structure, offset: u64, len: u64| {
        let end = offset.saturating_add(len).checked_next_multiple_of(spec::SECTOR);
        (structure, offset..end.unwrap_or(u64::MAX))
    };
    let table = u64::from(header.max_table_entries.get()) * 4;
    let mut taken = vec![
        sized(Structure::FooterCopy, 0, spec::SECTOR),
        sized(
            Structure::Header,
            frame.footer.data_offset.get(),
            size_of::<Header>() as u64,
        ),
        sized(Structure::Table, header.table_offset.get(), table),
    ];
    if frame.footer.disk_type.get() == spec::DISK_TYPE_DIFFERENCING {
        let used = header.parent_locators.iter();
        taken.extend(used.filter(|entry| entry.data_length.get() != 0).map(|entry| {
            let length = u64::from(entry.data_length.get());
            sized(Structure::Locator, entry.data_offset.get(), length)
        }));
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_unused_behind_the_end_of_the_file() {
        let far = u64::MAX - 511;
        let taken = [0..512, 16384..20480, far..u64::MAX];
        let unused = Unused::between(&taken, 65536, 4608);
        assert_eq!(unused.pieces, [512..16384, 20480..65536]);
        assert_eq!(unused.bytes, 15872 + 45056);
    }
}
