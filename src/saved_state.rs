// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Saved states: what is written of a running machine, so that it can go on later. docs/saved-states.md has the format.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`file`] | the file: records with checksums, from a draft to a whole |
//! | [`ram`] | guest memory, in compressed pieces |
//! | [`media`] | how images are known again |
//!
//! A state is made in two steps, because a disk's files have their last time only when they are closed: [`Draft`] takes everything from
//! the machine that is stopped, and [`Draft::finish`] adds how its images are known again, when the machine is gone. Until then it is no
//! state, whatever happens.

pub mod file;
pub mod media;
pub mod ram;

use crate::hypervisor::{self, Irqchip};
use crate::storage::chain;
use devices::snapshot::BadState;
use file::{Kind, Reader, Writer};
use media::Fingerprint;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// A state could not be written, or is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path}: this is no saved state of this program")]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// Another version of this program made it.
    #[error("{path}: the saved state has version {found}, and this program reads version {known} only")]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// It is not what was written.
    #[error("{path}: the saved state is damaged: {what}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was seen.
        what: String,
    },
    /// A disk of the machine cannot be made durable.
    #[error("{}", chain(.0))]
    Disk(#[from] crate::storage::Error),
    /// The machine is another one now.
    #[error("the machine was changed after it was saved: {0}")]
    Machine(String),
    /// A disk was written, replaced or moved since.
    #[error("{path}: {what}")]
    Medium {
        /// Which image.
        path: PathBuf,
        /// What became of it.
        what: &'static str,
    },
    /// The hypervisor.
    #[error(transparent)]
    Hypervisor(#[from] hypervisor::Error),
    /// A medium does not end what it was asked for.
    #[error("a disk of the machine did not come to rest within {0} seconds")]
    Restless(u64),
}

/// Result of saving and restoring.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What the user can do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Io { .. } => {
                "see that the folder can be written, and that its volume has room for the machine's memory"
            }
            Self::Foreign { .. } | Self::Version { .. } | Self::Damaged { .. } => {
                "discard the saved state, and start the machine anew"
            }
            Self::Disk(_) => "make room on the image's volume, or see what is wrong with it",
            Self::Machine(_) => "change the machine back, or discard the saved state",
            Self::Medium { .. } => "put back what was there, or discard the saved state",
            Self::Hypervisor(_) => "start it where it was saved, or discard the saved state",
            Self::Restless(_) => "see the machine's log for what keeps its disks from ending",
        }
    }
}

/// What the machine is made of, as far as a state depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Bytes of RAM.
    pub memory: u64,
    /// Processors.
    pub cpus: u8,
    /// Who plays the interrupt controllers.
    pub irqchip: String,
    /// Whether there is firmware, and bytes of it.
    pub firmware: Option<u64>,
    /// What is at each place on the IDE buses.
    pub ide: [String; 4],
    /// Floppy drives.
    pub floppies: [bool; 2],
    /// Serial ports.
    pub serial: [bool; 4],
    /// The parallel port.
    pub parallel: bool,
    /// Virtio disks.
    pub virtio: usize,
}

impl Description {
    /// Says in what `now` differs.
    fn must_be(&self, now: &Self) -> Result<()> {
        let parts = [
            (
                "its memory",
                format!("{} MiB", self.memory >> 20),
                format!("{} MiB", now.memory >> 20),
            ),
            ("its processors", self.cpus.to_string(), now.cpus.to_string()),
            (
                "its interrupt controllers",
                self.irqchip.clone(),
                now.irqchip.clone(),
            ),
            (
                "its firmware",
                format!("{:?}", self.firmware),
                format!("{:?}", now.firmware),
            ),
            ("its IDE drives", self.ide.join(", "), now.ide.join(", ")),
            (
                "its floppy drives",
                format!("{:?}", self.floppies),
                format!("{:?}", now.floppies),
            ),
            (
                "its serial ports",
                format!("{:?}", self.serial),
                format!("{:?}", now.serial),
            ),
            (
                "its parallel port",
                self.parallel.to_string(),
                now.parallel.to_string(),
            ),
            (
                "its virtio disks",
                self.virtio.to_string(),
                now.virtio.to_string(),
            ),
        ];
        match parts.into_iter().find(|(_, then, now)| then != now) {
            Some((what, then, now)) => Err(Error::Machine(format!("{what} were {then} and are {now}"))),
            None => Ok(()),
        }
    }
}

/// The name of an interrupt controller set-up.
pub fn irqchip_name(irqchip: Irqchip) -> String {
    match irqchip {
        Irqchip::Kernel => "hypervisor".to_owned(),
        Irqchip::Split => "machine".to_owned(),
    }
}

