// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Opening a chain: the leaf, then parent after parent, each found, locked and recognised.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::disk::OpenOptions;
use crate::error::{Error, Kind, Result};
use crate::format::locator::{self, Place};
use crate::format::{spec, time};
use crate::image::sparse::Parent;
use crate::image::{Format, Image};
use crate::storage::{Access, FileSystem};

/// Opens an image and all of its parents; the leaf first.
pub(crate) fn open(path: &Path, options: &OpenOptions) -> Result<Vec<Image>> {
    let files = &*options.file_system;
    let access = if options.read_only {
        Access::Shared
    } else {
        Access::Exclusive
    };
    let leaf = open_image(files, path, access, options.format)?;
    let mut seen = vec![canonical(files, path)?];
    let mut layers = vec![leaf];
    while let Some(child) = layers.last() {
        let Some(parent) = child.sparse().and_then(|sparse| sparse.parent.as_ref()) else {
            break;
        };
        if layers.len() > spec::MAX_CHAIN {
            return Err(Error::new(Kind::ChainTooDeep, &child.path));
        }
        let image = find(files, child, parent, &options.search_paths, &mut seen)?;
        if layers.iter().any(|layer| layer.unique_id() == image.unique_id()) {
            return Err(Error::new(Kind::Loop, &child.path));
        }
        if !options.ignore_parent_timestamp && parent.time_stamp != 0 {
            let modified = files
                .modified(&image.path)
                .map_err(|error| Error::io(error, &image.path, "reading the time of"))?;
            if !time::agree(time::stamp(modified), parent.time_stamp) {
                return Err(Error::new(Kind::ParentModified, &child.path));
            }
        }
        layers.push(image);
    }
    Ok(layers)
}

/// Opens one file as an image.
pub(crate) fn open_image(
    files: &dyn FileSystem,
    path: &Path,
    access: Access,
    format: Option<Format>,
) -> Result<Image> {
    let storage = files
        .open(path, access)
        .map_err(|error| Error::io(error, path, "opening"))?;
    Image::open(path, Arc::from(storage), format)
}

fn canonical(files: &dyn FileSystem, path: &Path) -> Result<PathBuf> {
    files
        .canonical(path)
        .map_err(|error| Error::io(error, path, "finding the full name of"))
}

/// Opens the parent of a child: the first file at one of the places the child names that is the right disk.
fn find(
    files: &dyn FileSystem,
    child: &Image,
    parent: &Parent,
    search_paths: &[PathBuf],
    seen: &mut Vec<PathBuf>,
) -> Result<Image> {
    // Relative places count from where the child really is, not from a link to it.
    let home = canonical(files, &child.path)?;
    let folder = home.parent().unwrap_or(Path::new("."));
    let mut tried = Vec::new();
    let mut other_disk = None;
    for candidate in candidates(parent, folder, search_paths) {
        if tried.contains(&candidate) {
            continue;
        }
        tried.push(candidate.clone());
        let full = match files.canonical(&candidate) {
            Ok(full) => full,
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(Error::io(error, &candidate, "looking for")),
        };
        if seen.contains(&full) {
            return Err(Error::new(Kind::Loop, &child.path));
        }
        let image = match open_image(files, &candidate, Access::Shared, None) {
            Ok(image) => image,
            Err(error) if *error.kind() == Kind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match image.unique_id() {
            Some(id) if id == parent.id => {
                seen.push(full);
                return Ok(image);
            }
            found => {
                let found = found.unwrap_or_default();
                let mismatch = Kind::ParentIdMismatch {
                    expected: parent.id,
                    found,
                };
                other_disk.get_or_insert(mismatch);
            }
        }
    }
    Err(Error::new(
        other_disk.unwrap_or(Kind::ParentNotFound { tried }),
        &child.path,
    ))
}

/// Whether there is nothing that could be the parent; a place of another program's may be an impossible one here.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename
    )
}

/// Where to look, in order: relative places, absolute ones, the header's name beside the child, then the search
/// paths with as much of the relative path as there is, and with the name alone.
fn candidates(parent: &Parent, folder: &Path, search_paths: &[PathBuf]) -> Vec<PathBuf> {
    let header_name = match locator::from_windows(&parent.name) {
        place if place.path().as_os_str().is_empty() => None,
        place => Some(place),
    };
    let places: Vec<&Place> = parent.places.iter().chain(&header_name).collect();
    let mut paths = Vec::new();
    paths.extend(parent.places.iter().filter_map(|place| match place {
        Place::Relative(path) => Some(folder.join(path)),
        Place::Absolute(_) | Place::Elsewhere(_) => None,
    }));
    paths.extend(places.iter().filter_map(|place| match place {
        Place::Absolute(path) => Some(path.clone()),
        Place::Relative(_) | Place::Elsewhere(_) => None,
    }));
    let mut names: Vec<OsString> = Vec::new();
    for name in header_name
        .iter()
        .chain(&parent.places)
        .filter_map(|place| place.path().file_name())
    {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    paths.extend(names.iter().map(|name| folder.join(name)));
    for search in search_paths {
        paths.extend(places.iter().filter_map(|place| match place {
            Place::Relative(path) | Place::Elsewhere(path) => Some(search.join(downward(path))),
            Place::Absolute(_) => None,
        }));
        paths.extend(names.iter().map(|name| search.join(name)));
    }
    paths
}

/// The part of a relative path that leads down.
fn downward(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect()
}
