//! The way back beyond its first order: budgets of its phases, what is done beside it, what is kept, and how what was put back is looked at.

mod beside;
mod capacity;
mod messages;

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::report::Undo;
use tidegate::api::undo::{HookState, QuarantineState, UndoPhase, ValidationResult};
use tidegate::decide::snapshot::ProbeResult;

use super::measured::Traffic;
use super::{Ending, WELL, World, template};

fn rolling() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
}

/// A Release of two steps that goes back in this way.
fn with(undo: Value) -> Value {
    json!({
        "steps": [{"name": "half", "replicas": "50%", "soak": "5s"}, {"name": "all", "replicas": "100%"}],
        "watch": [{"for": "5s", "every": "1s"}],
        "undo": undo,
    })
}

/// A world in which a version that crashes was shipped.
fn crashed(undo: Value) -> World {
    let mut world = World::new(4, rolling(), with(undo));
    world.push(template("v2", true));
    world
}

fn ended(world: &mut World) -> Undo {
    world.until("the end", |world| world.status.last_run.is_some());
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    report.undo.clone().expect("a way back")
}

fn told(world: &World, reason: &str) -> Vec<String> {
    world.notices.iter().filter(|it| it.reason == reason).map(|it| it.note.clone()).collect()
}

fn condition(world: &World, name: &str) -> Option<String> {
    world.status.conditions.iter().find(|it| it.type_ == name).map(|it| it.status.clone())
}

fn stands(world: &World) -> bool {
    world.status.run.as_ref().and_then(|run| run.back.as_ref()).is_some_and(|back| back.restored_at.is_some())
}

fn job(more: Value) -> Value {
    let mut job = json!({"template": {"spec": {"template": {"spec": {}}}}});
    job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    job
}

fn reason(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| blocker.reason.as_str())
}

fn hook() -> Value {
    json!([{"name": "flag", "http": {"url": "http://flags/"}}])
}

fn smoke() -> Value {
    json!({"checks": [{"name": "smoke", "http": {"podPath": "/health"}}]})
}

#[test]
fn what_is_written_late_in_a_rush_says_when_it_was() {
    let mut world = crashed(json!({"budget": "1h"}));
    world.until("going back", |world| world.phase() == "Undoing");
    world.rush = true;
    let began = world.now;
    world.pass(Duration::from_secs(20));
    assert!(!stands(&world), "nothing is written that only tells");
    world.rush = false;
    let times = ended(&mut world).times;
    let restored = times.restored_at.expect("stable stood").0;
    assert!(restored < began + Duration::from_secs(3), "{times:?}, begun at {began}");
    assert!(times.ordered_at.is_some_and(|ordered| ordered.0 <= restored), "{times:?}");
}

#[test]
fn a_phase_that_takes_longer_than_its_budget_is_told_once_and_kept_in_the_record() {
    let mut world = crashed(json!({"budget": "1h", "phases": {"execution": "2s", "communication": "1m"}}));
    world.until("going back", |world| world.phase() == "Undoing");
    world.ready_after = Duration::from_secs(6);
    let undo = ended(&mut world);
    let note = "going back: its execution has taken longer than its budget of 2 s";
    assert_eq!(told(&world, "UndoPhaseOverBudget"), [note]);
    assert!(told(&world, "UndoOverBudget").is_empty());
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    assert_eq!(report.notes, [note]);
    let over: Vec<_> = undo.phases.iter().map(|it| (it.phase, it.over)).collect();
    assert_eq!(over, [(UndoPhase::Execution, true), (UndoPhase::Communication, false)]);
    assert!((5000..8000).contains(&undo.phases[0].milliseconds), "{:?}", undo.phases);
}

