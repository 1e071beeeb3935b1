//! Many Deployments with their Releases in one namespace: making them, waiting for them, and what became of their pods.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::stage;
use crate::story::Story;

/// Objects that are made at the same time.
const AT_ONCE: usize = 16;

/// The name of one.
pub fn name(number: usize) -> String {
    format!("shop-{number}")
}

/// Makes one of a kind for each number.
///
/// # Errors
/// When the API server refuses one.
pub async fn make(
    story: &Story<'_>,
    numbers: std::ops::Range<usize>,
    of: impl Fn(usize) -> Value,
) -> Result<()> {
    let of = &of;
    let made = futures::stream::iter(numbers).map(|number| {
        let mut document = of(number);
        document["metadata"]["namespace"] = json!(story.namespace);
        async move { stage::apply(&story.client, &document, "bench").await.map(|_| ()) }
    });
    made.buffer_unordered(AT_ONCE).try_collect().await
}

/// Ships version 2 of each.
///
/// # Errors
/// When the API server refuses one.
pub async fn ship(story: &Story<'_>, numbers: std::ops::Range<usize>) -> Result<()> {
    let api = story.api("apps/v1", "Deployment");
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"version": "v2"}}}}});
    let (api, patch) = (&api, &patch);
    let shipped = futures::stream::iter(numbers).map(|number| async move {
        api.patch(&name(number), &PatchParams::default(), &Patch::Merge(patch)).await.map(|_| ())
    });
    Ok(shipped.buffer_unordered(AT_ONCE).try_collect().await?)
}

/// Deployments with all of a single pod Ready.
pub async fn ready(story: &Story<'_>) -> usize {
    let sets = story.list("apps/v1", "ReplicaSet").await;
    sets.iter().filter(|set| set["status"]["readyReplicas"].as_i64() == Some(1)).count()
}

/// Pods that are Ready.
pub async fn pods_ready(story: &Story<'_>) -> usize {
    let sets = story.list("apps/v1", "ReplicaSet").await;
    let ready = sets.iter().filter_map(|set| set["status"]["readyReplicas"].as_u64()).sum::<u64>();
    usize::try_from(ready).unwrap_or(usize::MAX)
}

/// What Releases of a namespace say, by a watch: asking for all of them over and over would be most of the load.
pub struct Releases {
    known: Arc<Mutex<BTreeMap<String, Value>>>,
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Releases {
    /// Watches from now on. It ends when dropped.
    pub fn watch(story: &Story<'_>) -> Self {
        let (known, changed) = (Arc::<Mutex<BTreeMap<String, Value>>>::default(), Arc::<Notify>::default());
        let api = story.api("tidegate.dev/v1alpha1", "Release");
        let task = tokio::spawn(heed(api, known.clone(), changed.clone()));
        Self { known, changed, task }
    }

    /// Waits until so many statuses are like this.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn until(
        &self,
        number: usize,
        within: Duration,
        what: &str,
        is_so: impl Fn(&str, &Value) -> bool,
    ) -> Result<()> {
        let all = async {
            loop {
                let changed = self.changed.notified();
                let count = self.lock().iter().filter(|(name, status)| is_so(name, status)).count();
                if count >= number {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(within, all).await.with_context(|| format!("waited in vain for: {what}"))
    }

    /// When the last run of this one was decided to be undone.
    pub fn decided(&self, name: &str) -> Option<Timestamp> {
        self.lock().get(name)?["lastRun"]["undo"]["decidedAt"].as_str()?.parse().ok()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Releases {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn heed(api: Api<DynamicObject>, known: Arc<Mutex<BTreeMap<String, Value>>>, changed: Arc<Notify>) {
    let mut stream = pin!(watcher::watcher(api, watcher::Config::default()));
    while let Some(event) = stream.next().await {
        if let Ok(Event::Apply(mut release) | Event::InitApply(mut release)) = event {
            let status = release.data["status"].take();
            known.lock().unwrap_or_else(PoisonError::into_inner).insert(release.name_any(), status);
            changed.notify_one();
        }
    }
}

/// Waits until so many Releases know their stable revision.
///
/// # Errors
/// When they do not in time.
pub async fn adopted(releases: &Releases, number: usize, within: Duration) -> Result<()> {
    let knows = |_: &str, status: &Value| !status["stable"].is_null();
    releases.until(number, within, "all Releases taken up", knows).await
}

/// What became of each pod of a namespace, by a watch of our own.
pub struct Crowd {
    pods: Arc<Mutex<BTreeMap<String, Life>>>,
    task: JoinHandle<()>,
}

/// The moments of a pod's life, as the news arrived here.
struct Life {
    app: String,
    version: String,
    ready: Option<Timestamp>,
    leaving: Option<Timestamp>,
}

impl Crowd {
    /// Watches from now on. It ends when dropped.
    pub fn watch(client: &Client, namespace: &str) -> Self {
        let pods = Arc::<Mutex<BTreeMap<String, Life>>>::default();
        let task = tokio::spawn(follow(Api::namespaced(client.clone(), namespace), pods.clone()));
        Self { pods, task }
    }

    /// When the last pod of version 2 of this app was ordered away, and when its last pod of version 1 became Ready; `since` where both
    /// were so already.
    pub fn way_back(&self, app: &str, since: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut ordered, mut restored) = (since, since);
        for pod in pods.values().filter(|pod| pod.app == app) {
            if pod.version == "v2" {
                ordered = ordered.max(pod.leaving?);
            } else if pod.leaving.is_none() {
                restored = restored.max(pod.ready?);
            }
        }
        Some((ordered, restored))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(api: Api<Pod>, pods: Arc<Mutex<BTreeMap<String, Life>>>) {
    let mut stream = pin!(watcher::watcher(api, watcher::Config::default()));
    while let Some(event) = stream.next().await {
        let now = Timestamp::now();
        let mut pods = pods.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => note(&mut pods, &pod, now),
            Ok(Event::Delete(pod)) => {
                note(&mut pods, &pod, now);
                if let Some(life) = pods.get_mut(&pod.name_any()) {
                    life.leaving.get_or_insert(now);
                }
            }
            Ok(Event::Init | Event::InitDone) | Err(_) => {}
        }
    }
}

fn note(pods: &mut BTreeMap<String, Life>, pod: &Pod, now: Timestamp) {
    let label = |name: &str| pod.labels().get(name).cloned().unwrap_or_default();
    let life = pods.entry(pod.name_any()).or_insert_with(|| Life {
        app: label("app"),
        version: pod.annotations().get("version").cloned().unwrap_or_default(),
        ready: None,
        leaving: None,
    });
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_ready =
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
    if is_ready {
        life.ready.get_or_insert(now);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        life.leaving.get_or_insert(now);
    }
}
