// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A channel: registers, device selection, interrupts, resets and the data protocols (ATA/ATAPI-6, chapters 7 and 9).

mod protocol;
mod snapshot;

use self::protocol::Protocol;
use super::COMMAND_BLOCK;
use super::bus_master::BusMaster;
use super::drive::{Cabling, Drive, Fault, Start};
use super::registers::{ReadRegister, TaskFile, WriteRegister};
use super::spec::{Command, Control, DIAGNOSTIC_PASSED, DeviceHead, Status};
use crate::bus::Device;
use crate::line::IrqLine;
use crate::ram::GuestRam;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a read finds when no device drives the cable: DD7 is pulled down, so that BSY reads 0; the rest floats high.
const UNDRIVEN: u8 = 0x7f;

/// A position on the cable: the drive, and its own copy of the registers. Both devices hear every write.
struct Unit {
    drive: Drive,
    registers: TaskFile,
    /// The status register, but for BSY and DRQ: those follow from the channel's protocol.
    status: Status,
    error: u8,
    /// The device wants to interrupt. The line follows only while it is selected and nIEN is 0.
    interrupt: bool,
}

impl Unit {
    fn new(mut drive: Drive, cabling: Cabling) -> Self {
        if let Some(device) = drive.device() {
            device.attach(cabling);
        }
        let mut unit = Self {
            drive,
            registers: TaskFile::default(),
            status: Status::empty(),
            error: 0,
            interrupt: false,
        };
        unit.show_reset();
        unit
    }

    /// The registers after a reset that found nothing wrong.
    fn show_reset(&mut self) {
        self.interrupt = false;
        if let Some(device) = self.drive.device() {
            self.registers.set_signature(device.signature());
            self.status = device.reset_status();
            self.error = DIAGNOSTIC_PASSED;
        }
    }

    /// The end of a command.
    fn end(&mut self, result: Result<(), Fault>) {
        self.status = Status::DRDY | Status::DSC;
        self.error = 0;
        if let Err(Fault { status, error }) = result {
            self.status |= status | Status::ERR;
            self.error = error;
        }
    }
}

/// What a reset clears.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    control: Control,
    /// Device 1 is selected.
    device1: bool,
    protocol: Protocol,
}

/// One channel of the controller with its two drives, behind one lock.
pub struct Channel {
    // Dependencies.
    ram: Arc<dyn GuestRam>,
    irq: IrqLine,
    units: [Unit; 2],
    // Configuration by the PCI function.
    /// The command and control blocks are decoded.
    decoded: bool,
    /// The function may be a bus master.
    mastering: bool,
    // Volatile state.
    state: State,
    bus_master: BusMaster,
}

impl Channel {
    /// A channel with device 0 and device 1, just switched on. Without a PCI function in front of it, it decodes its ports and may
    /// master the bus; [`PiixIde`](super::PiixIde) takes both under its control.
    pub fn new(drives: [Drive; 2], ram: Arc<dyn GuestRam>, irq: IrqLine) -> Self {
        let [first, second] = drives;
        let present = [first.is_present(), second.is_present()];
        let cabling = |device1: bool| Cabling {
            device1,
            shared: present[usize::from(!device1)],
        };
        Self {
            ram,
            irq,
            units: [Unit::new(first, cabling(false)), Unit::new(second, cabling(true))],
            decoded: true,
            mastering: true,
            state: State::default(),
            bus_master: BusMaster::default(),
        }
    }

    /// Goes on with what waited for a medium. The machine calls this when a medium has completed something.
    pub fn service(&mut self) {
        self.settle();
        self.advance();
        self.sync_interrupt();
    }

    /// Power-on. The channel stays busy for as long as a write from before is under way, so that none overtakes a later one.
    pub fn reset(&mut self) {
        for unit in &mut self.units {
            if let Some(device) = unit.drive.device() {
                device.hard_reset();
            }
            unit.registers = TaskFile::default();
            unit.show_reset();
        }
        self.bus_master = BusMaster::default();
        self.state = State {
            protocol: Protocol::Reset,
            ..State::default()
        };
        self.service();
    }

    /// Whether the command and control blocks are decoded (IDETIM bit 15 and the function's I/O enable).
    pub(super) fn set_decoded(&mut self, decoded: bool) {
        self.decoded = decoded;
    }

    /// Whether the function may be a bus master. What waited for it goes on.
    pub(super) fn set_mastering(&mut self, mastering: bool) {
        self.mastering = mastering;
        self.service();
    }

    /// One of the channel's eight bus master registers.
    pub(super) fn read_bus_master(&self, offset: u8) -> u8 {
        self.bus_master.read(offset)
    }

