// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: one module a subcommand.

pub mod bench;
pub mod ctl;
pub mod disk;
pub mod documents;
pub mod exit;
pub mod host;
// A machine's own process, its sockets and the journal of events are Linux' so far.
#[cfg(target_os = "linux")]
pub mod known;
pub mod run;
pub mod size;

use crate::hypervisor::Unavailable;
use crate::storage::chain;
use crate::virtual_pc::hresult::HResult;
use std::fmt::Write;

/// A Virtual PC: runs x86 PC guests headless on hardware virtualization.
#[derive(Debug, clap::Parser)]
#[command(name = "vpc", version, about, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    #[cfg(target_os = "linux")]
    #[command(flatten)]
    Known(known::Command),
    Run(Box<run::Args>),
    Ctl(ctl::Args),
    Disk(disk::Args),
    Bench(bench::Args),
    Host(host::Args),
    Completions(documents::Completions),
    Man(documents::Man),
}

impl Cli {
    /// Runs the command; gives its exit code.
    pub fn run(self) -> Result<u8, Error> {
        match self.command {
            #[cfg(target_os = "linux")]
            Command::Known(command) => command.run(),
            Command::Completions(args) => args.run(),
            Command::Man(args) => args.run(),
            Command::Run(args) => args.run(),
            Command::Ctl(args) => args.run(),
            Command::Disk(args) => args.run(),
            Command::Bench(args) => args.run(),
            Command::Host(args) => args.run(),
        }
    }
}

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This host cannot run machines.
    #[error("{0}")]
    Unavailable(Unavailable),
    /// A known machine, or one of its parts, does not do what was asked.
    #[error("{0}")]
    Model(crate::virtual_pc::Error),
    /// Wrong use, or a file that cannot be used.
    #[error("{0}")]
    Use(String),
    /// The host failed.
    #[error("{0}")]
    Host(String),
    /// A signal came before it was done.
    #[error("stopped by signal {signal}: {what}")]
    Stopped {
        /// Its number.
        signal: i32,
        /// What was not done.
        what: String,
    },
}

impl Error {
    /// Wrong use, from an error with its causes.
    pub fn wrong(error: &dyn std::error::Error) -> Self {
        Self::Use(chain(error))
    }

    /// A failure of the host, from an error with its causes.
    pub fn host(error: &dyn std::error::Error) -> Self {
        Self::Host(chain(error))
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unavailable(cause) => exit::unavailable(cause),
            Self::Model(error) => exit::model(error),
            Self::Use(_) => exit::USE,
            Self::Host(_) => exit::HOST,
            Self::Stopped { signal, .. } => exit::signal(*signal),
        }
    }

    /// What the user is told: what happened, its number in the Virtual PC API if it has one, and what to do.
    pub fn report(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Unavailable(cause) => {
                writeln!(
                    text,
                    "vpc: {}: {cause}\nvpc: to mend it, {}",
                    HResult::from(cause),
                    cause.remedy()
                )
            }
            Self::Model(error) => {
                writeln!(
                    text,
                    "vpc: {}: {error}\nvpc: to mend it, {}",
                    error.result(),
                    error.remedy()
                )
            }
            Self::Use(what) | Self::Host(what) => writeln!(text, "vpc: {what}"),
            Self::Stopped { .. } => writeln!(text, "vpc: {self}"),
        };
        text
    }
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::host(&e))?;
    println!("{text}");
    Ok(())
}
