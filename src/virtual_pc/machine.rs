// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine: `IVMVirtualMachine`.
//!
//! Its configuration file is the truth; nothing is kept in memory, so any process of the user may call at any time. What changes the file
//! does so under a lock and in one step ([`super::files`]).

mod activation;
mod drives;
mod life;
mod properties;
mod saved;
mod undo;

pub(super) use drives::{drive_type, must_be, places_of};
pub use properties::FirmwareString;

use super::application::VirtualPc;
use super::enums::MachineState;
use super::error::{Error, Result};
use super::event::EventKind;
use super::hresult::{self, HResult};
use super::instance::Instance;
use super::vmc::{Key, KeyError, Value, Vmc};
use super::{files, paths};
use std::path::{Path, PathBuf};

/// The least memory, in MB.
pub const MEMORY_LEAST: u32 = 4;
/// The most memory, in MB.
pub const MEMORY_MOST: u32 = 3712;
/// Floppy drives.
pub const FLOPPIES: u32 = 2;
/// IDE buses, with two drives each.
pub const IDE_BUSES: u32 = 2;
/// Serial ports.
pub const SERIAL_PORTS: u32 = 4;
/// Parallel ports.
pub const PARALLEL_PORTS: u32 = 1;

/// A machine: `IVMVirtualMachine`. Clones are the same one.
#[derive(Clone)]
pub struct VirtualMachine {
    app: VirtualPc,
    path: PathBuf,
}

/// The configuration of a new machine: 128 MB, an empty DVD drive, an empty floppy drive.
pub(super) fn new_configuration() -> Vmc {
    let mut vmc = Vmc::default();
    vmc.put("hardware/memory/ram_size", &Value::Integer(128));
    drives::put_drive(
        &mut vmc,
        super::place::Place::SECONDARY_MASTER,
        super::enums::DriveType::DVD,
        None,
        Path::new("/"),
    );
    vmc.put(
        "hardware/super_io/floppy[@id=0]/auto_detect",
        &Value::Boolean(true),
    );
    vmc.put(
        "hardware/super_io/floppy[@id=0]/pathname/absolute",
        &Value::String(String::new()),
    );
    let id = uuid::Uuid::new_v4();
    vmc.put(
        "settings/globalconfigid",
        &Value::String(id.braced().to_string().to_uppercase()),
    );
    vmc.put("settings/undo_drives/enabled", &Value::Boolean(false));
    vmc.put("settings/undo_drives/default_action", &Value::Integer(1));
    vmc
}

/// Reads a configuration file.
///
/// # Errors
/// `VM_E_VM_UNKNOWN`: a configuration that cannot be read is as good as none.
pub(super) fn read_configuration(path: &Path) -> Result<Vmc> {
    let unknown = |what: String| Error::new(hresult::VM_E_VM_UNKNOWN, what);
    match files::read_tree(path) {
        Ok(Some(vmc)) => Ok(vmc),
        Ok(None) => Err(unknown(format!("{}: there is no such file", path.display()))),
        Err(error) => Err(unknown(error.cause().to_owned())),
    }
}

impl VirtualMachine {
    pub(super) fn new(app: VirtualPc, path: PathBuf) -> Self {
        Self { app, path }
    }

    pub(super) fn app(&self) -> &VirtualPc {
        &self.app
    }

    /// `IVMVirtualMachine::File`: its configuration file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Its locks and sockets.
    pub(super) fn instance(&self) -> Instance {
        Instance::of(self.app.places(), &self.path)
    }

