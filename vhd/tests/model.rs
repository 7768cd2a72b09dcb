// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random operations on chains of depth 1 to 8, against a plain array that has to hold the same. How many there were is told on
//! standard error, past the test harness.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::sync::Arc;
use std::thread;

use vhd::storage::{FileSystem, MemoryFileSystem};
use vhd::testing::{Dice, FaultyStorage};
use vhd::{CreateOptions, Disk, OpenOptions, create};

const SECTOR: u64 = 512;
/// Not a whole number of any block size.
const SIZE: u64 = (3 << 20) + 7 * SECTOR;
const DEEPEST: usize = 8;
/// Operations on each depth of a chain.
const STEPS: usize = 1600;
/// Chains with a cache of each size.
const SEEDS: u64 = 4;
/// What this project says of itself (README.md) is true of each run of these tests.
const _: () = assert!(2 * SEEDS as usize * DEEPEST * STEPS >= 100_000);

/// A disk and what it has to hold.
struct Bench {
    files: Arc<MemoryFileSystem>,
    options: OpenOptions,
    dice: Dice,
    expected: Vec<u8>,
    depth: usize,
    /// Done so far.
    operations: u64,
}

impl Bench {
    fn new(seed: u64, cache: usize) -> Self {
        let files = Arc::new(MemoryFileSystem::new());
        let shared: Arc<dyn FileSystem> = files.clone();
        let options = OpenOptions::new()
            .file_system(shared)
            .cache_size(cache)
            .grow_ahead(200 << 10);
        Self {
            files,
            options,
            dice: Dice::new(seed),
            expected: vec![0; SIZE as usize],
            depth: 0,
            operations: 0,
        }
    }

    fn name(depth: usize) -> String {
        format!("/disks/{depth}.vhd")
    }

    /// Puts one more image on top: a fixed or dynamic one first, differencing ones over it.
    fn add_layer(&mut self) {
        let block_size = [4 << 10, 16 << 10, 64 << 10, 512 << 10, 2 << 20][self.dice.roll(5) as usize];
        self.add_layer_of(block_size);
    }

    fn add_layer_of(&mut self, block_size: u32) {
        let shared: Arc<dyn FileSystem> = self.files.clone();
        let options = CreateOptions::new().file_system(shared).block_size(block_size);
        let path = Self::name(self.depth + 1);
        match self.depth {
            0 if self.dice.once_in(4) => create::fixed(&path, SIZE, &options).unwrap(),
            0 => create::dynamic(&path, SIZE, &options).unwrap(),
            below => create::differencing(&path, Self::name(below), &options).unwrap(),
        }
        self.depth += 1;
    }

    fn open(&self) -> Disk {
        Disk::open(Self::name(self.depth), &self.options).unwrap()
    }

    /// A range in units of `unit` bytes, mostly short, and often near others.
    fn range(&mut self, unit: u64) -> (u64, usize) {
        let longest = match self.dice.roll(40) {
            0 => 1 << 20,
            1..=8 => 40 << 10,
            _ => 6 << 10,
        };
        let len = (1 + self.dice.roll(longest / unit)) * unit;
        let area = if self.dice.once_in(2) { SIZE / 8 } else { SIZE };
        let start = self.dice.roll(area / unit) * unit;
        (start, len.min(SIZE - start) as usize)
    }

    fn compare(&self, disk: &Disk, start: u64, len: usize, what: &str) {
        let mut content = vec![0xee; len];
        disk.read_at(start, &mut content).unwrap();
        let expected = &self.expected[start as usize..][..len];
        if content != expected {
            let at = content
                .iter()
                .zip(expected)
                .position(|(one, other)| one != other)
                .unwrap();
            panic!(
                "{what}: byte {} is {}, not {}",
                start as usize + at,
                content[at],
                expected[at]
            );
        }
    }