#[test]
fn what_was_put_back_is_asked_and_measured_while_its_owner_has_the_fields_again() {
    let mut spec = with(json!({"validate": {"for": "60s", "checks": smoke()["checks"]}}));
    spec["criteria"] = json!([{"name": "errors", "errorRate": {"limit": "5%"}}]);
    let mut world = World::new(4, rolling(), spec);
    let before = world.deployment()["spec"].clone();
    world.meters.traffic = Some(Traffic { requests: 60, ..Traffic::default() });
    world.push(template("v2", true));
    world.until("stable stands", stands);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.deployment()["spec"], before, "{}", world.describe());
    assert!(world.status.last_run.is_none(), "it is looked at for a minute");
    let asked: Vec<&str> = world.asked.last().unwrap().pods.iter().map(|pod| pod.name.as_str()).collect();
    let stable = |name: &&str| world.pods.iter().any(|pod| pod.name == *name && !pod.crashing);
    assert!(asked.len() == 4 && asked.iter().all(stable), "{asked:?}");
    let sampling = world.sampling.clone().expect("its pods are measured");
    assert!(sampling.run != "r1" && sampling.pods.len() == 4, "a ledger of its own: {sampling:?}");
    let undo = ended(&mut world);
    let found = undo.validation.unwrap();
    assert_eq!(found.result, ValidationResult::Validated, "{}", found.message);
    assert_eq!(found.message, "its checks passed, errors Pass, measured on 4 of 4 pods");
    assert!(
        undo.times.validated_at.unwrap().0 >= undo.times.restored_at.unwrap().0 + Duration::from_secs(60)
    );
    assert_eq!(condition(&world, "Validated").as_deref(), Some("True"));
    assert_eq!(told(&world, "Validated").len(), 1);
}

#[test]
fn stable_pods_above_a_limit_are_told_and_nothing_is_undone_a_second_time() {
    let mut spec = with(json!({"validate": {"for": "120s"}}));
    spec["criteria"] = json!([{"name": "errors", "errorRate": {"limit": "5%"}}]);
    let mut world = World::new(4, rolling(), spec);
    world.meters.traffic = Some(Traffic { requests: 60, stable_errors: 18, ..Traffic::default() });
    world.push(template("v2", true));
    world.until("stable stands", stands);
    let writes = world.writes_to_deployment;
    let undo = ended(&mut world);
    let found = undo.validation.unwrap();
    assert_eq!(found.result, ValidationResult::ValidationFailed, "{}", found.message);
    assert!(found.message.starts_with("errors: "), "{}", found.message);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.writes_to_deployment - writes, 1, "the owner's fields, and nothing else");
    assert_eq!(world.status.last_run.as_ref().unwrap().number, 1);
}

#[test]
fn a_check_that_fails_is_told_with_what_to_do_until_somebody_has_seen_it() {
    let mut world = crashed(json!({"validate": smoke()}));
    world.answers.insert("undo.validate/smoke", (ProbeResult::Failed, "answered 500, expected 200"));
    let undo = ended(&mut world);
    assert_eq!(undo.validation.unwrap().message, "check smoke failed: answered 500, expected 200");
    assert_eq!(format!("{:?}", world.status.last_run.as_ref().unwrap().outcome), "Undone");
    world.until("at rest", |world| world.phase() == "Rejected");
    let blocker = world.status.blocked_by.clone().unwrap();
    assert_eq!(blocker.reason, "ValidationFailed");
    assert!(blocker.unblock.contains("kubectl tidegate clear-rejection shop -n ns"), "{blocker:?}");
    assert_eq!(condition(&world, "Validated").as_deref(), Some("False"));
    assert_eq!(condition(&world, "Stalled").as_deref(), Some("True"));
    assert_eq!(told(&world, "ValidationFailed").len(), 1);
    world.say("ClearRejection");
    world.until("seen", |world| world.status.blocked_by.is_none());
}

#[test]
fn a_check_without_an_answer_does_not_keep_the_run_for_ever() {
    let mut world = crashed(json!({"validate": smoke(), "phases": {"validation": "40s"}}));
    world.answers.insert("undo.validate/smoke", (ProbeResult::Unknown, "no answer"));
    let undo = ended(&mut world);
    let found = undo.validation.unwrap();
    assert_eq!(
        (found.result, found.message.as_str()),
        (ValidationResult::Undecided, "no answer in time from: smoke")
    );
    assert_eq!(condition(&world, "Validated"), None);
}

