//! Nodes that are not heard from, by the rules and defaults of a real cluster: for a while nobody knows, and their pods are as Ready as they were; then they
//! are said not to be; and then they are deleted, and stay until their kubelet says that they are gone, or there is no such node any more. And nodes that are
//! drained: their pods are evicted, and they take no new ones for a while.
//!
//! Containers on silent nodes run on meanwhile: what Services send there they answer. Whoever else asks them waits, as who cannot reach their node. No Node
//! shows any of it: which pods are on a silent one is said by who tells the story. There are no disruption budgets.
//! What becomes of pods on nodes that are heard from again, and on drained ones, is held against a real control plane (`losses`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Cluster, number};
use crate::native::Pod;
use crate::service::endpoints;
use crate::time::stamp;
use crate::world::{NODES, World};

/// Milliseconds in which pods are back, or others in their place, that were evicted, or not Ready by their nodes or kubelets.
pub const ELSEWHERE: u64 = 120_000;
/// Milliseconds for which a node may say nothing before its pods are said not to be Ready: the default of v1.37, and of others ten seconds less.
pub const GRACE: u64 = 50_000;
/// Milliseconds from then on for which pods are left there: the usual toleration.
pub const TOLERATED: u64 = 300_000;

/// A pod is on a node that is not heard from.
#[derive(Clone, Copy)]
pub(super) struct Silence {
    since: u64,
    until: u64,
    /// The node is heard from again. Else it is taken out of the cluster, and its pods are gone with it.
    comes_back: bool,
}

impl Silence {
    /// When it is known, and the pod is said not to be Ready.
    pub(super) fn known_at(&self) -> u64 {
        self.since + GRACE
    }

    fn deleted_at(&self) -> u64 {
        self.known_at() + TOLERATED
    }

    /// When something becomes of the pod.
    pub(super) fn moments(&self) -> [u64; 3] {
        [self.known_at(), self.deleted_at(), self.until]
    }
}

impl Cluster {
    /// Some of the pods that serve are on a node that is not heard from for a while, and then it is, or is no more.
    pub fn lose(&mut self, pods: usize, now: u64, until: u64, comes_back: bool) {
        let silence = Silence { since: now, until, comes_back };
        let lost = self.serving(pods);
        self.silent.extend(lost.into_iter().map(|pod| (pod, silence)));
        self.heard_from = self.heard_from.max(until);
        self.touch(now, 0);
    }

    /// So many of the pods that serve, and are heard from.
    pub(super) fn serving(&self, pods: usize) -> Vec<String> {
        let heard = endpoints(&self.native).filter(|pod| !self.silent.contains_key(&pod.name));
        heard.take(pods).map(|pod| pod.name.clone()).collect()
    }

    /// What has become by now of pods on nodes that are not heard from.
    pub(super) fn silences(&mut self, now: u64) {
        let Self { native, silent, .. } = self;
        silent.retain(|name, silence| {
            let Some(place) = native.pods.iter().position(|pod| pod.name == *name) else { return false };
            if silence.until <= now && !silence.comes_back {
                native.pods.remove(place);
                return false;
            }
            let pod = &mut native.pods[place];
            if silence.until <= now {
                // One that is to end has ended meanwhile.
                if pod.terminating_since.is_none() {
                    pod.ready_since.get_or_insert(stamp(now));
                }
                return false;
            }
            if silence.known_at() <= now {
                pod.ready_since = None;
            }
            if silence.deleted_at() <= now {
                pod.terminating_since.get_or_insert(stamp(now));
            }
            true
        });
    }
}

impl Cluster {
    /// The number of the node that a pod is on: one after the other, but for those that came when theirs took no new ones.
    pub(super) fn node_of(&self, pod: &Pod) -> usize {
        let number = number(&pod.name);
        let usual = usize::try_from(number).unwrap_or(0) % NODES.len();
        self.elsewhere.get(&number).copied().unwrap_or(usual)
    }

    /// The pods of a node are evicted, and it takes no new ones until then. How many they are.
    fn drain(&mut self, node: usize, now: u64, until: u64) -> usize {
        self.service.count(&self.native, now);
        let on_it = |pod: &&Pod| self.has_a_node(pod) && self.node_of(pod) == node;
        let evicted: BTreeSet<String> =
            self.native.pods.iter().filter(on_it).map(|pod| pod.name.clone()).collect();
        for pod in self.native.pods.iter_mut().filter(|pod| evicted.contains(&pod.name)) {
            pod.terminating_since.get_or_insert(stamp(now));
        }
        self.cordoned.insert(node, until);
        self.touch(now, 0);
        evicted.len()
    }

    fn has_a_node(&self, pod: &Pod) -> bool {
        self.shown_pods.get(&number(&pod.name)).is_some_and(|shown| !shown.waits)
    }

