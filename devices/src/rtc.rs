// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The real-time clock and its battery-backed memory: a Motorola MC146818 (Dallas DS12887) as the PIIX4 holds it, with a second
//! bank of 128 bytes of memory.
//!
//! The date registers hold what the guest or the last update cycle put there, in the format of register B, as in the real chip:
//! an update reads them, adds the seconds that have passed and writes them back. So the guest sets its own clock, never the host's,
//! and a date that it writes piece by piece is not corrected behind its back before the day ends.
//!
//! Everything is derived from one counter, the 32.768 kHz divider chain: nothing runs until an access or, when an interrupt source is
//! enabled, the [`Timer`] calls for an evaluation.
//!
//! Left out, as on most boards: daylight saving (the DSE bit is stored), the square wave output, and the slower and faster time bases
//! of register A (all but "divider held" count at normal speed).

mod calendar;
mod setup;
mod snapshot;
mod spec;

use crate::bus::Device;
use crate::clock::{self, Clock, Nanos, Timed, Timer};
use crate::line::IrqLine;
use crate::snapshot::hex;
use calendar::{Date, Format};
use serde::{Deserialize, Serialize};
pub use setup::{BootDevice, CmosSetup, DiskGeometry, FloppyType, Translation};
use spec::{Divider, Interrupts, Port, Register, RegisterA, RegisterB};
use std::sync::Arc;

/// The clock chip. Bases for the board: 0 for ports 70h-71h, 2 for ports 72h-73h.
pub struct Rtc {
    // Dependencies.
    clock: Arc<dyn Clock>,
    timer: Box<dyn Timer>,
    irq: IrqLine,
    // Book-keeping.
    /// What the timer is armed for, so that an access that changes nothing leaves it alone.
    armed: Option<Nanos>,
    // What the battery keeps.
    battery: Battery,
    // Volatile state.
    state: State,
}

/// State that survives reset.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Battery {
    /// Registers and memory of the first bank. Registers A to D live in the fields below, their bytes here are not used.
    #[serde(with = "hex")]
    bytes: [u8; spec::BANK_SIZE],
    #[serde(with = "hex")]
    extended: [u8; spec::BANK_SIZE],
    a: RegisterA,
    b: RegisterB,
    chain: Chain,
    /// The chain's count at the last evaluation.
    seen: u64,
}

#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    index: u8,
    extended_index: u8,
    nmi_masked: bool,
    /// Register C without IRQF, which is computed.
    flags: Interrupts,
}

/// The divider chain: counts 32.768 kHz ticks.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Chain {
    /// Held in reset by register A.
    Held,
    /// Was at `preset` at time `since` and counts from there.
    Counting { since: Nanos, preset: u64 },
}

impl Chain {
    fn count(self, now: Nanos) -> Option<u64> {
        match self {
            Self::Held => None,
            Self::Counting { since, preset } => {
                Some(preset + clock::ticks(now.saturating_sub(since), spec::CRYSTAL))
            }
        }
    }

    /// The time at which the chain reaches `count`.
    fn when(self, count: u64) -> Option<Nanos> {
        match self {
            Self::Held => None,
            Self::Counting { since, preset } => {
                Some(since.saturating_add(clock::ticks_to_nanos(count.saturating_sub(preset), spec::CRYSTAL)))
            }
        }
    }
}

impl Rtc {
    /// A clock with a good battery. `start` is the date at the machine clock's zero, in seconds since 1970 of whatever zone the guest
    /// takes its hardware clock for. `irq` is IRQ 8.
    pub fn new(
        clock: Arc<dyn Clock>,
        timer: Box<dyn Timer>,
        irq: IrqLine,
        start: i64,
        setup: &CmosSetup,
    ) -> Self {
        let chain = Chain::Counting { since: 0, preset: 0 };
        let now = clock.now();
        let mut rtc = Self {
            timer,
            irq,
            armed: None,
            battery: Battery {
                bytes: [0; spec::BANK_SIZE],
                extended: [0; spec::BANK_SIZE],
                a: RegisterA::DEFAULT,
                b: RegisterB::HOURS_24,
                chain,
                seen: chain.count(now).unwrap_or(0),
            },
            state: State::default(),
            clock,
        };
        setup.store(&mut rtc.battery.bytes);
        let date = Date::from_unix(start.saturating_add_unsigned(now / clock::SECOND));
        date.encode(rtc.format(), &mut rtc.battery.bytes);
        rtc
    }

