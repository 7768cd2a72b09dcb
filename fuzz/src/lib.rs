// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the targets share: choices made from the fuzzer's bytes, and images made from them.

use std::sync::Arc;

use vhd::OpenOptions;
use vhd::format::{Footer, Header};
use vhd::storage::MemoryFileSystem;
use zerocopy::{FromBytes, IntoBytes};

/// The fuzzer's bytes as a source of choices; zeros when they are used up.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// From these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    /// Two bytes, little-endian.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// Four bytes, little-endian.
    pub fn long(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Some bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// As many bytes as there are, up to `len`.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let len = len.min(self.0.len());
        self.0.split_off(..len).unwrap_or_default()
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Makes the checksums of a file's structures right, where the structures are. The fuzzer does not find sums by itself.
pub fn seal(file: &mut [u8]) {
    fn footer(bytes: Option<&mut [u8]>) -> Option<u64> {
        let bytes = bytes?;
        let mut footer = Footer::read_from_bytes(bytes).ok()?;
        footer.has_cookie().then(|| {
            footer.seal();
            bytes.copy_from_slice(footer.as_bytes());
            footer.data_offset.get()
        })
    }
    let len = file.len();
    let at_end = len
        .checked_sub(512)
        .and_then(|start| footer(file.get_mut(start..)));
    let at_start = footer(file.get_mut(..512));
    for offset in [at_end, at_start].into_iter().flatten() {
        let Some(start) = usize::try_from(offset).ok().filter(|&start| start < len) else {
            continue;
        };
        if let Some(bytes) = file.get_mut(start..start.saturating_add(size_of::<Header>()))
            && let Ok(mut header) = Header::read_from_bytes(bytes)
        {
            header.seal();
            bytes.copy_from_slice(header.as_bytes());
        }
    }
}

/// Options for opening images in memory.
pub fn opening(files: &MemoryFileSystem) -> OpenOptions {
    OpenOptions::new()
        .file_system(Arc::new(files.clone()))
        .ignore_parent_timestamp(true)
        .grow_ahead(64 << 10)
        .cache_size(64 << 10)
}

/// Opens an image, uses it, and finds what was written after opening it again.
pub fn use_image(files: &MemoryFileSystem, path: &str) {
    let options = opening(files);
    if let Ok(disk) = vhd::Disk::open(path, &options.clone().read_only(true)) {
        let mut buffer = [0; 4096];
        let len = disk.len();
        for offset in [0, len / 2, len.saturating_sub(4096)] {
            let count = (len - offset).min(4096) as usize;
            let _ = disk.read_at(offset, &mut buffer[..count]);
        }
        // Beyond a few TiB the picture of the disk takes too long for a fuzzer.
        if len < 1 << 40 {
            let _ = vhd::map::map(&disk, &vhd::Watch::default(), |_| {});
        }
        assert!(disk.write_at(0, &[1]).is_err(), "it is open read-only");
    }
    let Ok(disk) = vhd::Disk::open(path, &options) else {
        return;
    };
    // A file system in memory must not be made to grow by terabytes.
    let last = disk.len() - 512;
    let offsets: &[u64] = if disk.format() == vhd::Format::Raw || last < 1 << 24 {
        &[0, last]
    } else {
        &[0]
    };
    let block = disk.layers().next().and_then(|layer| layer.block_size());
    if block.is_some_and(|block| block > 1 << 24) {
        return;
    }
    for &offset in offsets {
        if disk.write_at(offset, &[0x5a; 512]).is_err() {
            return;
        }
    }
    if disk.close().is_err() {
        return;
    }
    let disk = vhd::Disk::open(path, &options).expect("what was written and closed opens again");
    for &offset in offsets {
        let mut sector = [0; 512];
        disk.read_at(offset, &mut sector)
            .expect("what was written can be read");
        assert_eq!(sector, [0x5a; 512], "what was written is there");
    }
}
