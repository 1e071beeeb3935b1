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

use super::judge::{Evidence, Judgement, OnLimit, OnUnknown, Reason, Verdict};
use crate::api::criterion::NoData;

/// Fewer samples of a number than these decide nothing.
const LEAST_SAMPLES: u32 = 3;
/// So many samples may be missing in a row without what was before being over.
const MISSED: i64 = 2;
/// After a gap of at most so many seconds what was before goes on: a restart takes as long.
const RESTART: i64 = 30;
/// Series of one criterion that are looked at one by one.
pub const MOST_SERIES: usize = 100;

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

/// What is remembered of all these criteria.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    criteria: BTreeMap<String, Memory>,
    /// The most canary pods that were Ready at the same time, of those there should be: what starts is not counted yet.
    most_ready: i32,
}

/// What is remembered of one.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Memory {
    /// What it is about: something else starts afresh.
    what: String,
    /// The newest sample, and how soon the next was to come.
    last: i64,
    every: u32,
    samples: u64,
    /// The worst number of the newest sample that had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    worst: Option<Point>,
    /// Why the newest sample says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// Since when all series meet the target, some do not, there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<Streak>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outside: Option<Streak>,
    #[serde(skip_serializing_if = "Option::is_none")]
    empty: Option<Streak>,
    /// Series that breach the limit now.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    over: BTreeMap<String, Over>,
    #[serde(skip_serializing_if = "Option::is_none")]
    breached: Option<Breached>,
}

