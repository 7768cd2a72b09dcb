// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A VGA: registers, planes and text memory, as far as firmware and text-mode guests need them.
//!
//! # What it is
//!
//! An ISA VGA with 256 KiB of display memory. All registers of the IBM VGA hold what was written and act on the data path; nothing
//! is drawn, but [`Vga::text_screen`] tells what a text mode would show.
//!
//! # On the buses
//!
//! One [`Vga`] answers on both buses, and offsets are absolute: [`PORTS`] go to the port bus with the port number as base, and
//! [`WINDOW`] to the memory bus with its address as base.
//!
//! # Where it differs from a real card
//!
//! - **B0000h-BFFFFh is ordinary guest memory, always.** A text-mode guest then writes its screen without an exit for each
//!   character, and [`Vga::text_screen`] reads it from there. So that window is no alias of planes 0 and 1: what is written to
//!   text memory cannot be read back through A0000h, and CGA graphics land in memory that no plane sees. Fonts (plane 2, through
//!   A0000h) are real.
//! - There is no Bochs "DISPI" interface: ports 1CEh and 1CFh stay unclaimed. SeaVGABIOS (the `vgabios-isavga.bin` of Debian's
//!   `seabios` package) then says "No VBE DISPI interface detected, falling back to stdvga" and offers the standard modes, which
//!   is what a card without a linear frame buffer must do: a guest that was offered VBE modes would draw to nowhere.
//! - The page select bit of the miscellaneous output register is stored only: odd/even addressing reaches the low page.
//! - The vertical interrupt is not wired (nor is it on most cards), the light pen is absent, and the feature bits of input
//!   status 1 read as zero.

mod attribute;
mod cp437;
mod crtc;
mod dac;
mod memory;
mod snapshot;
mod spec;
mod text;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
pub use text::{Cell, Cursor, TextScreen};

use crate::bus::Device;
use crate::clock::Clock;
use crate::ram::GuestRam;
use attribute::{Attribute, Toggle};
use crtc::Crtc;
use dac::Dac;
use memory::{Addressing, Graphics, Memory};
use spec::{AttributeMode, ClockingMode, GraphicsMisc, MemoryMode, MiscOutput, sequencer as sr};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The ports to map, each with its own number as base. 3BCh-3BFh are left to a printer port.
pub const PORTS: [RangeInclusive<u64>; 3] = [0x3b4..=0x3bb, 0x3c0..=0x3cf, 0x3d4..=0x3db];

/// The memory range to map, with its address as base.
pub const WINDOW: RangeInclusive<u64> = spec::WINDOW_FIRST..=spec::WINDOW_LAST;

/// What the card would show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: the sequencer is held in reset, as after power-on.
    Off,
    /// Characters.
    Text {
        /// Characters in a row.
        columns: u32,
        /// Rows.
        rows: u32,
    },
    /// Dots; nothing is drawn of them.
    Graphics {
        /// Scan lines, each counted as often as it is shown.
        lines: u32,
    },
}

/// The card.
pub struct Vga {
    // Dependencies.
    ram: Arc<dyn GuestRam>,
    clock: Arc<dyn Clock>,
    // Memory, which a reset does not clear.
    memory: Memory,
    // Volatile state.
    state: State,
}

/// Everything that a reset puts back.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    misc: u8,
    feature: u8,
    sequencer_index: u8,
    sequencer: [u8; sr::MASKS.len()],
    crtc: Crtc,
    graphics: Graphics,
    attribute: Attribute,
    dac: Dac,
}

/// What a read cycle reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadRegister {
    AttributeIndex,
    AttributeData,
    InputStatus0,
    SequencerIndex,
    SequencerData,
    PixelMask,
    DacState,
    DacAddress,
    DacData,
    Feature,
    Misc,
    GraphicsIndex,
    GraphicsData,
    CrtcIndex,
    CrtcData,
    InputStatus1,
}

impl ReadRegister {
    /// `colour`: the CRTC answers at 3Dxh, not at 3Bxh.
    fn decode(port: u64, colour: bool) -> Option<Self> {
        Some(match (port, colour) {
            (0x3c0, _) => Self::AttributeIndex,
            (0x3c1, _) => Self::AttributeData,
            (0x3c2, _) => Self::InputStatus0,
            (0x3c4, _) => Self::SequencerIndex,
            (0x3c5, _) => Self::SequencerData,
            (0x3c6, _) => Self::PixelMask,
            (0x3c7, _) => Self::DacState,
            (0x3c8, _) => Self::DacAddress,
            (0x3c9, _) => Self::DacData,
            (0x3ca, _) => Self::Feature,
            (0x3cc, _) => Self::Misc,
            (0x3ce, _) => Self::GraphicsIndex,
            (0x3cf, _) => Self::GraphicsData,
            (0x3d4, true) | (0x3b4, false) => Self::CrtcIndex,
            (0x3d5, true) | (0x3b5, false) => Self::CrtcData,
            (0x3da, true) | (0x3ba, false) => Self::InputStatus1,
            _ => return None,
        })
    }
}

