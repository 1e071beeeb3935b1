//! A Deployment that is deleted, and made anew under its Release: what was rejected stays rejected, and what has come that way past steps, checks and
//! signatures is said until something else is released. Who may delete one is told by the stories on a real control plane.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::decide::Intent;

use super::{blocker, ends, quarter, quick};
use crate::world::signing::say_as;
use crate::world::{World, orders, template};

/// Somebody deletes the Deployment, its pods go with it, and makes it anew with this template, which rolls out. `seen`: the operator has looked in between.
fn made_anew_by(world: &mut World, who: &str, template: Value, seen: bool) {
    let former = world.deployment.take().expect("a Deployment");
    world.sets.clear();
    world.pods.clear();
    world.templates.clear();
    if seen {
        world.tick();
        assert_eq!(blocker(world).0, "TargetMissing", "{}", world.describe());
    }
    let uid = format!("{}-anew", former["metadata"]["uid"].as_str().unwrap());
    world.deployment = Some(json!({
        "metadata": {
            "name": "shop", "namespace": "ns", "uid": uid, "generation": 1,
            "labels": {"app": "shop", "tidegate.dev/release": "shop"},
            "annotations": {"tidegate.dev/changed-by": who},
        },
        "spec": {"replicas": 10, "progressDeadlineSeconds": 600, "strategy": quarter(), "template": template},
        "status": {},
    }));
    world.tick();
    assert_eq!(blocker(world).0, "AwaitingStable", "{}", world.describe());
    world.until("adopted anew", |world| world.status.stable.is_some());
    assert_eq!((world.ready(), world.status.run.is_none()), (10, true), "{}", world.describe());
}

/// What the condition says, where there is one.
fn replaced(world: &World) -> Option<&str> {
    let condition = world.status.conditions.iter().find(|one| one.type_ == "DeploymentReplaced")?;
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "NotReleased"));
    Some(condition.message.as_str())
}

fn told(world: &World) -> usize {
    let of_it = |notice: &&tidegate::decide::Notice| notice.reason == "DeploymentReplaced" && notice.warning;
    world.notices.iter().filter(of_it).count()
}

fn summary(world: &World) -> &str {
    world.status.summary.as_ref().map_or("", |summary| summary.message.as_str())
}

/// Version 2 is rejected by a person: nothing is wrong with its pods.
fn rejected() -> World {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", false));
    world.until("soaking", |world| world.phase() == "Soaking");
    world.say("Abort");
    assert_eq!(ends(&mut world, 1), "Aborted", "{}", world.describe());
    world.until("rejected", |world| world.phase() == "Rejected");
    world
}

#[test]
fn what_was_ordered_of_a_deployment_is_not_done_to_one_that_was_made_anew_since() {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", false));
    world.until("soaking", |world| world.phase() == "Soaking");
    world.say("Abort");
    // What the operator orders is on its way.
    world.dies_after = Some(0);
    let ordered = world.look().intents;
    let patch = ordered.iter().find_map(|intent| {
        let Intent::PatchWorkload { patch, .. } = intent else { return None };
        Some(patch)
    });
    let patch = patch.unwrap_or_else(|| panic!("it goes back: {ordered:?}"));
    orders::apply(&mut world.deployment().clone(), patch).expect("it is the same");
    // It has come as far as the former one had.
    let mut anew = world.deployment().clone();
    anew["metadata"]["uid"] = json!("d1-anew");
    assert!(orders::apply(&mut anew, patch).is_err(), "{patch:?}");
}

