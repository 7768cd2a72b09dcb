// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whatever is in a file system: looking through it ends, does not panic, and never takes for unused what is used.

use crate::lab::Lab;
use crate::volume::{KINDS, Kind};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use vhd::storage::MemoryStorage;
use vhd::testing::Dice;
use virtualpc::volumes::{Content, survey};

fn unused(content: Vec<u8>) -> Option<Vec<Range<u64>>> {
    let storage = Arc::new(MemoryStorage::new(content));
    let disk = vhd::Disk::over(Path::new("part"), storage).unwrap();
    let volumes = survey(&disk, &vhd::Watch::default()).unwrap();
    match volumes.into_iter().next().unwrap().content {
        Content::Known { unused, .. } => Some(unused),
        Content::LeftAlone { .. } => None,
    }
}

/// What is between the ranges.
fn others(ranges: &[Range<u64>], len: u64) -> Vec<Range<u64>> {
    let starts = std::iter::once(0).chain(ranges.iter().map(|range| range.end));
    let ends = ranges.iter().map(|range| range.start).chain([len]);
    starts
        .zip(ends)
        .map(|(start, end)| start..end)
        .filter(|range| !range.is_empty())
        .collect()
}

#[test]
fn damage_never_makes_used_space_unused() {
    let chosen: Vec<&Kind> = KINDS
        .iter()
        .filter(|kind| kind.mib <= 40 && kind.is_possible())
        .collect();
    for kind in chosen {
        let lab = Lab::new();
        kind.make(&lab);
        let good = std::fs::read(lab.path("part")).unwrap();
        let len = good.len() as u64;
        let free = unused(good.clone()).expect(kind.name);
        let used = others(&free, len);
        let structures: Vec<&Range<u64>> = used.iter().collect();
        let mut dice = Dice::new(kind.name.len() as u64);
        let (mut believed, mut left) = (0, 0);
        for _ in 0..150 {
            let mut bad = good.clone();
            for _ in 0..=dice.roll(3) {
                // Most structures are in the first parts in use; the others are mostly files.
                let part = if dice.once_in(2) {
                    structures[dice.roll(structures.len().min(3) as u64) as usize]
                } else {
                    structures[dice.roll(structures.len() as u64) as usize]
                };
                let reach = if dice.once_in(3) {
                    4096
                } else {
                    part.end - part.start
                };
                let at = part.start + dice.roll(reach.min(part.end - part.start));
                // A bit, a byte, or a torn sector.
                match dice.roll(3) {
                    0 => bad[at as usize] ^= 1 << dice.roll(8),
                    1 => bad[at as usize] = dice.roll(256) as u8,
                    _ => {
                        let from = (at / 512 * 512) as usize;
                        bad[from..from + 512].fill(dice.roll(2) as u8 * 0xff);
                    }
                }
            }
            let Some(now) = unused(bad) else {
                left += 1;
                continue;
            };
            believed += 1;
            for range in &now {
                let inside = free
                    .iter()
                    .any(|free| free.start <= range.start && range.end <= free.end);
                assert!(inside, "{}: {range:?} is in use", kind.name);
            }
        }
        assert!(left > 10, "{}: {believed} believed, {left} left alone", kind.name);
    }
}
