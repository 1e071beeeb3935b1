//! What the operator sees of the world: everything that its watches would have told it. As they do, they tell of what is new, changed or gone.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate::api::{CHECK_LABEL, RELEASE_LABEL, ReleaseStatus};
use tidegate::decide::snapshot::Unheard;
use tidegate::observe::reading::Reading;
use tidegate::watch::index::{self, Index, Indexed};
use tidegate::watch::slim;
use tidegate_sim::native::{Pod, Set};

use super::{World, from, second};

/// What is known of a pod's node that is not heard from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Silent {
    pub node: &'static str,
    /// Since when it is known, where the pod was Ready: of others nothing is said.
    pub since: Timestamp,
    pub was_ready: bool,
}

/// What the watches have told, and what was read in it.
#[derive(Default)]
pub struct Seen {
    pub index: Index,
    pub reading: Reading,
    releases: Told,
    freezes: Told,
    deployments: Told,
    sets: Told,
    pods: Told,
    templates: Told,
    jobs: Told,
    actions: Told,
}

/// The objects of a kind as they were told last, by their names.
#[derive(Default)]
struct Told(BTreeMap<String, Source>);

/// What an object is made of.
#[derive(Clone, PartialEq)]
enum Source {
    Object(Value),
    Release { spec: Value, status: Box<ReleaseStatus> },
    Set { deployment: String, set: Set, alive: usize, ready: usize },
    Pod { pod: Pod, silent: Option<Silent>, has_room: bool },
}

impl Told {
    fn tell<T: Indexed>(&mut self, index: &mut Index, all: Vec<Source>) {
        let names: BTreeSet<String> = all.iter().map(Source::name).collect();
        for (_, gone) in self.0.extract_if(.., |name, _| !names.contains(name)) {
            index::delete::<T>(index, &from(gone.object()));
        }
        for source in all {
            let name = source.name();
            if self.0.get(&name) != Some(&source) {
                index::apply::<T>(index, from(source.object()));
                self.0.insert(name, source);
            }
        }
    }
}

impl Source {
    fn name(&self) -> String {
        match self {
            Self::Object(object) => object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            Self::Release { .. } => "shop".to_owned(),
            Self::Set { set, .. } => set.name.clone(),
            Self::Pod { pod, .. } => pod.name.clone(),
        }
    }

    fn object(&self) -> Value {
        match self {
            Self::Object(object) => object.clone(),
            Self::Release { spec, status } => json!({
                "metadata": {
                    "name": "shop", "namespace": "ns", "uid": "r", "generation": 1, "resourceVersion": "1",
                    "labels": {"tier": "front"},
                },
                "spec": spec, "status": status,
            }),
            Self::Set { deployment, set, alive, ready } => {
                let mut template = set.template.clone();
                template["metadata"]["labels"]["pod-template-hash"] = json!(set.name);
                json!({
                    "metadata": {
                        "name": set.name, "namespace": "ns", "uid": set.name,
                        "ownerReferences": owner("Deployment", "shop", deployment),
                        "annotations": {index::DESIRED: set.desired.to_string()},
                    },
                    "spec": {"replicas": set.replicas, "template": template},
                    "status": {"replicas": alive, "readyReplicas": ready},
                })
            }
            Self::Pod { pod, silent, has_room } => pod_object(pod, silent.as_ref(), *has_room),
        }
    }
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}])
}

