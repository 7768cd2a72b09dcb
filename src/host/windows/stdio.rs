// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Standard input, read without waiting, and standard output without std's buffer.
//!
//! Windows cannot wait for an anonymous pipe, and a console is signalled for events that bring no characters. So a thread reads, and
//! raises a flag. It reads ahead by one piece only, and ends with the process.

use super::check;
use super::files::file_of;
use super::wait::Notifier;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use windows_sys::Win32::System::Console::{
    ENABLE_ECHO_INPUT, ENABLE_LINE_INPUT, ENABLE_PROCESSED_INPUT, ENABLE_VIRTUAL_TERMINAL_INPUT,
    GetConsoleMode, SetConsoleMode,
};

/// Bytes read ahead.
const PIECE: usize = 256;

/// Standard input.
pub struct StandardInput {
    file: File,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// The piece was taken.
    taken: Condvar,
    /// There is a piece, or the end.
    ready: Notifier,
}

enum State {
    /// The thread reads.
    Empty,
    /// What it read, from here on.
    Piece(Vec<u8>, usize),
    End,
    Failed(io::Error),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn fill(&self, mut file: File) {
        loop {
            let mut buffer = vec![0; PIECE];
            let next = match file.read(&mut buffer) {
                Ok(0) => State::End,
                Ok(count) => {
                    buffer.truncate(count);
                    State::Piece(buffer, 0)
                }
                // The other end of the pipe is closed.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => State::End,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => State::Failed(error),
            };
            let last = !matches!(next, State::Piece(..));
            let mut state = self.lock();
            *state = next;
            self.ready.notify();
            if last {
                return;
            }
            while !matches!(*state, State::Empty) {
                state = self.taken.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl StandardInput {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        let file = file_of(&io::stdin())?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::Empty),
            taken: Condvar::new(),
            ready: Notifier::new()?,
        });
        let (reader, source) = (shared.clone(), file.try_clone()?);
        std::thread::Builder::new()
            .name("stdin".into())
            .spawn(move || reader.fill(source))?;
        Ok(Self { file, shared })
    }

    /// Whether a person types there.
    pub fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    /// Takes the terminal.
    pub fn raw(&self) -> io::Result<RawMode> {
        RawMode::enter(&self.file)
    }

    /// Reads without waiting: `None` if there is nothing for now, zero bytes at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut state = self.shared.lock();
        let (count, empty) = match &mut *state {
            State::Empty => return Ok(None),
            State::End => return Ok(Some(0)),
            State::Failed(_) => {
                let State::Failed(error) = std::mem::replace(&mut *state, State::End) else {
                    return Ok(Some(0));
                };
                return Err(error);
            }
            State::Piece(bytes, at) => {
                let rest = bytes.get(*at..).unwrap_or_default();
                let count = rest.len().min(buffer.len());
                for (to, from) in buffer.iter_mut().zip(rest) {
                    *to = *from;
                }
                *at += count;
                (count, *at >= bytes.len())
            }
        };
        if empty {
            *state = State::Empty;
            self.shared.ready.clear();
            self.shared.taken.notify_one();
        }
        Ok(Some(count))
    }
}

impl AsHandle for StandardInput {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.shared.ready.as_handle()
    }
}

/// Standard output.
pub fn standard_output() -> io::Result<File> {
    file_of(&io::stdout())
}

/// While it lives, a console passes on each key, Ctrl-C included, as a terminal's bytes.
#[derive(Debug)]
pub struct RawMode {
    console: File,
    before: u32,
}

impl RawMode {
    fn enter(console: &File) -> io::Result<Self> {
        let console = console.try_clone()?;
        let mut before = 0;
        // SAFETY: the handle is open for the duration of the call, which writes one number.
        check(unsafe { GetConsoleMode(console.as_raw_handle(), &mut before) })?;
        let raw = before & !(ENABLE_LINE_INPUT | ENABLE_ECHO_INPUT | ENABLE_PROCESSED_INPUT)
            | ENABLE_VIRTUAL_TERMINAL_INPUT;
        set(&console, raw)?;
        Ok(Self { console, before })
    }
}

fn set(console: &File, mode: u32) -> io::Result<()> {
    // SAFETY: the handle is open for the duration of the call.
    check(unsafe { SetConsoleMode(console.as_raw_handle(), mode) })
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The console may be gone, and then there is nothing to restore.
        let _ = set(&self.console, self.before);
    }
}
