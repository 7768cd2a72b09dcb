// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest memory in a saved state: pieces of 1 MiB, each compressed on its own; pieces of zeros are left out.
//!
//! Two threads pack or unpack while the calling one writes or reads the file.

use super::file::{Kind, Reader, Writer};
use super::{Error, Result};
use crate::memory::{FOUR_GIB, Layout, MIB};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Bytes of a piece. Both regions of memory are made of whole ones.
const PIECE: usize = MIB as usize;
/// Threads that pack.
const THREADS: usize = 2;
/// Pieces that wait for the file.
const WAITING: usize = 8;

/// Where a piece lies.
fn address(layout: Layout, number: u64) -> GuestAddress {
    let at = number * MIB;
    GuestAddress(match at.checked_sub(layout.below_4g) {
        Some(above) => FOUR_GIB + above,
        None => at,
    })
}

fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}

fn unreadable(error: &vm_memory::GuestMemoryError) -> io::Error {
    io::Error::other(error.to_string())
}

/// Writes all of memory.
///
/// # Errors
/// What the file system says.
pub fn save(ram: &GuestMemoryMmap, layout: Layout, writer: &mut Writer) -> Result<()> {
    let count = layout.size() / MIB;
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (packed, pieces) = mpsc::sync_channel::<(u64, io::Result<Vec<u8>>)>(WAITING);
    let pack = |packed: mpsc::SyncSender<_>| {
        let mut piece = vec![0; PIECE];
        let mut packer = zstd::bulk::Compressor::new(1);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count || stop.load(Ordering::Relaxed) {
                return;
            }
            let read = ram.read_slice(&mut piece, address(layout, number));
            let content = match (read, &mut packer) {
                (Ok(()), _) if is_zero(&piece) => continue,
                (Ok(()), Ok(packer)) => packer.compress(&piece),
                (Ok(()), Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
                (Err(error), _) => Err(unreadable(&error)),
            };
            if packed.send((number, content)).is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let packed = packed.clone();
            scope.spawn(|| pack(packed));
        }
        drop(packed);
        let mut done = Ok(());
        for (number, content) in pieces {
            if done.is_err() {
                continue;
            }
            done = content
                .map_err(|error| writer.failed(error))
                .and_then(|content| writer.stored(Kind::Ram, number, &content));
            if done.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
        }
        done
    })
}

/// Fills memory. What is not in the file becomes zero; `fresh` says that it is already.
///
/// # Errors
/// [`Error::Damaged`].
pub fn restore(ram: &GuestMemoryMmap, layout: Layout, reader: &Reader, fresh: bool) -> Result<()> {
    let count = layout.size() / MIB;
    let records = reader.numbers(Kind::Ram);
    let mut there = vec![false; count as usize];
    for (_, number) in &records {
        match there.get_mut(usize::try_from(*number).unwrap_or(usize::MAX)) {
            Some(place) if !*place => *place = true,
            _ => return Err(reader.damaged("a piece of memory that the machine does not have")),
        }
    }
    if !fresh {
        let zeros = vec![0; PIECE];
        for (number, _) in (0..).zip(&there).filter(|(_, there)| !**there) {
            ram.write_slice(&zeros, address(layout, number))
                .map_err(|_| reader.damaged("memory"))?;
        }
    }
    let (next, failed) = (Mutex::new(records.into_iter()), Mutex::new(None::<Error>));
    let lock_next = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
    let unpack = || -> Result<()> {
        let mut piece = vec![0; PIECE];
        while let Some((at, number)) = lock_next() {
            let content = reader.nth(at)?;
            match zstd::bulk::decompress_to_buffer(&content, &mut piece) {
                Ok(PIECE) => {}
                _ => return Err(reader.damaged("a piece of memory")),
            }
            ram.write_slice(&piece, address(layout, number))
                .map_err(|_| reader.damaged("memory"))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                if let Err(error) = unpack() {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn memory(layout: Layout) -> GuestMemoryMmap {
        let mut ranges = vec![(GuestAddress(0), layout.below_4g as usize)];
        if layout.above_4g > 0 {
            ranges.push((GuestAddress(FOUR_GIB), layout.above_4g as usize));
        }
        GuestMemoryMmap::from_ranges(&ranges).unwrap()
    }

    #[test]
    fn memory_comes_back_on_both_sides_of_the_hole() {
        let layout = Layout {
            below_4g: 8 * MIB,
            above_4g: 4 * MIB,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let ram = memory(layout);
        let places = [5, 3 * MIB + 7, 8 * MIB - 1, FOUR_GIB, FOUR_GIB + 4 * MIB - 1];
        for (value, place) in (1u8..).zip(places) {
            ram.write_obj(value, GuestAddress(place)).unwrap();
        }
        let mut writer = Writer::create(&path).unwrap();
        save(&ram, layout, &mut writer).unwrap();
        writer.finish().unwrap();
        assert!(
            std::fs::metadata(&path).unwrap().len() < 4096,
            "zeros take no room"
        );
        let reader = Reader::open(&path).unwrap();
        assert_eq!(reader.numbers(Kind::Ram).len(), 5);

        let other = memory(layout);
        other.write_obj(9u8, GuestAddress(2 * MIB)).unwrap();
        restore(&other, layout, &reader, false).unwrap();
        let (mut then, mut now) = (vec![0; PIECE], vec![0; PIECE]);
        for number in 0..12 {
            ram.read_slice(&mut then, address(layout, number)).unwrap();
            other.read_slice(&mut now, address(layout, number)).unwrap();
            assert!(then == now, "piece {number}");
        }

        let smaller = Layout {
            below_4g: 8 * MIB,
            above_4g: 0,
        };
        assert!(restore(&memory(smaller), smaller, &reader, true).is_err());
    }
}