#[test]
fn a_newer_template_does_not_wait_until_what_was_put_back_is_known_to_work() {
    let mut world = crashed(json!({"validate": {"for": "1h"}}));
    world.until("stable stands", stands);
    world.pass(Duration::from_secs(5));
    world.push(template("v3", false));
    world.until("another run", |world| world.status.run.as_ref().is_some_and(|run| run.number == 2));
    let found = world.status.last_run.as_ref().unwrap().validation.clone().unwrap();
    assert_eq!(found.message, "a newer template has come");
    world.until("the end", |world| world.status.last_run.as_ref().is_some_and(|last| last.number == 2));
    assert_eq!(format!("{:?}", world.status.last_run.as_ref().unwrap().outcome), "Succeeded");
}

#[test]
fn a_newer_template_in_the_moment_in_which_stable_stands_is_not_taken_for_the_rejected_one() {
    for policy in [true, false] {
        let mut spec = with(json!({"hooks": hook(), "validate": {"for": "1h"}}));
        spec["capture"] = json!(if policy { "Policy" } else { "React" });
        let mut world = World::new(4, rolling(), spec);
        world.policy = policy;
        world.hangs = vec!["flag"];
        world.push(template("v2", true));
        world.until("stable stands", stands);
        world.push(template("v3", false));
        world.until("the next run", |world| world.status.run.as_ref().is_some_and(|run| run.number == 2));
        world.until("its end", |world| world.status.last_run.as_ref().is_some_and(|last| last.number == 2));
        assert_eq!(format!("{:?}", world.status.last_run.as_ref().unwrap().outcome), "Succeeded");
        let version = &world.deployment()["spec"]["template"]["metadata"]["annotations"]["version"];
        assert_eq!(*version, "v3", "{}", world.describe());
    }
}

#[test]
fn the_rejected_template_that_comes_again_is_held_meanwhile() {
    for policy in [true, false] {
        let mut spec = with(json!({"validate": {"for": "1m"}}));
        spec["capture"] = json!(if policy { "Policy" } else { "React" });
        let mut world = World::new(4, rolling(), spec);
        world.policy = policy;
        world.push(template("v2", true));
        world.until("stable stands", stands);
        world.pass(Duration::from_secs(5));
        world.push(template("v2", true));
        world.pass(Duration::from_secs(20));
        assert!(world.status.run.is_some() && world.ready() == 4, "{}", world.describe());
        let undo = ended(&mut world);
        assert_eq!(undo.validation.unwrap().result, ValidationResult::Undecided, "nothing was measured");
        world.until("held", |world| world.phase() == "Rejected");
        // Where pods of it had started before it could be held, the stable template stands in its place.
        let spec = &world.deployment()["spec"];
        let version = &spec["template"]["metadata"]["annotations"]["version"];
        assert!(if policy { spec["paused"] == true } else { *version == "v1" }, "{}", world.describe());
        assert_eq!((world.ready(), world.alive()), (4, 4));
    }
}

#[test]
fn killed_after_the_fields_were_given_back_it_goes_on_looking() {
    let mut world = crashed(json!({"validate": {"for": "30s", "checks": smoke()["checks"]}}));
    world.until("stable stands", stands);
    world.dies_after = Some(1);
    world.tick();
    let undo = ended(&mut world);
    assert_eq!(undo.validation.unwrap().result, ValidationResult::Validated, "{}", world.describe());
}

#[test]
fn nothing_is_said_to_work_of_which_nothing_was_measured() {
    let of_stable = json!([{"name": "worse", "errorRate": {"relativeTo": "stable", "limit": "50%"}}]);
    for criteria in [json!([]), of_stable] {
        let mut spec = with(json!({"validate": {"for": "20s"}}));
        spec["criteria"] = criteria;
        let mut world = World::new(4, rolling(), spec);
        world.meters.traffic = Some(Traffic { requests: 60, ..Traffic::default() });
        world.push(template("v2", true));
        let found = ended(&mut world).validation.unwrap();
        assert_eq!(found.result, ValidationResult::Undecided, "{}", found.message);
        assert!(found.message.starts_with("nothing says whether it works: "), "{}", found.message);
        assert_eq!(condition(&world, "Validated"), None);
    }
}

