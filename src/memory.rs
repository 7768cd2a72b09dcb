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

use crate::host::ring::Slices;
use crate::hypervisor::{self, Access, Vm};
use devices::block::Segment;
use devices::bus::{SharedDevice, lock};
use devices::pci::host_bridge::ShadowControl;
use devices::ram::{BadAddress, GuestRam};
use std::collections::BTreeMap;
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

impl Shadow {
    fn new(reads_ram: bool, writes_ram: bool) -> Self {
        Self {
            reads_ram,
            writes_ram,
        }
    }
}

/// What the hypervisor is to lay under a step of the shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backing {
    Ram(Access),
    Rom,
    /// Nothing: each access is a bus cycle, which [`SharedDevice`] answers.
    Bus,
}

/// The shadow as the host bridge set it, and what the hypervisor was given for it. Each piece costs the hypervisor milliseconds when
/// it comes or goes, so a piece is as long as it can be.
struct ShadowMap {
    steps: [Shadow; STEPS],
    /// First and last-but-one step of each piece of memory under it. The piece's slot is named after its first step.
    pieces: BTreeMap<usize, usize>,
}

const STEPS: usize = ((SHADOW_END - SHADOW) / SHADOW_STEP) as usize;

/// RAM as bus masters reach it, and transfers of the host, which may go on when the guest, or the machine, is gone.
pub struct Dma(
    // Nobody else has this one but the slices: see `is_idle`.
    Arc<GuestMemoryMmap>,
);

impl Dma {
    /// All of some RAM.
    pub fn new(ram: &GuestMemoryMmap) -> Self {
        Self(Arc::new(ram.clone()))
    }

    /// The memory of a transfer; `None` if a part of it is no RAM.
    pub fn slices(&self, segments: &[Segment]) -> Option<Slices> {
        Slices::guest(&self.0, segments.iter().map(|s| (s.address, s.len)))
    }

