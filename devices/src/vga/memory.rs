// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Display memory and the graphics controller's data path: four planes, four latches, one arithmetic unit per plane.
//!
//! A `u32` holds one byte of each plane, plane 0 in its low byte, so that all four planes are worked on at once.

use super::spec::{GraphicsMisc, GraphicsMode, MemoryMode, PLANE_BYTES, graphics as gr};
use crate::snapshot::{BadState, must};
use serde::{Deserialize, Serialize};

/// The four low bits of `planes`, each widened to the byte of its plane.
fn expand(planes: u8) -> u32 {
    (0..4)
        .filter(|plane| planes >> plane & 1 != 0)
        .map(|plane| 0xff << (8 * plane))
        .sum()
}

/// The same byte for each plane.
fn broadcast(byte: u8) -> u32 {
    u32::from_ne_bytes([byte; 4])
}

/// The byte of one plane.
fn plane_of(all: u32, plane: u8) -> u8 {
    (all >> (8 * (plane & 3))) as u8
}

/// What the graphics controller does to the latches on a write (GR3 bits 4 and 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Replace,
    And,
    Or,
    Xor,
}

impl Function {
    fn decode(rotate: u8) -> Self {
        match rotate >> 3 & 3 {
            0 => Self::Replace,
            1 => Self::And,
            2 => Self::Or,
            _ => Self::Xor,
        }
    }

    fn apply(self, data: u32, latch: u32) -> u32 {
        match self {
            Self::Replace => data,
            Self::And => data & latch,
            Self::Or => data | latch,
            Self::Xor => data ^ latch,
        }
    }
}

/// Which of a processor's bytes goes where: set by three chips' registers together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addressing {
    /// SR2, the planes that writes reach.
    pub map_mask: u8,
    /// SR4.
    pub memory_mode: MemoryMode,
}

/// The graphics controller's registers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Graphics {
    pub index: u8,
    registers: [u8; gr::MASKS.len()],
    latches: u32,
}

impl Graphics {
    /// Only bits that the chip keeps are set.
    pub fn is_possible(&self) -> bool {
        self.index <= gr::INDEX_MASK
            && gr::MASKS
                .iter()
                .zip(self.registers)
                .all(|(mask, value)| value & !mask == 0)
    }

    /// The register that the index selects.
    pub fn read_register(&self) -> u8 {
        self.registers[usize::from(self.index & gr::INDEX_MASK)]
    }

    /// Writes the register that the index selects.
    pub fn write_register(&mut self, value: u8) {
        let at = usize::from(self.index & gr::INDEX_MASK);
        self.registers[at] = value & gr::MASKS[at];
    }

    /// GR6.
    pub fn misc(&self) -> GraphicsMisc {
        GraphicsMisc::from_bits_truncate(self.registers[gr::MISC])
    }

    /// The memory map of GR6: 0 is A0000h-BFFFFh, 1 A0000h-AFFFFh, 2 B0000h-B7FFFh, 3 B8000h-BFFFFh.
    pub fn memory_map(&self) -> u8 {
        self.registers[gr::MISC] >> 2 & 3
    }

    /// The latch that the read map selects.
    pub fn selected_latch(&self) -> u8 {
        plane_of(self.latches, self.registers[gr::READ_MAP])
    }

    fn mode(&self) -> GraphicsMode {
        GraphicsMode::from_bits_truncate(self.registers[gr::MODE])
    }

    /// The offset in each plane that `address` reaches. In the odd/even and chain-4 modes the bits that select planes are taken out
    /// of the address, so that only every second or fourth byte of a plane is reached.
    fn offset(&self, address: u16, addressing: Addressing) -> usize {
        usize::from(if addressing.memory_mode.contains(MemoryMode::CHAIN_4) {
            address & !3
        } else if self.misc().contains(GraphicsMisc::CHAIN_ODD_EVEN) {
            address & !1
        } else {
            address
        })
    }

    /// The processor reads the byte at `address` of the window; this fills the latches.
    pub fn read(&mut self, memory: &Memory, address: u16, addressing: Addressing) -> u8 {
        self.latches = memory.get(self.offset(address, addressing));
        if self.mode().contains(GraphicsMode::READ_COMPARE) {
            return self.compare();
        }
        let map = self.registers[gr::READ_MAP];
        plane_of(
            self.latches,
            if addressing.memory_mode.contains(MemoryMode::CHAIN_4) {
                address as u8 & 3
            } else if self.mode().contains(GraphicsMode::READ_ODD_EVEN) {
                map & 2 | address as u8 & 1
            } else {
                map
            },
        )
    }

    /// Read mode 1: a bit is 1 where the planes that matter hold the compare colour.
    fn compare(&self) -> u8 {
        let wanted = expand(self.registers[gr::COLOUR_COMPARE]);
        let differ = (self.latches ^ wanted) & expand(self.registers[gr::COLOUR_DONT_CARE]);
        !differ.to_ne_bytes().into_iter().fold(0, |all, plane| all | plane)
    }

    /// The processor writes `value` at `address` of the window.
    pub fn write(&self, memory: &mut Memory, address: u16, value: u8, addressing: Addressing) {
        let planes = if addressing.memory_mode.contains(MemoryMode::CHAIN_4) {
            1 << (address & 3)
        } else if addressing.memory_mode.contains(MemoryMode::SEQUENTIAL) {
            0xf
        } else {
            0x5 << (address & 1)
        };
        let data = self.combine(value);
        memory.put(
            self.offset(address, addressing),
            data,
            expand(planes & addressing.map_mask),
        );
    }

    /// The data path: what a write of `value` brings to the planes.
    fn combine(&self, value: u8) -> u32 {
        let rotate = self.registers[gr::ROTATE];
        let rotated = value.rotate_right(u32::from(rotate & 7));
        let set_reset = expand(self.registers[gr::SET_RESET]);
        let bit_mask = self.registers[gr::BIT_MASK];
        let (data, mask) = match self.registers[gr::MODE] & 3 {
            0 => {
                let enable = expand(self.registers[gr::ENABLE_SET_RESET]);
                (broadcast(rotated) & !enable | set_reset & enable, bit_mask)
            }
            1 => return self.latches,
            2 => (expand(value), bit_mask),
            _ => (set_reset, bit_mask & rotated),
        };
        let mask = broadcast(mask);
        let result = Function::decode(rotate).apply(data, self.latches);
        result & mask | self.latches & !mask
    }
}

/// 256 KiB of display memory. A reset of the chip leaves it as it is.
pub(super) struct Memory(Box<[u32]>);

impl Default for Memory {
    fn default() -> Self {
        Self(vec![0; PLANE_BYTES].into_boxed_slice())
    }
}

impl Memory {
    /// All of it.
    pub fn save(&self) -> Vec<u8> {
        self.0.iter().flat_map(|cell| cell.to_le_bytes()).collect()
    }

    /// Takes over what [`save`](Self::save) gave.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), BadState> {
        let (cells, rest) = bytes.as_chunks::<4>();
        must(
            cells.len() == self.0.len() && rest.is_empty(),
            "planes of another size",
        )?;
        for (to, from) in self.0.iter_mut().zip(cells) {
            *to = u32::from_le_bytes(*from);
        }
        Ok(())
    }

    fn get(&self, offset: usize) -> u32 {
        self.0.get(offset).copied().unwrap_or(0)
    }

    fn put(&mut self, offset: usize, data: u32, planes: u32) {
        if let Some(cell) = self.0.get_mut(offset) {
            *cell = *cell & !planes | data & planes;
        }
    }
}
