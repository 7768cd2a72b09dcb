// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Buses: from the address of a port or memory cycle to the chip that answers it.
//!
//! A [`Bus`] is built once by [`BusBuilder`] and is immutable afterwards, so that a lookup takes no lock. What moves at run time
//! (PCI base addresses) hangs behind the bus's fall-back, as the PCI bridge does in a real machine: it sees each cycle that no
//! fixed decoder claims.
//!
//! The policy for accesses that no chip wants is here and nowhere else: a read gives all ones, a write is dropped.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks a device, also after a panic elsewhere: a machine that lost one thread must still be able to stop.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A chip's registers, as a bus sees them.
///
/// `offset` counts from the base with which the board mapped the range (see [`BusBuilder::map`]). A chip with byte-wide registers
/// implements the two byte methods only: wider cycles reach it as byte cycles at rising addresses, as on the ISA bus. A chip with
/// wider registers overrides [`read`](Device::read) and [`write`](Device::write).
pub trait Device: Send {
    /// One byte cycle.
    fn read_byte(&mut self, offset: u64) -> u8 {
        let _ = offset;
        0xff
    }

    /// One byte cycle.
    fn write_byte(&mut self, offset: u64, value: u8) {
        let _ = (offset, value);
    }

    /// One cycle of `data.len()` bytes: 1, 2, 4 or 8.
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = self.read_byte(offset.wrapping_add(i as u64));
        }
    }

    /// One cycle of `data.len()` bytes: 1, 2, 4 or 8.
    fn write(&mut self, offset: u64, data: &[u8]) {
        for (i, byte) in data.iter().enumerate() {
            self.write_byte(offset.wrapping_add(i as u64), *byte);
        }
    }

    /// `data.len() / width` cycles at the same address (`REP INS`). Data ports override this to move many at once.
    fn read_string(&mut self, offset: u64, width: usize, data: &mut [u8]) {
        for element in data.chunks_exact_mut(width.max(1)) {
            self.read(offset, element);
        }
    }

    /// `data.len() / width` cycles at the same address (`REP OUTS`).
    fn write_string(&mut self, offset: u64, width: usize, data: &[u8]) {
        for element in data.chunks_exact(width.max(1)) {
            self.write(offset, element);
        }
    }
}

/// A device that brings its own synchronisation. `Mutex<T>` is one for every [`Device`] `T`.
pub trait SharedDevice: Send + Sync {
    /// See [`Device::read`].
    fn read(&self, offset: u64, data: &mut [u8]);
    /// See [`Device::write`].
    fn write(&self, offset: u64, data: &[u8]);
    /// See [`Device::read_string`].
    fn read_string(&self, offset: u64, width: usize, data: &mut [u8]) {
        for element in data.chunks_exact_mut(width.max(1)) {
            self.read(offset, element);
        }
    }
    /// See [`Device::write_string`].
    fn write_string(&self, offset: u64, width: usize, data: &[u8]) {
        for element in data.chunks_exact(width.max(1)) {
            self.write(offset, element);
        }
    }
}

impl<T: Device + ?Sized> SharedDevice for Mutex<T> {
    fn read(&self, offset: u64, data: &mut [u8]) {
        lock(self).read(offset, data);
    }
    fn write(&self, offset: u64, data: &[u8]) {
        lock(self).write(offset, data);
    }
    fn read_string(&self, offset: u64, width: usize, data: &mut [u8]) {
        lock(self).read_string(offset, width, data);
    }
    fn write_string(&self, offset: u64, width: usize, data: &[u8]) {
        lock(self).write_string(offset, width, data);
    }
}

/// Two devices claim the same address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bus range {first:#x}-{last:#x} overlaps {other_first:#x}-{other_last:#x}")]
pub struct Overlap {
    /// First address of the refused range.
    pub first: u64,
    /// Last address of the refused range.
    pub last: u64,
    /// First address of the range that was there.
    pub other_first: u64,
    /// Last address of the range that was there.
    pub other_last: u64,
}

