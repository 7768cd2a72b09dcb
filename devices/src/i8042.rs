// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The 8042 keyboard controller with its keyboard and mouse.
//!
//! The controller has one output buffer. A byte in it keeps all others waiting: first the controller's own answers, then those of the
//! keyboard and the mouse, then what these send unasked. Unasked bytes also keep the distance that the serial line would give them,
//! because DOS programs read port 60h more than once for the same key; answers come at once, since nobody counts on their being slow.

mod keyboard;
mod keys;
mod mouse;
mod snapshot;
mod spec;
#[cfg(test)]
mod tests;
mod translate;

pub use keys::Key;
pub use mouse::MouseButtons;
use serde::{Deserialize, Serialize};

use crate::bus::Device;
use crate::clock::{Clock, Nanos, Timed, Timer};
use crate::line::IrqLine;
use crate::power::{PowerControl, PowerRequest, ResetCause};
use keyboard::Keyboard;
use mouse::Mouse;
use spec::{
    Command, CommandByte, INPUT_PORT, INTERFACE_TEST_PASSED, NO_PASSWORD, OutputPort, SELF_TEST_PASSED,
    Status,
};
use std::sync::Arc;
use translate::Translator;

/// The serial line takes about a millisecond a byte: 11 bits at 10 to 16.7 kHz.
const BYTE_TIME: Nanos = 1_000_000;
/// Bytes of answers that a device keeps for a host that does not fetch them.
const ANSWERS: usize = 16;
/// The controller's memory, of which only byte 0, the command byte, means anything.
const MEMORY: usize = 32;

/// The keyboard cannot take more before the guest has read what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest does not read its keyboard")]
pub struct QueueFull;

/// The ports by their offset: the board maps 60h with base 0 and 64h with base 4.
enum Port {
    /// Output buffer when read, input buffer when written.
    Data,
    /// Status when read, command when written.
    Command,
}

impl Port {
    fn at(offset: u64) -> Option<Self> {
        match offset {
            0 => Some(Self::Data),
            4 => Some(Self::Command),
            _ => None,
        }
    }
}

/// Where the next byte written to the data port goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum DataPortTarget {
    Keyboard,
    Aux,
    Memory(u8),
    OutputPort,
    KeyboardOutput,
    AuxOutput,
}

/// Who put the byte into the output buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum Source {
    Controller,
    Keyboard,
    Aux,
}

/// The output buffer's flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum OutputBuffer {
    Empty,
    Full(Source),
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    memory: [u8; MEMORY],
    target: DataPortTarget,
    /// The last write went to the command port.
    command_written: bool,
    not_reset: bool,
    a20: bool,
    output: OutputBuffer,
    /// The output buffer's contents. They stay when the byte has been read.
    data: u8,
    /// An answer of the controller that waits for the output buffer.
    answer: Option<(u8, Source)>,
    translator: Translator,
    /// No unasked byte comes before.
    quiet_until: Nanos,
}

impl State {
    fn power_on() -> Self {
        Self {
            memory: [0; MEMORY],
            target: DataPortTarget::Keyboard,
            command_written: false,
            not_reset: true,
            a20: true,
            output: OutputBuffer::Empty,
            data: 0,
            answer: None,
            translator: Translator::default(),
            quiet_until: 0,
        }
    }

    fn command_byte(&self) -> CommandByte {
        let [byte, ..] = self.memory;
        CommandByte::from_bits_retain(byte)
    }

    fn change_command_byte(&mut self, bits: CommandByte, set: bool) {
        let mut byte = self.command_byte();
        byte.set(bits, set);
        self.memory[0] = byte.bits();
    }
}

/// What the controller is wired to.
pub struct Wiring {
    /// IRQ 1.
    pub keyboard_irq: IrqLine,
    /// IRQ 12.
    pub mouse_irq: IrqLine,
    /// Takes the reset line.
    pub power: Arc<dyn PowerControl>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// For the next unasked byte.
    pub timer: Box<dyn Timer>,
}

/// The controller and its two devices.
pub struct I8042 {
    // Dependencies.
    wiring: Wiring,

    // Volatile state.
    keyboard: Keyboard,
    mouse: Mouse,
    state: State,
}

impl I8042 {
    /// A controller just switched on, with both devices on its ports.
    pub fn new(wiring: Wiring) -> Self {
        Self {
            wiring,
            keyboard: Keyboard::new(),
            mouse: Mouse::new(),
            state: State::power_on(),
        }
    }

    /// Power-on.
    pub fn reset(&mut self) {
        self.keyboard.reset();
        self.mouse.reset();
        self.state = State::power_on();
        self.wiring.timer.disarm();
        self.update();
    }

    /// A key goes down or up. Repeating a key that is held is the caller's business.
    pub fn key(&mut self, key: Key, pressed: bool) -> Result<(), QueueFull> {
        let result = self.keyboard.key(key, pressed);
        self.update();
        result
    }

