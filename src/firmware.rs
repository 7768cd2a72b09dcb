// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a machine tells its firmware, and what firmware would tell an operating system.
//!
//! [`FirmwareSpec`] describes the machine; from it come
//!
//! - the items and files of the firmware configuration device ([`configuration`]), by which SeaBIOS learns of memory, processors, boot
//!   order, ACPI and SMBIOS,
//! - the same tables laid out in memory for a kernel that starts without firmware ([`direct`]).
//!
//! [`image`] finds the firmware's own image. Everything else here is a pure function of the specification.

pub mod acpi;
mod boot_files;
pub mod direct;
pub mod image;
mod memory_map;
mod mp_table;
mod smbios;

use devices::fw_cfg::{BadName, FwCfgBuilder, key};
use devices::rtc::{DiskGeometry, FloppyType};
use std::sync::Arc;
use std::time::Duration;

/// Addresses and numbers that tables and firmware agree on. Those of the power management function are where SeaBIOS puts them when it
/// is given ACPI tables.
pub mod platform {
    /// Ports of the power management registers (PMBASE).
    pub const PM_BASE: u16 = 0x600;
    /// Ports of the SMBus host controller.
    pub const SMBUS_BASE: u16 = 0x700;
    /// The system control interrupt: an ISA interrupt, hard-wired on this chip set.
    pub const SCI: u8 = 9;
    /// APM control port, which switches ACPI on.
    pub const APM_CONTROL: u16 = 0xb2;
    /// The local APICs.
    pub const LOCAL_APIC: u32 = 0xfee0_0000;
    /// The I/O APIC.
    pub const IO_APIC: u32 = 0xfec0_0000;
    /// Identification of the I/O APIC.
    pub const IO_APIC_ID: u8 = 0;
    /// The I/O APIC's input for ISA interrupt 0.
    pub const TIMER_PIN: u8 = 2;
    /// ISA interrupts that firmware routes PIRQA#-PIRQD# to.
    pub const PIRQ_ROUTES: [u8; 4] = [10, 10, 11, 11];
    /// ISA interrupts that PCI interrupts may be routed to.
    pub const PIRQ_CHOICES: [u8; 3] = [5, 10, 11];
    /// Where RAM below 4 GiB ends at the latest.
    pub const RAM_END: u64 = 0xc000_0000;
    /// The last address of the PCI memory window: the I/O APIC follows.
    pub const PCI_MEMORY_LAST: u32 = 0xfebf_ffff;
}

/// RAM, as the memory map shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ram {
    /// Bytes from address 0, at most 3 GiB.
    pub below_4g: u64,
    /// Bytes from 4 GiB.
    pub above_4g: u64,
}

impl Ram {
    /// All of it.
    pub fn size(&self) -> u64 {
        self.below_4g.saturating_add(self.above_4g)
    }

    /// Where PCI memory starts. SeaBIOS starts at the same addresses.
    fn pci_memory_start(&self) -> u32 {
        if self.below_4g <= 0x8000_0000 {
            0x8000_0000
        } else {
            platform::RAM_END as u32
        }
    }
}

/// How the interrupts of PCI slots reach an operating system that uses the I/O APIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PciInterrupts {
    /// As with the 8259A: through the ISA interrupts that the route registers name.
    #[default]
    Routed,
    /// PIRQA#-PIRQD# have inputs of their own, from this one on.
    Pins(u8),
}

/// A drive on the IDE channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdePosition {
    /// 0 primary, 1 secondary.
    pub channel: u8,
    /// 0 master, 1 slave.
    pub unit: u8,
}

/// Something to boot from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootDevice {
    /// Floppy drive A (0) or B (1).
    Floppy(u8),
    /// A disk or disc.
    Ide(IdePosition),
    /// A virtio disk in this PCI slot.
    Virtio(u8),
}

