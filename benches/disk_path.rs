// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a drive's request costs this process, from the register write to the data in guest memory: no guest runs, and all data is in the
//! host's page cache, so that neither exits nor disks are in the figures.
//!
//! | group | from | to |
//! | --- | --- | --- |
//! | `medium` | a request handed to an image at work | its completion |
//! | `command` | the first register write of READ DMA EXT | the interrupt, the data being in guest memory |
//! | `open` | the name of a dynamic image of 2040 GiB | a disk that can be read, and closed again |
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use devices::block::{Completion, Data, Medium, Operation, Request, Segment};
use devices::bus::{Device, lock};
use devices::ide::{BUS_MASTER, Channel, Drive, HardDisk, Identity};
use devices::line::Wire;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use tempfile::TempDir;
use vhd::{CreateOptions, create};
use virtualpc::memory::Dma;
use virtualpc::storage::{DiskMedium, Image, Purpose};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const SIZE: u64 = 64 << 20;
const BUFFER: u64 = 1 << 20;
const TABLE: u64 = 0x1000;
const LENGTHS: [usize; 4] = [4 << 10, 64 << 10, 256 << 10, 1 << 20];

/// A flag that a medium's thread raises.
#[derive(Default)]
struct Rung(Mutex<bool>, Condvar);

impl Rung {
    fn ring(&self) {
        *lock(&self.0) = true;
        self.1.notify_one();
    }

    fn wait(&self) {
        let mut rung = lock(&self.0);
        while !std::mem::take(&mut *rung) {
            rung = self.1.wait(rung).unwrap();
        }
    }
}

/// A folder with a chain of a dynamic image and a child, with the disk's pieces of 64 KiB in one and the other in turn.
fn chain() -> (TempDir, PathBuf) {
    // Beside the sources: temporary folders are often on volumes that are no disks.
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let (base, leaf) = (folder.path().join("base.vhd"), folder.path().join("leaf.vhd"));
    create::dynamic(&base, SIZE, &CreateOptions::new()).unwrap();
    fill(&base, 0);
    create::differencing(&leaf, &base, &CreateOptions::new()).unwrap();
    fill(&leaf, 64 << 10);
    (folder, leaf)
}

fn fill(path: &Path, from: u64) {
    let disk = vhd::Disk::open(path, &vhd::OpenOptions::new()).unwrap();
    for at in (from..SIZE).step_by(128 << 10) {
        disk.write_at(at, &[7; 64 << 10]).unwrap();
    }
    disk.close().unwrap();
}

fn guest_memory() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 4 << 20)]).unwrap()
}

fn medium(path: &Path, ram: &GuestMemoryMmap, waker: impl Fn() + Send + Sync + 'static) -> DiskMedium {
    let image = Image::open(path, Purpose::HardDisk).unwrap();
    let image = image.reaching(Arc::new(Dma::new(ram)));
    image.into_medium(Arc::new(waker)).unwrap()
}

fn requests(criterion: &mut Criterion) {
    let (_folder, path) = chain();
    let ram = guest_memory();
    let rung = Arc::new(Rung::default());
    let bell = rung.clone();
    let mut medium = medium(&path, &ram, move || bell.ring());
    let mut carry_out = |operation, offset, data: Data| -> Completion {
        medium.submit(Request::new(operation, offset, data, 0));
        loop {
            if let Some(completion) = medium.completed() {
                return completion;
            }
            rung.wait();
        }
    };
    // The bitmaps and the page cache.
    for offset in (0..SIZE).step_by(1 << 20) {
        carry_out(Operation::Read, offset, vec![0; 1 << 20].into());
    }
    let mut group = criterion.benchmark_group("medium");
    for len in LENGTHS {
        group.throughput(Throughput::Bytes(len as u64));
        let segment = Segment {
            address: BUFFER,
            len: len as u64,
        };
        let mut at = 0;
        let mut next = || {
            at = (at + len as u64) % SIZE;
            at
        };
        group.bench_function(BenchmarkId::new("read into guest memory", len), |bencher| {
            bencher.iter(|| carry_out(Operation::Read, next(), vec![segment].into()));
        });
        let mut buffer = vec![0; len];
        group.bench_function(BenchmarkId::new("read into a buffer", len), |bencher| {
            bencher.iter(|| {
                let done = carry_out(Operation::Read, next(), std::mem::take(&mut buffer).into());
                buffer = done.data.into_buffer();
            });
        });
        group.bench_function(BenchmarkId::new("write from guest memory", len), |bencher| {
            bencher.iter(|| carry_out(Operation::Write, next(), vec![segment].into()));
        });
    }
    group.finish();
}