#[test]
fn what_most_pods_do_not_tell_is_not_made_up_by_one_that_serves_well() {
    for (silent, wanted) in [(0, ValidationResult::Validated), (3, ValidationResult::Undecided)] {
        let mut spec = with(json!({"validate": {"for": "60s"}}));
        spec["criteria"] = json!([{"name": "errors", "errorRate": {"limit": "5%"}}]);
        let mut world = World::new(4, rolling(), spec);
        world.meters.traffic = Some(Traffic { requests: 60, ..Traffic::default() });
        world.push(template("v2", true));
        world.until("stable stands", stands);
        world.meters.silent = silent;
        let found = ended(&mut world).validation.unwrap();
        assert_eq!(found.result, wanted, "{}", found.message);
        let words = if silent == 0 { "errors Pass, measured on 4 of 4 pods" } else { "measurements" };
        assert!(found.message.contains(words), "{}", found.message);
    }
}

/// A version whose check fails at half.
fn failing_at_half(undo: Value, more: Value) -> World {
    let mut spec = with(undo);
    spec["steps"][0]["checks"] = json!([{"name": "load", "http": {"podPath": "/"}}]);
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut world = World::new(4, rolling(), spec);
    world.answers.insert("half/load", (ProbeResult::Failed, "answered 500"));
    world.job_ends.insert("migration.drop", WELL);
    world.push(template("v2", false));
    world
}

#[test]
fn who_is_asked_first_takes_part_of_the_time_to_decide_and_hooks_begin_with_the_decision() {
    let undo = json!({
        "hooks": hook(), "quarantine": {"pods": 1, "for": "1h"},
        "approval": {"roles": ["sre"], "timeout": "2m"}, "phases": {"decision": "1m", "execution": "1m"},
    });
    let mut world = failing_at_half(undo, json!({}));
    world.until("asked", |world| reason(world) == "AwaitingUndoApproval");
    let note = "going back: its decision has taken longer than its budget of 60 s";
    world.pass(Duration::from_secs(50));
    assert!(told(&world, "UndoPhaseOverBudget").is_empty());
    world.pass(Duration::from_secs(50));
    assert_eq!(reason(&world), "AwaitingUndoApproval", "a budget delays nothing and hurries nothing");
    assert_eq!(told(&world, "UndoPhaseOverBudget"), [note], "as soon as it does");
    assert!(world.errands.is_empty() && world.quarantined.is_empty(), "{:?}", world.errands);
    let mut aborted = world.copy();
    let undo = ended(&mut world);
    let decision = &undo.phases[0];
    assert_eq!((decision.phase, decision.over), (UndoPhase::Decision, true), "{:?}", undo.phases);
    assert!((119_000..125_000).contains(&decision.milliseconds), "{decision:?}");
    assert_eq!(told(&world, "UndoPhaseOverBudget"), [note], "once");
    assert_eq!(undo.hooks[0].state, HookState::Done);
    assert_eq!(undo.quarantined[0].state, QuarantineState::Kept);
    // Whoever ends the question by an abort has let it take as long.
    aborted.say("Abort");
    let undo = ended(&mut aborted);
    assert!((99_000..105_000).contains(&undo.phases[0].milliseconds), "{:?}", undo.phases);
    assert_eq!(undo.hooks[0].state, HookState::Done);
}

#[test]
fn an_undo_that_was_refused_had_been_decided() {
    let undo = json!({"hooks": hook(), "approval": {"roles": ["sre"], "timeout": "2m"}, "phases": {"decision": "1m"}});
    let mut world = failing_at_half(undo, json!({}));
    world.until("asked", |world| reason(world) == "AwaitingUndoApproval");
    world.say_of("Reject", json!({"role": "sre", "undo": true}));
    world.until("refused", |world| reason(world) == "UndoRefused");
    world.pass(Duration::from_secs(300));
    assert!(world.errands.is_empty());
    world.say("Abort");
    let undo = ended(&mut world);
    assert!(undo.phases.iter().all(|took| took.phase != UndoPhase::Decision), "{:?}", undo.phases);
    assert_eq!(undo.hooks[0].state, HookState::Done, "an abort goes back with everything");
}

