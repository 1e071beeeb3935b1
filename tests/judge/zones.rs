//! The zones: what is seen, and what is said.

use tidegate::decide::judge::{
    Criterion, Judgement, Measure, Reason, Revision, Settings, Slot, State, Verdict, begin_step, fold, judge,
    note_missing,
};

use super::{calm, canary, errors, judged, latency, slot, stable, with_le};

/// So many slots of 20 canary requests, `bad` in a thousand of which fail, spread evenly.
fn run_at(per_thousand: u64, slots: i64) -> Vec<Slot> {
    let mut seen = 0;
    (0..slots)
        .map(|t| {
            let before = seen * per_thousand / 1000;
            seen += 20;
            canary(t, 20, seen * per_thousand / 1000 - before)
        })
        .collect()
}

fn said(judgement: &Judgement) -> (Verdict, Reason) {
    (judgement.verdict, judgement.reason)
}

#[test]
fn each_row_of_the_table_has_its_verdict() {
    let criterion = errors(0.001, 0.05);
    for (per_thousand, slots, verdict, reason) in [
        (200, 60, Verdict::Breach, Reason::AboveLimit),
        (10, 200, Verdict::Hold, Reason::AboveTarget),
        (1, 60, Verdict::Pass, Reason::WithinTarget),
        (4, 19, Verdict::Pass, Reason::WithinLimit),
        (0, 2, Verdict::Unknown, Reason::TooFewRequests),
        (100, 2, Verdict::Unknown, Reason::TooFewRequests),
    ] {
        let judgement = judged(&criterion, &run_at(per_thousand, slots));
        println!("{per_thousand} in 1000: {}", judgement.message);
        assert_eq!(said(&judgement), (verdict, reason), "{per_thousand}: {judgement:?}");
    }
}

#[test]
fn a_rate_at_the_limit_is_unknown_and_says_that_waiting_will_not_help() {
    let judgement = judged(&errors(0.05, 0.05), &run_at(50, 100));
    assert_eq!(said(&judgement), (Verdict::Unknown, Reason::NearLimit));
    assert_eq!(judgement.need, None);
}

#[test]
fn a_canary_as_bad_as_a_stable_over_the_limit_is_held_not_undone() {
    let criterion = errors(0.01, 0.01);
    let slots: Vec<Slot> = (0..180).flat_map(|t| [canary(t, 20, 1), stable(t, 180, 9)]).collect();
    let judgement = judged(&criterion, &slots);
    assert_eq!(said(&judgement), (Verdict::Hold, Reason::StableAsBad));
    assert!(judgement.message.contains("not this release's fault"));

    // The incident passes; its errors are not held against the canary afterwards.
    let after = (180..1200).flat_map(|t| [canary(t, 20, 0), stable(t, 180, 0)]);
    let judgement = judged(&criterion, &slots.into_iter().chain(after).collect::<Vec<_>>());
    assert_eq!(judgement.verdict, Verdict::Pass, "{judgement:?}");
}

#[test]
fn a_canary_is_judged_alone_where_nothing_serves_as_stable() {
    let criterion = errors(0.01, 0.01);
    let alone: Vec<Slot> = (0..5).map(|t| canary(t, 20, 10)).collect();
    assert_eq!(judged(&criterion, &alone).verdict, Verdict::Breach);
    let beside_idle_pods: Vec<Slot> = (0..5).flat_map(|t| [canary(t, 20, 10), stable(t, 0, 0)]).collect();
    assert_eq!(judged(&criterion, &beside_idle_pods).verdict, Verdict::Breach);

    let last_pod_went_at_50: Vec<Slot> = (0..50)
        .flat_map(|t| [canary(t, 20, 0), stable(t, 20, 0)])
        .chain((50..60).map(|t| canary(t, 20, 10)))
        .collect();
    assert_eq!(judged(&criterion, &last_pod_went_at_50).verdict, Verdict::Breach);
}

