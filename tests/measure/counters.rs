use std::time::Duration;

use proptest::prelude::*;
use tidegate::decide::judge::{Bound, Revision, Slot};
use tidegate::observe::measure::counters::{Ledger, Reading, SERIES_APART, Taken};
use tidegate::observe::measure::pace::{Reads, cadence};
use tidegate::observe::measure::{Asked, Counts, ReadError, SeriesValue};
use tidegate::watch::ObjectKey;
use tidegate::watch::room::Room;

const GOOD: Counts = Counts::Requests { error: Some(false) };
const BAD: Counts = Counts::Requests { error: Some(true) };
const UNTOLD: Counts = Counts::Requests { error: None };

fn series(series: u64, counts: Counts, value: f64) -> SeriesValue {
    SeriesValue { series, counts, value }
}

/// A stable pod that has long been there, with so many good and failed requests.
fn stable(pod: &str, good: f64, bad: f64) -> Reading {
    Reading {
        pod: pod.to_owned(),
        revision: Revision::Stable,
        started_at: Some(0),
        container_restarts: 0,
        is_due: true,
        result: Ok(vec![series(1, GOOD, good), series(2, BAD, bad)]),
    }
}

fn canary(pod: &str, started_at: i64, good: f64, bad: f64) -> Reading {
    Reading { revision: Revision::Canary, started_at: Some(started_at), ..stable(pod, good, bad) }
}

fn unread(reading: Reading) -> Reading {
    Reading { result: Err(ReadError::Status { asked: Asked::Pod, status: 503 }), ..reading }
}

/// `(t, requests, errors)` of each slot.
fn counts(taken: &Taken) -> Vec<(i64, u64, u64)> {
    taken.slots.iter().map(|slot| (slot.t, slot.requests, slot.errors)).collect()
}

/// What each round of one pod came to.
fn rounds(readings: impl IntoIterator<Item = (i64, Reading)>) -> Vec<Vec<(i64, u64, u64)>> {
    let mut ledger = Ledger::new();
    readings.into_iter().map(|(at, reading)| counts(&ledger.take(at, vec![reading]))).collect()
}

#[test]
fn a_slot_is_what_happened_since_the_last_round() {
    let taken = rounds([
        (100, stable("a", 1000.0, 10.0)),
        (101, stable("a", 1020.0, 10.0)),
        (102, stable("a", 1020.0, 13.0)),
        (107, stable("a", 1020.0, 13.0)),
    ]);
    assert_eq!(taken, [vec![], vec![(100, 20, 0)], vec![(101, 3, 3)], vec![(102, 0, 0)]]);
}

#[test]
fn a_clock_that_is_set_back_loses_no_count_and_counts_none_twice() {
    let taken = rounds([
        (100_000, stable("a", 1000.0, 0.0)),
        (100_005, stable("a", 1010.0, 1.0)),
        (96_400, stable("a", 1030.0, 2.0)),
        (96_400, stable("a", 1031.0, 2.0)),
        (96_405, stable("a", 1040.0, 3.0)),
    ]);
    assert_eq!(taken, [vec![], vec![(100_000, 11, 1)], vec![(96_399, 21, 1)], vec![], vec![(96_400, 11, 1)]]);

    // Nothing is missing unnoticed either, and a pod that starts after it counts from its first request.
    let mut ledger = Ledger::new();
    ledger.take(100_000, vec![stable("a", 1000.0, 0.0)]);
    let taken = ledger.take(96_400, vec![unread(stable("a", 0.0, 0.0))]);
    assert_eq!(taken.missing.len(), 1);
    let taken = ledger.take(96_405, vec![stable("a", 1005.0, 0.0), canary("b", 96_401, 4.0, 2.0)]);
    assert_eq!(counts(&taken), [(96_400, 5, 0), (96_400, 6, 2)]);
}

#[test]
fn a_pod_is_missing_from_when_there_should_be_something_to_read_of_it() {
    let mut ledger = Ledger::new();
    let young = |reading| Reading { is_due: false, ..reading };
    let mut missing = |at, reading| ledger.take(at, vec![reading]).missing.len();
    assert_eq!(missing(100, young(unread(canary("b", 99, 0.0, 0.0)))), 0);
    assert_eq!(missing(101, unread(canary("b", 99, 0.0, 0.0))), 1);
    assert_eq!(missing(102, canary("b", 99, 1.0, 0.0)), 0);
    // Not Ready any more.
    assert_eq!(missing(103, young(unread(canary("b", 99, 0.0, 0.0)))), 1, "it was read before");
}

