//! Migrations: in their order, once each, and what becomes of the way back.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::decide::snapshot::ProbeResult;

use super::{BADLY, Ending, WELL, World, template};

const FAILED: (ProbeResult, &str) = (ProbeResult::Failed, "answered 500, expected 200");

fn rolling() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
}

fn job() -> Value {
    json!({"template": {"spec": {"template": {"spec": {}}}}})
}

fn migration(name: &str, kind: &str) -> Value {
    json!({"name": name, "kind": kind, "job": job()})
}

fn verified(name: &str, kind: &str) -> Value {
    json!({"name": name, "kind": kind, "job": job(), "verify": job()})
}

fn spec(migrations: Value) -> Value {
    json!({
        "migrations": migrations,
        "steps": [{"name": "half", "replicas": "50%", "soak": "5s"}, {"name": "all", "replicas": "100%"}],
        "watch": [{"for": "5s", "every": "1s"}],
    })
}

/// A version is shipped, and all Jobs end well but for these.
fn shipped(spec: Value, endings: &[(&'static str, Ending)]) -> World {
    let mut world = World::new(4, rolling(), spec);
    for label in ["backup", "add", "drop", "clean"] {
        world.job_ends.insert(label, WELL);
    }
    for label in ["migration.add", "migration.add.verify", "migration.drop", "migration.clean"] {
        world.job_ends.insert(label, WELL);
    }
    world.job_ends.extend(endings.iter().copied());
    world.push(template("v2", false));
    world
}

/// A migration has begun, and is noted.
fn has_begun(world: &World) -> bool {
    world.status.run.as_ref().is_some_and(|run| !run.migrations.is_empty())
}

fn reason(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| blocker.reason.as_str())
}

fn blocked(world: &World) -> String {
    world.status.blocked_by.as_ref().map(|blocker| blocker.message.clone()).unwrap_or_default()
}

fn unblock(world: &World) -> String {
    world.status.blocked_by.as_ref().map(|blocker| blocker.unblock.clone()).unwrap_or_default()
}

fn outcome(world: &mut World) -> String {
    world.until("the end", |world| world.status.last_run.is_some());
    format!("{:?}", world.status.last_run.as_ref().unwrap().outcome)
}

/// What was made, without run, template and hash: `backup-1`, `migration-add-1`.
fn made(world: &World) -> Vec<String> {
    let plain = |name: &String| {
        let parts: Vec<&str> = name.split('-').collect();
        let run = parts.iter().position(|part| part.starts_with('r') && part[1..].parse::<u32>().is_ok());
        let run = run.expect("a run");
        let is_hash = |part: &str| part.len() == 6 && part.chars().all(|letter| letter.is_ascii_hexdigit());
        let head = parts[1..run].iter().filter(|part| !is_hash(part));
        format!("{}-{}", head.copied().collect::<Vec<_>>().join("-"), parts.last().unwrap())
    };
    world.jobs.iter().map(plain).collect()
}

fn told(world: &World, reason: &str) -> Vec<String> {
    world.notices.iter().filter(|told| told.reason == reason).map(|told| told.note.clone()).collect()
}

#[test]
fn they_run_one_after_the_other_after_the_checks_and_before_the_first_pod() {
    let mut spec = spec(json!([verified("add", "Expand"), migration("drop", "Irreversible")]));
    spec["preflight"] = json!([{"name": "backup", "job": job()}]);
    let mut world = shipped(spec, &[]);
    let mut seen = 0;
    while world.status.run.as_ref().is_none_or(|run| format!("{:?}", run.stage) == "Preflight") {
        world.tick();
        assert_eq!(world.alive(), 4, "no pod before all are done: {}", world.describe());
        if world.jobs.len() > seen {
            seen = world.jobs.len();
            let ended = world.status.run.as_ref().map_or(0, |run| {
                let checks = run.checks.iter().map(|check| check.state);
                let parts = run.migrations.iter().flat_map(|known| {
                    std::iter::once(known.work.state).chain(known.verify.as_ref().map(|part| part.state))
                });
                checks.chain(parts).filter(|state| format!("{state:?}") == "Passed").count()
            });
            assert_eq!(ended, seen - 1, "one at a time: {}", world.describe());
        }
        assert!(world.jobs.len() <= 4);
    }
    assert_eq!(made(&world), ["backup-1", "migration-add-1", "migration-add-verify-1", "migration-drop-1"]);
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    assert_eq!(report.migrations.len(), 2);
    assert_eq!(report.migrations[0].work.log, ["done"]);
    assert!(report.migrations.iter().all(|known| known.begun.is_some()));
}

#[test]
fn what_is_irreversible_is_said_before_it_begins() {
    let mut spec = spec(json!([migration("drop", "Irreversible")]));
    spec["preflight"] = json!([{"name": "sign-off", "approval": {"roles": ["dba"]}}]);
    let mut world = shipped(spec, &[]);
    world.until("waits", |world| reason(world) == "AwaitingApproval");
    let words = "migration drop is irreversible: from its start on nothing goes back by itself, only when somebody says abort";
    assert!(blocked(&world).ends_with(&format!("Ahead: {words}")), "{}", blocked(&world));
    assert_eq!(told(&world, "IrreversibleAhead"), [format!("run r1: {words}")]);
    assert_eq!(world.status.run.as_ref().unwrap().notes, [words]);
    // Nothing has begun: it goes back as ever.
    world.say("Abort");
    assert_eq!(outcome(&mut world), "Aborted");
    assert!(world.jobs.is_empty());
}

#[test]
fn one_that_fails_holds_until_somebody_says_retry() {
    let mut world = shipped(spec(json!([migration("add", "Expand")])), &[("migration.add", BADLY)]);
    world.until("held", |world| reason(world) == "MigrationFailed");
    assert_eq!(world.phase(), "Held");
    assert!(blocked(&world).starts_with("migration add: job shop-migration-add-"), "{}", blocked(&world));
    assert!(blocked(&world).ends_with("it failed; it said: no such table"), "{}", blocked(&world));
    let ways = "kubectl tidegate retry shop -n ns, or kubectl tidegate skip shop -n ns --reason '...', or kubectl tidegate abort shop -n ns --reason '...'";
    assert_eq!(unblock(&world), ways);
    world.pass(Duration::from_secs(60));
    assert_eq!((world.jobs.len(), world.alive()), (1, 4), "it is not tried again by itself");
    assert_eq!(told(&world, "MigrationFailed").len(), 1);
    world.job_ends.insert("migration.add", WELL);
    world.say("Retry");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(made(&world), ["migration-add-1", "migration-add-2"]);
}

#[test]
fn or_skip_or_abort() {
    let failing = || shipped(spec(json!([migration("add", "Expand")])), &[("migration.add", BADLY)]);
    let mut world = failing();
    world.until("held", |world| reason(world) == "MigrationFailed");
    world.say("Skip");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    assert!(report.migrations[0].work.message.starts_with("skipped by alice: because; job "));

    let mut world = failing();
    world.until("held", |world| reason(world) == "MigrationFailed");
    world.say("Abort");
    assert_eq!(outcome(&mut world), "Aborted", "{}", world.describe());
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    assert_eq!(report.notes, ["going back undoes no migration; begun were: add"]);
}

#[test]
fn a_verify_that_fails_is_tried_again_without_the_migration() {
    let mut world = shipped(spec(json!([verified("add", "Expand")])), &[("migration.add.verify", BADLY)]);
    world.until("held", |world| reason(world) == "MigrationFailed");
    assert!(blocked(&world).starts_with("migration add, verify: job "), "{}", blocked(&world));
    world.job_ends.insert("migration.add.verify", WELL);
    world.say("Retry");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(made(&world), ["migration-add-1", "migration-add-verify-1", "migration-add-verify-2"]);
}

#[test]
fn killed_after_any_write_each_runs_once() {
    let all =
        json!([verified("add", "Expand"), migration("drop", "Irreversible"), migration("clean", "Contract")]);
    let mut first = shipped(spec(all), &[]);
    let mut kills = 0;
    // Before each tick of the run: a world in which the look of that tick dies after its first write, and in mid-write.
    for tick in 0.. {
        assert!(tick < 3000, "{}", first.describe());
        if first.status.last_run.is_some() {
            break;
        }
        let jobs = first.jobs.len();
        let mut copy = first.copy();
        first.tick();
        let changes = first.jobs.len() != jobs || tick % 10 == 0;
        if !changes {
            continue;
        }
        for dies_after in [0, 1] {
            let mut world = copy.copy();
            world.dies_after = Some(dies_after);
            world.tick();
            kills += 1;
            assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
            let wanted =
                ["migration-add-1", "migration-add-verify-1", "migration-drop-1", "migration-clean-1"];
            assert_eq!(made(&world), wanted, "killed in tick {tick}: {}", world.describe());
        }
        copy.dies_after = None;
    }
    assert!(kills > 10, "{kills}");
}

/// At half, with a check that fails there.
fn failing_at_half(kind: &str) -> World {
    let mut spec = spec(json!([migration("drop", kind)]));
    spec["steps"][0]["checks"] = json!([{"name": "smoke", "http": {"podPath": "/"}}]);
    let mut world = shipped(spec, &[]);
    world.answers.insert("half/smoke", FAILED);
    world
}

#[test]
fn after_one_that_expands_it_goes_back_as_ever() {
    let mut world = failing_at_half("Expand");
    assert_eq!(outcome(&mut world), "Undone", "{}", world.describe());
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    assert_eq!(report.notes, ["going back undoes no migration; begun were: drop"]);
}

#[test]
fn after_an_irreversible_one_it_stands_still_where_it_would_go_back() {
    let mut world = failing_at_half("Irreversible");
    world.until("held", |world| reason(world) == "Irreversible");
    assert_eq!(world.phase(), "Held");
    let message = blocked(&world);
    assert!(message.starts_with("step half: check smoke failed: answered 500, expected 200. It does not go back by itself: migration drop (Irreversible) has begun at "), "{message}");
    let ways = "kubectl tidegate abort shop -n ns --reason '...' (goes back all the same), or kubectl tidegate skip shop -n ns --reason '...' (goes on)";
    assert_eq!(unblock(&world), ways);
    let writes = world.writes_to_deployment;
    world.pass(Duration::from_secs(120));
    assert_eq!(world.deployment()["spec"]["paused"], true);
    assert!(world.writes_to_deployment <= writes + 1, "it stands still");
    assert_eq!(told(&world, "Irreversible").len(), 1, "it is told once");
    let mut other = world.copy();

    world.say("Abort");
    assert_eq!(outcome(&mut world), "Aborted", "{}", world.describe());
    assert_eq!((world.ready(), world.alive()), (4, 4));

    other.say("Skip");
    assert_eq!(outcome(&mut other), "Succeeded", "{}", other.describe());
}

#[test]
fn pods_that_crash_after_an_irreversible_one_are_left_for_a_person() {
    let mut world = World::new(4, rolling(), spec(json!([migration("drop", "Irreversible")])));
    world.job_ends.insert("migration.drop", WELL);
    world.push(template("v2", true));
    world.until("held", |world| reason(world) == "Irreversible");
    assert!(blocked(&world).contains("canary pods: CrashLoopBackOff"), "{}", blocked(&world));
    world.pass(Duration::from_secs(30));
    assert_eq!(reason(&world), "Irreversible", "{}", world.describe());
    // The owner may still write the old version, or a newer one.
    let mut other = world.copy();
    world.push(template("v1", false));
    assert_eq!(outcome(&mut world), "Undone", "{}", world.describe());
    other.push(template("v3", false));
    assert_eq!(outcome(&mut other), "Superseded", "{}", other.describe());
    other.until("the next run", |world| world.status.last_run.as_ref().is_some_and(|last| last.id == "r2"));
    assert_eq!(made(&other), ["migration-drop-1", "migration-drop-1"], "the next run has its own");
}

#[test]
fn whoever_goes_on_with_pods_that_never_come_is_told_so_again() {
    // Without a deadline what fails is not waited out, and nothing new is there to be told.
    for (deadline, after, times) in [(60, 90, 2), (i32::MAX, 10, 1)] {
        let mut world = World::new(4, rolling(), spec(json!([migration("drop", "Irreversible")])));
        world.job_ends.insert("migration.drop", WELL);
        world.deployment.as_mut().unwrap()["spec"]["progressDeadlineSeconds"] = json!(deadline);
        world.push(template("v2", true));
        world.until("held", |world| reason(world) == "Irreversible");
        world.say("Skip");
        world.until("goes on", |world| world.phase() == "Moving");
        world.pass(Duration::from_secs(after));
        assert_eq!(world.phase(), "Moving", "{}", world.describe());
        let words = "The run was told to go on, waits for them, and does not go back by itself";
        assert!(
            blocked(&world).contains("canary pods") && blocked(&world).ends_with(words),
            "{}",
            blocked(&world)
        );
        assert!(unblock(&world).contains("(goes back all the same), or push a version that starts"));
        assert_eq!(told(&world, "Irreversible").len(), times, "{:?}", told(&world, "Irreversible"));
        world.say("Abort");
        assert_eq!(outcome(&mut world), "Aborted", "{}", world.describe());
    }
}

#[test]
fn a_breach_after_an_irreversible_one_names_the_numbers() {
    let mut spec = spec(json!([migration("drop", "Irreversible")]));
    spec["steps"][0]["soak"] = json!("2m");
    spec["metrics"] = json!({"prometheus": {"url": "http://prometheus"}});
    spec["criteria"] =
        json!([{"name": "memory", "value": {"promql": "memory", "limit": "value > 100", "for": "10s"}}]);
    let mut world = shipped(spec, &[]);
    world.memory = Some(50.0);
    world.until("soaking", |world| world.phase() == "Soaking");
    world.memory = Some(200.0);
    world.until("held", |world| reason(world) == "Irreversible");
    assert!(blocked(&world).contains("memory: ") && blocked(&world).contains("200"), "{}", blocked(&world));
    world.memory = Some(50.0);
    // A breach stands until the run has ended: each step is gone on from by somebody's word.
    let mut skips = 0;
    while world.status.last_run.is_none() {
        world.until("held or over", |world| {
            reason(world) == "Irreversible" || world.status.last_run.is_some()
        });
        if reason(&world) == "Irreversible" {
            world.say("Skip");
            skips += 1;
        }
        world.pass(Duration::from_millis(500));
    }
    assert!((2..=4).contains(&skips), "{skips}");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
}

#[test]
fn without_replicas_after_an_irreversible_one_it_waits_for_them() {
    let mut spec = spec(json!([migration("drop", "Irreversible")]));
    spec["steps"][0]["soak"] = json!("30s");
    let mut world = shipped(spec, &[]);
    world.until("soaking", |world| world.phase() == "Soaking");
    world.scale(0);
    world.until("held", |world| reason(world) == "Irreversible");
    assert!(unblock(&world).contains("kubectl scale deployment/shop --replicas=..."), "{}", unblock(&world));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.deployment()["spec"]["template"], template("v2", false), "the new version stays");
    world.scale(4);
    world.until("held for a person: more are of the new version than the step allows", |world| {
        reason(world) == "Irreversible" && blocked(world).contains("where step half allows 2")
    });
    world.say("Skip");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
}

