//! How much goes on, in the small world: a run begins and moves on only while it is little.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::decide::snapshot::ProbeResult;

use super::measured::Traffic;
use super::{WELL, World, template};

const QUESTION: &str = "windows.lowTraffic";
const MUCH: (ProbeResult, &str) = (ProbeResult::Failed, "the traffic is 80: it waits until it is below 12.5");
const LITTLE: (ProbeResult, &str) = (ProbeResult::Passed, "the traffic is 3, below 12.5");
const UNKNOWN: (ProbeResult, &str) = (ProbeResult::Unknown, "connection refused");

fn shipped(low: Value, soak: &str, told: (ProbeResult, &'static str)) -> World {
    let half =
        json!([{"name": "half", "replicas": "50%", "soak": soak}, {"name": "all", "replicas": "100%"}]);
    shipped_in(4, half, low, told)
}

/// So many pods, in these steps.
fn shipped_in(replicas: i32, steps: Value, low: Value, told: (ProbeResult, &'static str)) -> World {
    let quarter =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
    let spec = json!({
        "metrics": {"prometheus": {"url": "http://prometheus:9090"}},
        "windows": {"lowTraffic": low},
        "steps": steps,
        "watch": [{"for": "5s", "every": "1s"}],
    });
    let mut world = World::new(replicas, quarter, spec);
    world.answers.insert(QUESTION, told);
    world.push(template("v2", false));
    world
}

fn number() -> Value {
    json!({"promql": "sum(rate(requests[5m]))", "below": "12.5"})
}

fn blocker(world: &World) -> (&str, &str) {
    world.status.blocked_by.as_ref().map_or(("", ""), |blocker| (&blocker.reason, &blocker.message))
}

fn asked(world: &World) -> usize {
    world.asked.iter().filter(|probe| probe.id.check == QUESTION).count()
}

fn ended(world: &mut World, wanted: &str) {
    world.until("an end", |world| world.status.last_run.is_some());
    let last = world.status.last_run.as_ref().unwrap();
    assert_eq!(format!("{:?}", last.outcome), wanted, "{}", world.describe());
}

#[test]
fn a_run_begins_only_while_little_goes_on_and_is_asked_about_twice_a_minute() {
    let mut world = shipped(number(), "5s", MUCH);
    world.until("held", |world| blocker(world).0 == "HighTraffic");
    assert_eq!(blocker(&world).1, MUCH.1);
    assert_eq!(world.phase(), "Held");
    let before = asked(&world);
    world.pass(Duration::from_secs(300));
    let asked = asked(&world) - before;
    assert!((9..=11).contains(&asked), "{asked}");
    assert_eq!(world.alive(), 4, "{}", world.describe());
    world.answers.insert(QUESTION, LITTLE);
    ended(&mut world, "Succeeded");
}

#[test]
fn what_is_not_known_lets_nothing_go_on_and_somebody_may_let_it() {
    let mut world = shipped(number(), "5s", UNKNOWN);
    world.until("held", |world| blocker(world).0 == "TrafficUnknown");
    world.until("said why", |world| blocker(world).1.ends_with("connection refused"));
    world.pass(Duration::from_secs(120));
    assert_eq!(world.alive(), 4, "{}", world.describe());
    world.say("Skip");
    ended(&mut world, "Succeeded");
    let report = world.reports.values().next().unwrap();
    assert_eq!(report.passes.len(), 1);
}

#[test]
fn a_step_waits_while_much_goes_on_and_going_back_does_not() {
    let mut world = shipped(number(), "60s", LITTLE);
    world.until("soaking", |world| world.phase() == "Soaking");
    let before = asked(&world);
    world.pass(Duration::from_secs(20));
    assert_eq!(asked(&world), before, "in the first half of the soak nobody needs to know");
    world.answers.insert(QUESTION, MUCH);
    world.until("held", |world| blocker(world).0 == "HighTraffic");
    assert!(blocker(&world).1.starts_with("step half is done and the next one waits: the traffic is 80"));
    world.pass(Duration::from_secs(60));
    assert_eq!(world.phase(), "Held", "{}", world.describe());
    let mut aborted = world.copy();
    aborted.say("Abort");
    ended(&mut aborted, "Aborted");
    world.answers.insert(QUESTION, LITTLE);
    ended(&mut world, "Succeeded");
}

#[test]
fn a_migration_after_the_watch_waits_while_much_goes_on_and_is_asked_about_towards_its_end() {
    let mut world = shipped(number(), "5s", LITTLE);
    world.job_ends.insert("migration.drop", WELL);
    let job = json!({"template": {"spec": {"template": {"spec": {}}}}});
    let spec = world.release.as_mut().unwrap();
    spec["migrations"] = json!([{"name": "drop", "kind": "Contract", "job": job}]);
    spec["watch"] = json!([{"for": "3m", "every": "1s"}]);
    world.until("watching", |world| world.phase() == "Watching");
    let before = asked(&world);
    world.pass(Duration::from_secs(120));
    assert_eq!(asked(&world), before, "early in the watch nobody needs to know");
    let mut quiet = world.copy();
    let mut skipped = world.copy();
    world.answers.insert(QUESTION, MUCH);
    world.until("held", |world| blocker(world).0 == "HighTraffic");
    assert!(
        blocker(&world).1.starts_with("the watch is over and migration drop waits: the traffic is 80"),
        "{}",
        blocker(&world).1
    );
    world.pass(Duration::from_secs(60));
    assert!(world.jobs.is_empty(), "{}", world.describe());
    world.answers.insert(QUESTION, LITTLE);
    ended(&mut world, "Succeeded");
    assert_eq!(world.jobs.len(), 1);
    // Where little goes on it waits for nothing, and asks no more once it has begun.
    quiet.until("the job is made", |world| {
        assert_eq!(world.phase(), "Watching", "{}", world.describe());
        !world.jobs.is_empty()
    });
    let before = asked(&quiet);
    ended(&mut quiet, "Succeeded");
    assert_eq!(asked(&quiet), before);
    // Somebody ends the watch sooner: then it is asked at once.
    skipped.say("Skip");
    let begun = skipped.now;
    skipped.until("the job is made", |world| !world.jobs.is_empty());
    assert!(skipped.now < begun + Duration::from_secs(20), "{}", skipped.describe());
    ended(&mut skipped, "Succeeded");
}

/// In the soak of the second of three steps, when what was answered before it is old.
fn late_in_the_second_step() -> World {
    let steps = json!([
        {"name": "one", "replicas": 1, "soak": "5s"},
        {"name": "three", "replicas": 3, "soak": "3m"},
        {"name": "all", "replicas": "100%"},
    ]);
    let mut world = shipped_in(10, steps, number(), LITTLE);
    world.until("at three", |world| {
        world.phase() == "Soaking" && world.status.step.as_ref().is_some_and(|step| step.name == "three")
    });
    world.pass(Duration::from_secs(110));
    world
}

#[test]
fn a_step_that_is_left_early_asks_for_the_next_one() {
    let steps = json!([
        {"name": "half", "replicas": "50%", "soak": "1h", "advanceEarly": true},
        {"name": "all", "replicas": "100%"},
    ]);
    let mut world = shipped_in(4, steps, number(), LITTLE);
    world.ready_after = Duration::from_secs(120);
    world.release.as_mut().unwrap()["criteria"] = json!([{"name": "errors", "errorRate": {"limit": "5%"}}]);
    world.meters.traffic = Some(Traffic { requests: 200, ..Traffic::default() });
    world.until("soaking", |world| world.phase() == "Soaking");
    let since = world.now;
    world.until("the next step", |world| world.status.run.as_ref().is_some_and(|run| run.step == 1));
    assert!(world.now.duration_since(since) < jiff::SignedDuration::from_secs(300), "{}", world.describe());
}

#[test]
fn a_later_step_that_is_taken_again_asks_before_it_begins() {
    let mut world = late_in_the_second_step();
    world.scale(20);
    world.until("going back", |world| world.phase() == "Undoing");
    world.until("at three again", |world| {
        world.phase() == "Soaking" && world.status.step.as_ref().is_some_and(|step| step.name == "three")
    });
    ended(&mut world, "Succeeded");
}

#[test]
fn a_later_step_that_is_written_anew_asks_before_it_begins() {
    let mut world = late_in_the_second_step();
    let before = asked(&world);
    world.answers.insert(QUESTION, MUCH);
    world.release.as_mut().unwrap()["steps"][1]["replicas"] = json!(5);
    world.until("held", |world| blocker(world).0 == "HighTraffic");
    assert_eq!(asked(&world), before + 1);
    world.pass(Duration::from_secs(60));
    let canary = world.status.replicas.as_ref().map(|replicas| replicas.canary.pods);
    assert_eq!(canary, Some(3), "{}", world.describe());
    world.answers.insert(QUESTION, LITTLE);
    ended(&mut world, "Succeeded");
}

#[test]
fn an_answer_that_is_old_counts_as_none() {
    let mut world = shipped(number(), "5s", LITTLE);
    // Somebody is waited for meanwhile, and then nothing has been asked for long.
    world.release.as_mut().unwrap()["preflight"] =
        json!([{"name": "sign-off", "approval": {"roles": ["owner"]}}]);
    world.until("asked", |world| asked(world) > 0);
    world.probes.retain(|_, answer| {
        answer.at -= Duration::from_secs(3600);
        true
    });
    world.answers.insert(QUESTION, MUCH);
    world.until("held", |world| blocker(world).0 == "HighTraffic");
    assert!(blocker(&world).1.contains("It can be signed meanwhile: sign-off"), "{}", blocker(&world).1);
}

#[test]
fn what_was_answered_to_another_question_is_no_answer() {
    let mut world = shipped(number(), "5s", LITTLE);
    world.release.as_mut().unwrap()["preflight"] =
        json!([{"name": "sign-off", "approval": {"roles": ["owner"]}}]);
    world.until("asked", |world| asked(world) > 0);
    world.answers.insert(QUESTION, MUCH);
    world.release.as_mut().unwrap()["windows"]["lowTraffic"]["below"] = json!("2");
    world.pass(Duration::from_secs(2));
    assert_eq!(blocker(&world).0, "HighTraffic", "{}", world.describe());
    // And the other way round, without a wait for its turn.
    world.answers.insert(QUESTION, LITTLE);
    world.release.as_mut().unwrap()["windows"]["lowTraffic"]["below"] = json!("200");
    world.pass(Duration::from_secs(2));
    assert_ne!(blocker(&world).0, "HighTraffic", "{}", world.describe());
}

#[test]
fn a_quantile_is_asked_for_every_five_minutes() {
    let mut world = shipped(json!({"promql": "x", "below": "p20"}), "5s", MUCH);
    world.until("held", |world| blocker(world).0 == "HighTraffic");
    let before = asked(&world);
    world.pass(Duration::from_secs(590));
    assert_eq!(asked(&world) - before, 1);
}

#[test]
fn what_is_no_mark_is_said_before_the_run_begins() {
    for (low, words) in [
        (
            json!({"promql": "x", "below": "20%"}),
            "spec.windows.lowTraffic.below: write a number such as 200 or '12.5', or a quantile such as p20",
        ),
        (json!({"promql": "x", "below": "inf"}), "spec.windows.lowTraffic.below"),
        (json!({"promql": "x", "below": "p100"}), "spec.windows.lowTraffic.below"),
        (json!({"promql": "x", "below": {"a": 1}}), "spec.windows.lowTraffic.below"),
        (
            json!({"promql": "x", "below": 3, "over": "24h"}),
            "spec.windows.lowTraffic.over: goes with a quantile",
        ),
        (
            json!({"promql": "x", "below": "p5", "over": "5m"}),
            "spec.windows.lowTraffic.over: write a length of time",
        ),
    ] {
        let mut world = shipped(low, "5s", LITTLE);
        world.until("refused", |world| blocker(world).0 == "InvalidSpec");
        assert!(blocker(&world).1.starts_with(words), "{}", blocker(&world).1);
    }
}
