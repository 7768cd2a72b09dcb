// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The registers of a channel, by address, and the task file behind them.

use super::spec::{DeviceHead, Extent, Signature};
use super::{BUS_MASTER, COMMAND_BLOCK, CONTROL_BLOCK};
use crate::block::Chs;
use serde::{Deserialize, Serialize};

/// What a read cycle reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadRegister {
    Data,
    Error,
    SectorCount,
    LbaLow,
    LbaMid,
    LbaHigh,
    Device,
    Status,
    AlternateStatus,
    BusMaster(u8),
}

/// What a write cycle reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteRegister {
    Data,
    Features,
    SectorCount,
    LbaLow,
    LbaMid,
    LbaHigh,
    Device,
    Command,
    DeviceControl,
    BusMaster(u8),
}

impl ReadRegister {
    pub(super) fn decode(offset: u64) -> Option<Self> {
        const LAST: u64 = BUS_MASTER + 7;
        Some(match offset {
            COMMAND_BLOCK => Self::Data,
            0x01 => Self::Error,
            0x02 => Self::SectorCount,
            0x03 => Self::LbaLow,
            0x04 => Self::LbaMid,
            0x05 => Self::LbaHigh,
            0x06 => Self::Device,
            0x07 => Self::Status,
            CONTROL_BLOCK => Self::AlternateStatus,
            BUS_MASTER..=LAST => Self::BusMaster((offset - BUS_MASTER) as u8),
            _ => return None,
        })
    }
}

impl WriteRegister {
    pub(super) fn decode(offset: u64) -> Option<Self> {
        const LAST: u64 = BUS_MASTER + 7;
        Some(match offset {
            COMMAND_BLOCK => Self::Data,
            0x01 => Self::Features,
            0x02 => Self::SectorCount,
            0x03 => Self::LbaLow,
            0x04 => Self::LbaMid,
            0x05 => Self::LbaHigh,
            0x06 => Self::Device,
            0x07 => Self::Command,
            CONTROL_BLOCK => Self::DeviceControl,
            BUS_MASTER..=LAST => Self::BusMaster((offset - BUS_MASTER) as u8),
            _ => return None,
        })
    }
}

/// A register that is two deep: a write moves the old contents to `previous` (48-bit Address feature set).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pair {
    pub(super) current: u8,
    pub(super) previous: u8,
}

impl Pair {
    pub(super) fn push(&mut self, value: u8) {
        self.previous = std::mem::replace(&mut self.current, value);
    }

    pub(super) fn read(self, previous: bool) -> u8 {
        if previous { self.previous } else { self.current }
    }

    fn set_wide(&mut self, current: u8, previous: u8) {
        *self = Self { current, previous };
    }
}

/// How a command names its first sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum Addressing {
    Chs,
    Lba28,
    Lba48,
}

/// The command block's parameter registers as one device holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskFile {
    pub(super) features: Pair,
    pub(super) count: Pair,
    pub(super) lba_low: Pair,
    pub(super) lba_mid: Pair,
    pub(super) lba_high: Pair,
    pub(super) device: DeviceHead,
}

impl TaskFile {
    /// What a device shows after a reset. The device register is left alone: a reset that covers both devices clears it.
    pub(super) fn set_signature(&mut self, [count, low, mid, high]: Signature) {
        self.count.set_wide(count, 0);
        self.lba_low.set_wide(low, 0);
        self.lba_mid.set_wide(mid, 0);
        self.lba_high.set_wide(high, 0);
    }

    /// How a command of this width names its first sector.
    pub(super) fn addressing(&self, extent: Extent) -> Addressing {
        match extent {
            Extent::Bits48 => Addressing::Lba48,
            Extent::Bits28 if self.device.contains(DeviceHead::LBA) => Addressing::Lba28,
            Extent::Bits28 => Addressing::Chs,
        }
    }

    /// Sectors to transfer; 0 in the register stands for the most there can be.
    pub(super) fn sectors(&self, extent: Extent) -> u64 {
        let current = u64::from(self.count.current);
        match extent {
            Extent::Bits28 => match current {
                0 => 256,
                n => n,
            },
            Extent::Bits48 => match u64::from(self.count.previous) << 8 | current {
                0 => 65_536,
                n => n,
            },
        }
    }

    /// The first sector; `None` for a CHS address outside the translation.
    pub(super) fn lba(&self, addressing: Addressing, translation: Chs) -> Option<u64> {
        let byte = |pair: Pair, shift: u32| u64::from(pair.current) << shift;
        let high = |pair: Pair, shift: u32| u64::from(pair.previous) << shift;
        let low = byte(self.lba_low, 0) | byte(self.lba_mid, 8) | byte(self.lba_high, 16);
        let head = self.device & DeviceHead::HEAD;
        match addressing {
            Addressing::Lba28 => Some(low | u64::from(head.bits()) << 24),
            Addressing::Lba48 => {
                Some(low | high(self.lba_low, 24) | high(self.lba_mid, 32) | high(self.lba_high, 40))
            }
            Addressing::Chs => {
                let cylinder = byte(self.lba_mid, 0) | byte(self.lba_high, 8);
                let (head, sector) = (u64::from(head.bits()), u64::from(self.lba_low.current));
                let (heads, sectors) = (u64::from(translation.heads), u64::from(translation.sectors));
                let inside = cylinder < u64::from(translation.cylinders)
                    && head < heads
                    && (1..=sectors).contains(&sector);
                inside.then(|| (cylinder * heads + head) * sectors + sector - 1)
            }
        }
    }