/// After an irreversible migration somebody skips the first step's soak while all is well, and a signature is waited for there.
fn skipped_while_all_is_well() -> World {
    let mut spec = spec(json!([migration("drop", "Irreversible")]));
    spec["steps"][0]["soak"] = json!("1h");
    spec["steps"][0]["approval"] = json!({"roles": ["qa"]});
    spec["criteria"] =
        json!([{"name": "memory", "value": {"podGauge": {"name": "rss"}, "limit": "value > 100"}}]);
    let mut world = shipped(spec, &[]);
    world.memory = Some(50.0);
    world.until("soaking", |world| world.phase() == "Soaking");
    world.say("Skip");
    world.until("waits for a signature", |world| reason(world) == "AwaitingApproval");
    world
}

#[test]
fn a_soak_that_was_skipped_while_all_was_well_silences_no_breach_that_comes_later() {
    let mut world = skipped_while_all_is_well();
    world.memory = Some(200.0);
    world.until("held", |world| reason(world) == "Irreversible");
    assert!(blocked(&world).contains("memory: ") && blocked(&world).contains("200"), "{}", blocked(&world));
    assert_eq!(told(&world, "Irreversible").len(), 1);
    // No signature goes past it.
    world.say_of("Approve", json!({"role": "qa"}));
    world.pass(Duration::from_secs(30));
    assert_eq!(reason(&world), "Irreversible", "{}", world.describe());
    assert_eq!(world.status.step.as_ref().unwrap().name, "half");
    world.say("Skip");
    world.until("held in the next step", |world| {
        reason(world) == "Irreversible" && world.status.step.as_ref().is_some_and(|step| step.name == "all")
    });
}

