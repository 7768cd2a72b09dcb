// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What all commands on images need of the host: opening them, and folders for new ones.

use crate::cli::Error;
use std::path::{Path, PathBuf};

/// How an image that exists is opened.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Opening {
    /// Look for parents, and the backing files of qcow2 images, in this folder too
    #[arg(long = "search", value_name = "FOLDER")]
    search: Vec<PathBuf>,
    /// Accept a parent that was modified after its child was made
    #[arg(long)]
    ignore_parent_time: bool,
    /// Take the file for a raw disk, whatever it looks like
    #[arg(long)]
    raw: bool,
}

impl Opening {
    /// Options for reading.
    pub fn read_only(&self) -> vhd::OpenOptions {
        self.for_writing().read_only(true)
    }

    /// Options for reading and writing.
    pub fn for_writing(&self) -> vhd::OpenOptions {
        let mut options = crate::storage::options().ignore_parent_timestamp(self.ignore_parent_time);
        if self.raw {
            options = options.format(vhd::Format::Raw);
        }
        self.search.iter().fold(options, vhd::OpenOptions::search_path)
    }

    /// Opens an image with its parents or backing files, to be read.
    pub fn read(&self, path: &Path) -> Result<vhd::Disk, Error> {
        check_kind(path)?;
        if self.is_qcow2(path) {
            return crate::qcow2::open(path, &self.search).map_err(|e| Error::wrong(&e));
        }
        vhd::Disk::open(path, &self.read_only()).map_err(|e| Error::wrong(&e))
    }

    /// Opens an image with its parents, to be written to or with an eye to its chain.
    pub fn open(&self, path: &Path, options: &vhd::OpenOptions) -> Result<vhd::Disk, Error> {
        self.check(path)?;
        vhd::Disk::open(path, options).map_err(|e| Error::wrong(&e))
    }

    /// Refuses what can hold no image that can be changed, in words that say what it is.
    pub fn check(&self, path: &Path) -> Result<(), Error> {
        check_kind(path)?;
        if self.is_qcow2(path) {
            return Err(Error::Use(format!(
                "`{}` is a qcow2 image, which can only be read: convert it with `vpc disk convert`. If it is a raw disk that begins \
                 like one, say --raw",
                path.display()
            )));
        }
        Ok(())
    }

    /// Whether the file is taken for a qcow2 image.
    pub fn is_qcow2(&self, path: &Path) -> bool {
        !self.raw && crate::qcow2::recognised(path)
    }
}

/// Options for new images.
pub fn creating() -> vhd::CreateOptions {
    vhd::CreateOptions::new().file_system(crate::storage::file_system())
}

/// Bytes that a file takes on the host, which is less than its size if it has holes; zero if that cannot be told.
pub fn allocated(path: &Path) -> u64 {
    crate::host::allocated(path).unwrap_or(0)
}

/// Refuses what is there but can hold no image, in words that say what it is. The library would call a device or a pipe empty.
fn check_kind(path: &Path) -> Result<(), Error> {
    let what = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => "a folder; give an image file",
        Ok(metadata) if !metadata.is_file() => "not a regular file; give an image file",
        Ok(metadata) if metadata.len() == 0 => "empty; give an image file",
        // Opening it says what is wrong, better than this could.
        Ok(_) | Err(_) => return Ok(()),
    };
    Err(Error::Use(format!("`{}` is {what}", path.display())))
}

/// Makes a file with this content, which appears under its name when it is durable, or not at all.
pub fn publish(path: &Path, content: &[u8]) -> Result<(), Error> {
    publish_with(path, |file| file.write_at(content, 0))
}

/// As [`publish`], with content that comes bit by bit. A name that is taken is refused before anything is written.
pub fn publish_with(
    path: &Path,
    fill: impl FnOnce(&dyn vhd::Storage) -> std::io::Result<()>,
) -> Result<(), Error> {
    let name = path.file_name().ok_or_else(|| {
        Error::Use(format!(
            "`{}` cannot be the name of an image. Choose another name",
            path.display()
        ))
    })?;
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(".new");
    let draft = path.with_file_name(draft);
    let files = crate::storage::file_system();
    let free = match files.canonical(path) {
        Ok(_) => Err(std::io::ErrorKind::AlreadyExists.into()),
        Err(_) => Ok(()),
    };
    let made = free.and_then(|()| files.create_new(&draft)).and_then(|file| {
        fill(&*file)
            .and_then(|()| file.sync())
            .and_then(|()| files.publish(&draft, path))
            .inspect_err(|_| drop(files.remove(&draft)))
    });
    made.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Use(format!(
            "`{}` exists already, or is being made, and is never overwritten. Choose another name or remove it",
            path.display()
        )),
        _ => Error::Use(format!("`{}` cannot be made: {e}", path.display())),
    })
}

/// Makes a new image with `make`, and the folders that it needs. When that fails, no folder is left that was not there before.
pub fn in_new_folder<T>(path: &Path, make: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => return make(),
    };
    super::progress::heed_signals()?;
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
        .collect();
    let made = std::fs::create_dir_all(folder)
        .map_err(|e| {
            Error::Use(format!(
                "the folder `{}` cannot be created: {e}",
                folder.display()
            ))
        })
        .and_then(|()| make());
    if made.is_err() {
        for folder in missing {
            // Only empty folders can be removed so; one that someone else has used meanwhile stays.
            let _ = std::fs::remove_dir(folder);
        }
    }
    made
}
