//! For which place a signature counts, also where one place is left and the next one asks within a second, which is all that the API server tells.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::status::{Signature, Stamp};

use super::signing::{message, quarter, say_as, until_blocked};
use super::{World, template};

fn signed_by_qa() -> Value {
    json!({"roles": ["qa-manager"]})
}

fn shipped(spec: Value) -> World {
    let mut world = World::new(4, quarter(), spec);
    world.push(template("v2", false));
    world
}

/// As the API server makes actions: it notes the run, or it does not.
fn ways(world: &World) -> [Value; 2] {
    [json!({}), json!({"run": world.status.run.as_ref().unwrap().id})]
}

/// Somebody signs just after a second has begun, so that there is time within it.
fn sign_early_in_a_second(world: &mut World, more: Value) {
    while world.now.subsec_nanosecond() != 0 {
        world.tick();
    }
    assert_eq!(say_as(world, "Approve", more), "Done: signed as qa-manager");
}

fn signatures(world: &World) -> &[Signature] {
    &world.status.run.as_ref().unwrap().signatures
}

/// That the last signature was given in the same second, as far as the API server tells.
fn assert_in_one_second(world: &World, asked: Option<Stamp>) {
    let asked = asked.expect("it is asked for");
    let signature = signatures(world).last().unwrap();
    assert_eq!(signature.at.0.as_second(), asked.0.as_second(), "{}", world.describe());
}

fn outcome(world: &mut World) -> String {
    world.until("an end", |world| world.status.last_run.is_some());
    format!("{:?}", world.status.last_run.as_ref().unwrap().outcome)
}

#[test]
fn who_signs_the_last_step_has_not_signed_off() {
    let asking = shipped(json!({
        "steps": [{"name": "all", "replicas": "100%", "approval": signed_by_qa()}],
        "watch": [{"for": "5s", "every": "1s"}],
        "signOff": signed_by_qa(),
    }));
    for way in 0..2 {
        let mut world = asking.copy();
        until_blocked(&mut world, "AwaitingApproval");
        assert_eq!(message(&world), "step all: 0 of 1 signatures, roles: qa-manager");
        let more = ways(&world)[way].clone();
        sign_early_in_a_second(&mut world, more.clone());
        world.until("watching", |world| world.phase() == "Watching");
        assert_in_one_second(&world, world.status.run.as_ref().unwrap().all_since);
        until_blocked(&mut world, "AwaitingApproval");
        assert_eq!(message(&world), "sign-off: 0 of 1 signatures, roles: qa-manager");
        world.pass(Duration::from_secs(30));
        assert_eq!(world.phase(), "Watching", "{}", world.describe());
        assert_eq!(say_as(&mut world, "Approve", more), "Done: signed as qa-manager");
        assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
        let report = world.reports.values().next().unwrap();
        let [first, second] = report.signatures.as_slice() else { panic!("{:?}", report.signatures) };
        assert!(first.asked < second.asked, "{:?}", report.signatures);
    }
}

/// Two steps of one pod each that are signed: the second is reached in the look after the first is left.
fn two_steps(approval: &Value) -> World {
    let mut world = shipped(json!({
        "steps": [
            {"name": "one", "replicas": "10%", "approval": approval},
            {"name": "two", "replicas": "25%", "approval": approval},
            {"name": "all", "replicas": "100%"},
        ],
        "watch": [{"for": "5s", "every": "1s"}],
    }));
    until_blocked(&mut world, "AwaitingApproval");
    assert!(message(&world).starts_with("step one: 0 of "), "{}", message(&world));
    world
}

#[test]
fn who_signs_a_step_has_not_signed_the_next_one() {
    let asking = two_steps(&signed_by_qa());
    for way in 0..2 {
        let mut world = asking.copy();
        let more = ways(&world)[way].clone();
        sign_early_in_a_second(&mut world, more.clone());
        world.until("asked at step two", |world| message(world).starts_with("step two: "));
        assert_in_one_second(&world, world.status.run.as_ref().unwrap().progress.reached);
        assert_eq!(message(&world), "step two: 0 of 1 signatures, roles: qa-manager");
        world.pass(Duration::from_secs(30));
        assert_eq!(world.phase(), "Held", "{}", world.describe());
        assert_eq!(say_as(&mut world, "Approve", more), "Done: signed as qa-manager");
        assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
    }
}

#[test]
fn who_signs_before_the_pods_of_a_step_stand_has_not_signed_it() {
    let mut world = shipped(json!({
        "preflight": [{"name": "sign-off", "approval": signed_by_qa()}],
        "steps": [{"name": "one", "replicas": 1, "approval": signed_by_qa()}, {"name": "all", "replicas": "100%"}],
        "watch": [{"for": "5s", "every": "1s"}],
    }));
    // Its pod is Ready, and looked at, in the second in which somebody signs.
    world.ready_after = Duration::from_millis(500);
    until_blocked(&mut world, "AwaitingApproval");
    sign_early_in_a_second(&mut world, json!({}));
    world.until("moving", |world| world.phase() == "Moving");
    assert_eq!(say_as(&mut world, "Approve", json!({})), "Done: signed as qa-manager");
    until_blocked(&mut world, "AwaitingApproval");
    assert_eq!(message(&world), "step one: 0 of 1 signatures, roles: qa-manager");
    assert_eq!(say_as(&mut world, "Approve", json!({})), "Done: signed as qa-manager");
    assert_eq!(outcome(&mut world), "Succeeded", "{}", world.describe());
}

#[test]
fn what_an_operator_noted_that_knew_no_places_counts_as_it_did() {
    let mut world = two_steps(&json!({"roles": ["qa-manager"], "quorum": 2}));
    assert_eq!(say_as(&mut world, "Approve", json!({})), "Done: signed as qa-manager");
    for signature in &mut world.status.run.as_mut().unwrap().signatures {
        assert!(signature.asked.take().is_some());
    }
    world.pass(Duration::from_secs(2));
    assert_eq!(message(&world), "step one: 1 of 2 signatures, roles: qa-manager");
    assert_eq!(say_as(&mut world, "Approve", json!({"by": "bob"})), "Done: signed as qa-manager");
    world.until("asked at step two", |world| message(world).starts_with("step two: "));
    assert_eq!(message(&world), "step two: 0 of 2 signatures, roles: qa-manager");
}
