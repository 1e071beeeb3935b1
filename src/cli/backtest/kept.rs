//! What was read of the past, as long as a window still needs it: rounds of reading pods, and samples of other numbers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::outcome::Why;
use super::revisions::ALONE;
use super::spans::When;
use crate::api::criterion::NoData;
use crate::decide::judge::{Revision, Slot};
use crate::decide::values::{Criterion, Found, Kind, Pods, Sample};
use crate::observe::values::EVERY;

/// Seconds before a window that are learnt from.
pub const HISTORY: i64 = 3600;
/// Share of a window's rounds that a pod taken for the canary must be there in, and that anybody must be read in.
const THERE: f64 = 0.8;
/// Seconds before a window in which a query is asked already: what it breaches then is not the canary's doing.
const BEFORE: i64 = 60;

/// A round.
pub struct Round {
    /// Start of its slots.
    pub t: i64,
    pub slots: Vec<Slot>,
    pub missing: Vec<String>,
}

impl Round {
    /// Pods that are there.
    pub fn pods(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|slot| slot.pod.as_str()).chain(self.missing.iter().map(String::as_str))
    }
}

/// What a number was at a moment.
pub type Moment = (i64, Result<Found, String>);

/// All of it.
pub struct Kept {
    interval: i64,
    rounds: VecDeque<Round>,
    numbers: Vec<VecDeque<Moment>>,
}

impl Kept {
    /// Nothing yet, in slots of so many seconds, and of so many numbers.
    pub fn new(interval: i64, numbers: usize) -> Self {
        Self { interval, rounds: VecDeque::new(), numbers: (0..numbers).map(|_| VecDeque::new()).collect() }
    }

    /// The next round.
    pub fn round(&mut self, round: Round) {
        self.rounds.push_back(round);
    }

    /// The next moments of a number.
    pub fn number(&mut self, place: usize, moments: Vec<Moment>) {
        self.numbers[place].extend(moments);
    }

    /// What was before is not needed any more.
    pub fn forget(&mut self, before: i64) {
        while self.rounds.front().is_some_and(|round| round.t < before) {
            self.rounds.pop_front();
        }
        for moments in &mut self.numbers {
            while moments.front().is_some_and(|(at, _)| *at < before) {
                moments.pop_front();
            }
        }
    }

    fn between(&self, When { from, to }: When) -> impl Iterator<Item = &Round> {
        let first = self.rounds.partition_point(|round| round.t < from);
        let last = self.rounds.partition_point(|round| round.t < to);
        self.rounds.range(first..last.max(first))
    }

    /// Pods that were there.
    pub fn pods(&self, when: When) -> BTreeSet<&str> {
        self.between(when).flat_map(Round::pods).collect()
    }

    /// All slots, as stable's, but for those that `is_canary`.
    pub fn slots(&self, when: When, is_canary: impl Fn(&str) -> bool) -> Vec<Slot> {
        let slots = self.between(when).flat_map(|round| &round.slots).cloned();
        slots
            .map(|slot| match is_canary(&slot.pod) {
                true => Slot { revision: Revision::Canary, ..slot },
                false => slot,
            })
            .collect()
    }

    /// What is known before a window: of the pods that are there then, not of a canary that went back a while ago.
    pub fn history(&self, before: i64) -> Vec<Slot> {
        let present = self.pods(When { from: before - ALONE, to: before });
        let mut slots = self.slots(When { from: before - HISTORY, to: before }, |_| false);
        slots.retain(|slot| present.contains(slot.pod.as_str()));
        slots
    }

    /// Starts of slots in which canary pods were missing, and how many.
    pub fn missing(&self, when: When, is_canary: impl Fn(&str) -> bool) -> Vec<(i64, u32)> {
        let of = |round: &Round| {
            let count = round.missing.iter().filter(|pod| is_canary(pod)).count();
            (round.t, u32::try_from(count).unwrap_or(u32::MAX))
        };
        self.between(when).map(of).filter(|(_, count)| *count > 0).collect()
    }

    /// Samples of a number as a run would have read them: a query is asked before the first canary pod too, of gauges only the
    /// canary's count.
    pub fn samples(
        &self,
        place: usize,
        criterion: &Criterion,
        When { from, to }: When,
        is_canary: impl Fn(&str) -> bool,
    ) -> Vec<Sample> {
        let is_by_pod = is_by_pod(&criterion.kind);
        let begin = if is_by_pod { from } else { from - BEFORE };
        let sample = |(at, found): &Moment| Sample {
            t: *at,
            criterion: criterion.name.clone(),
            definition: String::new(),
            every: u32::try_from(EVERY.as_secs()).unwrap_or(u32::MAX),
            blameless: *at <= from,
            found: found.clone().map(|mut found| {
                found.points.retain(|point| !is_by_pod || is_canary(&point.series));
                found
            }),
        };
        self.moments(place, When { from: begin, to }).map(sample).collect()
    }

