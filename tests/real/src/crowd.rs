//! Many Deployments with their Releases in one namespace: making them, waiting for them, and what became of their pods.

use std::collections::{BTreeMap, BTreeSet};
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
    known: Arc<Mutex<BTreeMap<String, Known>>>,
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

/// What is known of one.
#[derive(Default)]
struct Known {
    status: Value,
    /// The moments at which its runs were decided to go back.
    undos: BTreeSet<String>,
}

impl Releases {
    /// Watches from now on. It ends when dropped.
    pub fn watch(story: &Story<'_>) -> Self {
        let (known, changed) = (Arc::<Mutex<BTreeMap<String, Known>>>::default(), Arc::<Notify>::default());
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
                let count = self.lock().iter().filter(|(name, known)| is_so(name, &known.status)).count();
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
        self.lock().get(name)?.status["lastRun"]["undo"]["decidedAt"].as_str()?.parse().ok()
    }

    /// How often it was decided to go back.
    pub fn undos(&self, name: &str) -> usize {
        self.lock().get(name).map_or(0, |known| known.undos.len())
    }

    /// Number and outcome of its last run; `null` as long as there is none.
    pub fn last_run(&self, name: &str) -> (Value, Value) {
        let known = self.lock();
        let last = known.get(name).map(|known| &known.status["lastRun"]);
        let of = |field: &str| last.map(|last| last[field].clone()).unwrap_or_default();
        (of("number"), of("outcome"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Releases {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn heed(api: Api<DynamicObject>, known: Arc<Mutex<BTreeMap<String, Known>>>, changed: Arc<Notify>) {
    let mut stream = pin!(watcher::watcher(api, watcher::Config::default()));
    while let Some(event) = stream.next().await {
        if let Ok(Event::Apply(mut release) | Event::InitApply(mut release)) = event {
            let status = release.data["status"].take();
            let undos = [&status["run"]["back"], &status["lastRun"]["undo"]]
                .map(|undo| undo["decidedAt"].as_str().map(str::to_owned));
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let known = known.entry(release.name_any()).or_default();
            known.undos.extend(undos.into_iter().flatten());
            known.status = status;
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
    pods: Arc<Mutex<Pods>>,
    task: JoinHandle<()>,
}

/// Each pod, and how many serve.
#[derive(Default)]
struct Pods {
    lives: BTreeMap<String, Life>,
    /// By app: pods that are Ready and not on their way out, and the fewest there ever were.
    serving: BTreeMap<String, usize>,
    fewest: BTreeMap<String, usize>,
    /// Not while a list is under way: what it has not named yet is missing in `serving`.
    listed: bool,
}

/// The moments of a pod's life, as the news arrived here.
struct Life {
    app: String,
    version: String,
    serves: bool,
    ready: Option<Timestamp>,
    leaving: Option<Timestamp>,
}

impl Crowd {
    /// Watches from now on. It ends when dropped.
    pub fn watch(client: &Client, namespace: &str) -> Self {
        let pods = Arc::<Mutex<Pods>>::default();
        let task = tokio::spawn(follow(Api::namespaced(client.clone(), namespace), pods.clone()));
        Self { pods, task }
    }

    /// When the last pod of version 2 of this app was ordered away, and when its last pod of version 1 became Ready; `since` where both
    /// were so already.
    pub fn way_back(&self, app: &str, since: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut ordered, mut restored) = (since, since);
        for pod in pods.lives.values().filter(|pod| pod.app == app) {
            if pod.version == "v2" {
                ordered = ordered.max(pod.leaving?);
            } else if pod.leaving.is_none() {
                restored = restored.max(pod.ready?);
            }
        }
        Some((ordered, restored))
    }

    /// The fewest pods of this app that were Ready and not on their way out, of both versions together. `None`: it was never seen.
    pub fn fewest(&self, app: &str) -> Option<usize> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner).fewest.get(app).copied()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(api: Api<Pod>, pods: Arc<Mutex<Pods>>) {
    let mut stream = pin!(watcher::watcher(api, watcher::Config::default()));
    while let Some(event) = stream.next().await {
        let now = Timestamp::now();
        let mut pods = pods.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => pods.note(&pod, false, now),
            Ok(Event::Delete(pod)) => pods.note(&pod, true, now),
            Ok(Event::Init) => pods.begin_anew(),
            Ok(Event::InitDone) => pods.all_listed(),
            Err(_) => {}
        }
    }
}

impl Pods {
    fn note(&mut self, pod: &Pod, gone: bool, now: Timestamp) {
        let label = |name: &str| pod.labels().get(name).cloned().unwrap_or_default();
        let life = self.lives.entry(pod.name_any()).or_insert_with(|| Life {
            app: label("app"),
            version: pod.annotations().get("version").cloned().unwrap_or_default(),
            serves: false,
            ready: None,
            leaving: None,
        });
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
        let is_ready =
            conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
        if is_ready {
            life.ready.get_or_insert(now);
        }
        if gone || pod.metadata.deletion_timestamp.is_some() {
            life.leaving.get_or_insert(now);
        }
        let served = std::mem::replace(&mut life.serves, is_ready && life.leaving.is_none());
        let serving = self.serving.entry(life.app.clone()).or_default();
        *serving = *serving + usize::from(life.serves) - usize::from(served);
        if self.listed {
            let fewest = self.fewest.entry(life.app.clone()).or_insert(*serving);
            *fewest = (*fewest).min(*serving);
        }
    }

    /// A list begins: what it does not name is gone.
    fn begin_anew(&mut self) {
        self.listed = false;
        self.lives.values_mut().for_each(|life| life.serves = false);
        self.serving.values_mut().for_each(|serving| *serving = 0);
    }

    fn all_listed(&mut self) {
        self.listed = true;
        for (app, serving) in &self.serving {
            let fewest = self.fewest.entry(app.clone()).or_insert(*serving);
            *fewest = (*fewest).min(*serving);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, ready: &str, leaves: bool) -> Pod {
        let mut pod = json!({
            "metadata": {"name": name, "labels": {"app": "shop"}},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        });
        if leaves {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn the_fewest_are_counted_from_the_end_of_a_list_on() {
        let (mut pods, now) = (Pods::default(), Timestamp::UNIX_EPOCH);
        pods.begin_anew();
        for name in ["a", "b", "c"] {
            pods.note(&pod(name, "True", false), false, now);
        }
        assert_eq!(pods.fewest.get("shop"), None, "not before all are listed");
        pods.all_listed();
        assert_eq!(pods.fewest["shop"], 3);
        pods.note(&pod("a", "True", true), false, now);
        pods.note(&pod("a", "False", true), true, now);
        pods.note(&pod("d", "False", false), false, now);
        assert_eq!(pods.fewest["shop"], 2, "one goes, and counts once");
        pods.note(&pod("d", "True", false), false, now);
        pods.note(&pod("b", "False", false), false, now);
        assert_eq!((pods.serving["shop"], pods.fewest["shop"]), (2, 2));
        pods.begin_anew();
        pods.note(&pod("d", "True", false), false, now);
        assert_eq!(pods.fewest["shop"], 2, "the others may come yet");
        pods.all_listed();
        assert_eq!(pods.fewest["shop"], 1, "what went unseen is missed");
    }
}
