//! What was measured and answered, in memory, until status has counted it in.
//!
//! A restart, and another leader in between, lose it: counters are then taken up anew, and questions asked again. Nothing rests on it alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::clock::{self, Clock};
use crate::decide::Key;
use crate::decide::judge::{Revision, Slot, State};
use crate::decide::refusal::{DoneWithout, Missed, Refusal};
use crate::decide::snapshot::{
    Gathered, JobOutput, Measured, Placed, Pod, ProbeAnswer, ProbeId, ReleaseFacts, WayBack,
};
use crate::decide::values::{self, Point, Sample};
use crate::observe::Findings;
use crate::observe::measure::counters::Taken;
use crate::watch::ObjectKey;
use crate::watch::room::{Place, Room};

/// Slots kept for one run; the oldest go first.
const MOST_SLOTS: usize = 50_000;

/// Samples kept for one run; the oldest go first.
const MOST_SAMPLES: usize = 5_000;

/// Room for what was measured, of all runs. Mostly it is of one round, and in status a moment later; but not where somebody keeps status from being
/// written. Fifty pods with histograms of twenty bounds take 30 KiB a round, and an hour of twelve pods before the run takes 2 MiB.
const ROOM: usize = 64 << 20;
/// Bytes that a count at a bound takes, in nodes that are not always full.
const AT_BOUND: usize = 24;

/// What is said while some of it is lost.
const NO_ROOM: &str =
    "there is no room for all that is measured until status counts it in: the oldest was dropped";

/// Where counts come from, for people.
pub struct Origin {
    /// What they are read with.
    pub definition: String,
    /// Which series are read.
    pub source: String,
    /// How they are asked for.
    pub query: String,
}
/// Jobs of one run whose words are kept; the oldest go first, which status has by then.
const MOST_OUTPUTS: usize = 64;

/// Wall time that went by, or back, without so much time having passed is no time in which anybody looked.
const JUMP: SignedDuration = SignedDuration::from_secs(2);

/// What is new of a write that is done without where it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Nothing,
    /// Status says something else from here on.
    ForStatus,
    /// And nothing like it was refused for that reason: people are told.
    ForPeople,
}

/// Findings of all runs.
pub struct SharedFindings {
    clock: Clock,
    room: Room,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    all: HashMap<Key, Findings>,
    /// Of what was measured.
    places: HashMap<Key, Place>,
    /// What the clock told last, and when that was.
    told: Option<(Timestamp, Instant)>,
}

impl SharedFindings {
    pub fn new(clock: Clock) -> Self {
        Self { clock, room: Room::of(ROOM), known: Mutex::default() }
    }

    /// What was found about one Release, which is looked at now.
    pub fn of(&self, key: &Key, now: Timestamp) -> Findings {
        let mut known = self.lock();
        let found = known.all.entry(key.clone()).or_default();
        found.looking_since.get_or_insert(now);
        found.clone()
    }

    /// Forgets everything: another process leads.
    pub fn clear(&self) {
        let mut known = self.lock();
        known.all.clear();
        known.places.clear();
    }

    /// A round of measuring.
    pub fn add_round(&self, key: &Key, at: i64, taken: Taken, origin: Origin, why_not: Option<String>) {
        let mut known = self.lock();
        let measured = &mut known.all.entry(key.clone()).or_default().measured;
        read_with(measured, &origin.definition);
        let Measured {
            definition: _,
            slots,
            history: _,
            missing,
            stable_missing,
            values: _,
            source,
            query,
            trouble,
        } = measured;
        slots.extend(taken.slots);
        let excess = slots.len().saturating_sub(MOST_SLOTS);
        for (of, missing) in [(Revision::Canary, missing), (Revision::Stable, stable_missing)] {
            let pods = taken.missing.iter().filter(|(revision, _)| *revision == of).count();
            if pods > 0 {
                missing.push((at, u32::try_from(pods).unwrap_or(u32::MAX)));
                let excess = missing.len().saturating_sub(MOST_SLOTS);
                missing.drain(..excess);
            }
        }
        Origin { definition: _, source: *source, query: *query } = origin;
        *trouble = why_not;
        drop_oldest(measured, excess);
        known.fit(key, &self.room);
    }

    /// What stable pods did before the run, read with this. False: there is no room for it.
    pub fn add_history(&self, key: &Key, definition: &str, mut slots: Vec<Slot>) -> bool {
        slots.truncate(MOST_SLOTS);
        let mut known = self.lock();
        let measured = &mut known.all.entry(key.clone()).or_default().measured;
        read_with(measured, definition);
        measured.history = Arc::new(slots);
        known.fit(key, &self.room);
        known.all.get(key).is_some_and(|found| !found.measured.history.is_empty())
    }

    /// Readings of criteria that do not count requests.
    pub fn add_samples(&self, key: &Key, samples: Vec<Sample>) {
        let mut known = self.lock();
        let values = &mut known.all.entry(key.clone()).or_default().measured.values;
        values.extend(samples);
        let excess = values.len().saturating_sub(MOST_SAMPLES);
        values.drain(..excess);
        known.fit(key, &self.room);
    }

