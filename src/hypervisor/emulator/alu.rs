// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Arithmetic and its flags (SDM volume 1, "EFLAGS Register").

use iced_x86::Mnemonic;

const CARRY: u64 = 1;
const PARITY: u64 = 1 << 2;
const ADJUST: u64 = 1 << 4;
const ZERO: u64 = 1 << 6;
const SIGN: u64 = 1 << 7;
const OVERFLOW: u64 = 1 << 11;
const STATUS: u64 = CARRY | PARITY | ADJUST | ZERO | SIGN | OVERFLOW;

/// The bits of an operand of `size` bytes.
pub fn mask(size: usize) -> u64 {
    match size {
        8 => u64::MAX,
        _ => (1 << (8 * size)) - 1,
    }
}

/// A value of `size` bytes as 64 bits with its sign.
pub fn sign_extend(value: u64, size: usize) -> u64 {
    let unused = 64 - 8 * size as u32;
    ((value << unused) as i64 >> unused) as u64
}

fn sign(value: u64, size: usize) -> bool {
    value >> (8 * size - 1) & 1 != 0
}

/// Zero, sign and parity of a result.
fn result_flags(value: u64, size: usize) -> u64 {
    let mut flags = 0;
    if value == 0 {
        flags |= ZERO;
    }
    if sign(value, size) {
        flags |= SIGN;
    }
    if (value as u8).count_ones().is_multiple_of(2) {
        flags |= PARITY;
    }
    flags
}

fn add(a: u64, b: u64, carry: u64, size: usize) -> (u64, u64) {
    let wide = u128::from(a) + u128::from(b) + u128::from(carry);
    let value = wide as u64 & mask(size);
    let mut flags = result_flags(value, size);
    if wide > u128::from(mask(size)) {
        flags |= CARRY;
    }
    if (a ^ b ^ value) & 0x10 != 0 {
        flags |= ADJUST;
    }
    if sign((a ^ value) & (b ^ value), size) {
        flags |= OVERFLOW;
    }
    (value, flags)
}

fn subtract(a: u64, b: u64, borrow: u64, size: usize) -> (u64, u64) {
    let value = a.wrapping_sub(b).wrapping_sub(borrow) & mask(size);
    let mut flags = result_flags(value, size);
    if u128::from(a) < u128::from(b) + u128::from(borrow) {
        flags |= CARRY;
    }
    if (a ^ b ^ value) & 0x10 != 0 {
        flags |= ADJUST;
    }
    if sign((a ^ b) & (a ^ value), size) {
        flags |= OVERFLOW;
    }
    (value, flags)
}

/// The result of an operation on two operands of `size` bytes, and the new RFLAGS.
pub fn binary(operation: Mnemonic, a: u64, b: u64, size: usize, rflags: u64) -> Option<(u64, u64)> {
    let (a, b, carry) = (a & mask(size), b & mask(size), rflags & CARRY);
    let logic = |value| (value, result_flags(value, size));
    let (value, flags) = match operation {
        Mnemonic::Add => add(a, b, 0, size),
        Mnemonic::Adc => add(a, b, carry, size),
        Mnemonic::Sub | Mnemonic::Cmp => subtract(a, b, 0, size),
        Mnemonic::Sbb => subtract(a, b, carry, size),
        Mnemonic::And | Mnemonic::Test => logic(a & b),
        Mnemonic::Or => logic(a | b),
        Mnemonic::Xor => logic(a ^ b),
        _ => return None,
    };
    Some((value, rflags & !STATUS | flags))
}

/// The result of an operation on one operand of `size` bytes, and the new RFLAGS.
pub fn unary(operation: Mnemonic, a: u64, size: usize, rflags: u64) -> Option<(u64, u64)> {
    let a = a & mask(size);
    let keep_carry = |(value, flags)| (value, rflags & !(STATUS & !CARRY) | flags & !CARRY);
    Some(match operation {
        Mnemonic::Inc => keep_carry(add(a, 1, 0, size)),
        Mnemonic::Dec => keep_carry(subtract(a, 1, 0, size)),
        Mnemonic::Neg => {
            let (value, flags) = subtract(0, a, 0, size);
            (value, rflags & !STATUS | flags)
        }
        Mnemonic::Not => (!a & mask(size), rflags),
        _ => return None,
    })
}
