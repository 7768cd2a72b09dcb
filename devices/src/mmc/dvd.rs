// SPDX-License-Identifier: Apache-2.0 OR MIT
//! READ DVD STRUCTURE: the control data of a DVD-ROM.

use super::cdb::Cdb;
use super::sense::Sense;
use super::spec::{DVD_ECC_SECTORS, DVD_FIRST_SECTOR, DVD_LAYER_SECTORS, Profile};
use super::{DvdDrive, Outcome};

/// Structures (MMC-5 table 394).
const FORMAT_PHYSICAL: u8 = 0x00;
const FORMAT_COPYRIGHT: u8 = 0x01;
const FORMAT_MANUFACTURER: u8 = 0x04;
const FORMAT_LIST: u8 = 0xff;

/// What each structure is long, with its 4-byte header.
const LEN_PHYSICAL: usize = 2052;
const LEN_COPYRIGHT: usize = 8;
const LEN_MANUFACTURER: usize = 2052;

/// Format list: the structure can be read.
const READABLE: u8 = 0x40;
/// Medium type of the command: DVD.
const MEDIUM_DVD: u8 = 0;

/// DVD-ROM, part version 1.
const BOOK_TYPE: u8 = 0x01;
/// 120 mm, 10.08 Mbit/s.
const DISC_SIZE_AND_RATE: u8 = 0x02;
/// One embossed layer.
const ONE_LAYER: u8 = 0x01;
/// Two embossed layers on opposite track paths.
const TWO_LAYERS: u8 = 0x20 | 0x10 | 0x01;

/// Where the data lies on the disc, in physical sector numbers.
struct Layers {
    count: u8,
    last: u32,
    /// Last sector of layer 0 of two; 0 for a single layer.
    last_of_layer_0: u32,
}

impl Layers {
    fn of(sectors: u32) -> Self {
        if sectors <= DVD_LAYER_SECTORS {
            return Self {
                count: 1,
                last: DVD_FIRST_SECTOR + sectors.saturating_sub(1),
                last_of_layer_0: 0,
            };
        }
        // The layers share the data evenly in whole ECC blocks. Layer 1 is read from the rim inwards: its numbers are the complement of those
        // beneath (ECMA-267 section 4).
        let layer_0 = sectors.div_ceil(2).next_multiple_of(DVD_ECC_SECTORS);
        let last_of_layer_0 = DVD_FIRST_SECTOR.wrapping_add(layer_0) - 1;
        let first_of_layer_1 = !last_of_layer_0 & 0x00ff_ffff;
        Self {
            count: 2,
            last: first_of_layer_1.wrapping_add((sectors - layer_0).saturating_sub(1)),
            last_of_layer_0,
        }
    }
}

/// A sector number in its three bytes.
fn sector_number(psn: u32) -> [u8; 4] {
    let [_, high, middle, low] = psn.to_be_bytes();
    [0, high, middle, low]
}

impl DvdDrive {
    /// READ DVD STRUCTURE (MMC-5 6.24, as READ DISC STRUCTURE).
    pub(super) fn read_dvd_structure(&mut self, cdb: &Cdb) -> Outcome {
        let (layer, format) = (cdb.byte(6), cdb.byte(7));
        if cdb.byte(1) & 0x0f != MEDIUM_DVD {
            return Err(Sense::invalid_field(1));
        }
        let data = if format == FORMAT_LIST {
            // About the drive, not the disc.
            format_list()
        } else {
            let disc = self.ready_disc()?;
            if disc.profile != Profile::DvdRom {
                return Err(Sense::INCOMPATIBLE_FORMAT);
            }
            let layers = Layers::of(disc.sectors);
            if layer >= layers.count {
                return Err(Sense::invalid_field(6));
            }
            match format {
                FORMAT_PHYSICAL => structure(&physical(&layers), LEN_PHYSICAL),
                // No copy protection, all regions.
                FORMAT_COPYRIGHT => structure(&[], LEN_COPYRIGHT),
                FORMAT_MANUFACTURER => structure(&[], LEN_MANUFACTURER),
                _ => return Err(Sense::invalid_field(7)),
            }
        };
        self.respond(data, usize::from(cdb.be16(8)))
    }
}

fn physical(layers: &Layers) -> Vec<u8> {
    let structure = if layers.count == 1 { ONE_LAYER } else { TWO_LAYERS };
    // The last byte is for densities: 0.267 micrometres a bit, 0.74 a track.
    let mut data = vec![BOOK_TYPE, DISC_SIZE_AND_RATE, structure, 0];
    for psn in [DVD_FIRST_SECTOR, layers.last, layers.last_of_layer_0] {
        data.extend(sector_number(psn));
    }
    data
}

/// Header and content, filled up with zeros to `len`.
fn structure(content: &[u8], len: usize) -> Vec<u8> {
    let mut data = ((len - 2) as u16).to_be_bytes().to_vec();
    data.extend([0, 0]);
    data.extend(content);
    data.resize(len, 0);
    data
}

fn format_list() -> Vec<u8> {
    let mut content = Vec::new();
    for (format, len) in [
        (FORMAT_PHYSICAL, LEN_PHYSICAL),
        (FORMAT_COPYRIGHT, LEN_COPYRIGHT),
        (FORMAT_MANUFACTURER, LEN_MANUFACTURER),
    ] {
        content.extend([format, READABLE]);
        content.extend((len as u16).to_be_bytes());
    }
    structure(&content, 4 + content.len())
}
