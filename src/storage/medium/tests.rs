// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;
use crate::storage::Purpose;
use devices::block::{Data, Operation, Segment};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Condvar;
use vhd::testing::Dice;
use vhd::{CreateOptions, create};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const SIZE: u64 = 8 << 20;
const RAM: usize = 4 << 20;

/// Counts calls of the waker, and waits for them.
#[derive(Default)]
struct Calls {
    count: Mutex<usize>,
    more: Condvar,
}

/// A medium in a test's hand.
struct Bench {
    medium: DiskMedium,
    calls: Arc<Calls>,
    ram: GuestMemoryMmap,
    dma: Arc<Dma>,
    tags: u64,
}

impl Bench {
    fn new(path: &Path, purpose: Purpose) -> Self {
        let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), RAM)]).unwrap();
        let dma = Arc::new(Dma::new(&ram));
        let calls = Arc::new(Calls::default());
        let seen = calls.clone();
        let waker = move || {
            *lock(&seen.count) += 1;
            seen.more.notify_all();
        };
        let image = Image::open(path, purpose).unwrap().reaching(dma.clone());
        Self {
            medium: image.into_medium(Arc::new(waker)).unwrap(),
            calls,
            ram,
            dma,
            tags: 0,
        }
    }

    fn submit(&mut self, operation: Operation, offset: u64, data: impl Into<Data>) -> u64 {
        self.tags += 1;
        self.medium
            .submit(Request::new(operation, offset, data, self.tags));
        self.tags
    }

    /// The next completion, which is waited for as drives do.
    fn next(&mut self) -> Completion {
        loop {
            let before = *lock(&self.calls.count);
            if let Some(completion) = self.medium.completed() {
                return completion;
            }
            let mut count = lock(&self.calls.count);
            while *count == before {
                count = self.calls.more.wait(count).unwrap();
            }
        }
    }

    fn alone(&mut self, operation: Operation, offset: u64, data: impl Into<Data>) -> Completion {
        let tag = self.submit(operation, offset, data);
        let completion = self.next();
        assert_eq!(completion.tag, tag);
        completion
    }

    /// Waits until the waker was called so many times. The thread does that after it has put a completion where the drive finds it.
    fn called(&self, times: usize) {
        let count = lock(&self.calls.count);
        let seen = self.calls.more.wait_while(count, |count| *count < times);
        assert_eq!(*seen.unwrap(), times);
    }

    fn calls(&self) -> usize {
        *lock(&self.calls.count)
    }
}

fn folder() -> tempfile::TempDir {
    // Beside the sources, because not all volumes that temporary folders are on tell what is in the page cache.
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap()
}

