//! What must hold of the formulas whatever the counts: by exact sums over all outcomes where they are few, by chance otherwise.

use proptest::prelude::*;
use tidegate::cli::judge::replay;
use tidegate::decide::judge::evidence::{
    BETTER, NO_WORSE, Trials, WORSE, budget, compare, no_worse_than, temper, worse_than,
};
use tidegate::decide::judge::lanes::Lanes;
use tidegate::decide::judge::{
    Criterion, Evidence, Measure, Revision, Settings, Slot, State, Verdict, fold, judge, learn, note_missing,
    rank,
};

use super::{Dice, canary, errors, latency, slot, stable, with_le};

/// The chance of so many bad ones.
fn chance(trials: Trials, rate: f64) -> f64 {
    let (n, x) = (trials.requests, trials.bad);
    let ways: f64 = (0..x).map(|i| (n - i) as f64 / (i + 1) as f64).product();
    ways * rate.powi(i32::try_from(x).unwrap()) * (1.0 - rate).powi(i32::try_from(n - x).unwrap())
}

fn outcomes(requests: u64) -> impl Iterator<Item = Trials> + Clone {
    (0..=requests).map(move |bad| Trials::new(requests, bad))
}

/// Outcomes of so many pods of so many requests each, with their chance.
fn of_pods(pods: usize, requests: u64, rate: f64) -> Vec<(f64, Vec<Trials>)> {
    let mut all = vec![(1.0, Vec::new())];
    for _ in 0..pods {
        let next = |(before, seen): &(f64, Vec<Trials>)| {
            let (before, seen) = (*before, seen.clone());
            outcomes(requests)
                .map(move |trials| (before * chance(trials, rate), [seen.clone(), vec![trials]].concat()))
        };
        all = all.iter().flat_map(next).collect();
    }
    all
}

/// Largest mean of e^ℓ_k over the alternatives.
fn largest_mean<const K: usize>(outcomes: impl Iterator<Item = (f64, [f64; K])>) -> f64 {
    let mut means = [0.0; K];
    for (chance, logs) in outcomes {
        for (mean, log) in means.iter_mut().zip(logs) {
            *mean += chance * log.exp();
        }
    }
    means.into_iter().fold(0.0, f64::max)
}

const SURE: f64 = 1.0 + 1e-12;

#[test]
fn e_is_at_most_one_on_average_by_exact_summation_for_the_budget_at_or_below_the_limit() {
    for requests in [1, 2, 5, 12] {
        for limit in [0.001_f64, 0.01, 0.05, 0.3] {
            for rate in [0.0, 0.3 * limit, limit] {
                let of = |trials| (chance(trials, rate), budget(trials, limit, &WORSE));
                let mean = largest_mean(outcomes(requests).map(of));
                assert!(mean <= SURE, "{requests} requests at {rate} against {limit}: {mean}");
            }
        }
    }
}

#[test]
fn e_is_at_most_one_on_average_by_exact_summation_for_the_pass_side_at_or_above_the_limit() {
    for requests in [1, 2, 5, 12] {
        for limit in [0.001_f64, 0.01, 0.05, 0.3] {
            for rate in [limit, (2.0 * limit).min(0.9), 1.0] {
                let of = |trials| (chance(trials, rate), budget(trials, limit, &BETTER));
                let mean = largest_mean(outcomes(requests).map(of));
                assert!(mean <= SURE, "{requests} requests at {rate} against {limit}: {mean}");
            }
        }
    }
}

#[test]
fn e_is_at_most_one_on_average_by_exact_summation_for_the_comparison_also_when_tempered() {
    for (canary, stable) in [(1, 1), (2, 9), (5, 5), (6, 2)] {
        for usual in [0.01_f64, 0.2, 0.6] {
            for worse in [1.5, 3.0] {
                let same = no_worse_than(worse);
                let rate = (usual * same).min(1.0);
                for spread in [1.0, 2.5, 40.0] {
                    let pairs = outcomes(canary).flat_map(|c| outcomes(stable).map(move |s| (c, s)));
                    let of = |(c, s): (Trials, Trials)| {
                        let logs = compare(c, s, same, &worse_than(worse)).unwrap();
                        (chance(c, rate) * chance(s, usual), temper(logs, spread))
                    };
                    let mean = largest_mean(pairs.map(of));
                    assert!(mean <= SURE, "{canary}/{stable} at {usual}, {spread}: {mean}");
                }
            }
        }
    }
}

