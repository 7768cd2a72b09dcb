// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The files of a command line, looked at before any is opened: what is to be written must not be what is to be read, and a mistake
//! must not leave new files behind.

use crate::cli::Error;
use crate::host;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

/// What a file is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A file, made anew.
    File,
    /// A socket to listen on.
    Socket,
}

/// Refuses outputs that are inputs, that are named twice, or that cannot be made.
pub fn check(inputs: &[&Path], outputs: &[(Output, &Path)]) -> Result<(), Error> {
    let mut seen = Vec::new();
    for (kind, path) in outputs {
        let wrong = |why: &str| Err(Error::Use(format!("{}: {why}", path.display())));
        let found = std::fs::metadata(path).ok();
        if found.as_ref().is_some_and(Metadata::is_dir) {
            return wrong("a folder cannot be written to; name a file");
        }
        if let Some(found) = &found
            && found.is_file()
            && inputs.iter().any(|input| is_same(input, path))
        {
            return wrong("the machine reads this file, so nothing else can be written there");
        }
        let Some(name) = full_name(path) else {
            return wrong("its folder does not exist");
        };
        match (kind, &found) {
            (Output::Socket, Some(found)) if !host::is_socket(found) => {
                return wrong("a file of that name exists and is no socket");
            }
            // Looks whether it can be written, and changes nothing.
            (Output::File, Some(found)) if found.is_file() => {
                if let Err(error) = std::fs::OpenOptions::new().write(true).open(path) {
                    return wrong(&format!("cannot be written: {error}"));
                }
            }
            _ => {}
        }
        // Several ports may share a device, /dev/null say.
        if found.is_none_or(|found| found.is_file()) {
            if seen.contains(&name) {
                return wrong("it is named twice; each output needs a file of its own");
            }
            seen.push(name);
        }
    }
    Ok(())
}

fn is_same(path: &Path, other: &Path) -> bool {
    match (host::file_id(path), host::file_id(other)) {
        (Ok(one), Ok(two)) => one == two,
        _ => false,
    }
}

/// The one absolute name of a file that need not exist; `None` without its folder.
fn full_name(path: &Path) -> Option<PathBuf> {
    if host::is_device_name(path) {
        return Some(path.to_owned());
    }
    if let Ok(full) = path.canonicalize() {
        return Some(full);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}
