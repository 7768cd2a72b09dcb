// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Commands that read the disc, and those that only move the head.

use super::address::Msf;
use super::cdb::Cdb;
use super::raw::{self, Selection};
use super::reader::{Filled, Reader};
use super::sense::Sense;
use super::spec::{
    CD_MAX_SPEED, CD_SECTORS, DVD_MAX_SPEED, PowerState, Profile, SECTOR, SECTOR_BYTES, SPEED_MAXIMUM,
};
use super::tray::Disc;
use super::{DvdDrive, GOOD, Outcome, Running};
use crate::packet::Reply;
use crate::snapshot::{BadState, must};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// User data only, as READ (10) gives it: main channel selection of READ CD.
const USER_DATA: u8 = 0x10;

/// Sectors on their way to the host.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stream {
    selection: Selection,
    /// Next byte to fetch from the medium.
    at: u64,
    /// Where the command ends on the medium.
    end: u64,
    /// User data of the sector that is being put together, if it is more than its user data.
    #[serde(with = "crate::snapshot::hex")]
    user: Vec<u8>,
    /// Bytes for the host.
    #[serde(with = "crate::snapshot::hex")]
    staged: Vec<u8>,
}

/// The next piece of a [`Stream`].
pub(super) enum Piece {
    /// Bytes for the host.
    Data(Vec<u8>),
    /// The medium is at work.
    Pending,
    /// Bytes for the host, maybe none; the block after them cannot be read.
    Failed(Vec<u8>, u32),
    /// Nothing is left.
    End,
}

impl Stream {
    /// Refuses what no command leads to.
    pub fn check(&self) -> Result<(), BadState> {
        let most = if self.selection.is_user_data() {
            u32::MAX
        } else {
            // Only CDs have more in their sectors than user data.
            CD_SECTORS
        };
        let user = self.user.len() as u64;
        let good = self.selection.is_possible()
            && self.end <= u64::from(most) * SECTOR_BYTES
            && self.at >= user
            && self.at - user <= self.end
            && self.user.len() <= SECTOR
            && (self.user.is_empty() || !self.selection.is_user_data());
        must(good, "a read that no disc has")
    }

    /// Tells a reader that does not know it yet of the command.
    pub fn begin_again(&self, reader: &mut Reader) {
        reader.begin(self.at, self.end);
    }

    fn new(lba: u32, count: u32, selection: Selection) -> Self {
        let at = u64::from(lba) * SECTOR_BYTES;
        Self {
            selection,
            at,
            end: at + u64::from(count) * SECTOR_BYTES,
            user: Vec::new(),
            staged: Vec::new(),
        }
    }

    /// Bytes that the host has not got yet.
    fn remaining(&self) -> u64 {
        let fetch = self.end - (self.at - self.user.len() as u64);
        let more = if self.selection.is_user_data() {
            fetch
        } else {
            fetch / SECTOR_BYTES * self.selection.len() as u64
        };
        self.staged.len() as u64 + more
    }

    /// All of it as a range of the medium, if that is all there is to it: nothing was staged, and sectors go as they are.
    pub fn whole(&self) -> Option<Range<u64>> {
        let whole = self.selection.is_user_data() && self.staged.is_empty() && self.at < self.end;
        whole.then_some(self.at..self.end)
    }

    /// The next `max` bytes, or all that is left.
    pub fn next(&mut self, reader: &mut Reader, max: usize) -> Piece {
        let want = usize::try_from(self.remaining()).map_or(max, |remaining| remaining.min(max));
        if want == 0 {
            return Piece::End;
        }
        match self.stage(reader, want) {
            Filled::Complete => Piece::Data(self.take(want)),
            Filled::Pending => Piece::Pending,
            Filled::Failed => {
                let lba = (self.at / SECTOR_BYTES) as u32;
                Piece::Failed(std::mem::take(&mut self.staged), lba)
            }
        }
    }

    fn stage(&mut self, reader: &mut Reader, want: usize) -> Filled {
        if self.selection.is_user_data() {
            return reader.fill(&mut self.at, &mut self.staged, want);
        }
        while self.staged.len() < want {
            let lba = (self.at / SECTOR_BYTES) as u32;
            match reader.fill(&mut self.at, &mut self.user, SECTOR) {
                Filled::Complete => {}
                other => return other,
            }
            let sector = raw::mode_1_sector(lba, &self.user);
            self.staged.extend_from_slice(&sector[self.selection.range()]);
            self.user.clear();
        }
        Filled::Complete
    }

    fn take(&mut self, want: usize) -> Vec<u8> {
        if self.staged.len() <= want {
            std::mem::take(&mut self.staged)
        } else {
            self.staged.drain(..want).collect()
        }
    }
}

/// Whether `count` blocks from `lba` lie on the disc. An empty range must start on it too.
fn check_range(disc: &Disc, lba: u32, count: u32) -> Result<(), Sense> {
    let last = u64::from(lba) + u64::from(count);
    if lba < disc.sectors && last <= u64::from(disc.sectors) {
        Ok(())
    } else {
        Err(Sense::OUT_OF_RANGE)
    }
}

impl DvdDrive {
    /// READ CAPACITY (MMC-5 6.22). An address goes with the partial-medium bit only, and that is not for ROM.
    pub(super) fn read_capacity(&mut self) -> Outcome {
        let last = self.ready_disc()?.sectors - 1;
        let mut data = last.to_be_bytes().to_vec();
        data.extend((SECTOR as u32).to_be_bytes());
        self.respond(data, 8)
    }

