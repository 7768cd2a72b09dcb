// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Undo disks: a differencing image over each disk of a machine, made at its start. What is written goes there; when the machine is turned off
//! it is forgotten, kept for the next start, or written to the disk.

use super::VirtualMachine;
use super::drives::places_of;
use crate::storage::{self, chain};
use crate::virtual_pc::enums::{DriveType, MachineState};
use crate::virtual_pc::error::{Error, Result};
use crate::virtual_pc::event::EventKind;
use crate::virtual_pc::files;
use crate::virtual_pc::hard_disk::image_error;
use crate::virtual_pc::hresult;
use crate::virtual_pc::place::{self, Place};
use crate::virtual_pc::task::{Cancelling, Task};
use crate::virtual_pc::vmc::{Value, Vmc};
use std::path::{Path, PathBuf};
use vhd::Kind;
use vhd::merge::MergeOptions;

/// Set while undo disks are being written to their disks, so that a machine whose process was killed meanwhile finishes that first.
const COMMITTING: &str = "settings/undo_drives/committing";

fn group(place: Place) -> String {
    format!("{}/undo_pathname", place.key())
}

impl VirtualMachine {
    /// The disk at a place, and its undo disk if there is one.
    fn disk_and_undo(&self, vmc: &Vmc, place: Place) -> (Option<PathBuf>, Option<PathBuf>) {
        let disk = place::file(vmc, &format!("{}/pathname", place.key()), self.folder());
        let undo = place::file(vmc, &group(place), self.folder()).filter(|path| path.is_file());
        (disk, undo)
    }

    /// Makes the undo disks that are not there yet, and notes them. Called by the machine's process.
    pub(in crate::virtual_pc) fn make_undo_disks(&self) -> Result<()> {
        self.change(|vmc| {
            for place in places_of(vmc, DriveType::HardDisk) {
                let (Some(disk), None) = self.disk_and_undo(vmc, place) else {
                    continue;
                };
                let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
                let undo = self
                    .folder()
                    .join(format!("{stem}_{}_{}.vud", place.bus(), place.device()));
                remove_if_unused(&undo)?;
                let options = vhd::CreateOptions::new().file_system(storage::file_system());
                vhd::create::differencing(&undo, &disk, &options).map_err(|error| match error.kind() {
                    Kind::WrongFormat => Error::of_file(
                        hresult::VM_E_WRONG_HD_IMAGE_TYPE,
                        &disk,
                        "a raw disk can have no undo disk",
                    )
                    .with_remedy("convert it with `vpc disk convert`, or switch undo disks off"),
                    _ => image_error(&error),
                })?;
                place::put_file(vmc, &group(place), Some(&undo), self.folder());
            }
            Ok(())
        })
    }

    /// Deletes one disk's undo disk.
    pub(super) fn delete_undo_disk(&self, vmc: &mut Vmc, place: Place) -> Result<()> {
        if let (_, Some(undo)) = self.disk_and_undo(vmc, place) {
            std::fs::remove_file(&undo).map_err(|error| files::failed(&undo, &error))?;
            place::put_file(vmc, &group(place), None, self.folder());
        }
        Ok(())
    }

    /// Deletes all undo disks.
    pub(in crate::virtual_pc) fn delete_undo_disks(&self, vmc: &mut Vmc) -> Result<()> {
        for place in places_of(vmc, DriveType::HardDisk) {
            self.delete_undo_disk(vmc, place)?;
        }
        vmc.put(COMMITTING, &Value::Boolean(false));
        Ok(())
    }

    /// Whether the undo disks were being written to their disks when that was cut off.
    pub(in crate::virtual_pc) fn must_finish_commit(&self) -> Result<bool> {
        Ok(self.configuration()?.boolean(COMMITTING).unwrap_or(false))
    }

    /// Writes all undo disks to their disks and deletes them. It can be cut off at any time and done again.
    pub(in crate::virtual_pc) fn commit_undo_disks(&self, watch: &vhd::Watch) -> Result<()> {
        self.change(|vmc| {
            vmc.put(COMMITTING, &Value::Boolean(true));
            Ok(())
        })?;
        let vmc = self.configuration()?;
        for place in places_of(&vmc, DriveType::HardDisk) {
            let (_, Some(undo)) = self.disk_and_undo(&vmc, place) else {
                continue;
            };
            // A parent that a cut-off commit has written to has another time.
            let options = storage::options().ignore_parent_timestamp(true);
            if let Err(error) = vhd::merge::into_parent(&undo, &options, MergeOptions::default(), watch) {
                // Refused before anything was written: there is nothing to finish at the next start.
                if matches!(error.kind(), Kind::OtherChildren(_) | Kind::SavedState) {
                    self.change(|vmc| {
                        vmc.put(COMMITTING, &Value::Boolean(false));
                        Ok(())
                    })?;
                }
                return Err(merge_error(&error));
            }
        }
        self.change(|vmc| {
            for place in places_of(vmc, DriveType::HardDisk) {
                place::put_file(vmc, &group(place), None, self.folder());
            }
            vmc.put(COMMITTING, &Value::Boolean(false));
            Ok(())
        })
    }

