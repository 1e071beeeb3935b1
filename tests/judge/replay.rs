//! The same slots give the same state, byte for byte, however they came.

use tidegate::decide::judge::{
    Memory, Revision, Settings, Slot, State, Verdict, begin_step, fold, judge, note_missing,
};

use super::{Dice, canary, errors, latency, slot, with_le};

/// Three pods, a latency histogram, some errors, lines of a slot in no order.
fn traffic(slots: i64) -> Vec<Slot> {
    let mut dice = Dice::new(7);
    let mut lines = Vec::new();
    for t in 0..slots {
        for (pod, revision) in [("c2", Revision::Canary), ("s1", Revision::Stable), ("c1", Revision::Canary)]
        {
            let requests = dice.poisson(20.0);
            let failed = dice.binomial(requests, 0.01);
            let slow = dice.binomial(requests, 0.02);
            let line = slot(t, revision, requests, failed);
            let le = [("0.5", requests - slow), ("2.5", requests), ("+Inf", requests)];
            let mut line = with_le(line, &le);
            line.pod = pod.to_owned();
            lines.push(line);
        }
    }
    lines
}

#[test]
fn one_batch_slot_by_slot_and_restarts_give_the_same_bytes() {
    let criteria = [errors(0.005, 0.05), latency(0.95, 0.5, 2.0)];
    let settings = Settings::default();
    let lines = traffic(300);

    let mut at_once = State::default();
    let mut backwards = lines.clone();
    backwards.reverse();
    fold(&criteria, &mut at_once, &backwards, &settings);

    let mut live = State::default();
    for t in 0..300 {
        let of_slot: Vec<Slot> = lines.iter().filter(|line| line.t == t).cloned().collect();
        fold(&criteria, &mut live, &of_slot, &settings);
        // A restart after every slot, and everything read again.
        live = serde_json::from_str(&serde_json::to_string(&live).unwrap()).unwrap();
        fold(&criteria, &mut live, &of_slot, &settings);
        if t % 50 == 0 {
            fold(&criteria, &mut live, &lines[..of_slot.len()], &settings);
        }
    }
    assert_eq!(serde_json::to_string(&at_once).unwrap(), serde_json::to_string(&live).unwrap());
    assert_eq!(at_once, live);
    let say = |state: &State| serde_json::to_string(&judge(&criteria, state, &settings)).unwrap();
    assert_eq!(say(&at_once), say(&live));
}

#[test]
fn a_clock_that_is_set_back_loses_nothing_and_counts_nothing_twice() {
    let criteria = [errors(0.005, 0.05), latency(0.95, 0.5, 2.0)];
    let settings = Settings::default();
    let bad = |line: Slot| match (line.revision, line.t) {
        (Revision::Canary, 100..) => Slot { errors: line.requests / 4, ..line },
        (Revision::Canary | Revision::Stable, _) => line,
    };
    let lines: Vec<Slot> = traffic(300).into_iter().map(bad).collect();
    let at = 10_000;
    for back in [4, 60, 3600] {
        let later = |line: &Slot, by: i64| Slot { t: line.t + by, ..line.clone() };
        let mut state = State::default();
        let before: Vec<Slot> =
            lines.iter().filter(|line| line.t < 100).map(|line| later(line, at)).collect();
        fold(&criteria, &mut state, &before, &settings);
        note_missing(&mut state, at + 99, 1);
        let counted = state.clone();
        let now = at + 100 - back;
        assert!(state.is_ahead(now) && state.lacks(now, now) && state.lacks_missing(now, now));
        // What was being measured when the clock was set is of what is to come, and would be counted in each look until then.
        assert!(!state.lacks(now + 60, now) && !state.lacks_missing(now + 60, now));
        state.set_back(now);
        assert!(!state.is_ahead(now) && state.lacks(now, now) && !state.lacks(now - 5, now));
        let length = |state: &State| state.window().map(|(from, until)| until - from);
        assert!(length(&state) >= length(&counted).map(|length| length - 5));
        assert!(state.measured_until < now, "none of it is of now");
        let after = lines.iter().filter(|line| line.t >= 100).map(|line| later(line, at - back));
        for line in after.collect::<Vec<_>>().chunks(3) {
            fold(&criteria, &mut state, line, &settings);
            state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        }
        let found = judge(&criteria, &state, &settings).remove(0);
        assert_eq!(found.verdict, Verdict::Breach, "{found:?}");
        let mut straight = State::default();
        fold(
            &criteria,
            &mut straight,
            &lines.iter().map(|line| later(line, at)).collect::<Vec<_>>(),
            &settings,
        );
        let at_breach = |state: &State| state.criteria["errors"].breached_at.unwrap();
        let (one, other) = (at_breach(&straight), at_breach(&state) + back);
        // Minutes begin at another slot.
        assert!((one - other).abs() <= 10, "{one} or {other}");
        assert_eq!(straight.pod_requests, state.pod_requests);
    }
}

