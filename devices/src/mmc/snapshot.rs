// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the drive. The disc is the host's, and what was read of it ahead is read again.

use super::{DvdDrive, Running, State};
use crate::snapshot::{BadState, Busy, Snapshot, must};
use serde::{Deserialize, Serialize};

/// Bytes of a response, at most.
const RESPONSE: usize = 0x1_0000;

/// Where the tray is, and all that a reset clears.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    open: bool,
    /// Sectors of the disc in the tray.
    disc: Option<u32>,
    state: State,
}

impl Snapshot for DvdDrive {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self {
            identity: _,
            tray,
            host_events: _,
            bell: _,
            state,
        } = self;
        if tray.any_disc().is_some_and(|disc| !disc.reader.is_idle())
            || matches!(state.running, Running::Straight(..))
        {
            return Err(Busy);
        }
        Ok(Saved {
            open: tray.open,
            disc: tray.any_disc().map(|disc| disc.sectors),
            state: state.clone(),
        })
    }

    fn restore(&mut self, saved: Saved) -> Result<(), BadState> {
        let Saved { open, disc, state } = saved;
        must(
            disc == self.tray.any_disc().map(|disc| disc.sectors),
            "another disc than the one in the drive",
        )?;
        match &state.running {
            Running::Idle | Running::Failed(_) | Running::ModeSelect(_) => {}
            Running::Straight(..) => return Err(BadState("a transfer that is under way")),
            Running::Response(data, next) => must(
                data.len() <= RESPONSE && *next <= data.len(),
                "a response that no command gives",
            )?,
            Running::Read(stream) => {
                stream.check()?;
                if let Some(disc) = self.tray.any_disc() {
                    stream.begin_again(&mut disc.reader);
                }
            }
        }
        state.modes.check()?;
        must(state.media_events.len() <= 3, "more media events than there are")?;
        self.tray.open = open;
        self.state = state;
        Ok(())
    }
}
