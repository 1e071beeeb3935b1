//! Errors that clump, pods that are ranked, and α that is shared: what keeps the judge from crying wolf.

use std::collections::BTreeMap;

use tidegate::decide::judge::{
    Measure, Reason, Revision, Settings, Slot, State, Verdict,
    evidence::Trials,
    fold, judge, learn,
    rank::{self, DRAWS, e_value},
    split::{Stake, share_out},
    spread::{Blocks, Load, Spread},
};

use super::{Dice, canary, errors, slot, stable, with_le};

#[test]
fn a_rank_says_nothing_on_average() {
    for pods in 1..=20 {
        for draws in DRAWS {
            let sum: f64 = (0..=pods).map(|below| e_value(below, pods, draws)).sum();
            let mean = sum / (pods + 1) as f64;
            assert!((mean - 1.0).abs() < 1e-12, "{pods} pods, {draws} draws: {mean}");
        }
    }
}

#[test]
fn of_tied_places_each_is_as_good_as_the_other() {
    let nothing = [Trials::new(100, 0)];
    let stable = [Trials::new(100, 0); 9];
    let logs = rank::block(&nothing, &stable, 1.0).unwrap();
    assert!(logs.iter().all(|log| log.abs() < 1e-12), "{logs:?}");
    let worst = rank::block(&[Trials::new(100, 50)], &stable, 1.2).unwrap();
    assert!((worst[3] - 6.4_f64.ln()).abs() < 1e-12, "{worst:?}");
}

#[test]
fn a_pod_with_few_requests_is_not_ranked() {
    let stable = [Trials::new(1000, 5); 3];
    assert_eq!(rank::block(&[Trials::new(10, 10)], &stable, 1.0), None);
    assert_eq!(rank::block(&[Trials::new(1000, 10)], &[], 1.0), None);
}

/// An hour of nine pods, fifteen seconds a slot; `rate` says a pod's error rate at each minute.
fn learnt(rate: impl Fn(i64, usize) -> f64) -> Spread {
    let mut dice = Dice::new(3);
    let (mut blocks, mut spread) = (Blocks::default(), Spread::default());
    for at in 0..240 {
        for ended in blocks.turn(at * 15) {
            spread.learn(&ended);
        }
        for pod in 0..9 {
            let requests = dice.poisson(300.0);
            let trials = Trials::new(requests, dice.binomial(requests, rate(at / 4, pod)));
            blocks.count_stable(&format!("s{pod}"), trials);
            spread.see(trials);
        }
    }
    for ended in blocks.turn(3600) {
        spread.learn(&ended);
    }
    spread
}

#[test]
fn independent_errors_are_hardly_tempered_and_clumps_are() {
    let load = Load { rate: 20.0, pods: 1.0 };
    let steady = learnt(|_, _| 0.005);
    assert!(steady.is_calibrated());
    let plain = steady.tempering(0.01, false).of_budget(load, 0.01);
    assert!((1.0..1.3).contains(&plain), "{plain}");
    // Each pod has every tenth minute to itself, ten times as bad.
    let bursts = learnt(|minute, pod| if (minute + pod as i64) % 10 == 0 { 0.05 } else { 0.0 });
    let tempered = bursts.tempering(0.01, false).of_budget(load, 0.01);
    assert!((15.0..60.0).contains(&tempered), "{tempered}");
}

#[test]
fn nothing_known_is_taken_for_bursts_and_a_clean_stable_for_calm() {
    let load = Load { rate: 20.0, pods: 1.0 };
    assert!(Spread::default().tempering(0.05, false).of_budget(load, 0.05) > 2.0);
    let mut clean = Spread::default();
    clean.see(Trials::new(2000, 0));
    let tempered = clean.tempering(0.05, false).of_budget(load, 0.05);
    assert!(tempered < 1.1, "{tempered}");
}

#[test]
fn history_is_learnt_from_and_not_judged() {
    let criteria = [errors(0.01, 0.01)];
    let mut state = State::default();
    let before: Vec<Slot> = (-100..0).map(|t| stable(t, 100, 90)).collect();
    learn(&criteria, &mut state, &before);
    assert_eq!(state.first_slot, None);
    assert_eq!(judge(&criteria, &state, &Settings::default())[0].reason, Reason::NoRequests);
    // The same slots again, as if they were of the run, are done with.
    fold(&criteria, &mut state, &before, &Settings::default());
    assert_eq!(state.first_slot, None);
}