#[test]
fn e_is_at_most_one_on_average_by_exact_summation_for_the_pass_side_of_the_comparison() {
    for (canary, stable) in [(1, 1), (2, 9), (5, 5), (6, 2)] {
        for usual in [0.01_f64, 0.2, 0.4] {
            for worse in [1.0, 1.5, 2.0] {
                for rate in [worse * usual, (1.5 * worse * usual).min(1.0)] {
                    let pairs = outcomes(canary).flat_map(|c| outcomes(stable).map(move |s| (c, s)));
                    let of = |(c, s): (Trials, Trials)| {
                        let logs = compare(c, s, worse, &NO_WORSE).unwrap();
                        (chance(c, rate) * chance(s, usual), logs)
                    };
                    let mean = largest_mean(pairs.map(of));
                    assert!(mean <= SURE, "{canary}/{stable} at {usual}, {rate}: {mean}");
                }
            }
        }
    }
}

#[test]
fn e_is_at_most_one_on_average_by_exact_summation_for_the_rank_however_ties_fall() {
    for (canaries, stables, requests) in [(1, 1, 4), (1, 3, 3), (2, 2, 2), (1, 4, 1)] {
        for rate in [0.02, 0.3, 0.9] {
            for no_worse in [1.0, 1.2] {
                let pods = of_pods(canaries + stables, requests, rate).into_iter();
                let of = |(chance, pods): (f64, Vec<Trials>)| {
                    (chance, rank::block(&pods[..canaries], &pods[canaries..], no_worse).unwrap())
                };
                let mean = largest_mean(pods.map(of));
                assert!(mean <= SURE, "{canaries} among {stables} at {rate}: {mean}");
            }
        }
    }
}

/// The mean over all outcomes of what is left after so many slots, with bets placed anew in each.
fn mean_of_lanes(lanes: &Lanes, cash: f64, slots: u32, requests: u64, rate: f64) -> f64 {
    if slots == 0 {
        return lanes.log_evidence(cash).exp();
    }
    let bet = cash * 0.1;
    outcomes(requests)
        .map(|trials| {
            let mut next = *lanes;
            next.advance(&budget(trials, rate, &WORSE), bet, 100_f64.ln());
            chance(trials, rate) * mean_of_lanes(&next, cash - bet, slots - 1, requests, rate)
        })
        .sum()
}

#[test]
fn e_is_at_most_one_on_average_by_exact_summation_over_slots_with_lanes_and_their_cap() {
    for rate in [0.01, 0.2] {
        let mean = mean_of_lanes(&Lanes::default(), 0.35, 5, 3, rate);
        assert!(mean <= SURE, "{rate}: {mean}");
    }
}

/// The mean over all outcomes of both tests of a criterion after so many slots: that the canary is worse than stable, and that it is
/// above its limit, with all that they are made of (bets, caps, tempering, slots that clump a block).
fn mean_of_all(state: &State, t: i64, slots: i64, requests: u64, rate: f64) -> (f64, f64) {
    let criteria = [errors(0.2, 0.2)];
    if t == slots {
        let account = state.criteria["errors"].account(&Settings::default());
        return (account.worse.log_e.exp(), account.above_limit.unwrap().log_e.exp());
    }
    let (mut worse, mut above) = (0.0, 0.0);
    for c in outcomes(requests) {
        for s in outcomes(requests) {
            let mut next = state.clone();
            // Half a minute a slot: blocks end on the way.
            let lines = [canary(t * 30, c.requests, c.bad), stable(t * 30, s.requests, s.bad)];
            fold(&criteria, &mut next, &lines, &Settings { slot_seconds: 30, ..Settings::default() });
            let after = mean_of_all(&next, t + 1, slots, requests, rate);
            let chance = chance(c, rate) * chance(s, rate);
            worse += chance * after.0;
            above += chance * after.1;
        }
    }
    (worse, above)
}

#[test]
fn e_is_at_most_one_on_average_by_exact_summation_for_all_that_a_criterion_is_made_of() {
    for (slots, requests) in [(4, 2), (6, 1)] {
        for rate in [0.05, 0.2, 0.6] {
            let (worse, above) = mean_of_all(&State::default(), 0, slots, requests, rate);
            // However bad both are, the canary is no worse.
            assert!(worse <= SURE, "worse than stable at {rate}: {worse}");
            assert!(rate > 0.2 || above <= SURE, "above the limit at {rate}: {above}");
        }
    }
}

fn trials(requests: u64, share: f64) -> Trials {
    Trials::new(requests, (requests as f64 * share) as u64)
}

