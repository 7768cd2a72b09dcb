// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine's drives and ports: what is at which place of the buses, and how drives come and go while it is off.

use super::{SERIAL_PORTS, VirtualMachine};
use crate::virtual_pc::collection::Collection;
use crate::virtual_pc::dvd::DvdDrive;
use crate::virtual_pc::enums::DriveType;
use crate::virtual_pc::error::{Error, Result};
use crate::virtual_pc::floppy::FloppyDrive;
use crate::virtual_pc::hard_disk::{self, HardDiskConnection};
use crate::virtual_pc::place::{self, Place};
use crate::virtual_pc::ports::{ParallelPort, SerialPort};
use crate::virtual_pc::vmc::{Value, Vmc};
use crate::virtual_pc::{hresult, paths};
use std::path::Path;

/// What is at a place.
pub(in crate::virtual_pc) fn drive_type(vmc: &Vmc, place: Place) -> DriveType {
    let number = vmc.integer(&format!("{}/drive_type", place.key()));
    number
        .and_then(|number| DriveType::from_value(i32::try_from(number).ok()?))
        .unwrap_or(DriveType::Null)
}

/// Puts a drive at a place.
pub(in crate::virtual_pc) fn put_drive(
    vmc: &mut Vmc,
    place: Place,
    kind: DriveType,
    file: Option<&Path>,
    folder: &Path,
) {
    let key = place.key();
    vmc.put(&format!("{key}/drive_type"), &Value::Integer(kind.value().into()));
    place::put_file(vmc, &format!("{key}/pathname"), file, folder);
}

/// Takes away what is at a place.
fn take_drive(vmc: &mut Vmc, place: Place) {
    if let Ok(key) = place.key().parse() {
        vmc.remove_tree(&key);
    }
}

pub(in crate::virtual_pc) fn must_be_free(vmc: &Vmc, place: Place) -> Result<()> {
    match drive_type(vmc, place) {
        DriveType::Null => Ok(()),
        kind => Err(Error::new(
            hresult::VM_E_DRIVE_BUS_LOC_IN_USE,
            format!("there is a {kind} drive at {place} already"),
        )),
    }
}

/// Refuses unless a drive of this kind is at the place.
pub(in crate::virtual_pc) fn must_be(vmc: &Vmc, place: Place, kind: DriveType) -> Result<()> {
    if drive_type(vmc, place) == kind {
        return Ok(());
    }
    Err(Error::new(
        hresult::VM_E_DRIVE_INVALID,
        format!("there is no {kind} drive at {place}"),
    ))
}

/// The places that hold drives of a kind.
pub(in crate::virtual_pc) fn places_of(vmc: &Vmc, kind: DriveType) -> Vec<Place> {
    let places = Place::ALL.into_iter();
    places.filter(|place| drive_type(vmc, *place) == kind).collect()
}

impl VirtualMachine {
    /// `IVMVirtualMachine::AttachedDriveTypes`: what is at each place, in the order of [`Place::ALL`].
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn attached_drive_types(&self) -> Result<[DriveType; 4]> {
        let vmc = self.configuration()?;
        Ok(Place::ALL.map(|place| drive_type(&vmc, place)))
    }

