// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Parent locators: how a path of this host becomes their text, and how their text becomes paths to try here.

use std::path::{Component, MAIN_SEPARATOR, Path, PathBuf};

use super::spec;

/// A path out of a parent locator, in the host's notation as far as it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// From the child's folder.
    Relative(PathBuf),
    /// From the root.
    Absolute(PathBuf),
    /// From a drive that this host does not have; only the last part can be looked for elsewhere.
    Elsewhere(PathBuf),
}

impl Place {
    /// The path without saying what it starts from.
    pub fn path(&self) -> &Path {
        match self {
            Self::Relative(path) | Self::Absolute(path) | Self::Elsewhere(path) => path,
        }
    }
}

/// Whether this library reads locators of this kind.
pub fn is_known(code: [u8; 4]) -> bool {
    matches!(
        code,
        spec::LOCATOR_W2RU
            | spec::LOCATOR_W2KU
            | spec::LOCATOR_MACX
            | spec::LOCATOR_WI2R
            | spec::LOCATOR_WI2K
    )
}

/// Reads a locator's data. `None` when it holds no path.
pub fn decode(code: [u8; 4], data: &[u8]) -> Option<Place> {
    let place = match code {
        spec::LOCATOR_W2RU | spec::LOCATOR_W2KU => from_windows(&utf16_le(data)),
        // Eight-bit text has no code page with it; Latin-1 keeps at least the ASCII of it.
        spec::LOCATOR_WI2R | spec::LOCATOR_WI2K => from_windows(
            &data
                .iter()
                .take_while(|&&byte| byte != 0)
                .map(|&byte| char::from(byte))
                .collect::<String>(),
        ),
        spec::LOCATOR_MACX => from_url(data)?,
        _ => return None,
    };
    (!place.path().as_os_str().is_empty()).then_some(place)
}