struct Window {
    first: u64,
    last: u64,
    base: u64,
    device: Arc<dyn SharedDevice>,
}

/// Collects the decoders of a [`Bus`].
#[derive(Default)]
pub struct BusBuilder {
    windows: Vec<Window>,
    fallback: Option<Arc<dyn SharedDevice>>,
}

impl BusBuilder {
    /// A bus on which nobody answers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Routes `range` to `device`; the first address of the range is `base` for the device. A device with several register
    /// blocks tells them apart by their bases.
    pub fn map(
        &mut self,
        range: RangeInclusive<u64>,
        base: u64,
        device: Arc<dyn SharedDevice>,
    ) -> Result<(), Overlap> {
        let (first, last) = (*range.start(), *range.end());
        let at = self.windows.partition_point(|w| w.last < first);
        if let Some(other) = self.windows.get(at).filter(|w| w.first <= last) {
            return Err(Overlap {
                first,
                last,
                other_first: other.first,
                other_last: other.last,
            });
        }
        self.windows.insert(
            at,
            Window {
                first,
                last,
                base,
                device,
            },
        );
        Ok(())
    }

    /// The device that sees each cycle no window claims, with the absolute address as offset.
    pub fn fallback(&mut self, device: Arc<dyn SharedDevice>) {
        self.fallback = Some(device);
    }

    /// Freezes the map.
    pub fn build(self) -> Bus {
        Bus {
            windows: self.windows.into_boxed_slice(),
            fallback: self.fallback,
        }
    }
}

/// An address space: the port space or the memory space of a machine.
pub struct Bus {
    windows: Box<[Window]>,
    fallback: Option<Arc<dyn SharedDevice>>,
}

impl Bus {
    /// The device whose window holds all of `len` bytes at `address`.
    fn find(&self, address: u64, len: usize) -> Target<'_> {
        let end = address.saturating_add(len.max(1) as u64 - 1);
        let at = self.windows.partition_point(|w| w.last < address);
        match self.windows.get(at) {
            Some(w) if w.first <= address && end <= w.last => {
                Target::Device(&*w.device, w.base + (address - w.first))
            }
            // The access straddles the edge of a window: byte cycles, each to its own device.
            Some(w) if w.first <= end => Target::Split,
            _ => self
                .fallback
                .as_deref()
                .map_or(Target::Nobody, |device| Target::Device(device, address)),
        }
    }

    /// One read cycle. What nobody answers reads as all ones.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        match self.find(address, data.len()) {
            Target::Device(device, offset) => device.read(offset, data),
            Target::Split if data.len() > 1 => {
                for (i, byte) in data.iter_mut().enumerate() {
                    self.read(address.wrapping_add(i as u64), std::slice::from_mut(byte));
                }
            }
            _ => data.fill(0xff),
        }
    }

    /// One write cycle. What nobody answers is dropped.
    pub fn write(&self, address: u64, data: &[u8]) {
        match self.find(address, data.len()) {
            Target::Device(device, offset) => device.write(offset, data),
            Target::Split if data.len() > 1 => {
                for (i, byte) in data.iter().enumerate() {
                    self.write(address.wrapping_add(i as u64), std::slice::from_ref(byte));
                }
            }
            _ => {}
        }
    }

    /// `data.len() / width` read cycles at one address.
    pub fn read_string(&self, address: u64, width: usize, data: &mut [u8]) {
        match self.find(address, width) {
            Target::Device(device, offset) => device.read_string(offset, width, data),
            _ => data
                .chunks_exact_mut(width.max(1))
                .for_each(|element| self.read(address, element)),
        }
    }

    /// `data.len() / width` write cycles at one address.
    pub fn write_string(&self, address: u64, width: usize, data: &[u8]) {
        match self.find(address, width) {
            Target::Device(device, offset) => device.write_string(offset, width, data),
            _ => data
                .chunks_exact(width.max(1))
                .for_each(|element| self.write(address, element)),
        }
    }
}

