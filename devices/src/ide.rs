// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The IDE controller of the PIIX4: two channels, four drives.
//!
//! | part | module | from |
//! | --- | --- | --- |
//! | PCI function 8086:7111 | `pci` | 82371AB (PIIX4) data sheet, function 1 registers |
//! | bus master | `bus_master` | *Programming Interface for Bus Master IDE Controller*, revision 1.0 |
//! | registers, selection, interrupts, data protocols | `channel`, `registers` | ATA/ATAPI-6, chapters 7 and 9 |
//! | hard disk | `disk`, `identify` | ATA/ATAPI-6, chapter 8 |
//! | packet transport | `packet` | ATA/ATAPI-6, PACKET command and protocol |
//!
//! A [`Channel`] is one [`Device`](crate::bus::Device) behind one lock. Its three register blocks are told apart by their bases:
//!
//! | base | length | block | primary | secondary |
//! | --- | --- | --- | --- | --- |
//! | [`COMMAND_BLOCK`] | 8 | command block | 1F0h | 170h |
//! | [`CONTROL_BLOCK`] | 1 | device control, alternate status | 3F6h | 376h |
//! | [`BUS_MASTER`] | 8 | bus master | base address 4 | base address 4 + 8 |
//!
//! The first two are mapped by the board; the third is reached through [`PiixIde`].
//!
//! No access waits for a disk. A command that needs its medium leaves the channel busy, and [`Channel::service`], which the machine
//! calls when a medium has completed something, takes it further.

mod bus_master;
mod channel;
mod disk;
mod drive;
mod identify;
mod packet;
mod pci;
mod registers;
pub mod spec;
mod transfer_mode;

pub use channel::Channel;
pub use disk::HardDisk;
pub use drive::Drive;
pub use identify::Identity;
pub use packet::PacketDrive;
pub use pci::PiixIde;

/// Base of the command block (1F0h to 1F7h).
pub const COMMAND_BLOCK: u64 = 0x00;
/// Base of the control block: the one register at 3F6h.
pub const CONTROL_BLOCK: u64 = 0x10;
/// Base of the channel's half of the bus master registers.
pub const BUS_MASTER: u64 = 0x20;

#[cfg(test)]
mod tests;
