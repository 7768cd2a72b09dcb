// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Transfer modes, as SET FEATURES 03h names them (ATA/ATAPI-6) and IDENTIFY reports them.

/// The DMA mode that a device is set to. PIO modes need no memory: nothing reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum DmaMode {
    Multiword(u8),
    Ultra(u8),
}

use serde::{Deserialize, Serialize};

const MULTIWORD_MODES: u8 = 3;
const ULTRA_MODES: u8 = 6;
const PIO_FLOW_CONTROL_MODES: u8 = 5;

impl Default for DmaMode {
    /// What the PIIX4 can do.
    fn default() -> Self {
        Self::Ultra(2)
    }
}

impl DmaMode {
    /// Refuses a mode that [`set`](Self::set) would not have taken.
    pub(super) fn is_possible(self) -> bool {
        match self {
            Self::Multiword(mode) => mode < MULTIWORD_MODES,
            Self::Ultra(mode) => mode < ULTRA_MODES,
        }
    }

    /// SET FEATURES 03h with `value` in the sector count register. False if the mode is not supported.
    pub(super) fn set(&mut self, value: u8) -> bool {
        let mode = value & 0x07;
        match value >> 3 {
            // PIO default mode, with and without IORDY.
            0x00 => mode <= 1,
            0x01 => mode < PIO_FLOW_CONTROL_MODES,
            0x04 if mode < MULTIWORD_MODES => {
                *self = Self::Multiword(mode);
                true
            }
            0x08 if mode < ULTRA_MODES => {
                *self = Self::Ultra(mode);
                true
            }
            _ => false,
        }
    }

    /// IDENTIFY word 63: supported modes, and the selected one in the upper byte.
    pub(super) fn multiword_word(self) -> u16 {
        let supported = (1 << MULTIWORD_MODES) - 1;
        match self {
            Self::Multiword(mode) => supported | 0x100 << mode,
            Self::Ultra(_) => supported,
        }
    }

    /// IDENTIFY word 88, likewise.
    pub(super) fn ultra_word(self) -> u16 {
        let supported = (1 << ULTRA_MODES) - 1;
        match self {
            Self::Ultra(mode) => supported | 0x100 << mode,
            Self::Multiword(_) => supported,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dma_mode_is_selected_at_a_time() {
        let mut mode = DmaMode::default();
        assert_eq!((mode.multiword_word(), mode.ultra_word()), (0x0007, 0x043f));
        assert!(mode.set(0x45));
        assert_eq!((mode.multiword_word(), mode.ultra_word()), (0x0007, 0x203f));
        assert!(mode.set(0x22));
        assert_eq!((mode.multiword_word(), mode.ultra_word()), (0x0407, 0x003f));
        assert!(mode.set(0x0c), "PIO 4 leaves the DMA mode alone");
        assert_eq!(mode, DmaMode::Multiword(2));
    }

    #[test]
    fn modes_that_do_not_exist_change_nothing() {
        let good = [
            0x00, 0x01, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x20, 0x21, 0x22, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45,
        ];
        for value in 0..=0xff {
            let mut mode = DmaMode::Ultra(1);
            assert_eq!(mode.set(value), good.contains(&value), "{value:#x}");
            assert!(good.contains(&value) || mode == DmaMode::Ultra(1));
        }
    }
}
