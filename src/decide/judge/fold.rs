//! Slots into state. The only thing here that decides is whether the limit was crossed, because
//! that has to be seen in the very slot it happens.
//!
//! A breach takes two things at once: evidence at α' that the canary is worse than stable (B1 and R1; where nothing serves as stable
//! A1 stands in), and evidence at β that it is above the limit (A1). So a release that is no worse than stable is undone with
//! probability at most α', whatever happens to both (the claim covers the slots in which stable served), and one that is worse than
//! stable but keeps its limit with probability at most β: in `make judge-worlds` with less than 1 %.
//!
//! The two are processes of their own and not gated slot by slot as in G1 of judge.md: there a slot with
//! few requests would pay for its good requests in one test and for its bad ones in the other. At
//! one request a second and slots of 5 s that doubled the time to find 5 % against a limit of 1 %
//! (median 69 slots instead of 33), and in slots of 1 s most runs found nothing within 6 minutes.

use std::collections::BTreeMap;

use super::{
    Criterion, Revision, Settings, Slot, State,
    count::{Bounds, Counts, read},
    criterion::{Slow, Terms, Thresholds, usable},
    evidence::{self, NO_WORSE, Trials, WORSE},
    lanes::Lanes,
    rank,
    split::share_out,
    spread::{BLOCKS, Load},
    state::{Exact, Memory, Rank, Suspicion},
};

/// A suspicion whose lanes stand less than this above their rest (nats) speaks for nothing.
const SPEAKS_FOR_NOTHING: f64 = 0.1;

/// Stable pods without a request for so many seconds are nothing to compare the canary with.
const STABLE_IS_IDLE_AFTER: i64 = 60;

/// The longest that a slot is taken for, in seconds: after a gap the next one is not as long as the gap.
const LONGEST_SLOT: i64 = 60;

/// Of its cash, what the rank test bets anew in each block.
const RANK_BET: f64 = 0.03;
/// Capital that the rank test bets from its start; the rest is cash.
const RANK_FROM_START: f64 = 0.9;

/// Adds the slots later than `state.last_slot`.
///
/// All lines of one `t` must come in one call: a `t` once folded is done with, which makes folding
/// the same slots again harmless. The order of lines does not matter; of two lines for the same
/// slot and pod the one with more requests counts. Evidence of criteria that are no longer in
/// `criteria` is dropped; a criterion whose thresholds changed starts afresh; both keep the chance of a false abort in the run at α
/// (see [`split`](super::split)).
pub fn fold(criteria: &[Criterion], state: &mut State, slots: &[Slot], settings: &Settings) {
    allot(criteria, state);
    for (t, lines) in by_start(slots, state.last_slot) {
        let since_last = state.last_slot.map(|last| t.saturating_sub(last).clamp(1, LONGEST_SLOT));
        let seconds = since_last.map_or_else(|| f64::from(settings.slot_seconds.max(1)), |long| long as f64);
        state.first_slot.get_or_insert(t);
        state.last_slot = Some(t);
        state.measured_until = t.saturating_add(seconds.round() as i64);
        let canaries = lines.iter().filter(|slot| slot.revision == Revision::Canary).count() as u64;
        state.pods = state.pods.max(canaries);
        state.reported.add(t, canaries);
        state.missing.turn(t);
        let measured = (seconds * lines.len() as f64).round() as u64;
        state.pod_seconds = state.pod_seconds.saturating_add(measured);
        let requests = lines.iter().map(|slot| slot.requests).fold(0, u64::saturating_add);
        state.pod_requests = state.pod_requests.saturating_add(requests);
        for (criterion, terms) in usable(criteria) {
            if let Some(memory) = state.criteria.get_mut(&criterion.name) {
                let thresholds = settings.thresholds(memory.share.0);
                fold_slot(memory, &terms, Moment { t, seconds }, &lines, &thresholds);
            }
        }
    }
}

/// Learns from stable pods before the run: how their errors clump, and where their quantiles lie. Nothing of it counts for or
/// against the canary. Slots that were learnt from are not folded any more.
pub fn learn(criteria: &[Criterion], state: &mut State, slots: &[Slot]) {
    allot(criteria, state);
    for (t, lines) in by_start(slots, state.last_slot) {
        state.last_slot = Some(t);
        for (criterion, terms) in usable(criteria) {
            if let Some(memory) = state.criteria.get_mut(&criterion.name) {
                turn(memory, &terms, t, f64::INFINITY);
                see_stable(memory, &terms, &lines);
            }
        }
    }
}

