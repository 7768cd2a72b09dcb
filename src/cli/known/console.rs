// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc console`: a terminal at a machine's serial port.

use super::model::find;
use crate::cli::{Error, exit};
use crate::host::RawMode;
use crate::virtual_pc::{self as model, hresult};
use std::io::{self, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// Connects this terminal to a machine's serial port.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Machine
    name: String,
    /// Port: 1 is COM1
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=4))]
    port: u8,
}

/// Ctrl-].
const DETACH: u8 = 0x1d;

impl Args {
    /// Runs the command: until the detach key, or until the machine ends. Input that is no terminal is sent to its end.
    pub fn run(&self) -> Result<u8, Error> {
        let machine = find(&self.name)?;
        let stream = connect(&machine, self.port)?;
        let failed = |error: io::Error| Error::host(&error);
        let is_terminal = io::stdin().is_terminal();
        if is_terminal {
            eprintln!(
                "vpc: connected to COM{} of `{}`; Ctrl-] detaches",
                self.port, self.name
            );
        }
        let stdin = io::stdin();
        let raw = if is_terminal {
            Some(RawMode::enter(stdin.as_fd()).map_err(failed)?)
        } else {
            None
        };
        let output = stream.try_clone().map_err(failed)?;
        let keys = stream.try_clone().map_err(failed)?;
        // It may wait for a key for ever; the process does not wait for it.
        std::thread::Builder::new()
            .name("keys".into())
            .spawn(move || send_keys(keys, is_terminal))
            .map_err(failed)?;
        let shown = show(output);
        drop(raw);
        if is_terminal {
            eprintln!("\nvpc: detached");
        }
        shown.map_err(failed)?;
        Ok(exit::DONE)
    }
}

fn connect(machine: &model::machine::VirtualMachine, port: u8) -> Result<UnixStream, Error> {
    let not_there =
        |what: &str| model::Error::new(hresult::VM_E_PREF_ILLEGAL_VALUE, format!("COM{port}: {what}"));
    let socket = machine.console_socket(port.into())?;
    UnixStream::connect(&socket).map_err(|error| {
        not_there(&format!("{}: {error}", socket.display()))
            .with_remedy("a port that was changed leads there from the machine's next start on")
            .into()
    })
}

fn send_keys(mut stream: UnixStream, is_terminal: bool) {
    let mut buffer = [0; 256];
    while let Ok(count @ 1..) = io::stdin().read(&mut buffer) {
        let bytes = &buffer[..count];
        let detach = bytes.iter().position(|byte| is_terminal && *byte == DETACH);
        if stream.write_all(&bytes[..detach.unwrap_or(count)]).is_err() {
            return;
        }
        if detach.is_some() {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
    // Everything was sent; what the guest says is still shown.
    if is_terminal {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn show(mut stream: UnixStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut out = io::stdout();
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                out.write_all(&buffer[..count])?;
                out.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
