// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a port's characters go, as a user writes it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a port's characters go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// Nowhere; nothing comes from there.
    Null,
    /// The terminal, or whatever standard input and output are.
    Stdio,
    /// A file, which is made anew; nothing comes from there.
    File(PathBuf),
    /// A new pseudo-terminal, and a symbolic link to it if a path is given.
    Pty(Option<PathBuf>),
    /// A Unix socket that takes one client at a time.
    Unix(PathBuf),
}

/// A specification that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The kind is unknown.
    #[error("unknown kind '{0}'; the kinds are stdio, null, file:PATH, pty, pty:LINK and unix:PATH")]
    UnknownKind(String),
    /// The kind needs a path.
    #[error("'{0}' needs a path: {0}:PATH")]
    MissingPath(&'static str),
    /// The kind takes no path.
    #[error("'{0}' takes no path")]
    UnexpectedPath(&'static str),
}

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (kind, path) = match text.split_once(':') {
            Some((kind, path)) => (kind, Some(path)),
            None => (text, None),
        };
        let needed = |kind| {
            path.filter(|path| !path.is_empty())
                .map(PathBuf::from)
                .ok_or(SpecError::MissingPath(kind))
        };
        let alone = |kind, spec| match path {
            None => Ok(spec),
            Some(_) => Err(SpecError::UnexpectedPath(kind)),
        };
        match kind {
            "null" => alone("null", Self::Null),
            "stdio" => alone("stdio", Self::Stdio),
            "file" => needed("file").map(Self::File),
            "pty" if path.is_none() => Ok(Self::Pty(None)),
            "pty" => needed("pty").map(|link| Self::Pty(Some(link))),
            "unix" => needed("unix").map(Self::Unix),
            _ => Err(SpecError::UnknownKind(kind.to_owned())),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Stdio => f.write_str("stdio"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Pty(None) => f.write_str("pty"),
            Self::Pty(Some(link)) => write!(f, "pty:{}", link.display()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_and_prints() {
        for (text, spec) in [
            ("null", Spec::Null),
            ("stdio", Spec::Stdio),
            ("file:boot.log", Spec::File("boot.log".into())),
            ("pty", Spec::Pty(None)),
            ("pty:/run/com1", Spec::Pty(Some("/run/com1".into()))),
            // Only the first colon counts.
            ("unix:a:b", Spec::Unix("a:b".into())),
        ] {
            assert_eq!(text.parse(), Ok(spec.clone()));
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, error) in [
            ("", SpecError::UnknownKind(String::new())),
            ("tcp:1.2.3.4:5", SpecError::UnknownKind("tcp".into())),
            ("STDIO", SpecError::UnknownKind("STDIO".into())),
            ("file", SpecError::MissingPath("file")),
            ("file:", SpecError::MissingPath("file")),
            ("unix:", SpecError::MissingPath("unix")),
            ("pty:", SpecError::MissingPath("pty")),
            ("stdio:x", SpecError::UnexpectedPath("stdio")),
            ("null:", SpecError::UnexpectedPath("null")),
        ] {
            assert_eq!(text.parse::<Spec>(), Err(error), "{text}");
        }
    }
}
