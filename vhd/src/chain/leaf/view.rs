// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who has which sectors of a block, the leaf and all of its parents taken together.
//!
//! A view is what walking through the leaf's bitmap and the parents' index finds, written down: one search in it takes the
//! place of both, however many parents there are. Parents never change while a chain is open, and what is written to the
//! leaf is noted here too, so a view is right for as long as its block is where it is.

use std::ops::Range;

use crate::chain::extent::{Sink, Source};
use crate::error::Result;
use crate::format::spec;

/// The view of one block. There always is a run that begins with the first sector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    runs: Vec<Run>,
}

/// The sectors of a block from `start` up to the next run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: u32,
    owner: Owner,
    /// Where its first sector is in the owner's file, in sectors; zero if nobody has it.
    place: u64,
}

/// Whose the sectors of a run are. A chain has fewer than 128 layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    Layer(u8),
}

impl Run {
    /// Where a sector of the run is, as the first of a run of its own.
    fn from(self, start: u32) -> Self {
        let distance = match self.owner {
            Owner::Nobody => 0,
            Owner::Layer(_) => u64::from(start - self.start),
        };
        Self {
            start,
            owner: self.owner,
            place: self.place + distance,
        }
    }
}

impl View {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.runs.len() * size_of::<Run>()
    }

    /// Where the byte at `position` of the block is, and where the run ends that it is in: a sector, or more than any.
    pub fn find(&self, position: u64) -> (Source, u32) {
        let sector = (position / spec::SECTOR) as u32;
        let next = self.runs.partition_point(|run| run.start <= sector);
        let stop = self.runs.get(next).map_or(u32::MAX, |run| run.start);
        let run = next.checked_sub(1).and_then(|index| self.runs.get(index));
        let source = match run {
            Some(&Run {
                start,
                owner: Owner::Layer(layer),
                place,
            }) => Source::File {
                layer: usize::from(layer),
                offset: place * spec::SECTOR + (position - u64::from(start) * spec::SECTOR),
            },
            Some(_) | None => Source::Zero,
        };
        (source, stop)
    }

    /// The leaf has these sectors now, the first of them at `place` of its file.
    pub fn claim(&mut self, sectors: Range<u32>, place: u64) {
        if sectors.is_empty() {
            return;
        }
        let first = self.runs.partition_point(|run| run.start < sectors.start);
        let end = self.runs.partition_point(|run| run.start <= sectors.end);
        // What was there behind the new sectors stays, from their end on.
        let behind = end.checked_sub(1).and_then(|index| self.runs.get(index)).copied();
        let new = Run {
            start: sectors.start,
            owner: Owner::Layer(0),
            place,
        };
        let before = first.checked_sub(1).and_then(|index| self.runs.get(index));
        let goes_on = before.is_some_and(|run| run.from(new.start) == new);
        let rest = behind
            .map(|run| run.from(sectors.end))
            .filter(|rest| *rest != new.from(sectors.end));
        let new = Some(new).filter(|_| !goes_on);
        self.runs.splice(first..end, new.into_iter().chain(rest));
    }
}

/// Writes a view down. Positions are those of the disk.
pub(super) struct Writer {
    /// Where the block begins.
    pub start: u64,
    pub view: View,
}

impl Sink for Writer {
    fn may_read(&self) -> bool {
        true
    }

    fn push(&mut self, start: u64, end: u64, source: Source) -> Result<()> {
        if start == end {
            return Ok(());
        }
        let (owner, place) = match source {
            Source::Zero => (Owner::Nobody, 0),
            // The number fits: see `Owner`.
            Source::File { layer, offset } => (Owner::Layer(layer as u8), offset / spec::SECTOR),
        };
        let start = ((start - self.start) / spec::SECTOR) as u32;
        let run = Run { start, owner, place };
        if self.view.runs.last().is_none_or(|last| last.from(start) != run) {
            self.view.runs.push(run);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;

    #[test]
    fn claims_agree_with_a_plain_list() {
        const SECTORS: u32 = 300;
        const DATA: u64 = 1000;
        let mut dice = Dice::new(4);
        for _ in 0..30 {
            // Pieces of nobody's, of a parent's in one piece, and of a parent's in another.
            let mut writer = Writer {
                start: 0,
                view: View::default(),
            };
            let mut plain = Vec::new();
            let bytes = |sector: u32| u64::from(sector) * spec::SECTOR;
            while plain.len() < SECTORS as usize {
                let first = plain.len() as u32;
                let end = (first + 1 + dice.roll(40) as u32).min(SECTORS);
                let place = match dice.roll(3) {
                    0 => None,
                    layer => Some((layer as usize, u64::from(first) + 5000 * dice.roll(2))),
                };
                let source = place.map_or(Source::Zero, |(layer, place)| Source::File {
                    layer,
                    offset: place * spec::SECTOR,
                });
                writer.push(bytes(first), bytes(end), source).unwrap();
                plain.extend(
                    (0..u64::from(end - first)).map(|n| place.map(|(layer, place)| (layer, place + n))),
                );
            }
            let mut view = writer.view;
            for _ in 0..60 {
                let first = dice.roll(u64::from(SECTORS)) as u32;
                let end = (first + dice.roll(20) as u32).min(SECTORS);
                view.claim(first..end, DATA + u64::from(first));
                for sector in first..end {
                    plain[sector as usize] = Some((0, DATA + u64::from(sector)));
                }
                for (sector, expected) in plain.iter().enumerate() {
                    let (source, stop) = view.find(sector as u64 * spec::SECTOR + 7);
                    let expected = expected.map_or(Source::Zero, |(layer, place)| Source::File {
                        layer,
                        offset: place * spec::SECTOR + 7,
                    });
                    assert_eq!(source, expected);
                    assert!(stop as usize > sector);
                }
                // Runs are as long as they can be, so a view stays small.
                let joined = view
                    .runs
                    .windows(2)
                    .all(|pair| pair[0].from(pair[1].start) != pair[1]);
                assert!(joined, "{view:?}");
            }
            view.claim(0..SECTORS, DATA);
            assert!(view.runs.len() <= 2, "one run, and where the block ends");
        }
    }
}
