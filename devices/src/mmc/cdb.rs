// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Fields of a command packet. All numbers are big-endian; bytes beyond the packet's end read as zero.

/// A command packet.
#[derive(Debug, Clone, Copy)]
pub struct Cdb([u8; 12]);

impl Cdb {
    /// Wraps a packet.
    pub fn new(packet: &[u8; 12]) -> Self {
        Self(*packet)
    }

    /// One byte.
    pub fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// One bit of a byte.
    pub fn bit(&self, at: usize, bit: u8) -> bool {
        self.byte(at) >> bit & 1 != 0
    }

    /// Two bytes.
    pub fn be16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.byte(at), self.byte(at + 1)])
    }

    /// Three bytes.
    pub fn be24(&self, at: usize) -> u32 {
        u32::from_be_bytes([0, self.byte(at), self.byte(at + 1), self.byte(at + 2)])
    }

    /// Four bytes.
    pub fn be32(&self, at: usize) -> u32 {
        u32::from(self.be16(at)) << 16 | u32::from(self.be16(at + 2))
    }
}