/// Sees to it that there is a memory for each criterion, with its share of α, and none besides.
fn allot(criteria: &[Criterion], state: &mut State) {
    let (mut newcomers, mut shadows) = (Vec::new(), Vec::new());
    let (mut kept, mut dropped) = (BTreeMap::new(), Vec::new());
    let mut before = std::mem::take(&mut state.criteria);
    let is_new = before.is_empty() && state.unspent.is_none();
    let enforced = usable(criteria).filter(|(criterion, _)| !criterion.shadow).count();
    for (criterion, terms) in usable(criteria) {
        let measure = criterion.measure.fingerprint();
        let known = before.remove(&criterion.name);
        match known {
            Some(memory) if memory.measure == measure && memory.shadow == criterion.shadow => {
                kept.extend(memory.stake().map(|stake| (criterion.name.clone(), stake)));
                state.criteria.insert(criterion.name.clone(), memory);
                continue;
            }
            Some(memory) => dropped.extend(memory.stake()),
            None => {}
        }
        let list = if criterion.shadow { &mut shadows } else { &mut newcomers };
        list.push((criterion.name.clone(), measure, terms));
    }
    dropped.extend(before.values().filter_map(Memory::stake));
    if newcomers.is_empty() && shadows.is_empty() && dropped.is_empty() {
        return;
    }
    let unspent = if is_new { 1.0 } else { state.unspent.map_or(0.0, |unspent| unspent.0) };
    let (shares, each, unspent) = share_out(&kept, &dropped, newcomers.len(), unspent);
    state.unspent = (unspent > 0.0).then_some(Exact(unspent));
    for (name, share) in shares {
        if let Some(memory) = state.criteria.get_mut(&name) {
            memory.share = Exact(share);
        }
    }
    for (name, measure, terms) in newcomers {
        state.criteria.insert(name, Memory::new(measure, each, &terms));
    }
    // What it would hold if it were enforced.
    let would = 1.0 / (enforced + 1) as f64;
    for (name, measure, terms) in shadows {
        state.criteria.insert(name, Memory { shadow: true, ..Memory::new(measure, would, &terms) });
    }
}

/// A slot's start and length, in seconds.
#[derive(Clone, Copy)]
struct Moment {
    t: i64,
    seconds: f64,
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

fn of<'a>(lines: &[&'a Slot], revision: Revision) -> impl Iterator<Item = &'a Slot> + Clone {
    lines.iter().copied().filter(move |slot| slot.revision == revision)
}

