// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Power management of the PIIX4 (82371AB), PCI function 3: ACPI's fixed hardware, the APM ports, and an empty SMBus.
//!
//! There is no system management mode on this machine. A write of [`ACPI_ENABLE`] to the APM control port therefore switches ACPI on
//! directly, which on a real board the firmware's SMI handler would do. Of the sleeping states only S5, soft off, is offered.

mod smbus;
mod snapshot;
mod spec;

use crate::bus::Device;
use crate::clock::{Clock, Nanos, Timed, Timer, ticks, ticks_to_nanos};
use crate::line::IrqLine;
use crate::pci::config::{ConfigSpace, Identity, reg};
use crate::pci::{Claim, Function, Space};
use crate::power::{PowerControl, PowerRequest};
use serde::{Deserialize, Serialize};
use smbus::SmBus;
pub use spec::{ACPI_DISABLE, ACPI_ENABLE, PM_TIMER_HZ, SOFT_OFF};
use spec::{Control, Register, Status};
use std::sync::Arc;

/// Base of the APM ports B2h and B3h on the bus.
pub const APM: u64 = 8 << 32;
/// Base of the ACPI registers.
const ACPI: u64 = 6 << 32;
/// Base of the SMBus registers.
const SMBUS: u64 = 7 << 32;

/// The power management function.
pub struct PowerManagement {
    clock: Arc<dyn Clock>,
    timer: Box<dyn Timer>,
    sci: IrqLine,
    power: Arc<dyn PowerControl>,
    config: ConfigSpace,
    state: State,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    status: Status,
    enable: Status,
    control: Control,
    /// Half turns of the timer at which its overflow was last acknowledged.
    half_turns: u64,
    general_status: u16,
    general_enable: u16,
    /// Registers that keep what is written: processor, device and global control, general outputs.
    #[serde(with = "crate::snapshot::hex")]
    kept: [u8; 0x40],
    apm: [u8; 2],
    smbus: SmBus,
}

impl State {
    fn new(half_turns: u64) -> Self {
        Self {
            status: Status::empty(),
            enable: Status::empty(),
            control: Control::empty(),
            half_turns,
            general_status: 0,
            general_enable: 0,
            kept: [0; 0x40],
            apm: [0; 2],
            smbus: SmBus::default(),
        }
    }
}

impl PowerManagement {
    /// The function after power-on. `sci` is ISA interrupt 9.
    pub fn new(
        clock: Arc<dyn Clock>,
        timer: Box<dyn Timer>,
        sci: IrqLine,
        power: Arc<dyn PowerControl>,
    ) -> Self {
        let mut new = Self {
            clock,
            timer,
            sci,
            power,
            config: power_on(),
            state: State::new(0),
        };
        new.state.half_turns = new.half_turns();
        new
    }

    /// Back to power-on.
    pub fn reset(&mut self) {
        self.config = power_on();
        self.state = State::new(self.half_turns());
        self.update();
    }

    /// Somebody presses the power button.
    pub fn press_power_button(&mut self) {
        self.state.status |= Status::POWER_BUTTON;
        self.update();
    }

    /// ACPI is switched on, so a press of the power button reaches the operating system.
    pub fn acpi_enabled(&self) -> bool {
        self.state.control.contains(Control::SCI_EN)
    }

    fn ticks(&self) -> u64 {
        ticks(self.clock.now(), PM_TIMER_HZ)
    }

    /// How often the timer's most significant bit has changed.
    fn half_turns(&self) -> u64 {
        self.ticks() >> spec::TIMER_MSB
    }

    /// The status register, with the timer looked at.
    fn status(&self) -> Status {
        let overflow = self.half_turns() != self.state.half_turns;
        if overflow {
            self.state.status | Status::TIMER_OVERFLOW
        } else {
            self.state.status
        }
    }

    /// Brings the interrupt and the timer in line with the registers.
    fn update(&mut self) {
        let status = self.status();
        let fixed = status & self.state.enable & Status::CAN_INTERRUPT;
        let general = self.state.general_status & self.state.general_enable;
        self.sci
            .set(self.acpi_enabled() && (!fixed.is_empty() || general != 0));
        if self.state.enable.contains(Status::TIMER_OVERFLOW) && !status.contains(Status::TIMER_OVERFLOW) {
            self.timer.arm(self.next_overflow());
        } else {
            self.timer.disarm();
        }
    }

    fn next_overflow(&self) -> Nanos {
        ticks_to_nanos((self.half_turns() + 1) << spec::TIMER_MSB, PM_TIMER_HZ)
    }

    fn read_acpi(&self, at: u8) -> u8 {
        let low_or_high = |value: u16, byte: u8| value.to_le_bytes()[usize::from(byte & 1)];
        match Register::at(at) {
            Register::Status(byte) => low_or_high(self.status().bits(), byte),
            Register::Enable(byte) => low_or_high(self.state.enable.bits(), byte),
            // SUS_EN always reads as zero.
            Register::Control(byte) => low_or_high((self.state.control - Control::SUS_EN).bits(), byte),
            Register::Timer(byte) => ((self.ticks() & spec::TIMER_MASK) >> (8 * byte)) as u8,
            Register::GeneralStatus(byte) => low_or_high(self.state.general_status, byte),
            Register::GeneralEnable(byte) => low_or_high(self.state.general_enable, byte),
            Register::Kept(at) => self.state.kept[usize::from(at)],
            Register::Reserved => 0,
        }
    }

