//! A cluster with Tidegate installed from `install.yaml` and one operator that leads.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tidegate::api::{CHANGED_BY, RELEASE_LABEL};
use tokio::sync::{Mutex, OnceCell, Semaphore, SemaphorePermit};

use crate::cluster::{Cluster, Options, repository};
use crate::operator::{NAMESPACE, Operator, binary};

/// A cluster with an operator.
pub struct Stage {
    pub cluster: Cluster,
    pub client: Client,
    /// Empty while a story has taken it away.
    pub operator: Mutex<Option<Operator>>,
    /// A stage of one's own is the only one beside the shared one: each takes some 600 MB.
    _turn: Option<SemaphorePermit<'static>>,
}

impl Stage {
    /// The stage that stories share which do not disturb each other: on a cluster of the user's, when `TIDEGATE_TEST_KUBECONFIG`
    /// names one.
    pub async fn shared() -> &'static Stage {
        static SHARED: OnceCell<Stage> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                // Stories run on runtimes of their own, one each: what the stage starts must not end with the first of them.
                let join = std::env::var_os("TIDEGATE_TEST_KUBECONFIG").map(PathBuf::from);
                Stage::with_operator(Options { join, ..usual() }, None)
                    .await
                    .unwrap_or_else(|error| panic!("no stage: {error:#}"))
            })
            .await
    }

    /// The same on an older API server, which serves no mutating policies. It takes no turn: it lives as long as the process, and a
    /// turn that is never given back would keep all others waiting.
    pub async fn shared_older() -> &'static Stage {
        static SHARED: OnceCell<Stage> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                let options = Options { emulate: Some("1.34".into()), ..usual() };
                Stage::with_operator(options, None)
                    .await
                    .unwrap_or_else(|error| panic!("no stage: {error:#}"))
            })
            .await
    }

    /// A stage of one's own, to disturb.
    pub async fn own(options: Options) -> Result<Self> {
        Self::with_operator(options, Some(turn().await?)).await
    }

    async fn with_operator(options: Options, turn: Option<SemaphorePermit<'static>>) -> Result<Self> {
        let stage = Self::set_up(options, turn).await?;
        stage.start_operator().await?;
        Ok(stage)
    }

    /// The same without an operator yet.
    pub async fn without_operator(options: Options) -> Result<Self> {
        Self::set_up(options, Some(turn().await?)).await
    }

    async fn set_up(options: Options, turn: Option<SemaphorePermit<'static>>) -> Result<Self> {
        let cluster = Cluster::start(&options).await?;
        let client = cluster.client("admin").await?;
        install(&client, options.emulate.is_none()).await?;
        Ok(Self { cluster, client, operator: Mutex::new(None), _turn: turn })
    }

    /// kill -9 of the operator. Its Lease is nobody's then, so that the next one need not wait until it has expired.
    pub async fn kill_operator(&self) -> Result<()> {
        if let Some(mut operator) = self.operator.lock().await.take() {
            operator.kill().await?;
        }
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let nobodys = Patch::Merge(json!({"spec": {"holderIdentity": null}}));
        match leases.patch("tidegate", &PatchParams::default(), &nobodys).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => Ok(other.map(|_| ())?),
        }
    }

    /// A fresh operator.
    pub async fn start_operator(&self) -> Result<()> {
        let operator = Operator::start(&self.cluster).await?;
        *self.operator.lock().await = Some(operator);
        Ok(())
    }

    /// What the operator has written last, for the message of a story that failed.
    pub async fn log_tail(&self, about: &str) -> String {
        let Some(log) = self.operator.lock().await.as_ref().map(Operator::read_log) else {
            return "no operator".into();
        };
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains(about) || line.contains("ERROR")).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// Waits for the turn to have a stage of one's own.
async fn turn() -> Result<SemaphorePermit<'static>> {
    static TURNS: Semaphore = Semaphore::const_new(1);
    Ok(TURNS.acquire().await?)
}

/// One node that runs processes, one that only reports, and the shop's image.
pub fn usual() -> Options {
    let shop = binary("shop").map(|path| path.display().to_string()).unwrap_or_default();
    Options { process_nodes: 1, paper_nodes: 2, images: vec![("shop".into(), shop)], ..Options::default() }
}

/// Installs Tidegate from `install.yaml`, all but the operator's own pods (it runs as a process here), and waits until it is in force.
pub async fn install(client: &Client, mutating: bool) -> Result<()> {
    install_from(client, "install.yaml", mutating.then_some("default")).await
}

/// The same from another manifest of the repository, whose mutating policies act in this namespace; none of them where the API server
/// serves none.
pub async fn install_from(client: &Client, path: &str, mutating_in: Option<&str>) -> Result<()> {
    let text = std::fs::read_to_string(repository().join(path)).with_context(|| path.to_owned())?;
    for document in documents(&text)? {
        let kind = document["kind"].as_str().unwrap_or_default().to_owned();
        if kind.is_empty() || (kind.starts_with("Mutating") && mutating_in.is_none()) {
            continue;
        }
        let mut document = document;
        if kind == "Deployment" {
            document["spec"]["replicas"] = 0.into();
        }
        apply(client, &document, "admin")
            .await
            .with_context(|| format!("{kind} {}", document["metadata"]["name"]))?;
    }
    lease_of_nobody(client, NAMESPACE).await?;
    established(client).await?;
    match mutating_in {
        Some(namespace) => in_force(client, namespace).await,
        None => Ok(()),
    }
}

