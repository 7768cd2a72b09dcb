// SPDX-License-Identifier: Apache-2.0 OR MIT
//! ISA DMA, as the device on a channel sees it.
//!
//! The device holds its channel as a `Box<dyn IsaDma>` and never learns the number. A transfer is driven by the device (it raises
//! DREQ, so to speak, by calling); the controller decides how many bytes it takes and when the terminal count is reached.

/// What one transfer achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transfer {
    /// Bytes moved (or, in verify mode, counted).
    pub count: usize,
    /// The channel reached its terminal count during this transfer.
    pub terminal_count: bool,
}

/// One channel of a DMA controller.
pub trait IsaDma: Send {
    /// The channel is unmasked and its controller enabled, so a transfer would move data.
    fn ready(&self) -> bool;
    /// Device to memory (the controller's "write" transfer), at most `data.len()` bytes. A masked channel moves nothing.
    fn write_memory(&mut self, data: &[u8]) -> Transfer;
    /// Memory to device (the controller's "read" transfer), at most `buffer.len()` bytes. In verify mode the buffer is left as it
    /// was. A masked channel moves nothing.
    fn read_memory(&mut self, buffer: &mut [u8]) -> Transfer;
}
