// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine's life: start, pause, resume, reset, shutdown, turning off.

use super::VirtualMachine;
use super::drives::places_of;
use super::properties::UNDO_ACTION;
use crate::machine::control::{Command, RunState, Status};
use crate::storage;
use crate::virtual_pc::enums::{DriveType, MachineState, SerialPortType, StartupOption, UndoAction};
use crate::virtual_pc::error::{Error, Result};
use crate::virtual_pc::hard_disk::image_error;
use crate::virtual_pc::instance;
use crate::virtual_pc::ports::FarEnd;
use crate::virtual_pc::process;
use crate::virtual_pc::task::{Cancelling, Task};
use crate::virtual_pc::vmc::Value;
use crate::virtual_pc::{hresult, place};
use std::fs::OpenOptions;
use std::path::PathBuf;
use vhd::{Disk, Kind};

/// An option that lowers [`MACHINES_MOST`].
const LIMIT: &str = "limits/running_machines";
/// The most machines that run at a time, unless an option says less.
const MACHINES_MOST: i64 = 256;

/// How often a task looks whether a guest has switched itself off.
const LOOK: std::time::Duration = std::time::Duration::from_millis(100);

impl VirtualMachine {
    /// `IVMVirtualMachine::Startup`: starts it, in a process of its own that stays when this one ends.
    ///
    /// # Errors
    /// At once: `VM_E_VM_RUNNING`, `VM_E_TOO_MANY_VMS`, `VM_E_PARENT_MODIFIED`, `ERROR_ACCESS_DENIED` if this user may not change its
    /// configuration, `VM_E_VM_UNKNOWN`. By the task: what keeps the host from running it, and what is wrong with its disks.
    pub fn startup(&self) -> Result<Task> {
        self.startup2(StartupOption::Normal.value())
    }

    /// `IVMVirtualMachine::Startup2`: as [`Self::startup`], perhaps with disks whose parents have another time than they note, which is
    /// mended then.
    ///
    /// # Errors
    /// `E_INVALIDARG` for an option that the API does not have; those of [`Self::startup`].
    pub fn startup2(&self, option: i32) -> Result<Task> {
        let option = StartupOption::from_value(option).ok_or_else(|| {
            Error::new(
                hresult::E_INVALIDARG,
                format!("{option} is no way of starting: use 0 or 1"),
            )
        })?;
        match self.state()? {
            MachineState::TurnedOff | MachineState::Saved => {}
            state => return Err(self.wrong_state(hresult::VM_E_VM_RUNNING, state)),
        }
        if let Err(error) = OpenOptions::new().write(true).open(&self.path) {
            return Err(Error::of_file(hresult::ERROR_ACCESS_DENIED, &self.path, error));
        }
        let most = match self.app.configuration_value(LIMIT) {
            Ok(Value::Integer(most)) => most.min(MACHINES_MOST),
            _ => MACHINES_MOST,
        };
        let running = instance::running(self.app.places());
        if i64::try_from(running).unwrap_or(i64::MAX) >= most {
            return Err(Error::new(
                hresult::VM_E_TOO_MANY_VMS,
                format!("{running} machines run already, and {most} may"),
            ));
        }
        self.check_parents(option)?;
        let machine = self.clone();
        let name = self.name()?;
        let task = Task::start(
            self.app.places(),
            format!("start {name}"),
            Cancelling::Impossible,
            move |_| process::spawn(&machine),
        )?;
        self.app.keep(&task);
        Ok(task)
    }