    /// The configuration as it is now.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub(super) fn configuration(&self) -> Result<Vmc> {
        read_configuration(&self.path)
    }

    /// Changes the configuration while nobody else does; an error leaves it as it is.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Vmc) -> Result<T>) -> Result<T> {
        let _lock = self.instance().lock_configuration()?;
        let mut vmc = self.configuration()?;
        let before = vmc.clone();
        let done = change(&mut vmc)?;
        if vmc != before {
            files::replace(&self.path, &vmc.to_bytes())?;
        }
        Ok(done)
    }

    /// Changes the configuration, and tells of the key.
    pub(super) fn change_key(&self, key: &str, change: impl FnOnce(&mut Vmc) -> Result<()>) -> Result<()> {
        self.change(change)?;
        self.note(EventKind::ConfigurationChanged { key: key.to_owned() });
        Ok(())
    }

    /// Notes an event of this machine.
    pub(super) fn note(&self, kind: EventKind) {
        let name = self.name().unwrap_or_else(|_| self.path.display().to_string());
        self.app.journal().note(Some(&name), kind);
    }

    /// `IVMVirtualMachine::State`: what it is doing.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn state(&self) -> Result<MachineState> {
        let vmc = self.configuration()?;
        Ok(match self.instance().state() {
            MachineState::TurnedOff if saved::file(&vmc, self.folder()).is_some() => MachineState::Saved,
            state => state,
        })
    }

    /// Refuses with `code` while it is running in any way.
    pub(super) fn must_be_off(&self, code: HResult) -> Result<()> {
        match self.instance().state() {
            MachineState::TurnedOff => Ok(()),
            state => Err(self.wrong_state(code, state)),
        }
    }

    /// Refuses with `code` while it is running or saved.
    pub(super) fn must_be_idle(&self, code: HResult) -> Result<()> {
        match self.state()? {
            MachineState::TurnedOff => Ok(()),
            state => Err(self.wrong_state(code, state)),
        }
    }

    fn wrong_state(&self, code: HResult, state: MachineState) -> Error {
        let name = self.name().unwrap_or_else(|_| self.path.display().to_string());
        Error::new(code, format!("`{name}` is {state}"))
    }

    /// `IVMVirtualMachine::Name`: its name.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN` if it is not in the list of known machines.
    pub fn name(&self) -> Result<String> {
        let name = self.app.name_of(&self.path)?;
        name.ok_or_else(|| {
            Error::of_file(
                hresult::VM_E_VM_UNKNOWN,
                &self.path,
                "no known machine has this file",
            )
        })
    }

    /// Sets [`Self::name`]. The file keeps its own.
    ///
    /// # Errors
    /// `VM_E_PREF_VM_ACTIVE` while it is running or saved; the documented ones for the name.
    pub fn set_name(&self, name: &str) -> Result<()> {
        self.must_be_idle(hresult::VM_E_PREF_VM_ACTIVE)?;
        paths::check_name(name)?;
        self.app.rename(&self.path, name)
    }

    /// `IVMVirtualMachine::ConfigID`: the identity that its configuration carries; empty if it has none.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn config_id(&self) -> Result<String> {
        Ok(self
            .configuration()?
            .text("settings/globalconfigid")
            .unwrap_or_default())
    }

    /// `IVMVirtualMachine::GetConfigurationValue`: the value of a key of its configuration.
    ///
    /// # Errors
    /// `E_INVALIDARG` for a key that is none, `VM_E_PREF_NOT_FOUND`, `VM_E_VM_UNKNOWN`.
    pub fn configuration_value(&self, key: &str) -> Result<Value> {
        let vmc = self.configuration()?;
        vmc.get(&parse_key(key)?).ok_or_else(|| no_value(key))
    }

    /// `IVMVirtualMachine::SetConfigurationValue`: sets a key's value. Whether it makes sense is not looked at, as documented; a running
    /// machine sees it at its next start.
    ///
    /// # Errors
    /// `E_INVALIDARG` for a key that is none or a value that cannot be stored; `VM_E_VM_UNKNOWN`.
    pub fn set_configuration_value(&self, key: &str, value: &Value) -> Result<()> {
        self.configuration()?;
        let parsed = parse_key(key)?;
        self.change_key(key, |vmc| {
            vmc.set(&parsed, value)
                .map_err(|error| Error::new(hresult::E_INVALIDARG, error.to_string()))
        })
    }

    /// `IVMVirtualMachine::RemoveConfigurationValue`: removes a key's value.
    ///
    /// # Errors
    /// `E_INVALIDARG` for a key that is none; `VM_E_PREF_NOT_FOUND`, `VM_E_VM_UNKNOWN`.
    pub fn remove_configuration_value(&self, key: &str) -> Result<()> {
        self.configuration()?;
        let parsed = parse_key(key)?;
        self.change_key(key, |vmc| {
            if vmc.remove(&parsed) {
                Ok(())
            } else {
                Err(no_value(key))
            }
        })
    }

    /// Removes what belongs to the machine alone: configuration, undo disks, saved state.
    pub(super) fn remove_files(&self) -> Result<()> {
        let lock = self.instance().lock_configuration()?;
        if let Ok(mut vmc) = self.configuration() {
            self.delete_undo_disks(&mut vmc)?;
            if let Some(saved) = saved::file(&vmc, self.folder()) {
                std::fs::remove_file(&saved).map_err(|error| files::failed(&saved, &error))?;
            }
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(files::failed(&self.path, &error));
            }
            _ => {}
        }
        drop(lock);
        self.instance().remove();
        Ok(())
    }
}

pub(super) fn parse_key(key: &str) -> Result<Key> {
    key.parse()
        .map_err(|error: KeyError| Error::new(hresult::E_INVALIDARG, error.to_string()))
}

pub(super) fn no_value(key: &str) -> Error {
    Error::new(hresult::VM_E_PREF_NOT_FOUND, format!("there is no value `{key}`"))
}
