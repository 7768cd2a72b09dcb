// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc ctl`: commands to a running machine over its control socket.

use super::{Error, exit, size};
use crate::control_socket;
use crate::machine::VIRTIO_MOST;
use crate::machine::control::{Answer, Command, CommandError, Drive, Status};
use std::path::{Path, PathBuf};

/// Sends a command to a machine that was started with `vpc run --control PATH`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The machine's control socket
    socket: PathBuf,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Words,
}

#[derive(Debug, clap::Subcommand)]
enum Words {
    /// Put an image into a drive (dvd0 to dvd3, fd0, fd1), in place of what is there
    Insert {
        /// Drive
        drive: Drive,
        /// Image file
        image: PathBuf,
        /// Even if the guest has locked the drive
        #[arg(long)]
        force: bool,
    },
    /// Take the medium out of a drive
    Eject {
        /// Drive
        drive: Drive,
        /// Even if the guest has locked the drive
        #[arg(long)]
        force: bool,
    },
    /// Make a disk on virtio larger; the guest is told
    Grow {
        /// Disk: virtio0 is the first that was given with --virtio-disk
        #[arg(value_parser = virtio_disk)]
        disk: u8,
        /// New size, exact to the byte
        #[arg(value_parser = size::parse)]
        size: u64,
    },
    /// Pull the reset line
    Reset,
    /// Press the power button
    PowerButton,
    /// Stop guest time and processors
    Pause,
    /// Let a paused machine go on
    Resume,
    /// Switch the machine off at once; its disks are flushed
    Quit,
    /// Save the machine's state to a file, and end it: `vpc run --restore` goes on from there
    Save {
        /// File
        file: PathBuf,
    },
    /// Show how the machine is
    Status,
    /// Show the text on the machine's screen
    Screen,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let command = match self.command {
            Words::Insert { drive, image, force } => {
                // The machine's working folder may be another one.
                let path = std::path::absolute(&image)
                    .map_err(|e| Error::Use(format!("{}: {e}", image.display())))?;
                Command::Insert { drive, path, force }
            }
            Words::Eject { drive, force } => Command::Eject { drive, force },
            Words::Grow { disk, size } => Command::Grow { disk, size },
            Words::Reset => Command::Reset {},
            Words::PowerButton => Command::PowerButton {},
            Words::Pause => Command::Pause {},
            Words::Resume => Command::Resume {},
            Words::Quit => Command::Quit {},
            Words::Save { file } => {
                let path =
                    std::path::absolute(&file).map_err(|e| Error::Use(format!("{}: {e}", file.display())))?;
                Command::Save { path }
            }
            Words::Status => Command::Status {},
            Words::Screen => Command::Screen {},
        };
        let reply = control_socket::call(&self.socket, &command).map_err(|e| {
            Error::Use(format!(
                "{}: {}",
                self.socket.display(),
                explain(&self.socket, &e)
            ))
        })?;
        match reply {
            Ok(answer) if self.json => super::print_json(&answer)?,
            Ok(Answer::Status(status)) => print(&status),
            Ok(Answer::Screen { screen }) => print!("{screen}"),
            Ok(Answer::Done {}) => {}
            Err(error) => return Err(wrong(&error)),
        }
        Ok(exit::DONE)
    }
}

fn virtio_disk(text: &str) -> Result<u8, String> {
    let number = text.strip_prefix("virtio").and_then(|n| n.parse().ok());
    number
        .filter(|n| usize::from(*n) < VIRTIO_MOST)
        .ok_or_else(|| format!("`{text}` is no disk: use virtio0 to virtio{}", VIRTIO_MOST - 1))
}

fn wrong(error: &CommandError) -> Error {
    Error::Use(error.to_string())
}

fn explain(socket: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "there is no control socket; start the machine with --control PATH".to_owned()
        }
        std::io::ErrorKind::ConnectionRefused if socket.exists() => {
            "nobody listens on this socket; the machine has ended".to_owned()
        }
        _ => format!("the machine does not answer: {error}"),
    }
}

fn print(status: &Status) {
    println!(
        "state       {}",
        match status.state {
            crate::machine::control::RunState::Running => "running",
            crate::machine::control::RunState::Paused if status.held => "paused for want of room",
            crate::machine::control::RunState::Paused => "paused",
        }
    );
    println!("on for      {:.1} s, {} resets", status.seconds, status.resets);
    println!("processors  {}", status.cpus);
    println!("memory      {} MiB", status.memory >> 20);
    println!("POST code   {:02X}h", status.post_code);
    for drive in &status.drives {
        let medium = drive
            .medium
            .as_ref()
            .map_or("empty".to_owned(), |path| path.display().to_string());
        let tray = if drive.tray_open { ", tray open" } else { "" };
        let locked = if drive.locked { ", locked by the guest" } else { "" };
        println!("{:<11} {medium}{tray}{locked}", drive.drive.to_string());
    }
}
