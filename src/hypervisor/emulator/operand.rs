// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Operands: registers, constants and memory.

use super::super::Registers;
use super::alu::mask;
use super::{DIRECTION, Outside, Stop};
use iced_x86::{Instruction, OpKind, Register};

const PAGE: u64 = 4096;

/// An instruction's operands, for the state of the processor that runs it.
pub struct Operands<'a> {
    pub registers: &'a mut Registers,
    pub outside: &'a mut dyn Outside,
    pub instruction: &'a Instruction,
    /// Bits of code.
    pub bits: u32,
}

/// The accumulator of a size in bytes.
pub fn accumulator(size: usize) -> Register {
    match size {
        1 => Register::AL,
        2 => Register::AX,
        4 => Register::EAX,
        _ => Register::RAX,
    }
}

/// The register that counts a repeated string instruction, by its address size.
pub fn counter(instruction: &Instruction, bits: u32) -> Register {
    let index = (0..instruction.op_count()).find_map(|n| index_of(instruction.op_kind(n)));
    match (index, bits) {
        (Some((Register::SI | Register::DI, _)), _) | (None, 16) => Register::CX,
        (Some((Register::ESI | Register::EDI, _)), _) | (None, 32) => Register::ECX,
        _ => Register::RCX,
    }
}

/// A string operand's index register, and whether it is the destination's.
fn index_of(kind: OpKind) -> Option<(Register, bool)> {
    Some(match kind {
        OpKind::MemorySegSI => (Register::SI, false),
        OpKind::MemorySegESI => (Register::ESI, false),
        OpKind::MemorySegRSI => (Register::RSI, false),
        OpKind::MemoryESDI => (Register::DI, true),
        OpKind::MemoryESEDI => (Register::EDI, true),
        OpKind::MemoryESRDI => (Register::RDI, true),
        _ => return None,
    })
}

