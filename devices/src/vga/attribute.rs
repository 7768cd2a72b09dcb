// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The attribute controller: one port for index and data, told apart by a flip-flop.

use super::spec::attribute as ar;
use serde::{Deserialize, Serialize};

/// What the next write of 3C0h means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum Toggle {
    #[default]
    Index,
    Data,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attribute {
    /// Index and palette address source.
    index: u8,
    toggle: Toggle,
    palette: [u8; 16],
    registers: [u8; ar::MASKS.len()],
}

impl Attribute {
    /// Only bits that the chip keeps are set.
    pub fn is_possible(&self) -> bool {
        self.index & !(ar::INDEX_MASK | ar::PALETTE_SOURCE) == 0
            && self.palette.iter().all(|value| value & !ar::PALETTE_MASK == 0)
            && ar::MASKS
                .iter()
                .zip(self.registers)
                .all(|(mask, value)| value & !mask == 0)
    }

    /// Input status 1 was read: the next write is an index.
    pub fn reset_toggle(&mut self) {
        self.toggle = Toggle::Index;
    }

    pub fn toggle(&self) -> Toggle {
        self.toggle
    }

    pub fn index(&self) -> u8 {
        self.index
    }

    /// Whether the palette feeds the display. While it does not, the whole screen has the border's colour.
    pub fn palette_feeds_display(&self) -> bool {
        self.index & ar::PALETTE_SOURCE != 0
    }

    /// 3C0h written.
    pub fn write(&mut self, value: u8) {
        match self.toggle {
            Toggle::Index => {
                self.index = value & (ar::INDEX_MASK | ar::PALETTE_SOURCE);
                self.toggle = Toggle::Data;
            }
            Toggle::Data => {
                self.write_data(value);
                self.toggle = Toggle::Index;
            }
        }
    }

    fn write_data(&mut self, value: u8) {
        let at = usize::from(self.index & ar::INDEX_MASK);
        if let Some(entry) = self.palette.get_mut(at) {
            if self.index & ar::PALETTE_SOURCE == 0 {
                *entry = value & ar::PALETTE_MASK;
            }
        } else if let Some((register, mask)) = self.registers.iter_mut().zip(ar::MASKS).nth(at - ar::MODE) {
            *register = value & mask;
        }
    }

    /// 3C1h read.
    pub fn read_data(&self) -> u8 {
        self.get(usize::from(self.index & ar::INDEX_MASK))
    }

    /// Register `at`; 0 if there is none.
    pub fn get(&self, at: usize) -> u8 {
        self.palette
            .iter()
            .chain(&self.registers)
            .nth(at)
            .copied()
            .unwrap_or(0)
    }
}
