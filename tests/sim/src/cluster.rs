//! The cluster behind the API server: the native controllers' model, a kubelet, nodes that fall silent, Jobs, garbage collection. What
//! they do shows as objects, as it would in a real one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::watch::index::DESIRED;

use crate::native::{Native, Pod};
use crate::server::{Name, Object, Who};
use crate::time::{second, stamp};
use crate::world::{NAMESPACE, TARGET, World};

/// How long a pod takes to end.
const ENDING: u64 = 300;
/// How long a Job takes.
const JOB: u64 = 3_000;
/// Rounds of the controllers until nothing moves any more; more is a loop.
const ROUNDS: usize = 40;
/// Annotation by which the native controller counts a Deployment's templates.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// What the controllers and kubelets keep to themselves.
pub struct Cluster {
    pub native: Native,
    /// Milliseconds from a pod's start to its readiness.
    pub ready_after: u64,
    /// The controllers look at nothing before.
    pub asleep_until: u64,
    /// When something is due without anybody doing anything.
    due: u64,
    /// The Deployment whose pods these are.
    uid: String,
    revision: u64,
    newest: Option<String>,
    shown_pods: BTreeMap<String, ShownPod>,
    shown_sets: BTreeMap<String, (i32, i32, i32)>,
    /// Pods on nodes that are not heard from, until when, and whether they come back.
    silent: BTreeMap<String, (u64, bool)>,
}

#[derive(Clone, PartialEq)]
struct ShownPod {
    ready_since: Option<jiff::Timestamp>,
    terminating_since: Option<jiff::Timestamp>,
    silent: bool,
    crashed: bool,
}

impl Cluster {
    pub fn new(ready_after: u64) -> Self {
        Self {
            native: Native::new(stamp(0)),
            ready_after,
            asleep_until: 0,
            due: 0,
            uid: String::new(),
            revision: 0,
            newest: None,
            shown_pods: BTreeMap::new(),
            shown_sets: BTreeMap::new(),
            silent: BTreeMap::new(),
        }
    }

    /// Something has changed: the controllers look at it after so many milliseconds.
    pub fn touch(&mut self, now: u64, lag: u64) {
        self.due = self.due.min(now + lag);
    }

    /// When they look next.
    pub fn due(&self) -> u64 {
        self.due.max(self.asleep_until)
    }

    /// Some of the pods that serve are on a node that falls silent.
    pub fn lose(&mut self, pods: usize, now: u64, until: u64, come_back: bool) {
        let serving = self
            .native
            .pods
            .iter_mut()
            .filter(|pod| pod.ready_since.is_some() && pod.terminating_since.is_none());
        for pod in serving.take(pods) {
            pod.ready_since = None;
            self.silent.insert(pod.name.clone(), (until, come_back));
        }
        self.due = self.due.min(now);
    }

    /// The pod at this address, if it serves pages: its name's number, its template's annotations, and since when it runs.
    pub fn at(&self, address: std::net::IpAddr) -> Option<(&Pod, &Value)> {
        let std::net::IpAddr::V4(address) = address else { return None };
        let wanted = u64::from(u32::from(address) & 0x00FF_FFFF);
        let pod = self.native.pods.iter().find(|pod| number(&pod.name) & 0x00FF_FFFF == wanted)?;
        let set = self.native.sets.iter().find(|set| set.name == pod.set)?;
        let gone = self.silent.contains_key(&pod.name) || pod.ready_since.is_none();
        (!gone).then_some((pod, &set.template))
    }

    fn ready_at(&self, pod: &Pod) -> u64 {
        // Some pods take longer to start than others.
        let spread = number(&pod.name).wrapping_mul(37) % 4;
        milliseconds(pod.born) + self.ready_after + spread * (self.ready_after / 12)
    }

