// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Function 1 of the PIIX4: the IDE controller's PCI side (82371AB data sheet, function 1 registers).

mod snapshot;

use super::Channel;
use crate::bus::{Device, lock};
use crate::pci::config::{ConfigSpace, Identity, command, reg};
use crate::pci::{Function, Space};
use std::sync::{Arc, Mutex};

/// IDETIM of the primary channel: decode enable in bit 15, timing below it.
const IDETIM: usize = 0x40;
/// IDETIM bit 15: the channel's ports are decoded.
const IDETIM_DECODE: u16 = 1 << 15;
/// IDETIM: bits 11 and 10 are reserved.
const IDETIM_MASK: u16 = 0xf3ff;
/// Slave timing of both channels.
const SIDETIM: usize = 0x44;
/// Ultra DMA enable, one bit a drive.
const UDMACTL: usize = 0x48;
/// Ultra DMA timing, two bits a drive.
const UDMATIM: usize = 0x4a;
/// The base address register of the bus master registers.
const BAR: usize = 4;
/// Its ports: eight a channel.
const BUS_MASTER_PORTS: u32 = 16;
/// DEVSEL# timing "medium", and fast back-to-back cycles.
const STATUS: u16 = 0x0280;

/// The IDE function: configuration space, and the bus master registers of both channels.
///
/// After reset neither channel is decoded: firmware sets IDETIM bit 15 of each (8000h at 40h and 42h) and the command register's I/O
/// enable. A machine that starts a kernel without firmware has to do the same, since drivers take the bits for "this channel exists".
pub struct PiixIde {
    // Dependencies.
    channels: [Arc<Mutex<Channel>>; 2],
    // Volatile state.
    config: ConfigSpace,
}

impl PiixIde {
    /// The function of a primary and a secondary channel, as after reset.
    pub fn new(channels: [Arc<Mutex<Channel>>; 2]) -> Self {
        let function = Self {
            channels,
            config: config_space(),
        };
        function.apply();
        function
    }

    /// PCI reset: the configuration space as at power-on. The channels are reset by the machine.
    pub fn reset(&mut self) {
        self.config = config_space();
        self.apply();
    }

    /// Brings the channels into line with the configuration space.
    fn apply(&self) {
        let command = self.config.command();
        for (channel, timing) in self.channels.iter().zip([IDETIM, IDETIM + 2]) {
            let decoded = command & command::IO != 0 && self.config.u16(timing) & IDETIM_DECODE != 0;
            let mut channel = lock(channel);
            channel.set_decoded(decoded);
            channel.set_mastering(command & command::BUS_MASTER != 0);
        }
    }

    /// The channel and its register behind an offset into the base address register's ports.
    fn target(&self, offset: u64) -> Option<(&Mutex<Channel>, u8)> {
        if offset >> 32 != BAR as u64 {
            return None;
        }
        let port = offset & 0xffff_ffff;
        let channel = self.channels.get(usize::try_from(port / 8).ok()?)?;
        Some((channel, (port % 8) as u8))
    }
}

fn config_space() -> ConfigSpace {
    let mut config = ConfigSpace::new(Identity {
        vendor: 0x8086,
        device: 0x7111,
        revision: 0x01,
        // IDE, compatibility ports, bus master.
        class: 0x01_01_80,
        ..Identity::default()
    });
    config.set_u16(reg::STATUS, STATUS);
    config.add_bar(BAR, Space::Io, BUS_MASTER_PORTS);
    config.allow(IDETIM, &IDETIM_MASK.to_le_bytes());
    config.allow(IDETIM + 2, &IDETIM_MASK.to_le_bytes());
    config.allow(SIDETIM, &[0xff]);
    config.allow(UDMACTL, &[0x0f]);
    config.allow(UDMATIM, &[0x33, 0x33]);
    config
}

impl Device for PiixIde {
    fn read_byte(&mut self, offset: u64) -> u8 {
        self.target(offset).map_or(0xff, |(channel, register)| {
            lock(channel).read_bus_master(register)
        })
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        if let Some((channel, register)) = self.target(offset) {
            lock(channel).write_bus_master(register, value);
        }
    }
}

impl Function for PiixIde {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn config_written(&mut self, offset: usize, len: usize) {
        let end = offset.saturating_add(len);
        let touches = |first: usize, last: usize| offset < last && first < end;
        if touches(reg::COMMAND, reg::COMMAND + 2) || touches(IDETIM, IDETIM + 4) {
            self.apply();
        }
    }
}
