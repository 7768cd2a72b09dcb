// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What sits on the cable, and what a channel asks of it.

use super::registers::TaskFile;
use super::spec::{Error, Signature, Status};
use super::{HardDisk, PacketDrive};
use crate::block::Segment;

/// One of the two positions on a channel's cable.
pub enum Drive {
    /// Nothing is connected.
    Empty,
    /// An ATA hard disk.
    HardDisk(Box<HardDisk>),
    /// An ATAPI drive.
    Packet(PacketDrive),
}

impl From<HardDisk> for Drive {
    fn from(disk: HardDisk) -> Self {
        Self::HardDisk(Box::new(disk))
    }
}

impl From<PacketDrive> for Drive {
    fn from(drive: PacketDrive) -> Self {
        Self::Packet(drive)
    }
}

impl Drive {
    pub(super) fn device(&mut self) -> Option<&mut dyn AtaDevice> {
        match self {
            Self::Empty => None,
            Self::HardDisk(disk) => Some(&mut **disk),
            Self::Packet(drive) => Some(drive),
        }
    }

    pub(super) fn is_present(&self) -> bool {
        !matches!(self, Self::Empty)
    }
}

/// Where a device sits: what it needs to know for IDENTIFY word 93.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cabling {
    /// This is device 1.
    pub(super) device1: bool,
    /// The other position holds a device.
    pub(super) shared: bool,
}

/// Why a command failed, as the status and error registers tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// Bits of the status register beside ERR.
    pub(super) status: Status,
    /// The error register.
    pub(super) error: u8,
}

impl Fault {
    pub(super) fn new(error: Error) -> Self {
        Self {
            status: Status::empty(),
            error: error.bits(),
        }
    }

    /// The command or a parameter of it is not supported.
    pub(super) fn aborted() -> Self {
        Self::new(Error::ABRT)
    }

    /// The device itself failed.
    pub(super) fn device_fault() -> Self {
        Self {
            status: Status::DF,
            error: Error::ABRT.bits(),
        }
    }

    /// A packet command ended with CHECK CONDITION.
    pub(super) fn sense(key: u8) -> Self {
        let abort = if key == 0 { Error::empty() } else { Error::ABRT };
        Self {
            status: Status::empty(),
            error: key << 4 | abort.bits(),
        }
    }
}

/// How a command goes on after its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// It is over.
    End(Result<(), Fault>),
    /// It is over without interrupt, and the device is as after a reset (DEVICE RESET).
    Reset,
    /// The device sleeps on it: only a reset ends this.
    Ignored,
    /// No data; BSY until [`AtaDevice::next`] ends it.
    NonData,
    /// Data to the host through the data register, `block` bytes for each DRQ.
    PioIn { block: usize },
    /// Data from the host through the data register, `block` bytes for each DRQ.
    PioOut {
        block: usize,
        /// The first DRQ interrupts, too: it does for PACKET, it does not for WRITE.
        first_interrupt: bool,
    },
    /// Data to the host by DMA.
    DmaIn,
    /// Data from the host by DMA.
    DmaOut,
    /// The device wants a 12-byte command packet.
    Packet,
}

/// What a running command does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Data for the host, or room for data from the host. The channel gives the buffer back when it is through with it.
    Buffer(Vec<u8>),
    /// The medium is at work; ask again when it has completed something.
    Pending,
    /// What [went straight](AtaDevice::go_straight) failed. It is to be done again in pieces, which find out where.
    InPieces,
    /// It is over, which the host is told by an interrupt.
    End(Result<(), Fault>),
    /// The host has taken the last block, and that is all there was: PIO data-in ends without an interrupt of its own.
    EndOfData,
}

/// A device on the cable, behind the protocols that the channel runs for it.
///
/// After [`execute`](AtaDevice::execute) (and [`packet`](AtaDevice::packet)) the channel alternates between `next` and `give_back` until
/// the command ends.
pub(super) trait AtaDevice {
    /// Tells the device where it sits.
    fn attach(&mut self, cabling: Cabling);
    /// Starts the command with this code. The channel deals with the commands that go to both devices.
    fn execute(&mut self, command: u8, registers: &mut TaskFile) -> Start;
    /// Takes the command packet.
    fn packet(&mut self, packet: &[u8; 12], registers: &mut TaskFile) -> Start;
    /// What the running command does next.
    fn next(&mut self, registers: &mut TaskFile) -> Next;
    /// Takes back a buffer that the host has emptied (data-in) or filled (data-out).
    fn give_back(&mut self, buffer: Vec<u8>);
    /// How many bytes the DMA command that has just begun moves, if its medium could move them to or from guest memory itself.
    fn straight(&self) -> Option<u64> {
        None
    }
    /// Has the medium move them, in place of the channel.
    fn go_straight(&mut self, segments: Vec<Segment>) {
        drop(segments);
    }
    /// Collects what the medium has completed. True if nothing is under way that a reset has to wait for: writes, flushes, and what
    /// goes straight to guest memory.
    fn settle(&mut self) -> bool;
    /// Software reset or DEVICE RESET: forgets the running command.
    fn soft_reset(&mut self);
    /// Power-on.
    fn hard_reset(&mut self);
    /// What the device shows after a reset.
    fn signature(&self) -> Signature;
    /// The status register at rest after a reset: a packet device is not ready until it has been spoken to.
    fn reset_status(&self) -> Status;
}
