// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the clock.

use super::spec::{self, RegisterA};
use super::{Battery, Chain, Rtc, State};
use crate::clock::Nanos;
use crate::snapshot::{BadState, Busy, Snapshot, must};
use serde::{Deserialize, Serialize};

/// All of it: the battery is part of the machine.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    battery: Battery,
    state: State,
    irq: bool,
    armed: Option<Nanos>,
}

impl Snapshot for Rtc {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self {
            clock: _,
            timer: _,
            irq,
            armed,
            battery,
            state,
        } = self;
        Ok(Saved {
            battery: battery.clone(),
            state: state.clone(),
            irq: irq.level(),
            armed: *armed,
        })
    }

    fn restore(&mut self, saved: Saved) -> Result<(), BadState> {
        let Saved {
            mut battery,
            state,
            irq,
            armed,
        } = saved;
        battery.a = RegisterA::from_bits(battery.a.bits());
        if let Chain::Counting { preset, .. } = battery.chain {
            must(
                preset <= spec::CRYSTAL,
                "a divider chain that the clock does not have",
            )?;
        }
        // Of a chain that is held nobody asks; it only must not overflow.
        let latest = battery.chain.count(self.clock.now()).unwrap_or(u64::MAX >> 4);
        must(battery.seen <= latest, "a clock that was looked at in the future")?;
        (self.battery, self.state, self.armed) = (battery, state, armed);
        self.irq.restore(irq);
        match armed {
            Some(deadline) => self.timer.arm(deadline),
            None => self.timer.disarm(),
        }
        Ok(())
    }
}
