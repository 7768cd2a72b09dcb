// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Facts of the VGA: "IBM PS/2 Hardware Interface Technical Reference, Video Subsystem" (1992), with what IBM left open taken from
//! the "FreeVGA" notes. Register masks hold the bits that a register stores; reserved bits read as zero.

use bitflags::bitflags;

/// Sequencer registers (SR0 to SR4).
pub mod sequencer {
    /// Stored bits of SR0 to SR7. SR5 to SR7 do not exist.
    pub const MASKS: [u8; 8] = [0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0];
    /// Bits of the index register that select.
    pub const INDEX_MASK: u8 = 0x07;
    pub const RESET: usize = 0;
    pub const CLOCKING_MODE: usize = 1;
    pub const MAP_MASK: usize = 2;
    pub const MEMORY_MODE: usize = 4;
    /// SR0: both reset bits are 1 while the sequencer runs.
    pub const RESET_RUN: u8 = 0x03;
}

bitflags! {
    /// SR1, clocking mode.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ClockingMode: u8 {
        /// Characters are 8 dots wide, not 9.
        const DOTS_8 = 1 << 0;
        /// The dot clock is half the master clock (40 columns, 320 dots).
        const DOT_CLOCK_HALF = 1 << 3;
        /// The screen is off.
        const SCREEN_OFF = 1 << 5;
    }

    /// SR4, memory mode.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct MemoryMode: u8 {
        /// Off: even addresses write planes 0 and 2, odd addresses planes 1 and 3.
        const SEQUENTIAL = 1 << 2;
        /// The two low address bits select the plane.
        const CHAIN_4 = 1 << 3;
    }

    /// GR5, graphics mode, without the write mode in its two low bits.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct GraphicsMode: u8 {
        /// Read mode 1: colour compare.
        const READ_COMPARE = 1 << 3;
        /// The low address bit selects the odd or the even plane for reads.
        const READ_ODD_EVEN = 1 << 4;
    }

    /// GR6, miscellaneous, without the memory map in bits 2 and 3.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct GraphicsMisc: u8 {
        /// Graphics, not text.
        const GRAPHICS = 1 << 0;
        /// The low address bit does not reach the memory: it selects odd or even planes.
        const CHAIN_ODD_EVEN = 1 << 1;
    }

    /// AR10, attribute mode control.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct AttributeMode: u8 {
        /// Bit 7 of a text attribute blinks; off: it is the background's intensity.
        const BLINK = 1 << 3;
    }

    /// The miscellaneous output register.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct MiscOutput: u8 {
        /// CRTC at 3D4h (colour), not 3B4h (monochrome).
        const IO_COLOUR = 1 << 0;
        /// The processor may reach display memory.
        const RAM_ENABLE = 1 << 1;
        /// 28.322 MHz, not 25.175 MHz.
        const CLOCK_28 = 1 << 2;
    }

    /// Input status 1.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct InputStatus1: u8 {
        /// No picture is being drawn: horizontal or vertical blanking.
        const DISPLAY_DISABLED = 1 << 0;
        /// Vertical retrace.
        const VERTICAL_RETRACE = 1 << 3;
    }
}

/// Graphics controller registers (GR0 to GR8).
pub mod graphics {
    /// Stored bits of GR0 to GR15. GR9 to GR15 do not exist.
    pub const MASKS: [u8; 16] = [
        0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff, 0, 0, 0, 0, 0, 0, 0,
    ];
    pub const INDEX_MASK: u8 = 0x0f;
    pub const SET_RESET: usize = 0;
    pub const ENABLE_SET_RESET: usize = 1;
    pub const COLOUR_COMPARE: usize = 2;
    pub const ROTATE: usize = 3;
    pub const READ_MAP: usize = 4;
    pub const MODE: usize = 5;
    pub const MISC: usize = 6;
    pub const COLOUR_DONT_CARE: usize = 7;
    pub const BIT_MASK: usize = 8;
}