#[test]
fn nor_pods_that_fail_later() {
    let mut world = skipped_while_all_is_well();
    let set = world.sets.iter().find(|set| set.template == template("v2", false)).unwrap().name.clone();
    for pod in world.pods.iter_mut().filter(|pod| pod.set == set) {
        pod.crashing = true;
        pod.ready_since = None;
    }
    world.until("held", |world| reason(world) == "Irreversible");
    assert!(blocked(&world).contains("canary pods: CrashLoopBackOff"), "{}", blocked(&world));
    assert_eq!(told(&world, "Irreversible").len(), 1);
}

#[test]
fn whoever_goes_on_all_the_same_may_skip_another_hold_of_that_step_too() {
    let mut spec = spec(json!([migration("drop", "Irreversible")]));
    spec["steps"][0]["soak"] = json!("30s");
    spec["criteria"] = json!([{"name": "memory", "value": {"podGauge": {"name": "rss"}, "limit": "value > 100", "target": "value < 80"}}]);
    let mut world = shipped(spec, &[]);
    world.memory = Some(50.0);
    world.until("soaking", |world| world.phase() == "Soaking");
    world.scale(0);
    world.until("held", |world| reason(world) == "Irreversible");
    world.memory = Some(90.0);
    world.scale(4);
    world.until("held, and over its target too", |world| {
        let is_over = world.status.verdicts.first().is_some_and(|known| known.verdict == "Hold");
        is_over && blocked(world).contains("where step half allows 2")
    });
    world.say("Skip");
    world.until("held over its target", |world| reason(world) == "AboveTarget");
    world.say("Skip");
    world.until("the next step", |world| world.status.step.as_ref().is_some_and(|step| step.name == "all"));
    world.memory = Some(50.0);
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
}

