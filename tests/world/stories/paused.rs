//! A Deployment that its owner has paused: what is new waits until the owner resumes it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{blocker, ends, quarter, quick};
use crate::world::{World, set_paused, template};

/// In each mode in which the Deployment is not kept paused between runs.
fn owner_paused() -> [World; 2] {
    ["Policy", "React"].map(|capture| {
        let mut spec = quick();
        spec["capture"] = json!(capture);
        let mut world = World::new(10, quarter(), spec);
        world.policy = capture == "Policy";
        world
    })
}

/// The new template stands there, nothing moves, and it is said how to go on.
fn waits_for_the_owner(world: &mut World) {
    world.until("blocked", |world| blocker(world).0 == "PausedByOwner");
    let writes = world.writes_to_deployment;
    world.pass(Duration::from_secs(60));
    assert_eq!(blocker(world), ("PausedByOwner", "kubectl rollout resume deployment/shop -n ns"));
    assert!(world.status.run.is_none(), "{}", world.describe());
    assert_eq!((world.alive(), world.ready()), (10, 10), "{}", world.describe());
    assert_eq!(world.writes_to_deployment, writes, "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["strategy"], quarter(), "{}", world.describe());
}

#[test]
fn a_new_template_under_a_pause_of_the_owners_waits_until_the_owner_resumes() {
    for mut world in owner_paused() {
        world.pause(true);
        world.pass(Duration::from_secs(5));
        assert_eq!(world.deployment()["spec"]["paused"], true, "{}", world.describe());
        world.push(template("v2", false));
        waits_for_the_owner(&mut world);
        world.push(template("v3", false));
        waits_for_the_owner(&mut world);
        let held = world.policy;
        world.pause(false);
        world.quiet_tick();
        assert!(!held || world.alive() == 10, "held in the write that resumes: {}", world.describe());
        assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
        world.pass(Duration::from_secs(10));
        assert!(world.deployment()["spec"].get("paused").is_none(), "{}", world.describe());
        assert!(world.deployment()["metadata"]["annotations"].get("tidegate.dev/held").is_none());
    }
}

#[test]
fn a_manifest_that_pauses_and_changes_the_template_in_one_write_starts_no_run() {
    for mut world in owner_paused() {
        let manifest = |version: &'static str, paused: bool| {
            move |spec: &mut Value| {
                spec["template"] = template(version, false);
                set_paused(spec, paused);
            }
        };
        world.write(manifest("v2", true));
        waits_for_the_owner(&mut world);
        // The stable template again: nothing waits any more, and the pause is still the owner's.
        world.write(manifest("v1", true));
        world.until("at rest", |world| world.phase() == "Idle");
        world.pass(Duration::from_secs(5));
        assert_eq!(world.deployment()["spec"]["paused"], true);
        assert!(world.deployment()["metadata"]["annotations"].get("tidegate.dev/held").is_none());
        world.write(manifest("v2", true));
        waits_for_the_owner(&mut world);
        world.write(manifest("v3", false));
        assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
        assert_eq!(world.deployment()["spec"]["template"], template("v3", false));
        assert!(world.deployment()["spec"].get("paused").is_none(), "{}", world.describe());
    }
}

#[test]
fn a_breach_in_the_watch_goes_back_under_a_pause_of_the_owners_and_leaves_it_there() {
    for mut world in owner_paused() {
        world.push(template("v2", false));
        world.until("watching", |world| world.phase() == "Watching");
        world.pause(true);
        world.say("Abort");
        assert_eq!(ends(&mut world, 1), "Aborted", "{}", world.describe());
        world.pass(Duration::from_secs(10));
        assert_eq!(world.deployment()["spec"]["template"], template("v1", false));
        assert_eq!(world.deployment()["spec"]["paused"], true, "{}", world.describe());
        assert_eq!((world.alive(), world.ready()), (10, 10), "{}", world.describe());
    }
}

#[test]
fn under_a_pause_of_the_owners_a_scale_up_from_nothing_starts_stable_pods_and_the_template_waits_on() {
    for mut world in owner_paused() {
        // Its ReplicaSet is there already, so that a scale-up would start it.
        world.push(template("v2", false));
        world.until("half", |world| world.status.step.as_ref().is_some_and(|step| step.name == "half"));
        world.push(template("v1", false));
        assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
        world.until("at rest", |world| world.phase() == "Idle");
        world.pause(true);
        world.scale(0);
        world.pass(Duration::from_secs(3));
        world.push(template("v2", false));
        world.until("no replicas", |world| blocker(world).0 == "NoReplicas");
        world.scale(10);
        world.until("ten pods", |world| world.ready() == 10);
        waits_for_the_owner(&mut world);
        assert_eq!(world.deployment()["spec"]["template"], template("v2", false));
        assert!(world.sets.iter().all(|set| set.replicas == 0 || set.template == template("v1", false)));
        world.pause(false);
        assert_eq!(ends(&mut world, 3), "Succeeded", "{}", world.describe());
    }
}

#[test]
fn kept_paused_between_runs_a_pause_in_the_owners_manifest_holds_no_run_back() {
    for policy in [false, true] {
        let mut spec = quick();
        spec["capture"] = json!("Paused");
        let mut world = World::new(4, quarter(), spec);
        world.policy = policy;
        world.pause(true);
        world.push(template("v2", false));
        assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
        world.pass(Duration::from_secs(5));
        assert_eq!(world.deployment()["spec"]["paused"], true);
    }
}

#[test]
fn a_template_that_never_ran_is_not_taken_for_stable_while_its_owner_pauses_it_without_replicas() {
    for mut world in owner_paused() {
        world.pause(true);
        world.push(template("v2", true));
        waits_for_the_owner(&mut world);
        world.status = tidegate::api::ReleaseStatus::default();
        world.scale(0);
        world.pass(Duration::from_secs(10));
        assert!(world.status.stable.is_none(), "{}", world.describe());
        assert_eq!(blocker(&world), ("AwaitingStable", "kubectl rollout resume deployment/shop -n ns"));
    }
}
