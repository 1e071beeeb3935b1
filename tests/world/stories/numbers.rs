//! Criteria that count no requests: numbers that are read, and what the canary's pods say of themselves.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::status::{Progress, Said};

use super::{ends, outcome, quarter, quick};
use crate::world::{World, template};

/// `quick` with these criteria, and soaks in which something can be seen.
fn with_criteria(criteria: Value) -> Value {
    let mut spec = quick();
    spec["criteria"] = criteria;
    spec["steps"][1]["soak"] = json!("60s");
    spec
}

fn memory() -> Value {
    json!([{"name": "memory", "value": {"podGauge": {"name": "rss"}, "limit": "value > 100", "target": "value < 80"}}])
}

fn at_half(world: &mut World) {
    world.until("half", |world| {
        world.phase() == "Soaking" && world.status.step.as_ref().is_some_and(|step| step.name == "half")
    });
}

fn canary_pods(world: &mut World) -> impl Iterator<Item = &mut tidegate_sim::native::Pod> {
    let newest = world.sets.iter().max_by_key(|set| set.born).map(|set| set.name.clone());
    world.pods.iter_mut().filter(move |pod| Some(&pod.set) == newest.as_ref())
}

#[test]
fn a_number_over_its_limit_brings_the_old_version_back_and_one_bad_reading_does_not() {
    let mut world = World::new(4, quarter(), with_criteria(memory()));
    world.memory = Some(50.0);
    world.push(template("v2", false));
    at_half(&mut world);
    world.memory = Some(500.0);
    world.pass(Duration::from_secs(6));
    world.memory = Some(50.0);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());

    world.push(template("v3", false));
    at_half(&mut world);
    world.memory = Some(500.0);
    assert_eq!(ends(&mut world, 2), "Undone", "{}", world.describe());
    let last = world.status.last_run.clone().expect("a run has ended");
    assert!(
        last.message
            .starts_with("memory: The value is 500 (pod pod): breaches the limit (value > 100) for 15 s"),
        "{}",
        last.message
    );
    let undo = last.undo.expect("it went back");
    let breached = undo.breach_at.expect("there was a breach").0;
    let seconds = undo.decided_at.0.duration_since(breached).as_secs();
    assert!((15..=20).contains(&seconds), "decided {seconds} s after the first bad reading");
    assert_eq!((world.ready(), world.alive()), (4, 4));
}