#[test]
fn the_first_errors_of_a_new_pod_count() {
    let mut ledger = Ledger::new();
    ledger.take(100, vec![stable("a", 1000.0, 0.0)]);
    let taken = ledger.take(101, vec![stable("a", 1001.0, 0.0), canary("b", 100, 1.0, 4.0)]);
    assert_eq!(counts(&taken), [(100, 1, 0), (100, 5, 4)]);
}

#[test]
fn a_new_pod_that_answers_late_loses_nothing() {
    let mut ledger = Ledger::new();
    ledger.take(100, vec![stable("a", 0.0, 0.0)]);
    for at in [101, 102, 103] {
        let taken = ledger.take(at, vec![unread(canary("b", 101, 0.0, 0.0))]);
        assert_eq!(taken, Taken { slots: vec![], missing: vec![(Revision::Canary, "b".to_owned())] });
    }
    assert_eq!(counts(&ledger.take(104, vec![canary("b", 101, 0.0, 9.0)])), [(103, 9, 9)]);

    // Started after the ledger began, listed only once it was ready: the same.
    assert_eq!(counts(&ledger.take(110, vec![canary("c", 102, 0.0, 5.0)])), [(104, 5, 5)]);
}

#[test]
fn the_first_reading_of_an_old_pod_is_only_something_to_compare_with() {
    let mut ledger = Ledger::new();
    ledger.take(100, vec![stable("a", 0.0, 0.0)]);
    let taken = ledger.take(101, vec![canary("b", 99, 500.0, 5.0)]);
    assert_eq!(taken, Taken::default());
    assert_eq!(counts(&ledger.take(102, vec![canary("b", 99, 501.0, 5.0)])), [(101, 1, 0)]);

    let unknown = |good| Reading { started_at: None, ..stable("c", good, 0.0) };
    assert_eq!(ledger.take(103, vec![unknown(70.0)]), Taken::default());
    assert_eq!(counts(&ledger.take(104, vec![unknown(75.0)])), [(103, 5, 0)]);
}

#[test]
fn a_gap_is_one_slot_and_never_zero() {
    let mut ledger = Ledger::new();
    ledger.take(100, vec![stable("a", 10.0, 0.0)]);
    for at in [105, 110] {
        let taken = ledger.take(at, vec![unread(stable("a", 0.0, 0.0))]);
        assert_eq!(taken, Taken { slots: vec![], missing: vec![(Revision::Stable, "a".to_owned())] });
    }
    assert_eq!(counts(&ledger.take(115, vec![stable("a", 40.0, 2.0)])), [(110, 32, 2)]);
}

#[test]
fn a_counter_that_fell_counts_from_zero_and_a_new_series_too() {
    let mut ledger = Ledger::new();
    ledger.take(100, vec![stable("a", 1000.0, 5.0)]);
    assert_eq!(counts(&ledger.take(101, vec![stable("a", 3.0, 6.0)])), [(100, 4, 1)]);
    let mut more = stable("a", 3.0, 6.0);
    more.result = more.result.map(|values| [values, vec![series(3, BAD, 2.0)]].concat());
    assert_eq!(counts(&ledger.take(102, vec![more])), [(101, 2, 2)]);
}

#[test]
fn a_restarted_container_counts_from_zero_even_where_no_counter_fell() {
    let restarted = Reading { started_at: Some(101), container_restarts: 1, ..stable("a", 9.0, 5.0) };
    let taken = rounds([(100, stable("a", 7.0, 3.0)), (102, restarted)]);
    assert_eq!(taken, [vec![], vec![(100, 14, 5)]]);
}

#[test]
fn a_restart_that_the_status_tells_of_late_is_not_counted_twice() {
    let restarted =
        |good, bad| Reading { started_at: Some(101), container_restarts: 1, ..stable("a", good, bad) };
    let taken = rounds([
        (100, stable("a", 7.0, 3.0)),
        (102, stable("a", 1.0, 4.0)),
        (103, restarted(2.0, 4.0)),
        (104, restarted(2.0, 6.0)),
    ]);
    assert_eq!(taken, [vec![], vec![(100, 2, 1)], vec![(102, 1, 0)], vec![(103, 2, 2)]]);

    // Clocks apart: the start seems to lie after the round that saw the counters fall.
    let restarted =
        |good, bad| Reading { started_at: Some(104), container_restarts: 1, ..stable("a", good, bad) };
    let taken =
        rounds([(100, stable("a", 7.0, 3.0)), (102, stable("a", 1.0, 4.0)), (103, restarted(2.0, 4.0))]);
    assert_eq!(taken[2], [(102, 1, 0)]);
}

