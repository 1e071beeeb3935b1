//! Watches the pods of a namespace and the ReplicaSets that order them all through a story, and says what was the worst.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What was the worst so far.
#[derive(Clone, Debug, Default)]
pub struct Worst {
    /// The fewest Ready pods that were not on their way out.
    pub least_ready: usize,
    /// The most pods that were not on their way out. ReplicaSets work side by side: one may have made its pod before another has
    /// taken its own away.
    pub most_pods: usize,
    /// The most pods that ReplicaSets were told to have, all together.
    pub most_ordered: usize,
    /// Which pods there were when the fewest were Ready, and which of them were, for who reads a failure.
    pub pods_then: BTreeMap<String, bool>,
    /// What each ReplicaSet was told when they were told the most.
    pub orders_then: BTreeMap<String, usize>,
}

/// A watch of pods and ReplicaSets.
pub struct Guard {
    worst: Arc<Mutex<Option<Worst>>>,
    tasks: [JoinHandle<()>; 2],
}

impl Guard {
    /// Watches from now on.
    pub async fn start(client: &Client, namespace: &str) -> Self {
        let worst: Arc<Mutex<Option<Worst>>> = Arc::default();
        let (noted, ordered) = (worst.clone(), worst.clone());
        let (pods, pods_listed) = watch(client, namespace, pod_is_ready, move |pods| {
            let (ready, all) = (pods.values().filter(|ready| **ready).count(), pods.len());
            let mut noted = noted.lock().expect("no panic while noting");
            let worst = noted.get_or_insert_with(|| Worst { least_ready: usize::MAX, ..Worst::default() });
            if ready < worst.least_ready {
                worst.least_ready = ready;
                worst.pods_then.clone_from(pods);
            }
            worst.most_pods = worst.most_pods.max(all);
        });
        let _listed = pods_listed.await;
        let (sets, sets_listed) = watch(client, namespace, pods_of_set, move |sets| {
            let all = sets.values().sum();
            if let Some(worst) = ordered.lock().expect("no panic while noting").as_mut()
                && all > worst.most_ordered
            {
                worst.most_ordered = all;
                worst.orders_then.clone_from(sets);
            }
        });
        let _listed = sets_listed.await;
        Self { worst, tasks: [pods, sets] }
    }

    /// What was the worst so far.
    pub fn worst(&self) -> Worst {
        self.worst.lock().expect("no panic while noting").clone().unwrap_or_default()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Keeps what `read` makes of each object, and tells all of it after each change. The receiver is told of the first list.
pub fn watch<K, V>(
    client: &Client,
    namespace: &str,
    read: impl Fn(&K) -> Option<V> + Send + 'static,
    tell: impl Fn(&BTreeMap<String, V>) + Send + 'static,
) -> (JoinHandle<()>, oneshot::Receiver<()>)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
    V: Send + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let (first, listed) = oneshot::channel();
    let mut first = Some(first);
    let task = tokio::spawn(async move {
        let mut known: BTreeMap<String, V> = BTreeMap::new();
        let mut stream = pin!(watcher::watcher(api, watcher::Config::default()).default_backoff());
        let mut complete = false;
        while let Some(event) = stream.next().await {
            // An API server that is away comes back.
            let Ok(event) = event else { continue };
            match event {
                Event::Apply(object) | Event::InitApply(object) => match read(&object) {
                    Some(value) => {
                        known.insert(object.name_any(), value);
                    }
                    None => {
                        known.remove(&object.name_any());
                    }
                },
                Event::Delete(object) => {
                    known.remove(&object.name_any());
                }
                Event::Init => {
                    known.clear();
                    complete = false;
                }
                Event::InitDone => complete = true,
            }
            if complete {
                tell(&known);
                if let Some(first) = first.take() {
                    let _told = first.send(());
                }
            }
        }
    });
    (task, listed)
}

fn pod_is_ready(pod: &Pod) -> Option<bool> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready =
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
    pod.metadata.deletion_timestamp.is_none().then_some(ready)
}

fn pods_of_set(set: &ReplicaSet) -> Option<usize> {
    usize::try_from(set.spec.as_ref()?.replicas?).ok()
}
