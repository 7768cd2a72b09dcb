// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A DVD drive's command set (SPC-3, MMC-5): a tray-loading DVD-ROM drive that reads CD-ROM and DVD-ROM.
//!
//! [`DvdDrive`] is the [`PacketDevice`] behind an ATAPI interface, and on its other side the drive that a person puts discs into. The
//! size of a medium says what it is: up to 80 minutes a CD with one track of mode 1, above that a DVD. A medium whose length is no multiple
//! of 2,048 bytes has a last sector that is filled up with zeros.
//!
//! | module | commands |
//! | --- | --- |
//! | `tray` | START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL; the host's side |
//! | `read`, `reader`, `raw` | READ, READ CD, READ CAPACITY, SEEK, VERIFY, SET CD SPEED |
//! | `inquiry` | INQUIRY, REPORT LUNS |
//! | `toc` | READ TOC, READ SUB-CHANNEL, READ DISC and TRACK INFORMATION |
//! | `dvd` | READ DVD STRUCTURE |
//! | `config` | GET CONFIGURATION, GET PERFORMANCE |
//! | `mode` | MODE SENSE, MODE SELECT |
//! | `events` | GET EVENT STATUS NOTIFICATION, MECHANISM STATUS |

mod address;
mod cdb;
mod config;
mod dvd;
mod events;
mod inquiry;
mod mode;
mod raw;
mod read;
mod reader;
mod sense;
mod snapshot;
mod spec;
#[cfg(test)]
mod tests;
mod toc;
mod tray;

pub use inquiry::Identity;
use serde::{Deserialize, Serialize};
pub use tray::{DriveEvent, DriveStatus, Locked};

use crate::block::{Medium, Segment};
use crate::packet::{PacketDevice, Pull, Reply, Status};
use cdb::Cdb;
use mode::{ModePages, ModeSelect};
use read::{Piece, Stream};
use sense::Sense;
use spec::{Command, PowerState, SPEED_MAXIMUM};
use std::collections::VecDeque;
use tray::{MediaEvents, Prevent, Seen, Tray};

/// How a command starts: its reply, or the sense data of its failure.
type Outcome = Result<Reply, Sense>;

/// The command has ended well and moves no data.
const GOOD: Reply = Reply::Done(Status::Good);

/// A DVD-ROM drive.
pub struct DvdDrive {
    // Configuration.
    identity: Identity,

    // Dependencies.
    bell: Box<dyn Fn() + Send>,

    // Book-keeping: what a reset does not touch.
    tray: Tray,
    host_events: VecDeque<DriveEvent>,

    // Volatile state.
    state: State,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    running: Running,
    /// Of the last command, until the next one.
    sense: Sense,
    attention: Attention,
    seen: Seen,
    media_events: MediaEvents,
    prevent: Prevent,
    modes: ModePages,
    /// As SET CD SPEED gave it, in kB/s.
    speed: u16,
    power: PowerState,
    /// The guest has not asked for the last change of `power` yet.
    power_changed: bool,
    /// Block under the head.
    position: u32,
}

impl State {
    fn power_on() -> Self {
        Self {
            running: Running::Idle,
            sense: Sense::NONE,
            attention: Attention {
                power_on: true,
                medium_changed: false,
            },
            seen: Seen::Current,
            media_events: MediaEvents::default(),
            prevent: Prevent::default(),
            modes: ModePages::default(),
            speed: SPEED_MAXIMUM,
            power: PowerState::Active,
            power_changed: false,
            position: 0,
        }
    }
}

/// Unit attentions that are due.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attention {
    power_on: bool,
    medium_changed: bool,
}

impl Attention {
    /// The one to report now, which is then no longer due.
    fn take(&mut self) -> Option<Sense> {
        if std::mem::take(&mut self.power_on) {
            Some(Sense::POWER_ON)
        } else if std::mem::take(&mut self.medium_changed) {
            Some(Sense::MEDIUM_CHANGED)
        } else {
            None
        }
    }
}

/// What the running command still has to do.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Running {
    /// No command is running.
    Idle,
    /// A response goes to the host, from this byte on.
    Response(#[serde(with = "crate::snapshot::hex")] Vec<u8>, usize),
    /// Sectors go to the host.
    Read(Stream),
    /// The medium moves them to guest memory, under this tag.
    #[serde(skip)]
    Straight(Stream, u64),
    /// The host has got all that could be read.
    Failed(Sense),
    /// Mode pages come from the host.
    ModeSelect(ModeSelect),
}

