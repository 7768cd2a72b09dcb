// SPDX-License-Identifier: Apache-2.0 OR MIT
//! When a medium's thread looks after its drive, so that the guest need not ring.
//!
//! A guest that waits for each request is served best by the processor that rings: there is nobody to wake. One that keeps several
//! requests coming is served best by a thread beside it: it need not ring at all, and goes on while its requests are carried out. Which
//! of the two a guest does shows only when it is tried: with somebody there, does it bring more than one request at a time?

use std::time::{Duration, Instant};

/// Rings that come closer together are of a guest that is busy with its disk.
const SOON: Duration = Duration::from_micros(50);
/// Nobody stays who has found nothing for so long.
const IDLE: Duration = Duration::from_micros(50);
/// Rings in a row before it is tried.
const FIRST: u32 = 32;
/// The same, after it was tried in vain again and again.
const LAST: u32 = 1 << 14;
/// Looks that found something, after which it is decided whether it was worth it.
const TRIAL: u32 = 64;

/// Decides for one medium.
pub(super) struct Attendance {
    state: State,
    /// Rings in a row before it is tried again.
    bar: u32,
    /// There is a processor for it beside the guest's.
    possible: bool,
}

enum State {
    Away { last: Instant, row: u32 },
    There { last: Instant, looks: u32, found: usize },
}

impl Attendance {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Away { last: now, row: 0 },
            bar: FIRST,
            possible: std::thread::available_parallelism().is_ok_and(|n| n.get() > 1),
        }
    }

    /// The drive has found some requests, or none. Whether somebody is there from now on.
    pub(super) fn ask(&mut self, found: usize, now: Instant) -> bool {
        let since = |last: Instant| now.saturating_duration_since(last);
        match &mut self.state {
            State::Away { last, row } => {
                *row = if since(*last) <= SOON { *row + 1 } else { 0 };
                *last = now;
                if self.possible && *row >= self.bar {
                    self.state = State::There {
                        last: now,
                        looks: 0,
                        found: 0,
                    };
                }
            }
            State::There {
                last,
                looks,
                found: sum,
            } => {
                if found > 0 {
                    (*last, *looks, *sum) = (now, *looks + 1, *sum + found);
                }
                let over = *looks >= TRIAL;
                let good = *sum * 2 >= TRIAL as usize * 3;
                if over && good {
                    (*looks, *sum, self.bar) = (0, 0, FIRST);
                } else if over || since(*last) > IDLE {
                    if over {
                        self.bar = (self.bar * 2).min(LAST);
                    }
                    self.state = State::Away { last: now, row: 0 };
                }
            }
        }
        matches!(self.state, State::There { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rings, each so long after the one before, until somebody comes; how many it took.
    fn ring(attendance: &mut Attendance, now: &mut Instant, gap: Duration) -> Option<u32> {
        (1..100_000).find(|_| {
            *now += gap;
            attendance.ask(1, *now)
        })
    }

    fn attendance() -> (Attendance, Instant) {
        let now = Instant::now();
        let mut attendance = Attendance::new(now);
        attendance.possible = true;
        (attendance, now)
    }

    const FAST: Duration = Duration::from_micros(10);

    #[test]
    fn a_guest_with_many_requests_is_attended_until_it_has_none() {
        let (mut attendance, mut now) = attendance();
        assert_eq!(ring(&mut attendance, &mut now, FAST), Some(FIRST));
        for _ in 0..10 * TRIAL {
            now += FAST;
            assert!(attendance.ask(4, now));
        }
        assert!(attendance.ask(0, now + IDLE));
        assert!(!attendance.ask(0, now + IDLE + FAST));
        now += Duration::from_millis(1);
        assert_eq!(
            ring(&mut attendance, &mut now, FAST),
            Some(FIRST + 1),
            "as soon as the first time"
        );
    }

    #[test]
    fn a_guest_that_waits_for_each_request_rings() {
        let (mut attendance, mut now) = attendance();
        let mut expected = FIRST;
        for _ in 0..12 {
            let rings = ring(&mut attendance, &mut now, FAST).unwrap();
            assert_eq!(rings, expected, "it is tried more and more rarely");
            expected = (expected * 2).min(LAST);
            let looks = (1..1000).find(|_| {
                now += FAST;
                !attendance.ask(1, now)
            });
            assert_eq!(looks, Some(TRIAL));
        }
    }

    #[test]
    fn a_guest_that_rings_now_and_then_is_left_alone() {
        let (mut attendance, mut now) = attendance();
        assert_eq!(ring(&mut attendance, &mut now, 2 * SOON), None);
        attendance.possible = false;
        assert_eq!(
            ring(&mut attendance, &mut now, FAST),
            None,
            "nor where it is in the way"
        );
    }
}
