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
use crate::decide::refusal::{DoneWithout, Missed};
use crate::decide::snapshot::{
    Gathered, JobOutput, Measured, Placed, Pod, ProbeAnswer, ProbeId, ReleaseFacts, WayBack,
};
use crate::decide::values::{self, Sample};
use crate::observe::Findings;
use crate::observe::measure::counters::Taken;

/// Slots kept for one run; the oldest go first.
const MOST_SLOTS: usize = 50_000;

/// Samples kept for one run; the oldest go first.
const MOST_SAMPLES: usize = 5_000;

/// Where counts come from, for people.
pub struct Origin {
    /// Which series are read.
    pub source: String,
    /// How they are asked for.
    pub query: String,
}
/// Jobs of one run whose words are kept; the oldest go first, which status has by then.
const MOST_OUTPUTS: usize = 64;

/// Wall time that went by, or back, without so much time having passed is no time in which anybody looked.
const JUMP: SignedDuration = SignedDuration::from_secs(2);

/// Findings of all runs.
pub struct SharedFindings {
    clock: Clock,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    all: HashMap<Key, Findings>,
    /// What the clock told last, and when that was.
    told: Option<(Timestamp, Instant)>,
}

impl SharedFindings {
    pub fn new(clock: Clock) -> Self {
        Self { clock, known: Mutex::default() }
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
        self.lock().all.clear();
    }

    /// A round of measuring.
    pub fn add_round(&self, key: &Key, at: i64, taken: Taken, origin: Origin, why_not: Option<String>) {
        let all = &mut self.lock().all;
        let Measured { slots, history: _, missing, values: _, source, query, trouble } =
            &mut all.entry(key.clone()).or_default().measured;
        slots.extend(taken.slots);
        let excess = slots.len().saturating_sub(MOST_SLOTS);
        slots.drain(..excess);
        let canary = taken.missing.iter().filter(|(revision, _)| *revision == Revision::Canary).count();
        if canary > 0 {
            missing.push((at, u32::try_from(canary).unwrap_or(u32::MAX)));
            let excess = missing.len().saturating_sub(MOST_SLOTS);
            missing.drain(..excess);
        }
        Origin { source: *source, query: *query } = origin;
        *trouble = why_not;
    }

    /// What stable pods did before the run.
    pub fn add_history(&self, key: &Key, mut slots: Vec<Slot>) {
        slots.truncate(MOST_SLOTS);
        self.lock().all.entry(key.clone()).or_default().measured.history = Arc::new(slots);
    }

    /// Readings of criteria that do not count requests.
    pub fn add_samples(&self, key: &Key, samples: Vec<Sample>) {
        let all = &mut self.lock().all;
        let values = &mut all.entry(key.clone()).or_default().measured.values;
        values.extend(samples);
        let excess = values.len().saturating_sub(MOST_SAMPLES);
        values.drain(..excess);
    }

    /// An answer to a check.
    pub fn add_answer(&self, key: &Key, id: ProbeId, answer: ProbeAnswer) {
        let all = &mut self.lock().all;
        let probes: &mut BTreeMap<_, _> = &mut all.entry(key.clone()).or_default().probes;
        probes.retain(|known, _| known.run == id.run);
        probes.insert(id, answer);
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

    /// How a write fared that is done without where it is refused. Whether that is news.
    pub fn see_missed(&self, key: &Key, what: DoneWithout, missed: Option<Missed>) -> bool {
        let all = &mut self.lock().all;
        match missed {
            Some(missed) => {
                let known = &mut all.entry(key.clone()).or_default().missed;
                let before = known.insert(what, missed.clone());
                before.is_none_or(|before| before.refusal.reason() != missed.refusal.reason())
            }
            None => all.get_mut(key).is_some_and(|found| found.missed.remove(&what).is_some()),
        }
    }

    /// Forgets what status has counted in, and when there is no run everything but that marks are refused.
    pub fn prune(&self, key: &Key, release: Option<&ReleaseFacts>) {
        let run = release.and_then(|release| release.status.run.as_ref());
        let mut known = self.lock();
        let now = known.told.map_or(Timestamp::MAX, |(now, _)| now);
        let all = &mut known.all;
        let Some(run) = run else {
            let marks = all.remove(key).and_then(|mut found| found.missed.remove_entry(&DoneWithout::Marks));
            if let Some(marks) = marks.filter(|_| release.is_some()) {
                all.entry(key.clone()).or_default().missed.extend([marks]);
            }
            return;
        };
        let Some(found) = all.get_mut(key) else { return };
        // What was measured since the look began is not ahead.
        let now = now.as_second();
        if let Some(state) = run.values.read::<values::State>() {
            found.measured.values.retain(|sample| state.lacks(sample, now));
        }
        let Some(state) = run.judged().read::<State>() else { return };
        if state.last_slot.is_some() {
            found.measured.history = Arc::default();
        }
        found.measured.slots.retain(|slot| state.lacks(slot.t, now));
        found.measured.missing.retain(|(t, _)| state.lacks_missing(*t, now));
    }

    /// Whoever comes first after the clock was set notices it.
    fn lock(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.see_time(self.clock.now(), clock::instant());
        known
    }
}

impl Known {
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
                let Measured { slots, missing, values, .. } = &mut found.measured;
                slots.clear();
                missing.clear();
                values.clear();
                found.probes.values_mut().for_each(|answer| answer.at = answer.at.min(now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_the_clock_was_set_everybody_begins_to_look_anew() {
        let off = Arc::new(AtomicI64::new(0));
        let (start, by) = (clock::instant(), off.clone());
        let machine = Clock::new(move || {
            let passed = i64::try_from((clock::instant() - start).as_secs()).unwrap();
            Timestamp::from_second(1_800_000_000 + passed + by.load(Ordering::Relaxed)).unwrap()
        });
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let findings = SharedFindings::new(machine.clone());
        let round = |at: i64| {
            let slot = Slot {
                t: at,
                revision: Revision::Canary,
                pod: "a".into(),
                requests: 1,
                errors: 0,
                le: BTreeMap::new(),
                warming: false,
            };
            let origin = Origin { source: String::new(), query: String::new() };
            findings.add_round(&key, at, Taken { slots: vec![slot], missing: Vec::new() }, origin, None);
        };
        let looks = || {
            let found = findings.of(&key, machine.now());
            (found.looking_since.unwrap(), found.measured.slots.len())
        };
        let begun = machine.now();
        assert_eq!(looks(), (begun, 0));
        tokio::time::sleep(Duration::from_secs(100)).await;
        round(machine.now().as_second());
        assert_eq!(looks(), (begun, 1), "time that passes is no jump");

        off.store(3600, Ordering::Relaxed);
        let set = machine.now();
        assert_eq!(looks(), (set, 1));

        // What was measured before it was set back would be counted when that time comes again.
        off.store(0, Ordering::Relaxed);
        let set = machine.now();
        round(set.as_second());
        assert_eq!(looks(), (set, 1));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(looks(), (set, 1));
    }
}
