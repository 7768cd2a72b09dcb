// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Time, as the machine gives it to its chips.
//!
//! A chip evaluates its state lazily from [`Clock::now`]: one function is the timer, and no tick runs while nobody looks. Where an
//! edge must happen without an access (an interrupt), the chip arms a [`Timer`]; the machine calls [`Timed::expire`] at or after the
//! deadline, with the chip's lock held and no other.

/// Nanoseconds of guest time since the machine was switched on. It stands still while the machine is paused.
pub type Nanos = u64;

/// Nanoseconds in a second.
pub const SECOND: Nanos = 1_000_000_000;

/// The machine's clock. It never goes backwards.
pub trait Clock: Send + Sync {
    /// Guest time.
    fn now(&self) -> Nanos;
}

/// A one-shot timer that belongs to one chip.
pub trait Timer: Send {
    /// Calls [`Timed::expire`] once at `deadline` or as soon after as the host can; replaces a deadline that was armed before. A deadline
    /// in the past fires at once, but never inside this call.
    fn arm(&mut self, deadline: Nanos);
    /// Forgets the deadline. An expiry that is already under way may still come: the chip compares against the clock.
    fn disarm(&mut self);
}

/// A chip with a [`Timer`].
pub trait Timed: Send {
    /// The timer's deadline has passed.
    fn expire(&mut self);
}

/// Ticks of a `hertz` clock that fit in `nanos`, without overflow and without drift.
pub fn ticks(nanos: Nanos, hertz: u64) -> u64 {
    (u128::from(nanos) * u128::from(hertz) / u128::from(SECOND)) as u64
}

/// The earliest time at which `ticks` of a `hertz` clock have passed: the inverse of [`ticks`], rounded up.
pub fn ticks_to_nanos(ticks: u64, hertz: u64) -> Nanos {
    (u128::from(ticks) * u128::from(SECOND))
        .div_ceil(u128::from(hertz.max(1)))
        .min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_back() {
        const PIT: u64 = 1_193_182;
        for n in [0, 1, 18, 65_536, 1_193_182, u64::from(u32::MAX)] {
            let at = ticks_to_nanos(n, PIT);
            assert_eq!(ticks(at, PIT), n);
            assert!(at == 0 || ticks(at - 1, PIT) < n);
        }
        // A century does not overflow.
        assert_eq!(
            ticks(100 * 365 * 86_400 * SECOND, 3_579_545),
            100 * 365 * 86_400 * 3_579_545
        );
    }
}
