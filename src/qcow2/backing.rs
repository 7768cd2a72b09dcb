// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which file is behind an image, and whether it may be read.
//!
//! An image can name any file that there is. One of unknown origin could have a private file copied into a disk that its owner gets to
//! see. So only files in the image's own folder, and in those that the user names, are read; links are followed before that is decided.

use super::Error;
use std::path::{Path, PathBuf};

/// Finds the file that `image` names: where it says, else by its name alone in the folder of the image and in `folders`.
pub(super) fn find(image: &Path, name: &str, folders: &[PathBuf]) -> Result<PathBuf, Error> {
    let refuse = |what: String| Error::Backing {
        path: image.to_owned(),
        name: printable(name),
        what,
    };
    // `nbd://...`, `json:...` and the like; QEMU looks for the colon in front of the first slash.
    let scheme = name.split('/').next().is_some_and(|start| start.contains(':'));
    let named = Path::new(name);
    let drive = cfg!(windows) && named.is_absolute();
    if name.is_empty() || (scheme && !drive) {
        return Err(refuse(
            "is no file: convert the image with `qemu-img convert` first".to_owned(),
        ));
    }
    let full = image.canonicalize().map_err(|e| Error::host(image, e))?;
    let home = full.parent().unwrap_or(Path::new("/"));
    let allowed: Vec<PathBuf> = std::iter::once(home.to_owned())
        .chain(folders.iter().filter_map(|folder| folder.canonicalize().ok()))
        .collect();
    let file_name = named.file_name().map(Path::new);
    let elsewhere = allowed
        .iter()
        .filter_map(|folder| file_name.map(|name| folder.join(name)));
    let mut forbidden = None;
    for candidate in std::iter::once(home.join(named)).chain(elsewhere) {
        let Ok(found) = candidate.canonicalize() else {
            continue;
        };
        if allowed.iter().any(|folder| found.starts_with(folder)) {
            return Ok(found);
        }
        forbidden.get_or_insert(found);
    }
    Err(refuse(match forbidden {
        Some(found) => {
            let folder = found.parent().unwrap_or(Path::new("/"));
            format!(
                "is outside of the image's folder and was not read: if it is the right one, allow its folder with `--search {}`",
                folder.display()
            )
        }
        None => "was not found: put it back, or name its folder with --search".to_owned(),
    }))
}

/// A name out of an image, fit for a terminal.
pub(super) fn printable(name: &str) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    name.chars().take(256).map(shown).collect()
}
