// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An image is the same on all hosts, byte for byte, but for the times in it: the digests here were made on Linux.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use vhd::storage::{FileSystem, MemoryFileSystem};
use vhd::testing::Dice;
use vhd::{CreateOptions, Disk, OpenOptions, create};

const SIZE: u64 = 10 << 20;
const SECTOR: usize = 512;

/// FNV-1a, 64 bits: enough to tell a change.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Without what depends on the time: in each footer, old ones included, the time stamp and with it the checksum, in the header those of the
/// parent.
fn timeless(mut image: Vec<u8>) -> Vec<u8> {
    for sector in image.chunks_exact_mut(SECTOR) {
        if sector.starts_with(b"conectix") {
            sector[24..28].fill(0);
            sector[64..68].fill(0);
        } else if sector.starts_with(b"cxsparse") {
            sector[36..40].fill(0);
            sector[56..60].fill(0);
        }
    }
    image
}

#[test]
fn images_are_the_same_on_all_hosts() {
    let files = MemoryFileSystem::new();
    let shared: Arc<dyn FileSystem> = Arc::new(files.clone());
    let with = |id: u8| {
        CreateOptions::new()
            .file_system(shared.clone())
            .unique_id([id; 16])
    };
    let open = OpenOptions::new().file_system(shared.clone());
    create::fixed("/vm/fixed.vhd", SIZE, &with(1)).unwrap();
    create::dynamic("/vm/bases/größe.vhd", SIZE, &with(2)).unwrap();
    let write = |path: &str, seed: u64| {
        let mut dice = Dice::new(seed);
        let disk = Disk::open(path, &open).unwrap();
        for _ in 0..50 {
            let len = dice.roll(20_000) + 1;
            let at = dice.roll(SIZE - len);
            let bytes: Vec<u8> = (0..len).map(|_| dice.roll(256) as u8).collect();
            disk.write_at(at, &bytes).unwrap();
        }
        disk.close().unwrap();
    };
    write("/vm/fixed.vhd", 1);
    write("/vm/bases/größe.vhd", 2);
    create::differencing("/vm/child.vhd", "/vm/bases/größe.vhd", &with(3)).unwrap();
    write("/vm/child.vhd", 3);
    let found = ["/vm/fixed.vhd", "/vm/bases/größe.vhd", "/vm/child.vhd"]
        .map(|path| digest(&timeless(files.content(path).unwrap())));
    let on_linux = [
        0x2f1a_9a2d_0409_e732,
        0xd081_86b1_351b_344d,
        0x7363_86a5_4c07_5e3a,
    ];
    assert_eq!(found, on_linux, "{found:x?}");
}
