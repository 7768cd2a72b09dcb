// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the controllers.

use super::Dma8237;
use super::controller::Controller;
use crate::snapshot::{BadState, Busy, Snapshot};
use serde::{Deserialize, Serialize};

/// Both controllers and the page registers.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    controllers: [Controller; 2],
    pages: [u8; 16],
}

impl Snapshot for Dma8237 {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self { controllers, pages } = self;
        Ok(Saved {
            controllers: controllers.clone(),
            pages: *pages,
        })
    }

    /// Any value is one that software may have written.
    fn restore(&mut self, state: Saved) -> Result<(), BadState> {
        let Saved { controllers, pages } = state;
        *self = Self { controllers, pages };
        Ok(())
    }
}
