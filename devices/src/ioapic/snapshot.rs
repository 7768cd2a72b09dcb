// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the I/O APIC.

use super::{Ioapic, PINS, Route, State};
use crate::snapshot::{BadState, Busy, Snapshot, must};
use serde::{Deserialize, Serialize};

/// Registers and levels of the inputs.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    state: State,
    asserted: u32,
}

impl Snapshot for Ioapic {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self {
            sink: _,
            asserted,
            state,
        } = self;
        Ok(Saved {
            state: state.clone(),
            asserted: *asserted,
        })
    }

    fn restore(&mut self, saved: Saved) -> Result<(), BadState> {
        let Saved { state, asserted } = saved;
        must(asserted >> PINS == 0, "an input that the I/O APIC does not have")?;
        must(
            state.table.iter().all(|entry| entry.is_possible()),
            "a redirection entry that the I/O APIC does not have",
        )?;
        (self.state, self.asserted) = (state, asserted);
        for (pin, entry) in (0..).zip(&self.state.table) {
            let route = entry.route();
            // Behind a mask, too, the end of what is in service must be told.
            let masked = route.masked && !entry.remote_irr();
            self.sink.route_changed(pin, Route { masked, ..route });
        }
        Ok(())
    }
}