fn commands(criterion: &mut Criterion) {
    let (_folder, path) = chain();
    let ram = guest_memory();
    let rung = Arc::new(Rung::default());
    let bell = rung.clone();
    let wire = Wire::new(move |high| {
        if high {
            bell.ring();
        }
    });
    let channel: Arc<Mutex<Option<Channel>>> = Arc::default();
    let served = Arc::downgrade(&channel);
    let medium = medium(&path, &ram, move || {
        if let Some(channel) = served.upgrade()
            && let Some(channel) = lock(&channel).as_mut()
        {
            channel.service();
        }
    });
    let identity = Identity {
        model: "Virtual HD".into(),
        firmware: "1.1".into(),
        serial: "1".into(),
    };
    let disk = Drive::from(HardDisk::new(Box::new(medium), identity));
    *lock(&channel) = Some(Channel::new(
        [disk, Drive::Empty],
        Arc::new(Dma::new(&ram)),
        wire.driver(),
    ));
    let out = |offset: u64, data: &[u8]| {
        if let Some(channel) = lock(&channel).as_mut() {
            channel.write(offset, data);
        }
    };
    let read = |sector: u64, len: usize| {
        let (lba, count) = (sector.to_le_bytes(), (len / 512).to_le_bytes());
        out(BUS_MASTER + 4, &(TABLE as u32).to_le_bytes());
        out(BUS_MASTER + 2, &[0x66]);
        for (register, value) in [
            (2, count[1]),
            (3, lba[3]),
            (4, lba[4]),
            (5, lba[5]),
            (2, count[0]),
            (3, lba[0]),
            (4, lba[1]),
            (5, lba[2]),
            (6, 0xe0),
            // READ DMA EXT
            (7, 0x25),
        ] {
            out(register, &[value]);
        }
        out(BUS_MASTER, &[9]);
        rung.wait();
        let mut status = [0];
        if let Some(channel) = lock(&channel).as_mut() {
            channel.read(7, &mut status);
        }
        assert_eq!(status, [0x50]);
        out(BUS_MASTER, &[0]);
    };
    let mut group = criterion.benchmark_group("command");
    for len in LENGTHS {
        let regions = len.div_ceil(0x1_0000);
        for region in 0..regions {
            let entry = TABLE + 8 * region as u64;
            let (address, bytes) = (
                BUFFER as u32 + (region as u32) * 0x1_0000,
                len.min(0x1_0000) as u32,
            );
            let end = u32::from(region + 1 == regions) << 31;
            ram.write_obj(address, GuestAddress(entry)).unwrap();
            ram.write_obj(bytes & 0xffff | end, GuestAddress(entry + 4))
                .unwrap();
        }
        group.throughput(Throughput::Bytes(len as u64));
        let mut at = 0;
        group.bench_function(BenchmarkId::new("READ DMA EXT", len), |bencher| {
            bencher.iter(|| {
                at = (at + len as u64) % SIZE;
                read(at / 512, len);
            });
        });
    }
    group.finish();
}

fn openings(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let path = folder.path().join("large.vhd");
    create::dynamic(&path, 2040 << 30, &CreateOptions::new()).unwrap();
    let options = virtualpc::storage::options().read_only(true);
    let mut group = criterion.benchmark_group("open");
    group.bench_function("2040 GiB", |bencher| {
        bencher.iter(|| vhd::Disk::open(&path, &options).unwrap().close().unwrap());
    });
    group.finish();
}

criterion_group!(benches, requests, commands, openings);
criterion_main!(benches);
