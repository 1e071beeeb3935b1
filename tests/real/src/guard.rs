//! Watches the pods of a namespace all through a story, and says what was the worst.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use tokio::task::JoinHandle;

/// What was the worst so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worst {
    /// The fewest Ready pods that were not on their way out.
    pub least_ready: usize,
    /// The most pods that were not on their way out.
    pub most_pods: usize,
}

/// A watch of pods.
pub struct Guard {
    worst: Arc<Mutex<Option<Worst>>>,
    task: JoinHandle<()>,
}

impl Guard {
    /// Watches from now on.
    pub async fn start(client: &Client, namespace: &str) -> Self {
        let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let worst: Arc<Mutex<Option<Worst>>> = Arc::default();
        let noted = worst.clone();
        let (first, listed) = tokio::sync::oneshot::channel();
        let mut first = Some(first);
        let task = tokio::spawn(async move {
            let mut pods: BTreeMap<String, bool> = BTreeMap::new();
            let mut stream = pin!(watcher::watcher(api, watcher::Config::default()));
            let mut complete = false;
            while let Some(Ok(event)) = stream.next().await {
                match event {
                    Event::Apply(pod) | Event::InitApply(pod) => {
                        if pod.metadata.deletion_timestamp.is_some() {
                            pods.remove(&pod.name_any());
                        } else {
                            pods.insert(pod.name_any(), is_ready(&pod));
                        }
                    }
                    Event::Delete(pod) => {
                        pods.remove(&pod.name_any());
                    }
                    Event::Init => complete = false,
                    Event::InitDone => complete = true,
                }
                if !complete {
                    continue;
                }
                let (ready, all) = (pods.values().filter(|ready| **ready).count(), pods.len());
                let mut noted = noted.lock().expect("no panic while noting");
                let worst = noted.get_or_insert(Worst { least_ready: ready, most_pods: all });
                worst.least_ready = worst.least_ready.min(ready);
                worst.most_pods = worst.most_pods.max(all);
                drop(noted);
                if let Some(first) = first.take() {
                    let _told = first.send(());
                }
            }
        });
        let _listed = listed.await;
        Self { worst, task }
    }

    /// What was the worst so far.
    pub fn worst(&self) -> Worst {
        self.worst.lock().expect("no panic while noting").unwrap_or(Worst { least_ready: 0, most_pods: 0 })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}
