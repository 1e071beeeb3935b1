//! Many Deployments with their Releases in one namespace: making them, waiting for them, and what became of their pods.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tidegate::api::Release;
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

/// Releases in a phase.
pub async fn in_phase(story: &Story<'_>, phase: &str) -> usize {
    let releases = story.list("tidegate.dev/v1alpha1", "Release").await;
    releases.iter().filter(|release| release["status"]["phase"] == phase).count()
}

/// Whether the last runs of all of these were undone.
pub async fn undone(story: &Story<'_>, names: &BTreeSet<String>) -> bool {
    let releases = story.list("tidegate.dev/v1alpha1", "Release").await;
    let of_these = releases.iter().filter(|release| {
        release["metadata"]["name"].as_str().is_some_and(|name| names.contains(name))
            && release["status"]["lastRun"]["outcome"] == "Undone"
    });
    of_these.count() == names.len()
}

/// Waits until so many Releases know their stable revision.
///
/// # Errors
/// When they do not in time.
pub async fn adopted(story: &Story<'_>, number: usize, within: Duration) -> Result<()> {
    let api: Api<Release> = Api::namespaced(story.client.clone(), &story.namespace);
    let all = async {
        loop {
            let releases = api.list(&ListParams::default()).await?;
            let known =
                |release: &Release| release.status.as_ref().is_some_and(|status| status.stable.is_some());
            if releases.items.iter().filter(|release| known(release)).count() >= number {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(within, all).await.context("not all Releases were taken up")?
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
