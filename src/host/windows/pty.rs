// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pseudo-terminals: those of Windows belong to one program and have no name that another could open, so there are none.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::path::Path;

/// The near end of a pseudo-terminal.
#[derive(Debug)]
pub struct Pty(Infallible);

impl Pty {
    /// Fails.
    pub fn open() -> io::Result<Self> {
        let why = "Windows has no pseudo-terminal that other programs can open: use stdio or file:PATH";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    /// Cannot be called.
    pub fn path(&self) -> &Path {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn near(&self) -> io::Result<File> {
        match self.0 {}
    }
}
