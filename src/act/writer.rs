//! The only client that writes. Each write has a field manager, a deadline, and a valid fence: a leader that was deposed refuses
//! its own writes before they go out, and waits for none longer than it leads.

mod jobs;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, RemoveOperation, TestOperation};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::{ApiResource, Request};
use kube::{Client, Resource};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::RwLock;

use super::budget::Budget;
use super::error::{ActError, NOT_AS_TESTED, classify};
use crate::api::{FIELD_MANAGER, Release, ReleaseAction, ReleaseReport};
use crate::decide::Key;
use crate::decide::plan::ObjectPatch;
use crate::watch::index::Indexed;
use crate::watch::sent::Sent;
use crate::watch::slim;

/// No single write takes longer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Writes that may go out in a second. As many again on the way back.
const WRITES_PER_SECOND: usize = 400;

/// How long this process may still write. Asked before each write.
pub trait Fence: Send + Sync + 'static {
    /// Zero once another process may have become the leader.
    fn remaining(&self) -> Duration;
}

/// Leads for so long, at each moment.
#[cfg(test)]
pub struct Leads(pub Duration);

#[cfg(test)]
impl Fence for Leads {
    fn remaining(&self) -> Duration {
        self.0
    }
}

/// One of a JSON patch.
#[derive(Serialize)]
struct Operation<'a, T> {
    op: &'static str,
    path: &'static str,
    value: &'a T,
}

/// Whether something was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Created {
    Anew,
    Before,
}

/// The only client that writes.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    fence: Arc<dyn Fence>,
    budget: Budget,
    /// What goes back does not wait behind what goes on.
    budget_back: Budget,
    /// Each write holds it for reading. Shared by all clones.
    open: Arc<RwLock<bool>>,
}

impl Writer {
    /// A writer behind a fence.
    pub fn new(client: Client, fence: Arc<dyn Fence>) -> Self {
        let [budget, budget_back] = [(); 2].map(|()| Budget::per_second(WRITES_PER_SECOND));
        Self { client, fence, budget, budget_back, open: Arc::new(RwLock::new(true)) }
    }

    /// The same, for what goes back.
    pub fn going_back(&self) -> Self {
        Self { budget: self.budget_back.clone(), ..self.clone() }
    }

    /// From now on no write begins, of any clone. Waits until those that have begun are answered, or waited for no longer.
    pub async fn close(&self) {
        *self.open.write().await = false;
    }

