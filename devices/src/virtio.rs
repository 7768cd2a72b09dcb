// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Virtio devices over PCI (Virtual I/O Device specification 1.2; "legacy" is its section 4.1.4.8 and the 0.9.5 draft).
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`transport`] | status, feature negotiation, queues, interrupts: the same for all kinds of device |
//! | [`pci`] | where these stand in the ports and memory of a PCI function, for modern and for legacy drivers |
//! | [`msix`] | the interrupt table |
//! | [`block`] | the disk |
//!
//! The rings themselves are the crate `virtio-queue`'s. A driver that breaks their rules gets a device with `DEVICE_NEEDS_RESET` that does
//! nothing more until it is reset; the machine goes on.

pub mod block;
pub mod msix;
pub mod pci;
pub mod transport;

#[cfg(test)]
mod tests;

/// Guest memory, as rings and buffers are found in it.
pub type Ram = vm_memory::GuestMemoryMmap;

/// The driver broke the rules of the rings: the device cannot go on before it is reset.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A ring cannot be used.
    #[error("a ring of the driver cannot be used: {0}")]
    Ring(#[from] virtio_queue::Error),
    /// A chain of descriptors has not the parts that a request needs.
    #[error("a request of the driver has no {0}")]
    Request(&'static str),
    /// A buffer does not lie in memory.
    #[error("a buffer of the driver does not lie in memory")]
    Memory,
}
