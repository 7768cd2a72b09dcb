// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Events: what machines, drives and the application tell.
//!
//! There is no daemon that could call clients back, so events go to a journal, one JSON object a line, which everyone of this user reads
//! and follows. It holds the last [`JOURNAL_MOST`] bytes and the part before them; a guest that makes events without end fills no disk.

use super::enums::MachineState;
use super::error::{Error, Result};
use super::files;
use super::places::Places;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A part of the journal is not longer than this.
pub const JOURNAL_MOST: u64 = 1 << 20;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in UTC.
    pub time: jiff::Timestamp,
    /// The machine's name, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// `IVMVirtualMachineEvents::OnStateChange`, and to the application `IVMVirtualPCEvents::OnVMStateChange`: the machine's state is
    /// another one.
    StateChange {
        /// The new one.
        state: MachineState,
    },
    /// `IVMVirtualMachineEvents::OnReset`: the machine was reset.
    Reset,
    /// `IVMVirtualMachineEvents::OnTripleFault`: a processor could not go on.
    TripleFault,
    /// `IVMVirtualMachineEvents::OnRequestShutdown`: the power button was pressed.
    RequestShutdown,
    /// `IVMVirtualMachineEvents::OnGuestShutdown`: the guest switched the machine off.
    GuestShutdown,
    /// `IVMVirtualMachineEvents::OnConfigurationChanged`: a configuration value is another one.
    ConfigurationChanged {
        /// Its key.
        key: String,
    },
    /// `IVMDVDDriveEvents::OnMediaInsert` and `IVMFloppyDriveEvents::OnMediaInsert`: a medium was put into a drive.
    MediaInsert {
        /// The drive: `dvd0` to `dvd3`, `fd0`, `fd1`.
        drive: String,
        /// The medium's file.
        path: PathBuf,
    },
    /// `IVMDVDDriveEvents::OnMediaEject` and `IVMFloppyDriveEvents::OnMediaEject`: a medium was taken out of a drive.
    MediaEject {
        /// The drive.
        drive: String,
        /// The medium's file, if it is known.
        path: Option<PathBuf>,
    },
    /// `IVMVirtualPCEvents::OnEventLogged`: something was noted.
    EventLogged {
        /// What.
        message: String,
    },
}

/// The journal of one user.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
}