#[test]
fn a_breach_stays_and_a_pass_does_not() {
    let criteria = [errors(0.01, 0.01)];
    let settings = Settings::default();
    let mut state = calm(&criteria);
    let say = |state: &State| judge(&criteria, state, &settings).remove(0);

    fold(&criteria, &mut state, &run_at(0, 100), &settings);
    assert_eq!(say(&state).verdict, Verdict::Pass);

    let failing: Vec<Slot> = (100..110).map(|t| canary(t, 20, 10)).collect();
    fold(&criteria, &mut state, &failing, &settings);
    let breach = say(&state);
    assert_eq!(breach.verdict, Verdict::Breach);
    assert_eq!(breach.value, Some(0.5), "{}", breach.message);
    assert!(breach.message.contains("within 3 s"), "{}", breach.message);

    let healthy: Vec<Slot> = (110..9999).map(|t| canary(t, 20, 0)).collect();
    fold(&criteria, &mut state, &healthy, &settings);
    begin_step(&mut state);
    assert_eq!(say(&state), breach);
}

#[test]
fn a_pass_is_withheld_while_the_latest_slots_speak_against_it() {
    let criteria = [errors(0.01, 0.01)];
    let settings = Settings::default();
    let mut state = calm(&criteria);
    let mut said = Vec::new();
    for t in 0..300 {
        let failed = if t < 290 { 0 } else { 2 };
        fold(&criteria, &mut state, &[canary(t, 20, failed)], &settings);
        said.push(judge(&criteria, &state, &settings)[0].reason);
    }
    said.dedup();
    let course = [Reason::TooFewRequests, Reason::WithinTarget, Reason::Worsening, Reason::AboveLimit];
    assert_eq!(said, course);
}

#[test]
fn no_requests_is_unknown_and_says_how_many_are_needed() {
    let slots: Vec<Slot> = (0..50).map(|t| canary(t, 0, 0)).collect();
    let judgement = judged(&errors(0.01, 0.01), &slots);
    assert_eq!(said(&judgement), (Verdict::Unknown, Reason::NoRequests));
    assert_eq!(judgement.message, "No requests reached the canary in 50 s; about 497 requests needed.");
    assert_eq!((judgement.have, judgement.need, judgement.value), (0, Some(497), None));
}

#[test]
fn too_few_requests_says_how_many_there_are_and_how_many_it_takes() {
    let judgement = judged(&errors(0.01, 0.01), &run_at(0, 10));
    assert_eq!(said(&judgement), (Verdict::Unknown, Reason::TooFewRequests));
    assert_eq!((judgement.have, judgement.need), (200, Some(497)));
    assert_eq!(
        judgement.message,
        "200 of about 497 requests needed to tell whether it is below the limit of 1 %; \
         so far the error rate is 0 % (0 of 200 requests)."
    );
}

#[test]
fn the_needs_of_the_table_in_judge_md_come_out() {
    use tidegate::decide::judge::need::{to_breach, to_pass};
    let (fail, pass) = (200_f64.ln(), 20_f64.ln());
    let breach = |share, limit| to_breach(share, limit, fail, 1.0).unwrap();
    assert!((7240..=7260).contains(&breach(0.015, 0.01)));
    assert!((2020..=2040).contains(&breach(0.02, 0.01)));
    assert_eq!(breach(0.03, 0.01), 603);
    assert_eq!(breach(0.05, 0.01), 192);
    assert_eq!(breach(0.1, 0.01), 55);
    assert_eq!(breach(0.2, 0.01), 19);
    assert_eq!(to_pass(0.0, 0.01, pass), Some(497));
    assert_eq!(to_pass(0.001, 0.01, pass), Some(733));
    assert!((3190..=3200).contains(&to_pass(0.005, 0.01, pass).unwrap()));
    assert_eq!(to_pass(0.01, 0.01, pass), None);
}

#[test]
fn more_than_a_fifth_missing_withholds_a_pass_but_not_a_breach() {
    let criteria = [errors(0.05, 0.05)];
    let settings = Settings::default();
    let course = |failed: u64| {
        let mut state = calm(&criteria);
        for t in 0..100 {
            fold(&criteria, &mut state, &[canary(t, 20, failed)], &settings);
            if t % 3 == 0 {
                note_missing(&mut state, t, 1);
            }
        }
        state
    };
    let mut state = course(0);
    let say = |state: &State| judge(&criteria, state, &settings).remove(0);
    assert_eq!(said(&say(&state)), (Verdict::Unknown, Reason::MissingData));
    begin_step(&mut state);
    assert_eq!(say(&state).verdict, Verdict::Pass);
    assert_eq!(say(&course(10)).verdict, Verdict::Breach);
}