#[test]
fn where_an_irreversible_migration_bars_the_way_back_nothing_is_done_before_a_person_goes_it() {
    let migrations = json!([{"name": "drop", "kind": "Irreversible", "job": job(json!({}))}]);
    let undo = json!({"hooks": hook(), "validate": smoke(), "quarantine": {"pods": 1, "for": "1h"}});
    let mut world = failing_at_half(undo, json!({"migrations": migrations}));
    world.until("held", |world| reason(world) == "Irreversible");
    world.pass(Duration::from_secs(60));
    assert!(world.errands.is_empty() && world.quarantined.is_empty(), "{:?}", world.errands);
    world.say("Abort");
    let undo = ended(&mut world);
    assert_eq!(undo.hooks[0].state, HookState::Done);
    assert_eq!(undo.quarantined[0].state, QuarantineState::Kept);
    assert_eq!(undo.validation.unwrap().result, ValidationResult::Validated);
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    assert_eq!(report.notes.last().unwrap(), "going back undoes no migration; begun were: drop");
}

#[test]
fn what_was_put_back_is_looked_at_while_the_job_of_a_migration_is_still_running() {
    let migrations = json!([{"name": "add", "kind": "Expand", "job": job(json!({}))}]);
    let mut spec = with(json!({"validate": {"for": "20s"}, "phases": {"communication": "30s"}}));
    spec["migrations"] = migrations;
    spec["criteria"] = json!([{"name": "errors", "errorRate": {"limit": "5%"}}]);
    let mut world = World::new(4, rolling(), spec);
    world.meters.traffic = Some(Traffic { requests: 60, stable_errors: 18, ..Traffic::default() });
    world.job_ends.insert("migration.add", Ending { after: Duration::from_secs(90), ..WELL });
    world.push(template("v2", false));
    world.until("made", |world| !world.jobs.is_empty());
    world.say("Abort");
    let is_known = |world: &World| {
        let back = world.status.run.as_ref().and_then(|run| run.back.as_ref());
        back.is_some_and(|back| back.validated_at.is_some())
    };
    world.until("known", is_known);
    assert_eq!(reason(&world), "MigrationRunning", "{}", world.describe());
    let undo = ended(&mut world);
    assert_eq!(undo.validation.unwrap().result, ValidationResult::ValidationFailed);
    // The Job is waited for, and that it takes is told.
    assert_eq!(
        undo.phases.last().map(|took| (took.phase, took.over)),
        Some((UndoPhase::Communication, true))
    );
    let note = "going back: its communication has taken longer than its budget of 30 s";
    assert_eq!(told(&world, "UndoPhaseOverBudget"), [note]);
}

#[test]
fn its_locks_are_held_until_what_was_put_back_has_been_looked_at() {
    let mut spec = with(json!({"validate": {"for": "60s"}}));
    spec["locks"] = json!(["orders-db"]);
    let mut world = World::new(4, rolling(), spec);
    world.push(template("v2", true));
    world.until("stable stands", stands);
    let mut looked = 0;
    while world.status.last_run.is_none() {
        let locks = world.status.run.as_ref().and_then(|run| run.locks.as_ref());
        assert!(locks.is_some_and(|locks| locks.held.is_some()), "{}", world.describe());
        looked += 1;
        world.tick();
    }
    assert!(looked > 100, "{looked}");
    assert!(world.status.run.is_none());
}

