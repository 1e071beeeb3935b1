//! Policies that ask whether the author of a Release may do what it does, and are not in force: nothing of that is done, going back is.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::undo::{HookState, ValidationResult};
use tidegate::decide::snapshot::ProbeResult;
use tidegate::decide::{self, ErrandKind, Key};
use tidegate::observe::reading::Reading;

use super::{BADLY, Ending, WELL, World, snapshot_of, template};

const SECOND: Duration = Duration::from_secs(1);
const RIGHTS: &str = "tidegate-release-rights";

/// A Deployment under a Release of steps and more.
fn released(more: Value) -> World {
    let strategy =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
    let steps =
        json!([{"name": "half", "replicas": "50%", "soak": "5s"}, {"name": "all", "replicas": "100%"}]);
    let mut spec = json!({"steps": steps, "watch": [{"for": "5s", "every": "1s"}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    World::new(4, strategy, spec)
}

fn job() -> Value {
    json!({"template": {"spec": {"template": {"spec": {}}}}})
}

fn reason(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| blocker.reason.as_str())
}

fn message(world: &World) -> &str {
    world.status.summary.as_ref().map_or("", |summary| summary.message.as_str())
}

fn outcome(world: &mut World) -> String {
    world.until("the end", |world| world.status.last_run.is_some());
    format!("{:?}", world.status.last_run.as_ref().unwrap().outcome)
}

#[test]
fn what_takes_a_right_of_its_author_waits_until_the_policies_are_in_force_and_says_which_is_missing() {
    let checks = [
        json!({"name": "tests", "job": job()}),
        json!({"name": "tests", "config": {"secrets": [{"name": "stripe", "keys": [{"key": "key"}]}]}}),
        json!({"name": "tests", "tls": {"secret": "certificate"}}),
        json!({"name": "tests", "promotion": {"namespace": "staging"}}),
        json!({"name": "tests", "object": {"apiVersion": "v1", "resource": "services", "name": "shop", "namespace": "other"}}),
        json!({"name": "tests", "http": {"podPath": "/health", "podPort": 80}}),
        json!({"name": "tests", "workload": {}}),
    ];
    for check in checks {
        for policy in [RIGHTS, "tidegate-release-undo"] {
            let mut world = released(json!({"preflight": [check]}));
            world.unguarded = Some(policy);
            world.job_ends.insert("tests", WELL);
            world.push(template("v2", false));
            world.until("held", |world| reason(world) == "PolicyMissing");
            world.pass(20 * SECOND);
            let blocker = world.status.blocked_by.clone().unwrap();
            let words = format!("policy {policy} is not in force: ");
            assert!(blocker.message.starts_with(&words), "{blocker:?}");
            assert!(blocker.message.contains("the rights for spec.preflight[0], and"), "{blocker:?}");
            assert!(blocker.unblock.contains(RIGHTS), "{blocker:?}");
            let stalled =
                world.status.conditions.iter().any(|it| it.type_ == "Stalled" && it.status == "True");
            assert!(stalled, "{:?}", world.status.conditions);
            assert!(world.jobs.is_empty() && world.asked.is_empty() && world.trials.is_empty(), "{check}");
            world.unguarded = None;
            world.until("it is done", |world| {
                !world.jobs.is_empty() || !world.asked.is_empty() || !world.trials.is_empty()
            });
            assert_ne!(reason(&world), "PolicyMissing", "{check}");
        }
    }
}

#[test]
fn a_release_that_takes_no_right_of_its_author_goes_on_without_the_policies() {
    let http = json!({"name": "ready", "http": {"url": "http://shop/"}});
    let pods = json!({"name": "smoke", "http": {"podPath": "/health"}});
    let probes = json!({"name": "written", "workload": {"probes": "Required"}});
    let mut world = released(json!({"preflight": [http, probes]}));
    world.release.as_mut().unwrap()["steps"][0]["checks"] = json!([pods]);
    world.unguarded = Some(RIGHTS);
    world.push(template("v2", false));
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(reason(&world), "");
}

#[test]
fn in_mid_run_it_stands_still_and_goes_back_as_ever_without_the_hooks_that_take_a_right() {
    let hooks = json!([
        {"name": "flag", "http": {"url": "http://flags/"}},
        {"name": "key", "http": {"url": "http://flags/", "secretHeader": {"name": "Authorization", "secret": "flags"}}},
        {"name": "map", "configMap": {"name": "flags", "key": "payments", "value": "off"}},
        {"name": "dump", "job": job()},
    ]);
    let undo = json!({"hooks": hooks, "quarantine": {"pods": 1, "for": "1h"}});
    let mut world = released(json!({"undo": undo}));
    world.release.as_mut().unwrap()["steps"][0]["soak"] = json!("1h");
    world.push(template("v2", false));
    world.until("half of them", |world| world.phase() == "Soaking");
    world.unguarded = Some(RIGHTS);
    world.until("held", |world| reason(world) == "PolicyMissing");
    world.pass(20 * SECOND);
    assert_eq!(world.phase(), "Held", "{}", world.describe());
    world.say("Abort");
    assert_eq!(outcome(&mut world), "Aborted", "{}", world.describe());
    let version = &world.deployment()["spec"]["template"]["metadata"]["annotations"]["version"];
    assert_eq!((version, world.ready()), (&json!("v1"), 4), "{}", world.describe());
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    let undo = report.undo.clone().expect("a way back");
    let states: Vec<HookState> = undo.hooks.iter().map(|hook| hook.state).collect();
    assert_eq!(states, [HookState::Done, HookState::Failed, HookState::Failed, HookState::Failed]);
    assert!(undo.hooks[1].message.starts_with("policy tidegate-release-rights is not in force"), "{undo:#?}");
    let begun = world.errands.iter().filter(|errand| !matches!(errand.kind, ErrandKind::Gather(_)));
    let begun: Vec<&str> = begun.map(|errand| errand.name.as_str()).collect();
    assert_eq!(begun, ["hook/flag"]);
    assert!(undo.quarantined.is_empty() && world.quarantined.is_empty(), "{undo:#?}");
}

#[test]
fn in_mid_run_who_is_asked_to_sign_may_refuse_it_all_the_same() {
    let mut world =
        released(json!({"signOff": {"roles": ["qa"]}, "undo": {"hooks": [{"name": "dump", "job": job()}]}}));
    world.release.as_mut().unwrap()["steps"][0]["soak"] = json!("1h");
    world.push(template("v2", false));
    world.until("half of them", |world| world.phase() == "Soaking");
    world.unguarded = Some(RIGHTS);
    world.until("held", |world| reason(world) == "PolicyMissing");
    world.say_of("Reject", json!({"role": "qa"}));
    world.until("it goes back", |world| world.phase() == "Undoing");
    assert!(world.jobs.is_empty(), "{}", world.describe());
    // The policies are back in time for the hook.
    world.unguarded = None;
    world.until("the hook begins", |world| !world.jobs.is_empty());
}

/// Who is to be told now.
fn deliveries(world: &mut World) -> Vec<String> {
    let key = Key { namespace: "ns".into(), name: "shop".into() };
    let (findings, index) = (world.findings(), world.index());
    let snapshot = snapshot_of(&index, &Reading::default(), &key, findings, world.now);
    let mut to: Vec<String> = decide::notify::owed(&snapshot).into_iter().map(|one| one.to).collect();
    to.dedup();
    to
}

#[test]
fn who_is_told_by_a_secret_is_told_once_the_policies_are_in_force_and_at_rest_it_is_said_too() {
    let team = json!({"name": "team", "slack": {"secret": "slack"}, "events": ["Started"]});
    let open = json!({"name": "open", "webhook": {"url": "https://chat.test/"}, "events": ["Started"]});
    let mut world = released(json!({"notify": [team, open]}));
    world.push(template("v2", false));
    world.until("it has begun", |world| world.status.run.is_some());
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    world.unguarded = Some(RIGHTS);
    world.pass(SECOND);
    assert_eq!(reason(&world), "PolicyMissing", "{}", world.describe());
    assert!(message(&world).contains("the rights for spec.notify[0], and"), "{}", message(&world));
    assert_eq!(deliveries(&mut world), ["open"]);
    let writes = world.status_writes;
    world.pass(60 * SECOND);
    assert_eq!(world.status_writes, writes, "it is said once");
    world.unguarded = None;
    world.pass(SECOND);
    assert_eq!(reason(&world), "");
    let mut told = deliveries(&mut world);
    told.sort();
    assert_eq!(told, ["open", "team"]);
}

/// The Job that was made last is gone again.
fn collect(world: &mut World) {
    let job = world.jobs.last().expect("a Job was made");
    world.job_objects.remove(job).expect("it is there");
    // Longer than one that was made may not have been heard of.
    world.pass(60 * SECOND);
}

#[test]
fn how_a_job_ended_is_noted_meanwhile_since_it_may_be_gone_by_the_time_that_the_policies_are_in_force() {
    let check = json!({"name": "tests", "job": job(), "onFailure": "Hold"});
    let slow = |ending: Ending| Ending { after: 10 * SECOND, ..ending };
    let step = json!([
        {"name": "half", "replicas": "50%", "soak": "5s", "checks": [check]},
        {"name": "all", "replicas": "100%"},
    ]);
    let contract = json!([{"name": "clean", "kind": "Contract", "job": job()}]);
    let expand = json!([{"name": "clean", "kind": "Expand", "job": job()}]);
    let said = json!({"result": {"from": "LastLogLine", "expression": "result.failed == 0"}});
    let mut judged = job();
    judged.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
    let places = [
        ("tests", json!({"preflight": [{"name": "tests", "job": job()}]})),
        ("tests", json!({"preflight": [{"name": "tests", "job": judged}]})),
        ("tests", json!({"steps": step})),
        ("migration.clean", json!({"migrations": expand})),
        ("migration.clean", json!({"migrations": contract})),
    ];
    for (label, spec) in places {
        for is_noted in [true, false] {
            let mut world = released(spec.clone());
            world.job_ends.insert(label, slow(Ending { says: Some("{\"failed\": 0}"), ..WELL }));
            world.push(template("v2", false));
            world.until("its Job is made", |world| !world.jobs.is_empty());
            if !is_noted {
                // The look that has made it dies before status is written.
                forget_jobs(&mut world);
            }
            world.unguarded = Some(RIGHTS);
            world.until("held", |world| reason(world) == "PolicyMissing");
            world.pass(20 * SECOND);
            collect(&mut world);
            assert_eq!(reason(&world), "PolicyMissing", "{spec}\n{}", world.describe());
            world.unguarded = None;
            assert_eq!(outcome(&mut world), "Succeeded", "{spec}\n{}", world.describe());
            assert_eq!(world.jobs.len(), 1, "{spec}: it ran once");
        }
        let mut world = released(spec.clone());
        world.job_ends.insert(label, slow(BADLY));
        world.push(template("v2", false));
        world.until("its Job is made", |world| !world.jobs.is_empty());
        world.unguarded = Some(RIGHTS);
        world.pass(20 * SECOND);
        collect(&mut world);
        world.unguarded = None;
        world.until("it has failed", |world| ["CheckFailed", "MigrationFailed"].contains(&reason(world)));
        let failed = world.status.blocked_by.clone().unwrap().message;
        assert!(failed.contains("it failed; it said: no such table"), "{spec}: {failed}");
    }
}

/// Status knows of no Job.
fn forget_jobs(world: &mut World) {
    let run = world.status.run.as_mut().expect("a run");
    for check in &mut run.checks {
        check.job = None;
    }
    for migration in &mut run.migrations {
        migration.work.job = None;
    }
}

#[test]
fn a_log_that_somebody_wants_kept_meanwhile_is_not_read() {
    let silent = json!({"name": "tests", "job": {"template": job()["template"], "logs": "None"}});
    let mut world = released(json!({"preflight": [silent]}));
    world.job_ends.insert("tests", Ending { after: 10 * SECOND, ..BADLY });
    world.push(template("v2", false));
    world.until("its Job is made", |world| !world.jobs.is_empty());
    world.unguarded = Some(RIGHTS);
    world.release.as_mut().unwrap()["preflight"][0]["job"]["logs"] = json!("LastLines");
    world.pass(60 * SECOND);
    assert_eq!(reason(&world), "PolicyMissing", "{}", world.describe());
    assert!(world.outputs.is_empty(), "{:?}", world.outputs);
    let run = world.status.run.as_ref().unwrap();
    assert!(!world.describe().contains("no such table") && run.checks[0].log.is_empty(), "{run:#?}");
}

#[test]
fn how_a_job_of_a_step_ended_while_the_run_was_paused_is_noted() {
    let step = json!([
        {"name": "half", "replicas": "50%", "soak": "5s", "checks": [{"name": "tests", "job": job()}]},
        {"name": "all", "replicas": "100%"},
    ]);
    let mut world = released(json!({"steps": step}));
    world.job_ends.insert("tests", Ending { after: 10 * SECOND, ..WELL });
    world.push(template("v2", false));
    world.until("its Job is made", |world| !world.jobs.is_empty());
    world.say("Pause");
    world.until("paused", |world| reason(world) == "Paused");
    world.pass(20 * SECOND);
    collect(&mut world);
    world.say("Resume");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 1, "it ran once");
}

/// A version that is aborted at half; what was put back has three checks, of which only the first takes no right.
fn put_back() -> World {
    let keys = json!({"secrets": [{"name": "stripe", "keys": [{"key": "key"}]}]});
    let checks = json!([
        {"name": "smoke", "http": {"podPath": "/health"}},
        {"name": "keys", "config": keys},
        {"name": "load", "job": job()},
    ]);
    let mut world = released(json!({"undo": {"validate": {"checks": checks}}}));
    world.release.as_mut().unwrap()["steps"][0]["soak"] = json!("1h");
    world.job_ends.insert("load", Ending { after: 10 * SECOND, ..WELL });
    world.push(template("v2", false));
    world.until("half of them", |world| world.phase() == "Soaking");
    world.say("Abort");
    world
}

fn stands_again(world: &World) -> bool {
    let back = world.status.run.as_ref().and_then(|run| run.back.as_ref());
    back.is_some_and(|back| back.restored_at.is_some())
}

fn validation(world: &mut World) -> (ValidationResult, String) {
    assert_eq!(outcome(world), "Aborted", "{}", world.describe());
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    let found = report.undo.clone().expect("a way back").validation.expect("it was looked at");
    (found.result, found.message)
}

#[test]
fn what_was_put_back_is_asked_what_takes_no_right_and_what_is_left_out_is_named() {
    let mut world = put_back();
    world.unguarded = Some(RIGHTS);
    world.until("stable stands", stands_again);
    let mut failing = world.copy();
    let mut in_time = world.copy();
    let (result, message) = validation(&mut world);
    assert_eq!(result, ValidationResult::Undecided, "{message}");
    let words = format!("its other checks passed; left out: keys, load (policy {RIGHTS} is not in force: ");
    assert!(message.starts_with(&words), "{message}");
    assert!(message.contains("spec.undo.validate.checks[1], spec.undo.validate.checks[2]"), "{message}");
    assert!(world.asked.iter().all(|probe| probe.id.check == "undo.validate/smoke"), "{:?}", world.asked);
    assert!(!world.asked.is_empty() && world.jobs.is_empty(), "{:?}", world.jobs);

    failing.answers.insert("undo.validate/smoke", (ProbeResult::Failed, "answered 500"));
    failing.probes.clear();
    let (result, message) = validation(&mut failing);
    assert_eq!(
        (result, message.as_str()),
        (ValidationResult::ValidationFailed, "check smoke failed: answered 500")
    );

    in_time.pass(5 * SECOND);
    in_time.unguarded = None;
    let (result, message) = validation(&mut in_time);
    assert_eq!((result, message.as_str()), (ValidationResult::Validated, "its checks passed"));
    assert_eq!(in_time.jobs.len(), 1);
}

#[test]
fn how_a_job_ends_that_asks_what_was_put_back_is_seen_though_the_policies_go_meanwhile() {
    let mut world = put_back();
    world.until("its Job is made, and the others are asked", |world| {
        !world.jobs.is_empty() && world.asked.iter().any(|probe| probe.id.check == "undo.validate/keys")
    });
    world.unguarded = Some(RIGHTS);
    let (result, message) = validation(&mut world);
    assert_eq!((result, message.as_str()), (ValidationResult::Validated, "its checks passed"));
    assert_eq!(world.jobs.len(), 1);
}