    /// Shows `lba` in the address registers.
    pub(super) fn set_lba(&mut self, addressing: Addressing, translation: Chs, lba: u64) {
        let [b0, b1, b2, b3, b4, b5, ..] = lba.to_le_bytes();
        match addressing {
            Addressing::Lba48 => {
                self.lba_low.set_wide(b0, b3);
                self.lba_mid.set_wide(b1, b4);
                self.lba_high.set_wide(b2, b5);
            }
            Addressing::Lba28 => {
                self.lba_low.current = b0;
                self.lba_mid.current = b1;
                self.lba_high.current = b2;
                self.set_head(b3);
            }
            Addressing::Chs => {
                let (heads, sectors) = (
                    u64::from(translation.heads.max(1)),
                    u64::from(translation.sectors.max(1)),
                );
                let track = lba / sectors;
                let [low, high, ..] = (track / heads).to_le_bytes();
                self.lba_low.current = (lba % sectors + 1) as u8;
                self.lba_mid.current = low;
                self.lba_high.current = high;
                self.set_head((track % heads) as u8);
            }
        }
    }

    fn set_head(&mut self, head: u8) {
        let head = DeviceHead::from_bits_retain(head) & DeviceHead::HEAD;
        self.device = (self.device - DeviceHead::HEAD) | head;
    }

    /// LBA mid and high as a packet command's byte count.
    pub(super) fn byte_count(&self) -> u16 {
        u16::from_le_bytes([self.lba_mid.current, self.lba_high.current])
    }

    /// Shows a byte count.
    pub(super) fn set_byte_count(&mut self, count: u16) {
        [self.lba_mid.current, self.lba_high.current] = count.to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSLATION: Chs = Chs {
        cylinders: 1000,
        heads: 16,
        sectors: 63,
    };

    fn filled(values: [u8; 5], previous: [u8; 5]) -> TaskFile {
        let mut file = TaskFile::default();
        for values in [previous, values] {
            for (pair, value) in [
                &mut file.features,
                &mut file.count,
                &mut file.lba_low,
                &mut file.lba_mid,
                &mut file.lba_high,
            ]
            .into_iter()
            .zip(values)
            {
                pair.push(value);
            }
        }
        file
    }

    #[test]
    fn a_28_bit_command_does_not_see_what_a_48_bit_command_left() {
        let mut file = filled([0, 8, 0x33, 0x22, 0x11], [0, 0xff, 0x66, 0x55, 0x44]);
        file.device = DeviceHead::from_bits_retain(0xe5);
        assert_eq!(file.sectors(Extent::Bits28), 8);
        assert_eq!(file.addressing(Extent::Bits28), Addressing::Lba28);
        assert_eq!(file.lba(Addressing::Lba28, TRANSLATION), Some(0x0511_2233));
        assert_eq!(file.sectors(Extent::Bits48), 0xff08);
        assert_eq!(file.lba(Addressing::Lba48, TRANSLATION), Some(0x4455_6611_2233));
    }

    #[test]
    fn a_count_of_zero_is_the_most_there_can_be() {
        let file = TaskFile::default();
        assert_eq!(file.sectors(Extent::Bits28), 256);
        assert_eq!(file.sectors(Extent::Bits48), 65_536);
        assert_eq!(filled([0; 5], [0, 1, 0, 0, 0]).sectors(Extent::Bits28), 256);
        assert_eq!(filled([0; 5], [0, 1, 0, 0, 0]).sectors(Extent::Bits48), 256);
    }

    #[test]
    fn chs_there_and_back() {
        for lba in [0, 1, 62, 63, 1007, 1008, 999 * 1008 + 1007] {
            for addressing in [Addressing::Chs, Addressing::Lba28, Addressing::Lba48] {
                let mut file = TaskFile {
                    device: DeviceHead::from_bits_retain(0xff),
                    ..TaskFile::default()
                };
                file.set_lba(addressing, TRANSLATION, lba);
                assert_eq!(
                    file.lba(addressing, TRANSLATION),
                    Some(lba),
                    "{addressing:?} {lba}"
                );
                assert_eq!(file.device.bits() & 0xf0, 0xf0);
            }
        }
    }

    #[test]
    fn chs_outside_the_translation() {
        let mut file = TaskFile::default();
        assert_eq!(
            file.lba(Addressing::Chs, TRANSLATION),
            None,
            "sectors count from 1"
        );
        file.lba_low.current = 64;
        assert_eq!(file.lba(Addressing::Chs, TRANSLATION), None);
        file.lba_low.current = 63;
        assert_eq!(file.lba(Addressing::Chs, TRANSLATION), Some(62));
        [file.lba_mid.current, file.lba_high.current] = 1000u16.to_le_bytes();
        assert_eq!(file.lba(Addressing::Chs, TRANSLATION), None);
        assert_eq!(file.lba(Addressing::Chs, Chs::default()), None);
        // A translation without sectors divides by nothing.
        file.set_lba(Addressing::Chs, Chs::default(), 5);
    }

    #[test]
    fn every_address_has_at_most_one_meaning() {
        assert_eq!(ReadRegister::decode(0x07), Some(ReadRegister::Status));
        assert_eq!(WriteRegister::decode(0x07), Some(WriteRegister::Command));
        assert_eq!(
            ReadRegister::decode(CONTROL_BLOCK),
            Some(ReadRegister::AlternateStatus)
        );
        assert_eq!(
            WriteRegister::decode(BUS_MASTER + 7),
            Some(WriteRegister::BusMaster(7))
        );
        for offset in (0x08..CONTROL_BLOCK).chain([CONTROL_BLOCK + 1, BUS_MASTER + 8, u64::MAX]) {
            assert_eq!(ReadRegister::decode(offset), None);
            assert_eq!(WriteRegister::decode(offset), None);
        }
    }
}
