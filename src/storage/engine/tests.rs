// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vhd::testing::Dice;
use vhd::{CreateOptions, create};

const SIZE: u64 = 24 << 20;

struct Scene {
    folder: TempDir,
}

/// How an engine is made.
#[derive(Debug, Clone, Copy)]
struct Way {
    caching: Caching,
    blocking: bool,
}

const WAYS: [Way; 4] = [
    Way {
        caching: Caching::Cached,
        blocking: false,
    },
    Way {
        caching: Caching::Cached,
        blocking: true,
    },
    Way {
        caching: Caching::Direct,
        blocking: false,
    },
    Way {
        caching: Caching::Direct,
        blocking: true,
    },
];

impl Scene {
    fn new() -> Self {
        // Beside the sources, because temporary folders are often on volumes without direct transfers.
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A chain of images with something of its own in each, and the content of the disk.
    fn chain(&self, depth: usize, dice: &mut Dice) -> (PathBuf, Vec<u8>) {
        let mut model = vec![0; SIZE as usize];
        let mut below: Option<PathBuf> = None;
        for layer in 0..=depth {
            let path = self.path(&format!("{layer}.vhd"));
            let options = CreateOptions::new().block_size(512 << 10);
            match &below {
                None => create::dynamic(&path, SIZE, &options).unwrap(),
                Some(parent) => create::differencing(&path, parent, &options).unwrap(),
            }
            let disk = vhd::Disk::open(&path, &crate::storage::options()).unwrap();
            for _ in 0..20 {
                let (offset, bytes) = piece(dice);
                disk.write_at(offset, &bytes).unwrap();
                model[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
            }
            disk.close().unwrap();
            below = Some(path);
        }
        (below.unwrap(), model)
    }
}

/// Some sectors with some content.
fn piece(dice: &mut Dice) -> (u64, Vec<u8>) {
    let longest = if dice.once_in(4) { 3000 } else { 40 };
    let sectors = 1 + dice.roll(longest);
    let offset = dice.roll(SIZE / SECTOR - sectors) * SECTOR;
    let byte = 1 + dice.roll(255) as u8;
    (offset, vec![byte; (sectors * SECTOR) as usize])
}

fn engine(path: &Path, way: Way, read_only: bool) -> (Arc<vhd::Disk>, Engine<u64>) {
    let options = crate::storage::options().read_only(read_only);
    let disk = Arc::new(vhd::Disk::open(path, &options).unwrap());
    let engine = Engine::with(Arc::clone(&disk), way.caching, |files| {
        if way.blocking {
            Ring::blocking(8, files)
        } else {
            Ring::new(8, files)
        }
    });
    (disk, engine.unwrap())
}

fn request(tag: u64, operation: Operation, offset: u64, memory: Slices) -> Request<u64> {
    Request {
        tag,
        operation,
        offset,
        memory,
    }
}

/// Does one request; gives what its buffer holds then.
fn alone(
    engine: &mut Engine<u64>,
    operation: Operation,
    offset: u64,
    mut buffer: Buffer,
) -> vhd::Result<Vec<u8>> {
    engine.push(request(1, operation, offset, buffer.slices()));
    loop {
        engine.wait().unwrap();
        if let Some(Completion { request, result }) = engine.next() {
            drop(request);
            return result.map(|()| buffer.bytes().unwrap().to_vec());
        }
    }
}

/// Memory as drives have it (anywhere) or as benchmarks do (on pages).
fn memory(len: usize, dice: &mut Dice) -> Buffer {
    if dice.once_in(2) {
        Buffer::zeroed(len, 4096)
    } else {
        Buffer::from(vec![0; len])
    }
}

#[test]
fn reads_and_writes_in_flight_agree_with_a_model() {
    for (seed, way) in (0..).zip(WAYS) {
        let scene = Scene::new();
        let mut dice = Dice::new(seed);
        let (path, mut model) = scene.chain(seed as usize % 3, &mut dice);
        let (disk, mut engine) = engine(&path, way, false);
        let mut tag = 0;
        for _ in 0..60 {
            // What is under way at the same time does not overlap, or there would be no one right result.
            let mut taken: Vec<std::ops::Range<u64>> = Vec::new();
            let mut reads: HashMap<u64, (u64, Buffer)> = HashMap::new();
            for _ in 0..12 {
                let (offset, bytes) = piece(&mut dice);
                let range = offset..offset + bytes.len() as u64;
                if taken
                    .iter()
                    .any(|other| other.start < range.end && range.start < other.end)
                {
                    continue;
                }
                taken.push(range);
                tag += 1;
                let mut buffer = memory(bytes.len(), &mut dice);
                if dice.once_in(2) {
                    engine.push(request(tag, Operation::Read, offset, buffer.slices()));
                    reads.insert(tag, (offset, buffer));
                } else {
                    model[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
                    buffer.bytes().unwrap().copy_from_slice(&bytes);
                    engine.push(request(tag, Operation::Write, offset, buffer.slices()));
                }
                if dice.once_in(6) {
                    tag += 1;
                    engine.push(request(tag, Operation::Flush, 0, Slices::default()));
                }
            }
            engine.submit();
            while engine.under_way() > 0 {
                engine.wait().unwrap();
                while let Some(Completion { request, result }) = engine.next() {
                    result.unwrap();
                    let Some((offset, mut buffer)) = reads.remove(&request.tag) else {
                        continue;
                    };
                    drop(request);
                    let bytes = buffer.bytes().unwrap();
                    assert!(
                        bytes == &model[offset as usize..][..bytes.len()],
                        "{way:?}: read of {} at {offset}",
                        bytes.len()
                    );
                }
            }
        }
        drop(engine);
        Arc::into_inner(disk).unwrap().close().unwrap();
        let disk = vhd::Disk::open(&path, &crate::storage::options().read_only(true)).unwrap();
        let mut content = vec![0; SIZE as usize];
        disk.read_at(0, &mut content).unwrap();
        assert!(content == model, "{way:?}");
        drop(disk);
        let (mode, watch) = (vhd::check::Mode::Look, vhd::Watch::default());
        let options = crate::storage::options();
        let summary =
            vhd::check::check(&path, &options, mode, &watch, |finding| println!("{finding:?}")).unwrap();
        assert_eq!(summary.damages, 0, "{way:?}");
    }
}

#[test]
fn requests_that_cannot_be_are_refused() {
    for way in WAYS {
        let scene = Scene::new();
        let (path, _) = scene.chain(0, &mut Dice::new(1));
        let (_, mut engine) = engine(&path, way, true);
        for offset in [SIZE, SIZE - 511, u64::MAX - 3] {
            let result = alone(&mut engine, Operation::Read, offset, Buffer::zeroed(512, 512));
            assert_eq!(*result.unwrap_err().kind(), vhd::Kind::OutOfRange);
        }
        let result = alone(&mut engine, Operation::Write, 0, Buffer::zeroed(512, 512));
        assert_eq!(*result.unwrap_err().kind(), vhd::Kind::ReadOnly);
        alone(&mut engine, Operation::Read, 100, Buffer::zeroed(0, 1)).unwrap();
        alone(&mut engine, Operation::Flush, 0, Buffer::zeroed(0, 1)).unwrap();
    }
}

#[test]
fn parts_of_sectors_can_be_read_and_written() {
    for way in WAYS {
        let scene = Scene::new();
        let (path, mut model) = scene.chain(1, &mut Dice::new(4));
        let (_, mut engine) = engine(&path, way, false);
        for (offset, len) in [(3, 7), (511, 2), (700, 5000), (SIZE - 1, 1)] {
            alone(
                &mut engine,
                Operation::Write,
                offset,
                Buffer::from(vec![0xab; len]),
            )
            .unwrap();
            model[offset as usize..][..len].fill(0xab);
            let from = offset.saturating_sub(600);
            let len = (SIZE - from).min(6000) as usize;
            let read = alone(&mut engine, Operation::Read, from, Buffer::zeroed(len, 1)).unwrap();
            assert!(read == model[from as usize..][..len], "{way:?}");
        }
    }
}

#[test]
fn a_file_that_was_cut_makes_the_disk_read_only() {
    for way in WAYS {
        let scene = Scene::new();
        let path = scene.path("cut.img");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let (disk, mut engine) = engine(&path, way, false);
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(4096)
            .unwrap();
        let result = alone(&mut engine, Operation::Read, 8192, Buffer::zeroed(4096, 4096));
        assert!(result.unwrap_err().to_string().contains("cut.img"));
        assert!(disk.read_only(), "{way:?}");
        let result = alone(&mut engine, Operation::Write, 0, Buffer::zeroed(4096, 4096));
        assert!(matches!(result.unwrap_err().kind(), vhd::Kind::Latched(_)));
    }
}

#[test]
fn an_image_can_be_opened_again_as_soon_as_it_is_closed() {
    let scene = Scene::new();
    let (path, _) = scene.chain(0, &mut Dice::new(9));
    for _ in 0..20 {
        let (disk, mut engine) = engine(&path, WAYS[2], false);
        alone(&mut engine, Operation::Read, 0, Buffer::zeroed(4096, 4096)).unwrap();
        drop(engine);
        Arc::into_inner(disk).unwrap().close().unwrap();
    }
}

#[test]
fn disks_in_memory_need_no_ring() {
    let files: Arc<dyn vhd::storage::FileSystem> = Arc::new(vhd::storage::MemoryFileSystem::new());
    create::dynamic(
        "/d.vhd",
        SIZE,
        &CreateOptions::new().file_system(Arc::clone(&files)),
    )
    .unwrap();
    let disk = vhd::Disk::open("/d.vhd", &vhd::OpenOptions::new().file_system(files)).unwrap();
    let mut engine = Engine::new(Arc::new(disk), Caching::Cached, 4).unwrap();
    alone(&mut engine, Operation::Write, 5120, Buffer::from(vec![3; 512])).unwrap();
    let read = alone(&mut engine, Operation::Read, 5120, Buffer::zeroed(512, 1)).unwrap();
    assert_eq!(read, [3; 512]);
}
