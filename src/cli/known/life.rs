// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc start`, `stop`, `pause`, `resume`, `save`, `reset` and `shutdown`.

use super::model::{find, finish};
use crate::cli::{Error, exit};
use crate::virtual_pc::VirtualPc;
use crate::virtual_pc::enums::{StartupOption, UndoAction};
use crate::virtual_pc::places::Places;
use crate::virtual_pc::process;
use std::path::PathBuf;

/// Starts a machine, in a process of its own.
#[derive(Debug, clap::Args)]
pub struct Start {
    /// Machine
    name: String,
    /// Take disks whose parents seem changed, and note the parents' present times in them
    #[arg(long)]
    fix_parent_timestamp: bool,
}

impl Start {
    /// Runs the command: it ends when the machine runs.
    pub fn run(&self) -> Result<u8, Error> {
        let option = if self.fix_parent_timestamp {
            StartupOption::FixParentTimestampMismatch
        } else {
            StartupOption::Normal
        };
        finish(&find(&self.name)?.startup2(option.value())?)?;
        Ok(exit::DONE)
    }
}

/// Turns a machine off, as by pulling the plug. Its disks are flushed.
#[derive(Debug, clap::Args)]
pub struct Stop {
    /// Machine
    name: String,
    /// What becomes of its undo disks this time: discard, keep or commit
    #[arg(long, value_name = "ACTION")]
    undo: Option<UndoAction>,
    /// Of a machine that is saved: delete its saved state
    #[arg(long, conflicts_with = "undo")]
    discard_saved: bool,
}

impl Stop {
    /// Runs the command: it ends when the machine's process has gone.
    pub fn run(&self) -> Result<u8, Error> {
        let machine = find(&self.name)?;
        if self.discard_saved {
            machine.discard_saved_state()?;
            return Ok(exit::DONE);
        }
        let task = match self.undo {
            Some(action) => machine.turn_off_with(action)?,
            None => machine.turn_off()?,
        };
        finish(&task)?;
        Ok(exit::DONE)
    }
}

/// A machine by its name.
#[derive(Debug, clap::Args)]
pub struct Name {
    /// Machine
    name: String,
}

impl Name {
    /// Stops a machine's time.
    pub fn pause(&self) -> Result<u8, Error> {
        find(&self.name)?.pause()?;
        Ok(exit::DONE)
    }

    /// Lets a paused machine go on.
    pub fn resume(&self) -> Result<u8, Error> {
        find(&self.name)?.resume()?;
        Ok(exit::DONE)
    }

    /// Pulls a machine's reset line.
    pub fn reset(&self) -> Result<u8, Error> {
        finish(&find(&self.name)?.reset()?)?;
        Ok(exit::DONE)
    }

    /// Saves a machine's state.
    pub fn save(&self) -> Result<u8, Error> {
        finish(&find(&self.name)?.save()?)?;
        Ok(exit::DONE)
    }
}

/// Presses a machine's power button, and waits until its guest has switched it off.
#[derive(Debug, clap::Args)]
pub struct Shutdown {
    /// Machine
    name: String,
    /// Wait for so many seconds at most
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i32).range(0..=4000))]
    wait: Option<i32>,
}

impl Shutdown {
    /// Runs the command.
    pub fn run(&self) -> Result<u8, Error> {
        let task = find(&self.name)?.shutdown()?;
        if let Some(seconds) = self.wait {
            task.wait_for_completion(seconds * 1000)?;
            if !task.is_complete() {
                return Err(crate::virtual_pc::Error::new(
                    crate::virtual_pc::hresult::VM_E_TIMED_OUT,
                    format!(
                        "the guest of `{}` has not switched it off within {seconds} s",
                        self.name
                    ),
                )
                .with_remedy(
                    "does the guest listen to ACPI's power button? `vpc stop` turns it off all the same",
                )
                .into());
            }
        }
        finish(&task)?;
        Ok(exit::DONE)
    }
}

/// Runs a machine in this process. `vpc start` uses it.
#[derive(Debug, clap::Args)]
pub struct Process {
    /// Configuration file
    file: PathBuf,
    /// The model's folders
    #[arg(num_args = 4)]
    places: Vec<PathBuf>,
}

impl Process {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let places = <[PathBuf; 4]>::try_from(self.places)
            .map_err(|places| Error::Use(format!("{} folders: four are wanted", places.len())))?;
        let program = std::env::current_exe().map_err(|error| Error::host(&error))?;
        let app = VirtualPc::new(Places::from_arguments(places), program);
        Ok(process::serve(&app, &self.file))
    }
}
