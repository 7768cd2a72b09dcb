// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine's folder for the time that it runs: its locks, its sockets and what it is doing.
//!
//! The machine's process holds `running` and `life` for as long as it lives, however it ends: so a socket that a killed process left is known
//! for what it is. Who looks whether `running` is held does so under `door`, as does the process that takes it; so a look is never taken
//! for a machine. Who waits for the end waits for `life`.

use super::enums::MachineState;
use super::error::{Error, Result};
use super::files;
use super::hresult;
use super::places::Places;
use super::vmc::Vmc;
use crate::control_socket;
use crate::machine::control::{Answer, Command, CommandError, RunState, Status};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A machine that does not answer for so long is taken for stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// The folder of one configuration file.
#[derive(Debug, Clone)]
pub struct Instance {
    folder: PathBuf,
    configuration: PathBuf,
}

/// What makes a process the machine's.
pub struct Tenure {
    instance: Instance,
    _running: File,
    _life: File,
}

impl Instance {
    /// The folder for a configuration file.
    pub fn of(places: &Places, configuration: &Path) -> Self {
        Self {
            folder: places.runtime.join(format!("{:016x}", number(configuration))),
            configuration: configuration.to_owned(),
        }
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The socket for commands.
    pub fn control(&self) -> PathBuf {
        self.path("control")
    }

    /// The socket of a serial port that leads nowhere else, counted from 0.
    pub fn console(&self, port: usize) -> PathBuf {
        self.path(&format!("com{}", port + 1))
    }

    /// The socket for HTTP.
    pub fn api(&self) -> PathBuf {
        self.path("api")
    }

    /// What the machine's process says.
    pub fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// The values of this run.
    pub fn activation(&self) -> PathBuf {
        self.path("activation.xml")
    }

    /// Makes the folder, for this user only.
    pub fn make(&self) -> Result<()> {
        files::make_folder(&self.folder)
    }

    /// Removes the folder of a machine that is no more.
    pub fn remove(&self) {
        // What is left is small, and goes with the session.
        let _ = fs::remove_dir_all(&self.folder);
    }

    /// Keeps others from changing the configuration.
    pub fn lock_configuration(&self) -> Result<File> {
        self.make()?;
        files::lock(&self.path("configuration"))
    }

    /// Becomes the machine's process.
    ///
    /// # Errors
    /// `VM_E_VM_RUNNING` if there is one.
    pub fn enter(&self) -> Result<Tenure> {
        self.make()?;
        let _door = files::lock(&self.path("door"))?;
        let running = files::open_lock(&self.path("running"))?;
        match running.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::of_file(
                    hresult::VM_E_VM_RUNNING,
                    &self.configuration,
                    "another process runs this machine",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(files::failed(&self.folder, &error)),
        }
        note_process(&running).map_err(|error| files::failed(&self.folder, &error))?;
        // Those who wait for the end of the one before are about to go.
        let life = files::lock(&self.path("life"))?;
        for stale in ["control", "api", "com1", "com2", "com3", "com4", "state"] {
            let _ = fs::remove_file(self.path(stale));
        }
        Ok(Tenure {
            instance: self.clone(),
            _running: running,
            _life: life,
        })
    }

    /// Whether a process runs the machine.
    pub fn is_running(&self) -> bool {
        if !self.path("running").exists() {
            return false;
        }
        let Ok(_door) = files::lock(&self.path("door")) else {
            return false;
        };
        let Ok(running) = files::open_lock(&self.path("running")) else {
            return false;
        };
        matches!(running.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// The process that runs the machine.
    pub fn process(&self) -> Option<u32> {
        let noted = fs::read_to_string(self.path("running")).ok()?;
        noted.trim().parse().ok().filter(|_| self.is_running())
    }

    /// What the machine is doing.
    pub fn state(&self) -> MachineState {
        if !self.is_running() {
            return MachineState::TurnedOff;
        }
        let noted = fs::read_to_string(self.path("state")).unwrap_or_default();
        match noted.parse() {
            Ok(MachineState::Running) => match self.status().map(|status| status.state) {
                Ok(RunState::Running) => MachineState::Running,
                Ok(RunState::Paused) => MachineState::Paused,
                // It was there, and does not answer any more.
                Err(_) => MachineState::TurningOff,
            },
            Ok(state) => state,
            Err(_) => MachineState::TurningOn,
        }
    }

    /// Waits until no process runs the machine.
    pub fn wait_for_end(&self) -> Result<()> {
        files::lock(&self.path("life")).map(drop)
    }

    /// Sends a command. The outer error is one of reaching the machine.
    ///
    /// # Errors
    /// `VM_E_VM_NOT_RUNNING`, `VM_E_TIMED_OUT`.
    pub fn command(&self, command: &Command) -> Result<std::result::Result<Answer, CommandError>> {
        self.command_within(command, PATIENCE)
    }

    /// As [`Self::command`], for what takes as long as the host's disk does.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn command_however_long(
        &self,
        command: &Command,
    ) -> Result<std::result::Result<Answer, CommandError>> {
        const DAY: Duration = Duration::from_secs(86_400);
        self.command_within(command, DAY)
    }

    fn command_within(
        &self,
        command: &Command,
        patience: Duration,
    ) -> Result<std::result::Result<Answer, CommandError>> {
        let socket = self.control();
        let not_running = || {
            Error::of_file(
                hresult::VM_E_VM_NOT_RUNNING,
                &self.configuration,
                "the machine is not running",
            )
        };
        match control_socket::call_within(&socket, command, patience) {
            Ok(Err(CommandError::Ended)) => Err(not_running()),
            Ok(reply) => Ok(reply),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(Error::of_file(
                    hresult::VM_E_TIMED_OUT,
                    &self.configuration,
                    format!("the machine has not answered for {} s", patience.as_secs()),
                )),
                _ => Err(not_running()),
            },
        }
    }

    /// How the running machine is.
    ///
    /// # Errors
    /// As [`Self::command`].
    pub fn status(&self) -> Result<Status> {
        match self.command(&Command::Status {})? {
            Ok(Answer::Status(status)) => Ok(*status),
            Ok(_) => Err(Error::new(
                hresult::DISP_E_EXCEPTION,
                "the machine gave no status",
            )),
            Err(error) => Err(Error::new(hresult::E_FAIL, error.to_string())),
        }
    }
}

/// Writes this process's number into the file that it has locked.
fn note_process(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    write!(file, "{}", std::process::id())
}

impl Tenure {
    /// Notes what the machine is doing, for those who ask.
    pub fn note(&self, state: MachineState) -> Result<()> {
        let path = self.instance.path("state");
        files::replace(&path, state.to_string().as_bytes())
    }

    /// Writes the values of this run.
    pub fn note_activation(&self, vmc: &Vmc) -> Result<()> {
        files::replace(&self.instance.activation(), &vmc.to_bytes())
    }

    /// The folder.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        for name in ["state", "activation.xml"] {
            let _ = fs::remove_file(self.instance.path(name));
        }
    }
}

/// How many machines run.
pub fn running(places: &Places) -> usize {
    let entries = fs::read_dir(&places.runtime).into_iter().flatten().flatten();
    let instances = entries.map(|entry| Instance {
        folder: entry.path(),
        configuration: PathBuf::new(),
    });
    instances.filter(Instance::is_running).count()
}

/// FNV-1a of a path, which must be the same in all versions of the program. Names that only differ in case are other files here.
fn number(path: &Path) -> u64 {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The longest path of a socket on Linux is 107 bytes.
pub fn check_socket_path(path: &Path) -> Result<()> {
    let length = path.as_os_str().len();
    if length <= 107 {
        return Ok(());
    }
    Err(Error::of_file(
        hresult::ERROR_BUFFER_OVERFLOW,
        path,
        format!("a socket's path may have 107 bytes, and this one has {length}"),
    )
    .with_remedy("set XDG_RUNTIME_DIR to a shorter path"))
}
