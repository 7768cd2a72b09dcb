// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The two 8259A interrupt controllers of a PC, wired as the PIIX4 has them: the slave's output is input 2 of the master, and the ELCR
//! registers (82371AB data sheet, section 4.2.5) choose edge or level for each input in place of the 8259A's LTIM bit.
//!
//! An edge stays latched when its wire falls before the acknowledge. The real chip would answer with a spurious IRQ 7 then; keeping the
//! edge costs nothing and loses no timer tick. Spurious interrupts still come where guests know them: when a level goes away or a
//! request is masked between INTR and the acknowledge.
//!
//! The cascade is wiring: ICW3 is taken and not obeyed. Without ICW4's 8086 bit the vectors are those of the 8086 all the same.

mod chip;
mod snapshot;
mod spec;

use crate::bus::Device;
use crate::line::IrqLine;
use chip::Chip;
use spec::Port;

/// Interrupt inputs of the pair. Number 2 is the cascade and takes no wire.
pub const INPUTS: u8 = 16;

/// The pair. Bases for the board: 0 for ports 20h-21h, 2 for A0h-A1h, 4 for 4D0h-4D1h.
pub struct Pic {
    // Dependencies.
    /// INTR, to the processor or to the LINT0 of its local APIC.
    intr: IrqLine,
    // Volatile state.
    master: Chip,
    slave: Chip,
}

impl Pic {
    /// The pair with its output, which is high while a request waits for [`acknowledge`](Pic::acknowledge).
    pub fn new(intr: IrqLine) -> Self {
        Self {
            intr,
            master: Chip::default(),
            slave: Chip::default(),
        }
    }

    /// As after power-on: no interrupt until the guest has written the initialisation words. The wires keep the levels that their
    /// drivers give them.
    pub fn reset(&mut self) {
        self.master = self.master.reset();
        self.slave = self.slave.reset();
        self.update_output();
    }

    /// Input `irq` (0 to 15) changed its level.
    pub fn set_irq(&mut self, irq: u8, high: bool) {
        match irq {
            spec::CASCADE => {}
            0..=7 => self.master.set_line(irq, high),
            8..=15 => self.slave.set_line(irq - 8, high),
            _ => return,
        }
        self.update_output();
    }

    /// INTR: a request waits.
    pub fn pending(&self) -> bool {
        self.master.output()
    }

    /// The processor's interrupt acknowledge cycles: the vector of the most urgent request, or of input 7 if there is none (any more).
    pub fn acknowledge(&mut self) -> u8 {
        let vector = match self.master.acknowledge() {
            Some(spec::CASCADE) => {
                let level = self.slave.acknowledge().unwrap_or(spec::SPURIOUS);
                self.slave.vector(level)
            }
            level => self.master.vector(level.unwrap_or(spec::SPURIOUS)),
        };
        self.update_output();
        vector
    }

    /// The cascade and INTR, from state.
    fn update_output(&mut self) {
        self.master.set_cascade(self.slave.output());
        self.intr.set(self.master.output());
    }
}

impl Device for Pic {
    fn read_byte(&mut self, offset: u64) -> u8 {
        let value = match Port::from_offset(offset) {
            Some(Port::MasterCommand) => self.master.read_command(),
            Some(Port::MasterData) => self.master.read_data(),
            Some(Port::SlaveCommand) => self.slave.read_command(),
            Some(Port::SlaveData) => self.slave.read_data(),
            Some(Port::MasterTrigger) => self.master.level_triggered(),
            Some(Port::SlaveTrigger) => self.slave.level_triggered(),
            None => 0xff,
        };
        // A poll acknowledges.
        self.update_output();
        value
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        match Port::from_offset(offset) {
            Some(Port::MasterCommand) => self.master.write_command(value),
            Some(Port::MasterData) => self.master.write_data(value),
            Some(Port::SlaveCommand) => self.slave.write_command(value),
            Some(Port::SlaveData) => self.slave.write_data(value),
            Some(Port::MasterTrigger) => self.master.set_level_triggered(value & spec::MASTER_TRIGGER_BITS),
            Some(Port::SlaveTrigger) => self.slave.set_level_triggered(value & spec::SLAVE_TRIGGER_BITS),
            None => {}
        }
        self.update_output();
    }
}

#[cfg(test)]
mod tests;
