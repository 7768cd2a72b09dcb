// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the interface in front of a packet device.

use super::{MAX_DATA_OUT, Pace, PacketDrive, State, Work};
use crate::ide::spec::SECTOR;
use crate::snapshot::{BadState, Busy, Snapshot, must};

/// All of it.
pub type Saved = State;

impl Work {
    fn check(&self) -> Result<(), BadState> {
        let good = match self {
            Self::None | Self::SectorTaken | Self::AwaitPacket(_) => true,
            Self::Sector(data) => data.len() == SECTOR,
            // A limit that lets nothing through refuses the command before it gets here.
            Self::DataIn { pace, left } => pace.piece(left.saturating_add(1)) > 0 || pace.piece(*left) > 0,
            Self::DataOut { pace, data, expected } => {
                let whole = (*expected).max(1) as u64;
                *expected <= MAX_DATA_OUT
                    && data.len() <= MAX_DATA_OUT
                    && (pace.piece(whole) > 0 || *pace == Pace::Dma)
            }
        };
        must(good, "a step of the packet protocol that no drive comes to")
    }
}

impl Snapshot for PacketDrive {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self {
            identity: _,
            cabling: _,
            device: _,
            state,
        } = self;
        Ok(state.clone())
    }

    fn restore(&mut self, state: Saved) -> Result<(), BadState> {
        must(state.dma_mode.is_possible(), "a transfer mode that no drive has")?;
        state.work.check()?;
        self.state = state;
        Ok(())
    }
}
