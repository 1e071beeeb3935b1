//! From cumulative counters to slots: what happened on each pod between two rounds of reading.
//!
//! Differences are taken series by series, before anything is summed, so that a reset of one does not hide in the sum of
//! others. Nothing is extrapolated: what comes out is whole requests that were counted. The rules:
//!
//! - A pod that could not be read is *missing*, never zero. Its next good reading covers the gap: one slot, with the start that
//!   all slots of that round have. One that was never read, and of which there need not be anything to read yet, is not missing.
//! - The first errors of a new pod count: a pod whose process started after this ledger began counts from 0, however late
//!   it could first be read. Any other pod's first reading is only something to compare the second one with.
//! - A value lower than before, and a new process, count from 0; so does a series that is new on a known pod.
//!
//! It does not judge, and does not know what a round's length means.

use std::collections::{BTreeMap, HashMap};

use super::{Counts, ReadError, SeriesValue};
use crate::decide::judge::{Bound, Revision, Slot};

/// How many series of a pod are compared one by one. The rest are summed per kind first, and the sums compared.
pub const SERIES_APART: usize = 5_000;
/// How many pods that went away are remembered, in case they come back (a StatefulSet's pods keep their names).
const GONE_KEPT: usize = 4_096;
/// How many seconds a pod's status may lag behind what its counters say.
const STATUS_LAG: i64 = 60;

/// What one pod said in a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The pod's name.
    pub pod: String,
    /// The revision it runs.
    pub revision: Revision,
    /// When the container that answers was last started, in unix seconds, as known when the round began (not after it).
    pub started_at: Option<i64>,
    /// That container's restart count, as known when the round began.
    pub container_restarts: u32,
    /// There should be something to read of it by now.
    pub is_due: bool,
    /// Its series, or why there are none. An empty list is a good reading of a pod that has counted nothing yet.
    pub result: Result<Vec<SeriesValue>, ReadError>,
}

/// What a round came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Taken {
    /// One slot for each pod that has something to compare with, by name.
    pub slots: Vec<Slot>,
    /// The pods that could not be read, by name.
    pub missing: Vec<(Revision, String)>,
}

/// Sums over the series of one pod.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Totals {
    /// Requests, failed ones among them.
    pub requests: f64,
    /// Failed requests.
    pub errors: f64,
    /// Requests that took at most so long.
    pub le: BTreeMap<Bound, f64>,
}

impl Totals {
    /// Adds what one series counted.
    pub fn add(&mut self, counts: Counts, value: f64) {
        match counts {
            Counts::Requests { error } => {
                self.requests += value;
                self.errors += if error { value } else { 0.0 };
            }
            Counts::Bucket(bound) => *self.le.entry(bound).or_default() += value,
        }
    }

    /// Whole numbers that fit together: errors are at most the requests (the two may have been written at different
    /// moments), and no bucket holds less than the one below it.
    pub fn into_slot(self, t: i64, revision: Revision, pod: String) -> Slot {
        let Totals { requests, errors, le } = self;
        let requests = whole(requests);
        let mut below = 0;
        let le = le
            .into_iter()
            .map(|(bound, count)| {
                below = below.max(whole(count));
                (bound, below)
            })
            .collect();
        Slot { t, revision, pod, requests, errors: whole(errors).min(requests), le, warming: false }
    }
}

/// Rounds; what is not a count is 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and counts are not negative"
)]
fn whole(count: f64) -> u64 {
    count.round() as u64
}

/// What every pod of a run had counted when it was last read. In memory only: a new ledger begins with a round that gives no
/// slots.
///
/// Its first round should come before the first canary pod, even if nothing can be read yet (hand in why, such as
/// [`ReadError::NoCounter`], for every pod): only what starts after that round counts from 0.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// The last round.
    previous: Option<i64>,
    /// What pods counted before this moment was not for this ledger, or has been told already.
    began: i64,
    pods: BTreeMap<String, Pod>,
    /// Until when pods that went away had been read.
    gone: BTreeMap<String, i64>,
}

#[derive(Debug, Clone)]
struct Pod {
    /// The last good reading's round; while there is none, the round before the pod first appeared.
    since: i64,
    counted: Option<Counted>,
}

/// One process' series at the last good reading.
#[derive(Debug, Clone)]
struct Counted {
    revision: Revision,
    started_at: Option<i64>,
    container_restarts: u32,
    series: HashMap<u64, Seen>,
    /// Sums of the series for which `series` has no room.
    rest: BTreeMap<Counts, f64>,
    /// The round in which a series fell although the pod's status told of no new process: the status may tell of it later.
    fell_early: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    value: f64,
    /// The round in which it was last seen.
    at: i64,
}

