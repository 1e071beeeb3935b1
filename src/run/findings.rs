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
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::decide::judge::Bound;
    use crate::decide::refusal::Why;
    use crate::decide::snapshot::ProbeResult;

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
                untold: 0,
                le: BTreeMap::new(),
                warming: false,
            };
            let origin = origin("");
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

    #[test]
    fn how_it_went_to_mark_an_action_is_known_for_as_long_as_status_knows_it() {
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let clock = Clock::machine();
        let findings = SharedFindings::new(clock.clone());
        let marks = |action: &str, refused: Option<&str>| {
            let refusal = refused.map(|why| Refusal { what: action.into(), why: Why::Words(why.into()) });
            let what = DoneWithout::Mark(action.into());
            findings.see_done_without(&key, &what, refusal.as_ref(), clock.now())
        };
        let known = || {
            let found = findings.of(&key, clock.now());
            let missed = found.missed.into_keys().map(|what| format!("{what:?}")).collect::<Vec<_>>();
            (missed.join(" "), found.marked.into_keys().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(marks("a", Some("no")), News::ForPeople);
        assert_eq!(marks("a", Some("not again")), News::Nothing);
        assert_eq!(marks("b", Some("no")), News::ForStatus);
        assert_eq!(marks("c", None), News::Nothing);
        assert_eq!(
            known(),
            (r#"Mark("a") Mark("b")"#.into(), "c".into()),
            "one that goes out takes none away"
        );
        assert_eq!(marks("b", None), News::ForStatus);
        assert_eq!(known(), (r#"Mark("a")"#.into(), "b c".into()));

        let prune = |handled: &[&str]| {
            let entry = |uid: &&str| json!({"uid": uid, "action": "Pause", "done": true, "message": "standing still"});
            let handled: Vec<_> = handled.iter().map(entry).collect();
            findings.prune(&key, Some(&release(json!({"handled": handled}))));
        };
        prune(&["a", "b"]);
        assert_eq!(known(), (r#"Mark("a")"#.into(), "b".into()), "there is no run");
        prune(&[]);
        assert_eq!(known(), (String::new(), String::new()));
        marks("a", Some("no"));
        findings.prune(&key, None);
        assert_eq!(known(), (String::new(), String::new()), "there is no Release");
    }

    #[test]
    fn an_answer_to_one_run_takes_none_of_anothers_away_and_those_to_runs_that_are_over_go() {
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let clock = Clock::machine();
        let findings = SharedFindings::new(clock.clone());
        let answered = |run: &str| {
            let id = ProbeId { run: run.into(), check: "smoke".into(), attempt: 1, definition: None };
            let (result, message) = (ProbeResult::Passed, String::new());
            findings.add_answer(&key, id, ProbeAnswer { at: clock.now(), result, message });
        };
        let known = || {
            let found = findings.of(&key, clock.now());
            found.probes.into_keys().map(|id| id.run).collect::<Vec<_>>()
        };
        answered("r2");
        answered("r1");
        assert_eq!(known(), ["r1", "r2"]);
        let run = json!({"id": "r2", "number": 2, "startedAt": "2027-01-15T08:00:00Z", "originals": {}, "stage": "Preflight"});
        findings.prune(&key, Some(&release(json!({"run": run}))));
        assert_eq!(known(), ["r2"]);
    }

    /// One of which nothing but status is asked.
    fn release(status: Value) -> ReleaseFacts {
        ReleaseFacts {
            uid: "shop".into(),
            generation: 1,
            resource_version: "1".into(),
            spec: Err("nobody asks for it".into()),
            meaning: Arc::default(),
            status: Arc::new(serde_json::from_value(status).expect("a status")),
            withheld: None,
        }
    }

    fn origin(definition: &str) -> Origin {
        Origin { definition: definition.to_owned(), source: String::new(), query: String::new() }
    }

    #[test]
    fn what_was_counted_with_another_definition_is_not_kept_beside_what_is_counted_now() {
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let clock = Clock::machine();
        let findings = SharedFindings::new(clock.clone());
        let round = |at: i64, definition: &str| {
            let missing = vec![(Revision::Canary, "b".to_owned())];
            let taken = Taken { slots: vec![slot(at, 1)], missing };
            findings.add_round(&key, at, taken, origin(definition), None);
            let Measured { definition, slots, missing, .. } = findings.of(&key, clock.now()).measured;
            let slots: Vec<i64> = slots.iter().map(|slot| slot.t).collect();
            (definition, slots, missing)
        };
        assert_eq!(round(1, "calls"), ("calls".into(), vec![1], vec![(1, 1)]));
        assert_eq!(round(2, "calls"), ("calls".into(), vec![1, 2], vec![(1, 1), (2, 1)]));
        assert_eq!(round(3, "requests"), ("requests".into(), vec![3], vec![(3, 1)]));
    }

    #[test]
    fn what_stable_pods_did_before_the_run_is_kept_while_it_is_of_what_is_counted() {
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let clock = Clock::machine();
        let findings = SharedFindings::new(clock.clone());
        let round = |at: i64, definition: &str| {
            let taken = Taken { slots: Vec::new(), missing: Vec::new() };
            findings.add_round(&key, at, taken, origin(definition), None);
            findings.of(&key, clock.now()).measured.history.len()
        };
        // Nothing of that name is found, so its author writes another one.
        assert_eq!(round(1, "calls"), 0);
        assert!(findings.add_history(&key, "requests", vec![slot(0, 1)]));
        let Measured { definition, .. } = findings.of(&key, clock.now()).measured;
        assert_eq!(definition, "requests", "nobody takes it for the other's");
        assert_eq!(round(2, "requests"), 1);
        assert_eq!(round(3, "calls"), 0);
    }

    /// A slot of some pod with so many bounds.
    fn slot(t: i64, bounds: u32) -> Slot {
        let le = (0..bounds).map(|bound| (Bound::new(f64::from(bound)).unwrap(), 1)).collect();
        Slot {
            t,
            revision: Revision::Stable,
            pod: "a".into(),
            requests: 1,
            errors: 0,
            untold: 0,
            le,
            warming: false,
        }
    }

    #[test]
    fn what_canary_pods_reported_and_there_was_no_room_for_is_missing_and_that_is_said() {
        let key = Key { namespace: "shop".into(), name: "shop".into() };
        let one = size_of::<Slot>() + 1 + 100 * AT_BOUND;
        let clock = Clock::machine();
        let findings = SharedFindings { room: Room::of(40 * one), ..SharedFindings::new(clock.clone()) };
        let round = |at: i64, missing: Vec<(Revision, String)>, why_not: Option<&str>| {
            let origin = Origin { definition: String::new(), source: String::new(), query: String::new() };
            let slot = Slot { revision: Revision::Canary, ..slot(at, 100) };
            let taken = Taken { slots: vec![slot], missing };
            findings.add_round(&key, at, taken, origin, why_not.map(str::to_owned));
            findings.of(&key, clock.now()).measured
        };
        for at in 1..20 {
            round(at, Vec::new(), None);
        }
        // As much as a namespace may have: what it leaves to all others.
        let full = round(20, vec![(Revision::Canary, "b".into())], None);
        assert_eq!((full.slots.len(), full.missing.as_slice()), (20, [(20, 1)].as_slice()));
        assert_eq!(full.trouble, None);
        let over = round(21, Vec::new(), Some("pod b is silent"));
        assert_eq!(over.slots.len(), 10);
        let dropped: Vec<(i64, u32)> = (2..=12).map(|at| (at, 1)).chain([(20, 1)]).collect();
        assert_eq!(over.missing, dropped, "in their order: none is noted after a later one");
        assert_eq!(over.trouble, Some(format!("pod b is silent; {NO_ROOM}")));
        let after = round(22, Vec::new(), None);
        assert_eq!((after.slots.len(), after.trouble), (11, None), "it is of this round");
    }

    #[test]
    fn what_is_measured_and_never_counted_in_takes_no_more_than_its_namespaces_share() {
        let key = |namespace: &str| Key { namespace: namespace.into(), name: "shop".into() };
        let one = size_of::<Slot>() + 1 + 100 * AT_BOUND;
        let clock = Clock::machine();
        let findings = SharedFindings { room: Room::of(40 * one), ..SharedFindings::new(clock.clone()) };
        let round = |namespace: &str, at: i64| {
            let origin = origin("");
            let taken = Taken { slots: vec![slot(at, 100)], missing: Vec::new() };
            findings.add_round(&key(namespace), at, taken, origin, None);
        };
        let measured = |namespace: &str| findings.of(&key(namespace), clock.now()).measured;
        assert!(!findings.add_history(&key("noisy"), "", vec![slot(0, 100); 21]));
        assert!(measured("noisy").history.is_empty(), "there is no room for it");
        assert!(findings.add_history(&key("noisy"), "", vec![slot(0, 100); 10]));
        for at in 1..=10 {
            round("noisy", at);
        }
        assert_eq!((measured("noisy").history.len(), measured("noisy").slots.len()), (10, 10));
        round("noisy", 11);
        assert_eq!((measured("noisy").history.len(), measured("noisy").slots.len()), (0, 11));
        for at in 12..=100 {
            round("noisy", at);
        }
        let kept: Vec<i64> = measured("noisy").slots.iter().map(|slot| slot.t).collect();
        assert!((10..=20).contains(&kept.len()) && kept.ends_with(&[98, 99, 100]), "{kept:?}");

        // Others have theirs all the same, and all is free again when nothing is kept.
        round("shop", 1);
        assert_eq!(measured("shop").slots.len(), 1);
        findings.prune(&key("noisy"), None);
        findings.prune(&key("shop"), None);
        assert_eq!(findings.room.taken(), 0);
    }
}
