//! Criteria that do not count requests: numbers that are read now and then, and what the pods' status says.
//!
//! [`fold`] adds samples to a [`State`], [`judge`] says what the state is worth. Both are pure: the same samples give the same verdict,
//! whether they came one by one or together after a restart. A number has no distribution that could be relied on, so time stands in
//! for statistics: a limit counts as breached only when it is breached in every sample for as long as the criterion says, and never in
//! fewer than three. What could not be read, and what is no number, neither breaches nor passes.
//!
//! It does not read anything, and does not know what a verdict leads to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::judge::{OnLimit, OnUnknown};
use crate::api::criterion::NoData;
use crate::api::digest::short;

mod memory;
mod verdict;

pub use memory::{MOST_SERIES, State, fold};
pub use verdict::judge;

/// Fewer samples of a number than these decide nothing.
const LEAST_SAMPLES: u32 = 3;

/// What is asked of a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Criterion {
    pub name: String,
    /// Among all criteria of the Release, from 0.
    pub place: usize,
    pub kind: Kind,
    /// Breached when true.
    pub limit: Bound,
    /// Needed to go on; `None`: that the limit is not breached.
    pub target: Option<Bound>,
    /// How long the limit must be breached.
    pub held_for: Duration,
    pub no_data: NoData,
    pub on_limit: OnLimit,
    pub on_unknown: OnUnknown,
    pub shadow: bool,
}

/// Which number.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A gauge of each canary pod.
    PodGauge(Gauge),
    /// What a query gives; `by` tells its series apart.
    Promql { query: String, by: Option<String> },
    /// A number in a JSON answer.
    Json { url: String, pointer: String },
    /// Ready canary pods, in percent of those that have been Ready.
    Availability,
    /// Restarts of the canary pods' containers.
    Restarts,
}

/// A gauge by its name and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gauge {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

/// A comparison with a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    pub comparison: Comparison,
    pub number: f64,
}

/// How to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// One reading of one criterion.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Unix seconds.
    pub t: i64,
    pub criterion: String,
    /// What was read ([`Kind::definition`]); empty: whatever the criterion asks for.
    pub definition: String,
    /// Seconds to the next one.
    pub every: u32,
    /// Whatever it says is not the canary's doing: there was none yet, or stable does the same.
    pub blameless: bool,
    /// `Err`: why it could not be read.
    pub found: Result<Found, String>,
}

/// What was read. No points and nothing missing: the source answered and has no such number.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Found {
    /// Several of one series are allowed: the worst counts.
    pub points: Vec<Point>,
    /// Series that should be there and could not be read.
    pub missing: u32,
    /// Why not, of the first.
    pub trouble: String,
}

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// A pod's name, or a label's value; empty where there is only one series.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub series: String,
    pub value: f64,
}

/// Canary and stable pods, as far as availability and restarts go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pods {
    /// Canary pods there should be, without those on nodes that are not heard from.
    pub canary: i32,
    pub canary_ready: i32,
    pub stable: i32,
    pub stable_ready: i32,
    /// Of all containers of canary pods.
    pub restarts: u32,
}

impl Kind {
    /// Whether the pods' status says it, which is watched all the time.
    pub fn is_of_pods(&self) -> bool {
        matches!(self, Self::Availability | Self::Restarts)
    }

    fn least_samples(&self) -> u32 {
        if self.is_of_pods() { 1 } else { LEAST_SAMPLES }
    }

    /// Where the number comes from, for people; of a URL only what may be told ([`without_query`]).
    pub fn source(&self) -> String {
        match self {
            Self::PodGauge(gauge) => format!("{gauge} of each canary pod"),
            Self::Promql { query, by: None } => query.clone(),
            Self::Promql { query, by: Some(label) } => format!("{query}, by {label}"),
            Self::Json { url, pointer } => format!("{}, {pointer}", without_query(url)),
            Self::Availability => "the canary pods' condition Ready".to_owned(),
            Self::Restarts => "the canary pods' containers' restart counts".to_owned(),
        }
    }

    /// The whole of what is read, with all of a URL: with another query it is another number.
    fn whole(&self) -> String {
        match self {
            Self::Json { url, pointer } => format!("{url}, {pointer}"),
            Self::PodGauge(_) | Self::Promql { .. } | Self::Availability | Self::Restarts => self.source(),
        }
    }

