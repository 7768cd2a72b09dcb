// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest memory, as bus masters see it.

/// Part of a range is not memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory at guest address {address:#x}")]
pub struct BadAddress {
    /// Guest-physical address of the access.
    pub address: u64,
}

/// Guest-physical memory. A device may read and write any of it at any time; a range that is not wholly RAM gives [`BadAddress`]
/// and moves an unspecified part.
pub trait GuestRam: Send + Sync {
    /// Fills `buffer` from guest memory at `address`.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), BadAddress>;
    /// Copies `data` to guest memory at `address`.
    fn write(&self, address: u64, data: &[u8]) -> Result<(), BadAddress>;
}
