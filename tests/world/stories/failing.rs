//! Pods that fail by themselves: when that is the version's fault, and what follows from it.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_sim::native::Pod;

use super::{ends, quarter, quick};
use crate::world::{World, template};

/// `quick`, with a soak at half in which something can be seen.
fn slow_at_half() -> Value {
    let mut spec = quick();
    spec["steps"][1]["soak"] = json!("60s");
    spec
}

/// Ten pods, five of them on the new version.
fn at_half() -> World {
    let mut world = World::new(10, quarter(), slow_at_half());
    world.push(template("v2", false));
    world.until("half", |world| {
        world.phase() == "Soaking" && world.status.step.as_ref().is_some_and(|step| step.name == "half")
    });
    world
}

/// The pods of a version that are not on their way out.
fn pods_of<'w>(world: &'w mut World, version: &str) -> impl Iterator<Item = &'w mut Pod> {
    let is_it =
        |set: &&tidegate_sim::native::Set| set.template["metadata"]["annotations"]["version"] == version;
    let set = world.sets.iter().find(is_it).map(|set| set.name.clone());
    world.pods.iter_mut().filter(move |pod| Some(&pod.set) == set.as_ref() && pod.terminating_since.is_none())
}

/// So many pods of a version were killed for their memory so long ago, and run again.
fn killed(world: &mut World, version: &str, pods: usize, ago: Duration) {
    let at = world.now - ago;
    for pod in pods_of(world, version).take(pods) {
        (pod.restarts, pod.ended, pod.ended_at) = (1, Some("OOMKilled"), Some(at));
    }
}

/// So many pods of a version, the last ones, wait for this, and are not Ready.
fn wait(world: &mut World, version: &str, pods: usize, reason: &'static str) {
    let all = pods_of(world, version).count();
    for pod in pods_of(world, version).skip(all - pods) {
        (pod.waits, pod.ready_since) = (Some(reason), None);
    }
}

fn said(world: &World) -> String {
    world.status.last_run.as_ref().map(|last| last.message.clone()).unwrap_or_default()
}

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn what_a_stable_pod_was_killed_for_before_the_run_excuses_no_canary() {
    let mut world = at_half();
    killed(&mut world, "v1", 5, LONG);
    killed(&mut world, "v2", 1, Duration::ZERO);
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    assert!(said(&world).starts_with("1 of 5 canary pods: OOMKilled (pod "), "{}", said(&world));
}

#[test]
fn what_as_many_stable_pods_are_killed_for_is_not_the_versions_fault_and_what_more_canary_pods_are_is() {
    let mut world = at_half();
    killed(&mut world, "v1", 1, Duration::ZERO);
    killed(&mut world, "v2", 1, Duration::ZERO);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.phase(), "Soaking", "{}", world.describe());
    killed(&mut world, "v2", 5, Duration::ZERO);
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    assert!(said(&world).starts_with("5 of 5 canary pods: OOMKilled (pod "), "{}", said(&world));
}

#[test]
fn a_fault_that_stable_pods_share_hides_no_other_one() {
    let mut world = at_half();
    killed(&mut world, "v1", 1, Duration::ZERO);
    killed(&mut world, "v2", 1, Duration::ZERO);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.phase(), "Soaking", "{}", world.describe());
    wait(&mut world, "v2", 2, "ImagePullBackOff");
    let since = world.now;
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    assert!(said(&world).starts_with("2 of 5 canary pods: ImagePullBackOff (pod "), "{}", said(&world));
    let decided = world.status.last_run.as_ref().unwrap().undo.as_ref().unwrap().decided_at.0;
    assert!(decided.duration_since(since).as_secs() < 1, "{decided}");
}
