// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any sequence of operations on a chain, against a plain model of the disk.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use fuzz::{Choices, opening};
use libfuzzer_sys::fuzz_target;
use vhd::check::{Mode, Summary, check};
use vhd::storage::{FileSystem, MemoryFileSystem};
use vhd::{CreateOptions, Disk, MergeOptions, Watch, compact, create, merge, relink};

const SIZE: u64 = 3 << 20;
/// Where most things happen: a corner of the disk, so that they meet.
const CORNER: u64 = 256 << 10;

struct Chain {
    files: MemoryFileSystem,
    names: Vec<String>,
    model: Vec<u8>,
    made: usize,
}

impl Chain {
    fn top(&self) -> &str {
        self.names.last().expect("there is always a base")
    }

    fn creating(&self, block: u8) -> CreateOptions {
        CreateOptions::new()
            .block_size(4096 << (block % 6))
            .file_system(Arc::new(self.files.clone()))
    }

    fn child(&mut self, block: u8) {
        if self.names.len() >= 8 {
            return;
        }
        self.made += 1;
        let name = format!("/d/{}.vhd", self.made);
        create::differencing(&name, self.top(), &self.creating(block)).expect("a child can be made");
        self.names.push(name);
    }

    fn open(&self) -> Disk {
        Disk::open(self.top(), &opening(&self.files)).expect("the chain opens")
    }
}

fn range(choices: &mut Choices<'_>) -> std::ops::Range<u64> {
    let offset = u64::from(choices.short()) * 16 % CORNER;
    let offset = if choices.byte() == 0 {
        SIZE - CORNER + offset
    } else {
        offset
    };
    let len = u64::from(choices.short()) % 20_000;
    offset..(offset + len).min(SIZE)
}

/// Whole sectors.
fn sectors(range: &std::ops::Range<u64>) -> std::ops::Range<u64> {
    let start = range.start & !511;
    start..range.end.next_multiple_of(512).max(start)
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let files = MemoryFileSystem::new();
    let mut chain = Chain {
        files,
        names: vec!["/d/base.vhd".to_owned()],
        model: vec![0; SIZE as usize],
        made: 0,
    };
    let kind = choices.byte();
    let options = chain.creating(kind >> 1);
    if kind & 1 == 0 {
        create::dynamic("/d/base.vhd", SIZE, &options).expect("a base can be made");
    } else {
        create::fixed("/d/base.vhd", SIZE, &options).expect("a base can be made");
    }
    let mut disk = chain.open();
    let mut steps = 0;
    while !choices.is_empty() && steps < 60 {
        steps += 1;
        let what = choices.byte();
        let range = range(&mut choices);
        let span = range.start as usize..range.end as usize;
        match what % 16 {
            0..=4 => {
                let bytes = vec![choices.byte(); span.len()];
                disk.write_at(range.start, &bytes).expect("it can be written");
                chain.model[span].copy_from_slice(&bytes);
            }
            5 | 6 => {
                let mut bytes = vec![0xee; span.len()];
                disk.read_at(range.start, &mut bytes).expect("it can be read");
                assert!(bytes == chain.model[span], "read after step {steps}");
            }
            7 => {
                let range = sectors(&range);
                disk.write_zeroes(range.start, range.end - range.start)
                    .expect("it can be zeroed");
                chain.model[range.start as usize..range.end as usize].fill(0);
            }
            8 => {
                let range = sectors(&range);
                disk.discard(range.start, range.end - range.start)
                    .expect("it can be discarded");
                let span = range.start as usize..range.end as usize;
                let mut now = vec![0xee; span.len()];
                disk.read_at(range.start, &mut now).expect("it can be read");
                let before = &mut chain.model[span];
                for (now, before) in now.chunks(512).zip(before.chunks_mut(512)) {
                    assert!(
                        now == before || now.iter().all(|&byte| byte == 0),
                        "discarded sectors read as before, or as zeros"
                    );
                    before.copy_from_slice(now);
                }
            }
            9 | 10 => disk.flush().expect("it can be flushed"),
            _ => {
                disk.close().expect("it can be closed");
                let top = chain.top().to_owned();
                let options = opening(&chain.files);
                match what % 16 {
                    11 => chain.child(choices.byte()),
                    12 => compact::compact(&top, &options, &Watch::default()).expect("it can be compacted"),
                    13 if chain.names.len() > 1 => {
                        merge::into_parent(&top, &options, MergeOptions::default(), &Watch::default())
                            .expect("it can be merged");
                        chain.names.pop();
                    }
                    14 if chain.names.len() > 2 => {
                        let base = chain.names[0].clone();
                        relink::rebase(&top, &base, &options, &Watch::default()).expect("it can be rebased");
                        // Those between are children of the base too, which would forbid a merge.
                        for between in &chain.names[1..chain.names.len() - 1] {
                            chain
                                .files
                                .remove(Path::new(between))
                                .expect("nobody has it open");
                        }
                        chain.names = vec![base, top];
                    }
                    _ => {
                        let summary = check(&top, &options, Mode::Look, &Watch::default(), |_| {});
                        let summary = summary.expect("it can be checked");
                        assert_eq!(summary, Summary::default(), "after step {steps}");
                    }
                }
                disk = chain.open();
            }
        }
    }
    let mut content = vec![0xee; SIZE as usize];
    disk.read_at(0, &mut content).expect("it can be read");
    assert!(content == chain.model);
    disk.close().expect("it can be closed");
    let disk = chain.open();
    disk.read_at(0, &mut content).expect("it can be read");
    assert!(content == chain.model, "after opening again");
});
