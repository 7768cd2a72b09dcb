// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of a virtio device.

use super::{State, VirtioPci, capability, msix};
use crate::pci::SavedConfig;
use crate::pci::config::reg;
use crate::snapshot::{BadState, Busy, Snapshot, must};
use crate::virtio::msix::SavedMsix;
use crate::virtio::transport::{Kind, SavedTransport};
use serde::{Deserialize, Serialize};

/// Everything but the requests, of which there are none while a machine is saved.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(bound(deserialize = "S: for<'a> Deserialize<'a>"))]
pub struct Saved<S> {
    transport: SavedTransport<S>,
    config: SavedConfig,
    msix: SavedMsix,
    state: State,
    line: bool,
}

impl<K: Kind + Snapshot> Snapshot for VirtioPci<K> {
    type State = Saved<K::State>;

    fn snapshot(&mut self) -> Result<Self::State, Busy> {
        self.service();
        let Self {
            transport,
            line,
            config,
            msix,
            state,
        } = self;
        Ok(Saved {
            transport: transport.save()?,
            config: config.save(),
            msix: msix.save(),
            state: state.clone(),
            line: line.level(),
        })
    }

    fn restore(&mut self, saved: Self::State) -> Result<(), BadState> {
        let Saved {
            transport,
            config,
            msix,
            state,
            line,
        } = saved;
        let queues = usize::from(self.transport.queues());
        let exists = |vector: &u16| *vector < self.msix.vectors() || *vector == msix::spec::NO_VECTOR;
        must(
            state.queue_vectors.len() == queues
                && state.pages.len() == queues
                && state
                    .queue_vectors
                    .iter()
                    .chain([&state.config_vector])
                    .all(exists),
            "queues that the virtio device does not have",
        )?;
        self.transport.restore(transport)?;
        self.msix.restore(msix)?;
        self.state = state;
        // The status shows the interrupt, and software cannot change that.
        self.show_status();
        self.config.restore(config)?;
        self.line.restore(line);
        must(
            self.msix.is_set_to(self.config.u16(capability::MSIX + 2)) && self.config.u16(reg::STATUS) != 0,
            "a message control that is not the virtio device's",
        )
    }
}
