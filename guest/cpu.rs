// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the processor can do beyond Rust: ports, interrupts, its counter. Ports and HLT are calls to ring 0 (`entry.s`).

use core::arch::{asm, x86_64};

unsafe extern "C" {
    fn gate_out8();
    fn gate_out16();
    fn gate_out32();
    fn gate_in8();
    fn gate_in32();
    fn gate_insw();
    fn gate_outsw();
    fn gate_outsb();
    fn gate_cpuid();
    fn gate_open();
    fn gate_wait();
    static events: u64;
    static interrupt_time: u64;
    static interrupt_counts: [u64; 128];
}

/// A call to ring 0 that moves one value.
macro_rules! call {
    ($gate:ident, $($operands:tt)*) => {
        // SAFETY: the routine executes one instruction with these registers, changes no others, and memory only as it says.
        unsafe { asm!("int3", in("r8") $gate as *const (), $($operands)*) }
    };
}

/// OUT, 8 bit.
pub fn out8(port: u16, value: u8) {
    call!(gate_out8, in("dx") port, in("al") value, options(nostack));
}

/// OUT, 16 bit.
pub fn out16(port: u16, value: u16) {
    call!(gate_out16, in("dx") port, in("ax") value, options(nostack));
}

/// OUT, 32 bit.
pub fn out32(port: u16, value: u32) {
    call!(gate_out32, in("dx") port, in("eax") value, options(nostack));
}

/// IN, 8 bit.
pub fn in8(port: u16) -> u8 {
    let value: u8;
    call!(gate_in8, in("dx") port, out("al") value, options(nostack));
    value
}

/// IN, 32 bit.
pub fn in32(port: u16) -> u32 {
    let value: u32;
    call!(gate_in32, in("dx") port, out("eax") value, options(nostack));
    value
}

/// REP INSW: fills the buffer, whose length is even.
pub fn read_words(port: u16, data: &mut [u8]) {
    call!(gate_insw, in("dx") port, inout("rdi") data.as_mut_ptr() => _, inout("rcx") data.len() / 2 => _, options(nostack));
}

/// REP OUTSW.
pub fn write_words(port: u16, data: &[u8]) {
    call!(gate_outsw, in("dx") port, inout("rsi") data.as_ptr() => _, inout("rcx") data.len() / 2 => _, options(nostack));
}

/// REP OUTSB.
pub fn write_bytes(port: u16, data: &[u8]) {
    call!(gate_outsb, in("dx") port, inout("rsi") data.as_ptr() => _, inout("rcx") data.len() => _, options(nostack));
}

/// CPUID leaf 0.
pub fn identify() {
    // RBX belongs to the compiler.
    call!(gate_cpuid, inout("eax") 0 => _, inout("ecx") 0 => _, out("edx") _, out("r9") _, options(nostack));
}

/// From here on interrupts come when they come.
pub fn open_interrupts() {
    call!(gate_open, options(nostack));
}

/// Interrupts so far.
pub fn interrupts() -> u64 {
    // SAFETY: handlers write it, in one piece.
    unsafe { (&raw const events).read_volatile() }
}

/// Interrupts of a vector so far.
pub fn interrupts_of(vector: u8) -> u64 {
    let first = (&raw const interrupt_counts).cast::<u64>();
    // SAFETY: the index is below 128; handlers write the place in one piece.
    unsafe { first.add(usize::from(vector & 0x7f)).read_volatile() }
}

/// The counter's value in the last interrupt's handler.
pub fn interrupted_at() -> u64 {
    // SAFETY: handlers write it, in one piece.
    unsafe { (&raw const interrupt_time).read_volatile() }
}

/// Halts until there is an interrupt, unless one came since [`interrupts`] gave `seen`.
pub fn wait(seen: u64) {
    call!(gate_wait, in("rdi") seen);
}

/// The time stamp counter.
pub fn counter() -> u64 {
    // SAFETY: every 64-bit processor has the instruction.
    unsafe { x86_64::_rdtsc() }
}

/// Memory, or a device's registers, by physical addresses, which are the linear ones.
pub struct Area {
    start: u64,
    len: u64,
}

impl Area {
    /// # Safety
    /// The area must be memory or a device's registers, in the first 4 GiB, that nothing in Rust's care lies in.
    pub const unsafe fn new(start: u64, len: u64) -> Self {
        Self { start, len }
    }

    /// Its first address.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Its bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// A part of it.
    pub fn part(&self, offset: u64, len: u64) -> Self {
        assert!(
            offset.checked_add(len).is_some_and(|end| end <= self.len),
            "a part beyond its area"
        );
        Self {
            start: self.start + offset,
            len,
        }
    }

    fn at<T>(&self, offset: u64) -> *mut T {
        assert!(
            offset + size_of::<T>() as u64 <= self.len,
            "an access beyond its area"
        );
        (self.start + offset) as *mut T
    }

    /// Reads a number.
    pub fn read<T: Number>(&self, offset: u64) -> T {
        // SAFETY: the area is readable as `new` was promised, and the place inside it; any bits are a number.
        unsafe { self.at::<T>(offset).read_volatile() }
    }

    /// Writes a number.
    pub fn write<T: Number>(&self, offset: u64, value: T) {
        // SAFETY: as in `read`.
        unsafe { self.at::<T>(offset).write_volatile(value) }
    }

    /// The memory as bytes.
    ///
    /// # Safety
    /// It is memory, and no device writes there while the slice lives.
    pub unsafe fn bytes<'a>(&self) -> &'a mut [u8] {
        // SAFETY: as `new` was promised; the caller says that it is nobody else's meanwhile.
        unsafe { core::slice::from_raw_parts_mut(self.start as *mut u8, self.len as usize) }
    }
}

/// What [`Area`] reads and writes.
pub trait Number: Copy {}
impl Number for u8 {}
impl Number for u16 {}
impl Number for u32 {}
impl Number for u64 {}