    /// Pods that have none yet find a node that takes new ones.
    pub(super) fn place(&mut self, now: u64) {
        self.cordoned.retain(|_, until| *until > now);
        let Some(free) = (0..NODES.len()).find(|node| !self.cordoned.contains_key(node)) else { return };
        let has_to = |pod: &&Pod| !self.has_a_node(pod) && self.cordoned.contains_key(&self.node_of(pod));
        let others: Vec<u64> = self.native.pods.iter().filter(has_to).map(|pod| number(&pod.name)).collect();
        self.elsewhere.extend(others.into_iter().map(|number| (number, free)));
    }
}

impl World {
    /// A node is drained, and takes no new pods until then. The last one that does nobody drains.
    pub fn drain(&mut self, node: &str, until: u64) {
        let now = self.now;
        let Some(node) = NODES.iter().position(|(known, _)| *known == node) else { return };
        let takes = |other: usize| {
            other != node && self.clusters[0].cordoned.get(&other).is_none_or(|until| *until <= now)
        };
        if !(0..NODES.len()).any(takes) {
            return;
        }
        for cluster in &mut self.clusters {
            let evicted = cluster.drain(node, now, until);
            self.watchman.of(cluster.name).note_away(now + ELSEWHERE, evicted);
        }
    }

    /// Whether the pod at this address is on a node that is not heard from: whoever asks it waits.
    pub fn is_silent_at(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        let wanted = u64::from(u32::from(address) & 0x00FF_FFFF);
        let mut silent = self.clusters.iter().flat_map(|cluster| cluster.silent.keys());
        silent.any(|pod| number(pod) & 0x00FF_FFFF == wanted)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::named;
    use crate::watchman::stage::world;
    use crate::world::TARGET;

    /// One of four pods is silent for so long; how it is shown at these moments, in seconds since then, and how many pods are not on their way out.
    fn shown(seconds: u64, comes_back: bool, moments: &[u64]) -> Vec<(&'static str, usize)> {
        let mut world = world(&json!({}));
        world.now = 1000;
        let lost = world.native(TARGET).pods[0].name.clone();
        if let Some(cluster) = world.cluster(TARGET) {
            cluster.lose(1, 1000, 1000 + seconds * 1000, comes_back);
        }
        let look = |at: &u64| {
            let until = 1000 + at * 1000;
            while world.clusters[0].due() <= until {
                world.now = world.now.max(world.clusters[0].due());
                world.settle();
            }
            world.now = until;
            let pod = world.store.get("pods", &named(&lost));
            let is = pod.map_or("gone", |pod| {
                let is_ready = pod["status"]["conditions"][0]["status"] == "True";
                match (&pod["metadata"]["deletionTimestamp"], is_ready) {
                    (Value::Null, true) => "Ready",
                    (Value::Null, false) => "not Ready",
                    (_, _) => "Terminating",
                }
            });
            (is, world.native(TARGET).alive())
        };
        moments.iter().map(look).collect()
    }

    #[test]
    fn a_pod_on_a_silent_node_is_ready_then_not_and_then_terminating_until_the_node_comes_back_or_goes() {
        for comes_back in [true, false] {
            let found = shown(500, comes_back, &[49, 51, 349, 351, 499, 501]);
            let expected = [
                ("Ready", 4),
                ("not Ready", 4),
                ("not Ready", 4),
                ("Terminating", 4),
                ("Terminating", 4),
                ("gone", 4),
            ];
            assert_eq!(found, expected, "{comes_back}");
        }
    }

    #[test]
    fn the_pods_of_a_drained_node_come_on_others_until_it_takes_new_ones_again() {
        let mut world = world(&json!({}));
        let on = |world: &World, node: &str| {
            let pods = world.store.all("pods");
            let pods = pods.filter(|(_, pod)| pod["metadata"]["deletionTimestamp"].is_null());
            pods.filter(|(_, pod)| pod["spec"]["nodeName"] == node).count()
        };
        assert!(on(&world, "n2") > 0);
        world.now = 1000;
        world.drain("n2", 61_000);
        world.settle();
        assert_eq!((on(&world, "n2"), world.native(TARGET).alive()), (0, 4));
        assert_eq!(world.native(TARGET).pods.iter().filter(|pod| pod.terminating_since.is_some()).count(), 1);
        world.now = 62_000;
        world.drain("n1", 90_000);
        world.drain("n3", 90_000);
        world.settle();
        assert_eq!((on(&world, "n2"), world.native(TARGET).alive()), (4, 4));
        // It is the last one.
        world.drain("n2", 90_000);
        world.settle();
        assert_eq!(on(&world, "n2"), 4);
    }

    #[test]
    fn a_node_that_comes_back_in_time_brings_its_pods_with_it() {
        assert_eq!(shown(30, true, &[29, 31]), [("Ready", 4), ("Ready", 4)]);
        assert_eq!(shown(90, true, &[51, 89, 91]), [("not Ready", 4), ("not Ready", 4), ("Ready", 4)]);
        assert_eq!(shown(30, false, &[29, 31]), [("Ready", 4), ("gone", 4)]);
    }
}
