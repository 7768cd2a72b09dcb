// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A PS/2 mouse that turns into an IntelliMouse for software that knows the knock.
//!
//! The sample rate is remembered and reported, but does not pace the reports: the serial line does.

use super::ANSWERS;
use super::spec::{
    MouseCommand, MouseKind, MouseStatus, RESOLUTION_DEFAULT, RESOLUTION_MAX, Report, SAMPLE_RATE_DEFAULT,
    SAMPLE_RATES, answer,
};
use crate::snapshot::{BadState, must};
use bitflags::bitflags;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Changes of buttons that wait for the guest. Movement between two of them adds up.
const MOVEMENTS: usize = 16;
/// Counts that one report can carry each way, and turns of the wheel.
const MAX_COUNT: i32 = 255;
const MAX_WHEEL: i32 = 7;
/// Counts that add up while nobody fetches them: several desks wide.
const MAX_PENDING: i32 = 1 << 20;

bitflags! {
    /// Buttons that are down.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    pub struct MouseButtons: u8 {
        /// Left.
        const LEFT = 1 << 0;
        /// Right.
        const RIGHT = 1 << 1;
        /// Middle.
        const MIDDLE = 1 << 2;
        /// Fourth, at the side.
        const SIDE = 1 << 3;
        /// Fifth.
        const EXTRA = 1 << 4;
    }
}

/// The buttons that every mouse has, in the first byte of a report.
const COMMON_BUTTONS: u8 = 0x07;
/// Where the fourth and fifth stand in the fourth byte, from where they stand in [`MouseButtons`].
const EXTRA_BUTTONS_SHIFT: u32 = 1;

/// What the next byte from the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Awaiting {
    Command,
    Resolution,
    SampleRate,
}

/// When movement is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Mode {
    /// When it happens, if reporting is on.
    Stream,
    /// When asked.
    Remote,
}

/// Movement with the same buttons down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Movement {
    x: i32,
    y: i32,
    wheel: i32,
    buttons: MouseButtons,
}

impl Movement {
    fn add(&mut self, x: i32, y: i32, wheel: i32) {
        let add = |sum: &mut i32, count: i32| {
            *sum = sum.saturating_add(count).clamp(-MAX_PENDING, MAX_PENDING);
        };
        add(&mut self.x, x);
        add(&mut self.y, y);
        add(&mut self.wheel, wheel);
    }

    /// Takes as much as fits into one report.
    fn take(&mut self) -> Self {
        let take = |sum: &mut i32, max: i32| {
            let part = (*sum).clamp(-max, max);
            *sum -= part;
            part
        };
        Self {
            x: take(&mut self.x, MAX_COUNT),
            y: take(&mut self.y, MAX_COUNT),
            wheel: take(&mut self.wheel, MAX_WHEEL),
            buttons: self.buttons,
        }
    }

    fn is_still(&self) -> bool {
        (self.x, self.y, self.wheel) == (0, 0, 0)
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    awaiting: Awaiting,
    mode: Mode,
    wrap: bool,
    enabled: bool,
    kind: MouseKind,
    resolution: u8,
    sample_rate: u8,
    /// The two sample rates before the current one: half a knock.
    knock: [u8; 2],
    scaling_2_to_1: bool,
    answers: VecDeque<u8>,
    movements: VecDeque<Movement>,
    /// Bytes of the report that is being sent.
    report: VecDeque<u8>,
    /// The last answer or report, for RESEND.
    last: Vec<u8>,
}

impl State {
    fn power_on() -> Self {
        Self {
            awaiting: Awaiting::Command,
            mode: Mode::Stream,
            wrap: false,
            enabled: false,
            kind: MouseKind::Standard,
            resolution: RESOLUTION_DEFAULT,
            sample_rate: SAMPLE_RATE_DEFAULT,
            knock: [0; 2],
            scaling_2_to_1: false,
            answers: VecDeque::new(),
            movements: VecDeque::new(),
            report: VecDeque::new(),
            last: vec![answer::TEST_PASSED, MouseKind::Standard as u8],
        }
    }
}

/// The mouse at the end of its cable.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mouse {
    // Book-keeping: what a finger holds down, a reset does not let go.
    buttons: MouseButtons,

    // Volatile state.
    state: State,
}

