// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What leaving the guest costs: each kind of exit again and again, timed one by one.

use super::cpu::{self, Area};
use super::disk::tell;
use super::histogram::Histogram;
use super::platform::{self, Clock};
use super::say;

/// Nanoseconds that the timer is set to.
const WAIT: u32 = 100_000;

static mut LATENCIES: Histogram = Histogram::new();

/// Measures every kind `count` times.
pub fn measure(clock: &Clock, count: u32) {
    const POST: u16 = 0x80;
    const IDE_STATUS: u16 = 0x3f6;
    // SAFETY: the text screen's window on the VGA's planes, which only this code uses.
    let screen = unsafe { Area::new(0xa_0000, 4) };
    say!("begin hertz={}", clock.hertz);
    // What an empty measurement takes is told, not taken off.
    timed(clock, count, "nothing", || {});
    timed(clock, count, "port-write", || cpu::out8(POST, 0));
    timed(clock, count, "port-read", || _ = cpu::in8(IDE_STATUS));
    timed(clock, count, "memory-read", || _ = screen.read::<u8>(0));
    timed(clock, count, "memory-write", || screen.write(0, 0u8));
    timed(clock, count, "cpuid", cpu::identify);
    latency(clock, count, "self-interrupt", || {
        let begun = cpu::counter();
        platform::interrupt_self();
        begun
    });
    // How fast the local APIC's timer counts: from a long and a short time, in which the latency is the same.
    let shortest = |ticks| (0..5).map(|_| clock.nanos(ring(ticks))).min().unwrap_or(0);
    let (long, short) = (shortest(3_000_000), shortest(1_000_000));
    let ticks = u64::from(WAIT) * 2_000_000 / long.saturating_sub(short).max(1);
    let ticks = ticks.clamp(1000, 100_000_000) as u32;
    for (name, halt) in [("timer-halted", true), ("timer-running", false)] {
        let histogram = fresh();
        for _ in 0..count.min(2000) {
            let seen = cpu::interrupts();
            let begun = cpu::counter();
            platform::set_timer(ticks);
            while cpu::interrupts() == seen {
                if halt {
                    cpu::wait(seen);
                }
            }
            let woken = cpu::counter();
            let at = if halt { woken } else { cpu::interrupted_at() };
            histogram.add(
                clock
                    .nanos(at.wrapping_sub(begun))
                    .saturating_sub(u64::from(WAIT)),
            );
        }
        tell(name, histogram);
    }
    say!("end");
}

fn fresh() -> &'static mut Histogram {
    let histogram = &raw mut LATENCIES;
    // SAFETY: the guest has one thread, and each measurement lets go of it before the next.
    let histogram = unsafe { &mut *histogram };
    *histogram = Histogram::new();
    histogram
}

fn timed(clock: &Clock, count: u32, name: &str, mut act: impl FnMut()) {
    let histogram = fresh();
    for _ in 0..count {
        let begun = cpu::counter();
        act();
        histogram.add(clock.nanos(cpu::counter().wrapping_sub(begun)));
    }
    tell(name, histogram);
}

/// From the moment that `act` gives to the interrupt's handler.
fn latency(clock: &Clock, count: u32, name: &str, mut act: impl FnMut() -> u64) {
    let histogram = fresh();
    for _ in 0..count {
        let seen = cpu::interrupts();
        let begun = act();
        while cpu::interrupts() == seen {
            core::hint::spin_loop();
        }
        histogram.add(clock.nanos(cpu::interrupted_at().wrapping_sub(begun)));
    }
    tell(name, histogram);
}

/// Ticks of the counter until the timer rings.
fn ring(ticks: u32) -> u64 {
    let seen = cpu::interrupts();
    let begun = cpu::counter();
    platform::set_timer(ticks);
    while cpu::interrupts() == seen {
        core::hint::spin_loop();
    }
    cpu::interrupted_at().wrapping_sub(begun)
}
