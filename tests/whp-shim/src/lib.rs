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
// Behind the macros, which they use.
mod registers;
mod run;

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
