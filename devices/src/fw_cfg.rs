// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The firmware configuration device: numbered items and named files that firmware reads from its host (QEMU's `docs/specs/fw_cfg.rst`).
//!
//! A guest selects an item by port 510h and reads it byte by byte at 511h, or has it copied by DMA: it writes the address of a control
//! structure to 514h–51Bh, high half first, in big-endian order. Items are read-only.

mod snapshot;

use crate::bus::Device;
use crate::ram::{BadAddress, GuestRam};
use bitflags::bitflags;
use std::collections::BTreeMap;
use std::sync::Arc;

/// First port of the device, and its last.
pub const PORTS: std::ops::RangeInclusive<u64> = 0x510..=0x51b;

/// Item numbers with a fixed meaning.
pub mod key {
    /// The four bytes `QEMU`.
    pub const SIGNATURE: u16 = 0x00;
    /// Feature bits.
    pub const ID: u16 = 0x01;
    /// The machine's UUID.
    pub const UUID: u16 = 0x02;
    /// RAM size, 64 bit.
    pub const RAM_SIZE: u16 = 0x03;
    /// There is no display, 16 bit.
    pub const NO_GRAPHIC: u16 = 0x04;
    /// Processors that are switched on, 16 bit.
    pub const CPUS: u16 = 0x05;
    /// The firmware shows a boot menu, 16 bit.
    pub const BOOT_MENU: u16 = 0x0e;
    /// The most processors there can be, 16 bit.
    pub const MAX_CPUS: u16 = 0x0f;
    /// The directory of files.
    pub const FILE_DIRECTORY: u16 = 0x19;
    /// The first file.
    pub const FILE_FIRST: u16 = 0x20;
    /// ISA interrupt 0 arrives at input 2 of the I/O APIC, 8 bit. An item of the x86 architecture.
    pub const IRQ0_OVERRIDE: u16 = 0x8002;
}

/// The longest file name, without its terminating zero.
const NAME_MOST: usize = 55;
/// All bits of an item number but the one that asked for write access in old versions. Bit 15 tells the items of an architecture apart
/// from the common ones of the same number.
const KEY_MASK: u16 = 0xbfff;
/// The end of the numbers for files: of those from here on, bits 14 and 15 say more than which file.
const FILES_END: u16 = 0x4000;
/// How far past an item's end one DMA request may read. The zeros there are a convenience for sloppy readers; a request without a limit
/// would let a guest keep its processor in here for as long as it takes to clear all of its memory.
const PADDING_MOST: usize = 1 << 20;
/// Bytes that one DMA step moves.
const DMA_PIECE: usize = 64 << 10;

bitflags! {
    /// Control bits of a DMA request.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct DmaControl: u32 {
        const ERROR = 1 << 0;
        const READ = 1 << 1;
        const SKIP = 1 << 2;
        const SELECT = 1 << 3;
        const WRITE = 1 << 4;
        /// The new item number with `SELECT`.
        const KEY = 0xffff << 16;
    }
}

/// A file that firmware cannot take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: not a name for a firmware file (1 to {NAME_MOST} bytes)")]
pub struct BadName {
    /// The name.
    pub name: String,
}

/// Collects the items of a [`FwCfg`].
#[derive(Debug, Default)]
pub struct FwCfgBuilder {
    items: BTreeMap<u16, Arc<[u8]>>,
    files: BTreeMap<String, Arc<[u8]>>,
}

impl FwCfgBuilder {
    /// Signature and features only.
    pub fn new() -> Self {
        let mut builder = Self::default();
        builder.add_item(key::SIGNATURE, *b"QEMU");
        const TRADITIONAL: u32 = 1;
        const DMA: u32 = 2;
        builder.add_item(key::ID, (TRADITIONAL | DMA).to_le_bytes());
        builder
    }

    /// Sets a numbered item.
    pub fn add_item(&mut self, key: u16, bytes: impl Into<Arc<[u8]>>) {
        self.items.insert(key & KEY_MASK, bytes.into());
    }

