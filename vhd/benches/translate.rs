// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What it costs to find out where the bytes of a request are: the look-up alone, without any I/O of payload.
//!
//! With LOOK_UPS=PARENTS,COUNT it does so many look-ups and nothing else, for a tool that counts instructions: the difference of
//! two counts has no noise.
//!
//! The disk's pieces of 64 KiB belong to the images of the chain in turn, which is the worst case: every block is shared.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{BenchmarkId, Criterion, criterion_group};
use std::hint::black_box;
use std::sync::Arc;
use vhd::storage::{FileSystem, MemoryFileSystem};
use vhd::{CreateOptions, Disk, Extent, OpenOptions, create};

const SIZE: u64 = 256 << 20;
const UNIT: u64 = 64 << 10;

/// A disk with `parents` images below it, all in memory.
fn chain(parents: u64) -> Disk {
    let files: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    let creating = CreateOptions::new().file_system(Arc::clone(&files));
    let opening = OpenOptions::new().file_system(Arc::clone(&files));
    let name = |layer: u64| format!("/{layer}.vhd");
    for layer in 0..=parents {
        match layer {
            0 => create::dynamic(name(0), SIZE, &creating).unwrap(),
            _ => create::differencing(name(layer), name(layer - 1), &creating).unwrap(),
        }
        let disk = Disk::open(name(layer), &opening).unwrap();
        // The tickets allocate and set bits; the content stays zero and the files sparse enough for memory.
        for at in (layer * UNIT..SIZE).step_by(((parents + 1) * UNIT) as usize) {
            disk.begin_write(at..at + UNIT).unwrap().commit().unwrap();
        }
        disk.close().unwrap();
    }
    Disk::open(name(parents), &opening.read_only(true)).unwrap()
}

fn translate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("translate");
    for parents in [0, 1, 2, 4, 8] {
        let mut look_up = look_ups(parents);
        group.bench_function(BenchmarkId::from_parameter(parents), |bencher| {
            bencher.iter(|| black_box(look_up()));
        });
    }
    group.finish();
}

/// Looks up 4 KiB, somewhere else each time.
fn look_ups(parents: u64) -> impl FnMut() -> usize {
    let disk = chain(parents);
    let mut extents: Vec<Extent> = Vec::new();
    // Each block's bitmaps are looked at once; that is not the look-up.
    for offset in (0..SIZE).step_by(UNIT as usize) {
        extents.clear();
        drop(disk.resolve_read(offset..offset + UNIT, &mut extents).unwrap());
    }
    let mut at = 0;
    move || {
        at = (at + 40_507 * 4096) % SIZE;
        extents.clear();
        drop(disk.resolve_read(at..at + 4096, &mut extents).unwrap());
        extents.len()
    }
}

criterion_group!(benches, translate);

fn main() {
    let Ok(words) = std::env::var("LOOK_UPS") else {
        benches();
        return Criterion::default().configure_from_args().final_summary();
    };
    let (parents, count) = words.split_once(',').unwrap();
    let mut look_up = look_ups(parents.parse().unwrap());
    for _ in 0..count.parse().unwrap() {
        black_box(look_up());
    }
}
