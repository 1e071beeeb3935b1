//! From cumulative counters to slots: what happened on each pod between two rounds of reading.
//!
//! Differences are taken series by series, before anything is summed, so that a reset of one does not hide in the sum of
//! others. Nothing is extrapolated: what comes out is whole requests that were counted. The rules:
//!
//! - A pod that could not be read is *missing*, never zero. Its next good reading covers the gap: one slot, with the start that
//!   all slots of that round have. One that was never read, and of which there need not be anything to read yet, is not missing.
//! - The first errors of a new pod count: a pod whose process started after this ledger began counts from 0, however late
//!   it could first be read, in the first round too. Any other pod's first reading is only something to compare the second one with.
//! - A value lower than before, and a new process, count from 0; so does a series that is new on a known pod.
//! - A pod whose series find no room (see [`super::kept`]), or bring more bounds than a run has, could not be read.
//!
//! It does not judge, and does not know what a round's length means.

use std::collections::{BTreeMap, BTreeSet};

use super::{BOUNDS_PER_RUN, Counts, ReadError, SeriesValue};
use crate::decide::judge::{Bound, Revision, Slot};
use crate::watch::ObjectKey;
use crate::watch::room::{Place, Room};

/// How many series of a pod are compared one by one. The rest are summed per kind first, and the sums compared.
pub const SERIES_APART: usize = 5_000;
/// Bytes that one of these takes.
const SERIES: usize = size_of::<Kept>();
/// Bytes that the sums of all others of a pod take, in nodes that may be half empty.
const SUMS: usize = 2 * size_of::<(Counts, f64)>() * (BOUNDS_PER_RUN + 3);
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
    /// Requests of which nobody can tell.
    pub untold: f64,
    /// Requests that took at most so long.
    pub le: BTreeMap<Bound, f64>,
}

impl Totals {
    /// Adds what one series counted.
    pub fn add(&mut self, counts: Counts, value: f64) {
        match counts {
            Counts::Requests { error } => {
                self.requests += value;
                match error {
                    Some(true) => self.errors += value,
                    Some(false) => {}
                    None => self.untold += value,
                }
            }
            Counts::Bucket(bound) => *self.le.entry(bound).or_default() += value,
        }
    }

    /// Whole numbers that fit together: errors, and what nobody can tell of, are at most the requests (the two may have been written at different
    /// moments), and no bucket holds less than the one below it.
    pub fn into_slot(self, t: i64, revision: Revision, pod: String) -> Slot {
        let Totals { requests, errors, untold, le } = self;
        let requests = whole(requests);
        let (errors, untold) = (whole(errors).min(requests), whole(untold).min(requests));
        let mut below = 0;
        let le = le
            .into_iter()
            .map(|(bound, count)| {
                below = below.max(whole(count));
                (bound, below)
            })
            .collect();
        Slot { t, revision, pod, requests, errors, untold, le, warming: false }
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

/// What every pod of a run had counted when it was last read. In memory only: of pods that were there before it, a new ledger's first round gives no
/// slots.
///
/// It should begin before the first canary pod ([`Ledger::beginning`], or a round, even if nothing can be read yet: hand in why, such
/// as [`ReadError::NoCounter`], for every pod): only what starts after that counts from 0.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// The last round, or when it began.
    previous: Option<i64>,
    /// What pods counted before this moment was not for this ledger, or has been told already.
    began: i64,
    pods: BTreeMap<String, Pod>,
    /// Until when pods that went away had been read.
    gone: BTreeMap<String, i64>,
    /// All that the pods' histograms ever had.
    bounds: BTreeSet<Bound>,
    /// The room that all series take; `None`: as much as they need.
    place: Option<Place>,
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
    /// In their order.
    series: Vec<Kept>,
    /// Sums of the series for which `series` has no room.
    rest: BTreeMap<Counts, f64>,
    /// The round in which a series fell although the pod's status told of no new process: the status may tell of it later.
    fell_early: Option<i64>,
}

/// A series, and its value when it was last seen.
type Kept = (u64, f64);

/// A round under way. Each pod's series are taken as they come: those of all pods together may be many.
pub struct Taking<'a> {
    ledger: &'a mut Ledger,
    at: i64,
    /// The round before.
    before: i64,
    /// There has been a round of this second.
    is_again: bool,
    taken: Taken,
}

