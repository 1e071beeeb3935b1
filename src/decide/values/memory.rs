//! What is remembered of numbers that were read: since when which series were on which side of a limit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Criterion, Found, Kind, Pods, Point, Sample};
use crate::api::criterion::NoData;
use crate::decide::judge::{SET_BACK, is_ahead};

/// So many samples may be missing in a row without what was before being over.
const MISSED: i64 = 2;
/// After a gap of at most so many seconds what was before goes on: a restart takes as long.
const RESTART: i64 = 30;
/// How often samples come that are changes of the pods: a change is a look of its own, between two looks nothing changes.
const OF_CHANGES: u32 = u32::MAX;
/// Changes of the pods that may lie ahead of the clock, a second each.
const MOST_CHANGES: i64 = 60;
/// Series of one criterion that are looked at one by one.
pub const MOST_SERIES: usize = 100;

/// What is remembered of all these criteria.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    pub(super) criteria: BTreeMap<String, Memory>,
    /// The most canary pods that were Ready at the same time, of those there should be: what starts is not counted yet.
    most_ready: i32,
}

/// What is remembered of one.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Memory {
    /// What it is about: something else starts afresh.
    pub(super) what: String,
    /// The newest sample, and how soon the next was to come.
    pub(super) last: i64,
    pub(super) every: u32,
    pub(super) samples: u64,
    /// The worst number of the newest sample that had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) worst: Option<Point>,
    /// Why the newest sample says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trouble: Option<String>,
    /// Since when all series meet the target, some do not, there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) within: Option<Streak>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outside: Option<Streak>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) empty: Option<Streak>,
    /// Series that breach the limit now.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) over: BTreeMap<String, Over>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) breached: Option<Breached>,
}

/// Samples that all said the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Streak {
    pub(super) since: i64,
    pub(super) last: i64,
    pub(super) samples: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Over {
    pub(super) streak: Streak,
    #[serde(default)]
    pub(super) blameless: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Breached {
    pub(super) streak: Streak,
    pub(super) worst: Point,
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

    pub(super) fn seconds(&self) -> i64 {
        self.last.saturating_sub(self.since)
    }

    pub(super) fn has_lasted(&self, seconds: i64, samples: u32) -> bool {
        self.samples >= samples && self.seconds() >= seconds
    }
}

impl State {
    /// Whether this sample has not been folded, by a clock that reads `now`.
    pub fn lacks(&self, sample: &Sample, now: i64) -> bool {
        let known = self.criteria.get(&sample.criterion);
        !is_ahead(Some(sample.t), now)
            && known.is_none_or(|memory| memory.is_ahead(now) || sample.t > memory.last)
    }

    /// Where the clock was set back, takes what was read to have been read [`SET_BACK`] before `now`: whatever has lasted keeps its
    /// length. Whether there was any.
    pub fn set_back(&mut self, now: i64) -> bool {
        let mut any = false;
        for memory in self.criteria.values_mut().filter(|memory| memory.is_ahead(now)) {
            any = true;
            let by = memory.last.saturating_sub(now.saturating_sub(SET_BACK));
            memory.last = memory.last.saturating_sub(by);
            let streaks = [&mut memory.within, &mut memory.outside, &mut memory.empty].into_iter().flatten();
            let over = memory.over.values_mut().map(|over| &mut over.streak);
            let breached = memory.breached.iter_mut().map(|breached| &mut breached.streak);
            for streak in streaks.chain(over).chain(breached) {
                streak.since = streak.since.saturating_sub(by);
                streak.last = streak.last.saturating_sub(by);
            }
        }
        any
    }

    /// Since when the limit that is breached has been.
    pub fn breached_since(&self, criterion: &str) -> Option<i64> {
        Some(self.criteria.get(criterion)?.breached.as_ref()?.streak.since)
    }

    /// The sample with which it had been breached for long enough.
    pub fn breached_at(&self, criterion: &str) -> Option<i64> {
        Some(self.criteria.get(criterion)?.breached.as_ref()?.streak.last)
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
            samples.push(Sample {
                // Two changes within a second are two.
                t: known.map_or(now, |memory| now.max(memory.last.saturating_add(1))),
                criterion: criterion.name.clone(),
                definition: String::new(),
                every: OF_CHANGES,
                blameless,
                found: Ok(found),
            });
        }
        samples
    }
}

/// Adds the samples that are later than what is known. What is not among the criteria any more is forgotten; a criterion that asks for
/// something else than before starts afresh, and what was read for it before that is not taken for what it asks for now.
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
        if !new.is_empty() {
            let definition = criterion.kind.definition();
            new.retain(|sample| sample.definition.is_empty() || sample.definition == definition);
        }
        new.sort_by_key(|sample| sample.t);
        for sample in new {
            if sample.t > memory.last {
                memory.take(criterion, sample);
            }
        }
    }
}

impl Memory {
    /// Whether the clock was set back. Changes of the pods within a second are a second apart each, and no sign of that.
    fn is_ahead(&self, now: i64) -> bool {
        let changes = if self.every == OF_CHANGES { MOST_CHANGES } else { 0 };
        is_ahead(Some(self.last), now.saturating_add(changes))
    }

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
    pub(super) fn until(&self, now: i64) -> Self {
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
                Some(point) => format!("{} is no number; {}", point.value, criterion.kind.numbers_only()),
                None => found.trouble.clone(),
            });
        }
        self.notice_breach(criterion, &worst);
    }

    /// `read`: the worst number of each series in the newest sample. One that is not in it has not been over its limit any longer with it.
    fn notice_breach(&mut self, criterion: &Criterion, read: &BTreeMap<&str, f64>) {
        let least = criterion.kind.least_samples();
        let decided = self
            .over
            .iter()
            .filter(|(_, over)| !over.blameless && over.streak.has_lasted(criterion.seconds(), least))
            .filter_map(|(series, over)| Some((series, *read.get(series.as_str())?, over.streak)))
            .max_by_key(|(_, _, streak)| streak.samples);
        let (None, Some((series, value, streak)), Some(worst)) = (&self.breached, decided, &self.worst)
        else {
            return;
        };
        // The worst series now, if it is one of those; else the one that has been longest, with its own number.
        let counts = self.over.get(&worst.series).is_some_and(|over| over.streak == streak);
        let worst = if counts { worst.clone() } else { Point { series: series.clone(), value } };
        self.breached = Some(Breached { streak, worst });
    }
}

pub(super) fn longest_gap(every: u32) -> i64 {
    (i64::from(every) * (MISSED + 1)).max(RESTART)
}
