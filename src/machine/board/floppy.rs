// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The diskette drives.

use super::{Shared, shared};
use crate::machine::media::{Bell, Cord, FloppyBay, diskette_format};
use crate::storage::{self, Image};
use devices::fdc::media::DriveType;
use devices::fdc::{DriveId, Fdc, Wiring};
use devices::rtc::FloppyType;

/// A diskette drive, perhaps with a diskette.
pub struct FloppyDrive {
    /// What is in it.
    pub image: Option<Image>,
}

impl FloppyDrive {
    /// The kind of drive: the one that the diskette needs.
    pub fn kind(&self) -> Result<DriveType, storage::Error> {
        let format = self
            .image
            .as_ref()
            .map(|image| diskette_format(image, None))
            .transpose()?;
        Ok(DriveType::for_format(format))
    }
}

/// The same kind in the terms of the CMOS memory.
pub fn cmos_type(kind: DriveType) -> FloppyType {
    match kind {
        DriveType::Inch5Double => FloppyType::Double525,
        DriveType::Inch5High => FloppyType::High525,
        DriveType::Inch3Double => FloppyType::Double35,
        DriveType::Inch3High => FloppyType::High35,
        DriveType::Inch3ExtraHigh => FloppyType::Extended35,
    }
}

/// The controller and what belongs to it.
pub struct Wired {
    pub fdc: Shared<Fdc>,
    pub bays: [Option<FloppyBay>; 2],
    pub cord: Cord,
}

/// The controller with its drives, and their bays: A, B.
pub fn wire(wiring: Wiring, drives: [Option<FloppyDrive>; 2]) -> Result<Wired, storage::Error> {
    let mut kinds = [None; 2];
    for (kind, drive) in kinds.iter_mut().zip(&drives) {
        *kind = drive.as_ref().map(FloppyDrive::kind).transpose()?;
    }
    let fdc = shared(Fdc::new(wiring, kinds));
    let bell = Bell::default();
    let cord = bell.connect(&fdc, Fdc::service);
    let mut bays = [None, None];
    for (n, ((bay, drive), kind)) in bays.iter_mut().zip(drives).zip(kinds).enumerate() {
        let (Some(drive), Some(kind)) = (drive, kind) else {
            continue;
        };
        let id = if n == 0 { DriveId::A } else { DriveId::B };
        let mut new = FloppyBay::new(fdc.clone(), id, kind, bell.clone());
        if let Some(image) = drive.image {
            new.load(image)?;
        }
        *bay = Some(new);
    }
    Ok(Wired { fdc, bays, cord })
}