#[test]
fn a_series_that_vanishes_and_returns_loses_nothing() {
    let mut ledger = Ledger::new();
    let nothing = Reading { result: Ok(vec![]), ..stable("a", 0.0, 0.0) };
    ledger.take(100, vec![stable("a", 10.0, 1.0)]);
    assert_eq!(counts(&ledger.take(101, vec![nothing])), [(100, 0, 0)]);
    assert_eq!(counts(&ledger.take(102, vec![stable("a", 15.0, 1.0)])), [(101, 5, 0)]);
}

#[test]
fn a_pod_without_a_counter_yet_counts_from_its_first_request() {
    let idle = Reading { result: Ok(vec![]), ..stable("a", 0.0, 0.0) };
    let taken = rounds([(100, idle.clone()), (101, idle), (102, stable("a", 0.0, 1.0))]);
    assert_eq!(taken, [vec![], vec![(100, 0, 0)], vec![(101, 1, 1)]]);
}

#[test]
fn what_a_new_pod_gets_wrong_before_the_first_round_counts_when_the_ledger_had_begun() {
    let mut ledger = Ledger::new().beginning(100);
    let first =
        ledger.take(115, vec![canary("b", 102, 5.0, 3.0), stable("a", 70.0, 1.0), canary("c", 99, 9.0, 0.0)]);
    assert_eq!(counts(&first), [(100, 8, 3)], "others were there before");
    assert_eq!(first.slots[0].pod, "b");
    let next =
        ledger.take(130, vec![canary("b", 102, 6.0, 3.0), stable("a", 72.0, 1.0), canary("c", 99, 9.0, 4.0)]);
    assert_eq!(counts(&next), [(115, 2, 0), (115, 1, 0), (115, 4, 4)]);

    // Begun by its first round, it knows nothing of what started before.
    let late = rounds([(115, canary("b", 102, 5.0, 3.0)), (130, canary("b", 102, 6.0, 3.0))]);
    assert_eq!(late, [vec![], vec![(115, 1, 0)]]);
}

#[test]
fn a_pod_that_went_away_and_came_back_is_not_counted_twice() {
    let mut ledger = Ledger::new();
    ledger.take(100, vec![stable("a", 0.0, 0.0)]);
    ledger.take(101, vec![canary("b", 100, 50.0, 0.0)]);
    assert_eq!(ledger.take(102, vec![]), Taken::default());
    assert_eq!(ledger.take(103, vec![canary("b", 100, 60.0, 0.0)]), Taken::default());
    assert_eq!(counts(&ledger.take(104, vec![canary("b", 100, 61.0, 0.0)])), [(103, 1, 0)]);

    // The same name, another pod: a StatefulSet.
    ledger.take(105, vec![]);
    assert_eq!(counts(&ledger.take(106, vec![canary("b", 105, 2.0, 1.0)])), [(105, 3, 1)]);
    // And without a round in between.
    let replaced = Reading { revision: Revision::Stable, ..canary("b", 107, 90.0, 1.0) };
    let taken = ledger.take(108, vec![replaced]);
    assert_eq!(counts(&taken), [(106, 91, 1)]);
    assert_eq!(taken.slots[0].revision, Revision::Stable);
}

#[test]
fn errors_are_at_most_the_requests_and_buckets_never_fall() {
    let bucket =
        |id, seconds, value| series(id, Counts::Bucket(Bound::new(seconds).expect("a number")), value);
    let reading = |factor: f64| Reading {
        result: Ok(vec![
            series(1, GOOD, 0.0),
            series(2, BAD, factor * 3.0),
            series(2, BAD, factor * 7.0),
            series(3, GOOD, f64::NAN),
            series(4, GOOD, -5.0),
            series(5, GOOD, f64::INFINITY),
            bucket(6, 0.1, factor * 5.0),
            bucket(7, 0.5, factor * 4.0),
            bucket(8, f64::INFINITY, factor * 6.0),
        ]),
        ..stable("a", 0.0, 0.0)
    };
    let mut ledger = Ledger::new();
    ledger.take(1, vec![reading(0.0)]);
    let taken = ledger.take(2, vec![reading(1.0)]);
    let le = [(0.1, 5), (0.5, 5), (f64::INFINITY, 6)];
    let le = le.map(|(seconds, count)| (Bound::new(seconds).expect("a number"), count));
    let expected = Slot {
        t: 1,
        revision: Revision::Stable,
        pod: "a".to_owned(),
        requests: 3,
        errors: 3,
        untold: 0,
        le: le.into_iter().collect(),
        warming: false,
    };
    assert_eq!(taken.slots, [expected]);
}

