// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files that are not complete yet.
//!
//! An operation that makes a new image, or a new version of one, works on a file of its own beside it. Only when all
//! of that is durable does it get the name; whatever goes wrong before leaves everything as it was.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::create::temporary_name;
use crate::error::{Error, Kind, Result};
use crate::storage::FileSystem;

/// A name for a file that is being made. Whatever has it when this is dropped is removed.
#[derive(Debug)]
pub(crate) struct Draft {
    path: PathBuf,
    target: PathBuf,
    files: Arc<dyn FileSystem>,
}

impl Draft {
    fn new(target: &Path, files: &Arc<dyn FileSystem>) -> Result<Self> {
        if target.file_name().is_none() {
            return Err(Error::new(Kind::InvalidName, target));
        }
        Ok(Self {
            path: temporary_name(target),
            target: target.to_owned(),
            files: Arc::clone(files),
        })
    }

    /// For a new version of a file that exists, wherever links to it are.
    pub fn for_existing(target: &Path, files: &Arc<dyn FileSystem>) -> Result<Self> {
        let full = files.canonical(target);
        let full = full.map_err(|error| Error::io(error, target, "finding the full name of"))?;
        Self::new(&full, files)
    }

    /// For a new file; refuses a name that is taken, before any work is done.
    pub fn for_new(target: &Path, files: &Arc<dyn FileSystem>) -> Result<Self> {
        if files.canonical(target).is_ok() {
            return Err(Error::new(Kind::AlreadyExists, target));
        }
        Self::new(target, files)
    }

    /// The file's name while it is being made.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its final name, which must be free.
    pub fn publish(self) -> Result<()> {
        let published = self.files.publish(&self.path, &self.target);
        published.map_err(|error| Error::io(error, &self.target, "naming"))
    }

    /// Puts the file in the place of the old version of it. Readers see either one.
    ///
    /// The content that children of the image see is the same, so the time by which they know it stays too.
    pub fn replace(self) -> Result<()> {
        let replaced = self.files.replace(&self.path, &self.target);
        replaced.map_err(|error| Error::io(error, &self.target, "replacing"))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it has its final name there is nothing here any more.
        let _ = self.files.remove(&self.path);
    }
}
