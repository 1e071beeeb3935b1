//! A namespace with a Deployment and its Release, and waits with a deadline.

use std::future::Future;
use std::time::Duration;

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::guard::Guard;
use crate::operator::unique;
use crate::stage::{self, Stage};

/// The longest a story waits for anything, unless it says otherwise: several times what it takes on a machine that is not busy.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// A namespace on a stage.
pub struct Story<'s> {
    pub stage: &'s Stage,
    pub namespace: String,
    pub client: Client,
}

impl<'s> Story<'s> {
    /// A namespace of its own.
    pub async fn begin(stage: &'s Stage, name: &str) -> Story<'s> {
        let namespace = format!("{name}-{}", unique());
        let client = stage.cluster.client("admin").await.expect("a client");
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        stage::apply(&client, &body, "story").await.expect("a namespace");
        Story { stage, namespace, client }
    }

    /// Applies a manifest (server-side, as `story`), in this namespace.
    pub async fn apply(&self, manifest: Value) -> DynamicObject {
        self.try_apply(manifest, "story").await.unwrap_or_else(|error| panic!("apply: {error:#}"))
    }

    /// The same as another field manager, and what the API server says.
    pub async fn try_apply(&self, mut manifest: Value, manager: &str) -> anyhow::Result<DynamicObject> {
        manifest["metadata"]["namespace"] = json!(self.namespace);
        stage::apply(&self.client, &manifest, manager).await
    }

    /// The Deployment of the story: `shop`, of paper pods, Ready after 200 ms.
    pub fn deployment(&self, replicas: i32) -> Value {
        paper_deployment(replicas)
    }

    /// A Release of the Deployment.
    pub fn release(&self, spec: Value) -> Value {
        let mut whole = json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}});
        if let (Some(whole), Some(more)) = (whole.as_object_mut(), spec.as_object()) {
            whole.extend(more.clone());
        }
        json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "metadata": {"name": "shop"}, "spec": whole})
    }

    /// Applies Deployment and Release, and waits until it is adopted.
    pub async fn adopt(&self, deployment: Value, release: Value) {
        self.apply(deployment).await;
        self.apply(release).await;
        self.until(
            "adopted",
            |story| async move { story.status().await["stable"]["fingerprint"].is_string() },
        )
        .await;
    }

    /// A merge patch of the Deployment.
    pub async fn patch(&self, patch: Value) -> Value {
        self.try_patch(patch).await.unwrap_or_else(|error| panic!("patch of the Deployment: {error}"))
    }

    /// The same, and what the API server says.
    pub async fn try_patch(&self, patch: Value) -> Result<Value, kube::Error> {
        let patched = self
            .api("apps/v1", "Deployment")
            .patch("shop", &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        Ok(serde_json::to_value(patched).expect("JSON"))
    }

    /// Ships a version: changes the pods' VERSION, and whatever else is given of the first container's env.
    pub async fn ship(&self, version: &str, env: &[(&str, &str)]) {
        let mut all = vec![json!({"name": "VERSION", "value": version})];
        all.extend(env.iter().map(|(name, value)| json!({"name": name, "value": value})));
        let pod_ip = json!({"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}});
        all.push(pod_ip);
        self.patch_strategic(
            json!({"spec": {"template": {"spec": {"containers": [{"name": "shop", "env": all}]}}}}),
        )
        .await;
    }

    /// A strategic patch of the Deployment: keeps the rest of a container.
    pub async fn patch_strategic(&self, patch: Value) {
        let api = self.api("apps/v1", "Deployment");
        api.patch("shop", &PatchParams::default(), &Patch::Strategic(&patch))
            .await
            .expect("the new version is taken");
    }

    /// Ships a version whose pods carry these annotations: how paper pods are told what to do.
    pub async fn ship_paper(&self, version: &str, annotations: Value) {
        let mut all = annotations;
        all["version"] = json!(version);
        self.patch(json!({"spec": {"template": {"metadata": {"annotations": all}}}})).await;
    }

    /// Sets replicas, as an autoscaler would.
    pub async fn scale(&self, replicas: i32) {
        self.patch(json!({"spec": {"replicas": replicas}})).await;
    }

    /// Somebody says something: makes a ReleaseAction as this user.
    pub async fn say(&self, user: &str, spec: Value) -> anyhow::Result<String> {
        let mut whole = json!({"release": "shop"});
        if let (Some(whole), Some(more)) = (whole.as_object_mut(), spec.as_object()) {
            whole.extend(more.clone());
        }
        let body = json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "ReleaseAction",
            "metadata": {"generateName": "shop-", "namespace": self.namespace}, "spec": whole,
        });
        let client = self.stage.cluster.client(user).await?;
        let made = stage::api_of(&client, &body)?
            .create(&PostParams::default(), &serde_json::from_value(body)?)
            .await?;
        Ok(made.metadata.name.unwrap_or_default())
    }

    /// The Release's status; `null` when there is none.
    pub async fn status(&self) -> Value {
        self.get("tidegate.dev/v1alpha1", "Release", "shop").await["status"].take()
    }

    /// The Deployment; `null` when there is none.
    pub async fn target(&self) -> Value {
        self.get("apps/v1", "Deployment", "shop").await
    }

    /// Any object; `null` when there is none.
    pub async fn get(&self, api_version: &str, kind: &str, name: &str) -> Value {
        let found = self.api(api_version, kind).get_opt(name).await.unwrap_or_default();
        found.map(|found| serde_json::to_value(found).expect("JSON")).unwrap_or_default()
    }

    /// All objects of a kind.
    pub async fn list(&self, api_version: &str, kind: &str) -> Vec<Value> {
        let found = self.api(api_version, kind).list(&ListParams::default()).await;
        found
            .map(|all| all.items.into_iter().map(|item| serde_json::to_value(item).expect("JSON")).collect())
            .unwrap_or_default()
    }

    /// Pods that are not on their way out.
    pub async fn pods(&self) -> Vec<Value> {
        let mut pods = self.list("v1", "Pod").await;
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        pods
    }

    /// Deletes an object, in the background.
    pub async fn delete(&self, api_version: &str, kind: &str, name: &str) {
        self.api(api_version, kind).delete(name, &DeleteParams::background()).await.expect("deleted");
    }

    /// An API in this namespace.
    pub fn api(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        let document =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"namespace": self.namespace}});
        stage::api_of(&self.client, &document).expect("a kind")
    }

    /// Watches pods from now on: how many were Ready, how many there were.
    pub async fn guard(&self) -> Guard {
        Guard::start(&self.client, &self.namespace).await
    }

    /// Waits until the Release is in this phase.
    pub async fn until_phase(&self, phase: &str) {
        self.until(&format!("phase {phase}"), |story| async move { story.status().await["phase"] == phase })
            .await;
    }

    /// Waits until the Release names this blocker.
    pub async fn until_blocked(&self, reason: &str) {
        self.until(&format!("blocked by {reason}"), |story| async move {
            story.status().await["blockedBy"]["reason"] == reason
        })
        .await;
    }

    /// Waits until run `number` has ended, and says how.
    pub async fn until_ended(&self, number: i64) -> Value {
        self.until(&format!("the end of run {number}"), |story| async move {
            story.status().await["lastRun"]["number"].as_i64().is_some_and(|last| last >= number)
        })
        .await;
        self.status().await["lastRun"].take()
    }

    /// Waits for a condition; when it does not come, says what stands there instead.
    pub async fn until<'a, F: Future<Output = bool> + 'a>(
        &'a self,
        what: &str,
        condition: impl Fn(&'a Self) -> F,
    ) {
        self.until_within(PATIENCE, what, condition).await;
    }

    /// The same with another patience.
    pub async fn until_within<'a, F: Future<Output = bool> + 'a>(
        &'a self,
        patience: Duration,
        what: &str,
        condition: impl Fn(&'a Self) -> F,
    ) {
        if !self.comes_to_be(true, patience, condition).await {
            panic!("waited {} s for: {what}\n{}", patience.as_secs(), self.describe().await);
        }
    }

    /// Sees to it that a condition holds all through so long: the one kind of wait that is a time.
    pub async fn stays<'a, F: Future<Output = bool> + 'a>(
        &'a self,
        so_long: Duration,
        what: &str,
        holds: impl Fn(&'a Self) -> F,
    ) {
        if self.comes_to_be(false, so_long, holds).await {
            panic!("did not stay so: {what}\n{}", self.describe().await);
        }
    }

    /// Whether a condition comes to be true, or false, within so long.
    async fn comes_to_be<'a, F: Future<Output = bool> + 'a>(
        &'a self,
        wanted: bool,
        within: Duration,
        condition: impl Fn(&'a Self) -> F,
    ) -> bool {
        let waited = async {
            while condition(self).await != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(within, waited).await.is_ok()
    }

    /// Everything worth knowing when a story fails.
    pub async fn describe(&self) -> String {
        let mut status = self.status().await;
        if let Some(run) = status["run"].as_object_mut() {
            run.remove("judge");
        }
        let mut target = self.target().await;
        if let Some(metadata) = target["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        let sets: Vec<String> = self
            .list("apps/v1", "ReplicaSet")
            .await
            .iter()
            .map(|set| {
                format!(
                    "{} {}/{}",
                    set["metadata"]["name"], set["spec"]["replicas"], set["status"]["readyReplicas"]
                )
            })
            .collect();
        let log = self.stage.log_tail(&self.namespace).await;
        format!("status {status:#}\ndeployment {target:#}\nreplicasets {sets:?}\noperator:\n{log}")
    }
}

/// A Deployment of paper pods.
pub fn paper_deployment(replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "shop"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {
                    "labels": {"app": "shop"},
                    "annotations": {"version": "v1", "paper.tidegate.dev/ready-after": "200ms"},
                },
                "spec": {
                    "nodeSelector": {"tidegate.dev/node": "paper"},
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "shop", "image": "shop:v1"}],
                },
            },
        },
    })
}

/// A Deployment of shops that serve real HTTP.
pub fn shop_deployment(replicas: i32) -> Value {
    let mut deployment = paper_deployment(replicas);
    deployment["spec"]["template"] = json!({
        "metadata": {
            "labels": {"app": "shop"},
            "annotations": {"prometheus.io/port": "8080", "prometheus.io/path": "/metrics"},
        },
        "spec": {
            "nodeSelector": {"tidegate.dev/node": "process"},
            "terminationGracePeriodSeconds": 2,
            "containers": [{
                "name": "shop", "image": "shop:v1",
                "env": [
                    {"name": "VERSION", "value": "v1"},
                    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                ],
                "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
            }],
        },
    });
    deployment
}

/// Plays a story on the runtime that all stories share: what a stage starts lives as long as the process.
pub fn on_stage(story: impl Future<Output = ()>) {
    use std::sync::OnceLock;
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    });
    runtime.block_on(story);
}