impl Ledger {
    /// A ledger that has read nothing.
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// Takes one round: `at` is the round's moment in unix seconds, `readings` one entry for each pod of the run that should
    /// be read, missing ones among them. Pods not listed are forgotten. A second round of the same second says nothing; before a
    /// round that is earlier than the one before it the clock was set back, and what is known is taken to be a second older.
    ///
    /// Every slot begins at the round before and ends at `at`, that of a pod too whose last good reading is older: what was
    /// counted in the gap is told with the first slot after it. Slots that began earlier would come too late to be judged.
    pub fn take(&mut self, at: i64, mut readings: Vec<Reading>) -> Taken {
        match self.previous {
            Some(previous) if at == previous => return Taken::default(),
            Some(previous) if at < previous => self.set_back(previous.saturating_sub(at).saturating_add(1)),
            Some(_) | None => {}
        }
        if self.previous.is_none() {
            self.began = at;
        }
        readings.sort_by(|one, other| one.pod.cmp(&other.pod));
        readings.dedup_by(|one, other| one.pod == other.pod);
        self.forget_all_but(&readings);
        let before = self.previous.unwrap_or(at);

        let mut taken = Taken::default();
        for reading in readings {
            let Reading { pod: name, revision, started_at, container_restarts, is_due, result } = reading;
            let pod = self.pods.entry(name.clone()).or_insert(Pod { since: before, counted: None });
            let Ok(series) = result else {
                if is_due || pod.counted.is_some() {
                    taken.missing.push((revision, name));
                }
                continue;
            };
            let fresh = || Counted {
                revision,
                started_at,
                container_restarts,
                series: HashMap::new(),
                rest: BTreeMap::new(),
                fell_early: None,
            };
            let since = pod.since;
            let from_zero = started_at.is_some_and(|start| {
                start >= self.gone.get(&name).copied().unwrap_or(self.began).max(self.began)
            });
            let comparable = pod.counted.is_some() || (from_zero && since < at);
            let counted = pod.counted.get_or_insert_with(fresh);
            if counted.is_another_process(revision, started_at, container_restarts, since, at) {
                *counted = fresh();
            }
            (counted.started_at, counted.container_restarts) = (started_at, container_restarts);
            let difference = counted.advance(at, &series);
            pod.since = at;
            self.gone.remove(&name);
            if comparable {
                taken.slots.push(difference.into_slot(before, revision, name));
            }
        }
        self.previous = Some(at);
        taken
    }

    /// The clock was set back by about so many seconds: nothing that was counted is forgotten, or counted twice.
    fn set_back(&mut self, seconds: i64) {
        let earlier = |t: &mut i64| *t = t.saturating_sub(seconds);
        self.previous.iter_mut().for_each(earlier);
        earlier(&mut self.began);
        self.gone.values_mut().for_each(earlier);
        for pod in self.pods.values_mut() {
            earlier(&mut pod.since);
            let Some(counted) = &mut pod.counted else { continue };
            counted.fell_early.iter_mut().for_each(earlier);
            counted.series.values_mut().for_each(|seen| earlier(&mut seen.at));
        }
    }

    fn forget_all_but(&mut self, readings: &[Reading]) {
        let listed = |name: &String| readings.binary_search_by(|reading| reading.pod.cmp(name)).is_ok();
        let gone = &mut self.gone;
        self.pods.retain(|name, pod| {
            let stays = listed(name);
            if !stays && pod.counted.is_some() {
                gone.insert(name.clone(), pod.since);
            }
            stays
        });
        while self.gone.len() > GONE_KEPT {
            let Some(oldest) =
                self.gone.iter().min_by_key(|(_, until)| **until).map(|(name, _)| name.clone())
            else {
                break;
            };
            // Forgotten for good, so from now on nobody who started before then may count from 0.
            self.began = self.began.max(self.gone.remove(&oldest).unwrap_or(self.began));
        }
    }
}

impl Counted {
    /// Whether the pod's status tells, at the round `at`, of a process that the last good reading, at `since`, was not of.
    ///
    /// The status may lag behind the reading. Then the counters have been seen to fall before, or the new process is not
    /// younger than the last reading; counting from 0 once more would count twice.
    fn is_another_process(
        &mut self,
        revision: Revision,
        started_at: Option<i64>,
        restarts: u32,
        since: i64,
        at: i64,
    ) -> bool {
        if self.revision != revision {
            return true;
        }
        if self.container_restarts == restarts && self.started_at == started_at {
            return false;
        }
        let seen_already = self.fell_early.take().is_some_and(|fell| at - fell <= STATUS_LAG);
        let younger = match (self.started_at, started_at) {
            (Some(before), Some(now)) if before != now => now > since,
            _ => self.container_restarts != restarts,
        };
        younger && !seen_already
    }

    /// Moves on to the new values and returns what was counted on the way.
    fn advance(&mut self, at: i64, values: &[SeriesValue]) -> Totals {
        let mut difference = Totals::default();
        let mut rest: BTreeMap<Counts, f64> = BTreeMap::new();
        let mut fell = false;
        for &SeriesValue { series, counts, value } in values {
            if !value.is_finite() || value < 0.0 {
                continue;
            }
            let room = self.series.len() < SERIES_APART;
            match self.series.get_mut(&series) {
                Some(seen) if seen.at == at => {} // the same series twice in one reading
                Some(seen) => {
                    let reset = value < seen.value;
                    fell |= reset;
                    difference.add(counts, if reset { value } else { value - seen.value });
                    *seen = Seen { value, at };
                }
                None if room => {
                    difference.add(counts, value);
                    self.series.insert(series, Seen { value, at });
                }
                None => *rest.entry(counts).or_default() += value,
            }
        }
        for (counts, sum) in rest {
            let before = self.rest.insert(counts, sum).unwrap_or(0.0);
            // A sum also falls when one of its series vanishes; only a reset elsewhere tells that it counts from 0.
            let counted = if sum >= before {
                sum - before
            } else if fell {
                sum
            } else {
                0.0
            };
            difference.add(counts, counted);
        }
        if fell {
            self.fell_early = Some(at);
        }
        difference
    }
}
