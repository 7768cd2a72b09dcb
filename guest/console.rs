// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lines to the firmware's debug port, which vpc and QEMU both have. Each begins with a word by which it is told from firmware's. Part of
//! the interface that `src/bench/protocol.rs` reads.

use super::cpu;
use core::fmt::{self, Write};

const PORT: u16 = 0x402;

/// A line that goes out in one piece: each write to the port leaves the guest.
pub struct Line {
    text: [u8; 1000],
    len: usize,
}

impl Line {
    /// An empty one.
    pub fn new() -> Self {
        let mut line = Self {
            text: [0; 1000],
            len: 0,
        };
        let _ = line.write_str("vpcbench ");
        line
    }

    /// Whether so many more bytes fit.
    pub fn has_room(&self, more: usize) -> bool {
        self.len + more < self.text.len()
    }

    /// Sends it.
    pub fn send(mut self) {
        let end = self.len.min(self.text.len() - 1);
        self.text[end] = b'\n';
        cpu::write_bytes(PORT, &self.text[..=end]);
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // The last place is the line's end.
            if self.len + 1 < self.text.len() {
                self.text[self.len] = byte;
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// Sends a line.
pub fn say(words: fmt::Arguments<'_>) {
    let mut line = Line::new();
    let _ = line.write_fmt(words);
    line.send();
}

/// Sends a line, as `println!` does.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => { $crate::console::say(format_args!($($words)*)) };
}
