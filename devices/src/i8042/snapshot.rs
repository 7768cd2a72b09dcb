// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the controller and its two devices.

use super::keyboard::Keyboard;
use super::mouse::Mouse;
use super::{I8042, State};
use crate::snapshot::{BadState, Busy, Snapshot};
use serde::{Deserialize, Serialize};

/// All three.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    keyboard: Keyboard,
    mouse: Mouse,
    state: State,
    /// Levels of the two interrupt lines.
    lines: [bool; 2],
}

impl Snapshot for I8042 {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self {
            wiring,
            keyboard,
            mouse,
            state,
        } = self;
        Ok(Saved {
            keyboard: keyboard.clone(),
            mouse: mouse.clone(),
            state: state.clone(),
            lines: [wiring.keyboard_irq.level(), wiring.mouse_irq.level()],
        })
    }

    fn restore(&mut self, saved: Saved) -> Result<(), BadState> {
        let Saved {
            keyboard,
            mouse,
            state,
            lines,
        } = saved;
        keyboard.check()?;
        mouse.check()?;
        (self.keyboard, self.mouse, self.state) = (keyboard, mouse, state);
        let [keyboard, mouse] = lines;
        self.wiring.keyboard_irq.restore(keyboard);
        self.wiring.mouse_irq.restore(mouse);
        // Looks whether a byte is due, as soon as time goes on.
        self.wiring.timer.arm(self.state.quiet_until);
        Ok(())
    }
}