/// A chain of two with something in both, and the content of the disk.
fn chain_of_two(folder: &Path) -> (PathBuf, Vec<u8>) {
    let (base, leaf) = (folder.join("base.vhd"), folder.join("leaf.vhd"));
    let mut model = vec![0; SIZE as usize];
    create::dynamic(&base, SIZE, &CreateOptions::new()).unwrap();
    create::differencing(&leaf, &base, &CreateOptions::new()).unwrap();
    for (path, places) in [(&base, [0, 3 << 20]), (&leaf, [4096, (3 << 20) + 8192])] {
        // The parent must look as old as it was when the child was made.
        let modified = std::fs::metadata(path).unwrap().modified().unwrap();
        let options = super::super::options().ignore_parent_timestamp(true);
        let disk = vhd::Disk::open(path, &options).unwrap();
        for at in places {
            let bytes: Vec<u8> = (0..16384).map(|n| (n / 512 + at / 4096) as u8 | 1).collect();
            disk.write_at(at as u64, &bytes).unwrap();
            model[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        disk.close().unwrap();
        std::fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(modified)
            .unwrap();
    }
    (leaf, model)
}

#[test]
fn what_memory_holds_is_read_at_once() {
    let folder = folder();
    let (path, model) = chain_of_two(folder.path());
    let mut bench = Bench::new(&path, Purpose::HardDisk);
    let read = bench.alone(Operation::Read, 0, vec![0; 65536]);
    assert_eq!(read.data.into_buffer(), model[..65536]);
    // Bitmaps had to be read first.
    bench.called(1);
    let mut known = 0;
    for (offset, len) in [(0, 65536), (4096, 512), (1 << 20, 4096), (7, 1000)] {
        let before = bench.calls();
        bench.submit(Operation::Read, offset, vec![0xee; len]);
        let at_once = bench
            .medium
            .completed()
            .map(|completion| completion.data.into_buffer());
        let expected = model[offset as usize..][..len].to_vec();
        let was = at_once.is_some();
        let data = at_once.unwrap_or_else(|| bench.next().data.into_buffer());
        assert_eq!(data, expected);
        known += usize::from(was && bench.calls() == before);
    }
    // What the kernel is busy with for a moment is not read at once.
    assert!(known > 1 || cfg!(windows), "nobody was called");
    let before = bench.calls();
    let long = bench.alone(Operation::Read, 0, vec![0; 4 << 20]);
    assert!(long.data.into_buffer() == model[..4 << 20]);
    // A long copy is the thread's.
    bench.called(before + 1);
    if cfg!(target_os = "linux") {
        let tried = (0..10).any(|_| {
            let before = bench.calls();
            let first = [0, 1, 2].map(|n| bench.submit(Operation::Read, n << 17, vec![0; 128 << 10]));
            let mut done = first.map(|_| bench.next().tag);
            done.sort_unstable();
            assert_eq!(done, first);
            while bench.calls() == before {
                std::thread::yield_now();
            }
            assert!(bench.medium.completed().is_none());
            bench.submit(Operation::Read, 0, vec![0; 128 << 10]);
            let again = bench.medium.completed().is_some();
            if !again {
                bench.next();
            }
            again && bench.calls() == before + 1
        });
        assert!(
            tried,
            "two are done at once, and more only when the drive has looked"
        );
    }
}

#[test]
fn guest_memory_is_filled_and_read_where_it_lies() {
    let folder = folder();
    let (path, model) = chain_of_two(folder.path());
    let mut bench = Bench::new(&path, Purpose::HardDisk);
    assert!(bench.medium.reaches_memory());
    let segments = |pieces: &[(u64, u64)]| -> Vec<Segment> {
        let all = pieces.iter();
        all.map(|&(address, len)| Segment { address, len }).collect()
    };
    let pieces = [(100, 1000), (50_000, 24), (0x20_0000, 1 << 20)];
    for round in 0..2 {
        for offset in [0, 3 << 20] {
            let read = bench.alone(Operation::Read, offset, segments(&pieces));
            assert_eq!((read.result, read.data.len()), (Ok(()), 1024 + (1 << 20)));
            let mut at = offset as usize;
            for (address, len) in pieces {
                let mut bytes = vec![0; len as usize];
                bench.ram.read_slice(&mut bytes, GuestAddress(address)).unwrap();
                assert!(bytes == model[at..at + bytes.len()], "round {round}");
                at += bytes.len();
            }
            bench.ram.write_slice(&vec![0x11; RAM], GuestAddress(0)).unwrap();
        }
    }
    bench.ram.write_slice(&[9; 1536], GuestAddress(0)).unwrap();
    let data = segments(&[(512, 1024), (0, 512)]);
    assert_eq!(bench.alone(Operation::Write, 2 << 20, data).result, Ok(()));
    let read = bench.alone(Operation::Read, (2 << 20) - 512, vec![0; 2560]);
    let bytes = read.data.into_buffer();
    assert_eq!(bytes[..512], model[(2 << 20) - 512..2 << 20]);
    assert_eq!(
        (&bytes[512..2048], &bytes[2048..]),
        (&[9; 1536][..], &[0; 512][..])
    );
    for beyond in [(RAM as u64 - 1, 512), (u64::MAX - 5, 512), (1 << 40, 512)] {
        for operation in [Operation::Read, Operation::Write] {
            let failed = bench.alone(operation, 0, segments(&[beyond]));
            assert_eq!(failed.result, Err(MediumError::Io));
        }
    }
    let huge = segments(&[(0, u64::MAX), (0, u64::MAX)]);
    assert_eq!(
        bench.alone(Operation::Read, 0, huge).result,
        Err(MediumError::OutOfRange)
    );
    assert!(bench.dma.is_idle());
}

#[test]
fn what_cannot_be_is_refused_and_the_drive_is_told() {
    let folder = folder();
    let path = folder.path().join("disc.iso");
    std::fs::write(&path, vec![5; 8192]).unwrap();
    let mut bench = Bench::new(&path, Purpose::Dvd);
    for offset in [8192, 8000, u64::MAX] {
        let refused = bench.alone(Operation::Read, offset, vec![0; 512]);
        assert_eq!(
            (refused.result, refused.data.len()),
            (Err(MediumError::OutOfRange), 512)
        );
    }
    for operation in [
        Operation::Write,
        Operation::Discard { len: 512 },
        Operation::WriteZeroes { len: 512 },
    ] {
        let refused = bench.alone(operation, 0, vec![0; 512]);
        assert_eq!(refused.result, Err(MediumError::ReadOnly));
    }
    assert_eq!(bench.alone(Operation::Flush, 0, Data::default()).result, Ok(()));
    assert_eq!(
        bench.alone(Operation::Read, 1, vec![0; 3]).data.into_buffer(),
        [5; 3]
    );
}

#[test]
fn requests_in_flight_agree_with_a_model_and_survive_the_end() {
    let folder = folder();
    let (path, mut model) = chain_of_two(folder.path());
    let mut dice = Dice::new(11);
    let mut bench = Bench::new(&path, Purpose::HardDisk);
    for _ in 0..40 {
        // Each of them in a slot of its own, so that there is one right result.
        let slot = SIZE / 16;
        let mut reads = HashMap::new();
        for index in 0..16 {
            let (offset, len) = (index * slot + 512 * dice.roll(64), (1 + dice.roll(900)) * 512);
            let range = offset as usize..(offset + len) as usize;
            let value = dice.roll(256) as u8;
            match dice.roll(5) {
                0 => {
                    bench.submit(Operation::Write, offset, vec![value; range.len()]);
                    model[range].fill(value);
                }
                1 => {
                    bench.submit(Operation::WriteZeroes { len }, offset, Data::default());
                    model[range].fill(0);
                }
                2 => {
                    bench.submit(Operation::Flush, 0, Data::default());
                }
                _ => {
                    let tag = bench.submit(Operation::Read, offset, vec![0; range.len()]);
                    reads.insert(tag, range);
                }
            }
        }
        for _ in 0..16 {
            let completion = bench.next();
            assert_eq!(completion.result, Ok(()));
            if let Some(range) = reads.remove(&completion.tag) {
                assert!(completion.data.into_buffer() == model[range]);
            }
        }
        assert!(bench.medium.completed().is_none());
    }
    // What was submitted is carried out, though nobody waits for it.
    for index in 0..16 {
        let at = index << 19;
        bench.submit(Operation::Write, at as u64, vec![index as u8; 8192]);
        model[at..at + 8192].fill(index as u8);
    }
    drop(bench);
    let disk = vhd::Disk::open(&path, &crate::storage::options().read_only(true)).unwrap();
    let mut content = vec![0; SIZE as usize];
    disk.read_at(0, &mut content).unwrap();
    assert!(content == model);
}

#[test]
fn a_disk_grows_in_its_drive_while_requests_come() {
    const LARGE: u64 = 40 << 20;
    let folder = folder();
    for (name, fixed) in [("dynamic.vhd", false), ("fixed.vhd", true)] {
        if fixed && cfg!(windows) {
            // Written anew, and Wine 8 cannot put it in the place of the old one.
            continue;
        }
        let path = folder.path().join(name);
        let made = match fixed {
            true => create::fixed(&path, SIZE, &CreateOptions::new()),
            false => create::dynamic(&path, SIZE, &CreateOptions::new()),
        };
        made.unwrap();
        let mut bench = Bench::new(&path, Purpose::HardDisk);
        let outside = bench.alone(Operation::Write, SIZE, vec![1; 4096]);
        assert_eq!(outside.result, Err(MediumError::OutOfRange));

        let handle = bench.medium.handle();
        let grower = std::thread::spawn(move || handle.grow(LARGE));
        let mut written = 0;
        // Some come before, some while the image is closed, some after.
        while !grower.is_finished() || written < 64 {
            bench.submit(Operation::Write, written % 1024 * 4096, vec![1; 4096]);
            assert_eq!(bench.next().result, Ok(()), "{written}");
            written += 1;
        }
        assert_eq!(grower.join().unwrap().unwrap().len, LARGE);
        let inside = bench.alone(Operation::Write, LARGE - 4096, vec![2; 4096]);
        assert_eq!(inside.result, Ok(()));
        let read = bench.alone(Operation::Read, 0, vec![0; 64 * 4096]);
        assert!(read.data.into_buffer().iter().all(|&byte| byte == 1));

        let smaller = bench.medium.handle().grow(SIZE).unwrap_err();
        assert!(matches!(smaller, Error::Smaller { len: LARGE, .. }), "{smaller}");
        assert_eq!(bench.alone(Operation::Flush, 0, Data::default()).result, Ok(()));
        let handle = bench.medium.handle();
        drop(bench);
        assert!(matches!(handle.grow(2 * LARGE), Err(Error::Left)));
        assert_eq!(
            vhd::Disk::open(&path, &vhd::OpenOptions::new()).unwrap().len(),
            LARGE
        );
    }
}

#[test]
fn a_disk_that_cannot_grow_goes_on() {
    let folder = folder();
    let (path, content) = chain_of_two(folder.path());
    let mut bench = Bench::new(&path, Purpose::HardDisk);
    let refused = bench.medium.handle().grow(2 * SIZE).unwrap_err();
    assert!(matches!(refused, Error::Resize { .. }), "{refused}");
    let read = bench.alone(Operation::Read, 0, vec![0; 65536]);
    assert!(read.data.into_buffer() == content[..65536]);
}

/// A drive that forgets that it was attended, as after a reset, and wants it again.
#[test]
fn an_attended_drive_is_called_until_it_wants_no_more() {
    if std::thread::available_parallelism().unwrap().get() == 1 {
        println!("not tried: with one processor no drive is attended");
        return;
    }
    let folder = folder();
    let path = folder.path().join("disk.vhd");
    create::dynamic(&path, SIZE, &CreateOptions::new()).unwrap();
    let mut bench = Bench::new(&path, Purpose::HardDisk);
    for _ in 0..20 {
        let seen = bench.calls();
        // Rings without a pause; a machine that is busy with other things may make one.
        while !bench.medium.attend(2) {}
        while bench.calls() < seen + 3 {
            bench.medium.attend(2);
        }
        // Now nobody asks any more, and the thread goes back to its other work.
        assert_eq!(bench.alone(Operation::Write, 0, vec![1; 4096]).result, Ok(()));
    }
}
