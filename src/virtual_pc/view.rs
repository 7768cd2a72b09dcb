// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Machines as a whole, in the form in which the command line and the HTTP API show them.

use super::enums::{DriveType, DvdAttachment, FloppyAttachment, MachineState, SerialPortType, UndoAction};
use super::error::Result;
use super::machine::VirtualMachine;
use super::place::Place;
use crate::machine::control::DriveStatus;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use utoipa::ToSchema;

/// A machine in the list of known ones.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MachineRow {
    /// Its name.
    pub name: String,
    /// What it is doing; `invalid` if its configuration cannot be read.
    pub state: MachineState,
    /// Its memory, in MB.
    pub memory: Option<u32>,
    /// Its configuration file.
    #[schema(value_type = String)]
    pub file: PathBuf,
}

/// A machine.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: MachineState,
    /// The identity that its configuration carries.
    pub id: String,
    /// Its configuration file.
    #[schema(value_type = String)]
    pub file: PathBuf,
    /// Its memory, in MB.
    pub memory: Option<u32>,
    /// What the user notes about it.
    pub notes: String,
    /// Whether its disks have undo disks.
    pub undoable: bool,
    /// What becomes of them when it is turned off.
    pub undo_action: UndoAction,
    /// Its drives.
    pub drives: Vec<Drive>,
    /// Its serial ports.
    pub serial_ports: Vec<SerialPort>,
    /// For how many seconds it runs, if it does.
    pub up_time: Option<u64>,
}

/// A drive of a machine.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Drive {
    /// Its place on the IDE buses, as bus:device; `fd0` or `fd1`.
    pub place: String,
    /// `hard-disk`, `dvd` or `floppy`.
    pub kind: String,
    /// What is in it: `none`, `image`, `image, undo disk`, `host-drive`.
    pub holds: String,
    /// The image, or the host's drive.
    #[schema(value_type = Option<String>)]
    pub file: Option<PathBuf>,
    /// Whether the guest has locked it; unknown while the machine is off.
    pub locked: Option<bool>,
}

/// A serial port of a machine.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SerialPort {
    /// `COM1` to `COM4`.
    pub port: String,
    /// The kind of its far end.
    pub kind: SerialPortType,
    /// The far end's path.
    pub name: String,
}

impl MachineRow {
    /// What is told of a machine. One that cannot be read does not hide the others.
    ///
    /// # Errors
    /// `DISP_E_EXCEPTION` if the list of machines cannot be read; `VM_E_VM_UNKNOWN` if it is gone from there.
    pub fn of(machine: &VirtualMachine) -> Result<Self> {
        Ok(Self {
            name: machine.name()?,
            state: machine.state().unwrap_or(MachineState::Invalid),
            memory: machine.memory().ok(),
            file: machine.path().to_owned(),
        })
    }
}

impl Machine {
    /// What there is to tell of a machine.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn of(machine: &VirtualMachine) -> Result<Self> {
        let mut serial_ports = vec![];
        for port in machine.serial_ports()? {
            serial_ports.push(SerialPort::of(&port)?);
        }
        Ok(Self {
            name: machine.name()?,
            state: machine.state()?,
            id: machine.config_id()?,
            file: machine.path().to_owned(),
            memory: machine.memory().ok(),
            notes: machine.notes()?,
            undoable: machine.undoable()?,
            undo_action: machine.undo_action()?,
            drives: drives(machine)?,
            serial_ports,
            up_time: machine.accountant()?.up_time().ok(),
        })
    }
}

impl SerialPort {
    /// What there is to tell of a port.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn of(port: &super::ports::SerialPort) -> Result<Self> {
        Ok(Self {
            port: format!("COM{}", port.id()?),
            kind: port.kind()?,
            name: port.name()?,
        })
    }
}

/// The drives of a machine: those on its IDE buses by their places, then floppy drives.
///
/// # Errors
/// `VM_E_VM_UNKNOWN`.
pub fn drives(machine: &VirtualMachine) -> Result<Vec<Drive>> {
    let running = running_drives(machine);
    let locked = |name: Option<String>| {
        let drive = running.iter().find(|drive| Some(drive.drive.to_string()) == name);
        drive.map(|drive| drive.locked)
    };
    let mut drives = vec![];
    for (place, kind) in Place::ALL.into_iter().zip(machine.attached_drive_types()?) {
        let (holds, file, locked) = match kind {
            DriveType::Null => continue,
            DriveType::HardDisk => {
                let connections = machine.hard_disk_connections()?;
                let disk = connections.iter().find(|connection| connection.place() == place);
                let file = disk.and_then(|disk| Some(disk.hard_disk().ok()?.file().to_owned()));
                let undo = disk.is_some_and(|disk| disk.undo_hard_disk().is_ok());
                (
                    if undo { "image, undo disk" } else { "image" }.to_owned(),
                    file,
                    None,
                )
            }
            DriveType::DVD => {
                let dvds = machine.dvd_drives()?;
                let dvd = dvds.iter().find(|dvd| dvd.place() == place);
                let holds = dvd
                    .and_then(|dvd| dvd.attachment().ok())
                    .unwrap_or(DvdAttachment::None);
                let file = dvd.and_then(|dvd| dvd.image_file().or_else(|_| dvd.host_drive()).ok());
                let name = dvd.and_then(|dvd| dvd.drive_name().ok());
                (holds.to_string(), file, locked(name.map(|name| name.to_string())))
            }
        };
        drives.push(Drive {
            place: place.to_string(),
            kind: kind.to_string(),
            holds,
            file,
            locked,
        });
    }
    for floppy in machine.floppy_drives()? {
        let holds = floppy.attachment()?;
        let file = match holds {
            FloppyAttachment::HostDrive => floppy.host_drive()?,
            _ => floppy.image_file()?,
        };
        let place = format!("fd{}", floppy.drive_number());
        drives.push(Drive {
            locked: locked(Some(place.clone())),
            place,
            kind: "floppy".into(),
            holds: holds.to_string(),
            file,
        });
    }
    Ok(drives)
}

/// What the machine itself says of its drives, if it runs.
fn running_drives(machine: &VirtualMachine) -> Vec<DriveStatus> {
    let instance = machine.instance();
    if !instance.is_running() {
        return vec![];
    }
    instance.status().map(|status| status.drives).unwrap_or_default()
}
