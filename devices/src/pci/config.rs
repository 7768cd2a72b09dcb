// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A function's configuration space (PCI Local Bus Specification 2.1, chapter 6), header type 0.

use super::{Claim, Space};
use crate::snapshot::{BadState, must};
use serde::{Deserialize, Serialize};

/// Offsets of the header.
pub mod reg {
    /// Vendor identification, 16 bit.
    pub const VENDOR_ID: usize = 0x00;
    /// Device identification, 16 bit.
    pub const DEVICE_ID: usize = 0x02;
    /// Command register, 16 bit.
    pub const COMMAND: usize = 0x04;
    /// Status register, 16 bit.
    pub const STATUS: usize = 0x06;
    /// Revision.
    pub const REVISION: usize = 0x08;
    /// Programming interface.
    pub const PROG_IF: usize = 0x09;
    /// Sub-class and class, 16 bit.
    pub const CLASS: usize = 0x0a;
    /// Header type; bit 7 marks a device with several functions.
    pub const HEADER_TYPE: usize = 0x0e;
    /// The first of six base address registers.
    pub const BAR0: usize = 0x10;
    /// Subsystem vendor identification, 16 bit.
    pub const SUBSYSTEM_VENDOR_ID: usize = 0x2c;
    /// Subsystem identification, 16 bit.
    pub const SUBSYSTEM_ID: usize = 0x2e;
    /// Offset of the first capability.
    pub const CAPABILITIES: usize = 0x34;
    /// The interrupt line that software noted down.
    pub const INTERRUPT_LINE: usize = 0x3c;
    /// The interrupt pin, 1 = INTA#.
    pub const INTERRUPT_PIN: usize = 0x3d;
}

/// Bits of the command register.
pub mod command {
    /// The function answers port cycles.
    pub const IO: u16 = 1 << 0;
    /// The function answers memory cycles.
    pub const MEMORY: u16 = 1 << 1;
    /// The function may be a bus master.
    pub const BUS_MASTER: u16 = 1 << 2;
    /// INTx# is disabled (PCI 2.3).
    pub const INTX_DISABLE: u16 = 1 << 10;
}

/// Who a function says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Revision.
    pub revision: u8,
    /// Class, sub-class and programming interface as `0xCCSSPP`.
    pub class: u32,
    /// Subsystem vendor and subsystem.
    pub subsystem: (u16, u16),
    /// Another function stands behind the same device number.
    pub multifunction: bool,
    /// Interrupt pin, 0 = none, 1 = INTA#.
    pub interrupt_pin: u8,
}

#[derive(Debug, Clone, Copy)]
struct Bar {
    space: Space,
    len: u32,
}

/// What a saved machine keeps of a configuration space.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedConfig {
    #[serde(with = "crate::snapshot::hex")]
    bytes: [u8; 256],
}

/// 256 bytes of configuration space with the masks that say what software may write.
#[derive(Debug, Clone)]
pub struct ConfigSpace {
    bytes: [u8; 256],
    writable: [u8; 256],
    clear_on_one: [u8; 256],
    bars: [Option<Bar>; 6],
}

impl ConfigSpace {
    /// A header of type 0 without base addresses. Command bits for ports, memory and bus mastering, and the interrupt line, are
    /// writable; the status register's error bits clear when written as one.
    pub fn new(identity: Identity) -> Self {
        let mut space = Self {
            bytes: [0; 256],
            writable: [0; 256],
            clear_on_one: [0; 256],
            bars: [None; 6],
        };
        space.set_u16(reg::VENDOR_ID, identity.vendor);
        space.set_u16(reg::DEVICE_ID, identity.device);
        let [prog_if, sub, class, _] = identity.class.to_le_bytes();
        space.bytes[reg::REVISION..=reg::CLASS + 1].copy_from_slice(&[
            identity.revision,
            prog_if,
            sub,
            class,
        ]);
        space.bytes[reg::HEADER_TYPE] = u8::from(identity.multifunction) << 7;
        space.set_u16(reg::SUBSYSTEM_VENDOR_ID, identity.subsystem.0);
        space.set_u16(reg::SUBSYSTEM_ID, identity.subsystem.1);
        space.bytes[reg::INTERRUPT_PIN] = identity.interrupt_pin;
        space.allow(
            reg::COMMAND,
            &(command::IO | command::MEMORY | command::BUS_MASTER).to_le_bytes(),
        );
        space.allow(reg::INTERRUPT_LINE, &[0xff]);
        space.clear_on_one[reg::STATUS + 1] = 0xf9;
        space
    }

