//! Back for a while only, for want of replicas or with more new pods than a step allows: what people say then takes effect, and who stops the run
//! has stopped it.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::status::Cause;
use tidegate::api::undo::HookState;

use super::{blocker, ends, quarter, quick};
use crate::world::signing::{answer, say_as};
use crate::world::{World, template};

const FOR_GOOD: &str = "Done: going back for good: the run does not go on once stable stands";

/// v2 was at half of four pods when somebody scaled to 0.
fn without_replicas(release: Value) -> World {
    let mut world = World::new(4, quarter(), release);
    world.push(template("v2", false));
    world.until("half", |world| {
        world.status.step.as_ref().is_some_and(|step| step.name == "half") && world.phase() == "Soaking"
    });
    world.scale(0);
    world.until("no replicas", |world| blocker(world).0 == "NoReplicas");
    world
}

fn has_new_pods(world: &World) -> bool {
    world.sets.iter().any(|set| set.template == template("v2", false) && set.replicas > 0)
}

/// Thirty seconds in which there is no pod of the version.
fn makes_no_new_pod(world: &mut World) {
    for _ in 0..300 {
        world.tick();
        assert!(!has_new_pods(world), "{}", world.describe());
    }
}

/// With the replicas none of it comes back, nor when somebody writes it again.
fn stays_back(world: &mut World) {
    world.scale(4);
    makes_no_new_pod(world);
    assert_eq!(world.deployment()["spec"]["template"], template("v1", false), "{}", world.describe());
    assert_eq!((world.ready(), world.alive()), (4, 4), "{}", world.describe());
    world.push(template("v2", false));
    makes_no_new_pod(world);
    assert_eq!(world.phase(), "Rejected", "{}", world.describe());
}

#[test]
fn who_aborts_or_refuses_a_version_without_replicas_is_done_with_it() {
    let mut release = quick();
    release["signOff"] = json!({"roles": ["qa-manager"]});
    release["undo"] = json!({"hooks": [{"name": "flag", "http": {"url": "http://flags/"}}]});
    release["notify"] =
        json!([{"name": "team", "slack": {"secret": "slack"}, "events": ["Undoing", "Aborted"]}]);
    let held = without_replicas(release);
    let cases = [
        ("Abort", FOR_GOOD, "alice said abort: because"),
        ("Reject", "Done: refused: going back for good", "alice refused it as qa-manager: because"),
    ];
    for (action, answered, message) in cases {
        let mut world = held.copy();
        let said_at = world.now;
        match action {
            "Reject" => assert_eq!(say_as(&mut world, "Reject", json!({})), answered),
            _ => {
                world.say(action);
                assert_eq!(answer(&mut world), answered);
            }
        }
        assert_eq!(ends(&mut world, 1), "Aborted", "{}", world.describe());
        let last = world.status.last_run.clone().expect("a run has ended");
        assert_eq!(last.message, message);
        let rejected: Vec<(&str, &str)> = world
            .status
            .rejected
            .iter()
            .map(|known| (known.fingerprint.as_str(), known.reason.as_str()))
            .collect();
        assert_eq!(rejected, [(last.fingerprint.as_str(), message)]);
        // It is a way back of its own: who decided it, when, and what is done beside it.
        let undo = world.reports[&last.report].undo.clone().expect("a way back");
        assert_eq!((undo.cause, undo.times.by.as_deref()), (Cause::Abort, Some("alice")));
        let restored = undo.times.restored_at.expect("stable stands");
        assert!(undo.times.decided_at.0 >= said_at && restored >= undo.times.decided_at, "{:?}", undo.times);
        let hooks: Vec<(&str, HookState)> =
            undo.hooks.iter().map(|hook| (hook.name.as_str(), hook.state)).collect();
        assert_eq!(hooks, [("flag", HookState::Done)]);
        let owed = &world.status.notifications.as_ref().expect("somebody is to be told").owed;
        let owed: Vec<String> = owed.iter().map(|owed| format!("{:?}", owed.event)).collect();
        assert_eq!(owed, ["Undoing", "Aborted"]);
        stays_back(&mut world);
    }
}