    /// Does one operation; some end the disk and open it again.
    fn step(&mut self, disk: Disk) -> Disk {
        self.operations += 1;
        match self.dice.roll(32) {
            0..=9 => {
                let (start, len) = self.range(1);
                self.compare(&disk, start, len, "read");
            }
            10..=17 => {
                let (start, len) = self.range(SECTOR);
                self.put(&disk, start, len);
            }
            18..=20 => {
                let (start, len) = self.range(1);
                self.put(&disk, start, len);
            }
            21..=23 => {
                let (start, len) = self.range(SECTOR);
                disk.write_zeroes(start, len as u64).unwrap();
                self.expected[start as usize..][..len].fill(0);
            }
            24..=25 => {
                let (start, len) = self.range(if self.dice.clone().once_in(2) { SECTOR } else { 1 });
                self.discard(&disk, start, len);
            }
            26 => {
                // Whole blocks, so that some go back.
                let start = self.dice.roll(SIZE >> 16) << 16;
                self.discard(&disk, start, (SIZE - start).min(4 << 16) as usize);
            }
            27 => self.outside(&disk),
            28 => {
                let (start, len) = self.range(SECTOR);
                disk.begin_write(start..start + len as u64).unwrap().abort();
                self.compare(&disk, start, len, "aborted write");
            }
            29 | 30 => disk.flush().unwrap(),
            _ if self.dice.once_in(20) => {
                if self.dice.once_in(2) {
                    disk.close().unwrap();
                } else {
                    drop(disk);
                }
                let disk = self.open();
                self.compare(&disk, 0, SIZE as usize, "opened again");
                return disk;
            }
            _ => {}
        }
        disk
    }

    fn put(&mut self, disk: &Disk, start: u64, len: usize) {
        let value = 1 + self.dice.roll(255) as u8;
        disk.write_at(start, &vec![value; len]).unwrap();
        self.expected[start as usize..][..len].fill(value);
    }

    /// What was discarded reads as before or as zeros, sector by sector.
    fn discard(&mut self, disk: &Disk, start: u64, len: usize) {
        disk.discard(start, len as u64).unwrap();
        let mut content = vec![0xee; len];
        disk.read_at(start, &mut content).unwrap();
        let expected = &mut self.expected[start as usize..][..len];
        for (found, expected) in content.iter().zip(expected) {
            assert!(*found == *expected || *found == 0);
            *expected = *found;
        }
    }

    /// A write and a read with payload I/O of our own; two writes of one block under way at a time.
    fn outside(&mut self, disk: &Disk) {
        let (start, len) = self.range(SECTOR);
        let middle = start + (len as u64 / SECTOR / 2) * SECTOR;
        let end = start + len as u64;
        let one = disk.begin_write(start..middle).unwrap();
        let other = disk.begin_write(middle..end).unwrap();
        let value = 1 + self.dice.roll(255) as u8;
        let file = disk.storage(0).unwrap();
        for extent in one.extents().iter().chain(other.extents()) {
            file.write_at(&vec![value; extent.len as usize], extent.file_offset)
                .unwrap();
        }
        if self.dice.once_in(2) {
            one.commit().unwrap();
        } else {
            // Begun over data, an aborted write leaves it undefined, so this one is done again.
            one.abort();
            disk.write_at(start, &vec![value; (middle - start) as usize])
                .unwrap();
        }
        other.commit().unwrap();
        self.expected[start as usize..][..len].fill(value);
        let mut extents = Vec::new();
        let guard = disk.resolve_read(start..end, &mut extents).unwrap();
        let mut known = Vec::new();
        // A small cache may have dropped what it just learned.
        if disk.resolve_known(start..end, &mut known).unwrap().is_some() {
            assert_eq!(known, extents);
        }
        let mut content = Vec::new();
        for extent in extents {
            let mut part = vec![0; extent.len as usize];
            if let vhd::Source::File { layer, offset } = extent.source {
                disk.storage(layer).unwrap().read_at(&mut part, offset).unwrap();
            }
            content.extend(part);
        }
        drop(guard);
        assert!(content == self.expected[start as usize..end as usize]);
    }
}

