// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of a disk.

use super::{Block, State};
use crate::snapshot::{BadState, Busy, Snapshot, must};
use serde::{Deserialize, Serialize};

/// What the driver chose. Requests are carried out before a machine is saved.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    capacity: u64,
    features: u64,
    write_back: bool,
}

impl Snapshot for Block {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self {
            features: _,
            config: _,
            capacity,
            identity: _,
            queues: _,
            medium: _,
            tags: _,
            straight,
            state,
        } = self;
        let State {
            features,
            write_back,
            jobs,
            ended,
            under_way: _,
            buffered: _,
            waiting,
            // Who looks at the queues is decided anew: see `VirtioPci::look`.
            found: _,
            attended: _,
        } = state;
        if *straight > 0 || !jobs.is_empty() || !ended.is_empty() || *waiting != 0 {
            return Err(Busy);
        }
        Ok(Saved {
            capacity: *capacity,
            features: *features,
            write_back: *write_back,
        })
    }

    fn restore(&mut self, saved: Saved) -> Result<(), BadState> {
        let Saved {
            capacity,
            features,
            write_back,
        } = saved;
        must(capacity == self.capacity, "a disk of another size")?;
        self.state = State {
            features,
            write_back,
            under_way: vec![0; usize::from(self.queues)],
            ..State::default()
        };
        Ok(())
    }
}
