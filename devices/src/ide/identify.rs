// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The 256 words of IDENTIFY DEVICE and IDENTIFY PACKET DEVICE (ATA/ATAPI-6).

use super::drive::Cabling;
use super::spec::{LBA28_SECTORS, SECTOR};
use super::transfer_mode::DmaMode;
use crate::block::Chs;

/// What a drive calls itself. Longer texts are cut, characters outside printable ASCII become blanks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Model number, 40 characters.
    pub model: String,
    /// Firmware revision, 8 characters.
    pub firmware: String,
    /// Serial number, 20 characters.
    pub serial: String,
}

/// ATA-1 to ATA/ATAPI-6 (word 80).
const MAJOR_VERSION: u16 = 0x007e;
/// ATA/ATAPI-6 as published: INCITS 361-2002 (word 81).
const MINOR_VERSION: u16 = 0x0022;
/// Bits 15:14 of words that are valid when they read 01b.
const VALID: u16 = 1 << 14;
/// The cycle time of PIO mode 4 and multiword DMA mode 2, in nanoseconds.
const CYCLE_TIME: u16 = 120;

/// Words 82 and 85: which feature sets there are, and which are on.
mod set1 {
    pub(super) const SMART: u16 = 1 << 0;
    pub(super) const POWER_MANAGEMENT: u16 = 1 << 3;
    pub(super) const PACKET: u16 = 1 << 4;
    pub(super) const WRITE_CACHE: u16 = 1 << 5;
    pub(super) const LOOK_AHEAD: u16 = 1 << 6;
    pub(super) const DEVICE_RESET: u16 = 1 << 9;
    pub(super) const NOP: u16 = 1 << 14;
}

/// Words 83 and 86, likewise.
mod set2 {
    pub(super) const ADVANCED_POWER_MANAGEMENT: u16 = 1 << 3;
    pub(super) const LBA48: u16 = 1 << 10;
    pub(super) const FLUSH_CACHE: u16 = 1 << 12;
    pub(super) const FLUSH_CACHE_EXT: u16 = 1 << 13;
}

/// Words 84 and 87: WRITE DMA FUA EXT and WRITE MULTIPLE FUA EXT.
const FUA: u16 = 1 << 6;

/// What IDENTIFY DEVICE says of a hard disk.
pub(super) struct DiskFacts<'a> {
    pub(super) identity: &'a Identity,
    pub(super) cabling: Cabling,
    pub(super) sectors: u64,
    pub(super) geometry: Chs,
    /// The translation that INITIALIZE DEVICE PARAMETERS set.
    pub(super) translation: Chs,
    pub(super) max_multiple: u8,
    pub(super) multiple: u8,
    pub(super) dma_mode: DmaMode,
    pub(super) smart: bool,
    pub(super) write_cache: bool,
    pub(super) look_ahead: bool,
    /// Level of advanced power management, if it is on.
    pub(super) power_level: Option<u8>,
}

pub(super) fn disk(facts: &DiskFacts<'_>) -> Vec<u8> {
    let mut words = Words::new();
    words.identity(facts.identity);
    // Fixed device.
    words.set(0, 0x0040);
    words.set(1, facts.geometry.cylinders as u16);
    // The device needs no SET FEATURES to spin up, and these words are complete.
    words.set(2, 0xc837);
    words.set(3, facts.geometry.heads as u16);
    words.set(4, (facts.geometry.sectors * SECTOR as u32) as u16);
    words.set(5, SECTOR as u16);
    words.set(6, facts.geometry.sectors as u16);
    // ATA-1: a dual-ported buffer of 256 KiB with caching, and 4 ECC bytes for READ LONG.
    words.set(20, 3);
    words.set(21, 512);
    words.set(22, 4);
    words.set(47, 0x8000 | u16::from(facts.max_multiple));
    // 32-bit data register (ATA-1).
    words.set(48, 1);
    // Standard standby timers, IORDY that can be disabled, LBA, DMA.
    words.set(49, 1 << 13 | 1 << 11 | 1 << 10 | 1 << 9 | 1 << 8);
    words.set(50, VALID);
    words.set(51, 0x0200);
    words.set(52, 0x0200);
    let Chs {
        cylinders,
        heads,
        sectors,
    } = facts.translation;
    let current = cylinders * heads * sectors;
    // Words 54 to 58 mean something while a translation is in force.
    words.set(53, 1 << 2 | 1 << 1 | u16::from(current != 0));
    if current != 0 {
        words.set(54, cylinders as u16);
        words.set(55, heads as u16);
        words.set(56, sectors as u16);
        words.set_wide(57, u64::from(current), 2);
    }
    if facts.multiple != 0 {
        words.set(59, 0x0100 | u16::from(facts.multiple));
    }
    words.set_wide(60, facts.sectors.min(LBA28_SECTORS), 2);
    words.timing(facts.dma_mode);
    let present = set1::NOP | set1::LOOK_AHEAD | set1::WRITE_CACHE | set1::POWER_MANAGEMENT | set1::SMART;
    words.set(82, present);
    words.set(
        85,
        set1::NOP
            | set1::POWER_MANAGEMENT
            | when(facts.smart, set1::SMART)
            | when(facts.write_cache, set1::WRITE_CACHE)
            | when(facts.look_ahead, set1::LOOK_AHEAD),
    );
    let always = set2::FLUSH_CACHE | set2::FLUSH_CACHE_EXT | set2::LBA48;
    words.set(83, VALID | always | set2::ADVANCED_POWER_MANAGEMENT);
    words.set(
        86,
        always | when(facts.power_level.is_some(), set2::ADVANCED_POWER_MANAGEMENT),
    );
    words.set(84, VALID | FUA);
    words.set(87, VALID | FUA);
    words.set(91, u16::from(facts.power_level.unwrap_or(0)));
    words.set(93, reset_result(facts.cabling));
    words.set_wide(100, facts.sectors, 4);
    words.finish()
}

