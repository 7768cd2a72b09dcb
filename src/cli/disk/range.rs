// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc disk read` and `vpc disk write`: parts of a disk's content.

use super::files;
use crate::cli::{Error, exit, size};
use crate::host::{self, AsSource};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Bytes that are moved at a time.
const PIECE: usize = 1 << 20;

/// Writes a part of the disk's content to standard output.
#[derive(Debug, clap::Args)]
pub struct ReadArgs {
    /// Image
    path: PathBuf,
    /// Where to begin
    #[arg(long, value_parser = size::parse, default_value = "0")]
    offset: u64,
    /// How much; without it, to the end of the disk
    #[arg(long, value_parser = size::parse)]
    length: Option<u64>,
    #[command(flatten)]
    opening: files::Opening,
}

impl ReadArgs {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let disk = self.opening.read(&self.path)?;
        let length = self
            .length
            .unwrap_or_else(|| disk.len().saturating_sub(self.offset));
        let end = end_of(&disk, &self.path, self.offset, length)?;
        let mut output = io::stdout().lock();
        let mut buffer = vec![0; PIECE];
        let mut at = self.offset;
        while at < end {
            let piece = usize::try_from(end - at).map_or(PIECE, |rest| rest.min(PIECE));
            let bytes = buffer.get_mut(..piece).unwrap_or_default();
            disk.read_at(at, bytes).map_err(|e| Error::wrong(&e))?;
            match output.write_all(bytes) {
                // Whoever reads has enough, as `head` does.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(exit::DONE),
                result => result.map_err(|e| output_error(&e))?,
            }
            at += piece as u64;
        }
        output.flush().map_err(|e| output_error(&e))?;
        Ok(exit::DONE)
    }
}

/// Writes standard input to a part of the disk. It is durable when the command is done.
#[derive(Debug, clap::Args)]
pub struct WriteArgs {
    /// Image
    path: PathBuf,
    /// Where to begin
    #[arg(long, value_parser = size::parse)]
    offset: u64,
    #[command(flatten)]
    opening: files::Opening,
}

impl WriteArgs {
    /// Runs the command.
    pub fn run(self) -> Result<u8, Error> {
        let disk = self.opening.open(&self.path, &self.opening.for_writing())?;
        let mut input = io::stdin().lock();
        // When it is known beforehand that the input is too long, nothing is written.
        end_of(&disk, &self.path, self.offset, rest_of_file(&input).unwrap_or(0))?;
        let mut buffer = vec![0; PIECE];
        let mut at = self.offset;
        loop {
            let count = fill(&mut input, &mut buffer)
                .map_err(|e| Error::Use(format!("standard input cannot be read: {e}")))?;
            if count == 0 {
                break;
            }
            if disk.len() - at < count as u64 {
                // What is written so far stays, as a pipe cannot be looked at twice; it is named.
                disk.close().map_err(|e| Error::wrong(&e))?;
                return Err(Error::Use(format!(
                    "standard input is longer than the rest of `{}`: {} bytes were written, the others were not",
                    self.path.display(),
                    at - self.offset
                )));
            }
            let bytes = buffer.get(..count).unwrap_or_default();
            disk.write_at(at, bytes).map_err(|e| Error::wrong(&e))?;
            at += count as u64;
        }
        disk.close().map_err(|e| Error::wrong(&e))?;
        Ok(exit::DONE)
    }
}

fn end_of(disk: &vhd::Disk, path: &Path, offset: u64, length: u64) -> Result<u64, Error> {
    let end = offset.checked_add(length).filter(|&end| end <= disk.len());
    end.ok_or_else(|| {
        Error::Use(format!(
            "{length} bytes from offset {offset} on reach beyond the end of `{}`, whose disk has {} bytes",
            path.display(),
            disk.len()
        ))
    })
}

/// Fills as much of the buffer as the input has: a pipe gives little at a time, and a write of whole pieces is faster.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(count)
}

/// How much is left of an input that is a file.
fn rest_of_file(input: &impl AsSource) -> Option<u64> {
    let mut file = host::file_of(input).ok()?;
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let position = file.stream_position().ok()?;
    Some(metadata.len().saturating_sub(position))
}

fn output_error(error: &io::Error) -> Error {
    Error::Use(format!("standard output cannot be written: {error}"))
}