    /// An answer to a check.
    pub fn add_answer(&self, key: &Key, id: ProbeId, answer: ProbeAnswer) {
        self.lock().all.entry(key.clone()).or_default().probes.insert(id, answer);
    }

    /// What a Job said.
    pub fn add_output(&self, key: &Key, job: String, output: JobOutput) {
        let all = &mut self.lock().all;
        let outputs = &mut all.entry(key.clone()).or_default().outputs;
        outputs.insert(job, output);
        if outputs.len() > MOST_OUTPUTS {
            let oldest = outputs.iter().min_by_key(|(_, output)| output.at).map(|(job, _)| job.clone());
            oldest.map(|job| outputs.remove(&job));
        }
    }

    /// Where new pods are.
    pub fn add_placed(&self, key: &Key, placed: Placed) {
        self.lock().all.entry(key.clone()).or_default().placed = Some(Arc::new(placed));
    }

    /// What was read of pods before they went.
    pub fn add_gathered(&self, key: &Key, gathered: Gathered) {
        self.lock().all.entry(key.clone()).or_default().gathered = Some(gathered);
    }

    /// Why it goes back and how far that has come, as it was decided just now.
    pub fn see_way_back(&self, key: &Key, seen: Option<WayBack>) {
        if let Some(found) = self.lock().all.get_mut(key) {
            found.way_back = seen;
        }
    }

    /// Which pods are Ready since a moment that is yet to come: from when this was seen first they count as Ready.
    pub fn see_ready_ahead(&self, key: &Key, pods: &[Pod], now: Timestamp) {
        let is_ahead = |pod: &&Pod| pod.ready_since.is_some_and(|since| since > now);
        if let Some(found) = self.lock().all.get_mut(key) {
            let seen = &mut found.ready_ahead;
            seen.retain(|uid, _| pods.iter().any(|pod| pod.uid == *uid && pod.ready_since.is_some()));
            for pod in pods.iter().filter(is_ahead) {
                seen.insert(pod.uid.clone(), now);
            }
        }
    }

    /// How a write fared then that is done without where it is refused.
    pub fn see_done_without(
        &self,
        key: &Key,
        what: &DoneWithout,
        refusal: Option<&Refusal>,
        at: Timestamp,
    ) -> News {
        let all = &mut self.lock().all;
        let Findings { missed, marked, .. } = all.entry(key.clone()).or_default();
        let Some(refusal) = refusal else {
            if let DoneWithout::Mark(action) = what {
                marked.insert(action.clone(), at);
            }
            return if missed.remove(what).is_some() { News::ForStatus } else { News::Nothing };
        };
        let is_the_same = |known: &Missed| known.refusal.reason() == refusal.reason();
        let is_told = missed.iter().any(|(known, it)| known.is_like(what) && is_the_same(it));
        match missed.insert(what.clone(), Missed { at, refusal: refusal.clone() }) {
            Some(before) if is_the_same(&before) => News::Nothing,
            Some(_) | None if is_told => News::ForStatus,
            Some(_) | None => News::ForPeople,
        }
    }

    /// Forgets what status has counted in and what was answered to other runs, and when there is no run everything but how it went to mark actions
    /// that status knows, and what has yet to be noted on the Deployment of the way back of a Release that is gone.
    pub fn prune(&self, key: &Key, release: Option<&ReleaseFacts>) {
        let mut known = self.lock();
        known.prune(key, release);
        known.fit(key, &self.room);
    }

    /// Whoever comes first after the clock was set notices it.
    fn lock(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.see_time(self.clock.now(), clock::instant());
        known
    }
}

impl Known {
    fn prune(&mut self, key: &Key, release: Option<&ReleaseFacts>) {
        let run = release.and_then(|release| release.status.run.as_ref());
        let now = self.told.map_or(Timestamp::MAX, |(now, _)| now);
        let handled = release.map(|release| release.status.handled.as_slice()).unwrap_or_default();
        let is_handled = |action: &str| handled.iter().any(|handled| handled.uid == action);
        let all = &mut self.all;
        if let Some(found) = all.get_mut(key) {
            found.marked.retain(|action, _| is_handled(action));
            found.missed.retain(|what, _| match what {
                DoneWithout::Mark(action) => is_handled(action),
                DoneWithout::Template(_) => run.is_some(),
            });
        }
        let Some(run) = run else {
            let Some(Findings { way_back, missed, marked, .. }) = all.remove(key) else { return };
            if way_back.is_some() || !missed.is_empty() || !marked.is_empty() {
                all.insert(key.clone(), Findings { way_back, missed, marked, ..Findings::default() });
            }
            return;
        };
        let Some(found) = all.get_mut(key) else { return };
        found.probes.retain(|id, _| id.run == run.id);
        // What was measured since the look began is not ahead.
        let now = now.as_second();
        if let Some(state) = run.values.read::<values::State>() {
            found.measured.values.retain(|sample| state.lacks(sample, now));
        }
        if run.back.as_ref().is_none_or(|back| back.validating.is_none()) {
            found.measured.stable_missing.clear();
        }
        let Some(state) = run.judged().read::<State>() else { return };
        if state.last_slot.is_some() {
            found.measured.history = Arc::default();
        }
        found.measured.slots.retain(|slot| state.lacks(slot.t, now));
        found.measured.missing.retain(|(t, _)| state.lacks_missing(*t, now));
        found.measured.stable_missing.retain(|(t, _)| state.lacks_missing(*t, now));
    }

