// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be asked of a running machine, and what it tells: the only API that the command line, sockets and tests use.

use crate::hypervisor::Fault;
use crate::saved_state::Draft;
use devices::power::PowerRequest;
use devices::vga::TextScreen;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::mpsc;

/// A drive whose medium can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Drive {
    /// DVD drive, counted from 0 in the order primary master, primary slave, secondary master, secondary slave.
    Dvd(u8),
    /// Floppy drive: 0 is A, 1 is B.
    Floppy(u8),
}

impl fmt::Display for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dvd(n) => write!(f, "dvd{n}"),
            Self::Floppy(n) => write!(f, "fd{n}"),
        }
    }
}

impl From<Drive> for String {
    fn from(drive: Drive) -> Self {
        drive.to_string()
    }
}

impl TryFrom<String> for Drive {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Drive {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str, most: u8| text.parse().ok().filter(|n| *n < most);
        let dvd = text.strip_prefix("dvd").and_then(|n| number(n, 4)).map(Self::Dvd);
        let floppy = || {
            text.strip_prefix("fd")
                .and_then(|n| number(n, 2))
                .map(Self::Floppy)
        };
        dvd.or_else(floppy)
            .ok_or_else(|| format!("`{text}` is no drive: use dvd0 to dvd3, fd0 or fd1"))
    }
}

/// What may be asked.
///
/// Commands without parameters are written with braces: of a unit variant serde would let pass whatever stands beside its tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// How the machine is.
    Status {},
    /// Put an image into a drive, in place of what is there.
    Insert {
        /// Which drive.
        drive: Drive,
        /// The image's file.
        path: PathBuf,
        /// Even if the guest has locked the drive.
        #[serde(default)]
        force: bool,
    },
    /// Take the medium out of a drive.
    Eject {
        /// Which drive.
        drive: Drive,
        /// Even if the guest has locked the drive.
        #[serde(default)]
        force: bool,
    },
    /// Make a disk on virtio larger, and tell the guest.
    Grow {
        /// Which disk, counted from 0.
        disk: u8,
        /// Its new size in bytes.
        size: u64,
    },
    /// What the screen shows.
    Screen {},
    /// Pull the reset line.
    Reset {},
    /// Press the power button: the guest decides what to do.
    PowerButton {},
    /// Stop guest time and processors.
    Pause {},
    /// Let them go on.
    Resume {},
    /// Stop as [`Pause`](Self::Pause) does, for want of room on the host: only what was not stopped before, and not its user's pause.
    Hold {},
    /// Let go on what was stopped by [`Hold`](Self::Hold), and not by its user since.
    Release {},
    /// Switch off, as by pulling the plug; disks are flushed.
    Quit {},
    /// Save the machine's state to a file, and end. If that fails the machine goes on.
    Save {
        /// The file.
        path: PathBuf,
    },
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", rename_all = "kebab-case")]
pub enum CommandError {
    /// The machine has no such drive.
    #[error("this machine has no drive {drive}")]
    NoSuchDrive {
        /// Which.
        drive: Drive,
    },
    /// The machine has no such disk on virtio.
    #[error("this machine has no disk virtio{disk}; disks on IDE keep their size while the machine runs")]
    NoSuchDisk {
        /// Which.
        disk: u8,
    },
    /// The guest has locked the drive. It has been told of the request.
    #[error(
        "the guest has locked {drive}; it was asked to release it (use --force to take the medium out anyway)"
    )]
    Locked {
        /// Which.
        drive: Drive,
    },
    /// There is nothing to take out.
    #[error("{drive} is empty")]
    Empty {
        /// Which.
        drive: Drive,
    },
    /// The image cannot be used.
    #[error("{detail}")]
    Image {
        /// File and cause.
        detail: String,
    },
    /// The state cannot be saved. The machine goes on.
    #[error("{detail}")]
    Save {
        /// File and cause.
        detail: String,
    },
    /// The request made no sense.
    #[error("malformed request: {detail}")]
    Malformed {
        /// Why.
        detail: String,
    },
    /// The machine ended before it could answer.
    #[error("the machine has ended")]
    Ended,
}

/// Whether guest code runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It does.
    Running,
    /// It was paused by a command.
    Paused,
}

/// A drive in a [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveStatus {
    /// Which.
    pub drive: Drive,
    /// The image in it.
    pub medium: Option<PathBuf>,
    /// The guest has locked it.
    pub locked: bool,
    /// Its tray is open (DVD).
    pub tray_open: bool,
}

/// What a screen shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Screen {
    /// The rows of a text mode, each with its line end.
    Text(String),
    /// It is off or in a graphics mode.
    NoText,
}

impl From<Option<TextScreen>> for Screen {
    fn from(screen: Option<TextScreen>) -> Self {
        screen.map_or(Self::NoText, |screen| Self::Text(screen.to_string()))
    }
}

impl fmt::Display for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(rows) => f.write_str(rows),
            Self::NoText => f.write_str("(the screen is off or in a graphics mode)\n"),
        }
    }
}

