// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Standard input, read without waiting, and standard output without std's buffer.

use super::files::file_of;
use super::poll::{Interest, Notifier, PollSet, wait};
use super::terminal::RawMode;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Standard input. A copy of the descriptor, because std's own handle holds bytes back. It must not be made non-blocking: the terminal
/// is shared with the shell.
pub struct StandardInput {
    file: File,
    readiness: Readiness,
}

/// What an event loop waits for.
enum Readiness {
    /// The input itself.
    Input,
    /// Regular files and `/dev/null` cannot be waited for: they are always ready.
    Always(Notifier),
}

impl StandardInput {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        let file = file_of(&io::stdin())?;
        let readiness = match PollSet::new()?.add(file.as_fd()) {
            Ok(()) => Readiness::Input,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let always = Notifier::new()?;
                always.notify();
                Readiness::Always(always)
            }
            Err(error) => return Err(error),
        };
        Ok(Self { file, readiness })
    }

    /// Whether a person types there.
    pub fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    /// Takes the terminal.
    pub fn raw(&self) -> io::Result<RawMode> {
        RawMode::enter(self.file.as_fd())
    }

    /// Reads without waiting: `None` if there is nothing for now, zero bytes at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let ready = wait(&[(self.file.as_fd(), Interest::Read)], Some(Duration::ZERO))?;
        if ready.first() != Some(&true) {
            return Ok(None);
        }
        match self.file.read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl AsFd for StandardInput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.readiness {
            Readiness::Input => self.file.as_fd(),
            Readiness::Always(always) => always.as_fd(),
        }
    }
}

/// Standard output.
pub fn standard_output() -> io::Result<File> {
    file_of(&io::stdout())
}