    /// The same in a word: a reading of something else that a criterion of this name asked for says nothing.
    pub fn definition(&self) -> String {
        short(&self.whole())
    }

    /// The number as people read it.
    pub fn show(&self, value: f64) -> String {
        match self {
            Self::Availability => format!("{}%", plain(value)),
            Self::PodGauge(_) | Self::Promql { .. } | Self::Json { .. } | Self::Restarts => plain(value),
        }
    }

    /// A bound as its author wrote it.
    pub fn show_bound(&self, bound: Bound) -> String {
        match self {
            Self::Availability | Self::Restarts => self.show(bound.number),
            Self::PodGauge(_) | Self::Promql { .. } | Self::Json { .. } => bound.to_string(),
        }
    }

    /// How its author gets rid of what is no number.
    fn numbers_only(&self) -> &'static str {
        match self {
            Self::Promql { .. } => "divide only where there is something to divide by, as in a / (b > 0)",
            Self::PodGauge(_) | Self::Json { .. } => "let the program show one, or name another",
            Self::Availability | Self::Restarts => "the next look tells",
        }
    }

    fn subject(&self, point: &Point) -> String {
        let value = self.show(point.value);
        match self {
            Self::PodGauge(_) => format!("the value is {value} (pod {})", point.series),
            Self::Promql { by: Some(label), .. } => {
                format!("the value is {value} ({label} {})", point.series)
            }
            Self::Promql { by: None, .. } | Self::Json { .. } => format!("the value is {value}"),
            Self::Availability => format!("{value} of the canary's pods are Ready"),
            Self::Restarts => format!("containers of the canary's pods were restarted {value} times"),
        }
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)?;
        if self.labels.is_empty() {
            return Ok(());
        }
        let labels: Vec<String> =
            self.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        write!(out, "{{{}}}", labels.join(","))
    }
}

impl Bound {
    /// From the two parts of a condition.
    pub fn new(comparison: &str, number: f64) -> Option<Self> {
        let comparison = match comparison {
            ">" => Comparison::Above,
            ">=" => Comparison::AtLeast,
            "<" => Comparison::Below,
            "<=" => Comparison::AtMost,
            _ => return None,
        };
        Some(Self { comparison, number })
    }

    /// Whether it is true of this value.
    pub fn holds(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Above => value > self.number,
            Comparison::AtLeast => value >= self.number,
            Comparison::Below => value < self.number,
            Comparison::AtMost => value <= self.number,
        }
    }

    /// Whether more is nearer to it.
    pub fn is_upward(&self) -> bool {
        matches!(self.comparison, Comparison::Above | Comparison::AtLeast)
    }

    /// The value of the two for which it is rather true.
    fn nearer(&self, one: f64, other: f64) -> f64 {
        if self.is_upward() { one.max(other) } else { one.min(other) }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison = match self.comparison {
            Comparison::Above => ">",
            Comparison::AtLeast => ">=",
            Comparison::Below => "<",
            Comparison::AtMost => "<=",
        };
        write!(out, "value {comparison} {}", plain(self.number))
    }
}

impl Criterion {
    fn meets_target(&self, value: f64) -> bool {
        self.target.map_or_else(|| !self.limit.holds(value), |target| target.holds(value))
    }

    fn fingerprint(&self) -> String {
        let Self { kind, limit, target, held_for, no_data, .. } = self;
        let target = target.map(|target| target.to_string()).unwrap_or_default();
        let source = kind.whole();
        format!("{source} | {limit} | {target} | {} | {no_data:?}", held_for.as_secs())
    }

    fn seconds(&self) -> i64 {
        i64::try_from(self.held_for.as_secs()).unwrap_or(i64::MAX)
    }

    /// What its author needs, in words.
    fn wanted(&self) -> String {
        match self.target {
            Some(target) => format!("the target ({})", self.kind.show_bound(target)),
            None => format!("the limit ({})", self.kind.show_bound(self.limit)),
        }
    }
}

/// A URL as far as it may be told to people who do not read the Release: in what follows its path, authors write keys.
pub fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// Six significant digits.
pub fn plain(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor();
    if magnitude >= 6.0 {
        return format!("{value:.0}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let digits = (5.0 - magnitude).clamp(0.0, 12.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
