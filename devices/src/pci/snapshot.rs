// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the bridges.

use super::SavedConfig;
use super::host_bridge::HostBridge;
use super::isa_bridge::IsaBridge;
use crate::snapshot::{BadState, Busy, Snapshot};
use serde::{Deserialize, Serialize};

/// The configuration space, from which the shadowing follows.
impl Snapshot for HostBridge {
    type State = SavedConfig;

    fn snapshot(&mut self) -> Result<SavedConfig, Busy> {
        Ok(self.save())
    }

    fn restore(&mut self, state: SavedConfig) -> Result<(), BadState> {
        self.take_over(state)
    }
}

/// Configuration space and levels of the PIRQ wires.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedIsaBridge {
    pub(super) config: SavedConfig,
    pub(super) pirqs: [bool; 4],
}

impl Snapshot for IsaBridge {
    type State = SavedIsaBridge;

    fn snapshot(&mut self) -> Result<SavedIsaBridge, Busy> {
        Ok(self.save())
    }

    fn restore(&mut self, state: SavedIsaBridge) -> Result<(), BadState> {
        self.take_over(state)
    }
}
