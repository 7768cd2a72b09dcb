// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of the device: where a guest stands in reading. The items are made anew from the machine's configuration.

use super::{FwCfg, State};
use crate::snapshot::{BadState, Busy, Snapshot, must};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The selected item by its key.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    selected: Option<u16>,
    position: usize,
    dma_high: u32,
}

impl Snapshot for FwCfg {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self { items, ram: _, state } = self;
        let State {
            selected,
            position,
            dma_high,
        } = state;
        let key = |selected: &Arc<[u8]>| {
            let found = items.iter().find(|(_, item)| Arc::ptr_eq(item, selected));
            found.map(|(key, _)| *key)
        };
        Ok(Saved {
            selected: selected.as_ref().and_then(key),
            position: *position,
            dma_high: *dma_high,
        })
    }

    fn restore(&mut self, saved: Saved) -> Result<(), BadState> {
        let Saved {
            selected,
            position,
            dma_high,
        } = saved;
        let item = selected.map(|key| {
            self.items
                .get(&key)
                .cloned()
                .ok_or(BadState("an item that firmware is not told"))
        });
        let item = item.transpose()?;
        must(
            position <= item.as_ref().map_or(0, |item| item.len()),
            "a place past the end of an item",
        )?;
        self.state = State {
            selected: item,
            position,
            dma_high,
        };
        Ok(())
    }
}
