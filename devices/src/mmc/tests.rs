// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The drive, command by command, as a driver sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hostile;
mod media;
mod modes;
mod reading;
mod responses;

use super::*;
use crate::testing::TestMedium;

/// Sectors of a small CD.
const SMALL: u32 = 100;

/// Sense key, ASC and ASCQ.
type Code = (u8, u8, u8);

const POWER_ON: Code = (6, 0x29, 0);
const MEDIUM_CHANGED: Code = (6, 0x28, 0);
const TRAY_CLOSED: Code = (2, 0x3a, 1);
const TRAY_OPEN: Code = (2, 0x3a, 2);
const OUT_OF_RANGE: Code = (5, 0x21, 0);
const INVALID_FIELD: Code = (5, 0x24, 0);

/// A medium whose bytes say where they stand.
fn medium(sectors: u32) -> TestMedium {
    TestMedium::new((0..sectors).flat_map(sector).collect())
}

/// What stands in a sector of it.
fn sector(lba: u32) -> Vec<u8> {
    (0..512_u32)
        .flat_map(|word| (lba << 16 | word).to_le_bytes())
        .collect()
}

fn sectors(range: std::ops::Range<u32>) -> Vec<u8> {
    range.flat_map(sector).collect()
}

/// A medium of any size that holds nothing: its information only.
fn huge(sectors: u64) -> Box<dyn Medium> {
    Box::new(TestMedium::new(Vec::new()).with_info(|info| info.len = sectors * 2048))
}

fn identity() -> Identity {
    Identity {
        vendor: "VENDOR".into(),
        product: "A PRODUCT".into(),
        revision: "9.8".into(),
        serial: "S123".into(),
    }
}

/// A driver.
struct Host {
    drive: DvdDrive,
    piece: usize,
}

impl Host {
    /// With a drive that has reported its power-on.
    fn with(medium: Box<dyn Medium>) -> Self {
        Self::new(Some(medium))
    }

    fn small() -> Self {
        Self::with(Box::new(medium(SMALL)))
    }

    fn dvd() -> Self {
        Self::with(huge(2_000_000))
    }

    fn empty() -> Self {
        Self::new(None)
    }

    fn new(medium: Option<Box<dyn Medium>>) -> Self {
        let mut host = Self {
            drive: DvdDrive::new(identity(), medium),
            piece: 0x1_0000,
        };
        assert_eq!(host.check(&[0]), POWER_ON);
        host
    }

    /// Another medium, and away with the old one.
    fn insert(&mut self, sectors: u32) {
        drop(self.drive.insert(Box::new(medium(sectors))));
    }

    fn start(&mut self, command: &[u8]) -> Reply {
        let mut packet = [0; 12];
        packet[..command.len()].copy_from_slice(command);
        self.drive.execute(&packet)
    }

    /// Runs a command that must not have to wait. Data that came before a failure is forgotten.
    fn run(&mut self, command: &[u8]) -> Result<Vec<u8>, Code> {
        let reply = self.start(command);
        let (data, status) = self.finish(reply);
        match status {
            Status::Good => Ok(data),
            Status::CheckCondition { sense_key } => {
                let sense = self.sense();
                assert_eq!(sense.0, sense_key);
                Err(sense)
            }
        }
    }

    /// All the data of a command, and how it ended.
    fn finish(&mut self, reply: Reply) -> (Vec<u8>, Status) {
        let mut data = Vec::new();
        let len = match reply {
            Reply::Done(status) => return (data, status),
            Reply::DataIn { len } => len,
            Reply::DataOut { .. } => panic!("the command wants data"),
        };
        assert_ne!(len, 0);
        loop {
            match self.drive.pull(self.piece) {
                Pull::Data(piece) => {
                    assert!(!piece.is_empty() && piece.len() <= self.piece);
                    data.extend(piece);
                    assert!(data.len() as u64 <= len);
                }
                Pull::Pending => panic!("the medium is at work"),
                Pull::InPieces => panic!("nothing went straight"),
                Pull::End(status) => {
                    assert!(status != Status::Good || data.len() as u64 == len);
                    return (data, status);
                }
            }
        }
    }

    /// A command that succeeds.
    fn ok(&mut self, command: &[u8]) -> Vec<u8> {
        self.run(command)
            .unwrap_or_else(|sense| panic!("{command:02x?} failed: {sense:02x?}"))
    }

    /// A command that fails.
    fn check(&mut self, command: &[u8]) -> Code {
        self.run(command)
            .map(|data| panic!("{command:02x?} succeeded: {data:02x?}"))
            .unwrap_err()
    }

    /// A command that takes a parameter list.
    fn send(&mut self, command: &[u8], list: &[u8]) -> Result<(), Code> {
        let status = match self.start(command) {
            Reply::DataOut { len } => {
                assert_eq!(len, list.len());
                self.drive.push(list)
            }
            Reply::Done(status) => status,
            Reply::DataIn { .. } => panic!("the command has data"),
        };
        match status {
            Status::Good => Ok(()),
            Status::CheckCondition { .. } => Err(self.sense()),
        }
    }

    fn sense_bytes(&mut self) -> Vec<u8> {
        let reply = self.start(&[0x03, 0, 0, 0, 18]);
        let (data, status) = self.finish(reply);
        assert_eq!(status, Status::Good);
        data
    }

    fn sense(&mut self) -> Code {
        let data = self.sense_bytes();
        (data[2], data[12], data[13])
    }

    /// The media event and status that GET EVENT STATUS NOTIFICATION tells.
    fn media_event(&mut self) -> (u8, u8) {
        let data = self.ok(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8]);
        assert_eq!(data[..3], [0, 6, 4]);
        (data[4], data[5])
    }
}