    fn write_acpi(&mut self, at: u8, value: u8) {
        let into = |old: u16, byte: u8| {
            let shift = 8 * u16::from(byte & 1);
            old & !(0xff << shift) | u16::from(value) << shift
        };
        let only = |byte: u8| u16::from(value) << (8 * u16::from(byte & 1));
        match Register::at(at) {
            Register::Status(byte) => {
                let cleared = Status::from_bits_truncate(only(byte));
                self.state.status -= cleared;
                if cleared.contains(Status::TIMER_OVERFLOW) {
                    self.state.half_turns = self.half_turns();
                }
            }
            Register::Enable(byte) => {
                self.state.enable = Status::from_bits_truncate(into(self.state.enable.bits(), byte));
            }
            Register::Control(byte) => {
                self.state.control = Control::from_bits_truncate(into(self.state.control.bits(), byte));
                if self.state.control.contains(Control::SUS_EN) {
                    self.state.control -= Control::SUS_EN;
                    self.sleep();
                }
            }
            Register::GeneralStatus(byte) => self.state.general_status &= !only(byte),
            Register::GeneralEnable(byte) => {
                self.state.general_enable = into(self.state.general_enable, byte);
            }
            Register::Kept(at) => self.state.kept[usize::from(at)] = value,
            Register::Timer(_) | Register::Reserved => {}
        }
    }

    fn sleep(&mut self) {
        let kind = (self.state.control & Control::SUS_TYP).bits() >> Control::SUS_TYP.bits().trailing_zeros();
        if kind == u16::from(SOFT_OFF) {
            self.power.request(PowerRequest::Off);
        } else {
            // Software that sleeps all the same waits for this bit: it is awake again at once.
            self.state.status |= Status::RESUME;
            log::debug!("the guest asked for sleep type {kind}, which this machine does not offer");
        }
    }

    fn write_apm(&mut self, at: usize, value: u8) {
        self.state.apm[at & 1] = value;
        if at == 0 {
            match value {
                ACPI_ENABLE => self.state.control |= Control::SCI_EN,
                ACPI_DISABLE => self.state.control -= Control::SCI_EN,
                _ => {}
            }
        }
    }
}

fn power_on() -> ConfigSpace {
    let mut config = ConfigSpace::new(Identity {
        vendor: 0x8086,
        device: 0x7113,
        revision: 3,
        class: 0x06_80_00,
        interrupt_pin: 1,
        ..Identity::default()
    });
    config.set_u16(reg::STATUS, 0x0280);
    config.set_u8(reg::INTERRUPT_LINE, 9);
    config.set_u32(spec::PMBASE, 1);
    config.allow(spec::PMBASE, &[0xc0, 0xff]);
    config.allow(0x44, &[0xff; 0x3c]);
    // SMIs by the APM port are marked as taken care of: firmware then leaves system management mode alone.
    config.set_u8(spec::DEVACTB + 3, 2);
    config.allow(spec::PMREGMISC, &[1]);
    config.set_u32(spec::SMBBA, 1);
    config.allow(spec::SMBBA, &[0xf0, 0xff]);
    config.allow(spec::SMBHSTCFG, &[0x0f]);
    config
}

impl Function for PowerManagement {
    fn config(&self) -> &ConfigSpace {
        &self.config
    }

    fn config_mut(&mut self) -> &mut ConfigSpace {
        &mut self.config
    }

    fn claims(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        let mut claim = |base_register, mask, enabled, len, base| {
            let address = u64::from(self.config.u16(base_register) & mask);
            if enabled && address != 0 {
                claims.push(Claim {
                    space: Space::Io,
                    address,
                    len,
                    base,
                });
            }
        };
        claim(
            spec::PMBASE,
            0xffc0,
            self.config.u8(spec::PMREGMISC) & 1 != 0,
            64,
            ACPI,
        );
        claim(
            spec::SMBBA,
            0xfff0,
            self.config.u8(spec::SMBHSTCFG) & 1 != 0,
            16,
            SMBUS,
        );
        claims
    }
}

impl Device for PowerManagement {
    fn read_byte(&mut self, offset: u64) -> u8 {
        let at = offset as u8;
        match offset & !0xff {
            ACPI => self.read_acpi(at),
            SMBUS => self.state.smbus.read(at),
            APM => self.state.apm[usize::from(at & 1)],
            _ => 0xff,
        }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        let at = offset as u8;
        match offset & !0xff {
            ACPI => self.write_acpi(at, value),
            SMBUS => self.state.smbus.write(at, value),
            APM => self.write_apm(usize::from(at), value),
            _ => {}
        }
        self.update();
    }

    fn read(&mut self, offset: u64, data: &mut [u8]) {
        // The timer moves on between byte cycles: a wide read takes one look.
        if offset == ACPI + u64::from(spec::TIMER) && data.len() == 4 {
            data.copy_from_slice(&((self.ticks() & spec::TIMER_MASK) as u32).to_le_bytes());
            return;
        }
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = self.read_byte(offset.wrapping_add(i as u64));
        }
    }
}

impl Timed for PowerManagement {
    fn expire(&mut self) {
        self.update();
    }
}

#[cfg(test)]
mod tests;
