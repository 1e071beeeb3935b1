//! Four eyes in the small world: all who have changed the template since the Deployment was last stable are its authors, and none of them signs for it.

use serde_json::{Value, json};

use super::signing::{before, message, quarter, reason, say_as, sign_off, until_blocked};
use super::{World, template};

const SIGNED: &str = "Done: signed as qa-manager";
const TOO_MANY: &str = "more people have changed the template than are noted, and anybody may be one of them";

/// Nothing goes out that has not been signed.
fn world() -> World {
    World::new(4, quarter(), before(sign_off(json!({}))))
}

/// Run `number` waits for a signature.
fn until_run_waits(world: &mut World, number: i64) {
    world.until(&format!("run {number} waits"), |world| {
        let is_it = world.status.run.as_ref().is_some_and(|run| run.number == number);
        is_it && reason(world) == "AwaitingApproval"
    });
}

/// Run `number` has ended so, and the Deployment is at rest.
fn until_ended(world: &mut World, number: i64, outcome: &str) {
    world.until(&format!("the end of run {number}"), |world| {
        let last = world.status.last_run.as_ref();
        let is_it =
            last.is_some_and(|last| last.number == number && format!("{:?}", last.outcome) == outcome);
        is_it && ["Idle", "Rejected"].contains(&world.phase().as_str())
    });
}

/// Who they are, by the run that is under way.
pub(super) fn authors(world: &World) -> &str {
    world.status.run.as_ref().and_then(|run| run.changed_by.as_ref()).map_or("", |authors| authors.text())
}

/// ... by the Deployment.
fn noted(world: &World) -> Value {
    world.deployment()["metadata"]["annotations"]["tidegate.dev/changed-by"].clone()
}

fn approve(world: &mut World, by: &str) -> String {
    say_as(world, "Approve", json!({"by": by}))
}

fn own(by: &str) -> String {
    format!("Refused: {by} made the change that this run is about: somebody else must approve it")
}

#[test]
fn who_changed_it_before_somebody_else_did_may_not_approve_it_and_the_next_version_begins_anew() {
    let mut world = world();
    world.push_by("alice", template("v2", false));
    until_run_waits(&mut world, 1);
    // A tool of hers touches it after her.
    world.push_by("bot", template("v3", false));
    until_run_waits(&mut world, 2);
    assert_eq!(authors(&world), "alice\nbot", "{}", world.describe());
    for by in ["alice", "bot"] {
        assert_eq!(approve(&mut world, by), own(by));
    }
    assert_eq!(approve(&mut world, "bob"), SIGNED);
    world.until("watching", |world| world.phase() == "Watching");
    assert_eq!(noted(&world), Value::Null, "{}", world.describe());
    world.push_by("bob", template("v4", false));
    until_run_waits(&mut world, 3);
    assert_eq!(authors(&world), "bob", "{}", world.describe());
    assert_eq!(approve(&mut world, "bob"), own("bob"));
    assert_eq!(approve(&mut world, "alice"), SIGNED);
    until_ended(&mut world, 3, "Succeeded");
    let of_run = |number: &str| world.reports.values().find(|report| report.run == number).unwrap();
    let [first, last] = ["r2", "r3"].map(|number| of_run(number).changed_by.as_ref().unwrap().text());
    assert_eq!((first, last), ("alice\nbot", "bob"));
}

#[test]
fn who_changes_it_while_no_operator_looks_is_an_author_too() {
    let mut world = world();
    for (who, version) in [("alice", "v2"), ("bot", "v3"), ("carol", "v4"), ("alice", "v5")] {
        world.push_by(who, template(version, false));
    }
    until_run_waits(&mut world, 1);
    assert_eq!(authors(&world), "bot\ncarol\nalice", "{}", world.describe());
}

#[test]
fn who_writes_another_template_and_the_same_again_is_an_author_too() {
    let mut world = world();
    world.push_by("alice", template("v2", false));
    until_run_waits(&mut world, 1);
    assert_eq!(approve(&mut world.copy(), "bob"), SIGNED);
    world.push_by("bob", template("v3", false));
    world.push_by("bob", template("v2", false));
    world.tick();
    assert_eq!(authors(&world), "alice\nbob", "{}", world.describe());
    assert_eq!(approve(&mut world, "bob"), own("bob"));
    assert_eq!(approve(&mut world, "carol"), SIGNED);
    until_ended(&mut world, 1, "Succeeded");
}

#[test]
fn where_more_have_changed_it_than_are_noted_nobody_approves_it_before_the_stable_template_has_stood() {
    let mut world = world();
    for number in 1..=17 {
        world.push_by(&format!("bot-{number}"), template(&format!("v{}", number + 1), false));
    }
    until_blocked(&mut world, "AwaitingApproval");
    assert!(message(&world).contains(TOO_MANY), "{}", message(&world));
    // The first is not given up for the last, and the last is not taken for nobody.
    assert_eq!(approve(&mut world, "bot-1"), own("bot-1"));
    for by in ["bot-17", "alice"] {
        let refused = approve(&mut world, by);
        assert!(refused.starts_with(&format!("Refused: {TOO_MANY}")), "{refused}");
    }
    world.push_by("bot-17", template("v1", false));
    until_ended(&mut world, 1, "Undone");
    assert_eq!(noted(&world), Value::Null, "{}", world.describe());
    world.push_by("bot-17", template("v18", false));
    until_run_waits(&mut world, 2);
    assert_eq!(approve(&mut world, "bot-17"), own("bot-17"));
    assert_eq!(approve(&mut world, "alice"), SIGNED);
    until_ended(&mut world, 2, "Succeeded");
}

#[test]
fn a_rejected_template_that_is_tried_again_has_the_authors_that_it_had_and_whoever_wrote_it_again() {
    let mut world = world();
    world.push_by("alice", template("v2", false));
    until_run_waits(&mut world, 1);
    world.say("Abort");
    until_ended(&mut world, 1, "Aborted");
    assert_eq!(noted(&world), Value::Null, "{}", world.describe());
    world.say("Retry");
    until_run_waits(&mut world, 2);
    assert_eq!(approve(&mut world, "alice"), own("alice"));
    world.say("Abort");
    until_ended(&mut world, 2, "Aborted");
    // A tool applies it once more.
    world.push_by("bot", template("v2", false));
    world.until("held", |world| noted(world) == "alice\nbot");
    world.say("ClearRejection");
    until_run_waits(&mut world, 3);
    assert_eq!(authors(&world), "alice\nbot", "{}", world.describe());
    assert_eq!(approve(&mut world, "bob"), SIGNED);
    until_ended(&mut world, 3, "Succeeded");
}
