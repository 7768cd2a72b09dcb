// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The CRT controller: registers, and where the beam is.

use super::spec::{self, ClockingMode, InputStatus1, MiscOutput, crtc as cr};
use crate::clock::{Nanos, ticks};
use serde::{Deserialize, Serialize};

/// The CRT controller's registers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Crtc {
    pub index: u8,
    registers: [u8; cr::COUNT],
}

impl Crtc {
    /// The register that the index selects; 0 if there is none.
    pub fn read(&self) -> u8 {
        self.registers
            .get(usize::from(self.index & cr::INDEX_MASK))
            .copied()
            .unwrap_or(0)
    }

    /// Writes the register that the index selects, as far as CR11 does not protect it.
    pub fn write(&mut self, value: u8) {
        let at = usize::from(self.index & cr::INDEX_MASK);
        let protected = self.registers[cr::VERTICAL_RETRACE_END] & cr::PROTECT != 0;
        let Some(register) = self.registers.get_mut(at) else {
            return;
        };
        if !protected || at > cr::OVERFLOW {
            *register = value;
        } else if at == cr::OVERFLOW {
            *register = *register & !cr::OVERFLOW_UNPROTECTED | value & cr::OVERFLOW_UNPROTECTED;
        }
    }

    fn get(&self, at: usize) -> u32 {
        u32::from(self.registers[at])
    }

    /// A 10-bit vertical value: bits 8 and 9 of it stand in the overflow register.
    fn vertical(&self, low: usize, bit8: u32, bit9: u32) -> u32 {
        let overflow = self.get(cr::OVERFLOW);
        self.get(low) | (overflow >> bit8 & 1) << 8 | (overflow >> bit9 & 1) << 9
    }

    /// How many lines the beam draws for one count of the vertical counter.
    fn lines_per_count(&self) -> u32 {
        1 + u32::from(self.registers[cr::MODE_CONTROL] & cr::VERTICAL_HALF != 0)
    }

    /// Characters in a displayed line.
    pub fn columns(&self) -> u32 {
        self.get(cr::HORIZONTAL_DISPLAY_END) + 1
    }

    /// Displayed scan lines.
    pub fn lines(&self) -> u32 {
        (self.vertical(cr::VERTICAL_DISPLAY_END, 1, 6) + 1) * self.lines_per_count()
    }

    /// Scan lines of one character row, or of one line of dots in graphics.
    pub fn row_lines(&self) -> u32 {
        let maximum = self.registers[cr::MAXIMUM_SCAN_LINE];
        let double = u32::from(maximum & cr::DOUBLE_SCAN != 0);
        (u32::from(maximum & 0x1f) + 1) * (1 + double) * self.lines_per_count()
    }

    /// Scan lines above the split, where the display starts over at address 0.
    pub fn split_line(&self) -> u32 {
        let bit9 = u32::from(self.registers[cr::MAXIMUM_SCAN_LINE]) >> 6 & 1;
        let bit8 = self.get(cr::OVERFLOW) >> 4 & 1;
        ((self.get(cr::LINE_COMPARE) | bit8 << 8 | bit9 << 9) + 1) * self.lines_per_count()
    }

    /// Address of the first displayed character.
    pub fn start(&self) -> u16 {
        u16::from_be_bytes([self.registers[cr::START_HIGH], self.registers[cr::START_LOW]])
    }

    /// Characters from one row's address to the next one's.
    pub fn pitch(&self) -> u32 {
        self.get(cr::OFFSET) * 2
    }

    /// Address of the character with the cursor; `None` while the cursor is off or has no line.
    pub fn cursor(&self) -> Option<u16> {
        let start = self.registers[cr::CURSOR_START];
        let visible = start & cr::CURSOR_OFF == 0 && start & 0x1f <= self.registers[cr::CURSOR_END] & 0x1f;
        visible.then(|| u16::from_be_bytes([self.registers[cr::CURSOR_HIGH], self.registers[cr::CURSOR_LOW]]))
    }

    /// The timing that the registers describe.
    pub fn timing(&self, clocking: ClockingMode, misc: MiscOutput) -> Timing {
        let factor = self.lines_per_count();
        let start = self.vertical(cr::VERTICAL_RETRACE_START, 2, 7);
        // Only four bits of the line where retrace ends are kept: it ends when they match, at the latest after 16 lines.
        let width = (self.get(cr::VERTICAL_RETRACE_END).wrapping_sub(start) & 0xf).wrapping_sub(1) & 0xf;
        let half = u32::from(clocking.contains(ClockingMode::DOT_CLOCK_HALF));
        let timing = Timing {
            clock: if misc.contains(MiscOutput::CLOCK_28) {
                spec::CLOCK_28
            } else {
                spec::CLOCK_25
            },
            character: (if clocking.contains(ClockingMode::DOTS_8) {
                8
            } else {
                9
            }) << half,
            line: self.get(cr::HORIZONTAL_TOTAL) + 5,
            line_display: self.columns(),
            frame: (self.vertical(cr::VERTICAL_TOTAL, 0, 5) + 2) * factor,
            frame_display: self.lines(),
            retrace: start * factor,
            retrace_lines: (width + 1) * factor,
        };
        if timing.is_plausible() {
            timing
        } else {
            Timing::TEXT
        }
    }
}

/// One frame of the picture signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timing {
    /// Master clock in hertz.
    clock: u64,
    /// Master clocks in a character.
    character: u32,
    /// Characters in a line, with blanking.
    line: u32,
    /// Displayed characters.
    line_display: u32,
    /// Lines in a frame, with blanking.
    frame: u32,
    /// Displayed lines.
    frame_display: u32,
    /// First line of vertical retrace.
    retrace: u32,
    /// Lines of vertical retrace.
    retrace_lines: u32,
}

impl Timing {
    /// 720 × 400 text: 31.5 kHz, 70 Hz.
    pub const TEXT: Self = Self {
        clock: spec::CLOCK_28,
        character: 9,
        line: 100,
        line_display: 80,
        frame: 449,
        frame_display: 400,
        retrace: 412,
        retrace_lines: 2,
    };

    fn frame_clocks(&self) -> u64 {
        u64::from(self.character) * u64::from(self.line) * u64::from(self.frame)
    }

    /// Whether a monitor could follow. A guest that waits for retrace before anyone programmed the CRTC must not wait for ever, so
    /// the standard text timing stands in for values that would never retrace or never end to.
    fn is_plausible(&self) -> bool {
        let hertz = self.clock / self.frame_clocks().max(1);
        (30..=200).contains(&hertz)
            && self.line_display < self.line
            && self.frame_display < self.frame
            && self.retrace + self.retrace_lines <= self.frame
    }

    /// What input status 1 shows of the beam at time `now`.
    pub fn status(&self, now: Nanos) -> InputStatus1 {
        let clocks = ticks(now, self.clock) % self.frame_clocks().max(1);
        let characters = clocks / u64::from(self.character.max(1));
        let line = characters / u64::from(self.line.max(1));
        let column = characters % u64::from(self.line.max(1));
        let retrace = u64::from(self.retrace)..u64::from(self.retrace + self.retrace_lines);
        let mut status = InputStatus1::empty();
        status.set(
            InputStatus1::DISPLAY_DISABLED,
            line >= u64::from(self.frame_display) || column >= u64::from(self.line_display),
        );
        status.set(InputStatus1::VERTICAL_RETRACE, retrace.contains(&line));
        status
    }
}