/// What IDENTIFY PACKET DEVICE says of a CD or DVD drive.
pub(super) fn packet(identity: &Identity, cabling: Cabling, dma_mode: DmaMode) -> Vec<u8> {
    let mut words = Words::new();
    words.identity(identity);
    // ATAPI, CD-ROM class, removable, DRQ within 50 us of PACKET without interrupt, 12-byte packets.
    words.set(0, 0b10 << 14 | 0x05 << 8 | 1 << 7 | 0b10 << 5);
    // IORDY that can be disabled, LBA, DMA.
    words.set(49, 1 << 11 | 1 << 10 | 1 << 9 | 1 << 8);
    words.set(50, VALID);
    words.set(51, 0x0200);
    words.set(53, 1 << 2 | 1 << 1);
    words.timing(dma_mode);
    let sets = set1::NOP | set1::DEVICE_RESET | set1::PACKET | set1::POWER_MANAGEMENT;
    words.set(82, sets);
    words.set(83, VALID);
    words.set(84, VALID);
    words.set(85, sets);
    words.set(87, VALID);
    words.set(93, reset_result(cabling));
    words.finish()
}

/// A feature set's bit, if it is on.
fn when(on: bool, bit: u16) -> u16 {
    if on { bit } else { 0 }
}

/// Word 93: what the device found out at the last reset. The cable has 80 conductors; numbers are set by jumper.
fn reset_result(cabling: Cabling) -> u16 {
    let cable = VALID | 1 << 13;
    if cabling.device1 {
        // Asserted PDIAG-, number by jumper, bit 8 is always one.
        cable | 1 << 11 | 0b01 << 9 | 1 << 8
    } else {
        // Passed its diagnostics, number by jumper, bit 0 is always one.
        let own = cable | 1 << 3 | 0b01 << 1 | 1;
        if cabling.shared {
            // Saw DASP- and PDIAG- of device 1.
            own | 1 << 5 | 1 << 4
        } else {
            // Answers for device 1.
            own | 1 << 6
        }
    }
}

struct Words([u16; 256]);

impl Words {
    fn new() -> Self {
        Self([0; 256])
    }

    fn set(&mut self, word: usize, value: u16) {
        self.0[word] = value;
    }

    fn set_wide(&mut self, first: usize, value: u64, words: usize) {
        for (i, word) in self.0[first..first + words].iter_mut().enumerate() {
            *word = (value >> (16 * i)) as u16;
        }
    }

    /// Text: the first character of a word is in its upper byte, blanks to the end.
    fn set_text(&mut self, first: usize, words: usize, text: &str) {
        let mut bytes = text
            .bytes()
            .map(|byte| if matches!(byte, b' '..=b'~') { byte } else { b' ' })
            .chain(std::iter::repeat(b' '));
        for word in &mut self.0[first..first + words] {
            let mut byte = || bytes.next().unwrap_or(b' ');
            *word = u16::from_be_bytes([byte(), byte()]);
        }
    }

    fn identity(&mut self, identity: &Identity) {
        self.set_text(10, 10, &identity.serial);
        self.set_text(23, 4, &identity.firmware);
        self.set_text(27, 20, &identity.model);
    }

