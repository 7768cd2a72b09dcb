// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The registers (82077AA data sheet, section 2), at their distance from 3F0h. The board maps 3F0h-3F5h and 3F7h, each with its own
//! distance as base; 3F6h belongs to the IDE channel.

use super::command::{Command, LONGEST, Opcode};
use super::fifo::Direction;
use super::spec::{
    Configure, DataRate, Dor, FIFO_DEPTH, Msr, ReadRegister, StatusA, StatusB, UNITS, WriteRegister, timing,
};
use super::{Diskette, Drive, Fdc, Phase, Readiness, Reply, Seek};
use crate::bus::Device;

/// Bits of the TDR that the chip does not drive.
const TDR_FLOATING: u8 = 0xfc;
/// Bits of the DIR that are always set in PS/2 mode.
const DIR_FIXED: u8 = 0x78;
const DIR_CHANGED: u8 = 0x80;
const DIR_LOW_DENSITY: u8 = 0x01;
const DSR_RESET: u8 = 0x80;

impl Device for Fdc {
    fn read_byte(&mut self, offset: u64) -> u8 {
        self.advance();
        let value = match ReadRegister::decode(offset) {
            ReadRegister::StatusA => self.status_a().bits(),
            ReadRegister::StatusB => self.status_b().bits(),
            ReadRegister::Dor => self.state.dor.bits(),
            ReadRegister::Tdr => self.state.tdr | TDR_FLOATING,
            ReadRegister::Msr => self.main_status().bits(),
            ReadRegister::Fifo => self.read_fifo(),
            ReadRegister::Dir => self.digital_input(),
            ReadRegister::Reserved => 0xff,
        };
        self.settle();
        value
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        self.advance();
        match WriteRegister::decode(offset) {
            WriteRegister::Dor => self.write_dor(Dor::from_bits_retain(value)),
            WriteRegister::Tdr => self.state.tdr = value & !TDR_FLOATING,
            WriteRegister::Dsr => {
                self.state.rate = DataRate::decode(value);
                if value & DSR_RESET != 0 {
                    self.software_reset();
                }
            }
            WriteRegister::Fifo => self.write_fifo(value),
            WriteRegister::Ccr => self.state.rate = DataRate::decode(value),
            WriteRegister::Reserved => {}
        }
        self.settle();
    }
}

impl Fdc {
    /// The drive that the DOR selects. Its signals reach the cable only while its motor is on (table 2-2).
    fn selected_drive(&self) -> Option<&Drive> {
        let unit = self.state.dor.drive();
        self.drive(unit).filter(|_| self.state.dor.motor(unit))
    }

    fn status_a(&self) -> StatusA {
        let drive = self.selected_drive();
        let turns = drive.filter(|d| d.diskette().is_some());
        let mut sra = StatusA::empty();
        sra.set(StatusA::DIRECTION_IN, self.state.inwards);
        sra.set(
            StatusA::N_WRITE_PROTECT,
            !drive.is_some_and(Drive::write_protected),
        );
        // The index hole takes a fiftieth of a turn.
        sra.set(
            StatusA::N_INDEX,
            turns.is_none_or(|d| d.angle(self.clock.now(), 50) != 0),
        );
        sra.set(StatusA::HEAD_1, self.state.head != 0);
        sra.set(StatusA::N_TRACK_0, !drive.is_some_and(Drive::at_track_0));
        sra.set(
            StatusA::STEP,
            self.state.seeks.iter().any(|s| matches!(s, Seek::Moving { .. })),
        );
        sra.set(StatusA::N_DRIVE_2, self.drive(1).is_none());
        sra.set(StatusA::INTERRUPT, self.interrupt());
        sra
    }

    fn status_b(&self) -> StatusB {
        let dor = self.state.dor;
        let mut srb = StatusB::RESERVED;
        srb.set(StatusB::MOTOR_0, dor.motor(0));
        srb.set(StatusB::MOTOR_1, dor.motor(1));
        srb.set(StatusB::READ_DATA, self.state.read_toggle);
        srb.set(StatusB::WRITE_DATA, self.state.write_toggle);
        srb.set(StatusB::DRIVE_SELECT_0, dor.drive() & 1 != 0);
        srb
    }

