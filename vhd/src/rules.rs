// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The rules of the Virtual PC API for making images, and the ways in which it refuses.
//!
//! The crate's own functions ([`crate::create`]) ask only for what the format needs. The API's methods ask for more: what
//! a path may look like, how much space must be free, in which state the application may be. All of that is checked
//! before anything is made; what is left to do then can run as a task.
//!
//! Source: Windows Virtual PC reference, `IVMVirtualPC::CreateDifferencingVirtualHardDisk`, `CreateDynamicVirtualHardDisk` and
//! `CreateFixedVirtualHardDisk`. Which result code belongs to a [`Refusal`] is the object model's business.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::create::{self, CreateOptions};
use crate::disk::{Disk, OpenOptions};
use crate::error::{Error, Kind};
use crate::format::spec;
use crate::image::Format;
use crate::storage::{FileSystem, Volume};
use crate::task::Task;

mod path;
mod refusal;

pub use path::{MAX_PATH, check_path, resolve_pair};
pub use refusal::{Argument, Refusal};

/// A megabyte, as the API counts sizes.
const MEGABYTE: u64 = 1 << 20;
/// Bytes that must be free on the volume of an image that grows.
pub const FREE_AT_LEAST: u64 = 8 * MEGABYTE;

/// The state of the application whose object is asked. `vpc disk` is no such application: it makes images without
/// these rules, and without a hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Application {
    /// It serves calls.
    Running,
    /// It has begun to shut down.
    ShuttingDown,
    /// It serves calls, but the host has no hardware virtualization that could be used.
    WithoutVirtualization,
}

/// The methods that make images.
#[derive(Debug)]
pub struct Factory {
    application: Application,
    files: Arc<dyn FileSystem>,
}

/// An image that may be made: all rules are kept.
#[derive(Debug)]
#[must_use = "nothing is made before `create` or `start`"]
pub struct Plan {
    image: PathBuf,
    content: Content,
    files: Arc<dyn FileSystem>,
}

#[derive(Debug)]
enum Content {
    Fixed(u64),
    Dynamic(u64),
    Differencing(PathBuf),
}

impl Factory {
    /// For an application in this state, on this file system.
    #[must_use]
    pub fn new(application: Application, files: Arc<dyn FileSystem>) -> Self {
        Self { application, files }
    }

    /// `CreateDifferencingVirtualHardDisk`: one of the paths may be relative, to the folder of the other.
    ///
    /// # Errors
    /// As documented for the method; nothing was changed then.
    pub fn differencing(&self, image: Option<&str>, parent: Option<&str>) -> Result<Plan, Refusal> {
        let image = image.ok_or(Refusal::Missing(Argument::ImagePath))?;
        let parent = parent.ok_or(Refusal::Missing(Argument::ParentPath))?;
        self.check_application()?;
        let (image, parent) = resolve_pair(image, parent)?;
        let opening = OpenOptions::new()
            .read_only(true)
            .file_system(Arc::clone(&self.files));
        let disk = Disk::open(&parent, &opening)?;
        if disk.format() == Format::Raw {
            return Err(Error::new(Kind::WrongFormat, &parent).into());
        }
        let size = disk.len();
        disk.close()?;
        self.plan(image, size, Content::Differencing(parent))
    }

    /// `CreateDynamicVirtualHardDisk`: the size is in megabytes.
    ///
    /// # Errors
    /// As documented for the method; nothing was changed then.
    pub fn dynamic(&self, image: Option<&str>, size: i32) -> Result<Plan, Refusal> {
        let (image, size) = self.sized(image, size)?;
        self.plan(image, size, Content::Dynamic(size))
    }

    /// `CreateFixedVirtualHardDisk`: the size is in megabytes.
    ///
    /// # Errors
    /// As documented for the method; nothing was changed then.
    pub fn fixed(&self, image: Option<&str>, size: i32) -> Result<Plan, Refusal> {
        let (image, size) = self.sized(image, size)?;
        self.plan(image, size, Content::Fixed(size))
    }

