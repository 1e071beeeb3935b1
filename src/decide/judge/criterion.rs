//! What is asked of a canary: criteria with a target and a limit, and how sure the judge must be.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evidence::{Logs, WORSE, WORSE_THAN_STABLE, no_worse_than, worse_than};
pub use crate::api::criterion::{OnLimit, OnUnknown};

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
    /// What a step leads to in which it stays Unknown. The judge says Unknown whatever stands here.
    #[serde(default)]
    pub on_unknown: OnUnknown,
    /// Measured and reported, enforced never. It takes nothing of the others' share of α.
    #[serde(default)]
    pub shadow: bool,
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
    /// Share of failed requests, against stable's.
    ErrorRateOfStable {
        /// How much worse than stable is too much: 0.5 is half as much again.
        limit: f64,
        /// A share in 0..1 at or below which no canary is too bad, whatever stable does.
        ignore_below: f64,
    },
    /// A latency quantile, against stable's: "p95 at most 50 % above stable's" is "the share of the canary's requests over 1.5·T is at
    /// most that of stable's over T", T the bucket bound nearest stable's p95.
    LatencyOfStable {
        /// Strictly between 0 and 1: 0.95 for p95.
        quantile: f64,
        /// How much slower than stable is too much: 0.5 is half as slow again.
        limit: f64,
        /// Seconds at or below which no canary is too slow, whatever stable does.
        ignore_below: f64,
    },
}

impl Measure {
    /// Whether it is of time that requests take.
    pub fn is_latency(&self) -> bool {
        matches!(self, Self::Latency { .. } | Self::LatencyOfStable { .. })
    }
}

/// How sure the judge must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Chance of a false abort per run, split evenly over the criteria (Bonferroni).
    pub alpha: f64,
    /// Chance per criterion of a Pass for a canary at its limit, and of a Breach for one at its limit that is worse than stable.
    pub beta: f64,
    /// Length of the first slot in seconds, and of slots in messages; how long later ones are follows from their starts.
    pub slot_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { alpha: 0.01, beta: 0.05, slot_seconds: 1 }
    }
}

impl Settings {
    /// What evidence must reach of a criterion that holds this share of α.
    pub fn thresholds(&self, share: f64) -> Thresholds {
        let fallback = Self::default();
        Thresholds {
            worse: log_inverse(probability(self.alpha, fallback.alpha) * share),
            above: log_inverse(probability(self.beta, fallback.beta)),
        }
    }
}

/// What evidence must reach, as logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// ln(1/(α·share)): that the canary is worse than stable, and that stable is above the limit itself.
    pub worse: f64,
    /// ln(1/β): that the canary is above the limit or the target, and that it is below the limit.
    pub above: f64,
}

/// What the formulas need to know of a criterion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    /// The share of bad requests that A1 tests for, strictly inside 0..1: at the limit, the quantile's, or what is ignored. `None`:
    /// nothing is ignored, and the limit is stable's.
    pub limit: Option<f64>,
    /// The same at the target; `None` when target and limit are one.
    pub target: Option<f64>,
    /// Where a request becomes slow; `None` for errors.
    pub slow: Option<Slow>,
    /// How many times stable's rate is too much (ρ), for a criterion held against stable.
    pub times_stable: Option<f64>,
}

/// Where a request becomes slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Slow {
    /// Seconds.
    Than { target: f64, limit: f64 },
    /// So many times stable's quantile, and this many seconds at least.
    ThanStable { tail: f64, times: f64, at_least: f64 },
}

impl Terms {
    /// θ₀ and θ_k of B1: what is no worse than stable, and what is tried as worse.
    pub fn comparison(&self) -> (f64, Logs) {
        match (self.times_stable, self.slow) {
            // The factor is in the bounds: both tails are compared as they are.
            (Some(_), Some(_)) => (1.0, WORSE),
            (Some(worse), None) => (no_worse_than(worse), worse_than(worse)),
            (None, _) => (no_worse_than(WORSE_THAN_STABLE), WORSE),
        }
    }

    /// θ₀ of B1's pass side.
    pub fn too_much(&self) -> f64 {
        if self.slow.is_some() { 1.0 } else { self.times_stable.unwrap_or(WORSE_THAN_STABLE) }
    }

    /// What stands for stable's rate while nothing is known of it.
    pub fn usual_share(&self) -> f64 {
        match (self.slow, self.limit) {
            (Some(Slow::ThanStable { tail, .. }), _) => tail,
            (_, Some(limit)) => limit,
            (_, None) => 0.01,
        }
    }
}

/// A limit of 0 % is judged as one in a thousand million, 100 % as all but that: the formulas need
/// room on both sides, and nobody can tell the difference.
const LEAST_SHARE: f64 = 1e-9;

impl Measure {
    /// `None` when the numbers make no sense: NaN, outside their range, target above limit.
    pub(super) fn terms(&self) -> Option<Terms> {
        let is_quantile = |quantile: f64| quantile > 0.0 && quantile < 1.0;
        // 1 − 0.99 is 0.010000000000000009: rounded so that people read 1 %.
        let tail = |quantile: f64| inside(((1.0 - quantile) * 1e12).round() / 1e12);
        match *self {
            Self::ErrorRate { target, limit } => {
                let sound = (0.0..=1.0).contains(&target) && (0.0..=1.0).contains(&limit) && target <= limit;
                sound.then(|| Terms {
                    limit: Some(inside(limit)),
                    target: (target < limit).then(|| inside(target)),
                    slow: None,
                    times_stable: None,
                })
            }
            Self::Latency { quantile, target, limit } => {
                let sound = is_quantile(quantile) && target > 0.0 && limit.is_finite() && target <= limit;
                sound.then(|| Terms {
                    limit: Some(tail(quantile)),
                    target: (target < limit).then(|| tail(quantile)),
                    slow: Some(Slow::Than { target, limit }),
                    times_stable: None,
                })
            }
            Self::ErrorRateOfStable { limit, ignore_below } => {
                let sound = limit > 0.0 && limit.is_finite() && (0.0..1.0).contains(&ignore_below);
                sound.then(|| Terms {
                    limit: (ignore_below > 0.0).then(|| inside(ignore_below)),
                    target: None,
                    slow: None,
                    times_stable: Some(1.0 + limit),
                })
            }
            Self::LatencyOfStable { quantile, limit, ignore_below } => {
                let sound = is_quantile(quantile) && limit > 0.0 && limit.is_finite() && ignore_below >= 0.0;
                sound.then(|| Terms {
                    // However much more of its tail is slow: by the quantile it is worse only with more than that.
                    limit: Some(tail(quantile)),
                    target: None,
                    slow: Some(Slow::ThanStable {
                        tail: tail(quantile),
                        times: 1.0 + limit,
                        at_least: ignore_below,
                    }),
                    times_stable: Some(1.0 + limit),
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
            Self::ErrorRateOfStable { limit, ignore_below } => {
                format!("errors of stable {limit} {ignore_below}")
            }
            Self::LatencyOfStable { quantile, limit, ignore_below } => {
                format!("latency of stable {quantile} {limit} {ignore_below}")
            }
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
