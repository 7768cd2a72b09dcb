// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What every kind of ring has to do. Where io_uring is refused, the blocking kind is tested twice.

use super::*;
use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

#[cfg(target_os = "linux")]
mod linux;

const DEPTH: u16 = 16;
const PAGE: usize = 4096;

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

fn cached(file: &File) -> RingFile {
    RingFile {
        file: file.try_clone().unwrap(),
        caching: Caching::Cached,
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7 + at) as u8).collect()
}

fn read(offset: u64, into: impl Into<Slices>) -> Operation {
    let into = into.into();
    Operation::Read {
        file: 0,
        offset,
        into,
    }
}

fn write(offset: u64, from: impl Into<Slices>) -> Operation {
    let from = from.into();
    Operation::Write {
        file: 0,
        offset,
        from,
    }
}

fn slice(buffer: &Buffer, range: std::ops::Range<usize>) -> Slice {
    match buffer.slices().part(range) {
        Slices::One(slice) => slice,
        Slices::Many(_) => unreachable!("a part of a buffer is one piece"),
    }
}

/// Waits for `count` completions.
fn collect(ring: &mut Ring, count: usize) -> Vec<Completion> {
    let mut found = Vec::new();
    while found.len() < count {
        ring.wait(None).unwrap();
        found.extend(std::iter::from_fn(|| ring.next()));
    }
    assert!(ring.next().is_none(), "more completions than requests");
    found
}

fn one(ring: &mut Ring, operation: Operation) -> io::Result<()> {
    ring.push(7, operation).unwrap();
    let completion = collect(ring, 1).pop().unwrap();
    assert_eq!(completion.token, 7);
    completion.result
}

/// Runs a test on both kinds of rings, over files that it makes.
fn both(files: &dyn Fn() -> Vec<RingFile>, test: &dyn Fn(Ring)) {
    test(Ring::blocking(DEPTH, files()));
    test(Ring::new(DEPTH, files()));
}

#[test]
fn what_is_written_is_read() {
    both(&|| vec![cached(&file(b""))], &|mut ring| {
        let data = pattern(3 * PAGE);
        let source = Buffer::from(data.clone());
        one(&mut ring, write(100, slice(&source, 0..data.len()))).unwrap();
        one(&mut ring, Operation::Sync { file: 0 }).unwrap();
        let mut target = Buffer::zeroed(data.len(), PAGE);
        one(&mut ring, read(100, slice(&target, 0..data.len()))).unwrap();
        assert_eq!(target.bytes().unwrap(), data);
        assert_eq!(source.into_vec().unwrap(), data);
    });
}

#[test]
fn pieces_of_memory_are_one_transfer() {
    let data = pattern(5000);
    both(&|| vec![cached(&file(&data))], &|mut ring| {
        let mut target = Buffer::zeroed(5000, 1);
        // Last things first, in more pieces than the kernel takes at once.
        let mut slices = Slices::One(slice(&target, 4000..5000));
        (0..2000).for_each(|at| slices.push(slice(&target, 2 * at..2 * at + 2)));
        assert_eq!(slices.len(), 5000);
        one(&mut ring, read(0, slices)).unwrap();
        let mut expected = data[1000..].to_vec();
        expected.extend(&data[..1000]);
        assert_eq!(target.bytes().unwrap(), expected);
        let mut slices = Slices::One(slice(&target, 4000..5000));
        slices.push(slice(&target, 0..4000));
        one(&mut ring, write(5000, slices)).unwrap();
        one(&mut ring, read(5000, slice(&target, 0..5000))).unwrap();
        assert_eq!(target.bytes().unwrap(), data);
    });
}

#[test]
fn the_end_of_the_file_is_an_error() {
    both(&|| vec![cached(&file(&pattern(1000)))], &|mut ring| {
        let mut target = Buffer::zeroed(600, 1);
        for offset in [500, 1000, 1 << 40] {
            let error = one(&mut ring, read(offset, slice(&target, 0..600))).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "at {offset}");
        }
        one(&mut ring, read(400, slice(&target, 0..600))).unwrap();
        assert_eq!(target.bytes().unwrap(), &pattern(1000)[400..]);
        one(&mut ring, read(1000, Slices::default())).unwrap();
        assert!(one(&mut ring, read(u64::MAX - 5, slice(&target, 0..600))).is_err());
    });
}

