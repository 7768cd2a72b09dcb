// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of a channel with its drives. What a DVD drive holds behind its interface is the drive's own state
//! ([`crate::mmc`]).

use super::{Channel, State, Unit};
use crate::ide::bus_master::BusMaster;
use crate::ide::disk;
use crate::ide::drive::Drive;
use crate::ide::packet;
use crate::ide::registers::TaskFile;
use crate::ide::spec::Status;
use crate::snapshot::{BadState, Busy, Snapshot};
use serde::{Deserialize, Serialize};

/// A channel.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    units: [SavedUnit; 2],
    state: State,
    bus_master: BusMaster,
    irq: bool,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedUnit {
    drive: SavedDrive,
    registers: TaskFile,
    status: Status,
    error: u8,
    interrupt: bool,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum SavedDrive {
    Empty,
    HardDisk(disk::Saved),
    Packet(packet::Saved),
}

impl Unit {
    fn save(&mut self) -> Result<SavedUnit, Busy> {
        let Self {
            drive,
            registers,
            status,
            error,
            interrupt,
        } = self;
        Ok(SavedUnit {
            drive: match drive {
                Drive::Empty => SavedDrive::Empty,
                Drive::HardDisk(disk) => SavedDrive::HardDisk(disk.snapshot()?),
                Drive::Packet(drive) => SavedDrive::Packet(drive.snapshot()?),
            },
            registers: *registers,
            status: *status,
            error: *error,
            interrupt: *interrupt,
        })
    }

    fn take_over(&mut self, saved: SavedUnit) -> Result<(), BadState> {
        let SavedUnit {
            drive,
            registers,
            status,
            error,
            interrupt,
        } = saved;
        match (&mut self.drive, drive) {
            (Drive::Empty, SavedDrive::Empty) => {}
            (Drive::HardDisk(disk), SavedDrive::HardDisk(saved)) => disk.restore(saved)?,
            (Drive::Packet(drive), SavedDrive::Packet(saved)) => drive.restore(saved)?,
            _ => return Err(BadState("another drive on the IDE cable")),
        }
        (self.registers, self.status, self.error, self.interrupt) = (registers, status, error, interrupt);
        Ok(())
    }
}

/// Whether its ports are decoded, and whether it may master the bus, is in the configuration space of the PCI function. What waits for a
/// medium goes on with [`Channel::service`], when all chips are restored.
impl Snapshot for Channel {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        self.service();
        let Self {
            ram: _,
            irq,
            units: [first, second],
            decoded: _,
            mastering: _,
            state,
            bus_master,
        } = self;
        if state.protocol.is_straight() {
            return Err(Busy);
        }
        Ok(Saved {
            units: [first.save()?, second.save()?],
            state: state.clone(),
            bus_master: bus_master.clone(),
            irq: irq.level(),
        })
    }

    fn restore(&mut self, saved: Saved) -> Result<(), BadState> {
        let Saved {
            units,
            state,
            bus_master,
            irq,
        } = saved;
        state.protocol.check()?;
        bus_master.check()?;
        for (unit, saved) in self.units.iter_mut().zip(units) {
            unit.take_over(saved)?;
        }
        (self.state, self.bus_master) = (state, bus_master);
        self.irq.restore(irq);
        Ok(())
    }
}