impl DvdDrive {
    /// A drive with its tray closed, just switched on.
    pub fn new(identity: Identity, medium: Option<Box<dyn Medium>>) -> Self {
        Self {
            identity,
            bell: Box::new(|| {}),
            tray: Tray::closed(medium),
            host_events: VecDeque::new(),
            state: State::power_on(),
        }
    }

    /// The same drive, that rings when there are events to [take](Self::take_events): once until they are taken. The bell must not call
    /// the drive.
    #[must_use]
    pub fn ringing(mut self, bell: Box<dyn Fn() + Send>) -> Self {
        self.bell = bell;
        self
    }

    fn start(&mut self, cdb: &Cdb) -> Outcome {
        let command = Command::from_opcode(cdb.byte(0));
        if !command.is_some_and(Command::passes_attention)
            && let Some(attention) = self.state.attention.take()
        {
            return Err(attention);
        }
        match command.ok_or(Sense::INVALID_OPCODE)? {
            Command::TestUnitReady => self.ready_disc().map(|_| GOOD),
            Command::RequestSense => self.request_sense(cdb),
            Command::Inquiry => self.inquiry(cdb),
            Command::ModeSelect6 => self.mode_select_6(cdb),
            Command::ModeSense6 => self.mode_sense_6(cdb),
            Command::StartStopUnit => self.start_stop_unit(cdb),
            Command::PreventAllow => self.prevent_allow(cdb),
            Command::ReadCapacity => self.read_capacity(),
            Command::Read10 => self.read_blocks(cdb, u32::from(cdb.be16(7))),
            Command::Seek10 => self.seek(cdb),
            Command::Verify10 => self.verify(cdb),
            // Nothing is ever written.
            Command::SynchronizeCache => Ok(GOOD),
            Command::ReadSubChannel => self.read_sub_channel(cdb),
            Command::ReadToc => self.read_toc(cdb),
            Command::GetConfiguration => self.get_configuration(cdb),
            Command::GetEventStatus => self.get_event_status(cdb),
            Command::ReadDiscInformation => self.read_disc_information(cdb),
            Command::ReadTrackInformation => self.read_track_information(cdb),
            Command::ModeSelect10 => self.mode_select_10(cdb),
            Command::ModeSense10 => self.mode_sense_10(cdb),
            Command::ReportLuns => self.report_luns(cdb),
            Command::SetReadAhead => self.set_read_ahead(cdb),
            Command::Read12 => self.read_blocks(cdb, cdb.be32(6)),
            Command::GetPerformance => self.get_performance(cdb),
            Command::ReadDvdStructure => self.read_dvd_structure(cdb),
            Command::ReadCdMsf => self.read_cd_msf(cdb),
            Command::SetCdSpeed => self.set_cd_speed(cdb),
            Command::MechanismStatus => self.mechanism_status(cdb),
            Command::ReadCd => self.read_cd(cdb),
        }
    }

    /// REQUEST SENSE (SPC-3 6.27): why the last command failed, or else the unit attention that is due.
    fn request_sense(&mut self, cdb: &Cdb) -> Outcome {
        // Descriptor format.
        if cdb.bit(1, 0) {
            return Err(Sense::invalid_field(1));
        }
        let mut sense = std::mem::replace(&mut self.state.sense, Sense::NONE);
        if sense == Sense::NONE {
            sense = self.state.attention.take().unwrap_or(Sense::NONE);
        }
        self.respond(sense.to_bytes().to_vec(), usize::from(cdb.byte(4)))
    }

    /// Sends `data`, cut off at the allocation length (SPC-3 4.3.4.6).
    fn respond(&mut self, mut data: Vec<u8>, allocation: usize) -> Outcome {
        data.truncate(allocation);
        let len = data.len() as u64;
        if len == 0 {
            return Ok(GOOD);
        }
        self.state.running = Running::Response(data, 0);
        Ok(Reply::DataIn { len })
    }

    /// Ends the running command with CHECK CONDITION.
    fn fail(&mut self, sense: Sense) -> Status {
        self.state.running = Running::Idle;
        self.state.sense = sense;
        Status::CheckCondition {
            sense_key: sense.key(),
        }
    }

