// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The root of bus 0: configuration mechanism 1, and the ranges that functions claim at run time.
//!
//! A [`PciRoot`] is frozen like a bus: which function stands in which slot never changes. What moves are the ranges that the functions
//! decode. They are read from a function after each write to its configuration space and kept in a table of their own, so that a
//! cycle finds its function without touching any function's lock but the one it is for.
//!
//! A board maps [`ConfigPorts`] at CF8h-CFFh and hangs [`PciRoot::ports`] and [`PciRoot::memory`] behind its two buses as their
//! fall-backs.

use super::{Claim, Function, Space};
use crate::bus::{SharedDevice, lock};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// PCI Local Bus Specification 2.1, section 3.7.4.1.
mod spec {
    /// CONFADD: cycles to CONFDATA become configuration cycles.
    pub const ENABLE: u32 = 1 << 31;
    /// CONFADD: the bits that exist; the rest read as zero.
    pub const CONFADD_MASK: u32 = 0x80ff_fffc;
}

/// A function on the bus.
pub type SharedFunction = Arc<Mutex<dyn Function>>;

/// What stands at an offset of the ports CF8h-CFFh, given the width of the cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    /// CONFADD answers double words only; narrower cycles go on to the PCI bus.
    Address,
    /// A byte cycle to CF9h: the reset control register of the 82371AB.
    ResetControl,
    /// CONFDATA, at this byte of the addressed double word.
    Data(u8),
    /// The cycle lies across the end of one of the two registers.
    Straddles,
    /// Nobody.
    None,
}

impl Port {
    fn decode(offset: u64, len: usize) -> Self {
        match (offset, len) {
            (0, 4) => Self::Address,
            (1, 1) => Self::ResetControl,
            (4..=7, 1..=4) if offset + len as u64 <= 8 => Self::Data(offset as u8 - 4),
            (0..=7, 2..) if offset + len as u64 > 4 => Self::Straddles,
            _ => Self::None,
        }
    }
}

/// A function and where it stands.
struct Slot {
    device: u8,
    function: u8,
    chip: SharedFunction,
}

/// A claimed range and the slot that claims it.
#[derive(Debug, Clone, Copy)]
struct Route {
    claim: Claim,
    slot: usize,
}

/// Bus 0.
///
/// Lock order: a function, then the route table. A lookup lets go of the table before it locks the function that it found.
pub struct PciRoot {
    // Configuration.
    slots: Box<[Slot]>,
    // Book-keeping: the functions' claims, by slot. Where claims overlap, the lowest slot wins.
    routes: RwLock<Vec<Route>>,
    // Volatile state: CONFADD.
    address: Mutex<u32>,
}

impl PciRoot {
    /// A bus with `functions` at (device, function). Of two at the same place the first one stays.
    pub fn new(functions: Vec<((u8, u8), SharedFunction)>) -> Arc<Self> {
        let mut slots: Vec<_> = functions
            .into_iter()
            .map(|((device, function), chip)| Slot {
                device,
                function,
                chip,
            })
            .collect();
        slots.sort_by_key(|s| (s.device, s.function));
        slots.dedup_by_key(|s| (s.device, s.function));
        let root = Self {
            slots: slots.into_boxed_slice(),
            routes: RwLock::default(),
            address: Mutex::default(),
        };
        root.refresh();
        Arc::new(root)
    }

    /// The ports CF8h-CFFh. `reset_control` gets the byte cycles to CF9h, at offset 0.
    pub fn config_ports(self: &Arc<Self>, reset_control: Arc<dyn SharedDevice>) -> ConfigPorts {
        ConfigPorts {
            root: self.clone(),
            reset_control,
        }
    }

    /// The port space as the functions decode it; offsets are absolute addresses.
    pub fn ports(self: &Arc<Self>) -> Arc<dyn SharedDevice> {
        Arc::new(Decoded {
            root: self.clone(),
            space: Space::Io,
        })
    }

    /// The memory space as the functions decode it; offsets are absolute addresses.
    pub fn memory(self: &Arc<Self>) -> Arc<dyn SharedDevice> {
        Arc::new(Decoded {
            root: self.clone(),
            space: Space::Memory,
        })
    }

    /// Clears CONFADD and asks all functions for their claims anew. The functions are reset before, by whoever owns them.
    pub fn reset(&self) {
        *lock(&self.address) = 0;
        self.refresh();
    }

    /// Asks all functions for their claims anew: needed after their state was changed other than by the guest.
    pub fn refresh(&self) {
        for (slot, Slot { chip, .. }) in self.slots.iter().enumerate() {
            let chip = lock(chip);
            self.reroute(slot, chip.claims());
        }
    }

    /// Reads configuration space past CONFADD: for whoever sets a machine up without firmware.
    pub fn config_read(&self, device: u8, function: u8, offset: usize, data: &mut [u8]) {
        match self.slot(device, function) {
            Some((_, slot)) => {
                let mut chip = lock(&slot.chip);
                chip.config_reading(offset, data.len());
                chip.config().read(offset, data);
            }
            None => data.fill(0xff),
        }
    }

    /// Writes configuration space past CONFADD.
    pub fn config_write(&self, device: u8, function: u8, offset: usize, data: &[u8]) {
        if let Some((at, slot)) = self.slot(device, function) {
            let mut chip = lock(&slot.chip);
            chip.config_mut().write(offset, data);
            chip.config_written(offset, data.len());
            self.reroute(at, chip.claims());
        }
    }

    /// CONFADD, for save and restore.
    pub fn config_address(&self) -> u32 {
        *lock(&self.address)
    }

    /// Sets CONFADD.
    pub fn set_config_address(&self, value: u32) {
        *lock(&self.address) = value & spec::CONFADD_MASK;
    }