impl Mouse {
    /// Refuses what no mouse can be in.
    pub fn check(&self) -> Result<(), BadState> {
        let state = &self.state;
        must(
            state.answers.len() <= ANSWERS
                && state.movements.len() <= MOVEMENTS
                && state.report.len() <= ANSWERS
                && state.last.len() <= ANSWERS,
            "more bytes than the mouse keeps",
        )?;
        let known = |buttons: MouseButtons| MouseButtons::all().contains(buttons);
        let near = |counts: i32| (-MAX_PENDING..=MAX_PENDING).contains(&counts);
        must(
            known(self.buttons)
                && state
                    .movements
                    .iter()
                    .all(|m| known(m.buttons) && near(m.x) && near(m.y) && near(m.wheel)),
            "a movement that no mouse makes",
        )
    }

    /// A mouse that has passed its test and reported so long ago.
    pub fn new() -> Self {
        Self {
            buttons: MouseButtons::empty(),
            state: State::power_on(),
        }
    }

    /// Everything as new.
    pub fn reset(&mut self) {
        self.state = State::power_on();
    }

    /// The mouse moves `x` counts to the right and `y` up, its wheel turns towards the user for positive `wheel`, and these buttons are
    /// down. What the guest does not fetch in time adds up; clicks are kept apart as long as there is room.
    pub fn movement(&mut self, x: i32, y: i32, wheel: i32, buttons: MouseButtons) {
        let clicked = buttons != self.buttons;
        let wheel = match self.state.kind {
            MouseKind::Standard => 0,
            MouseKind::Wheel | MouseKind::FiveButtons => wheel,
        };
        self.buttons = buttons;
        let reports = self.state.mode == Mode::Remote || self.state.enabled;
        if !reports || (x, y, wheel, clicked) == (0, 0, 0, false) {
            return;
        }
        let full = self.state.movements.len() >= MOVEMENTS;
        match self.state.movements.back_mut() {
            Some(last) if full || last.buttons == buttons => {
                last.buttons = buttons;
                last.add(x, y, wheel);
            }
            _ => {
                let mut movement = Movement {
                    buttons,
                    ..Movement::default()
                };
                movement.add(x, y, wheel);
                self.state.movements.push_back(movement);
            }
        }
    }

    /// The next byte of an answer.
    pub fn next_answer(&mut self) -> Option<u8> {
        self.state.answers.pop_front()
    }

    /// Whether [`next_event`](Self::next_event) has something.
    pub fn has_event(&self) -> bool {
        !self.state.report.is_empty() || (self.streams() && !self.state.movements.is_empty())
    }

    /// The next byte that is sent unasked.
    pub fn next_event(&mut self) -> Option<u8> {
        if self.state.report.is_empty() && self.streams() && !self.state.movements.is_empty() {
            let report = self.take_report(self.state.scaling_2_to_1);
            self.state.last.clone_from(&report);
            self.state.report.extend(report);
        }
        self.state.report.pop_front()
    }

    fn streams(&self) -> bool {
        self.state.enabled && self.state.mode == Mode::Stream && !self.state.wrap
    }

    /// The bytes of a report about the oldest movement, which may be none at all.
    fn take_report(&mut self, double: bool) -> Vec<u8> {
        let kind = self.state.kind;
        let moved = match self.state.movements.front_mut() {
            Some(oldest) => {
                let moved = oldest.take();
                if oldest.is_still() {
                    self.state.movements.pop_front();
                }
                moved
            }
            None => Movement {
                buttons: self.buttons,
                ..Movement::default()
            },
        };
        let (x, y) = if double {
            (scale_2_to_1(moved.x), scale_2_to_1(moved.y))
        } else {
            (moved.x, moved.y)
        };
        let mut flags = Report::ALWAYS;
        flags.set(Report::X_SIGN, x < 0);
        flags.set(Report::Y_SIGN, y < 0);
        let buttons = moved.buttons.bits();
        let mut report = vec![flags.bits() | (buttons & COMMON_BUTTONS), x as u8, y as u8];
        match kind {
            MouseKind::Standard => {}
            MouseKind::Wheel => report.push(moved.wheel as u8),
            MouseKind::FiveButtons => {
                let extra = (buttons & !COMMON_BUTTONS) << EXTRA_BUTTONS_SHIFT;
                report.push(moved.wheel as u8 & 0x0f | extra);
            }
        }
        report
    }

    /// A byte from the host. It cuts off the report that is being sent.
    pub fn write(&mut self, byte: u8) {
        self.state.report.clear();
        let command = MouseCommand::from_byte(byte);
        if self.state.wrap && !matches!(command, Some(MouseCommand::Reset | MouseCommand::ResetWrapMode)) {
            return self.answer(&[byte]);
        }
        match std::mem::replace(&mut self.state.awaiting, Awaiting::Command) {
            Awaiting::Resolution if byte <= RESOLUTION_MAX => {
                self.state.resolution = byte;
                self.answer(&[answer::ACK]);
            }
            Awaiting::SampleRate if SAMPLE_RATES.contains(&byte) => {
                self.set_sample_rate(byte);
                self.answer(&[answer::ACK]);
            }
            _ => match command {
                Some(command) => self.command(command),
                None => self.answer(&[answer::RESEND]),
            },
        }
    }

