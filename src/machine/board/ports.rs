// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Serial ports COM1 to COM4.

use super::{Shared, shared};
use crate::console::{Attachment, Backend, Drain, Output, SerialPort};
use crate::host::Notifier;
use crate::machine::control::{Command, Remote};
use devices::line::IrqLine;
use std::io;
use std::sync::Arc;

/// First port and ISA interrupt of COM1 to COM4.
pub const SERIAL: [(u64, usize); 4] = [(0x3f8, 4), (0x2f8, 3), (0x3e8, 4), (0x2e8, 3)];
/// First port and ISA interrupt of LPT1.
pub const PARALLEL: (u64, usize) = (0x378, 7);

/// A serial port with its far end.
pub struct WiredSerial {
    pub port: Shared<SerialPort<Output>>,
    pub attachment: Option<Attachment>,
    /// Flushes what the guest wrote, when it is dropped.
    pub drain: Option<Drain>,
}

/// Makes a serial port. A user who asks for it at the far end switches the machine off.
pub fn serial(backend: Backend, irq: IrqLine, remote: &Remote) -> io::Result<WiredSerial> {
    let room = Arc::new(Notifier::new()?);
    let raise = room.clone();
    let port = shared(SerialPort::new(irq, backend.output, move || raise.notify()));
    let attachment = backend.input.map(|input| {
        let remote = remote.clone();
        Attachment::new(input, port.clone(), room, move || remote.post(Command::Quit {}))
    });
    Ok(WiredSerial {
        port,
        attachment,
        drain: backend.drain,
    })
}
