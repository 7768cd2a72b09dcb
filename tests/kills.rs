// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The process is killed 200 times while its guest writes and flushes, by IDE and by virtio in turn: what the guest was told to be durable
//! is there, nothing is on the disk that was not written, and every image of the chain is sound. Alone in its program, because nobody else
//! may start programs.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "support/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::firmware;
use vhd::testing::Dice;
use vhd::{CreateOptions, Disk, OpenOptions, create};

const KILLS: u32 = 200;
/// A new layer after so many of them.
const LAYER: u32 = 40;
const SLOT: u64 = 4096;
const SLOTS: u32 = 4096;
/// The guest flushes after so many records.
const BATCH: u32 = 8;

/// Where the guest puts a record.
fn slot(record: u32) -> u32 {
    (record.wrapping_mul(4099) % SLOTS).max(1)
}

/// Lets a guest write until it has said `lines` times that something is durable, kills it, and gives the last record that is.
fn run_and_kill(firmware: &Path, option: &str, image: &Path, lines: u64) -> Option<u32> {
    let mut process = Command::new(env!("CARGO_BIN_EXE_vpc"))
        .args(["run", "--memory", "1M", "--serial", "stdio"])
        .args(["--fda", "none", "--dvd", "none"])
        .arg("--firmware")
        .arg(firmware)
        .arg(option)
        .arg(image)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut text = String::new();
    for _ in 0..lines {
        assert_ne!(
            output.read_line(&mut text).unwrap(),
            0,
            "it ended by itself: {text}"
        );
    }
    // SIGKILL.
    process.kill().unwrap();
    output.read_to_string(&mut text).unwrap();
    process.wait().unwrap();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let durable = whole.map(|line| {
        let number = line.strip_prefix("durable ").map(str::trim);
        u32::from_str_radix(number.unwrap_or_else(|| panic!("{line}")), 16).unwrap()
    });
    durable.max()
}

/// The images of a chain, all sound.
fn check(image: &Path) {
    let (mode, watch) = (vhd::check::Mode::Look, vhd::Watch::default());
    let mut found = Vec::new();
    let summary = vhd::check::check(image, &OpenOptions::new(), mode, &watch, |finding| {
        found.push(format!("{finding:?}"));
    });
    assert_eq!(summary.unwrap().damages, 0, "{found:?}");
}

#[test]
fn nothing_that_was_flushed_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    let ways = [("journal", "--hda"), ("journal_virtio", "--virtio-disk")];
    for (name, _) in ways {
        std::fs::write(at(name), firmware(name)).unwrap();
    }
    // Many blocks for the guest to allocate.
    let options = CreateOptions::new().block_size(512 << 10);
    let mut image = at("0.vhd");
    create::dynamic(&image, SLOT * u64::from(SLOTS), &options).unwrap();
    let mut dice = Dice::new(2026);
    // What each slot holds: the record that is durable, or a later one.
    let mut durable: BTreeMap<u32, u32> = BTreeMap::new();
    let (mut start, mut records) = (0, 0);
    for (round, (firmware, option)) in (0..KILLS).zip(ways.into_iter().cycle()) {
        if round > 0 && round.is_multiple_of(LAYER) {
            let child = at(&format!("{}.vhd", round / LAYER));
            create::differencing(&child, &image, &options).unwrap();
            image = child;
        }
        let disk = Disk::open(&image, &OpenOptions::new()).unwrap();
        disk.write_at(0, &u32::to_le_bytes(start)).unwrap();
        disk.close().unwrap();
        let last = run_and_kill(&at(firmware), option, &image, 1 + dice.roll(30)).unwrap();
        assert!(
            last > start && (last - start).is_multiple_of(BATCH),
            "{last} after {start}"
        );
        check(&image);
        // Records after the last flush may be there or not.
        let mut later: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for record in last + 1..=last + BATCH {
            later.entry(slot(record)).or_default().push(record);
        }
        durable.extend((start + 1..=last).map(|record| (slot(record), record)));
        let disk = Disk::open(&image, &OpenOptions::new()).unwrap();
        let mut content = vec![0; SLOT as usize];
        for slot in 0..SLOTS {
            disk.read_at(SLOT * u64::from(slot), &mut content).unwrap();
            let expected = durable.get(&slot).copied().unwrap_or(0);
            for sector in content.chunks_exact(512).skip(usize::from(slot == 0)) {
                let record = u32::from_le_bytes(sector[..4].try_into().unwrap());
                assert!(
                    record == expected || later.get(&slot).is_some_and(|records| records.contains(&record)),
                    "round {round}: slot {slot} holds record {record} instead of {expected}; {last} was the last flush"
                );
                assert!(sector.chunks_exact(4).all(|dword| dword == &sector[..4]));
            }
        }
        // What came too late for a flush counts as what it is from here on.
        for (slot, records) in later {
            disk.read_at(SLOT * u64::from(slot), &mut content).unwrap();
            let now = u32::from_le_bytes(content[..4].try_into().unwrap());
            if records.contains(&now) {
                disk.write_at(SLOT * u64::from(slot), &u32::to_le_bytes(now).repeat(1024))
                    .unwrap();
                durable.insert(slot, now);
            }
        }
        disk.close().unwrap();
        records += last - start;
        start = last + 8 * BATCH;
    }
    println!("{KILLS} kills, {records} records");
}
