// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Registers, from the names of the Windows Hypervisor Platform to the structures of KVM and back.

use super::*;

const GPR: [usize; 16] = [0, 2, 3, 1, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];
fn msr_of(n: i32) -> Option<u32> {
    Some(match n {
        0x2000 => 0x10,
        0x2002 => 0xc000_0102,
        0x2004 => 0x277,
        0x2005..=0x2007 => 0x174 + (n - 0x2005) as u32,
        0x2008..=0x200b => 0xc000_0081 + (n - 0x2008) as u32,
        0x207b => 0xc000_0103,
        _ => return None,
    })
}
pub(super) fn seg_out(s: &Seg) -> WHV_X64_SEGMENT_REGISTER {
    let a = s.typ as u16 & 15
        | (s.s as u16) << 4
        | (s.dpl as u16) << 5
        | (s.present as u16) << 7
        | (s.avl as u16) << 12
        | (s.l as u16) << 13
        | (s.db as u16) << 14
        | (s.g as u16) << 15;
    let mut o: WHV_X64_SEGMENT_REGISTER = unsafe { zeroed() };
    o.Base = s.base;
    o.Limit = s.limit;
    o.Selector = s.sel;
    o.Anonymous.Attributes = a;
    o
}
fn seg_in(o: &WHV_X64_SEGMENT_REGISTER) -> Seg {
    let a = unsafe { o.Anonymous.Attributes };
    let b = |n: u16| (a >> n & 1) as u8;
    Seg {
        base: o.Base,
        limit: o.Limit,
        sel: o.Selector,
        typ: (a & 15) as u8,
        present: b(7),
        dpl: (a >> 5 & 3) as u8,
        db: b(14),
        s: b(4),
        l: b(13),
        g: b(15),
        avl: b(12),
        unusable: 1 - b(7),
        pad: 0,
    }
}
fn seg_ref(s: &mut Sregs, n: i32) -> &mut Seg {
    match n {
        18 => &mut s.es,
        19 => &mut s.cs,
        20 => &mut s.ss,
        21 => &mut s.ds,
        22 => &mut s.fs,
        23 => &mut s.gs,
        24 => &mut s.ldt,
        _ => &mut s.tr,
    }
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvGetVirtualProcessorRegisters(
    h: WHV_PARTITION_HANDLE,
    i: u32,
    names: *const i32,
    n: u32,
    vals: *mut WHV_REGISTER_VALUE,
) -> HR {
    let p = part!(h);
    let v = vp!(p, i);
    let r: Regs = v.get(GET_REGS);
    let mut s: Sregs = v.get(GET_SREGS);
    let ev: Events = v.get(GET_EVENTS);
    let f: Fpu = v.get(GET_FPU);
    for k in 0..n as usize {
        let name = *names.add(k);
        let mut o: WHV_REGISTER_VALUE = zeroed();
        match name {
            0..=15 => o.Reg64 = r.g[GPR[name as usize]],
            16 => o.Reg64 = r.rip,
            17 => o.Reg64 = r.rflags,
            18..=25 => o.Segment = seg_out(seg_ref(&mut s, name)),
            26 | 27 => {
                let t = if name == 26 { s.idt } else { s.gdt };
                o.Table.Base = t.base;
                o.Table.Limit = t.limit;
            }
            28 => o.Reg64 = s.cr0,
            29 => o.Reg64 = s.cr2,
            30 => o.Reg64 = s.cr3,
            31 => o.Reg64 = s.cr4,
            32 => o.Reg64 = s.cr8,
            0x1000..=0x100f => {
                o.Reg128 = std::mem::transmute::<[u8; 16], WHV_UINT128>(f.xmm[name as usize - 0x1000])
            }
            0x2001 => o.Reg64 = s.efer,
            0x2003 => o.Reg64 = s.apic_base,
            WHvRegisterInterruptState => {
                o.Reg64 = (ev.int_shadow != 0) as u64 | ((ev.nmi_masked != 0) as u64) << 1
            }
            WHvRegisterPendingEvent | WHvRegisterInternalActivityState => {}
            WHvRegisterPendingInterruption => {
                o.Reg64 = if ev.int_injected != 0 {
                    1 | (ev.int_nr as u64) << 16
                } else {
                    0
                }
            }
            WHvX64RegisterDeliverabilityNotifications => o.Reg64 = (v.rd::<u8>(0) as u64) << 1,
            _ => match msr_of(name) {
                Some(m) => {
                    let mut b = [1u64, m as u64, 0];
                    ioctl(v.fd, GET_MSRS, b.as_mut_ptr() as usize);
                    o.Reg64 = b[2];
                }
                None => return WHV_E_INVALID_VP_REGISTER_NAME,
            },
        }
        *vals.add(k) = o;
    }
    OK
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvSetVirtualProcessorRegisters(
    h: WHV_PARTITION_HANDLE,
    i: u32,
    names: *const i32,
    n: u32,
    vals: *const WHV_REGISTER_VALUE,
) -> HR {
    let p = part!(h);
    let v = vp!(p, i);
    let (mut r, mut s): (Regs, Sregs) = (v.get(GET_REGS), v.get(GET_SREGS));
    let (mut dr, mut ds) = (false, false);
    for k in 0..n as usize {
        let (name, o) = (*names.add(k), &*vals.add(k));
        match name {
            0..=15 => {
                r.g[GPR[name as usize]] = o.Reg64;
                dr = true
            }
            16 => {
                r.rip = o.Reg64;
                dr = true
            }
            17 => {
                r.rflags = o.Reg64;
                dr = true
            }
            18..=25 => {
                *seg_ref(&mut s, name) = seg_in(&o.Segment);
                ds = true
            }
            26 => {
                s.idt.base = o.Table.Base;
                s.idt.limit = o.Table.Limit;
                ds = true
            }
            27 => {
                s.gdt.base = o.Table.Base;
                s.gdt.limit = o.Table.Limit;
                ds = true
            }
            28 => {
                s.cr0 = o.Reg64;
                ds = true
            }
            29 => {
                s.cr2 = o.Reg64;
                ds = true
            }
            30 => {
                s.cr3 = o.Reg64;
                ds = true
            }
            31 => {
                s.cr4 = o.Reg64;
                ds = true
            }
            32 => {
                s.cr8 = o.Reg64;
                ds = true
            }
            0x1000..=0x100f => {
                let mut f: Fpu = v.get(GET_FPU);
                f.xmm[name as usize - 0x1000] = std::mem::transmute::<WHV_UINT128, [u8; 16]>(o.Reg128);
                v.set(SET_FPU, &f);
            }
            0x2001 => {
                s.efer = o.Reg64;
                ds = true
            }
            0x2003 => {
                s.apic_base = o.Reg64;
                ds = true
            }
            WHvRegisterPendingInterruption => {
                let w = o.Reg64;
                if w & 1 == 0 {
                    let mut e: Events = v.get(GET_EVENTS);
                    e.ex_injected = 0;
                    e.int_injected = 0;
                    e.nmi_injected = 0;
                    v.set(SET_EVENTS, &e);
                }
                if w & 1 != 0 {
                    match w >> 1 & 7 {
                        0 => {
                            let vec = (w >> 16) as u32 & 0xff;
                            v.set(INTERRUPT, &vec);
                        }
                        t => {
                            let mut e: Events = v.get(GET_EVENTS);
                            if t == 2 {
                                e.nmi_injected = 1
                            } else {
                                e.ex_injected = 1;
                                e.ex_nr = (w >> 16) as u8;
                                e.ex_has_err = (w >> 4 & 1) as u8;
                                e.ex_err = (w >> 32) as u32
                            }
                            v.set(SET_EVENTS, &e);
                        }
                    }
                }
            }
            WHvRegisterPendingEvent => {
                let w = o.Reg64;
                if w & 1 != 0 {
                    if w >> 1 & 7 == 5 {
                        let vec = (w >> 8) as u32 & 0xff;
                        v.set(INTERRUPT, &vec);
                    } else {
                        let mut e: Events = v.get(GET_EVENTS);
                        e.ex_injected = 1;
                        e.ex_nr = (w >> 16) as u8;
                        e.ex_has_err = (w >> 4 & 1) as u8;
                        e.ex_err = (w >> 32) as u32;
                        v.set(SET_EVENTS, &e);
                    }
                }
            }
            WHvRegisterInterruptState => {
                let mut e: Events = v.get(GET_EVENTS);
                e.int_shadow = o.Reg64 as u8 & 1;
                e.nmi_masked = (o.Reg64 >> 1) as u8 & 1;
                e.flags |= 8;
                v.set(SET_EVENTS, &e);
            }
            WHvRegisterInternalActivityState => {
                // Start-up suspend is KVM's "uninitialized"; without any suspension the processor runs, also out of HLT.
                let next = (o.Reg64 & 1) as u32;
                v.set(SET_MP_STATE, &next);
            }
            WHvX64RegisterDeliverabilityNotifications => v.wr(0, (o.Reg64 >> 1) as u8 & 1),
            _ => match msr_of(name) {
                Some(m) => {
                    let b = [1u64, m as u64, o.Reg64];
                    ioctl(v.fd, SET_MSRS, b.as_ptr() as usize);
                }
                None => return WHV_E_INVALID_VP_REGISTER_NAME,
            },
        }
    }
    if ds && !v.set(SET_SREGS, &s) {
        return E_INVALIDARG;
    }
    if dr {
        v.set(SET_REGS, &r);
    }
    OK
}
