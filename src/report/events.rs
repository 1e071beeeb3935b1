//! Kubernetes events on transitions: one for each notice, written one after the other, tried once.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ObjectMeta;
use tokio::sync::mpsc;

use super::Metrics;
use crate::act::{ActError, Budget, Writer};
use crate::decide::{Key, Notice, Snapshot};

/// A notice about a Release.
#[derive(Debug, Clone)]
pub struct Telling {
    pub key: Key,
    pub regarding: Regarding,
    pub notice: Notice,
    pub at: Timestamp,
}

/// Where people look for it: the Release, or the Deployment that one has left behind which is gone.
#[derive(Debug, Clone)]
pub struct Regarding {
    api_version: &'static str,
    kind: &'static str,
    name: String,
    uid: String,
}

impl Regarding {
    /// `None`: there is neither.
    pub fn of(snapshot: &Snapshot) -> Option<Self> {
        if let Some(release) = &snapshot.release {
            let (name, uid) = (snapshot.key.name.clone(), release.uid.clone());
            return Some(Self { api_version: "tidegate.dev/v1alpha1", kind: "Release", name, uid });
        }
        let target = snapshot.target.as_ref()?;
        let (name, uid) = (target.name.clone(), target.uid.clone());
        Some(Self { api_version: "apps/v1", kind: "Deployment", name, uid })
    }
}

/// Events that go out in a second: when much happens at once, what is done goes before what is said of it.
const PER_SECOND: usize = 25;

/// Writes events until nobody can send any more.
pub async fn write_all(writer: Writer, mut waiting: mpsc::Receiver<Telling>, metrics: Arc<Metrics>) {
    let budget = Budget::per_second(PER_SECOND);
    while let Some(telling) = waiting.recv().await {
        budget.spend().await;
        let event = event(&telling);
        if let Err(error) = writer.create_event(&telling.key.namespace, &event).await {
            match &error {
                ActError::Forbidden(right) => {
                    metrics.forbidden(right);
                    tracing::warn!(release = %telling.key, %error, "an event could not be written");
                }
                _ => tracing::debug!(release = %telling.key, %error, "an event could not be written"),
            }
            metrics.event_dropped();
        }
    }
}

fn event(telling: &Telling) -> Event {
    let Telling { key, regarding, notice, at } = telling;
    let note: String = notice.note.chars().take(1000).collect();
    Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", key.name)),
            namespace: Some(key.namespace.clone()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(*at)),
        action: Some(notice.reason.into()),
        reason: Some(notice.reason.into()),
        note: Some(note),
        type_: Some(if notice.warning { "Warning" } else { "Normal" }.into()),
        reporting_controller: Some("tidegate.dev/operator".into()),
        reporting_instance: Some("tidegate".into()),
        regarding: Some(ObjectReference {
            api_version: Some(regarding.api_version.into()),
            kind: Some(regarding.kind.into()),
            name: Some(regarding.name.clone()),
            namespace: Some(key.namespace.clone()),
            uid: Some(regarding.uid.clone()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}