fn of_stable(limit: f64) -> tidegate::decide::judge::Criterion {
    let measure = Measure::ErrorRateOfStable { limit, ignore_below: 0.001 };
    tidegate::decide::judge::Criterion { measure, ..errors(0.01, 0.01) }
}

/// A run of so many slots of 100 canary and 900 stable requests, with errors at these rates.
fn beside_stable(
    criterion: &tidegate::decide::judge::Criterion,
    slots: i64,
    rates: (f64, f64),
) -> (State, Verdict, Reason, String) {
    let mut dice = Dice::new(11);
    let criteria = [criterion.clone()];
    let settings = Settings::default();
    let mut state = State::default();
    let history: Vec<Slot> = (-720..0)
        .flat_map(|at| (0..9).map(move |pod| (at, pod)))
        .map(|(at, pod)| Slot { pod: format!("s{pod}"), ..stable(at * 5, 500, dice.binomial(500, rates.1)) })
        .collect();
    learn(&criteria, &mut state, &history);
    for t in 0..slots {
        let mut lines = vec![canary(t, 100, dice.binomial(100, rates.0))];
        lines.extend(
            (0..9).map(|pod| Slot { pod: format!("s{pod}"), ..stable(t, 100, dice.binomial(100, rates.1)) }),
        );
        fold(&criteria, &mut state, &lines, &settings);
    }
    let judgement = judge(&criteria, &state, &settings).remove(0);
    (state, judgement.verdict, judgement.reason, judgement.message)
}

#[test]
fn a_canary_is_held_against_stable_whatever_stable_does() {
    for rate in [0.005, 0.05, 0.3] {
        let (_, verdict, reason, message) = beside_stable(&of_stable(0.5), 300, (rate, rate));
        assert_eq!(verdict, Verdict::Pass, "{rate}: {reason:?} {message}");
        let (_, verdict, reason, message) = beside_stable(&of_stable(0.5), 300, (rate * 3.0, rate));
        assert_eq!((verdict, reason), (Verdict::Breach, Reason::WorseThanStable), "{rate}: {message}");
    }
    // Five times next to nothing is no news.
    let (_, verdict, reason, message) = beside_stable(&of_stable(0.5), 300, (0.0001, 0.00002));
    assert_eq!(verdict, Verdict::Pass, "{reason:?} {message}");
}

#[test]
fn without_stable_there_is_nothing_to_compare_with() {
    let criteria = [of_stable(0.5)];
    let mut state = State::default();
    fold(
        &criteria,
        &mut state,
        &(0..50).map(|t| canary(t, 100, 60)).collect::<Vec<_>>(),
        &Settings::default(),
    );
    let judgement = &judge(&criteria, &state, &Settings::default())[0];
    assert_eq!((judgement.verdict, judgement.reason), (Verdict::Unknown, Reason::NothingToCompare));
}

/// Stable's p95 lies in the bucket up to 250 ms; the canary's requests take `times` as long.
fn slower(times: f64) -> (Verdict, Reason, String) {
    let measure = Measure::LatencyOfStable { quantile: 0.95, limit: 0.5, ignore_below: 0.0 };
    let criteria = [tidegate::decide::judge::Criterion { measure, ..errors(0.01, 0.01) }];
    let mut state = State::default();
    let bounds = [0.1, 0.25, 0.375, 0.5, 1.0];
    let line = |t, revision, pod: String, times: f64| {
        // Exponential with a 95th percentile of 250 ms.
        let mut le = BTreeMap::new();
        for bound in bounds {
            le.insert(
                bound.to_string(),
                (100.0 * (1.0 - (-3.0 * bound / (0.25 * times)).exp())).round() as u64,
            );
        }
        le.insert("+Inf".to_owned(), 100);
        let le: Vec<(&str, u64)> = le.iter().map(|(bound, count)| (bound.as_str(), *count)).collect();
        Slot { pod, ..with_le(slot(t, revision, 100, 0), &le) }
    };
    let history: Vec<Slot> = (-3600..0)
        .filter(|t| t % 15 == 0)
        .flat_map(|t| (0..9).map(move |pod| line(t, Revision::Stable, format!("s{pod}"), 1.0)))
        .collect();
    learn(&criteria, &mut state, &history);
    for t in 0..200 {
        let mut lines: Vec<Slot> =
            (0..3).map(|pod| line(t, Revision::Stable, format!("s{pod}"), 1.0)).collect();
        if t > 5 {
            lines.push(line(t, Revision::Canary, "c".into(), times));
        }
        fold(&criteria, &mut state, &lines, &Settings::default());
    }
    let judgement = judge(&criteria, &state, &Settings::default()).remove(0);
    (judgement.verdict, judgement.reason, judgement.message)
}

