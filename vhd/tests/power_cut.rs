// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The power goes at every moment of a run of operations, and of what was not synced then anything is lost, done in
//! any order, or torn. Whatever is left opens, holds all that was flushed, and can be written again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use vhd::storage::{FileSystem, MemoryFileSystem, MemoryStorage};
use vhd::testing::{Dice, RecordingStorage};
use vhd::{CreateOptions, Disk, OpenOptions, create};

const SECTOR: u64 = 512;
const SIZE: u64 = (3 << 20) + 5 * SECTOR;
/// Operations on each chain.
const STEPS: usize = 60;
const LEAF: &str = "/disks/leaf.vhd";

/// What a sector may hold: the number of the write that filled it, zero for zeros.
type Stamp = u64;

/// Everything that was done to the disk, with the count of changes of the file when it began and when it ended.
#[derive(Default)]
struct History {
    /// For each sector what it held at the start.
    initial: Vec<Stamp>,
    changes: Vec<Change>,
    /// For each flush how many changes there were before it, and the count of changes of the file at its end.
    flushes: Vec<(usize, usize)>,
}

struct Change {
    sectors: std::ops::Range<u64>,
    stamp: Stamp,
    /// Of a discard either may be seen.
    may_stay: bool,
    begun: usize,
    ended: usize,
}

impl History {
    /// What each sector may hold if the power goes after `moment` changes of the file.
    fn allowed(&self, moment: usize) -> Vec<Vec<Stamp>> {
        let mut allowed: Vec<_> = self.initial.iter().map(|&stamp| vec![stamp]).collect();
        self.narrow(moment, &mut allowed);
        allowed
    }

    /// Brings this history into what each sector may hold.
    fn narrow(&self, moment: usize, allowed: &mut [Vec<Stamp>]) {
        let flushed = self
            .flushes
            .iter()
            .filter(|flush| flush.1 <= moment)
            .map(|flush| flush.0)
            .max()
            .unwrap_or(0);
        for (index, change) in self.changes.iter().enumerate() {
            if change.begun >= moment && change.ended > moment {
                continue;
            }
            for sector in change.sectors.clone() {
                let choices = &mut allowed[sector as usize];
                if index < flushed && !change.may_stay {
                    choices.clear();
                }
                choices.push(change.stamp);
            }
        }
    }
}

fn fill(stamp: Stamp, sectors: u64) -> Vec<u8> {
    stamp.to_le_bytes().repeat((sectors * SECTOR / 8) as usize)
}

/// Reads the disk as stamps; `None` for a sector that no single write made.
fn stamps(disk: &Disk) -> Vec<Option<Stamp>> {
    let mut content = vec![0xee; SIZE as usize];
    disk.read_at(0, &mut content).unwrap();
    content
        .chunks(SECTOR as usize)
        .map(|sector| {
            let (first, _) = sector.split_first_chunk().unwrap();
            let uniform = sector.as_chunks().0.iter().all(|word| word == first);
            uniform.then_some(u64::from_le_bytes(*first))
        })
        .collect()
}

struct Scene {
    files: MemoryFileSystem,
    dice: Dice,
    next: Stamp,
}

impl Scene {
    /// Images below the leaf and the leaf itself, each with something in it.
    fn new(seed: u64, depth: usize, block_size: u32) -> Self {
        let files = MemoryFileSystem::new();
        let mut scene = Self {
            files,
            dice: Dice::new(seed),
            next: 1,
        };
        let mut below: Option<String> = None;
        for layer in (0..depth).rev() {
            let name = if layer == 0 {
                LEAF.to_owned()
            } else {
                format!("/disks/{layer}.vhd")
            };
            let options = CreateOptions::new()
                .file_system(scene.shared())
                .block_size(block_size);
            match &below {
                None => create::dynamic(&name, SIZE, &options).unwrap(),
                Some(parent) => create::differencing(&name, parent, &options).unwrap(),
            }
            let disk = Disk::open(&name, &scene.options()).unwrap();
            for _ in 0..12 {
                let (sectors, stamp) = (scene.sectors(), scene.stamp());
                disk.write_at(sectors.start * SECTOR, &fill(stamp, sectors.end - sectors.start))
                    .unwrap();
            }
            disk.close().unwrap();
            below = Some(name);
        }
        scene
    }

    fn shared(&self) -> Arc<dyn FileSystem> {
        Arc::new(self.files.clone())
    }

    fn options(&self) -> OpenOptions {
        OpenOptions::new()
            .file_system(self.shared())
            .grow_ahead(150 << 10)
            .cache_size(32 << 10)
    }

    fn stamp(&mut self) -> Stamp {
        self.next += 1;
        self.next
    }