#[test]
fn a_window_that_is_closed_and_a_freeze_hold_nothing_of_it() {
    let mut spec = with(json!({"hooks": hook(), "validate": smoke()}));
    // The world begins at 8:00 on a Friday.
    spec["windows"] = json!({"allow": [{"days": ["Fri"], "from": "07:00", "to": "12:00"}]});
    spec["steps"][0]["soak"] = json!("2h");
    let mut world = World::new(4, rolling(), spec);
    world.push(template("v2", false));
    world.until("soaking", |world| world.phase() == "Soaking");
    world.now += Duration::from_secs(5 * 3600);
    world.freezes = vec![json!({
        "metadata": {"name": "stop", "uid": "stop", "creationTimestamp": "2027-01-15T12:00:00Z"},
        "spec": {"reason": "year end"},
    })];
    world.say("Abort");
    let undo = ended(&mut world);
    assert_eq!(undo.hooks[0].state, HookState::Done);
    assert_eq!(undo.validation.unwrap().message, "its checks passed");
}

#[test]
fn handed_back_in_the_middle_of_it_the_deployment_is_its_owners_and_the_record_says_what_is_not_known() {
    let mut world = World::new(4, rolling(), with(json!({"hooks": hook(), "validate": {"for": "1h"}})));
    world.hangs = vec!["flag"];
    world.push(template("v2", true));
    world.until("stable stands", stands);
    world.pass(Duration::from_secs(5));
    world.say("HandBack");
    let undo = ended(&mut world);
    assert_eq!(format!("{:?}", world.status.last_run.as_ref().unwrap().outcome), "HandedBack");
    let found = undo.validation.unwrap();
    assert_eq!(found.result, ValidationResult::Undecided);
    assert_eq!(found.message, "the run ended before it was known");
    assert_eq!(undo.hooks[0].state, HookState::Started);
}

#[test]
fn handed_back_in_the_middle_of_it_what_was_to_be_put_back_is_named_and_where_it_is_kept() {
    // `newer`: a newer template was to come after stable; else that of the run.
    for newer in [true, false] {
        let mut world = World::new(4, rolling(), with(json!({})));
        world.ready_after = Duration::from_secs(5);
        world.push(template("v2", false));
        world.until("soaking", |world| world.phase() == "Soaking");
        if newer {
            world.push(template("v3", false));
        } else {
            world.scale(0);
        }
        world.until("stable is ordered", |world| {
            world.deployment()["spec"]["template"] == template("v1", false)
        });
        let next = world.status.run.as_ref().and_then(|run| run.back.as_ref()?.next.clone());
        assert_eq!(next.is_some(), newer, "{}", world.describe());
        let owed = next.or(world.status.canary.clone()).expect("it is known").revision;
        let reason = "because".repeat(143);
        world.say_of("HandBack", json!({"reason": reason}));
        world.until("answered", |world| world.actions[0]["status"]["message"].is_string());
        let last = world.status.last_run.clone().expect("it is over");
        let words = format!(
            "template {owed} (shop:v1) was not put back (it is kept as ControllerRevision {owed}): push it again"
        );
        assert_eq!(last.message, format!("{words}; alice handed the Deployment back: {reason}"));
        let answer = format!("the Deployment is its owner's again; {words}");
        assert_eq!(world.actions[0]["status"]["message"], answer);
        // However long the reason is, an event has no room for more.
        let names = |note: &String| note.chars().take(1000).collect::<String>().contains(&words);
        assert!(told(&world, "HandedBack").iter().any(names), "{}", world.describe());
        world.pass(Duration::from_secs(20));
        let there = &world.deployment()["spec"]["template"];
        assert_eq!(*there, template("v1", false), "as it stood: {}", world.describe());
        assert!(world.templates.contains_key(&owed), "{}", world.describe());
    }
}