    /// Sets a named file.
    pub fn add_file(&mut self, name: &str, bytes: impl Into<Arc<[u8]>>) -> Result<(), BadName> {
        if name.is_empty() || name.len() > NAME_MOST || name.bytes().any(|b| b == 0) {
            return Err(BadName {
                name: name.to_owned(),
            });
        }
        self.files.insert(name.to_owned(), bytes.into());
        Ok(())
    }

    /// The device. Files are numbered in the order of their names.
    pub fn build(mut self, ram: Arc<dyn GuestRam>) -> FwCfg {
        let mut directory = (self.files.len() as u32).to_be_bytes().to_vec();
        for ((name, bytes), key) in self.files.into_iter().zip(key::FILE_FIRST..FILES_END) {
            directory.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            directory.extend_from_slice(&key.to_be_bytes());
            directory.extend_from_slice(&[0; 2]);
            let mut field = [0; NAME_MOST + 1];
            field[..name.len()].copy_from_slice(name.as_bytes());
            directory.extend_from_slice(&field);
            self.items.insert(key, bytes);
        }
        self.items.insert(key::FILE_DIRECTORY, directory.into());
        FwCfg {
            items: self.items,
            ram,
            state: State::default(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    selected: Option<Arc<[u8]>>,
    position: usize,
    dma_high: u32,
}

/// The device.
pub struct FwCfg {
    items: BTreeMap<u16, Arc<[u8]>>,
    ram: Arc<dyn GuestRam>,
    state: State,
}

impl FwCfg {
    /// Back to power-on: nothing selected.
    pub fn reset(&mut self) {
        self.state = State::default();
    }

    fn select(&mut self, key: u16) {
        self.state.selected = self.items.get(&(key & KEY_MASK)).cloned();
        self.state.position = 0;
    }

    /// The next `buffer.len()` bytes of the selected item, padded with zeros past its end.
    fn take(&mut self, buffer: &mut [u8]) {
        let item = self.state.selected.as_deref().unwrap_or_default();
        let rest = item.get(self.state.position..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        buffer[len..].fill(0);
        self.state.position += len;
    }

    /// Carries out the request at `address` and writes its outcome there.
    fn dma(&mut self, address: u64) {
        let mut request = [0; 16];
        if self.ram.read(address, &mut request).is_err() {
            return;
        }
        let word =
            |at: usize| u32::from_be_bytes([request[at], request[at + 1], request[at + 2], request[at + 3]]);
        let (control, len) = (DmaControl::from_bits_retain(word(0)), word(4));
        let target = u64::from(word(8)) << 32 | u64::from(word(12));
        if control.contains(DmaControl::SELECT) {
            self.select((control.bits() >> 16) as u16);
        }
        let result = if control.contains(DmaControl::READ) {
            self.dma_read(target, len as usize)
        } else if control.contains(DmaControl::WRITE) {
            Err(BadAddress { address: target })
        } else {
            if control.contains(DmaControl::SKIP) {
                self.skip(len as usize);
            }
            Ok(())
        };
        let outcome = if result.is_ok() {
            DmaControl::empty()
        } else {
            DmaControl::ERROR
        };
        // A request whose memory went away has nobody to tell.
        let _ = self.ram.write(address, &outcome.bits().to_be_bytes());
    }

    fn skip(&mut self, len: usize) {
        self.state.position += len.min(self.rest());
    }

    /// Bytes left in the selected item.
    fn rest(&self) -> usize {
        let len = self.state.selected.as_ref().map_or(0, |item| item.len());
        len.saturating_sub(self.state.position)
    }

    /// Copies to guest memory; past the end of the item zeros are written.
    fn dma_read(&mut self, target: u64, len: usize) -> Result<(), BadAddress> {
        if len > self.rest().saturating_add(PADDING_MOST) {
            return Err(BadAddress { address: target });
        }
        let mut piece = vec![0; len.min(DMA_PIECE)];
        let mut done = 0;
        while done < len {
            let count = (len - done).min(DMA_PIECE);
            self.take(&mut piece[..count]);
            let address = target
                .checked_add(done as u64)
                .ok_or(BadAddress { address: target })?;
            self.ram.write(address, &piece[..count])?;
            done += count;
        }
        Ok(())
    }
}

/// Register by the offset from port 510h.
mod offset {
    pub const SELECTOR: u64 = 0;
    pub const DATA: u64 = 1;
    pub const DMA_HIGH: u64 = 4;
    pub const DMA_LOW: u64 = 8;
}

impl Device for FwCfg {
    fn read(&mut self, at: u64, data: &mut [u8]) {
        match (at, data.len()) {
            (offset::DATA, 1) => self.take(data),
            // The DMA address register names itself, for guests that look for it.
            (offset::DMA_HIGH, 4) => data.copy_from_slice(b"QEMU"),
            (offset::DMA_LOW, 4) => data.copy_from_slice(b" CFG"),
            _ => data.fill(0),
        }
    }

    fn write(&mut self, at: u64, data: &[u8]) {
        match (at, data) {
            (offset::SELECTOR, &[a, b]) => self.select(u16::from_le_bytes([a, b])),
            (offset::DMA_HIGH, &[a, b, c, d]) => self.state.dma_high = u32::from_be_bytes([a, b, c, d]),
            (offset::DMA_LOW, &[a, b, c, d]) => {
                let high = std::mem::take(&mut self.state.dma_high);
                self.dma(u64::from(high) << 32 | u64::from(u32::from_be_bytes([a, b, c, d])));
            }
            _ => {}
        }
    }

    fn read_string(&mut self, at: u64, width: usize, data: &mut [u8]) {
        if at == offset::DATA && width == 1 {
            self.take(data);
        } else {
            data.chunks_exact_mut(width.max(1))
                .for_each(|element| self.read(at, element));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::TestRam;

    fn device() -> (FwCfg, Arc<TestRam>) {
        let ram = TestRam::new(0x10000);
        let mut builder = FwCfgBuilder::new();
        builder.add_item(key::CPUS, [2, 0]);
        builder.add_file("etc/second", vec![9; 100_000]).unwrap();
        builder.add_file("bootorder", *b"/a\0").unwrap();
        (builder.build(ram.clone()), ram)
    }

    fn select(device: &mut FwCfg, key: u16) {
        device.write(0, &key.to_le_bytes());
    }

    fn bytes(device: &mut FwCfg, len: usize) -> Vec<u8> {
        (0..len)
            .map(|_| {
                let mut byte = [0];
                device.read(1, &mut byte);
                byte[0]
            })
            .collect()
    }

    /// Puts a request at 0x100 and rings; gives what its control word became.
    fn dma(device: &mut FwCfg, ram: &TestRam, control: u32, len: u32, target: u64) -> u32 {
        let request = [
            &control.to_be_bytes()[..],
            &len.to_be_bytes(),
            &target.to_be_bytes(),
        ]
        .concat();
        ram.put(0x100, &request);
        device.write(4, &0u32.to_be_bytes());
        device.write(8, &0x100u32.to_be_bytes());
        u32::from_be_bytes(ram.get(0x100, 4).try_into().unwrap())
    }

    #[test]
    fn items_by_port() {
        let (mut device, _) = device();
        select(&mut device, key::SIGNATURE);
        assert_eq!(bytes(&mut device, 6), b"QEMU\0\0");
        select(&mut device, key::ID);
        assert_eq!(bytes(&mut device, 1), [3]);
        select(&mut device, 0x8000);
        assert_eq!(
            bytes(&mut device, 2),
            [0, 0],
            "item 0 of the architecture is not the signature"
        );
        select(&mut device, 0x1234);
        assert_eq!(
            bytes(&mut device, 2),
            [0, 0],
            "an item that is not there is empty"
        );
    }

    #[test]
    fn items_of_the_architecture_are_items_of_their_own() {
        let ram = TestRam::new(16);
        let mut builder = FwCfgBuilder::new();
        builder.add_item(key::UUID, [7; 16]);
        builder.add_item(key::IRQ0_OVERRIDE, [1]);
        let mut device = builder.build(ram);
        select(&mut device, key::UUID);
        assert_eq!(bytes(&mut device, 1), [7]);
        select(&mut device, key::IRQ0_OVERRIDE);
        assert_eq!(bytes(&mut device, 2), [1, 0]);
        // Firmware reads a number of tables here: it must not find the signature.
        select(&mut device, 0x8000);
        assert_eq!(bytes(&mut device, 2), [0, 0]);
        select(&mut device, 0x4000 | key::SIGNATURE);
        assert_eq!(bytes(&mut device, 4), b"QEMU");
    }

    #[test]
    fn the_directory_lists_files_by_name() {
        let (mut device, _) = device();
        select(&mut device, key::FILE_DIRECTORY);
        let mut directory = vec![0; 4 + 2 * 64];
        device.read_string(1, 1, &mut directory);
        assert_eq!(directory[..4], [0, 0, 0, 2]);
        assert_eq!(directory[4..12], [0, 0, 0, 3, 0, 0x20, 0, 0]);
        assert_eq!(&directory[12..22], b"bootorder\0");
        assert_eq!(directory[68..76], [0, 1, 0x86, 0xa0, 0, 0x21, 0, 0]);
    }

    #[test]
    fn dma_selects_skips_and_reads() {
        let (mut device, ram) = device();
        assert_eq!(dma(&mut device, &ram, 0x0020_000a, 3, 0x200), 0);
        assert_eq!(ram.get(0x200, 4), b"/a\0\0");
        assert_eq!(dma(&mut device, &ram, 0x0020_000c, 1, 0), 0);
        assert_eq!(dma(&mut device, &ram, 2, 4, 0x300), 0);
        assert_eq!(ram.get(0x300, 4), b"a\0\0\0", "zeros past the end");
    }

    #[test]
    fn dma_errors_and_nonsense() {
        let (mut device, ram) = device();
        assert_eq!(
            dma(&mut device, &ram, 0x0021_000a, 100_000, 0x8000),
            1,
            "the target is too small"
        );
        assert_eq!(dma(&mut device, &ram, 0x0021_000a, u32::MAX, u64::MAX - 4), 1);
        assert_eq!(
            dma(&mut device, &ram, 0x0021_0018, 4, 0x200),
            1,
            "items cannot be written"
        );
        assert_eq!(
            dma(&mut device, &ram, 0x0020_000a, (1 << 20) + 5, 0x200),
            1,
            "a guest cannot have its whole memory cleared"
        );
        assert_eq!(ram.get(0x200, 1), [0], "nor does that move anything");
        device.write(8, &u32::MAX.to_be_bytes());
        let mut name = [0; 4];
        device.read(4, &mut name);
        assert_eq!(&name, b"QEMU");
        for len in [1, 2, 4, 8] {
            for at in 0..16 {
                device.read(at, &mut [0; 8][..len]);
                device.write(at, &[0xff; 8][..len]);
            }
        }
    }

    #[test]
    fn reset_forgets_the_selection() {
        let (mut device, _) = device();
        select(&mut device, key::SIGNATURE);
        device.reset();
        assert_eq!(bytes(&mut device, 1), [0]);
    }

    proptest::proptest! {
        /// Requests of any kind, at any place: each that lies in memory is answered with success or error, and nothing panics.
        #[test]
        fn any_request(control in proptest::num::u32::ANY, len in proptest::num::u32::ANY, target in proptest::num::u64::ANY) {
            let (mut device, ram) = device();
            proptest::prop_assert!(dma(&mut device, &ram, control, len, target) <= 1);
            proptest::prop_assert!(dma(&mut device, &ram, control & 0x0021_001f, len & 0x1_ffff, target & 0x1_ffff) <= 1);
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for name in ["", "a\0b", &"x".repeat(56)] {
            assert!(FwCfgBuilder::new().add_file(name, []).is_err());
        }
    }
}
