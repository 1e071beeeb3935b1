//! Slots into state. The only thing here that decides is whether the limit was crossed, because
//! that has to be seen in the very slot it happens.
//!
//! A breach takes two things at once: evidence at α' that the canary is above the limit (A1), and
//! evidence at α' that it is worse than stable (B1; where nothing serves as stable A1 stands in).
//! The smaller of two e-processes is one under either null, so a release that keeps its limit, and
//! a release no worse than stable whatever happens to both (shared incident), is undone with
//! probability at most α' (the second claim covers the slots in which stable served).
//!
//! The minimum is taken of the processes and not slot by slot as in G1 of judge.md: a slot with
//! few requests would pay for its good requests in one test and for its bad ones in the other. At
//! one request a second and slots of 5 s that doubled the time to find 5 % against a limit of 1 %
//! (median 69 slots instead of 33), and in slots of 1 s most runs found nothing within 6 minutes.

use std::collections::BTreeMap;

use super::{
    Criterion, Revision, Settings, Slot, State,
    count::{Bounds, Counts, read},
    criterion::{Terms, usable},
    evidence::{self, Trials, WORSE},
    state::{Memory, Suspicion},
};

/// A suspicion whose lanes stand less than this above their rest (nats) speaks for nothing.
const SPEAKS_FOR_NOTHING: f64 = 0.1;

/// Stable pods without a request for so many seconds are nothing to compare the canary with.
const STABLE_IS_IDLE_AFTER: i64 = 60;

/// Adds the slots later than `state.last_slot`.
///
/// All lines of one `t` must come in one call: a `t` once folded is done with, which makes folding
/// the same slots again harmless. The order of lines does not matter; of two lines for the same
/// slot and pod the one with more requests counts. Evidence of criteria that are no longer in
/// `criteria` is dropped; a criterion whose thresholds changed starts afresh.
pub fn fold(criteria: &[Criterion], state: &mut State, slots: &[Slot], settings: &Settings) {
    state.criteria.retain(|name, _| usable(criteria).any(|(criterion, _)| criterion.name == *name));
    for (criterion, terms) in usable(criteria) {
        let measure = criterion.measure.fingerprint();
        let memory = state.criteria.get(&criterion.name);
        if memory.is_none_or(|memory| memory.measure != measure) {
            let memory = Memory::new(measure, terms.target.is_some());
            state.criteria.insert(criterion.name.clone(), memory);
        }
    }
    let thresholds =
        Thresholds { breach: settings.breach_threshold(criteria), above_target: settings.pass_threshold() };
    for (t, lines) in by_start(slots, state.last_slot) {
        state.first_slot.get_or_insert(t);
        state.last_slot = Some(t);
        let canaries = lines.iter().filter(|slot| slot.revision == Revision::Canary);
        state.reported = state.reported.saturating_add(canaries.count() as u64);
        for (criterion, terms) in usable(criteria) {
            if let Some(memory) = state.criteria.get_mut(&criterion.name) {
                fold_slot(memory, &terms, t, &lines, &thresholds);
            }
        }
    }
}

/// As logarithms of evidence.
struct Thresholds {
    breach: f64,
    above_target: f64,
}

/// Each slot's lines in order of revision and pod, one line a pod.
fn by_start(slots: &[Slot], after: Option<i64>) -> BTreeMap<i64, Vec<&Slot>> {
    let mut batch: Vec<&Slot> =
        slots.iter().filter(|slot| after.is_none_or(|after| slot.t > after)).collect();
    batch.sort_by(|a, b| {
        let by_pod = (a.t, a.revision, &a.pod).cmp(&(b.t, b.revision, &b.pod));
        by_pod.then_with(|| (b.requests, b.errors, &b.le).cmp(&(a.requests, a.errors, &a.le)))
    });
    batch.dedup_by(|a, b| (a.t, a.revision, &a.pod) == (b.t, b.revision, &b.pod));
    let mut by_start = BTreeMap::<i64, Vec<&Slot>>::new();
    for slot in batch {
        by_start.entry(slot.t).or_default().push(slot);
    }
    by_start
}

