// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Things that happen while a host call is under way, made to happen there by a file that calls back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use vhd::storage::{FileSystem, MemoryFileSystem, MemoryStorage, Storage};
use vhd::{CreateOptions, Disk, OpenOptions, create};

const SIZE: u64 = 16 << 20;
const BLOCK: u64 = 64 << 10;
/// Blocks whose bitmaps are kept together, as far apart as this.
const STRIDE: u64 = 16;

/// When a file calls back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// A sector was read, but the reader does not have it yet.
    SectorRead,
    /// A sync begins.
    Sync,
    /// A write of one sector begins.
    SectorWrite,
}

type Action = Box<dyn FnOnce() + Send>;

/// A file that does something once, at a moment.
#[derive(Clone)]
struct CallingStorage {
    inner: MemoryStorage,
    action: Arc<Mutex<Option<(Moment, Action)>>>,
}

impl std::fmt::Debug for CallingStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallingStorage")
    }
}

impl CallingStorage {
    fn at(&self, moment: Moment, action: impl FnOnce() + Send + 'static) {
        *self.action.lock().unwrap() = Some((moment, Box::new(action)));
    }

    fn call(&self, moment: Moment) {
        let action = self.action.lock().unwrap().take_if(|planned| planned.0 == moment);
        if let Some((_, action)) = action {
            action();
        }
    }

    fn done(&self) -> bool {
        self.action.lock().unwrap().is_none()
    }
}

impl Storage for CallingStorage {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_at(buffer, offset)?;
        if buffer.len() == 512 {
            self.call(Moment::SectorRead);
        }
        Ok(())
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        if buffer.len() == 512 {
            self.call(Moment::SectorWrite);
        }
        self.inner.write_at(buffer, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.call(Moment::Sync);
        self.inner.sync()
    }

    fn punch(&self, range: Range<u64>) -> io::Result<bool> {
        self.inner.punch(range)
    }

    fn allocate(&self, _: Range<u64>) -> io::Result<bool> {
        Ok(false)
    }
}

/// A child over an empty parent, with some sectors in each of its first blocks, and hardly any cache.
fn scene() -> (Arc<Disk>, CallingStorage, impl Fn() -> Disk) {
    let files = MemoryFileSystem::new();
    let shared: Arc<dyn FileSystem> = Arc::new(files.clone());
    let options = CreateOptions::new()
        .file_system(shared.clone())
        .block_size(BLOCK as u32);
    create::dynamic("/r/base.vhd", SIZE, &options).unwrap();
    create::differencing("/r/disk.vhd", "/r/base.vhd", &options).unwrap();
    let open = OpenOptions::new().file_system(shared).cache_size(0);
    let disk = Disk::open("/r/disk.vhd", &open).unwrap();
    for block in 0..SIZE / BLOCK {
        disk.write_at(block * BLOCK, &[1; 1024]).unwrap();
    }
    disk.close().unwrap();
    let inner = MemoryStorage::new(files.content("/r/disk.vhd").unwrap());
    let storage = CallingStorage {
        inner,
        action: Arc::default(),
    };
    files.insert("/r/disk.vhd", storage.clone());
    let disk = Arc::new(Disk::open("/r/disk.vhd", &open).unwrap());
    (disk, storage, move || Disk::open("/r/disk.vhd", &open).unwrap())
}

fn sector(disk: &Disk, at: u64) -> u8 {
    let mut content = [0xee; 512];
    disk.read_at(at, &mut content).unwrap();
    assert!(content.iter().all(|&byte| byte == content[0]));
    content[0]
}

/// Reads enough other bitmaps that the cache lets go of all it can.
fn crowd_out(disk: &Disk) {
    for block in (STRIDE..SIZE / BLOCK).step_by(STRIDE as usize) {
        sector(disk, block * BLOCK);
    }
}

#[test]
fn a_bitmap_on_its_way_to_the_file_is_not_read_back_from_it() {
    for moment in [Moment::Sync, Moment::SectorWrite] {
        let (disk, storage, _) = scene();
        disk.write_at(8192, &[2; 512]).unwrap();
        let other = disk.clone();
        storage.at(moment, move || {
            crowd_out(&other);
            assert_eq!(sector(&other, 8192), 2, "{moment:?}");
        });
        disk.flush().unwrap();
        assert!(storage.done());
        assert_eq!(sector(&disk, 8192), 2);
    }
}

#[test]
fn a_bitmap_that_was_read_too_early_is_read_again() {
    let (disk, storage, reopen) = scene();
    let other = disk.clone();
    // Between the read of the first block's bitmap and its use, the block changes, the change gets to the file, and
    // the bitmap leaves the cache.
    storage.at(Moment::SectorRead, move || {
        other.write_at(8192, &[3; 512]).unwrap();
        other.flush().unwrap();
        crowd_out(&other);
    });
    assert_eq!(sector(&disk, 8192), 3);
    assert!(storage.done());
    // A stale bitmap would now be completed and written.
    disk.write_at(16384, &[4; 512]).unwrap();
    drop(disk);
    let disk = reopen();
    assert_eq!((sector(&disk, 8192), sector(&disk, 16384)), (3, 4));
}

#[test]
fn what_is_written_during_a_flush_is_for_the_next_one() {
    for moment in [Moment::Sync, Moment::SectorWrite] {
        let (disk, storage, reopen) = scene();
        disk.write_at(8192, &[5; 512]).unwrap();
        let other = disk.clone();
        storage.at(moment, move || other.write_at(16384, &[6; 512]).unwrap());
        disk.flush().unwrap();
        assert!(storage.done());
        disk.flush().unwrap();
        // Opened from what is in the file now, not from what a close would add.
        let copy = storage.inner.to_vec();
        drop(disk);
        storage.inner.set_len(0).unwrap();
        storage.inner.write_at(&copy, 0).unwrap();
        let disk = reopen();
        assert_eq!((sector(&disk, 8192), sector(&disk, 16384)), (5, 6), "{moment:?}");
    }
}

#[test]
fn a_block_that_is_freed_during_a_flush_stays_freed() {
    let (disk, storage, reopen) = scene();
    disk.write_at(8192, &[7; 512]).unwrap();
    let other = disk.clone();
    storage.at(Moment::Sync, move || {
        other.write_zeroes(0, BLOCK).unwrap();
        other.write_at(4096, &[8; 512]).unwrap();
    });
    disk.flush().unwrap();
    assert!(storage.done());
    disk.flush().unwrap();
    assert_eq!(
        (sector(&disk, 0), sector(&disk, 8192), sector(&disk, 4096)),
        (0, 0, 8)
    );
    drop(disk);
    let disk = reopen();
    assert_eq!(
        (sector(&disk, 0), sector(&disk, 8192), sector(&disk, 4096)),
        (0, 0, 8)
    );
}
