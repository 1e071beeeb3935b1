//! What is kept, for how long, and as far as there is room.

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
    assert_eq!(known(), (r#"Mark("a") Mark("b")"#.into(), "c".into()), "one that goes out takes none away");
    assert_eq!(marks("b", None), News::ForStatus);
    assert_eq!(known(), (r#"Mark("a")"#.into(), "b c".into()));

    let prune = |handled: &[&str]| {
        let entry =
            |uid: &&str| json!({"uid": uid, "action": "Pause", "done": true, "message": "standing still"});
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
        target: None,
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
