// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The drives on the two IDE channels.

use super::Shared;
use crate::machine::control::{Notice, Remote};
use crate::machine::media::{Bell, Cord, DvdBay};
use crate::memory::Dma;
use crate::storage::{self, Image};
use devices::block::Medium;
use devices::bus::lock;
use devices::ide::{Channel, Drive, HardDisk, Identity, PacketDrive};
use devices::line::IrqLine;
use devices::mmc::{self, DvdDrive};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A drive to be put on a channel.
pub enum IdeDrive {
    /// A hard disk.
    Disk(Image),
    /// A DVD drive, perhaps with a disc.
    Dvd(Option<Image>),
}

/// A channel with its drives.
pub struct Wired {
    pub channel: Shared<Channel>,
    pub dvds: Vec<DvdBay>,
    pub cord: Cord,
    /// Of the hard disks.
    pub images: Vec<storage::Handle>,
}

/// What drives call themselves.
const MODEL: &str = "Virtual HD";
const DVD_MODEL: &str = "VPC DVD-ROM";
const FIRMWARE: &str = "1.1";

/// Makes a channel. `number` is 0 or 1, and gives drives without an identity of their own a serial number.
pub fn wire(
    number: usize,
    drives: [Option<IdeDrive>; 2],
    irq: IrqLine,
    dma: &Arc<Dma>,
    remote: &Remote,
) -> Result<Wired, storage::Error> {
    let bell = Bell::default();
    let mut bays: Vec<(Shared<DvdDrive>, Option<PathBuf>)> = Vec::new();
    let mut images = Vec::new();
    let mut connected = Vec::new();
    for (position, drive) in drives.into_iter().enumerate() {
        connected.push(match drive {
            None => Drive::Empty,
            Some(IdeDrive::Disk(image)) => {
                let own = image.info().serial.clone();
                let serial = own.unwrap_or_else(|| format!("VPC-{number}{position}"));
                let identity = Identity {
                    model: MODEL.into(),
                    firmware: FIRMWARE.into(),
                    serial,
                };
                let medium = image.reaching(dma.clone()).into_medium(bell.waker())?;
                images.push(medium.handle());
                Drive::from(HardDisk::new(Box::new(medium), identity))
            }
            Some(IdeDrive::Dvd(image)) => {
                let path = image.as_ref().map(|image| image.path().to_owned());
                let medium = image
                    .map(|image| image.reaching(dma.clone()).into_medium(bell.waker()))
                    .transpose()?;
                let medium = medium.map(|medium| Box::new(medium) as Box<dyn Medium>);
                let serial = format!("DVD-{number}{position}");
                let identity = mmc::Identity {
                    revision: FIRMWARE.into(),
                    serial: serial.clone(),
                    ..mmc::Identity::default()
                };
                let director = remote.clone();
                let ring = move || {
                    // Nobody listens when the machine is being taken down.
                    let _ = director.0.send(Notice::Tray);
                };
                let dvd = DvdDrive::new(identity, medium).ringing(Box::new(ring));
                let dvd = Arc::new(Mutex::new(dvd));
                bays.push((dvd.clone(), path));
                let identity = Identity {
                    model: DVD_MODEL.into(),
                    firmware: FIRMWARE.into(),
                    serial,
                };
                Drive::from(PacketDrive::new(Box::new(dvd), identity))
            }
        });
    }
    let mut connected = connected.into_iter();
    let mut next = || connected.next().unwrap_or(Drive::Empty);
    let channel = Arc::new(Mutex::new(Channel::new([next(), next()], dma.clone(), irq)));
    let cord = bell.connect(&channel, Channel::service);
    // A medium may have completed something before the bell was tied.
    lock(&channel).service();
    let dvds = bays
        .into_iter()
        .map(|(drive, path)| DvdBay::new(drive, channel.clone(), bell.clone(), dma.clone(), path))
        .collect();
    Ok(Wired {
        channel,
        dvds,
        cord,
        images,
    })
}
