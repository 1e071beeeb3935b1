//! `make demo`: a good version goes out, a bad one comes back, on a real control plane with real HTTP; or on a cluster of yours.
//!
//! Shows what `kubectl tidegate status --watch` shows, and accounts for every second at the end. Leaves nothing behind.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tidegate::api::Release;
use tidegate::api::status::{LastRun, Outcome};
use tidegate_real::cluster::{Cluster, Options, repository};
use tidegate_real::load::Load;
use tidegate_real::operator::{NAMESPACE as SYSTEM, Operator, binary};
use tidegate_real::stage;
use tidegate_real::timeline::Timeline;
use tokio::process::{Child, Command};

const NAMESPACE: &str = "shop";
const PODS: usize = 10;
/// `maxUnavailable` of examples/shop.yaml, of ten pods.
const LEAST_READY: usize = 8;
/// Requests a second for each pod.
const RATE: f64 = 20.0;
/// The longest that one run may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// A good version goes out, a bad one comes back.
#[derive(Parser)]
struct Flags {
    /// A cluster of yours, whose pods this machine can reach; default: one of our own, for the length of the demo
    #[arg(long, requires = "shop_image")]
    kubeconfig: Option<PathBuf>,
    /// The shop as your cluster can pull it: see examples/shop.Dockerfile
    #[arg(long)]
    shop_image: Option<String>,
}

fn main() -> Result<ExitCode> {
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(demo(flags))
}

