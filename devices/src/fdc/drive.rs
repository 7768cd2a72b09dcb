// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A diskette drive: heads on a stepper, and a change line.

use super::diskette::Diskette;
use super::media::DriveType;
use super::snapshot::SavedDrive;
use super::spec::DataRate;
use crate::clock::Nanos;
use crate::snapshot::{BadState, Busy, must};

/// A drive. The motor is a wire from the controller and is not kept here.
pub struct Drive {
    // Configuration.
    kind: DriveType,
    // Volatile state.
    /// Where the heads stand.
    cylinder: u8,
    /// The change line: a diskette was taken out, and no step has come with one inside since.
    changed: bool,
    diskette: Option<Diskette>,
}

/// A formatted track under a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    /// The cylinder in its ID fields.
    pub cylinder: u8,
    /// Its sectors are numbered from 1 to this.
    pub sectors: u8,
}

impl Drive {
    /// An empty drive.
    pub fn new(kind: DriveType) -> Self {
        Self {
            kind,
            cylinder: 0,
            changed: true,
            diskette: None,
        }
    }

    /// See [`crate::snapshot`].
    pub fn save(&self) -> Result<SavedDrive, Busy> {
        let Self {
            kind,
            cylinder,
            changed,
            diskette,
        } = self;
        Ok(SavedDrive {
            kind: *kind,
            cylinder: *cylinder,
            changed: *changed,
            diskette: diskette.as_ref().map(Diskette::save).transpose()?,
        })
    }

    /// See [`crate::snapshot`].
    pub fn restore(&mut self, saved: SavedDrive) -> Result<(), BadState> {
        let SavedDrive {
            kind,
            cylinder,
            changed,
            diskette,
        } = saved;
        must(kind == self.kind, "another kind of floppy drive")?;
        must(
            cylinder <= kind.last_cylinder(),
            "a cylinder that no floppy drive has",
        )?;
        match (&mut self.diskette, diskette) {
            (None, None) => {}
            (Some(diskette), Some(saved)) => diskette.restore(saved)?,
            _ => return Err(BadState("another diskette than the one in the drive")),
        }
        (self.cylinder, self.changed) = (cylinder, changed);
        Ok(())
    }

    /// What it is.
    pub fn kind(&self) -> DriveType {
        self.kind
    }

    /// What is in it.
    pub fn diskette(&self) -> Option<&Diskette> {
        self.diskette.as_ref()
    }

    /// What is in it.
    pub fn diskette_mut(&mut self) -> Option<&mut Diskette> {
        self.diskette.as_mut()
    }

    /// Puts a diskette in, or takes it out; gives back the one that was there.
    pub fn exchange(&mut self, diskette: Option<Diskette>) -> Option<Diskette> {
        self.changed = true;
        std::mem::replace(&mut self.diskette, diskette)
    }

    /// Moves the heads by `steps`, inwards if positive. They stop where the rail ends.
    pub fn step(&mut self, steps: i16) {
        let last = i16::from(self.kind.last_cylinder());
        let to = i16::from(self.cylinder).saturating_add(steps).clamp(0, last);
        self.cylinder = to as u8;
        if steps != 0 && self.diskette.is_some() {
            self.changed = false;
        }
    }

    /// Where the heads stand.
    pub fn cylinder(&self) -> u8 {
        self.cylinder
    }

    /// The track 0 sensor.
    pub fn at_track_0(&self) -> bool {
        self.cylinder == 0
    }

    /// The change line.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// The write protect sensor, which an empty drive covers as a protected diskette does.
    pub fn write_protected(&self) -> bool {
        self.diskette.as_ref().is_none_or(Diskette::write_protected)
    }

    /// The track under `head`, if `rate` and encoding can find an address mark on it.
    pub fn track(&self, head: u8, mfm: bool, rate: DataRate) -> Option<Track> {
        let format = self.diskette.as_ref()?.format();
        let spacing = format.steps_per_track(self.kind);
        let cylinder = self.cylinder / spacing;
        let there = mfm
            && format.rate_in(self.kind) == Some(rate)
            && self.cylinder.is_multiple_of(spacing)
            && cylinder < format.cylinders()
            && head < format.heads();
        there.then_some(Track {
            cylinder,
            sectors: format.sectors(),
        })
    }

    /// How far the disk has turned since the index hole, in parts of `parts`.
    pub fn angle(&self, now: Nanos, parts: u8) -> u8 {
        let turn = self.kind.revolution();
        ((now % turn) * u64::from(parts) / turn) as u8
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fdc::media::Format;
    use crate::testing::TestMedium;

    fn diskette(len: usize) -> Diskette {
        let format = Format::detect(len as u64, &[], None).unwrap();
        Diskette::new(Box::new(TestMedium::new(vec![0; len])), format, 0)
    }

    #[test]
    fn the_change_line_falls_with_a_step_and_only_with_a_diskette() {
        let mut drive = Drive::new(DriveType::Inch3High);
        assert!(drive.changed());
        drive.step(1);
        assert!(drive.changed());
        assert!(drive.exchange(Some(diskette(1_474_560))).is_none());
        drive.step(0);
        assert!(drive.changed());
        drive.step(-1);
        assert!(!drive.changed());
        assert!(drive.exchange(None).is_some());
        assert!(drive.changed());
    }

    #[test]
    fn the_heads_stop_at_both_ends() {
        let mut drive = Drive::new(DriveType::Inch5Double);
        drive.step(255);
        assert_eq!(drive.cylinder(), 41);
        drive.step(-255);
        assert!(drive.at_track_0());
    }

    #[test]
    fn a_40_track_diskette_needs_double_steps_in_an_80_track_drive() {
        let mut drive = Drive::new(DriveType::Inch5High);
        drive.exchange(Some(diskette(368_640)));
        drive.step(6);
        let track = |drive: &Drive, rate| drive.track(0, true, rate).map(|t| t.cylinder);
        assert_eq!(track(&drive, DataRate::Kbps300), Some(3));
        assert_eq!(track(&drive, DataRate::Kbps250), None);
        drive.step(1);
        assert_eq!(track(&drive, DataRate::Kbps300), None);
    }

    #[test]
    fn the_angle_goes_round() {
        let drive = Drive::new(DriveType::Inch3High);
        let angles = [0, 99_999_999, 100_000_000, 199_999_999, 200_000_000].map(|now| drive.angle(now, 18));
        assert_eq!(angles, [0, 8, 9, 17, 0]);
        assert!(drive.angle(u64::MAX, 255) < 255);
    }
}
