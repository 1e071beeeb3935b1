//! Nodes that are not heard from: what is said of their pods, and what is not, is not taken for a version's fault.

use std::time::Duration;

use serde_json::{Value, json};

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

#[test]
fn old_pods_that_are_not_gone_are_said_to_keep_new_ones_from_being_made() {
    let release = json!({"steps": [{"name": "all", "replicas": "100%"}]});
    let mut world = World::new(3, json!({"type": "Recreate"}), release);
    world.write(|spec| spec["progressDeadlineSeconds"] = json!(60));
    let old = pods_of(&world, &template("v1", false));
    falls_silent(&mut world, "n2", &old[..1]);
    let says = format!("1 pod is still terminating ({}), 1 on a node that is not heard from", old[0]);
    world.push(template("v2", false));
    world.pass(Duration::from_secs(30));
    let summary = &world.status.summary.as_ref().expect("it says how it stands").message;
    assert_eq!(*summary, format!("step all: no canary pod is made before old ones are gone: {says}"));
    assert_eq!((world.phase().as_str(), world.alive()), ("Moving", 0), "{}", world.describe());
    assert_eq!(ends(&mut world, 1), "Undone", "{}", world.describe());
    let message = &world.status.last_run.as_ref().expect("it is over").message;
    assert_eq!(*message, format!("no canary pod was made in 60 s, since old ones are not gone: {says}"));
    // The way back does not wait for it.
    assert_eq!(world.ready(), 3, "{}", world.describe());
}
