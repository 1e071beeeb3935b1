//! Locks: who waits, for whom, and what never waits.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BADLY, WELL, World, template};

fn rolling() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
}

fn spec(more: Value) -> Value {
    let mut spec = json!({
        "locks": ["orders-db"],
        "migrations": [{"name": "add", "kind": "Expand", "job": {"template": {"spec": {"template": {"spec": {}}}}}}],
        "steps": [{"name": "half", "replicas": "50%", "soak": "5s"}, {"name": "all", "replicas": "100%"}],
        "watch": [{"for": "5s", "every": "1s"}],
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// Another Release with a run that stands so to a lock.
fn billing(lock: &str, standing: &str) -> Value {
    let locks = json!({
        "names": [lock], "standing": standing, "asked": "2027-01-15T07:59:00Z",
        "held": if standing == "Held" { json!("2027-01-15T07:59:01Z") } else { json!(null) },
    });
    json!({
        "metadata": {"name": "billing", "namespace": "ns", "uid": "b", "generation": 1, "resourceVersion": "9"},
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "billing"}, "locks": [lock]},
        "status": {"run": {
            "id": "r7", "number": 7, "startedAt": "2027-01-15T07:58:00Z", "originals": {}, "stage": "Steps", "locks": locks,
        }},
    })
}

fn shipped(spec: Value, others: Vec<Value>) -> World {
    let mut world = World::new(4, rolling(), spec);
    world.job_ends.insert("migration.add", WELL);
    world.others = others;
    world.push(template("v2", false));
    world
}

fn reason(world: &World) -> &str {
    world.status.blocked_by.as_ref().map_or("", |blocker| blocker.reason.as_str())
}

fn standing(world: &World) -> String {
    let locks = world.status.run.as_ref().and_then(|run| run.locks.as_ref());
    locks.map(|locks| format!("{:?}", locks.standing)).unwrap_or_default()
}

fn outcome(world: &mut World) -> String {
    world.until("the end", |world| world.status.last_run.is_some());
    format!("{:?}", world.status.last_run.as_ref().unwrap().outcome)
}

#[test]
fn a_run_has_its_lock_from_before_its_first_migration_until_its_watch_begins() {
    let mut world = shipped(spec(json!({})), Vec::new());
    while world.phase() != "Watching" {
        world.tick();
        let is_at_work = !world.jobs.is_empty() || world.alive() > 4;
        let is_watched = world.status.run.as_ref().is_some_and(|run| run.all_since.is_some());
        assert!(!is_at_work || is_watched || standing(&world) == "Held", "{}", world.describe());
    }
    assert_eq!(standing(&world), "");
    assert_eq!(outcome(&mut world), "Succeeded");
}

#[test]
fn while_another_has_it_a_run_waits_and_says_for_whom_and_since_when() {
    let mut world = shipped(spec(json!({})), vec![billing("orders-db", "Held")]);
    world.until("held", |world| reason(world) == "Locked");
    let blocker = world.status.blocked_by.clone().unwrap();
    assert_eq!(
        blocker.message,
        "lock orders-db: held by run r7 of release billing since 2027-01-15T07:59:01Z"
    );
    let unblock = "wait: it is free once the watch of that run begins, or it has gone back; or kubectl tidegate abort billing --reason '...' -n ns";
    assert_eq!(blocker.unblock, unblock);
    world.say("Skip");
    world.pass(Duration::from_secs(60));
    assert_eq!((reason(&world), world.alive(), world.jobs.len()), ("Locked", 4, 0), "{}", world.describe());
    assert!(world.actions[0]["status"]["message"].as_str().unwrap().starts_with("a lock is waited for"));
    let writes = world.status_writes;
    world.pass(Duration::from_secs(60));
    assert_eq!(world.status_writes, writes, "waiting writes nothing");
    world.others.clear();
    let freed = world.now;
    world.until("its turn", |world| standing(world) == "Held");
    assert!(world.now.duration_since(freed).as_secs() <= 6, "{}", world.describe());
    assert_eq!(outcome(&mut world), "Succeeded");
}

#[test]
fn who_asked_before_goes_first_and_another_lock_is_no_matter() {
    let mut world = shipped(spec(json!({})), vec![billing("orders-db", "Asked")]);
    world.until("held", |world| reason(world) == "Locked");
    let message = world.status.blocked_by.as_ref().unwrap().message.clone();
    assert_eq!(
        message,
        "lock orders-db: asked for first by run r7 of release billing since 2027-01-15T07:59:00Z"
    );
    let mut world = shipped(spec(json!({})), vec![billing("other-db", "Held")]);
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
}

#[test]
fn one_that_waits_for_something_else_lets_others_go_first() {
    let mut world = shipped(spec(json!({})), vec![billing("orders-db", "Held")]);
    world.until("asked", |world| standing(world) == "Asked");
    world.say("Pause");
    world.until("paused", |world| reason(world) == "Paused");
    assert_eq!(standing(&world), "");
}

#[test]
fn going_back_waits_for_no_lock_and_gives_it_up_at_its_end() {
    let mut world = shipped(spec(json!({})), Vec::new());
    world.until("soaking", |world| world.phase() == "Soaking");
    world.others = vec![billing("orders-db", "Claimed")];
    world.say("Abort");
    while world.status.last_run.is_none() {
        world.tick();
        assert!(standing(&world) == "Held" || world.status.run.is_none(), "{}", world.describe());
    }
    assert_eq!((world.ready(), outcome(&mut world).as_str()), (4, "Aborted"));

    let mut world = shipped(spec(json!({})), vec![billing("orders-db", "Held")]);
    world.until("held", |world| reason(world) == "Locked");
    world.say("Abort");
    assert_eq!(outcome(&mut world), "Aborted", "{}", world.describe());
}

#[test]
fn a_migration_that_failed_keeps_the_lock_and_one_after_the_watch_takes_it_again() {
    let mut world = World::new(4, rolling(), spec(json!({})));
    world.job_ends.insert("migration.add", BADLY);
    world.push(template("v2", false));
    world.until("held", |world| reason(world) == "MigrationFailed");
    world.pass(Duration::from_secs(30));
    assert_eq!(standing(&world), "Held");

    let contract = json!([{"name": "add", "kind": "Contract", "job": {"template": {"spec": {"template": {"spec": {}}}}}}]);
    let mut world = shipped(spec(json!({"migrations": contract})), Vec::new());
    world.until("watching", |world| world.phase() == "Watching");
    world.others = vec![billing("orders-db", "Held")];
    world.until("held", |world| reason(world) == "Locked");
    assert!(world.jobs.is_empty());
    world.others.clear();
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 1);
}

