//! Slots of canary pods that warm up: they count against fixed limits, and are not compared with stable.

use tidegate::decide::judge::{Criterion, Measure, Reason, Settings, Slot, State, Verdict, fold, judge};

use super::{calm, canary, errors, judged, stable};

fn of_stable() -> Criterion {
    let measure = Measure::ErrorRateOfStable { limit: 0.5, ignore_below: 0.001 };
    Criterion { measure, ..errors(0.01, 0.01) }
}

/// Half of the canary's requests fail for so many slots, in which it warms up or does not; then none.
fn run(bad: i64, warming: bool, slots: i64) -> Vec<Slot> {
    let line = |t| {
        let is_bad = t < bad;
        let slot = canary(t, 100, if is_bad { 50 } else { 0 });
        [Slot { warming: warming && is_bad, ..slot }, stable(t, 900, 1)]
    };
    (0..slots).flat_map(line).collect()
}

#[test]
fn what_fails_while_it_warms_up_is_not_held_against_stable() {
    assert_eq!(judged(&of_stable(), &run(30, false, 30)).verdict, Verdict::Breach);
    let warming = judged(&of_stable(), &run(30, true, 30));
    assert_eq!((warming.verdict, warming.reason), (Verdict::Unknown, Reason::WarmingUp), "{warming:?}");
    assert_eq!(warming.have, 0);
    assert!(
        warming.message.contains("3000 requests so far are not compared with stable's; settled by requests to pods that have been Ready for 30 s"),
        "{}",
        warming.message
    );
    let after = judged(&of_stable(), &run(30, true, 200));
    assert_eq!((after.verdict, after.have, after.value), (Verdict::Pass, 17_000, Some(0.0)), "{after:?}");
}

#[test]
fn what_fails_while_it_warms_up_counts_against_a_fixed_limit() {
    let fixed = errors(0.05, 0.05);
    let (warm, cold) = (judged(&fixed, &run(30, false, 30)), judged(&fixed, &run(30, true, 30)));
    assert_eq!(cold.verdict, Verdict::Breach);
    assert_eq!(warm, cold);
}

#[test]
fn a_pod_that_warms_up_beside_a_warm_one_takes_nothing_from_it() {
    let criteria = [of_stable()];
    let mut state = calm(&criteria);
    let failing = |t| {
        let cold = Slot { warming: true, pod: "cold".to_owned(), ..canary(t, 100, 0) };
        [canary(t, 100, 50), cold, stable(t, 900, 1)]
    };
    let slots: Vec<Slot> = (0..10).flat_map(failing).collect();
    fold(&criteria, &mut state, &slots, &Settings::default());
    let judgement = judge(&criteria, &state, &Settings::default()).remove(0);
    assert_eq!((judgement.verdict, judgement.value), (Verdict::Breach, Some(0.5)), "{judgement:?}");
}

#[test]
fn a_run_in_which_no_slot_is_marked_leaves_no_trace_of_warm_up() {
    let criteria = [of_stable(), Criterion { name: "fixed".to_owned(), ..errors(0.01, 0.05) }];
    let mut state = State::default();
    fold(&criteria, &mut state, &run(30, false, 60), &Settings::default());
    assert!(!serde_json::to_string(&state).unwrap().contains("warmUp"));
}
