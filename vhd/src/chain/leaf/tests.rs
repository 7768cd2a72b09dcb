// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What readers find in views is what a walk through bitmap and parents finds.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::chain::extent::{Extent, Joiner};
use crate::chain::open;
use crate::chain::write::WriteTicket;
use crate::create::{self, CreateOptions};
use crate::disk::{Disk, OpenOptions};
use crate::storage::MemoryFileSystem;
use crate::testing::Dice;

const SIZE: u64 = 4 << 20;

/// Three images over one another, with blocks of different sizes, and something in each.
fn files() -> MemoryFileSystem {
    let files = MemoryFileSystem::new();
    let mut dice = Dice::new(6);
    for (layer, block_size) in [32 << 10, 4 << 10, 64 << 10].into_iter().enumerate() {
        let options = CreateOptions::new()
            .block_size(block_size)
            .file_system(Arc::new(files.clone()));
        match layer {
            0 => create::dynamic("/0.vhd", SIZE, &options).unwrap(),
            _ => create::differencing(format!("/{layer}.vhd"), format!("/{}.vhd", layer - 1), &options)
                .unwrap(),
        }
        let options = OpenOptions::new().file_system(Arc::new(files.clone()));
        let disk = Disk::open(format!("/{layer}.vhd"), &options).unwrap();
        for _ in 0..100 {
            let (at, bytes) = some(&mut dice);
            disk.write_at(at, &bytes).unwrap();
        }
        disk.close().unwrap();
    }
    files
}

fn some(dice: &mut Dice) -> (u64, Vec<u8>) {
    let bytes = vec![dice.roll(255) as u8 + 1; 512 * (1 + dice.roll(24) as usize)];
    let at = dice.roll((SIZE - bytes.len() as u64) / 512) * 512;
    (at, bytes)
}

/// Where the chain has a range, as the readers are told, and by nothing but bitmaps and the parents' index.
fn both_ways(chain: &Chain, range: Range<u64>) -> [Vec<Extent>; 2] {
    let mut told = Vec::new();
    let push = |extents: &mut Vec<Extent>, extent| {
        extents.push(extent);
        Ok(())
    };
    chain
        .resolve(range.clone(), |extent| push(&mut told, extent))
        .unwrap();
    let mut walked = Vec::new();
    let mut each = |extent| push(&mut walked, extent);
    let mut joiner = Joiner::new(&mut each);
    let leaf = chain.leaf().unwrap();
    for (block, part) in leaf.split(range) {
        leaf.resolve_partial(chain, block, part, &mut joiner).unwrap();
    }
    joiner.finish().unwrap();
    [told, walked]
}

#[test]
fn views_agree_with_the_walk_through_all_changes() {
    let mut views = Vec::new();
    // With room for all of the views, for some, and for hardly any.
    for cache in [16 << 20, 80 << 10, 0] {
        let options = OpenOptions::new()
            .file_system(Arc::new(files()))
            .cache_size(cache);
        let layers = open::open(Path::new("/2.vhd"), &options).unwrap();
        let chain = Arc::new(Chain::new(layers, true, cache, 0));
        let mut dice = Dice::new(cache as u64);
        let mut viewed = 0;
        for _ in 0..1000 {
            let (at, bytes) = some(&mut dice);
            match dice.roll(10) {
                0 => chain.discard(at & !0xffff, 64 << 10).unwrap(),
                1 => chain.write_zeroes(at, bytes.len() as u64).unwrap(),
                2 => chain.flush().unwrap(),
                // Ends in an abort.
                3 => drop(WriteTicket::new(&chain, at..at + 512).unwrap()),
                4..7 => chain.write_at(at, &bytes).unwrap(),
                _ => {
                    let [told, walked] = both_ways(&chain, at..at + bytes.len() as u64);
                    assert_eq!(told, walked);
                }
            }
            viewed += (0..SIZE >> 16)
                .filter(|&block| {
                    chain
                        .leaf()
                        .unwrap()
                        .read(block as u32)
                        .view(block as u32)
                        .is_some()
                })
                .count();
        }
        let [told, walked] = both_ways(&chain, 0..SIZE);
        assert_eq!(told, walked);
        let held = (0..16).map(|block| chain.leaf().unwrap().read(block).held());
        let cap = chain.leaf().unwrap().cap;
        assert!(
            held.clone().all(|held| held <= cap),
            "{:?} of {cap}",
            held.collect::<Vec<_>>()
        );
        views.push(viewed);
    }
    let fewer = views.is_sorted_by(|more, less| more > less && *less > 0);
    assert!(fewer, "{views:?}");
}
