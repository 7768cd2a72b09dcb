// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Registers by WHP's names, and as the neutral ones.

use super::super::{Registers, Segment};
use windows_sys::Win32::System::Hypervisor as whv;
use windows_sys::Win32::System::Hypervisor::{
    WHV_REGISTER_NAME, WHV_REGISTER_VALUE, WHV_X64_SEGMENT_REGISTER, WHV_X64_SEGMENT_REGISTER_0,
    WHV_X64_TABLE_REGISTER,
};

/// In the order of [`Registers::general`].
pub const GENERAL: [WHV_REGISTER_NAME; 16] = [
    whv::WHvX64RegisterRax,
    whv::WHvX64RegisterRbx,
    whv::WHvX64RegisterRcx,
    whv::WHvX64RegisterRdx,
    whv::WHvX64RegisterRsi,
    whv::WHvX64RegisterRdi,
    whv::WHvX64RegisterRsp,
    whv::WHvX64RegisterRbp,
    whv::WHvX64RegisterR8,
    whv::WHvX64RegisterR9,
    whv::WHvX64RegisterR10,
    whv::WHvX64RegisterR11,
    whv::WHvX64RegisterR12,
    whv::WHvX64RegisterR13,
    whv::WHvX64RegisterR14,
    whv::WHvX64RegisterR15,
];

/// In the order of [`Registers::segments`].
const SEGMENTS: [WHV_REGISTER_NAME; 8] = [
    whv::WHvX64RegisterCs,
    whv::WHvX64RegisterDs,
    whv::WHvX64RegisterEs,
    whv::WHvX64RegisterFs,
    whv::WHvX64RegisterGs,
    whv::WHvX64RegisterSs,
    whv::WHvX64RegisterTr,
    whv::WHvX64RegisterLdtr,
];

/// In the order of [`Registers::control`].
const CONTROL: [WHV_REGISTER_NAME; 5] = [
    whv::WHvX64RegisterCr0,
    whv::WHvX64RegisterCr2,
    whv::WHvX64RegisterCr3,
    whv::WHvX64RegisterCr4,
    whv::WHvX64RegisterCr8,
];

/// What a reset puts back besides [`Registers`]; nothing of it needs a conversion.
pub const OTHERS: [WHV_REGISTER_NAME; 25] = [
    whv::WHvX64RegisterXmm0,
    whv::WHvX64RegisterXmm1,
    whv::WHvX64RegisterXmm2,
    whv::WHvX64RegisterXmm3,
    whv::WHvX64RegisterXmm4,
    whv::WHvX64RegisterXmm5,
    whv::WHvX64RegisterXmm6,
    whv::WHvX64RegisterXmm7,
    whv::WHvX64RegisterXmm8,
    whv::WHvX64RegisterXmm9,
    whv::WHvX64RegisterXmm10,
    whv::WHvX64RegisterXmm11,
    whv::WHvX64RegisterXmm12,
    whv::WHvX64RegisterXmm13,
    whv::WHvX64RegisterXmm14,
    whv::WHvX64RegisterXmm15,
    whv::WHvX64RegisterKernelGsBase,
    whv::WHvX64RegisterPat,
    whv::WHvX64RegisterSysenterCs,
    whv::WHvX64RegisterSysenterEip,
    whv::WHvX64RegisterSysenterEsp,
    whv::WHvX64RegisterStar,
    whv::WHvX64RegisterLstar,
    whv::WHvX64RegisterCstar,
    whv::WHvX64RegisterSfmask,
];

/// The names of all that [`Registers`] holds, in the order of [`from_values`] and [`to_values`].
pub fn names() -> Vec<WHV_REGISTER_NAME> {
    let mut names = GENERAL.to_vec();
    names.extend([whv::WHvX64RegisterRip, whv::WHvX64RegisterRflags]);
    names.extend(SEGMENTS);
    names.extend([whv::WHvX64RegisterGdtr, whv::WHvX64RegisterIdtr]);
    names.extend(CONTROL);
    names.extend([whv::WHvX64RegisterEfer, whv::WHvX64RegisterApicBase]);
    names
}