    /// Replaces the claims of one slot. The caller holds the function's lock, so that of two concurrent writes the last one stays.
    fn reroute(&self, slot: usize, mut claims: Vec<Claim>) {
        // An empty claim could only ever be touched, never hit.
        claims.retain(|claim| claim.len > 0);
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let mine = routes.iter().filter(|r| r.slot == slot).map(|r| r.claim);
        if mine.eq(claims.iter().copied()) {
            return;
        }
        routes.retain(|r| r.slot != slot);
        let at = routes.partition_point(|r| r.slot < slot);
        routes.splice(at..at, claims.into_iter().map(|claim| Route { claim, slot }));
    }

    fn slot(&self, device: u8, function: u8) -> Option<(usize, &Slot)> {
        let at = self
            .slots
            .binary_search_by_key(&(device, function), |s| (s.device, s.function))
            .ok()?;
        Some((at, self.slots.get(at)?))
    }

    /// What CONFADD selects for a cycle to byte `lane` of CONFDATA: device, function, offset.
    fn selected(&self, lane: u8) -> Option<(u8, u8, usize)> {
        let address = *lock(&self.address);
        let [register, device_function, bus, _] = address.to_le_bytes();
        (address & spec::ENABLE != 0 && bus == 0).then_some((
            device_function >> 3,
            device_function & 7,
            usize::from(register | lane),
        ))
    }

    /// Who claims the `len` bytes at `address`.
    fn find(&self, space: Space, address: u64, len: usize) -> Target<'_> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let len = len.max(1) as u64;
        // The first claim that the access touches decides; whatever else it touches, it shares with a split access only.
        for Route { claim, slot } in routes.iter().filter(|r| r.claim.space == space) {
            let inside = address.wrapping_sub(claim.address);
            if inside < claim.len && len <= claim.len - inside {
                let chip = self.slots.get(*slot).map(|s| &*s.chip);
                return chip.map_or(Target::Nobody, |chip| {
                    Target::Function(chip, claim.base.wrapping_add(inside))
                });
            }
            if inside < claim.len || claim.address.wrapping_sub(address) < len {
                return Target::Split;
            }
        }
        Target::Nobody
    }
}

enum Target<'a> {
    Function(&'a Mutex<dyn Function>, u64),
    /// Part of the access is claimed: byte cycles, each to its own function.
    Split,
    Nobody,
}

/// The ports of configuration mechanism 1.
pub struct ConfigPorts {
    root: Arc<PciRoot>,
    reset_control: Arc<dyn SharedDevice>,
}

impl SharedDevice for ConfigPorts {
    fn read(&self, offset: u64, data: &mut [u8]) {
        match Port::decode(offset, data.len()) {
            Port::Address => data.copy_from_slice(&self.root.config_address().to_le_bytes()),
            Port::ResetControl => self.reset_control.read(0, data),
            Port::Data(lane) => match self.root.selected(lane) {
                Some((device, function, at)) => self.root.config_read(device, function, at, data),
                None => data.fill(0xff),
            },
            Port::Straddles => {
                for (byte, at) in data.iter_mut().zip(offset..) {
                    self.read(at, std::slice::from_mut(byte));
                }
            }
            Port::None => data.fill(0xff),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        match (Port::decode(offset, data.len()), data) {
            (Port::Address, &[a, b, c, d]) => {
                self.root.set_config_address(u32::from_le_bytes([a, b, c, d]));
            }
            (Port::ResetControl, _) => self.reset_control.write(0, data),
            (Port::Data(lane), _) => {
                if let Some((device, function, at)) = self.root.selected(lane) {
                    self.root.config_write(device, function, at, data);
                }
            }
            (Port::Straddles, _) => {
                for (byte, at) in data.iter().zip(offset..) {
                    self.write(at, std::slice::from_ref(byte));
                }
            }
            (Port::Address | Port::None, _) => {}
        }
    }
}

/// The views of [`PciRoot::ports`] and [`PciRoot::memory`].
struct Decoded {
    root: Arc<PciRoot>,
    space: Space,
}

impl SharedDevice for Decoded {
    fn read(&self, address: u64, data: &mut [u8]) {
        match self.root.find(self.space, address, data.len()) {
            Target::Function(chip, offset) => lock(chip).read(offset, data),
            Target::Split => {
                for (i, byte) in data.iter_mut().enumerate() {
                    self.read(address.wrapping_add(i as u64), std::slice::from_mut(byte));
                }
            }
            Target::Nobody => data.fill(0xff),
        }
    }

    fn write(&self, address: u64, data: &[u8]) {
        match self.root.find(self.space, address, data.len()) {
            Target::Function(chip, offset) => lock(chip).write(offset, data),
            Target::Split => {
                for (i, byte) in data.iter().enumerate() {
                    self.write(address.wrapping_add(i as u64), std::slice::from_ref(byte));
                }
            }
            Target::Nobody => {}
        }
    }

    fn read_string(&self, address: u64, width: usize, data: &mut [u8]) {
        match self.root.find(self.space, address, width) {
            Target::Function(chip, offset) => lock(chip).read_string(offset, width, data),
            _ => data
                .chunks_exact_mut(width.max(1))
                .for_each(|element| self.read(address, element)),
        }
    }

    fn write_string(&self, address: u64, width: usize, data: &[u8]) {
        match self.root.find(self.space, address, width) {
            Target::Function(chip, offset) => lock(chip).write_string(offset, width, data),
            _ => data
                .chunks_exact(width.max(1))
                .for_each(|element| self.write(address, element)),
        }
    }
}

#[cfg(test)]
mod tests;
