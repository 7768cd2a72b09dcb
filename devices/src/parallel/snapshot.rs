// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the port. What was printed is the host's.

use super::{ControlBits, ParallelPort, State};
use crate::snapshot::{BadState, Busy, Snapshot, must};

impl Snapshot for ParallelPort {
    type State = State;

    /// The interrupt is a pulse: the line is low between accesses.
    fn snapshot(&mut self) -> Result<State, Busy> {
        let Self {
            irq: _,
            sink: _,
            state,
        } = self;
        Ok(*state)
    }

    fn restore(&mut self, state: State) -> Result<(), BadState> {
        must(
            ControlBits::all().contains(state.control),
            "a control bit that the port does not have",
        )?;
        self.state = state;
        Ok(())
    }
}