    /// How many pods there were, and how many were Ready.
    pub fn readiness(&self, place: usize, when: When, is_canary: impl Fn(&str) -> bool) -> Vec<(i64, Pods)> {
        let count = |(at, found): &Moment| {
            let mut pods = Pods::default();
            for point in &found.as_ref().ok()?.points {
                let is_ready = i32::from(point.value > 0.5);
                if is_canary(&point.series) {
                    pods.canary += 1;
                    pods.canary_ready += is_ready;
                } else {
                    pods.stable += 1;
                    pods.stable_ready += is_ready;
                }
            }
            Some((*at, pods))
        };
        self.moments(place, when).filter_map(count).collect()
    }

    /// How often the canary's containers were restarted since the window began, or since their pods came.
    pub fn restarts(&self, place: usize, when: When, is_canary: impl Fn(&str) -> bool) -> Vec<(i64, Pods)> {
        let (mut before, mut was_told) = (BTreeMap::<&str, f64>::new(), false);
        let mut all = Vec::new();
        for (at, found) in self.moments(place, When { from: when.from - BEFORE, ..when }) {
            let points = found.iter().flat_map(|found| &found.points);
            let (mut pods, mut is_told) = (Pods::default(), false);
            for point in points {
                is_told = true;
                if !is_canary(&point.series) {
                    continue;
                }
                // What a pod brings along when it is seen for the first time is news only if it could have been seen before.
                let is_new = was_told && *at > when.from;
                let known = before.entry(&point.series).or_insert(if is_new { 0.0 } else { point.value });
                pods.canary += 1;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
                let since = (point.value - *known).max(0.0) as u32;
                pods.restarts = pods.restarts.saturating_add(since);
            }
            was_told = is_told;
            if *at > when.from {
                all.push((*at, pods));
            }
        }
        all
    }

    /// Moments after `from`, up to `to`.
    fn moments(&self, place: usize, When { from, to }: When) -> impl Iterator<Item = &Moment> {
        let moments = &self.numbers[place];
        let first = moments.partition_point(|(at, _)| *at <= from);
        let last = moments.partition_point(|(at, _)| *at <= to);
        moments.range(first..last.max(first))
    }

    /// Pods that stayed through a window, if enough was read of it and they had something to do.
    pub fn serving(&self, when: When) -> Result<Vec<String>, Why> {
        let all = (when.to - when.from) / self.interval;
        if !is_enough(self.between(when).filter(|round| !round.slots.is_empty()).count(), all) {
            return Err(Why::NoData);
        }
        let (mut rounds, mut requests) = (BTreeMap::<&str, usize>::new(), 0_u64);
        for slot in self.between(when).flat_map(|round| &round.slots) {
            *rounds.entry(&slot.pod).or_default() += 1;
            requests = requests.saturating_add(slot.requests);
        }
        if requests == 0 {
            return Err(Why::NoRequests);
        }
        let there = rounds.into_iter().filter(|(_, rounds)| is_enough(*rounds, all));
        let pods: Vec<String> = there.map(|(pod, _)| pod.to_owned()).collect();
        if pods.len() < 2 { Err(Why::TooFewPods) } else { Ok(pods) }
    }

    /// The same where no requests are counted: pods of which something was there all the time, if any number was. Nobody has to be there
    /// when only queries are asked.
    pub fn gauged(&self, criteria: &[Criterion], when: When) -> Result<Vec<String>, Why> {
        let all = (when.to - when.from) / i64::try_from(EVERY.as_secs()).unwrap_or(1);
        let (mut told, mut there) = (0, BTreeSet::new());
        for (place, criterion) in criteria.iter().enumerate() {
            let says = |(_, found): &&Moment| {
                let nothing = criterion.no_data == NoData::Pass;
                found.as_ref().is_ok_and(|found| nothing || !found.points.is_empty())
            };
            told = told.max(self.moments(place, when).filter(says).count());
            if !is_by_pod(&criterion.kind) {
                continue;
            }
            let mut pods = BTreeMap::<&str, usize>::new();
            for (_, found) in self.moments(place, when) {
                let points = found.iter().flat_map(|found| &found.points);
                let present: BTreeSet<&str> = points.map(|point| point.series.as_str()).collect();
                present.into_iter().for_each(|pod| *pods.entry(pod).or_default() += 1);
            }
            let stayed = pods.into_iter().filter(|(_, moments)| is_enough(*moments, all));
            there.extend(stayed.map(|(pod, _)| pod.to_owned()));
        }
        if is_enough(told, all) { Ok(there.into_iter().collect()) } else { Err(Why::NoData) }
    }
}

/// Whether each pod has a number of its own.
pub fn is_by_pod(kind: &Kind) -> bool {
    match kind {
        Kind::PodGauge(_) | Kind::Availability | Kind::Restarts => true,
        Kind::Promql { .. } | Kind::Json { .. } => false,
    }
}

fn is_enough(part: usize, all: i64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "rounds of a window")]
    let enough = part as f64 >= all as f64 * THERE;
    enough
}