#[test]
fn what_contracts_runs_after_the_watch_and_when_it_fails_nothing_is_undone() {
    let all = json!([migration("clean", "Contract"), migration("add", "Expand")]);
    let mut world = shipped(spec(all), &[("migration.clean", BADLY)]);
    world.until("watching", |world| world.phase() == "Watching");
    assert_eq!(made(&world), ["migration-add-1"]);
    world.until("held", |world| reason(world) == "MigrationFailed");
    assert_eq!(made(&world), ["migration-add-1", "migration-clean-1"]);
    world.pass(Duration::from_secs(30));
    assert_eq!((world.alive(), reason(&world)), (4, "MigrationFailed"), "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["template"], template("v2", false));
    world.job_ends.insert("migration.clean", WELL);
    world.say("Retry");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
}

#[test]
fn a_run_that_is_undone_has_none_that_contracts() {
    let mut spec = spec(json!([migration("clean", "Contract")]));
    spec["watch"] = json!([{"for": "1h", "every": "1s"}]);
    let mut world = shipped(spec, &[]);
    world.until("watching", |world| world.phase() == "Watching");
    world.push(template("v3", false));
    assert_eq!(outcome(&mut world), "Superseded", "{}", world.describe());
    assert!(world.jobs.is_empty());
    let report = &world.reports[&world.status.last_run.as_ref().unwrap().report];
    assert_eq!(report.notes, ["migrations that were not run: clean"]);
}

#[test]
fn the_run_ends_only_when_the_job_of_a_migration_has_which_nobody_stops() {
    let slow = Ending { after: Duration::from_secs(60), ..WELL };
    let mut world = shipped(spec(json!([migration("add", "Expand")])), &[("migration.add", slow)]);
    world.until("made", |world| !world.jobs.is_empty());
    world.push(template("v3", false));
    world.until("back", |world| world.phase() == "Undoing");
    world.pass(Duration::from_secs(20));
    assert_eq!(reason(&world), "MigrationRunning", "{}", world.describe());
    assert!(
        unblock(&world).starts_with("wait, or kubectl delete job shop-migration-add-"),
        "{}",
        unblock(&world)
    );
    assert_eq!(world.jobs.len(), 1, "no second one at the same time");
    assert_eq!(outcome(&mut world), "Superseded", "{}", world.describe());
    world.job_ends.insert("migration.add", WELL);
    world.until("the next run", |world| world.status.last_run.as_ref().is_some_and(|last| last.id == "r2"));
    assert_eq!(world.jobs.len(), 2);
}

#[test]
fn the_job_of_a_migration_is_waited_for_though_who_made_it_could_not_note_it() {
    let slow = Ending { after: Duration::from_secs(60), ..WELL };
    let is_seen_late = Ending { after: Duration::from_secs(90), ..WELL };
    for (ending, unheard) in [(slow, false), (is_seen_late, true)] {
        let mut world = shipped(spec(json!([migration("add", "Expand")])), &[("migration.add", ending)]);
        world.until("it begins", has_begun);
        // For some seconds nobody hears of the Job either.
        world.jobs_unheard = Some(world.now).filter(|_| unheard);
        while world.jobs.is_empty() {
            world.dies_after = Some(1);
            world.tick();
        }
        let noted = |world: &World| world.status.run.as_ref().unwrap().migrations[0].work.job.clone();
        assert_eq!(noted(&world), None, "{}", world.describe());
        world.push(template("v3", false));
        world.until("back", |world| world.phase() == "Undoing");
        world.pass(Duration::from_secs(10));
        world.jobs_unheard = None;
        world.pass(Duration::from_secs(35));
        assert_eq!((reason(&world), world.jobs.len()), ("MigrationRunning", 1), "{}", world.describe());
        assert_eq!(outcome(&mut world), "Superseded", "{}", world.describe());
        world.job_ends.insert("migration.add", WELL);
        world.until("the next run", |world| {
            world.status.last_run.as_ref().is_some_and(|last| last.id == "r2")
        });
        assert_eq!(world.jobs.len(), 2, "{:?}", world.jobs);
    }
}

#[test]
fn so_are_the_job_of_its_verify_and_that_of_a_second_try() {
    let slow = Ending { after: Duration::from_secs(60), ..WELL };
    let verify = shipped(spec(json!([verified("add", "Expand")])), &[("migration.add.verify", slow)]);
    let mut again = shipped(spec(json!([migration("add", "Expand")])), &[("migration.add", BADLY)]);
    again.until("held", |world| reason(world) == "MigrationFailed");
    again.job_ends.insert("migration.add", slow);
    again.say("Retry");
    for mut world in [verify, again] {
        world.until("the first Job", |world| world.jobs.len() == 1);
        let mut before = world.copy();
        while world.jobs.len() < 2 {
            before = world.copy();
            world.tick();
        }
        let mut world = before;
        world.dies_after = Some(1);
        world.tick();
        world.push(template("v3", false));
        world.pass(Duration::from_secs(45));
        assert_eq!((reason(&world), world.jobs.len()), ("MigrationRunning", 2), "{}", world.describe());
        assert_eq!(outcome(&mut world), "Superseded", "{}", world.describe());
    }
}

#[test]
fn one_that_has_begun_and_of_whose_job_nothing_is_ever_heard_keeps_no_run_from_ending() {
    for pods_are_heard in [true, false] {
        let mut world = shipped(spec(json!([migration("add", "Expand")])), &[]);
        world.until("it begins", has_begun);
        if !pods_are_heard {
            world.stop_hearing();
        }
        world.say("Abort");
        world.tick();
        assert!(world.jobs.is_empty(), "{:?}", world.jobs);
        assert_eq!(outcome(&mut world), "Aborted", "{}", world.describe());
        assert!(world.jobs.is_empty(), "{:?}", world.jobs);
    }
}

/// Its migration begins, and for forty seconds each look that orders the Job comes to nothing.
fn ordered_without_an_answer(world: &mut World) {
    world.until("it begins", has_begun);
    let until = world.now + Duration::from_secs(40);
    while world.now < until {
        world.dies_after = Some(0);
        world.tick();
    }
    assert!(world.jobs.is_empty(), "{:?}", world.jobs);
}

#[test]
fn a_job_that_no_answer_said_is_made_is_waited_for_from_when_it_may_have_been_ordered_last() {
    let mut world = shipped(spec(json!([migration("add", "Expand")])), &[]);
    ordered_without_an_answer(&mut world);
    world.say("Abort");
    world.pass(Duration::from_secs(20));
    assert_eq!(reason(&world), "MigrationRunning", "{}", world.describe());
    assert!(blocked(&world).ends_with("may have been made, and is not seen yet"), "{}", blocked(&world));
    assert_eq!(unblock(&world), "wait");
    assert_eq!(outcome(&mut world), "Aborted", "{}", world.describe());
}

#[test]
fn one_that_contracts_is_waited_for_from_when_a_newer_template_comes_where_its_job_may_have_been_ordered() {
    let mut world = shipped(spec(json!([migration("clean", "Contract")])), &[]);
    ordered_without_an_answer(&mut world);
    world.push(template("v3", false));
    world.pass(Duration::from_secs(20));
    assert_eq!(reason(&world), "MigrationRunning", "{}", world.describe());
    assert!(blocked(&world).ends_with("may have been made, and is not seen yet"), "{}", blocked(&world));
    assert_eq!(outcome(&mut world), "Superseded", "{}", world.describe());
}

#[test]
fn that_wait_is_no_longer_where_somebody_scales_all_the_time() {
    let mut world = shipped(spec(json!([migration("clean", "Contract")])), &[]);
    ordered_without_an_answer(&mut world);
    world.push(template("v3", false));
    for replicas in [5, 4, 5] {
        world.pass(Duration::from_secs(10));
        world.scale(replicas);
    }
    world.pass(Duration::from_secs(5));
    let ended = world.status.last_run.as_ref().map(|last| format!("{:?}", last.outcome));
    assert_eq!(ended.as_deref(), Some("Superseded"), "{}", world.describe());
}

#[test]
fn none_is_ordered_again_before_it_is_noted_that_the_newer_template_was_taken_back() {
    let mut world = shipped(spec(json!([migration("clean", "Contract")])), &[]);
    ordered_without_an_answer(&mut world);
    world.push(template("v3", false));
    world.pass(Duration::from_secs(10));
    world.push(template("v2", false));
    let until = world.now + Duration::from_secs(2);
    while world.now < until {
        world.dies_after = Some(1);
        world.tick();
    }
    assert!(world.jobs.is_empty(), "{:?}", world.jobs);
    world.until("its Job is made", |world| world.jobs.len() == 1);
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
}

#[test]
fn a_newer_template_is_held_while_one_that_contracts_runs_also_where_nobody_else_holds_it() {
    let mut spec = spec(json!([migration("clean", "Contract")]));
    spec["capture"] = json!("React");
    let mut world = World::new(4, rolling(), spec);
    world.policy = false;
    world.job_ends.insert("migration.clean", Ending { after: Duration::from_secs(60), ..WELL });
    world.push(template("v2", false));
    world.until("it runs", |world| world.jobs.len() == 1);
    let newer = template("v3", false);
    world.push(newer.clone());
    world.pass(Duration::from_secs(20));
    assert_eq!(reason(&world), "MigrationRunning", "{}", world.describe());
    // Where its Release goes now, what is watched is gone back to: what was stable before it cannot live with what is being done.
    let watched = world.status.canary.as_ref().map(|canary| canary.revision.clone());
    assert_eq!(
        world.deployment()["metadata"]["annotations"]["tidegate.dev/stable"],
        json!(watched),
        "{}",
        world.describe()
    );
    // Some have begun before it was held.
    let out = world.sets.iter().filter(|set| set.template == newer).map(|set| set.replicas).sum::<i32>();
    assert!(out <= 2, "{}", world.describe());
    assert_eq!(outcome(&mut world), "Superseded", "{}", world.describe());
    world.until("the next run", |world| world.status.last_run.as_ref().is_some_and(|last| last.id == "r2"));
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 2, "{:?}", world.jobs);
}

