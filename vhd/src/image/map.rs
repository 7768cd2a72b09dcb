// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which structure is where in a file, to see that none overlaps another and all lie inside of it.

use std::ops::Range;
use std::path::Path;

use super::sparse::Blocks;
use super::table::Table;
use crate::error::{Damage, Error, Result, Structure};
use crate::format::spec;

pub(super) struct Map<'a> {
    path: &'a Path,
    /// Nothing may reach beyond.
    limit: u64,
    taken: Vec<(Structure, Range<u64>)>,
}

impl<'a> Map<'a> {
    /// With nothing but the footer copy in it.
    pub fn new(path: &'a Path, limit: u64) -> Self {
        Self {
            path,
            limit,
            taken: vec![(Structure::FooterCopy, 0..spec::SECTOR)],
        }
    }

    /// Takes a range for a structure; it must start on a sector and lie inside of the file.
    pub fn place(&mut self, structure: Structure, offset: u64, len: u64) -> Result<Range<u64>> {
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

    /// Where the structures are.
    pub fn into_ranges(self) -> Vec<Range<u64>> {
        self.taken.into_iter().map(|(_, range)| range).collect()
    }

    /// Where the last structure ends.
    pub fn end(&self) -> u64 {
        self.taken.iter().map(|(_, range)| range.end).max().unwrap_or(0)
    }

    /// Checks every entry of a table, also those behind the end of the disk, and returns where the last
    /// structure or block ends.
    pub fn check_blocks(&self, table: &Table, blocks: &Blocks) -> Result<u64> {
        let footprint = blocks.footprint();
        let first_free = self.end();
        let mut end = first_free;
        let mut ascending = true;
        let mut previous_end = 0;
        for (block, sector) in table.used() {
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

    fn check_overlap(&self, table: &Table, footprint: u64) -> Result<()> {
        let sorted = table.by_position();
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

fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}
