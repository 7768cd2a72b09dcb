// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Drives with removable media, and the bell that tells a controller of its media's completions.

use super::control::{CommandError, Drive, DriveStatus};
use crate::memory::Dma;
use crate::storage::{self, Image, Purpose, Waker, chain};
use devices::block::Medium;
use devices::bus::lock;
use devices::fdc::media::{DriveType, Format};
use devices::fdc::{DriveId, Fdc};
use devices::ide::Channel;
use devices::mmc::{DriveEvent, DvdDrive};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Rings at a controller that is made after its media: a medium needs its waker first.
#[derive(Clone, Default)]
pub struct Bell(Arc<Mutex<Option<Ring>>>);

type Ring = Box<dyn Fn() + Send>;

impl Bell {
    /// What media call when they have completed something.
    pub fn waker(&self) -> Waker {
        let bell = self.0.clone();
        Arc::new(move || {
            if let Some(ring) = &*lock(&bell) {
                ring();
            }
        })
    }

    /// Ties the bell to its controller, which it does not keep alive, for as long as the cord is kept.
    pub fn connect<T: Send + 'static>(&self, controller: &Arc<Mutex<T>>, service: fn(&mut T)) -> Cord {
        let controller = Arc::downgrade(controller);
        let ring = move || {
            if let Some(controller) = controller.upgrade() {
                service(&mut lock(&controller));
            }
        };
        *lock(&self.0) = Some(Box::new(ring));
        Cord(self.clone())
    }
}

/// Ties a bell to a controller. It must be dropped before the controller is, and not under its lock: once it is gone nobody rings any
/// more, so a medium's own thread is never the last one that has the controller, and with it the medium, whose end waits for that thread.
#[must_use]
pub struct Cord(Bell);

impl Drop for Cord {
    fn drop(&mut self) {
        // This waits for a ring that is under way.
        *lock(&self.0.0) = None;
    }
}

/// A drive whose medium can be changed.
pub trait Bay: Send {
    /// Puts an image in, in place of what is there.
    fn insert(&mut self, name: Drive, path: &Path, force: bool) -> Result<(), CommandError>;
    /// Takes the medium out, if the guest lets go of it or `force` is set.
    fn eject(&mut self, name: Drive, force: bool) -> Result<(), CommandError>;
    /// How it is.
    fn status(&self, name: Drive) -> DriveStatus;
}

/// A DVD drive and what is in it.
pub struct DvdBay {
    drive: Arc<Mutex<DvdDrive>>,
    channel: Arc<Mutex<Channel>>,
    bell: Bell,
    dma: Arc<Dma>,
    path: Option<PathBuf>,
}

impl DvdBay {
    /// The bay of `drive`, which holds the image at `path`.
    pub fn new(
        drive: Arc<Mutex<DvdDrive>>,
        channel: Arc<Mutex<Channel>>,
        bell: Bell,
        dma: Arc<Dma>,
        path: Option<PathBuf>,
    ) -> Self {
        Self {
            drive,
            channel,
            bell,
            dma,
            path,
        }
    }

    /// The drive.
    pub fn drive(&self) -> &Arc<Mutex<DvdDrive>> {
        &self.drive
    }

    /// What lies in the tray, if the guest has opened it since the last call.
    pub fn opened(&self) -> Option<PathBuf> {
        let mut drive = lock(&self.drive);
        let opened = drive.take_events().contains(&DriveEvent::TrayOpened);
        self.path
            .clone()
            .filter(|_| opened && drive.status().medium_present)
    }

    /// Lets a read that was under way end, and the old medium go, each without the other's lock.
    fn changed(&self, old: Option<Box<dyn Medium>>) {
        lock(&self.channel).service();
        drop(old);
    }
}

impl Bay for DvdBay {
    fn insert(&mut self, name: Drive, path: &Path, force: bool) -> Result<(), CommandError> {
        let image = open(path, Purpose::Dvd)?.reaching(self.dma.clone());
        let medium = start(image, &self.bell)?;
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

    fn eject(&mut self, name: Drive, force: bool) -> Result<(), CommandError> {
        let taken = lock(&self.drive)
            .eject(force)
            .map_err(|_| CommandError::Locked { drive: name })?;
        self.changed(taken);
        self.path
            .take()
            .map(|_| ())
            .ok_or(CommandError::Empty { drive: name })
    }

    fn status(&self, name: Drive) -> DriveStatus {
        let status = lock(&self.drive).status();
        DriveStatus {
            drive: name,
            medium: self.path.clone().filter(|_| status.medium_present),
            locked: status.locked,
            tray_open: status.tray_open,
        }
    }
}

/// A diskette drive and what is in it.
pub struct FloppyBay {
    fdc: Arc<Mutex<Fdc>>,
    id: DriveId,
    kind: DriveType,
    bell: Bell,
    path: Option<PathBuf>,
}

impl FloppyBay {
    /// The empty bay of a drive.
    pub fn new(fdc: Arc<Mutex<Fdc>>, id: DriveId, kind: DriveType, bell: Bell) -> Self {
        Self {
            fdc,
            id,
            kind,
            bell,
            path: None,
        }
    }

    /// Puts an opened image in.
    pub fn load(&mut self, image: Image) -> Result<(), storage::Error> {
        let path = image.path().to_owned();
        let unsuitable = |detail: String| storage::Error::Unsuitable {
            path: path.clone(),
            detail,
        };
        let format = diskette_format(&image, Some(self.kind))?;
        let medium = Box::new(image.into_medium(self.bell.waker())?);
        // The lock must be let go before either medium is.
        let result = lock(&self.fdc).insert(self.id, medium, format);
        let old = result.map_err(|rejected| unsuitable(rejected.reason.to_string()))?;
        drop(old);
        self.path = Some(path);
        Ok(())
    }
}

/// How the diskette in an image is formatted. Without a drive, whichever drive suits it is meant.
pub fn diskette_format(image: &Image, drive: Option<DriveType>) -> Result<Format, storage::Error> {
    let sector = image.first_sector()?;
    Format::detect(image.info().len, &sector, drive).map_err(|error| storage::Error::Unsuitable {
        path: image.path().to_owned(),
        detail: error.to_string(),
    })
}

impl Bay for FloppyBay {
    // A diskette drive has no lock: the guest cannot hold what a hand takes out.
    fn insert(&mut self, _: Drive, path: &Path, _: bool) -> Result<(), CommandError> {
        let image = open(path, Purpose::Floppy)?;
        self.load(image).map_err(|error| refused(&error))
    }

    fn eject(&mut self, name: Drive, _: bool) -> Result<(), CommandError> {
        let old = lock(&self.fdc).eject(self.id);
        drop(old);
        self.path
            .take()
            .map(|_| ())
            .ok_or(CommandError::Empty { drive: name })
    }

    fn status(&self, name: Drive) -> DriveStatus {
        DriveStatus {
            drive: name,
            medium: self.path.clone(),
            locked: false,
            tray_open: false,
        }
    }
}

fn refused(error: &storage::Error) -> CommandError {
    CommandError::Image { detail: chain(error) }
}

fn open(path: &Path, purpose: Purpose) -> Result<Image, CommandError> {
    Image::open(path, purpose).map_err(|error| refused(&error))
}

/// Makes an image a medium of a drive whose controller `bell` rings at.
fn start(image: Image, bell: &Bell) -> Result<Box<dyn Medium>, CommandError> {
    Ok(Box::new(
        image.into_medium(bell.waker()).map_err(|error| refused(&error))?,
    ))
}
