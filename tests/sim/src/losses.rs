//! What becomes of the pods of a node that is lost or drained, and how many pods their Deployment has meanwhile. The model plays it here, a real control
//! plane in `tests/real`: each of those pods must be shown in the same ways, one after the other, and at every rest of the model there must be as many pods
//! on both. How long it takes is not compared: the model has the defaults of a real cluster, and those of tests are impatient.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cluster::{GRACE, TOLERATED};
use crate::server::Who;
use crate::service::endpoints;
use crate::story::Setup;
use crate::world::{NAMESPACE, NODES, TARGET, World};

/// When it happens.
const BEGINS: u64 = 1000;
/// Milliseconds in which pods come elsewhere, and then nothing moves.
const REST: u64 = 10_000;
/// So many more until the node is back.
const LATER: u64 = 60_000;

/// What happens to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is not heard from, and its pods have been replaced when it is again.
    Lost,
    /// It is heard from again before.
    Back,
    /// Its pods are evicted.
    Drained,
}

/// How a pod is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    Ready,
    NotReady,
    Terminating,
    Gone,
}

impl Shown {
    /// Reads it off a pod.
    pub fn of(pod: &Value) -> Self {
        let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        let is_ready = conditions.any(|one| one["type"] == "Ready" && one["status"] == "True");
        if pod["metadata"]["deletionTimestamp"].is_string() {
            Self::Terminating
        } else if is_ready {
            Self::Ready
        } else {
            Self::NotReady
        }
    }
}

/// All pods of a Deployment, by their names.
pub type Pods = BTreeMap<String, Shown>;

/// What there is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// How the pods of the node are shown: so many of them in each way.
    pub on_it: BTreeMap<Shown, usize>,
    /// Pods of all nodes, those on their way out included.
    pub there: usize,
    /// Those of them that are Ready and not on their way out.
    pub ready: usize,
}

impl Look {
    fn of(pods: &Pods, on_it: &BTreeSet<String>) -> Self {
        let mut shown = BTreeMap::new();
        for name in on_it {
            *shown.entry(how(pods, name)).or_default() += 1;
        }
        let ready = pods.values().filter(|shown| **shown == Shown::Ready).count();
        Self { on_it: shown, there: pods.len(), ready }
    }
}

fn how(pods: &Pods, name: &str) -> Shown {
    pods.get(name).copied().unwrap_or(Shown::Gone)
}

/// What was seen from before it happened until all is well again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How a pod of the node was shown, one after the other: the ways that there were.
    pub ways: BTreeSet<Vec<Shown>>,
    /// On the model only the rests.
    pub looks: Vec<Look>,
}

impl Seen {
    /// Reads it off the pods after each change.
    pub fn read(history: &[Pods], on_it: &BTreeSet<String>) -> Self {
        let way = |name: &String| {
            let mut way: Vec<Shown> = history.iter().map(|pods| how(pods, name)).collect();
            way.dedup();
            way
        };
        let mut looks: Vec<Look> = history.iter().map(|pods| Look::of(pods, on_it)).collect();
        looks.dedup();
        Self { ways: on_it.iter().map(way).collect(), looks }
    }

    /// Whether it has come through all rests of the model, and stands at the last.
    pub fn came_through(&self, model: &Self) -> bool {
        let mut looks = self.looks.iter();
        model.looks.iter().all(|rest| looks.any(|look| look == rest))
            && self.looks.last() == model.looks.last()
    }
}

/// What becomes of this Deployment on the model when so many of its pods, and not all, are on the node.
pub fn on_the_model(deployment: &Value, fate: Fate, pods: usize) -> Seen {
    let mut world = World::new(&Setup::default());
    let body = json!({"metadata": {"name": TARGET}, "spec": deployment["spec"]});
    world.make(&Who::Person("owner"), "deployments", NAMESPACE, body);
    world.begin_ready();
    let mut history = vec![all(&world)];
    let mut rests = history.clone();
    world.now = BEGINS;
    let on_it = match fate {
        Fate::Lost => lose(&mut world, pods, BEGINS + GRACE + TOLERATED + LATER),
        Fate::Back => lose(&mut world, pods, BEGINS + GRACE + LATER),
        Fate::Drained => drain(&mut world, pods, BEGINS + LATER),
    };
    loop {
        let due = world.clusters[0].due();
        if due > world.now + REST {
            rests.push(all(&world));
        }
        if due == u64::MAX {
            break;
        }
        world.now = world.now.max(due);
        world.settle();
        history.push(all(&world));
    }
    Seen { looks: Seen::read(&rests, &on_it).looks, ..Seen::read(&history, &on_it) }
}

fn all(world: &World) -> Pods {
    world.store.all("pods").map(|((_, name), pod)| (name.clone(), Shown::of(pod))).collect()
}

/// The pods of which nothing is heard from now on.
fn lose(world: &mut World, pods: usize, until: u64) -> BTreeSet<String> {
    let lost = endpoints(world.native(TARGET)).take(pods).map(|pod| pod.name.clone()).collect();
    let now = world.now;
    if let Some(cluster) = world.cluster(TARGET) {
        cluster.lose(pods, now, until, true);
    }
    lost
}

/// The pods of nodes that are drained: of as many as have so many pods together.
fn drain(world: &mut World, pods: usize, until: u64) -> BTreeSet<String> {
    let mut nodes = NODES.map(|(node, _)| (node, names_on(world, node)));
    nodes.sort_by_key(|(_, on_it)| Reverse(on_it.len()));
    let mut evicted = BTreeSet::new();
    for (node, on_it) in nodes {
        if evicted.len() + on_it.len() <= pods {
            world.drain(node, until);
            evicted.extend(on_it);
        }
    }
    evicted
}

fn names_on(world: &World, node: &str) -> BTreeSet<String> {
    let pods = world.store.all("pods").filter(|(_, pod)| pod["spec"]["nodeName"] == node);
    pods.map(|((_, name), _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_of_a_lost_node_are_replaced_or_come_back_and_those_of_a_drained_one_go_at_once() {
        use Shown::{Gone, NotReady, Ready, Terminating};
        let deployment = json!({"spec": {
            "replicas": 4, "selector": {"matchLabels": {"app": TARGET}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": {"app": TARGET}, "annotations": {"version": "v1"}}},
        }});
        type Steps<'a> = &'a [(Shown, usize, usize)];
        let stories: [(Fate, &[Shown], Steps<'_>); 3] = [
            (
                Fate::Lost,
                &[Ready, NotReady, Terminating, Gone],
                &[(Ready, 4, 4), (NotReady, 4, 2), (Terminating, 6, 4), (Gone, 4, 4)],
            ),
            (Fate::Back, &[Ready, NotReady, Ready], &[(Ready, 4, 4), (NotReady, 4, 2), (Ready, 4, 4)]),
            (Fate::Drained, &[Ready, Terminating, Gone], &[(Ready, 4, 4), (Gone, 4, 4)]),
        ];
        for (fate, way, rests) in stories {
            let seen = on_the_model(&deployment, fate, 2);
            let look = |(shown, there, ready): &(Shown, usize, usize)| Look {
                on_it: BTreeMap::from([(*shown, 2)]),
                there: *there,
                ready: *ready,
            };
            let expected =
                Seen { ways: BTreeSet::from([way.to_vec()]), looks: rests.iter().map(look).collect() };
            assert_eq!(seen, expected, "{fate:?}");
            assert!(seen.came_through(&expected));
        }
    }
}
