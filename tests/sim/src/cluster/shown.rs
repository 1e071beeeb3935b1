//! What the controllers and kubelets do, as objects: only what has changed since it was shown last.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::watch::index::DESIRED;

use super::nodes::Silence;
use super::{lacks_image, milliseconds, named, number};
use crate::native::Pod;
use crate::server::{Object, Who};
use crate::time::{second, stamp};
use crate::world::{NAMESPACE, NODES, TARGET, World};

/// Annotation by which the native controller counts a Deployment's templates.
const REVISION: &str = "deployment.kubernetes.io/revision";

#[derive(Clone, PartialEq)]
pub(super) struct ShownSet {
    replicas: i32,
    desired: i32,
    min_ready: i32,
    alive: usize,
    ready: usize,
}

#[derive(Clone, PartialEq)]
pub(super) struct ShownPod {
    ready_since: Option<jiff::Timestamp>,
    terminating_since: Option<jiff::Timestamp>,
    /// When it was said not to be Ready because its node is not heard from.
    silenced_at: Option<u64>,
    crashed: bool,
    /// There is no image for it.
    lacks_image: bool,
    pub(super) waits: bool,
}

impl World {
    pub(super) fn show(&mut self, of: usize, deployment: Option<Arc<Object>>) {
        let owner = |kind: &str, name: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
        let Self { now, store, clusters, .. } = self;
        let cluster = &mut clusters[of];
        for set in &cluster.native.sets {
            let (alive, ready) = cluster.native.counted(set);
            let shown = ShownSet {
                replicas: set.replicas,
                desired: set.desired,
                min_ready: set.min_ready,
                alive,
                ready,
            };
            if cluster.shown_sets.get(&set.name) == Some(&shown) {
                continue;
            }
            cluster.shown_sets.insert(set.name.clone(), shown);
            let mut template = set.template.clone();
            template["metadata"]["labels"]["pod-template-hash"] = json!(set.name);
            let object = json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {
                    "name": set.name, "namespace": NAMESPACE, "uid": set.name, "creationTimestamp": second(0),
                    "ownerReferences": owner("Deployment", cluster.name, &cluster.uid),
                    "annotations": {DESIRED: set.desired.to_string()},
                },
                "spec": {"replicas": set.replicas, "minReadySeconds": set.min_ready, "template": template},
                "status": {"replicas": alive, "readyReplicas": ready},
            });
            store.put("replicasets", named(&set.name), object);
        }
        let without_image: BTreeSet<&str> = cluster
            .native
            .sets
            .iter()
            .filter(|set| lacks_image(&set.template))
            .map(|set| set.name.as_str())
            .collect();
        for pod in &cluster.native.pods {
            let waits = cluster.waiting.contains(&pod.name);
            let is_ready = pod.ready_since.is_some();
            let shown = ShownPod {
                ready_since: pod.ready_since,
                terminating_since: pod.terminating_since,
                silenced_at: cluster.silent.get(&pod.name).filter(|_| !is_ready).map(Silence::known_at),
                crashed: pod.crashing && *now >= cluster.ready_at(pod) && !waits,
                lacks_image: without_image.contains(pod.set.as_str())
                    && *now >= cluster.ready_at(pod)
                    && !waits,
                waits,
            };
            let number = number(&pod.name);
            if cluster.shown_pods.get(&number) == Some(&shown) {
                continue;
            }
            let object = pod_object(
                pod,
                NODES[cluster.node_of(pod)].0,
                &shown,
                owner("ReplicaSet", &pod.set, &pod.set),
            );
            cluster.shown_pods.insert(number, shown);
            store.put("pods", named(&pod.name), object);
        }
        // Names are given once: what is shown and not there any more is gone.
        if cluster.shown_pods.len() > cluster.native.pods.len() {
            let living: BTreeSet<u64> = cluster.native.pods.iter().map(|pod| number(&pod.name)).collect();
            let gone = cluster.shown_pods.keys().filter(|number| !living.contains(number));
            // In the order of their names, as everything is listed.
            let gone: BTreeSet<String> = gone.map(|number| format!("p{number}")).collect();
            for name in gone {
                cluster.shown_pods.remove(&number(&name));
                cluster.elsewhere.remove(&number(&name));
                store.remove("pods", &named(&name));
            }
        }
        if let Some(deployment) = deployment {
            self.show_deployment(of, &deployment);
        }
    }

    fn show_deployment(&mut self, of: usize, deployment: &Object) {
        let name = self.clusters[of].name;
        let native = &self.clusters[of].native;
        let newest = native.sets.iter().find(|set| set.template == deployment["spec"]["template"]);
        let total: i32 = native.sets.iter().map(|set| set.replicas).sum();
        let status = json!({
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": total,
            "updatedReplicas": newest.map_or(0, |set| set.replicas),
            "readyReplicas": native.ready(),
            "availableReplicas": native.sets.iter().map(|set| native.available(set)).sum::<i32>(),
        });
        let newest = newest.map(|set| set.name.clone());
        let counted = newest.is_none() || newest == self.clusters[of].newest;
        if counted && deployment["status"] == status {
            return;
        }
        let mut object = (**deployment).clone();
        object["status"] = status;
        if !counted {
            // It counts templates in an annotation, and that raises the generation.
            self.clusters[of].newest = newest;
            self.clusters[of].revision += 1;
            object["metadata"]["annotations"][REVISION] = json!(self.clusters[of].revision.to_string());
            let generation = deployment["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            object["metadata"]["generation"] = json!(generation);
            object["status"]["observedGeneration"] = json!(generation);
        }
        self.commit(&Who::Cluster, "deployments", named(name), Some(deployment), object);
    }
}

