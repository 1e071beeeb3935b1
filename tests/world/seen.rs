//! What the operator sees of the world: everything that its watches would have told it.

use jiff::Timestamp;
use serde_json::json;
use tidegate::api::{CHECK_LABEL, RELEASE_LABEL};
use tidegate::decide::snapshot::Unheard;
use tidegate::watch::index::{self, Index};
use tidegate::watch::slim;

use super::{World, from, second};

/// What is known of a pod's node that is not heard from.
#[derive(Clone, Copy, Debug)]
pub struct Silent {
    pub node: &'static str,
    /// Since when it is known, where the pod was Ready: of others nothing is said.
    pub since: Timestamp,
    pub was_ready: bool,
}

impl World {
    pub fn index(&self) -> Index {
        let mut index = Index::default();
        if let Some(spec) = &self.release {
            let release = json!({
                "metadata": {
                    "name": "shop", "namespace": "ns", "uid": "r", "generation": 1, "resourceVersion": "1",
                    "labels": {"tier": "front"},
                },
                "spec": spec, "status": self.status,
            });
            index::apply::<slim::Release>(&mut index, from(release));
        }
        for other in &self.others {
            index::apply::<slim::Release>(&mut index, from(other.clone()));
        }
        let namespace = json!({"metadata": {"name": "ns", "labels": {"env": "production"}}});
        index::apply::<slim::Namespace>(&mut index, from(namespace));
        let pods_unheard = self.unheard.as_ref().map(|(since, _)| ("Pod", *since));
        for (kind, since) in pods_unheard.into_iter().chain(self.jobs_unheard.map(|since| ("Job", since))) {
            let (kind, why) = (kind.to_owned(), "the server is overloaded".to_owned());
            let unheard = Unheard { kind: kind.clone(), namespace: None, since, why };
            index.unheard.insert(kind, unheard);
        }
        for freeze in &self.freezes {
            index::apply::<slim::Freeze>(&mut index, from(freeze.clone()));
        }
        for pod in &self.quarantined {
            index::apply::<slim::Pod>(&mut index, from(pod.clone()));
        }
        let Some(deployment) = &self.deployment else { return index };
        let mut deployment = deployment.clone();
        let observed = self.stand_still.as_ref().unwrap_or(&deployment["metadata"]["generation"]).clone();
        deployment["status"]["observedGeneration"] = observed;
        let current = deployment["spec"]["template"].clone();
        let updated: i32 =
            self.sets.iter().filter(|set| set.template == current).map(|set| set.replicas).sum();
        deployment["status"]["updatedReplicas"] = json!(updated);
        deployment["status"]["replicas"] = json!(self.sets.iter().map(|set| set.replicas).sum::<i32>());
        deployment["status"]["availableReplicas"] =
            json!(self.sets.iter().map(|set| self.available(set)).sum::<i32>());
        let uid = deployment["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        index::apply::<slim::Deployment>(&mut index, from(deployment));
        let owner = |kind: &str, name: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
        let native = self.unheard.as_ref().map_or(&self.native, |(_, known)| known);
        for set in &native.sets {
            let mut template = set.template.clone();
            template["metadata"]["labels"]["pod-template-hash"] = json!(set.name);
            let (alive, ready) = native.counted(set);
            let set = json!({
                "metadata": {
                    "name": set.name, "namespace": "ns", "uid": set.name, "ownerReferences": owner("Deployment", "shop", &uid),
                    "annotations": {index::DESIRED: set.desired.to_string()},
                },
                "spec": {"replicas": set.replicas, "template": template},
                "status": {"replicas": alive, "readyReplicas": ready},
            });
            index::apply::<slim::ReplicaSet>(&mut index, from(set));
        }
        for pod in &native.pods {
            let waiting = if pod.crashing {
                json!({"waiting": {"reason": "CrashLoopBackOff"}})
            } else {
                json!({"running": {"startedAt": second(pod.born)}})
            };
            // One that waited for something and had to begin again: nothing of note.
            let waited =
                json!({"restartCount": 0, "lastState": {"terminated": {"reason": "Error", "exitCode": 1}}});
            let last = pod.ended.map(|reason| json!({"terminated": {"reason": reason, "exitCode": 137}}));
            let silent = self.silent.get(&pod.name);
            let (is_ready, since) = match (silent.filter(|silent| silent.was_ready), pod.ready_since) {
                (Some(silent), _) => ("False", silent.since),
                (None, Some(since)) => ("True", since),
                (None, None) => ("False", pod.born),
            };
            let has_room = !self.without_room.contains(&pod.name);
            let placed = if has_room { ("True", "") } else { ("False", "Unschedulable") };
            let mut conditions = vec![
                json!({"type": "Ready", "status": is_ready, "lastTransitionTime": second(since)}),
                json!({"type": "PodScheduled", "status": placed.0, "reason": placed.1, "lastTransitionTime": second(pod.born)}),
            ];
            if silent.is_some_and(|silent| silent.was_ready) {
                conditions.push(json!({"type": "ContainersReady", "status": "True"}));
            }
            let pod = json!({
                "metadata": {
                    "name": pod.name, "namespace": "ns", "uid": pod.name, "ownerReferences": owner("ReplicaSet", &pod.set, &pod.set),
                    "deletionTimestamp": pod.terminating_since.map(second),
                },
                "spec": {"nodeName": has_room.then(|| silent.map_or("n1", |silent| silent.node))},
                "status": {
                    "phase": "Running", "podIP": "10.0.0.1",
                    "conditions": conditions,
                    "initContainerStatuses": [waited],
                    "containerStatuses": [{"restartCount": pod.restarts, "state": waiting, "lastState": last.unwrap_or(json!({}))}],
                },
            });
            index::apply::<slim::Pod>(&mut index, from(pod));
        }
        for (name, template) in &self.templates {
            let mut kept = json!({
                "metadata": {
                    "name": name, "namespace": "ns", "uid": format!("uid-{name}"), "labels": {RELEASE_LABEL: "shop"},
                    "annotations": {"tidegate.dev/fingerprint": "x"},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "uid": uid}],
                },
                "data": template,
            });
            if self.orphaned_templates {
                kept["metadata"]["ownerReferences"] = json!([]);
            }
            index::apply::<slim::StoredTemplate>(&mut index, from(kept));
        }
        for (name, (made, labels)) in &self.job_objects {
            let ending = self.job_ends[labels[CHECK_LABEL].as_str().unwrap_or_default()];
            let word = if ending.well { "Complete" } else { "Failed" };
            let ended = json!([{"type": word, "status": "True", "reason": "BackoffLimitExceeded", "message": "it failed"}]);
            let job = json!({
                "metadata": {
                    "name": name, "namespace": "ns", "labels": labels,
                    "ownerReferences": [{"apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "name": "shop", "uid": "r"}],
                },
                "status": {"conditions": if self.now >= *made + ending.after { ended } else { json!([]) }},
            });
            index::apply::<slim::Job>(&mut index, from(job));
        }
        for (name, (made, body)) in &self.trials {
            let (job, pod) = self.trial.objects(name, body, *made, self.now);
            index::apply::<slim::Job>(&mut index, from(job));
            if let Some(pod) = pod {
                index::apply::<slim::Pod>(&mut index, from(pod));
            }
        }
        for action in self.actions_unheard.as_ref().unwrap_or(&self.actions) {
            index::apply::<slim::ReleaseAction>(&mut index, from(action.clone()));
        }
        let mut policies = vec![
            "ValidatingAdmissionPolicy/tidegate-action-rights",
            "ValidatingAdmissionPolicyBinding/tidegate-action-rights",
        ];
        if self.policy {
            policies.extend([
                "MutatingAdmissionPolicy/tidegate-workload-hold",
                "MutatingAdmissionPolicyBinding/tidegate-workload-hold",
                "MutatingAdmissionPolicy/tidegate-workload-pace",
                "MutatingAdmissionPolicyBinding/tidegate-workload-pace",
            ]);
        }
        index.policies = policies.into_iter().map(str::to_owned).collect();
        index
    }
}
