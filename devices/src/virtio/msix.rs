// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The MSI-X table of a function (PCI Local Bus Specification 3.0, section 6.8.2).

use crate::snapshot::{BadState, must};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Takes interrupt messages to the local APICs.
pub trait MessageSink: Send + Sync {
    /// The function writes `data` to `address`.
    fn send(&self, address: u64, data: u32);
}

impl<F: Fn(u64, u32) + Send + Sync> MessageSink for F {
    fn send(&self, address: u64, data: u32) {
        self(address, data);
    }
}

/// Sizes and bits.
pub mod spec {
    /// Bytes of a table entry.
    pub const ENTRY: u64 = 16;
    /// Where the pending bits stand behind the table, in the same base address register.
    pub const PENDING: u64 = 0x800;
    /// Vector control: no message may be sent for the entry.
    pub const MASKED: u32 = 1;
    /// Message control: the function uses MSI-X, and no INTx#.
    pub const ENABLE: u16 = 1 << 15;
    /// Message control: all entries are masked.
    pub const FUNCTION_MASK: u16 = 1 << 14;
    /// What a driver that wants no interrupt writes as a vector (VIRTIO 4.1.4.3).
    pub const NO_VECTOR: u16 = 0xffff;
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    address: u64,
    data: u32,
    control: u32,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            address: 0,
            data: 0,
            control: spec::MASKED,
        }
    }
}

/// A table of up to 64 vectors.
pub struct Msix {
    // Dependencies.
    sink: Arc<dyn MessageSink>,
    // Volatile state.
    entries: Vec<Entry>,
    pending: u64,
    control: u16,
}

/// What a saved machine keeps of a table.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedMsix {
    entries: Vec<Entry>,
    pending: u64,
    control: u16,
}

impl Msix {
    /// The state.
    pub fn save(&self) -> SavedMsix {
        let Self {
            sink: _,
            entries,
            pending,
            control,
        } = self;
        SavedMsix {
            entries: entries.clone(),
            pending: *pending,
            control: *control,
        }
    }

    /// Takes over what [`save`](Self::save) gave.
    pub fn restore(&mut self, saved: SavedMsix) -> Result<(), BadState> {
        let SavedMsix {
            entries,
            pending,
            control,
        } = saved;
        let possible = |entry: &Entry| entry.control & !spec::MASKED == 0 && entry.address & 3 == 0;
        let beyond = pending.checked_shr(entries.len() as u32).unwrap_or(0);
        must(
            entries.len() == self.entries.len() && entries.iter().all(possible) && beyond == 0,
            "a message table that the function does not have",
        )?;
        (self.entries, self.pending, self.control) = (entries, pending, control);
        Ok(())
    }

    /// Whether the message control register is what was last set.
    pub fn is_set_to(&self, control: u16) -> bool {
        let bits = spec::ENABLE | spec::FUNCTION_MASK;
        self.control & bits == control & bits
    }

    /// A table of `vectors` masked entries, switched off.
    pub fn new(vectors: u16, sink: Arc<dyn MessageSink>) -> Self {
        Self {
            sink,
            entries: vec![Entry::default(); usize::from(vectors.clamp(1, 64))],
            pending: 0,
            control: 0,
        }
    }

    /// How many vectors there are.
    pub fn vectors(&self) -> u16 {
        self.entries.len() as u16
    }

    /// All as after power-on.
    pub fn reset(&mut self) {
        self.entries.fill(Entry::default());
        (self.pending, self.control) = (0, 0);
    }

    /// The function uses messages.
    pub fn enabled(&self) -> bool {
        self.control & spec::ENABLE != 0
    }

    /// The message control register was written.
    pub fn set_control(&mut self, control: u16) {
        self.control = control;
        self.send_pending();
    }

    /// Sends the message of a vector, now or when its mask is lifted. A vector that does not exist has none.
    pub fn signal(&mut self, vector: u16) {
        if self.enabled() && usize::from(vector) < self.entries.len() {
            self.pending |= 1 << vector;
            self.send_pending();
        }
    }

    fn send_pending(&mut self) {
        if !self.enabled() || self.control & spec::FUNCTION_MASK != 0 {
            return;
        }
        for (bit, entry) in self.entries.iter().enumerate() {
            let bit = 1 << bit;
            if self.pending & bit != 0 && entry.control & spec::MASKED == 0 {
                self.pending &= !bit;
                self.sink.send(entry.address, entry.data);
            }
        }
    }

