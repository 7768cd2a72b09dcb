// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The tray and what lies in it, for the guest and for the person in front of the machine.
//!
//! A change of media that happens between two commands of the guest must still look to it like one: first no medium in an open tray,
//! then a medium and a unit attention, then a ready drive. [`Seen`] says how far the guest has followed.

use super::cdb::Cdb;
use super::reader::Reader;
use super::sense::Sense;
use super::spec::{CD_SECTORS, MediaEvent, PowerState, Profile, SECTOR_BYTES};
use super::{DvdDrive, GOOD, Outcome};
use crate::block::Medium;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Host events kept for somebody who never takes them.
const HOST_EVENTS: usize = 32;

/// A medium that lies in the tray.
pub(super) struct Disc {
    /// Logical blocks; a last part of a block counts.
    pub sectors: u32,
    /// What the drive becomes with it.
    pub profile: Profile,
    /// Its bytes.
    pub reader: Reader,
}

impl Disc {
    fn new(medium: Box<dyn Medium>) -> Self {
        let sectors = medium.info().len.div_ceil(SECTOR_BYTES);
        let sectors = u32::try_from(sectors).unwrap_or(u32::MAX);
        Self {
            sectors,
            profile: if sectors <= CD_SECTORS {
                Profile::CdRom
            } else {
                Profile::DvdRom
            },
            reader: Reader::new(medium),
        }
    }
}

/// Where the tray is and what lies in it. A reset does not move it.
#[derive(Default)]
pub(super) struct Tray {
    pub open: bool,
    disc: Option<Disc>,
}

impl Tray {
    pub fn closed(medium: Option<Box<dyn Medium>>) -> Self {
        Self {
            open: false,
            disc: medium.map(Disc::new),
        }
    }

    /// What lies in it, seen or not.
    pub fn any_disc(&mut self) -> Option<&mut Disc> {
        self.disc.as_mut()
    }

    /// The disc, if the drive can read it.
    fn loaded(&self) -> bool {
        !self.open && self.disc.is_some()
    }
}

/// How far the guest has followed a change of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum Seen {
    /// It sees the drive as it is.
    Current,
    /// It has not been told yet that the medium it knew is gone.
    Removed,
    /// It asked for the medium to be loaded without waiting, and has not asked yet how that went.
    Loading,
}

/// Who holds the tray closed (MMC-5 6.18).
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prevent {
    /// PREVENT.
    plain: bool,
    /// Persistent prevent.
    persistent: bool,
}

impl Prevent {
    pub fn any(self) -> bool {
        self.plain || self.persistent
    }

    pub fn persistent(self) -> bool {
        self.persistent
    }
}

/// Media events that the guest has not asked for yet, each at most once.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct MediaEvents(VecDeque<MediaEvent>);

impl MediaEvents {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn push(&mut self, event: MediaEvent) {
        if event == MediaEvent::MediaRemoval {
            // It makes all that came before it untrue.
            self.0.clear();
        }
        if !self.0.contains(&event) {
            self.0.push_back(event);
        }
    }

    pub fn next(&mut self) -> Option<MediaEvent> {
        self.0.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the guest did with the drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriveEvent {
    /// It opened the tray. A medium in it stays there until [`DvdDrive::eject`] or [`DvdDrive::insert`] takes it.
    TrayOpened,
    /// It closed the tray.
    TrayClosed,
    /// It locked the tray.
    Locked,
    /// It unlocked the tray, or was reset.
    Unlocked,
}

/// The guest holds the medium: it has been asked to let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest has locked the drive")]
pub struct Locked;

/// A drive as a person sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriveStatus {
    /// A medium lies in the tray.
    pub medium_present: bool,
    /// The tray is open.
    pub tray_open: bool,
    /// The guest has locked the tray.
    pub locked: bool,
}

/// For the host.
impl DvdDrive {
    /// Lays a medium into the tray and closes it, even if the guest has locked the drive: call [`eject`](Self::eject) first to respect the
    /// lock. Gives back what lay there before, to be dropped where nobody waits.
    #[must_use = "dropping a medium may take long: do it without the drive's lock"]
    pub fn insert(&mut self, medium: Box<dyn Medium>) -> Option<Box<dyn Medium>> {
        let old = self.remove();
        self.tray = Tray::closed(Some(medium));
        self.state.media_events.push(MediaEvent::NewMedia);
        if self.state.seen == Seen::Current {
            self.state.attention.medium_changed = true;
        }
        old
    }

    /// Opens the tray and takes out what lies in it. If the guest has locked the drive, it is asked to eject the medium (media event
    /// EjectRequest) and nothing moves, unless `force` is set.
    pub fn eject(&mut self, force: bool) -> Result<Option<Box<dyn Medium>>, Locked> {
        if !force && self.state.prevent.any() && self.tray.loaded() {
            self.state.media_events.push(MediaEvent::EjectRequest);
            return Err(Locked);
        }
        Ok(self.remove())
    }

    /// What the guest did since the last call. Only the last few are kept; [`status`](Self::status) has the truth.
    pub fn take_events(&mut self) -> Vec<DriveEvent> {
        self.host_events.drain(..).collect()
    }

    /// What there is to see.
    pub fn status(&self) -> DriveStatus {
        DriveStatus {
            medium_present: self.tray.disc.is_some(),
            tray_open: self.tray.open,
            locked: self.state.prevent.any(),
        }
    }