/// Not by a macro: what those print of a test that goes well is not seen.
fn tell(operations: u64) {
    let line = format!("random operations: {operations}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Returns how many operations there were.
fn run(seed: u64, cache: usize, steps: usize) -> u64 {
    let mut bench = Bench::new(seed, cache);
    for depth in 1..=DEEPEST {
        bench.add_layer();
        let mut disk = bench.open();
        assert_eq!(disk.layers().len(), depth);
        bench.compare(&disk, 0, SIZE as usize, "new layer");
        for _ in 0..steps {
            disk = bench.step(disk);
        }
        bench.compare(&disk, 0, SIZE as usize, "end");
        disk.close().unwrap();
    }
    // Every layer but the last was only read since its child was made.
    let disk = bench.open();
    bench.compare(&disk, 0, SIZE as usize, "closed");
    assert_eq!(bench.operations, (DEEPEST * steps) as u64);
    bench.operations
}

#[test]
fn random_operations_with_room_to_cache() {
    tell((0..SEEDS).map(|seed| run(seed, 16 << 20, STEPS)).sum());
}

#[test]
fn random_operations_with_hardly_any_cache() {
    tell((10..10 + SEEDS).map(|seed| run(seed, 8 << 10, STEPS)).sum());
}

#[test]
fn a_host_without_holes_serves_too() {
    let mut bench = Bench::new(77, 1 << 20);
    for _ in 0..3 {
        bench.add_layer();
        let name = Bench::name(bench.depth);
        let content = bench.files.content(&name).unwrap();
        let file = FaultyStorage::new(vhd::storage::MemoryStorage::new(content)).without_punch();
        bench.files.insert(&name, file);
        let mut disk = bench.open();
        for _ in 0..1000 {
            disk = bench.step(disk);
        }
        bench.compare(&disk, 0, SIZE as usize, "end");
    }
}

#[test]
fn threads_do_not_disturb_each_other() {
    let mut bench = Bench::new(5, 8 << 10);
    bench.add_layer();
    let disk = bench.open();
    bench.put(&disk, 100 << 10, 1 << 20);
    drop(disk);
    // Small blocks, so that there are more bitmaps than the cache holds.
    bench.add_layer_of(16 << 10);
    let disk = Arc::new(bench.open());
    let expected = Arc::new(bench.expected.clone());
    // Each thread owns every fourth piece of 20 KiB, so that all of them meet in most blocks.
    let threads: Vec<_> = (0..4u64)
        .map(|own| {
            let (disk, expected) = (disk.clone(), expected.clone());
            thread::spawn(move || {
                let mut dice = Dice::new(own);
                let piece = 20u64 << 10;
                let mut mine = expected.to_vec();
                for _ in 0..1500 {
                    let start = (dice.roll(SIZE / piece / 4) * 4 + own) * piece + dice.roll(30) * SECTOR;
                    let len = (1 + dice.roll(10)) * SECTOR;
                    let area = start as usize..(start + len) as usize;
                    match dice.roll(8) {
                        0..=2 => {
                            let value = dice.roll(256) as u8;
                            disk.write_at(start, &vec![value; len as usize]).unwrap();
                            mine[area].fill(value);
                        }
                        3 => {
                            disk.write_zeroes(start, len).unwrap();
                            mine[area].fill(0);
                        }
                        4 if dice.once_in(8) => disk.flush().unwrap(),
                        5 => {
                            disk.discard(start, len).unwrap();
                            disk.read_at(start, &mut mine[area]).unwrap();
                        }
                        _ => {
                            let mut content = vec![0; len as usize];
                            disk.read_at(start, &mut content).unwrap();
                            assert!(content == mine[area]);
                        }
                    }
                }
                (own, mine)
            })
        })
        .collect();
    let done: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    drop(disk);
    let disk = bench.open();
    for (own, mine) in done {
        let piece = 20 << 10;
        for start in (own * piece..SIZE).step_by(4 * piece as usize) {
            let len = piece.min(SIZE - start) as usize;
            let mut content = vec![0; len];
            disk.read_at(start, &mut content).unwrap();
            assert!(
                content == mine[start as usize..][..len],
                "piece at {start} of thread {own}"
            );
        }
    }
}
