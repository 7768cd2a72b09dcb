// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One 8237A: four channels of 16-bit addresses and counts. What an address means in bytes is a matter of the wiring around it.

use super::spec::{ALL_MASKED, CHANNELS, Command, Mode, ReadRegister, Service, WriteRegister};
use serde::{Deserialize, Serialize};

/// One channel's registers.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Channel {
    base_address: u16,
    base_count: u16,
    address: u16,
    /// Transfers still to do, less one.
    count: u16,
    mode: Mode,
}

/// Everything that the hardware reset pin clears.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    channels: [Channel; CHANNELS],
    command: Command,
    /// One bit a channel.
    mask: u8,
    /// Software requests, one bit a channel.
    request: u8,
    /// Terminal counts since the status was last read, one bit a channel.
    terminal_counts: u8,
    /// The flip-flop: the next byte is a high one.
    high_byte: bool,
}

impl State {
    fn new() -> Self {
        Self {
            channels: [Channel::default(); CHANNELS],
            command: Command::empty(),
            mask: ALL_MASKED,
            request: 0,
            terminal_counts: 0,
            high_byte: false,
        }
    }
}

/// Addresses that a channel runs through without a break: `units` transfers from `first`, up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The 16-bit address of the first transfer.
    pub first: u16,
    /// Transfers; never 0.
    pub units: usize,
    /// Each address is one lower than the one before.
    pub down: bool,
    /// The channel's terminal count came with the last of them.
    pub terminal_count: bool,
}

/// The chip.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Controller {
    state: State,
}

impl Controller {
    /// A chip after its reset pin was pulled.
    pub fn new() -> Self {
        Self { state: State::new() }
    }

    /// The channel's mode.
    pub fn mode(&self, channel: usize) -> Mode {
        self.state.channels[channel].mode
    }

    /// A request on this channel would be granted the bus.
    pub fn grants(&self, channel: usize) -> bool {
        self.state.mask & (1 << channel) == 0 && !self.state.command.contains(Command::DISABLE)
    }

    /// Runs `channel` on for at most `units` transfers, at most to the point where its address wraps or its count ends.
    pub fn run(&mut self, channel: usize, units: usize) -> Option<Run> {
        let bit = 1 << channel;
        let state = &mut self.state;
        let ch = &mut state.channels[channel];
        let down = ch.mode.decrement();
        let to_wrap = if down {
            usize::from(ch.address) + 1
        } else {
            0x1_0000 - usize::from(ch.address)
        };
        let to_end = usize::from(ch.count) + 1;
        let units = units.min(to_wrap).min(to_end);
        if units == 0 {
            return None;
        }
        let first = ch.address;
        // Both fit but for the full 64 Ki, which wraps to where it was.
        let moved = units as u16;
        ch.address = if down {
            first.wrapping_sub(moved)
        } else {
            first.wrapping_add(moved)
        };
        ch.count = ch.count.wrapping_sub(moved);
        let terminal_count = units == to_end;
        if terminal_count {
            state.terminal_counts |= bit;
            state.request &= !bit;
            if ch.mode.autoinitialize() {
                ch.address = ch.base_address;
                ch.count = ch.base_count;
            } else {
                state.mask |= bit;
            }
        }
        Some(Run {
            first,
            units,
            down,
            terminal_count,
        })
    }

    /// One byte from the register at A3-A0 = `code`.
    pub fn read(&mut self, code: u8) -> u8 {
        let state = &mut self.state;
        match ReadRegister::decode(code) {
            ReadRegister::Address(n) => half(state.channels[n].address, toggle(&mut state.high_byte)),
            ReadRegister::Count(n) => half(state.channels[n].count, toggle(&mut state.high_byte)),
            ReadRegister::Status => {
                let terminal_counts = std::mem::take(&mut state.terminal_counts);
                state.request << 4 | terminal_counts
            }
            ReadRegister::Temporary => 0,
            ReadRegister::Mask => state.mask,
            ReadRegister::Reserved => 0xff,
        }
    }

    /// One byte to the register at A3-A0 = `code`.
    pub fn write(&mut self, code: u8, value: u8) {
        let state = &mut self.state;
        let bit = 1 << (value & 3);
        let set = value & 4 != 0;
        match WriteRegister::decode(code) {
            WriteRegister::Address(n) => {
                let ch = &mut state.channels[n];
                let high = toggle(&mut state.high_byte);
                put_half(&mut ch.base_address, high, value);
                put_half(&mut ch.address, high, value);
            }
            WriteRegister::Count(n) => {
                let ch = &mut state.channels[n];
                let high = toggle(&mut state.high_byte);
                put_half(&mut ch.base_count, high, value);
                put_half(&mut ch.count, high, value);
            }
            WriteRegister::Command => state.command = Command::from_bits_retain(value),
            WriteRegister::Request => {
                state.request = if set {
                    state.request | bit
                } else {
                    state.request & !bit
                };
                self.serve_software_request(usize::from(value & 3));
            }
            WriteRegister::SingleMask => {
                state.mask = if set { state.mask | bit } else { state.mask & !bit };
            }
            WriteRegister::Mode => state.channels[usize::from(value & 3)].mode = Mode::new(value),
            WriteRegister::ClearFlipFlop => state.high_byte = false,
            // The mode, address and count registers survive; the rest is as after reset.
            WriteRegister::MasterClear => {
                self.state = State {
                    channels: state.channels,
                    ..State::new()
                };
            }
            WriteRegister::ClearMask => state.mask = 0,
            WriteRegister::AllMask => state.mask = value & ALL_MASKED,
        }
    }

    /// A software request on a block-mode channel runs to its terminal count. No device drives the bus meanwhile, so no data moves.
    /// Software requests cannot be masked.
    fn serve_software_request(&mut self, channel: usize) {
        let requested = self.state.request & (1 << channel) != 0;
        if !requested
            || self.state.command.contains(Command::DISABLE)
            || self.mode(channel).service() != Service::Block
        {
            return;
        }
        // Twice at most: the address wraps once in 64 Ki transfers.
        while let Some(run) = self.run(channel, 0x1_0000) {
            if run.terminal_count {
                break;
            }
        }
    }
}

/// The flip-flop before it turned.
fn toggle(high_byte: &mut bool) -> bool {
    std::mem::replace(high_byte, !*high_byte)
}

fn half(value: u16, high: bool) -> u8 {
    value.to_le_bytes()[usize::from(high)]
}

fn put_half(register: &mut u16, high: bool, value: u8) {
    let mut bytes = register.to_le_bytes();
    bytes[usize::from(high)] = value;
    *register = u16::from_le_bytes(bytes);
}
