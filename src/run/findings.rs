//! What was measured and answered, in memory, until status has counted it in.
//!
//! A restart, and another leader in between, lose it: counters are then taken up anew, and questions asked again. Nothing rests on it alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::decide::Key;
use crate::decide::judge::{Revision, Slot, State};
use crate::decide::refusal::{DoneWithout, Missed};
use crate::decide::snapshot::{
    Gathered, JobOutput, Measured, Placed, ProbeAnswer, ProbeId, ReleaseFacts, WayBack,
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

/// Findings of all runs.
#[derive(Default)]
pub struct SharedFindings(Mutex<HashMap<Key, Findings>>);

impl SharedFindings {
    /// What was found about one Release, which is looked at now.
    pub fn of(&self, key: &Key, now: Timestamp) -> Findings {
        let mut all = self.lock();
        let found = all.entry(key.clone()).or_default();
        found.looking_since.get_or_insert(now);
        found.clone()
    }

    /// Forgets everything: another process leads.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// A round of measuring.
    pub fn add_round(&self, key: &Key, at: i64, taken: Taken, origin: Origin, why_not: Option<String>) {
        let mut all = self.lock();
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
        self.lock().entry(key.clone()).or_default().measured.history = Arc::new(slots);
    }

    /// Readings of criteria that do not count requests.
    pub fn add_samples(&self, key: &Key, samples: Vec<Sample>) {
        let mut all = self.lock();
        let values = &mut all.entry(key.clone()).or_default().measured.values;
        values.extend(samples);
        let excess = values.len().saturating_sub(MOST_SAMPLES);
        values.drain(..excess);
    }

    /// An answer to a check.
    pub fn add_answer(&self, key: &Key, id: ProbeId, answer: ProbeAnswer) {
        let mut all = self.lock();
        let probes: &mut BTreeMap<_, _> = &mut all.entry(key.clone()).or_default().probes;
        probes.retain(|known, _| known.run == id.run);
        probes.insert(id, answer);
    }

    /// What a Job said.
    pub fn add_output(&self, key: &Key, job: String, output: JobOutput) {
        let mut all = self.lock();
        let outputs = &mut all.entry(key.clone()).or_default().outputs;
        outputs.insert(job, output);
        if outputs.len() > MOST_OUTPUTS {
            let oldest = outputs.iter().min_by_key(|(_, output)| output.at).map(|(job, _)| job.clone());
            oldest.map(|job| outputs.remove(&job));
        }
    }

    /// Where new pods are.
    pub fn add_placed(&self, key: &Key, placed: Placed) {
        self.lock().entry(key.clone()).or_default().placed = Some(Arc::new(placed));
    }

    /// What was read of pods before they went.
    pub fn add_gathered(&self, key: &Key, gathered: Gathered) {
        self.lock().entry(key.clone()).or_default().gathered = Some(gathered);
    }

    /// Why it goes back and how far that has come, as it was decided just now.
    pub fn see_way_back(&self, key: &Key, seen: Option<WayBack>) {
        if let Some(found) = self.lock().get_mut(key) {
            found.way_back = seen;
        }
    }

    /// How a write fared that is done without where it is refused. Whether that is news.
    pub fn see_missed(&self, key: &Key, what: DoneWithout, missed: Option<Missed>) -> bool {
        let mut all = self.lock();
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
        let mut all = self.lock();
        let Some(run) = run else {
            let marks = all.remove(key).and_then(|mut found| found.missed.remove_entry(&DoneWithout::Marks));
            if let Some(marks) = marks.filter(|_| release.is_some()) {
                all.entry(key.clone()).or_default().missed.extend([marks]);
            }
            return;
        };
        let Some(found) = all.get_mut(key) else { return };
        if let Some(state) = run.values.read::<values::State>() {
            found.measured.values.retain(|sample| state.lacks(sample));
        }
        let Some(state) = run.judged().read::<State>() else { return };
        if let Some(last) = state.last_slot {
            found.measured.slots.retain(|slot| slot.t > last);
            found.measured.history = Arc::default();
        }
        if let Some(noted) = state.missing_noted {
            found.measured.missing.retain(|(t, _)| *t > noted);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Findings>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
