//! What is left of a Deployment that is deleted, with all that belongs to it or alone, and what another one of its name takes over. The model plays
//! it here, a real control plane in `tests/real`: at every rest there must be the same on both.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cluster::named;
use crate::scripts::{Counts, never_ready};
use crate::server::Who;
use crate::story::Setup;
use crate::world::{NAMESPACE, TARGET, World};

const OWNER: Who = Who::Person("owner");

/// What there is at a rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// ReplicaSets, and how many of them belong to somebody.
    pub sets: usize,
    pub owned: usize,
    /// Pods that they order, by version.
    pub ordered: Counts,
    /// Pods, by the version of their ReplicaSet.
    pub there: Counts,
    /// Pods that were there before the Deployment was deleted.
    pub stayed: usize,
}

impl Left {
    /// Reads it off ReplicaSets and pods. `before`: names of the pods that were there.
    pub fn read(sets: &[Value], pods: &[Value], before: &BTreeSet<String>) -> Self {
        let mut left = Self { sets: sets.len(), ..Self::default() };
        let mut versions = BTreeMap::new();
        for set in sets {
            let version = &set["spec"]["template"]["metadata"]["annotations"]["version"];
            let version = version.as_str().unwrap_or_default().to_owned();
            let replicas = set["spec"]["replicas"].as_i64().unwrap_or(0);
            if replicas > 0 {
                *left.ordered.entry(version.clone()).or_default() += replicas;
            }
            let owners = set["metadata"]["ownerReferences"].as_array();
            left.owned += usize::from(owners.is_some_and(|owners| !owners.is_empty()));
            versions.insert(name(set), version);
        }
        for pod in pods {
            let set = pod["metadata"]["ownerReferences"][0]["name"].as_str().unwrap_or_default();
            let version = versions.get(set).cloned().unwrap_or_default();
            *left.there.entry(version).or_default() += 1;
            left.stayed += usize::from(before.contains(&name(pod)));
        }
        left
    }
}

/// Names of objects.
pub fn names(objects: &[Value]) -> BTreeSet<String> {
    objects.iter().map(name).collect()
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// What is written before it is deleted: then it has two ReplicaSets with pods.
pub fn second_version() -> Value {
    never_ready("v2")
}

/// The rests on the model: with both versions, when the Deployment is gone, and when one is made anew that says what the first one said. `alone`:
/// nothing goes with it.
pub fn on_the_model(deployment: &Value, alone: bool) -> [Left; 3] {
    let mut world = World::new(&Setup::default());
    let body = json!({"metadata": {"name": TARGET}, "spec": deployment["spec"]});
    world.make(&OWNER, "deployments", NAMESPACE, body.clone());
    world.begin_ready();
    let second_version = second_version();
    world.write_target(TARGET, "owner", |object| json_patch::merge(&mut object["spec"], &second_version));
    rest(&mut world);
    let before = names(&all(&world, "pods"));
    let begun = left(&world, &before);
    if alone {
        world.delete_alone(&OWNER, TARGET);
    } else {
        world.delete(&OWNER, "deployments", &named(TARGET));
    }
    rest(&mut world);
    let gone = left(&world, &before);
    world.make(&OWNER, "deployments", NAMESPACE, body);
    rest(&mut world);
    [begun, gone, left(&world, &before)]
}

fn rest(world: &mut World) {
    while world.clusters[0].due() < u64::MAX {
        world.now = world.now.max(world.clusters[0].due());
        world.settle();
    }
}

fn all(world: &World, plural: &str) -> Vec<Value> {
    world.store.all(plural).map(|(_, object)| (***object).clone()).collect()
}

fn left(world: &World, before: &BTreeSet<String>) -> Left {
    Left::read(&all(world, "replicasets"), &all(world, "pods"), before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(of: &[(&str, i64)]) -> Counts {
        of.iter().map(|(version, pods)| ((*version).to_owned(), *pods)).collect()
    }

    #[test]
    fn all_goes_with_it_or_nothing_does_and_the_next_one_takes_what_is_there() {
        let deployment = json!({"spec": {
            "replicas": 4, "selector": {"matchLabels": {"app": TARGET}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": {"app": TARGET}, "annotations": {"version": "v1"}}},
        }});
        let both = pods(&[("v1", 3), ("v2", 2)]);
        let begun = Left { sets: 2, owned: 2, ordered: both.clone(), there: both, stayed: 5 };
        let anew =
            Left { sets: 1, owned: 1, ordered: pods(&[("v1", 4)]), there: pods(&[("v1", 4)]), stayed: 0 };
        assert_eq!(on_the_model(&deployment, false), [begun.clone(), Left::default(), anew.clone()]);
        let alone = Left { owned: 0, ..begun.clone() };
        let taken = Left { sets: 2, owned: 2, stayed: 3, ..anew };
        assert_eq!(on_the_model(&deployment, true), [begun, alone, taken]);
    }
}
