// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any file checked and repaired: a check changes nothing, a repair that says it mended all leaves an image that opens,
//! and a second one finds nothing to do.
#![no_main]

use fuzz::{Choices, opening, seal, use_image};
use libfuzzer_sys::fuzz_target;
use vhd::Watch;
use vhd::check::{Mode, Summary, check};
use vhd::storage::{MemoryFileSystem, MemoryStorage};

const PATH: &str = "/d/disk.vhd";

fn run(files: &MemoryFileSystem, mode: Mode) -> Option<Summary> {
    check(PATH, &opening(files), mode, &Watch::default(), |finding| {
        // Every damage has words.
        assert!(!finding.to_string().is_empty());
    })
    .ok()
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mode = choices.byte();
    let mut file = choices.rest().to_vec();
    if mode & 1 == 0 {
        seal(&mut file);
    }
    let files = MemoryFileSystem::new();
    files.insert(PATH, MemoryStorage::new(file.clone()));
    let looked = run(&files, Mode::Look);
    assert!(files.content(PATH) == Some(file), "looking changes nothing");
    let Some(repaired) = run(&files, Mode::Repair) else {
        return;
    };
    if let Some(looked) = looked {
        assert_eq!(looked.repaired, 0);
        assert!(
            looked.damages > 0 || repaired.damages == 0,
            "looking finds what repairing does"
        );
    }
    if repaired.damages == repaired.repaired {
        let again = run(&files, Mode::Repair).expect("it was checked before");
        assert_eq!(again, Summary::default(), "a second repair has nothing to do");
        use_image(&files, PATH);
    }
});