    fn kubelet(&mut self, now: u64) {
        let never: BTreeSet<String> = self
            .native
            .sets
            .iter()
            .filter(|set| set.template["metadata"]["annotations"]["never-ready"] == "true")
            .map(|set| set.name.clone())
            .collect();
        let mut pods = std::mem::take(&mut self.native.pods);
        self.silent.retain(|name, (until, come_back)| {
            if *until > now {
                return true;
            }
            if let Some(pod) = pods.iter_mut().find(|pod| pod.name == *name) {
                if *come_back {
                    pod.ready_since = Some(stamp(now));
                } else {
                    pod.terminating_since.get_or_insert(stamp(now));
                }
            }
            false
        });
        pods.retain(|pod| pod.terminating_since.is_none_or(|since| now < milliseconds(since) + ENDING));
        for pod in &mut pods {
            let up = !pod.crashing && pod.terminating_since.is_none() && !never.contains(&pod.set);
            if up
                && pod.ready_since.is_none()
                && !self.silent.contains_key(&pod.name)
                && now >= self.ready_at(pod)
            {
                pod.ready_since = Some(stamp(now));
            }
        }
        self.native.pods = pods;
    }

    fn next_due(&self, now: u64) -> u64 {
        let of_pod = |pod: &Pod| match (pod.terminating_since, pod.ready_since) {
            (Some(since), _) => milliseconds(since) + ENDING,
            (None, None) => self.ready_at(pod),
            (None, Some(since)) => {
                let set = self.native.sets.iter().find(|set| set.name == pod.set);
                let seconds = set.map_or(0, |set| u64::try_from(set.min_ready).unwrap_or(0));
                // Parked is never.
                if seconds > 100_000 { 0 } else { milliseconds(since) + seconds * 1000 }
            }
        };
        let pods = self.native.pods.iter().map(of_pod);
        let silent = self.silent.values().map(|(until, _)| *until);
        pods.chain(silent).filter(|at| *at > now).min().unwrap_or(u64::MAX)
    }
}

/// The Deployment of every world.
pub fn target() -> Name {
    (NAMESPACE.to_owned(), TARGET.to_owned())
}

impl World {
    /// Controllers and kubelets do what is due.
    pub fn settle(&mut self) {
        if self.cluster.due() > self.now {
            return;
        }
        let now = self.now;
        let deployment = self.store.get("deployments", &target()).cloned();
        let uid = deployment.as_ref().map(|it| it["metadata"]["uid"].as_str().unwrap_or_default().to_owned());
        if uid.as_deref().is_none_or(|uid| uid != self.cluster.uid) {
            self.orphaned(uid.unwrap_or_default());
        }
        self.cluster.native.now = stamp(now);
        self.cluster.kubelet(now);
        let spec = deployment.as_ref().map(|deployment| &deployment["spec"]);
        let mut before = self.shape();
        for round in 0..ROUNDS {
            self.cluster.native.round(spec);
            let after = self.shape();
            if after == before {
                break;
            }
            before = after;
            if round + 1 == ROUNDS {
                self.violated("model", "the native controller does not come to rest".to_owned());
            }
        }
        self.jobs();
        self.collect_garbage();
        self.show(deployment);
        self.cluster.due = self.cluster.next_due(now).min(self.next_job());
        self.check_pods();
    }

    /// Everything in it is as it was once the world began: all pods of the first template are there and Ready.
    pub fn begin_ready(&mut self) {
        self.settle();
        let now = self.now;
        for pod in &mut self.cluster.native.pods {
            pod.ready_since = Some(stamp(now));
        }
        self.cluster.due = now;
        self.settle();
    }

    /// The Deployment is another one, or gone: what the last one had goes.
    fn orphaned(&mut self, uid: String) {
        let now = stamp(self.now);
        let cluster = &mut self.cluster;
        cluster.uid = uid;
        cluster.revision = 0;
        cluster.newest = None;
        for pod in &mut cluster.native.pods {
            pod.terminating_since.get_or_insert(now);
        }
        for set in std::mem::take(&mut cluster.native.sets) {
            cluster.shown_sets.remove(&set.name);
            self.store.remove("replicasets", &(NAMESPACE.to_owned(), set.name));
        }
    }

