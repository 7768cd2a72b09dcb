// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Numbers of the keyboard controller and of the PS/2 port, from IBM's PS/2 Hardware Interface Technical Reference (keyboard and auxiliary
//! device controller; keyboards; mouse) and the Intel UPI-41/42 data sheet.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

bitflags! {
    /// Status register, port 64h.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Status: u8 {
        /// A byte waits in the output buffer.
        const OUTPUT_FULL = 1 << 0;
        /// A byte waits in the input buffer.
        const INPUT_FULL = 1 << 1;
        /// System flag: the self-test has passed.
        const SYSTEM = 1 << 2;
        /// The last write went to port 64h.
        const COMMAND = 1 << 3;
        /// The keyboard is not locked by its key.
        const UNLOCKED = 1 << 4;
        /// The byte in the output buffer is the auxiliary device's.
        const AUX_OUTPUT_FULL = 1 << 5;
    }
}

bitflags! {
    /// Command byte: byte 0 of the controller's memory.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct CommandByte: u8 {
        /// Keyboard bytes interrupt.
        const KEYBOARD_INTERRUPT = 1 << 0;
        /// Auxiliary bytes interrupt.
        const AUX_INTERRUPT = 1 << 1;
        /// Shows as [`Status::SYSTEM`].
        const SYSTEM = 1 << 2;
        /// The clock of the keyboard port is held low.
        const KEYBOARD_DISABLE = 1 << 4;
        /// The clock of the auxiliary port is held low.
        const AUX_DISABLE = 1 << 5;
        /// Scan codes of set 2 become those of set 1.
        const TRANSLATE = 1 << 6;
    }
}

bitflags! {
    /// Output port of the microcontroller.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct OutputPort: u8 {
        /// Processor reset, active low.
        const NOT_RESET = 1 << 0;
        /// Address line 20 is let through.
        const A20 = 1 << 1;
        /// IRQ 1.
        const KEYBOARD_OUTPUT = 1 << 4;
        /// IRQ 12.
        const AUX_OUTPUT = 1 << 5;
        /// Lines of the two ports, all high when nothing is sent.
        const LINES = 0xcc;
    }
}

/// Input port: the key lock is open, a colour display is fitted, no manufacturing jumper.
pub const INPUT_PORT: u8 = 0xa0;
/// SELF TEST passed.
pub const SELF_TEST_PASSED: u8 = 0x55;
/// INTERFACE TEST passed.
pub const INTERFACE_TEST_PASSED: u8 = 0x00;
/// TEST PASSWORD: none installed.
pub const NO_PASSWORD: u8 = 0xf1;

/// Commands at port 64h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Read a byte of the controller's memory, 0 to 31.
    ReadMemory(u8),
    /// Write one.
    WriteMemory(u8),
    /// Test password.
    TestPassword,
    /// Disable the auxiliary port.
    DisableAux,
    /// Enable it.
    EnableAux,
    /// Test its lines.
    TestAux,
    /// Self-test.
    SelfTest,
    /// Test the keyboard port's lines.
    TestKeyboard,
    /// Disable the keyboard port.
    DisableKeyboard,
    /// Enable it.
    EnableKeyboard,
    /// Read the input port.
    ReadInputPort,
    /// Read the output port.
    ReadOutputPort,
    /// Write the output port.
    WriteOutputPort,
    /// Put a byte into the output buffer as if the keyboard had sent it.
    WriteKeyboardOutput,
    /// Put a byte into the output buffer as if the auxiliary device had sent it.
    WriteAuxOutput,
    /// Send a byte to the auxiliary device.
    WriteAux,
    /// Switch address line 20 off, as clones have it.
    DisableA20,
    /// Switch it on.
    EnableA20,
    /// Read the test inputs, which are the ports' clock lines.
    ReadTestInputs,
    /// Pulse those output port bits low whose bits are clear.
    PulseOutput(u8),
}

impl Command {
    /// A byte written to port 64h.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x20..=0x3f => Self::ReadMemory(byte & 0x1f),
            0x60..=0x7f => Self::WriteMemory(byte & 0x1f),
            0xa4 => Self::TestPassword,
            0xa7 => Self::DisableAux,
            0xa8 => Self::EnableAux,
            0xa9 => Self::TestAux,
            0xaa => Self::SelfTest,
            0xab => Self::TestKeyboard,
            0xad => Self::DisableKeyboard,
            0xae => Self::EnableKeyboard,
            0xc0 => Self::ReadInputPort,
            0xd0 => Self::ReadOutputPort,
            0xd1 => Self::WriteOutputPort,
            0xd2 => Self::WriteKeyboardOutput,
            0xd3 => Self::WriteAuxOutput,
            0xd4 => Self::WriteAux,
            0xdd => Self::DisableA20,
            0xdf => Self::EnableA20,
            0xe0 => Self::ReadTestInputs,
            0xf0..=0xff => Self::PulseOutput(byte & 0x0f),
            _ => return None,
        })
    }
}