/// Attribute controller registers (AR0 to AR14h).
pub mod attribute {
    /// Stored bits of the palette AR0 to ARF.
    pub const PALETTE_MASK: u8 = 0x3f;
    /// Stored bits of AR10h to AR14h.
    pub const MASKS: [u8; 5] = [0xef, 0xff, 0x3f, 0x0f, 0x0f];
    /// Bits of the index register that select.
    pub const INDEX_MASK: u8 = 0x1f;
    /// Palette address source in the index register: the display uses the palette, and the processor cannot write it.
    pub const PALETTE_SOURCE: u8 = 0x20;
    pub const MODE: usize = 0x10;
}

/// CRT controller registers (CR0 to CR18h, and three that IBM left undocumented).
pub mod crtc {
    /// Number of documented registers.
    pub const COUNT: usize = 0x19;
    /// Bits of the index register that select.
    pub const INDEX_MASK: u8 = 0x3f;
    pub const HORIZONTAL_TOTAL: usize = 0x00;
    pub const HORIZONTAL_DISPLAY_END: usize = 0x01;
    pub const VERTICAL_TOTAL: usize = 0x06;
    pub const OVERFLOW: usize = 0x07;
    pub const MAXIMUM_SCAN_LINE: usize = 0x09;
    pub const CURSOR_START: usize = 0x0a;
    pub const CURSOR_END: usize = 0x0b;
    pub const START_HIGH: usize = 0x0c;
    pub const START_LOW: usize = 0x0d;
    pub const CURSOR_HIGH: usize = 0x0e;
    pub const CURSOR_LOW: usize = 0x0f;
    pub const VERTICAL_RETRACE_START: usize = 0x10;
    pub const VERTICAL_RETRACE_END: usize = 0x11;
    pub const VERTICAL_DISPLAY_END: usize = 0x12;
    pub const OFFSET: usize = 0x13;
    pub const MODE_CONTROL: usize = 0x17;
    pub const LINE_COMPARE: usize = 0x18;
    /// Read-only, undocumented: the latch that the read map selects.
    pub const LATCH: usize = 0x22;
    /// Read-only, undocumented: bit 7 is 1 while the attribute controller expects data.
    pub const ATTRIBUTE_TOGGLE: usize = 0x24;
    /// Read-only, undocumented: the attribute controller's index.
    pub const ATTRIBUTE_INDEX: usize = 0x26;

    /// CR11 bit 7: CR0 to CR7 are write-protected.
    pub const PROTECT: u8 = 0x80;
    /// CR7 bit 4, line compare bit 8, is not protected.
    pub const OVERFLOW_UNPROTECTED: u8 = 0x10;
    /// CR9 bit 7: each scan line is shown twice.
    pub const DOUBLE_SCAN: u8 = 0x80;
    /// CR17 bit 2: the vertical counter counts every second line.
    pub const VERTICAL_HALF: u8 = 0x04;
    /// CRA bit 5: no cursor.
    pub const CURSOR_OFF: u8 = 0x20;
}

/// First and last address of the display memory window that is on the bus.
pub const WINDOW_FIRST: u64 = 0xa_0000;
/// Last address of that window.
pub const WINDOW_LAST: u64 = 0xa_ffff;
/// Bytes in a plane.
pub const PLANE_BYTES: usize = 0x1_0000;
/// Where the processor writes colour text.
pub const COLOUR_TEXT: u64 = 0xb_8000;
/// Where the processor writes monochrome text.
pub const MONO_TEXT: u64 = 0xb_0000;
/// Bytes of text memory.
pub const TEXT_BYTES: u64 = 0x8000;

/// Input status 0, bit 4: the comparator senses a monitor on the analogue outputs.
pub const SWITCH_SENSE: u8 = 0x10;

/// Master clocks in hertz.
pub const CLOCK_25: u64 = 25_175_000;
/// See [`CLOCK_25`].
pub const CLOCK_28: u64 = 28_322_000;
