// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Linux system calls straight from a PE image, and the few KVM structures the shim needs.
use std::arch::{asm, global_asm};

pub unsafe fn sc(n: usize, a: [usize; 6]) -> isize {
    let r: isize;
    asm!("syscall", inlateout("rax") n as isize => r, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
         in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _, options(nostack));
    r
}
pub unsafe fn open_rw(path: &std::ffi::CStr) -> isize {
    sc(2, [path.as_ptr() as usize, 0o2000002, 0, 0, 0, 0])
}
pub unsafe fn close(fd: isize) {
    sc(3, [fd as usize, 0, 0, 0, 0, 0]);
}
pub unsafe fn ioctl(fd: isize, req: usize, arg: usize) -> isize {
    sc(16, [fd as usize, req, arg, 0, 0, 0])
}
pub unsafe fn mmap_shared(fd: isize, len: usize) -> isize {
    sc(9, [0, len, 3, 1, fd as usize, 0])
}
pub unsafe fn munmap(p: usize, len: usize) {
    sc(11, [p, len, 0, 0, 0, 0]);
}
pub unsafe fn gettid() -> isize {
    sc(186, [0; 6])
}
pub unsafe fn tgkill(tid: isize, sig: usize) {
    let pid = sc(39, [0; 6]);
    sc(234, [pid as usize, tid as usize, sig, 0, 0, 0]);
}

pub const KICK: usize = 44; // a real-time signal that neither glibc nor Wine uses
global_asm!(
    ".global whpshim_kick",
    "whpshim_kick:",
    "ret",
    ".global whpshim_restore",
    "whpshim_restore:",
    "mov eax, 15",
    "syscall"
);
unsafe extern "C" {
    fn whpshim_kick();
    fn whpshim_restore();
}
pub unsafe fn install_kick() {
    // kernel layout: handler, flags (SA_RESTORER | SA_ONSTACK), restorer, mask
    let act = [
        whpshim_kick as *const () as usize,
        0x0c00_0000,
        whpshim_restore as *const () as usize,
        0,
    ];
    sc(13, [KICK, act.as_ptr() as usize, 0, 8, 0, 0]);
}

pub const CREATE_VM: usize = 0xae01;
pub const VCPU_MMAP: usize = 0xae04;
pub const SUPPORTED_CPUID: usize = 0xc008ae05;
pub const CREATE_VCPU: usize = 0xae41;
pub const SET_MEM: usize = 0x4020ae46;
pub const SET_TSS: usize = 0xae47;
pub const RUN: usize = 0xae80;
pub const GET_REGS: usize = 0x8090ae81;
pub const SET_REGS: usize = 0x4090ae82;
pub const GET_SREGS: usize = 0x8138ae83;
pub const SET_SREGS: usize = 0x4138ae84;
pub const TRANSLATE: usize = 0xc018ae85;
pub const INTERRUPT: usize = 0x4004ae86;
pub const GET_MSRS: usize = 0xc008ae88;
pub const SET_MSRS: usize = 0x4008ae89;
pub const GET_FPU: usize = 0x81a0ae8c;
pub const SET_FPU: usize = 0x41a0ae8d;
pub const GET_LAPIC: usize = 0x8400ae8e;
pub const SET_LAPIC: usize = 0x4400ae8f;
pub const SET_CPUID2: usize = 0x4008ae90;
pub const SET_MP_STATE: usize = 0x4004ae99;
pub const GET_EVENTS: usize = 0x8040ae9f;
pub const SET_EVENTS: usize = 0x4040aea0;
pub const ENABLE_CAP: usize = 0x4068aea3;
pub const SIGNAL_MSI: usize = 0x4020aea5;
pub const SET_ROUTING: usize = 0x4008ae6a;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Regs {
    pub g: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
}
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Seg {
    pub base: u64,
    pub limit: u32,
    pub sel: u16,
    pub typ: u8,
    pub present: u8,
    pub dpl: u8,
    pub db: u8,
    pub s: u8,
    pub l: u8,
    pub g: u8,
    pub avl: u8,
    pub unusable: u8,
    pub pad: u8,
}
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Table {
    pub base: u64,
    pub limit: u16,
    pub pad: [u16; 3],
}
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Sregs {
    pub cs: Seg,
    pub ds: Seg,
    pub es: Seg,
    pub fs: Seg,
    pub gs: Seg,
    pub ss: Seg,
    pub tr: Seg,
    pub ldt: Seg,
    pub gdt: Table,
    pub idt: Table,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub cr8: u64,
    pub efer: u64,
    pub apic_base: u64,
    pub bitmap: [u64; 4],
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Events {
    pub ex_injected: u8,
    pub ex_nr: u8,
    pub ex_has_err: u8,
    pub ex_pending: u8,
    pub ex_err: u32,
    pub int_injected: u8,
    pub int_nr: u8,
    pub int_soft: u8,
    pub int_shadow: u8,
    pub nmi_injected: u8,
    pub nmi_pending: u8,
    pub nmi_masked: u8,
    pub pad: u8,
    pub sipi: u32,
    pub flags: u32,
    pub rest: [u8; 40],
}
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Fpu {
    pub fpr: [[u8; 16]; 8],
    pub fcw: u16,
    pub fsw: u16,
    pub ftwx: u8,
    pub pad: u8,
    pub op: u16,
    pub ip: u64,
    pub dp: u64,
    pub xmm: [[u8; 16]; 16],
    pub mxcsr: u32,
    pub pad2: u32,
}
#[repr(C)]
pub struct Mem {
    pub slot: u32,
    pub flags: u32,
    pub gpa: u64,
    pub size: u64,
    pub hva: u64,
}
