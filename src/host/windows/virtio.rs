// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Virtio disks: the crate that walks their queues does not build on Windows, so there are none.

use crate::hypervisor::Vm;
use crate::storage::{self, Image};
use devices::bus::Device;
use devices::line::IrqLine;
use devices::pci::config::ConfigSpace;
use devices::snapshot::{BadState, Busy, Snapshot};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use vm_memory::GuestMemoryMmap;

/// A disk on the PCI bus, of which there is none.
pub struct Disk {
    /// The chip.
    pub function: Arc<Mutex<NoDisk>>,
    none: Infallible,
}

impl Disk {
    /// Cannot be called.
    pub fn flush(&self) -> Result<(), storage::Error> {
        match self.none {}
    }

    /// Cannot be called.
    pub fn grow(&self, _size: u64) -> Result<(), storage::Error> {
        match self.none {}
    }
}

/// Its chip.
pub type Function = NoDisk;

/// What cannot be made.
pub struct NoDisk(Infallible);

impl NoDisk {
    /// Cannot be called.
    pub fn reset(&mut self) {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn look(&mut self) {
        match self.0 {}
    }
}

impl Snapshot for NoDisk {
    type State = ();

    fn snapshot(&mut self) -> Result<(), Busy> {
        match self.0 {}
    }

    fn restore(&mut self, _state: ()) -> Result<(), BadState> {
        match self.0 {}
    }
}

impl Device for NoDisk {
    fn read(&mut self, _offset: u64, _data: &mut [u8]) {
        match self.0 {}
    }

    fn write(&mut self, _offset: u64, _data: &[u8]) {
        match self.0 {}
    }
}

impl devices::pci::Function for NoDisk {
    fn config(&self) -> &ConfigSpace {
        match self.0 {}
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        match self.0 {}
    }
}

/// Fails.
#[allow(clippy::needless_pass_by_value, reason = "the shape that it has on Linux")]
pub fn wire(
    _number: u8,
    image: Image,
    _cpus: u8,
    _ram: GuestMemoryMmap,
    _irq: IrqLine,
    _vm: &Arc<dyn Vm>,
) -> Result<Disk, storage::Error> {
    Err(storage::Error::Unsuitable {
        path: image.path().to_owned(),
        detail: "there are no virtio disks on Windows: make it an IDE disk (--hda to --hdd)".to_owned(),
    })
}
