// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who the drive is: INQUIRY with its vital product data, and REPORT LUNS.

use super::cdb::Cdb;
use super::sense::Sense;
use super::{DvdDrive, Outcome};

/// CD/DVD device.
const PERIPHERAL_TYPE: u8 = 0x05;
const REMOVABLE: u8 = 0x80;
/// SPC-3.
const VERSION: u8 = 0x05;
/// Response data format 2; the upper half is the ATAPI version, as drives with this interface have it.
const RESPONSE_FORMAT: u8 = 0x32;
const STANDARD_LEN: u8 = 36;

const PAGE_SUPPORTED: u8 = 0x00;
const PAGE_SERIAL: u8 = 0x80;
const PAGE_IDENTIFICATION: u8 = 0x83;
/// Designator: ASCII, associated with the logical unit, T10 vendor identification.
const DESIGNATOR_ASCII: u8 = 0x02;
const DESIGNATOR_T10: u8 = 0x01;

/// How a drive introduces itself. Fields are printable ASCII and cut off or padded with spaces to their width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Vendor, 8 characters.
    pub vendor: String,
    /// Product, 16 characters.
    pub product: String,
    /// Revision, 4 characters.
    pub revision: String,
    /// Serial number, 20 characters.
    pub serial: String,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            vendor: "VPC".into(),
            product: "DVD-ROM".into(),
            revision: "1.0".into(),
            serial: "1".into(),
        }
    }
}

/// Width of the serial number.
const SERIAL_LEN: usize = 20;

impl Identity {
    /// The serial number, as all commands tell it.
    pub(super) fn serial(&self) -> Vec<u8> {
        field(&self.serial, SERIAL_LEN)
    }
}

fn field(text: &str, width: usize) -> Vec<u8> {
    let printable = text.bytes().filter(|byte| (0x20..0x7f).contains(byte));
    printable.chain(std::iter::repeat(b' ')).take(width).collect()
}

impl DvdDrive {
    /// INQUIRY (SPC-3 6.4).
    pub(super) fn inquiry(&mut self, cdb: &Cdb) -> Outcome {
        let (evpd, page) = (cdb.bit(1, 0), cdb.byte(2));
        // Command support data, which SPC-3 made obsolete.
        if cdb.bit(1, 1) {
            return Err(Sense::invalid_field(1));
        }
        let data = match (evpd, page) {
            (false, 0) => self.standard_inquiry(),
            (true, PAGE_SUPPORTED) => vpd(page, &[PAGE_SUPPORTED, PAGE_SERIAL, PAGE_IDENTIFICATION]),
            (true, PAGE_SERIAL) => vpd(page, &self.identity.serial()),
            (true, PAGE_IDENTIFICATION) => {
                let mut name = field(&self.identity.vendor, 8);
                name.extend(field(&self.identity.product, 16));
                name.extend(self.identity.serial());
                let mut designator = vec![DESIGNATOR_ASCII, DESIGNATOR_T10, 0, name.len() as u8];
                designator.extend(name);
                vpd(page, &designator)
            }
            _ => return Err(Sense::invalid_field(2)),
        };
        self.respond(data, usize::from(cdb.be16(3)))
    }

    fn standard_inquiry(&self) -> Vec<u8> {
        let mut data = vec![
            PERIPHERAL_TYPE,
            REMOVABLE,
            VERSION,
            RESPONSE_FORMAT,
            STANDARD_LEN - 5,
            0,
            0,
            0,
        ];
        data.extend(field(&self.identity.vendor, 8));
        data.extend(field(&self.identity.product, 16));
        data.extend(field(&self.identity.revision, 4));
        data
    }

    /// REPORT LUNS (SPC-3 6.21): one unit, number 0, and no well-known ones.
    pub(super) fn report_luns(&mut self, cdb: &Cdb) -> Outcome {
        let units = match cdb.byte(2) {
            0 | 2 => 1_u32,
            1 => 0,
            _ => return Err(Sense::invalid_field(2)),
        };
        let allocation = cdb.be32(6);
        if allocation < 16 {
            return Err(Sense::invalid_field(6));
        }
        let mut data = (units * 8).to_be_bytes().to_vec();
        data.resize(8 + units as usize * 8, 0);
        self.respond(data, usize::try_from(allocation).unwrap_or(usize::MAX))
    }
}

fn vpd(page: u8, content: &[u8]) -> Vec<u8> {
    let mut data = vec![PERIPHERAL_TYPE, page, 0, content.len() as u8];
    data.extend(content);
    data
}
