// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The file of a saved state: a header, records, and a last record that makes it whole.
//!
//! | bytes | header |
//! | --- | --- |
//! | 8 | `VPCSTATE` |
//! | 4 | version |
//! | 4 | CRC-32C of the 12 bytes before |
//!
//! | bytes | record |
//! | --- | --- |
//! | 4 | [`Kind`] |
//! | 4 | length of the content |
//! | 8 | number: of a piece of memory, else 0 |
//! | 4 | CRC-32C of the content |
//! | 4 | CRC-32C of the 20 bytes before |
//! | … | content |
//!
//! All numbers are little-endian. The last record's content is the number of records before it and the CRC-32C of the first 20 bytes of all their headers in order:
//! so nothing can be missing, doubled or exchanged. Nothing follows it.

use super::{Error, Result};
use crc::{CRC_32_ISCSI, Crc, Table};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const MAGIC: &[u8; 8] = b"VPCSTATE";
/// The version of the format, and of what is in it: a state of another version is not read.
pub const VERSION: u32 = 1;
const HEADER: usize = 16;
const RECORD: usize = 24;
const LAST: usize = 12;
/// The longest content of a record.
const LONGEST: u32 = 64 << 20;
/// The longest that a compressed part may become.
const PART: usize = 256 << 20;

const CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// CRC-32C.
pub fn checksum(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// The configuration file, compressed.
    Configuration = 1,
    /// [`super::Description`], as JSON, compressed.
    Description = 2,
    /// The chips, as JSON, compressed.
    Chips = 3,
    /// The processors, as JSON, compressed.
    Processors = 4,
    /// The rest of the hypervisor's state, as JSON, compressed.
    Hypervisor = 5,
    /// A piece of memory, compressed.
    Ram = 6,
    /// How the images are known again, as JSON.
    Media = 7,
    /// The end.
    Last = 8,
}

impl Kind {
    fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Configuration,
            2 => Self::Description,
            3 => Self::Chips,
            4 => Self::Processors,
            5 => Self::Hypervisor,
            6 => Self::Ram,
            7 => Self::Media,
            8 => Self::Last,
            _ => return None,
        })
    }
}

