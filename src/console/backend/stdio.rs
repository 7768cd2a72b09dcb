// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Standard input and output.

use super::super::escape::{Escape, HELP, Key};
use super::{Backend, FileSink, Input, OpenError, Output, Received, Spec};
use crate::host::{AsSource, RawMode, Source, StandardInput, standard_output};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

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
    let input = StandardInput::open().map_err(OpenError::Stdio)?;
    let output = standard_output().map_err(OpenError::Stdio)?;
    let mut backend = Backend::with_writer(spec, FileSink(output))?;
    let input = Stdin::new(input, backend.output.clone(), claim).map_err(OpenError::Stdio)?;
    backend.input = Some(Box::new(input));
    Ok(backend)
}

/// Standard input.
struct Stdin {
    input: StandardInput,
    /// What a terminal needs; anything else is passed on byte by byte.
    terminal: Option<Terminal>,
    _claim: Claim,
}

struct Terminal {
    escape: Escape,
    output: Output,
    _raw: RawMode,
}

impl Stdin {
    fn new(input: StandardInput, output: Output, claim: Claim) -> io::Result<Self> {
        let terminal = if input.is_terminal() {
            Some(Terminal {
                escape: Escape::default(),
                output,
                _raw: input.raw()?,
            })
        } else {
            None
        };
        Ok(Self {
            input,
            terminal,
            _claim: claim,
        })
    }
}

impl AsSource for Stdin {
    fn as_source(&self) -> Source<'_> {
        self.input.as_source()
    }
}

impl Input for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        Ok(match (self.input.read(buffer)?, &mut self.terminal) {
            (None, _) => Received::Nothing,
            (Some(0), _) => Received::End,
            (Some(count), None) => Received::Bytes(count),
            (Some(count), Some(terminal)) => terminal.decode(buffer, count),
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

#[cfg(all(test, unix))]
mod tests;