    /// Patches a Deployment; returns its generation.
    pub async fn patch_deployment(
        &self,
        namespace: &str,
        name: &str,
        operations: &[Value],
    ) -> Result<i64, ActError> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let patch = json_patch(operations.to_vec())?;
        let patched = self
            .write(api.patch_metadata(name, &PatchParams::apply(FIELD_MANAGER), &Patch::Json::<()>(patch)))
            .await?;
        Ok(patched.metadata.generation.unwrap_or(0))
    }

    /// Writes the status of a Release, if it still is the one of this version.
    pub async fn patch_release_status(
        &self,
        key: &Key,
        resource_version: &str,
        status: &impl Serialize,
    ) -> Result<(), ActError> {
        let refused = |error: &dyn std::fmt::Display| ActError::Refused(error.to_string());
        let place = Request::new(Release::url_path(&(), Some(&key.namespace)));
        let nothing = Patch::Json::<()>(json_patch::Patch(Vec::new()));
        let mut request = place
            .patch_subresource("status", &key.name, &PatchParams::apply(FIELD_MANAGER), &nothing)
            .map_err(|error| refused(&error))?;
        // A status is long: as a tree of values it would be written twice, and once more to be dropped.
        let operations = (
            Operation { op: "test", path: "/metadata/resourceVersion", value: &resource_version },
            Operation { op: "add", path: "/status", value: status },
        );
        *request.body_mut() = serde_json::to_vec(&operations).map_err(|error| refused(&error))?;
        // What comes back is not read: the watch brings it, and it may be nested more deeply than others read.
        self.write(self.client.request_text(request)).await.map(|_| ())
    }

    /// Says on a ReleaseAction what came of it. One that is gone needs no mark, and another one of its name is not marked for it: it would never be
    /// heard.
    pub async fn patch_action_status(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        status: &Value,
    ) -> Result<(), ActError> {
        let api: Api<ReleaseAction> = Api::namespaced(self.client.clone(), namespace);
        let patch = json_patch(vec![
            json!({"op": "test", "path": "/metadata/uid", "value": uid}),
            json!({"op": "add", "path": "/status", "value": status}),
        ])?;
        let params = PatchParams::apply(FIELD_MANAGER);
        match self.write(api.patch_status(name, &params, &Patch::Json::<()>(patch))).await {
            // What is added always can be: it is the uid that is another.
            Err(ActError::Stale(message)) if message == NOT_AS_TESTED => Ok(()),
            patched => unless_gone(patched.map(|_| ())),
        }
    }

    /// Keeps a template. Where its name is taken already: by what. That need not be the same template, nor be found again.
    pub async fn create_revision(
        &self,
        namespace: &str,
        name: &str,
        body: &Value,
    ) -> Result<Option<slim::StoredTemplate>, ActError> {
        if self.create::<ControllerRevision>(namespace, body).await? == Created::Anew {
            return Ok(None);
        }
        let found = self.named::<slim::StoredTemplate>(namespace, name).await?;
        found.map(Some).ok_or_else(|| ActError::Stale(format!("{name} was there already, and has gone")))
    }

    /// What is there under this name. Listed by it: that takes the right that the watch has, and no other.
    async fn named<T>(&self, namespace: &str, name: &str) -> Result<Option<T>, ActError>
    where
        T: Indexed<Kind: Resource<Scope = NamespaceResourceScope>>,
    {
        let api: Api<Sent<T>> = Api::namespaced(self.client.clone(), namespace);
        let named = ListParams::default().fields(&format!("metadata.name={name}")).limit(1);
        let mut found = self.write(api.list(&named)).await?.items.into_iter().map(|sent| sent.object);
        Ok(found.find(|found| found.metadata().key.name() == name))
    }

    /// Forgets a template that still is this one.
    pub async fn delete_revision(&self, namespace: &str, name: &str, uid: &str) -> Result<(), ActError> {
        self.delete::<ControllerRevision>(namespace, name, uid, DeleteParams::default()).await
    }

    /// Patches a pod.
    pub async fn patch_pod(&self, namespace: &str, name: &str, body: &Value) -> Result<(), ActError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        self.write(api.patch_metadata(name, &PatchParams::apply(FIELD_MANAGER), &Patch::Merge(body)))
            .await
            .map(|_| ())
    }

    /// Deletes a pod that still is this one.
    pub async fn delete_pod(&self, namespace: &str, name: &str, uid: &str) -> Result<(), ActError> {
        self.delete::<Pod>(namespace, name, uid, DeleteParams::default()).await
    }

    /// Deletes a Job that still is this one; its pods go after it.
    pub async fn delete_job(&self, namespace: &str, name: &str, uid: &str) -> Result<(), ActError> {
        self.delete::<Job>(namespace, name, uid, DeleteParams::background()).await
    }

    /// Patches an object that a hook names.
    pub async fn patch_object(&self, namespace: &str, patch: &ObjectPatch) -> Result<(), ActError> {
        let ObjectPatch { group, version, resource, name, patch } = patch;
        let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
        let resource = ApiResource {
            group: group.clone(),
            version: version.clone(),
            api_version,
            // Only the path is made of it.
            kind: String::new(),
            plural: resource.clone(),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        self.write(api.patch_metadata(name, &PatchParams::apply(FIELD_MANAGER), &Patch::Merge(patch)))
            .await
            .map(|_| ())
    }

    /// Whether this process leads.
    pub fn may_write(&self) -> bool {
        !self.may_write_for().is_zero()
    }

    /// How long this process leads at the least.
    pub fn may_write_for(&self) -> Duration {
        self.fence.remaining()
    }

    /// Keeps the record of a run. One of the same name is of the same run, and stays: its digest, or nothing where that must not be read.
    pub async fn create_report(
        &self,
        namespace: &str,
        name: &str,
        body: &Value,
    ) -> Result<Option<String>, ActError> {
        if self.create::<ReleaseReport>(namespace, body).await? == Created::Anew {
            return Ok(None);
        }
        let resource = ApiResource::erase::<ReleaseReport>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        match self.write(api.get(name)).await {
            Ok(found) => {
                Ok(Some(found.data["spec"]["chain"]["digest"].as_str().unwrap_or_default().to_owned()))
            }
            Err(ActError::Forbidden(right)) => {
                tracing::warn!(report = name, "the next record follows this one by name only: {right}");
                Ok(Some(String::new()))
            }
            Err(error) => Err(error),
        }
    }

    /// Removes the record of a run.
    pub async fn delete_report(&self, namespace: &str, name: &str) -> Result<(), ActError> {
        let resource = ApiResource::erase::<ReleaseReport>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        unless_gone(self.write(api.delete(name, &DeleteParams::default())).await.map(|_| ()))
    }

    /// Writes an event.
    pub async fn create_event(&self, namespace: &str, event: &Event) -> Result<(), ActError> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        self.write(api.create(&post(), event)).await.map(|_| ())
    }

    async fn delete<K>(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        how: DeleteParams,
    ) -> Result<(), ActError>
    where
        K: Resource<DynamicType = ()>,
    {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &ApiResource::erase::<K>(&()));
        let preconditions = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
        let this = DeleteParams { preconditions: Some(preconditions), ..how };
        unless_gone(self.write(api.delete(name, &this)).await.map(|_| ()))
    }

    async fn create<K>(&self, namespace: &str, body: &Value) -> Result<Created, ActError>
    where
        K: Resource<DynamicType = ()>,
    {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &ApiResource::erase::<K>(&()));
        let object: DynamicObject =
            serde_json::from_value(body.clone()).map_err(|error| ActError::Refused(error.to_string()))?;
        match self.write(api.create(&post(), &object)).await {
            Err(ActError::Stale(message)) if message.contains("already exists") => Ok(Created::Before),
            other => other.map(|_| Created::Anew),
        }
    }

    async fn write<T>(&self, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ActError> {
        self.budget.spend().await;
        // Held until the end of this write. Whoever closes comes before all that ask after it.
        let open = self.open.read().await;
        let led_for = self.fence.remaining();
        if !*open || led_for.is_zero() {
            return Err(ActError::Fenced);
        }
        match tokio::time::timeout(DEADLINE.min(led_for), request).await {
            Ok(Ok(written)) => Ok(written),
            Ok(Err(error)) => Err(classify(error)),
            Err(_) => Err(ActError::Deadline(DEADLINE.min(led_for))),
        }
    }
}

