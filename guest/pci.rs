// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Configuration space of bus 0, by ports CF8h and CFCh.

use super::cpu;

/// A function on bus 0.
#[derive(Clone, Copy)]
pub struct Function(u32);

/// Registers.
pub const COMMAND: u8 = 4;
const CAPABILITIES: u8 = 0x34;

impl Function {
    /// The function with this device and function number.
    pub const fn new(device: u32, function: u32) -> Self {
        Self(device << 11 | function << 8)
    }

    /// The first function that `wanted` recognises by its first double word (device and vendor) and by its class code.
    pub fn find(wanted: impl Fn(u32, u32) -> bool) -> Option<Self> {
        let all = (0..32).flat_map(|device| (0..8).map(move |function| Self::new(device, function)));
        all.filter(|function| function.read(0) != u32::MAX)
            .find(|function| wanted(function.read(0), function.read(8) >> 8))
    }

    /// Reads a double word.
    pub fn read(self, offset: u8) -> u32 {
        cpu::out32(0xcf8, 0x8000_0000 | self.0 | u32::from(offset & 0xfc));
        cpu::in32(0xcfc)
    }

    /// Reads a byte.
    pub fn read8(self, offset: u8) -> u8 {
        (self.read(offset) >> (8 * (offset & 3))) as u8
    }

    /// Writes a double word.
    pub fn write(self, offset: u8, value: u32) {
        cpu::out32(0xcf8, 0x8000_0000 | self.0 | u32::from(offset & 0xfc));
        cpu::out32(0xcfc, value);
    }

    /// Lets it answer at ports and in memory, and reach memory by itself.
    pub fn enable(self) {
        self.write(COMMAND, self.read(COMMAND) & 0xffff | 7);
    }

    /// Where the registers behind a base address register lie: I/O ports, or memory.
    pub fn base(self, bar: u8) -> u64 {
        let offset = 0x10 + 4 * bar;
        let low = self.read(offset);
        if low & 1 != 0 {
            return u64::from(low & !3);
        }
        let high = if low & 6 == 4 { self.read(offset + 4) } else { 0 };
        u64::from(high) << 32 | u64::from(low & !0xf)
    }

    /// Offsets of capabilities with this identity.
    pub fn capabilities(self, identity: u8) -> impl Iterator<Item = u8> {
        let first = Some(self.read8(CAPABILITIES) & 0xfc);
        // A list in a circle ends, too.
        core::iter::successors(first, move |&at| Some(self.read8(at + 1) & 0xfc))
            .take_while(|&at| at != 0)
            .take(48)
            .filter(move |&at| self.read8(at) == identity)
    }
}