#[test]
fn a_criterion_takes_less_than_1300_bytes_of_state() {
    let criteria = [errors(0.0012345, 0.0512345), latency(0.95, 0.123, 2.345)];
    let mut state = State::default();
    for (batch, lines) in traffic(3000).chunks(900).enumerate() {
        if batch > 0 {
            begin_step(&mut state);
        }
        fold(&criteria, &mut state, lines, &Settings::default());
    }
    for (name, memory) in &state.criteria {
        let text = serde_json::to_string(memory).unwrap();
        println!("{name}: {} bytes: {text}", text.len());
        assert!(text.len() < 1300, "{name}: {} bytes", text.len());
    }
}

#[test]
fn a_changed_threshold_starts_a_fresh_test_for_that_criterion_only() {
    let settings = Settings::default();
    let lines = traffic(100);
    let mut state = State::default();
    let before = [errors(0.005, 0.05), latency(0.95, 0.5, 2.0)];
    fold(&before, &mut state, &lines, &settings);
    let kept = state.criteria["latency"].clone();

    let after = [errors(0.005, 0.04), latency(0.95, 0.5, 2.0)];
    assert_eq!(judge(&after, &state, &settings)[0].have, 0);
    fold(&after, &mut state, &[], &settings);
    assert_eq!(state.criteria["errors"].canary.requests, 0);
    // What the other one does not give back of its share of α is taken from this one.
    let share = state.criteria["latency"].share;
    assert!(share < kept.share);
    assert_eq!(state.criteria["latency"], Memory { share, ..kept });
}

#[test]
fn missing_pods_are_noted_once_a_slot_and_counted_anew_in_each_step() {
    let mut state = State::default();
    note_missing(&mut state, 5, 2);
    note_missing(&mut state, 5, 2);
    note_missing(&mut state, 4, 2);
    assert_eq!(state.missing.total(), 2);
    note_missing(&mut state, 6, 1);
    assert_eq!(state.missing.total(), 3);
    begin_step(&mut state);
    assert_eq!(state.missing.total(), 0);
}

#[test]
fn what_was_missing_some_minutes_ago_is_forgiven() {
    let criteria = [errors(0.005, 0.05)];
    let mut state = State::default();
    let line = |t| slot(t, Revision::Canary, 100, 0);
    let mut reasons = Vec::new();
    for t in 0..600 {
        if (60..120).contains(&t) {
            note_missing(&mut state, t, 1);
        } else {
            fold(&criteria, &mut state, &[line(t)], &Settings::default());
        }
        reasons.push(judge(&criteria, &state, &Settings::default())[0].verdict);
    }
    assert_eq!(reasons[59], Verdict::Pass);
    assert_eq!(reasons[119], Verdict::Unknown);
    assert_eq!(reasons[360], Verdict::Pass);
}

#[test]
fn late_bets_never_exceed_the_cash_however_often_a_step_begins() {
    use tidegate::decide::judge::lanes::Schedule;
    let mut schedule = Schedule::default();
    let mut spent = 0.0;
    for slot in 0..200_000 {
        if slot % 700 == 0 && slot < 20_000 {
            schedule.begin_step();
        }
        let bet = schedule.spend();
        if slot < 900 && slot % 100 == 0 {
            println!("slot {slot}: -ln w = {:.2}", -bet.ln());
        }
        spent += bet;
        assert!(schedule.cash >= 0.0);
    }
    let all = Schedule::default().cash;
    assert!(spent <= all);
    assert!((spent + schedule.cash - all).abs() < 1e-9);
}

#[test]
fn what_was_counted_with_something_else_is_forgotten_and_what_older_builds_counted_is_not() {
    let criteria = [errors(0.05, 0.05)];
    let settings = Settings::default();
    let good = |from: i64| -> Vec<Slot> { (from..from + 60).map(|t| canary(t, 20, 0)).collect() };
    let said = |state: &State| {
        let judgement = judge(&criteria, state, &settings).remove(0);
        (judgement.verdict, judgement.have)
    };
    // An older build wrote nothing of what it counted with.
    let mut state = State::default();
    fold(&criteria, &mut state, &good(0), &settings);
    let mut state: State = serde_json::from_value(serde_json::to_value(&state).unwrap()).unwrap();
    state.read_with("calls");
    assert_eq!(said(&state), (Verdict::Pass, 1200));
    state.read_with("calls");
    fold(&criteria, &mut state, &good(60), &settings);
    assert_eq!(said(&state), (Verdict::Pass, 2400));

    state.read_with("requests");
    fold(&criteria, &mut state, &good(60), &settings);
    assert_eq!(said(&state), (Verdict::Unknown, 0), "slots of before are not folded again");
    assert_eq!(state.window(), None);
    let share = state.criteria["errors"].share.0;
    assert!(share > 0.0 && share <= 1.0, "{share}");
    fold(&criteria, &mut state, &good(120), &settings);
    assert_eq!(said(&state), (Verdict::Pass, 1200));
    assert_eq!(state.window(), Some((120, 180)));
}
