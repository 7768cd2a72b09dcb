// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the drive can do: GET CONFIGURATION and GET PERFORMANCE.

use super::cdb::Cdb;
use super::sense::Sense;
use super::spec::{DVD_ECC_SECTORS, Feature, Profile, SECTOR};
use super::{DvdDrive, Outcome};

/// Core: the interface is ATAPI.
const INTERFACE_ATAPI: [u8; 4] = [0, 0, 0, 2];
/// Core: device busy events.
const DEVICE_BUSY_EVENTS: u8 = 0x01;
/// Removable Medium: tray loader that can eject and lock.
const TRAY_EJECT_LOCK: u8 = 0x20 | 0x08 | 0x01;
/// Random Readable: the error recovery page is there.
const ERROR_RECOVERY_PAGE: u8 = 0x01;

/// GET CONFIGURATION, bits 1-0 of byte 1: which features.
const ALL_FEATURES: u8 = 0;
const CURRENT_FEATURES: u8 = 1;
const ONE_FEATURE: u8 = 2;

/// GET PERFORMANCE types.
const TYPE_PERFORMANCE: u8 = 0x00;
const TYPE_WRITE_SPEED: u8 = 0x03;

/// How a feature stands in the list: version, kept for all media, current, its own data.
struct Descriptor {
    version: u8,
    persistent: bool,
    current: bool,
    data: Vec<u8>,
}

impl DvdDrive {
    fn profile(&self) -> Profile {
        self.disc().map_or(Profile::None, |disc| disc.profile)
    }

    fn describe(&self, feature: Feature) -> Descriptor {
        let profile = self.profile();
        let (cd, dvd) = (profile == Profile::CdRom, profile == Profile::DvdRom);
        // For features of the drive itself, and of a medium.
        let of_drive = |version, data| Descriptor {
            version,
            persistent: true,
            current: true,
            data,
        };
        let of_medium = |version, current, data| Descriptor {
            version,
            persistent: false,
            current,
            data,
        };
        match feature {
            Feature::ProfileList => {
                let mut data = Vec::new();
                for (known, current) in [(Profile::DvdRom, dvd), (Profile::CdRom, cd)] {
                    data.extend((known as u16).to_be_bytes());
                    data.extend([u8::from(current), 0]);
                }
                of_drive(0, data)
            }
            Feature::Core => {
                let mut data = INTERFACE_ATAPI.to_vec();
                data.extend([DEVICE_BUSY_EVENTS, 0, 0, 0]);
                of_drive(2, data)
            }
            // Events are polled for; operational changes are not reported.
            Feature::Morphing => of_drive(1, vec![0; 4]),
            Feature::RemovableMedium => of_drive(0, vec![TRAY_EJECT_LOCK, 0, 0, 0]),
            Feature::RandomReadable => {
                let blocking = if dvd { DVD_ECC_SECTORS as u16 } else { 1 };
                let mut data = (SECTOR as u32).to_be_bytes().to_vec();
                data.extend(blocking.to_be_bytes());
                data.extend([ERROR_RECOVERY_PAGE, 0]);
                of_medium(0, cd || dvd, data)
            }
            Feature::MultiRead => of_medium(0, cd, Vec::new()),
            // No C2 pointers, no CD-TEXT, no digital audio.
            Feature::CdRead => of_medium(2, cd, vec![0; 4]),
            Feature::DvdRead => of_medium(1, dvd, vec![0; 4]),
            Feature::PowerManagement => of_drive(0, Vec::new()),
            Feature::Timeout => of_drive(0, Vec::new()),
            Feature::SerialNumber => of_drive(0, self.identity.serial()),
        }
    }

    /// GET CONFIGURATION (MMC-5 6.6).
    pub(super) fn get_configuration(&mut self, cdb: &Cdb) -> Outcome {
        let (which, start) = (cdb.byte(1) & 0x03, cdb.be16(2));
        if which > ONE_FEATURE {
            return Err(Sense::invalid_field(1));
        }
        let mut features = Vec::new();
        for feature in Feature::ALL {
            let code = feature as u16;
            let descriptor = self.describe(feature);
            let wanted = match which {
                ALL_FEATURES => code >= start,
                CURRENT_FEATURES => code >= start && descriptor.current,
                _ => code == start,
            };
            if wanted {
                features.extend(code.to_be_bytes());
                let flags = u8::from(descriptor.persistent) << 1 | u8::from(descriptor.current);
                features.extend([descriptor.version << 2 | flags, descriptor.data.len() as u8]);
                features.extend(descriptor.data);
            }
        }
        // The length counts what follows it.
        let mut data = (4 + features.len() as u32).to_be_bytes().to_vec();
        data.extend([0, 0]);
        data.extend((self.profile() as u16).to_be_bytes());
        data.extend(features);
        self.respond(data, usize::from(cdb.be16(7)))
    }

    /// GET PERFORMANCE (MMC-5 6.8): one nominal speed all over the disc, and nothing about writing.
    pub(super) fn get_performance(&mut self, cdb: &Cdb) -> Outcome {
        let (data_type, lba, most, kind) = (cdb.byte(1), cdb.be32(2), cdb.be16(8), cdb.byte(10));
        let (write, except) = (data_type & 0x04 != 0, data_type & 0x03);
        if !matches!(kind, TYPE_PERFORMANCE | TYPE_WRITE_SPEED) {
            return Err(Sense::invalid_field(10));
        }
        if except == 3 {
            return Err(Sense::invalid_field(1));
        }
        let mut descriptors = Vec::new();
        if let Some(disc) = self.disc()
            && kind == TYPE_PERFORMANCE
            && !write
        {
            if lba >= disc.sectors {
                return Err(Sense::OUT_OF_RANGE);
            }
            // Exceptions are seeks slower than they should be: there are none.
            if except == 0 && most > 0 {
                let speed = u32::from(self.speed());
                for value in [lba, speed, disc.sectors - 1, speed] {
                    descriptors.extend(value.to_be_bytes());
                }
            }
        }
        let mut data = (4 + descriptors.len() as u32).to_be_bytes().to_vec();
        data.extend([u8::from(write) << 1 | u8::from(except != 0), 0, 0, 0]);
        data.extend(descriptors);
        self.respond(data, usize::MAX)
    }
}