    /// `IVMVirtualMachine::DiscardUndoDisks`: deletes the undo disks.
    ///
    /// # Errors
    /// `VM_E_VM_RUNNING_OR_SAVED`, `VM_E_VM_UNKNOWN`.
    pub fn discard_undo_disks(&self) -> Result<()> {
        self.must_be_idle(hresult::VM_E_VM_RUNNING_OR_SAVED)?;
        // A run that begins meanwhile would lose its disks.
        let _tenure = self
            .instance()
            .enter()
            .map_err(|error| Error::new(hresult::VM_E_VM_RUNNING_OR_SAVED, error.cause()))?;
        self.change(|vmc| self.delete_undo_disks(vmc))
    }

    /// `IVMVirtualMachine::MergeUndoDisks`: writes the undo disks to their disks.
    ///
    /// # Errors
    /// At once: `VM_E_VM_RUNNING`, `VM_E_FILE_READ_ONLY` or `E_ACCESSDENIED` if a disk cannot be written, `ERROR_PATH_NOT_FOUND` if it is
    /// gone, `E_HANDLE` if it is in use, `VM_E_VM_UNKNOWN`.
    pub fn merge_undo_disks(&self) -> Result<Task> {
        let vmc = self.configuration()?;
        // What a saved state depends on stays as it is.
        self.must_be_idle(hresult::VM_E_VM_RUNNING)?;
        for place in places_of(&vmc, DriveType::HardDisk) {
            let (Some(disk), Some(undo)) = self.disk_and_undo(&vmc, place) else {
                continue;
            };
            if std::fs::metadata(&disk).is_ok_and(|metadata| metadata.permissions().readonly()) {
                return Err(Error::of_file(
                    hresult::VM_E_FILE_READ_ONLY,
                    &disk,
                    "the file is read-only",
                ));
            }
            let options = storage::options().ignore_parent_timestamp(true);
            vhd::Disk::open(&disk, &options)
                .and_then(vhd::Disk::close)
                .and_then(|()| vhd::Disk::open(&undo, &options.read_only(true)).and_then(vhd::Disk::close))
                .map_err(|error| merge_error(&error))?;
        }
        let tenure = self.instance().enter()?;
        let machine = self.clone();
        let description = format!("merge the undo disks of {}", self.path.display());
        let task = Task::start(self.app.places(), description, Cancelling::Obeyed, move |watch| {
            tenure.note(MachineState::MergingDrives)?;
            machine.note(EventKind::StateChange {
                state: MachineState::MergingDrives,
            });
            let done = machine.commit_undo_disks(watch);
            drop(tenure);
            machine.note(EventKind::StateChange {
                state: MachineState::TurnedOff,
            });
            done
        })?;
        self.app.keep(&task);
        Ok(task)
    }
}

/// Removes an undo disk that the configuration does not know, of a start that was killed before it was noted. One that somebody has written
/// to is not this program's to throw away.
fn remove_if_unused(undo: &Path) -> Result<()> {
    if !undo.exists() {
        return Ok(());
    }
    let options = storage::options().read_only(true).ignore_parent_timestamp(true);
    let unused = vhd::Disk::open(undo, &options).is_ok_and(|disk| {
        let top = disk.layers().next();
        top.is_some_and(|top| top.allocated_blocks() == Some(0))
    });
    if !unused {
        return Err(Error::of_file(
            hresult::ERROR_ALREADY_EXISTS,
            undo,
            "the undo disk is to be made there, but there is a file that the configuration does not name",
        )
        .with_remedy("look what it is, and move it away"));
    }
    std::fs::remove_file(undo).map_err(|error| files::failed(undo, &error))
}

/// As the documents of `MergeUndoDisks` have it.
fn merge_error(error: &vhd::Error) -> Error {
    let result = match error.kind() {
        Kind::NotFound | Kind::ParentNotFound { .. } => hresult::ERROR_PATH_NOT_FOUND,
        Kind::PermissionDenied => hresult::E_ACCESSDENIED,
        Kind::Locked => hresult::E_HANDLE,
        _ => return image_error(error),
    };
    Error::new(result, chain(error))
}
