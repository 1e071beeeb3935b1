//! Jobs of checks: how they ended, and what they said.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::status::Stamp;
use tidegate::decide::snapshot::{ProbeAnswer, ProbeId, ProbeResult};

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

#[test]
fn of_many_jobs_a_few_are_made_in_a_look_and_each_of_them_once() {
    const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let job = json!({"template": {"spec": {"template": {"spec": {}}}}});
    let checks = NAMES.map(|name| json!({"name": name, "job": job}));
    let spec = json!({"steps": [{"name": "all", "replicas": "100%", "checks": checks}], "watch": []});
    let mut world = World::new(4, rolling(), spec);
    world.job_ends.extend(NAMES.map(|name| (name, WELL)));
    world.push(template("v2", false));
    world.until("the first are made", |world| !world.jobs.is_empty());
    assert_eq!(world.jobs.len(), 4, "{:?}", world.jobs);
    world.tick();
    assert_eq!(world.jobs.len(), 8, "{:?}", world.jobs);
    assert_eq!(ended(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 8, "{:?}", world.jobs);
}

#[test]
fn a_clock_that_is_set_back_makes_no_job_twice() {
    let spec = json!({
        "steps": [
            {"name": "half", "replicas": "50%", "soak": "5s"},
            {"name": "all", "replicas": "100%", "checks": [{"name": "tests", "job": {"template": {"spec": {"template": {"spec": {}}}}}}]},
        ],
        "watch": [],
    });
    let mut world = World::new(4, rolling(), spec);
    world.job_ends.insert("tests", WELL);
    world.push(template("v2", false));
    world.until("the last step", |world| world.status.run.as_ref().is_some_and(|run| run.step == 1));
    // By the clock of the next leader the step begins in half a minute.
    let begun = &mut world.status.run.as_mut().unwrap().progress.begun;
    *begun = begun.map(|begun| Stamp(begun.0 + Duration::from_secs(30)));
    let writes = world.status_writes;
    assert_eq!(ended(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 1, "{:?}", world.jobs);
    assert!(world.status_writes < writes + 20, "{}", world.status_writes);
}

/// The check's Job is to say something else than it was.
fn correct(world: &mut World, prints: &'static str) {
    let job = &mut world.release.as_mut().unwrap()["preflight"][0]["job"];
    job["template"]["spec"]["template"]["spec"]["containers"] = json!([{"args": [prints]}]);
    world.job_ends.insert("tests", Ending { says: Some(prints), ..WELL });
}

#[test]
fn one_that_is_corrected_after_it_failed_is_tried_anew_by_itself() {
    let mut world = shipped(Ending { says: Some("{\"failed\": 3}"), ..WELL }, json!({}));
    world.until("held", |world| reason(world) == "CheckFailed");
    // How much its answer counts, and when it is asked again, is not what it asks for.
    world.release.as_mut().unwrap()["preflight"][0]["every"] = json!("5m");
    world.pass(Duration::from_secs(60));
    assert_eq!((reason(&world), world.jobs.len()), ("CheckFailed", 1));
    correct(&mut world, "{\"failed\": 0}");
    assert_eq!(ended(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 2, "once for each definition: {:?}", world.jobs);
}

#[test]
fn a_retry_that_is_heard_of_before_the_correction_does_not_leave_the_run_held() {
    let mut world = shipped(Ending { says: Some("{\"failed\": 3}"), ..WELL }, json!({}));
    world.until("held", |world| reason(world) == "CheckFailed");
    world.say("Retry");
    world.until("tried again as it was", |world| world.jobs.len() == 2);
    let before = world.jobs.clone();
    world.release.as_mut().unwrap()["preflight"][0]["timeout"] = json!("11m");
    world.until("the old one has ended, and only then the new one is made", |world| world.jobs.len() == 3);
    assert!(!before.contains(&world.jobs[2]), "{:?}", world.jobs);
    correct(&mut world, "{\"failed\": 0}");
    assert_eq!(ended(&mut world), "Succeeded", "{}", world.describe());
}

#[test]
fn a_job_whose_making_was_forgotten_is_not_taken_for_one_of_the_corrected_check() {
    let mut world = shipped(Ending { says: Some("{\"failed\": 3}"), ..WELL }, json!({}));
    world.until("held", |world| reason(world) == "CheckFailed");
    world.say("Retry");
    while world.jobs.len() < 2 {
        world.dies_after = Some(1);
        world.tick();
    }
    assert_eq!(world.status.run.as_ref().unwrap().checks[0].attempt, 1, "status does not know of it");
    // It ends as it would have, whatever the check is now.
    correct(&mut world, "{\"failed\": 0}");
    world.job_ends.insert("tests", Ending { says: Some("{\"failed\": 3}"), ..WELL });
    world.until("a third", |world| world.jobs.len() == 3);
    world.job_ends.insert("tests", Ending { says: Some("{\"failed\": 0}"), ..WELL });
    assert_eq!(ended(&mut world), "Succeeded", "{}", world.describe());
}

#[test]
fn one_that_passed_and_is_changed_before_the_first_pod_is_asked_about_what_it_is_now() {
    let mut world = shipped(Ending { says: Some("{\"failed\": 0}"), ..WELL }, json!({}));
    let approval = json!({"name": "qa", "approval": {"roles": ["qa"]}});
    world.release.as_mut().unwrap()["preflight"].as_array_mut().unwrap().push(approval);
    world.until("only the signature is lacking", |world| {
        reason(world) == "AwaitingApproval" && message(world).ends_with("result.failed == 0")
    });
    correct(&mut world, "{\"failed\": 1}");
    world.until("held", |world| reason(world) == "CheckFailed");
    assert_eq!(world.jobs.len(), 2, "{:?}", world.jobs);
    correct(&mut world, "{\"failed\":  0}");
    world.until("only the signature is lacking again", |world| reason(world) == "AwaitingApproval");
    assert_eq!(world.jobs.len(), 3, "{:?}", world.jobs);
}

#[test]
fn a_job_that_was_refused_says_nothing_of_a_check_that_was_changed_meanwhile() {
    let mut world = shipped(Ending { says: Some("{\"failed\": 0}"), ..WELL }, json!({}));
    // Its status was lost, and with it what the check had been.
    let definition = Some("another".to_owned());
    let id = ProbeId { run: "r1".into(), check: "tests".into(), attempt: 1, definition };
    let message = "pods must run as nobody".to_owned();
    world.probes.insert(id, ProbeAnswer { at: world.now, result: ProbeResult::Failed, message });
    assert_eq!(ended(&mut world), "Succeeded", "{}", world.describe());
}