    /// READ (10) and READ (12) (MMC-5 6.19, 6.20).
    pub(super) fn read_blocks(&mut self, cdb: &Cdb, count: u32) -> Outcome {
        self.ready_disc()?;
        if cdb.bit(1, 0) {
            return Err(Sense::invalid_field(1));
        }
        let selection = Selection::from_bits(USER_DATA).ok_or(Sense::invalid_field(0))?;
        self.start_read(cdb.be32(2), count, selection)
    }

    /// READ CD (MMC-5 6.21).
    pub(super) fn read_cd(&mut self, cdb: &Cdb) -> Outcome {
        self.ready_disc()?;
        if cdb.bit(1, 0) {
            return Err(Sense::invalid_field(1));
        }
        let selection = self.cd_selection(cdb)?;
        self.start_read(cdb.be32(2), cdb.be24(6), selection)
    }

    /// READ CD MSF (MMC-5 6.22). The end address is that of the block after the last.
    pub(super) fn read_cd_msf(&mut self, cdb: &Cdb) -> Outcome {
        self.ready_disc()?;
        let selection = self.cd_selection(cdb)?;
        let lba = |at: usize| {
            let msf = Msf {
                minute: cdb.byte(at),
                second: cdb.byte(at + 1),
                frame: cdb.byte(at + 2),
            };
            match msf.to_lba() {
                Ok(Some(lba)) => Ok(lba),
                Ok(None) => Err(Sense::OUT_OF_RANGE),
                Err(_) => Err(Sense::invalid_field(at as u8)),
            }
        };
        let (start, end) = (lba(3)?, lba(6)?);
        let count = end.checked_sub(start).ok_or(Sense::invalid_field(6))?;
        self.start_read(start, count, selection)
    }

    /// What READ CD and READ CD MSF want of each sector. All tracks are of mode 1; a DVD's sectors have nothing but user data.
    fn cd_selection(&self, cdb: &Cdb) -> Result<Selection, Sense> {
        const ANY: u8 = 0;
        const MODE_1: u8 = 2;
        if !matches!(cdb.byte(1) >> 2 & 7, ANY | MODE_1) {
            return Err(Sense::ILLEGAL_MODE);
        }
        // C2 error flags and sub-channels: the drive's features say that it has none.
        if cdb.byte(9) & 0x07 != 0 {
            return Err(Sense::invalid_field(9));
        }
        if cdb.byte(10) & 0x07 != 0 {
            return Err(Sense::invalid_field(10));
        }
        let selection = Selection::from_bits(cdb.byte(9) & 0xf8).ok_or(Sense::invalid_field(9))?;
        let is_cd = self.disc().is_some_and(|disc| disc.profile == Profile::CdRom);
        if is_cd || selection.is_user_data() || selection.len() == 0 {
            Ok(selection)
        } else {
            Err(Sense::ILLEGAL_MODE)
        }
    }

    fn start_read(&mut self, lba: u32, count: u32, selection: Selection) -> Outcome {
        check_range(self.ready_disc()?, lba, count)?;
        self.state.position = lba.saturating_add(count.saturating_sub(1));
        self.set_power(PowerState::Active);
        let stream = Stream::new(lba, count, selection);
        let len = stream.remaining();
        if len == 0 {
            return Ok(GOOD);
        }
        if let Some(disc) = self.disc_mut() {
            disc.reader.begin(stream.at, stream.end);
        }
        self.state.running = Running::Read(stream);
        Ok(Reply::DataIn { len })
    }

    /// SEEK (10) (MMC-5 6.36).
    pub(super) fn seek(&mut self, cdb: &Cdb) -> Outcome {
        let lba = cdb.be32(2);
        check_range(self.ready_disc()?, lba, 0)?;
        self.state.position = lba;
        Ok(GOOD)
    }

    /// VERIFY (10) (MMC-5 6.46) without data to compare. The range is checked; the blocks are not read, since a packet device has no
    /// way to keep the host waiting without data.
    pub(super) fn verify(&mut self, cdb: &Cdb) -> Outcome {
        let disc = self.ready_disc()?;
        if cdb.byte(1) & 0x03 != 0 {
            return Err(Sense::invalid_field(1));
        }
        check_range(disc, cdb.be32(2), u32::from(cdb.be16(7)))?;
        Ok(GOOD)
    }

    /// SET READ AHEAD (MMC-5 6.39): a hint, which the drive's own read-ahead does not need.
    pub(super) fn set_read_ahead(&mut self, cdb: &Cdb) -> Outcome {
        let disc = self.ready_disc()?;
        check_range(disc, cdb.be32(2), 0)?;
        check_range(disc, cdb.be32(6), 0)?;
        Ok(GOOD)
    }

    /// SET CD SPEED (MMC-5 6.37): remembered and reported; reading is as fast as the host.
    pub(super) fn set_cd_speed(&mut self, cdb: &Cdb) -> Outcome {
        if cdb.byte(1) & 0x03 > 1 {
            return Err(Sense::invalid_field(1));
        }
        self.state.speed = cdb.be16(2);
        Ok(GOOD)
    }

    /// The highest reading speed for the medium, in kB/s.
    pub(super) fn max_speed(&self) -> u16 {
        match self.disc().map(|disc| disc.profile) {
            Some(Profile::CdRom) => CD_MAX_SPEED,
            _ => DVD_MAX_SPEED,
        }
    }

    /// The reading speed that was asked for, in kB/s.
    pub(super) fn speed(&self) -> u16 {
        match self.state.speed {
            SPEED_MAXIMUM | 0 => self.max_speed(),
            speed => speed.min(self.max_speed()),
        }
    }
}