impl Journal {
    /// The journal of the model's folders.
    pub fn new(places: &Places) -> Self {
        Self {
            folder: places.state.clone(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("events.jsonl")
    }

    /// Notes an event. A journal that cannot be written is logged and does not stop what happened.
    pub fn note(&self, machine: Option<&str>, kind: EventKind) {
        let event = Event {
            time: jiff::Timestamp::now(),
            machine: machine.map(str::to_owned),
            kind,
        };
        if let Err(error) = self.append(&event) {
            log::warn!("an event cannot be noted: {error}");
        }
    }

    fn append(&self, event: &Event) -> Result<()> {
        files::make_folder(&self.folder)?;
        let _lock = files::lock(&self.folder.join("events.lock"))?;
        let path = self.path();
        let write = || {
            if fs::metadata(&path).is_ok_and(|present| present.len() > JOURNAL_MOST) {
                fs::rename(&path, self.folder.join("events.old.jsonl"))?;
            }
            let mut line = serde_json::to_vec(event)?;
            line.push(b'\n');
            fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)?
                .write_all(&line)
        };
        write().map_err(|error: io::Error| files::failed(&path, &error))
    }

    /// All events that are kept, oldest first. Half a line, which a crash can leave, is no event.
    pub fn read(&self) -> Result<Vec<Event>> {
        let mut events = vec![];
        for name in ["events.old.jsonl", "events.jsonl"] {
            let path = self.folder.join(name);
            match fs::read_to_string(&path) {
                Ok(text) => events.extend(text.lines().filter_map(|line| serde_json::from_str(line).ok())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(files::failed(&path, &error)),
            }
        }
        Ok(events)
    }

    /// Gives events as they come, from now on, until `take` says false.
    pub fn follow(&self, mut take: impl FnMut(Event) -> bool) -> Result<()> {
        files::make_folder(&self.folder)?;
        let failed = |error: io::Error| Error::unexpected(&self.folder, &error);
        let mut watch = inotify::Inotify::init().map_err(failed)?;
        let wanted = inotify::WatchMask::MODIFY | inotify::WatchMask::CREATE | inotify::WatchMask::MOVED_TO;
        watch.watches().add(&self.folder, wanted).map_err(failed)?;
        let mut reader = Follower::open(&self.path());
        reader.skip();
        let mut buffer = [0; 4096];
        loop {
            loop {
                while let Some(event) = reader.next() {
                    if !take(event) {
                        return Ok(());
                    }
                }
                if !reader.moved_on(&self.path()) {
                    break;
                }
            }
            // Something in the folder has changed; what, the next reading tells.
            watch.read_events_blocking(&mut buffer).map_err(failed)?.count();
        }
    }
}

/// Reads a journal's part to its end, and then the next one's.
struct Follower {
    file: Option<BufReader<File>>,
    /// The start of a line that is still being written.
    line: String,
}

impl Follower {
    fn open(path: &Path) -> Self {
        Self {
            file: File::open(path).ok().map(BufReader::new),
            line: String::new(),
        }
    }

    fn skip(&mut self) {
        while self.next().is_some() {}
    }

    fn next(&mut self) -> Option<Event> {
        let file = self.file.as_mut()?;
        loop {
            if file.read_line(&mut self.line).ok()? == 0 || !self.line.ends_with('\n') {
                return None;
            }
            if let Ok(event) = serde_json::from_str(&std::mem::take(&mut self.line)) {
                return Some(event);
            }
        }
    }

    /// Goes to the journal's new part, if there is one.
    fn moved_on(&mut self, path: &Path) -> bool {
        let Ok(now) = fs::metadata(path) else {
            return false;
        };
        let open = self.file.as_ref().and_then(|file| file.get_ref().metadata().ok());
        if open.is_some_and(|open| (open.dev(), open.ino()) == (now.dev(), now.ino())) {
            return false;
        }
        *self = Self::open(path);
        self.file.is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_journal_is_bounded_and_followed_across_its_parts() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(&Places::under(folder.path()));
        assert_eq!(journal.read().unwrap(), []);
        let message = |n: usize| EventKind::EventLogged {
            message: format!("{n} {}", "x".repeat(4000)),
        };
        let total = 700;
        let (started, start) = std::sync::mpsc::channel();
        let follower = journal.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = vec![];
            follower
                .follow(|event| {
                    seen.push(event.kind);
                    let _ = started.send(());
                    seen.len() < total
                })
                .unwrap();
            seen
        });
        // The first event is seen or not; from then on none is missed.
        loop {
            journal.note(None, EventKind::Reset);
            if start.recv_timeout(std::time::Duration::from_millis(20)).is_ok() {
                break;
            }
        }
        for n in 0..total {
            journal.note(Some("m"), message(n));
        }
        let seen = thread.join().unwrap();
        let seen: Vec<_> = seen
            .into_iter()
            .filter(|kind| *kind != EventKind::Reset)
            .collect();
        let wanted: Vec<_> = (0..seen.len()).map(message).collect();
        assert!(seen.len() > total / 2 && seen == wanted, "{} seen", seen.len());
        let events = journal.read().unwrap();
        assert_eq!(events.last().unwrap().kind, message(total - 1));
        let kept: u64 = ["events.jsonl", "events.old.jsonl"]
            .map(|name| fs::metadata(folder.path().join("state").join(name)).map_or(0, |m| m.len()))
            .iter()
            .sum();
        assert!(kept < 2 * JOURNAL_MOST + 16_000, "{kept}");
    }
}
