// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest memory: RAM and ROM, where they lie, and the shadowing of the last 256 KiB of the first megabyte.
//!
//! | addresses | what is there |
//! | --- | --- |
//! | 0–9FFFF | RAM |
//! | A0000–AFFFF | the VGA's planes: every access comes out as I/O |
//! | B0000–BFFFF | RAM, which is the text screen |
//! | C0000–FFFFF | thirteen segments that the host bridge's PAM registers turn to RAM or to ROM ([`Shadow`]) |
//! | 100000–below 3 GiB | RAM |
//! | 3 GiB–4 GiB | PCI, the APICs, and the firmware's ROM right below 4 GiB |
//! | from 4 GiB | the rest of RAM |

use crate::hypervisor::{self, Access, Vm};
use devices::bus::{SharedDevice, lock};
use devices::pci::host_bridge::ShadowControl;
use devices::ram::{BadAddress, GuestRam};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// Bytes in a MiB.
pub const MIB: u64 = 1 << 20;
/// End of the RAM below 4 GiB, at most: above are PCI devices and ROM.
pub const HOLE: u64 = 3 << 30;
/// Where RAM goes on.
pub const FOUR_GIB: u64 = 4 << 30;
/// The least memory a machine may have.
pub const LEAST: u64 = MIB;
/// The most memory a machine may have.
pub const MOST: u64 = 1 << 40;

const VGA_WINDOW: u64 = 0xa_0000;
const TEXT_WINDOW: u64 = 0xb_0000;
/// First shadowed address.
const SHADOW: u64 = 0xc_0000;
const SHADOW_END: u64 = 0x10_0000;
/// Granularity of the shadow. The last segment (F0000–FFFFF) is four of these.
const SHADOW_STEP: u64 = 0x4000;

/// Numbers of memory pieces towards the hypervisor.
mod slot {
    pub const BASE: u32 = 0;
    pub const TEXT: u32 = 1;
    pub const LOW: u32 = 2;
    pub const HIGH: u32 = 3;
    pub const ROM: u32 = 4;
    /// One a shadow step from here on.
    pub const SHADOW: u32 = 8;
}

/// A machine's memory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The size is out of range.
    #[error("{0} bytes of memory: a machine has {min} MiB to {max} GiB, in whole MiB", min = LEAST / MIB, max = MOST >> 30)]
    Size(u64),
    /// The host did not give it.
    #[error("the host cannot provide {mib} MiB of memory: {detail}")]
    Host {
        /// Size wanted.
        mib: u64,
        /// The host's answer.
        detail: String,
    },
    /// The hypervisor did not take it.
    #[error(transparent)]
    Hypervisor(#[from] hypervisor::Error),
}

/// Where RAM lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of RAM from address 0.
    pub below_4g: u64,
    /// Bytes of RAM from 4 GiB.
    pub above_4g: u64,
}

impl Layout {
    /// The layout of `size` bytes of RAM.
    pub fn new(size: u64) -> Result<Self, Error> {
        if !(LEAST..=MOST).contains(&size) || !size.is_multiple_of(MIB) {
            return Err(Error::Size(size));
        }
        let below_4g = size.min(HOLE);
        Ok(Self {
            below_4g,
            above_4g: size - below_4g,
        })
    }

    /// All RAM.
    pub fn size(&self) -> u64 {
        self.below_4g + self.above_4g
    }
}

/// How one step of the shadow answers at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shadow {
    reads_ram: bool,
    writes_ram: bool,
}

const STEPS: usize = ((SHADOW_END - SHADOW) / SHADOW_STEP) as usize;

/// A machine's RAM and ROM.
pub struct Memory {
    layout: Layout,
    /// Never mapped by the guest: the firmware's image, padded to whole shadow steps at its front.
    rom: Option<GuestMemoryMmap>,
    rom_len: u64,
    ram: GuestMemoryMmap,
    shadow: Mutex<[Shadow; STEPS]>,
    vm: Arc<dyn Vm>,
}