fn together(one: Trials, other: Trials) -> Trials {
    Trials::new(one.requests + other.requests, one.bad + other.bad)
}

fn adds_up<const K: usize>(one: [f64; K], other: [f64; K], both: [f64; K]) -> Result<(), TestCaseError> {
    for k in 0..K {
        prop_assert!((one[k] + other[k] - both[k]).abs() <= 1e-9 * (1.0 + both[k].abs()));
    }
    Ok(())
}

/// A canary, a stable pod and a second of each: requests of both, and bad ones.
fn second() -> impl Strategy<Value = [(u64, u64); 2]> {
    let pod = (0_u64..40).prop_flat_map(|requests| (Just(requests), 0..=requests));
    [pod.clone(), pod]
}

/// A course in which the canary may turn bad.
fn course() -> impl Strategy<Value = Vec<[(u64, u64); 2]>> {
    let fine = (0_u64..40).prop_map(|requests| (requests, requests / 30));
    let good = [fine.clone(), fine];
    (prop::collection::vec(good, 0..40), prop::collection::vec(second(), 1..60))
        .prop_map(|(before, after)| [before, after].concat())
}

fn lines(t: usize, [c, s]: [(u64, u64); 2]) -> [Slot; 2] {
    let t = i64::try_from(t).unwrap();
    let le = |slot: Slot| {
        let (requests, errors) = (slot.requests, slot.errors);
        with_le(slot, &[("0.5", requests - errors), ("+Inf", requests)])
    };
    [le(canary(t, c.0, c.1)), le(stable(t, s.0, s.1))]
}

/// One of each kind.
fn all_kinds() -> [Criterion; 4] {
    let named = |name: &str, measure| Criterion { name: name.to_owned(), measure, ..errors(0.01, 0.01) };
    [
        errors(0.01, 0.05),
        latency(0.95, 0.5, 0.5),
        named("worse", Measure::ErrorRateOfStable { limit: 0.5, ignore_below: 0.001 }),
        named("slower", Measure::LatencyOfStable { quantile: 0.95, limit: 0.5, ignore_below: 0.0 }),
    ]
}

fn said(criteria: &[Criterion], state: &State) -> String {
    serde_json::to_string(&judge(criteria, state, &Settings::default())).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn evidence_is_additive_over_slots(one in 0_u64..10_000, other in 0_u64..10_000, shares in (0.0..1.0, 0.0..1.0), limit in 1e-6..0.9) {
        let (one, other) = (trials(one, shares.0), trials(other, shares.1));
        let both = together(one, other);
        adds_up(budget(one, limit, &WORSE), budget(other, limit, &WORSE), budget(both, limit, &WORSE))?;
        adds_up(budget(one, limit, &BETTER), budget(other, limit, &BETTER), budget(both, limit, &BETTER))?;
    }

    /// Slots of one split. (Those of different splits are not to be taken together: Simpson.)
    #[test]
    fn evidence_of_a_comparison_is_additive_over_slots_of_one_split(
        requests in 1_u64..1000, times in (1_u64..20, 1_u64..20, 1_u64..20), shares in (0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0),
    ) {
        let (stable, first, second) = times;
        let pair = |times: u64, (c, s): (f64, f64)| (trials(requests * times, c), trials(requests * times * stable, s));
        let (one, other) = (pair(first, (shares.0, shares.1)), pair(second, (shares.2, shares.3)));
        let both = (together(one.0, other.0), together(one.1, other.1));
        let of = |(c, s): (Trials, Trials)| compare(c, s, no_worse_than(1.5), &WORSE).unwrap();
        adds_up(of(one), of(other), of(both))?;
    }

    #[test]
    fn a_comparison_of_a_canary_with_itself_speaks_against_nobody(requests in 1_u64..10_000, share in 0.0..1.0) {
        let trials = trials(requests, share);
        let logs = compare(trials, trials, no_worse_than(1.5), &WORSE).unwrap();
        prop_assert!(logs.iter().all(|log| *log <= 1e-9), "{:?}", logs);
    }

    /// A breach takes that the canary is worse than stable and that it is above its limit: it is told with the weaker of the two.
    #[test]
    fn the_gate_never_exceeds_either_input(course in course()) {
        let criteria = [errors(0.02, 0.05), latency(0.95, 0.5, 0.5)];
        let settings = Settings::default();
        let mut state = State::default();
        for (t, counts) in course.into_iter().enumerate() {
            fold(&criteria, &mut state, &lines(t, counts), &settings);
            for judgement in judge(&criteria, &state, &settings) {
                if judgement.verdict != Verdict::Breach {
                    continue;
                }
                let account = state.criteria[&judgement.criterion].account(&settings);
                let over = |evidence: Evidence| evidence.log_e - evidence.threshold;
                let (worse, above) = (over(account.worse), over(account.above_limit.unwrap()));
                prop_assert!(worse >= 0.0 && above >= 0.0, "{:?}", judgement);
                prop_assert_eq!(over(judgement.evidence), worse.min(above));
            }
        }
    }

    #[test]
    fn polling_cadence_does_not_change_the_verdict(course in course(), cuts in prop::collection::vec(1_usize..20, 1..60)) {
        let criteria = all_kinds();
        let all: Vec<Slot> = course.into_iter().enumerate().flat_map(|(t, counts)| lines(t, counts)).collect();
        let mut each = State::default();
        let mut after_each = Vec::new();
        for of_slot in all.chunks(2) {
            fold(&criteria, &mut each, of_slot, &Settings::default());
            after_each.push(said(&criteria, &each));
        }
        let (mut seldom, mut done) = (State::default(), 0);
        for cut in cuts.iter().cycle() {
            let until = (done + cut).min(after_each.len());
            // What was read before comes again, as after a restart.
            let from = done.saturating_sub(*cut);
            fold(&criteria, &mut seldom, &all[2 * from..2 * until], &Settings::default());
            done = until;
            prop_assert_eq!(&said(&criteria, &seldom), &after_each[done - 1]);
            if done == after_each.len() {
                break;
            }
        }
        prop_assert_eq!(serde_json::to_string(&seldom).unwrap(), serde_json::to_string(&each).unwrap());
    }
}