/// 100 slots of 20 requests with these cumulative counts.
fn timed(le: &[(&str, u64)]) -> Vec<Slot> {
    (0..100).map(|t| with_le(canary(t, 20, 0), le)).collect()
}

fn p99(limit: f64) -> Criterion {
    latency(0.99, limit, limit)
}

#[test]
fn latency_is_judged_as_the_share_slower_than_a_bound() {
    let fast = timed(&[("0.1", 15), ("0.5", 20), ("+Inf", 20)]);
    let judgement = judged(&p99(0.5), &fast);
    assert_eq!(said(&judgement), (Verdict::Pass, Reason::WithinTarget));
    assert_eq!(judgement.limit, 0.01);
    let slow = timed(&[("0.1", 10), ("0.5", 18), ("+Inf", 20)]);
    let judgement = judged(&p99(0.5), &slow);
    assert_eq!(said(&judgement), (Verdict::Breach, Reason::AboveLimit));
    assert_eq!(judgement.value, Some(0.1));
}

#[test]
fn between_two_bounds_nothing_firm_is_said_and_the_message_names_them() {
    // All requests take 0.25 s to 0.5 s; whether they are faster than 0.4 s, no bucket can tell.
    let between = timed(&[("0.25", 0), ("0.5", 20), ("+Inf", 20)]);
    let judgement = judged(&p99(0.4), &between);
    assert_eq!(judgement.verdict, Verdict::Unknown);
    assert!(
        judgement
            .message
            .contains("(p99; 400 ms is no bucket bound: a breach is judged at 500 ms, a pass at 250 ms)"),
        "{}",
        judgement.message
    );
    let slower = timed(&[("0.25", 0), ("0.5", 10), ("+Inf", 20)]);
    assert_eq!(judged(&p99(0.4), &slower).verdict, Verdict::Breach);
    let faster = timed(&[("0.25", 20), ("0.5", 20), ("+Inf", 20)]);
    assert_eq!(judged(&p99(0.4), &faster).verdict, Verdict::Pass);
}

#[test]
fn without_a_bucket_below_the_limit_no_pass_can_come_and_it_says_so() {
    let coarse = timed(&[("1", 20), ("+Inf", 20)]);
    let judgement = judged(&p99(0.5), &coarse);
    assert_eq!(said(&judgement), (Verdict::Unknown, Reason::NoSuchBucket));
    let only_infinite = timed(&[("+Inf", 20)]);
    assert_eq!(judged(&p99(0.5), &only_infinite).reason, Reason::NoSuchBucket);
}

#[test]
fn a_pod_without_the_bound_in_use_is_missing_for_latency_only() {
    let slots: Vec<Slot> = (0..100)
        .flat_map(|t| {
            let good = with_le(canary(t, 20, 0), &[("0.5", 20), ("+Inf", 20)]);
            let mut other = with_le(slot(t, Revision::Canary, 20, 0), &[("0.3", 20), ("0.7", 20)]);
            other.pod = "other".to_owned();
            // The first slot fixes the bound.
            if t == 0 { vec![good] } else { vec![good, other] }
        })
        .collect();
    assert_eq!(judged(&p99(0.5), &slots).reason, Reason::MissingData);
    assert_eq!(judged(&errors(0.05, 0.05), &slots).verdict, Verdict::Pass);
}

#[test]
fn a_canary_without_a_histogram_is_missing_data_for_latency() {
    let judgement = judged(&p99(0.5), &run_at(0, 100));
    assert_eq!(said(&judgement), (Verdict::Unknown, Reason::MissingData));
}

