//! What the judge remembers between slots: under a kilobyte or so a criterion, in the run's status.
//!
//! Everything here can be made again by folding all slots anew; it is kept so that a restart need
//! only fold what came since. Floats are written as text in their shortest exact form: a JSON
//! reader that is one bit off would make a replay differ from the live run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    count::{Bounds, Counts},
    evidence::ALTERNATIVES,
    lanes::{Lanes, Schedule},
};

/// The judge's memory of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// Start of the first slot folded, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_slot: Option<i64>,
    /// Start of the last slot folded, seconds: slots up to here are never folded again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_slot: Option<i64>,
    /// Canary pod-slots that reported since the step began.
    pub reported: u64,
    /// Canary pod-slots that should have reported since the step began and did not.
    pub missing: u64,
    /// The last slot told to [`note_missing`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_noted: Option<i64>,
    /// By the criterion's name.
    pub criteria: BTreeMap<String, Memory>,
}

/// What is remembered of one criterion. It stands still once the limit is breached, so that the
/// evidence for the undo stays to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// The thresholds this evidence is about; others start a fresh test.
    pub measure: String,
    /// The bucket bounds in use, for a latency criterion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Bounds>,
    /// The canary's counts since the test began.
    pub canary: Counts,
    /// Canary pod-slots since the step began that had no histogram, or not the bounds in use.
    #[serde(default)]
    pub unread: u64,
    /// The cash all tests of this criterion bet from.
    #[schemars(with = "String")]
    pub schedule: Schedule,
    /// "The canary is above the limit."
    pub limit: Suspicion,
    /// "The canary is worse than stable", without which a breach could be a shared incident.
    #[schemars(with = "String")]
    pub worse: Lanes,
    /// "The canary is above the target"; absent when target and limit are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Suspicion>,
    /// The last slot in which stable had requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_served: Option<i64>,
    /// "Stable is above the limit, now."
    #[schemars(with = "String")]
    pub stable: Lanes,
    /// The slot whose fold brought the evidence over the threshold. Sticky.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breached_at: Option<i64>,
}

/// A test and the stretch of time that speaks for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suspicion {
    /// The evidence.
    #[schemars(with = "String")]
    pub lanes: Lanes,
    /// Start of the first slot since which something speaks against the canary, seconds.
    pub since: i64,
    /// Requests since then.
    pub requests: u64,
    /// Bad ones among them.
    pub bad: u64,
}

impl Memory {
    pub(super) fn new(measure: String, has_target: bool) -> Self {
        Self {
            measure,
            bounds: None,
            canary: Counts::default(),
            unread: 0,
            schedule: Schedule::default(),
            limit: Suspicion::default(),
            worse: Lanes::default(),
            target: has_target.then(Suspicion::default),
            stable_served: None,
            stable: Lanes::default(),
            breached_at: None,
        }
    }

    /// ln of the evidence that the canary is above the limit and worse than stable.
    pub(super) fn log_breach_evidence(&self) -> f64 {
        let cash = self.schedule.cash;
        let above = self.limit.lanes.log_evidence(cash);
        above.min(self.worse.log_evidence(cash))
    }
}

/// A new step begins: fresh lanes get their share anew, missing data is counted anew. Nothing that
/// was learnt is forgotten.
pub fn begin_step(state: &mut State) {
    state.reported = 0;
    state.missing = 0;
    for memory in state.criteria.values_mut() {
        memory.unread = 0;
        memory.schedule.begin_step();
    }
}

/// Says that in the slot starting at `t` so many canary pods should have reported and did not.
/// A slot is noted once: the same or an earlier `t` again changes nothing.
pub fn note_missing(state: &mut State, t: i64, pods: u32) {
    if state.missing_noted.is_none_or(|noted| t > noted) {
        state.missing_noted = Some(t);
        state.missing = state.missing.saturating_add(u64::from(pods));
    }
}

impl Serialize for Lanes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&words(self.wealth.iter().chain(&self.rest)))
    }
}

impl<'de> Deserialize<'de> for Lanes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all: [f64; 2 * ALTERNATIVES] = numbers(deserializer)?;
        Ok(Self {
            wealth: std::array::from_fn(|k| all[k]),
            rest: std::array::from_fn(|k| all[ALTERNATIVES + k]),
        })
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let age = f64::from(self.age);
        serializer.collect_str(&words([&self.cash, &self.allowance, &age]))
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let [cash, allowance, age] = numbers(deserializer)?;
        if !(0.0..=0.5).contains(&cash) || !(0.0..=0.5).contains(&allowance) {
            return Err(D::Error::custom("more to bet than there ever was"));
        }
        Ok(Self { cash, allowance, age: age as u32 })
    }
}

fn words<'a>(numbers: impl IntoIterator<Item = &'a f64>) -> String {
    let words: Vec<String> = numbers.into_iter().map(f64::to_string).collect();
    words.join(" ")
}

fn numbers<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[f64; N], D::Error> {
    let text = String::deserialize(deserializer)?;
    let numbers: Vec<f64> = text
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .filter(|number: &f64| number.is_finite())
        .collect();
    numbers
        .try_into()
        .map_err(|_| D::Error::custom(format!("expected {N} finite numbers with spaces between")))
}