#[test]
fn a_rejected_template_that_comes_with_a_deployment_made_anew_serves_and_stays_rejected() {
    for seen in [false, true] {
        let mut world = rejected();
        made_anew_by(&mut world, "mallory", template("v2", false), seen);
        assert_eq!((world.phase().as_str(), blocker(&world).0), ("Rejected", "RejectedRevision"));
        let words =
            "what serves was rejected in run r1 (alice said abort: because), and has not been released since";
        assert_eq!(summary(&world), words, "{}", world.describe());
        assert!(blocker(&world).1.contains("clear-rejection shop -n ns"), "{}", blocker(&world).1);
        assert!(replaced(&world).is_some(), "{}", world.describe());
        world.pass(Duration::from_secs(60));
        // Nothing else could be put in its place, and without pods it would be an outage.
        assert_eq!((world.ready(), world.phase().as_str()), (10, "Rejected"), "{}", world.describe());
        assert!(world.deployment()["spec"]["paused"].is_null(), "{}", world.describe());
        let refused = "Refused: it serves already, unreleased: clear-rejection takes it as it is";
        assert_eq!(say_as(&mut world, "Retry", json!({})), refused);
        let mut cleared = world.copy();
        cleared.say("ClearRejection");
        cleared.until("taken as it is", |world| world.phase() == "Idle");
        assert!(replaced(&cleared).is_some(), "{}", cleared.describe());
        // The next version is released, and goes back to what serves where it is bad.
        world.push(template("v3", true));
        assert_eq!(ends(&mut world, 2), "Undone", "{}", world.describe());
        world.push(template("v4", false));
        assert_eq!(ends(&mut world, 3), "Succeeded", "{}", world.describe());
        assert_eq!((world.phase().as_str(), replaced(&world)), ("Idle", None), "{}", world.describe());
    }
}

#[test]
fn what_a_run_was_going_back_from_is_rejected_though_its_deployment_goes_first() {
    for seen in [false, true] {
        let mut world = World::new(10, quarter(), quick());
        world.push(template("v2", true));
        world.until("it goes back", |world| world.status.run.as_ref().is_some_and(|run| run.back.is_some()));
        made_anew_by(&mut world, "owner", template("v1", false), seen);
        let last = world.status.last_run.as_ref().unwrap();
        assert!(last.message.starts_with("the Deployment was deleted"), "{}", last.message);
        assert_eq!((world.phase().as_str(), replaced(&world)), ("Rejected", None), "{}", world.describe());
        world.push(template("v2", true));
        world.pass(Duration::from_secs(20));
        assert_eq!((world.ready(), world.alive()), (10, 10), "nothing starts: {}", world.describe());
        assert!(summary(&world).contains("this template is held: it was rejected in run r1"));
    }
}

#[test]
fn a_template_that_comes_with_a_deployment_made_anew_is_said_not_to_be_released_until_something_is() {
    for seen in [false, true] {
        let mut world = World::new(10, quarter(), quick());
        let stable = world.status.stable.clone().unwrap();
        made_anew_by(&mut world, "owner", template("v1", false), seen);
        assert_eq!((replaced(&world), told(&world)), (None, 0), "the same again: {}", world.describe());
        made_anew_by(&mut world, "mallory", template("v2", false), seen);
        let said = replaced(&world).expect("a condition").to_owned();
        assert!(said.starts_with("mallory made the Deployment anew with template shop-"), "{said}");
        let words = format!(
            "where template {} (shop:v1) was stable: it serves, and was not released",
            stable.revision
        );
        assert!(said.ends_with(&words), "{said}");
        assert_eq!((world.phase().as_str(), summary(&world)), ("Idle", said.as_str()));
        // Once more, and it is held against what was released all the same.
        made_anew_by(&mut world, "mallory", template("v2", false), seen);
        assert_eq!((replaced(&world), told(&world)), (Some(said.as_str()), 2), "{}", world.describe());
        world.pass(Duration::from_secs(60));
        assert_eq!(told(&world), 2);
        let mut taken_back = world.copy();
        made_anew_by(&mut taken_back, "owner", template("v1", false), seen);
        assert_eq!(replaced(&taken_back), None, "{}", taken_back.describe());
        world.push(template("v3", true));
        assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
        assert_eq!(replaced(&world), Some(said.as_str()), "that is what it went back to");
        world.push(template("v4", false));
        assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
        assert_eq!(replaced(&world), None, "{}", world.describe());
        assert_eq!(world.status.former, None);
    }
}
