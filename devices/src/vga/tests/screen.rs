// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Text screens.

use super::*;

/// A screen whose text memory holds `text` from `address` on, all in attribute 07h.
fn put(b: &Bench, address: usize, text: &str) {
    for (i, byte) in text.bytes().enumerate() {
        b.ram.put(address + 2 * i, &[byte, 0x07]);
    }
}

fn lines(b: &Bench) -> Vec<String> {
    let screen = b.vga.text_screen().unwrap();
    screen.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn eighty_by_twenty_five() {
    let b = Bench::mode_3();
    put(&b, 0xb_8000, "C:\\>dir   ");
    put(&b, 0xb_8000 + 24 * 160, "last");
    b.ram
        .put(0xb_8000 + 160, &[0xc9, 0x1f, 0xcd, 0x1f, 0xbb, 0x1f, 0x00, 0x00]);
    let screen = b.vga.text_screen().unwrap();
    assert_eq!((screen.columns, screen.rows, screen.cells.len()), (80, 25, 2000));
    assert_eq!(
        screen.cells[80],
        Cell {
            character: 0xc9,
            attribute: 0x1f
        }
    );
    assert!(screen.blink && !screen.blanked);
    let lines = lines(&b);
    assert_eq!(lines.len(), 25);
    assert_eq!(lines[0], "C:\\>dir");
    assert_eq!(lines[1], "╔═╗");
    assert_eq!(lines[2], "");
    assert_eq!(lines[24], "last");
}

#[test]
fn other_sizes() {
    let mut b = Bench::mode_3();
    // 8-line characters: 50 rows; 350 lines of them: 43 rows.
    b.crtc(0x09, 0x47);
    assert_eq!(
        b.vga.mode(),
        Mode::Text {
            columns: 80,
            rows: 50
        }
    );
    b.crtc(0x12, 0x5d);
    assert_eq!(
        b.vga.mode(),
        Mode::Text {
            columns: 80,
            rows: 43
        }
    );
    // 200 lines, each shown twice.
    b.crtc(0x12, 0x8f);
    b.crtc(0x09, 0xc7);
    assert_eq!(
        b.vga.mode(),
        Mode::Text {
            columns: 80,
            rows: 25
        }
    );
    // 40 columns.
    b.crtc(0x09, 0x4f);
    b.crtc(0x11, 0x0e);
    b.crtc(0x01, 0x27);
    b.crtc(0x13, 0x14);
    put(&b, 0xb_8000 + 80, "row 1");
    assert_eq!(
        b.vga.mode(),
        Mode::Text {
            columns: 40,
            rows: 25
        }
    );
    assert_eq!(lines(&b)[1], "row 1");
}

#[test]
fn the_start_address_scrolls_and_wraps() {
    let mut b = Bench::mode_3();
    put(&b, 0xb_8000 + 160, "second");
    b.crtc(0x0d, 80);
    assert_eq!(lines(&b)[0], "second");
    // Page 3 starts 4096 bytes on for each page.
    put(&b, 0xb_8000 + 3 * 4096, "page 3");
    b.crtc(0x0c, 0x18);
    b.crtc(0x0d, 0);
    assert_eq!(lines(&b)[0], "page 3");
    // The last row before the end of memory, then address 0.
    put(&b, 0xb_8000 + 0x8000 - 160, "end");
    put(&b, 0xb_8000, "begin");
    let start = 0x4000_u16 - 80;
    b.crtc(0x0c, (start >> 8) as u8);
    b.crtc(0x0d, start as u8);
    assert_eq!(lines(&b)[..2], ["end", "begin"]);
}

#[test]
fn a_wider_virtual_screen_and_a_split() {
    let mut b = Bench::mode_3();
    b.crtc(0x13, 60);
    put(&b, 0xb_8000 + 240, "row of 120");
    assert_eq!(lines(&b)[1], "row of 120");
    b.crtc(0x13, 40);
    put(&b, 0xb_8000, "status line");
    put(&b, 0xb_8000 + 4096, "scrolled");
    b.crtc(0x0c, 0x08);
    // Line compare at scan line 383: rows 24 and up come from address 0.
    b.crtc(0x18, 0x7f);
    b.crtc(0x09, 0x0f);
    b.crtc(0x11, 0x0e);
    b.crtc(0x07, 0x1f);
    let lines = lines(&b);
    assert_eq!(lines[0], "scrolled");
    assert_eq!(lines[23], "");
    assert_eq!(lines[24], "status line");
}

#[test]
fn monochrome_text_is_at_b0000() {
    let mut b = Bench::mode_3();
    put(&b, 0xb_0000, "mono");
    put(&b, 0xb_8000, "colour");
    b.graphics(&[(6, 0x0a)]);
    assert_eq!(lines(&b)[0], "mono");
    b.graphics(&[(6, 0x0e)]);
    assert_eq!(lines(&b)[0], "colour");
    // While a font is loaded the map shows A0000h: the I/O address tells which text memory is meant.
    b.graphics(&[(6, 0x04)]);
    assert_eq!(lines(&b)[0], "colour");
    b.out(0x3c2, 0x66);
    assert_eq!(lines(&b)[0], "mono");
}

#[test]
fn the_cursor() {
    let mut b = Bench::mode_3();
    let cursor = |b: &Bench| b.vga.text_screen().unwrap().cursor;
    b.crtc(0x0e, 0);
    b.crtc(0x0f, 162);
    assert_eq!(cursor(&b), Some(Cursor { row: 2, column: 2 }));
    // Relative to the start address, and gone when it is above it.
    b.crtc(0x0d, 80);
    assert_eq!(cursor(&b), Some(Cursor { row: 1, column: 2 }));
    b.crtc(0x0d, 240);
    assert_eq!(cursor(&b), None);
    b.crtc(0x0d, 0);
    b.crtc(0x0a, 0x2d);
    assert_eq!(cursor(&b), None);
    // Start below end: no line of the cursor is drawn.
    b.crtc(0x0a, 0x0f);
    assert_eq!(cursor(&b), None);
    b.crtc(0x0b, 0x0f);
    assert!(cursor(&b).is_some());
}

#[test]
fn a_dark_screen_is_told_and_still_readable() {
    let mut b = Bench::mode_3();
    put(&b, 0xb_8000, "text");
    b.sequencer(&[(1, 0x20)]);
    assert!(b.vga.text_screen().unwrap().blanked);
    b.sequencer(&[(1, 0x00)]);
    assert!(!b.vga.text_screen().unwrap().blanked);
    b.inb(0x3da);
    b.out(0x3c0, 0x00);
    assert!(b.vga.text_screen().unwrap().blanked);
    assert_eq!(lines(&b)[0], "text");
}

#[test]
fn ansi_colours() {
    let mut b = Bench::mode_3();
    // Light red on blue, twice; then white on black; then blinking yellow on brown.
    b.ram
        .put(0xb_8000, &[b'A', 0x1c, b'B', 0x1c, b'C', 0x07, b'D', 0xee]);
    let first = |b: &Bench| {
        let ansi = b.vga.text_screen().unwrap().to_ansi();
        ansi.lines().next().unwrap().to_owned()
    };
    assert!(first(&b).starts_with("\x1b[0;91;44mAB\x1b[0;37;40mC\x1b[0;93;43;5mD\x1b[0;30;40m "));
    assert!(first(&b).ends_with(" \x1b[0m"));
    b.attribute(0x10, 0x04);
    b.out(0x3c0, 0x20);
    assert!(first(&b).contains("\x1b[0;93;103mD"));
}

#[test]
fn text_memory_that_is_not_there_is_blank() {
    let mut b = Bench::mode_3();
    b.vga.ram = TestRam::new(0xb_0000);
    assert!(lines(&b).iter().all(String::is_empty));
}
