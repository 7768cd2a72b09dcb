// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Compactions that leave out what is of no use: whole blocks of it and nothing else, at random places.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ops::Range;
use std::sync::Arc;

use vhd::compact::{Mode, compact_unused};
use vhd::storage::{FileSystem, MemoryFileSystem};
use vhd::testing::Dice;
use vhd::{CreateOptions, Disk, Format, OpenOptions, Watch, convert, create};

/// Not a whole number of blocks.
const SIZE: u64 = (3 << 20) + 5 * 512;

fn content(disk: &Disk) -> Vec<u8> {
    let mut bytes = vec![0; disk.len() as usize];
    disk.read_at(0, &mut bytes).unwrap();
    bytes
}

/// Ranges in no order, which may overlap and reach beyond the end.
fn ranges(dice: &mut Dice) -> Vec<Range<u64>> {
    let count = 1 + dice.roll(40);
    let range = |_| {
        let start = dice.roll(SIZE);
        let longest = if dice.once_in(3) { 300 << 10 } else { 12 << 10 };
        start..start + dice.roll(longest)
    };
    (0..count).map(range).collect()
}

/// What must be left: blocks that have nothing but zeros and what is of no use become what is behind them.
fn left(before: &[u8], behind: &[u8], unused: &[Range<u64>], block: usize) -> (Vec<u8>, u64) {
    let mut needed = before.to_vec();
    for range in unused {
        let end = range.end.min(SIZE) as usize;
        needed[range.start as usize..end].fill(0);
    }
    let mut after = before.to_vec();
    let mut given_back = 0;
    for start in (0..before.len()).step_by(block) {
        let area = start..(start + block).min(before.len());
        if needed[area.clone()].iter().all(|&byte| byte == 0) {
            after[area.clone()].copy_from_slice(&behind[area]);
            given_back += block as u64;
        }
    }
    (after, given_back)
}

#[test]
fn whole_blocks_are_left_out_and_nothing_else() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let files = Arc::new(MemoryFileSystem::new());
        let shared: Arc<dyn FileSystem> = files.clone();
        let block = 4096u32 << dice.roll(5);
        let creating = CreateOptions::new().file_system(shared.clone()).block_size(block);
        let opening = OpenOptions::new().file_system(shared);
        let fill = |path: &str, value: u8| {
            let disk = Disk::open(path, &opening).unwrap();
            disk.write_at(0, &vec![value; SIZE as usize]).unwrap();
            disk.close().unwrap();
        };
        create::dynamic("/disks/a.vhd", SIZE, &creating).unwrap();
        fill("/disks/a.vhd", 0x11);
        let format =
            [Format::Dynamic, Format::Differencing, Format::Raw, Format::Fixed][dice.roll(4) as usize];
        let (path, behind) = match format {
            Format::Dynamic => ("/disks/a.vhd", 0),
            Format::Differencing => {
                create::differencing("/disks/b.vhd", "/disks/a.vhd", &creating).unwrap();
                fill("/disks/b.vhd", 0x22);
                ("/disks/b.vhd", 0x11)
            }
            other => {
                let source = Disk::open("/disks/a.vhd", &opening).unwrap();
                convert::convert(&source, "/disks/c", other, &creating, &Watch::default()).unwrap();
                ("/disks/c", 0)
            }
        };
        let before = content(&Disk::open(path, &opening).unwrap());
        let unused = ranges(&mut dice);
        let in_blocks = matches!(format, Format::Dynamic | Format::Differencing);
        let unit = if in_blocks { block as usize } else { 4096 };
        let (expected, given_back) = left(&before, &vec![behind; before.len()], &unused, unit);

        let watch = Watch::default();
        let compact = |mode| compact_unused(path, &opening, mode, |_| Ok(unused.clone()), &watch).unwrap();
        let counted = compact(Mode::Count);
        assert!(
            content(&Disk::open(path, &opening).unwrap()) == before,
            "seed {seed}"
        );
        if in_blocks {
            assert_eq!(counted, given_back, "seed {seed}");
        }
        let used = |path| {
            Disk::open(path, &opening)
                .unwrap()
                .layers()
                .next()
                .unwrap()
                .allocated_blocks()
        };
        let blocks = used(path);
        compact(Mode::Compact);
        assert!(
            content(&Disk::open(path, &opening).unwrap()) == expected,
            "seed {seed}"
        );
        let fewer = blocks
            .zip(used(path))
            .map(|(before, after)| (before - after) * u64::from(block));
        assert_eq!(fewer, in_blocks.then_some(given_back), "seed {seed}");
        assert_eq!(compact(Mode::Count), 0, "seed {seed}: nothing more");
    }
}
