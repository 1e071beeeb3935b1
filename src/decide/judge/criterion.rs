//! What is asked of a canary: criteria with a target and a limit, and how sure the judge must be.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::api::criterion::OnLimit;

/// Something measured continuously, with a target (needed to go on) and a limit (breached: undo).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Criterion {
    /// Unique within a run; evidence is kept under this name.
    pub name: String,
    /// What is counted, and against what.
    pub measure: Measure,
    /// What a breach leads to. The judge says Breach whatever stands here.
    #[serde(default)]
    pub on_limit: OnLimit,
}

/// A share of bad requests and the most that is wanted (target) and borne (limit).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Measure {
    /// Share of failed requests; target and limit are shares in 0..=1 (5 % is 0.05).
    ErrorRate {
        /// Needed to go on.
        target: f64,
        /// Breached: undo.
        limit: f64,
    },
    /// A latency quantile, judged as a share: "p99 below 0.5 s" is "at most 1 % of the requests
    /// take longer than 0.5 s". Never interpolated inside a bucket.
    Latency {
        /// Strictly between 0 and 1: 0.99 for p99.
        quantile: f64,
        /// Seconds, needed to go on.
        target: f64,
        /// Seconds, breached: undo.
        limit: f64,
    },
}

/// How sure the judge must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Chance of a false abort per run, split evenly over the criteria (Bonferroni).
    pub alpha: f64,
    /// Chance per criterion of a Pass for a canary at its limit.
    pub beta: f64,
    /// Length of a slot in seconds, for messages only: evidence depends on counts alone.
    pub slot_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { alpha: 0.01, beta: 0.05, slot_seconds: 1 }
    }
}

impl Settings {
    /// ln(1/α'): what one criterion's evidence of a breach must reach, α' = α / criteria judged.
    pub fn breach_threshold(&self, criteria: &[Criterion]) -> f64 {
        let tests = usable(criteria).count().max(1);
        log_inverse(probability(self.alpha, Self::default().alpha) / tests as f64)
    }

    /// ln(1/β): what evidence for a Pass, and of a rate above the target, must reach.
    pub fn pass_threshold(&self) -> f64 {
        log_inverse(probability(self.beta, Self::default().beta))
    }
}

/// What the formulas need to know of a criterion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    /// The share of bad requests at the limit, strictly inside 0..1.
    pub limit: f64,
    /// The same at the target; `None` when target and limit are one.
    pub target: Option<f64>,
    /// Where a request becomes slow; `None` for errors.
    pub slow: Option<Slow>,
}

/// Latency thresholds in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slow {
    pub target: f64,
    pub limit: f64,
}

/// A limit of 0 % is judged as one in a thousand million, 100 % as all but that: the formulas need
/// room on both sides, and nobody can tell the difference.
const LEAST_SHARE: f64 = 1e-9;

impl Measure {
    /// `None` when the numbers make no sense: NaN, outside their range, target above limit.
    pub(super) fn terms(&self) -> Option<Terms> {
        match *self {
            Self::ErrorRate { target, limit } => {
                let sound = (0.0..=1.0).contains(&target) && (0.0..=1.0).contains(&limit) && target <= limit;
                sound.then(|| Terms {
                    limit: inside(limit),
                    target: (target < limit).then(|| inside(target)),
                    slow: None,
                })
            }
            Self::Latency { quantile, target, limit } => {
                let sound =
                    quantile > 0.0 && quantile < 1.0 && target > 0.0 && limit.is_finite() && target <= limit;
                // 1 − 0.99 is 0.010000000000000009: rounded so that people read 1 %.
                let share = inside(((1.0 - quantile) * 1e12).round() / 1e12);
                sound.then_some(Terms {
                    limit: share,
                    target: (target < limit).then_some(share),
                    slow: Some(Slow { target, limit }),
                })
            }
        }
    }

    /// What evidence is bound to: other text, other test. Text, because a float that went through
    /// a JSON reader may come back one bit off and would throw the evidence away.
    pub(super) fn fingerprint(&self) -> String {
        match self {
            Self::ErrorRate { target, limit } => format!("errors {target} {limit}"),
            Self::Latency { quantile, target, limit } => format!("latency {quantile} {target} {limit}"),
        }
    }
}

/// The criteria that can be judged: sound numbers, and the first of its name.
pub(super) fn usable(criteria: &[Criterion]) -> impl Iterator<Item = (&Criterion, Terms)> {
    let mut names = BTreeSet::new();
    criteria.iter().filter_map(move |criterion| {
        let terms = criterion.measure.terms()?;
        names.insert(criterion.name.as_str()).then_some((criterion, terms))
    })
}

fn inside(share: f64) -> f64 {
    share.clamp(LEAST_SHARE, 1.0 - LEAST_SHARE)
}

fn probability(given: f64, otherwise: f64) -> f64 {
    if given > 0.0 && given < 1.0 { given } else { otherwise }
}

fn log_inverse(probability: f64) -> f64 {
    -probability.max(f64::MIN_POSITIVE).ln()
}
