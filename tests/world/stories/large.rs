//! A template that is too large to be read is not released; what is under way goes back from it, and a smaller one goes out.

use std::time::Duration;

use serde_json::{Value, json};

use super::{blocker, ends, quarter, quick};
use crate::world::{World, template};

/// Short, with more entries than are read.
fn large(version: &str) -> Value {
    let mut template = template(version, false);
    template["spec"]["zeros"] = json!(vec![0; 16_500]);
    template
}

fn is_refused(world: &mut World) {
    world.until("refused", |world| blocker(world).0 == "TemplateTooLarge");
    let unblock = "push a smaller template: kubectl edit deployment/shop -n ns";
    assert_eq!(blocker(world).1, unblock);
    let said = world.status.blocked_by.as_ref().map(|blocker| blocker.message.clone()).unwrap_or_default();
    assert!(
        said.contains("Deployment shop is not released: its lists and objects have more than 16384"),
        "{said}"
    );
    assert!(world.status.run.is_none(), "{}", world.describe());
    assert!(world.templates.values().all(|kept| kept["spec"].get("zeros").is_none() && !kept.is_null()));
}

#[test]
fn a_template_that_is_too_large_is_held_and_a_smaller_one_goes_out() {
    let mut world = World::new(4, quarter(), quick());
    world.push(large("v2"));
    is_refused(&mut world);
    world.pass(Duration::from_secs(3));
    is_refused(&mut world);
    assert_eq!((world.alive(), world.ready()), (4, 4), "{}", world.describe());
    world.push(template("v3", false));
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
    assert_eq!(world.deployment()["spec"]["template"], template("v3", false));
}

#[test]
fn a_run_goes_back_from_one_and_stable_stays() {
    let mut world = World::new(4, quarter(), quick());
    world.push(template("v2", false));
    world.until("a soak", |world| world.phase() == "Soaking");
    world.push(large("v3"));
    assert_eq!(ends(&mut world, 1), "Superseded", "{}", world.describe());
    world.pass(Duration::from_secs(3));
    assert_eq!(world.deployment()["spec"]["template"], template("v1", false), "{}", world.describe());
    assert_eq!((world.alive(), world.ready()), (4, 4), "{}", world.describe());
    assert!(world.templates.values().all(|kept| !kept.is_null()));
    world.push(template("v4", false));
    assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
}

#[test]
fn one_that_was_there_before_its_release_is_taken_up_once_it_is_smaller() {
    let mut world = World::new(4, quarter(), quick());
    let spec = world.release.take();
    world.until("its owner's again", |world| {
        world.deployment()["metadata"]["labels"].get("tidegate.dev/release").is_none()
    });
    // Nobody holds it.
    world.policy = false;
    world.push(large("v2"));
    world.pass(Duration::from_secs(10));
    world.status = tidegate::api::ReleaseStatus::default();
    world.release = spec;
    is_refused(&mut world);
    assert!(world.status.stable.is_none(), "{}", world.describe());
    world.push(template("v3", false));
    world.until("taken up", |world| world.status.stable.is_some() && blocker(world).0.is_empty());
    assert_eq!(world.deployment()["spec"]["template"], template("v3", false));
}
