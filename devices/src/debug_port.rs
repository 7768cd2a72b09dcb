// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The firmware's debug console (port 402h) and the POST code port (80h).

use crate::bus::Device;
use crate::snapshot::{BadState, Busy, Snapshot};

/// What a read of the console's port gives: by it firmware knows that somebody listens.
const PRESENT: u8 = 0xe9;

/// Takes what the guest writes.
type Sink = Box<dyn FnMut(&[u8]) + Send>;

/// A port whose bytes go to the host as text, as Bochs had it first and SeaBIOS and OVMF use it.
pub struct DebugConsole {
    sink: Sink,
}

impl DebugConsole {
    /// A console that writes to `sink`. The sink runs on the processor's thread: it must neither block for long nor keep all it gets.
    pub fn new(sink: impl FnMut(&[u8]) + Send + 'static) -> Self {
        Self { sink: Box::new(sink) }
    }
}

impl Device for DebugConsole {
    fn read_byte(&mut self, offset: u64) -> u8 {
        if offset == 0 { PRESENT } else { 0xff }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        if offset == 0 {
            (self.sink)(&[value]);
        }
    }

    fn write_string(&mut self, offset: u64, width: usize, data: &[u8]) {
        if (offset, width) == (0, 1) {
            (self.sink)(data);
        } else {
            for element in data.chunks_exact(width.max(1)) {
                self.write(offset, element);
            }
        }
    }
}

/// The port where firmware leaves a number for each step of its power-on self-test. As on the PIIX, where it is a spare DMA page
/// register, it reads back.
#[derive(Debug, Default)]
pub struct PostCode {
    last: Option<u8>,
}

impl PostCode {
    /// A port that was not written yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The last code, if there was one.
    pub fn last(&self) -> Option<u8> {
        self.last
    }

    /// Power-on.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

impl Snapshot for PostCode {
    type State = Option<u8>;

    fn snapshot(&mut self) -> Result<Option<u8>, Busy> {
        Ok(self.last)
    }

    fn restore(&mut self, last: Option<u8>) -> Result<(), BadState> {
        self.last = last;
        Ok(())
    }
}

impl Device for PostCode {
    fn read_byte(&mut self, offset: u64) -> u8 {
        if offset == 0 { self.last.unwrap_or(0) } else { 0xff }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        if offset == 0 {
            self.last = Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::lock;
    use std::sync::{Arc, Mutex};

    #[test]
    fn text_arrives_as_it_was_written() {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let sink = calls.clone();
        let mut console = DebugConsole::new(move |text| lock(&sink).push(text.to_vec()));
        console.write_byte(0, b'a');
        console.write_string(0, 1, b"bcd");
        // Of a wider cycle only the low byte meets the port.
        console.write(0, b"ef");
        console.write_string(0, 2, b"ghij");
        assert_eq!(
            lock(&calls).iter().map(Vec::len).collect::<Vec<_>>(),
            [1, 3, 1, 1, 1]
        );
        assert_eq!(lock(&calls).concat(), b"abcdegi");
    }

    #[test]
    fn the_console_answers_for_itself() {
        let mut console = DebugConsole::new(|_| {});
        let mut data = [0; 2];
        console.read(0, &mut data);
        assert_eq!(data, [0xe9, 0xff]);
    }

    #[test]
    fn the_last_post_code_stays() {
        let mut port = PostCode::new();
        assert_eq!((port.last(), port.read_byte(0)), (None, 0));
        port.write_byte(0, 0x31);
        port.write_byte(0, 0x32);
        port.write_byte(1, 0x33);
        assert_eq!((port.last(), port.read_byte(0)), (Some(0x32), 0x32));
        port.reset();
        assert_eq!(port.last(), None);
    }
}
