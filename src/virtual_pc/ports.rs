// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Serial and parallel ports: `IVMSerialPort` and `IVMParallelPort`.

use super::enums::SerialPortType;
use super::error::{Error, Result};
use super::machine::{SERIAL_PORTS, VirtualMachine};
use super::vmc::{Value, Vmc};
use super::{hresult, paths};

/// A serial port: `IVMSerialPort`. Clones are the same one.
#[derive(Clone)]
pub struct SerialPort {
    machine: VirtualMachine,
    /// Counted from 0.
    number: u32,
}

/// The far end of a serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FarEnd {
    pub kind: SerialPortType,
    pub name: String,
}

impl FarEnd {
    /// The far end that a configuration gives a port, counted from 0.
    pub(super) fn of(vmc: &Vmc, number: u32) -> Self {
        let group = group(number);
        let kind = vmc
            .integer(&format!("{group}/port_type"))
            .and_then(|kind| SerialPortType::from_value(i32::try_from(kind).ok()?));
        Self {
            kind: kind.unwrap_or(SerialPortType::Null),
            name: vmc.text(&format!("{group}/port_name")).unwrap_or_default(),
        }
    }
}

fn group(number: u32) -> String {
    format!("hardware/super_io/serial_port[@id={number}]")
}

impl SerialPort {
    pub(super) fn new(machine: VirtualMachine, number: u32) -> Self {
        Self { machine, number }
    }

    /// `IVMSerialPort::_ID`: its number: 1 is COM1.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn id(&self) -> Result<u32> {
        self.machine.configuration().map(|_| self.number + 1)
    }

    /// `IVMSerialPort::Type`: the kind of its far end.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn kind(&self) -> Result<SerialPortType> {
        self.machine
            .configuration()
            .map(|vmc| FarEnd::of(&vmc, self.number).kind)
    }

    /// `IVMSerialPort::Name`: the far end's path.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn name(&self) -> Result<String> {
        self.machine
            .configuration()
            .map(|vmc| FarEnd::of(&vmc, self.number).name)
    }

    /// `IVMSerialPort::ConnectImmediately`: whether a host's port is opened when the machine starts.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn connect_immediately(&self) -> Result<bool> {
        let key = format!("{}/connect_immediately", group(self.number));
        self.machine
            .configuration()
            .map(|vmc| vmc.boolean(&key).unwrap_or(false))
    }

    /// `IVMSerialPort::Configure`: gives it another far end, from the next start on. A pipe is a Unix socket that the machine listens on.
    ///
    /// # Errors
    /// `E_INVALIDARG` for a kind that the API does not have; `E_POINTER` without a name where one is needed, the documented ones for the
    /// name; `VM_E_PREF_ILLEGAL_VALUE` if another port has the same far end; `VM_E_VM_UNKNOWN`.
    pub fn configure(&self, kind: i32, name: &str, connect_immediately: bool) -> Result<()> {
        self.machine.configuration()?;
        let kind = SerialPortType::from_value(kind).ok_or_else(|| {
            Error::new(
                hresult::E_INVALIDARG,
                format!("{kind} is no kind of serial port: use 0 to 3"),
            )
        })?;
        if kind != SerialPortType::Null {
            if name.is_empty() {
                return Err(Error::new(hresult::E_POINTER, "no path was given for the port"));
            }
            paths::check(name)?;
        }
        let name = if kind == SerialPortType::Null { "" } else { name };
        let group = group(self.number);
        self.machine.change_key(&group, |vmc| {
            for other in (0..SERIAL_PORTS).filter(|other| *other != self.number) {
                let far_end = FarEnd::of(vmc, other);
                if far_end.kind != SerialPortType::Null && far_end.name == name {
                    return Err(Error::new(
                        hresult::VM_E_PREF_ILLEGAL_VALUE,
                        format!("COM{} has `{name}` already", other + 1),
                    ));
                }
            }
            vmc.put(
                &format!("{group}/port_type"),
                &Value::Integer(kind.value().into()),
            );
            vmc.put(&format!("{group}/port_name"), &Value::String(name.to_owned()));
            vmc.put(
                &format!("{group}/connect_immediately"),
                &Value::Boolean(connect_immediately),
            );
            Ok(())
        })
    }
}

/// The parallel port: `IVMParallelPort`. Clones are the same one.
#[derive(Clone)]
pub struct ParallelPort {
    machine: VirtualMachine,
}

const PARALLEL_NAME: &str = "hardware/super_io/parallel_port/port_name";

/// The file that a configuration has the parallel port print to.
pub(super) fn parallel_file(vmc: &Vmc) -> Option<String> {
    vmc.text(PARALLEL_NAME)
}

impl ParallelPort {
    pub(super) fn new(machine: VirtualMachine) -> Self {
        Self { machine }
    }

    /// `IVMParallelPort::_ID`: its number: LPT1.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn id(&self) -> Result<u32> {
        self.machine.configuration().map(|_| 1)
    }

    /// `IVMParallelPort::Name`: the file that it prints to; empty: nowhere.
    ///
    /// # Errors
    /// `VM_E_VM_UNKNOWN`.
    pub fn name(&self) -> Result<String> {
        self.machine
            .configuration()
            .map(|vmc| parallel_file(&vmc).unwrap_or_default())
    }

    /// Sets [`Self::name`], from the next start on.
    ///
    /// # Errors
    /// `E_INVALIDARG` for what is no absolute path, `VM_E_VM_UNKNOWN`.
    pub fn set_name(&self, name: &str) -> Result<()> {
        self.machine.configuration()?;
        if !name.is_empty() {
            paths::check(name).map_err(|error| Error::new(hresult::E_INVALIDARG, error.cause()))?;
        }
        self.machine.change_key(PARALLEL_NAME, |vmc| {
            vmc.put(PARALLEL_NAME, &Value::String(name.to_owned()));
            Ok(())
        })
    }
}