fn fold_slot(memory: &mut Memory, terms: &Terms, moment: Moment, lines: &[&Slot], thresholds: &Thresholds) {
    if memory.breached_at.is_some() {
        return;
    }
    let Moment { t, seconds } = moment;
    turn(memory, terms, t, thresholds.worse);
    // All that evidence is tempered by comes from before this slot.
    let tempering = memory.spread.tempering(terms.usual_share(), terms.slow.is_some());
    let stable = see_stable(memory, terms, lines);
    choose_bounds(memory, terms, of(lines, Revision::Canary));
    let is_compared = |slot: &&Slot| terms.times_stable.is_none() || !slot.warming;
    let canary = total(of(lines, Revision::Canary).filter(is_compared), terms, memory.bounds.as_ref());
    let left_out = of(lines, Revision::Canary).filter(|slot| !is_compared(slot));
    let left_out = left_out.map(|slot| slot.requests).fold(0, u64::saturating_add);
    memory.warm_up = memory.warm_up.saturating_add(left_out);
    for (pod, counts) in &canary.pods {
        memory.blocks.count_canary(pod, counts.against_limit());
    }
    memory.unread.add(t, canary.unread);
    let (canary_load, stable_load) = (canary.load(seconds), stable.load(seconds));

    // Bets are placed in slots with canary requests only: counts of requests are given, errors
    // are what is tested, so this choice cannot favour either side.
    let has_requests = canary.counts.requests > 0;
    let bet = if has_requests { memory.schedule.spend() } else { 0.0 };
    let stable_trials = stable.counts.against_limit();
    let mut stable_is_over = false;
    if let (Some(limit), None) = (terms.limit, terms.times_stable) {
        let over = evidence::budget(stable_trials, limit, &WORSE);
        let spread = tempering.of_budget_alone(stable_load, limit);
        // What speaks for stable counts in full: an incident that has passed is to be over soon.
        let over = over.map(|log| if log > 0.0 { log / spread } else { log });
        memory.stable.advance(&over, bet, thresholds.worse);
        // It only makes the run stand still: evidence at β is enough.
        stable_is_over = memory.stable.log_evidence(memory.schedule.cash) >= thresholds.above;
    }
    if stable_trials.requests > 0 {
        memory.stable_served = Some(t);
    }
    count_canary(memory, stable_is_over, canary.counts);
    if !has_requests {
        return;
    }

    let trials = canary.counts.against_limit();
    let (same, ratios) = terms.comparison();
    let by_counts = evidence::compare(trials, stable_trials, same, &ratios);
    let compared_by = tempering.of_compare(canary_load, stable_load);
    let plain = terms.limit.map(|limit| (limit, evidence::budget(trials, limit, &WORSE)));
    let above = plain.map(|(limit, logs)| {
        let spread = tempering.of_budget(canary_load, limit);
        memory.tempered = Exact::thousandths(spread);
        evidence::temper(logs, spread)
    });
    // A slot in which stable happened to have no requests says nothing about who is worse; no
    // stable pods, or idle ones, leave nothing to compare with: then a fixed limit stands alone.
    let comparable = of(lines, Revision::Stable).next().is_some()
        && memory.stable_served.is_some_and(|served| t.saturating_sub(served) <= STABLE_IS_IDLE_AFTER);
    let worse = match (by_counts, plain) {
        (Some(logs), _) => evidence::temper(logs, compared_by),
        (None, Some((limit, logs))) if terms.times_stable.is_none() && !comparable => {
            evidence::temper(logs, tempering.of_budget_alone(canary_load, limit))
        }
        (None, Some(_) | None) => [0.0; evidence::ALTERNATIVES],
    };
    memory.worse.advance(&worse, bet, thresholds.worse);
    if let Some(no_worse) = &mut memory.no_worse {
        let passing = evidence::compare(canary.counts.for_pass(), stable_trials, terms.too_much(), &NO_WORSE);
        let passing = evidence::temper(passing.unwrap_or_default(), compared_by);
        for (sum, log) in no_worse.0.iter_mut().zip(passing) {
            *sum = ((*sum + log) * 1e8).floor() / 1e8;
        }
        memory.tempered = Exact::thousandths(compared_by);
    }
    let excess = if terms.limit.is_some() { memory.limit.lanes.excess() } else { memory.worse.excess() };
    observe(&mut memory.limit, excess, t, trials);
    if let Some(above) = above {
        // What is seen while stable is over the limit is not held against the canary.
        let above = if stable_is_over { above.map(|ratio| ratio.min(0.0)) } else { above };
        memory.limit.lanes.advance(&above, bet, thresholds.worse);
    }

    if let (Some(null), Some(suspicion)) = (terms.target, &mut memory.target) {
        let trials = canary.counts.against_target();
        let excess = suspicion.lanes.excess();
        observe(suspicion, excess, t, trials);
        let above = evidence::budget(trials, null, &WORSE);
        let above = evidence::temper(above, tempering.of_budget(canary_load, null));
        suspicion.lanes.advance(&above, bet, thresholds.above);
    }
    // A block that ends with this slot speaks in it.
    let end = t.saturating_add(seconds.round() as i64);
    turn(memory, terms, end, thresholds.worse);
    if !stable_is_over && memory.is_breached(terms, thresholds) {
        memory.breached_at = Some(end);
    }
}

/// What happens while stable is over the limit says nothing of the canary, neither way; nor does what happened since that began.
fn count_canary(memory: &mut Memory, stable_is_over: bool, counts: Counts) {
    if memory.stable.excess() < SPEAKS_FOR_NOTHING {
        memory.canary_before = None;
    } else {
        let before = *memory.canary_before.get_or_insert(memory.canary);
        if stable_is_over {
            memory.canary = before;
            return;
        }
    }
    memory.canary.add(counts);
}

