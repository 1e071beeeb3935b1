//! Somebody's admission changes templates as they are written: what it makes of ours is ours, and what its owner wrote is not lost for it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{blocker, ends, quarter, quick};
use crate::world::{World, template};

/// A policy that gives every pod a seccomp profile.
fn seccomp(template: &mut Value) {
    template["spec"]["securityContext"] = json!({"seccompProfile": {"type": "RuntimeDefault"}});
}

/// One that lets nobody take v2 away.
fn keeps_v2(written: &mut Value) {
    *written = template("v2", true);
}

fn made_of(version: &str) -> Value {
    let mut made = template(version, false);
    seccomp(&mut made);
    made
}

/// The policy has come after stable was kept, and right before pods of a version come that crash.
fn crashing_under(mutates: fn(&mut Value)) -> World {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", true));
    world.until("a move is on", |world| {
        world.status.run.as_ref().is_some_and(|run| run.progress.moved.is_some())
    });
    assert!(world.status.run.as_ref().is_some_and(|run| run.back.is_none()), "{}", world.describe());
    world.mutates = Some(mutates);
    world
}

fn told(world: &World) -> usize {
    world.notices.iter().filter(|notice| notice.reason == "TemplateChanged").count()
}

#[test]
fn what_it_makes_of_the_stable_template_is_stable() {
    let mut world = crashing_under(seccomp);
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    world.until("rejected", |world| world.phase() == "Rejected");
    world.pass(Duration::from_secs(60));
    assert_eq!((world.ready(), world.alive(), told(&world)), (10, 10, 1), "{}", world.describe());
    let mut spec = world.deployment()["spec"].clone();
    assert_eq!(spec["template"].take(), made_of("v1"));
    assert_eq!(spec["strategy"], quarter(), "its owner has it again: {}", world.describe());
    let writes = world.writes_to_deployment;
    world.pass(Duration::from_secs(120));
    assert_eq!(world.writes_to_deployment, writes, "{}", world.describe());
    // A process that begins now knows it from status, and the next version goes out.
    world.begin_anew();
    world.pass(Duration::from_secs(60));
    assert_eq!(world.reports.len(), 1, "{}", world.describe());
    world.push(template("v3", false));
    assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["template"], made_of("v3"));
}

#[test]
fn a_newer_template_that_comes_meanwhile_is_put_back_also_by_a_process_that_knows_nothing_of_it() {
    for is_killed in [false, true] {
        let mut world = crashing_under(seccomp);
        world.until("stable is ordered", |world| world.deployment()["spec"]["template"] == made_of("v1"));
        world.push(template("v3", false));
        if is_killed {
            // The newer one is kept and noted, and stable ordered again: what came of that nobody has seen.
            world.dies_after = Some(2);
            world.tick();
            assert_eq!(world.deployment()["spec"]["template"], made_of("v1"), "{}", world.describe());
            world.begin_anew();
        }
        assert_eq!(ends(&mut world, 1), "Undone", "{is_killed}\n{}", world.describe());
        assert_eq!(ends(&mut world, 2), "Succeeded", "{is_killed}\n{}", world.describe());
        assert_eq!(world.deployment()["spec"]["template"], made_of("v3"), "{is_killed}");
        let lost = world.notices.iter().any(|notice| notice.reason == "TemplateLost");
        assert!(!lost && told(&world) == 1, "{is_killed}\n{}", world.describe());
    }
}

#[test]
fn a_version_that_it_changes_in_mid_run_is_the_same_version() {
    let mut world = World::new(10, quarter(), quick());
    world.push(template("v2", false));
    world.until("half", |world| {
        world.status.step.as_ref().is_some_and(|step| step.name == "half") && world.phase() == "Soaking"
    });
    world.mutates = Some(seccomp);
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    world.pass(Duration::from_secs(60));
    assert_eq!(world.deployment()["spec"]["template"], made_of("v2"), "{}", world.describe());
    assert_eq!((world.reports.len(), world.ready(), world.alive()), (1, 10, 10), "{}", world.describe());
}

#[test]
fn what_stands_in_the_place_of_stable_and_is_not_made_of_it_is_said() {
    let mut world = crashing_under(keeps_v2);
    world.until("it is said", |world| blocker(world).0 == "TemplateChanged");
    let back = world.status.run.as_ref().and_then(|run| run.back.as_ref()).expect("it goes back");
    assert!(back.restored_at.is_none() && back.next.is_none(), "{}", world.describe());
    assert!(world.status.stored_as.is_empty(), "{}", world.describe());
    assert!(blocker(&world).1.contains("mutatingadmissionpolicies"));
}
