// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Opening the far end of a port.

mod pty;
mod stdio;
mod unix;

#[cfg(all(test, unix))]
mod tests;

use super::output::{self, Drain, End, Failure, Output, Sink};
use super::spec::Spec;
use crate::host::{self, AsSource, Interest, Source, wait};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What came from the far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// So many bytes stand in the buffer.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// Nothing will ever come again.
    End,
    /// The user asked to end the machine.
    Quit,
}

/// What the far end sends. The source is the same for its whole life and readable while [`read`](Input::read) has something to
/// do; an event loop waits for it.
pub trait Input: AsSource + Send {
    /// Reads without waiting.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Received>;

    /// Whether a person types here, whose commands must be heard even while the guest reads nothing. Such an input is read on, and
    /// what does not fit in the type-ahead is lost, as on any terminal.
    fn interactive(&self) -> bool {
        false
    }
}

/// The far end of a port, opened.
pub struct Backend {
    /// What the guest sends.
    pub output: Output,
    /// Flushes the output when it is dropped, for which the input should still be there; `None` for [`Spec::Null`].
    pub drain: Option<Drain>,
    /// What the guest receives, if the far end can send. Dropping it gives the terminal back and removes sockets and links.
    pub input: Option<Box<dyn Input>>,
    /// The device to open for the far end of a pseudo-terminal.
    pub terminal: Option<PathBuf>,
}

/// Why a far end cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Standard input and output belong to another port.
    #[error("standard input and output are taken by another port")]
    StdioTaken,
    /// Standard input or output cannot be used.
    #[error("cannot use standard input and output")]
    Stdio(#[source] io::Error),
    /// The file cannot be made.
    #[error("cannot create '{}'", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// No pseudo-terminal is to be had.
    #[error("cannot open a pseudo-terminal")]
    Pty(#[source] io::Error),
    /// The link cannot be made.
    #[error("cannot make the link '{}'", path.display())]
    Link {
        /// The link.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("cannot listen on '{}'", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another process listens on the socket.
    #[error("'{}' is in use by another process", .0.display())]
    SocketInUse(PathBuf),
    /// There is something else at the path; it is left alone.
    #[error("'{}' exists and is not ours to replace", .0.display())]
    Exists(PathBuf),
    /// No thread is to be had.
    #[error("cannot start the writer of '{spec}'")]
    Writer {
        /// Whose writer.
        spec: String,
        /// The cause.
        source: io::Error,
    },
}

impl Backend {
    /// Opens what `spec` names. A file is made anew; a Unix socket listens when this returns.
    pub fn open(spec: &Spec) -> Result<Self, OpenError> {
        match spec {
            Spec::Null => Ok(Self {
                output: Output::null(),
                drain: None,
                input: None,
                terminal: None,
            }),
            Spec::Stdio => stdio::open(spec),
            Spec::File(path) => {
                let file = File::create(path).map_err(|source| OpenError::File {
                    path: path.clone(),
                    source,
                })?;
                Self::with_writer(spec, FileSink(file))
            }
            Spec::Pty(link) => pty::open(spec, link.as_deref()),
            Spec::Unix(path) => unix::open(spec, path),
        }
    }

    /// A back end that only writes.
    fn with_writer(spec: &Spec, sink: impl Sink + 'static) -> Result<Self, OpenError> {
        let (output, drain) = output::spawn(&spec.to_string(), sink).map_err(|source| OpenError::Writer {
            spec: spec.to_string(),
            source,
        })?;
        Ok(Self {
            output,
            drain: Some(drain),
            input: None,
            terminal: None,
        })
    }
}

/// Anything with a descriptor, blocking or not.
struct FileSink(File);

impl Sink for FileSink {
    fn write(&mut self, bytes: &[u8], end: &End) -> Result<usize, Failure> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait_to_write(self.0.as_source(), end)?;
                }
                result => return Ok(result?),
            }
        }
    }
}

/// Waits until `far` takes more.
fn wait_to_write(far: Source<'_>, end: &End) -> Result<(), Failure> {
    let ready = wait(
        &[(far, Interest::Write), (end.stop.as_source(), Interest::Read)],
        None,
    )?;
    if ready.get(1) == Some(&true) {
        return Err(Failure::Stopped);
    }
    Ok(())
}

/// A socket or link that is removed when the machine ends, unless something else has taken its place.
struct Remove {
    path: PathBuf,
    identity: host::FileId,
}

impl Remove {
    /// Takes charge of what is at `path`.
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: host::link_id(path)?,
        })
    }
}

impl Drop for Remove {
    fn drop(&mut self) {
        if host::link_id(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