/// A little-endian number of up to eight bytes.
pub fn number(data: &[u8]) -> u64 {
    data.iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Where the encoding's register number is found in [`Registers::general`].
fn place(register: Register) -> Option<usize> {
    const PLACES: [usize; 16] = [0, 2, 3, 1, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];
    if !register.is_gpr() {
        return None;
    }
    PLACES.get(register.full_register().number()).copied()
}

fn is_high_byte(register: Register) -> bool {
    matches!(
        register,
        Register::AH | Register::BH | Register::CH | Register::DH
    )
}

/// A segment register's number in [`Registers::segments`].
fn segment(register: Register) -> Option<usize> {
    Some(match register {
        Register::CS => 0,
        Register::DS => 1,
        Register::ES => 2,
        Register::FS => 3,
        Register::GS => 4,
        Register::SS => 5,
        _ => return None,
    })
}

fn read_register(registers: &Registers, register: Register) -> Option<u64> {
    if let Some(number) = segment(register) {
        return registers.segments.get(number).map(|s| u64::from(s.selector));
    }
    let whole = *registers.general.get(place(register)?)?;
    let shift = if is_high_byte(register) { 8 } else { 0 };
    Some(whole >> shift & mask(register.size()))
}

impl Operands<'_> {
    pub fn register(&self, register: Register) -> Result<u64, Stop> {
        read_register(self.registers, register).ok_or(Stop::Unknown)
    }

    pub fn set_register(&mut self, register: Register, value: u64) -> Result<(), Stop> {
        let slot = place(register)
            .and_then(|place| self.registers.general.get_mut(place))
            .ok_or(Stop::Unknown)?;
        *slot = match register.size() {
            8 => value,
            // Writing a 32-bit register clears what lies above.
            4 => value & mask(4),
            size => {
                let shift = if is_high_byte(register) { 8 } else { 0 };
                *slot & !(mask(size) << shift) | (value & mask(size)) << shift
            }
        };
        Ok(())
    }

    pub fn is_memory(&self, operand: u32) -> bool {
        let kind = self.instruction.op_kind(operand);
        kind == OpKind::Memory || index_of(kind).is_some()
    }

    /// Size of an operand in bytes.
    pub fn size(&self, operand: u32) -> usize {
        match self.instruction.op_kind(operand) {
            OpKind::Register => self.instruction.op_register(operand).size(),
            _ if self.is_memory(operand) => self.instruction.memory_size().size(),
            // A constant is as wide as what it is used on.
            _ => match operand {
                0 => 8,
                _ => self.size(0),
            },
        }
    }

    /// An operand's value.
    pub fn get(&mut self, operand: u32) -> Result<u64, Stop> {
        self.get_at(operand, 0)
    }

    /// As [`get`](Self::get), `beyond` bytes away if it is memory.
    pub fn get_at(&mut self, operand: u32, beyond: u64) -> Result<u64, Stop> {
        match self.instruction.op_kind(operand) {
            OpKind::Register => self.register(self.instruction.op_register(operand)),
            _ if self.is_memory(operand) => {
                let address = self.address(operand, beyond)?;
                self.load(address, self.size(operand))
            }
            _ => self.instruction.try_immediate(operand).map_err(|_| Stop::Unknown),
        }
    }

    /// Puts a value where an operand stands.
    pub fn set(&mut self, operand: u32, value: u64) -> Result<(), Stop> {
        self.set_at(operand, 0, value)
    }

    /// As [`set`](Self::set), `beyond` bytes away if it is memory.
    pub fn set_at(&mut self, operand: u32, beyond: u64, value: u64) -> Result<(), Stop> {
        match self.instruction.op_kind(operand) {
            OpKind::Register => self.set_register(self.instruction.op_register(operand), value),
            _ if self.is_memory(operand) => {
                let address = self.address(operand, beyond)?;
                self.store(address, self.size(operand), value)
            }
            _ => Err(Stop::Unknown),
        }
    }

    /// The linear address of a memory operand.
    pub fn address(&self, operand: u32, beyond: u64) -> Result<u64, Stop> {
        let long = self.bits == 64;
        let registers = &*self.registers;
        let base = |register: Register| {
            let based = !long || matches!(register, Register::FS | Register::GS);
            let number = segment(register)?;
            registers
                .segments
                .get(number)
                .map(|s| if based { s.base } else { 0 })
        };
        let address = self.instruction.virtual_address(operand, 0, |register, _, _| {
            base(register).or_else(|| read_register(registers, register))
        });
        let address = address.ok_or(Stop::Unknown)?.wrapping_add(beyond);
        Ok(if long { address } else { address & 0xffff_ffff })
    }

    pub fn translate(&mut self, linear: u64, write: bool) -> Result<u64, Stop> {
        self.outside.translate(linear, write).ok_or(Stop::PageFault {
            address: linear,
            write,
        })
    }

    /// The two pieces, at most, that an access of `size` bytes has, by pages: physical address and length.
    fn pieces(&mut self, linear: u64, size: usize, write: bool) -> Result<[(u64, usize); 2], Stop> {
        let first = size.min((PAGE - linear % PAGE) as usize);
        let start = self.translate(linear, write)?;
        let rest = match size - first {
            0 => (0, 0),
            rest => (self.translate(linear.wrapping_add(first as u64), write)?, rest),
        };
        Ok([(start, first), rest])
    }

    fn load(&mut self, linear: u64, size: usize) -> Result<u64, Stop> {
        let mut data = [0; 8];
        let [(start, first), (next, rest)] = self.pieces(linear, size, false)?;
        let (one, other) = data.get_mut(..size).ok_or(Stop::Unknown)?.split_at_mut(first);
        self.outside.read(start, one);
        if rest > 0 {
            self.outside.read(next, other);
        }
        Ok(u64::from_le_bytes(data))
    }

    fn store(&mut self, linear: u64, size: usize, value: u64) -> Result<(), Stop> {
        let data = value.to_le_bytes();
        let (one, other) = data
            .get(..size)
            .ok_or(Stop::Unknown)?
            .split_at(size.min((PAGE - linear % PAGE) as usize));
        let [(start, _), (next, rest)] = self.pieces(linear, size, true)?;
        self.outside.write(start, one);
        if rest > 0 {
            self.outside.write(next, other);
        }
        Ok(())
    }

    /// The index register of a string operand.
    pub fn index_register(&self, operand: u32) -> Result<Register, Stop> {
        index_of(self.instruction.op_kind(operand))
            .map(|(register, _)| register)
            .ok_or(Stop::Unknown)
    }

    /// What a string operand's index register can count to before it wraps.
    pub fn index_limit(&self, operand: u32) -> Result<u64, Stop> {
        Ok(mask(self.index_register(operand)?.size()).saturating_add(1))
    }

    /// Moves a string operand on by `count` elements.
    pub fn advance(&mut self, operand: u32, count: u64) -> Result<(), Stop> {
        let register = self.index_register(operand)?;
        let distance = self.size(operand) as u64 * count;
        let index = self.register(register)?;
        let next = if self.registers.rflags & DIRECTION != 0 {
            index.wrapping_sub(distance)
        } else {
            index.wrapping_add(distance)
        };
        self.set_register(register, next)
    }
}
