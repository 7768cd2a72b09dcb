// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Running a processor: exits of KVM as those of the Windows Hypervisor Platform.

use super::registers::seg_out;
use super::*;

#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvRunVirtualProcessor(
    h: WHV_PARTITION_HANDLE,
    i: u32,
    out: *mut c_void,
    size: u32,
) -> HR {
    let p = part!(h);
    let v = vp!(p, i);
    v.tid.store(gettid(), SeqCst);
    let mut x: WHV_RUN_VP_EXIT_CONTEXT = zeroed();
    let hr = run(p, &v, &mut x);
    v.tid.store(0, SeqCst);
    std::ptr::copy_nonoverlapping(
        &x as *const _ as *const u8,
        out as *mut u8,
        (size as usize).min(size_of::<WHV_RUN_VP_EXIT_CONTEXT>()),
    );
    hr
}
unsafe fn run(p: &Part, v: &Vp, x: &mut WHV_RUN_VP_EXIT_CONTEXT) -> HR {
    loop {
        if v.cancel.swap(false, SeqCst) {
            v.wr(1, 0u8);
            x.ExitReason = WHvRunVpExitReasonCanceled;
            context(p, v, x, 0);
            return OK;
        }
        // a window asked for while already open, possibly in HLT, is reported without entering
        if v.rd::<u8>(0) != 0 && v.rd::<u8>(0xc) != 0 {
            v.wr(0, 0u8);
            x.ExitReason = WHvRunVpExitReasonX64InterruptWindow;
            context(p, v, x, 0);
            return OK;
        }
        let rc = v.enter();
        if rc == -4 || rc == -11 {
            continue;
        } // EINTR: a kick or one of Wine's own signals; EAGAIN: waiting for SIPI
        if rc < 0 {
            x.ExitReason = WHvRunVpExitReasonUnrecoverableException;
            context(p, v, x, 0);
            return OK;
        }
        match v.rd::<u32>(8) {
            2 => {
                port(p, v, x);
                return OK;
            }
            6 => {
                if mmio(p, v, x) {
                    return OK;
                }
            }
            5 => x.ExitReason = WHvRunVpExitReasonX64Halt,
            7 => {
                v.wr(0, 0u8); // WHP's request is one-shot
                x.ExitReason = WHvRunVpExitReasonX64InterruptWindow;
                x.Anonymous.InterruptWindow.DeliverableType = WHvX64PendingInterrupt;
            }
            8 => x.ExitReason = WHvRunVpExitReasonUnrecoverableException,
            9 => x.ExitReason = WHvRunVpExitReasonInvalidVpRegisterValue,
            26 => {
                x.ExitReason = WHvRunVpExitReasonX64ApicEoi;
                x.Anonymous.ApicEoi.InterruptVector = v.rd::<u8>(0x20) as u32;
            }
            17 => {
                if std::env::var_os("WHPSHIM_LOG").is_some() {
                    let r: Regs = v.get(GET_REGS);
                    eprintln!(
                        "whpshim: vp{} internal error {} at {:#x}",
                        v.index,
                        v.rd::<u32>(0x20),
                        r.rip
                    );
                }
                x.ExitReason = WHvRunVpExitReasonUnsupportedFeature
            }
            _ => continue,
        }
        if x.ExitReason != 0 {
            context(p, v, x, 0);
            return OK;
        }
    }
}
unsafe fn context(_p: &Part, v: &Vp, x: &mut WHV_RUN_VP_EXIT_CONTEXT, ilen: u8) -> (Regs, Sregs) {
    let (r, s): (Regs, Sregs) = (v.get(GET_REGS), v.get(GET_SREGS));
    let ev: Events = v.get(GET_EVENTS);
    let c = &mut x.VpContext;
    c.ExecutionState.AsUINT16 = s.ss.dpl as u16 & 3
        | (s.cr0 as u16 & 1) << 2
        | ((s.cr0 >> 18 & 1) as u16) << 3
        | ((s.efer >> 10 & 1) as u16) << 4
        | (ev.int_injected as u16 & 1) << 6
        | ((ev.int_shadow != 0) as u16) << 12;
    c._bitfield = ilen & 15 | (s.cr8 as u8) << 4;
    c.Cs = seg_out(&s.cs);
    c.Rip = r.rip;
    c.Rflags = r.rflags;
    (r, s)
}
unsafe fn port(p: &Part, v: &Vp, x: &mut WHV_RUN_VP_EXIT_CONTEXT) {
    let (dir, width, port, count) = (
        v.rd::<u8>(0x20),
        v.rd::<u8>(0x21),
        v.rd::<u16>(0x22),
        v.rd::<u32>(0x24),
    );
    let before: Regs = v.get(GET_REGS);
    let s: Sregs = v.get(GET_SREGS);
    v.drain();
    // KVM has now retired the instruction; WHP reports it un-retired, so step back.
    let found = if dir == 0 {
        v.set(SET_REGS, &before);
        decode::at(p, v, &s, before.rip)
    } else {
        let mut after: Regs = v.get(GET_REGS);
        let f = decode::at(p, v, &s, after.rip)
            .filter(|d| d.is_rep_out())
            .or_else(|| decode::port_before(p, v, &s, &after, port, width));
        if let Some(d) = &f {
            d.undo_string(&mut after, width as u64, count as u64);
            after.rip = d.start;
            v.set(SET_REGS, &after);
        }
        f
    };
    x.ExitReason = WHvRunVpExitReasonX64IoPortAccess;
    let (r, s) = context(p, v, x, found.as_ref().map_or(0, |d| d.len as u8));
    let io = &mut x.Anonymous.IoPortAccess;
    *io = zeroed();
    let mut info = dir as u32 | (width as u32) << 1;
    if let Some(d) = &found {
        io.InstructionByteCount = d.len as u8;
        io.InstructionBytes[..d.len].copy_from_slice(&d.bytes[..d.len]);
        info |= (d.string as u32) << 4 | (d.rep as u32) << 5;
    }
    io.AccessInfo.AsUINT32 = info;
    io.PortNumber = port;
    io.Rax = r.g[0];
    io.Rcx = r.g[2];
    io.Rsi = r.g[4];
    io.Rdi = r.g[5];
    io.Ds = seg_out(&s.ds);
    io.Es = seg_out(&s.es);
}
unsafe fn mmio(p: &Part, v: &Vp, x: &mut WHV_RUN_VP_EXIT_CONTEXT) -> bool {
    let (gpa, len, write) = (
        v.rd::<u64>(0x20),
        v.rd::<u32>(0x30) as usize,
        v.rd::<u8>(0x34) != 0,
    );
    let mut data: Vec<u8> = (0..len.min(8)).map(|i| v.rd::<u8>(0x28 + i)).collect();
    if write {
        let bells = p.st.lock().unwrap().bells.clone();
        for b in bells {
            let fl = b.m._bitfield;
            let mut val = [0u8; 8];
            val[..data.len()].copy_from_slice(&data);
            if b.m.GuestAddress == gpa
                && (fl & 1 == 0 || b.m.Value == u64::from_le_bytes(val))
                && (fl & 2 == 0 || b.m.Length as usize == len)
            {
                windows_sys::Win32::System::Threading::SetEvent(b.ev as HANDLE);
                return false; // the next KVM_RUN retires the write
            }
        }
    }
    let before: Regs = v.get(GET_REGS);
    let s: Sregs = v.get(GET_SREGS);
    data.extend(v.drain());
    let found = if !write {
        v.set(SET_REGS, &before);
        decode::at(p, v, &s, before.rip)
    } else {
        let mut after: Regs = v.get(GET_REGS);
        let f = decode::store_before(p, v, &s, &after, gpa, len);
        if let Some(d) = &f {
            d.undo_string(&mut after, len as u64, 1);
            after.rip = d.start;
            v.set(SET_REGS, &after);
        }
        f
    };
    x.ExitReason = WHvRunVpExitReasonMemoryAccess;
    context(p, v, x, 0);
    let m = &mut x.Anonymous.MemoryAccess;
    *m = zeroed();
    if let Some(d) = &found {
        m.InstructionByteCount = d.len as u8;
        m.InstructionBytes[..d.len].copy_from_slice(&d.bytes[..d.len]);
        if let Some(g) = d.gva {
            m.Gva = g;
        }
        m.AccessInfo.AsUINT32 = write as u32 | 4 | (d.gva.is_some() as u32) << 3;
    } else {
        m.AccessInfo.AsUINT32 = write as u32 | 4;
    }
    m.Gpa = gpa;
    true
}