fn post() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}

/// Taken apart by hand: a reader that does not know yet which operation it reads copies all of it.
fn json_patch(operations: Vec<Value>) -> Result<json_patch::Patch, ActError> {
    let operation = |mut operation: Value| {
        let value = operation["value"].take();
        let path = operation["path"].as_str().and_then(|path| PointerBuf::parse(path).ok())?;
        match operation["op"].as_str()? {
            "test" => Some(PatchOperation::Test(TestOperation { path, value })),
            "add" => Some(PatchOperation::Add(AddOperation { path, value })),
            "remove" => Some(PatchOperation::Remove(RemoveOperation { path })),
            _ => None,
        }
    };
    let all: Option<Vec<_>> = operations.into_iter().map(operation).collect();
    all.map(json_patch::Patch).ok_or_else(|| ActError::Refused("not a JSON patch".to_owned()))
}

/// Where its whole kind is not served, it is not there either.
fn unless_gone(result: Result<(), ActError>) -> Result<(), ActError> {
    match result {
        Err(ActError::Gone | ActError::NotServed(_)) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_is_waited_for_ten_seconds_and_no_longer_than_we_lead() {
        let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>()
        });
        let client = Client::new(silent, "default");
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        for (leads, waited, wanted) in [(0, 0, "fenced"), (3, 3, "deadline"), (15, 10, "deadline")] {
            let writer = Writer::new(client.clone(), Arc::new(Leads(Duration::from_secs(leads))));
            let mut written = pin!(writer.patch_release_status(&key, "1", &()));
            if let Some(before) = Duration::from_secs(waited).checked_sub(Duration::from_millis(1)) {
                assert!(tokio::time::timeout(before, &mut written).await.is_err(), "given up too soon");
            }
            let written = tokio::time::timeout(Duration::from_millis(2), written).await;
            assert_eq!(written.expect("in time").expect_err("not written").category(), wanted);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_thousand_writes_four_hundred_go_out_in_a_second_and_what_goes_back_waits_for_none() {
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = taken.clone();
        let takes_all = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, std::io::Error>(http::Response::new(kube::client::Body::from(b"{}".to_vec()))) }
        });
        let writer = Writer::new(Client::new(takes_all, "default"), Arc::new(Leads(Duration::from_secs(10))));
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let all = (0..1000).map(|_| writer.patch_release_status(&key, "1", &()));
        let mut all = pin!(futures::future::join_all(all));
        let nearly_a_second = Duration::from_millis(999);
        assert!(tokio::time::timeout(nearly_a_second, &mut all).await.is_err());
        assert_eq!(taken.load(Ordering::Relaxed), 400);
        let back = writer.going_back();
        let ordered =
            tokio::time::timeout(Duration::from_millis(1), back.patch_release_status(&key, "1", &())).await;
        ordered.expect("it waits for none of them").expect("written");
        assert_eq!(taken.load(Ordering::Relaxed), 401);
        assert!(tokio::time::timeout(nearly_a_second, &mut all).await.is_err());
        assert_eq!(taken.load(Ordering::Relaxed), 801);
        assert!(all.await.iter().all(Result::is_ok));
        assert_eq!(taken.load(Ordering::Relaxed), 1001);
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_is_closed_waits_for_the_write_under_way_and_begins_none() {
        let slow = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok::<_, std::io::Error>(http::Response::new(kube::client::Body::from(b"{}".to_vec())))
        });
        let writer = Writer::new(Client::new(slow, "default"), Arc::new(Leads(Duration::from_secs(10))));
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let back = writer.going_back();
        let (first, (), late) = tokio::join!(
            writer.patch_release_status(&key, "1", &()),
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let closed = tokio::time::timeout(Duration::from_millis(2100), writer.close());
                closed.await.expect("closed with the answer");
            },
            async {
                tokio::time::sleep(Duration::from_secs(2)).await;
                back.patch_release_status(&key, "1", &()).await
            },
        );
        first.expect("it was waited for");
        assert_eq!(late.expect_err("closed").category(), "fenced");
    }

    #[tokio::test]
    async fn an_action_is_marked_only_while_it_is_the_one_that_took_effect() {
        for (code, message, wanted) in [
            (422, NOT_AS_TESTED, "done"),
            (404, "releaseactions.tidegate.dev \"say\" not found", "done"),
            (409, "the object has been modified", "stale"),
            (422, "ReleaseAction.tidegate.dev \"say\" is invalid", "refused"),
        ] {
            let answers = tower::service_fn(move |request: http::Request<kube::client::Body>| async move {
                let path = request.uri().path().to_owned();
                assert_eq!(path, "/apis/tidegate.dev/v1alpha1/namespaces/ns/releaseactions/say/status");
                let body = request.into_body().collect_bytes().await.unwrap();
                let patch: Value = serde_json::from_slice(&body).unwrap();
                let test = json!({"op": "test", "path": "/metadata/uid", "value": "u1"});
                assert_eq!(patch[0], test, "{patch}");
                assert_eq!(patch[1]["value"]["result"], "Done", "{patch}");
                let said = json!({ "kind": "Status", "status": "Failure", "message": message, "code": code });
                let body = kube::client::Body::from(said.to_string().into_bytes());
                let mut answer = http::Response::new(body);
                *answer.status_mut() = http::StatusCode::from_u16(code).unwrap();
                Ok::<_, std::io::Error>(answer)
            });
            let writer = Writer::new(Client::new(answers, "default"), Arc::new(Leads(DEADLINE)));
            let marked = writer.patch_action_status("ns", "say", "u1", &json!({ "result": "Done" })).await;
            assert_eq!(marked.map_or_else(|error| error.category(), |()| "done"), wanted, "{code} {message}");
        }
    }

    #[tokio::test]
    async fn a_kept_template_is_deleted_only_while_it_is_the_one_that_was_seen() {
        let takes_all = tower::service_fn(|request: http::Request<kube::client::Body>| async move {
            let path = request.uri().path().to_owned();
            assert_eq!(path, "/apis/apps/v1/namespaces/ns/controllerrevisions/shop-1");
            let body: Value =
                serde_json::from_slice(&request.into_body().collect_bytes().await.unwrap()).unwrap();
            assert_eq!(body["preconditions"]["uid"], "u1", "{body}");
            let gone = serde_json::json!({ "kind": "Status", "status": "Success" });
            let body = kube::client::Body::from(gone.to_string().into_bytes());
            Ok::<_, std::io::Error>(http::Response::new(body))
        });
        let writer = Writer::new(Client::new(takes_all, "default"), Arc::new(Leads(DEADLINE)));
        writer.delete_revision("ns", "shop-1", "u1").await.expect("deleted");
    }
}
