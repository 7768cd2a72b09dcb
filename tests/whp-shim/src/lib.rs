// SPDX-License-Identifier: Apache-2.0 OR MIT
//! For tests under Wine only: a `WinHvPlatform.dll` that carries out the Windows Hypervisor Platform's calls with Linux' `/dev/kvm`, by raw
//! system calls from a Windows program. It shows that the WHP back end does what Microsoft's reference says, as far as this file reads
//! that reference rightly; what Windows really does only Windows can show.
//!
//! It cannot be taken for the real thing: it exports `VirtualpcTestStandIn`, and outside of Wine every call fails.
//!
//! KVM completes port and memory accesses by itself, WHP reports them before they are carried out. So at an exit the registers are
//! noted, KVM finishes the instruction with zeros, and the registers are put back; for writes, which KVM has retired by then, the
//! instruction is found by decoding backwards ([`decode`]).
//!
//! `WHPSHIM` in the environment: `absent` (no hypervisor behind the library), `refused` (it makes no partition).
#![cfg(target_os = "windows")]
// The names and conditions of all functions are Microsoft's. What holds for all unsafe code here: callers pass what the reference asks
// of them, and structures for system calls have the kernel's layout.
#![allow(
    non_snake_case,
    non_upper_case_globals,
    clippy::missing_safety_doc,
    clippy::too_many_arguments,
    unsafe_op_in_unsafe_fn
)]

mod decode;
mod linux;
use linux::*;
use std::ffi::c_void;
use std::mem::{size_of, zeroed};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, RwLock};
use windows_sys::Win32::Foundation::*;
use windows_sys::Win32::System::Hypervisor::*;
type HR = i32;
const OK: HR = 0;

pub struct Vp {
    pub fd: isize,
    run: *mut u8,
    run_len: usize,
    tid: AtomicIsize,
    cancel: AtomicBool,
    index: u32,
}
unsafe impl Send for Vp {}
unsafe impl Sync for Vp {}
#[derive(Clone, Copy)]
struct Range {
    slot: u32,
    gpa: u64,
    len: u64,
    hva: u64,
    flags: u32,
}
#[derive(Clone, Copy)]
struct Bell {
    m: WHV_DOORBELL_MATCH_DATA,
    ev: usize,
}
#[derive(Default)]
struct State {
    ranges: Vec<Range>,
    next_slot: u32,
    free: Vec<u32>,
    bells: Vec<Bell>,
    eoi: Vec<(u32, u32)>,
    cpuid: Vec<WHV_X64_CPUID_RESULT>,
}
pub struct Part {
    kvm: isize,
    vm: AtomicIsize,
    apic: AtomicU32,
    count: AtomicU32,
    exits: Mutex<u64>,
    st: Mutex<State>,
    vps: RwLock<Vec<Option<Arc<Vp>>>>,
}

fn part<'a>(h: WHV_PARTITION_HANDLE) -> Option<&'a Part> {
    if h as usize == 0 {
        None
    } else {
        unsafe { Some(&*(h as usize as *const Part)) }
    }
}
macro_rules! part {
    ($h:expr) => {
        match part($h) {
            Some(p) => p,
            None => return E_INVALIDARG,
        }
    };
}
macro_rules! vp {
    ($p:expr, $i:expr) => {
        match $p.vps.read().unwrap().get($i as usize).and_then(|v| v.clone()) {
            Some(v) => v,
            None => return WHV_E_VP_DOES_NOT_EXIST,
        }
    };
}

