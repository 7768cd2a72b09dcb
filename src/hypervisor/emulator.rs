// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Carries out an instruction that a hypervisor reports but does not complete: WHP says which instruction touched a port or an address
//! without memory, and leaves the rest to us.
//!
//! The decoder is iced-x86. What stands here is the meaning of the instructions that drivers and firmware use on device memory: moves,
//! arithmetic and logic with flags, exchanges, bit tests, and all string instructions with their prefixes (Intel SDM volume 2). SSE and
//! x87 moves, far transfers and writes to segment registers on device memory are not known: [`Outcome::Unknown`].
//!
//! Not checked: segment limits and rights, and alignment; the processor has checked them before it reported the access, except for the
//! later elements of a string.

mod alu;
mod operand;

#[cfg(test)]
mod tests;

use super::Registers;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use operand::Operands;
pub use operand::number;

/// Elements of a repeated string instruction at a time: in between, the guest can take interrupts.
const STRING_MOST: u64 = 4096;

/// The longest instruction.
pub const LONGEST: usize = 15;

/// What an instruction reaches outside the processor.
pub trait Outside {
    /// The physical address of a linear one; `None` if the guest's page tables have none.
    fn translate(&mut self, linear: u64, write: bool) -> Option<u64>;
    /// Reads memory or a device. The range does not cross a page.
    fn read(&mut self, physical: u64, data: &mut [u8]);
    /// Writes memory or a device. The range does not cross a page.
    fn write(&mut self, physical: u64, data: &[u8]);
    /// Reads `data.len() / width` times from a port.
    fn port_read(&mut self, port: u16, width: usize, data: &mut [u8]);
    /// Writes `data.len() / width` times to a port.
    fn port_write(&mut self, port: u16, width: usize, data: &[u8]);
}

/// What became of the instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The registers are as after it, or, within a repeated string instruction, as before its next element.
    Done,
    /// An operand has no page: the guest is to see a page fault, and the registers stand before the instruction or element.
    PageFault {
        /// Linear address.
        address: u64,
        /// It was to be written.
        write: bool,
    },
    /// Not an instruction that is known here. Nothing was done.
    Unknown,
}

/// A failure on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    PageFault { address: u64, write: bool },
    Unknown,
}

/// RFLAGS' direction flag.
const DIRECTION: u64 = 1 << 10;

/// Bits of code at the instruction pointer.
fn bitness(registers: &Registers) -> u32 {
    const LONG_MODE_ACTIVE: u64 = 1 << 10;
    const LONG: u16 = 1 << 13;
    const DEFAULT_32: u16 = 1 << 14;
    let rights = registers.segments[0].rights;
    match (
        registers.efer & LONG_MODE_ACTIVE != 0 && rights & LONG != 0,
        rights & DEFAULT_32 != 0,
    ) {
        (true, _) => 64,
        (false, true) => 32,
        (false, false) => 16,
    }
}

/// The linear address of the next instruction.
pub fn code_address(registers: &Registers) -> u64 {
    match bitness(registers) {
        64 => registers.rip,
        _ => registers.segments[0].base.wrapping_add(registers.rip) & 0xffff_ffff,
    }
}

/// Carries out the instruction that `code` begins with.
pub fn emulate(registers: &mut Registers, code: &[u8], outside: &mut dyn Outside) -> Outcome {
    let bits = bitness(registers);
    let mut decoder = Decoder::with_ip(bits, code, registers.rip, DecoderOptions::NONE);
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return Outcome::Unknown;
    }
    let mut next = registers.clone();
    next.rip = match bits {
        64 => instruction.next_ip(),
        32 => instruction.next_ip() & 0xffff_ffff,
        _ => instruction.next_ip() & 0xffff,
    };
    let string = instruction.is_string_instruction();
    let mut operands = Operands {
        registers: &mut next,
        outside,
        instruction: &instruction,
        bits,
    };
    let result = if string {
        strings(&mut operands)
    } else {
        plain(&mut operands)
    };
    match result {
        Ok(()) => {
            *registers = next;
            Outcome::Done
        }
        Err(Stop::Unknown) => Outcome::Unknown,
        Err(Stop::PageFault { address, write }) => {
            if string {
                // Elements that are done stay done; the fault comes again at the one that is not.
                next.rip = registers.rip;
                *registers = next;
            }
            Outcome::PageFault { address, write }
        }
    }
}