/// How a machine is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Whether guest code runs.
    pub state: RunState,
    /// It is paused for want of room on the host.
    #[serde(default)]
    pub held: bool,
    /// Guest time since it was switched on, in seconds.
    pub seconds: f64,
    /// How often it was reset.
    pub resets: u64,
    /// Processors.
    pub cpus: u8,
    /// Memory in bytes.
    pub memory: u64,
    /// The last code that the firmware or guest showed on port 80h.
    pub post_code: u8,
    /// Drives with removable media.
    pub drives: Vec<DriveStatus>,
}

/// What a command that was carried out gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// The answer to [`Command::Status`].
    Status(Box<Status>),
    /// The answer to [`Command::Screen`].
    Screen {
        /// What can be told of it.
        screen: Screen,
    },
    /// Nothing more to say.
    Done {},
}

/// The answer to a command.
pub type Reply = Result<Answer, CommandError>;

/// How a machine ended.
#[derive(Debug)]
pub enum End {
    /// The guest switched off.
    PoweredOff,
    /// The guest reset the machine, which was not to restart.
    Reset,
    /// A processor triple-faulted on a machine that was not to restart.
    TripleFault(Box<Fault>),
    /// A processor cannot go on.
    Fault(Box<Fault>),
    /// The hypervisor failed.
    Host(crate::hypervisor::Error),
    /// [`Command::Quit`].
    Quit,
    /// [`Command::Save`]: the state is to be [finished](Draft::finish) when the machine has been dropped.
    Saved(Draft),
}

/// What a machine tells whoever watches it run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A command has paused it.
    Paused,
    /// A command lets it go on.
    Resumed,
    /// It was reset, by a command or by its guest.
    Reset,
    /// A processor triple-faulted.
    TripleFault,
    /// The power button was pressed.
    PowerButton,
    /// The guest switched it off.
    PoweredOff,
    /// Its state is being saved.
    Saving,
    /// That failed, and it goes on as before.
    NotSaved {
        /// As it was.
        state: RunState,
    },
    /// The guest opened the tray of a DVD drive. The medium lies in it until somebody takes it out, or the guest closes it.
    TrayOpened {
        /// Which.
        drive: Drive,
        /// The medium's file.
        path: PathBuf,
    },
}

/// What the machine's parts tell its director.
#[derive(Debug)]
pub(super) enum Notice {
    Power(PowerRequest),
    Processor(super::cpu::Stopped),
    /// A guest has moved or locked a tray.
    Tray,
    Command(Command, mpsc::Sender<Reply>),
}

/// Sends commands to a machine, from any thread.
#[derive(Clone)]
pub struct Remote(pub(super) mpsc::Sender<Notice>);

impl Remote {
    /// Has a command carried out, and waits for the answer.
    pub fn command(&self, command: Command) -> Reply {
        let (reply, answer) = mpsc::channel();
        self.0
            .send(Notice::Command(command, reply))
            .map_err(|_| CommandError::Ended)?;
        answer.recv().map_err(|_| CommandError::Ended)?
    }

    /// Has a command carried out some time, and does not wait.
    pub fn post(&self, command: Command) {
        let (reply, _) = mpsc::channel();
        // A machine that has ended needs no more commands.
        let _ = self.0.send(Notice::Command(command, reply));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn drives_by_name() {
        assert_eq!("dvd3".parse(), Ok(Drive::Dvd(3)));
        assert_eq!("fd1".parse(), Ok(Drive::Floppy(1)));
        for bad in ["", "dvd", "dvd4", "fd2", "hd0", "dvd-1"] {
            assert!(bad.parse::<Drive>().is_err(), "{bad}");
        }
    }

    #[test]
    fn commands_as_json() {
        let text = r#"{"command":"insert","drive":"dvd0","path":"/a.iso"}"#;
        let command = Command::Insert {
            drive: Drive::Dvd(0),
            path: "/a.iso".into(),
            force: false,
        };
        assert_eq!(serde_json::from_str::<Command>(text).unwrap(), command);
        let status = serde_json::from_str::<Command>(r#"{"command":"status"}"#).unwrap();
        assert_eq!(status, Command::Status {});
        let text = serde_json::to_string(&Command::PowerButton {}).unwrap();
        assert_eq!(text, r#"{"command":"power-button"}"#);
        for bad in [
            "{}",
            r#"{"command":"fly"}"#,
            r#"{"command":"eject","drive":"c"}"#,
            r#"{"command":"quit","after":5}"#,
            r#"{"command":"eject","drive":"dvd0","after":5}"#,
        ] {
            assert!(serde_json::from_str::<Command>(bad).is_err(), "{bad}");
        }
        let text = serde_json::to_string(&CommandError::Locked { drive: Drive::Dvd(0) }).unwrap();
        assert_eq!(text, r#"{"error":"locked","drive":"dvd0"}"#);
    }
}