    /// DMA and PIO modes, cycle times and version: the same for both kinds of device.
    fn timing(&mut self, mode: DmaMode) {
        self.set(63, mode.multiword_word());
        self.set(64, 0b11);
        for word in 65..=68 {
            self.set(word, CYCLE_TIME);
        }
        self.set(80, MAJOR_VERSION);
        self.set(81, MINOR_VERSION);
        self.set(88, mode.ultra_word());
    }

    /// The sector, with the integrity word: A5h, and a byte that makes the sum of all bytes zero.
    fn finish(mut self) -> Vec<u8> {
        self.0[255] = 0x00a5;
        let mut bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        if let Some(last) = bytes.last_mut() {
            *last = sum.wrapping_neg();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(data: &[u8], index: usize) -> u16 {
        u16::from_le_bytes([data[2 * index], data[2 * index + 1]])
    }

    fn identity() -> Identity {
        Identity {
            model: "Virtual HD".into(),
            firmware: "1.1".into(),
            serial: "0123456789abcdef0123456789".into(),
        }
    }

    fn facts(identity: &Identity) -> DiskFacts<'_> {
        let geometry = Chs {
            cylinders: 16_383,
            heads: 16,
            sectors: 63,
        };
        DiskFacts {
            identity,
            cabling: Cabling::default(),
            sectors: 0x1_2345_6789,
            geometry,
            translation: geometry,
            max_multiple: 128,
            multiple: 16,
            dma_mode: DmaMode::Ultra(5),
            smart: true,
            write_cache: false,
            look_ahead: true,
            power_level: Some(0x80),
        }
    }

    #[test]
    fn the_words_drivers_decide_by() {
        let identity = identity();
        let data = disk(&facts(&identity));
        let words = [
            (0, 0x0040),
            (1, 16_383),
            (3, 16),
            (6, 63),
            (47, 0x8080),
            (49, 0x2f00),
            (53, 0x0007),
            (59, 0x0110),
            (60, 0xffff),
            (61, 0x0fff),
            (63, 0x0007),
            (80, 0x007e),
            (82, 0x4069),
            (83, 0x7408),
            (84, 0x4040),
            (85, 0x4049),
            (86, 0x3408),
            (87, 0x4040),
            (88, 0x203f),
            (91, 0x0080),
            (100, 0x6789),
            (101, 0x2345),
            (102, 0x0001),
            (103, 0),
        ];
        for (index, value) in words {
            assert_eq!(word(&data, index), value, "word {index}");
        }
        assert_eq!(
            u32::from(word(&data, 57)) | u32::from(word(&data, 58)) << 16,
            16_383 * 16 * 63
        );
    }

    #[test]
    fn text_is_swapped_padded_and_cut() {
        let data = disk(&facts(&Identity {
            model: "A\u{e9}".into(),
            ..identity()
        }));
        assert_eq!(&data[20..40], b"1032547698badcfe1032");
        assert_eq!(&data[46..54], b".1 1    ");
        assert_eq!(&data[54..58], b" A  ");
    }

    #[test]
    fn the_sum_of_all_bytes_is_zero() {
        let identity = identity();
        for data in [
            disk(&facts(&identity)),
            packet(&identity, Cabling::default(), DmaMode::default()),
        ] {
            assert_eq!((data.len(), data[510]), (512, 0xa5));
            assert_eq!(data.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)), 0);
        }
    }

    #[test]
    fn without_a_translation_its_words_are_invalid() {
        let identity = identity();
        let data = disk(&DiskFacts {
            translation: Chs::default(),
            multiple: 0,
            ..facts(&identity)
        });
        assert_eq!(word(&data, 53), 6);
        assert!((54..60).all(|index| word(&data, index) == 0));
    }

    #[test]
    fn the_cable_has_80_conductors_for_both_devices() {
        let at = |device1, shared| reset_result(Cabling { device1, shared });
        assert_eq!(at(false, false), 0x604b);
        assert_eq!(at(false, true), 0x603b);
        assert_eq!(at(true, true), 0x6b00);
    }

    #[test]
    fn a_packet_device() {
        let data = packet(&identity(), Cabling::default(), DmaMode::Multiword(2));
        assert_eq!(word(&data, 0), 0x85c0);
        assert_eq!(word(&data, 49), 0x0f00);
        assert_eq!(word(&data, 63), 0x0407);
        assert_eq!((word(&data, 82), word(&data, 85)), (0x4218, 0x4218));
    }
}