    /// See [`read_bus_master`](Self::read_bus_master).
    pub(super) fn write_bus_master(&mut self, offset: u8, value: u8) {
        self.bus_master.write(offset, value);
        self.advance();
        self.sync_interrupt();
    }

    fn selected(&self) -> usize {
        usize::from(self.state.device1)
    }

    /// The unit whose registers a read shows: device 0 answers for a device 1 that is not there, device 1 does not for device 0.
    fn answering(&self) -> Option<&Unit> {
        let [first, second] = &self.units;
        match (self.state.device1, second.drive.is_present()) {
            (true, true) => Some(second),
            _ => Some(first).filter(|unit| unit.drive.is_present()),
        }
    }

    fn status(&self) -> u8 {
        let Some(_) = self.answering() else {
            return UNDRIVEN;
        };
        let unit = &self.units[self.selected()];
        if !unit.drive.is_present() {
            // Device 0 answers for device 1 with a status that is never ready.
            return if self.state.protocol.is_reset() {
                Status::BSY.bits()
            } else {
                0
            };
        }
        (unit.status | self.state.protocol.status()).bits()
    }

    fn register(&self, read: impl Fn(&Unit) -> u8) -> u8 {
        self.answering().map_or(UNDRIVEN, read)
    }

    fn read_register(&mut self, register: ReadRegister) -> u8 {
        let previous = self.state.control.contains(Control::HOB);
        match register {
            ReadRegister::Data => {
                let mut byte = 0;
                self.read_data(1, std::slice::from_mut(&mut byte));
                byte
            }
            ReadRegister::Error => self.register(|unit| unit.error),
            ReadRegister::SectorCount => self.register(|unit| unit.registers.count.read(previous)),
            ReadRegister::LbaLow => self.register(|unit| unit.registers.lba_low.read(previous)),
            ReadRegister::LbaMid => self.register(|unit| unit.registers.lba_mid.read(previous)),
            ReadRegister::LbaHigh => self.register(|unit| unit.registers.lba_high.read(previous)),
            ReadRegister::Device => self.register(|unit| unit.registers.device.bits()),
            ReadRegister::Status => {
                let status = self.status();
                let selected = self.selected();
                self.units[selected].interrupt = false;
                self.sync_interrupt();
                status
            }
            ReadRegister::AlternateStatus => self.status(),
            ReadRegister::BusMaster(offset) => self.bus_master.read(offset),
        }
    }

    fn write_register(&mut self, register: WriteRegister, value: u8) {
        match register {
            WriteRegister::Data => self.write_data(1, &[value]),
            WriteRegister::DeviceControl => self.write_control(Control::from_bits_truncate(value)),
            WriteRegister::BusMaster(offset) => self.write_bus_master(offset, value),
            WriteRegister::Command => {
                self.state.control -= Control::HOB;
                self.write_command(value);
            }
            // While a device owns the command block (BSY) or waits for data (DRQ), the host cannot change it: not its parameters, and not
            // which device is selected.
            _ if !self.state.protocol.is_idle() => {}
            WriteRegister::Device => {
                self.state.control -= Control::HOB;
                let device = DeviceHead::from_bits_retain(value);
                self.state.device1 = device.contains(DeviceHead::DEV);
                for unit in &mut self.units {
                    unit.registers.device = device;
                }
            }
            WriteRegister::Features => self.write_parameter(|file| file.features.push(value)),
            WriteRegister::SectorCount => self.write_parameter(|file| file.count.push(value)),
            WriteRegister::LbaLow => self.write_parameter(|file| file.lba_low.push(value)),
            WriteRegister::LbaMid => self.write_parameter(|file| file.lba_mid.push(value)),
            WriteRegister::LbaHigh => self.write_parameter(|file| file.lba_high.push(value)),
        }
        self.sync_interrupt();
    }

    /// Both devices hear a write to a parameter register; it ends the view of the previous contents.
    fn write_parameter(&mut self, write: impl Fn(&mut TaskFile)) {
        self.state.control -= Control::HOB;
        for unit in &mut self.units {
            write(&mut unit.registers);
        }
    }

    fn write_control(&mut self, control: Control) {
        let was = std::mem::replace(&mut self.state.control, control);
        if control.contains(Control::SRST) && !was.contains(Control::SRST) {
            self.state.protocol = Protocol::Reset;
            for unit in &mut self.units {
                if let Some(device) = unit.drive.device() {
                    device.soft_reset();
                }
                unit.interrupt = false;
            }
        }
        self.advance();
    }

