// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a path may look like.

use std::path::{Component, Path, PathBuf};

use super::Refusal;

/// The length of a path, with the zero behind it that the API counts too.
pub const MAX_PATH: usize = 260;
/// Characters that no part of a path may have. The slash is among them in the documents; here it parts folders.
const FORBIDDEN: &str = "*?:<>|\"";

/// The rules for a path that stands alone: short enough, no forbidden character, absolute.
///
/// # Errors
/// [`Refusal::PathTooLong`], [`Refusal::InvalidCharacter`], [`Refusal::NotAbsolute`], in this order.
pub fn check_path(path: &str) -> Result<PathBuf, Refusal> {
    let checked = check_characters(path)?;
    if !checked.is_absolute() {
        return Err(Refusal::NotAbsolute(checked.to_owned()));
    }
    Ok(plain(checked))
}

/// The rules for an image and its parent: a relative path is relative to the folder of the other one.
///
/// # Errors
/// As [`check_path`]; [`Refusal::NotAbsolute`] if both are relative, or one is empty.
pub fn resolve_pair(image: &str, parent: &str) -> Result<(PathBuf, PathBuf), Refusal> {
    let (image, parent) = (check_characters(image)?, check_characters(parent)?);
    for path in [image, parent] {
        if path.as_os_str().is_empty() {
            return Err(Refusal::NotAbsolute(path.to_owned()));
        }
    }
    let beside = |other: &Path, path: &Path| plain(&other.parent().unwrap_or(other).join(path));
    let (image, parent) = match (image.is_absolute(), parent.is_absolute()) {
        (true, true) => (plain(image), plain(parent)),
        (true, false) => (plain(image), beside(image, parent)),
        (false, true) => (beside(parent, image), plain(parent)),
        (false, false) => return Err(Refusal::NotAbsolute(image.to_owned())),
    };
    // Together they may be longer than each was.
    check_length(&image.to_string_lossy())?;
    check_length(&parent.to_string_lossy())?;
    Ok((image, parent))
}

fn check_characters(path: &str) -> Result<&Path, Refusal> {
    check_length(path)?;
    let checked = Path::new(path);
    // Not in what comes before the first folder: some systems have a colon there.
    let parts = checked.components().filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let forbidden = |c: &char| FORBIDDEN.contains(*c) || c.is_control();
    match parts.flat_map(str::chars).find(forbidden) {
        Some(character) => Err(Refusal::InvalidCharacter {
            path: path.to_owned(),
            character,
        }),
        None => Ok(checked),
    }
}

fn check_length(path: &str) -> Result<(), Refusal> {
    let length = path.encode_utf16().count();
    if length >= MAX_PATH {
        return Err(Refusal::PathTooLong {
            path: path.to_owned(),
            length,
        });
    }
    Ok(())
}

/// Without `.`: the parts that say nothing. `..` stays, as what it means depends on links.
fn plain(path: &Path) -> PathBuf {
    path.components().collect()
}
