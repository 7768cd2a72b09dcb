// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the card: registers and planes. Text is in the machine's memory.

use super::{State, Vga};
use crate::snapshot::{BadState, Busy, Snapshot, must};
use serde::{Deserialize, Serialize};

/// Registers and planes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    state: State,
    #[serde(with = "crate::snapshot::hex")]
    planes: Vec<u8>,
}

impl Snapshot for Vga {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self {
            ram: _,
            clock: _,
            memory,
            state,
        } = self;
        Ok(Saved {
            state: state.clone(),
            planes: memory.save(),
        })
    }

    fn restore(&mut self, saved: Saved) -> Result<(), BadState> {
        let Saved { state, planes } = saved;
        must(
            state.dac.is_possible()
                && state.graphics.is_possible()
                && state.attribute.is_possible()
                && super::sr::MASKS
                    .iter()
                    .zip(state.sequencer)
                    .all(|(mask, value)| value & !mask == 0),
            "a register value that the VGA does not have",
        )?;
        self.memory.restore(&planes)?;
        self.state = state;
        Ok(())
    }
}