    /// Lets software write the bits of `mask` from `offset` on.
    pub fn allow(&mut self, offset: usize, mask: &[u8]) {
        for (at, mask) in (offset..256).zip(mask) {
            self.writable[at] |= mask;
        }
    }

    /// Takes the bits of `mask` from `offset` on away from software: they read as the function set them, whatever is written.
    pub fn protect(&mut self, offset: usize, mask: &[u8]) {
        for (at, mask) in (offset..256).zip(mask) {
            self.writable[at] &= !mask;
            self.clear_on_one[at] &= !mask;
        }
    }

    /// Makes the bits of `mask` from `offset` on clear when software writes them as one.
    pub fn clear_on_one(&mut self, offset: usize, mask: &[u8]) {
        for (at, mask) in (offset..256).zip(mask) {
            self.clear_on_one[at] |= mask;
        }
    }

    /// Adds base address register `index` of `len` bytes, a power of two (ports: at least 4, memory: at least 16).
    pub fn add_bar(&mut self, index: usize, space: Space, len: u32) {
        let (fixed, least) = match space {
            Space::Io => (1, 4),
            Space::Memory => (0, 16),
        };
        let len = len.next_power_of_two().max(least);
        if let Some(bar) = self.bars.get_mut(index) {
            *bar = Some(Bar { space, len });
            self.set_u32(reg::BAR0 + 4 * index, fixed);
            self.allow(reg::BAR0 + 4 * index, &(!(len - 1)).to_le_bytes());
        }
    }

    /// The bytes as they stand.
    pub fn save(&self) -> SavedConfig {
        let Self {
            bytes,
            writable: _,
            clear_on_one: _,
            bars: _,
        } = self;
        SavedConfig { bytes: *bytes }
    }

    /// Takes bytes over. The identity, and all else that software cannot change, must be this function's.
    ///
    /// # Errors
    /// They are those of another function.
    pub fn restore(&mut self, saved: SavedConfig) -> Result<(), BadState> {
        let SavedConfig { bytes } = saved;
        let fixed = self.writable.iter().zip(&self.clear_on_one);
        let same = self
            .bytes
            .iter()
            .zip(&bytes)
            .zip(fixed)
            .all(|((now, then), (writable, clear))| (now ^ then) & !(writable | clear) == 0);
        must(same, "the configuration space of another PCI function")?;
        self.bytes = bytes;
        Ok(())
    }

