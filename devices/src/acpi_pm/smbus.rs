// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The SMBus host controller of the PIIX4 (82371AB data sheet, 7.3) with nothing on its bus: each transaction ends at once with a device
//! error, so that drivers which look for sensors and memory modules find none and wait for nothing.

use serde::{Deserialize, Serialize};

const STATUS: u8 = 0;
const CONTROL: u8 = 2;
const START: u8 = 1 << 6;
const DEVICE_ERROR: u8 = 1 << 2;
/// Status bits that software clears by writing ones.
const CLEARABLE: u8 = 0x1e;

/// The controller.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SmBus {
    status: u8,
    /// Control, command, address, data and slave registers: kept.
    kept: [u8; 16],
}

impl SmBus {
    pub fn read(&self, at: u8) -> u8 {
        match at {
            STATUS => self.status,
            _ => self.kept[usize::from(at & 0xf)],
        }
    }

    pub fn write(&mut self, at: u8, value: u8) {
        match at {
            STATUS => self.status &= !(value & CLEARABLE),
            CONTROL => {
                self.kept[usize::from(CONTROL)] = value & !START;
                if value & START != 0 {
                    self.status |= DEVICE_ERROR;
                }
            }
            _ => self.kept[usize::from(at & 0xf)] = value,
        }
    }
}