impl Vp {
    pub fn get<T>(&self, req: usize) -> T {
        unsafe {
            let mut v: T = zeroed();
            ioctl(self.fd, req, &mut v as *mut T as usize);
            v
        }
    }
    pub fn set<T>(&self, req: usize, v: &T) -> bool {
        unsafe { ioctl(self.fd, req, v as *const T as usize) >= 0 }
    }
    fn rd<T: Copy>(&self, off: usize) -> T {
        unsafe { (self.run.add(off) as *const T).read_volatile() }
    }
    fn wr<T: Copy>(&self, off: usize, v: T) {
        unsafe { (self.run.add(off) as *mut T).write_volatile(v) }
    }
    fn enter(&self) -> isize {
        unsafe { ioctl(self.fd, RUN, 0) }
    }
    /// Lets KVM finish the instruction it stopped in, feeding zeroes, without running the guest.
    /// Returns the further write fragments of the same access.
    fn drain(&self) -> Vec<u8> {
        let mut more = vec![];
        self.wr(1, 1u8);
        for _ in 0..64 {
            match self.rd::<u32>(8) {
                6 if self.rd::<u8>(0x34) == 0 => self.wr(0x28, 0u64),
                2 if self.rd::<u8>(0x20) == 0 => {
                    let n = self.rd::<u8>(0x21) as usize * self.rd::<u32>(0x24) as usize;
                    let off = self.rd::<u64>(0x28) as usize;
                    for i in 0..n {
                        self.wr(off + i, 0u8)
                    }
                }
                _ => {}
            }
            if self.enter() < 0 {
                break;
            }
            if self.rd::<u32>(8) == 6 && self.rd::<u8>(0x34) != 0 {
                let n = self.rd::<u32>(0x30) as usize;
                more.extend((0..n.min(8)).map(|i| self.rd::<u8>(0x28 + i)));
            }
        }
        self.wr(1, 0u8);
        if self.cancel.load(SeqCst) {
            self.wr(1, 1u8)
        }
        more
    }
    pub fn phys(&self, lin: u64) -> Option<u64> {
        let mut t = [lin, 0, 0];
        unsafe { ioctl(self.fd, TRANSLATE, t.as_mut_ptr() as usize) };
        if t[2] as u8 != 0 { Some(t[1]) } else { None }
    }
}
impl Part {
    pub fn read_phys(&self, gpa: u64) -> Option<u8> {
        let s = self.st.lock().unwrap();
        s.ranges
            .iter()
            .find(|r| gpa >= r.gpa && gpa - r.gpa < r.len)
            .map(|r| unsafe { ((r.hva + gpa - r.gpa) as *const u8).read_volatile() })
    }
    fn slot(&self, r: &Range, len: u64) -> bool {
        let m = Mem {
            slot: r.slot,
            flags: (if r.flags & 2 == 0 { 2 } else { 0 }) | (if r.flags & 8 != 0 { 1 } else { 0 }),
            gpa: r.gpa,
            size: len,
            hva: r.hva,
        };
        unsafe { ioctl(self.vm.load(SeqCst), SET_MEM, &m as *const Mem as usize) >= 0 }
    }
    /// WHP replaces or cuts whatever lies under a new range; KVM wants disjoint slots.
    fn carve(&self, s: &mut State, gpa: u64, len: u64) {
        let (hit, keep): (Vec<Range>, Vec<Range>) = s
            .ranges
            .drain(..)
            .partition(|r| r.gpa < gpa + len && gpa < r.gpa + r.len);
        s.ranges = keep;
        for r in hit {
            self.slot(&r, 0);
            s.free.push(r.slot);
            if r.gpa < gpa {
                self.add(s, r.gpa, gpa - r.gpa, r.hva, r.flags);
            }
            let (e, ge) = (r.gpa + r.len, gpa + len);
            if e > ge {
                self.add(s, ge, e - ge, r.hva + (ge - r.gpa), r.flags);
            }
        }
    }
    fn add(&self, s: &mut State, gpa: u64, len: u64, hva: u64, flags: u32) -> bool {
        let slot = s.free.pop().unwrap_or_else(|| {
            s.next_slot += 1;
            s.next_slot - 1
        });
        let r = Range {
            slot,
            gpa,
            len,
            hva,
            flags,
        };
        let ok = self.slot(&r, len);
        if ok {
            s.ranges.push(r)
        } else {
            s.free.push(slot)
        }
        ok
    }
}

/// What the test wants to be told, and "absent" outside of Wine.
fn plays(what: &str) -> bool {
    let wine = unsafe {
        let ntdll = windows_sys::Win32::System::LibraryLoader::GetModuleHandleA(c"ntdll.dll".as_ptr().cast());
        windows_sys::Win32::System::LibraryLoader::GetProcAddress(ntdll, c"wine_get_version".as_ptr().cast())
            .is_some()
    };
    (!wine && what == "absent") || std::env::var("WHPSHIM").is_ok_and(|wish| wish == what)
}