#[test]
fn after_the_watch_too_nobody_waits_for_one_that_waits_for_something_else() {
    let job = json!({"template": {"spec": {"template": {"spec": {}}}}});
    let migrations = json!([{"name": "add", "kind": "Expand", "job": job}, {"name": "drop", "kind": "Contract", "job": job}]);
    let mut world = shipped(spec(json!({"migrations": migrations})), Vec::new());
    world.job_ends.insert("migration.drop", WELL);
    world.until("watching", |world| world.phase() == "Watching");
    world.others = vec![billing("orders-db", "Held")];
    world.until("held", |world| reason(world) == "Locked");
    assert_eq!(standing(&world), "Asked");
    world.say("Pause");
    world.until("paused", |world| reason(world) == "Paused");
    assert_eq!(standing(&world), "", "{}", world.describe());
    world.others.clear();
    world.say("Resume");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 2);
}

/// After its watch it has asked for the lock, for a migration, and another Release has it.
fn waiting_after_its_watch(first: &str, more: Value) -> World {
    let job = json!({"template": {"spec": {"template": {"spec": {}}}}});
    let mut spec = spec(more);
    spec["migrations"] =
        json!([{"name": "add", "kind": first, "job": job}, {"name": "drop", "kind": "Contract", "job": job}]);
    spec["criteria"] = json!([{"name": "memory", "value": {"json": {"url": "http://shop/", "pointer": "/m"}, "limit": "value > 10"}}]);
    let mut world = World::new(4, rolling(), spec);
    world.memory = Some(1.0);
    for label in ["migration.add", "migration.drop"] {
        world.job_ends.insert(label, WELL);
    }
    world.push(template("v2", false));
    world.until("watching", |world| world.phase() == "Watching");
    world.others = vec![billing("orders-db", "Held")];
    world.until("held", |world| reason(world) == "Locked");
    assert_eq!(standing(&world), "Asked", "{}", world.describe());
    world
}

fn stands_still(world: &mut World, wanted: &str) {
    world.until(wanted, |world| reason(world) == wanted);
    assert_eq!(standing(world), "", "{}", world.describe());
    world.others.clear();
    world.pass(Duration::from_secs(10));
    assert_eq!((reason(world), standing(world).as_str()), (wanted, ""), "{}", world.describe());
}

#[test]
fn after_the_watch_nobody_waits_for_one_whose_undo_somebody_decides_about() {
    let approval = json!({"undo": {"approval": {"roles": ["sre"], "timeout": "5m"}}});
    let mut world = waiting_after_its_watch("Expand", approval);
    world.memory = Some(11.0);
    stands_still(&mut world, "AwaitingUndoApproval");
    world.say_of("Reject", json!({"role": "sre", "undo": true}));
    stands_still(&mut world, "UndoRefused");
    assert_eq!(world.jobs.len(), 1);
    world.say("Abort");
    assert_eq!(outcome(&mut world), "Aborted", "{}", world.describe());
}

#[test]
fn after_the_watch_nobody_waits_for_one_that_cannot_go_back_by_itself() {
    let mut world = waiting_after_its_watch("Irreversible", json!({}));
    world.memory = Some(11.0);
    stands_still(&mut world, "Irreversible");
    world.say("Skip");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 2);
}

#[test]
fn after_the_watch_nobody_waits_for_one_whose_spec_cannot_be_carried_out() {
    let mut world = waiting_after_its_watch("Expand", json!({}));
    world.release.as_mut().unwrap()["steps"][0]["replicas"] = json!("half");
    stands_still(&mut world, "InvalidSpec");
    world.release.as_mut().unwrap()["steps"][0]["replicas"] = json!("50%");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    assert_eq!(world.jobs.len(), 2);
}
