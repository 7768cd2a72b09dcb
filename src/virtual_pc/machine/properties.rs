// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine's plain properties.

use super::{MEMORY_LEAST, MEMORY_MOST, VirtualMachine};
use crate::virtual_pc::accountant::Accountant;
use crate::virtual_pc::enums::{ShutdownAction, UndoAction};
use crate::virtual_pc::error::{Error, Result};
use crate::virtual_pc::hresult;
use crate::virtual_pc::vmc::Value;

const MEMORY: &str = "hardware/memory/ram_size";
const NOTES: &str = "settings/notes";
const QUIT: &str = "settings/shutdown/quit/action";
pub(super) const UNDO_ENABLED: &str = "settings/undo_drives/enabled";
pub(super) const UNDO_ACTION: &str = "settings/undo_drives/default_action";

/// The most characters of [`VirtualMachine::notes`].
const NOTES_MOST: usize = 65_536;
/// The most characters of a serial number or asset tag.
const SERIAL_MOST: usize = 32;

/// A string that the firmware shows the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirmwareString {
    /// `IVMVirtualMachine::BIOSGUID`: the machine's ID, in braces.
    BiosGuid,
    /// `IVMVirtualMachine::BIOSSerialNumber`: the BIOS's serial number.
    BiosSerialNumber,
    /// `IVMVirtualMachine::BaseBoardSerialNumber`: the board's serial number.
    BaseBoardSerialNumber,
    /// `IVMVirtualMachine::ChassisSerialNumber`: the chassis's serial number.
    ChassisSerialNumber,
    /// `IVMVirtualMachine::ChassisAssetTag`: the chassis's asset tag.
    ChassisAssetTag,
}

impl FirmwareString {
    fn key(self) -> &'static str {
        match self {
            Self::BiosGuid => "hardware/bios/bios_guid",
            Self::BiosSerialNumber => "hardware/bios/bios_serial_number",
            Self::BaseBoardSerialNumber => "hardware/bios/base_board/serial_number",
            Self::ChassisSerialNumber => "hardware/bios/chassis/serial_number",
            Self::ChassisAssetTag => "hardware/bios/chassis/asset_tag",
        }
    }

    fn accepts(self, text: &str) -> bool {
        match self {
            Self::BiosGuid => {
                text.starts_with('{') && text.ends_with('}') && uuid::Uuid::try_parse(text).is_ok()
            }
            _ => {
                !text.is_empty()
                    && text.len() <= SERIAL_MOST
                    && text.chars().all(|c| (' '..='~').contains(&c))
            }
        }
    }
}

impl VirtualMachine {
    /// `IVMVirtualMachine::Memory`: its memory, in MB.
    ///
    /// # Errors
    /// `VM_E_PREF_NOT_FOUND` if the configuration does not say, `VM_E_VM_UNKNOWN`.
    pub fn memory(&self) -> Result<u32> {
        let megabytes = self.configuration()?.integer(MEMORY);
        megabytes
            .and_then(|megabytes| u32::try_from(megabytes).ok())
            .ok_or_else(|| super::no_value(MEMORY))
    }

    /// Sets [`Self::memory`].
    ///
    /// # Errors
    /// `E_INVALIDARG` out of 4 to 3,712 MB; `VM_E_PREF_VM_ACTIVE`, `VM_E_VM_UNKNOWN`.
    pub fn set_memory(&self, megabytes: u32) -> Result<()> {
        self.must_be_idle(hresult::VM_E_PREF_VM_ACTIVE)?;
        if !(MEMORY_LEAST..=MEMORY_MOST).contains(&megabytes) {
            return Err(Error::new(
                hresult::E_INVALIDARG,
                format!("{megabytes} MB: a machine has {MEMORY_LEAST} to {MEMORY_MOST} MB"),
            ));
        }
        self.put(MEMORY, &Value::Integer(megabytes.into()))
    }

