// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A host that fails, and how much is asked of one that works.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::error::Error as _;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use vhd::storage::{FileSystem, MemoryFileSystem, MemoryStorage, Storage};
use vhd::testing::{Fault, FaultyStorage};
use vhd::{CreateOptions, Disk, Kind, OpenOptions, create};

const MIB: u64 = 1 << 20;

/// A new image of one format in a file that can be made to fail.
fn scene(format: &str, size: u64) -> (MemoryFileSystem, OpenOptions, FaultyStorage) {
    let files = MemoryFileSystem::new();
    let shared: Arc<dyn FileSystem> = Arc::new(files.clone());
    let options = CreateOptions::new().file_system(shared.clone());
    match format {
        "fixed" => create::fixed("/d/disk.vhd", size, &options).unwrap(),
        "dynamic" => create::dynamic("/d/disk.vhd", size, &options).unwrap(),
        _ => {
            create::dynamic("/d/base.vhd", size, &options).unwrap();
            create::differencing("/d/disk.vhd", "/d/base.vhd", &options).unwrap();
        }
    }
    let content = files.content("/d/disk.vhd").unwrap();
    let faulty = FaultyStorage::new(MemoryStorage::new(content));
    files.insert("/d/disk.vhd", faulty.clone());
    (files, OpenOptions::new().file_system(shared), faulty)
}

fn kind<T>(result: vhd::Result<T>) -> Kind {
    result.err().expect("it must fail").kind().clone()
}

#[test]
fn a_flush_asks_for_no_more_syncs_than_it_needs() {
    for format in ["fixed", "dynamic", "differencing"] {
        let (_, options, faulty) = scene(format, 64 * MIB);
        let disk = Disk::open("/d/disk.vhd", &options).unwrap();
        assert_eq!(
            faulty.calls().take_changes(),
            (0, 0, 0),
            "{format}: opening changes nothing"
        );
        disk.flush().unwrap();
        assert_eq!(
            faulty.calls().take_changes(),
            (0, 0, 0),
            "{format}: nothing to flush"
        );
        // The first block of a sparse image: data, then bitmap, footer and table between two syncs.
        disk.write_at(0, &vec![1; 2 * MIB as usize]).unwrap();
        disk.flush().unwrap();
        let allocating = if format == "fixed" { (1, 1, 0) } else { (4, 2, 1) };
        assert_eq!(faulty.calls().take_changes(), allocating, "{format}: allocating");
        // Data alone takes one sync, however many writes there were.
        for offset in [0, 4096, MIB] {
            disk.write_at(offset, &[2; 4096]).unwrap();
        }
        disk.flush().unwrap();
        assert_eq!(faulty.calls().take_changes(), (3, 1, 0), "{format}: overwriting");
        // Blocks that fit into what was grown ahead: no change of length, no footer; neighbours in the table are one
        // write.
        for block in 1..=4 {
            disk.write_at(block * 2 * MIB, &[3; 4096]).unwrap();
        }
        disk.flush().unwrap();
        let more = if format == "fixed" {
            (4, 1, 0)
        } else {
            (4 + 4 + 1, 2, 0)
        };
        assert_eq!(faulty.calls().take_changes(), more, "{format}: more blocks");
        // Giving a block back changes the table only.
        if format != "fixed" {
            disk.discard(0, 2 * MIB).unwrap();
            disk.flush().unwrap();
            assert_eq!(faulty.calls().take_changes(), (1, 2, 0), "{format}: freeing");
        }
        disk.flush().unwrap();
        assert_eq!(
            faulty.calls().take_changes(),
            (0, 0, 0),
            "{format}: nothing since"
        );
    }
}

