// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any file as an image. The first byte says whether its checksums are made right.
#![no_main]

use fuzz::{Choices, seal, use_image};
use libfuzzer_sys::fuzz_target;
use vhd::storage::{MemoryFileSystem, MemoryStorage};

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mode = choices.byte();
    let mut file = choices.rest().to_vec();
    if mode & 1 == 0 {
        seal(&mut file);
    }
    let files = MemoryFileSystem::new();
    files.insert("/d/disk.vhd", MemoryStorage::new(file));
    use_image(&files, "/d/disk.vhd");
});
