// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A whole file system that remembers every change of files and of names, to find out what a power cut could leave.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{Dice, Event, apply, survive};
use crate::storage::{Access, FileSystem, MemoryFileSystem, MemoryStorage, Storage, Volume};

/// A file system in memory whose power can be cut. Clones share the files.
///
/// Files are durable when they are synced, names when their folder is. Changes of names that are not durable may be lost, the
/// last ones first, as they are in file systems with a journal.
#[derive(Debug, Clone)]
pub struct RecordingFileSystem {
    files: MemoryFileSystem,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    /// What there was at the start.
    initial: BTreeMap<PathBuf, Vec<u8>>,
    steps: Vec<Step>,
    /// Files made since the start; those from the start come first.
    made: usize,
}

#[derive(Debug, Clone)]
enum Step {
    /// A change of a file, which is known by its number.
    File(usize, Event),
    /// A new name for a new file.
    Create(PathBuf, usize),
    /// A file gets another name, and takes it from whoever has it.
    Rename(PathBuf, PathBuf),
    /// A name is taken away.
    Remove(PathBuf),
    /// All names are durable.
    SyncNames,
}

/// Names and files, as far as they are durable.
#[derive(Debug, Clone, Default)]
struct State {
    names: BTreeMap<PathBuf, usize>,
    contents: Vec<Vec<u8>>,
}

impl State {
    fn rename(&mut self, step: &Step) {
        match step {
            Step::Create(path, file) => {
                self.names.insert(path.clone(), *file);
            }
            Step::Rename(from, to) => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Step::Remove(path) => {
                self.names.remove(path);
            }
            Step::File(..) | Step::SyncNames => {}
        }
    }

    fn content(&mut self, file: usize) -> &mut Vec<u8> {
        if self.contents.len() <= file {
            self.contents.resize(file + 1, Vec::new());
        }
        &mut self.contents[file]
    }

    fn files(mut self) -> MemoryFileSystem {
        let files = MemoryFileSystem::new();
        for (path, file) in std::mem::take(&mut self.names) {
            let content = self.content(file).clone();
            files.insert(path, MemoryStorage::new(content));
        }
        files
    }
}

impl RecordingFileSystem {
    /// With the files of another one, which are durable.
    #[must_use]
    pub fn new(start: &MemoryFileSystem) -> Self {
        let files = MemoryFileSystem::new();
        let log = Arc::new(Mutex::new(Log::default()));
        let this = Self { files, log };
        for path in start.names() {
            let content = start.content(&path).unwrap_or_default();
            let file = {
                let mut log = this.log();
                log.initial.insert(path.clone(), content.clone());
                log.made += 1;
                log.made - 1
            };
            this.files.insert(path, this.recorder(file, content));
        }
        this
    }

    /// How many changes there were so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.log().steps.len()
    }

    /// The files as they are now.
    #[must_use]
    pub fn now(&self) -> MemoryFileSystem {
        self.files.clone()
    }

    /// Calls `each` for every moment at which the power can go, with what there may be then, as
    /// [`super::RecordingStorage::cut_everywhere`] does for one file.
    pub fn cut_everywhere(
        &self,
        outcomes: usize,
        dice: &mut Dice,
        mut each: impl FnMut(usize, MemoryFileSystem),
    ) {
        let log = self.log();
        let mut durable = State::default();
        for (path, content) in &log.initial {
            durable.names.insert(path.clone(), durable.contents.len());
            durable.contents.push(content.clone());
        }
        each(0, durable.clone().files());
        let mut loose: Vec<&Step> = Vec::new();
        for (index, step) in log.steps.iter().enumerate() {
            match step {
                Step::File(file, Event::Sync) => {
                    loose.retain(|step| match step {
                        Step::File(of, event) if of == file => {
                            apply(durable.content(*file), event);
                            false
                        }
                        _ => true,
                    });
                    each(index + 1, durable.clone().files());
                }
                Step::SyncNames => {
                    loose.retain(|step| {
                        durable.rename(step);
                        matches!(step, Step::File(..))
                    });
                    each(index + 1, durable.clone().files());
                }
                step => {
                    loose.push(step);
                    for outcome in 0..outcomes {
                        each(index + 1, left_over(&durable, &loose, outcome, dice).files());
                    }
                }
            }
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, step: Step) {
        self.log().steps.push(step);
    }

    fn recorder(&self, file: usize, content: Vec<u8>) -> Recorder {
        Recorder {
            file,
            storage: MemoryStorage::new(content),
            log: Arc::clone(&self.log),
        }
    }
}

