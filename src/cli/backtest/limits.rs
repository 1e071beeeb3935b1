//! Limits as they are, and more generous ones.

use crate::decide::judge::{Criterion, Measure};
use crate::decide::{duration, percent};

/// How many times its limit each criterion is replayed with.
pub const FACTORS: [f64; 5] = [1.0, 1.5, 2.0, 3.0, 5.0];

/// The criterion with its limit so many times as high; `None`: no such limit can be written.
pub fn scaled(criterion: &Criterion, factor: f64) -> Option<Criterion> {
    let mut scaled = criterion.clone();
    match &mut scaled.measure {
        Measure::ErrorRate { limit, .. } => {
            *limit *= factor;
            if *limit >= 1.0 {
                return None;
            }
        }
        Measure::Latency { limit, .. }
        | Measure::ErrorRateOfStable { limit, .. }
        | Measure::LatencyOfStable { limit, .. } => *limit *= factor,
    }
    Some(scaled)
}

/// The limit as it stands in a Release.
pub fn limit(criterion: &Criterion) -> String {
    match criterion.measure {
        Measure::ErrorRate { limit, .. }
        | Measure::ErrorRateOfStable { limit, .. }
        | Measure::LatencyOfStable { limit, .. } => percent(limit),
        Measure::Latency { limit, .. } => duration(limit),
    }
}

/// The same for people who do not have the Release before them.
pub fn described(criterion: &Criterion) -> String {
    let limit = limit(criterion);
    match criterion.measure {
        Measure::ErrorRate { .. } => limit,
        Measure::Latency { quantile, .. } => {
            format!("p{} < {limit}", percent(quantile).trim_end_matches('%'))
        }
        Measure::ErrorRateOfStable { .. } => format!("stable +{limit}"),
        Measure::LatencyOfStable { quantile, .. } => {
            format!("p{} stable +{limit}", percent(quantile).trim_end_matches('%'))
        }
    }
}
