// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Events: what machines, drives and the application tell.
//!
//! There is no daemon that could call clients back, so events go to a journal, one JSON object a line, which everyone of this user reads
//! and follows. It holds the last [`JOURNAL_MOST`] bytes and the part before them; a guest that makes events without end fills no disk.
//! Each event has a number, one more than the one before, so that who was away can ask for what came since.

use super::enums::{MachineState, TaskResult};
use super::error::{Error, Result};
use super::files;
use super::places::Places;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A part of the journal is not longer than this.
pub const JOURNAL_MOST: u64 = 1 << 20;
/// An event takes no more bytes than this: a path has 4096 at most, and each may need six in JSON.
const EVENT_MOST: u64 = 64 << 10;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// Its number.
    #[serde(default)]
    pub id: u64,
    /// When, in UTC.
    #[schema(value_type = String, format = DateTime)]
    pub time: jiff::Timestamp,
    /// The machine's name, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
        #[schema(value_type = String)]
        path: PathBuf,
    },
    /// `IVMDVDDriveEvents::OnMediaEject` and `IVMFloppyDriveEvents::OnMediaEject`: a medium was taken out of a drive.
    MediaEject {
        /// The drive.
        drive: String,
        /// The medium's file, if it is known.
        #[schema(value_type = Option<String>)]
        path: Option<PathBuf>,
    },
    /// `IVMVirtualMachineEvents::OnDiskOutOfSpace`: a volume with a growing image of the machine is nearly full.
    DiskOutOfSpace {
        /// So nearly that the machine was paused until there is room.
        critically_low: bool,
        /// A folder on the volume.
        #[schema(value_type = String)]
        volume: PathBuf,
        /// What is free there, in bytes.
        free: u64,
    },
    /// A task has begun.
    TaskBegin {
        /// Its number.
        task: u32,
        /// What it does.
        description: String,
    },
    /// A task has ended.
    TaskEnd {
        /// Its number.
        task: u32,
        /// How.
        result: TaskResult,
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

    /// Notes an event. A journal that cannot be written is logged and does not stop what happened.
    pub fn note(&self, machine: Option<&str>, kind: EventKind) {
        let event = Event {
            id: 0,
            time: jiff::Timestamp::now(),
            machine: machine.map(str::to_owned),
            kind,
        };
        if let Err(error) = self.append(event) {
            log::warn!("an event cannot be noted: {error}");
        }
    }

    fn append(&self, mut event: Event) -> Result<()> {
        files::make_folder(&self.folder)?;
        let _lock = files::lock(&self.folder.join("events.lock"))?;
        let path = self.path();
        let mut write = || {
            let end = End::of(&path)?;
            // A part that holds nothing yet goes on with the numbers of the one before.
            let last = match end.last {
                Some(last) => last,
                None => End::of(&self.old_path())?.last.unwrap_or(0),
            };
            event.id = last + 1;
            if end.len > JOURNAL_MOST {
                fs::rename(&path, self.old_path())?;
            }
            // Half a line, which a crash can leave, must not take this one along.
            let mut line = if end.is_whole { vec![] } else { vec![b'\n'] };
            serde_json::to_writer(&mut line, &event)?;
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
        for path in [self.old_path(), self.path()] {
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
        let mut watch = self.watch()?;
        let mut follower = self.follower(None);
        let mut buffer = [0; 4096];
        loop {
            while let Some(event) = follower.next_event() {
                if !take(event) {
                    return Ok(());
                }
            }
            // Something in the folder has changed; what, the next reading tells.
            let seen = watch.read_events_blocking(&mut buffer);
            let _ = seen
                .map_err(|error| Error::unexpected(&self.folder, &error))?
                .count();
        }
    }

    /// What tells that the journal may have grown. Who makes a [`Follower`] afterwards misses nothing.
    pub fn watch(&self) -> Result<inotify::Inotify> {
        files::make_folder(&self.folder)?;
        let failed = |error: io::Error| Error::unexpected(&self.folder, &error);
        let watch = inotify::Inotify::init().map_err(failed)?;
        let wanted = inotify::WatchMask::MODIFY | inotify::WatchMask::CREATE | inotify::WatchMask::MOVED_TO;
        watch.watches().add(&self.folder, wanted).map_err(failed)?;
        Ok(watch)
    }

    /// Who reads the journal from now on, or from after the event of a number on, as far as that is still kept.
    pub fn follower(&self, after: Option<u64>) -> Follower {
        let part = match after {
            None => {
                let mut part = Part::open(&self.path());
                part.skip();
                part
            }
            Some(_) if self.old_path().exists() => Part::open(&self.old_path()),
            Some(_) => Part::open(&self.path()),
        };
        Follower {
            journal: self.clone(),
            part,
            after: after.unwrap_or(0),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("events.jsonl")
    }

    fn old_path(&self) -> PathBuf {
        self.folder.join("events.old.jsonl")
    }
}

/// The end of a part of the journal.
struct End {
    len: u64,
    /// Whether its last line is whole.
    is_whole: bool,
    /// The number of its last event.
    last: Option<u64>,
}

impl End {
    fn of(path: &Path) -> io::Result<Self> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self {
                    len: 0,
                    is_whole: true,
                    last: None,
                });
            }
            Err(error) => return Err(error),
        };
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(EVENT_MOST)))?;
        let mut tail = vec![];
        file.take(EVENT_MOST).read_to_end(&mut tail)?;
        let mut lines = tail.rsplit(|byte| *byte == b'\n');
        let last = lines.find_map(|line| serde_json::from_slice::<Event>(line).ok());
        Ok(Self {
            len,
            is_whole: tail.last().is_none_or(|byte| *byte == b'\n'),
            last: last.map(|event| event.id),
        })
    }
}

/// Reads the journal as it grows.
pub struct Follower {
    journal: Journal,
    part: Part,
    after: u64,
}

impl Follower {
    /// The next event, if it has happened.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            match self.part.next() {
                Some(event) if event.id > self.after => return Some(event),
                Some(_) => {}
                None if self.part.moved_on(&self.journal.path()) => {}
                None => return None,
            }
        }
    }
}

/// Reads a part of the journal to its end, and then the next one.
struct Part {
    file: Option<BufReader<File>>,
    /// The start of a line that is still being written.
    line: String,
}

impl Part {
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
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
        let mut follower = journal.follower(Some(ids[5]));
        let again: Vec<_> = std::iter::from_fn(|| follower.next_event()).collect();
        assert_eq!(again, events[6..]);
        let kept: u64 = ["events.jsonl", "events.old.jsonl"]
            .map(|name| fs::metadata(folder.path().join("state").join(name)).map_or(0, |m| m.len()))
            .iter()
            .sum();
        assert!(kept < 2 * JOURNAL_MOST + 16_000, "{kept}");
    }

    #[test]
    fn half_a_line_takes_no_other_along() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(&Places::under(folder.path()));
        journal.note(None, EventKind::Reset);
        fs::OpenOptions::new()
            .append(true)
            .open(journal.path())
            .unwrap()
            .write_all(b"{\"id\":2,\"time")
            .unwrap();
        journal.note(None, EventKind::TripleFault);
        let events = journal.read().unwrap();
        assert_eq!(
            events
                .iter()
                .map(|event| (event.id, &event.kind))
                .collect::<Vec<_>>(),
            [(1, &EventKind::Reset), (2, &EventKind::TripleFault)]
        );
    }
}
