// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The joint between a packet transport (ATAPI) and a command set behind it (MMC).
//!
//! The transport hands over a 12-byte command and then moves data in pieces of its own choice, so that no transfer, however long,
//! needs more memory than one piece.

use crate::block::Segment;
use crate::bus::lock;
use std::sync::{Arc, Mutex};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// GOOD.
    Good,
    /// CHECK CONDITION; the transport shows the sense key in its error register, the rest is asked for by REQUEST SENSE.
    CheckCondition {
        /// Sense key, 0 to 15.
        sense_key: u8,
    },
}

/// What a command wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The command has ended without data.
    Done(Status),
    /// The device has `len` bytes for the host, to be fetched with [`PacketDevice::pull`]. Never 0.
    DataIn {
        /// Bytes to come, if all goes well.
        len: u64,
    },
    /// The device expects `len` bytes from the host, given with [`PacketDevice::push`]. Never 0.
    DataOut {
        /// Bytes expected: at most 64 KiB.
        len: usize,
    },
}

/// The next piece of data-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pull {
    /// Up to as many bytes as asked for, at least one; fewer only at the end of the data.
    Data(Vec<u8>),
    /// The medium is still at work. The transport asks again, with the same length, when the medium has completed something.
    Pending,
    /// What [went straight](PacketDevice::go_straight) to memory failed. The transport asks for all of it again, in pieces.
    InPieces,
    /// The command has ended, early if the status is not good.
    End(Status),
}

/// A device that takes packet commands.
pub trait PacketDevice: Send {
    /// Starts a command. One that was still running is forgotten.
    fn execute(&mut self, packet: &[u8; 12]) -> Reply;
    /// The next piece of the running command's data, at most `max` bytes.
    fn pull(&mut self, max: usize) -> Pull;
    /// How many bytes are all of the running command's data, of which nothing was pulled yet, if the medium could move them to guest
    /// memory itself.
    fn straight(&self) -> Option<u64> {
        None
    }
    /// Has the medium do that: [`pull`](Self::pull) then gives no data, but tells how it went.
    fn go_straight(&mut self, segments: Vec<Segment>) {
        drop(segments);
    }
    /// Whether no transfer to guest memory is under way any more, so that a reset may end.
    fn settled(&mut self) -> bool {
        true
    }
    /// Takes a piece back that the host has taken, to spare the next one an allocation.
    fn give_back(&mut self, piece: Vec<u8>) {
        drop(piece);
    }
    /// The data that the running command expected (shorter if the host sent less); ends the command.
    fn push(&mut self, data: &[u8]) -> Status;
    /// DEVICE RESET or SRST: forgets the running command, unlocks nothing, keeps mode pages and the unit attention that is due.
    fn abort(&mut self);
    /// Power-on: everything as new, but the medium stays. A unit attention (power on or reset) is due.
    fn reset(&mut self);
}

/// A device that its host reaches as well, to change media. The transport locks it from within its own lock, the host alone.
impl<T: PacketDevice + ?Sized> PacketDevice for Arc<Mutex<T>> {
    fn execute(&mut self, packet: &[u8; 12]) -> Reply {
        lock(self).execute(packet)
    }
    fn pull(&mut self, max: usize) -> Pull {
        lock(self).pull(max)
    }
    fn straight(&self) -> Option<u64> {
        lock(self).straight()
    }
    fn go_straight(&mut self, segments: Vec<Segment>) {
        lock(self).go_straight(segments);
    }
    fn settled(&mut self) -> bool {
        lock(self).settled()
    }
    fn give_back(&mut self, piece: Vec<u8>) {
        lock(self).give_back(piece);
    }
    fn push(&mut self, data: &[u8]) -> Status {
        lock(self).push(data)
    }
    fn abort(&mut self) {
        lock(self).abort();
    }
    fn reset(&mut self) {
        lock(self).reset();
    }
}
