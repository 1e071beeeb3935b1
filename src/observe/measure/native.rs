//! Native histograms as Prometheus' query API shows them, and how they become cumulative counts at fixed bounds.
//!
//! A native histogram lists only the buckets that hold something, and may double their width when there are too many. Counts
//! at its own bounds would therefore come and go, and a difference between two of them would count the past again. So a grid is
//! fixed once and for all, and a bound of it is told only while no bucket with requests in it lies across: then the count is
//! exact, and never falls while the process lives. When buckets widen, bounds vanish from the slots; none changes its meaning.

use serde::Deserialize;

use crate::decide::judge::Bound;

/// Steps of the grid in each doubling: a fourth of them is 19 %.
const STEPS: i32 = 4;
/// The grid's lowest and highest doubling, in seconds: 1 ms and 64 s.
const DOUBLINGS: (i32, i32) = (-10, 6);
/// Bounds that people write, and that histograms with custom buckets have.
const ROUND: [f64; 20] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.75, 1.5, 2.5, 3.0, 5.0, 7.5, 10.0, 15.0,
    30.0, 60.0,
];
/// How far two spellings of one bound may lie apart.
const SAME: f64 = 1e-9;

/// One sample of a native histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Native {
    /// All observations.
    pub count: f64,
    /// Buckets with something in them.
    buckets: Vec<Bucket>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    left: f64,
    right: f64,
    count: f64,
}

/// `{"count": "8", "sum": "0.3", "buckets": [[0, "0.5", "1", "8"]]}`; a bucket's first number says which of its bounds belong
/// to it, which makes no difference for durations.
#[derive(Deserialize)]
pub struct Shown {
    count: String,
    #[serde(default)]
    buckets: Vec<(u8, String, String, String)>,
}

impl Shown {
    /// `None` when something in it is not a number.
    pub fn read(&self) -> Option<Native> {
        let number = |text: &str| text.parse::<f64>().ok();
        let bucket = |(_, left, right, count): &(u8, String, String, String)| {
            Some(Bucket { left: number(left)?, right: number(right)?, count: number(count)? })
        };
        Some(Native {
            count: number(&self.count)?,
            buckets: self.buckets.iter().map(bucket).collect::<Option<_>>()?,
        })
    }
}

impl Native {
    /// How many observations are at most each bound of the grid, for those that no bucket lies across, and for infinity.
    /// `units` of the histogram make a second.
    pub fn at_bounds(&self, units: f64) -> Vec<(Bound, f64)> {
        let told = |seconds: f64| {
            let at = seconds * units;
            let slack = at * SAME;
            let across = |bucket: &Bucket| bucket.left < at - slack && bucket.right > at + slack;
            if self.buckets.iter().any(|bucket| bucket.count > 0.0 && across(bucket)) {
                return None;
            }
            let within = self.buckets.iter().filter(|bucket| bucket.right <= at + slack);
            let count: f64 = within.map(|bucket| bucket.count).sum();
            Some((Bound::new(seconds)?, count))
        };
        let mut counts: Vec<_> = grid().filter_map(told).collect();
        counts.sort_by_key(|(bound, _)| *bound);
        counts.push((Bound::INFINITE, self.count));
        counts
    }
}

fn grid() -> impl Iterator<Item = f64> {
    let (lowest, highest) = DOUBLINGS;
    let powers = (lowest * STEPS..=highest * STEPS).map(|step| (f64::from(step) / f64::from(STEPS)).exp2());
    powers.chain(ROUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(buckets: &[(f64, f64, f64)]) -> Native {
        let buckets: Vec<_> =
            buckets.iter().map(|&(left, right, count)| Bucket { left, right, count }).collect();
        Native { count: buckets.iter().map(|bucket| bucket.count).sum(), buckets }
    }

    fn at(histogram: &Native, seconds: f64) -> Option<f64> {
        let bound = Bound::new(seconds)?;
        histogram.at_bounds(1.0).into_iter().find(|(told, _)| *told == bound).map(|(_, count)| count)
    }

    #[test]
    fn a_bound_is_told_only_while_no_bucket_lies_across_it() {
        let fine = native(&[(0.25, 0.2973017787506803, 5.0), (0.5, 0.5946035575013605, 2.0)]);
        assert_eq!(
            [at(&fine, 0.2), at(&fine, 0.25), at(&fine, 0.3), at(&fine, 0.5)],
            [Some(0.0), Some(0.0), Some(5.0), Some(5.0)]
        );
        assert_eq!([at(&fine, 1.0), at(&fine, f64::INFINITY)], [Some(7.0), Some(7.0)]);
        // Wider buckets after a merge: the same requests, fewer bounds, and no other count at those that are left.
        let wide = native(&[(0.25, 0.5, 5.0), (0.5, 1.0, 2.0)]);
        assert_eq!([at(&wide, 0.3), at(&wide, 0.5), at(&wide, 1.0)], [None, Some(5.0), Some(7.0)]);
    }

    #[test]
    fn a_bucket_that_fills_later_takes_nothing_from_those_below() {
        let before = native(&[(0.1, 0.2, 5.0)]);
        let after = native(&[(0.1, 0.2, 5.0), (0.4, 0.8, 1.0)]);
        for seconds in [0.2, 0.4, 1.0] {
            let difference = at(&after, seconds).unwrap_or(0.0) - at(&before, seconds).unwrap_or(0.0);
            assert!((difference - f64::from(u8::from(seconds > 0.4))).abs() < 1e-9, "{seconds}");
        }
    }
}
