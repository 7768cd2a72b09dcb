// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Standard input and output.

use super::super::escape::{Escape, HELP, Key};
use super::{Backend, FileSink, Input, OpenError, Output, Received, Spec};
use crate::host::{Interest, Notifier, PollSet, RawMode, wait};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether a port has standard input and output.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The only user of standard input and output.
struct Claim;

impl Claim {
    fn new() -> Result<Self, OpenError> {
        if TAKEN.swap(true, Ordering::AcqRel) {
            return Err(OpenError::StdioTaken);
        }
        Ok(Self)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

pub(super) fn open(spec: &Spec) -> Result<Backend, OpenError> {
    let claim = Claim::new()?;
    let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from).map_err(OpenError::Stdio);
    // Copies of the descriptors, because std's own handles hold bytes back. They must not be made non-blocking: the terminal is shared
    // with the shell.
    let (stdin, stdout) = (own(io::stdin().as_fd())?, own(io::stdout().as_fd())?);
    let mut backend = Backend::with_writer(spec, FileSink(stdout))?;
    let input = Stdin::new(stdin, backend.output.clone(), claim).map_err(OpenError::Stdio)?;
    backend.input = Some(Box::new(input));
    Ok(backend)
}

/// Standard input.
struct Stdin {
    file: File,
    readiness: Readiness,
    /// What a terminal needs; anything else is passed on byte by byte.
    terminal: Option<Terminal>,
    _claim: Claim,
}

/// What an event loop waits for.
enum Readiness {
    /// The input itself.
    Input,
    /// Regular files and `/dev/null` cannot be waited for: they are always ready.
    Always(Notifier),
}

struct Terminal {
    escape: Escape,
    output: Output,
    _raw: RawMode,
}

impl Stdin {
    fn new(file: File, output: Output, claim: Claim) -> io::Result<Self> {
        let readiness = match PollSet::new()?.add(file.as_fd()) {
            Ok(()) => Readiness::Input,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let always = Notifier::new()?;
                always.notify();
                Readiness::Always(always)
            }
            Err(error) => return Err(error),
        };
        let terminal = if file.is_terminal() {
            Some(Terminal {
                escape: Escape::default(),
                output,
                _raw: RawMode::enter(file.as_fd())?,
            })
        } else {
            None
        };
        Ok(Self {
            file,
            readiness,
            terminal,
            _claim: claim,
        })
    }
}

impl AsFd for Stdin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.readiness {
            Readiness::Input => self.file.as_fd(),
            Readiness::Always(always) => always.as_fd(),
        }
    }
}

impl Input for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let ready = wait(&[(self.file.as_fd(), Interest::Read)], Some(Duration::ZERO))?;
        if ready.first() != Some(&true) {
            return Ok(Received::Nothing);
        }
        let count = match self.file.read(buffer) {
            Ok(0) => return Ok(Received::End),
            Ok(count) => count,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return Ok(Received::Nothing);
            }
            Err(error) => return Err(error),
        };
        Ok(match &mut self.terminal {
            None => Received::Bytes(count),
            Some(terminal) => terminal.decode(buffer, count),
        })
    }

    fn interactive(&self) -> bool {
        self.terminal.is_some()
    }
}

impl Terminal {
    /// Takes the escape key's commands out of the first `count` bytes. What stands before the command to quit is lost with it.
    fn decode(&mut self, buffer: &mut [u8], count: usize) -> Received {
        let mut kept = 0;
        for at in 0..count.min(buffer.len()) {
            match self.escape.feed(buffer[at]) {
                Key::Byte(byte) => {
                    buffer[kept] = byte;
                    kept += 1;
                }
                Key::Nothing => {}
                Key::Help => self.output.push(HELP.as_bytes()),
                Key::Quit => return Received::Quit,
            }
        }
        if kept == 0 {
            Received::Nothing
        } else {
            Received::Bytes(kept)
        }
    }
}

#[cfg(test)]
mod tests;
