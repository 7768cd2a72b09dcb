// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Three one-byte registers of the PIIX4 that have no chip of their own: ports 61h, 92h and CF9h (82371AB data sheet, section 4.2).
//!
//! They are separate devices because a machine may need only some: an in-kernel PIT brings its own port 61h.

use crate::bus::{self, Device};
use crate::clock::{self, Clock};
use crate::pit::{FREQUENCY, Pit};
use crate::power::{PowerControl, PowerRequest, ResetCause};
use bitflags::bitflags;
use std::sync::{Arc, Mutex};

mod snapshot;

mod spec {
    //! Bits of the registers.
    use super::bitflags;

    bitflags! {
        /// Port 61h, "NMI status and control".
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct NmiStatus: u8 {
            /// Gate of timer channel 2.
            const SPEAKER_GATE = 0x01;
            /// Lets timer channel 2 through to the speaker.
            const SPEAKER_DATA = 0x02;
            /// 1: SERR# makes no NMI.
            const SERR_DISABLED = 0x04;
            /// 1: IOCHK# makes no NMI.
            const IOCHK_DISABLED = 0x08;
            /// Changes with each refresh of the memory.
            const REFRESH = 0x10;
            /// Output of timer channel 2.
            const SPEAKER_OUTPUT = 0x20;
            const WRITABLE = 0x0f;
        }

        /// Port 92h, "system control port A" of the PS/2.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct Port92: u8 {
            /// A change from 0 to 1 resets the processor.
            const FAST_INIT = 0x01;
            /// Address line 20 is let through.
            const FAST_A20 = 0x02;
        }

        /// Port CF9h, the reset control register.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct ResetControl: u8 {
            /// Reset the whole system, not only the processor.
            const SYSTEM_RESET = 0x02;
            /// A change from 0 to 1 resets.
            const RESET_CPU = 0x04;
            /// Of later chips: a reset also takes the power away for some seconds. Software sets it with the others (0Eh).
            const FULL_RESET = 0x08;
        }
    }

    /// Ticks of the timer between two refreshes: what the PC BIOS programs into channel 1.
    pub const REFRESH_TICKS: u64 = 18;
}

/// Port 61h, at base 0: the gate and output of the speaker's timer, and the refresh toggle that old software takes for a clock of
/// 15 microseconds. Nothing here raises SERR# or IOCHK#, so their status bits read 0.
pub struct SpeakerPort {
    // Dependencies.
    clock: Arc<dyn Clock>,
    pit: Arc<Mutex<Pit>>,
    // Volatile state.
    state: spec::NmiStatus,
}

impl SpeakerPort {
    /// The port beside `pit`, which it locks during an access.
    pub fn new(clock: Arc<dyn Clock>, pit: Arc<Mutex<Pit>>) -> Self {
        let mut port = Self {
            clock,
            pit,
            state: spec::NmiStatus::default(),
        };
        port.reset();
        port
    }

    /// Gate low, speaker off, NMI sources enabled.
    pub fn reset(&mut self) {
        self.set(spec::NmiStatus::default());
    }

    fn set(&mut self, state: spec::NmiStatus) {
        self.state = state;
        bus::lock(&self.pit).set_speaker_gate(state.contains(spec::NmiStatus::SPEAKER_GATE));
    }

    /// The state of the refresh flip-flop.
    fn refresh(&self) -> bool {
        clock::ticks(self.clock.now(), FREQUENCY) / spec::REFRESH_TICKS % 2 == 1
    }
}

impl Device for SpeakerPort {
    fn read_byte(&mut self, offset: u64) -> u8 {
        if offset != 0 {
            return 0xff;
        }
        let mut value = self.state;
        value.set(spec::NmiStatus::REFRESH, self.refresh());
        value.set(
            spec::NmiStatus::SPEAKER_OUTPUT,
            bus::lock(&self.pit).speaker_output(),
        );
        value.bits()
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        if offset == 0 {
            self.set(spec::NmiStatus::from_bits_truncate(value) & spec::NmiStatus::WRITABLE);
        }
    }
}

/// Port 92h, at base 0: fast reset and the second A20 gate.
pub struct FastControl {
    // Dependencies.
    power: Arc<dyn PowerControl>,
    // Volatile state.
    state: spec::Port92,
}

impl FastControl {
    /// The port, as after reset.
    pub fn new(power: Arc<dyn PowerControl>) -> Self {
        Self {
            power,
            state: spec::Port92::default(),
        }
    }

    /// Both bits low.
    pub fn reset(&mut self) {
        self.state = spec::Port92::default();
    }

    /// This port's half of the A20 gate. The other is the keyboard controller's; either of them opens the gate.
    pub fn a20_enabled(&self) -> bool {
        self.state.contains(spec::Port92::FAST_A20)
    }
}

impl Device for FastControl {
    fn read_byte(&mut self, offset: u64) -> u8 {
        if offset == 0 { self.state.bits() } else { 0xff }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        if offset != 0 {
            return;
        }
        let value = spec::Port92::from_bits_truncate(value);
        let raised = value - self.state;
        self.state = value;
        if raised.contains(spec::Port92::FAST_INIT) {
            self.power.request(PowerRequest::Reset(ResetCause::FastReset));
        }
    }
}

/// Port CF9h, at base 0: the reset control register.
///
/// It lies among the configuration ports CF8h-CFFh of the host bridge, which takes only dword cycles at CF8h: byte cycles at CF9h belong
/// here.
///
/// A processor-only reset (SYSTEM_RESET clear) also asks for a reset of the machine: what software wants from either is a new start.
pub struct ResetControl {
    // Dependencies.
    power: Arc<dyn PowerControl>,
    // Volatile state.
    state: spec::ResetControl,
}

impl ResetControl {
    /// The register, as after reset.
    pub fn new(power: Arc<dyn PowerControl>) -> Self {
        Self {
            power,
            state: spec::ResetControl::default(),
        }
    }

    /// All bits low.
    pub fn reset(&mut self) {
        self.state = spec::ResetControl::default();
    }
}

impl Device for ResetControl {
    fn read_byte(&mut self, offset: u64) -> u8 {
        if offset == 0 { self.state.bits() } else { 0xff }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        if offset != 0 {
            return;
        }
        let value = spec::ResetControl::from_bits_truncate(value);
        let raised = value - self.state;
        self.state = value;
        if raised.contains(spec::ResetControl::RESET_CPU) {
            self.power.request(PowerRequest::Reset(ResetCause::ResetControl));
        }
    }
}

#[cfg(test)]
mod tests;
