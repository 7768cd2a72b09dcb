// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the timer.

use super::{Debt, Pit, State};
use crate::clock::Nanos;
use crate::snapshot::{BadState, Busy, Snapshot, must};
use serde::{Deserialize, Serialize};

/// Registers, edges that are owed, the level of the output and the next look.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    state: State,
    debt: Debt,
    irq: bool,
    armed: Option<Nanos>,
}

impl Snapshot for Pit {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self {
            clock: _,
            timer: _,
            irq,
            armed,
            debt,
            state,
        } = self;
        Ok(Saved {
            state: state.clone(),
            debt: debt.clone(),
            irq: irq.level(),
            armed: *armed,
        })
    }

    fn restore(&mut self, saved: Saved) -> Result<(), BadState> {
        let Saved {
            state,
            debt,
            irq,
            armed,
        } = saved;
        for channel in &state.channels {
            channel.check()?;
        }
        must(
            debt.edges <= super::CATCH_UP_LIMIT,
            "more owed edges than the 8254 can owe",
        )?;
        (self.state, self.debt, self.armed) = (state, debt, armed);
        self.irq.restore(irq);
        match armed {
            Some(deadline) => self.timer.arm(deadline),
            None => self.timer.disarm(),
        }
        Ok(())
    }
}
