// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory types as firmware leaves them (Intel SDM volume 3, section 12.11), for machines that start a kernel without it. The registers'
//! reset state is "all memory uncached", which a kernel is right to complain of.

use crate::memory::{FOUR_GIB, HOLE};
use kvm_bindings as kb;

const DEF_TYPE: u32 = 0x2ff;
const PHYS_BASE0: u32 = 0x200;
const PHYS_MASK0: u32 = 0x201;
/// 0–7FFFF, eight ranges of 64 KiB.
const FIX64K_00000: u32 = 0x250;
/// 80000–9FFFF and A0000–BFFFF, eight ranges of 16 KiB each.
const FIX16K_80000: u32 = 0x258;
const FIX16K_A0000: u32 = 0x259;
/// C0000–C7FFF, eight ranges of 4 KiB; seven more such registers go up to FFFFF.
const FIX4K_C0000: u32 = 0x268;

const UNCACHED: u64 = 0;
const WRITE_PROTECT: u64 = 5;
const WRITE_BACK: u64 = 6;
/// Default type register: fixed ranges on, all on.
const ENABLE: u64 = 1 << 10 | 1 << 11;
/// Mask register: the pair is in use.
const VALID: u64 = 1 << 11;

/// All memory is cached, but for the VGA's window and what lies between the end of low RAM and 4 GiB; the shadowed ROMs are
/// write-protected. `address_bits` is the processor's physical address width.
pub(super) fn as_firmware_leaves_them(address_bits: u32) -> [kb::kvm_msr_entry; 14] {
    let eight = |kind: u64| kind * 0x0101_0101_0101_0101;
    let addresses = 1u64.checked_shl(address_bits).map_or(u64::MAX, |end| end - 1);
    let mut registers = [(0, 0); 14];
    registers[..6].copy_from_slice(&[
        (FIX64K_00000, eight(WRITE_BACK)),
        (FIX16K_80000, eight(WRITE_BACK)),
        (FIX16K_A0000, eight(UNCACHED)),
        (PHYS_BASE0, HOLE | UNCACHED),
        (PHYS_MASK0, !(FOUR_GIB - HOLE - 1) & addresses | VALID),
        (DEF_TYPE, ENABLE | WRITE_BACK),
    ]);
    for (register, index) in registers[6..].iter_mut().zip(FIX4K_C0000..) {
        *register = (index, eight(WRITE_PROTECT));
    }
    registers.map(|(index, data)| kb::kvm_msr_entry {
        index,
        data,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The type that these registers give an address: the SDM's rules, for the registers set here.
    fn kind(registers: &[kb::kvm_msr_entry], address: u64) -> u64 {
        let read = |index: u32| registers.iter().find(|r| r.index == index).map_or(0, |r| r.data);
        let byte = |index: u32, n: u64| read(index) >> (8 * n) & 0xff;
        let default = read(DEF_TYPE);
        assert_eq!(default & ENABLE, ENABLE);
        match address {
            ..0x8_0000 => byte(FIX64K_00000, address >> 16),
            0x8_0000..0xc_0000 => byte(FIX16K_80000 + (address >> 17 & 1) as u32, address >> 14 & 7),
            0xc_0000..0x10_0000 => byte(FIX4K_C0000 + (address >> 15 & 7) as u32, address >> 12 & 7),
            _ => {
                let mask = read(PHYS_MASK0);
                assert_eq!(mask & VALID, VALID);
                if address & mask & !0xfff == read(PHYS_BASE0) & mask & !0xfff {
                    read(PHYS_BASE0) & 0xff
                } else {
                    default & 0xff
                }
            }
        }
    }

    #[test]
    fn each_address_has_its_type() {
        for bits in [36, 48, 64] {
            let registers = as_firmware_leaves_them(bits);
            let types = [
                0,
                0x9_ffff,
                0xa_0000,
                0xb_ffff,
                0xc_0000,
                0xf_ffff,
                0x10_0000,
                HOLE - 1,
            ]
            .map(|address| kind(&registers, address));
            assert_eq!(types, [6, 6, 0, 0, 5, 5, 6, 6], "{bits}");
            let high =
                [HOLE, 0xfee0_0000, FOUR_GIB - 1, FOUR_GIB, 7 << 30].map(|address| kind(&registers, address));
            assert_eq!(high, [0, 0, 0, 6, 6], "{bits}");
        }
    }

    #[test]
    fn no_mask_reaches_past_the_address_width() {
        let mask = as_firmware_leaves_them(40)[4];
        assert_eq!((mask.index, mask.data), (PHYS_MASK0, 0xff_c000_0800));
    }
}
