//! What was counted: one line per slot and pod. Counts are differences within the slot, never
//! running totals; taking differences and handling counter resets is done before.

use std::{cmp::Ordering, collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of the two revisions of a run a pod belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Revision {
    /// What served before the run.
    Stable,
    /// What the run releases.
    Canary,
}

/// What happened on one pod in one slot.
///
/// ```
/// use tidegate::decide::judge::Slot;
/// let line = r#"{"t":0,"revision":"canary","pod":"p1","requests":120,"errors":3,"le":{"0.1":80}}"#;
/// let slot: Slot = serde_json::from_str(line).unwrap();
/// assert_eq!(slot.le[&"0.1".parse().unwrap()], 80);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Slot {
    /// Start of the slot, in seconds. The zero is the caller's; only order and distance matter.
    pub t: i64,
    /// The pod's revision.
    pub revision: Revision,
    /// The pod's name.
    pub pod: String,
    /// Requests answered in the slot.
    pub requests: u64,
    /// Failed requests in the slot. More errors than requests (counters read at different
    /// moments) counts as all requests failed.
    pub errors: u64,
    /// Requests of which nobody can tell whether they failed: their series has no status. Error rates miss them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub untold: u64,
    /// Requests answered within each bound, cumulative as in a Prometheus histogram.
    #[serde(default)]
    pub le: BTreeMap<Bound, u64>,
    /// A canary pod that is not Ready, or has not been for [`WARM_UP`] seconds: what it does counts against fixed limits, and is not
    /// compared with stable, whose pods are warm.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warming: bool,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// Seconds from when a pod is Ready in which it warms up: caches fill, code is compiled, connections are made.
pub const WARM_UP: i64 = 30;

/// An upper bound of a histogram bucket in seconds: any float but NaN, `+Inf` included.
///
/// Written as a string (JSON keys are strings, and `+Inf` is no JSON number), ordered totally.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Bound(f64);

/// Why a text is no [`Bound`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read bucket bound {text:?}: expected seconds such as \"0.1\", or \"+Inf\"")]
pub struct BoundError {
    text: String,
}

impl Bound {
    /// The bound every request is within.
    pub const INFINITE: Self = Self(f64::INFINITY);

    /// A bound of so many seconds; `None` for NaN. Minus zero is zero.
    pub fn new(seconds: f64) -> Option<Self> {
        (!seconds.is_nan()).then_some(Self(seconds + 0.0))
    }

    /// The bound in seconds, never NaN.
    pub fn seconds(self) -> f64 {
        self.0
    }
}

impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl FromStr for Bound {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<Self, BoundError> {
        text.trim()
            .parse()
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| BoundError { text: text.chars().take(40).collect() })
    }
}

impl TryFrom<String> for Bound {
    type Error = BoundError;

    fn try_from(text: String) -> Result<Self, BoundError> {
        text.parse()
    }
}

impl From<Bound> for String {
    fn from(bound: Bound) -> Self {
        bound.to_string()
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == f64::INFINITY { f.write_str("+Inf") } else { write!(f, "{}", self.0) }
    }
}