fn pod_object(pod: &Pod, silent: Option<&Silent>, has_room: bool) -> Value {
    let waiting = if pod.crashing {
        json!({"waiting": {"reason": "CrashLoopBackOff"}})
    } else if let Some(reason) = pod.waits {
        json!({"waiting": {"reason": reason}})
    } else {
        json!({"running": {"startedAt": second(pod.born)}})
    };
    // One that waited for something and had to begin again: nothing of note.
    let waited = json!({"restartCount": 0, "lastState": {"terminated": {"reason": "Error", "exitCode": 1}}});
    let finished_at = pod.ended_at.map(second);
    let last = pod
        .ended
        .map(|reason| json!({"terminated": {"reason": reason, "exitCode": 137, "finishedAt": finished_at}}));
    let (is_ready, since) = match (silent.filter(|silent| silent.was_ready), pod.ready_since) {
        (Some(silent), _) => ("False", silent.since),
        (None, Some(since)) => ("True", since),
        (None, None) => ("False", pod.born),
    };
    let placed = if has_room { ("True", "") } else { ("False", "Unschedulable") };
    let mut conditions = vec![
        json!({"type": "Ready", "status": is_ready, "lastTransitionTime": second(since)}),
        json!({"type": "PodScheduled", "status": placed.0, "reason": placed.1, "lastTransitionTime": second(pod.born)}),
    ];
    if silent.is_some_and(|silent| silent.was_ready) {
        conditions.push(json!({"type": "ContainersReady", "status": "True"}));
    }
    json!({
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
    })
}

impl Seen {
    /// Tells how the world is now.
    pub fn hear(&mut self, world: &World) {
        let index = &mut self.index;
        let release = world
            .release
            .iter()
            .map(|spec| Source::Release { spec: spec.clone(), status: Box::new(world.status.clone()) });
        let others = world.others.iter().cloned().map(Source::Object);
        self.releases.tell::<slim::Release>(index, release.chain(others).collect());
        if index.namespaces.iter().next().is_none() {
            let namespace = json!({"metadata": {"name": "ns", "labels": {"env": "production"}}});
            index::apply::<slim::Namespace>(index, from(namespace));
        }
        index.unheard = world.unheard_kinds();
        self.freezes.tell::<slim::Freeze>(index, objects(&world.freezes));
        let mut deployments = objects(&world.deployments);
        deployments.extend(world.deployment_object());
        self.deployments.tell::<slim::Deployment>(index, deployments);
        self.sets.tell::<slim::ReplicaSet>(index, world.set_objects());
        let (trial_jobs, trial_pods) = world.trial_objects();
        let mut pods = objects(&world.quarantined);
        pods.extend(world.pod_objects());
        pods.extend(trial_pods);
        self.pods.tell::<slim::Pod>(index, pods);
        self.templates.tell::<slim::StoredTemplate>(index, world.template_objects());
        let mut jobs = world.check_jobs();
        jobs.extend(trial_jobs);
        self.jobs.tell::<slim::Job>(index, jobs);
        let actions = world.actions_unheard.as_ref().unwrap_or(&world.actions);
        self.actions.tell::<slim::ReleaseAction>(index, objects(actions));
        index.policies = world.policies();
    }
}

fn objects(all: &[Value]) -> Vec<Source> {
    all.iter().cloned().map(Source::Object).collect()
}

impl World {
    /// What watches that begin now tell.
    pub fn index(&self) -> Index {
        let mut seen = Seen::default();
        seen.hear(self);
        seen.index
    }

    fn unheard_kinds(&self) -> BTreeMap<String, Unheard> {
        let pods = self.unheard.as_ref().map(|(since, _)| ("Pod", *since));
        let jobs = self.jobs_unheard.map(|since| ("Job", since));
        let templates = self.templates_unheard.as_ref().map(|(since, _)| ("ControllerRevision", *since));
        let why = "the server is overloaded";
        let unheard = |(kind, since): (&str, Timestamp)| {
            let unheard = Unheard { kind: kind.to_owned(), namespace: None, since, why: why.to_owned() };
            (kind.to_owned(), unheard)
        };
        pods.into_iter().chain(jobs).chain(templates).map(unheard).collect()
    }

    fn deployment_uid(&self) -> Option<&str> {
        self.deployment.as_ref()?["metadata"]["uid"].as_str()
    }

    fn deployment_object(&self) -> Option<Source> {
        let mut deployment = self.deployment.clone()?;
        let observed = self.stand_still.as_ref().unwrap_or(&deployment["metadata"]["generation"]).clone();
        let current = &deployment["spec"]["template"];
        let updated: i32 =
            self.sets.iter().filter(|set| set.template == *current).map(|set| set.replicas).sum();
        let status = &mut deployment["status"];
        status["observedGeneration"] = observed;
        status["updatedReplicas"] = json!(updated);
        status["replicas"] = json!(self.sets.iter().map(|set| set.replicas).sum::<i32>());
        status["availableReplicas"] = json!(self.sets.iter().map(|set| self.available(set)).sum::<i32>());
        Some(Source::Object(deployment))
    }