    fn set_sample_rate(&mut self, rate: u8) {
        let [_, before] = self.state.knock;
        let known = match (self.state.knock, rate) {
            ([200, 100], 80) => MouseKind::Wheel,
            // The second knock counts only after the first.
            ([200, 200], 80) if self.state.kind >= MouseKind::Wheel => MouseKind::FiveButtons,
            _ => self.state.kind,
        };
        self.state.kind = self.state.kind.max(known);
        self.state.knock = [before, rate];
        self.state.sample_rate = rate;
    }

    fn command(&mut self, command: MouseCommand) {
        match command {
            MouseCommand::SetScaling1To1 => self.state.scaling_2_to_1 = false,
            MouseCommand::SetScaling2To1 => self.state.scaling_2_to_1 = true,
            MouseCommand::SetResolution => self.state.awaiting = Awaiting::Resolution,
            MouseCommand::SetSampleRate => self.state.awaiting = Awaiting::SampleRate,
            MouseCommand::StatusRequest => {
                let status = [
                    answer::ACK,
                    self.status(),
                    self.state.resolution,
                    self.state.sample_rate,
                ];
                return self.answer(&status);
            }
            MouseCommand::SetStreamMode => {
                self.state.mode = Mode::Stream;
                self.state.movements.clear();
            }
            MouseCommand::SetRemoteMode => {
                self.state.mode = Mode::Remote;
                self.state.movements.clear();
            }
            MouseCommand::SetWrapMode => self.state.wrap = true,
            MouseCommand::ResetWrapMode => self.state.wrap = false,
            MouseCommand::ReadData => {
                // Asked for, movement is never scaled.
                let mut answer = vec![answer::ACK];
                answer.extend(self.take_report(false));
                return self.answer(&answer);
            }
            MouseCommand::Identify => {
                let kind = self.state.kind as u8;
                return self.answer(&[answer::ACK, kind]);
            }
            MouseCommand::Enable => {
                self.state.movements.clear();
                self.state.enabled = true;
            }
            MouseCommand::Disable => self.state.enabled = false,
            MouseCommand::SetDefault => self.set_default(),
            MouseCommand::Resend => {
                let last = self.state.last.clone();
                return self.answer(&last);
            }
            MouseCommand::Reset => {
                self.state = State::power_on();
                let kind = self.state.kind as u8;
                return self.answer(&[answer::ACK, answer::TEST_PASSED, kind]);
            }
        }
        self.answer(&[answer::ACK]);
    }

    /// Defaults do not make an IntelliMouse forget what it is.
    fn set_default(&mut self) {
        self.state = State {
            kind: self.state.kind,
            answers: std::mem::take(&mut self.state.answers),
            ..State::power_on()
        };
    }

    fn status(&self) -> u8 {
        let mut status = MouseStatus::empty();
        status.set(MouseStatus::SCALING_2_TO_1, self.state.scaling_2_to_1);
        status.set(MouseStatus::ENABLED, self.state.enabled);
        status.set(MouseStatus::REMOTE, self.state.mode == Mode::Remote);
        // Here, unlike in reports, the right button comes first.
        let buttons = self.buttons;
        let bit = |button, at: u8| u8::from(buttons.contains(button)) << at;
        status.bits()
            | bit(MouseButtons::RIGHT, 0)
            | bit(MouseButtons::MIDDLE, 1)
            | bit(MouseButtons::LEFT, 2)
    }

    /// Queues an answer, unless the host never fetches any.
    fn answer(&mut self, bytes: &[u8]) {
        if self.state.answers.len() + bytes.len() <= ANSWERS {
            self.state.answers.extend(bytes);
        }
        if bytes != [answer::RESEND] {
            self.state.last = bytes.to_vec();
        }
    }
}

/// 2:1 scaling: small movements for precision, large ones doubled.
fn scale_2_to_1(count: i32) -> i32 {
    let scaled = match count.abs() {
        0 => 0,
        1 | 2 => 1,
        3 => 3,
        4 => 6,
        5 => 9,
        more => (2 * more).min(MAX_COUNT),
    };
    scaled * count.signum()
}