#[test]
fn a_number_between_target_and_limit_holds_and_what_is_not_read_neither_passes_nor_undoes() {
    let mut world = World::new(4, quarter(), with_criteria(memory()));
    world.push(template("v2", false));
    let blocked = |world: &World| world.status.blocked_by.clone().map(|blocker| blocker.reason);
    world.until("held without a number", |world| blocked(world).as_deref() == Some("NotEnoughEvidence"));
    world.pass(Duration::from_secs(60));
    assert_eq!(blocked(&world).as_deref(), Some("NotEnoughEvidence"), "{}", world.describe());
    world.memory = Some(90.0);
    world.until("held over its target", |world| blocked(world).as_deref() == Some("AboveTarget"));
    let verdict = world.status.verdicts.first().cloned().expect("a verdict");
    let numbers = (verdict.value.as_deref(), verdict.target.as_str(), verdict.limit.as_str());
    assert_eq!(numbers, (Some("90"), "value < 80", "value > 100"));
    assert_eq!((verdict.counted.as_str(), verdict.source.as_str()), ("samples", "rss of each canary pod"));
    world.memory = Some(70.0);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn a_hold_over_the_target_is_skipped_by_who_says_so_and_no_other_hold_with_it() {
    let mut world = World::new(4, quarter(), with_criteria(memory()));
    world.memory = Some(90.0);
    world.push(template("v2", false));
    let blocked = |world: &World| world.status.blocked_by.clone().map(|blocker| blocker.reason);
    world.until("held over its target", |world| blocked(world).as_deref() == Some("AboveTarget"));
    let step = world.status.step.clone().expect("a step");
    world.say("Skip");
    world.until("held in the next step", |world| {
        let is_next = world.status.step.as_ref().is_some_and(|now| now.index > step.index);
        is_next && blocked(world).as_deref() == Some("AboveTarget")
    });
    let passed = world.status.run.clone().expect("a run").passed;
    assert_eq!(passed.last().and_then(|passed| passed.skipped_by.as_deref()), Some("alice"));
    for later in ["all", "watch"] {
        world.say("Skip");
        world.until("held there, too", |world| {
            world.status.step.as_ref().is_some_and(|now| now.name == later)
                && blocked(world).as_deref() == Some("AboveTarget")
        });
    }
    let said = |reason: &str| Progress {
        skipped: Some(Said { by: "alice".into(), at: passed[0].left, reason: "because".into() }),
        skipped_hold: Some(reason.to_owned()),
        ..Progress::default()
    };
    world.status.run.as_mut().expect("a run").progress = said("NoMeasurements");
    world.pass(Duration::from_secs(10));
    assert_eq!(blocked(&world).as_deref(), Some("AboveTarget"), "it was said of another hold");
    world.status.run.as_mut().expect("a run").progress = said("AboveTarget");
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

#[test]
fn a_criterion_in_the_shadow_or_that_only_notifies_stops_nothing() {
    for more in [json!({"shadow": true}), json!({"onLimit": "Notify"})] {
        let mut criteria = memory();
        criteria[0]["value"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut world = World::new(4, quarter(), with_criteria(criteria));
        world.memory = Some(500.0);
        world.push(template("v2", false));
        at_half(&mut world);
        world.pass(Duration::from_secs(30));
        assert_eq!(world.status.verdicts[0].verdict, "Breach", "{}", world.describe());
        assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    }
}

#[test]
fn a_limit_that_nobody_can_judge_is_refused_before_the_first_pod_with_the_field_and_the_way_out() {
    let stable = |kind: &str, mut more: Value| {
        more["relativeTo"] = json!("stable");
        json!({kind: more})
    };
    let cases = [
        (
            json!({"latency": {"quantile": 0.99, "limit": "0ms"}}),
            "latency.limit: no request takes less than 0ms; write more than that, such as 500ms",
        ),
        (
            json!({"latency": {"quantile": 0.99, "limit": "1s", "target": "0s"}}),
            "latency.target: no request takes less than 0s; write more than that, such as 250ms",
        ),
        (
            json!({"latency": {"quantile": 1.0, "limit": "1s"}}),
            "latency.quantile: 1 is no quantile; it is between 0 and 1: write 0.99",
        ),
        (
            stable("latency", json!({"quantile": 0.99, "limit": "0%"})),
            "latency.limit: nothing can be held against 0% more than stable's; write more than 0%, such as 50%",
        ),
        (
            stable("errorRate", json!({"limit": "50%", "ignoreBelow": "100%"})),
            "errorRate.ignoreBelow: every error rate is at or below 100%: no canary would be too bad; write less than 100%, such as 0.1%",
        ),
        (
            stable("errorRate", json!({"limit": "0%"})),
            "errorRate.limit: nothing can be held against 0% more than stable's; write more than 0%, such as 50%",
        ),
        (
            json!({"errorRate": {"target": "2%", "limit": "1%"}}),
            "errorRate.target: target 2% is above limit 1%; a target is at most the limit: exchange them",
        ),
    ];
    for (mut criterion, problem) in cases {
        criterion["name"] = json!("odd");
        let mut world = World::new(4, quarter(), with_criteria(json!([criterion])));
        world.push(template("v2", false));
        let is_refused = |world: &World| {
            world.status.blocked_by.as_ref().is_some_and(|blocker| blocker.reason == "InvalidSpec")
        };
        world.until("refused", is_refused);
        let blocker = world.status.blocked_by.clone().expect("blocked");
        assert_eq!(blocker.message, format!("spec.criteria[0].{problem}"));
        assert_eq!((world.ready(), world.alive()), (4, 4), "no pod of it");
    }
}

#[test]
fn a_limit_that_nobody_can_judge_stops_no_run_that_goes_on_without_it_and_no_breach_of_another() {
    for more in [json!({"shadow": true}), json!({"onLimit": "Notify"})] {
        let mut odd = json!({"quantile": 0.99, "limit": "0ms"});
        odd.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut world = World::new(4, quarter(), with_criteria(json!([{"name": "odd", "latency": odd}])));
        world.push(template("v2", false));
        assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    }
    let mut world = World::new(4, quarter(), with_criteria(memory()));
    world.memory = Some(50.0);
    world.push(template("v2", false));
    at_half(&mut world);
    let odd = json!({"name": "odd", "latency": {"quantile": 0.99, "limit": "0ms"}});
    let criteria = &mut world.release.as_mut().expect("a Release")["criteria"];
    criteria.as_array_mut().expect("criteria").push(odd);
    let blocked = |world: &World| world.status.blocked_by.clone().map(|blocker| blocker.reason);
    world.until("held", |world| blocked(world).as_deref() == Some("InvalidSpec"));
    world.memory = Some(500.0);
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
}

#[test]
fn of_more_breaches_than_a_run_has_room_for_notes_each_is_told_once() {
    let one = |number: i32| json!({"name": format!("restarts-{number}"), "restarts": {"limit": 0, "onLimit": "Notify"}});
    let mut world = World::new(4, quarter(), with_criteria((0..20).map(one).collect()));
    world.push(template("v2", false));
    at_half(&mut world);
    canary_pods(&mut world).for_each(|pod| pod.restarts = 1);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.status.run.as_ref().expect("a run").notes.len(), 16, "{}", world.describe());
    for number in 0..20 {
        let begins = format!("restarts-{number}: ");
        let told =
            world.notices.iter().filter(|one| one.reason == "LimitBreached" && one.note.starts_with(&begins));
        assert_eq!(told.count(), 1, "{begins}");
    }
}

#[test]
fn restarts_and_lost_readiness_of_canary_pods_bring_the_old_version_back() {
    let criteria = json!([
        {"name": "ready", "availability": {"limit": "90%", "for": "20s"}},
        {"name": "restarts", "restarts": {"limit": 1}},
    ]);
    let mut world = World::new(4, quarter(), with_criteria(criteria));
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());

    world.push(template("v3", false));
    at_half(&mut world);
    canary_pods(&mut world).for_each(|pod| pod.restarts = 1);
    assert_eq!(ends(&mut world, 2), "Undone", "{}", world.describe());
    let message = world.status.last_run.clone().expect("ended").message;
    let expected =
        "restarts: Containers of the canary's pods were restarted 2 times: more than the limit of 1.";
    assert_eq!(message, expected);

    world.push(template("v4", false));
    at_half(&mut world);
    let since = world.now;
    while world.status.last_run.as_ref().is_some_and(|last| last.number < 3) {
        // As a pod that is Ready and then is not any more.
        let now = world.now;
        if let Some(pod) = canary_pods(&mut world).next() {
            (pod.ready_since, pod.born) = (None, now);
        }
        world.tick();
        assert!(world.now < since + Duration::from_secs(120), "{}", world.describe());
    }
    let last = world.status.last_run.clone().expect("ended");
    assert_eq!(outcome(&world), "Undone");
    let expected = "ready: 50% of the canary's pods are Ready: below the limit of 90% for 20 s.";
    assert_eq!(last.message, expected);
}

#[test]
fn a_long_watch_of_the_pods_status_writes_nothing() {
    let criteria = json!([{"name": "ready", "availability": {"limit": "90%"}}, {"name": "restarts", "restarts": {"limit": 1}}]);
    let mut spec = with_criteria(criteria);
    spec["watch"] = json!([{"for": "1h", "every": "30m"}]);
    let mut world = World::new(3, quarter(), spec);
    world.push(template("v2", false));
    world.until("watching", |world| world.phase() == "Watching");
    world.pass(Duration::from_secs(20));
    let writes = world.status_writes;
    world.pass(Duration::from_secs(40));
    assert_eq!(world.status_writes - writes, 0, "{}", world.describe());
    let verdicts: Vec<_> = world.status.verdicts.iter().map(|verdict| verdict.verdict.as_str()).collect();
    assert_eq!(verdicts, ["Pass", "Pass"]);
}

#[test]
fn a_container_killed_for_its_memory_brings_the_old_version_back_at_once() {
    let mut world = World::new(4, quarter(), with_criteria(json!([])));
    world.push(template("v2", false));
    at_half(&mut world);
    // It runs again by now: that it was killed stands in its last state.
    if let Some(pod) = canary_pods(&mut world).next() {
        (pod.restarts, pod.ended) = (1, Some("OOMKilled"));
    }
    let since = world.now;
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    let last = world.status.last_run.clone().expect("ended");
    assert!(last.message.starts_with("1 of 2 canary pods: OOMKilled (pod "), "{}", last.message);
    let decided = last.undo.expect("it went back").decided_at.0;
    assert!(decided.duration_since(since).as_secs() < 1, "{decided}");
}