impl Memory {
    /// Allocates and maps `layout`. `firmware` ends right below 4 GiB, and its last 128 KiB also right below 1 MiB. The shadow stands as
    /// after a reset: ROM.
    pub fn new(vm: Arc<dyn Vm>, layout: Layout, firmware: Option<&[u8]>) -> Result<Self, Error> {
        let mut ranges = vec![(GuestAddress(0), layout.below_4g as usize)];
        if layout.above_4g > 0 {
            ranges.push((GuestAddress(FOUR_GIB), layout.above_4g as usize));
        }
        let allocate = |ranges: &[(GuestAddress, usize)]| {
            GuestMemoryMmap::from_ranges(ranges).map_err(|e| Error::Host {
                mib: layout.size() / MIB,
                detail: e.to_string(),
            })
        };
        let ram = allocate(&ranges)?;
        let firmware = firmware.unwrap_or_default();
        let rom_len = (firmware.len() as u64).next_multiple_of(SHADOW_STEP);
        let rom = if firmware.is_empty() {
            None
        } else {
            let rom = allocate(&[(GuestAddress(0), rom_len as usize)])?;
            rom.write_slice(firmware, GuestAddress(rom_len - firmware.len() as u64))
                .map_err(|e| Error::Host {
                    mib: 0,
                    detail: e.to_string(),
                })?;
            Some(rom)
        };
        let off = Shadow {
            reads_ram: false,
            writes_ram: false,
        };
        let memory = Self {
            layout,
            rom,
            rom_len,
            ram,
            shadow: Mutex::new([off; STEPS]),
            vm,
        };
        memory.map_ram(slot::BASE, 0..VGA_WINDOW, Access::ReadWrite)?;
        memory.map_ram(slot::TEXT, TEXT_WINDOW..SHADOW, Access::ReadWrite)?;
        if layout.below_4g > SHADOW_END {
            memory.map_ram(slot::LOW, SHADOW_END..layout.below_4g, Access::ReadWrite)?;
        }
        if layout.above_4g > 0 {
            memory.map_ram(
                slot::HIGH,
                FOUR_GIB..FOUR_GIB + layout.above_4g,
                Access::ReadWrite,
            )?;
        }
        if let Some(rom) = &memory.rom {
            memory.map(slot::ROM, FOUR_GIB - rom_len, rom, 0..rom_len, Access::ReadOnly)?;
        }
        for step in 0..STEPS {
            memory.map_step(step, off)?;
        }
        Ok(memory)
    }

    /// Where RAM lies.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The RAM itself, for loaders and device queues.
    pub fn ram(&self) -> &GuestMemoryMmap {
        &self.ram
    }

    /// Reads what a processor would read at `address`, ROM included; `false` where nothing is.
    pub fn peek(&self, address: u64, data: &mut [u8]) -> bool {
        if (SHADOW..SHADOW_END).contains(&address) {
            data.fill(0xff);
            SharedDevice::read(self, address, data);
            return true;
        }
        let end = address.saturating_add(data.len() as u64);
        match &self.rom {
            Some(rom) if address >= FOUR_GIB - self.rom_len && end <= FOUR_GIB => rom
                .read_slice(data, GuestAddress(address - (FOUR_GIB - self.rom_len)))
                .is_ok(),
            _ => self.ram.read_slice(data, GuestAddress(address)).is_ok(),
        }
    }

    fn map_ram(&self, slot: u32, range: Range<u64>, access: Access) -> hypervisor::Result<()> {
        self.map(slot, range.start, &self.ram, range, access)
    }

    fn map(
        &self,
        slot: u32,
        address: u64,
        memory: &GuestMemoryMmap,
        range: Range<u64>,
        access: Access,
    ) -> hypervisor::Result<()> {
        let host = memory
            .get_host_address(GuestAddress(range.start))
            .map_err(|error| hypervisor::Error::Call {
                call: "memory map",
                source: std::io::Error::other(error.to_string()),
            })?;
        // SAFETY: the range lies in one region of `ram` or `rom`, which live as long as `self`, and `drop` takes the slots out before
        // they go. All accesses of this program go through vm-memory's volatile slices.
        unsafe {
            self.vm
                .map(slot, address, host, (range.end - range.start) as usize, access)
        }
    }

