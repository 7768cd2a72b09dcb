// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest polls for: GET EVENT STATUS NOTIFICATION and MECHANISM STATUS.

use super::cdb::Cdb;
use super::sense::Sense;
use super::spec::{EventClasses, MediaEvent, NO_EVENT_AVAILABLE, PowerState};
use super::{DvdDrive, Outcome};

/// Media status: a medium is there; the tray is open.
const MEDIA_PRESENT: u8 = 0x02;
const TRAY_OPEN: u8 = 0x01;
/// Operational change: the tray is locked for good, until it is allowed to open.
const PERSISTENT_PREVENT: u8 = 0x80;
/// Power event: the drive changed its state as it was told.
const POWER_CHANGED: u8 = 1;

/// MECHANISM STATUS: door open.
const DOOR_OPEN: u8 = 0x10;

impl DvdDrive {
    pub(super) fn set_power(&mut self, power: PowerState) {
        if self.state.power != power {
            self.state.power = power;
            self.state.power_changed = true;
        }
    }

    /// GET EVENT STATUS NOTIFICATION (MMC-5 6.7): one event of the first class that has one, or else that nothing happened.
    pub(super) fn get_event_status(&mut self, cdb: &Cdb) -> Outcome {
        // Asynchronous operation.
        if !cdb.bit(1, 0) {
            return Err(Sense::invalid_field(1));
        }
        let requested = EventClasses::from_bits_truncate(cdb.byte(4));
        let allocation = usize::from(cdb.be16(7));
        let waiting = requested.iter().find(|class| match *class {
            EventClasses::POWER_MANAGEMENT => self.state.power_changed,
            EventClasses::MEDIA => !self.state.media_events.is_empty(),
            _ => false,
        });
        let Some(class) = waiting.or_else(|| requested.iter().next()) else {
            return self.respond(
                vec![0, 2, NO_EVENT_AVAILABLE, EventClasses::all().bits()],
                allocation,
            );
        };
        // A host that asks for the header alone gets no event, and so must not lose one.
        let reports = allocation > 4;
        let event = match class {
            EventClasses::OPERATIONAL_CHANGE if self.state.prevent.persistent() => {
                [0, PERSISTENT_PREVENT, 0, 0]
            }
            EventClasses::POWER_MANAGEMENT => self.power_event(reports),
            EventClasses::MEDIA => self.media_event(reports),
            _ => [0; 4],
        };
        let number = class.bits().trailing_zeros() as u8;
        let mut data = vec![0, 6, number, EventClasses::all().bits()];
        data.extend(event);
        self.respond(data, allocation)
    }

    fn power_event(&mut self, reports: bool) -> [u8; 4] {
        let changed = reports && std::mem::take(&mut self.state.power_changed);
        [u8::from(changed) * POWER_CHANGED, self.state.power as u8, 0, 0]
    }

    fn media_event(&mut self, reports: bool) -> [u8; 4] {
        let event = if reports {
            self.state.media_events.next()
        } else {
            None
        };
        let status = match event {
            // The change itself: by now the next medium may be there, but that is another event.
            Some(MediaEvent::MediaRemoval) => {
                self.catch_up();
                TRAY_OPEN
            }
            Some(MediaEvent::NewMedia) => {
                self.catch_up();
                self.media_status()
            }
            _ => self.media_status(),
        };
        [event.map_or(0, |event| event as u8), status, 0, 0]
    }

    fn media_status(&self) -> u8 {
        let present = self.disc().map_or(0, |_| MEDIA_PRESENT);
        let open = if self.sees_open_tray() { TRAY_OPEN } else { 0 };
        present | open
    }

    /// MECHANISM STATUS (MMC-5 6.14): no changer, no fault, nothing under way.
    pub(super) fn mechanism_status(&mut self, cdb: &Cdb) -> Outcome {
        let door = if self.sees_open_tray() { DOOR_OPEN } else { 0 };
        let [_, high, middle, low] = self.state.position.to_be_bytes();
        // The last three bytes: number of slots, length of the slot table.
        self.respond(
            vec![0, door, high, middle, low, 0, 0, 0],
            usize::from(cdb.be16(8)),
        )
    }
}