    fn shape(&self) -> (Vec<i32>, usize) {
        let native = &self.cluster.native;
        (native.sets.iter().map(|set| set.replicas).collect(), native.alive())
    }

    fn show(&mut self, deployment: Option<Arc<Object>>) {
        let owner = |kind: &str, name: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
        for index in 0..self.cluster.native.sets.len() {
            let set = &self.cluster.native.sets[index];
            let shown = (set.replicas, set.desired, set.min_ready);
            if self.cluster.shown_sets.get(&set.name) == Some(&shown) {
                continue;
            }
            self.cluster.shown_sets.insert(set.name.clone(), shown);
            let mut template = set.template.clone();
            template["metadata"]["labels"]["pod-template-hash"] = json!(set.name);
            let object = json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {
                    "name": set.name, "namespace": NAMESPACE, "uid": set.name, "creationTimestamp": second(0),
                    "ownerReferences": owner("Deployment", TARGET, &self.cluster.uid),
                    "annotations": {DESIRED: set.desired.to_string()},
                },
                "spec": {"replicas": set.replicas, "minReadySeconds": set.min_ready, "template": template},
            });
            self.store.put("replicasets", (NAMESPACE.to_owned(), set.name.clone()), object);
        }
        for index in 0..self.cluster.native.pods.len() {
            let pod = &self.cluster.native.pods[index];
            let shown = ShownPod {
                ready_since: pod.ready_since,
                terminating_since: pod.terminating_since,
                silent: self.cluster.silent.contains_key(&pod.name),
                crashed: pod.crashing && self.now >= self.cluster.ready_at(pod),
            };
            if self.cluster.shown_pods.get(&pod.name) == Some(&shown) {
                continue;
            }
            let object = self.pod(pod, &shown, owner("ReplicaSet", &pod.set, &pod.set));
            let name = pod.name.clone();
            self.cluster.shown_pods.insert(name.clone(), shown);
            self.store.put("pods", (NAMESPACE.to_owned(), name), object);
        }
        // Names are given once: what is shown and not there any more is gone.
        if self.cluster.shown_pods.len() > self.cluster.native.pods.len() {
            let living: BTreeSet<&str> =
                self.cluster.native.pods.iter().map(|pod| pod.name.as_str()).collect();
            let (store, shown) = (&mut self.store, &mut self.cluster.shown_pods);
            shown.retain(|name, _| {
                let lives = living.contains(name.as_str());
                if !lives {
                    store.remove("pods", &(NAMESPACE.to_owned(), name.clone()));
                }
                lives
            });
        }
        if let Some(deployment) = deployment {
            self.show_deployment(&deployment);
        }
    }

    fn pod(&self, pod: &Pod, shown: &ShownPod, owners: Value) -> Value {
        let whole = |at: jiff::Timestamp| second(milliseconds(at));
        let silent = shown.silent;
        let state = if shown.crashed {
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}})
        } else {
            json!({"running": {"startedAt": whole(pod.born)}})
        };
        let ready = if pod.ready_since.is_some() { "True" } else { "False" };
        let why = if silent || pod.ready_since.is_some() { "" } else { "ContainersNotReady" };
        let containers = if silent || pod.ready_since.is_some() { "True" } else { "False" };
        let since = whole(pod.ready_since.unwrap_or(if silent { stamp(self.now) } else { pod.born }));
        let mut object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": pod.name, "namespace": NAMESPACE, "uid": pod.name, "creationTimestamp": whole(pod.born),
                "labels": {"app": TARGET, "pod-template-hash": pod.set}, "ownerReferences": owners,
            },
            "status": {
                "phase": "Running", "podIP": address_of(pod), "startTime": whole(pod.born),
                "conditions": [
                    {"type": "Ready", "status": ready, "reason": why, "lastTransitionTime": since},
                    {"type": "ContainersReady", "status": containers, "lastTransitionTime": since},
                ],
                "containerStatuses": [{"name": "shop", "restartCount": u32::from(shown.crashed) * 3, "state": state, "lastState": {}}],
            },
        });
        if let Some(since) = pod.terminating_since {
            object["metadata"]["deletionTimestamp"] = json!(whole(since));
        }
        object
    }

    fn show_deployment(&mut self, deployment: &Object) {
        let native = &self.cluster.native;
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
        let counted = newest.is_none() || newest == self.cluster.newest;
        if counted && deployment["status"] == status {
            return;
        }
        let mut object = (**deployment).clone();
        object["status"] = status;
        if !counted {
            // It counts templates in an annotation, and that raises the generation.
            self.cluster.newest = newest;
            self.cluster.revision += 1;
            object["metadata"]["annotations"][REVISION] = json!(self.cluster.revision.to_string());
            let generation = deployment["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            object["metadata"]["generation"] = json!(generation);
            object["status"]["observedGeneration"] = json!(generation);
        }
        self.commit(&Who::Cluster, "deployments", target(), Some(deployment), object);
    }

    fn jobs(&mut self) {
        let now = self.now;
        let ended: Vec<(Name, Value)> = self
            .store
            .all("jobs")
            .filter(|(_, job)| job["status"]["conditions"].is_null() && job_ends(job) <= now)
            .map(|(name, job)| (name.clone(), (***job).clone()))
            .collect();
        for (name, mut job) in ended {
            let fails = job["spec"]["template"]["metadata"]["annotations"]["fails"] == "true";
            let word = if fails { "Failed" } else { "Complete" };
            job["status"] = json!({"conditions": [{"type": word, "status": "True", "reason": "Ended", "message": "it ended"}]});
            self.store.put("jobs", name, job);
        }
    }

    fn next_job(&self) -> u64 {
        let running = self.store.all("jobs").filter(|(_, job)| job["status"]["conditions"].is_null());
        running.map(|(_, job)| job_ends(job)).min().unwrap_or(u64::MAX)
    }

    /// What belongs to something that is gone goes too.
    fn collect_garbage(&mut self) {
        if !std::mem::take(&mut self.litter) {
            return;
        }
        let mut living: BTreeSet<String> = BTreeSet::new();
        for plural in ["deployments", "releases"] {
            living.extend(
                self.store
                    .all(plural)
                    .filter_map(|(_, it)| it["metadata"]["uid"].as_str().map(str::to_owned)),
            );
        }
        for plural in ["controllerrevisions", "jobs"] {
            let orphan = |object: &Value| {
                let owners = object["metadata"]["ownerReferences"].as_array();
                owners.is_some_and(|owners| {
                    !owners.is_empty()
                        && owners
                            .iter()
                            .all(|owner| owner["uid"].as_str().is_none_or(|uid| !living.contains(uid)))
                })
            };
            let gone: Vec<Name> = self
                .store
                .all(plural)
                .filter(|(_, object)| orphan(object))
                .map(|(name, _)| name.clone())
                .collect();
            for name in gone {
                self.store.remove(plural, &name);
            }
        }
    }
}

fn job_ends(job: &Value) -> u64 {
    let made: Option<jiff::Timestamp> =
        job["metadata"]["creationTimestamp"].as_str().and_then(|text| text.parse().ok());
    made.map_or(0, |made| milliseconds(made) + JOB)
}

fn milliseconds(at: jiff::Timestamp) -> u64 {
    u64::try_from(at.as_millisecond() - stamp(0).as_millisecond()).unwrap_or(0)
}

fn number(name: &str) -> u64 {
    name.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or(0)
}

fn address_of(pod: &Pod) -> String {
    let number = number(&pod.name);
    format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255)
}