#[test]
fn a_full_ring_gives_requests_back() {
    both(&|| vec![cached(&file(&pattern(PAGE)))], &|mut ring| {
        let memory = Buffer::zeroed(PAGE, PAGE);
        for token in 0..u64::from(DEPTH) {
            ring.push(token, read(0, slice(&memory, 0..1))).unwrap();
        }
        assert_eq!(ring.room(), 0);
        let back = ring.push(99, read(5, slice(&memory, 0..1))).unwrap_err();
        assert!(matches!(back, Operation::Read { offset: 5, .. }));
        collect(&mut ring, usize::from(DEPTH));
        assert_eq!(ring.room(), usize::from(DEPTH));
        let nowhere = Operation::Sync { file: 1 };
        assert!(ring.push(1, nowhere).is_err(), "there is no such file");
    });
}

#[test]
fn many_at_once_each_come_back_once() {
    let data = pattern(1 << 20);
    both(
        &|| vec![cached(&file(&data)), cached(&file(&data))],
        &|mut ring| {
            let mut memory: Vec<_> = (0..DEPTH).map(|_| Buffer::zeroed(PAGE, PAGE)).collect();
            let place = |token: u64| token * 7919 * 512 % ((1 << 20) - PAGE as u64);
            let (mut next, mut seen) = (0, HashSet::new());
            while seen.len() < 2000 {
                while ring.room() > 0 && next < 2000 {
                    let buffer = &memory[next as usize % usize::from(DEPTH)];
                    let into = slice(buffer, 0..PAGE).into();
                    let (file, offset) = (next as usize % 2, place(next));
                    ring.push(next, Operation::Read { file, offset, into }).unwrap();
                    next += 1;
                }
                ring.wait(None).unwrap();
                while let Some(completion) = ring.next() {
                    completion.result.unwrap();
                    assert!(seen.insert(completion.token), "twice");
                }
                // What is in a buffer is what one of its requests read there, once none uses it any more.
                if ring.room() == usize::from(DEPTH) {
                    for token in next.saturating_sub(u64::from(DEPTH))..next {
                        let bytes = memory[token as usize % usize::from(DEPTH)].bytes().unwrap();
                        let at = place(token) as usize;
                        assert_eq!(bytes, &data[at..at + PAGE]);
                    }
                }
            }
            assert_eq!(ring.room(), usize::from(DEPTH));
        },
    );
}

#[test]
fn memory_belongs_to_its_requests_until_they_are_done() {
    both(&|| vec![cached(&file(&pattern(PAGE)))], &|mut ring| {
        let mut memory = Buffer::zeroed(PAGE, PAGE);
        ring.push(1, read(0, slice(&memory, 0..PAGE))).unwrap();
        assert!(memory.bytes().is_none(), "a request has it");
        collect(&mut ring, 1);
        assert_eq!(memory.bytes().unwrap(), pattern(PAGE));
        assert_eq!(memory.slices().part(1..PAGE + 9).len(), PAGE - 1);
    });
}

#[test]
fn buffers_and_rings_may_go_at_any_time() {
    // Direct reads take long enough to be under way when the ring goes.
    let named = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    named.as_file().write_all(&pattern(1 << 20)).unwrap();
    named.as_file().sync_all().unwrap();
    let files = || match super::super::open_direct(named.as_file(), true).unwrap() {
        Some(direct) => vec![RingFile {
            file: direct.file,
            caching: Caching::Direct,
        }],
        None => vec![cached(named.as_file())],
    };
    for _ in 0..20 {
        both(&files, &|mut ring| {
            let witness = Arc::new(());
            for token in 0..u64::from(DEPTH) {
                let memory = Buffer::zeroed(16 * PAGE, PAGE);
                ring.push(token, read(token * 65536, slice(&memory, 0..16 * PAGE)))
                    .unwrap();
                drop(memory);
            }
            ring.submit().unwrap();
            let held = Arc::clone(&witness);
            drop(ring);
            assert_eq!(Arc::strong_count(&held), 2);
        });
    }
}

