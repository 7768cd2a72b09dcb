// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A pseudo-terminal.

use super::{Backend, FileSink, Input, OpenError, Received, Remove, Spec};
use crate::host::{AsSource, Pty, Source};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub(super) fn open(spec: &Spec, link: Option<&Path>) -> Result<Backend, OpenError> {
    let pty = Pty::open().map_err(OpenError::Pty)?;
    let link = link.map(|link| make_link(pty.path(), link)).transpose()?;
    let near = || pty.near().map_err(OpenError::Pty);
    let (file, writer) = (near()?, near()?);
    let terminal = pty.path().to_owned();
    log::info!("{spec}: the far end is {}", terminal.display());
    let mut backend = Backend::with_writer(spec, FileSink(writer))?;
    backend.input = Some(Box::new(Near {
        file,
        _pty: pty,
        _link: link,
    }));
    backend.terminal = Some(terminal);
    Ok(backend)
}

/// Makes `link` lead to `terminal`. A link to another pseudo-terminal, as a killed process leaves behind, is replaced.
fn make_link(terminal: &Path, link: &Path) -> Result<Remove, OpenError> {
    let failed = |source| OpenError::Link {
        path: link.to_owned(),
        source,
    };
    match link.read_link() {
        Ok(target) if target.starts_with("/dev/pts") => std::fs::remove_file(link).map_err(failed)?,
        Ok(_) => return Err(OpenError::Exists(link.to_owned())),
        Err(_) if link.symlink_metadata().is_ok() => return Err(OpenError::Exists(link.to_owned())),
        Err(_) => {}
    }
    crate::host::symlink(terminal, link).map_err(failed)?;
    Remove::new(link).map_err(failed)
}

/// The near end.
struct Near {
    file: File,
    _pty: Pty,
    _link: Option<Remove>,
}

impl AsSource for Near {
    fn as_source(&self) -> Source<'_> {
        self.file.as_source()
    }
}

impl Input for Near {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        match self.file.read(buffer) {
            Ok(0) => Ok(Received::End),
            Ok(count) => Ok(Received::Bytes(count)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(Received::Nothing)
            }
            Err(error) => Err(error),
        }
    }
}
