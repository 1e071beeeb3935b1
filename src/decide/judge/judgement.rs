//! What the judge says, and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The judge's word on one criterion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// Evidence that the rate is below the limit, none that it is above the target. As of now.
    Pass,
    /// Above the target but not above the limit, or stable is over the limit itself. As of now.
    Hold,
    /// Evidence that the canary is above the limit and worse than stable. Stays once reached.
    Breach,
    /// None of these. Never promotes and never undoes.
    Unknown,
}

/// Why, in one word that does not change between releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    /// Pass: below the limit, and what was measured is at or below the target.
    WithinTarget,
    /// Pass: below the limit, no evidence that it is above the target.
    WithinLimit,
    /// Hold: evidence that it is above the target.
    AboveTarget,
    /// Breach: evidence that it is above the limit and worse than stable.
    AboveLimit,
    /// Breach: evidence that it is worse than stable by more than the limit.
    WorseThanStable,
    /// Pass: no evidence that it is worse than stable, where something as bad as twice the limit would have shown.
    NoWorse,
    /// Unknown: stable's requests are too few to compare with.
    NothingToCompare,
    /// Hold: stable is over the limit itself, or the canary is over it without evidence that it is
    /// worse than stable. Not this release's fault.
    StableAsBad,
    /// Unknown: no requests reached the canary.
    NoRequests,
    /// Unknown: all requests so far came while the canary's pods warmed up, and are not compared with stable's.
    WarmingUp,
    /// Unknown: more requests are needed.
    TooFewRequests,
    /// Unknown: so near the limit that no reasonable number of requests would settle it.
    NearLimit,
    /// Unknown: it would pass, but what came in lately speaks against it.
    Worsening,
    /// Unknown: more than a fifth of the canary's measurements are missing.
    MissingData,
    /// Unknown: no histogram bucket ends at or below the limit, so nothing can show that it is kept.
    NoSuchBucket,
    /// Unknown: thresholds out of range, target above limit, or a name used twice.
    InvalidCriterion,
    /// Unknown: it has to stand longer, or to be read more often, before it decides anything.
    TooFewSamples,
    /// What the criterion says it means that its source has no such number.
    NoData,
    /// Unknown: the source could not be read, or gave no number.
    Unreadable,
}

/// A criterion's verdict with everything it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// The criterion's name.
    pub criterion: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, for machines.
    pub reason: Reason,
    /// Why, for people: a sentence with the numbers and what would settle it.
    pub message: String,
    /// What would make it say something else, in a few words: `by 14 bad requests in a row`.
    pub settle: String,
    /// The time that was measured: start of the first slot and end of the last one, seconds. `None`: nothing was.
    #[schemars(with = "Option<[i64; 2]>")]
    pub window: Option<(i64, i64)>,
    /// Share of bad requests, 0..=1; for latency the share slower than the bound in use. Of the
    /// whole test, but for Breach and AboveTarget since something began to speak against the
    /// canary.
    pub value: Option<f64>,
    /// Where the true share of the same requests lies, with confidence 1 − β at all times (see
    /// [`confidence`](super::interval::confidence)).
    #[schemars(with = "Option<[f64; 2]>")]
    pub interval: Option<(f64, f64)>,
    /// The share at the limit, 0..=1; for latency 1 − quantile.
    pub limit: f64,
    /// Canary requests counted.
    pub have: u64,
    /// About how many it takes in all, at the rate seen; `None` when settled or never.
    pub need: Option<u64>,
    /// The evidence the verdict rests on.
    pub evidence: Evidence,
    /// Whether nine pod-hours of stable pods say how errors clump; before, it is in part assumed.
    pub calibrated: bool,
}

/// Evidence of one test against what it must reach, as natural logarithms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// ln of the e-value now.
    pub log_e: f64,
    /// ln(1/α') or ln(1/β).
    pub threshold: f64,
}