    /// What software reads at `offset`; past the end of the space it reads ones.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        data.fill(0xff);
        let from = self.bytes.get(offset..).unwrap_or_default();
        for (byte, value) in data.iter_mut().zip(from) {
            *byte = *value;
        }
    }

    /// A write by software: only what the masks allow.
    pub fn write(&mut self, offset: usize, data: &[u8]) {
        for (value, at) in data.iter().zip(offset..256) {
            let old = self.bytes[at];
            let kept = (old & !self.writable[at]) | (value & self.writable[at]);
            self.bytes[at] = kept & !(value & self.clear_on_one[at]);
        }
    }

    /// A byte, as it stands.
    pub fn u8(&self, offset: usize) -> u8 {
        self.bytes.get(offset).copied().unwrap_or(0xff)
    }

    /// A 16-bit register, as it stands.
    pub fn u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes([self.u8(offset), self.u8(offset + 1)])
    }

    /// A 32-bit register, as it stands.
    pub fn u32(&self, offset: usize) -> u32 {
        u32::from(self.u16(offset)) | u32::from(self.u16(offset + 2)) << 16
    }

    /// Sets a byte, past the masks: for the function itself.
    pub fn set_u8(&mut self, offset: usize, value: u8) {
        if let Some(byte) = self.bytes.get_mut(offset) {
            *byte = value;
        }
    }

    /// Sets a 16-bit register, past the masks.
    pub fn set_u16(&mut self, offset: usize, value: u16) {
        for (byte, at) in value.to_le_bytes().into_iter().zip(offset..) {
            self.set_u8(at, byte);
        }
    }

    /// Sets a 32-bit register, past the masks.
    pub fn set_u32(&mut self, offset: usize, value: u32) {
        for (byte, at) in value.to_le_bytes().into_iter().zip(offset..) {
            self.set_u8(at, byte);
        }
    }

    /// The command register.
    pub fn command(&self) -> u16 {
        self.u16(reg::COMMAND)
    }

    /// The ranges that the base address registers claim, given the command register. A base of zero is not decoded: that is how
    /// firmware leaves a register it has not set yet.
    pub fn bar_claims(&self) -> Vec<Claim> {
        let command = self.command();
        let mut claims = Vec::new();
        for (index, bar) in self.bars.iter().enumerate() {
            let Some(bar) = bar else { continue };
            let enabled = match bar.space {
                Space::Io => command & command::IO != 0,
                Space::Memory => command & command::MEMORY != 0,
            };
            let address = u64::from(self.u32(reg::BAR0 + 4 * index) & !(bar.len - 1));
            if enabled && address != 0 {
                claims.push(Claim {
                    space: bar.space,
                    address,
                    len: u64::from(bar.len),
                    base: (index as u64) << 32,
                });
            }
        }
        claims
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> ConfigSpace {
        let mut space = ConfigSpace::new(Identity {
            vendor: 0x8086,
            device: 0x7111,
            revision: 1,
            class: 0x01_01_80,
            ..Identity::default()
        });
        space.add_bar(4, Space::Io, 16);
        space
    }

    #[test]
    fn header_reads_back() {
        let mut data = [0; 12];
        space().read(0, &mut data);
        assert_eq!(data, [0x86, 0x80, 0x11, 0x71, 0, 0, 0, 0, 1, 0x80, 0x01, 0x01]);
    }

    #[test]
    fn identity_cannot_be_written() {
        let mut space = space();
        space.write(0, &[0; 4]);
        assert_eq!(space.u32(0), 0x7111_8086);
    }

    #[test]
    fn sizing_a_bar() {
        let mut space = space();
        space.write(0x20, &[0xff; 4]);
        assert_eq!(space.u32(0x20), 0xffff_fff1);
        assert!(space.bar_claims().is_empty(), "ports are not enabled yet");
        space.write(0x20, &0xc000u32.to_le_bytes());
        space.write(reg::COMMAND, &[1, 0]);
        assert_eq!(
            space.bar_claims(),
            [Claim {
                space: Space::Io,
                address: 0xc000,
                len: 16,
                base: 4 << 32
            }]
        );
    }

    #[test]
    fn status_errors_clear_when_written_as_one() {
        let mut space = space();
        space.set_u16(reg::STATUS, 0x2280);
        space.write(reg::STATUS, &[0xff, 0x20]);
        assert_eq!(space.u16(reg::STATUS), 0x0280);
    }

    #[test]
    fn protected_bits_stay_as_the_function_set_them() {
        let mut space = space();
        space.set_u16(reg::COMMAND, command::BUS_MASTER);
        space.protect(
            reg::COMMAND,
            &(command::MEMORY | command::BUS_MASTER).to_le_bytes(),
        );
        space.write(reg::COMMAND, &[command::IO as u8 | command::MEMORY as u8, 0]);
        assert_eq!(space.command(), command::IO | command::BUS_MASTER);
    }

    #[test]
    fn the_edge_of_the_space() {
        let mut space = space();
        let mut data = [0; 4];
        space.read(0xfe, &mut data);
        assert_eq!(data, [0, 0, 0xff, 0xff]);
        space.write(0xfe, &[1, 2, 3, 4]);
        space.write(usize::MAX, &[1]);
        space.read(usize::MAX, &mut data[..1]);
    }
}