impl Ledger {
    /// A ledger that has read nothing, for few pods, or where nobody else needs the room.
    pub fn new() -> Ledger {
        Ledger::default()
    }

    /// The same, in this room. `of`: for whom it reads.
    pub fn within(room: &Room, of: &ObjectKey) -> Ledger {
        Ledger { place: Some(room.empty_place(of)), ..Ledger::default() }
    }

    /// It begins at this moment (unix seconds), and its first round may come later: what starts in between counts from 0 in it.
    pub fn beginning(self, at: i64) -> Ledger {
        Ledger { previous: Some(at), began: at, ..self }
    }

    /// Takes one round as a whole: see [`Ledger::begin`]. `readings`: one entry for each pod of the run that should be read, missing ones among them.
    pub fn take(&mut self, at: i64, mut readings: Vec<Reading>) -> Taken {
        readings.sort_by(|one, other| one.pod.cmp(&other.pod));
        readings.dedup_by(|one, other| one.pod == other.pod);
        let mut round = self.begin(at, readings.iter().map(|reading| reading.pod.as_str()));
        for reading in readings {
            // It is among the missing.
            let _why = round.add(reading);
        }
        round.end()
    }

    /// Begins one round: `at` is the round's moment in unix seconds, `pods` the names of all pods of the run that should be read.
    /// Pods not listed are forgotten. A second round of the same second says nothing; before a round that is earlier than the one
    /// before it the clock was set back, and what is known is taken to be a second older.
    ///
    /// Every slot begins at the round before and ends at `at`, that of a pod too whose last good reading is older: what was
    /// counted in the gap is told with the first slot after it. Slots that began earlier would come too late to be judged.
    pub fn begin<'p>(&mut self, at: i64, pods: impl IntoIterator<Item = &'p str>) -> Taking<'_> {
        let is_again = self.previous == Some(at);
        if !is_again {
            match self.previous {
                Some(previous) if at < previous => {
                    self.set_back(previous.saturating_sub(at).saturating_add(1));
                }
                Some(_) => {}
                None => self.began = at,
            }
            self.forget_all_but(&pods.into_iter().collect());
        }
        let before = self.previous.unwrap_or(at);
        Taking { ledger: self, at, before, is_again, taken: Taken::default() }
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
        }
    }

    fn forget_all_but(&mut self, listed: &BTreeSet<&str>) {
        let (gone, mut freed) = (&mut self.gone, 0);
        self.pods.retain(|name, pod| {
            let stays = listed.contains(name.as_str());
            if let Some(counted) = pod.counted.as_ref().filter(|_| !stays) {
                gone.insert(name.clone(), pod.since);
                freed += bytes(counted.known());
            }
            stays
        });
        self.place.iter_mut().for_each(|place| place.shrink(freed));
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

impl Taking<'_> {
    /// Takes what one pod said, once for each.
    ///
    /// # Errors
    /// Why it could not be read: what its reading says, or that there is no room for it. Nothing of it is counted then.
    pub fn add(&mut self, reading: Reading) -> Result<(), ReadError> {
        let Reading { pod: name, revision, started_at, container_restarts, is_due, result } = reading;
        let (at, before) = (self.at, self.before);
        if self.is_again {
            return result.map(|_| ());
        }
        let Ledger { previous: _, began, pods, gone, bounds, place } = &mut *self.ledger;
        let pod = pods.entry(name.clone()).or_insert(Pod { since: before, counted: None });
        let values = result.map(usable).and_then(|values| {
            let new = new_bounds(bounds, &values)?;
            let (held, most) = pod.bytes_with(&values);
            if place.as_mut().is_some_and(|place| !place.grow(most - held)) {
                return Err(ReadError::NoRoom);
            }
            bounds.extend(new);
            Ok((values, most))
        });
        let (values, most) = match values {
            Ok(values) => values,
            Err(error) => {
                if is_due || pod.counted.is_some() {
                    self.taken.missing.push((revision, name));
                }
                return Err(error);
            }
        };
        let fresh = || Counted {
            revision,
            started_at,
            container_restarts,
            series: Vec::new(),
            rest: BTreeMap::new(),
            fell_early: None,
        };
        let since = pod.since;
        let from_zero =
            started_at.is_some_and(|start| start >= gone.get(&name).copied().unwrap_or(*began).max(*began));
        let comparable = pod.counted.is_some() || (from_zero && since < at);
        let counted = pod.counted.get_or_insert_with(fresh);
        if counted.is_another_process(revision, started_at, container_restarts, since, at) {
            *counted = fresh();
        }
        (counted.started_at, counted.container_restarts) = (started_at, container_restarts);
        let difference = counted.advance(at, &values);
        // What a process before had taken.
        place.iter_mut().for_each(|place| place.shrink(most - bytes(counted.known())));
        pod.since = at;
        gone.remove(&name);
        if comparable {
            self.taken.slots.push(difference.into_slot(before, revision, name));
        }
        Ok(())
    }

    /// What the round came to.
    pub fn end(self) -> Taken {
        let Taking { ledger, at, is_again, before: _, mut taken } = self;
        if !is_again {
            ledger.previous = Some(at);
        }
        taken.slots.sort_by(|one, other| one.pod.cmp(&other.pod));
        taken.missing.sort_by(|(_, one), (_, other)| one.cmp(other));
        taken
    }
}