/// What both devices answer.
pub mod answer {
    /// Understood.
    pub const ACK: u8 = 0xfa;
    /// Not understood: send it again.
    pub const RESEND: u8 = 0xfe;
    /// Basic assurance test passed.
    pub const TEST_PASSED: u8 = 0xaa;
    /// Echo.
    pub const ECHO: u8 = 0xee;
}

/// Keyboard commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyboardCommand {
    /// Set the indicators; one parameter.
    SetLeds,
    /// Echo.
    Echo,
    /// Select a scan code set, or ask for it; one parameter.
    ScanCodeSet,
    /// Read the identification.
    Identify,
    /// Set typematic rate and delay; one parameter.
    SetTypematic,
    /// Start scanning.
    Enable,
    /// Stop scanning, with default settings.
    DefaultDisable,
    /// Default settings.
    SetDefault,
    /// Set 3: the kind of all keys.
    SetAllKeys,
    /// Set 3: the kind of the keys that follow.
    SetKeys,
    /// Send the last byte again.
    Resend,
    /// Reset and test.
    Reset,
}

impl KeyboardCommand {
    /// The lowest byte that is a command: a parameter is below it.
    pub const FIRST: u8 = 0xed;

    /// A byte for the keyboard.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0xed => Self::SetLeds,
            0xee => Self::Echo,
            0xf0 => Self::ScanCodeSet,
            0xf2 => Self::Identify,
            0xf3 => Self::SetTypematic,
            0xf4 => Self::Enable,
            0xf5 => Self::DefaultDisable,
            0xf6 => Self::SetDefault,
            0xf7..=0xfa => Self::SetAllKeys,
            0xfb..=0xfd => Self::SetKeys,
            0xfe => Self::Resend,
            0xff => Self::Reset,
            _ => return None,
        })
    }
}

/// Identification of an MF II keyboard.
pub const KEYBOARD_ID: [u8; 2] = [0xab, 0x83];

/// Mouse commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MouseCommand {
    /// Counts as they are.
    SetScaling1To1,
    /// Fast movements count double.
    SetScaling2To1,
    /// Set resolution; one parameter.
    SetResolution,
    /// Report settings.
    StatusRequest,
    /// Report movement when it happens.
    SetStreamMode,
    /// Report movement now.
    ReadData,
    /// Leave wrap mode.
    ResetWrapMode,
    /// Send back each byte.
    SetWrapMode,
    /// Report movement when asked.
    SetRemoteMode,
    /// Read the identification.
    Identify,
    /// Set samples a second; one parameter.
    SetSampleRate,
    /// Start reporting.
    Enable,
    /// Stop reporting.
    Disable,
    /// Default settings.
    SetDefault,
    /// Send the last answer again.
    Resend,
    /// Reset and test.
    Reset,
}

impl MouseCommand {
    /// A byte for the mouse.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0xe6 => Self::SetScaling1To1,
            0xe7 => Self::SetScaling2To1,
            0xe8 => Self::SetResolution,
            0xe9 => Self::StatusRequest,
            0xea => Self::SetStreamMode,
            0xeb => Self::ReadData,
            0xec => Self::ResetWrapMode,
            0xee => Self::SetWrapMode,
            0xf0 => Self::SetRemoteMode,
            0xf2 => Self::Identify,
            0xf3 => Self::SetSampleRate,
            0xf4 => Self::Enable,
            0xf5 => Self::Disable,
            0xf6 => Self::SetDefault,
            0xfe => Self::Resend,
            0xff => Self::Reset,
            _ => return None,
        })
    }
}

/// What kind of mouse it shows itself to be; the identification's byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[repr(u8)]
pub enum MouseKind {
    /// Three buttons.
    Standard = 0,
    /// And a wheel, after sample rates 200, 100, 80 (Microsoft IntelliMouse).
    Wheel = 3,
    /// And two more buttons, after sample rates 200, 200, 80 (IntelliMouse Explorer).
    FiveButtons = 4,
}

bitflags! {
    /// First byte of the answer to a status request; the low three bits are the buttons.
    pub struct MouseStatus: u8 {
        /// Scaling is 2:1.
        const SCALING_2_TO_1 = 1 << 4;
        /// Reporting is on.
        const ENABLED = 1 << 5;
        /// Remote mode.
        const REMOTE = 1 << 6;
    }
}

/// Sample rates that a mouse knows, in reports a second.
pub const SAMPLE_RATES: [u8; 7] = [10, 20, 40, 60, 80, 100, 200];
/// Sample rate after a reset.
pub const SAMPLE_RATE_DEFAULT: u8 = 100;
/// Highest resolution: 8 counts a millimetre, as a power of two.
pub const RESOLUTION_MAX: u8 = 3;
/// Resolution after a reset: 4 counts a millimetre.
pub const RESOLUTION_DEFAULT: u8 = 2;

bitflags! {
    /// First byte of a movement report; the low three bits are the buttons.
    pub struct Report: u8 {
        /// Always set.
        const ALWAYS = 1 << 3;
        /// The horizontal count is negative.
        const X_SIGN = 1 << 4;
        /// The vertical count is negative.
        const Y_SIGN = 1 << 5;
    }
}