    fn pull_sectors(&mut self, mut stream: Stream, max: usize) -> Pull {
        let Some(disc) = self.disc_mut() else {
            // The medium was taken out under the command. The guest sees none, also if the next one is there already.
            let sense = self.ready_disc().err().unwrap_or(Sense::NO_MEDIUM_TRAY_OPEN);
            return Pull::End(self.fail(sense));
        };
        match stream.next(&mut disc.reader, max) {
            Piece::Data(data) => {
                self.state.running = Running::Read(stream);
                Pull::Data(data)
            }
            Piece::Pending => {
                self.state.running = Running::Read(stream);
                Pull::Pending
            }
            Piece::Failed(data, lba) if data.is_empty() => Pull::End(self.fail(Sense::read_error(lba))),
            Piece::Failed(data, lba) => {
                self.state.running = Running::Failed(Sense::read_error(lba));
                Pull::Data(data)
            }
            Piece::End => Pull::End(Status::Good),
        }
    }

    fn pull_straight(&mut self, stream: Stream, tag: u64) -> Pull {
        let Some(disc) = self.disc_mut() else {
            let sense = self.ready_disc().err().unwrap_or(Sense::NO_MEDIUM_TRAY_OPEN);
            return Pull::End(self.fail(sense));
        };
        match disc.reader.arrived(tag) {
            Some(true) => Pull::End(Status::Good),
            // Piece by piece it shows which sector is bad.
            Some(false) => {
                self.state.running = Running::Read(stream);
                Pull::InPieces
            }
            None => {
                self.state.running = Running::Straight(stream, tag);
                Pull::Pending
            }
        }
    }
}

impl PacketDevice for DvdDrive {
    fn straight(&self) -> Option<u64> {
        let Running::Read(stream) = &self.state.running else {
            return None;
        };
        let range = stream.whole()?;
        let disc = self.disc()?;
        disc.reader
            .can_go_straight(range.end)
            .then_some(range.end - range.start)
    }

    fn go_straight(&mut self, segments: Vec<Segment>) {
        match std::mem::replace(&mut self.state.running, Running::Idle) {
            Running::Read(stream) => {
                let start = stream.whole().map(|range| range.start);
                if let (Some(start), Some(disc)) = (start, self.disc_mut()) {
                    let tag = disc.reader.go_straight(start, segments);
                    self.state.running = Running::Straight(stream, tag);
                }
            }
            running => self.state.running = running,
        }
    }

    fn settled(&mut self) -> bool {
        self.disc_mut().is_none_or(|disc| disc.reader.settled())
    }

    fn execute(&mut self, packet: &[u8; 12]) -> Reply {
        let cdb = Cdb::new(packet);
        self.state.running = Running::Idle;
        if Command::from_opcode(cdb.byte(0)) != Some(Command::RequestSense) {
            self.state.sense = Sense::NONE;
        }
        match self.start(&cdb) {
            Ok(reply) => reply,
            Err(sense) => {
                log::debug!("DVD drive: {packet:02x?} failed: {sense:?}");
                Reply::Done(self.fail(sense))
            }
        }
    }

    fn pull(&mut self, max: usize) -> Pull {
        let max = max.max(1);
        match std::mem::replace(&mut self.state.running, Running::Idle) {
            Running::Idle => Pull::End(Status::Good),
            Running::Response(data, 0) if data.len() <= max => Pull::Data(data),
            Running::Response(data, next) => {
                let rest = data.get(next..).unwrap_or_default();
                if rest.is_empty() {
                    return Pull::End(Status::Good);
                }
                let piece = rest[..rest.len().min(max)].to_vec();
                let next = next + piece.len();
                self.state.running = Running::Response(data, next);
                Pull::Data(piece)
            }
            Running::Read(stream) => self.pull_sectors(stream, max),
            Running::Straight(stream, tag) => self.pull_straight(stream, tag),
            Running::Failed(sense) => Pull::End(self.fail(sense)),
            Running::ModeSelect(_) => Pull::End(self.fail(Sense::COMMAND_SEQUENCE)),
        }
    }

    fn give_back(&mut self, piece: Vec<u8>) {
        if let Some(disc) = self.disc_mut() {
            disc.reader.recycle(piece);
        }
    }

    fn push(&mut self, data: &[u8]) -> Status {
        match std::mem::replace(&mut self.state.running, Running::Idle) {
            Running::ModeSelect(select) => match self.apply_mode_select(&select, data) {
                Ok(()) => Status::Good,
                Err(sense) => self.fail(sense),
            },
            _ => self.fail(Sense::COMMAND_SEQUENCE),
        }
    }

    fn abort(&mut self) {
        self.state.running = Running::Idle;
    }

    fn reset(&mut self) {
        if self.state.prevent.any() {
            self.tell_host(DriveEvent::Unlocked);
        }
        self.state = State::power_on();
    }
}