/// One thing that may be left: everything, only the newest change, or any mix.
fn left_over(durable: &State, loose: &[&Step], outcome: usize, dice: &mut Dice) -> State {
    let mut state = durable.clone();
    let names: Vec<&Step> = loose
        .iter()
        .copied()
        .filter(|step| !matches!(step, Step::File(..)))
        .collect();
    let kept = match outcome {
        0 => names.len(),
        1 => 0,
        _ => dice.roll(names.len() as u64 + 1) as usize,
    };
    names.iter().take(kept).for_each(|step| state.rename(step));
    let mut files: BTreeMap<usize, Vec<&Event>> = BTreeMap::new();
    for step in loose {
        if let Step::File(file, event) = step {
            files.entry(*file).or_default().push(event);
        }
    }
    for (file, events) in files {
        let content = state.content(file);
        match outcome {
            0 => events.iter().for_each(|event| apply(content, event)),
            1 => events.last().into_iter().for_each(|event| apply(content, event)),
            _ => survive(content, &events, dice),
        }
    }
    state
}

impl FileSystem for RecordingFileSystem {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn Storage>> {
        self.files.open(path, access)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn Storage>> {
        if self.files.content(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = {
            let mut log = self.log();
            let file = log.made;
            log.made += 1;
            log.steps.push(Step::Create(path.to_owned(), file));
            file
        };
        self.files.insert(path, self.recorder(file, Vec::new()));
        self.files.open(path, Access::Exclusive)
    }

    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.publish(from, to)?;
        self.note(Step::Rename(from.to_owned(), to.to_owned()));
        self.note(Step::SyncNames);
        Ok(())
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.open(from, Access::Exclusive)?.sync()?;
        self.files.replace(from, to)?;
        self.note(Step::Rename(from.to_owned(), to.to_owned()));
        self.note(Step::SyncNames);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)?;
        self.note(Step::Remove(path.to_owned()));
        Ok(())
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.files.canonical(path)
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        self.files.modified(path)
    }

    fn set_modified(&self, path: &Path, time: SystemTime) -> io::Result<()> {
        self.files.set_modified(path, time);
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.files.list(folder)
    }

    fn create_folders(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.files.create_folders(folder)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.files.remove_folder(folder)
    }

    fn volume(&self, folder: &Path) -> io::Result<Option<Volume>> {
        self.files.volume(folder)
    }
}

/// One file of it.
#[derive(Debug)]
struct Recorder {
    file: usize,
    storage: MemoryStorage,
    log: Arc<Mutex<Log>>,
}

impl Recorder {
    fn note(&self, event: Event) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.steps.push(Step::File(self.file, event));
    }
}

impl Storage for Recorder {
    fn len(&self) -> io::Result<u64> {
        self.storage.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.storage.read_at(buffer, offset)
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.note(Event::Write(offset, buffer.into()));
        self.storage.write_at(buffer, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(Event::SetLen(len));
        self.storage.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.note(Event::Sync);
        Ok(())
    }

    fn punch(&self, range: Range<u64>) -> io::Result<bool> {
        self.note(Event::Punch(range.clone()));
        self.storage.punch(range)
    }

    fn allocate(&self, _range: Range<u64>) -> io::Result<bool> {
        Ok(false)
    }
}