    /// `IVMVirtualMachine::Notes`: what the user notes about it.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn notes(&self) -> Result<String> {
        Ok(self.configuration()?.text(NOTES).unwrap_or_default())
    }

    /// Sets [`Self::notes`].
    ///
    /// # Errors
    /// `E_INVALIDARG` for more than 65,536 characters, `VM_E_VM_UNKNOWN`.
    pub fn set_notes(&self, notes: &str) -> Result<()> {
        self.configuration()?;
        let length = notes.chars().count();
        if length > NOTES_MOST {
            return Err(Error::new(
                hresult::E_INVALIDARG,
                format!("the notes have {length} characters: {NOTES_MOST} are the most"),
            ));
        }
        self.set_configuration_value(NOTES, &Value::String(notes.to_owned()))
    }

    /// One of the strings of its firmware; empty until it is set. They are kept; the firmware does not show them to the guest yet.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn firmware_string(&self, which: FirmwareString) -> Result<String> {
        Ok(self.configuration()?.text(which.key()).unwrap_or_default())
    }

    /// Sets [`Self::firmware_string`].
    ///
    /// # Errors
    /// `E_INVALIDARG` if it is empty, longer than 32 characters or not printable (the GUID: if it is none in braces);
    /// `VM_E_VM_RUNNING_OR_SAVED`, `VM_E_VM_UNKNOWN`.
    pub fn set_firmware_string(&self, which: FirmwareString, text: &str) -> Result<()> {
        self.must_be_idle(hresult::VM_E_VM_RUNNING_OR_SAVED)?;
        if !which.accepts(text) {
            return Err(Error::new(
                hresult::E_INVALIDARG,
                format!(
                    "{text:?} cannot be used as {which:?}: up to {SERIAL_MOST} printable characters, or a GUID in braces"
                ),
            ));
        }
        self.put(which.key(), &Value::String(text.to_owned()))
    }

    /// `IVMVirtualMachine::ShutdownActionOnQuit`: what would happen to it when the application ends. There is no application that ends;
    /// the value is kept for those that read it.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn shutdown_action_on_quit(&self) -> Result<ShutdownAction> {
        let number = self.configuration()?.integer(QUIT);
        Ok(number
            .and_then(|number| ShutdownAction::from_value(i32::try_from(number).ok()?))
            .unwrap_or(ShutdownAction::TurnOff))
    }

    /// Sets [`Self::shutdown_action_on_quit`].
    ///
    /// # Errors
    /// `E_ACCESSDENIED` if the file cannot be written, `VM_E_VM_UNKNOWN`.
    pub fn set_shutdown_action_on_quit(&self, action: ShutdownAction) -> Result<()> {
        self.put(QUIT, &Value::Integer(action.value().into()))
    }

    /// `IVMVirtualMachine::Undoable`: whether its disks have undo disks.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn undoable(&self) -> Result<bool> {
        Ok(self.configuration()?.boolean(UNDO_ENABLED).unwrap_or(false))
    }

    /// Sets [`Self::undoable`]. Without undo disks, those there are are deleted.
    ///
    /// # Errors
    /// `VM_E_PREF_VM_ACTIVE` while it is running or saved, `VM_E_VM_UNKNOWN`.
    pub fn set_undoable(&self, undoable: bool) -> Result<()> {
        self.must_be_idle(hresult::VM_E_PREF_VM_ACTIVE)?;
        self.change_key(UNDO_ENABLED, |vmc| {
            if !undoable {
                self.delete_undo_disks(vmc)?;
            }
            vmc.put(UNDO_ENABLED, &Value::Boolean(undoable));
            Ok(())
        })
    }

    /// `IVMVirtualMachine::UndoAction`: what becomes of its undo disks when it is turned off.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn undo_action(&self) -> Result<UndoAction> {
        let number = self.configuration()?.integer(UNDO_ACTION);
        Ok(number
            .and_then(|number| UndoAction::from_value(i32::try_from(number).ok()?))
            .unwrap_or(UndoAction::Keep))
    }

    /// Sets [`Self::undo_action`], also for the run that is under way.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn set_undo_action(&self, action: UndoAction) -> Result<()> {
        let value = Value::Integer(action.value().into());
        self.put(UNDO_ACTION, &value)?;
        if self.instance().is_running() {
            self.set_activation_value(UNDO_ACTION, &value)?;
        }
        Ok(())
    }

    /// `IVMVirtualMachine::ProcessorSpeed`: its processors' speed, the host's, in MHz.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn processor_speed(&self) -> Result<u32> {
        self.configuration()?;
        Ok(self.app.host_info().processor_speed())
    }

    /// `IVMVirtualMachine::HasMMX`: whether its processors have MMX.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn has_mmx(&self) -> Result<bool> {
        self.configuration().map(|_| self.app.host_info().mmx())
    }

    /// `IVMVirtualMachine::HasSSE`: whether its processors have SSE.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn has_sse(&self) -> Result<bool> {
        self.configuration().map(|_| self.app.host_info().sse())
    }

    /// `IVMVirtualMachine::HasSSE2`: whether its processors have SSE2.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn has_sse2(&self) -> Result<bool> {
        self.configuration().map(|_| self.app.host_info().sse2())
    }

    /// `IVMVirtualMachine::Has3DNow`: whether its processors have 3DNow!.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn has_3dnow(&self) -> Result<bool> {
        self.configuration().map(|_| self.app.host_info().three_d_now())
    }

    /// `IVMVirtualMachine::Accountant`: what it has used.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn accountant(&self) -> Result<Accountant> {
        self.configuration()?;
        Ok(Accountant::new(self.instance()))
    }

    fn put(&self, key: &str, value: &Value) -> Result<()> {
        self.change_key(key, |vmc| {
            vmc.put(key, value);
            Ok(())
        })
    }
}