/// A register of 64 bits.
pub fn number(value: u64) -> WHV_REGISTER_VALUE {
    // The whole union is set: its upper half is nobody's memory.
    let mut whole = WHV_REGISTER_VALUE::default();
    whole.Reg64 = value;
    whole
}

/// The number in a register of 64 bits.
pub fn as_number(value: &WHV_REGISTER_VALUE) -> u64 {
    // SAFETY: all bits of the union are set, and any are a number.
    unsafe { value.Reg64 }
}

fn as_segment(value: &WHV_REGISTER_VALUE) -> Segment {
    // SAFETY: as in `as_number`; the register is a segment.
    let s = unsafe { value.Segment };
    segment(&s)
}

/// A segment register; WHP's attributes have the layout of [`Segment::rights`].
pub fn segment(s: &WHV_X64_SEGMENT_REGISTER) -> Segment {
    Segment {
        selector: s.Selector,
        base: s.Base,
        limit: s.Limit,
        // SAFETY: both members of the union are the same sixteen bits.
        rights: unsafe { s.Anonymous.Attributes },
    }
}

fn from_segment(s: &Segment) -> WHV_REGISTER_VALUE {
    let mut whole = WHV_REGISTER_VALUE::default();
    whole.Segment = WHV_X64_SEGMENT_REGISTER {
        Base: s.base,
        Limit: s.limit,
        Selector: s.selector,
        Anonymous: WHV_X64_SEGMENT_REGISTER_0 { Attributes: s.rights },
    };
    whole
}

fn as_table(value: &WHV_REGISTER_VALUE) -> (u64, u16) {
    // SAFETY: as in `as_number`; the register is a table's.
    let t = unsafe { value.Table };
    (t.Base, t.Limit)
}

fn from_table((base, limit): (u64, u16)) -> WHV_REGISTER_VALUE {
    let mut whole = WHV_REGISTER_VALUE::default();
    whole.Table = WHV_X64_TABLE_REGISTER {
        Pad: [0; 3],
        Limit: limit,
        Base: base,
    };
    whole
}

/// The neutral registers of values in the order of [`names`].
pub fn from_values(values: &[WHV_REGISTER_VALUE]) -> Registers {
    let mut values = values.iter();
    let zero = WHV_REGISTER_VALUE::default();
    let mut next = || values.next().unwrap_or(&zero);
    Registers {
        general: std::array::from_fn(|_| as_number(next())),
        rip: as_number(next()),
        rflags: as_number(next()),
        segments: std::array::from_fn(|_| as_segment(next())),
        gdt: as_table(next()),
        idt: as_table(next()),
        control: std::array::from_fn(|_| as_number(next())),
        efer: as_number(next()),
        apic_base: as_number(next()),
    }
}

/// The values of neutral registers in the order of [`names`].
pub fn to_values(r: &Registers) -> Vec<WHV_REGISTER_VALUE> {
    let mut values: Vec<_> = r.general.iter().map(|value| number(*value)).collect();
    values.extend([number(r.rip), number(r.rflags)]);
    values.extend(r.segments.iter().map(from_segment));
    values.extend([from_table(r.gdt), from_table(r.idt)]);
    values.extend(r.control.iter().map(|value| number(*value)));
    values.extend([number(r.efer), number(r.apic_base)]);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let segment = |n: u16| Segment {
            selector: n,
            base: u64::from(n) << 32,
            limit: 0xffff,
            rights: 0x93 + n,
        };
        let registers = Registers {
            general: std::array::from_fn(|n| n as u64 + 1),
            rip: 0xfff0,
            rflags: 2,
            segments: std::array::from_fn(|n| segment(n as u16)),
            gdt: (0x1000, 0x27),
            idt: (0x2000, 0x3ff),
            control: [1, 2, 3, 4, 5],
            efer: 0x500,
            apic_base: 0xfee0_0900,
        };
        assert_eq!(from_values(&to_values(&registers)), registers);
        assert_eq!(names().len(), to_values(&registers).len());
    }
}