#[test]
fn killed_after_any_write_of_an_abort_without_replicas_it_is_aborted_all_the_same() {
    let mut world = without_replicas(quick());
    world.say("Abort");
    let mut kills = 0;
    while world.status.last_run.is_none() {
        for after in 0..3 {
            let mut killed = World { dies_after: Some(after), ..world.copy() };
            killed.tick();
            killed.begin_anew();
            kills += 1;
            let what = format!("kill {kills} after {after}");
            assert_eq!(ends(&mut killed, 1), "Aborted", "{what}: {}", killed.describe());
            assert_eq!((killed.status.rejected.len(), killed.reports.len()), (1, 1), "{what}");
            stays_back(&mut killed);
        }
        world.tick();
    }
    assert!(kills > 3, "{kills}");
}

#[test]
fn who_aborts_while_more_pods_are_new_than_may_be_is_done_with_the_version() {
    let mut release = quick();
    release["capture"] = json!("React");
    let mut world = World::new(10, quarter(), release);
    world.policy = false;
    world.ready_after = Duration::from_secs(5);
    world.push(template("v2", false));
    world.quiet_tick();
    assert!(has_new_pods(&world), "they have begun before it is held: {}", world.describe());
    world.until("too many", |world| {
        let back = world.status.run.as_ref().and_then(|run| run.back.as_ref());
        back.is_some_and(|back| back.cause == Cause::TooMany)
    });
    world.say("Abort");
    assert_eq!(answer(&mut world), FOR_GOOD);
    assert_eq!(ends(&mut world, 1), "Aborted", "{}", world.describe());
    assert_eq!(world.status.rejected.len(), 1);
    makes_no_new_pod(&mut world);
    assert_eq!(world.deployment()["spec"]["template"], template("v1", false), "{}", world.describe());
    assert_eq!((world.ready(), world.alive()), (10, 10), "{}", world.describe());
}

#[test]
fn a_pause_without_replicas_holds_the_run_once_there_are_some_until_it_is_resumed() {
    let mut world = without_replicas(quick());
    world.say("Resume");
    let refused = answer(&mut world);
    assert_eq!(refused, "Refused: nothing is paused, and the run goes on by itself once stable stands");
    world.say("Pause");
    assert_eq!(answer(&mut world), "Done: standing still once stable stands");
    assert_eq!(blocker(&world).0, "NoReplicas", "{}", world.describe());
    let mut resumed = world.copy();
    world.scale(4);
    world.until("paused", |world| blocker(world).0 == "Paused");
    makes_no_new_pod(&mut world);
    assert_eq!((blocker(&world).0, world.ready()), ("Paused", 4), "{}", world.describe());
    world.say("Resume");
    assert_eq!(answer(&mut world), "Done: going on");
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());

    resumed.say("Resume");
    assert_eq!(answer(&mut resumed), "Done: going on once stable stands");
    resumed.scale(4);
    assert_eq!(ends(&mut resumed, 1), "Succeeded", "{}", resumed.describe());
}

#[test]
fn killed_after_any_write_of_a_revert_nothing_comes_after_stable_all_the_same() {
    let is_put_back = |version: &'static str| {
        move |world: &World| {
            let back = world.status.run.as_ref().and_then(|run| run.back.as_ref());
            let stands = back.is_some_and(|back| back.restored_at.is_some());
            stands && world.deployment()["spec"]["template"] == template(version, false)
        }
    };
    let mut scaled = without_replicas(quick());
    scaled.scale(4);
    scaled.until("its own template is put back", is_put_back("v2"));
    let mut overtaken = World::new(4, quarter(), quick());
    overtaken.push(template("v2", false));
    overtaken.until("soaking", |world| world.phase() == "Soaking");
    overtaken.push(template("v3", false));
    overtaken.until("the newer one is put back", is_put_back("v3"));
    for put_back in [scaled, overtaken] {
        for after in 0..4 {
            let mut world = World { dies_after: Some(after), ..put_back.copy() };
            world.push(template("v1", false));
            world.tick();
            assert!(world.status.run.is_some(), "nothing of it is noted");
            world.begin_anew();
            assert_eq!(ends(&mut world, 1), "Undone", "after {after}: {}", world.describe());
            let message = &world.status.last_run.as_ref().expect("a run has ended").message;
            assert!(message.contains("put the stable template back"), "after {after}: {message}");
            makes_no_new_pod(&mut world);
            let spec = &world.deployment()["spec"];
            assert_eq!(spec["template"], template("v1", false), "after {after}: {}", world.describe());
            assert_eq!((world.reports.len(), world.ready(), world.alive()), (1, 4, 4), "after {after}");
        }
    }
}