#[test]
fn errors_beyond_the_requests_are_cut() {
    use tidegate::observe::measure::counters::Totals;
    let torn = Totals { requests: 2.0, errors: 3.0, untold: 0.0, le: [].into() };
    assert_eq!(torn.into_slot(0, Revision::Canary, "a".to_owned()).errors, 2);
}

#[test]
fn requests_without_a_status_are_told_apart_from_good_ones() {
    let reading = |untold: f64| Reading {
        result: Ok(vec![
            SeriesValue { series: 1, counts: GOOD, value: 7.0 },
            SeriesValue { series: 2, counts: UNTOLD, value: untold },
        ]),
        ..stable("a", 0.0, 0.0)
    };
    let mut ledger = Ledger::new();
    ledger.take(1, vec![reading(2.0)]);
    let slot = ledger.take(2, vec![reading(5.0)]).slots.remove(0);
    assert_eq!((slot.requests, slot.errors, slot.untold), (3, 0, 3));
}

#[test]
fn a_second_round_of_the_same_second_says_nothing() {
    let mut ledger = Ledger::new();
    ledger.take(100, vec![stable("a", 0.0, 0.0)]);
    assert_eq!(ledger.take(100, vec![stable("a", 5.0, 0.0)]), Taken::default());
    assert_eq!(counts(&ledger.take(101, vec![stable("a", 7.0, 0.0)])), [(100, 7, 0)]);
}

#[test]
fn more_series_than_are_kept_apart_are_summed() {
    let many = u64::try_from(SERIES_APART).expect("small") + 100;
    let reading = |value: f64, from: u64| Reading {
        result: Ok((from..many).map(|id| series(id, GOOD, value)).chain([series(many, BAD, 0.0)]).collect()),
        ..stable("a", 0.0, 0.0)
    };
    let taken = rounds([
        (100, reading(10.0, 0)),
        (101, reading(11.0, 0)),
        // Half of those that are summed vanish: no reset, so nothing is made up.
        (
            102,
            Reading {
                result: reading(11.0, 0).result.map(|values| values[..SERIES_APART + 50].to_vec()),
                ..reading(0.0, 0)
            },
        ),
        // All fall: all count from 0.
        (103, reading(1.0, 0)),
    ]);
    assert_eq!(taken, [vec![], vec![(100, many, 0)], vec![(101, 0, 0)], vec![(102, many, 0)]]);
}

/// A stable pod with so many series, each of which has counted so much.
fn with_series(pod: &str, ids: std::ops::Range<u64>, value: f64) -> Reading {
    Reading { result: Ok(ids.map(|id| series(id, GOOD, value)).collect()), ..stable(pod, 0.0, 0.0) }
}

/// Bytes of a series that is kept: which one, and its value.
const KEPT: usize = 16;

#[test]
fn a_ledger_takes_room_for_the_series_of_its_pods_and_gives_it_back_with_them() {
    let room = Room::of(1 << 20);
    let mut ledger = Ledger::within(&room, &ObjectKey::new("shop", "cart"));
    let mut kept = |at, readings| {
        ledger.take(at, readings);
        room.taken() / KEPT
    };
    let b = || with_series("b", 0..60, 1.0);
    assert_eq!(kept(100, vec![with_series("a", 0..60, 1.0), b()]), 120);
    assert_eq!(kept(105, vec![with_series("a", 0..70, 1.0), b()]), 130);
    let restarted =
        Reading { started_at: Some(107), container_restarts: 1, ..with_series("a", 1000..1050, 1.0) };
    assert_eq!(kept(110, vec![restarted, b()]), 110, "the process before takes none");
    assert_eq!(kept(115, vec![b()]), 60);
    assert_eq!(kept(120, vec![unread(b())]), 60, "it may be read again");
    drop(ledger);
    assert_eq!(room.taken(), 0);
}

#[test]
fn a_pod_whose_series_find_no_room_is_missing_until_they_do_and_nothing_is_lost() {
    // Half of it: a hundred series.
    let room = Room::of(200 * KEPT);
    let mut ledger = Ledger::within(&room, &ObjectKey::new("shop", "cart"));
    ledger.take(100, vec![with_series("a", 0..90, 1.0)]);
    let taken = ledger.take(105, vec![with_series("a", 0..120, 2.0)]);
    assert_eq!(taken, Taken { slots: vec![], missing: vec![(Revision::Stable, "a".to_owned())] });
    assert_eq!(counts(&ledger.take(110, vec![with_series("a", 0..90, 3.0)])), [(105, 180, 0)]);
}

