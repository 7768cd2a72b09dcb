// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Latencies in a fixed amount of memory, in classes like fio's (`stat.h`, FIO_IO_U_PLAT_BITS): 64 for each power of two, so that what is
//! read off is within 0.8 %. Part of the program and of the benchmark guest.

/// A power of two is cut into this many classes, as a power of two.
const CUT: u32 = 6;
/// Longer ones, beyond 68 seconds, share the last class.
const LONGEST: u64 = (1 << 36) - 1;
/// Classes.
pub const CLASSES: usize = (36 - CUT as usize + 1) << CUT;

/// Counts of durations in nanoseconds.
#[derive(Clone)]
pub struct Histogram {
    counts: [u64; CLASSES],
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Histogram {
    /// Nothing counted.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            counts: [0; CLASSES],
            count: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }

    /// Counts one.
    pub fn add(&mut self, nanos: u64) {
        self.add_many(class(nanos), 1);
        self.extend(nanos, nanos, nanos);
    }

    /// Counts some of a class, whose exact values [`extend`](Self::extend) takes.
    pub fn add_many(&mut self, class: usize, count: u64) {
        if let Some(known) = self.counts.get_mut(class) {
            *known = known.saturating_add(count);
            self.count = self.count.saturating_add(count);
        }
    }

    /// The exact sum, least and greatest of what was counted.
    pub fn extend(&mut self, sum: u64, min: u64, max: u64) {
        self.sum = self.sum.saturating_add(sum);
        self.min = self.min.min(min);
        self.max = self.max.max(max);
    }

    /// Counts what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (class, count) in other.classes() {
            self.add_many(class, count);
        }
        self.extend(other.sum, other.min, other.max);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The shortest; zero if there is none.
    #[must_use]
    pub fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Classes that are not empty, and how many are in them.
    pub fn classes(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let counts = self.counts.iter().copied().enumerate();
        counts.filter(|(_, count)| *count != 0)
    }

    /// The duration that `parts` of a million are not longer than, within a class.
    #[must_use]
    pub fn percentile(&self, parts: u64) -> u64 {
        let wanted = (u128::from(self.count) * u128::from(parts)).div_ceil(1_000_000);
        let mut seen = 0;
        for (class, count) in self.classes() {
            seen += u128::from(count);
            if seen >= wanted {
                return middle(class).clamp(self.min(), self.max);
            }
        }
        self.max
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// The class of a duration.
#[must_use]
pub fn class(nanos: u64) -> usize {
    let nanos = nanos.min(LONGEST);
    let scale = (nanos | 1).ilog2().saturating_sub(CUT);
    if nanos < 1 << CUT {
        return nanos as usize;
    }
    (((scale as usize) + 1) << CUT) + ((nanos >> scale) as usize & ((1 << CUT) - 1))
}

/// The middle of a class.
#[must_use]
pub fn middle(class: usize) -> u64 {
    if class < 1 << CUT {
        return class as u64;
    }
    let scale = (class >> CUT) as u32 - 1;
    let start = ((1 << CUT) | (class as u64 & ((1 << CUT) - 1))) << scale;
    start + (1 << scale >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_in_order_and_narrow() {
        let mut last = 0;
        for nanos in 0..100_000 {
            let class = class(nanos);
            assert!(class == last || class == last + 1, "{nanos}");
            last = class;
        }
        for nanos in (0..100_000).chain((0..36).map(|power| 3 << power >> 1)) {
            let middle = middle(class(nanos));
            assert!(
                middle.abs_diff(nanos) as f64 <= nanos as f64 * 0.008,
                "{nanos} {middle}"
            );
        }
        assert_eq!(class(u64::MAX), CLASSES - 1);
    }

    #[test]
    fn percentiles_are_of_all_that_was_added() {
        let mut histogram = Histogram::new();
        assert_eq!((histogram.percentile(500_000), histogram.min()), (0, 0));
        (1..=1000).for_each(|micros| histogram.add(micros * 1000));
        for (parts, nanos) in [(500_000, 500_000u64), (990_000, 990_000), (1_000_000, 1_000_000)] {
            let found = histogram.percentile(parts);
            assert!(found.abs_diff(nanos) * 100 <= nanos, "{parts} {found}");
        }
        assert_eq!(
            (
                histogram.count(),
                histogram.sum(),
                histogram.min(),
                histogram.max()
            ),
            (1000, 500_500_000, 1000, 1_000_000)
        );
    }

    #[test]
    fn merging_is_adding_both() {
        let (mut one, mut other, mut both) = (Histogram::new(), Histogram::new(), Histogram::new());
        for nanos in 0..5000 {
            if nanos % 3 == 0 { &mut one } else { &mut other }.add(nanos);
            both.add(nanos);
        }
        one.merge(&other);
        assert!(one.classes().eq(both.classes()));
        assert_eq!(
            (one.count(), one.sum(), one.min(), one.max()),
            (5000, both.sum(), 0, 4999)
        );
    }
}
