// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The board around the processor: interrupt controllers, a clock of known speed, the way to switch off.

use super::cpu::{self, Area};
use super::pci::Function;

/// The PIIX4's power management function.
const POWER: Function = Function::new(1, 3);
/// Vectors of the PICs' inputs begin here; those below 30h are told to the PICs when they end, the others to the local APIC (`entry.s`).
const PIC_VECTORS: u8 = 0x20;
/// Vectors of messages and of the local APIC's own interrupts.
pub const MESSAGES: u8 = 0x40;
pub const TIMER: u8 = 0x60;
pub const SELF: u8 = 0x61;
const SPURIOUS: u32 = 0x6f;
// SAFETY: the local APIC's registers, which nothing else uses.
const APIC: Area = unsafe { Area::new(0xfee0_0000, 0x1000) };
/// Ticks of the ACPI timer in a second.
const PM_TIMER_HZ: u64 = 3_579_545;

/// Registers of the local APIC.
mod apic {
    pub const SPURIOUS: u64 = 0xf0;
    pub const COMMAND: u64 = 0x300;
    pub const TIMER: u64 = 0x320;
    pub const LINT0: u64 = 0x350;
    pub const TIMER_COUNT: u64 = 0x380;
    pub const TIMER_DIVIDER: u64 = 0x3e0;
}

/// Interrupt vectors of ISA interrupts 14 and 15.
pub fn ide_vector(channel: u8) -> u8 {
    PIC_VECTORS + 14 + channel
}

/// Sets up both PICs with only the IDE interrupts open, and the local APIC with their interrupts passing through.
pub fn set_up_interrupts() {
    for (port, vector, cascade) in [(0x20, PIC_VECTORS, 4), (0xa0, PIC_VECTORS + 8, 2)] {
        cpu::out8(port, 0x11);
        cpu::out8(port + 1, vector);
        cpu::out8(port + 1, cascade);
        cpu::out8(port + 1, 1);
    }
    cpu::out8(0x21, !4);
    cpu::out8(0xa1, !0xc0);
    const EXTERNAL: u32 = 0x700;
    const ENABLED: u32 = 0x100;
    APIC.write(apic::SPURIOUS, ENABLED | SPURIOUS);
    APIC.write(apic::LINT0, EXTERNAL);
    APIC.write(apic::TIMER, u32::from(TIMER));
    APIC.write(apic::TIMER_DIVIDER, 0xbu32);
}

/// Lets the local APIC's timer ring once after so many of its ticks.
pub fn set_timer(ticks: u32) {
    APIC.write(apic::TIMER_COUNT, ticks);
}

/// Halts for so long.
pub fn sleep(clock: &Clock, nanos: u64) {
    // Its ticks are nanoseconds on KVM; where they are not, it looks at the clock more or less often.
    const PIECE: u32 = 1_000_000;
    let end = clock.now().saturating_add(nanos);
    while clock.now() < end {
        let seen = cpu::interrupts();
        set_timer(PIECE);
        cpu::wait(seen);
    }
}

/// Sends an interrupt to this processor.
pub fn interrupt_self() {
    const TO_SELF: u32 = 1 << 18;
    APIC.write(apic::COMMAND, TO_SELF | 1 << 14 | u32::from(SELF));
}

/// The ports of power management, which a machine without firmware has yet to place.
fn power_ports() -> u16 {
    let base = POWER.read(0x40) as u16 & 0xffc0;
    if base != 0 {
        return base;
    }
    POWER.write(0x40, 0x601);
    POWER.write(0x80, 1);
    0x600
}

/// Switches the machine off.
pub fn power_off() -> ! {
    const SLEEP: u16 = 0x2000;
    cpu::out16(power_ports() + 4, SLEEP);
    loop {
        cpu::wait(cpu::interrupts());
    }
}

/// Turns ticks of the time stamp counter into time.
#[derive(Clone, Copy)]
pub struct Clock {
    /// Ticks in a second.
    pub hertz: u64,
    /// Nanoseconds a tick, with 32 binary places.
    scale: u64,
    start: u64,
}

impl Clock {
    /// Compares the counter with the ACPI timer for a hundredth of a second.
    pub fn new() -> Self {
        let port = power_ports() + 8;
        // The look with the shortest way out and back tells the time best.
        let look = || {
            let mut best = (u64::MAX, 0, 0);
            for _ in 0..5 {
                let before = cpu::counter();
                let ticks = u64::from(cpu::in32(port) & 0xff_ffff);
                let took = cpu::counter() - before;
                if took < best.0 {
                    best = (took, before + took / 2, ticks);
                }
            }
            (best.1, best.2)
        };
        let (counter, timer) = look();
        loop {
            let (counter_now, timer_now) = look();
            let ticks = timer_now.wrapping_sub(timer) & 0xff_ffff;
            if ticks >= PM_TIMER_HZ / 100 {
                let hertz =
                    ((counter_now - counter) as u128 * u128::from(PM_TIMER_HZ) / u128::from(ticks)) as u64;
                let hertz = hertz.max(1_000_000);
                return Self {
                    hertz,
                    scale: ((1_000_000_000u128 << 32) / u128::from(hertz)) as u64,
                    start: cpu::counter(),
                };
            }
        }
    }

    /// Nanoseconds of so many ticks.
    pub fn nanos(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.scale)) >> 32) as u64
    }

    /// Begins anew.
    pub fn restart(&mut self) {
        self.start = cpu::counter();
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> u64 {
        self.nanos(cpu::counter().wrapping_sub(self.start))
    }
}

/// What PVH's loader tells (public/arch-x86/hvm/start_info.h).
pub struct StartInfo(Area);

impl StartInfo {
    /// # Safety
    /// `address` is what the loader handed over.
    pub unsafe fn new(address: u32) -> Self {
        // SAFETY: the structure lies there, below the guest.
        Self(unsafe { Area::new(u64::from(address), 56) })
    }

    /// The command line.
    pub fn command_line(&self) -> &'static str {
        let at: u64 = self.0.read(24);
        if at == 0 {
            return "";
        }
        // SAFETY: the loader's text, which ends with a zero; nothing writes there.
        let text = unsafe { core::ffi::CStr::from_ptr(at as *const _) };
        text.to_str().unwrap_or_default()
    }

    /// The memory above 16 MiB, where nothing of the guest lies.
    pub fn memory(&self) -> Area {
        const FIRST: u64 = 16 << 20;
        let (map, entries): (u64, u32) = (self.0.read(40), self.0.read(48));
        let mut end = FIRST;
        for number in 0..u64::from(entries).min(128) {
            // SAFETY: an entry of the loader's table.
            let entry = unsafe { Area::new(map + 24 * number, 24) };
            let (start, len, kind): (u64, u64, u32) = (entry.read(0), entry.read(8), entry.read(16));
            if kind == 1 && start <= FIRST && start + len > FIRST {
                end = (start + len).min(3 << 30);
            }
        }
        // SAFETY: the map says that it is memory, and the linker script ends the guest below it.
        unsafe { Area::new(FIRST, end - FIRST) }
    }
}