    fn main_status(&self) -> Msr {
        let mut msr = match &self.state.phase {
            _ if self.state.readiness != Readiness::Ready => return Msr::empty(),
            Phase::Idle => Msr::REQUEST,
            Phase::Command { .. } => Msr::REQUEST | Msr::BUSY,
            Phase::Execution(job) => {
                let request = match job.fifo_direction() {
                    Some(Direction::In) => Msr::REQUEST | Msr::DIRECTION_IN,
                    Some(Direction::Out) => Msr::REQUEST,
                    None => Msr::empty(),
                };
                let mode = if self.state.non_dma() {
                    Msr::NON_DMA
                } else {
                    Msr::empty()
                };
                Msr::BUSY | mode | request
            }
            Phase::Result(_) => Msr::REQUEST | Msr::DIRECTION_IN | Msr::BUSY,
        };
        for unit in 0..UNITS {
            if matches!(self.state.seeks[unit], Seek::Moving { .. }) {
                msr |= Msr::from_bits_retain(1 << unit);
            }
        }
        msr
    }

    fn digital_input(&self) -> u8 {
        let changed = self.selected_drive().is_some_and(Drive::changed);
        let rate = self.state.rate;
        DIR_FIXED
            | if changed { DIR_CHANGED } else { 0 }
            | rate.code() << 1
            | if rate.is_high_density() {
                0
            } else {
                DIR_LOW_DENSITY
            }
    }

    fn write_dor(&mut self, dor: Dor) {
        let was_held = !self.state.dor.contains(Dor::N_RESET);
        let before = std::mem::replace(&mut self.state.dor, dor);
        for unit in 0..self.drives.len() {
            if before.motor(unit) && !dor.motor(unit) {
                self.diskette_mut(unit).map(Diskette::motor_off);
            }
        }
        if !dor.contains(Dor::N_RESET) {
            if !was_held {
                self.software_reset();
            }
        } else if was_held {
            self.leave_reset();
        }
    }

    /// Reset by the DOR or the DSR. The former lasts until it is taken back, the latter ends by itself.
    fn software_reset(&mut self) {
        self.abort();
        self.state = self.state.after_software_reset();
        self.irq.set(false);
        if self.state.dor.contains(Dor::N_RESET) {
            self.leave_reset();
        }
    }

    fn leave_reset(&mut self) {
        self.state.readiness = Readiness::Starting(self.clock.now() + timing::RESET);
    }

    fn read_fifo(&mut self) -> u8 {
        match &mut self.state.phase {
            Phase::Result(reply) => {
                let byte = next_byte(reply);
                if reply.read >= reply.len {
                    self.state.phase = Phase::Idle;
                }
                byte
            }
            Phase::Execution(job) => match job.fifo_mut() {
                Some(fifo) if fifo.wants() == Some(Direction::In) => {
                    let byte = fifo.take();
                    self.byte_passed();
                    byte
                }
                _ => 0,
            },
            Phase::Idle | Phase::Command { .. } => 0,
        }
    }

    fn write_fifo(&mut self, value: u8) {
        if self.state.readiness != Readiness::Ready {
            return;
        }
        match &mut self.state.phase {
            Phase::Idle => {
                let mut bytes = [0; LONGEST];
                bytes[0] = value;
                self.command_byte(bytes, 1, Opcode::decode(value).len());
            }
            Phase::Command {
                bytes,
                received,
                expected,
            } => {
                let (mut bytes, received, expected) = (*bytes, *received, *expected);
                if let Some(place) = bytes.get_mut(received) {
                    *place = value;
                }
                self.command_byte(bytes, received + 1, expected);
            }
            Phase::Execution(job) => {
                if let Some(fifo) = job.fifo_mut()
                    && fifo.wants() == Some(Direction::Out)
                {
                    fifo.put(value);
                    self.byte_passed();
                }
            }
            Phase::Result(_) => {}
        }
    }

    fn command_byte(&mut self, bytes: [u8; LONGEST], received: usize, expected: usize) {
        if received < expected {
            self.state.phase = Phase::Command {
                bytes,
                received,
                expected,
            };
        } else {
            let command = Command::parse(&bytes);
            log::trace!("floppy controller: {command:?}");
            self.start(command);
        }
    }

    /// A byte went through the FIFO in the execution phase.
    fn byte_passed(&mut self) {
        let Phase::Execution(job) = &self.state.phase else {
            return;
        };
        let Some(fifo) = job.fifo() else { return };
        let options = self.state.options;
        let piece = if options.contains(Configure::NO_FIFO) {
            1
        } else {
            let threshold = usize::from((options & Configure::FIFO_THRESHOLD).bits()) + 1;
            (FIFO_DEPTH - threshold).max(1)
        };
        let done = fifo.is_done();
        if done || fifo.passed().is_multiple_of(piece) {
            self.new_interrupt();
        }
        if done {
            self.execute(self.clock.now());
        }
    }
}

fn next_byte(reply: &mut Reply) -> u8 {
    reply.interrupt = false;
    let byte = reply.bytes.get(reply.read).copied().unwrap_or(0);
    reply.read += 1;
    byte
}
