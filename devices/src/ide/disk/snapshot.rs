// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a saved machine keeps of a disk. Sectors that were read ahead are read again.

use super::transfer::{SavedReads, SavedWrites};
use super::{HardDisk, MAX_MULTIPLE, Power, Reads, Settings, State, Work, Writes};
use crate::ide::spec::SECTOR;
use crate::snapshot::{BadState, Busy, Snapshot, must};
use serde::{Deserialize, Serialize};

/// A disk.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    sectors: u64,
    settings: Settings,
    power: Power,
    work: SavedWork,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum SavedWork {
    None,
    Sector(#[serde(with = "crate::snapshot::hex")] Vec<u8>),
    SectorTaken,
    Read(SavedReads),
    Write(SavedWrites),
}

impl Settings {
    fn check(&self) -> Result<(), BadState> {
        let chs = self.translation;
        must(
            (1..=0xffff).contains(&chs.cylinders)
                && (1..=16).contains(&chs.heads)
                && (1..=255).contains(&chs.sectors),
            "a translation that no disk has",
        )?;
        must(
            self.multiple == 0 || self.multiple <= MAX_MULTIPLE && self.multiple.is_power_of_two(),
            "a block that no disk transfers",
        )?;
        must(self.dma_mode.is_possible(), "a transfer mode that no disk has")
    }
}

impl Snapshot for HardDisk {
    type State = Saved;

    fn snapshot(&mut self) -> Result<Saved, Busy> {
        let Self {
            identity: _,
            sectors,
            geometry: _,
            cabling: _,
            medium: _,
            tag: _,
            reads_under_way,
            others_under_way,
            spare: _,
            state,
        } = self;
        if *reads_under_way > 0 || *others_under_way > 0 {
            return Err(Busy);
        }
        let State {
            settings,
            power,
            work,
        } = state;
        Ok(Saved {
            sectors: *sectors,
            settings: *settings,
            power: *power,
            work: match work {
                Work::None => SavedWork::None,
                Work::Sector(data) => SavedWork::Sector(data.clone()),
                Work::SectorTaken => SavedWork::SectorTaken,
                Work::Read(reads) => SavedWork::Read(reads.save()),
                Work::Write(writes) => SavedWork::Write(writes.save()),
                Work::Straight(_) => return Err(Busy),
            },
        })
    }

    fn restore(&mut self, saved: Saved) -> Result<(), BadState> {
        let Saved {
            sectors,
            settings,
            power,
            work,
        } = saved;
        must(sectors == self.sectors, "a disk of another size")?;
        settings.check()?;
        let work = match work {
            SavedWork::None => Work::None,
            SavedWork::Sector(data) => {
                must(data.len() == SECTOR, "a sector of another size")?;
                Work::Sector(data)
            }
            SavedWork::SectorTaken => Work::SectorTaken,
            SavedWork::Read(reads) => Work::Read(Reads::restore(reads, sectors)?),
            SavedWork::Write(writes) => Work::Write(Writes::restore(writes, sectors)?),
        };
        self.state = State {
            settings,
            power,
            work,
        };
        Ok(())
    }
}