/// A pod as everybody sees it.
fn pod_object(pod: &Pod, node: &str, shown: &ShownPod, owners: Value) -> Value {
    let whole = |at: jiff::Timestamp| second(milliseconds(at));
    let silenced = shown.silenced_at.is_some();
    let state = if shown.crashed {
        json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}})
    } else if shown.lacks_image {
        json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}})
    } else {
        json!({"running": {"startedAt": whole(pod.born)}})
    };
    let ready = if pod.ready_since.is_some() { "True" } else { "False" };
    let why = if silenced || pod.ready_since.is_some() { "" } else { "ContainersNotReady" };
    let containers = if silenced || pod.ready_since.is_some() { "True" } else { "False" };
    let since = whole(pod.ready_since.unwrap_or(shown.silenced_at.map_or(pod.born, stamp)));
    let mut object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": pod.name, "namespace": NAMESPACE, "uid": pod.name, "creationTimestamp": whole(pod.born),
            "labels": {"app": TARGET, "pod-template-hash": pod.set}, "ownerReferences": owners,
        },
        "spec": {"nodeName": node},
        "status": {
            "phase": "Running", "podIP": address_of(pod), "startTime": whole(pod.born),
            "conditions": [
                {"type": "Ready", "status": ready, "reason": why, "lastTransitionTime": since},
                {"type": "ContainersReady", "status": containers, "lastTransitionTime": since},
            ],
            "containerStatuses": [{"name": "shop", "restartCount": u32::from(shown.crashed) * 3, "state": state, "lastState": {}}],
        },
    });
    if shown.lacks_image {
        object["status"]["phase"] = json!("Pending");
    }
    if shown.waits {
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient cpu.", "lastTransitionTime": whole(pod.born)});
        object["status"] = json!({"phase": "Pending", "conditions": [condition]});
        object["spec"] = json!({});
    }
    if let Some(since) = pod.terminating_since {
        object["metadata"]["deletionTimestamp"] = json!(whole(since));
    }
    object
}

fn address_of(pod: &Pod) -> String {
    let number = number(&pod.name);
    format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255)
}
