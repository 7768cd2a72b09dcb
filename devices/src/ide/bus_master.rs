// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A channel's bus master (Intel, *Programming Interface for Bus Master IDE Controller*, revision 1.0).
//!
//! The engine walks a table of physical region descriptors while the drive has data. How the table's length and the drive's transfer
//! relate is left in the status register, from which drivers tell what happened:
//!
//! | ACTIVE | INTERRUPT | meaning |
//! | --- | --- | --- |
//! | 1 | 0 | at work |
//! | 0 | 1 | table and transfer ended together |
//! | 1 | 1 | the table is longer than the transfer |
//! | 0 | 0 | the table is shorter than the transfer, or, with ERROR, memory could not be reached |

use crate::block::Segment;
use crate::ram::GuestRam;
use crate::snapshot::{BadState, must};
use bitflags::bitflags;
use serde::{Deserialize, Serialize};

bitflags! {
    /// Bus master command register.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    struct Command: u8 {
        /// A change to 1 starts the engine at the head of its table; 0 stops it.
        const START = 1 << 0;
        /// The engine writes memory: the drive is read.
        const TO_MEMORY = 1 << 3;
    }
}

bitflags! {
    /// Bus master status register. Bit 7 (simplex only) is 0.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    struct Status: u8 {
        /// The engine is between its start and the end of its table.
        const ACTIVE = 1 << 0;
        /// Memory could not be reached. Cleared by writing 1.
        const ERROR = 1 << 1;
        /// The drive interrupted, and all its data is where it belongs. Cleared by writing 1.
        const INTERRUPT = 1 << 2;
        /// Software's notes on which drives can do DMA.
        const CAPABLE = 0b11 << 5;
    }
}

/// Which way a transfer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum Direction {
    /// Drive to memory.
    ToMemory,
    /// Memory to drive.
    FromMemory,
}

/// A table may not cross a 64 KiB boundary: it has at most this many descriptors. This bounds how long a guest can keep the engine
/// walking.
const MAX_DESCRIPTORS: u32 = 0x1_0000 / 8;

/// Where the engine is in its table.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// Address of the next descriptor.
    next: u32,
    /// Descriptors fetched since the start.
    fetched: u32,
    /// Next address in the region.
    address: u64,
    /// Bytes left in the region.
    left: usize,
    /// No descriptor follows.
    last: bool,
}

/// The registers and the engine. All of it is volatile state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BusMaster {
    command: Command,
    status: Status,
    table: u32,
    cursor: Cursor,
    /// How often the engine was started: tells one run of it from the next.
    starts: u64,
}

/// A transfer that somebody else does in the engine's place, with how the engine stands when it is done.
#[derive(Debug, Clone)]
pub(super) struct Claim(BusMaster);

impl BusMaster {
    /// Refuses what no engine can be in.
    pub(super) fn check(&self) -> Result<(), BadState> {
        let Cursor {
            next: _,
            fetched,
            address,
            left,
            last: _,
        } = self.cursor;
        must(
            fetched <= MAX_DESCRIPTORS && left <= 0x1_0000 && address <= 1 << 32,
            "a place in a table that no bus master comes to",
        )
    }

    pub(super) fn read(&self, offset: u8) -> u8 {
        match offset {
            0 => self.command.bits(),
            2 => self.status.bits(),
            4..=7 => self.table.to_le_bytes()[usize::from(offset - 4)],
            _ => 0,
        }
    }

    pub(super) fn write(&mut self, offset: u8, value: u8) {
        match offset {
            0 => self.set_command(Command::from_bits_truncate(value)),
            2 => {
                let value = Status::from_bits_truncate(value);
                self.status -= value & (Status::ERROR | Status::INTERRUPT);
                self.status = (self.status - Status::CAPABLE) | (value & Status::CAPABLE);
            }
            4..=7 => {
                let mut table = self.table.to_le_bytes();
                table[usize::from(offset - 4)] = value;
                self.table = u32::from_le_bytes(table) & !3;
            }
            _ => {}
        }
    }

    fn set_command(&mut self, command: Command) {
        let started = command.contains(Command::START) && !self.command.contains(Command::START);
        self.command = command;
        if started {
            self.starts = self.starts.wrapping_add(1);
            self.status |= Status::ACTIVE;
            self.cursor = Cursor {
                next: self.table,
                ..Cursor::default()
            };
        } else if !command.contains(Command::START) {
            self.status -= Status::ACTIVE;
        }
    }