    /// `IVMVirtualMachine::DVDROMDrives`: its DVD drives, in the order of their places.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn dvd_drives(&self) -> Result<Collection<DvdDrive>> {
        let vmc = self.configuration()?;
        let places = places_of(&vmc, DriveType::DVD).into_iter();
        Ok(places.map(|place| DvdDrive::new(self.clone(), place)).collect())
    }

    /// `IVMVirtualMachine::FloppyDrives`: its floppy drives.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn floppy_drives(&self) -> Result<Collection<FloppyDrive>> {
        let vmc = self.configuration()?;
        let numbers = crate::virtual_pc::floppy::numbers(&vmc).into_iter();
        Ok(numbers
            .map(|number| FloppyDrive::new(self.clone(), number))
            .collect())
    }

    /// `IVMVirtualMachine::HardDiskConnections`: its hard disks, in the order of their places.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn hard_disk_connections(&self) -> Result<Collection<HardDiskConnection>> {
        let vmc = self.configuration()?;
        let places = places_of(&vmc, DriveType::HardDisk).into_iter();
        Ok(places
            .map(|place| HardDiskConnection::new(self.clone(), place))
            .collect())
    }

    /// `IVMVirtualMachine::SerialPorts`: its serial ports.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn serial_ports(&self) -> Result<Collection<SerialPort>> {
        self.configuration()?;
        let numbers = 0..SERIAL_PORTS;
        Ok(numbers
            .map(|number| SerialPort::new(self.clone(), number))
            .collect())
    }

    /// `IVMVirtualMachine::ParallelPorts`: its parallel port.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn parallel_ports(&self) -> Result<Collection<ParallelPort>> {
        self.configuration()?;
        Ok(std::iter::once(ParallelPort::new(self.clone())).collect())
    }

    /// `IVMVirtualMachine::AddDVDROMDrive`: adds an empty DVD drive.
    ///
    /// # Errors
    /// `E_INVALIDARG`, `VM_E_VM_RUNNING_OR_SAVED`, `VM_E_DRIVE_BUS_LOC_IN_USE`, `VM_E_VM_UNKNOWN`.
    pub fn add_dvd_drive(&self, bus: i32, device: i32) -> Result<DvdDrive> {
        self.must_be_idle(hresult::VM_E_VM_RUNNING_OR_SAVED)?;
        let place = Place::new(bus, device)?;
        self.change_key(&place.key(), |vmc| {
            must_be_free(vmc, place)?;
            put_drive(vmc, place, DriveType::DVD, None, self.folder());
            Ok(())
        })?;
        Ok(DvdDrive::new(self.clone(), place))
    }

    /// `IVMVirtualMachine::RemoveDVDROMDrive`: removes a DVD drive.
    ///
    /// # Errors
    /// `VM_E_VM_RUNNING_OR_SAVED`, `VM_E_DRIVE_INVALID`, `VM_E_VM_UNKNOWN`.
    pub fn remove_dvd_drive(&self, drive: &DvdDrive) -> Result<()> {
        self.remove_drive(drive.place(), DriveType::DVD)
    }

    /// `IVMVirtualMachine::AddHardDiskConnection`: connects a hard disk's image.
    ///
    /// # Errors
    /// The documented ones for the path and the place; `VM_E_INVALID_HD_FILE` for what is no image or is larger than 127 GB,
    /// `VM_E_UNSUPPORTED_HD_DISK_TYPE`, `ERROR_SHARING_VIOLATION` if this machine has the image at another place.
    pub fn add_hard_disk_connection(&self, path: &str, bus: i32, device: i32) -> Result<HardDiskConnection> {
        self.must_be_idle(hresult::VM_E_VM_RUNNING_OR_SAVED)?;
        let place = Place::new(bus, device)?;
        let file = paths::check(path)?;
        paths::must_exist(&file)?;
        hard_disk::check_for_ide(&file)?;
        self.change_key(&place.key(), |vmc| {
            must_be_free(vmc, place)?;
            for other in places_of(vmc, DriveType::HardDisk) {
                let present = place::file(vmc, &format!("{}/pathname", other.key()), self.folder());
                if present.is_some_and(|present| same_file(&present, &file)) {
                    return Err(Error::of_file(
                        hresult::ERROR_SHARING_VIOLATION,
                        &file,
                        format!("this machine has the image at {other} already"),
                    )
                    .with_remedy("connect another image, or remove that connection first"));
                }
            }
            put_drive(vmc, place, DriveType::HardDisk, Some(&file), self.folder());
            Ok(())
        })?;
        Ok(HardDiskConnection::new(self.clone(), place))
    }

    /// `IVMVirtualMachine::RemoveHardDiskConnection`: disconnects a hard disk; its image stays, its undo disk goes.
    ///
    /// # Errors
    /// `VM_E_VM_RUNNING_OR_SAVED`, `VM_E_DRIVE_INVALID`, `VM_E_VM_UNKNOWN`.
    pub fn remove_hard_disk_connection(&self, connection: &HardDiskConnection) -> Result<()> {
        self.remove_drive(connection.place(), DriveType::HardDisk)
    }

    fn remove_drive(&self, place: Place, kind: DriveType) -> Result<()> {
        self.must_be_idle(hresult::VM_E_VM_RUNNING_OR_SAVED)?;
        self.change_key(&place.key(), |vmc| {
            must_be(vmc, place, kind)?;
            self.delete_undo_disk(vmc, place)?;
            take_drive(vmc, place);
            Ok(())
        })
    }

    /// Moves a drive to another place.
    pub(in crate::virtual_pc) fn move_drive(&self, from: Place, to: Place, kind: DriveType) -> Result<()> {
        self.must_be_idle(hresult::VM_E_VM_RUNNING_OR_SAVED)?;
        self.change_key(&to.key(), |vmc| {
            must_be(vmc, from, kind)?;
            if from == to {
                return Ok(());
            }
            must_be_free(vmc, to)?;
            let file =
                |group: &str, vmc: &Vmc| place::file(vmc, &format!("{}/{group}", from.key()), self.folder());
            let (image, undo) = (file("pathname", vmc), file("undo_pathname", vmc));
            take_drive(vmc, from);
            put_drive(vmc, to, kind, image.as_deref(), self.folder());
            if undo.is_some() {
                place::put_file(
                    vmc,
                    &format!("{}/undo_pathname", to.key()),
                    undo.as_deref(),
                    self.folder(),
                );
            }
            Ok(())
        })
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}
