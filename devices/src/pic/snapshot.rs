// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the pair.

use super::Pic;
use super::chip::Chip;
use crate::snapshot::{BadState, Busy, Snapshot};
use serde::{Deserialize, Serialize};

/// Both chips.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    master: Chip,
    slave: Chip,
}

impl Snapshot for Pic {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self {
            intr: _,
            master,
            slave,
        } = self;
        Ok(Saved {
            master: master.clone(),
            slave: slave.clone(),
        })
    }

    fn restore(&mut self, state: Saved) -> Result<(), BadState> {
        let Saved { master, slave } = state;
        master.check()?;
        slave.check()?;
        (self.master, self.slave) = (master, slave);
        self.master.set_cascade(self.slave.output());
        self.intr.restore(self.master.output());
        Ok(())
    }
}
