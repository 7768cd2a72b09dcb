// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is on the disc: one session with one data track.

use super::address::{Msf, response_address, response_distance};
use super::cdb::Cdb;
use super::sense::Sense;
use super::spec::{ADR_CONTROL_DATA, LEAD_OUT, Profile};
use super::{DvdDrive, Outcome};

/// The only track and the only session.
const FIRST: u8 = 1;

/// READ TOC formats (MMC-5 table 452). PMA, ATIP and CD-TEXT are not on a CD-ROM.
const FORMAT_TOC: u8 = 0;
const FORMAT_SESSION: u8 = 1;
const FORMAT_RAW: u8 = 2;

/// READ SUB-CHANNEL formats.
const SUB_Q_POSITION: u8 = 1;
const SUB_Q_CATALOGUE: u8 = 2;
const SUB_Q_ISRC: u8 = 3;
/// No audio operation to tell about.
const NO_AUDIO_STATUS: u8 = 0x15;

/// READ DISC INFORMATION: last session complete, disc complete.
const DISC_COMPLETE: u8 = 0x0e;
/// Unrestricted use.
const UNRESTRICTED_USE: u8 = 0x20;
/// An address that does not exist on a finished disc.
const NO_ADDRESS: [u8; 4] = [0xff; 4];

/// READ TRACK INFORMATION: track mode 4 (data), data mode 1.
const TRACK_MODE_DATA: u8 = 4;
const DATA_MODE_1: u8 = 1;

/// Prefixes a response with the two-byte length of what follows.
fn with_length(content: &[u8]) -> Vec<u8> {
    let mut data = (content.len() as u16).to_be_bytes().to_vec();
    data.extend(content);
    data
}

impl DvdDrive {
    /// READ TOC/PMA/ATIP (MMC-5 6.26).
    pub(super) fn read_toc(&mut self, cdb: &Cdb) -> Outcome {
        let disc = self.ready_disc()?;
        let (sectors, profile) = (disc.sectors, disc.profile);
        let msf = cdb.bit(1, 1);
        // ATAPI drives before MMC took the format from the control byte; their drivers leave the new field zero.
        let format = match cdb.byte(2) & 0x0f {
            0 => cdb.byte(9) >> 6,
            format => format,
        };
        let from = cdb.byte(6);
        let mut content = vec![FIRST, FIRST];
        match format {
            FORMAT_TOC => {
                if from > FIRST && from != LEAD_OUT {
                    return Err(Sense::invalid_field(6));
                }
                if from != LEAD_OUT {
                    content.extend([0, ADR_CONTROL_DATA, FIRST, 0]);
                    content.extend(response_address(0, msf));
                }
                content.extend([0, ADR_CONTROL_DATA, LEAD_OUT, 0]);
                content.extend(response_address(sectors, msf));
            }
            FORMAT_SESSION => {
                content.extend([0, ADR_CONTROL_DATA, FIRST, 0]);
                content.extend(response_address(0, msf));
            }
            // The lead-in of a DVD has no Q sub-channel.
            FORMAT_RAW if profile == Profile::CdRom => {
                if from > FIRST {
                    return Err(Sense::invalid_field(6));
                }
                // Points A0 and A1 tell the first and last track in place of a minute, A2 the lead-out.
                let time = |lba| {
                    let msf = Msf::from_lba(lba);
                    [msf.minute, msf.second, msf.frame]
                };
                for (point, address) in [
                    (0xa0, [FIRST, 0, 0]),
                    (0xa1, [FIRST, 0, 0]),
                    (0xa2, time(sectors)),
                    (FIRST, time(0)),
                ] {
                    content.extend([FIRST, ADR_CONTROL_DATA, 0, point, 0, 0, 0, 0]);
                    content.extend(address);
                }
            }
            _ => return Err(Sense::invalid_field(2)),
        }
        self.respond(with_length(&content), usize::from(cdb.be16(7)))
    }

    /// READ SUB-CHANNEL (MMC-5 6.25).
    pub(super) fn read_sub_channel(&mut self, cdb: &Cdb) -> Outcome {
        self.ready_disc()?;
        let msf = cdb.bit(1, 1);
        let position = self.state.position;
        let mut content = Vec::new();
        // Without the SubQ bit there is only the header.
        if cdb.bit(2, 6) {
            match cdb.byte(3) {
                SUB_Q_POSITION => {
                    content.extend([SUB_Q_POSITION, ADR_CONTROL_DATA, FIRST, 1]);
                    content.extend(response_address(position, msf));
                    // The track starts at block 0.
                    content.extend(response_distance(position, msf));
                }
                SUB_Q_CATALOGUE => {
                    content.push(SUB_Q_CATALOGUE);
                    content.resize(20, 0);
                }
                SUB_Q_ISRC if cdb.byte(6) == FIRST => {
                    content.extend([SUB_Q_ISRC, ADR_CONTROL_DATA, FIRST]);
                    content.resize(20, 0);
                }
                SUB_Q_ISRC => return Err(Sense::invalid_field(6)),
                _ => return Err(Sense::invalid_field(3)),
            }
        }
        let mut data = vec![0, NO_AUDIO_STATUS];
        data.extend(with_length(&content));
        self.respond(data, usize::from(cdb.be16(7)))
    }

    /// READ DISC INFORMATION (MMC-5 6.22), standard disc information.
    pub(super) fn read_disc_information(&mut self, cdb: &Cdb) -> Outcome {
        self.ready_disc()?;
        if cdb.byte(1) & 0x07 != 0 {
            return Err(Sense::invalid_field(1));
        }
        let mut content = vec![
            DISC_COMPLETE,
            FIRST,
            // Sessions; first and last track of the last one.
            1,
            FIRST,
            FIRST,
            UNRESTRICTED_USE,
            // Disc type: CD-ROM, or not a CD.
            0,
            // High bytes of the three numbers.
            0,
            0,
            0,
        ];
        // Disc identification: none.
        content.extend([0; 4]);
        // Lead-in of a next session, last possible lead-out.
        content.extend(NO_ADDRESS);
        content.extend(NO_ADDRESS);
        // Bar code, application code, power calibration tables.
        content.extend([0; 10]);
        self.respond(with_length(&content), usize::from(cdb.be16(7)))
    }

    /// READ TRACK INFORMATION (MMC-5 6.27).
    pub(super) fn read_track_information(&mut self, cdb: &Cdb) -> Outcome {
        let sectors = self.ready_disc()?.sectors;
        let number = cdb.be32(2);
        match cdb.byte(1) & 0x03 {
            // By block address.
            0 if number < sectors => {}
            0 => return Err(Sense::OUT_OF_RANGE),
            // By track and by session: FFh asks for the track that is still open, and there is none.
            1 | 2 if number == u32::from(FIRST) => {}
            1 | 2 => return Err(Sense::invalid_field(2)),
            _ => return Err(Sense::invalid_field(1)),
        }
        let mut content = vec![FIRST, FIRST, 0, TRACK_MODE_DATA, DATA_MODE_1, 0];
        // Start of the track; next writable block, free blocks and packet size mean nothing.
        content.extend([0; 16]);
        content.extend(sectors.to_be_bytes());
        // Last recorded block (not valid), high bytes of track and session.
        content.extend([0; 8]);
        self.respond(with_length(&content), usize::from(cdb.be16(7)))
    }
}