#[test]
fn a_failure_reaches_the_caller_and_latches() {
    let faults = [
        (Fault::Write, ErrorKind::StorageFull, Kind::HostDiskFull),
        (Fault::Write, ErrorKind::Other, Kind::Io),
        (Fault::Grow, ErrorKind::StorageFull, Kind::HostDiskFull),
        (Fault::Grow, ErrorKind::FileTooLarge, Kind::FileTooLarge),
        (Fault::Sync, ErrorKind::Other, Kind::Io),
    ];
    for (fault, host, expected) in faults {
        let (_, options, faulty) = scene("differencing", 64 * MIB);
        let options = options.grow_ahead(0);
        let disk = Disk::open("/d/disk.vhd", &options).unwrap();
        disk.write_at(0, &[1; 512]).unwrap();
        disk.flush().unwrap();
        disk.write_at(512, &[2; 512]).unwrap();
        faulty.set_fault(Some((fault, host)));
        let failed = disk.write_at(40 * MIB, &[3; 512]).and_then(|()| disk.flush());
        let error = failed.expect_err("it must fail");
        assert_eq!(*error.kind(), expected, "{fault:?}");
        assert!(error.source().is_some(), "the host's own words are kept");
        assert!(error.to_string().contains("/d/disk.vhd"));
        // Mended or not: nobody knows what the file holds, so it is only read until it is opened again.
        faulty.set_fault(None);
        assert!(disk.read_only());
        for refused in [
            disk.write_at(0, &[9; 512]),
            disk.flush(),
            disk.write_zeroes(0, 512),
            disk.discard(0, 512),
        ] {
            assert!(matches!(kind(refused), Kind::Latched(_)), "{fault:?}");
        }
        let message = disk.flush().err().unwrap().to_string();
        assert!(message.contains("open it again"), "{message}");
        let mut content = [9; 1024];
        disk.read_at(0, &mut content).unwrap();
        assert_eq!(
            (content[0], content[512]),
            (1, 2),
            "what was acknowledged is still read"
        );
        assert!(
            matches!(kind(disk.close()), Kind::Latched(_)),
            "closing does not hide it"
        );
        let disk = Disk::open("/d/disk.vhd", &options).unwrap();
        disk.read_at(0, &mut content).unwrap();
        assert_eq!(content[0], 1, "what was flushed is there after opening again");
        disk.write_at(0, &[4; 512]).unwrap();
        disk.close().unwrap();
    }
}

#[test]
fn a_bad_sector_is_the_readers_business_alone() {
    let (_, options, faulty) = scene("dynamic", 64 * MIB);
    let disk = Disk::open("/d/disk.vhd", &options).unwrap();
    disk.write_at(0, &[1; 4096]).unwrap();
    faulty.set_fault(Some((Fault::Read, ErrorKind::Other)));
    assert_eq!(kind(disk.read_at(0, &mut [0; 512])), Kind::Io);
    faulty.set_fault(None);
    disk.write_at(0, &[2; 4096]).unwrap();
    disk.close().unwrap();
}

#[test]
fn a_file_that_is_cut_while_open_is_not_written_any_more() {
    let (_, options, faulty) = scene("dynamic", 64 * MIB);
    let disk = Disk::open("/d/disk.vhd", &options).unwrap();
    disk.write_at(0, &[1; 4096]).unwrap();
    disk.flush().unwrap();
    faulty.set_len(8192).unwrap();
    assert_eq!(kind(disk.read_at(MIB, &mut [0; 512])), Kind::UnexpectedEnd);
    assert!(matches!(kind(disk.write_at(0, &[2; 512])), Kind::Latched(_)));
}

#[test]
fn payload_that_failed_outside_latches_too() {
    let (_, options, _) = scene("dynamic", 64 * MIB);
    let disk = Disk::open("/d/disk.vhd", &options).unwrap();
    let ticket = disk.begin_write(0..4096).unwrap();
    let error = ticket.fail(ErrorKind::StorageFull.into());
    assert_eq!(*error.kind(), Kind::HostDiskFull);
    assert!(matches!(kind(disk.write_at(0, &[1; 512])), Kind::Latched(_)));
}

#[test]
fn a_volume_with_room_for_one_block_gets_one() {
    /// A file that cannot become longer than a limit.
    #[derive(Debug)]
    struct Small(MemoryStorage, u64);
    impl Storage for Small {
        fn len(&self) -> std::io::Result<u64> {
            self.0.len()
        }
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
            self.0.read_at(buffer, offset)
        }
        fn write_at(&self, buffer: &[u8], offset: u64) -> std::io::Result<()> {
            self.0.write_at(buffer, offset)
        }
        fn set_len(&self, len: u64) -> std::io::Result<()> {
            if len > self.1 {
                Err(ErrorKind::StorageFull.into())
            } else {
                self.0.set_len(len)
            }
        }
        fn sync(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn punch(&self, _: std::ops::Range<u64>) -> std::io::Result<bool> {
            Ok(false)
        }
        fn allocate(&self, _: std::ops::Range<u64>) -> std::io::Result<bool> {
            Ok(false)
        }
    }
    let (files, options, _) = scene("dynamic", 64 * MIB);
    let content = files.content("/d/disk.vhd").unwrap();
    files.insert("/d/disk.vhd", Small(MemoryStorage::new(content), 5 * MIB));
    let disk = Disk::open("/d/disk.vhd", &options).unwrap();
    disk.write_at(0, &[1; 512]).unwrap();
    disk.write_at(2 * MIB, &[1; 512]).unwrap();
    assert_eq!(kind(disk.write_at(4 * MIB, &[1; 512])), Kind::HostDiskFull);
    drop(disk);
    let disk = Disk::open("/d/disk.vhd", &options).unwrap();
    disk.write_at(0, &[2; 512]).unwrap();
    disk.close().unwrap();
}

