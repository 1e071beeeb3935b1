//! Jobs of checks: how they ended, and what they said.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BADLY, Ending, WELL, World, template};

fn rolling() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
}

/// A version is shipped under a check whose Job says how many tests failed.
fn shipped(ending: Ending, more: Value) -> World {
    let mut job = json!({
        "template": {"spec": {"template": {"spec": {}}}},
        "result": {"from": "LastLogLine", "expression": "result.failed == 0"},
    });
    job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let spec = json!({
        "preflight": [{"name": "tests", "job": job}],
        "steps": [{"name": "all", "replicas": "100%"}],
        "watch": [],
    });
    let mut world = World::new(4, rolling(), spec);
    world.job_ends.insert("tests", ending);
    world.push(template("v2", false));
    world
}

fn reason(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| blocker.reason.as_str())
}

fn message(world: &World) -> &str {
    &world.status.run.as_ref().unwrap().checks[0].message
}

fn ended(world: &mut World) -> String {
    world.until("the end", |world| world.status.last_run.is_some());
    format!("{:?}", world.status.last_run.as_ref().unwrap().outcome)
}

#[test]
fn a_job_passes_when_what_it_says_is_as_expected_and_its_log_is_kept() {
    let mut world = shipped(Ending { says: Some("{\"failed\": 0}"), ..WELL }, json!({}));
    assert_eq!(ended(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 1);
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    assert_eq!(report.checks[0].log, ["{\"failed\": 0}"]);
    assert!(report.checks[0].message.ends_with("as expected: result.failed == 0"), "{:?}", report.checks);
}

#[test]
fn a_job_that_ends_well_and_says_otherwise_has_failed() {
    let mut world = shipped(Ending { says: Some("{\"failed\": 3}"), ..WELL }, json!({}));
    world.until("held", |world| reason(world) == "CheckFailed");
    assert!(message(&world).ends_with("but its result is not as expected: result.failed == 0"));
    world.job_ends.insert("tests", Ending { says: Some("{\"failed\": 0}"), ..WELL });
    world.say("Retry");
    assert_eq!(ended(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 2);
}

#[test]
fn what_cannot_be_read_is_unknown_and_read_again() {
    let mut world = shipped(Ending { says: None, ..WELL }, json!({}));
    world.until("unknown", |world| reason(world) == "CheckUnknown");
    world.pass(Duration::from_secs(60));
    assert_eq!(reason(&world), "CheckUnknown", "never passed: {}", world.describe());
    assert!(message(&world).contains("could not be read: its pod is gone"), "{}", message(&world));
    world.job_ends.insert("tests", Ending { says: Some("{\"failed\": 0}"), ..WELL });
    assert_eq!(ended(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 1, "it ran once");
}

#[test]
fn a_log_that_is_only_kept_holds_nothing_up() {
    let mut world = shipped(Ending { says: None, ..WELL }, json!({"result": null}));
    assert_eq!(ended(&mut world), "Succeeded", "{}", world.describe());
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    let message = &report.checks[0].message;
    assert!(message.ends_with("succeeded (its log could not be read: its pod is gone)"), "{message}");
}

#[test]
fn of_a_job_that_fails_the_end_of_its_log_says_why_unless_that_is_not_wanted() {
    let mut world = shipped(BADLY, json!({}));
    world.until("held", |world| reason(world) == "CheckFailed");
    let check = world.status.run.as_ref().unwrap().checks[0].clone();
    assert!(check.message.ends_with("it failed; it said: no such table"), "{}", check.message);
    assert_eq!(check.log, ["no such table"]);

    let mut world = shipped(BADLY, json!({"logs": "None"}));
    world.until("held", |world| reason(world) == "CheckFailed");
    let check = world.status.run.as_ref().unwrap().checks[0].clone();
    assert!(check.message.ends_with("it failed") && check.log.is_empty(), "{check:?}");
}

#[test]
fn killed_after_its_job_was_made_it_finds_it_again() {
    let mut world = shipped(Ending { says: Some("{\"failed\": 0}"), ..WELL }, json!({}));
    // Each look that makes it dies before status is written.
    while world.jobs.is_empty() {
        world.dies_after = Some(1);
        world.tick();
        if world.status.run.is_none() {
            world.tick();
        }
    }
    assert_eq!(ended(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 1);
}