enum Target<'a> {
    Device(&'a dyn SharedDevice, u64),
    Split,
    Nobody,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Remembers the cycles it saw and answers each byte with its own offset.
    #[derive(Default)]
    struct Probe(Vec<(u64, Vec<u8>)>);

    impl Device for Probe {
        fn read_byte(&mut self, offset: u64) -> u8 {
            offset as u8
        }
        fn write(&mut self, offset: u64, data: &[u8]) {
            self.0.push((offset, data.to_vec()));
        }
    }

    fn two_devices() -> (Bus, Arc<Mutex<Probe>>, Arc<Mutex<Probe>>) {
        let (a, b) = (
            Arc::new(Mutex::new(Probe::default())),
            Arc::new(Mutex::new(Probe::default())),
        );
        let mut builder = BusBuilder::new();
        builder.map(0x10..=0x17, 0, a.clone()).unwrap();
        builder.map(0x18..=0x1f, 0x80, b.clone()).unwrap();
        (builder.build(), a, b)
    }

    #[test]
    fn offsets_count_from_the_mapped_base() {
        let (bus, a, b) = two_devices();
        let mut data = [0; 4];
        bus.read(0x12, &mut data);
        assert_eq!(data, [2, 3, 4, 5]);
        bus.write(0x19, &[1, 2]);
        assert!(a.lock().unwrap().0.is_empty());
        assert_eq!(b.lock().unwrap().0, [(0x81, vec![1, 2])]);
    }

    #[test]
    fn an_access_across_two_devices_is_split_into_bytes() {
        let (bus, a, b) = two_devices();
        let mut data = [0; 2];
        bus.read(0x17, &mut data);
        assert_eq!(data, [7, 0x80]);
        bus.write(0x17, &[5, 6]);
        assert_eq!(a.lock().unwrap().0, [(7, vec![5])]);
        assert_eq!(b.lock().unwrap().0, [(0x80, vec![6])]);
        // Off the end of the last device: ones.
        bus.read(0x1f, &mut data);
        assert_eq!(data, [0x87, 0xff]);
        bus.read(0xf, &mut data);
        assert_eq!(data, [0xff, 0]);
    }

    #[test]
    fn nobody_reads_as_ones_and_the_fallback_sees_absolute_addresses() {
        let mut data = [0; 4];
        BusBuilder::new().build().read(u64::MAX - 1, &mut data);
        assert_eq!(data, [0xff; 4]);
        let probe = Arc::new(Mutex::new(Probe::default()));
        let mut builder = BusBuilder::new();
        builder.fallback(probe.clone());
        builder.build().write(0xc000, &[9]);
        assert_eq!(probe.lock().unwrap().0, [(0xc000, vec![9])]);
    }

    #[test]
    fn overlapping_ranges_are_refused() {
        let probe: Arc<dyn SharedDevice> = Arc::new(Mutex::new(Probe::default()));
        let mut builder = BusBuilder::new();
        builder.map(0x60..=0x60, 0, probe.clone()).unwrap();
        builder.map(0x64..=0x64, 4, probe.clone()).unwrap();
        builder.map(0x61..=0x61, 0, probe.clone()).unwrap();
        let error = builder.map(0x63..=0x65, 0, probe).unwrap_err();
        assert_eq!((error.other_first, error.other_last), (0x64, 0x64));
    }

    #[test]
    fn a_string_is_so_many_cycles_at_one_address() {
        let (bus, a, _) = two_devices();
        bus.write_string(0x10, 2, &[1, 2, 3, 4]);
        assert_eq!(a.lock().unwrap().0, [(0, vec![1, 2]), (0, vec![3, 4])]);
        let mut data = [0; 6];
        bus.read_string(0x17, 2, &mut data);
        assert_eq!(data, [7, 0x80, 7, 0x80, 7, 0x80]);
    }
}