/// A state that is being written. Dropping it leaves nothing.
#[derive(Debug)]
pub struct Draft {
    writer: Writer,
    files: Vec<PathBuf>,
    /// Where the fingerprints go, and how many bytes are kept for them.
    place: (u64, usize),
}

impl Draft {
    /// Begins a state that will have this name. `configuration` is kept in it, for people.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(path: &Path, configuration: &[u8], description: &Description) -> Result<Self> {
        let mut writer = Writer::create(path)?;
        writer.compressed(Kind::Configuration, 0, configuration)?;
        let mut draft = Self {
            writer,
            files: Vec::new(),
            place: (0, 0),
        };
        draft.part(Kind::Description, description)?;
        Ok(draft)
    }

    /// Writes a part of the state.
    ///
    /// # Errors
    /// What the file system says.
    pub fn part<T: Serialize>(&mut self, kind: Kind, part: &T) -> Result<()> {
        let bytes = serde_json::to_vec(part).map_err(|error| self.writer.failed(error.into()))?;
        self.writer.compressed(kind, 0, &bytes)
    }

    /// The file.
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Notes which images the machine has, keeps room for how they are known and for the end, and makes all of it durable.
    ///
    /// # Errors
    /// What the file system says, of an image too: one that cannot be known again is found out while the machine can still go on.
    pub fn images(&mut self, files: Vec<PathBuf>) -> Result<()> {
        let prints: Result<Vec<_>> = files.iter().map(|file| Fingerprint::of(file)).collect();
        let room = Fingerprint::list_len(&files);
        Fingerprint::write_list(&prints?, room).map_err(|error| self.writer.failed(error))?;
        self.place = self.writer.reserve(Kind::Media, room)?;
        self.files = files;
        self.writer.reserve_end()?;
        self.writer.sync()
    }

    /// Makes the state whole, when nothing writes to the images any more.
    ///
    /// # Errors
    /// What the file system says. There is no state then.
    pub fn finish(mut self) -> Result<()> {
        let prints: Result<Vec<_>> = self.files.iter().map(|file| Fingerprint::of(file)).collect();
        let bytes =
            Fingerprint::write_list(&prints?, self.place.1).map_err(|error| self.writer.failed(error))?;
        self.writer.fill(self.place.0, &bytes)?;
        self.writer.finish()
    }
}

/// A state whose records are whole and in order. What is in them is checked when it is read: chips, processors and memory when they are
/// restored.
pub struct Saved {
    reader: Reader,
    description: Description,
    prints: Vec<Fingerprint>,
}

impl Saved {
    /// Opens a state, and checks what it needs to say whether it fits.
    ///
    /// # Errors
    /// [`Error::Foreign`], [`Error::Version`], [`Error::Damaged`].
    pub fn open(path: &Path) -> Result<Self> {
        let reader = Reader::open(path)?;
        let description = parse(&reader, Kind::Description)?;
        let media = reader.stored(Kind::Media)?;
        // Nobody needs it to go on; but what is damaged is refused whole.
        reader.compressed(Kind::Configuration)?;
        let prints = Fingerprint::read_list(&media).ok_or_else(|| reader.damaged("the list of images"))?;
        Ok(Self {
            reader,
            description,
            prints,
        })
    }

    /// Refuses if an image is not what it was. It must be asked before the images are opened, which may change them.
    ///
    /// # Errors
    /// [`Error::Medium`].
    pub fn check_images(&self) -> Result<()> {
        self.prints.iter().try_for_each(Fingerprint::check)
    }

    /// Refuses if the machine is made otherwise, or has other images.
    ///
    /// # Errors
    /// [`Error::Machine`].
    pub fn check_machine(&self, now: &Description, files: &[PathBuf]) -> Result<()> {
        self.description.must_be(now)?;
        let then: Vec<&Path> = self.prints.iter().map(Fingerprint::path).collect();
        if then == files {
            return Ok(());
        }
        let names = |files: &[&Path]| {
            let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            names.join(", ")
        };
        let now: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        Err(Error::Machine(format!(
            "its images were {} and are {}",
            names(&then),
            names(&now)
        )))
    }

    /// A part of the state.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn part<T: DeserializeOwned>(&self, kind: Kind) -> Result<T> {
        parse(&self.reader, kind)
    }

    /// The file.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// A state that no chip can be in.
    pub fn impossible(&self, chip: &str, error: BadState) -> Error {
        self.reader.damaged(&format!("{chip}: {error}"))
    }

    /// Removes the file: the machine goes on, and its disks will not be what they were.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(self) -> Result<()> {
        self.reader.remove()
    }
}

fn parse<T: DeserializeOwned>(reader: &Reader, kind: Kind) -> Result<T> {
    let bytes = reader.compressed(kind)?;
    serde_json::from_slice(&bytes).map_err(|error| reader.damaged(&chain(&error)))
}