    /// Refuses disks whose parents were changed, or mends what they note.
    fn check_parents(&self, option: StartupOption) -> Result<()> {
        // A commit that was cut off has changed parents, and will be finished.
        if self.must_finish_commit()? {
            return Ok(());
        }
        let vmc = self.configuration()?;
        for place in places_of(&vmc, DriveType::HardDisk) {
            let groups = ["undo_pathname", "pathname"].map(|group| format!("{}/{group}", place.key()));
            let files = groups
                .iter()
                .filter_map(|group| place::file(&vmc, group, self.folder()));
            let Some(file) = files.into_iter().find(|file| file.is_file()) else {
                continue;
            };
            let options = storage::options().read_only(true);
            match Disk::open(&file, &options).map(drop) {
                Err(error) if *error.kind() == Kind::ParentModified => match option {
                    StartupOption::Normal => return Err(image_error(&error)),
                    StartupOption::FixParentTimestampMismatch => mend_times(&file)?,
                },
                // Whatever else is wrong, the start itself tells.
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses unless it runs.
    pub(super) fn must_run(&self) -> Result<()> {
        match self.state()? {
            MachineState::Running | MachineState::Paused => Ok(()),
            state => Err(self.wrong_state(hresult::VM_E_VM_NOT_RUNNING, state)),
        }
    }

    fn command(&self, command: &Command) -> Result<()> {
        match self.instance().command(command)? {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::new(hresult::E_FAIL, error.to_string())),
        }
    }

    /// How the running machine is.
    ///
    /// # Errors
    /// `VM_E_VM_NOT_RUNNING`, `VM_E_TIMED_OUT`, `VM_E_VM_UNKNOWN`.
    pub fn status(&self) -> Result<Status> {
        self.must_run()?;
        self.instance().status()
    }

    fn run_state(&self) -> Result<RunState> {
        Ok(self.status()?.state)
    }

    /// `IVMVirtualMachine::Pause`: stops guest time.
    ///
    /// # Errors
    /// `E_FAIL` if it is paused, `VM_E_VM_NOT_RUNNING`, `VM_E_TIMED_OUT`, `VM_E_VM_UNKNOWN`.
    pub fn pause(&self) -> Result<()> {
        let status = self.status()?;
        // One that is paused for want of room stays so if its user says it.
        if status.state == RunState::Paused && !status.held {
            return Err(self.wrong_state(hresult::E_FAIL, MachineState::Paused));
        }
        self.command(&Command::Pause {})
    }

    /// `IVMVirtualMachine::Resume`: lets guest time go on.
    ///
    /// # Errors
    /// `E_FAIL` if it is not paused, `VM_E_VM_NOT_RUNNING`, `VM_E_TIMED_OUT`, `VM_E_VM_UNKNOWN`.
    pub fn resume(&self) -> Result<()> {
        if self.run_state()? == RunState::Running {
            return Err(self.wrong_state(hresult::E_FAIL, MachineState::Running));
        }
        self.command(&Command::Resume {})
    }

    /// `IVMVirtualMachine::Reset`: pulls its reset line.
    ///
    /// # Errors
    /// `VM_E_VM_NOT_RUNNING`, `VM_E_VM_UNKNOWN`.
    pub fn reset(&self) -> Result<Task> {
        self.must_run()?;
        let machine = self.clone();
        self.task("reset", move || machine.command(&Command::Reset {}))
    }

    /// Presses its power button; the task ends when the guest has switched it off, or when nobody wants to wait for that any more. What `IVMGuestOS::Shutdown` does with integration
    /// components, ACPI does for guests that listen to it.
    ///
    /// # Errors
    /// `VM_E_VM_NOT_RUNNING`, `VM_E_VM_UNKNOWN`.
    pub fn shutdown(&self) -> Result<Task> {
        self.must_run()?;
        let machine = self.clone();
        let description = format!("shut down {}", self.name()?);
        let task = Task::start(self.app.places(), description, Cancelling::Obeyed, move |watch| {
            machine.command(&Command::PowerButton {})?;
            while machine.must_run().is_ok() {
                if watch.is_cancelled() {
                    return Err(Error::new(
                        hresult::E_FAIL,
                        "the guest has not switched the machine off, and is not waited for any more",
                    ));
                }
                std::thread::sleep(LOOK);
            }
            machine.instance().wait_for_end()
        })?;
        self.app.keep(&task);
        Ok(task)
    }

    /// `IVMVirtualMachine::TurnOff`: switches it off as by pulling the plug. The task ends when its process has gone and its undo disks are
    /// where [`Self::undo_action`] wants them.
    ///
    /// # Errors
    /// `VM_E_VM_NOT_RUNNING`, `VM_E_VM_UNKNOWN`.
    pub fn turn_off(&self) -> Result<Task> {
        self.must_run()?;
        let machine = self.clone();
        self.task("turn off", move || {
            match machine.command(&Command::Quit {}) {
                // It has ended just now.
                Err(error) if error.result() == hresult::VM_E_VM_NOT_RUNNING => {}
                other => other?,
            }
            machine.instance().wait_for_end()
        })
    }

    /// As [`Self::turn_off`], with another fate of the undo disks for this once.
    ///
    /// # Errors
    /// Those of [`Self::turn_off`].
    pub fn turn_off_with(&self, action: UndoAction) -> Result<Task> {
        self.must_run()?;
        self.set_activation_value(UNDO_ACTION, &Value::Integer(action.value().into()))?;
        self.turn_off()
    }

    /// The Unix socket that a serial port of the running machine leads to, by the port's number: 1 is COM1.
    ///
    /// # Errors
    /// `VM_E_VM_NOT_RUNNING`; `VM_E_PREF_ILLEGAL_VALUE` if the port leads elsewhere.
    pub fn console_socket(&self, port: u32) -> Result<PathBuf> {
        self.must_run()?;
        let number = port.saturating_sub(1);
        let far_end = FarEnd::of(&self.configuration()?, number);
        match far_end.kind {
            SerialPortType::NamedPipe if far_end.name.starts_with('/') => Ok(far_end.name.into()),
            SerialPortType::NamedPipe | SerialPortType::Null if number < 2 => {
                Ok(self.instance().console(number as usize))
            }
            kind => Err(Error::new(
                hresult::VM_E_PREF_ILLEGAL_VALUE,
                format!("COM{port} leads elsewhere: {kind} {}", far_end.name),
            )
            .with_remedy("only `pipe` and, for COM1 and COM2, `null` lead to a console; see `vpc serial`")),
        }
    }

    pub(super) fn task(
        &self,
        verb: &str,
        operation: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<Task> {
        let description = format!("{verb} {}", self.name()?);
        let task = Task::start(
            self.app.places(),
            description,
            Cancelling::Impossible,
            move |_| operation(),
        )?;
        self.app.keep(&task);
        Ok(task)
    }
}

/// Writes into each disk of a chain the time that its parent has.
fn mend_times(file: &PathBuf) -> Result<()> {
    let options = storage::options().ignore_parent_timestamp(true);
    let disk = Disk::open(file, &options.clone().read_only(true)).map_err(|error| image_error(&error))?;
    let files: Vec<_> = disk.layers().map(|layer| layer.path().to_owned()).collect();
    drop(disk);
    // From the root on: a disk that is written has another time itself.
    for pair in files.windows(2).rev() {
        vhd::relink::relink(&pair[0], &pair[1], &options, &vhd::Watch::default())
            .map_err(|error| image_error(&error))?;
    }
    Ok(())
}
