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
use crate::decide::{Key, Notice};

/// A notice about a Release.
#[derive(Debug, Clone)]
pub struct Telling {
    pub key: Key,
    pub uid: String,
    pub notice: Notice,
    pub at: Timestamp,
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
    let Telling { key, uid, notice, at } = telling;
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
            api_version: Some("tidegate.dev/v1alpha1".into()),
            kind: Some("Release".into()),
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            uid: Some(uid.clone()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}