    /// The drive's interrupt line went up.
    pub(super) fn interrupt(&mut self) {
        self.status |= Status::INTERRUPT;
    }

    /// The engine was started, and has not come to the end of its table.
    pub(super) fn is_active(&self) -> bool {
        self.status.contains(Status::ACTIVE)
    }

    /// Where the next `len` bytes of the table lie, for somebody else to move them; `None` if it has not that many in this direction.
    /// The engine stands as before until the [claim](Claim) is [paid](Self::pay).
    pub(super) fn claim(
        &self,
        ram: &dyn GuestRam,
        direction: Direction,
        len: u64,
    ) -> Option<(Vec<Segment>, Claim)> {
        let len = usize::try_from(len).ok()?;
        let mut after = self.clone();
        let mut segments: Vec<Segment> = Vec::new();
        let moved = after.walk(ram, direction, len, |address, _, len| {
            let len = len as u64;
            match segments.last_mut() {
                Some(last) if last.address + last.len == address => last.len += len,
                _ => segments.push(Segment { address, len }),
            }
            true
        });
        (moved == len).then_some((segments, Claim(after)))
    }

    /// What was claimed has been moved. Has no effect on an engine that was stopped meanwhile.
    pub(super) fn pay(&mut self, claim: Claim) {
        let Claim(after) = claim;
        if self.is_active() && self.starts == after.starts {
            self.cursor = after.cursor;
            self.status.set(Status::ACTIVE, after.is_active());
        }
    }

    /// Copies `data` to memory and says how much of it fitted.
    pub(super) fn write_memory(&mut self, ram: &dyn GuestRam, data: &[u8]) -> usize {
        self.walk(ram, Direction::ToMemory, data.len(), |address, done, len| {
            data.get(done..done + len)
                .is_some_and(|piece| ram.write(address, piece).is_ok())
        })
    }

    /// Fills `buffer` from memory and says how much of it there was.
    pub(super) fn read_memory(&mut self, ram: &dyn GuestRam, buffer: &mut [u8]) -> usize {
        let len = buffer.len();
        self.walk(ram, Direction::FromMemory, len, |address, done, len| {
            buffer
                .get_mut(done..done + len)
                .is_some_and(|piece| ram.read(address, piece).is_ok())
        })
    }

    /// Moves up to `len` bytes, region by region, with `copy(address, bytes already moved, bytes in this piece)`.
    fn walk(
        &mut self,
        ram: &dyn GuestRam,
        direction: Direction,
        len: usize,
        mut copy: impl FnMut(u64, usize, usize) -> bool,
    ) -> usize {
        let to_memory = self.command.contains(Command::TO_MEMORY);
        let mut done = 0;
        while done < len
            && self.status.contains(Status::ACTIVE)
            && to_memory == (direction == Direction::ToMemory)
        {
            if self.cursor.left == 0 && !self.fetch(ram) {
                self.fail();
                break;
            }
            let piece = self.cursor.left.min(len - done);
            if !copy(self.cursor.address, done, piece) {
                self.fail();
                break;
            }
            done += piece;
            self.cursor.address += piece as u64;
            self.cursor.left -= piece;
            if self.cursor.left == 0 && self.cursor.last {
                self.status -= Status::ACTIVE;
            }
        }
        done
    }

    /// Fetches the next descriptor: 32 bits of address, 16 of length (0 = 64 KiB) and the end mark in bit 31 of the second word.
    fn fetch(&mut self, ram: &dyn GuestRam) -> bool {
        let mut descriptor = [0; 8];
        if self.cursor.fetched == MAX_DESCRIPTORS
            || ram.read(u64::from(self.cursor.next), &mut descriptor).is_err()
        {
            return false;
        }
        let [a0, a1, a2, a3, c0, c1, _, flags] = descriptor;
        let address = u64::from(u32::from_le_bytes([a0, a1, a2, a3]) & !1);
        let left = match usize::from(u16::from_le_bytes([c0, c1]) & !1) {
            0 => 0x1_0000,
            len => len,
        };
        self.cursor = Cursor {
            next: self.cursor.next.wrapping_add(8),
            fetched: self.cursor.fetched + 1,
            address,
            left,
            last: flags & 0x80 != 0,
        };
        // The engine has 32 address lines: what would lie above them is no memory to it.
        address + left as u64 <= 1 << 32
    }