/// An hour of stable pods, then a run whose canary turns bad, with pods that do not report now and then and one that warms up.
fn recorded(seed: u64) -> (Vec<Slot>, Vec<Slot>) {
    let mut dice = Dice::new(seed);
    let mut line = |t: i64, revision: Revision, pod: &str, bad: f64| {
        let requests = dice.poisson(30.0);
        let (errors, slow) = (dice.binomial(requests, bad), dice.binomial(requests, bad));
        let le = [("0.1", (requests - slow) / 2), ("0.5", requests - slow), ("+Inf", requests)];
        Slot { pod: pod.to_owned(), ..with_le(slot(t, revision, requests, errors), &le) }
    };
    let stables = ["s1", "s2", "s3"];
    let history =
        (-240..0).flat_map(|at| stables.map(|pod| line(at * 15, Revision::Stable, pod, 0.01))).collect();
    let mut run = Vec::new();
    for t in 0..400 {
        run.extend(stables.map(|pod| line(t, Revision::Stable, pod, 0.01)));
        let bad = if t < 200 { 0.01 } else { 0.01 + 0.04 * (seed % 3) as f64 };
        let one = line(t, Revision::Canary, "c1", bad);
        run.push(Slot { warming: t < 30, ..one });
        if t % 17 != 3 {
            run.push(line(t, Revision::Canary, "c2", bad));
        }
    }
    (history, run)
}

#[test]
fn replay_equals_live_byte_for_byte_also_across_restarts_and_from_a_file() {
    let criteria = all_kinds();
    let settings = Settings::default();
    for seed in 1..=6 {
        let (history, run) = recorded(seed);
        let mut replayed = replay(&criteria, &history, &run);
        let mut live = State::default();
        learn(&criteria, &mut live, &history);
        for t in 0..400 {
            let of_slot: Vec<Slot> = run.iter().filter(|slot| slot.t == t).cloned().collect();
            fold(&criteria, &mut live, &of_slot, &settings);
            if t % 17 == 3 {
                note_missing(&mut live, t, 1);
            }
            // Status is written, and another process reads it.
            live = serde_json::from_str(&serde_json::to_string(&live).unwrap()).unwrap();
            let told = replayed.next().expect("a line a slot");
            let judgements = judge(&criteria, &live, &settings);
            let same =
                judgements.iter().find(|judgement| judgement.criterion == told.judgement.criterion).unwrap();
            assert_eq!(
                serde_json::to_string(&told.judgement).unwrap(),
                serde_json::to_string(same).unwrap(),
                "run {seed}, slot {t}"
            );
        }
        assert!(replayed.next().is_none());
        let verdicts = judge(&criteria, &live, &settings);
        let breached = verdicts.iter().filter(|judgement| judgement.verdict == Verdict::Breach).count();
        assert_eq!(breached > 0, seed % 3 != 0, "run {seed}: {verdicts:#?}");
    }
}
