// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The escape key of a terminal: Ctrl-A, then a command.

/// Ctrl-A.
const KEY: u8 = 0x01;

/// What is printed for Ctrl-A h.
pub(super) const HELP: &str = "\r\n\
    Ctrl-A x  end the machine\r\n\
    Ctrl-A h  this help\r\n\
    Ctrl-A Ctrl-A  send Ctrl-A\r\n";

/// What a byte from the terminal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// It is for the guest.
    Byte(u8),
    /// It begins a command, or was an unknown one.
    Nothing,
    /// The user wants to leave.
    Quit,
    /// The user wants help.
    Help,
}

/// The decoder. It remembers a Ctrl-A across reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Escape {
    #[default]
    Plain,
    Command,
}

impl Escape {
    /// Takes the next byte.
    pub fn feed(&mut self, byte: u8) -> Key {
        match (std::mem::take(self), byte) {
            (Self::Plain, KEY) => {
                *self = Self::Command;
                Key::Nothing
            }
            (Self::Plain, byte) => Key::Byte(byte),
            (Self::Command, KEY) => Key::Byte(KEY),
            (Self::Command, b'x' | b'X') => Key::Quit,
            (Self::Command, b'h' | b'H' | b'?') => Key::Help,
            (Self::Command, _) => Key::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut escape = Escape::default();
        bytes.iter().map(|byte| escape.feed(*byte)).collect()
    }

    #[test]
    fn plain_bytes_pass() {
        assert_eq!(keys(b"x\x03h\xff"), [b'x', 3, b'h', 0xff].map(Key::Byte));
    }

    #[test]
    fn commands() {
        assert_eq!(keys(b"\x01x"), [Key::Nothing, Key::Quit]);
        assert_eq!(keys(b"\x01h"), [Key::Nothing, Key::Help]);
        assert_eq!(keys(b"\x01\x01x"), [Key::Nothing, Key::Byte(1), Key::Byte(b'x')]);
    }

    #[test]
    fn an_unknown_command_is_swallowed_and_forgotten() {
        assert_eq!(keys(b"\x01qx"), [Key::Nothing, Key::Nothing, Key::Byte(b'x')]);
    }
}