/// What a write cycle reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteRegister {
    Attribute,
    Misc,
    SequencerIndex,
    SequencerData,
    PixelMask,
    DacReadAddress,
    DacWriteAddress,
    DacData,
    GraphicsIndex,
    GraphicsData,
    CrtcIndex,
    CrtcData,
    Feature,
}

impl WriteRegister {
    /// `colour`: the CRTC answers at 3Dxh, not at 3Bxh.
    fn decode(port: u64, colour: bool) -> Option<Self> {
        Some(match (port, colour) {
            (0x3c0, _) => Self::Attribute,
            (0x3c2, _) => Self::Misc,
            (0x3c4, _) => Self::SequencerIndex,
            (0x3c5, _) => Self::SequencerData,
            (0x3c6, _) => Self::PixelMask,
            (0x3c7, _) => Self::DacReadAddress,
            (0x3c8, _) => Self::DacWriteAddress,
            (0x3c9, _) => Self::DacData,
            (0x3ce, _) => Self::GraphicsIndex,
            (0x3cf, _) => Self::GraphicsData,
            (0x3d4, true) | (0x3b4, false) => Self::CrtcIndex,
            (0x3d5, true) | (0x3b5, false) => Self::CrtcData,
            (0x3da, true) | (0x3ba, false) => Self::Feature,
            _ => return None,
        })
    }
}

impl Vga {
    /// A card after power-on. `ram` is where the guest's text memory is, `clock` moves the beam.
    pub fn new(ram: Arc<dyn GuestRam>, clock: Arc<dyn Clock>) -> Self {
        Self {
            ram,
            clock,
            memory: Memory::default(),
            state: State::default(),
        }
    }

    /// The bus's reset signal. Display memory keeps its contents.
    pub fn reset(&mut self) {
        self.state = State::default();
    }

    /// What the registers make of the screen. A screen that is blanked for a moment (screen off, palette being loaded) keeps its
    /// mode.
    pub fn mode(&self) -> Mode {
        let state = &self.state;
        if state.sequencer[sr::RESET] & sr::RESET_RUN != sr::RESET_RUN {
            Mode::Off
        } else if state.graphics.misc().contains(GraphicsMisc::GRAPHICS) {
            Mode::Graphics {
                lines: state.crtc.lines(),
            }
        } else {
            Mode::Text {
                columns: state.crtc.columns(),
                rows: state.crtc.lines() / state.crtc.row_lines(),
            }
        }
    }

    /// The screen of a text mode, read from guest memory; `None` in [`Mode::Off`] and [`Mode::Graphics`].
    pub fn text_screen(&self) -> Option<TextScreen> {
        let Mode::Text { columns, rows } = self.mode() else {
            return None;
        };
        let state = &self.state;
        let base = match state.graphics.memory_map() {
            2 => spec::MONO_TEXT,
            3 => spec::COLOUR_TEXT,
            _ if state.misc().contains(MiscOutput::IO_COLOUR) => spec::COLOUR_TEXT,
            _ => spec::MONO_TEXT,
        };
        let attribute_mode = state.attribute.get(spec::attribute::MODE);
        let blanked =
            state.clocking().contains(ClockingMode::SCREEN_OFF) || !state.attribute.palette_feeds_display();
        Some(
            text::Layout {
                base,
                columns,
                rows,
                pitch: state.crtc.pitch(),
                start: state.crtc.start(),
                rows_above_split: state.crtc.split_line().div_ceil(state.crtc.row_lines()),
                cursor: state.crtc.cursor(),
                blink: AttributeMode::from_bits_truncate(attribute_mode).contains(AttributeMode::BLINK),
                blanked,
            }
            .read(&*self.ram),
        )
    }