    fn sized(&self, image: Option<&str>, size: i32) -> Result<(PathBuf, u64), Refusal> {
        let image = image.ok_or(Refusal::Missing(Argument::ImagePath))?;
        let megabytes = u64::try_from(size).ok().filter(|&size| size > 0);
        let megabytes = megabytes.ok_or(Refusal::SizeNotPositive(size))?;
        self.check_application()?;
        Ok((check_path(image)?, megabytes * MEGABYTE))
    }

    fn check_application(&self) -> Result<(), Refusal> {
        match self.application {
            Application::Running => Ok(()),
            Application::ShuttingDown => Err(Refusal::ShuttingDown),
            Application::WithoutVirtualization => Err(Refusal::VirtualizationDisabled),
        }
    }

    /// The checks that all kinds of images share.
    fn plan(&self, image: PathBuf, size: u64, content: Content) -> Result<Plan, Refusal> {
        if image.file_name().is_none() {
            return Err(Refusal::NotAbsolute(image));
        }
        if size > spec::MAX_SIZE {
            return Err(Refusal::SizeTooLarge(size));
        }
        if size < spec::MIN_SIZE {
            return Err(Refusal::SizeTooSmall(size));
        }
        if self.files.canonical(&image).is_ok() {
            return Err(Refusal::AlreadyExists(image));
        }
        let (file, needed) = match content {
            Content::Fixed(size) => (size + spec::SECTOR, size + spec::SECTOR),
            Content::Dynamic(_) | Content::Differencing(_) => (create::full_file(size), FREE_AT_LEAST),
        };
        if let Some(volume) = self.volume(&image)? {
            if volume.optical {
                return Err(Refusal::OpticalDrive(image));
            }
            if let Some(largest) = volume.largest_file.filter(|&largest| file > largest) {
                return Err(Refusal::FileTooLarge { image, file, largest });
            }
            if volume.free < needed {
                let free = volume.free;
                return Err(Refusal::DiskFull { image, needed, free });
            }
        }
        let files = Arc::clone(&self.files);
        Ok(Plan {
            image,
            content,
            files,
        })
    }

    /// The volume that the image's folder is on, or will be.
    fn volume(&self, image: &Path) -> Result<Option<Volume>, Refusal> {
        for folder in image.ancestors().skip(1) {
            match self.files.volume(folder) {
                Ok(volume) => return Ok(volume),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                    return Err(Refusal::PathNotFound(image.to_owned()));
                }
                Err(error) => return Err(Error::io(error, folder, "asking for the space of").into()),
            }
        }
        Ok(None)
    }
}

impl Plan {
    /// The new image's path, which is absolute.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// Makes the image, and the folder that it is to be in. When that fails, neither is there.
    ///
    /// # Errors
    /// What has changed since the rules were checked, or what the host says.
    pub fn create(self) -> Result<(), Refusal> {
        Ok(self.make()?)
    }

    /// As [`Plan::create`], as a task.
    ///
    /// # Errors
    /// When the host has no thread left.
    pub fn start(self) -> Result<Task<()>, Refusal> {
        let description = format!("Creating `{}`", self.image.display());
        let image = self.image.clone();
        Task::start(description, move |_| self.make())
            .map_err(|error| Error::io(error, &image, "starting to create").into())
    }

    fn make(self) -> crate::Result<()> {
        let folder = self.image.parent().unwrap_or(Path::new("/"));
        let made = self.files.create_folders(folder).map_err(|error| {
            Error::io(error, &self.image, "making the folder of").with_kind(Kind::FolderNotFound)
        })?;
        let options = CreateOptions::new().file_system(Arc::clone(&self.files));
        let created = match &self.content {
            Content::Fixed(size) => create::fixed(&self.image, *size, &options),
            Content::Dynamic(size) => create::dynamic(&self.image, *size, &options),
            Content::Differencing(parent) => create::differencing(&self.image, parent, &options),
        };
        if created.is_err() {
            for folder in made.iter().rev() {
                // One that someone else uses by now stays.
                let _ = self.files.remove_folder(folder);
            }
        }
        created
    }
}