#[test]
fn direct_transfers_are_the_files_content() {
    let named = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    named.as_file().set_len(1 << 20).unwrap();
    let Some(direct) = super::super::open_direct(named.as_file(), true).unwrap() else {
        return; // A volume without them, which the answer says.
    };
    let alignment = direct.memory_alignment;
    let files = || {
        vec![RingFile {
            file: direct.file.try_clone().unwrap(),
            caching: Caching::Direct,
        }]
    };
    both(&files, &|mut ring| {
        let mut memory = Buffer::zeroed(4 * PAGE, alignment.max(PAGE));
        memory.bytes().unwrap().copy_from_slice(&pattern(4 * PAGE));
        one(&mut ring, write(8192, slice(&memory, 0..4 * PAGE))).unwrap();
        one(&mut ring, Operation::Sync { file: 0 }).unwrap();
        memory.bytes().unwrap().fill(0);
        one(&mut ring, read(8192 + 4096, slice(&memory, PAGE..2 * PAGE))).unwrap();
        assert_eq!(
            memory.bytes().unwrap()[PAGE..2 * PAGE],
            pattern(4 * PAGE)[PAGE..2 * PAGE]
        );
        // The cached view of the file agrees.
        let mut seen = vec![0; 4 * PAGE];
        named.as_file().seek(SeekFrom::Start(8192)).unwrap();
        named.as_file().read_exact(&mut seen).unwrap();
        assert_eq!(seen, pattern(4 * PAGE));
    });
}

#[test]
fn vectors_keep_their_capacity() {
    let mut bytes = Vec::with_capacity(100);
    bytes.extend(b"abc");
    let mut buffer = Buffer::from(bytes);
    buffer.bytes().unwrap()[0] = b'x';
    let bytes = buffer.into_vec().unwrap();
    assert_eq!((bytes.as_slice(), bytes.capacity()), (&b"xbc"[..], 100));
    assert_eq!(Buffer::from(Vec::new()).into_vec().unwrap(), b"");
    assert!(Buffer::zeroed(5, 16).into_vec().is_none());
    assert_eq!(Buffer::zeroed(0, 4096).bytes().unwrap(), b"");
    let buffer = Buffer::zeroed(9, 1);
    let held = slice(&buffer, 0..9);
    assert!(buffer.into_vec().is_none(), "a slice is left");
    drop(held);
}

#[test]
fn guest_memory_is_read_and_written_where_it_lies() {
    let ranges = [
        (GuestAddress(0), 3 * PAGE),
        (GuestAddress(3 * PAGE as u64), 2 * PAGE),
    ];
    let memory = Arc::new(GuestMemoryMmap::<()>::from_ranges(&ranges).unwrap());
    let pieces = [(5000, 3), (PAGE as u64 * 3 - 10, 20), (0, 0), (1, 1)];
    both(&|| vec![cached(&file(&pattern(PAGE)))], &|mut ring| {
        let slices = Slices::guest(&memory, pieces).unwrap();
        assert_eq!(
            (slices.len(), slices.as_slice().len()),
            (24, 4),
            "cut where the memory is"
        );
        slices.zero();
        one(&mut ring, read(100, slices.part(0..24))).unwrap();
        let mut seen = [0; 24];
        memory.read_slice(&mut seen[..3], GuestAddress(5000)).unwrap();
        memory
            .read_slice(&mut seen[3..23], GuestAddress(PAGE as u64 * 3 - 10))
            .unwrap();
        memory.read_slice(&mut seen[23..], GuestAddress(1)).unwrap();
        assert_eq!(seen, pattern(124)[100..]);
        let mut part = [0; 9];
        slices.part(2..11).copy_to(&mut part);
        assert_eq!(part, pattern(124)[102..111]);
        slices.part(20..24).copy_from(b"wxyz and more");
        one(&mut ring, write(0, slices)).unwrap();
        let target = Buffer::zeroed(24, 1);
        one(&mut ring, read(0, slice(&target, 0..24))).unwrap();
        let mut target = target;
        assert_eq!(target.bytes().unwrap()[..20], pattern(120)[100..]);
        assert_eq!(target.bytes().unwrap()[20..], *b"wxyz");
    });
    for beyond in [(5 * PAGE as u64 - 1, 2), (u64::MAX, 1), (5, u64::MAX)] {
        assert!(Slices::guest(&memory, [(0, 1), beyond]).is_none());
    }
}