fn fold_slot(memory: &mut Memory, terms: &Terms, t: i64, lines: &[&Slot], thresholds: &Thresholds) {
    if memory.breached_at.is_some() {
        return;
    }
    let of = |revision| lines.iter().copied().filter(move |slot| slot.revision == revision);
    if let (None, Some(slow)) = (memory.bounds, terms.slow) {
        memory.bounds = Bounds::choose(slow, of(Revision::Canary));
    }
    let (canary, unread) = total(of(Revision::Canary), terms, memory.bounds.as_ref());
    let (stable, _) = total(of(Revision::Stable), terms, memory.bounds.as_ref());
    memory.unread = memory.unread.saturating_add(unread);
    memory.canary.add(canary);

    // Bets are placed in slots with canary requests only: counts of requests are given, errors
    // are what is tested, so this choice cannot favour either side.
    let bet = if canary.requests > 0 { memory.schedule.spend() } else { 0.0 };
    let stable = stable.against_limit();
    memory.stable.advance(&evidence::budget(stable, terms.limit, &WORSE), bet, thresholds.breach);
    let stable_is_over = memory.stable.log_evidence(memory.schedule.cash) >= thresholds.breach;
    if stable.requests > 0 {
        memory.stable_served = Some(t);
    }
    // A slot in which stable happened to have no requests says nothing about who is worse; no
    // stable pods, or idle ones, leave nothing to compare with.
    let comparable = of(Revision::Stable).next().is_some()
        && memory.stable_served.is_some_and(|served| t.saturating_sub(served) <= STABLE_IS_IDLE_AFTER);
    if canary.requests == 0 {
        return;
    }

    let trials = canary.against_limit();
    let above = evidence::budget(trials, terms.limit, &WORSE);
    let worse = match evidence::compare(trials, stable, evidence::SAME_AS_STABLE, &WORSE) {
        Some(ratios) => ratios,
        None if comparable => [0.0; evidence::ALTERNATIVES],
        None => above,
    };
    memory.worse.advance(&worse, bet, thresholds.breach);
    // What is seen while stable is over the limit is not held against the canary.
    let above = if stable_is_over { above.map(|ratio| ratio.min(0.0)) } else { above };
    observe(&mut memory.limit, t, trials);
    memory.limit.lanes.advance(&above, bet, thresholds.breach);

    if let (Some(null), Some(suspicion)) = (terms.target, &mut memory.target) {
        let trials = canary.against_target();
        observe(suspicion, t, trials);
        let above = evidence::budget(trials, null, &WORSE);
        suspicion.lanes.advance(&above, bet, thresholds.above_target);
    }
    if !stable_is_over && memory.log_breach_evidence() >= thresholds.breach {
        memory.breached_at = Some(t);
    }
}

/// Sums over pods; the second number is of pods that should have said something and could not.
fn total<'a>(slots: impl Iterator<Item = &'a Slot>, terms: &Terms, bounds: Option<&Bounds>) -> (Counts, u64) {
    let mut sum = Counts::default();
    let mut unread = 0;
    for slot in slots {
        match read(slot, terms, bounds) {
            Some(counts) => sum.add(counts),
            None => unread += 1,
        }
    }
    (sum, unread)
}

/// Counts since something began to speak against the canary: what the evidence is about, and what
/// people are shown. Begins anew while nothing speaks.
fn observe(suspicion: &mut Suspicion, t: i64, trials: Trials) {
    if suspicion.lanes.excess() < SPEAKS_FOR_NOTHING {
        suspicion.since = t;
        suspicion.requests = 0;
        suspicion.bad = 0;
    }
    suspicion.requests = suspicion.requests.saturating_add(trials.requests);
    suspicion.bad = suspicion.bad.saturating_add(trials.bad);
}