#[test]
fn a_window_holds_those_that_have_not_begun() {
    let mut spec = spec(json!([migration("add", "Expand")]));
    // A quarter of an hour is less than the plan takes with ten minutes of migration and four of steps and checks.
    spec["windows"] =
        json!({"allow": [{"days": ["Fri"], "from": "08:00", "to": "08:11", "timeZone": "UTC"}]});
    let mut world = shipped(spec, &[]);
    world.until("held", |world| reason(world) == "WindowTooShort" || reason(world) == "OutsideWindow");
    world.pass(Duration::from_secs(20));
    assert!(world.jobs.is_empty(), "{}", world.describe());
    assert!(blocked(&world).contains("the plan takes 12m5s"), "{}", blocked(&world));
}

#[test]
fn a_window_that_closes_holds_the_next_one_after_the_watch() {
    let mut world =
        shipped(spec(json!([migration("drop", "Contract"), migration("clean", "Contract")])), &[]);
    world.until("the first one runs", |world| world.jobs.len() == 1);
    // Written while it runs: its own plan is no reason to stop what has begun.
    let closed = json!({"allow": [{"days": ["Mon"], "from": "02:00", "to": "02:30", "timeZone": "UTC"}]});
    world.release.as_mut().unwrap()["windows"] = closed;
    world.until("held", |world| reason(world) == "OutsideWindow");
    world.pass(Duration::from_secs(20));
    assert_eq!(world.jobs.len(), 1, "{}", world.describe());
    assert!(blocked(&world).contains("migration clean waits"), "{}", blocked(&world));
    world.release.as_mut().unwrap().as_object_mut().unwrap().remove("windows");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 2);
}
