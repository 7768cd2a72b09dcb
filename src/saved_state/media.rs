// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How an image is known again: its name, its length, the time of its last change, and a checksum over its first and last bytes, where the
//! formats keep what they are.
//!
//! The list is text of a fixed length, so that it can be filled in when everything else is on the disk already.

use super::{Error, Result, file};
use crate::host;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Bytes at each end of a file that the checksum covers.
const END: u64 = 64 << 10;
/// Digits that an entry's numbers may have, with their names.
const ENTRY: usize = 200;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    path: PathBuf,
    len: u64,
    /// Seconds and nanoseconds since 1970.
    changed: (u64, u32),
    sum: u32,
}

impl Fingerprint {
    /// What a file is like now.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of(path: &Path) -> Result<Self> {
        let failed = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
        file.rewind().map_err(failed)?;
        // The time of a drive of the host is that of its name in /dev, which each start of the host makes anew.
        let changed = match host::is_drive(&metadata) {
            true => Duration::ZERO,
            false => {
                let changed = metadata.modified().map_err(failed)?;
                changed.duration_since(UNIX_EPOCH).unwrap_or_default()
            }
        };
        let mut ends = Vec::new();
        (&mut file).take(END).read_to_end(&mut ends).map_err(failed)?;
        file.seek(SeekFrom::Start(len.saturating_sub(END)))
            .map_err(failed)?;
        file.take(END).read_to_end(&mut ends).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            len,
            changed: (changed.as_secs(), changed.subsec_nanos()),
            sum: file::checksum(&ends),
        })
    }

    /// Refuses if the file is another one by now.
    ///
    /// # Errors
    /// [`Error::Medium`].
    pub fn check(&self) -> Result<()> {
        let refuse = |what| {
            Err(Error::Medium {
                path: self.path.clone(),
                what,
            })
        };
        match Self::of(&self.path) {
            Ok(now) if now == *self => Ok(()),
            Ok(_) => refuse("the image was changed after the machine was saved"),
            Err(_) => refuse("the image is gone, or cannot be read"),
        }
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes to keep for a list.
    pub fn list_len(files: &[PathBuf]) -> usize {
        let names = files.iter().map(|file| {
            let quoted = serde_json::to_vec(file).map_or(0, |quoted| quoted.len());
            quoted + ENTRY
        });
        names.sum::<usize>() + 2
    }

    /// The list, filled up with blanks.
    ///
    /// # Errors
    /// A name is not Unicode, or the list is longer than what was kept for it.
    pub fn write_list(list: &[Self], len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(list)?;
        if bytes.len() > len {
            return Err(io::Error::other("the images have longer names by now"));
        }
        bytes.resize(len, b' ');
        Ok(bytes)
    }

    /// The list again.
    pub fn read_list(bytes: &[u8]) -> Option<Vec<Self>> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn every_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk \u{fc} '1'.img");
        std::fs::write(&path, [1; 5000]).unwrap();
        let print = Fingerprint::of(&path).unwrap();
        let room = Fingerprint::list_len(std::slice::from_ref(&path));
        let list = Fingerprint::write_list(std::slice::from_ref(&print), room).unwrap();
        assert_eq!(list.len(), room);
        let [print] = Fingerprint::read_list(&list).unwrap().try_into().unwrap();
        assert!(print.check().is_ok());

        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let set = |to: SystemTime| {
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(to)
                .unwrap();
        };
        set(modified + Duration::from_nanos(1000));
        assert!(print.check().is_err(), "another time");
        set(modified);
        assert!(print.check().is_ok());
        std::fs::write(&path, [2; 5000]).unwrap();
        set(modified);
        assert!(print.check().is_err(), "other bytes");
        std::fs::write(&path, [1; 5001]).unwrap();
        set(modified);
        assert!(print.check().is_err(), "another length");
        std::fs::remove_file(&path).unwrap();
        assert!(print.check().unwrap_err().to_string().contains("gone"));
    }
}