proptest! {
    /// Whatever is missed and whenever the process restarts with a status that tells: what was counted is what is told,
    /// but for what a process counted after its last good reading.
    #[test]
    fn nothing_is_counted_twice_and_only_a_restart_loses(
        steps in proptest::collection::vec((0u32..50, 0u32..5, prop::bool::weighted(0.2), prop::bool::weighted(0.1)), 1..60)
    ) {
        let mut ledger = Ledger::new();
        ledger.take(0, vec![]);
        let (mut good, mut bad, mut restarts, mut started) = (0u32, 0u32, 0, 1);
        let (mut expected, mut told, mut unread_yet) = (0u64, 0u64, 0u64);
        for (at, (more_good, more_bad, missed, restart)) in (1i64..).zip(steps) {
            let at = at * 5;
            if restart {
                (good, bad, restarts, started, unread_yet) = (0, 0, restarts + 1, at - 1, 0);
            }
            good += more_good;
            bad += more_bad;
            unread_yet += u64::from(more_good + more_bad);
            let mut reading = canary("a", started, f64::from(good), f64::from(bad));
            reading.container_restarts = restarts;
            if missed {
                reading = unread(reading);
            } else {
                expected += unread_yet;
                unread_yet = 0;
            }
            let taken = ledger.take(at, vec![reading]);
            prop_assert_eq!(taken.missing.len(), usize::from(missed));
            told += taken.slots.iter().map(|slot| slot.requests).sum::<u64>();
        }
        prop_assert_eq!(told, expected);
    }
}

fn reads(pods: usize, seconds: u64) -> Reads {
    Reads { pods, every: Duration::from_secs(seconds) }
}

#[test]
fn a_run_is_read_less_often_where_its_namespace_wants_more_than_its_share() {
    let seconds = |namespace: &str, every, all: &[(&'static str, Reads)], cap| {
        cadence(namespace, Duration::from_secs(every), all.iter().copied(), cap).as_secs()
    };
    let alone = |every, pods, cap| seconds("shop", every, &[("shop", reads(pods, every))], cap);
    assert_eq!([alone(1, 0, 300), alone(1, 300, 300), alone(1, 301, 300)], [1, 1, 2]);
    assert_eq!([alone(5, 300, 300), alone(5, 1500, 300), alone(5, 3000, 300)], [5, 5, 10]);
    assert_eq!(alone(1, 7, 0), 7);
    assert!(alone(1, usize::MAX, 1) > 1);
    // Whoever wants little has it, and those who want more share the rest.
    let all = [("noisy", reads(3000, 1)), ("loud", reads(10_000, 1)), ("shop", reads(100, 1))];
    assert_eq!(["shop", "noisy", "loud"].map(|namespace| seconds(namespace, 1, &all, 300)), [1, 30, 100]);
    // A namespace with many runs has no more than one with one.
    let all = [("noisy", reads(300, 1)), ("noisy", reads(300, 1)), ("shop", reads(150, 1))];
    assert_eq!(["shop", "noisy"].map(|namespace| seconds(namespace, 1, &all, 300)), [1, 4]);
}

proptest! {
    #[test]
    fn all_reads_together_stay_within_the_cap(
        runs in prop::collection::vec((0..12_usize, 0..2000_usize, 1..30_u64), 1..40),
        cap in 0..500_u32,
    ) {
        let names: Vec<String> = (0..12).map(|namespace| format!("team-{namespace}")).collect();
        let all: Vec<(&str, Reads)> =
            runs.iter().map(|(of, pods, every)| (names[*of].as_str(), reads(*pods, *every))).collect();
        let wait = |(namespace, own): &(&str, Reads)| {
            cadence(namespace, own.every, all.iter().copied(), cap).as_secs()
        };
        let waits: Vec<u64> = all.iter().map(wait).collect();
        let a_second: f64 = runs.iter().zip(&waits).map(|((_, pods, _), wait)| *pods as f64 / *wait as f64).sum();
        prop_assert!(a_second <= f64::from(cap.max(1)) + 1e-6, "{a_second} a second");
        prop_assert!(runs.iter().zip(&waits).all(|((_, _, every), wait)| wait >= every));
    }
}
