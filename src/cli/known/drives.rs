// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc dvd`, `floppy`, `hd` and `serial`: a machine's drives and ports.

use super::model::{absolute, find};
use crate::cli::{Error, exit};
use crate::virtual_pc::dvd::DvdDrive;
use crate::virtual_pc::enums::SerialPortType;
use crate::virtual_pc::floppy::FloppyDrive;
use crate::virtual_pc::machine::VirtualMachine;
use crate::virtual_pc::place::Place;
use crate::virtual_pc::{self as model, hresult};
use std::path::{Path, PathBuf};

/// A machine's DVD drives. Discs can be changed while it runs.
#[derive(Debug, clap::Args)]
pub struct Dvd {
    /// Machine
    name: String,
    /// The drive's place, as bus:device [default: the first DVD drive]
    #[arg(long, global = true, value_name = "PLACE")]
    at: Option<Place>,
    #[command(subcommand)]
    word: DvdWord,
}

#[derive(Debug, clap::Subcommand)]
enum DvdWord {
    /// Put in an ISO image, or with --host a drive of the host
    Attach {
        /// Image, or device
        path: PathBuf,
        /// It is a drive of the host
        #[arg(long)]
        host: bool,
    },
    /// Take out what is in it
    Release {
        /// Even if the guest has locked the drive
        #[arg(long)]
        force: bool,
        /// It is a drive of the host
        #[arg(long)]
        host: bool,
    },
    /// Add an empty drive at a place
    Add {
        /// Place, as bus:device
        place: Place,
    },
    /// Remove the drive
    Remove,
    /// Move the drive to another place
    Move {
        /// Place, as bus:device
        place: Place,
    },
}

impl Dvd {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let machine = find(&self.name)?;
        let drive = || dvd(&machine, self.at);
        match self.word {
            DvdWord::Attach { path, host: false } => drive()?.attach_image(&absolute(&path)?)?,
            DvdWord::Attach { path, host: true } => drive()?.attach_host_drive(&absolute(&path)?)?,
            DvdWord::Release { force, host: false } => drive()?.release_image(force)?,
            DvdWord::Release { host: true, .. } => drive()?.release_host_drive()?,
            DvdWord::Add { place } => {
                machine.add_dvd_drive(place.bus().into(), place.device().into())?;
            }
            DvdWord::Remove => machine.remove_dvd_drive(&drive()?)?,
            DvdWord::Move { place } => {
                drive()?.set_bus_location(place.bus().into(), place.device().into())?;
            }
        }
        Ok(exit::DONE)
    }
}

fn no_drive(what: &str) -> Error {
    model::Error::new(hresult::VM_E_DRIVE_INVALID, format!("the machine has no {what}")).into()
}

fn dvd(machine: &VirtualMachine, at: Option<Place>) -> Result<DvdDrive, Error> {
    let drives = machine.dvd_drives()?.into_iter();
    let found = drives
        .into_iter()
        .find(|drive| at.is_none_or(|at| drive.place() == at));
    found.ok_or_else(|| match at {
        Some(at) => no_drive(&format!("DVD drive at {at}")),
        None => no_drive("DVD drive"),
    })
}

/// A machine's floppy drives. Diskettes can be changed while it runs.
#[derive(Debug, clap::Args)]
pub struct Floppy {
    /// Machine
    name: String,
    /// The drive: 0 is A, 1 is B
    #[arg(long, global = true, value_name = "NUMBER", default_value_t = 0)]
    drive: u8,
    #[command(subcommand)]
    word: FloppyWord,
}

#[derive(Debug, clap::Subcommand)]
enum FloppyWord {
    /// Put in an image, or with --host a drive of the host
    Attach {
        /// Image, or device
        path: PathBuf,
        /// It is a drive of the host
        #[arg(long)]
        host: bool,
    },
    /// Take out what is in it
    Release {
        /// It is a drive of the host
        #[arg(long)]
        host: bool,
    },
}

impl Floppy {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let drives = find(&self.name)?.floppy_drives()?.into_iter();
        let drive: Option<FloppyDrive> = drives
            .into_iter()
            .find(|drive| drive.drive_number() == self.drive);
        let drive = drive.ok_or_else(|| no_drive(&format!("floppy drive {}", self.drive)))?;
        match self.word {
            FloppyWord::Attach { path, host: false } => drive.attach_image(&absolute(&path)?)?,
            FloppyWord::Attach { path, host: true } => drive.attach_host_drive(&absolute(&path)?)?,
            FloppyWord::Release { host: false } => drive.release_image()?,
            FloppyWord::Release { host: true } => drive.release_host_drive()?,
        }
        Ok(exit::DONE)
    }
}

/// A machine's hard disks, while it is off.
#[derive(Debug, clap::Args)]
pub struct Hd {
    /// Machine
    name: String,
    #[command(subcommand)]
    word: HdWord,
}

#[derive(Debug, clap::Subcommand)]
enum HdWord {
    /// Connect a disk image
    Attach {
        /// Image
        path: PathBuf,
        /// Place, as bus:device
        #[arg(long, value_name = "PLACE", default_value = "0:0")]
        at: Place,
    },
    /// Disconnect a disk; its image stays
    Release {
        /// Place, as bus:device
        #[arg(value_name = "PLACE", default_value = "0:0")]
        at: Place,
    },
    /// Move a disk to another place
    Move {
        /// Place, as bus:device
        from: Place,
        /// Place, as bus:device
        to: Place,
    },
    /// Write the undo disks to their disks
    MergeUndo,
    /// Delete the undo disks
    DiscardUndo,
}

impl Hd {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let machine = find(&self.name)?;
        let connection = |at: Place| {
            let connections = machine.hard_disk_connections()?.into_iter();
            let found = connections
                .into_iter()
                .find(|connection| connection.place() == at);
            found.ok_or_else(|| no_drive(&format!("hard disk at {at}")))
        };
        match self.word {
            HdWord::Attach { path, at } => {
                machine.add_hard_disk_connection(&absolute(&path)?, at.bus().into(), at.device().into())?;
            }
            HdWord::Release { at } => machine.remove_hard_disk_connection(&connection(at)?)?,
            HdWord::Move { from, to } => {
                connection(from)?.set_bus_location(to.bus().into(), to.device().into())?;
            }
            HdWord::MergeUndo => super::model::finish(&machine.merge_undo_disks()?)?,
            HdWord::DiscardUndo => machine.discard_undo_disks()?,
        }
        Ok(exit::DONE)
    }
}

/// Gives a machine's serial port another far end, from the next start on.
#[derive(Debug, clap::Args)]
pub struct Serial {
    /// Machine
    name: String,
    /// Port: 1 is COM1
    #[arg(value_parser = clap::value_parser!(i32).range(1..=4))]
    port: i32,
    /// Kind: null, file, pipe (a Unix socket that the machine listens on) or host-port. What is null leads to `vpc console`
    kind: SerialPortType,
    /// The far end's path
    path: Option<PathBuf>,
}

impl Serial {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let ports = find(&self.name)?.serial_ports()?;
        let path = self
            .path
            .as_deref()
            .map(|path: &Path| absolute(path))
            .transpose()?;
        ports
            .item(self.port)?
            .configure(self.kind.value(), path.as_deref().unwrap_or_default(), true)?;
        Ok(exit::DONE)
    }
}