    fn remove(&mut self) -> Option<Box<dyn Medium>> {
        if self.tray.loaded() {
            self.state.seen = Seen::Removed;
            self.state.media_events.push(MediaEvent::MediaRemoval);
        }
        let tray = std::mem::replace(
            &mut self.tray,
            Tray {
                open: true,
                disc: None,
            },
        );
        tray.disc.map(|disc| disc.reader.into_medium())
    }

    pub(super) fn tell_host(&mut self, event: DriveEvent) {
        if self.host_events.len() >= HOST_EVENTS {
            self.host_events.pop_front();
        }
        let first = self.host_events.is_empty();
        self.host_events.push_back(event);
        if first {
            (self.bell)();
        }
    }
}

/// For the guest.
impl DvdDrive {
    /// The disc that the guest knows to be there.
    pub(super) fn disc(&self) -> Option<&Disc> {
        self.tray
            .disc
            .as_ref()
            .filter(|_| !self.tray.open && self.state.seen == Seen::Current)
    }

    /// As [`disc`](Self::disc), to read from.
    pub(super) fn disc_mut(&mut self) -> Option<&mut Disc> {
        let visible = !self.tray.open && self.state.seen == Seen::Current;
        self.tray.disc.as_mut().filter(|_| visible)
    }

    /// The tray, as the guest knows it.
    pub(super) fn sees_open_tray(&self) -> bool {
        self.tray.open || self.state.seen == Seen::Removed
    }

    /// The disc for a command that needs one. The refusal moves a change of media on.
    pub(super) fn ready_disc(&mut self) -> Result<&Disc, Sense> {
        match self.state.seen {
            Seen::Current if self.tray.open => Err(Sense::NO_MEDIUM_TRAY_OPEN),
            Seen::Current => match &self.tray.disc {
                None => Err(Sense::NO_MEDIUM_TRAY_CLOSED),
                Some(disc) if disc.sectors == 0 => Err(Sense::INCOMPATIBLE_MEDIUM),
                Some(disc) => Ok(disc),
            },
            Seen::Removed => {
                self.catch_up();
                Err(Sense::NO_MEDIUM_TRAY_OPEN)
            }
            Seen::Loading => {
                self.catch_up();
                Err(Sense::BECOMING_READY)
            }
        }
    }

    /// The guest has been told of what it had missed: what is loaded by now is news to it.
    pub(super) fn catch_up(&mut self) {
        if self.state.seen != Seen::Current {
            self.state.seen = Seen::Current;
            self.state.attention.medium_changed |= self.tray.loaded();
        }
    }

    /// START STOP UNIT (MMC-5 6.43).
    pub(super) fn start_stop_unit(&mut self, cdb: &Cdb) -> Outcome {
        let power = match cdb.byte(4) >> 4 {
            0 => None,
            1 => Some(PowerState::Active),
            2 => Some(PowerState::Idle),
            3 => Some(PowerState::Standby),
            5 => Some(PowerState::Sleep),
            _ => return Err(Sense::invalid_field(4)),
        };
        // Bit 2 is the format-layer bit of hybrid discs, which this drive does not take.
        if cdb.bit(4, 2) {
            return Err(Sense::invalid_field(4));
        }
        let (load_eject, start) = (cdb.bit(4, 1), cdb.bit(4, 0));
        match power {
            Some(power) => self.set_power(power),
            None if load_eject && start => self.load_tray(cdb.bit(1, 0)),
            None if load_eject => self.open_tray()?,
            None if start => self.set_power(PowerState::Active),
            None => self.set_power(PowerState::Standby),
        }
        Ok(GOOD)
    }

    fn load_tray(&mut self, immediate: bool) {
        if !self.tray.open {
            return;
        }
        self.tray.open = false;
        self.tell_host(DriveEvent::TrayClosed);
        if self.tray.disc.is_some() {
            self.state.media_events.push(MediaEvent::NewMedia);
            if immediate {
                self.state.seen = Seen::Loading;
            } else {
                self.state.attention.medium_changed = true;
            }
        }
    }

    fn open_tray(&mut self) -> Result<(), Sense> {
        if self.tray.open {
            return Ok(());
        }
        if self.state.prevent.any() {
            return Err(match self.disc() {
                Some(_) => Sense::REMOVAL_PREVENTED,
                None => Sense::REMOVAL_PREVENTED_EMPTY,
            });
        }
        if self.tray.disc.is_some() {
            self.state.media_events.push(MediaEvent::MediaRemoval);
        }
        self.tray.open = true;
        self.state.seen = Seen::Current;
        self.tell_host(DriveEvent::TrayOpened);
        Ok(())
    }

    /// PREVENT ALLOW MEDIUM REMOVAL (MMC-5 6.18).
    pub(super) fn prevent_allow(&mut self, cdb: &Cdb) -> Outcome {
        let before = self.state.prevent.any();
        let prevent = cdb.bit(4, 0);
        if cdb.bit(4, 1) {
            self.state.prevent.persistent = prevent;
        } else {
            self.state.prevent.plain = prevent;
        }
        match (before, self.state.prevent.any()) {
            (false, true) => self.tell_host(DriveEvent::Locked),
            (true, false) => self.tell_host(DriveEvent::Unlocked),
            _ => {}
        }
        Ok(GOOD)
    }
}
