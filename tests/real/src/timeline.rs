//! Writes down when what was seen of a Deployment and its pods, by watches of our own: what the operator says of itself is
//! compared with this. The moments are those at which the news arrived here.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinHandle;

/// How the pods stood at a moment, those on their way out left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    pub at: Timestamp,
    /// By version: pods, and how many of them are Ready.
    pub versions: BTreeMap<String, (usize, usize)>,
}

impl Moment {
    /// All pods.
    pub fn pods(&self) -> usize {
        self.versions.values().map(|(pods, _)| pods).sum()
    }

    /// All pods that are Ready.
    pub fn ready(&self) -> usize {
        self.versions.values().map(|(_, ready)| ready).sum()
    }

    /// Pods of a version, and how many are Ready.
    pub fn of(&self, version: &str) -> (usize, usize) {
        self.versions.get(version).copied().unwrap_or_default()
    }
}

#[derive(Default)]
struct Seen {
    pods: BTreeMap<String, Known>,
    moments: Vec<Moment>,
    generations: Vec<(Timestamp, i64)>,
    /// How long each pod took from its first sight to Ready.
    starts: Vec<(Timestamp, Duration)>,
}

struct Known {
    version: String,
    ready: bool,
    since: Timestamp,
}

/// Watches under way; they end when dropped.
pub struct Timeline {
    seen: Arc<Mutex<Seen>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Timeline {
    /// Watches a namespace. A pod's version is the VERSION of its first container, else its annotation `version`.
    pub fn start(client: &Client, namespace: &str) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let pods = tokio::spawn(follow_pods(Api::namespaced(client.clone(), namespace), seen.clone()));
        let target = tokio::spawn(follow_target(Api::namespaced(client.clone(), namespace), seen.clone()));
        Self { seen, tasks: vec![pods, target] }
    }

    /// The first moment since `from` for which this holds.
    pub fn first(&self, from: Timestamp, holds: impl Fn(&Moment) -> bool) -> Option<Timestamp> {
        let seen = self.lock();
        // What held already when `from` came.
        let before = seen.moments.iter().rposition(|moment| moment.at <= from);
        let since = before.unwrap_or(0);
        seen.moments[since..].iter().find(|moment| holds(moment)).map(|moment| moment.at.max(from))
    }

    /// The first change of the Deployment's spec since `from`.
    pub fn first_change(&self, from: Timestamp) -> Option<Timestamp> {
        self.lock().generations.iter().map(|(at, _)| *at).find(|at| *at >= from)
    }

    /// How pods stand now.
    pub fn now(&self) -> Option<Moment> {
        self.lock().moments.last().cloned()
    }

    /// The fewest Ready pods and the most pods since `from`.
    pub fn worst(&self, from: Timestamp) -> (usize, usize) {
        let seen = self.lock();
        let since = seen.moments.iter().rposition(|moment| moment.at <= from).unwrap_or(0);
        let ready = seen.moments[since..].iter().map(Moment::ready).min().unwrap_or(0);
        let pods = seen.moments[since..].iter().map(Moment::pods).max().unwrap_or(0);
        (ready, pods)
    }

    /// The longest that a pod took to become Ready since `from`.
    pub fn slowest_start(&self, from: Timestamp) -> Option<Duration> {
        self.lock().starts.iter().filter(|(at, _)| *at >= from).map(|(_, took)| *took).max()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic while noting")
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn follow_pods(api: Api<Pod>, seen: Arc<Mutex<Seen>>) {
    let mut stream = pin!(watcher::watcher(api, watcher::Config::default()));
    let mut complete = false;
    while let Some(event) = stream.next().await {
        let now = Timestamp::now();
        let mut seen = seen.lock().expect("no panic while noting");
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => seen.note(&pod, now),
            Ok(Event::Delete(pod)) => {
                seen.pods.remove(&pod.name_any());
            }
            Ok(Event::Init) => {
                seen.pods.clear();
                complete = false;
            }
            Ok(Event::InitDone) => complete = true,
            Err(_) => continue,
        }
        if complete {
            seen.write_down(now);
        }
    }
}

impl Seen {
    fn note(&mut self, pod: &Pod, now: Timestamp) {
        let name = pod.name_any();
        if pod.metadata.deletion_timestamp.is_some() {
            self.pods.remove(&name);
            return;
        }
        let ready = is_ready(pod);
        let known = self.pods.entry(name).or_insert_with(|| Known {
            version: version(pod),
            ready: false,
            since: now,
        });
        if ready && !known.ready {
            let took = now.duration_since(known.since);
            self.starts.push((now, took.unsigned_abs()));
        }
        known.ready = ready;
    }

    fn write_down(&mut self, at: Timestamp) {
        let mut versions = BTreeMap::<String, (usize, usize)>::new();
        for known in self.pods.values() {
            let (pods, ready) = versions.entry(known.version.clone()).or_default();
            *pods += 1;
            *ready += usize::from(known.ready);
        }
        if self.moments.last().is_none_or(|last| last.versions != versions) {
            self.moments.push(Moment { at, versions });
        }
    }
}

async fn follow_target(api: Api<Deployment>, seen: Arc<Mutex<Seen>>) {
    let mut stream = pin!(watcher::watcher(api, watcher::Config::default()));
    while let Some(event) = stream.next().await {
        let Ok(Event::Apply(deployment) | Event::InitApply(deployment)) = event else { continue };
        let generation = deployment.metadata.generation.unwrap_or(0);
        let mut seen = seen.lock().expect("no panic while noting");
        if seen.generations.last().is_none_or(|(_, last)| *last != generation) {
            seen.generations.push((Timestamp::now(), generation));
        }
    }
}

fn version(pod: &Pod) -> String {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    let told =
        container.and_then(|container| container.env.as_ref()?.iter().find(|env| env.name == "VERSION"));
    let annotated = || pod.annotations().get("version").cloned();
    told.and_then(|env| env.value.clone()).or_else(annotated).unwrap_or_default()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}