/// A Windows path as a path of this host. Other systems' programs write slashes too, so both separate.
pub fn from_windows(text: &str) -> Place {
    let on_windows = MAIN_SEPARATOR == '\\';
    let text = text.strip_prefix(r"\\?\").unwrap_or(text);
    let mut characters = text.chars();
    let drive = characters
        .next()
        .is_some_and(|letter| letter.is_ascii_alphabetic())
        && characters.next() == Some(':');
    let separated = |text: &str| {
        text.replace(
            if on_windows { '/' } else { '\\' },
            if on_windows { "\\" } else { "/" },
        )
    };
    let rooted = text.starts_with(['\\', '/']);
    match (drive, rooted) {
        (true, _) if on_windows => Place::Absolute(separated(text).into()),
        (true, _) => {
            let below = text.get(2..).unwrap_or_default();
            Place::Elsewhere(separated(below).trim_start_matches('/').into())
        }
        (false, true) => Place::Absolute(separated(text).into()),
        (false, false) => Place::Relative(plain(&separated(text))),
    }
}

/// Without leading `./`, which only says that the path is relative.
fn plain(text: &str) -> PathBuf {
    Path::new(text)
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect()
}

fn utf16_le(data: &[u8]) -> String {
    let units = data
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&pair| u16::from_le_bytes(pair))
        .take_while(|&unit| unit != 0);
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// `file://localhost/path` and `file:///path`, with `%` escapes.
fn from_url(data: &[u8]) -> Option<Place> {
    let data = data.split(|&byte| byte == 0).next().unwrap_or_default();
    let after_scheme = data.strip_prefix(b"file://")?;
    let path = after_scheme.get(after_scheme.iter().position(|&byte| byte == b'/')?..)?;
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let escaped = (byte == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match escaped {
            Some(value) => {
                bytes.push(value);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => bytes.push(byte),
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // A drive stands behind the first slash: `/C:/folder`. Without one the text is a path as it is, and may hold
    // backslashes as any other character.
    match from_windows(text.strip_prefix('/').unwrap_or(&text)) {
        Place::Relative(_) => Some(Place::Absolute(text.into())),
        with_drive => Some(with_drive),
    }
}

/// The text of the locators for a parent, by the absolute names of the child's folder and of the parent.
///
/// `None` when the path has characters that no locator can hold.
pub fn encode(child_folder: &Path, parent: &Path) -> Option<Vec<([u8; 4], Vec<u8>)>> {
    let mut locators = Vec::new();
    if let Some(relative) = relative(child_folder, parent) {
        locators.push((spec::LOCATOR_W2RU, to_utf16_le(&windows(&relative)?)));
    }
    let absolute = parent.to_str()?.strip_prefix(r"\\?\").unwrap_or(parent.to_str()?);
    locators.push((spec::LOCATOR_W2KU, to_utf16_le(&windows(Path::new(absolute))?)));
    locators.push((spec::LOCATOR_MACX, to_url(absolute)));
    Some(locators)
}

/// The way from one folder to a file, if there is one: not from one drive to another.
fn relative(folder: &Path, file: &Path) -> Option<PathBuf> {
    let (mut from, mut to) = (folder.components().peekable(), file.components().peekable());
    if from.peek() != to.peek() {
        return None;
    }
    while from.peek().is_some() && from.peek() == to.peek() {
        from.next();
        to.next();
    }
    let mut way: PathBuf = from.map(|_| Component::ParentDir).collect();
    if way.as_os_str().is_empty() {
        way.push(Component::CurDir);
    }
    way.extend(to);
    Some(way)
}

fn windows(path: &Path) -> Option<String> {
    Some(path.to_str()?.replace('/', "\\"))
}

fn to_utf16_le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn to_url(absolute: &str) -> Vec<u8> {
    let slashes = if MAIN_SEPARATOR == '\\' {
        absolute.replace('\\', "/")
    } else {
        absolute.to_owned()
    };
    let mut url = String::from("file://localhost");
    if !slashes.starts_with('/') {
        url.push('/');
    }
    for byte in slashes.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~:".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url.into_bytes()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u8> {
        to_utf16_le(text)
    }

    #[test]
    fn windows_paths_are_understood_here() {
        assert_eq!(from_windows(r".\base.vhd"), Place::Relative("base.vhd".into()));
        assert_eq!(
            from_windows(r"..\bases\base.vhd"),
            Place::Relative("../bases/base.vhd".into())
        );
        assert_eq!(from_windows("./base.vhd"), Place::Relative("base.vhd".into()));
        assert_eq!(
            from_windows(r"C:\vm\base.vhd"),
            Place::Elsewhere("vm/base.vhd".into())
        );
        assert_eq!(
            from_windows(r"\vm\base.vhd"),
            Place::Absolute("/vm/base.vhd".into())
        );
        assert_eq!(
            from_windows(r"\\?\D:\base.vhd"),
            Place::Elsewhere("base.vhd".into())
        );
    }

    #[test]
    fn every_kind_of_locator_is_read() {
        let base = Some(Place::Relative("base.vhd".into()));
        assert_eq!(decode(*b"W2ru", &wide(".\\base.vhd\0\0junk")), base);
        assert_eq!(decode(*b"Wi2r", b".\\base.vhd\0junk"), base);
        assert_eq!(
            decode(*b"W2ku", &wide("C:\\a b\\base.vhd")),
            Some(Place::Elsewhere("a b/base.vhd".into()))
        );
        assert_eq!(
            decode(*b"Wi2k", b"C:\\base.vhd"),
            Some(Place::Elsewhere("base.vhd".into()))
        );
        let absolute = Some(Place::Absolute("/vm/a b.vhd".into()));
        assert_eq!(decode(*b"MacX", b"file://localhost/vm/a%20b.vhd"), absolute);
        assert_eq!(decode(*b"MacX", b"file:///vm/a%20b.vhd\0"), absolute);
        assert_eq!(
            decode(*b"MacX", b"file:///C:/vm/b.vhd"),
            Some(Place::Elsewhere("vm/b.vhd".into()))
        );
        assert_eq!(decode(*b"MacX", b"http://localhost/vm"), None);
        assert_eq!(
            decode(*b"MacX", b"file:///a%zz%4"),
            Some(Place::Absolute("/a%zz%4".into()))
        );
        assert_eq!(decode(*b"W2ru", b""), None);
        assert_eq!(
            decode(*b"W2ru", &[0x00, 0xd8, 0x41]),
            Some(Place::Relative("\u{fffd}".into()))
        );
        assert_eq!(decode(*b"Mac ", b"alias"), None);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let parent = Path::new("/vm/bases/größe \\ 1.vhd");
        let locators = encode(Path::new("/vm/children"), parent).unwrap();
        assert_eq!(locators[0], (*b"W2ru", wide(r"..\bases\größe \ 1.vhd")));
        assert_eq!(locators[1].0, *b"W2ku");
        // Only the URL keeps a backslash that is part of a name.
        assert_eq!(
            decode(locators[2].0, &locators[2].1),
            Some(Place::Absolute(parent.into()))
        );
        let near = encode(Path::new("/vm"), Path::new("/vm/base.vhd")).unwrap();
        assert_eq!(near[0], (*b"W2ru", wide(r".\base.vhd")));
    }
}