    /// The keyboard sends these bytes, of whatever scan code set the guest has chosen (set 2 unless it did): all of them or none.
    pub fn scan_codes(&mut self, codes: &[u8]) -> Result<(), QueueFull> {
        let result = self.keyboard.scan_codes(codes);
        self.update();
        result
    }

    /// The mouse moves `x` counts to the right and `y` up, its wheel turns towards the user for positive `wheel`, and these buttons are
    /// down.
    pub fn mouse(&mut self, x: i32, y: i32, wheel: i32, buttons: MouseButtons) {
        self.mouse.movement(x, y, wheel, buttons);
        self.update();
    }

    /// The keyboard's indicators: scroll lock, num lock, caps lock from bit 0.
    pub fn leds(&self) -> u8 {
        self.keyboard.leds()
    }

    /// The A20 bit of the output port. The processors see all address lines at all times; this is for who wants to know.
    pub fn a20(&self) -> bool {
        self.state.a20
    }

    /// Moves the next byte into the output buffer and lets the interrupt lines follow.
    fn update(&mut self) {
        if self.state.output == OutputBuffer::Empty
            && let Some((byte, source)) = self.next_byte()
        {
            self.state.data = byte;
            self.state.output = OutputBuffer::Full(source);
        }
        self.drive_lines();
    }

    fn drive_lines(&mut self) {
        let command_byte = self.state.command_byte();
        let keyboard = command_byte.contains(CommandByte::KEYBOARD_INTERRUPT);
        let (keyboard, mouse) = match self.state.output {
            OutputBuffer::Empty => (false, false),
            OutputBuffer::Full(Source::Keyboard) => (keyboard, false),
            // Software that switches the keyboard off to talk to the controller wants no keyboard interrupt.
            OutputBuffer::Full(Source::Controller) => (
                keyboard && !command_byte.contains(CommandByte::KEYBOARD_DISABLE),
                false,
            ),
            OutputBuffer::Full(Source::Aux) => (false, command_byte.contains(CommandByte::AUX_INTERRUPT)),
        };
        self.wiring.keyboard_irq.set(keyboard);
        self.wiring.mouse_irq.set(mouse);
    }

    /// The byte that comes next, by priority.
    fn next_byte(&mut self) -> Option<(u8, Source)> {
        if let Some(answer) = self.state.answer.take() {
            return Some(answer);
        }
        let command_byte = self.state.command_byte();
        let keyboard = !command_byte.contains(CommandByte::KEYBOARD_DISABLE);
        let aux = !command_byte.contains(CommandByte::AUX_DISABLE);
        if keyboard {
            while let Some(byte) = self.keyboard.next_answer() {
                if let Some(byte) = self.translate(byte) {
                    return Some((byte, Source::Keyboard));
                }
            }
        }
        if aux && let Some(byte) = self.mouse.next_answer() {
            return Some((byte, Source::Aux));
        }
        let waiting = (keyboard && self.keyboard.has_event()) || (aux && self.mouse.has_event());
        if !waiting {
            return None;
        }
        if self.wiring.clock.now() < self.state.quiet_until {
            self.wiring.timer.arm(self.state.quiet_until);
            return None;
        }
        if keyboard {
            while let Some(byte) = self.keyboard.next_event() {
                if let Some(byte) = self.translate(byte) {
                    return Some((byte, Source::Keyboard));
                }
            }
        }
        if aux {
            return Some((self.mouse.next_event()?, Source::Aux));
        }
        None
    }

    fn translate(&mut self, byte: u8) -> Option<u8> {
        if self.state.command_byte().contains(CommandByte::TRANSLATE) {
            self.state.translator.translate(byte)
        } else {
            self.state.translator = Translator::default();
            Some(byte)
        }
    }

    fn read_data(&mut self) -> u8 {
        let data = self.state.data;
        if let OutputBuffer::Full(source) = self.state.output {
            self.state.output = OutputBuffer::Empty;
            if source != Source::Controller {
                self.state.quiet_until = self.wiring.clock.now().saturating_add(BYTE_TIME);
            }
            // The lines fall before they rise for the next byte.
            self.drive_lines();
        }
        data
    }

    fn status(&self) -> u8 {
        let mut status = Status::UNLOCKED;
        let system = self.state.command_byte().contains(CommandByte::SYSTEM);
        status.set(Status::SYSTEM, system);
        status.set(Status::COMMAND, self.state.command_written);
        if let OutputBuffer::Full(source) = self.state.output {
            status.insert(Status::OUTPUT_FULL);
            status.set(Status::AUX_OUTPUT_FULL, source == Source::Aux);
        }
        status.bits()
    }

    fn output_port(&self) -> u8 {
        let mut port = OutputPort::LINES;
        port.set(OutputPort::NOT_RESET, self.state.not_reset);
        port.set(OutputPort::A20, self.state.a20);
        match self.state.output {
            OutputBuffer::Empty => {}
            OutputBuffer::Full(Source::Aux) => port.insert(OutputPort::AUX_OUTPUT),
            OutputBuffer::Full(_) => port.insert(OutputPort::KEYBOARD_OUTPUT),
        }
        port.bits()
    }

