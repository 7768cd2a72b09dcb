// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Saved states. This program cannot make one yet; those that a configuration brings along are known, and can be discarded.

use super::VirtualMachine;
use crate::virtual_pc::error::{Error, Result};
use crate::virtual_pc::task::Task;
use crate::virtual_pc::vmc::Vmc;
use crate::virtual_pc::{files, hresult, place};
use std::path::{Path, PathBuf};

const PATH: &str = "settings/configuration/saved_state/path";

/// The saved state that a configuration names, if it is there.
pub(super) fn file(vmc: &Vmc, folder: &Path) -> Option<PathBuf> {
    place::file(vmc, PATH, folder).filter(|path| path.is_file())
}

impl VirtualMachine {
    /// `IVMVirtualMachine::SavedStateFilePath`: its saved state.
    ///
    /// # Errors
    /// `VM_E_VM_NO_SAVED_STATE`, `VM_E_VM_UNKNOWN`.
    pub fn saved_state_file_path(&self) -> Result<PathBuf> {
        file(&self.configuration()?, self.folder()).ok_or_else(|| self.no_saved_state())
    }

    /// `IVMVirtualMachine::DiscardSavedState`: deletes its saved state.
    ///
    /// # Errors
    /// `VM_E_VM_RUNNING`, `VM_E_VM_NO_SAVED_STATE`, `VM_E_VM_UNKNOWN`.
    pub fn discard_saved_state(&self) -> Result<()> {
        self.configuration()?;
        self.must_be_off(hresult::VM_E_VM_RUNNING)?;
        self.change(|vmc| {
            let path = file(vmc, self.folder()).ok_or_else(|| self.no_saved_state())?;
            std::fs::remove_file(&path).map_err(|error| files::failed(&path, &error))?;
            place::put_file(vmc, PATH, None, self.folder());
            Ok(())
        })
    }

    /// `IVMVirtualMachine::Save`: saves its state. Refused as documented when it cannot be meant, and not available otherwise.
    ///
    /// # Errors
    /// `VM_E_VM_NOT_RUNNING`, else `E_NOTIMPL`.
    pub fn save(&self) -> Result<Task> {
        self.must_run()?;
        Err(
            Error::not_available("IVMVirtualMachine::Save", "the devices have no saved states yet")
                .with_remedy("pause the machine, or turn it off"),
        )
    }

    fn no_saved_state(&self) -> Error {
        Error::of_file(
            hresult::VM_E_VM_NO_SAVED_STATE,
            &self.path,
            "the machine has no saved state",
        )
    }
}