#[test]
fn opening_the_largest_disk_reads_its_table_once() {
    let (_, options, faulty) = scene("dynamic", 2040 << 30);
    let disk = Disk::open("/d/disk.vhd", &options).unwrap();
    assert_eq!(disk.len(), 2040 << 30);
    let (reads, bytes) = (
        faulty.calls().reads.load(Ordering::Relaxed),
        faulty.calls().read_bytes.load(Ordering::Relaxed),
    );
    let table = (2040u64 << 30) / (2 * MIB) * 4;
    assert!(
        reads <= 7 && bytes <= table + 4096,
        "{reads} reads of {bytes} bytes"
    );
    // Its last sector can be used.
    disk.write_at(disk.len() - 512, &[1; 512]).unwrap();
    disk.close().unwrap();
}

#[test]
fn space_that_was_given_back_is_used_again() {
    let (files, options, _) = scene("dynamic", 64 * MIB);
    let options = options.grow_ahead(0);
    let size = || files.content("/d/disk.vhd").unwrap().len() as u64;
    let empty = size();
    let disk = Disk::open("/d/disk.vhd", &options).unwrap();
    for round in 0..10 {
        for block in 0..4 {
            disk.write_at(block * 2 * MIB, &vec![round + 1; 2 * MIB as usize])
                .unwrap();
        }
        disk.flush().unwrap();
        assert!(
            size() < empty + 4 * (2 * MIB + 4096) + 512,
            "{} after round {round}",
            size()
        );
        disk.discard(0, 8 * MIB).unwrap();
        disk.flush().unwrap();
    }
    disk.close().unwrap();
    assert_eq!(
        size(),
        empty,
        "a disk that is empty again is as small as a new one"
    );
    // Gaps that an earlier session left are found again.
    let disk = Disk::open("/d/disk.vhd", &options).unwrap();
    disk.write_at(0, &vec![1; 6 * MIB as usize]).unwrap();
    disk.flush().unwrap();
    disk.discard(2 * MIB, 2 * MIB).unwrap();
    disk.close().unwrap();
    let before = size();
    let disk = Disk::open("/d/disk.vhd", &options).unwrap();
    disk.write_at(20 * MIB, &[5; 512]).unwrap();
    let mut content = vec![9; 2 * MIB as usize];
    disk.read_at(20 * MIB, &mut content).unwrap();
    assert!(
        content[..512] == [5; 512] && content[512..].iter().all(|&byte| byte == 0),
        "nothing old shows"
    );
    disk.close().unwrap();
    assert_eq!(size(), before);
}

#[test]
fn a_reader_keeps_space_from_being_used_again() {
    let (_, options, _) = scene("dynamic", 64 * MIB);
    let disk = Disk::open("/d/disk.vhd", &options).unwrap();
    disk.write_at(0, &[1; 4096]).unwrap();
    disk.flush().unwrap();
    let mut extents = Vec::new();
    let guard = disk.resolve_read(0..4096, &mut extents).unwrap();
    let vhd::Source::File { offset, .. } = extents[0].source else {
        panic!("it is in the file")
    };
    disk.discard(0, 2 * MIB).unwrap();
    for round in 0..4 {
        disk.flush().unwrap();
        disk.write_at((round + 1) * 2 * MIB, &[2; 4096]).unwrap();
    }
    let mut content = [0; 4096];
    disk.storage(0).unwrap().read_at(&mut content, offset).unwrap();
    assert_eq!(content, [1; 4096], "the extent still holds what it held");
    drop(guard);
    disk.flush().unwrap();
    disk.write_at(20 * MIB, &[3; 4096]).unwrap();
    disk.storage(0).unwrap().read_at(&mut content, offset).unwrap();
    assert_eq!(content, [3; 4096], "now the space is used again");
}
