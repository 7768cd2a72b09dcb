// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the power management function.

use super::{PowerManagement, State};
use crate::pci::SavedConfig;
use crate::snapshot::{BadState, Busy, Snapshot};
use serde::{Deserialize, Serialize};

/// Configuration space, registers and the level of the SCI.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    config: SavedConfig,
    state: State,
    sci: bool,
}

impl Snapshot for PowerManagement {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self {
            clock: _,
            timer: _,
            sci,
            power: _,
            config,
            state,
        } = self;
        Ok(Saved {
            config: config.save(),
            state: state.clone(),
            sci: sci.level(),
        })
    }

    /// Any register value is one that software may have written.
    fn restore(&mut self, saved: Saved) -> Result<(), BadState> {
        let Saved { config, state, sci } = saved;
        self.config.restore(config)?;
        self.state = state;
        self.sci.restore(sci);
        // Looks at the timer's overflow as soon as time goes on.
        self.timer.arm(self.clock.now());
        Ok(())
    }
}
