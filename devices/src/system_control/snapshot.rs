// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the three ports: the writable bits of their registers.

use super::{FastControl, ResetControl, SpeakerPort, spec};
use crate::snapshot::{BadState, Busy, Snapshot, must};

const BAD: &str = "a bit that a system control port does not have";

/// The timer's gate is the timer's own state.
impl Snapshot for SpeakerPort {
    type State = u8;

    fn snapshot(&mut self) -> Result<u8, Busy> {
        let Self {
            clock: _,
            pit: _,
            state,
        } = self;
        Ok(state.bits())
    }

    fn restore(&mut self, state: u8) -> Result<(), BadState> {
        let state = spec::NmiStatus::from_bits_retain(state);
        must(spec::NmiStatus::WRITABLE.contains(state), BAD)?;
        self.state = state;
        Ok(())
    }
}

impl Snapshot for FastControl {
    type State = u8;

    fn snapshot(&mut self) -> Result<u8, Busy> {
        let Self { power: _, state } = self;
        Ok(state.bits())
    }

    fn restore(&mut self, state: u8) -> Result<(), BadState> {
        self.state = spec::Port92::from_bits(state).ok_or(BadState(BAD))?;
        Ok(())
    }
}

impl Snapshot for ResetControl {
    type State = u8;

    fn snapshot(&mut self) -> Result<u8, Busy> {
        let Self { power: _, state } = self;
        Ok(state.bits())
    }

    fn restore(&mut self, state: u8) -> Result<(), BadState> {
        self.state = spec::ResetControl::from_bits(state).ok_or(BadState(BAD))?;
        Ok(())
    }
}