#[test]
fn a_canary_that_is_slower_than_stable_is_found_at_bucket_bounds() {
    let (verdict, reason, message) = slower(2.5);
    assert_eq!((verdict, reason), (Verdict::Breach, Reason::WorseThanStable), "{message}");
    let (verdict, _, message) = slower(1.0);
    assert_eq!(verdict, Verdict::Pass, "{message}");
}

#[test]
fn a_shadow_is_judged_and_takes_nothing_from_the_others() {
    let mut shadow = errors(0.05, 0.05);
    shadow.name = "shadow".into();
    shadow.shadow = true;
    let criteria = [errors(0.05, 0.05), shadow];
    let mut state = State::default();
    fold(&criteria, &mut state, &[canary(0, 10, 0)], &Settings::default());
    assert_eq!(state.criteria["errors"].share.0, 1.0);
    assert_eq!(state.criteria["shadow"].share.0, 0.5);
    fold(
        &criteria,
        &mut state,
        &(1..60).map(|t| canary(t, 100, 100)).collect::<Vec<_>>(),
        &Settings::default(),
    );
    let judged = judge(&criteria, &state, &Settings::default());
    assert!(judged.iter().all(|judgement| judgement.verdict == Verdict::Breach), "{judged:?}");
}

#[test]
fn criteria_that_change_in_mid_run_share_what_is_left_of_alpha() {
    let stake = |share, log_worth| Stake { share, log_worth };
    // A dropped test that has seen evidence for the release gives back less than it was given.
    let (kept, each, unspent) =
        share_out(&BTreeMap::from([("a".to_owned(), stake(0.5, -2.0))]), &[stake(0.5, -1.0)], 1, 0.0);
    assert!(each < 0.5 && kept["a"] < 0.5 && unspent == 0.0, "{kept:?} {each}");
    // Evidence against the release is not passed on.
    let (_, each, _) = share_out(&BTreeMap::new(), &[stake(1.0, 3.0)], 2, 0.0);
    assert_eq!(each, 0.5);
    // What nobody takes is kept.
    let (_, _, unspent) =
        share_out(&BTreeMap::from([("a".to_owned(), stake(0.5, 0.0))]), &[stake(0.5, 0.0)], 0, 0.0);
    assert_eq!(unspent, 0.5);

    let mut state = State::default();
    let lines: Vec<Slot> = (0..50).map(|t| canary(t, 20, 0)).collect();
    fold(&[errors(0.01, 0.05)], &mut state, &lines, &Settings::default());
    let changed = [errors(0.01, 0.06)];
    fold(&changed, &mut state, &[], &Settings::default());
    let share = state.criteria["errors"].share.0;
    assert!(share > 0.0 && share < 1.0, "{share}");
}

#[test]
fn counts_that_clump_do_not_depend_on_how_often_one_looks() {
    let criteria = [errors(0.01, 0.05)];
    let mut dice = Dice::new(9);
    let lines: Vec<Slot> = (0..900)
        .flat_map(|t| [canary(t, 20, dice.binomial(20, 0.03)), stable(t, 180, dice.binomial(180, 0.03))])
        .collect();
    let mut at_once = State::default();
    fold(&criteria, &mut at_once, &lines, &Settings::default());
    let mut often = State::default();
    for pair in lines.chunks(2) {
        fold(&criteria, &mut often, pair, &Settings::default());
        judge(&criteria, &often, &Settings::default());
        often = serde_json::from_str(&serde_json::to_string(&often).unwrap()).unwrap();
    }
    assert_eq!(serde_json::to_string(&at_once).unwrap(), serde_json::to_string(&often).unwrap());
}
