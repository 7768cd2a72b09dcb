// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The documented rules for names and paths, on this host: where the documents say that a path must be absolute, it begins with `/`.

use super::error::{Error, Result};
use super::hresult;
use std::path::{Path, PathBuf};

/// `MAX_PATH` counts the zero at the end.
const PATH_MOST: usize = 259;
/// The longest name of a machine.
pub const NAME_MOST: usize = 80;

/// Checks a path argument by the documented rules: not too long, no forbidden character, absolute.
///
/// # Errors
/// `ERROR_BUFFER_OVERFLOW`, `ERROR_INVALID_NAME`, `ERROR_BAD_PATHNAME`.
pub fn check(path: &str) -> Result<PathBuf> {
    if path.chars().count() > PATH_MOST {
        let start: String = path.chars().take(40).collect();
        return Err(Error::new(
            hresult::ERROR_BUFFER_OVERFLOW,
            format!("{start}...: the path has {} characters", path.chars().count()),
        ));
    }
    if let Some(bad) = path.chars().find(|c| "*?<>|\":".contains(*c) || c.is_control()) {
        return Err(Error::new(
            hresult::ERROR_INVALID_NAME,
            format!("{path:?}: {bad:?} is not allowed in a path"),
        ));
    }
    if !Path::new(path).is_absolute() {
        return Err(Error::new(
            hresult::ERROR_BAD_PATHNAME,
            format!("`{path}` is not an absolute path"),
        ));
    }
    Ok(PathBuf::from(path))
}

/// Checks that a file is there: what is missing, it or its folder, gives different codes.
///
/// # Errors
/// `ERROR_PATH_NOT_FOUND`, `ERROR_FILE_NOT_FOUND`.
pub fn must_exist(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    match path.parent() {
        Some(folder) if !folder.is_dir() => Err(Error::of_file(
            hresult::ERROR_PATH_NOT_FOUND,
            folder,
            "there is no such folder",
        )),
        _ => Err(Error::of_file(
            hresult::ERROR_FILE_NOT_FOUND,
            path,
            "there is no such file",
        )),
    }
}

/// Checks a machine's name.
///
/// # Errors
/// `VM_E_CONFIG_NO_NAME`, `VM_E_CONFIG_NAME_TOO_LONG`, `VM_E_CONFIG_NAME_INVALID_CHAR`.
pub fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::new(hresult::VM_E_CONFIG_NO_NAME, "the name is empty"));
    }
    let length = name.chars().count();
    if length > NAME_MOST {
        return Err(Error::new(
            hresult::VM_E_CONFIG_NAME_TOO_LONG,
            format!("the name has {length} characters"),
        ));
    }
    let forbidden = |c: &char| "*?:<>/|\"\\".contains(*c) || c.is_control();
    if let Some(bad) = name.chars().find(forbidden) {
        return Err(Error::new(
            hresult::VM_E_CONFIG_NAME_INVALID_CHAR,
            format!("{name:?}: {bad:?} is not allowed in a name"),
        ));
    }
    // The name becomes a file's.
    if name.starts_with('.') {
        return Err(Error::new(
            hresult::VM_E_CONFIG_NAME_INVALID_CHAR,
            format!("{name:?}: a name may not begin with a dot"),
        ));
    }
    Ok(())
}

/// Names are the same whatever the case.
pub fn same_name(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths() {
        let code = |path: &str| check(path).unwrap_err().result();
        assert_eq!(check("/a b/ä.vhd").unwrap(), Path::new("/a b/ä.vhd"));
        for bad in ["", "a.vhd", "./a", "../a"] {
            assert_eq!(code(bad), hresult::ERROR_BAD_PATHNAME, "{bad}");
        }
        for bad in [
            "/a*", "/a?", "/a<", "/a>", "/a|", "/a\"", "/a:b", "/a\0", "/a\n", "C:\\a",
        ] {
            assert_eq!(code(bad), hresult::ERROR_INVALID_NAME, "{bad:?}");
        }
        let long = format!("/{}", "x".repeat(258));
        assert!(check(&long).is_ok());
        assert_eq!(code(&format!("{long}x")), hresult::ERROR_BUFFER_OVERFLOW);
    }

    #[test]
    fn names() {
        let code = |name: &str| check_name(name).unwrap_err().result();
        check_name("Windows XP (alt)").unwrap();
        check_name(&"ä".repeat(80)).unwrap();
        assert_eq!(code(""), hresult::VM_E_CONFIG_NO_NAME);
        assert_eq!(code("  "), hresult::VM_E_CONFIG_NO_NAME);
        assert_eq!(code(&"ä".repeat(81)), hresult::VM_E_CONFIG_NAME_TOO_LONG);
        for bad in [
            "a*", "a?", "a:", "a<", "a>", "a/b", "a|", "a\"", "a\\b", "a\n", ".", "..", ".a",
        ] {
            assert_eq!(code(bad), hresult::VM_E_CONFIG_NAME_INVALID_CHAR, "{bad:?}");
        }
        assert!(same_name("MyVM", "myvm") && same_name("Ärger", "ärger") && !same_name("a", "b"));
    }
}
