// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The values of a run: a copy of the configuration that lives as long as the machine runs.

use super::{VirtualMachine, no_value, parse_key};
use crate::virtual_pc::error::{Error, Result};
use crate::virtual_pc::vmc::{Value, Vmc};
use crate::virtual_pc::{files, hresult};

impl VirtualMachine {
    /// `IVMVirtualMachine::GetActivationValue`: the value of a key for this run.
    ///
    /// # Errors
    /// `E_INVALIDARG` for a key that is none; `VM_E_PREF_NOT_FOUND`, also while it does not run; `VM_E_VM_UNKNOWN`.
    pub fn activation_value(&self, key: &str) -> Result<Value> {
        let parsed = parse_key(key)?;
        self.activation()?.get(&parsed).ok_or_else(|| no_value(key))
    }

    /// `IVMVirtualMachine::SetActivationValue`: sets a key's value for this run.
    ///
    /// # Errors
    /// `E_INVALIDARG` for a key that is none or a value that cannot be stored; `VM_E_PREF_NOT_FOUND` while it does not run;
    /// `VM_E_VM_UNKNOWN`.
    pub fn set_activation_value(&self, key: &str, value: &Value) -> Result<()> {
        let parsed = parse_key(key)?;
        self.change_activation(|values| {
            values
                .set(&parsed, value)
                .map_err(|error| Error::new(hresult::E_INVALIDARG, error.to_string()))
        })
    }

    /// `IVMVirtualMachine::RemoveActivationValue`: removes a key's value for this run.
    ///
    /// # Errors
    /// `E_INVALIDARG` for a key that is none; `VM_E_PREF_NOT_FOUND`, also while it does not run; `VM_E_VM_UNKNOWN`.
    pub fn remove_activation_value(&self, key: &str) -> Result<()> {
        let parsed = parse_key(key)?;
        self.change_activation(|values| {
            if values.remove(&parsed) {
                Ok(())
            } else {
                Err(no_value(key))
            }
        })
    }

    fn activation(&self) -> Result<Vmc> {
        self.configuration()?;
        let running = self.instance().is_running();
        let values = if running {
            files::read_tree(&self.instance().activation())?
        } else {
            None
        };
        values.ok_or_else(|| {
            Error::of_file(
                hresult::VM_E_PREF_NOT_FOUND,
                &self.path,
                "the machine does not run",
            )
        })
    }

    fn change_activation(&self, change: impl FnOnce(&mut Vmc) -> Result<()>) -> Result<()> {
        let _lock = self.instance().lock_configuration()?;
        let mut values = self.activation()?;
        change(&mut values)?;
        files::replace(&self.instance().activation(), &values.to_bytes())
    }
}