    fn sectors(&mut self) -> std::ops::Range<u64> {
        let longest = if self.dice.once_in(6) { 300 } else { 20 };
        let start = self.dice.roll(SIZE / SECTOR);
        start..(start + 1 + self.dice.roll(longest)).min(SIZE / SECTOR)
    }

    /// Operates on the leaf and returns what happened, with the file that recorded it.
    fn operate(&mut self, steps: usize) -> (History, RecordingStorage) {
        let recorder = RecordingStorage::new(&self.files.content(LEAF).unwrap());
        self.files.insert(LEAF, recorder.clone());
        let mut history = History::default();
        let mut disk = Disk::open(LEAF, &self.options()).unwrap();
        history.initial = stamps(&disk).into_iter().map(Option::unwrap).collect();
        for step in 0..steps {
            let begun = recorder.count();
            let sectors = self.sectors();
            let (offset, len) = (sectors.start * SECTOR, (sectors.end - sectors.start) * SECTOR);
            let mut change = Change {
                sectors,
                stamp: 0,
                may_stay: false,
                begun,
                ended: 0,
            };
            match self.dice.roll(16) {
                0..=7 => {
                    change.stamp = self.stamp();
                    disk.write_at(offset, &fill(change.stamp, len / SECTOR)).unwrap();
                }
                8 => disk.write_zeroes(offset, len).unwrap(),
                9..=11 => {
                    // Whole blocks, so that they are freed and their space is used again.
                    let start = offset >> 16 << 16;
                    change.sectors = start / SECTOR..(start + (3 << 16)).min(SIZE) / SECTOR;
                    let len = (change.sectors.end - change.sectors.start) * SECTOR;
                    if self.dice.once_in(2) {
                        disk.write_zeroes(start, len).unwrap();
                    } else {
                        disk.discard(start, len).unwrap();
                        change.may_stay = true;
                    }
                }
                12..=14 => {
                    disk.flush().unwrap();
                    history.flushes.push((history.changes.len(), recorder.count()));
                    continue;
                }
                _ if step % 3 == 0 => {
                    disk.close().unwrap();
                    history.flushes.push((history.changes.len(), recorder.count()));
                    disk = Disk::open(LEAF, &self.options()).unwrap();
                    continue;
                }
                _ => continue,
            }
            change.ended = recorder.count();
            history.changes.push(change);
        }
        disk.close().unwrap();
        (history, recorder)
    }

    /// Opens what a cut left, compares it, and every now and then goes on with it.
    fn check(
        &mut self,
        history: &History,
        moment: usize,
        content: Vec<u8>,
        allowed: &[Vec<Stamp>],
        go_on: bool,
    ) {
        self.files.insert(LEAF, MemoryStorage::new(content));
        let disk = Disk::open(LEAF, &self.options())
            .unwrap_or_else(|error| panic!("cut after {moment} changes: {error}: {:?}", history.flushes));
        let found = stamps(&disk);
        for (sector, (found, allowed)) in found.iter().zip(allowed).enumerate() {
            let good = found.is_some_and(|stamp| allowed.contains(&stamp));
            assert!(
                good,
                "cut after {moment} changes: sector {sector} has {found:?}, not one of {allowed:?}"
            );
        }
        if !go_on {
            return;
        }
        // What is there now is the new truth: it stays through new writes, into new blocks too.
        let mut expected: HashMap<u64, Option<Stamp>> = (0..).zip(found).collect();
        for _ in 0..10 {
            let (sectors, stamp) = (self.sectors(), self.stamp());
            disk.write_at(sectors.start * SECTOR, &fill(stamp, sectors.end - sectors.start))
                .unwrap();
            expected.extend(sectors.map(|sector| (sector, Some(stamp))));
        }
        disk.close().unwrap();
        let disk = Disk::open(LEAF, &self.options()).unwrap();
        assert!(
            disk.layers().next().unwrap().notices().is_empty(),
            "both footers are good again"
        );
        for (sector, found) in (0..).zip(stamps(&disk)) {
            assert_eq!(
                found, expected[&sector],
                "sector {sector} after a cut after {moment} changes"
            );
        }
    }
}

