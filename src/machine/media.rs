// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Drives with removable media, and the bell that tells a controller of its media's completions.

use super::control::{CommandError, Drive, DriveStatus};
use crate::storage::{Image, Purpose, Waker, chain};
use devices::block::Medium;
use devices::bus::lock;
use devices::ide::Channel;
use devices::mmc::DvdDrive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// Rings at a controller that is made after its media: a medium needs its waker first.
#[derive(Clone, Default)]
pub struct Bell(Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>);

impl Bell {
    /// What media call when they have completed something.
    pub fn waker(&self) -> Waker {
        let bell = self.0.clone();
        Arc::new(move || {
            if let Some(ring) = bell.get() {
                ring();
            }
        })
    }

    /// Ties the bell to its controller, which it does not keep alive.
    pub fn connect<T: Send + 'static>(&self, controller: &Arc<Mutex<T>>, service: fn(&mut T)) {
        let controller = Arc::downgrade(controller);
        let ring = move || {
            if let Some(controller) = controller.upgrade() {
                service(&mut lock(&controller));
            }
        };
        // A bell is connected once.
        let _ = self.0.set(Box::new(ring));
    }
}

/// A DVD drive and what is in it.
pub struct DvdBay {
    pub drive: Arc<Mutex<DvdDrive>>,
    channel: Arc<Mutex<Channel>>,
    bell: Bell,
    path: Option<PathBuf>,
}

impl DvdBay {
    /// The bay of `drive`, which holds the image at `path`.
    pub fn new(
        drive: Arc<Mutex<DvdDrive>>,
        channel: Arc<Mutex<Channel>>,
        bell: Bell,
        path: Option<PathBuf>,
    ) -> Self {
        Self {
            drive,
            channel,
            bell,
            path,
        }
    }

    /// Takes the medium out, if the guest lets go of it or `force` is set.
    pub fn eject(&mut self, name: Drive, force: bool) -> Result<(), CommandError> {
        let taken = lock(&self.drive)
            .eject(force)
            .map_err(|_| CommandError::Locked { drive: name })?;
        self.changed(taken);
        self.path
            .take()
            .map(|_| ())
            .ok_or(CommandError::Empty { drive: name })
    }

    /// Puts an image in, in place of what is there.
    pub fn insert(&mut self, name: Drive, path: &Path, force: bool) -> Result<(), CommandError> {
        let medium = open(path, Purpose::Dvd, &self.bell)?;
        if self.path.is_some() {
            let taken = lock(&self.drive)
                .eject(force)
                .map_err(|_| CommandError::Locked { drive: name })?;
            drop(taken);
        }
        let old = lock(&self.drive).insert(medium);
        self.path = Some(path.to_owned());
        self.changed(old);
        Ok(())
    }

    pub fn status(&self, name: Drive) -> DriveStatus {
        let status = lock(&self.drive).status();
        DriveStatus {
            drive: name,
            medium: self.path.clone().filter(|_| status.medium_present),
            locked: status.locked,
            tray_open: status.tray_open,
        }
    }

    /// Lets a read that was under way end, and the old medium go, each without the other's lock.
    fn changed(&self, old: Option<Box<dyn Medium>>) {
        lock(&self.channel).service();
        drop(old);
    }
}

/// Opens an image for a drive whose controller `bell` rings at.
pub fn open(path: &Path, purpose: Purpose, bell: &Bell) -> Result<Box<dyn Medium>, CommandError> {
    let failed = |error| CommandError::Image {
        detail: chain(&error),
    };
    let image = Image::open(path, purpose).map_err(failed)?;
    Ok(Box::new(image.into_medium(bell.waker()).map_err(failed)?))
}