    /// The reset line: interrupts go off. Date, mode and memory are on the battery and stay, among them the shutdown code with which
    /// a BIOS finds its way back from protected mode.
    pub fn reset(&mut self) {
        self.evaluate();
        self.battery
            .b
            .remove(RegisterB::INTERRUPTS | RegisterB::SQUARE_WAVE);
        self.state = State::default();
        self.update_outputs();
    }

    /// Writes the set-up bytes anew, as a visit to a BIOS's set-up screen would.
    pub fn configure(&mut self, setup: &CmosSetup) {
        setup.store(&mut self.battery.bytes);
    }

    /// Sets the date, in seconds since 1970: for a host that wants its guest to wake up at the time of day.
    pub fn set_date(&mut self, unix: i64) {
        self.evaluate();
        Date::from_unix(unix).encode(self.format(), &mut self.battery.bytes);
        self.update_outputs();
    }

    /// Bit 7 of port 70h: the board must not let NMI through.
    pub fn nmi_masked(&self) -> bool {
        self.state.nmi_masked
    }

    fn format(&self) -> Format {
        Format {
            binary: self.battery.b.contains(RegisterB::BINARY),
            hours_24: self.battery.b.contains(RegisterB::HOURS_24),
        }
    }

    /// Update cycles are going on.
    fn updating(&self) -> bool {
        !self.battery.b.contains(RegisterB::SET)
    }

    /// Brings registers and flags up to the present.
    fn evaluate(&mut self) {
        let Some(count) = self.battery.chain.count(self.clock.now()) else {
            return;
        };
        let seen = self.battery.seen;
        if count <= seen {
            return;
        }
        if let Some(period) = self.battery.a.period()
            && count / period > seen / period
        {
            self.state.flags |= Interrupts::PERIODIC;
        }
        let seconds = count / spec::CRYSTAL - seen / spec::CRYSTAL;
        if seconds > 0 && self.updating() {
            self.state.flags |= Interrupts::UPDATE;
            let format = self.format();
            let mut date = Date::decode(format, &self.battery.bytes);
            if let Some(wait) = date.until_alarm(format, &self.battery.bytes)
                && wait <= seconds
            {
                self.state.flags |= Interrupts::ALARM;
            }
            date.advance(seconds);
            date.encode(format, &mut self.battery.bytes);
        }
        self.battery.seen = count;
    }

    /// Enabled flags: they make IRQF.
    fn requests(&self) -> Interrupts {
        self.state.flags & self.battery.b.enabled()
    }

    /// Line and timer, from state. A flag that is up already needs no timer: the line stays high until register C is read.
    fn update_outputs(&mut self) {
        self.irq.set(!self.requests().is_empty());
        let wanted = self.battery.b.enabled() - self.state.flags;
        let deadline = Interrupts::ALL
            .iter()
            .filter(|source| wanted.contains(*source))
            .filter_map(|source| self.next(source))
            .min()
            .and_then(|count| self.battery.chain.when(count));
        if deadline != self.armed {
            match deadline {
                Some(deadline) => self.timer.arm(deadline),
                None => self.timer.disarm(),
            }
            self.armed = deadline;
        }
    }

