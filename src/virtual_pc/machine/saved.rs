// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Saved states: where they are, and the members that make and discard them. What is in them is [`crate::saved_state`]'s.

use super::VirtualMachine;
use crate::machine::control::Command;
use crate::virtual_pc::error::{Error, Result};
use crate::virtual_pc::task::Task;
use crate::virtual_pc::vmc::Vmc;
use crate::virtual_pc::{files, hresult, place};
use std::path::{Path, PathBuf};

const PATH: &str = "settings/configuration/saved_state/path";

/// The saved state that a configuration names, if it is there. What is called otherwise is none: a configuration from elsewhere must not
/// have any file deleted.
pub(super) fn file(vmc: &Vmc, folder: &Path) -> Option<PathBuf> {
    let called = |path: &PathBuf| {
        path.extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("vsv"))
    };
    place::file(vmc, PATH, folder).filter(|path| called(path) && path.is_file())
}

impl VirtualMachine {
    /// The saved state, for the machine's process.
    pub(in crate::virtual_pc) fn saved_state(&self, vmc: &Vmc) -> Option<PathBuf> {
        file(vmc, self.folder())
    }

    /// Takes the name of a saved state that is gone, because it has become a running machine, out of the configuration.
    pub(in crate::virtual_pc) fn forget_saved_state(&self) -> Result<()> {
        let named = place::file(&self.configuration()?, PATH, self.folder());
        if named.is_none_or(|path| path.exists()) {
            return Ok(());
        }
        self.change(|vmc| {
            place::put_file(vmc, PATH, None, self.folder());
            Ok(())
        })
    }

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
            // What a save that was killed has left holds the guest's memory as well.
            let _ = std::fs::remove_file(path.with_extension("vsv.draft"));
            place::put_file(vmc, PATH, None, self.folder());
            Ok(())
        })
    }

    /// `IVMVirtualMachine::Save`: saves its state and ends its process. If the task fails the machine goes on, unless its result says
    /// otherwise.
    ///
    /// # Errors
    /// At once: `VM_E_VM_NOT_RUNNING`, `HRESULT_FROM_WIN32(ERROR_ACCESS_DENIED)` if this user may not change its configuration,
    /// `VM_E_VM_UNKNOWN`. By the task: `E_FAIL` with the cause.
    pub fn save(&self) -> Result<Task> {
        self.must_run()?;
        if let Err(error) = std::fs::OpenOptions::new().write(true).open(&self.path) {
            return Err(Error::of_file(hresult::ERROR_ACCESS_DENIED, &self.path, error));
        }
        let machine = self.clone();
        self.task("save", move || machine.save_now())
    }

    fn save_now(&self) -> Result<()> {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let path = self.folder().join(format!("{stem}.vsv"));
        if path.exists() {
            return Err(Error::of_file(
                hresult::E_FAIL,
                &path,
                "a file of that name is there, which is not the machine's saved state",
            )
            .with_remedy("rename it, or move it away"));
        }
        // The name is noted first: the file counts from the moment that it is there.
        self.change(|vmc| {
            place::put_file(vmc, PATH, Some(&path), self.folder());
            Ok(())
        })?;
        let order = Command::Save { path: path.clone() };
        match self.instance().command_however_long(&order)? {
            Ok(_) => {}
            Err(error) => return Err(Error::new(hresult::E_FAIL, error.to_string())),
        }
        self.instance().wait_for_end()?;
        if path.is_file() {
            return Ok(());
        }
        Err(Error::of_file(
            hresult::E_FAIL,
            &path,
            format!(
                "the machine has ended, and its state is not whole; its log is {}",
                self.instance().log().display()
            ),
        ))
    }

    fn no_saved_state(&self) -> Error {
        Error::of_file(
            hresult::VM_E_VM_NO_SAVED_STATE,
            &self.path,
            "the machine has no saved state",
        )
    }
}