fn record(kind: Kind, number: u64, content: &[u8]) -> [u8; RECORD] {
    let mut header = [0; RECORD];
    header[..4].copy_from_slice(&(kind as u32).to_le_bytes());
    header[4..8].copy_from_slice(&(content.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&number.to_le_bytes());
    header[16..20].copy_from_slice(&checksum(content).to_le_bytes());
    let sum = checksum(&header[..20]);
    header[20..].copy_from_slice(&sum.to_le_bytes());
    header
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}

/// A file that is being written under another name. Dropping it removes it.
#[derive(Debug)]
pub struct Writer {
    file: Option<BufWriter<File>>,
    draft: PathBuf,
    path: PathBuf,
    at: u64,
    headers: Vec<[u8; RECORD]>,
}

impl Writer {
    /// Begins the file that will be `path`. A draft that a killed process left there goes.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".draft");
        let draft = PathBuf::from(name);
        // One that was left behind has whatever rights it was given, and may be a link.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&draft, error)),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&draft).map_err(|error| io_error(&draft, error))?;
        let mut this = Self {
            file: Some(BufWriter::with_capacity(1 << 20, file)),
            draft,
            path: path.to_owned(),
            at: 0,
            headers: Vec::new(),
        };
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let sum = checksum(&header[..12]);
        header[12..].copy_from_slice(&sum.to_le_bytes());
        this.put(&header)?;
        Ok(this)
    }

    /// An error of this file.
    pub(super) fn failed(&self, error: io::Error) -> Error {
        io_error(&self.path, error)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let done = match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        done.map_err(|error| self.failed(error))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// A record as it is.
    pub(super) fn stored(&mut self, kind: Kind, number: u64, content: &[u8]) -> Result<()> {
        let header = record(kind, number, content);
        self.put(&header)?;
        self.put(content)?;
        self.headers.push(header);
        Ok(())
    }

    /// A record whose content is compressed.
    pub(super) fn compressed(&mut self, kind: Kind, number: u64, content: &[u8]) -> Result<()> {
        let packed = zstd::bulk::compress(content, 1).map_err(|error| self.failed(error))?;
        self.stored(kind, number, &packed)
    }

    /// A record of blanks, to be [filled](Self::fill) in later: where it begins, and its length.
    pub(super) fn reserve(&mut self, kind: Kind, len: usize) -> Result<(u64, usize)> {
        let at = self.at;
        self.stored(kind, 0, &vec![b' '; len])?;
        Ok((at, len))
    }

    /// Writes what stands at the end, to have room for it; what is written next takes its place.
    pub(super) fn reserve_end(&mut self) -> Result<()> {
        let (at, records) = (self.at, self.headers.len());
        self.stored(Kind::Last, 0, &[0; LAST])?;
        self.headers.truncate(records);
        self.seek(at)
    }

    /// Writes the content of a record that was reserved at `at`.
    pub(super) fn fill(&mut self, at: u64, content: &[u8]) -> Result<()> {
        let header = record(Kind::Media, 0, content);
        let place = self
            .headers
            .iter_mut()
            .find(|header| header[..4] == (Kind::Media as u32).to_le_bytes());
        if let Some(place) = place {
            *place = header;
        }
        let end = self.at;
        let mut all = header.to_vec();
        all.extend_from_slice(content);
        self.seek(at)?;
        self.put(&all)?;
        self.seek(end)
    }

    fn seek(&mut self, to: u64) -> Result<()> {
        let done = match &mut self.file {
            Some(file) => file.seek(SeekFrom::Start(to)),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        self.at = done.map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// Makes what is written durable.
    pub(super) fn sync(&mut self) -> Result<()> {
        let done = match &mut self.file {
            Some(file) => file.flush().and_then(|()| file.get_ref().sync_all()),
            None => Ok(()),
        };
        done.map_err(|error| self.failed(error))
    }

    /// Makes it whole and durable, and gives it its name.
    pub(super) fn finish(mut self) -> Result<()> {
        let mut last = [0; LAST];
        last[..8].copy_from_slice(&(self.headers.len() as u64).to_le_bytes());
        let mut sum = CRC.digest();
        // Without their own checksums, behind which each sum is the same.
        self.headers.iter().for_each(|header| sum.update(&header[..20]));
        last[8..].copy_from_slice(&sum.finalize().to_le_bytes());
        self.stored(Kind::Last, 0, &last)?;
        self.sync()?;
        self.file = None;
        let renamed = fs::rename(&self.draft, &self.path);
        renamed
            .and_then(|()| sync_folder(&self.path))
            .map_err(|error| self.failed(error))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Once it has its name there is nothing here any more.
        self.file = None;
        let _ = fs::remove_file(&self.draft);
    }
}

/// Makes a name, or that it has gone, durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Record {
    kind: Kind,
    number: u64,
    at: u64,
    len: u32,
    sum: u32,
}

/// A whole file whose records have been found, and whose contents are checked when they are read.
#[derive(Debug)]
pub struct Reader {
    file: Mutex<File>,
    path: PathBuf,
    records: Vec<Record>,
}

impl Reader {
    /// Opens a file and walks through its records.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |error| io_error(path, error);
        let damaged = |what: &str| Error::Damaged {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        let mut file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let mut header = [0; HEADER];
        let foreign = || Error::Foreign {
            path: path.to_owned(),
        };
        file.read_exact(&mut header).map_err(|_| foreign())?;
        let [m @ .., v0, v1, v2, v3, s0, s1, s2, s3] = header;
        if m != *MAGIC {
            return Err(foreign());
        }
        if checksum(&header[..12]) != u32::from_le_bytes([s0, s1, s2, s3]) {
            return Err(damaged("its header"));
        }
        let found = u32::from_le_bytes([v0, v1, v2, v3]);
        if found != VERSION {
            return Err(Error::Version {
                path: path.to_owned(),
                found,
                known: VERSION,
            });
        }
        let mut records = Vec::new();
        let (mut at, mut sum, mut last) = (HEADER as u64, CRC.digest(), None);
        while last.is_none() {
            file.seek(SeekFrom::Start(at)).map_err(failed)?;
            let mut header = [0; RECORD];
            file.read_exact(&mut header)
                .map_err(|_| damaged("it ends before its end"))?;
            let word = |from: usize| {
                u32::from_le_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]])
            };
            let kind = Kind::from_number(word(0)).filter(|_| checksum(&header[..20]) == word(20));
            let kind = kind.filter(|_| word(4) <= LONGEST);
            let Some(kind) = kind else {
                return Err(damaged(&format!("the record at {at}")));
            };
            let record = Record {
                kind,
                number: u64::from(word(8)) | u64::from(word(12)) << 32,
                at: at + RECORD as u64,
                len: word(4),
                sum: word(16),
            };
            at = record.at + u64::from(record.len);
            if at > len {
                return Err(damaged("it ends before its end"));
            }
            if kind == Kind::Last {
                last = Some(record);
            } else {
                sum.update(&header[..20]);
                records.push(record);
            }
        }
        let this = Self {
            file: Mutex::new(file),
            path: path.to_owned(),
            records,
        };
        let mut wanted = [0; LAST];
        wanted[..8].copy_from_slice(&(this.records.len() as u64).to_le_bytes());
        wanted[8..].copy_from_slice(&sum.finalize().to_le_bytes());
        match last.map(|last| this.content(last)).transpose()? {
            Some(content) if content == wanted && at == len => Ok(this),
            _ => Err(this.damaged("its end")),
        }
    }

    /// An error of this file.
    pub(super) fn damaged(&self, what: &str) -> Error {
        Error::Damaged {
            path: self.path.clone(),
            what: what.to_owned(),
        }
    }

    fn content(&self, record: Record) -> Result<Vec<u8>> {
        let mut content = vec![0; record.len as usize];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file
            .seek(SeekFrom::Start(record.at))
            .and_then(|_| file.read_exact(&mut content));
        read.map_err(|error| io_error(&self.path, error))?;
        if checksum(&content) != record.sum {
            return Err(self.damaged(&format!("the content at {}", record.at)));
        }
        Ok(content)
    }

    fn one(&self, kind: Kind) -> Result<Record> {
        let mut found = self.records.iter().filter(|record| record.kind == kind);
        match (found.next(), found.next()) {
            (Some(record), None) => Ok(*record),
            _ => Err(self.damaged(&format!("there is not one record for {kind:?}"))),
        }
    }

    /// The content of the only record of a kind.
    pub(super) fn stored(&self, kind: Kind) -> Result<Vec<u8>> {
        self.content(self.one(kind)?)
    }

    /// The same, which was compressed.
    pub(super) fn compressed(&self, kind: Kind) -> Result<Vec<u8>> {
        let packed = self.stored(kind)?;
        let mut content = Vec::new();
        let unpacked = zstd::stream::Decoder::new(packed.as_slice())
            .and_then(|decoder| decoder.take(PART as u64 + 1).read_to_end(&mut content));
        match unpacked {
            Ok(len) if len <= PART => Ok(content),
            _ => Err(self.damaged(&format!("the content for {kind:?}"))),
        }
    }

    /// The numbers of the records of a kind, in their order.
    pub(super) fn numbers(&self, kind: Kind) -> Vec<(usize, u64)> {
        let all = self.records.iter().enumerate();
        all.filter(|(_, record)| record.kind == kind)
            .map(|(at, record)| (at, record.number))
            .collect()
    }

    /// The content of the record at a place that [`numbers`](Self::numbers) told.
    pub(super) fn nth(&self, at: usize) -> Result<Vec<u8>> {
        match self.records.get(at) {
            Some(record) => self.content(*record),
            None => Err(self.damaged("a record")),
        }
    }

    pub(super) fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(|error| io_error(&self.path, error))?;
        // Not every volume can: then a power cut may bring the file back, which is found out by what the images are like.
        let _ = sync_folder(&self.path);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn made(path: &Path) -> Vec<u8> {
        let mut writer = Writer::create(path).unwrap();
        writer.compressed(Kind::Chips, 0, &[7; 10_000]).unwrap();
        let (at, len) = writer.reserve(Kind::Media, 20).unwrap();
        writer.stored(Kind::Ram, 3, b"three").unwrap();
        writer.stored(Kind::Ram, 1, b"one").unwrap();
        writer.fill(at, &vec![b'x'; len]).unwrap();
        assert!(!path.exists(), "it is no state before it is whole");
        writer.finish().unwrap();
        std::fs::read(path).unwrap()
    }

    /// Reads everything.
    fn read(path: &Path) -> Result<Vec<u8>> {
        let reader = Reader::open(path)?;
        let mut all = reader.compressed(Kind::Chips)?;
        all.extend(reader.stored(Kind::Media)?);
        for (at, number) in reader.numbers(Kind::Ram) {
            all.extend(number.to_le_bytes());
            all.extend(reader.nth(at)?);
        }
        Ok(all)
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        made(&path);
        let all = read(&path).unwrap();
        assert_eq!(all[..10_000], [7; 10_000]);
        assert_eq!(all[10_000..10_020], [b'x'; 20]);
        assert_eq!(all[10_020..], *b"\x03\0\0\0\0\0\0\0three\x01\0\0\0\0\0\0\0one");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_every_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let good = made(&path);
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            std::fs::write(&path, &bad).unwrap();
            assert!(read(&path).is_err(), "bit {at}");
        }
        for len in 0..good.len() {
            std::fs::write(&path, &good[..len]).unwrap();
            assert!(read(&path).is_err(), "{len} bytes");
        }
        std::fs::write(&path, [&good[..], b"\0"].concat()).unwrap();
        assert!(read(&path).is_err(), "a byte more");
        std::fs::write(&path, &good).unwrap();
        assert!(read(&path).is_ok());
    }

    #[test]
    fn another_version_is_called_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut bytes = made(&path);
        bytes[8] = 2;
        let sum = checksum(&bytes[..12]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(read(&path), Err(Error::Version { found: 2, .. })));
        std::fs::write(&path, b"something else altogether").unwrap();
        assert!(matches!(read(&path), Err(Error::Foreign { .. })));
    }

    #[test]
    fn exchanged_and_missing_records_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let good = made(&path);
        // The two pieces of memory: 24 + 5 and 24 + 3 bytes, before the end of 24 + 12.
        let end = good.len() - RECORD - LAST;
        let (first, second) = (end - 27 - 29, end - 27);
        let exchanged = [
            &good[..first],
            &good[second..end],
            &good[first..second],
            &good[end..],
        ]
        .concat();
        let missing = [&good[..second], &good[end..]].concat();
        for bad in [exchanged, missing] {
            std::fs::write(&path, &bad).unwrap();
            assert!(matches!(read(&path), Err(Error::Damaged { .. })));
        }
    }

    #[test]
    fn a_draft_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut writer = Writer::create(&path).unwrap();
        writer.compressed(Kind::Chips, 0, b"chips").unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