    /// The chain's count at which `source` will next set its flag.
    fn next(&self, source: Interrupts) -> Option<u64> {
        let seen = self.battery.seen;
        let seconds = if source == Interrupts::PERIODIC {
            let period = self.battery.a.period()?;
            return Some((seen / period + 1) * period);
        } else if !self.updating() {
            return None;
        } else if source == Interrupts::ALARM {
            let format = self.format();
            Date::decode(format, &self.battery.bytes).until_alarm(format, &self.battery.bytes)?
        } else {
            1
        };
        Some((seen / spec::CRYSTAL + seconds) * spec::CRYSTAL)
    }

    /// UIP: an update cycle is near or under way. The registers change at its end, so a guest that sees 0 has the time that the data
    /// sheet promises.
    fn update_in_progress(&self) -> bool {
        self.updating()
            && self
                .battery
                .chain
                .count(self.clock.now())
                .is_some_and(|count| count % spec::CRYSTAL >= spec::CRYSTAL - spec::UPDATE_WINDOW)
    }

    fn read_register(&mut self) -> u8 {
        match Register::from_index(self.state.index) {
            Register::A => self.battery.a.bits() | if self.update_in_progress() { spec::UIP } else { 0 },
            Register::B => self.battery.b.bits(),
            Register::C => {
                let irqf = if self.requests().is_empty() { 0 } else { spec::IRQF };
                std::mem::take(&mut self.state.flags).bits() | irqf
            }
            Register::D => spec::VALID_RAM_AND_TIME,
            Register::Date(index) | Register::Memory(index) => {
                self.battery.bytes.get(index).copied().unwrap_or(0xff)
            }
        }
    }

    fn write_register(&mut self, value: u8) {
        match Register::from_index(self.state.index) {
            Register::A => self.write_a(RegisterA::from_bits(value)),
            Register::B => {
                let mut b = RegisterB::from_bits_retain(value);
                if b.contains(RegisterB::SET) {
                    b.remove(RegisterB::UPDATE_INTERRUPT);
                }
                self.battery.b = b;
            }
            Register::C | Register::D => {}
            Register::Date(index) | Register::Memory(index) => {
                if let Some(byte) = self.battery.bytes.get_mut(index) {
                    *byte = value;
                }
            }
        }
    }

    fn write_a(&mut self, a: RegisterA) {
        self.battery.a = a;
        self.battery.chain = match (a.divider(), self.battery.chain) {
            (Divider::Held, _) => Chain::Held,
            (Divider::Counting, counting @ Chain::Counting { .. }) => counting,
            (Divider::Counting, Chain::Held) => {
                self.battery.seen = spec::RELEASE_COUNT;
                Chain::Counting {
                    since: self.clock.now(),
                    preset: spec::RELEASE_COUNT,
                }
            }
        };
    }
}

impl Device for Rtc {
    fn read_byte(&mut self, offset: u64) -> u8 {
        match Port::from_offset(offset) {
            Some(Port::Data) => {
                self.evaluate();
                let value = self.read_register();
                self.update_outputs();
                value
            }
            Some(Port::ExtendedData) => self
                .battery
                .extended
                .get(usize::from(self.state.extended_index))
                .copied()
                .unwrap_or(0xff),
            // The index registers of the PIIX4 are write-only.
            Some(Port::Index | Port::ExtendedIndex) | None => 0xff,
        }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        match Port::from_offset(offset) {
            Some(Port::Index) => {
                self.state.index = value & spec::INDEX_MASK;
                self.state.nmi_masked = value & spec::NMI_MASKED != 0;
            }
            Some(Port::Data) => {
                self.evaluate();
                self.write_register(value);
                self.update_outputs();
            }
            Some(Port::ExtendedIndex) => self.state.extended_index = value & spec::INDEX_MASK,
            Some(Port::ExtendedData) => {
                if let Some(byte) = self
                    .battery
                    .extended
                    .get_mut(usize::from(self.state.extended_index))
                {
                    *byte = value;
                }
            }
            None => {}
        }
    }
}

impl Timed for Rtc {
    fn expire(&mut self) {
        self.armed = None;
        self.evaluate();
        self.update_outputs();
    }
}

#[cfg(test)]
mod tests;