    fn fail(&mut self) {
        self.status -= Status::ACTIVE;
        self.status |= Status::ERROR;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestRam;

    const TABLE: u32 = 0x1000;

    fn started(ram: &TestRam, direction: Direction, regions: &[(u32, u16)]) -> BusMaster {
        for (i, (address, len)) in regions.iter().enumerate() {
            let at = TABLE as usize + 8 * i;
            ram.put(at, &address.to_le_bytes());
            let end = u32::from(i + 1 == regions.len()) << 31;
            ram.put(at + 4, &(u32::from(*len) | end).to_le_bytes());
        }
        let mut engine = BusMaster::default();
        for (offset, byte) in (4..).zip(TABLE.to_le_bytes()) {
            engine.write(offset, byte);
        }
        engine.write(0, if direction == Direction::ToMemory { 9 } else { 1 });
        engine
    }

    #[test]
    fn reset_values() {
        let engine = BusMaster::default();
        assert!((0..8).all(|offset| engine.read(offset) == 0));
    }

    #[test]
    fn what_can_be_written() {
        let mut engine = BusMaster::default();
        for offset in 0..8 {
            engine.write(offset, 0xff);
        }
        assert_eq!(engine.read(0), 0x09);
        assert_eq!(engine.read(2), 0x61, "capable bits, active; no simplex");
        assert_eq!([4, 5, 6, 7].map(|i| engine.read(i)), [0xfc, 0xff, 0xff, 0xff]);
        assert_eq!([1, 3].map(|i| engine.read(i)), [0, 0]);
        engine.write(0, 0);
        engine.write(2, 0);
        assert_eq!(engine.read(2), 0);
    }

    #[test]
    fn interrupt_and_error_clear_when_written_as_one() {
        let mut engine = BusMaster::default();
        engine.interrupt();
        engine.fail();
        engine.write(2, 0x60);
        assert_eq!(engine.read(2), 0x66);
        engine.write(2, 0x64);
        assert_eq!(engine.read(2), 0x62);
        engine.write(2, 0x02);
        assert_eq!(engine.read(2), 0x00);
    }

    #[test]
    fn data_is_scattered_and_the_end_clears_active() {
        let ram = TestRam::new(0x20000);
        let mut engine = started(&ram, Direction::ToMemory, &[(0x4000, 4), (0x5001, 6)]);
        assert_eq!(engine.write_memory(&*ram, &[1, 2, 3, 4, 5]), 5);
        assert_eq!(engine.read(2), 1, "the table goes on");
        assert_eq!(engine.write_memory(&*ram, &[6, 7, 8, 9, 10]), 5);
        assert_eq!(ram.get(0x4000, 4), [1, 2, 3, 4]);
        assert_eq!(
            ram.get(0x5000, 6),
            [5, 6, 7, 8, 9, 10],
            "bit 0 of an address is 0"
        );
        assert_eq!(engine.read(2), 0);
        assert_eq!(engine.write_memory(&*ram, &[11]), 0, "the table has ended");
    }

    #[test]
    fn a_length_of_zero_is_64_kib() {
        let ram = TestRam::new(0x40000);
        ram.put(0x10000, &[7; 0x10000]);
        let mut engine = started(&ram, Direction::FromMemory, &[(0x10000, 0)]);
        let mut buffer = vec![0; 0x10001];
        assert_eq!(engine.read_memory(&*ram, &mut buffer), 0x10000);
        assert_eq!(&buffer[0xffff..], [7, 0]);
    }

    #[test]
    fn a_claim_moves_nothing_until_it_is_paid() {
        let ram = TestRam::new(0x20000);
        let regions = [(0x4000, 4), (0x4004, 2), (0x6000, 6)];
        let segment = |address, len| Segment { address, len };
        let mut engine = started(&ram, Direction::ToMemory, &regions);
        let (segments, claim) = engine.claim(&*ram, Direction::ToMemory, 12).unwrap();
        assert_eq!(
            segments,
            [segment(0x4000, 6), segment(0x6000, 6)],
            "neighbours are one"
        );
        assert_eq!(engine.read(2), 1);
        engine.pay(claim);
        assert_eq!(engine.read(2), 0, "table and transfer ended together");

        let mut engine = started(&ram, Direction::ToMemory, &regions);
        let (_, claim) = engine.claim(&*ram, Direction::ToMemory, 5).unwrap();
        engine.pay(claim);
        assert_eq!(engine.read(2), 1, "the table is longer");
        assert_eq!(engine.write_memory(&*ram, &[7; 2]), 2);
        assert_eq!(ram.get(0x4004, 3), [0, 7, 0], "the rest goes on behind the claim");

        assert!(
            engine.claim(&*ram, Direction::ToMemory, 100).is_none(),
            "too short"
        );
        assert!(
            engine.claim(&*ram, Direction::FromMemory, 1).is_none(),
            "the other way"
        );
        assert_eq!(engine.read(2), 1, "and nothing came of that");
    }

    #[test]
    fn a_claim_on_an_engine_that_was_stopped_is_void() {
        let ram = TestRam::new(0x20000);
        let mut engine = started(&ram, Direction::ToMemory, &[(0x4000, 4)]);
        let claim = |engine: &BusMaster| engine.claim(&*ram, Direction::ToMemory, 4).unwrap().1;
        let first = claim(&engine);
        engine.write(0, 8);
        engine.pay(first);
        assert_eq!(engine.read(2), 0);
        engine.write(0, 9);
        let second = claim(&engine);
        engine.write(0, 8);
        engine.write(0, 9);
        engine.pay(second);
        assert_eq!(engine.read(2), 1, "the new run has its whole table to go");
        assert_eq!(engine.write_memory(&*ram, &[1; 5]), 4);
    }

    #[test]
    fn the_wrong_direction_moves_nothing() {
        let ram = TestRam::new(0x20000);
        let mut engine = started(&ram, Direction::FromMemory, &[(0x4000, 4)]);
        assert_eq!(engine.write_memory(&*ram, &[1; 4]), 0);
        assert_eq!((engine.read(2), ram.get(0x4000, 4)), (1, vec![0; 4]));
    }

    #[test]
    fn memory_that_is_not_there_is_an_error() {
        let ram = TestRam::new(0x20000);
        let mut engine = started(&ram, Direction::ToMemory, &[(0x4000, 4), (0x1_fffe, 4)]);
        assert_eq!(engine.write_memory(&*ram, &[1; 8]), 4);
        assert_eq!(engine.read(2), 2);
        // The end of the 32-bit space is the end, also if there is memory behind it.
        let mut engine = started(&ram, Direction::ToMemory, &[(0xffff_fffe, 4)]);
        assert_eq!(engine.write_memory(&*ram, &[1; 4]), 0);
        assert_eq!(engine.read(2), 2);
        // A table outside memory.
        let mut engine = BusMaster::default();
        engine.write(7, 0xff);
        engine.write(0, 9);
        assert_eq!(engine.write_memory(&*ram, &[1]), 0);
        assert_eq!(engine.read(2), 2);
    }

    #[test]
    fn a_table_without_an_end_comes_to_one() {
        let ram = TestRam::new(0x40000);
        let mut engine = BusMaster::default();
        ram.put(0x10000, &[0, 0, 0, 0, 2, 0, 0, 0].repeat(0x2001));
        engine.write(6, 1);
        engine.write(0, 9);
        assert_eq!(engine.write_memory(&*ram, &vec![1; 0x10000]), 2 * 0x2000);
        assert_eq!(engine.read(2), 2);
    }

    #[test]
    fn stopping_and_starting_begins_the_table_again() {
        let ram = TestRam::new(0x20000);
        let mut engine = started(&ram, Direction::ToMemory, &[(0x4000, 4)]);
        assert_eq!(engine.write_memory(&*ram, &[1, 2]), 2);
        engine.write(0, 8);
        assert_eq!(engine.read(2), 0);
        assert_eq!(engine.write_memory(&*ram, &[3, 4]), 0);
        engine.write(0, 9);
        assert_eq!(engine.write_memory(&*ram, &[3, 4]), 2);
        engine.write(0, 9);
        assert_eq!(engine.write_memory(&*ram, &[5, 6]), 2, "a second start is none");
        assert_eq!(ram.get(0x4000, 4), [3, 4, 5, 6]);
    }
}