/// What can be a count, once for each series, in their order.
fn usable(mut values: Vec<SeriesValue>) -> Vec<SeriesValue> {
    values.retain(|value| value.value.is_finite() && value.value >= 0.0);
    // The same series twice in one reading: the first one counts.
    values.sort_by_key(|value| value.series);
    values.dedup_by_key(|value| value.series);
    values
}

/// The bounds that the run's pods did not have before.
fn new_bounds(known: &BTreeSet<Bound>, values: &[SeriesValue]) -> Result<BTreeSet<Bound>, ReadError> {
    let mut new = BTreeSet::new();
    for value in values {
        if let Counts::Bucket(bound) = value.counts
            && !known.contains(&bound)
        {
            new.insert(bound);
            if known.len() + new.len() > BOUNDS_PER_RUN {
                return Err(ReadError::TooManyBoundsTogether { limit: BOUNDS_PER_RUN });
            }
        }
    }
    Ok(new)
}

/// Bytes that so many series of a pod take.
fn bytes(series: usize) -> usize {
    series.min(SERIES_APART) * SERIES + if series > SERIES_APART { SUMS } else { 0 }
}

impl Pod {
    /// Bytes that its series take, and at most with these.
    fn bytes_with(&self, values: &[SeriesValue]) -> (usize, usize) {
        let Some(counted) = &self.counted else { return (0, bytes(values.len())) };
        let new = values.iter().filter(|value| counted.place(value.series).is_err()).count();
        (bytes(counted.known()), bytes(counted.known() + new))
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

    /// How many series it takes room for; one more than are kept apart stands for all others.
    fn known(&self) -> usize {
        self.series.len() + usize::from(!self.rest.is_empty())
    }

    /// Where a series stands, or would.
    fn place(&self, series: u64) -> Result<usize, usize> {
        self.series.binary_search_by_key(&series, |(known, _)| *known)
    }

    /// Moves on to the new values and returns what was counted on the way.
    fn advance(&mut self, at: i64, values: &[SeriesValue]) -> Totals {
        let mut difference = Totals::default();
        let mut rest: BTreeMap<Counts, f64> = BTreeMap::new();
        let mut new: Vec<Kept> = Vec::new();
        let mut fell = false;
        for &SeriesValue { series, counts, value } in values {
            match self.place(series) {
                Ok(place) => {
                    let before = std::mem::replace(&mut self.series[place].1, value);
                    let reset = value < before;
                    fell |= reset;
                    difference.add(counts, if reset { value } else { value - before });
                }
                Err(_) if self.series.len() + new.len() < SERIES_APART => {
                    difference.add(counts, value);
                    new.push((series, value));
                }
                Err(_) => *rest.entry(counts).or_default() += value,
            }
        }
        if !new.is_empty() {
            self.series.reserve_exact(new.len());
            self.series.append(&mut new);
            self.series.sort_unstable_by_key(|(series, _)| *series);
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