async fn demo(flags: Flags) -> Result<ExitCode> {
    let mut scene =
        Scene { began: Instant::now(), cluster: None, operator: None, installed: false, applied: false };
    let played = tokio::select! {
        played = play(&flags, &mut scene) => played,
        _ = tokio::signal::ctrl_c() => {
            println!("\ninterrupted: cleaning up");
            scene.clear_away(true).await?;
            return Ok(ExitCode::from(130));
        }
    };
    let as_hoped = played.as_ref().is_ok_and(|as_hoped| *as_hoped);
    scene.clear_away(as_hoped).await?;
    let as_hoped = played?;
    Ok(if as_hoped { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything that has to be cleared away.
struct Scene {
    began: Instant,
    cluster: Option<Cluster>,
    operator: Option<Operator>,
    /// Whether Tidegate is in the cluster because of us.
    installed: bool,
    /// Whether the shop is in the cluster because of us.
    applied: bool,
}

async fn play(flags: &Flags, scene: &mut Scene) -> Result<bool> {
    println!("Tidegate: a good version goes out, a bad one comes back.\n");
    let shop = binary("shop")?.display().to_string();
    let options = Options { process_nodes: 1, images: vec![("shop".into(), shop)], ..Options::default() };
    let cluster = match &flags.kubeconfig {
        Some(file) => Cluster::of(file),
        None => Cluster::start(&options).await?,
    };
    let cluster = scene.cluster.insert(cluster);
    let client = cluster.client("admin").await?;
    let version = client.apiserver_version().await.context("the cluster does not answer")?.git_version;
    let whose = if cluster.is_ours() { "a control plane of its own" } else { "your cluster" };
    say(scene.began, &format!("{whose}: Kubernetes {version}"));

    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    if namespaces.get_opt(NAMESPACE).await?.is_some() {
        bail!("there is a namespace {NAMESPACE} already: the demo would be in its way");
    }
    if has_operator(&client).await? {
        say(scene.began, "Tidegate is installed already");
    } else {
        scene.installed = true;
        stage::install(&client, serves_mutating_policies(&client).await)
            .await
            .context("cannot install Tidegate")?;
        say(scene.began, "Tidegate's CRDs, policies and rights, from install.yaml");
        scene.operator = Some(Operator::start(cluster).await?);
        say(scene.began, &format!("the operator leads, as ServiceAccount {SYSTEM}/tidegate"));
    }

    scene.applied = true;
    for document in manifests("shop.yaml")? {
        stage::apply(&client, &with_image(document, flags.shop_image.as_deref()), "kubectl").await?;
    }
    let timeline = Timeline::start(&client, NAMESPACE);
    within(60, "ten pods of the shop are not Ready", || {
        timeline.now().is_some_and(|now| now.ready() == PODS)
    })
    .await?;
    reachable(&client).await?;
    let load = Load::start(&client, NAMESPACE, 8080, RATE).await;
    for document in manifests("release.yaml")? {
        stage::apply(&client, &document, "kubectl").await?;
    }
    let releases: Api<Release> = Api::namespaced(client.clone(), NAMESPACE);
    adopted(&releases).await?;
    say(
        scene.began,
        &format!(
            "the shop: {PODS} pods, {} requests a second from users, and its Release",
            RATE * PODS as f64
        ),
    );

    let cast = Cast { kubeconfig: cluster.kubeconfig.clone(), client, releases, timeline, load };
    let steady = Timestamp::now();
    let good = cast.ship("v2", None, "a good version").await?;
    let errors_of_good = cast.load.seen.errors.load(Ordering::Relaxed);
    cast.load.seen.forget();
    let bad = cast.ship("v3", Some("0.2"), "a version that fails one request in five").await?;
    Ok(cast.sum_up(steady, errors_of_good, &good, &bad))
}

/// Those who play, once everything stands.
struct Cast {
    kubeconfig: PathBuf,
    client: Client,
    releases: Api<Release>,
    timeline: Timeline,
    load: Load,
}

/// One version's run.
struct Run {
    shipped: Timestamp,
    ended: LastRun,
}

impl Cast {
    /// Ships a version as `kubectl set env` does, and looks on until its run has ended.
    async fn ship(&self, version: &str, error_rate: Option<&str>, what: &str) -> Result<Run> {
        let command = error_rate.map(|rate| format!(" ERROR_RATE={rate}")).unwrap_or_default();
        println!("\n{what}: kubectl -n {NAMESPACE} set env deployment/shop VERSION={version}{command}\n");
        let before = self.last_run().await?.map_or(0, |last| last.number);
        let mut view = self.view()?;
        let mut env = vec![json!({"name": "VERSION", "value": version})];
        env.extend(error_rate.map(|rate| json!({"name": "ERROR_RATE", "value": rate})));
        let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "shop", "env": env}]}}}});
        let deployments: Api<k8s_openapi::api::apps::v1::Deployment> =
            Api::namespaced(self.client.clone(), NAMESPACE);
        let shipped = Timestamp::now();
        deployments.patch("shop", &PatchParams::default(), &Patch::Strategic(&patch)).await?;
        let ended = tokio::time::timeout(PATIENCE, self.ended_after(before)).await;
        // It ends by itself when it has seen the end.
        if tokio::time::timeout(Duration::from_secs(2), view.wait()).await.is_err() {
            view.kill().await?;
        }
        let ended = ended.map_err(|_| {
            anyhow::anyhow!("the run of {version} has not ended after {} s", PATIENCE.as_secs())
        })??;
        Ok(Run { shipped, ended })
    }

    /// What a person would look at. It draws over itself on a terminal, and writes lines elsewhere.
    fn view(&self) -> Result<Child> {
        let mut command = Command::new(binary("kubectl-tidegate")?);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.args(["--namespace", NAMESPACE, "status", "shop", "--watch", "--until-done"]);
        command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command.spawn().context("cannot start kubectl-tidegate")
    }

    async fn last_run(&self) -> Result<Option<LastRun>> {
        Ok(self.releases.get("shop").await?.status.and_then(|status| status.last_run))
    }

    async fn ended_after(&self, number: i64) -> Result<LastRun> {
        loop {
            if let Some(last) = self.last_run().await?.filter(|last| last.number > number) {
                return Ok(last);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What happened, for people, and the last line, for machines.
    fn sum_up(&self, steady: Timestamp, errors_of_good: u64, good: &Run, bad: &Run) -> bool {
        let took = |run: &Run| seconds(run.shipped, run.ended.ended_at.0);
        println!("\nWhat happened\n");
        println!("  v2, good: {:?} after {:.1} s. {}", good.ended.outcome, took(good), good.ended.message);
        println!("  v3, bad:  {:?} after {:.1} s. {}\n", bad.ended.outcome, took(bad), bad.ended.message);

        let undo = bad.ended.undo.as_ref();
        let serving = self.timeline.first(bad.shipped, |moment| moment.of("v3").1 > 0);
        let breach = self.load.seen.first_bad().filter(|at| *at >= bad.shipped);
        let decided = undo.map(|undo| undo.decided_at.0);
        let ordered = undo.and_then(|undo| undo.ordered_at).map(|at| at.0);
        let restored = undo.and_then(|undo| undo.restored_at).map(|at| at.0);
        let moments = [
            ("v3 is shipped; it is held before its first pod", Some(bad.shipped)),
            ("the first pod of v3 serves users: one in ten", serving),
            ("the first user gets an error: the breach begins", breach),
            ("the verdict: go back", decided),
            ("every pod of v3 is ordered away", ordered),
            ("ten pods of v2 are Ready, v3 is gone", restored),
        ];
        let mut last = bad.shipped;
        for (what, at) in moments {
            let Some(at) = at else { continue };
            println!("  {:7.3} s  (+ {:.3})  {what}", seconds(bad.shipped, at), seconds(last, at));
            last = at;
        }

        let (least_ready, _) = self.timeline.worst(steady);
        let (errors, total) =
            (self.load.seen.errors.load(Ordering::Relaxed), self.load.seen.total.load(Ordering::Relaxed));
        let share = errors as f64 / (total.max(1)) as f64;
        println!(
            "\n  Ready pods:  never fewer than {least_ready} of {PODS} (the Deployment allows {LEAST_READY})"
        );
        println!(
            "  users:       {errors} of {total} requests failed ({:.2} %): {errors_of_good} while v2 went out,",
            share * 100.0
        );
        println!(
            "               {} while v3 was tried. Released all at once, v3 fails 20 % of them.",
            errors - errors_of_good
        );
        let unanswered = self.load.seen.unanswered.load(Ordering::Relaxed);
        println!(
            "               {unanswered} of the {errors} got no answer, from pods that were on their way out.\n"
        );

        let since_breach = |at: Option<Timestamp>| match (breach, at) {
            (Some(breach), Some(at)) => format!("{:.3}", seconds(breach, at)),
            _ => "none".into(),
        };
        println!(
            "demo: good={:?} bad={:?} breach_to_ordered_s={} breach_to_restored_s={} min_ready={least_ready} user_errors={errors} users_total={total}",
            good.ended.outcome,
            bad.ended.outcome,
            since_breach(ordered),
            since_breach(restored),
        );
        good.ended.outcome == Outcome::Succeeded && bad.ended.outcome == Outcome::Undone
    }
}

impl Scene {
    /// Takes away what we brought. Logs stay when something went wrong.
    async fn clear_away(self, as_hoped: bool) -> Result<()> {
        let Self { began: _, cluster, operator, installed, applied } = self;
        let Some(cluster) = cluster else { return Ok(()) };
        if !cluster.is_ours() {
            let client = cluster.client("admin").await?;
            let shop = if applied { manifests("shop.yaml")? } else { Vec::new() };
            let tidegate = if installed { stage::documents(&read("install.yaml")?)? } else { Vec::new() };
            for document in tidegate.iter().chain(&shop).rev().filter(|document| document["kind"].is_string())
            {
                let name = document["metadata"]["name"].as_str().context("no name")?;
                let deleted =
                    stage::api_of(&client, document)?.delete(name, &DeleteParams::background()).await;
                match deleted {
                    Ok(_) => {}
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    Err(error) => {
                        eprintln!("{} {name} stays: {error}", document["kind"].as_str().unwrap_or_default())
                    }
                }
            }
        }
        if let Some(operator) = operator {
            if as_hoped {
                std::fs::remove_file(&operator.log)?;
            } else {
                eprintln!("what the operator said: {}", operator.log.display());
            }
        }
        cluster.stop().await
    }
}

fn say(began: Instant, what: &str) {
    println!("{:5.1} s  {what}", began.elapsed().as_secs_f64());
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

fn read(file: &str) -> Result<String> {
    std::fs::read_to_string(repository().join(file)).with_context(|| file.to_owned())
}

fn manifests(file: &str) -> Result<Vec<Value>> {
    stage::documents(&read(&format!("examples/{file}"))?)
}

fn with_image(mut document: Value, image: Option<&str>) -> Value {
    if let Some(image) = image.filter(|_| document["kind"] == "Deployment") {
        document["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    }
    document
}

/// Whether an operator that is not ours runs in the cluster.
async fn has_operator(client: &Client) -> Result<bool> {
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(client.clone(), SYSTEM);
    let found = deployments.get_opt("tidegate").await?;
    Ok(found.is_some_and(|found| found.spec.and_then(|spec| spec.replicas).unwrap_or(1) > 0))
}

async fn serves_mutating_policies(client: &Client) -> bool {
    let served = client.list_api_group_resources("admissionregistration.k8s.io/v1").await;
    served.is_ok_and(|served| served.resources.iter().any(|one| one.name == "mutatingadmissionpolicies"))
}

/// Users are played from here, and an operator that runs here reads the pods' metrics: both need a way to the pods.
async fn reachable(client: &Client) -> Result<()> {
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let pods = pods.list(&kube::api::ListParams::default()).await?;
    let ip = pods.items.into_iter().find_map(|pod| pod.status?.pod_ip).context("no pod has an address")?;
    let connect = tokio::net::TcpStream::connect((ip.as_str(), 8080));
    match tokio::time::timeout(Duration::from_secs(3), connect).await {
        Ok(Ok(_)) => Ok(()),
        _ => bail!(
            "this machine does not reach the pods of the cluster (tried {ip}:8080): run the demo on a machine that does, \
             one of the cluster's nodes for example, or add a route to the pods' network"
        ),
    }
}

async fn adopted(releases: &Api<Release>) -> Result<()> {
    let adopted = async {
        while releases.get("shop").await?.status.and_then(|status| status.stable).is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(30), adopted)
        .await
        .context("the operator does not take up the Release")?
}

async fn within(seconds: u64, otherwise: &'static str, holds: impl Fn() -> bool) -> Result<()> {
    let held = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(seconds), held).await.context(otherwise)
}