/// Samples that all said the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Streak {
    since: i64,
    last: i64,
    samples: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Over {
    streak: Streak,
    #[serde(default)]
    blameless: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Breached {
    streak: Streak,
    worst: Point,
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

    /// Where the number comes from, for people.
    pub fn source(&self) -> String {
        match self {
            Self::PodGauge(gauge) => format!("{gauge} of each canary pod"),
            Self::Promql { query, by: None } => query.clone(),
            Self::Promql { query, by: Some(label) } => format!("{query}, by {label}"),
            Self::Json { url, pointer } => format!("{url}, {pointer}"),
            Self::Availability => "the canary pods' condition Ready".to_owned(),
            Self::Restarts => "the canary pods' containers' restart counts".to_owned(),
        }
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
        format!("{} | {limit} | {target} | {} | {no_data:?}", kind.source(), held_for.as_secs())
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

impl Streak {
    /// Goes on with a sample, or begins with it.
    fn go_on(streak: Option<Self>, t: i64) -> Self {
        streak.map_or(Self { since: t, last: t, samples: 1 }, |known| Self {
            last: t,
            samples: known.samples.saturating_add(1),
            ..known
        })
    }

    fn seconds(&self) -> i64 {
        self.last.saturating_sub(self.since)
    }

    fn has_lasted(&self, seconds: i64, samples: u32) -> bool {
        self.samples >= samples && self.seconds() >= seconds
    }
}

impl State {
    /// Whether this sample has not been folded.
    pub fn lacks(&self, sample: &Sample) -> bool {
        self.criteria.get(&sample.criterion).is_none_or(|memory| sample.t > memory.last)
    }

    /// Since when the limit that is breached has been.
    pub fn breached_since(&self, criterion: &str) -> Option<i64> {
        Some(self.criteria.get(criterion)?.breached.as_ref()?.streak.since)
    }

    /// When to look again, for criteria that are watched all the time: when a limit will have been breached for long enough.
    pub fn due(&self, criterion: &Criterion) -> Option<i64> {
        let memory = self.criteria.get(&criterion.name).filter(|memory| memory.breached.is_none())?;
        let over = memory.over.values().filter(|over| !over.blameless).map(|over| over.streak.since).min()?;
        criterion.kind.is_of_pods().then(|| over.saturating_add(criterion.seconds()))
    }

    /// What is new in the pods' status, as samples: what is as it was is none, or each look would be a reason to write.
    /// `looking_since`: what was before that was not seen by this process, and does not count as having lasted.
    pub fn look(
        &mut self,
        criteria: &[Criterion],
        pods: Pods,
        now: i64,
        looking_since: Option<i64>,
    ) -> Vec<Sample> {
        self.most_ready = self.most_ready.min(pods.canary).max(pods.canary_ready);
        let mut samples = Vec::new();
        for criterion in criteria {
            if let Some(memory) = self.criteria.get_mut(&criterion.name)
                && criterion.kind.is_of_pods()
                && looking_since.is_some_and(|since| memory.last < since)
            {
                (memory.within, memory.outside) = (None, None);
                memory.over.clear();
            }
            let share = |ready: i32, of: i32| f64::from(ready.clamp(0, of)) / f64::from(of) * 100.0;
            let of = self.most_ready.min(pods.canary);
            let (value, blameless) = match criterion.kind {
                Kind::Availability if of > 0 => {
                    let stable = (pods.stable > 0).then(|| share(pods.stable_ready, pods.stable));
                    let blameless = stable.is_some_and(|stable| criterion.limit.holds(stable));
                    (share(pods.canary_ready, of), blameless)
                }
                Kind::Restarts if pods.canary > 0 => (f64::from(pods.restarts), false),
                Kind::Availability
                | Kind::Restarts
                | Kind::PodGauge(_)
                | Kind::Promql { .. }
                | Kind::Json { .. } => continue,
            };
            let known = self.criteria.get(&criterion.name);
            if known.is_some_and(|memory| memory.knows(criterion, value, blameless, now)) {
                continue;
            }
            let found = Found { points: vec![Point { series: String::new(), value }], ..Found::default() };
            // A change of the pods is a look of its own: between two looks nothing changes.
            let every = u32::MAX;
            samples.push(Sample {
                // Two changes within a second are two.
                t: known.map_or(now, |memory| now.max(memory.last.saturating_add(1))),
                criterion: criterion.name.clone(),
                every,
                blameless,
                found: Ok(found),
            });
        }
        samples
    }
}

/// Adds the samples that are later than what is known. What is not among the criteria any more is forgotten; a criterion that asks for
/// something else than before starts afresh.
pub fn fold(criteria: &[Criterion], state: &mut State, samples: &[Sample]) {
    state.criteria.retain(|name, _| criteria.iter().any(|criterion| criterion.name == *name));
    for criterion in criteria {
        let memory = state.criteria.entry(criterion.name.clone()).or_default();
        let what = criterion.fingerprint();
        if memory.what != what {
            *memory = Memory { what, ..Memory::default() };
        }
        let mut new: Vec<&Sample> =
            samples.iter().filter(|sample| sample.criterion == criterion.name).collect();
        new.sort_by_key(|sample| sample.t);
        for sample in new {
            if sample.t > memory.last {
                memory.take(criterion, sample);
            }
        }
    }
}

impl Memory {
    /// Whether the pods' status says nothing new with this.
    fn knows(&self, criterion: &Criterion, value: f64, blameless: bool, now: i64) -> bool {
        // A number that went through status may come back a little off.
        let same = self.worst.as_ref().is_some_and(|worst| (worst.value - value).abs() < 1e-6);
        let over = self.over.values().next();
        let is_due = |over: &Over| {
            !over.blameless
                && self.breached.is_none()
                && over.streak.since.saturating_add(criterion.seconds()) <= now
        };
        let is_open = self.within.is_some() || self.outside.is_some();
        let as_it_was = match over {
            Some(over) => over.blameless == blameless && !is_due(over),
            None => !criterion.limit.holds(value),
        };
        same && is_open && as_it_was && self.what == criterion.fingerprint()
    }

    /// What is watched all the time has lasted until now.
    fn until(&self, now: i64) -> Self {
        let mut memory = self.clone();
        memory.last = memory.last.max(now);
        let streaks = [&mut memory.within, &mut memory.outside].into_iter().flatten();
        for streak in streaks.chain(memory.over.values_mut().map(|over| &mut over.streak)) {
            streak.last = streak.last.max(now);
        }
        memory
    }

    fn take(&mut self, criterion: &Criterion, sample: &Sample) {
        let Sample { t, every, blameless, .. } = *sample;
        self.forget_gaps(t, every);
        (self.last, self.every) = (t, every);
        self.samples = self.samples.saturating_add(1);
        self.trouble = None;
        match &sample.found {
            Err(why) => self.trouble = Some(why.clone()),
            Ok(found) if found.points.is_empty() && found.missing == 0 => self.take_nothing(criterion, t),
            Ok(found) => self.take_numbers(criterion, t, blameless, found),
        }
    }

    /// What was seen last too long ago has ended; but what began before the canary stays excused until it is seen to be over.
    fn forget_gaps(&mut self, t: i64, every: u32) {
        let longest = longest_gap(self.every.max(every));
        let goes_on = |streak: &Streak| t.saturating_sub(streak.last) <= longest;
        for streak in [&mut self.within, &mut self.outside, &mut self.empty] {
            *streak = streak.filter(goes_on);
        }
        self.over.retain(|_, over| over.blameless || goes_on(&over.streak));
    }

    fn take_nothing(&mut self, criterion: &Criterion, t: i64) {
        self.empty = Some(Streak::go_on(self.empty, t));
        self.worst = None;
        if criterion.no_data == NoData::Pass {
            self.over.clear();
            self.outside = None;
            self.within = Some(Streak::go_on(self.within, t));
        }
    }

    fn take_numbers(&mut self, criterion: &Criterion, t: i64, blameless: bool, found: &Found) {
        let mut worst = BTreeMap::<&str, f64>::new();
        for point in found.points.iter().filter(|point| point.value.is_finite()) {
            let known = worst.entry(&point.series).or_insert(point.value);
            *known = criterion.limit.nearer(*known, point.value);
        }
        let odd: Vec<&Point> = found.points.iter().filter(|point| !point.value.is_finite()).collect();
        let unread = odd.len() + usize::try_from(found.missing).unwrap_or(usize::MAX);
        self.empty = None;
        for (series, value) in &worst {
            if !criterion.limit.holds(*value) {
                self.over.remove(*series);
                continue;
            }
            let known = self.over.get(*series).copied();
            // Stable is well again, and the canary is not: its time begins now.
            let known = known.filter(|over| !(criterion.kind.is_of_pods() && over.blameless && !blameless));
            let over = Over {
                streak: Streak::go_on(known.map(|over| over.streak), t),
                blameless: known.map_or(blameless, |over| over.blameless),
            };
            if known.is_some() || self.over.len() < MOST_SERIES {
                self.over.insert((*series).to_owned(), over);
            }
        }
        if unread == 0 {
            self.over.retain(|series, _| worst.contains_key(series.as_str()));
        }
        let all = worst.iter().map(|(series, value)| Point { series: (*series).to_owned(), value: *value });
        self.worst =
            all.reduce(
                |one, other| {
                    if criterion.limit.nearer(one.value, other.value) == one.value { one } else { other }
                },
            );
        let meets = self.worst.as_ref().is_some_and(|worst| criterion.meets_target(worst.value));
        if self.worst.is_some() && !meets {
            self.outside = Some(Streak::go_on(self.outside, t));
            self.within = None;
        } else if unread * 5 <= found.points.len() + unread - odd.len() {
            self.within = Some(Streak::go_on(self.within, t));
            self.outside = None;
        } else {
            self.trouble = Some(match odd.first() {
                Some(point) => format!("{} is no number", point.value),
                None => found.trouble.clone(),
            });
        }
        self.notice_breach(criterion);
    }

    fn notice_breach(&mut self, criterion: &Criterion) {
        let least = criterion.kind.least_samples();
        let decided = self
            .over
            .iter()
            .filter(|(_, over)| !over.blameless && over.streak.has_lasted(criterion.seconds(), least))
            .map(|(series, over)| (series.clone(), over.streak))
            .max_by_key(|(_, streak)| streak.samples);
        let (None, Some((series, streak)), Some(worst)) = (&self.breached, decided, &self.worst) else {
            return;
        };
        // The worst series now, if it is one of those; else the one that has been longest.
        let counts = self.over.get(&worst.series).is_some_and(|over| over.streak == streak);
        let worst = if counts { worst.clone() } else { Point { series, value: worst.value } };
        self.breached = Some(Breached { streak, worst });
    }
}

/// What the state is worth at this moment: one judgement a criterion, in their order.
pub fn judge(criteria: &[Criterion], state: &State, now: i64) -> Vec<Judgement> {
    let nothing = Memory::default();
    let of = |criterion: &Criterion| {
        let memory = state.criteria.get(&criterion.name).unwrap_or(&nothing);
        let is_of_pods = criterion.kind.is_of_pods();
        let (verdict, reason, message, streak) = match is_of_pods {
            true => memory.until(now).judge(criterion, now),
            false => memory.judge(criterion, now),
        };
        let needed = i64::from(criterion.kind.least_samples())
            .max(criterion.seconds().div_euclid(i64::from(memory.every.max(1))).saturating_add(1));
        let is_open = reason == Reason::TooFewSamples && memory.samples > 0 && !is_of_pods;
        let worst = match &memory.breached {
            Some(breached) => Some(breached.worst.value),
            None => memory.worst.as_ref().map(|worst| worst.value),
        };
        Judgement {
            criterion: criterion.name.clone(),
            verdict,
            reason,
            message,
            value: worst,
            interval: None,
            limit: criterion.limit.number,
            have: streak.filter(|_| !is_of_pods).map_or(0, |streak| u64::from(streak.samples)),
            need: is_open.then(|| u64::try_from(needed).unwrap_or(u64::MAX)),
            evidence: Evidence { log_e: 0.0, threshold: 0.0 },
            calibrated: true,
        }
    };
    criteria.iter().map(of).collect()
}

type Word = (Verdict, Reason, String, Option<Streak>);

impl Memory {
    fn judge(&self, criterion: &Criterion, now: i64) -> Word {
        let kind = &criterion.kind;
        let limit = kind.show_bound(criterion.limit);
        if let Some(Breached { streak, worst }) = &self.breached {
            let message =
                format!("{}: {}.", sentence(&kind.subject(worst)), over_words(kind, &limit, streak));
            return (Verdict::Breach, Reason::AboveLimit, message, Some(*streak));
        }
        let unknown = |reason, message| (Verdict::Unknown, reason, message, None);
        if self.samples == 0 {
            let message = match kind {
                Kind::Availability | Kind::Restarts => "No canary pod has been Ready yet.",
                Kind::PodGauge(_) | Kind::Promql { .. } | Kind::Json { .. } => "Not read yet.",
            };
            return unknown(Reason::TooFewSamples, message.to_owned());
        }
        let age = now.saturating_sub(self.last);
        if age > longest_gap(self.every) {
            return unknown(Reason::Unreadable, format!("Last read {age} s ago."));
        }
        if let Some(trouble) = &self.trouble {
            return unknown(Reason::Unreadable, format!("It cannot be read: {trouble}."));
        }
        let (seconds, least) = (criterion.seconds(), kind.least_samples());
        if let Some(empty) = self.empty
            && criterion.no_data != NoData::Pass
        {
            let message = format!(
                "Its source answers and has no such number, for {} s. If that is well, write noData: Pass.",
                empty.seconds()
            );
            let is_hold = criterion.no_data == NoData::Hold && empty.has_lasted(seconds, least);
            let verdict = if is_hold { Verdict::Hold } else { Verdict::Unknown };
            return (verdict, Reason::NoData, message, Some(empty));
        }
        self.judge_numbers(criterion, &limit)
    }

    fn judge_numbers(&self, criterion: &Criterion, limit: &str) -> Word {
        let kind = &criterion.kind;
        let (seconds, least) = (criterion.seconds(), kind.least_samples());
        let subject = match &self.worst {
            Some(worst) => sentence(&kind.subject(worst)),
            None => "There is no such number, which is well (noData: Pass)".to_owned(),
        };
        let newest = |over: &&Over| over.streak.last == self.last;
        if let Some(over) = self.over.values().filter(newest).find(|over| over.blameless) {
            let why = if kind.is_of_pods() {
                "stable's pods are no better"
            } else {
                "it was so before the first canary pod ran"
            };
            let message = format!(
                "{subject}: {}, but {why}: not this release's fault. It goes on when {} is met.",
                over_words(kind, limit, &over.streak),
                criterion.wanted()
            );
            return (Verdict::Hold, Reason::StableAsBad, message, Some(over.streak));
        }
        // The pods' status is no sample of anything: what it says is so.
        let settled = if kind.is_of_pods() { 0 } else { seconds };
        if let Some(within) = self.within {
            let (verdict, reason) = match (within.has_lasted(settled, least), criterion.target) {
                (true, Some(_)) => (Verdict::Pass, Reason::WithinTarget),
                (true, None) => (Verdict::Pass, Reason::WithinLimit),
                (false, _) => (Verdict::Unknown, Reason::TooFewSamples),
            };
            let so_far =
                if verdict == Verdict::Pass { String::new() } else { so_far(&within, settled, least) };
            let message = format!("{subject}: within {}{so_far}.", criterion.wanted());
            return (verdict, reason, message, Some(within));
        }
        let Some(outside) = self.outside else {
            // Too few of its series could be read for a pass, or what was known is too old.
            return (Verdict::Unknown, Reason::TooFewSamples, format!("{subject}."), None);
        };
        if outside.has_lasted(seconds, least) {
            let message = match criterion.target {
                Some(_) => format!(
                    "{subject}: {} is missed for {} s. It goes on when the target is met.",
                    criterion.wanted(),
                    outside.seconds()
                ),
                None => format!(
                    "{subject}: {} is breached, but by no series for long enough to count. It goes on when it is kept.",
                    criterion.wanted()
                ),
            };
            return (Verdict::Hold, Reason::AboveTarget, message, Some(outside));
        }
        let longest = self.over.values().filter(newest).map(|over| over.streak).max_by_key(Streak::seconds);
        let message = match longest {
            Some(streak) => {
                format!("{subject}: breaches the limit ({limit}){}.", so_far(&streak, seconds, least))
            }
            None => format!("{subject}: misses {}{}.", criterion.wanted(), so_far(&outside, seconds, least)),
        };
        (Verdict::Unknown, Reason::TooFewSamples, message, Some(longest.unwrap_or(outside)))
    }
}

/// "over the limit (value > 8) for 30 s in 7 samples"
fn over_words(kind: &Kind, limit: &str, streak: &Streak) -> String {
    match kind {
        Kind::Restarts => format!("more than the limit of {limit}"),
        Kind::Availability => format!("below the limit of {limit} for {} s", streak.seconds()),
        Kind::PodGauge(_) | Kind::Promql { .. } | Kind::Json { .. } => {
            let Streak { samples, .. } = streak;
            format!("breaches the limit ({limit}) for {} s in {samples} samples", streak.seconds())
        }
    }
}

/// " for 10 s of 30 s, in 2 samples of 3"
fn so_far(streak: &Streak, seconds: i64, least: u32) -> String {
    let mut text = format!(" for {} s of {seconds} s", streak.seconds());
    if streak.samples < least {
        text.push_str(&format!(", in {} samples of {least}", streak.samples));
    }
    text
}

fn longest_gap(every: u32) -> i64 {
    (i64::from(every) * (MISSED + 1)).max(RESTART)
}

/// Six significant digits.
fn plain(value: f64) -> String {
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

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