/// All but string instructions.
fn plain(o: &mut Operands<'_>) -> Result<(), Stop> {
    use Mnemonic as M;
    let mnemonic = o.instruction.mnemonic();
    match mnemonic {
        M::Mov | M::Movnti | M::Movzx => {
            let value = o.get(1)?;
            o.set(0, value)
        }
        M::Movsx | M::Movsxd => {
            let value = alu::sign_extend(o.get(1)?, o.size(1));
            o.set(0, value)
        }
        M::Add | M::Adc | M::Sub | M::Sbb | M::And | M::Or | M::Xor | M::Cmp | M::Test => {
            let (a, b) = (o.get(0)?, o.get(1)?);
            let (value, flags) =
                alu::binary(mnemonic, a, b, o.size(0), o.registers.rflags).ok_or(Stop::Unknown)?;
            if !matches!(mnemonic, M::Cmp | M::Test) {
                o.set(0, value)?;
            }
            o.registers.rflags = flags;
            Ok(())
        }
        M::Inc | M::Dec | M::Neg | M::Not => {
            let a = o.get(0)?;
            let (value, flags) =
                alu::unary(mnemonic, a, o.size(0), o.registers.rflags).ok_or(Stop::Unknown)?;
            o.set(0, value)?;
            o.registers.rflags = flags;
            Ok(())
        }
        M::Xchg => {
            let (a, b) = (o.get(0)?, o.get(1)?);
            // Memory first: a fault must leave the register alone.
            let (memory, other) = if o.is_memory(0) { (0, 1) } else { (1, 0) };
            let (to_memory, to_other) = if memory == 0 { (b, a) } else { (a, b) };
            o.set(memory, to_memory)?;
            o.set(other, to_other)
        }
        M::Cmpxchg => {
            let (old, new, size) = (o.get(0)?, o.get(1)?, o.size(0));
            let accumulator = o.register(operand::accumulator(size))?;
            let (_, flags) =
                alu::binary(M::Cmp, accumulator, old, size, o.registers.rflags).ok_or(Stop::Unknown)?;
            if accumulator == old {
                o.set(0, new)?;
            } else {
                // The destination is written in either case.
                o.set(0, old)?;
                o.set_register(operand::accumulator(size), old)?;
            }
            o.registers.rflags = flags;
            Ok(())
        }
        M::Bt | M::Bts | M::Btr | M::Btc => bit_test(o, mnemonic),
        M::In => {
            let (port, size) = (o.get(1)? as u16, o.size(0));
            let mut data = [0; 4];
            let data = data.get_mut(..size).ok_or(Stop::Unknown)?;
            o.outside.port_read(port, size, data);
            let value = operand::number(data);
            o.set(0, value)
        }
        M::Out => {
            let (port, value, size) = (o.get(0)? as u16, o.get(1)?, o.size(1));
            let bytes = value.to_le_bytes();
            let data = bytes.get(..size).ok_or(Stop::Unknown)?;
            o.outside.port_write(port, size, data);
            Ok(())
        }
        _ => Err(Stop::Unknown),
    }
}

/// `BT` and its like: an offset in a register reaches beyond the operand, a constant one does not.
fn bit_test(o: &mut Operands<'_>, mnemonic: Mnemonic) -> Result<(), Stop> {
    const CARRY: u64 = 1;
    let size = o.size(0);
    let bits = size as u64 * 8;
    let offset = o.get(1)?;
    let beyond = if o.is_memory(0) && o.instruction.op1_kind() == OpKind::Register {
        (alu::sign_extend(offset, size) as i64).div_euclid(bits as i64) * size as i64
    } else {
        0
    };
    let mask = 1 << (offset % bits);
    let old = o.get_at(0, beyond as u64)?;
    let new = match mnemonic {
        Mnemonic::Bts => old | mask,
        Mnemonic::Btr => old & !mask,
        Mnemonic::Btc => old ^ mask,
        _ => old,
    };
    if mnemonic != Mnemonic::Bt {
        o.set_at(0, beyond as u64, new)?;
    }
    o.registers.rflags = o.registers.rflags & !CARRY | u64::from(old & mask != 0);
    Ok(())
}

/// How a string instruction repeats.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Once,
    /// Until the count is zero.
    Count,
    /// And while the zero flag is so.
    While(bool),
}

fn repeat(instruction: &Instruction) -> Repeat {
    use Mnemonic as M;
    let compares = matches!(
        instruction.mnemonic(),
        M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq | M::Scasb | M::Scasw | M::Scasd | M::Scasq
    );
    match (
        compares,
        instruction.has_rep_prefix(),
        instruction.has_repne_prefix(),
    ) {
        (_, false, false) => Repeat::Once,
        (true, repe, _) => Repeat::While(repe),
        (false, _, _) => Repeat::Count,
    }
}