    /// Lays the right memory under one step of the shadow.
    fn map_step(&self, step: usize, shadow: Shadow) -> hypervisor::Result<()> {
        let slot = slot::SHADOW + step as u32;
        let address = SHADOW + step as u64 * SHADOW_STEP;
        let range = address..address + SHADOW_STEP;
        match (shadow.reads_ram, shadow.writes_ram, self.rom_at(address)) {
            (true, true, _) => self.map_ram(slot, range, Access::ReadWrite),
            (true, false, _) => self.map_ram(slot, range, Access::ReadOnly),
            (false, false, Some((rom, at))) => {
                self.map(slot, address, rom, at..at + SHADOW_STEP, Access::ReadOnly)
            }
            // Reads and writes part ways, or nothing is there: each access is a bus cycle, which `SharedDevice` answers.
            (false, true, _) | (false, false, None) => self.vm.unmap(slot),
        }
    }

    /// The ROM behind a shadowed address, and the place in it: the ROM's end lies at 1 MiB, and 128 KiB of it show there.
    fn rom_at(&self, address: u64) -> Option<(&GuestMemoryMmap, u64)> {
        const VISIBLE: u64 = 128 << 10;
        let from_end = SHADOW_END - address;
        let rom = self.rom.as_ref()?;
        (from_end <= self.rom_len.min(VISIBLE)).then(|| (rom, self.rom_len - from_end))
    }

    fn shadow_at(&self, address: u64) -> Shadow {
        let step = ((address - SHADOW) / SHADOW_STEP) as usize;
        lock(&self.shadow)[step.min(STEPS - 1)]
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let fixed = [slot::BASE, slot::TEXT, slot::LOW, slot::HIGH, slot::ROM];
        for slot in fixed
            .into_iter()
            .chain((0..STEPS as u32).map(|step| slot::SHADOW + step))
        {
            if let Err(error) = self.vm.unmap(slot) {
                log::error!("memory piece {slot} stays with the hypervisor: {error}");
            }
        }
    }
}

impl GuestRam for Memory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), BadAddress> {
        self.ram
            .read_slice(buffer, GuestAddress(address))
            .map_err(|_| BadAddress { address })
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), BadAddress> {
        self.ram
            .write_slice(data, GuestAddress(address))
            .map_err(|_| BadAddress { address })
    }
}

impl ShadowControl for Memory {
    fn set(&self, segment: Range<u64>, reads_ram: bool, writes_ram: bool) {
        let new = Shadow {
            reads_ram,
            writes_ram,
        };
        let mut shadow = lock(&self.shadow);
        for address in segment
            .step_by(SHADOW_STEP as usize)
            .filter(|a| (SHADOW..SHADOW_END).contains(a))
        {
            let step = ((address - SHADOW) / SHADOW_STEP) as usize;
            if shadow[step] != new {
                match self.map_step(step, new) {
                    Ok(()) => shadow[step] = new,
                    Err(error) => log::error!("shadowing of {address:#x} cannot be changed: {error}"),
                }
            }
        }
    }
}

/// Memory cycles to the shadowed segments that no mapping served; the offset is the absolute address.
impl SharedDevice for Memory {
    fn read(&self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        if self.shadow_at(address).reads_ram {
            let _ = GuestRam::read(self, address, data);
        } else if let Some((rom, at)) = self.rom_at(address) {
            let _ = rom.read_slice(data, GuestAddress(at));
        }
    }

    fn write(&self, address: u64, data: &[u8]) {
        if self.shadow_at(address).writes_ram {
            let _ = GuestRam::write(self, address, data);
        }
    }
}

/// The range of addresses that [`Memory`] serves as a bus device.
pub const SHADOW_RANGE: std::ops::RangeInclusive<u64> = SHADOW..=SHADOW_END - 1;