    /// The clock lines: high, unless the controller holds them.
    fn test_inputs(&self) -> u8 {
        let command_byte = self.state.command_byte();
        let keyboard = !command_byte.contains(CommandByte::KEYBOARD_DISABLE);
        let aux = !command_byte.contains(CommandByte::AUX_DISABLE);
        u8::from(keyboard) | u8::from(aux) << 1
    }

    fn set_output_port(&mut self, value: u8) {
        let port = OutputPort::from_bits_truncate(value);
        self.state.a20 = port.contains(OutputPort::A20);
        self.state.not_reset = port.contains(OutputPort::NOT_RESET);
        if !self.state.not_reset {
            self.pull_reset();
        }
    }

    fn pull_reset(&self) {
        self.wiring
            .power
            .request(PowerRequest::Reset(ResetCause::KeyboardController));
    }

    /// An answer that was not read is overtaken by the next.
    fn answer(&mut self, byte: u8) {
        self.state.answer = Some((byte, Source::Controller));
    }

    fn write_data(&mut self, value: u8) {
        match std::mem::replace(&mut self.state.target, DataPortTarget::Keyboard) {
            DataPortTarget::Keyboard => {
                // To send, the controller must let go of the clock.
                self.state
                    .change_command_byte(CommandByte::KEYBOARD_DISABLE, false);
                self.keyboard.write(value);
            }
            DataPortTarget::Aux => {
                self.state.change_command_byte(CommandByte::AUX_DISABLE, false);
                self.mouse.write(value);
            }
            DataPortTarget::Memory(at) => {
                if let Some(byte) = self.state.memory.get_mut(usize::from(at)) {
                    *byte = value;
                }
            }
            DataPortTarget::OutputPort => self.set_output_port(value),
            DataPortTarget::KeyboardOutput => self.state.answer = Some((value, Source::Keyboard)),
            DataPortTarget::AuxOutput => self.state.answer = Some((value, Source::Aux)),
        }
    }

    fn command(&mut self, value: u8) {
        self.state.target = DataPortTarget::Keyboard;
        let Some(command) = Command::from_byte(value) else {
            log::debug!("i8042: unknown command {value:#04x}");
            return;
        };
        match command {
            Command::ReadMemory(at) => {
                let byte = self.state.memory.get(usize::from(at)).copied().unwrap_or(0);
                self.answer(byte);
            }
            Command::WriteMemory(at) => self.state.target = DataPortTarget::Memory(at),
            Command::TestPassword => self.answer(NO_PASSWORD),
            Command::DisableAux => self.state.change_command_byte(CommandByte::AUX_DISABLE, true),
            Command::EnableAux => self.state.change_command_byte(CommandByte::AUX_DISABLE, false),
            Command::TestAux | Command::TestKeyboard => self.answer(INTERFACE_TEST_PASSED),
            Command::SelfTest => {
                self.state.change_command_byte(CommandByte::SYSTEM, true);
                self.answer(SELF_TEST_PASSED);
            }
            Command::DisableKeyboard => self
                .state
                .change_command_byte(CommandByte::KEYBOARD_DISABLE, true),
            Command::EnableKeyboard => self
                .state
                .change_command_byte(CommandByte::KEYBOARD_DISABLE, false),
            Command::ReadInputPort => self.answer(INPUT_PORT),
            Command::ReadOutputPort => {
                let port = self.output_port();
                self.answer(port);
            }
            Command::WriteOutputPort => self.state.target = DataPortTarget::OutputPort,
            Command::WriteKeyboardOutput => self.state.target = DataPortTarget::KeyboardOutput,
            Command::WriteAuxOutput => self.state.target = DataPortTarget::AuxOutput,
            Command::WriteAux => self.state.target = DataPortTarget::Aux,
            Command::DisableA20 => self.state.a20 = false,
            Command::EnableA20 => self.state.a20 = true,
            Command::ReadTestInputs => {
                let clocks = self.test_inputs();
                self.answer(clocks);
            }
            Command::PulseOutput(bits) => {
                if !OutputPort::from_bits_truncate(bits).contains(OutputPort::NOT_RESET) {
                    self.pull_reset();
                }
            }
        }
    }
}

impl Device for I8042 {
    fn read_byte(&mut self, offset: u64) -> u8 {
        // A byte whose time has come is there, interrupt or not.
        self.update();
        match Port::at(offset) {
            Some(Port::Data) => {
                let data = self.read_data();
                self.update();
                data
            }
            Some(Port::Command) => self.status(),
            None => 0xff,
        }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        let Some(port) = Port::at(offset) else { return };
        match port {
            Port::Data => {
                self.state.command_written = false;
                self.write_data(value);
            }
            Port::Command => {
                self.state.command_written = true;
                self.command(value);
            }
        }
        self.update();
    }
}

impl Timed for I8042 {
    fn expire(&mut self) {
        self.update();
    }
}
