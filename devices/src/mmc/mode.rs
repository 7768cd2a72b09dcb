// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Mode pages.
//!
//! Each page is two rows of bytes: its default and a mask of what MODE SELECT may change, which is also the answer to a request for
//! changeable values. Pages cannot be saved.

use super::cdb::Cdb;
use super::sense::Sense;
use super::spec::{BUFFER_KIB, Profile, SECTOR};
use super::{DvdDrive, GOOD, Outcome, Running};
use crate::packet::Reply;
use crate::snapshot::{BadState, must};
use serde::{Deserialize, Serialize};

/// A page's code and its length byte.
const PAGE_HEADER: usize = 2;
const ALL_PAGES: u8 = 0x3f;
const ALL_SUBPAGES: u8 = 0xff;

const PAGE_CAPABILITIES: u8 = 0x2a;

struct Page {
    default: &'static [u8],
    changeable: &'static [u8],
}

/// In rising order, as they are reported when all are asked for.
#[rustfmt::skip]
const PAGES: [Page; 6] = [
    // Read/Write Error Recovery (MMC-5 7.3): recovery parameter and retry counts.
    Page {
        default:    &[0x01, 0x0a, 0x00, 0x05, 0, 0, 0, 0, 0, 0, 0, 0],
        changeable: &[0x01, 0x0a, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0],
    },
    // CD Device Parameters (MMC-3): inactivity timer, 60 seconds a minute, 75 frames a second.
    Page {
        default:    &[0x0d, 0x06, 0, 0x00, 0, 60, 0, 75],
        changeable: &[0x0d, 0x06, 0, 0x0f, 0, 0, 0, 0],
    },
    // CD Audio Control (MMC-5 7.6): immediate; ports 0 and 1 with their channels and volumes.
    Page {
        default:    &[0x0e, 0x0e, 0x04, 0, 0, 0, 0, 0, 0x01, 0xff, 0x02, 0xff, 0, 0, 0, 0],
        changeable: &[0x0e, 0x0e, 0x02, 0, 0, 0, 0, 0, 0x0f, 0xff, 0x0f, 0xff, 0, 0, 0, 0],
    },
    // Power Condition (SPC-3 7.4.12): idle and standby timers.
    Page {
        default:    &[0x1a, 0x0a, 0, 0x00, 0, 0, 0, 0, 0, 0, 0, 0],
        changeable: &[0x1a, 0x0a, 0, 0x03, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    },
    // Timeout and Protect (MMC-5 7.9): group 1 and group 2 time-outs in seconds.
    Page {
        default:    &[0x1d, 0x08, 0, 0, 0, 0, 0, 10, 0, 60],
        changeable: &[0x1d, 0x08, 0, 0, 0, 0, 0, 0, 0, 0],
    },
    // MM Capabilities and Mechanical Status (MMC-3 5.5.10). Reads CD-R, CD-RW, method 2 and DVD-ROM; mode 2 and multi-session; a tray that
    // can eject and lock. Bytes 6 (locked), 8-9 (fastest speed), 12-13 (buffer) and 14-15 (speed now) are put in as they stand.
    Page {
        default:    &[0x2a, 0x18, 0x0f, 0, 0x70, 0, 0x29, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        changeable: &[0x2a, 0x18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    },
];

const LOCK_STATE: u8 = 0x02;

/// Which values MODE SENSE asks for.
#[derive(Clone, Copy)]
enum Control {
    Current,
    Changeable,
    Default,
}

/// Medium types of the mode parameter header (SFF-8020i table 53); MMC reserves the byte, old drivers read it.
const MEDIUM_UNKNOWN: u8 = 0x00;
const MEDIUM_CD_DATA: u8 = 0x01;
const MEDIUM_NONE: u8 = 0x70;
const MEDIUM_DOOR_OPEN: u8 = 0x71;

/// Current values.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct ModePages([Vec<u8>; PAGES.len()]);

impl ModePages {
    /// Refuses values that no MODE SELECT would have set.
    pub fn check(&self) -> Result<(), BadState> {
        let possible = |(page, current): (&Page, &Vec<u8>)| {
            current.len() == page.default.len()
                && current
                    .iter()
                    .zip(page.default)
                    .zip(page.changeable.iter().enumerate())
                    .all(|((now, default), (at, mask))| at < PAGE_HEADER || (now ^ default) & !mask == 0)
        };
        let headers = |(page, current): (&Page, &Vec<u8>)| {
            current.get(..PAGE_HEADER) == page.default.get(..PAGE_HEADER)
        };
        let pairs = || PAGES.iter().zip(&self.0);
        must(
            pairs().all(possible) && pairs().all(headers),
            "mode pages that the drive does not have",
        )
    }
}

impl Default for ModePages {
    fn default() -> Self {
        Self(PAGES.map(|page| page.default.to_vec()))
    }
}

/// The two forms of the commands.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Form {
    Six,
    Ten,
}

impl Form {
    /// Length of the mode parameter header.
    fn header(self) -> usize {
        match self {
            Self::Six => 4,
            Self::Ten => 8,
        }
    }
}

/// A MODE SELECT that waits for its parameter list.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModeSelect {
    form: Form,
    len: usize,
}

impl DvdDrive {
    /// MODE SENSE (6) (SPC-3 6.9).
    pub(super) fn mode_sense_6(&mut self, cdb: &Cdb) -> Outcome {
        self.mode_sense(cdb, Form::Six, usize::from(cdb.byte(4)))
    }

    /// MODE SENSE (10) (SPC-3 6.10).
    pub(super) fn mode_sense_10(&mut self, cdb: &Cdb) -> Outcome {
        self.mode_sense(cdb, Form::Ten, usize::from(cdb.be16(7)))
    }

    fn mode_sense(&mut self, cdb: &Cdb, form: Form, allocation: usize) -> Outcome {
        let code = cdb.byte(2) & 0x3f;
        let control = match cdb.byte(2) >> 6 {
            0 => Control::Current,
            1 => Control::Changeable,
            2 => Control::Default,
            _ => return Err(Sense::SAVING_NOT_SUPPORTED),
        };
        // There are no sub-pages, so that "all of them" comes to the same.
        if !matches!(cdb.byte(3), 0 | ALL_SUBPAGES) {
            return Err(Sense::invalid_field(3));
        }
        let mut pages = Vec::new();
        for (page, current) in PAGES.iter().zip(&self.state.modes.0) {
            let [number, ..] = page.default else { continue };
            if code == *number || code == ALL_PAGES {
                let mut data = match control {
                    Control::Current => current.clone(),
                    Control::Changeable => page.changeable.to_vec(),
                    Control::Default => page.default.to_vec(),
                };
                if *number == PAGE_CAPABILITIES && !matches!(control, Control::Changeable) {
                    self.put_capabilities(&mut data);
                }
                pages.extend(data);
            }
        }
        if pages.is_empty() {
            return Err(Sense::invalid_field(2));
        }
        let medium = self.medium_type();
        let mut data = match form {
            // The length counts what follows it; there are no block descriptors.
            Form::Six => vec![(3 + pages.len()) as u8, medium, 0, 0],
            Form::Ten => {
                let [high, low] = ((6 + pages.len()) as u16).to_be_bytes();
                vec![high, low, medium, 0, 0, 0, 0, 0]
            }
        };
        data.extend(pages);
        self.respond(data, allocation)
    }

    fn medium_type(&self) -> u8 {
        match self.disc().map(|disc| disc.profile) {
            Some(Profile::CdRom) => MEDIUM_CD_DATA,
            Some(_) => MEDIUM_UNKNOWN,
            None if self.sees_open_tray() => MEDIUM_DOOR_OPEN,
            None => MEDIUM_NONE,
        }
    }

    fn put_capabilities(&self, page: &mut [u8]) {
        if let Some(mechanism) = page.get_mut(6)
            && self.state.prevent.any()
        {
            *mechanism |= LOCK_STATE;
        }
        for (at, value) in [(8, self.max_speed()), (12, BUFFER_KIB), (14, self.speed())] {
            if let Some(field) = page.get_mut(at..at + 2) {
                field.copy_from_slice(&value.to_be_bytes());
            }
        }
    }

    /// MODE SELECT (6) (SPC-3 6.7).
    pub(super) fn mode_select_6(&mut self, cdb: &Cdb) -> Outcome {
        self.mode_select(cdb, Form::Six, usize::from(cdb.byte(4)))
    }

    /// MODE SELECT (10) (SPC-3 6.8).
    pub(super) fn mode_select_10(&mut self, cdb: &Cdb) -> Outcome {
        self.mode_select(cdb, Form::Ten, usize::from(cdb.be16(7)))
    }

    fn mode_select(&mut self, cdb: &Cdb, form: Form, len: usize) -> Outcome {
        // Pages in the standard's format only (PF), and none can be saved (SP).
        if !cdb.bit(1, 4) || cdb.bit(1, 0) {
            return Err(Sense::invalid_field(1));
        }
        if len == 0 {
            return Ok(GOOD);
        }
        self.state.running = Running::ModeSelect(ModeSelect { form, len });
        Ok(Reply::DataOut { len })
    }

    /// Takes in a parameter list: all of it, or nothing if anything is wrong with it.
    pub(super) fn apply_mode_select(&mut self, select: &ModeSelect, list: &[u8]) -> Result<(), Sense> {
        let list = list
            .get(..select.len)
            .filter(|list| list.len() >= select.form.header())
            .ok_or(Sense::PARAMETER_LIST_LENGTH)?;
        let mut at = select.form.header() + check_block_descriptor(select.form, list)?;
        let mut changed: Vec<(usize, &[u8])> = Vec::new();
        while at < list.len() {
            let page = list.get(at..).unwrap_or_default();
            let [code, len, ..] = page else {
                return Err(Sense::PARAMETER_LIST_LENGTH);
            };
            // Bit 7 (PS) is for MODE SENSE; bit 6 would announce a sub-page.
            let index = PAGES
                .iter()
                .position(|known| known.default.first() == Some(&(code & 0x7f)))
                .ok_or(Sense::invalid_parameter(at))?;
            let page = page
                .get(..PAGE_HEADER + usize::from(*len))
                .ok_or(Sense::PARAMETER_LIST_LENGTH)?;
            self.check_page(index, at, page)?;
            changed.push((index, page));
            at += page.len();
        }
        for (index, page) in changed {
            if let Some(current) = self.state.modes.0.get_mut(index) {
                for (to, from) in current.iter_mut().zip(page).skip(PAGE_HEADER) {
                    *to = *from;
                }
            }
        }
        Ok(())
    }

    /// Refuses a page, which stands at `at`, with the wrong length or with a change where none may be.
    fn check_page(&self, index: usize, at: usize, page: &[u8]) -> Result<(), Sense> {
        let (Some(known), Some(current)) = (PAGES.get(index), self.state.modes.0.get(index)) else {
            return Err(Sense::invalid_parameter(at));
        };
        if page.len() != known.default.len() {
            return Err(Sense::invalid_parameter(at + 1));
        }
        let mut current = current.clone();
        if known.default.first() == Some(&PAGE_CAPABILITIES) {
            self.put_capabilities(&mut current);
        }
        let changes = page.iter().zip(&current).zip(known.changeable);
        let wrong = changes
            .skip(PAGE_HEADER)
            .position(|((new, old), mask)| (new ^ old) & !mask != 0);
        match wrong {
            Some(byte) => Err(Sense::invalid_parameter(at + PAGE_HEADER + byte)),
            None => Ok(()),
        }
    }
}

/// Length of the block descriptors in a parameter list: none, or one that asks for the block length that there is.
fn check_block_descriptor(form: Form, list: &[u8]) -> Result<usize, Sense> {
    const DESCRIPTOR: usize = 8;
    let header = form.header();
    let (at, len) = match (form, list) {
        (Form::Six, [_, _, _, len, ..]) => (3, usize::from(*len)),
        (Form::Ten, [_, _, _, _, _, _, high, low, ..]) => (6, usize::from(u16::from_be_bytes([*high, *low]))),
        _ => return Err(Sense::PARAMETER_LIST_LENGTH),
    };
    match len {
        0 => Ok(0),
        DESCRIPTOR => match list.get(header..header + DESCRIPTOR) {
            Some([_, _, _, _, _, a, b, c]) => {
                let block = u32::from_be_bytes([0, *a, *b, *c]);
                if block == 0 || block == SECTOR as u32 {
                    Ok(DESCRIPTOR)
                } else {
                    Err(Sense::invalid_parameter(header + 5))
                }
            }
            _ => Err(Sense::PARAMETER_LIST_LENGTH),
        },
        _ => Err(Sense::invalid_parameter(at)),
    }
}
