// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finds the instruction behind a KVM exit so that it can be reported as not yet executed.
use crate::linux::*;
use crate::{Part, Vp};
use iced_x86::*;

pub struct Found {
    pub start: u64,
    pub len: usize,
    pub bytes: [u8; 16],
    pub string: bool,
    pub rep: bool,
    pub gva: Option<u64>,
    code: Instruction,
    down: bool,
}

fn bits(s: &Sregs) -> u32 {
    if s.efer & 0x400 != 0 && s.cs.l != 0 {
        64
    } else if s.cs.db != 0 {
        32
    } else {
        16
    }
}
fn fetch(p: &Part, v: &Vp, s: &Sregs, rip: u64, buf: &mut [u8]) -> usize {
    let mut page: Option<(u64, u64)> = None;
    for (i, b) in buf.iter_mut().enumerate() {
        let lin = if bits(s) == 64 {
            rip + i as u64
        } else {
            (s.cs.base + (rip + i as u64)) & 0xffff_ffff
        };
        let g = match page {
            Some((l, g)) if l == lin >> 12 => g,
            _ => match v.phys(lin & !0xfff) {
                Some(g) => {
                    page = Some((lin >> 12, g));
                    g
                }
                None => return i,
            },
        };
        match p.read_phys(g | lin & 0xfff) {
            Some(x) => *b = x,
            None => return i,
        }
    }
    buf.len()
}
fn one(s: &Sregs, rip: u64, b: &[u8]) -> Option<Instruction> {
    let mut d = Decoder::with_ip(bits(s), b, rip, DecoderOptions::NONE);
    let i = d.decode();
    if i.is_invalid() { None } else { Some(i) }
}
fn found(rip: u64, i: Instruction, b: &[u8], down: bool) -> Found {
    let mut bytes = [0; 16];
    let n = i.len();
    bytes[..n].copy_from_slice(&b[..n]);
    Found {
        start: rip,
        len: n,
        bytes,
        string: i.is_string_instruction(),
        rep: i.has_rep_prefix() || i.has_repne_prefix(),
        gva: None,
        code: i,
        down,
    }
}
pub fn at(p: &Part, v: &Vp, s: &Sregs, rip: u64) -> Option<Found> {
    let mut b = [0u8; 15];
    let n = fetch(p, v, s, rip, &mut b);
    let i = one(s, rip, &b[..n])?;
    let r: Regs = v.get(GET_REGS);
    let mut f = found(rip, i, &b, r.rflags & 0x400 != 0);
    f.gva = (0..i.op_count()).find_map(|o| address(&i, o, s, &r));
    Some(f)
}
fn address(i: &Instruction, op: u32, s: &Sregs, r: &Regs) -> Option<u64> {
    let k = i.op_kind(op);
    if !matches!(
        k,
        OpKind::Memory
            | OpKind::MemorySegSI
            | OpKind::MemorySegESI
            | OpKind::MemorySegRSI
            | OpKind::MemoryESDI
            | OpKind::MemoryESEDI
            | OpKind::MemoryESRDI
    ) || i.mnemonic() == Mnemonic::Lea
    {
        return None;
    }
    let long = bits(s) == 64;
    i.virtual_address(op, 0, |reg, _, _| {
        Some(match reg {
            Register::ES => {
                if long {
                    0
                } else {
                    s.es.base
                }
            }
            Register::CS => {
                if long {
                    0
                } else {
                    s.cs.base
                }
            }
            Register::SS => {
                if long {
                    0
                } else {
                    s.ss.base
                }
            }
            Register::DS => {
                if long {
                    0
                } else {
                    s.ds.base
                }
            }
            Register::FS => s.fs.base,
            Register::GS => s.gs.base,
            _ => {
                let n = reg.full_register().number();
                let q = r.g[[0, 2, 3, 1, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15]
                    .get(n)
                    .copied()?];
                match reg.size() {
                    1 => q & 0xff,
                    2 => q & 0xffff,
                    4 => q & 0xffff_ffff,
                    _ => q,
                }
            }
        })
    })
    .map(|a| if long { a } else { a & 0xffff_ffff })
}
fn back(p: &Part, v: &Vp, s: &Sregs, r: &Regs, ok: impl Fn(&Instruction) -> bool) -> Option<Found> {
    for n in 1..=15u64 {
        let start = r.rip.wrapping_sub(n);
        let mut b = [0u8; 15];
        let got = fetch(p, v, s, start, &mut b[..n as usize]);
        if got < n as usize {
            continue;
        }
        if let Some(i) = one(s, start, &b[..n as usize])
            && i.len() == n as usize
            && ok(&i)
        {
            return Some(found(start, i, &b, r.rflags & 0x400 != 0));
        }
    }
    None
}
fn out_width(i: &Instruction) -> Option<u8> {
    Some(match i.code() {
        Code::Out_DX_AL | Code::Out_imm8_AL | Code::Outsb_DX_m8 => 1,
        Code::Out_DX_AX | Code::Out_imm8_AX | Code::Outsw_DX_m16 => 2,
        Code::Out_DX_EAX | Code::Out_imm8_EAX | Code::Outsd_DX_m32 => 4,
        _ => return None,
    })
}
pub fn port_before(p: &Part, v: &Vp, s: &Sregs, r: &Regs, port: u16, width: u8) -> Option<Found> {
    back(p, v, s, r, |i| {
        out_width(i) == Some(width)
            && if i.op0_kind() == OpKind::Immediate8 {
                i.immediate8() as u16 == port
            } else {
                r.g[3] as u16 == port
            }
    })
}
pub fn store_before(p: &Part, v: &Vp, s: &Sregs, r: &Regs, gpa: u64, len: usize) -> Option<Found> {
    let fits = |i: &Instruction, r: &Regs| {
        (0..i.op_count())
            .find_map(|o| address(i, o, s, r))
            .filter(|a| v.phys(*a) == Some(gpa))
    };
    // a repeated string store still points at itself
    if let Some(mut f) = at(p, v, s, r.rip).filter(|f| f.string && f.rep) {
        let mut q = *r;
        f.undo_string(&mut q, len as u64, 1);
        if let Some(a) = string_dest(&f.code, s, &q).filter(|a| v.phys(*a) == Some(gpa)) {
            f.gva = Some(a);
            return Some(f);
        }
    }
    let test = |i: &Instruction| {
        if i.is_string_instruction() {
            let mut q = *r;
            found(0, *i, &[0; 15], r.rflags & 0x400 != 0).undo_string(&mut q, len as u64, 1);
            string_dest(i, s, &q).is_some_and(|a| v.phys(a) == Some(gpa))
        } else {
            fits(i, r).is_some()
        }
    };
    let mut f = back(p, v, s, r, test)?;
    f.gva = fits(&f.code, r);
    Some(f)
}
fn string_dest(i: &Instruction, s: &Sregs, r: &Regs) -> Option<u64> {
    (0..i.op_count())
        .find(|o| {
            matches!(
                i.op_kind(*o),
                OpKind::MemoryESDI | OpKind::MemoryESEDI | OpKind::MemoryESRDI
            )
        })
        .and_then(|o| address(i, o, s, r))
}
impl Found {
    pub fn is_rep_out(&self) -> bool {
        self.string && self.rep && out_width(&self.code).is_some()
    }
    /// Takes back one element of a string instruction.
    pub fn undo_string(&self, r: &mut Regs, width: u64, count: u64) {
        if !self.string {
            return;
        }
        let d = if self.down {
            (width * count).wrapping_neg()
        } else {
            width * count
        };
        for o in 0..self.code.op_count() {
            match self.code.op_kind(o) {
                OpKind::MemorySegSI | OpKind::MemorySegESI | OpKind::MemorySegRSI => {
                    r.g[4] = r.g[4].wrapping_sub(d)
                }
                OpKind::MemoryESDI | OpKind::MemoryESEDI | OpKind::MemoryESRDI => {
                    r.g[5] = r.g[5].wrapping_sub(d)
                }
                _ => {}
            }
        }
        if self.rep {
            r.g[2] = r.g[2].wrapping_add(count)
        }
    }
}