/// String instructions: one element, or as many as the count says up to [`STRING_MOST`].
fn strings(o: &mut Operands<'_>) -> Result<(), Stop> {
    let start = o.registers.rip.wrapping_sub(o.instruction.len() as u64);
    let repeat = repeat(o.instruction);
    let counter = operand::counter(o.instruction, o.bits);
    if repeat == Repeat::Once {
        return element(o);
    }
    let mut left = STRING_MOST;
    loop {
        let count = o.register(counter)?;
        if count == 0 {
            return Ok(());
        }
        if left == 0 {
            // Not done: the processor finds the instruction again.
            o.registers.rip = start;
            return Ok(());
        }
        let done = match port_run(o, count.min(left))? {
            0 => {
                element(o)?;
                1
            }
            done => done,
        };
        left -= done;
        o.set_register(counter, count - done)?;
        const ZERO: u64 = 1 << 6;
        if let Repeat::While(zero) = repeat
            && (o.registers.rflags & ZERO != 0) != zero
        {
            return Ok(());
        }
    }
}

/// Several elements of `INS` or `OUTS` in one go, as far as they lie upwards in one page: a disk's data port moves whole sectors so.
/// Gives how many; 0 if it is not for such a run.
fn port_run(o: &mut Operands<'_>, most: u64) -> Result<u64, Stop> {
    const PAGE: u64 = 4096;
    use Mnemonic as M;
    let (read, memory) = match o.instruction.mnemonic() {
        M::Insb | M::Insw | M::Insd => (true, 0),
        M::Outsb | M::Outsw | M::Outsd => (false, 1),
        _ => return Ok(0),
    };
    let size = o.size(memory);
    let linear = o.address(memory, 0)?;
    let index = o.register(o.index_register(memory)?)?;
    // Up to the end of the page, and of what the index register can count to.
    let room = (PAGE - linear % PAGE).min(o.index_limit(memory)?.saturating_sub(index)) / size as u64;
    let count = most.min(room);
    if o.registers.rflags & DIRECTION != 0 || count < 2 {
        return Ok(0);
    }
    let physical = o.translate(linear, read)?;
    let port = o.register(Register::DX)? as u16;
    let mut data = vec![0; count as usize * size];
    if read {
        o.outside.port_read(port, size, &mut data);
        o.outside.write(physical, &data);
    } else {
        o.outside.read(physical, &mut data);
        o.outside.port_write(port, size, &data);
    }
    o.advance(memory, count)?;
    Ok(count)
}

/// One element of a string instruction.
fn element(o: &mut Operands<'_>) -> Result<(), Stop> {
    use Mnemonic as M;
    let mnemonic = o.instruction.mnemonic();
    match mnemonic {
        M::Movsb | M::Movsw | M::Movsd | M::Movsq => {
            let value = o.get(1)?;
            o.set(0, value)?;
            o.advance(0, 1)?;
            o.advance(1, 1)
        }
        M::Stosb | M::Stosw | M::Stosd | M::Stosq => {
            let value = o.get(1)?;
            o.set(0, value)?;
            o.advance(0, 1)
        }
        M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq => {
            let value = o.get(1)?;
            o.set(0, value)?;
            o.advance(1, 1)
        }
        M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq => {
            let (a, b) = (o.get(0)?, o.get(1)?);
            compare(o, a, b)?;
            o.advance(0, 1)?;
            o.advance(1, 1)
        }
        M::Scasb | M::Scasw | M::Scasd | M::Scasq => {
            let (a, b) = (o.get(0)?, o.get(1)?);
            compare(o, a, b)?;
            o.advance(1, 1)
        }
        M::Insb | M::Insw | M::Insd => {
            let (port, size) = (o.register(Register::DX)? as u16, o.size(0));
            // Before the device gives anything: what it gave could not be put back.
            let linear = o.address(0, 0)?;
            o.translate(linear, true)?;
            let mut data = [0; 4];
            let data = data.get_mut(..size).ok_or(Stop::Unknown)?;
            o.outside.port_read(port, size, data);
            let value = operand::number(data);
            o.set(0, value)?;
            o.advance(0, 1)
        }
        M::Outsb | M::Outsw | M::Outsd => {
            let (port, size, value) = (o.register(Register::DX)? as u16, o.size(1), o.get(1)?);
            let bytes = value.to_le_bytes();
            let data = bytes.get(..size).ok_or(Stop::Unknown)?;
            o.outside.port_write(port, size, data);
            o.advance(1, 1)
        }
        _ => Err(Stop::Unknown),
    }
}

fn compare(o: &mut Operands<'_>, a: u64, b: u64) -> Result<(), Stop> {
    let (_, flags) = alu::binary(Mnemonic::Cmp, a, b, o.size(0), o.registers.rflags).ok_or(Stop::Unknown)?;
    o.registers.rflags = flags;
    Ok(())
}