/// What one of several threads does to its own sectors; returns what happened.
///
/// Every fourth block is shared, 4 KiB in turn; the others belong to one thread each, which also frees them.
fn operate_beside_others(own: u64, disk: &Disk, recorder: &RecordingStorage) -> History {
    let mut history = History::default();
    let mut dice = Dice::new(own ^ 0xbeef);
    for step in 0..50 {
        let begun = recorder.count();
        let group = dice.roll(SIZE / (4 << 16)) * (4 << 16);
        let whole = dice.once_in(3);
        let (offset, len) = match whole {
            true => (group + ((own + 1) << 16), 1 << 16),
            false => (
                group + (dice.roll(5) * 3 + own) * 4096,
                (1 + dice.roll(8)) * SECTOR,
            ),
        };
        let sectors = offset / SECTOR..(offset + len) / SECTOR;
        let mut change = Change {
            sectors,
            stamp: 0,
            may_stay: false,
            begun,
            ended: 0,
        };
        match dice.roll(8) {
            0 if whole => disk.write_zeroes(offset, len).unwrap(),
            1 | 2 if whole => {
                disk.discard(offset, len).unwrap();
                change.may_stay = true;
            }
            3 | 4 => {
                disk.flush().unwrap();
                history.flushes.push((history.changes.len(), recorder.count()));
                continue;
            }
            _ => {
                change.stamp = own << 32 | 1 << 40 | step;
                disk.write_at(offset, &fill(change.stamp, len / SECTOR)).unwrap();
            }
        }
        change.ended = recorder.count();
        history.changes.push(change);
    }
    history
}

#[test]
fn threads_lose_nothing_that_was_flushed() {
    for (seed, depth) in [(40, 1), (41, 2), (42, 1), (43, 2)] {
        let mut scene = Scene::new(seed, depth, 64 << 10);
        let recorder = RecordingStorage::new(&scene.files.content(LEAF).unwrap());
        scene.files.insert(LEAF, recorder.clone());
        let disk = Disk::open(LEAF, &scene.options()).unwrap();
        let initial: Vec<Stamp> = stamps(&disk).into_iter().map(Option::unwrap).collect();
        let histories: Vec<History> = std::thread::scope(|scope| {
            let (disk, recorder) = (&disk, &recorder);
            let threads: Vec<_> = (0..3)
                .map(|own| scope.spawn(move || operate_beside_others(own, disk, recorder)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        disk.close().unwrap();
        let mut known = (usize::MAX, Vec::new());
        recorder.cut_everywhere(5, &mut Dice::new(seed), |moment, content| {
            if known.0 != moment {
                let mut allowed: Vec<Vec<Stamp>> = initial.iter().map(|&stamp| vec![stamp]).collect();
                histories
                    .iter()
                    .for_each(|history| history.narrow(moment, &mut allowed));
                known = (moment, allowed);
            }
            scene.check(&histories[0], moment, content, &known.1, false);
        });
    }
}

/// Not by a macro: what those print of a test that goes well is not seen.
fn tell(chains: usize, cuts: usize) {
    let operations = chains * STEPS;
    let line = format!("random operations: {operations}, with {cuts} power cuts\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

fn cut_everywhere(seed: u64, depth: usize, block_size: u32) -> usize {
    let mut scene = Scene::new(seed, depth, block_size);
    let (history, recorder) = scene.operate(STEPS);
    let mut dice = Dice::new(seed ^ 0xdead);
    let (mut cuts, mut known) = (0, (usize::MAX, Vec::new()));
    recorder.cut_everywhere(5, &mut dice.clone(), |moment, content| {
        if known.0 != moment {
            known = (moment, history.allowed(moment));
        }
        let go_on = dice.once_in(8);
        scene.check(&history, moment, content, &known.1, go_on);
        cuts += 1;
    });
    cuts
}

#[test]
fn a_dynamic_disk_loses_nothing_that_was_flushed() {
    let cuts: usize = (0..4).map(|seed| cut_everywhere(seed, 1, 64 << 10)).sum();
    tell(4, cuts);
    assert!(cuts > 1000, "{cuts} cuts");
}

#[test]
fn a_differencing_disk_loses_nothing_that_was_flushed() {
    let chains = [(10, 3), (11, 5), (12, 7), (13, 8)];
    let cut = |(seed, depth)| cut_everywhere(seed, depth, 64 << 10);
    let cuts: usize = chains.into_iter().map(cut).sum();
    tell(chains.len(), cuts);
    assert!(cuts > 1000, "{cuts} cuts");
}

#[test]
fn small_blocks_share_sectors_of_the_table() {
    let chains = [(20, 2), (21, 4)];
    let cut = |(seed, depth)| cut_everywhere(seed, depth, 4 << 10);
    let cuts: usize = chains.into_iter().map(cut).sum();
    tell(chains.len(), cuts);
    assert!(cuts > 1000, "{cuts} cuts");
}

#[test]
fn large_blocks_have_bitmaps_that_can_be_torn() {
    let chains = [(30, 2), (31, 6)];
    let cut = |(seed, depth)| cut_everywhere(seed, depth, 4 << 20);
    let cuts: usize = chains.into_iter().map(cut).sum();
    tell(chains.len(), cuts);
    assert!(cuts > 100, "{cuts} cuts");
}