    /// Whether no transfer is under way.
    pub fn is_idle(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// A machine's RAM and ROM.
pub struct Memory {
    layout: Layout,
    /// Never mapped by the guest: the firmware's image, padded to whole shadow steps at its front.
    rom: Option<GuestMemoryMmap>,
    rom_len: u64,
    ram: GuestMemoryMmap,
    dma: Arc<Dma>,
    shadow: Mutex<ShadowMap>,
    vm: Arc<dyn Vm>,
}

impl Memory {
    /// Allocates and maps `layout`. `firmware` ends right below 4 GiB, and its last 128 KiB also right below 1 MiB. The shadow stands as
    /// after a reset: ROM. Without firmware it stands as firmware would leave it: RAM.
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
        let initial = Shadow::new(rom.is_none(), rom.is_none());
        let memory = Self {
            layout,
            rom,
            rom_len,
            dma: Arc::new(Dma::new(&ram)),
            ram,
            shadow: Mutex::new(ShadowMap {
                steps: [initial; STEPS],
                pieces: BTreeMap::new(),
            }),
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
        memory.lay(&mut lock(&memory.shadow), 0..STEPS)?;
        Ok(memory)
    }

    /// Where RAM lies.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Waits until no transfer of the host uses the RAM.
    pub fn settle(&self) {
        while !self.dma.is_idle() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// The RAM for transfers of the host.
    pub fn dma(&self) -> Arc<Dma> {
        self.dma.clone()
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

    fn backing(&self, step: usize, shadow: Shadow) -> Backing {
        match (
            shadow.reads_ram,
            shadow.writes_ram,
            self.rom_at(step_address(step)),
        ) {
            (true, true, _) => Backing::Ram(Access::ReadWrite),
            (true, false, _) => Backing::Ram(Access::ReadOnly),
            (false, false, Some(_)) => Backing::Rom,
            // Reads and writes part ways, or nothing is there.
            (false, true, _) | (false, false, None) => Backing::Bus,
        }
    }

    /// Lays the right memory under steps of the shadow under which nothing lies.
    fn lay(&self, map: &mut ShadowMap, steps: Range<usize>) -> hypervisor::Result<()> {
        let mut first = steps.start;
        while first < steps.end {
            let backing = self.backing(first, map.steps[first]);
            let end = (first + 1..steps.end)
                .find(|&step| self.backing(step, map.steps[step]) != backing)
                .unwrap_or(steps.end);
            let slot = slot::SHADOW + first as u32;
            let range = step_address(first)..step_address(end);
            match (backing, self.rom_at(range.start)) {
                (Backing::Ram(access), _) => self.map_ram(slot, range, access)?,
                (Backing::Rom, Some((rom, at))) => {
                    let len = range.end - range.start;
                    self.map(slot, range.start, rom, at..at + len, Access::ReadOnly)?;
                }
                (Backing::Rom, None) | (Backing::Bus, _) => {
                    first = end;
                    continue;
                }
            }
            map.pieces.insert(first, end);
            first = end;
        }
        Ok(())
    }

    /// Gives some steps of the shadow a new state. A piece that reaches beyond them is cut: what is left of it goes and comes back, and a
    /// processor must not run in it meanwhile. Firmware changes the shadow with one processor, from a segment that it changes as well.
    fn change(&self, map: &mut ShadowMap, steps: Range<usize>, new: Shadow) -> hypervisor::Result<()> {
        let (mut low, mut high) = (steps.start, steps.end);
        let touched: Vec<_> = map
            .pieces
            .range(..steps.end)
            .filter(|(_, end)| **end > steps.start)
            .map(|(first, end)| (*first, *end))
            .collect();
        for (first, end) in touched {
            self.vm.unmap(slot::SHADOW + first as u32)?;
            map.pieces.remove(&first);
            (low, high) = (low.min(first), high.max(end));
        }
        map.steps[steps.clone()].fill(new);
        self.lay(map, low..steps.start)?;
        self.lay(map, steps.clone())?;
        self.lay(map, steps.end..high)
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
        lock(&self.shadow).steps[step.min(STEPS - 1)]
    }
}

/// Where a step of the shadow begins.
fn step_address(step: usize) -> u64 {
    SHADOW + step as u64 * SHADOW_STEP
}

impl Drop for Memory {
    fn drop(&mut self) {
        let fixed = [slot::BASE, slot::TEXT, slot::LOW, slot::HIGH, slot::ROM];
        let pieces = std::mem::take(&mut lock(&self.shadow).pieces);
        for slot in fixed
            .into_iter()
            .chain(pieces.into_keys().map(|first| slot::SHADOW + first as u32))
        {
            if let Err(error) = self.vm.unmap(slot) {
                log::error!("memory piece {slot} stays with the hypervisor: {error}");
            }
        }
    }
}

impl GuestRam for Dma {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), BadAddress> {
        self.0
            .read_slice(buffer, GuestAddress(address))
            .map_err(|_| BadAddress { address })
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), BadAddress> {
        self.0
            .write_slice(data, GuestAddress(address))
            .map_err(|_| BadAddress { address })
    }
}

impl GuestRam for Memory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), BadAddress> {
        self.dma.read(address, buffer)
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), BadAddress> {
        self.dma.write(address, data)
    }
}

impl ShadowControl for Memory {
    fn set(&self, segment: Range<u64>, reads_ram: bool, writes_ram: bool) {
        let new = Shadow::new(reads_ram, writes_ram);
        let step = |address: u64| ((address.clamp(SHADOW, SHADOW_END) - SHADOW) / SHADOW_STEP) as usize;
        let steps = step(segment.start)..step(segment.end);
        let mut map = lock(&self.shadow);
        if map.steps[steps.clone()].iter().any(|old| *old != new)
            && let Err(error) = self.change(&mut map, steps, new)
        {
            log::error!("shadowing of {:#x} cannot be changed: {error}", segment.start);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::hypervisor::{Message, Result, Vcpu};

    /// Guest addresses, host address, and what the guest may do.
    type Piece = (Range<u64>, usize, Access);

    /// Remembers which pieces of memory it holds, and how many calls it took to get there.
    #[derive(Default)]
    struct Pieces {
        held: Mutex<BTreeMap<u32, Piece>>,
        calls: Mutex<usize>,
    }

    impl Pieces {
        /// What a guest finds at an address: the first byte there, and whether it may write it.
        fn at(&self, address: u64) -> Option<(usize, Access)> {
            let held = lock(&self.held);
            let mut found = held.values().filter(|(range, ..)| range.contains(&address));
            let (range, host, access) = found.next()?;
            assert!(found.next().is_none(), "two pieces at {address:#x}");
            Some((host + (address - range.start) as usize, *access))
        }
    }

    impl Vm for Pieces {
        unsafe fn map(
            &self,
            slot: u32,
            address: u64,
            host: *mut u8,
            len: usize,
            access: Access,
        ) -> Result<()> {
            *lock(&self.calls) += 1;
            let piece = (address..address + len as u64, host as usize, access);
            let before = lock(&self.held).insert(slot, piece);
            assert!(before.is_none(), "slot {slot} is in use");
            Ok(())
        }
        fn unmap(&self, slot: u32) -> Result<()> {
            *lock(&self.calls) += 1;
            lock(&self.held).remove(&slot);
            Ok(())
        }
        fn create_vcpu(&self, _: u8) -> Result<Box<dyn Vcpu>> {
            unreachable!()
        }
        fn set_irq_line(&self, _: u32, _: bool) -> Result<()> {
            unreachable!()
        }
        fn set_level_triggered(&self, _: u16) -> Result<()> {
            unreachable!()
        }
        fn deliver(&self, _: Message) -> Result<()> {
            unreachable!()
        }
        fn set_ioapic_routes(&self, _: &[Option<Message>]) -> Result<()> {
            unreachable!()
        }
        fn reset(&self) -> Result<()> {
            unreachable!()
        }
    }

    fn memory(firmware: Option<usize>) -> (Arc<Pieces>, Memory) {
        let vm = Arc::new(Pieces::default());
        let firmware = firmware.map(|len| vec![0x90; len]);
        let layout = Layout::new(2 * MIB).unwrap();
        let memory = Memory::new(vm.clone(), layout, firmware.as_deref()).unwrap();
        (vm, memory)
    }

    /// Every step of the shadow is backed by what its state asks for.
    fn check(vm: &Pieces, memory: &Memory) {
        for step in 0..STEPS {
            let address = step_address(step);
            let shadow = memory.shadow_at(address);
            let host = |m: &GuestMemoryMmap, at| m.get_host_address(GuestAddress(at)).unwrap() as usize;
            let expected = match (shadow.reads_ram, shadow.writes_ram) {
                (true, true) => Some((host(&memory.ram, address), Access::ReadWrite)),
                (true, false) => Some((host(&memory.ram, address), Access::ReadOnly)),
                (false, true) => None,
                (false, false) => memory
                    .rom_at(address)
                    .map(|(rom, at)| (host(rom, at), Access::ReadOnly)),
            };
            for inside in [0, SHADOW_STEP - 1] {
                let expected = expected.map(|(host, access)| (host + inside as usize, access));
                assert_eq!(vm.at(address + inside), expected, "{address:#x}+{inside:#x}");
            }
        }
    }

    #[test]
    fn the_shadow_is_one_piece_at_first() {
        // A kernel without firmware: base, text window, shadow, RAM above 1 MiB.
        assert_eq!(*lock(&memory(None).0.calls), 4);
        // With firmware the ROM below 4 GiB comes on top.
        assert_eq!(*lock(&memory(Some(256 << 10)).0.calls), 5);
    }

    #[test]
    fn any_shadowing_in_any_order() {
        for firmware in [None, Some(0x4000), Some(0xc000), Some(128 << 10), Some(256 << 10)] {
            let (vm, memory) = memory(firmware);
            check(&vm, &memory);
            let mut random = 0x2545_f491_4f6c_dd1d_u64;
            for _ in 0..2000 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                // The host bridge's segments: twelve of one step, one of four.
                let segment = match random % 13 {
                    12 => 0xf_0000..0x10_0000,
                    n => step_address(n as usize)..step_address(n as usize + 1),
                };
                memory.set(segment, random & 1 << 32 != 0, random & 1 << 33 != 0);
                check(&vm, &memory);
            }
            drop(memory);
            assert!(lock(&vm.held).is_empty());
        }
    }

    #[test]
    fn the_same_again_costs_nothing() {
        let (vm, memory) = memory(None);
        let calls = *lock(&vm.calls);
        memory.set(0xc_0000..0xc_4000, true, true);
        memory.set(0xf_0000..0x10_0000, true, true);
        assert_eq!(*lock(&vm.calls), calls);
    }
}