/// Blocks that are over: the noise is learnt, and canary pods are ranked.
fn turn(memory: &mut Memory, terms: &Terms, t: i64, threshold: f64) {
    for ended in memory.blocks.turn(t) {
        memory.spread.learn(&ended);
        let until = ended.begin.saturating_add(BLOCKS[ended.length]);
        let (no_worse, _) = terms.comparison();
        let Some(logs) = rank::block(&ended.canary, &ended.stable, no_worse) else { continue };
        let Some(rank) = &mut memory.rank else {
            // What the counts of this block are worth is in the stake: to rank it as well would bet on the same requests twice.
            let stake = memory.worse.log_evidence(memory.schedule.cash);
            let lanes = Lanes::betting(RANK_FROM_START, rank::SPREAD);
            memory.rank = Some(Rank { lanes, cash: 1.0 - RANK_FROM_START, stake, until });
            continue;
        };
        if ended.length != memory.spread.ranked() || ended.begin < rank.until {
            continue;
        }
        rank.until = until;
        let bet = rank.cash * RANK_BET;
        rank.cash -= bet;
        rank.lanes.advance(&logs, bet, threshold);
    }
}

/// What stable pods counted, remembered for what it says of their noise.
fn see_stable<'a>(memory: &mut Memory, terms: &Terms, lines: &[&'a Slot]) -> Total<'a> {
    if let Some(Slow::ThanStable { .. }) = terms.slow
        && memory.bounds.is_none()
    {
        for slot in of(lines, Revision::Stable) {
            for (bound, count) in &slot.le {
                let sum = memory.usual.entry(*bound).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
    }
    choose_bounds(memory, terms, of(lines, Revision::Stable));
    let stable = total(of(lines, Revision::Stable), terms, memory.bounds.as_ref());
    for (pod, counts) in &stable.pods {
        memory.blocks.count_stable(pod, counts.against_limit());
    }
    memory.spread.see(stable.counts.against_limit());
    stable
}

/// Bucket bounds are chosen at the first histogram, and once more should the canary have others.
fn choose_bounds<'a>(memory: &mut Memory, terms: &Terms, slots: impl Iterator<Item = &'a Slot> + Clone) {
    let Some(slow) = terms.slow else { return };
    if let Some(bounds) = &memory.bounds {
        let fits = slots.clone().all(|slot| slot.le.is_empty() || read(slot, terms, Some(bounds)).is_some());
        if fits || memory.canary.requests > 0 {
            return;
        }
    }
    if let Some(chosen) = Bounds::choose(slow, slots, &memory.usual) {
        // What was learnt at other bounds is about other requests.
        if memory.bounds.is_some_and(|bounds| bounds != chosen) {
            memory.spread = Default::default();
            memory.blocks = Default::default();
        }
        memory.bounds = Some(chosen);
        memory.usual.clear();
    }
}

/// What the pods of a revision counted in a slot.
#[derive(Default)]
struct Total<'a> {
    counts: Counts,
    pods: Vec<(&'a str, Counts)>,
    /// Pods that should have said something and could not.
    unread: u64,
}

impl Total<'_> {
    fn load(&self, seconds: f64) -> Load {
        let pods = self.pods.iter().filter(|(_, counts)| counts.requests > 0).count().max(1);
        Load { rate: self.counts.requests as f64 / seconds, pods: pods as f64 }
    }
}

fn total<'a>(slots: impl Iterator<Item = &'a Slot>, terms: &Terms, bounds: Option<&Bounds>) -> Total<'a> {
    let mut total = Total::default();
    for slot in slots {
        match read(slot, terms, bounds) {
            Some(counts) => {
                total.counts.add(counts);
                total.pods.push((&slot.pod, counts));
            }
            None => total.unread += 1,
        }
    }
    total
}

/// Counts since something began to speak against the canary: what the evidence is about, and what
/// people are shown. Begins anew while nothing speaks: `excess` is how far the evidence stands above its rest.
fn observe(suspicion: &mut Suspicion, excess: f64, t: i64, trials: Trials) {
    if excess < SPEAKS_FOR_NOTHING {
        suspicion.since = t;
        suspicion.requests = 0;
        suspicion.bad = 0;
    }
    suspicion.requests = suspicion.requests.saturating_add(trials.requests);
    suspicion.bad = suspicion.bad.saturating_add(trials.bad);
}
