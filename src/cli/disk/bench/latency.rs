// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How long requests took, in a fixed amount of memory.

use serde::Serialize;
use std::time::Duration;

/// Steps in each power of two: the error is below 7 %.
const STEPS: u32 = 16;

/// Counts of durations, by their size.
#[derive(Debug)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
    longest: Duration,
}

/// Microseconds.
#[derive(Debug, Serialize)]
pub struct Summary {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; (64 * STEPS) as usize],
            total: 0,
            longest: Duration::ZERO,
        }
    }
}

impl Latencies {
    /// Counts one.
    pub fn add(&mut self, duration: Duration) {
        if let Some(count) = self.counts.get_mut(class(duration.as_nanos() as u64)) {
            *count += 1;
        }
        self.total += 1;
        self.longest = self.longest.max(duration);
    }

    /// The usual percentiles.
    pub fn summary(&self) -> Summary {
        let microseconds = |nanos: u64| nanos as f64 / 1e3;
        let percentile = |part: f64| {
            let wanted = (self.total as f64 * part).ceil() as u64;
            let mut seen = 0;
            let found = self.counts.iter().position(|&count| {
                seen += count;
                seen >= wanted
            });
            microseconds(found.map_or(0, upper_end)).min(self.longest.as_secs_f64() * 1e6)
        };
        Summary {
            p50: percentile(0.5),
            p90: percentile(0.9),
            p99: percentile(0.99),
            p999: percentile(0.999),
            max: self.longest.as_secs_f64() * 1e6,
        }
    }
}

/// Durations below [`STEPS`] have classes of their own, later ones share them.
fn class(nanos: u64) -> usize {
    let scale = (nanos.max(1).ilog2() + 1).saturating_sub(STEPS.ilog2() + 1);
    (u64::from(scale * STEPS) + (nanos >> scale)) as usize
}

/// The longest duration of a class, in nanoseconds.
fn upper_end(class: usize) -> u64 {
    let scale = (class as u64 / u64::from(STEPS)).saturating_sub(1);
    let step = class as u64 - scale * u64::from(STEPS);
    ((step + 1) << scale) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_in_order_and_narrow() {
        let mut last = 0;
        for nanos in 0..5000 {
            let class = class(nanos);
            assert!(class >= last && class <= last + 1, "{nanos}");
            last = class;
        }
        for nanos in (0..5000).chain((0..40).map(|power| 3 << power)) {
            let end = upper_end(class(nanos));
            assert!(end >= nanos && end as f64 <= nanos as f64 * 1.07 + 1.0, "{nanos}");
        }
    }

    #[test]
    fn percentiles_are_of_all_that_was_added() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|micros| latencies.add(Duration::from_micros(micros)));
        let summary = latencies.summary();
        assert!((500.0..535.0).contains(&summary.p50), "{summary:?}");
        assert!((990.0..1000.1).contains(&summary.p99), "{summary:?}");
        assert!((summary.max - 1000.0).abs() < 1e-9);
        assert!(Latencies::default().summary().p50.abs() < 1e-9);
    }
}
