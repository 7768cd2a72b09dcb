// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An MF II keyboard.

use super::keys::{Key, Modifiers, ScanCodeSet};
use super::spec::{KEYBOARD_ID, KeyboardCommand, answer};
use super::{ANSWERS, QueueFull};
use crate::snapshot::{BadState, must};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Scan codes that wait for the guest: more than a keyboard's 16, so that a line of text can be typed at once.
const SCAN_CODES: usize = 256;

/// What the next byte from the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Awaiting {
    Command,
    Leds,
    ScanCodeSet,
    Typematic,
    /// Scan codes, until a command comes.
    Keys,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    awaiting: Awaiting,
    scanning: bool,
    set: ScanCodeSet,
    leds: u8,
    answers: VecDeque<u8>,
    scan_codes: VecDeque<u8>,
    /// The last byte sent, for RESEND.
    last: u8,
}

impl State {
    fn power_on() -> Self {
        Self {
            awaiting: Awaiting::Command,
            scanning: true,
            set: ScanCodeSet::Set2,
            leds: 0,
            answers: VecDeque::new(),
            scan_codes: VecDeque::new(),
            last: answer::TEST_PASSED,
        }
    }
}

/// The keyboard at the end of its cable.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyboard {
    // Book-keeping: keys that fingers hold down, whatever the guest does.
    modifiers: Modifiers,

    // Volatile state.
    state: State,
}

impl Keyboard {
    /// Refuses what no keyboard can be in.
    pub fn check(&self) -> Result<(), BadState> {
        let state = &self.state;
        must(
            state.answers.len() <= ANSWERS && state.scan_codes.len() <= SCAN_CODES,
            "more bytes than the keyboard keeps",
        )
    }

    /// A keyboard that has passed its test and reported so long ago.
    pub fn new() -> Self {
        Self {
            modifiers: Modifiers::default(),
            state: State::power_on(),
        }
    }

    /// Everything as new.
    pub fn reset(&mut self) {
        self.state = State::power_on();
    }

    /// Indicators as the guest set them: scroll lock, num lock, caps lock from bit 0.
    pub fn leds(&self) -> u8 {
        self.state.leds
    }

    /// A key goes down or up. A keyboard that does not scan does not notice.
    pub fn key(&mut self, key: Key, pressed: bool) -> Result<(), QueueFull> {
        let codes = key.scan_codes(pressed, self.state.set, self.modifiers);
        self.scan_codes(&codes)?;
        match key {
            Key::LeftControl | Key::RightControl => self.modifiers.control = pressed,
            Key::LeftAlt | Key::RightAlt => self.modifiers.alt = pressed,
            _ => {}
        }
        Ok(())
    }

    /// Sends scan codes as they are: all of them, or none if they do not fit.
    pub fn scan_codes(&mut self, codes: &[u8]) -> Result<(), QueueFull> {
        if !self.state.scanning {
            return Ok(());
        }
        if self.state.scan_codes.len() + codes.len() > SCAN_CODES {
            return Err(QueueFull);
        }
        self.state.scan_codes.extend(codes);
        Ok(())
    }

    /// The next byte of an answer.
    pub fn next_answer(&mut self) -> Option<u8> {
        let byte = self.state.answers.pop_front()?;
        self.state.last = byte;
        Some(byte)
    }

    /// The next byte that is sent unasked.
    pub fn next_event(&mut self) -> Option<u8> {
        let byte = self.state.scan_codes.pop_front()?;
        self.state.last = byte;
        Some(byte)
    }

    /// Whether [`next_event`](Self::next_event) has something.
    pub fn has_event(&self) -> bool {
        !self.state.scan_codes.is_empty()
    }

    /// A byte from the host.
    pub fn write(&mut self, byte: u8) {
        let awaiting = std::mem::replace(&mut self.state.awaiting, Awaiting::Command);
        match awaiting {
            // A command in place of a parameter is a command.
            _ if byte >= KeyboardCommand::FIRST => self.command(byte),
            Awaiting::Command => self.answer(&[answer::RESEND]),
            Awaiting::Leds => {
                self.state.leds = byte & 0x07;
                self.answer(&[answer::ACK]);
            }
            // Who holds keys down repeats them as well.
            Awaiting::Typematic => self.answer(&[answer::ACK]),
            Awaiting::ScanCodeSet => self.select_set(byte),
            Awaiting::Keys => {
                self.answer(&[answer::ACK]);
                self.state.awaiting = Awaiting::Keys;
            }
        }
    }

    fn select_set(&mut self, byte: u8) {
        self.state.set = match byte {
            0 => {
                let set = self.state.set as u8;
                return self.answer(&[answer::ACK, set]);
            }
            1 => ScanCodeSet::Set1,
            2 => ScanCodeSet::Set2,
            3 => ScanCodeSet::Set3,
            _ => return self.answer(&[answer::RESEND]),
        };
        // Half a code of one set must not be followed by half a code of another.
        self.state.scan_codes.clear();
        self.answer(&[answer::ACK]);
    }

    fn command(&mut self, byte: u8) {
        let Some(command) = KeyboardCommand::from_byte(byte) else {
            return self.answer(&[answer::RESEND]);
        };
        match command {
            KeyboardCommand::SetLeds => self.ask(Awaiting::Leds),
            KeyboardCommand::Echo => self.answer(&[answer::ECHO]),
            KeyboardCommand::ScanCodeSet => self.ask(Awaiting::ScanCodeSet),
            KeyboardCommand::Identify => {
                let [first, second] = KEYBOARD_ID;
                self.answer(&[answer::ACK, first, second]);
            }
            KeyboardCommand::SetTypematic => self.ask(Awaiting::Typematic),
            KeyboardCommand::Enable => {
                self.state.scan_codes.clear();
                self.state.scanning = true;
                self.answer(&[answer::ACK]);
            }
            KeyboardCommand::DefaultDisable => {
                self.set_default();
                self.state.scanning = false;
                self.answer(&[answer::ACK]);
            }
            KeyboardCommand::SetDefault => {
                self.set_default();
                self.answer(&[answer::ACK]);
            }
            // Every key of set 3 reports press and release, whatever kind it is said to be.
            KeyboardCommand::SetAllKeys => self.answer(&[answer::ACK]),
            KeyboardCommand::SetKeys => self.ask(Awaiting::Keys),
            KeyboardCommand::Resend => {
                let last = self.state.last;
                self.answer(&[last]);
            }
            KeyboardCommand::Reset => {
                self.state = State::power_on();
                self.answer(&[answer::ACK, answer::TEST_PASSED]);
            }
        }
    }

    /// Defaults do not touch the indicators.
    fn set_default(&mut self) {
        self.state = State {
            leds: self.state.leds,
            scanning: self.state.scanning,
            answers: std::mem::take(&mut self.state.answers),
            last: self.state.last,
            ..State::power_on()
        };
    }

    fn ask(&mut self, awaiting: Awaiting) {
        self.state.awaiting = awaiting;
        self.answer(&[answer::ACK]);
    }

    /// Queues an answer, unless the host never fetches any.
    fn answer(&mut self, bytes: &[u8]) {
        if self.state.answers.len() + bytes.len() <= ANSWERS {
            self.state.answers.extend(bytes);
        }
    }
}
