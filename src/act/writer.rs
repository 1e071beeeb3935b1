//! The only client that writes. Each write has a field manager, a deadline, and a valid fence: a leader that was deposed refuses
//! its own writes before they go out.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Client, Resource};
use serde_json::Value;

use crate::api::{Release, ReleaseAction, ReleaseReport};
use crate::decide::Key;

/// Field manager of every write.
pub const MANAGER: &str = "tidegate";
/// No single write takes longer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Whether this process may still write. Asked before each write.
pub trait Fence: Send + Sync + 'static {
    /// False once another process may have become the leader.
    fn holds(&self) -> bool;
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    #[error("another process may be the leader: nothing was written")]
    Fenced,
    #[error("the object changed in between: {0}")]
    Stale(String),
    #[error("the object is gone")]
    Gone,
    #[error("the API server refused it: {0}")]
    Refused(String),
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Deadline,
    #[error("the API server could not be asked: {0}")]
    Unreachable(String),
}

impl ActError {
    /// One word out of a closed set, for metric labels.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Stale(_) => "stale",
            Self::Gone => "gone",
            Self::Refused(_) => "refused",
            Self::Deadline => "deadline",
            Self::Unreachable(_) => "unreachable",
        }
    }

    /// Whether looking again at once is right: nothing is wrong but our view.
    pub fn look_again(&self) -> bool {
        matches!(self, Self::Stale(_) | Self::Gone)
    }
}

/// The only client that writes.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    fence: Arc<dyn Fence>,
}

impl Writer {
    /// A writer behind a fence.
    pub fn new(client: Client, fence: Arc<dyn Fence>) -> Self {
        Self { client, fence }
    }

    /// Patches a Deployment; returns its generation.
    pub async fn patch_deployment(
        &self,
        namespace: &str,
        name: &str,
        operations: &[Value],
    ) -> Result<i64, ActError> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let patch = json_patch(operations)?;
        let patched = self
            .write(api.patch_metadata(name, &PatchParams::apply(MANAGER), &Patch::Json::<()>(patch)))
            .await?;
        Ok(patched.metadata.generation.unwrap_or(0))
    }

    /// Writes the status of a Release.
    pub async fn patch_release_status(&self, key: &Key, operations: Vec<Value>) -> Result<(), ActError> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &key.namespace, &ApiResource::erase::<Release>(&()));
        let patch = json_patch(&operations)?;
        self.write(api.patch_status(&key.name, &PatchParams::apply(MANAGER), &Patch::Json::<()>(patch)))
            .await?;
        Ok(())
    }

    /// Says on a ReleaseAction what came of it. One that is gone needs no mark.
    pub async fn patch_action_status(
        &self,
        namespace: &str,
        name: &str,
        body: &Value,
    ) -> Result<(), ActError> {
        let api: Api<ReleaseAction> = Api::namespaced(self.client.clone(), namespace);
        let patched =
            self.write(api.patch_status(name, &PatchParams::apply(MANAGER), &Patch::Merge(body))).await;
        unless_gone(patched.map(|_| ()))
    }

    /// Keeps a template. One of the same name is the same template: its name says so.
    pub async fn create_revision(&self, namespace: &str, body: &Value) -> Result<(), ActError> {
        self.create::<ControllerRevision>(namespace, body).await
    }

    /// Forgets a template.
    pub async fn delete_revision(&self, namespace: &str, name: &str) -> Result<(), ActError> {
        let api: Api<ControllerRevision> = Api::namespaced(self.client.clone(), namespace);
        unless_gone(self.write(api.delete(name, &DeleteParams::default())).await.map(|_| ()))
    }

    /// Makes a Job. One of the same name is the same try of the same check.
    pub async fn create_job(&self, namespace: &str, body: &Value) -> Result<(), ActError> {
        self.create::<Job>(namespace, body).await
    }

    /// Keeps the record of a run. One of the same name is of the same run.
    pub async fn create_report(&self, namespace: &str, body: &Value) -> Result<(), ActError> {
        self.create::<ReleaseReport>(namespace, body).await
    }

    /// Writes an event.
    pub async fn create_event(&self, namespace: &str, event: &Event) -> Result<(), ActError> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        self.write(api.create(&post(), event)).await.map(|_| ())
    }

    async fn create<K>(&self, namespace: &str, body: &Value) -> Result<(), ActError>
    where
        K: Resource<DynamicType = ()>,
    {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &ApiResource::erase::<K>(&()));
        let object: DynamicObject =
            serde_json::from_value(body.clone()).map_err(|error| ActError::Refused(error.to_string()))?;
        match self.write(api.create(&post(), &object)).await {
            Err(ActError::Stale(message)) if message.contains("already exists") => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn write<T>(&self, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ActError> {
        if !self.fence.holds() {
            return Err(ActError::Fenced);
        }
        match tokio::time::timeout(DEADLINE, request).await {
            Ok(Ok(written)) => Ok(written),
            Ok(Err(error)) => Err(classify(error)),
            Err(_) => Err(ActError::Deadline),
        }
    }
}

fn post() -> PostParams {
    PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() }
}

fn json_patch(operations: &[Value]) -> Result<json_patch::Patch, ActError> {
    serde_json::from_value(Value::from(operations.to_vec()))
        .map_err(|error| ActError::Refused(error.to_string()))
}

fn unless_gone(result: Result<(), ActError>) -> Result<(), ActError> {
    match result {
        Err(ActError::Gone) => Ok(()),
        other => other,
    }
}

/// A JSON patch whose `test` fails comes back as 422 (Invalid): the same as a conflict.
fn classify(error: kube::Error) -> ActError {
    match error {
        kube::Error::Api(status) => match status.code {
            404 => ActError::Gone,
            409 => ActError::Stale(status.message.clone()),
            422 if status.message.contains("testing value") || status.message.contains("test failed") => {
                ActError::Stale(status.message.clone())
            }
            400 | 401 | 403 | 405 | 413 | 415 | 422 => ActError::Refused(status.message.clone()),
            _ => ActError::Unreachable(status.message.clone()),
        },
        other => ActError::Unreachable(other.to_string()),
    }
}
