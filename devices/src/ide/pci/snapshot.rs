// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the IDE function: its configuration space. The channels are chips of their own, restored after it.

use super::PiixIde;
use crate::pci::SavedConfig;
use crate::snapshot::{BadState, Busy, Snapshot};

impl Snapshot for PiixIde {
    type State = SavedConfig;

    fn snapshot(&mut self) -> Result<SavedConfig, Busy> {
        let Self { channels: _, config } = self;
        Ok(config.save())
    }

    fn restore(&mut self, state: SavedConfig) -> Result<(), BadState> {
        self.config.restore(state)?;
        self.apply();
        Ok(())
    }
}
