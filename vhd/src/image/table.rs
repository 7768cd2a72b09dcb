// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The block allocation table in memory.
//!
//! It is kept in pages, and only those in which a block was ever allocated: the table of an empty disk of 2040 GiB
//! is 4 MiB in the file and a few kilobytes here. Entries change under shared references; what a change means and
//! which order changes have is the business of [`crate::chain::leaf`].

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::format::spec;
use crate::storage::Storage;

/// Entries in a page.
const PAGE: usize = 1024;
/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;

/// For each block its first sector in the file, and a byte for whatever the owner keeps about it.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pages: Box<[OnceLock<Box<Page>>]>,
    entries: u32,
}

#[derive(Debug)]
struct Page {
    sectors: [AtomicU32; PAGE],
    notes: [AtomicU8; PAGE],
}

impl Page {
    fn new() -> Box<Self> {
        Box::new(Self {
            sectors: [const { AtomicU32::new(spec::UNUSED) }; PAGE],
            notes: [const { AtomicU8::new(0) }; PAGE],
        })
    }
}

impl Table {
    /// With no block in the file.
    pub fn new(entries: u32) -> Self {
        let pages = (0..(entries as usize).div_ceil(PAGE))
            .map(|_| OnceLock::new())
            .collect();
        Self { pages, entries }
    }

    /// Reads a table out of a file.
    pub fn read(storage: &dyn Storage, offset: u64, entries: u32) -> io::Result<Self> {
        const EMPTY: [u8; PAGE * 4] = [0xff; PAGE * 4];
        let table = Self::new(entries);
        let total = entries as usize * 4;
        let mut piece = vec![0; total.min(PIECE)];
        let mut at = 0;
        while at < total {
            let bytes = piece.get_mut(..(total - at).min(PIECE)).unwrap_or_default();
            storage.read_at(bytes, offset + at as u64)?;
            for (page, bytes) in table
                .pages
                .iter()
                .skip(at / (PAGE * 4))
                .zip(bytes.chunks(PAGE * 4))
            {
                if EMPTY.starts_with(bytes) {
                    continue;
                }
                let page = page.get_or_init(Page::new);
                for (slot, entry) in page.sectors.iter().zip(bytes.as_chunks().0) {
                    slot.store(u32::from_be_bytes(*entry), Ordering::Relaxed);
                }
            }
            at += bytes.len();
        }
        Ok(table)
    }

    fn page(&self, block: u32) -> Option<&Page> {
        self.pages.get(block as usize / PAGE)?.get().map(|page| &**page)
    }

    /// The page of a block, made if there is none yet; `None` behind the table's end.
    fn page_for_change(&self, block: u32) -> Option<&Page> {
        (block < self.entries).then_some(())?;
        self.pages
            .get(block as usize / PAGE)
            .map(|page| &**page.get_or_init(Page::new))
    }

    /// The first sector of a block, or [`spec::UNUSED`].
    pub fn get(&self, block: u32) -> u32 {
        let entry = self
            .page(block)
            .and_then(|page| page.sectors.get(block as usize % PAGE));
        entry.map_or(spec::UNUSED, |entry| entry.load(Ordering::Acquire))
    }

    pub fn set(&self, block: u32, sector: u32) {
        let page = self.page_for_change(block);
        if let Some(entry) = page.and_then(|page| page.sectors.get(block as usize % PAGE)) {
            entry.store(sector, Ordering::Release);
        }
    }

    /// What was noted of a block; zero if nothing was.
    pub fn note(&self, block: u32) -> u8 {
        let note = self
            .page(block)
            .and_then(|page| page.notes.get(block as usize % PAGE));
        note.map_or(0, |note| note.load(Ordering::Acquire))
    }

    pub fn set_note(&self, block: u32, value: u8) {
        let page = self.page_for_change(block);
        if let Some(note) = page.and_then(|page| page.notes.get(block as usize % PAGE)) {
            note.store(value, Ordering::Release);
        }
    }

    /// The blocks that are in the file, in their order on the disk, with their first sectors.
    pub fn used(&self) -> impl Iterator<Item = (u32, u32)> {
        self.pages
            .iter()
            .enumerate()
            .filter_map(|(index, page)| Some((index, page.get()?)))
            .flat_map(|(index, page)| {
                let entries = page.sectors.iter().map(|entry| entry.load(Ordering::Acquire));
                (index as u32 * PAGE as u32..)
                    .zip(entries)
                    .filter(|&(_, sector)| sector != spec::UNUSED)
            })
    }

    /// The blocks that are in the file, as (sector, block), in their order in the file.
    pub fn by_position(&self) -> Vec<(u32, u32)> {
        let mut sorted: Vec<_> = self.used().map(|(block, sector)| (sector, block)).collect();
        sorted.sort_unstable();
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    #[test]
    fn a_table_is_read_in_pieces_and_kept_in_pages() {
        let entries = 700_000;
        let mut bytes = vec![0xff; 512 + entries as usize * 4];
        let used = [
            (0u32, 7u32),
            (1023, 8),
            (1024, 9),
            (262_144, 10),
            (entries - 1, 0x0102_0304),
        ];
        for (block, sector) in used {
            bytes[512 + block as usize * 4..][..4].copy_from_slice(&sector.to_be_bytes());
        }
        let table = Table::read(&MemoryStorage::new(bytes), 512, entries).unwrap();
        assert_eq!(table.used().collect::<Vec<_>>(), used);
        assert_eq!(table.pages.iter().filter(|page| page.get().is_some()).count(), 4);
        assert_eq!(
            (
                table.get(1024),
                table.get(5000),
                table.get(entries),
                table.get(u32::MAX)
            ),
            (9, spec::UNUSED, spec::UNUSED, spec::UNUSED)
        );
        table.set(5000, 3);
        table.set_note(5000, 2);
        table.set(entries, 1);
        assert_eq!((table.get(5000), table.note(5000), table.note(5001)), (3, 2, 0));
        assert_eq!(table.get(entries), spec::UNUSED, "nothing is kept behind the end");
        assert_eq!(table.by_position()[0], (3, 5000));
    }
}
