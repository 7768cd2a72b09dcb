// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a text mode shows.

use super::cp437;
use super::spec::TEXT_BYTES;
use crate::ram::GuestRam;
use std::fmt;

/// One character cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cell {
    /// The character, in code page 437.
    pub character: u8,
    /// Foreground colour in bits 0 to 3, background in 4 to 6; bit 7 blinks or is the background's intensity.
    pub attribute: u8,
}

/// Where the cursor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Row from 0.
    pub row: u32,
    /// Column from 0.
    pub column: u32,
}

/// A picture of the text screen at one time. `to_string` gives its characters as Unicode, a line for each row and without spaces at
/// their ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextScreen {
    /// Characters in a row.
    pub columns: u32,
    /// Rows.
    pub rows: u32,
    /// `columns * rows` cells, row by row.
    pub cells: Vec<Cell>,
    /// The cursor, if it is on and on the screen.
    pub cursor: Option<Cursor>,
    /// Bit 7 of attributes blinks; if not, it is the background's intensity.
    pub blink: bool,
    /// The screen is dark for the moment, whatever the cells hold.
    pub blanked: bool,
}

/// How the registers lay the screen out in memory.
pub(super) struct Layout {
    /// Guest-physical address of the text memory.
    pub base: u64,
    pub columns: u32,
    pub rows: u32,
    /// Characters from one row to the next in memory.
    pub pitch: u32,
    /// Character address of the first row.
    pub start: u16,
    /// Rows before the display starts over at address 0.
    pub rows_above_split: u32,
    pub cursor: Option<u16>,
    pub blink: bool,
    pub blanked: bool,
}

/// Characters in the text memory; addresses wrap there.
const CHARACTERS: u32 = (TEXT_BYTES / 2) as u32;

impl Layout {
    /// Reads the cells. Memory that is not there reads as blank.
    pub fn read(&self, ram: &dyn GuestRam) -> TextScreen {
        let mut text = vec![0; TEXT_BYTES as usize];
        if ram.read(self.base, &mut text).is_err() {
            text.fill(0);
        }
        let at = |address: u32| {
            let from = (address % CHARACTERS) as usize * 2;
            Cell {
                character: text[from],
                attribute: text[from + 1],
            }
        };
        TextScreen {
            columns: self.columns,
            rows: self.rows,
            cells: (0..self.rows)
                .flat_map(|row| {
                    let first = self.row_address(row);
                    (first..first + self.columns).map(at)
                })
                .collect(),
            cursor: self.find_cursor(),
            blink: self.blink,
            blanked: self.blanked,
        }
    }

    /// Character address of the first cell of `row`.
    fn row_address(&self, row: u32) -> u32 {
        match row.checked_sub(self.rows_above_split) {
            None => u32::from(self.start) + row * self.pitch,
            Some(below) => below * self.pitch,
        }
    }

    fn find_cursor(&self) -> Option<Cursor> {
        let address = u32::from(self.cursor?) % CHARACTERS;
        (0..self.rows).find_map(|row| {
            let first = self.row_address(row) % CHARACTERS;
            let column = (address + CHARACTERS - first) % CHARACTERS;
            (column < self.columns).then_some(Cursor { row, column })
        })
    }
}

/// ANSI's order of the eight colours (red is 1) for the VGA's (blue is 1).
const ANSI: [u8; 8] = [0, 4, 2, 6, 1, 5, 3, 7];

impl TextScreen {
    fn lines(&self) -> impl Iterator<Item = &[Cell]> {
        // A zero width cannot come from the registers.
        self.cells.chunks(self.columns.max(1) as usize)
    }

    /// The screen with its sixteen colours as ANSI escape sequences, each row on a line of its own.
    pub fn to_ansi(&self) -> String {
        let mut out = String::new();
        for line in self.lines() {
            let mut shown = None;
            for cell in line {
                if shown != Some(cell.attribute) {
                    out.push_str(&self.sgr(cell.attribute));
                    shown = Some(cell.attribute);
                }
                out.push(cp437::to_unicode(cell.character));
            }
            out.push_str("\x1b[0m\n");
        }
        out
    }

    /// "Select graphic rendition" for an attribute.
    fn sgr(&self, attribute: u8) -> String {
        let colour = |bits: u8| ANSI[usize::from(bits & 7)];
        let high = attribute & 0x80 != 0;
        let foreground = colour(attribute) + if attribute & 8 != 0 { 90 } else { 30 };
        let background = colour(attribute >> 4) + if high && !self.blink { 100 } else { 40 };
        let blink = if high && self.blink { ";5" } else { "" };
        format!("\x1b[0;{foreground};{background}{blink}m")
    }
}

impl fmt::Display for TextScreen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.lines() {
            let line: String = line
                .iter()
                .map(|cell| cp437::to_unicode(cell.character))
                .collect();
            writeln!(f, "{}", line.trim_end_matches(' '))?;
        }
        Ok(())
    }
}
