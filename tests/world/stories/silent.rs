//! Nodes that are not heard from: what is said of their pods, and what is not, is not taken for a version's fault.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate::api::status::Cause;

use super::{blocker, ends, outcome, quarter, quick};
use crate::world::seen::Silent;
use crate::world::{World, template};

/// The pods of a version that are not on their way out.
fn pods_of(world: &World, template: &Value) -> Vec<String> {
    let set = world.sets.iter().find(|set| set.template == *template).map(|set| set.name.clone());
    let of =
        world.pods.iter().filter(|pod| Some(&pod.set) == set.as_ref() && pod.terminating_since.is_none());
    of.map(|pod| pod.name.clone()).collect()
}

/// It is known by now that a node is silent, on which these pods are.
fn falls_silent(world: &mut World, node: &'static str, pods: &[String]) {
    let since = world.now;
    for name in pods {
        let was_ready = world.pods.iter().any(|pod| pod.name == *name && pod.ready_since.is_some());
        world.silent.insert(name.clone(), Silent { node, since, was_ready });
    }
}

#[test]
fn a_pod_that_had_not_started_when_its_node_fell_silent_is_known_by_another_there() {
    let mut world = World::new(4, quarter(), quick());
    world.write(|spec| spec["progressDeadlineSeconds"] = json!(60));
    world.ready_after = Duration::from_secs(30);
    world.push(template("v2", false));
    world.until("one starts", |world| pods_of(world, &template("v2", false)).len() == 1);
    let new = pods_of(&world, &template("v2", false));
    let serves = pods_of(&world, &template("v1", false))[..1].to_vec();

    // On a node where nobody was Ready nothing tells of it.
    let mut apart = world.copy();
    falls_silent(&mut apart, "n2", &new);
    falls_silent(&mut apart, "n3", &serves);
    apart.until("going back", |world| world.phase() == "Undoing");

    falls_silent(&mut world, "n2", &new);
    falls_silent(&mut world, "n2", &serves);
    world.pass(Duration::from_secs(120));
    assert_eq!((blocker(&world).0, world.phase().as_str()), ("NodesSilent", "Held"), "{}", world.describe());
    assert_eq!(outcome(&world), "", "{}", world.describe());
    // They are deleted, and the node is taken out: others come elsewhere.
    let (gone, now) = (std::mem::take(&mut world.silent), world.now);
    for pod in world.pods.iter_mut().filter(|pod| gone.contains_key(&pod.name)) {
        pod.terminating_since = Some(now);
    }
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}

/// v2 is to come in the place of three pods of v1 with the strategy `Recreate` and a deadline of a minute. One of them is on a node that is not heard
/// from; and what is said of it once it is ordered away.
fn one_of_three_stays() -> (World, String) {
    let release = json!({
        "steps": [{"name": "all", "replicas": "100%"}],
        "watch": [{"for": "5s", "every": "1s"}],
        "undo": {"hooks": [{"name": "flag", "http": {"url": "http://flags/"}}]},
    });
    let mut world = World::new(3, json!({"type": "Recreate"}), release);
    world.write(|spec| spec["progressDeadlineSeconds"] = json!(60));
    let old = pods_of(&world, &template("v1", false));
    falls_silent(&mut world, "n2", &old[..1]);
    let says = format!("1 pod is still terminating ({}), 1 on a node that is not heard from", old[0]);
    (world, says)
}

#[test]
fn old_pods_that_are_not_gone_are_said_to_keep_new_ones_from_being_made() {
    let (mut world, says) = one_of_three_stays();
    world.push(template("v2", false));
    world.pass(Duration::from_secs(30));
    let summary = &world.status.summary.as_ref().expect("it says how it stands").message;
    assert_eq!(*summary, format!("step all: no canary pod is made before old ones are gone: {says}"));
    assert_eq!((world.phase().as_str(), world.alive()), ("Moving", 0), "{}", world.describe());
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    let words = format!(
        "no pod of this version was made in 60 s, so nothing is known against it: {says}, and none is made before old pods are gone; once they are, say retry"
    );
    let last = world.status.last_run.as_ref().expect("it is over");
    assert_eq!(last.message, words);
    // The way back does not wait for it.
    assert_eq!(world.ready(), 3, "{}", world.describe());
    let undo = world.reports[&last.report].undo.as_ref().expect("it went back");
    assert_eq!(undo.cause, Cause::OldPodsRemain);
    assert!(undo.hooks.is_empty() && world.errands.is_empty(), "none of its pods served: {undo:#?}");
}

#[test]
fn a_version_of_which_no_pod_was_made_is_not_begun_again_by_a_tool_but_by_somebody_once_old_pods_are_gone() {
    let (mut world, says) = one_of_three_stays();
    world.push(template("v2", false));
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    let is_held = |world: &World| {
        assert_eq!((blocker(world).0, world.phase().as_str()), ("RejectedRevision", "Rejected"));
        assert!(blocker(world).1.contains("retry"), "{}", blocker(world).1);
        assert_eq!((world.alive(), world.ready(), world.reports.len()), (3, 3, 1), "{}", world.describe());
    };
    let again = |world: &mut World| {
        for _ in 0..3 {
            world.push(template("v2", false));
            world.pass(Duration::from_secs(20));
            is_held(world);
        }
    };
    again(&mut world);
    // Nor when they are gone: pods that take longer to go than the deadline would be in its way each time.
    let mut gone = world.copy();
    gone.silent.clear();
    gone.pass(Duration::from_secs(60));
    again(&mut gone);

    // Said too early it takes nothing down.
    world.say("Retry");
    world.until("it waits", |world| blocker(world).0 == "OldPodsRemain");
    world.pass(Duration::from_secs(120));
    assert_eq!(
        (blocker(&world).0, world.phase().as_str()),
        ("OldPodsRemain", "Held"),
        "{}",
        world.describe()
    );
    let message = &world.status.blocked_by.as_ref().expect("it is held").message;
    assert!(
        message.ends_with(&format!("no canary pod would be made before old ones are gone: {says}")),
        "{message}"
    );
    assert_eq!((world.alive(), world.ready(), world.reports.len()), (3, 3, 1), "{}", world.describe());
    world.silent.clear();
    assert_eq!(ends(&mut world, 2), "Succeeded", "{}", world.describe());
    assert_eq!(pods_of(&world, &template("v2", false)).len(), 3, "{}", world.describe());
}

#[test]
fn with_recreate_no_stable_pod_is_taken_down_while_an_old_one_would_keep_new_ones_from_being_made() {
    let (mut world, _) = one_of_three_stays();
    // Its node is drained: another comes elsewhere.
    let now = world.now;
    let drained: Vec<String> = world.silent.keys().cloned().collect();
    for pod in world.pods.iter_mut().filter(|pod| drained.contains(&pod.name)) {
        pod.terminating_since = Some(now);
    }
    world.until("all serve", |world| world.ready() == 3);
    world.push(template("v2", false));
    world.until("it waits", |world| blocker(world).0 == "OldPodsRemain");
    world.pass(Duration::from_secs(120));
    assert_eq!((blocker(&world).0, world.ready()), ("OldPodsRemain", 3), "{}", world.describe());
    world.silent.clear();
    assert_eq!(ends(&mut world, 1), "Succeeded", "{}", world.describe());
}