    /// Lets the devices collect what their media have completed.
    fn settle(&mut self) -> bool {
        let mut settled = true;
        for unit in &mut self.units {
            if let Some(device) = unit.drive.device() {
                settled &= device.settle();
            }
        }
        settled
    }

    /// The end of a reset: both devices show their signatures, and device 0 is selected.
    fn finish_reset(&mut self) {
        if self.state.control.contains(Control::SRST) || !self.settle() {
            return;
        }
        self.select_device0();
        for unit in &mut self.units {
            unit.show_reset();
        }
        self.state.protocol = Protocol::Idle;
    }

    fn select_device0(&mut self) {
        self.state.device1 = false;
        for unit in &mut self.units {
            unit.registers.device = DeviceHead::empty();
        }
    }

    fn write_command(&mut self, code: u8) {
        if self.state.protocol.is_reset() {
            return;
        }
        let command = Command::decode(code);
        let selected = self.selected();
        let is_packet = matches!(self.units[selected].drive, Drive::Packet(_));
        let resets = command == Some(Command::DeviceReset) && is_packet;
        if !self.state.protocol.is_idle() && !resets {
            return;
        }
        if command == Some(Command::ExecuteDeviceDiagnostic) {
            self.diagnose();
            return;
        }
        let Unit {
            drive,
            registers,
            interrupt,
            ..
        } = &mut self.units[selected];
        let Some(device) = drive.device() else {
            return;
        };
        *interrupt = false;
        log::trace!("ide: device {selected}: command {code:#04x}");
        let start = device.execute(code, registers);
        self.begin(start);
    }

    /// EXECUTE DEVICE DIAGNOSTIC: both devices run it, device 0 reports for both and interrupts.
    fn diagnose(&mut self) {
        self.select_device0();
        for unit in &mut self.units {
            unit.show_reset();
        }
        if let [first, _] = &mut self.units
            && first.drive.is_present()
        {
            first.interrupt = true;
        }
    }

    /// Goes where a command's start leads.
    fn begin(&mut self, start: Start) {
        match start {
            Start::End(result) => self.end_command(result),
            Start::Ignored => {}
            Start::Reset => {
                let selected = self.selected();
                self.state.protocol = Protocol::Idle;
                self.units[selected].show_reset();
            }
            start => {
                // The error bits speak of the last command.
                let selected = self.selected();
                self.units[selected].end(Ok(()));
                self.state.protocol = Protocol::from(start);
                self.advance();
            }
        }
    }

    /// The end of a command that interrupts.
    fn end_command(&mut self, result: Result<(), Fault>) {
        self.state.protocol = Protocol::Idle;
        let selected = self.selected();
        let unit = &mut self.units[selected];
        unit.end(result);
        unit.interrupt = true;
    }

    /// Recomputes the interrupt line. The bus master notes each rise of it.
    fn sync_interrupt(&mut self) {
        let wanted = self.units[self.selected()].interrupt;
        let level = wanted && !self.state.control.contains(Control::NIEN);
        if level && !self.irq.level() {
            self.bus_master.interrupt();
        }
        self.irq.set(level);
    }

    fn hides(&self, offset: u64) -> bool {
        !self.decoded && offset < super::BUS_MASTER
    }
}

impl Device for Channel {
    fn read_byte(&mut self, offset: u64) -> u8 {
        match ReadRegister::decode(offset) {
            Some(register) if !self.hides(offset) => self.read_register(register),
            _ => 0xff,
        }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        if let Some(register) = WriteRegister::decode(offset)
            && !self.hides(offset)
        {
            self.write_register(register, value);
        }
    }

    fn read(&mut self, offset: u64, data: &mut [u8]) {
        self.read_string(offset, data.len(), data);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        self.write_string(offset, data.len(), data);
    }

    fn read_string(&mut self, offset: u64, width: usize, data: &mut [u8]) {
        if offset == COMMAND_BLOCK && !self.hides(offset) {
            self.read_data(width, data);
            return;
        }
        for element in data.chunks_exact_mut(width.max(1)) {
            for (byte, at) in element.iter_mut().zip(offset..) {
                *byte = self.read_byte(at);
            }
        }
    }

    fn write_string(&mut self, offset: u64, width: usize, data: &[u8]) {
        if offset == COMMAND_BLOCK && !self.hides(offset) {
            self.write_data(width, data);
            return;
        }
        for element in data.chunks_exact(width.max(1)) {
            for (byte, at) in element.iter().zip(offset..) {
                self.write_byte(at, *byte);
            }
        }
    }
}
