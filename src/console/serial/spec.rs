// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Facts of the 16550A (National Semiconductor PC16550D data sheet, 1995).

/// Register offsets. Offsets 0 and 1 are the divisor while LCR bit 7 is 1.
pub const DATA: u64 = 0;
pub const INTERRUPT_ENABLE: u64 = 1;
/// Read: interrupt identification; write: FIFO control.
pub const IDENTIFICATION_OR_FIFO: u64 = 2;
pub const LINE_CONTROL: u64 = 3;
pub const MODEM_CONTROL: u64 = 4;
pub const LINE_STATUS: u64 = 5;
pub const MODEM_STATUS: u64 = 6;
pub const SCRATCH: u64 = 7;

/// Characters in the receive FIFO.
pub const FIFO_DEPTH: usize = 16;

/// Interrupt enable: received data and time-out.
pub const IER_RECEIVED: u8 = 1 << 0;
/// Transmitter holding register empty.
pub const IER_TRANSMITTER: u8 = 1 << 1;
/// Receiver line status.
pub const IER_LINE: u8 = 1 << 2;
/// Modem status.
pub const IER_MODEM: u8 = 1 << 3;
/// The bits that exist.
pub const IER_MASK: u8 = 0x0f;

/// Interrupt identification: the FIFOs are on.
pub const IIR_FIFO: u8 = 0xc0;

/// FIFO control: the FIFOs are on; without it the other bits do nothing.
pub const FCR_ENABLE: u8 = 1 << 0;
/// Empties the receive FIFO.
pub const FCR_CLEAR_RECEIVER: u8 = 1 << 1;

/// Line control: offsets 0 and 1 are the divisor.
pub const LCR_DIVISOR: u8 = 1 << 7;

/// Modem control: RTS, DTR, OUT1, OUT2 and loop.
pub const MCR_MASK: u8 = 0x1f;
/// On a PC, OUT2 connects the chip's interrupt to the wire.
pub const MCR_OUT2: u8 = 1 << 3;
/// Output is connected to input inside the chip.
pub const MCR_LOOP: u8 = 1 << 4;

/// Line status: a character was lost.
pub const LSR_OVERRUN: u8 = 1 << 1;

/// Modem status: the lines themselves. Their changes stand in the low four bits.
pub const MSR_LINES: u8 = 0xf0;
/// Ring indicator, of which only the end counts as a change.
pub const MSR_RING: u8 = 1 << 6;
