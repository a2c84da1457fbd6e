//! Log-linear histograms: two significant digits, as Envoy's circllhist.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Samples in ninety buckets a decade, from 0 to 10^9 (for milliseconds: eleven days).
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

const DECADES: usize = 9;

impl Default for Histogram {
    fn default() -> Self {
        let buckets = (0..=10 + 90 * (DECADES - 1)).map(|_| AtomicU64::new(0)).collect();
        Histogram { buckets, sum: AtomicU64::new(0) }
    }
}

/// Which bucket a value is in: 0 to 9 exactly, then two digits.
fn bucket(value: u64) -> usize {
    let (mut scaled, mut decade) = (value, 0);
    while scaled >= 100 {
        scaled /= 10;
        decade += 1;
    }
    if scaled < 10 { scaled as usize } else { (90 * decade + scaled as usize).min(10 + 90 * (DECADES - 1)) }
}

/// The lowest value of a bucket.
fn floor(bucket: usize) -> u64 {
    if bucket < 100 {
        return bucket as u64;
    }
    let decade = (bucket - 10) / 90;
    ((bucket - 90 * decade) as u64) * 10u64.pow(decade as u32)
}

impl Histogram {
    pub(super) fn add(&self, value: u64) {
        super::bump(&self.buckets[bucket(value)], 1);
        super::bump(&self.sum, value);
    }

    pub(super) fn add_to(&self, summary: &mut Summary) {
        for (index, count) in self.buckets.iter().enumerate() {
            let count = count.load(Relaxed);
            if count > 0 {
                *summary.buckets.entry(floor(index)).or_default() += count;
                summary.count += count;
            }
        }
        summary.sum += self.sum.load(Relaxed);
    }
}

/// A histogram added up over engines.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Samples by the lowest value of their bucket.
    pub buckets: BTreeMap<u64, u64>,
    /// Samples.
    pub count: u64,
    /// Sum of all samples.
    pub sum: u64,
}

impl Summary {
    /// How many samples are at most `bound`.
    pub fn at_most(&self, bound: f64) -> u64 {
        self.buckets.iter().take_while(|(floor, _)| **floor as f64 <= bound).map(|(_, count)| count).sum()
    }

    /// The value below which `percent` of the samples lie.
    pub fn quantile(&self, percent: f64) -> Option<u64> {
        let wanted = (self.count as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.buckets.iter().find_map(|(floor, count)| {
            seen += count;
            (seen >= wanted).then_some(*floor)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_keep_two_digits() {
        for (value, low) in [(0, 0), (9, 9), (10, 10), (99, 99), (100, 100), (109, 100), (110, 110), (12_345, 12_000), (999, 990)] {
            assert_eq!(floor(bucket(value)), low, "{value}");
        }
        assert!(bucket(u64::MAX) < 10 + 90 * DECADES);
    }

    #[test]
    fn quantiles() {
        let (histogram, mut summary) = (Histogram::default(), Summary::default());
        (1..=100).for_each(|value| histogram.add(value));
        histogram.add_to(&mut summary);
        assert_eq!((summary.quantile(50.0), summary.quantile(99.0), summary.count, summary.sum), (Some(50), Some(99), 100, 5050));
        assert_eq!(summary.at_most(25.0), 25);
    }
}