#[test]
fn no_breach_comes_from_fewer_than_three_slots() {
    for quiet in [0, 1, 10, 100, 1000] {
        for requests in [0, 1, 20, 1000] {
            let criteria = [errors(0.01, 0.01)];
            let settings = Settings::default();
            let mut state = calm(&criteria);
            let before: Vec<Slot> = (0..quiet).map(|t| canary(t, requests, 0)).collect();
            fold(&criteria, &mut state, &before, &settings);
            let mut slots = 0;
            for t in quiet.. {
                slots += 1;
                fold(&criteria, &mut state, &[canary(t, 1_000_000, 1_000_000)], &settings);
                if judge(&criteria, &state, &settings)[0].verdict == Verdict::Breach {
                    break;
                }
            }
            assert_eq!(slots, 3, "{quiet} quiet slots of {requests} requests");
        }
    }
}

#[test]
fn every_verdict_says_what_would_change_it_and_over_what_time_it_was_reached() {
    let settle = |criterion: &Criterion, slots: &[Slot]| judged(criterion, slots).settle;
    let one = errors(0.01, 0.01);
    assert_eq!(settle(&one, &run_at(500, 50)), "by nothing: a breach stands until its run has ended");
    assert_eq!(settle(&one, &[]), "by about 497 requests");
    let passing = judged(&one, &run_at(0, 100));
    assert_eq!(passing.verdict, Verdict::Pass);
    let in_a_row: u64 =
        passing.settle.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a number");
    assert!((1..20).contains(&in_a_row), "{}", passing.settle);
    let (from, until) = passing.window.expect("a window");
    assert_eq!(until - from, 100);
}

#[test]
fn requests_without_a_status_are_missing_of_error_rates_and_not_good() {
    let untold = |untold: u64, requests: u64| -> Vec<Slot> {
        (0..60).map(|t| Slot { untold, ..canary(t, requests, 0) }).collect()
    };
    let criterion = errors(0.001, 0.05);
    let judgement = judged(&criterion, &untold(20, 20));
    assert_eq!(said(&judgement), (Verdict::Unknown, Reason::MissingData), "{judgement:?}");
    assert_eq!(judgement.have, 0);
    // Up to a fifth of a slot is left out of the count, and one more says nothing of the slot.
    let judgement = judged(&criterion, &untold(4, 20));
    assert_eq!((judgement.verdict, judgement.have), (Verdict::Pass, 60 * 16), "{judgement:?}");
    let judgement = judged(&criterion, &untold(5, 20));
    assert_eq!(said(&judgement), (Verdict::Unknown, Reason::MissingData), "{judgement:?}");
    // Those that failed count all the same.
    let failed: Vec<Slot> = untold(4, 20).into_iter().map(|slot| Slot { errors: 8, ..slot }).collect();
    assert_eq!(judged(&criterion, &failed).verdict, Verdict::Breach);

    // Latency does not need to know.
    let timed = untold(20, 20).into_iter();
    let timed: Vec<Slot> =
        timed.map(|slot| with_le(slot, &[("0.1", 20), ("0.5", 20), ("+Inf", 20)])).collect();
    assert_eq!(judged(&latency(0.95, 0.5, 0.5), &timed).verdict, Verdict::Pass);
}

#[test]
fn what_a_memory_says_of_itself_holds_the_test_of_what_is_ignored_where_something_is() {
    let of = |name: &str, ignore_below: f64| {
        let measure = Measure::ErrorRateOfStable { limit: 0.5, ignore_below };
        Criterion { name: name.to_owned(), measure, ..errors(0.01, 0.01) }
    };
    let criteria = [of("some", 0.001), of("none", 0.0)];
    let mut state = calm(&criteria);
    let slots: Vec<Slot> = (0..30).flat_map(|t| [canary(t, 100, 50), stable(t, 900, 1)]).collect();
    fold(&criteria, &mut state, &slots, &Settings::default());
    // Status was read again.
    let state: State = serde_json::from_value(serde_json::to_value(&state).unwrap()).unwrap();
    let above = |name: &str| state.criteria[name].account(&Settings::default()).above_limit;
    let some = above("some").expect("without it there is no breach");
    assert!(some.log_e >= some.threshold, "{some:?}");
    assert_eq!(above("none"), None);
}