    fn set_objects(&self) -> Vec<Source> {
        let Some(uid) = self.deployment_uid() else { return Vec::new() };
        let native = self.unheard.as_ref().map_or(&self.native, |(_, known)| known);
        let source = |set: &Set| {
            let (alive, ready) = native.counted(set);
            Source::Set { deployment: uid.to_owned(), set: set.clone(), alive, ready }
        };
        native.sets.iter().map(source).collect()
    }

    fn pod_objects(&self) -> Vec<Source> {
        if self.deployment.is_none() {
            return Vec::new();
        }
        let native = self.unheard.as_ref().map_or(&self.native, |(_, known)| known);
        let source = |pod: &Pod| Source::Pod {
            pod: pod.clone(),
            silent: self.silent.get(&pod.name).copied(),
            has_room: !self.without_room.contains(&pod.name),
        };
        native.pods.iter().map(source).collect()
    }

    fn template_objects(&self) -> Vec<Source> {
        let Some(uid) = self.deployment_uid() else { return Vec::new() };
        let object = |(name, template): (&String, &Value)| {
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
            Source::Object(kept)
        };
        let heard = self.templates_unheard.as_ref().map_or(&self.templates, |(_, known)| known);
        heard.iter().map(object).collect()
    }

    fn check_jobs(&self) -> Vec<Source> {
        if self.deployment.is_none() {
            return Vec::new();
        }
        let heard = self.jobs_unheard.unwrap_or(self.now);
        let is_heard = |(_, (made, _)): &(&String, &(Timestamp, Value))| *made <= heard;
        let object = |(name, (made, labels)): (&String, &(Timestamp, Value))| {
            let ending = self.job_ends[labels[CHECK_LABEL].as_str().unwrap_or_default()];
            let word = if ending.well { "Complete" } else { "Failed" };
            let ended = json!([{"type": word, "status": "True", "reason": "BackoffLimitExceeded", "message": "it failed"}]);
            Source::Object(json!({
                "metadata": {
                    "name": name, "namespace": "ns", "labels": labels,
                    "ownerReferences": [{"apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "name": "shop", "uid": "r"}],
                },
                "status": {"conditions": if heard >= *made + ending.after { ended } else { json!([]) }},
            }))
        };
        self.job_objects.iter().filter(is_heard).map(object).collect()
    }

    /// Jobs of trial pods, and the pods.
    fn trial_objects(&self) -> (Vec<Source>, Vec<Source>) {
        if self.deployment.is_none() {
            return Default::default();
        }
        let objects = |(name, (made, body)): (&String, &(Timestamp, Value))| {
            self.trial.objects(name, body, *made, self.now)
        };
        let (jobs, pods): (Vec<Value>, Vec<Option<Value>>) = self.trials.iter().map(objects).unzip();
        let pods = pods.into_iter().flatten().map(Source::Object).collect();
        (jobs.into_iter().map(Source::Object).collect(), pods)
    }

    fn policies(&self) -> BTreeSet<String> {
        let validating = ["tidegate-action-rights", "tidegate-release-rights", "tidegate-release-undo"];
        let mut policies: Vec<(&str, &str)> = validating.map(|name| ("Validating", name)).to_vec();
        if self.policy {
            let mutating = ["tidegate-workload-hold", "tidegate-workload-pace"];
            policies.extend(mutating.map(|name| ("Mutating", name)));
        }
        let both = |(kind, name): (&str, &str)| {
            let binding = format!("{kind}AdmissionPolicyBinding/{name}");
            // One that denies nothing is as good as none.
            let is_bound = self.unguarded != Some(name);
            let policy = format!("{kind}AdmissionPolicy/{name}");
            is_bound.then_some(binding).into_iter().chain([policy]).collect::<Vec<_>>()
        };
        policies.into_iter().flat_map(both).collect()
    }
}
