// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files in memory, for tests and for disks that need no file.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Access, FileSystem, Storage, Volume};

/// A file in memory. Clones share the content.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    bytes: Arc<RwLock<Vec<u8>>>,
}

impl MemoryStorage {
    /// With this content.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Arc::new(RwLock::new(bytes)),
        }
    }

    /// A copy of the content.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Storage for MemoryStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.read().unwrap_or_else(PoisonError::into_inner).len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.bytes.read().unwrap_or_else(PoisonError::into_inner);
        let range = span(offset, buffer.len())?;
        let source = bytes.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(source);
        Ok(())
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        let range = span(offset, buffer.len())?;
        if bytes.len() < range.end {
            bytes.resize(range.end, 0);
        }
        if let Some(target) = bytes.get_mut(range) {
            target.copy_from_slice(buffer);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.bytes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .resize(len, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn punch(&self, range: Range<u64>) -> io::Result<bool> {
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        let len = bytes.len() as u64;
        let (start, end) = (range.start.min(len) as usize, range.end.min(len) as usize);
        if let Some(target) = bytes.get_mut(start..end) {
            target.fill(0);
        }
        Ok(true)
    }

    fn allocate(&self, range: Range<u64>) -> io::Result<bool> {
        if self.len()? < range.end {
            self.set_len(range.end)?;
        }
        Ok(true)
    }
}

fn span(offset: u64, len: usize) -> io::Result<Range<usize>> {
    let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let end = start.checked_add(len).ok_or(io::ErrorKind::FileTooLarge)?;
    Ok(start..end)
}

/// A file system in memory, with locks. Clones share the files.
#[derive(Debug, Clone, Default)]
pub struct MemoryFileSystem {
    files: Arc<Mutex<BTreeMap<PathBuf, Entry>>>,
}

#[derive(Debug, Clone)]
struct Entry {
    storage: Arc<dyn Storage>,
    modified: SystemTime,
    /// Each opening holds a clone; an exclusive one is alone.
    lock: Arc<Mutex<Lock>>,
}

#[derive(Debug, Default)]
struct Lock {
    shared: usize,
    exclusive: bool,
}

/// One opening of a file: gives its lock back when it is closed.
#[derive(Debug)]
struct Opened {
    storage: Arc<dyn Storage>,
    lock: Arc<Mutex<Lock>>,
    access: Access,
}

impl MemoryFileSystem {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file in place, replacing one of the same name. Its time is fixed, so that nothing depends on the clock.
    pub fn insert(&self, path: impl Into<PathBuf>, storage: impl Storage + 'static) {
        let modified = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let entry = Entry {
            storage: Arc::new(storage),
            modified,
            lock: Arc::default(),
        };
        self.files().insert(path.into(), entry);
    }

    /// Sets the time of a file's last change.
    pub fn set_modified(&self, path: impl AsRef<Path>, time: SystemTime) {
        if let Some(entry) = self.files().get_mut(path.as_ref()) {
            entry.modified = time;
        }
    }

    /// The content of a file, if there is one.
    #[must_use]
    pub fn content(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let entry = self.entry(path.as_ref()).ok()?;
        let mut bytes = vec![0; usize::try_from(entry.storage.len().ok()?).ok()?];
        entry.storage.read_at(&mut bytes, 0).ok()?;
        Some(bytes)
    }

    /// The names of all files.
    #[must_use]
    pub fn names(&self) -> Vec<PathBuf> {
        self.files().keys().cloned().collect()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Entry>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, path: &Path) -> io::Result<Entry> {
        self.files()
            .get(&self.canonical_name(path))
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// `.` and `..` taken out, as there are no links here.
    fn canonical_name(&self, path: &Path) -> PathBuf {
        let mut name = PathBuf::new();
        for part in path.components() {
            match part {
                std::path::Component::ParentDir => drop(name.pop()),
                std::path::Component::CurDir => {}
                other => name.push(other),
            }
        }
        name
    }

    fn opened(entry: Entry, access: Access) -> io::Result<Box<dyn Storage>> {
        {
            let mut lock = entry.lock.lock().unwrap_or_else(PoisonError::into_inner);
            match access {
                _ if lock.exclusive => return Err(io::ErrorKind::WouldBlock.into()),
                Access::Exclusive if lock.shared > 0 => return Err(io::ErrorKind::WouldBlock.into()),
                Access::Exclusive => lock.exclusive = true,
                Access::Shared => lock.shared += 1,
            }
        }
        Ok(Box::new(Opened {
            storage: entry.storage,
            lock: entry.lock,
            access,
        }))
    }
}

impl FileSystem for MemoryFileSystem {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn Storage>> {
        Self::opened(self.entry(path)?, access)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn Storage>> {
        if self.entry(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.insert(self.canonical_name(path), MemoryStorage::default());
        self.open(path, Access::Exclusive)
    }

    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.entry(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let entry = self
            .files()
            .remove(&self.canonical_name(from))
            .ok_or(io::ErrorKind::NotFound)?;
        self.files().insert(self.canonical_name(to), entry);
        Ok(())
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.canonical_name(from), self.canonical_name(to));
        let mut files = self.files();
        let time = files.get(&to).ok_or(io::ErrorKind::NotFound)?.modified;
        let mut entry = files.remove(&from).ok_or(io::ErrorKind::NotFound)?;
        entry.modified = time;
        files.insert(to, entry);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files()
            .remove(&self.canonical_name(path))
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        // A folder is there as long as something is in it.
        let name = self.canonical_name(path);
        let found = self.files().keys().any(|file| file.starts_with(&name));
        if found {
            Ok(name)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        Ok(self.entry(path)?.modified)
    }

    fn set_modified(&self, path: &Path, time: SystemTime) -> io::Result<()> {
        Self::set_modified(self, path, time);
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let folder = self.canonical_name(folder);
        let files = self.files();
        let inside = |file: &&PathBuf| file.parent() == Some(&folder);
        Ok(files.keys().filter(inside).cloned().collect())
    }

    fn create_folders(&self, _folder: &Path) -> io::Result<Vec<PathBuf>> {
        // A folder is there as soon as something is in it.
        Ok(Vec::new())
    }

    fn remove_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn volume(&self, _folder: &Path) -> io::Result<Option<Volume>> {
        Ok(None)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        match self.access {
            Access::Shared => lock.shared = lock.shared.saturating_sub(1),
            Access::Exclusive => lock.exclusive = false,
        }
    }
}

impl Storage for Opened {
    fn len(&self) -> io::Result<u64> {
        self.storage.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.storage.read_at(buffer, offset)
    }
    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        match self.access {
            Access::Shared => Err(io::ErrorKind::PermissionDenied.into()),
            Access::Exclusive => self.storage.write_at(buffer, offset),
        }
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.access {
            Access::Shared => Err(io::ErrorKind::PermissionDenied.into()),
            Access::Exclusive => self.storage.set_len(len),
        }
    }
    fn sync(&self) -> io::Result<()> {
        self.storage.sync()
    }
    fn punch(&self, range: Range<u64>) -> io::Result<bool> {
        self.storage.punch(range)
    }
    fn allocate(&self, range: Range<u64>) -> io::Result<bool> {
        self.storage.allocate(range)
    }
    fn data_from(&self, offset: u64) -> io::Result<Range<u64>> {
        self.storage.data_from(offset)
    }
    fn start_sync(&self) {
        self.storage.start_sync();
    }
}