    fn read_port(&mut self, port: u64) -> u8 {
        let state = &mut self.state;
        let colour = state.misc().contains(MiscOutput::IO_COLOUR);
        let Some(register) = ReadRegister::decode(port, colour) else {
            return 0xff;
        };
        match register {
            ReadRegister::AttributeIndex => state.attribute.index(),
            ReadRegister::AttributeData => state.attribute.read_data(),
            ReadRegister::InputStatus0 => spec::SWITCH_SENSE,
            ReadRegister::SequencerIndex => state.sequencer_index,
            ReadRegister::SequencerData => {
                state.sequencer[usize::from(state.sequencer_index & sr::INDEX_MASK)]
            }
            ReadRegister::PixelMask => state.dac.pixel_mask,
            ReadRegister::DacState => state.dac.state(),
            ReadRegister::DacAddress => state.dac.address(),
            ReadRegister::DacData => state.dac.read(),
            ReadRegister::Feature => state.feature,
            ReadRegister::Misc => state.misc,
            ReadRegister::GraphicsIndex => state.graphics.index,
            ReadRegister::GraphicsData => state.graphics.read_register(),
            ReadRegister::CrtcIndex => state.crtc.index,
            ReadRegister::CrtcData => state.read_crtc(),
            ReadRegister::InputStatus1 => {
                state.attribute.reset_toggle();
                let timing = state.crtc.timing(state.clocking(), state.misc());
                timing.status(self.clock.now()).bits()
            }
        }
    }

    fn write_port(&mut self, port: u64, value: u8) {
        let state = &mut self.state;
        let colour = state.misc().contains(MiscOutput::IO_COLOUR);
        let Some(register) = WriteRegister::decode(port, colour) else {
            return;
        };
        match register {
            WriteRegister::Attribute => state.attribute.write(value),
            WriteRegister::Misc => state.misc = value,
            WriteRegister::SequencerIndex => state.sequencer_index = value & sr::INDEX_MASK,
            WriteRegister::SequencerData => {
                let at = usize::from(state.sequencer_index & sr::INDEX_MASK);
                state.sequencer[at] = value & sr::MASKS[at];
            }
            WriteRegister::PixelMask => state.dac.pixel_mask = value,
            WriteRegister::DacReadAddress => state.dac.set_read_address(value),
            WriteRegister::DacWriteAddress => state.dac.set_write_address(value),
            WriteRegister::DacData => state.dac.write(value),
            WriteRegister::GraphicsIndex => state.graphics.index = value & spec::graphics::INDEX_MASK,
            WriteRegister::GraphicsData => state.graphics.write_register(value),
            WriteRegister::CrtcIndex => state.crtc.index = value & spec::crtc::INDEX_MASK,
            WriteRegister::CrtcData => state.crtc.write(value),
            WriteRegister::Feature => state.feature = value & 3,
        }
    }

    /// The address inside the window, if the card's memory answers there: it must be enabled, and the memory map must include
    /// A0000h.
    fn window(&self, address: u64) -> Option<u16> {
        let enabled =
            self.state.misc().contains(MiscOutput::RAM_ENABLE) && self.state.graphics.memory_map() < 2;
        enabled.then_some((address - spec::WINDOW_FIRST) as u16)
    }
}

impl State {
    fn misc(&self) -> MiscOutput {
        MiscOutput::from_bits_retain(self.misc)
    }

    fn clocking(&self) -> ClockingMode {
        ClockingMode::from_bits_truncate(self.sequencer[sr::CLOCKING_MODE])
    }

    fn addressing(&self) -> Addressing {
        Addressing {
            map_mask: self.sequencer[sr::MAP_MASK],
            memory_mode: MemoryMode::from_bits_truncate(self.sequencer[sr::MEMORY_MODE]),
        }
    }

    /// The CRTC's decoder also reads three registers of the other chips.
    fn read_crtc(&self) -> u8 {
        match usize::from(self.crtc.index) {
            spec::crtc::LATCH => self.graphics.selected_latch(),
            spec::crtc::ATTRIBUTE_TOGGLE => match self.attribute.toggle() {
                Toggle::Index => 0,
                Toggle::Data => 0x80,
            },
            spec::crtc::ATTRIBUTE_INDEX => self.attribute.index(),
            _ => self.crtc.read(),
        }
    }
}

impl Device for Vga {
    fn read_byte(&mut self, offset: u64) -> u8 {
        if !WINDOW.contains(&offset) {
            return self.read_port(offset);
        }
        match self.window(offset) {
            Some(address) => {
                let addressing = self.state.addressing();
                self.state.graphics.read(&self.memory, address, addressing)
            }
            None => 0xff,
        }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        if !WINDOW.contains(&offset) {
            self.write_port(offset, value);
        } else if let Some(address) = self.window(offset) {
            let addressing = self.state.addressing();
            self.state
                .graphics
                .write(&mut self.memory, address, value, addressing);
        }
    }
}