#[test]
fn killed_after_any_write_of_the_way_back_it_comes_to_the_same_end_and_no_job_is_made_twice() {
    let hooks = json!([
        {"name": "flag", "http": {"url": "http://flags/"}},
        {"name": "dump", "job": job(json!({}))},
    ]);
    let validate = json!({"for": "5s", "checks": [{"name": "tests", "job": job(json!({}))}]});
    let mut world = World::new(
        4,
        rolling(),
        with(json!({"hooks": hooks, "validate": validate, "quarantine": {"pods": 1, "for": "1h"}})),
    );
    for label in ["hook.dump", "tests"] {
        world.job_ends.insert(label, WELL);
    }
    world.push(template("v2", true));
    let (mut kills, mut lost) = (0, 0);
    while world.status.last_run.is_none() {
        world.quiet_tick();
        for after in 0..3 {
            let mut killed = World { dies_after: Some(after), ..world.copy() };
            let decision = killed.look();
            let is_back = |status: &tidegate::api::ReleaseStatus| {
                status.run.as_ref().is_none_or(|run| run.back.is_some())
            };
            let writes = !decision.intents.is_empty() || decision.status.is_some();
            if !writes || after > decision.intents.len() || !decision.status.as_ref().is_none_or(is_back) {
                continue;
            }
            if world.status.run.as_ref().is_none_or(|run| run.back.is_none()) && decision.status.is_none() {
                continue;
            }
            kills += 1;
            killed.begin_anew();
            let undo = ended(&mut killed);
            killed.pass(Duration::from_secs(2));
            let what = format!("kill {kills} after {after}: {}", killed.describe());
            assert_eq!(format!("{:?}", killed.status.last_run.as_ref().unwrap().outcome), "Undone", "{what}");
            assert!(undo.hooks.iter().all(|hook| hook.state == HookState::Done), "{:?} {what}", undo.hooks);
            assert_eq!(undo.validation.unwrap().result, ValidationResult::Validated, "{what}");
            assert_eq!(killed.jobs.len(), 2, "{what}");
            assert_eq!((killed.ready(), killed.alive()), (4, 4), "{what}");
            // Killed between the order and the labels, it is the native controller that is faster.
            let is_kept = undo.quarantined[0].state == QuarantineState::Kept;
            assert_eq!(killed.quarantined.len(), usize::from(is_kept), "{what}");
            lost += usize::from(!is_kept);
        }
        world.look();
    }
    assert!(kills > 8 && lost < 2, "{kills} kills, {lost} pods lost");
}

#[test]
fn a_job_among_the_checks_of_what_was_put_back_is_judged_by_what_it_says() {
    let tests = job(json!({"result": {"from": "LastLogLine", "expression": "result.failed == 0"}}));
    let mut world =
        World::new(4, rolling(), with(json!({"validate": {"checks": [{"name": "tests", "job": tests}]}})));
    world.job_ends.insert("tests", Ending { says: Some("{\"failed\": 2}"), ..WELL });
    world.push(template("v2", true));
    let undo = ended(&mut world);
    let found = undo.validation.unwrap();
    assert_eq!(found.result, ValidationResult::ValidationFailed);
    assert!(
        found.message.ends_with("its result is not as expected: result.failed == 0"),
        "{}",
        found.message
    );
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    assert_eq!(report.checks[0].log, ["{\"failed\": 2}"]);
}

#[test]
fn what_is_asked_of_people_or_before_the_first_pod_is_refused_with_the_field_and_the_way_out() {
    let early = "workload, promotion and telemetry are asked before the first pod: write them in preflight";
    let signed = "nobody is asked once stable stands: leave it out, and write who is asked before it goes back as undo.approval";
    for (check, problem) in [
        (json!({"name": "c", "approval": {"roles": ["qa"]}}), signed),
        (json!({"name": "c", "attest": {"text": "it works", "roles": ["qa"]}}), signed),
        (json!({"name": "c", "workload": {}}), early),
        (json!({"name": "c", "promotion": {"namespace": "staging"}}), early),
        (json!({"name": "c", "telemetry": {}}), early),
    ] {
        let undo = json!({"validate": {"checks": [{"name": "smoke", "http": {"podPath": "/"}}, check]}});
        let mut world = World::new(4, rolling(), with(undo));
        world.push(template("v2", false));
        world.until("refused", |world| reason(world) == "InvalidSpec");
        let blocker = world.status.blocked_by.clone().unwrap();
        assert_eq!(blocker.message, format!("spec.undo.validate.checks[1]: check 'c': {problem}"));
    }
}