/// What firmware and operating system are to know of a machine.
#[derive(Debug, Clone)]
pub struct FirmwareSpec {
    /// RAM.
    pub ram: Ram,
    /// Processors, from 1; their APIC identifications count from 0. All 255 can be named: the last identification means "all".
    pub cpus: u8,
    /// The machine's identification, in the order in which a UUID is printed.
    pub uuid: [u8; 16],
    /// The machine's serial number; empty: none.
    pub serial_number: String,
    /// Interrupts of PCI slots.
    pub pci_interrupts: PciInterrupts,
    /// Floppy drives A and B.
    pub floppies: [FloppyType; 2],
    /// Which of COM1-COM4 are there.
    pub serial_ports: [bool; 4],
    /// LPT1 is there.
    pub parallel_port: bool,
    /// A PS/2 mouse is there.
    pub mouse: bool,
    /// What to boot from, in this order; what is not named comes after.
    pub boot_order: Vec<BootDevice>,
    /// Boot from nothing but `boot_order`.
    pub boot_nothing_else: bool,
    /// How long the firmware offers its boot menu; `None`: not at all.
    pub boot_menu: Option<Duration>,
    /// When nothing boots, the machine restarts after this time; `None`: never.
    pub boot_retry: Option<Duration>,
    /// The firmware shows its text, and that of programs using INT 10h, on COM1 as well.
    pub serial_console: bool,
    /// Logical geometry (INT 13h) of disks whose partition tables need a certain one.
    pub disk_geometries: Vec<(IdePosition, DiskGeometry)>,
}

impl FirmwareSpec {
    /// A machine without drives and ports, that waits for nothing.
    pub fn new(ram: Ram, cpus: u8) -> Self {
        Self {
            ram,
            cpus,
            uuid: [0; 16],
            serial_number: String::new(),
            pci_interrupts: PciInterrupts::default(),
            floppies: [FloppyType::None; 2],
            serial_ports: [false; 4],
            parallel_port: false,
            mouse: false,
            boot_order: Vec::new(),
            boot_nothing_else: false,
            boot_menu: None,
            boot_retry: None,
            serial_console: false,
            disk_geometries: Vec::new(),
        }
    }

    /// Checks what the tables cannot express.
    fn check(&self) -> Result<(), Error> {
        if self.cpus == 0 {
            return Err(Error::NoProcessor);
        }
        if self.ram.below_4g == 0 || self.ram.below_4g > platform::RAM_END {
            return Err(Error::Ram(self.ram.below_4g));
        }
        let serial_number = &self.serial_number;
        if serial_number.len() > smbios::TEXT_MOST
            || serial_number.bytes().any(|b| !(0x20..0x7f).contains(&b))
        {
            return Err(Error::SerialNumber(serial_number.clone()));
        }
        Ok(())
    }
}

/// A machine that firmware cannot be told of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The machine has no processor.
    #[error("a machine without processors")]
    NoProcessor,
    /// The memory layout.
    #[error("{0:#x} bytes of memory below 4 GiB: there must be some, and PCI devices need the last GiB")]
    Ram(u64),
    /// The serial number.
    #[error("serial number {0:?}: at most {most} printable ASCII characters", most = smbios::TEXT_MOST)]
    SerialNumber(String),
    /// A file's name, which is a mistake in this module.
    #[error("the firmware configuration device does not take a file")]
    File(#[from] BadName),
}

/// All items and files for the firmware configuration device. `vga_bios` is the VGA's option ROM.
pub fn configuration(spec: &FirmwareSpec, vga_bios: Option<Arc<[u8]>>) -> Result<FwCfgBuilder, Error> {
    spec.check()?;
    let mut items = FwCfgBuilder::new();
    let cpus = u16::from(spec.cpus).to_le_bytes();
    items.add_item(key::UUID, spec.uuid);
    items.add_item(key::RAM_SIZE, spec.ram.size().to_le_bytes());
    items.add_item(key::NO_GRAPHIC, 0u16.to_le_bytes());
    items.add_item(key::CPUS, cpus);
    items.add_item(key::MAX_CPUS, cpus);
    items.add_item(key::BOOT_MENU, u16::from(spec.boot_menu.is_some()).to_le_bytes());
    // For the multiprocessor table that SeaBIOS makes.
    items.add_item(key::IRQ0_OVERRIDE, [1]);
    items.add_file("etc/e820", memory_map::for_firmware(spec.ram))?;
    for (name, bytes) in boot_files::files(spec) {
        items.add_file(name, bytes)?;
    }
    for (name, bytes) in acpi::Tables::new(spec).loader_files() {
        items.add_file(name, bytes)?;
    }
    let smbios = smbios::Tables::new(spec);
    items.add_file("etc/smbios/smbios-anchor", smbios.entry_point(0))?;
    items.add_file("etc/smbios/smbios-tables", smbios.structures)?;
    if let Some(vga_bios) = vga_bios {
        items.add_file("vgaroms/vgabios.bin", vga_bios)?;
    }
    Ok(items)
}

#[cfg(test)]
mod tests;
