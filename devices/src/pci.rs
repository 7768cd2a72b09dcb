// SPDX-License-Identifier: Apache-2.0 OR MIT
//! PCI: configuration mechanism 1, the functions of the PIIX4 chip set, and what any function needs.

pub mod config;
pub mod host_bridge;
pub mod isa_bridge;
pub mod root;
mod snapshot;

pub use config::SavedConfig;

use crate::bus::Device;

/// The address space of a base address or of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Ports.
    Io,
    /// Memory.
    Memory,
}

/// A range that a function decodes at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// In which space.
    pub space: Space,
    /// First address.
    pub address: u64,
    /// Length in bytes.
    pub len: u64,
    /// What the first address is for [`Function`]'s [`Device`] methods.
    pub base: u64,
}

/// A PCI function: a configuration space, and a [`Device`] behind the ranges that it claims.
///
/// Base address register *n* is claimed with base `n << 32`, so that a function's `read` and `write` see which one was hit in the
/// upper half of the offset. A function with ranges outside its base address registers (the PIIX4's power management base) adds them in
/// [`claims`](Function::claims).
pub trait Function: Device {
    /// The configuration space.
    fn config(&self) -> &config::ConfigSpace;
    /// The configuration space.
    fn config_mut(&mut self) -> &mut config::ConfigSpace;
    /// The guest is about to read `len` bytes at `offset` of the configuration space: for registers that are not what was last written.
    fn config_reading(&mut self, offset: usize, len: usize) {
        let _ = (offset, len);
    }
    /// The guest wrote `len` bytes at `offset` of the configuration space; the write masks have been applied.
    fn config_written(&mut self, offset: usize, len: usize) {
        let _ = (offset, len);
    }
    /// The ranges that the function decodes now, from its command register and base addresses.
    fn claims(&self) -> Vec<Claim> {
        self.config().bar_claims()
    }
}