    /// What was measured of a run takes room. Where there is none for all of it, what was before the run goes first (it is learnt in the run instead), then the
    /// older half, and so on.
    fn fit(&mut self, key: &Key, room: &Room) {
        // The place of before is free again.
        self.places.remove(key);
        let Some(found) = self.all.get_mut(key) else { return };
        loop {
            let bytes = bytes(&found.measured);
            if bytes == 0 {
                return;
            }
            if let Some(place) = room.place(&ObjectKey::from(key), bytes) {
                self.places.insert(key.clone(), place);
                return;
            }
            let measured = &mut found.measured;
            if measured.history.is_empty() {
                let (slots, values) = (measured.slots.len().div_ceil(2), measured.values.len().div_ceil(2));
                drop_oldest(measured, slots);
                measured.values.drain(..values);
            } else {
                measured.history = Arc::default();
            }
        }
    }

    /// After a jump everybody begins to look anew. After one back, what was measured before it lies in what is to come: what status had not counted in
    /// by then (some seconds) is lost, nothing is counted twice, and answers are as old as they can be.
    fn see_time(&mut self, now: Timestamp, instant: Instant) {
        let Some((before, since)) = self.told.replace((now, instant)) else { return };
        let passed = SignedDuration::try_from(instant - since).unwrap_or(SignedDuration::MAX);
        let jump = now.duration_since(before).saturating_sub(passed);
        if jump.abs() < JUMP {
            return;
        }
        tracing::warn!(by_s = jump.as_secs(), "the machine's clock was set");
        for found in self.all.values_mut() {
            found.looking_since = found.looking_since.map(|_| now);
            if jump.is_negative() {
                let Measured { slots, missing, stable_missing, values, .. } = &mut found.measured;
                slots.clear();
                missing.clear();
                stable_missing.clear();
                values.clear();
                found.probes.values_mut().for_each(|answer| answer.at = answer.at.min(now));
            }
        }
    }
}

/// Counts are read with this from now on: what was read with something else is of other requests.
fn read_with(measured: &mut Measured, definition: &str) {
    if !measured.is_of(definition) {
        measured.slots.clear();
        measured.missing.clear();
        measured.stable_missing.clear();
        measured.history = Arc::default();
    }
    definition.clone_into(&mut measured.definition);
}

/// Lets go of so many slots, the oldest. What canary pods reported in them is missing from here on, as if they had not: nothing passes by what is left.
fn drop_oldest(measured: &mut Measured, count: usize) {
    if count == 0 {
        return;
    }
    let Measured { slots, missing, trouble, .. } = measured;
    let mut rounds = BTreeMap::<i64, u32>::new();
    let mut add = |t: i64, pods: u32| {
        let known = rounds.entry(t).or_default();
        *known = known.saturating_add(pods);
    };
    for (t, pods) in missing.drain(..) {
        add(t, pods);
    }
    for slot in slots.drain(..count).filter(|slot| slot.revision == Revision::Canary) {
        // A slot is known by when it began, and what was missing by when the round had ended.
        add(slot.t.saturating_add(1), 1);
    }
    missing.extend(rounds);
    let excess = missing.len().saturating_sub(MOST_SLOTS);
    missing.drain(..excess);
    match trouble {
        Some(known) if known.ends_with(NO_ROOM) => {}
        Some(known) => known.push_str(&format!("; {NO_ROOM}")),
        None => *trouble = Some(NO_ROOM.to_owned()),
    }
}

/// What was measured, in memory.
fn bytes(measured: &Measured) -> usize {
    let Measured {
        slots,
        history,
        values,
        definition: _,
        missing: _,
        stable_missing: _,
        source: _,
        query: _,
        trouble: _,
    } = measured;
    let of_slot = |slot: &Slot| size_of::<Slot>() + slot.pod.len() + AT_BOUND * slot.le.len();
    let of_point = |point: &Point| size_of::<Point>() + point.series.len();
    let of_sample = |sample: &Sample| {
        let found = match &sample.found {
            Ok(found) => found.trouble.len() + found.points.iter().map(of_point).sum::<usize>(),
            Err(why) => why.len(),
        };
        size_of::<Sample>() + sample.criterion.len() + sample.definition.len() + found
    };
    let slots: usize = slots.iter().chain(history.iter()).map(of_slot).sum();
    slots + values.iter().map(of_sample).sum::<usize>()
}

#[cfg(test)]
mod tests;