/// Marks this library: Windows has no such function.
#[unsafe(no_mangle)]
pub extern "system" fn VirtualpcTestStandIn() -> isize {
    1
}
unsafe fn put<T>(buf: *mut c_void, size: u32, written: *mut u32, v: T) -> HR {
    if (size as usize) < size_of::<T>() {
        return WHV_E_INSUFFICIENT_BUFFER;
    }
    (buf as *mut T).write_unaligned(v);
    if !written.is_null() {
        *written = size_of::<T>() as u32
    }
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvGetCapability(
    code: i32,
    buf: *mut c_void,
    size: u32,
    written: *mut u32,
) -> HR {
    let kvm = open_rw(c"/dev/kvm");
    let have = kvm >= 0 && !plays("absent");
    if kvm >= 0 {
        close(kvm)
    }
    match code {
        WHvCapabilityCodeHypervisorPresent => put(buf, size, written, have as u32),
        _ if !have => WHV_E_UNKNOWN_CAPABILITY,
        WHvCapabilityCodeFeatures => put(buf, size, written, 0b1011u64),
        WHvCapabilityCodeExtendedVmExits => put(buf, size, written, 0u64),
        WHvCapabilityCodeExceptionExitBitmap => put(buf, size, written, 0u64),
        WHvCapabilityCodeProcessorVendor => put(buf, size, written, 0u32),
        WHvCapabilityCodeProcessorFeatures => put(buf, size, written, 0u64),
        WHvCapabilityCodeProcessorClockFrequency => put(buf, size, written, 0u64),
        WHvCapabilityCodeInterruptClockFrequency => put(buf, size, written, 1_000_000_000u64),
        _ => WHV_E_UNKNOWN_CAPABILITY,
    }
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvCreatePartition(out: *mut WHV_PARTITION_HANDLE) -> HR {
    let kvm = open_rw(c"/dev/kvm");
    if kvm < 0 || plays("absent") || plays("refused") {
        return ERROR_HV_NOT_PRESENT as i32;
    }
    install_kick();
    let p = Box::new(Part {
        kvm,
        vm: AtomicIsize::new(-1),
        apic: AtomicU32::new(0),
        count: AtomicU32::new(0),
        exits: Mutex::new(0),
        st: Default::default(),
        vps: Default::default(),
    });
    *out = Box::into_raw(p) as usize as WHV_PARTITION_HANDLE;
    OK
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvSetPartitionProperty(
    h: WHV_PARTITION_HANDLE,
    code: i32,
    buf: *const c_void,
    size: u32,
) -> HR {
    let p = part!(h);
    let u = || {
        if size >= 8 {
            (buf as *const u64).read_unaligned()
        } else if size >= 4 {
            (buf as *const u32).read_unaligned() as u64
        } else {
            0
        }
    };
    match code {
        WHvPartitionPropertyCodeProcessorCount => p.count.store(u() as u32, SeqCst),
        WHvPartitionPropertyCodeLocalApicEmulationMode => p.apic.store(u() as u32, SeqCst),
        WHvPartitionPropertyCodeExtendedVmExits => *p.exits.lock().unwrap() = u(),
        WHvPartitionPropertyCodeCpuidResultList => {
            let n = size as usize / size_of::<WHV_X64_CPUID_RESULT>();
            p.st.lock().unwrap().cpuid = (0..n)
                .map(|i| (buf as *const WHV_X64_CPUID_RESULT).add(i).read_unaligned())
                .collect();
        }
        WHvPartitionPropertyCodeProcessorFeatures
        | WHvPartitionPropertyCodeProcessorClFlushSize
        | WHvPartitionPropertyCodeSeparateSecurityDomain
        | WHvPartitionPropertyCodeCpuidExitList
        | WHvPartitionPropertyCodeExceptionExitBitmap => {}
        _ => return WHV_E_UNKNOWN_PROPERTY,
    }
    OK
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvSetupPartition(h: WHV_PARTITION_HANDLE) -> HR {
    let p = part!(h);
    if p.count.load(SeqCst) == 0 {
        return WHV_E_INVALID_PARTITION_CONFIG;
    }
    let vm = ioctl(p.kvm, CREATE_VM, 0);
    if vm < 0 {
        return E_FAIL;
    }
    ioctl(vm, SET_TSS, 0xfffb_d000);
    if p.apic.load(SeqCst) != 0 {
        let mut cap = [0u64; 13];
        cap[0] = 121;
        cap[1] = 24; // split irqchip, 24 IOAPIC pins
        if ioctl(vm, ENABLE_CAP, cap.as_ptr() as usize) < 0 {
            return E_FAIL;
        }
    }
    p.vm.store(vm, SeqCst);
    OK
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvDeletePartition(h: WHV_PARTITION_HANDLE) -> HR {
    let p = part!(h);
    for v in p.vps.write().unwrap().drain(..).flatten() {
        munmap(v.run as usize, v.run_len);
        close(v.fd);
    }
    close(p.vm.load(SeqCst));
    close(p.kvm);
    drop(Box::from_raw(h as usize as *mut Part));
    OK
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvMapGpaRange(
    h: WHV_PARTITION_HANDLE,
    src: *const c_void,
    gpa: u64,
    len: u64,
    flags: i32,
) -> HR {
    let p = part!(h);
    if p.vm.load(SeqCst) < 0 || (gpa | len | src as u64) & 0xfff != 0 {
        return E_INVALIDARG;
    }
    let mut s = p.st.lock().unwrap();
    p.carve(&mut s, gpa, len);
    if p.add(&mut s, gpa, len, src as u64, flags as u32) {
        OK
    } else {
        E_FAIL
    }
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvUnmapGpaRange(h: WHV_PARTITION_HANDLE, gpa: u64, len: u64) -> HR {
    let p = part!(h);
    let mut s = p.st.lock().unwrap();
    if !s.ranges.iter().any(|r| r.gpa < gpa + len && gpa < r.gpa + r.len) {
        return WHV_E_GPA_RANGE_NOT_FOUND;
    }
    p.carve(&mut s, gpa, len);
    OK
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvCreateVirtualProcessor(
    h: WHV_PARTITION_HANDLE,
    index: u32,
    _flags: u32,
) -> HR {
    let p = part!(h);
    let vm = p.vm.load(SeqCst);
    if index >= p.count.load(SeqCst) {
        return E_INVALIDARG;
    }
    let mut vps = p.vps.write().unwrap();
    if vps.len() <= index as usize {
        vps.resize(index as usize + 1, None);
    }
    if vps[index as usize].is_some() {
        return WHV_E_VP_ALREADY_EXISTS;
    }
    let fd = ioctl(vm, CREATE_VCPU, index as usize);
    let len = ioctl(p.kvm, VCPU_MMAP, 0);
    if fd < 0 || len <= 0 {
        return E_FAIL;
    }
    let run = mmap_shared(fd, len as usize);
    if run < 0 {
        return E_FAIL;
    }
    // nent, pad, then 40-byte entries
    let mut cp = vec![0u32; 2 + 200 * 10];
    cp[0] = 200;
    ioctl(p.kvm, SUPPORTED_CPUID, cp.as_mut_ptr() as usize);
    for c in &p.st.lock().unwrap().cpuid {
        for e in cp[2..].chunks_exact_mut(10) {
            if e[0] == c.Function && (e[3] != 0 || e[4] != 0 || e[5] != 0 || e[6] != 0) {
                e[3] = c.Eax;
                e[4] = c.Ebx;
                e[5] = c.Ecx;
                e[6] = c.Edx;
            }
        }
    }
    // Real WHP gives each processor its own number.
    for e in cp[2..].chunks_exact_mut(10) {
        match e[0] {
            1 => e[4] = e[4] & 0x00ff_ffff | index << 24,
            0xb | 0x1f => e[6] = index,
            _ => {}
        }
    }
    ioctl(fd, SET_CPUID2, cp.as_ptr() as usize);
    if p.apic.load(SeqCst) != 0 {
        // KVM enters a processor into its APIC map only when its APIC is next written
        let mut l = [0u8; 1024];
        ioctl(fd, GET_LAPIC, l.as_mut_ptr() as usize);
        ioctl(fd, SET_LAPIC, l.as_ptr() as usize);
    }
    // like the real platform: the code segment of a new processor is based at 0xf0000
    let mut s: Sregs = zeroed();
    ioctl(fd, GET_SREGS, &mut s as *mut Sregs as usize);
    s.cs.base = 0xf0000;
    ioctl(fd, SET_SREGS, &s as *const Sregs as usize);
    vps[index as usize] = Some(Arc::new(Vp {
        fd,
        run: run as *mut u8,
        run_len: len as usize,
        tid: AtomicIsize::new(0),
        cancel: AtomicBool::new(false),
        index,
    }));
    OK
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvDeleteVirtualProcessor(h: WHV_PARTITION_HANDLE, index: u32) -> HR {
    let p = part!(h);
    match p
        .vps
        .write()
        .unwrap()
        .get_mut(index as usize)
        .and_then(|v| v.take())
    {
        Some(v) => {
            munmap(v.run as usize, v.run_len);
            close(v.fd);
            OK
        }
        None => WHV_E_VP_DOES_NOT_EXIST,
    }
}

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
fn seg_out(s: &Seg) -> WHV_X64_SEGMENT_REGISTER {
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
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvCancelRunVirtualProcessor(h: WHV_PARTITION_HANDLE, i: u32, _f: u32) -> HR {
    let p = part!(h);
    let v = vp!(p, i);
    v.cancel.store(true, SeqCst);
    v.wr(1, 1u8);
    let t = v.tid.load(SeqCst);
    if t != 0 {
        tgkill(t, KICK);
    }
    OK
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvTranslateGva(
    h: WHV_PARTITION_HANDLE,
    i: u32,
    gva: u64,
    _f: i32,
    res: *mut WHV_TRANSLATE_GVA_RESULT,
    gpa: *mut u64,
) -> HR {
    let p = part!(h);
    let v = vp!(p, i);
    *res = zeroed();
    match v.phys(gva) {
        Some(g) => *gpa = g,
        None => (*res).ResultCode = WHvTranslateGvaResultPageNotPresent,
    }
    OK
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvRegisterPartitionDoorbellEvent(
    h: WHV_PARTITION_HANDLE,
    m: *const WHV_DOORBELL_MATCH_DATA,
    ev: HANDLE,
) -> HR {
    part!(h).st.lock().unwrap().bells.push(Bell {
        m: *m,
        ev: ev as usize,
    });
    OK
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvUnregisterPartitionDoorbellEvent(
    h: WHV_PARTITION_HANDLE,
    m: *const WHV_DOORBELL_MATCH_DATA,
) -> HR {
    part!(h)
        .st
        .lock()
        .unwrap()
        .bells
        .retain(|b| b.m.GuestAddress != (*m).GuestAddress || b.m.Value != (*m).Value);
    OK
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvRequestInterrupt(
    h: WHV_PARTITION_HANDLE,
    c: *const WHV_INTERRUPT_CONTROL,
    _n: u32,
) -> HR {
    let p = part!(h);
    let w = (c as *const u64).read_unaligned();
    let (ty, dm, tm, dest, vec) = (
        w as u8 as u32,
        (w >> 8 & 15) as u32,
        (w >> 12 & 15) as u32,
        (*c).Destination,
        (*c).Vector,
    );
    let (lo, hi) = (0xfee0_0000 | (dest & 0xff) << 12 | dm << 2, dest & 0xffff_ff00);
    let data = vec & 0xff | (ty & 7) << 8 | 1 << 14 | tm << 15;
    if tm == 1 {
        // KVM only reports the EOI of vectors that a route in the IOAPIC's pins names
        let mut s = p.st.lock().unwrap();
        if !s.eoi.contains(&(lo, data)) {
            s.eoi.push((lo, data));
            if s.eoi.len() > 24 {
                s.eoi.remove(0);
            }
            let mut b = vec![s.eoi.len() as u32, 0];
            for (k, e) in s.eoi.iter().enumerate() {
                b.extend([k as u32, 2, 0, 0, e.0, hi, e.1, 0, 0, 0, 0, 0]);
            }
            ioctl(p.vm.load(SeqCst), SET_ROUTING, b.as_ptr() as usize);
        }
    }
    let msi = [lo, hi, data, 0, 0, 0, 0, 0u32];
    if ioctl(p.vm.load(SeqCst), SIGNAL_MSI, msi.as_ptr() as usize) < 0 {
        E_INVALIDARG
    } else {
        OK
    }
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvGetVirtualProcessorInterruptControllerState2(
    h: WHV_PARTITION_HANDLE,
    i: u32,
    b: *mut c_void,
    n: u32,
    w: *mut u32,
) -> HR {
    let p = part!(h);
    let v = vp!(p, i);
    if n < 4096 {
        return WHV_E_INSUFFICIENT_BUFFER;
    }
    let l: [u8; 1024] = v.get(GET_LAPIC);
    std::ptr::write_bytes(b as *mut u8, 0, 4096);
    std::ptr::copy_nonoverlapping(l.as_ptr(), b as *mut u8, 1024);
    if !w.is_null() {
        *w = 4096
    }
    OK
}
#[unsafe(no_mangle)]
pub unsafe extern "system" fn WHvSetVirtualProcessorInterruptControllerState2(
    h: WHV_PARTITION_HANDLE,
    i: u32,
    b: *const c_void,
    n: u32,
) -> HR {
    let p = part!(h);
    let v = vp!(p, i);
    if n < 1024 {
        return E_INVALIDARG;
    }
    if v.set(SET_LAPIC, &*(b as *const [u8; 1024])) {
        OK
    } else {
        E_INVALIDARG
    }
}

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
