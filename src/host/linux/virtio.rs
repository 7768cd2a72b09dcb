// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The virtio disks. They stand here because the crate that walks their queues does not build on Windows.

use crate::hypervisor::{Message, Vm};
use crate::machine::media::{Bell, Cord};
use crate::storage::{self, Image};
use devices::bus::lock;
use devices::line::IrqLine;
use devices::virtio::Ram;
use devices::virtio::block::{Block, spec};
use devices::virtio::pci::VirtioPci;
use std::sync::{Arc, Mutex};

/// Its chip.
pub type Function = VirtioPci<Block>;

/// A disk on the PCI bus.
pub struct Disk {
    _cord: Cord,
    /// The chip.
    pub function: Arc<Mutex<VirtioPci<Block>>>,
    image: storage::Handle,
}

impl Disk {
    /// Makes durable what it has written.
    pub fn flush(&self) -> Result<(), storage::Error> {
        self.image.flush()
    }

    /// Makes the disk larger, to `size` bytes, and tells the guest.
    pub fn grow(&self, size: u64) -> Result<(), storage::Error> {
        let info = self.image.grow(size)?;
        lock(&self.function).configure(|block| block.set_size(&info));
        Ok(())
    }
}

/// Mass storage controller, SCSI: what operating systems expect of a virtio disk.
const CLASS: u32 = 0x01_00_00;

/// Makes a disk. `number` gives one without an identity of its own a serial number; it has a queue for each of `cpus` processors.
pub fn wire(
    number: u8,
    image: Image,
    cpus: u8,
    ram: Ram,
    irq: IrqLine,
    vm: &Arc<dyn Vm>,
) -> Result<Disk, storage::Error> {
    let bell = Bell::default();
    let own = image.info().serial.clone();
    let serial = own.unwrap_or_else(|| format!("VPC-V{number}"));
    let medium = Box::new(image.into_medium(bell.waker())?);
    let image = medium.handle();
    let vm = vm.clone();
    let messages = move |address, data| {
        if let Err(error) = vm.deliver(Message { address, data }) {
            log::debug!("an interrupt message was not delivered: {error}");
        }
    };
    let block = Block::new(medium, &serial, u16::from(cpus));
    let function = Arc::new(Mutex::new(VirtioPci::new(
        spec::DEVICE_TYPE,
        CLASS,
        block,
        ram,
        irq,
        Arc::new(messages),
    )));
    let cord = bell.connect(&function, VirtioPci::service);
    // A medium may have completed something before the bell was tied.
    lock(&function).service();
    Ok(Disk {
        _cord: cord,
        function,
        image,
    })
}