    /// Four bytes of the table or of the pending bits.
    fn word(&self, offset: u64) -> u32 {
        let pending = self.pending.to_le_bytes();
        match offset.checked_sub(spec::PENDING) {
            Some(at @ (0 | 4)) => {
                let at = at as usize;
                u32::from_le_bytes([pending[at], pending[at + 1], pending[at + 2], pending[at + 3]])
            }
            Some(_) => 0,
            None => {
                let Some(entry) = self.entries.get((offset / spec::ENTRY) as usize) else {
                    return 0;
                };
                match offset % spec::ENTRY {
                    0 => entry.address as u32,
                    4 => (entry.address >> 32) as u32,
                    8 => entry.data,
                    _ => entry.control,
                }
            }
        }
    }

    /// A read of the base address register's memory.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        for (byte, at) in data.iter_mut().zip(offset..) {
            *byte = self.word(at & !3).to_le_bytes()[(at & 3) as usize];
        }
    }

    /// A write to it. Drivers write double words; narrower writes change their bytes only. Pending bits are read-only.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        for (value, at) in data.iter().zip(offset..) {
            let mut word = self.word(at & !3).to_le_bytes();
            word[(at & 3) as usize] = *value;
            let word = u32::from_le_bytes(word);
            if at >= spec::PENDING {
                continue;
            }
            let Some(entry) = self.entries.get_mut((at / spec::ENTRY) as usize) else {
                continue;
            };
            match (at % spec::ENTRY) & !3 {
                // The two lowest address bits are always zero.
                0 => entry.address = entry.address & !0xffff_ffff | u64::from(word & !3),
                4 => entry.address = entry.address & 0xffff_ffff | u64::from(word) << 32,
                8 => entry.data = word,
                _ => entry.control = word & spec::MASKED,
            }
        }
        self.send_pending();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::lock;
    use std::sync::Mutex;

    type Sent = Arc<Mutex<Vec<(u64, u32)>>>;

    fn table() -> (Msix, Sent) {
        let sent = Sent::default();
        let seen = sent.clone();
        let sink = move |address, data| lock(&seen).push((address, data));
        (Msix::new(3, Arc::new(sink)), sent)
    }

    fn entry(msix: &mut Msix, vector: u64, address: u64, data: u32, control: u32) {
        msix.write(vector * 16, &address.to_le_bytes());
        msix.write(vector * 16 + 8, &data.to_le_bytes());
        msix.write(vector * 16 + 12, &control.to_le_bytes());
    }

    #[test]
    fn entries_are_masked_after_reset() {
        let (mut msix, sent) = table();
        msix.set_control(spec::ENABLE);
        let mut control = [0; 4];
        msix.read(12, &mut control);
        assert_eq!(control, [1, 0, 0, 0]);
        msix.signal(0);
        assert!(lock(&sent).is_empty());
        entry(&mut msix, 0, 0xfee0_0000, 0x41, 0);
        assert_eq!(*lock(&sent), [(0xfee0_0000, 0x41)], "it was pending");
    }

    #[test]
    fn a_function_mask_holds_all_back() {
        let (mut msix, sent) = table();
        msix.set_control(spec::ENABLE | spec::FUNCTION_MASK);
        entry(&mut msix, 2, 0xfee0_1000, 0x55, 0);
        msix.signal(2);
        msix.signal(2);
        let mut pending = [0; 8];
        msix.read(spec::PENDING, &mut pending);
        assert_eq!(pending, [4, 0, 0, 0, 0, 0, 0, 0]);
        msix.set_control(spec::ENABLE);
        assert_eq!(*lock(&sent), [(0xfee0_1000, 0x55)], "once");
    }

    #[test]
    fn without_msix_no_message() {
        let (mut msix, sent) = table();
        entry(&mut msix, 0, 0xfee0_0000, 0x41, 0);
        msix.signal(0);
        msix.set_control(spec::ENABLE);
        msix.signal(3);
        msix.signal(spec::NO_VECTOR);
        assert!(lock(&sent).is_empty());
    }

    #[test]
    fn bytes_of_an_entry() {
        let (mut msix, _) = table();
        msix.write(0x10, &[0xff; 16]);
        let mut all = [0; 16];
        msix.read(0x10, &mut all);
        assert_eq!(
            all[..4],
            [0xfc, 0xff, 0xff, 0xff],
            "address bits 0 and 1 do not exist"
        );
        assert_eq!(all[12..], [1, 0, 0, 0], "only the mask bit exists");
        msix.write(0x19, &[0]);
        msix.read(0x18, &mut all[..4]);
        assert_eq!(all[..4], [0xff, 0, 0xff, 0xff]);
        msix.read(0x30, &mut all[..4]);
        assert_eq!(all[..4], [0; 4], "behind the last entry");
    }
}