/// Makes a Lease that names no holder: where there is none the first operator waits for 15 s before it leads.
pub async fn lease_of_nobody(client: &Client, namespace: &str) -> Result<()> {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "tidegate", "namespace": namespace}, "spec": {},
    });
    apply(client, &lease, "admin").await.map(drop).context("the Lease")
}

/// The CRD of Releases, as this build has it.
pub fn releases_crd() -> Result<Value> {
    let path = repository().join("crds/releases.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    documents(&text)?.into_iter().next().context("no CRD")
}

/// The same as a later build may have it: another version is served, `v1beta1`, and a spec has a field that this build does not know,
/// `dreams`.
pub fn newer_releases_crd() -> Result<Value> {
    let mut crd = releases_crd()?;
    let mut newer = crd["spec"]["versions"][0].clone();
    newer["name"] = json!("v1beta1");
    newer["storage"] = json!(false);
    newer["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["dreams"] =
        json!({"type": "string"});
    crd["spec"]["versions"][0]["schema"] = newer["schema"].clone();
    crd["spec"]["versions"].as_array_mut().context("no versions")?.push(newer);
    Ok(crd)
}

/// The same once Releases are stored as that other version has them.
pub fn releases_crd_that_stores_the_newer() -> Result<Value> {
    let mut crd = newer_releases_crd()?;
    for version in crd["spec"]["versions"].as_array_mut().context("no versions")? {
        version["storage"] = json!(version["name"] == "v1beta1");
    }
    Ok(crd)
}

/// Documents of a YAML text.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    let mut documents = Vec::new();
    for part in text.split("\n---") {
        if part.lines().all(|line| line.trim().is_empty() || line.starts_with('#') || line == "---") {
            continue;
        }
        documents.push(serde_saphyr::from_str::<Value>(part.trim_start_matches("---"))?);
    }
    Ok(documents)
}

/// Server-side apply of anything, as the named field manager.
pub async fn apply(client: &Client, document: &Value, manager: &str) -> Result<DynamicObject> {
    let api = api_of(client, document)?;
    let name = document["metadata"]["name"].as_str().context("no name")?;
    let params = PatchParams::apply(manager).force();
    until("applied", 20, || async {
        match api.patch(name, &params, &Patch::Apply(document)).await {
            // A CRD or a namespace that has just been made.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            answer => Ok(Some(answer?)),
        }
    })
    .await
}

/// Asks again every tenth of a second until there is an answer, for so many seconds at most.
async fn until<T, Asked>(what: &str, seconds: u64, ask: impl Fn() -> Asked) -> Result<T>
where
    Asked: Future<Output = Result<Option<T>>>,
{
    let answer = async {
        loop {
            match ask().await? {
                Some(answer) => return Ok(answer),
                None => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    let answered = tokio::time::timeout(Duration::from_secs(seconds), answer).await;
    answered.with_context(|| format!("not {what} after {seconds} s"))?
}

/// A policy of this namespace that denies whatever of these resources breaks the rule, and how it is bound. Both are named after the namespace.
pub fn denying(namespace: &str, resources: &Value, rule: &Value) -> [Value; 2] {
    let group = "admissionregistration.k8s.io/v1";
    let policy = json!({
        "apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": namespace},
        "spec": {"matchConstraints": {"resourceRules": [resources]}, "validations": [rule]},
    });
    let here = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    let binding = json!({
        "apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": namespace},
        "spec": {"policyName": namespace, "validationActions": ["Deny"], "matchResources": here},
    });
    [policy, binding]
}

/// The API of a document's kind, in its namespace.
pub fn api_of(client: &Client, document: &Value) -> Result<Api<DynamicObject>> {
    let version = document["apiVersion"].as_str().context("no apiVersion")?;
    let kind = document["kind"].as_str().context("no kind")?;
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource {
        plural: plural(kind),
        ..ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
    };
    Ok(match document["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    })
}

fn plural(kind: &str) -> String {
    let lower = kind.to_lowercase();
    match lower.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{lower}s"),
    }
}

/// Waits until the API server serves our kinds. Policies take effect a moment later.
async fn established(client: &Client) -> Result<()> {
    until("served: the CRDs", 30, || async {
        Ok(client.list_api_group_resources("tidegate.dev/v1alpha1").await.ok().map(|_| ()))
    })
    .await
}

/// Waits until a new Deployment of a Release in this namespace comes out as the policies make it. Until then, a second or longer on a busy
/// machine, nothing holds a new template but the operator.
async fn in_force(client: &Client, namespace: &str) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let labels = json!({"app": "in-force"});
    let pods =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app"}]}});
    let labelled: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "in-force", "labels": {RELEASE_LABEL: "in-force"}},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pods},
    }))?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    until("in force: the policies", 30, || async {
        let made = deployments.create(&dry_run, &labelled).await?;
        Ok(made.annotations().contains_key(CHANGED_BY).then_some(()))
    })
    .await
}
