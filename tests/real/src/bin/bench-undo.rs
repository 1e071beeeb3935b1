//! `make bench-undo`: how long it takes from the first bad answer until the old version stands again, at 10 %, at 50 % and in
//! the watch at 100 % of ten pods. Errors begin at a random moment, in one request of five.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};
use tidegate_real::cluster::Options;
use tidegate_real::figures::{self, Figures, Spread};
use tidegate_real::load::Load;
use tidegate_real::operator::binary;
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, shop_deployment};
use tidegate_real::timeline::Timeline;

const PODS: usize = 10;
/// 10 - 25 % of 10, rounded down.
const LEAST_READY: usize = 8;
const RATE: f64 = 20.0;
const ERRORS: &str = "0.2";

/// How long an undo takes.
#[derive(Parser)]
struct Flags {
    /// Runs at each share
    #[arg(long, default_value_t = 10)]
    runs: usize,
}

/// Where the errors begin.
struct Place {
    /// In the keys of the figures.
    name: &'static str,
    /// Pods of the bad version.
    canaries: usize,
    spec: fn() -> Value,
}

const PLACES: [Place; 3] = [
    Place {
        name: "10",
        canaries: 1,
        spec: || {
            steps(
                json!([{"name": "tenth", "replicas": "10%", "soak": "5m"}, {"name": "all", "replicas": "100%"}]),
            )
        },
    },
    Place {
        name: "50",
        canaries: 5,
        spec: || {
            steps(
                json!([{"name": "half", "replicas": "50%", "soak": "5m"}, {"name": "all", "replicas": "100%"}]),
            )
        },
    },
    Place { name: "100", canaries: PODS, spec: || steps(json!([{"name": "all", "replicas": "100%"}])) },
];

fn steps(steps: Value) -> Value {
    json!({
        "steps": steps,
        "criteria": [{"name": "errors", "errorRate": {"target": "1%", "limit": "5%"}}],
        "watch": [{"for": "10m", "every": "1s"}],
    })
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    figures::run("bench-undo", async |figures: &mut Figures| bench(&flags, figures).await)
}

/// What one undo took, in seconds.
struct Undo {
    verdict: f64,
    patch: f64,
    ordered: f64,
    restored: f64,
    pod_start: f64,
    least_ready: usize,
    most_pods: usize,
}

async fn bench(flags: &Flags, figures: &mut Figures) -> Result<()> {
    let shop = binary("shop")?.display().to_string();
    let options = Options { process_nodes: 1, images: vec![("shop".into(), shop)], ..Options::default() };
    let stage = Stage::own(options).await?;
    println!("seconds; each: least, median, most of {} runs", flags.runs);
    for place in PLACES {
        let undos = at(&stage, &place, flags.runs).await?;
        sum_up(figures, &place, &undos);
    }
    stage.operator.lock().await.take();
    stage.cluster.stop().await?;
    Ok(())
}

async fn at(stage: &Stage, place: &Place, runs: usize) -> Result<Vec<Undo>> {
    let story = Story::begin(stage, &format!("undo-{}", place.name)).await;
    let mut shop = shop_deployment(i32::try_from(PODS)?);
    let env = shop["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().context("no env")?;
    env.push(json!({"name": "ALLOW_FAULTS", "value": "1"}));
    env.push(json!({"name": "DRAIN_MS", "value": "2000"}));
    let timeline = Timeline::start(&story.client, &story.namespace);
    story.adopt(shop, story.release((place.spec)())).await;
    story.until("ten Ready pods", async |_| timeline.now().is_some_and(|now| now.ready() == PODS)).await;
    let load = Load::start(&story.client, &story.namespace, 8080, RATE).await;
    let mut undos = Vec::new();
    for run in 1..=runs {
        let undo = one(&story, place, run, &timeline, &load).await?;
        eprintln!(
            "{} %, run {run} of {runs}: verdict after {:.3} s, all back after {:.3} s",
            place.name,
            undo.verdict,
            undo.verdict + undo.patch + undo.restored
        );
        undos.push(undo);
    }
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(story.client.clone());
    namespaces.delete(&story.namespace, &DeleteParams::background()).await?;
    Ok(undos)
}

async fn one(story: &Story<'_>, place: &Place, run: usize, timeline: &Timeline, load: &Load) -> Result<Undo> {
    let version = format!("v{}", run + 1);
    let steady = Timestamp::now();
    story.ship(&version, &[]).await;
    let phase = if place.canaries == PODS { "Watching" } else { "Soaking" };
    story.until_phase(phase).await;
    story
        .until("the bad version's pods alone, Ready", async |_| {
            timeline.now().is_some_and(|now| now.of(&version).1 == place.canaries && now.pods() == PODS)
        })
        .await;
    // Anywhere between two reads, and with some good requests behind it or with few.
    tokio::time::sleep(Duration::from_millis(500 + random_below(6000))).await;
    load.seen.forget();
    let told = Timestamp::now();
    break_pods(story, &version).await?;
    let ended = story.until_ended(i64::try_from(run)?).await;
    story
        .until("all back", async |_| {
            timeline.now().is_some_and(|now| now.of("v1") == (PODS, PODS) && now.pods() == PODS)
        })
        .await;
    anyhow::ensure!(ended["outcome"] == "Undone", "the run ended as {}", ended["outcome"]);

    let breach = load.seen.first_bad().context("no bad answer was seen")?;
    let decided: Timestamp = ended["undo"]["decidedAt"].as_str().context("no verdict")?.parse()?;
    let patched = timeline.first_change(told).context("no patch was seen")?;
    let ordered =
        timeline.first(patched, |moment| moment.of(&version).0 == 0).context("they were not ordered away")?;
    let restored = timeline.first(patched, |moment| moment.of("v1").1 == PODS).context("not restored")?;
    let (least_ready, most_pods) = timeline.worst(steady);
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
    Ok(Undo {
        verdict: seconds(breach, decided),
        patch: seconds(decided, patched),
        ordered: seconds(patched, ordered),
        restored: seconds(patched, restored.max(ordered)),
        pod_start: timeline.slowest_start(patched).unwrap_or_default().as_secs_f64(),
        least_ready,
        most_pods,
    })
}

/// From now on every pod of the version fails one request in five.
async fn break_pods(story: &Story<'_>, version: &str) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(story.client.clone(), &story.namespace);
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
    for pod in api.list(&ListParams::default()).await? {
        let name = pod.name_any();
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first()).context("no container")?;
        let env = container.env.iter().flatten();
        if !env.into_iter().any(|one| one.name == "VERSION" && one.value.as_deref() == Some(version)) {
            continue;
        }
        let ip =
            pod.status.and_then(|status| status.pod_ip).with_context(|| format!("{name} has no address"))?;
        let url = format!("http://{ip}:8080/fault?error_rate={ERRORS}");
        http.post(url).send().await?.error_for_status()?;
    }
    Ok(())
}

fn sum_up(figures: &mut Figures, place: &Place, undos: &[Undo]) {
    let spread = |of: fn(&Undo) -> f64| {
        let mut spread = Spread::default();
        undos.iter().for_each(|undo| spread.add(of(undo)));
        spread
    };
    let verdict = spread(|undo| undo.verdict);
    let patch = spread(|undo| undo.patch);
    let ordered = spread(|undo| undo.ordered);
    let restored = spread(|undo| undo.restored);
    let whole = spread(|undo| undo.verdict + undo.patch + undo.restored);
    let beyond_start = spread(|undo| undo.restored - undo.pod_start);
    let pod_start = spread(|undo| undo.pod_start);
    let least_ready = undos.iter().map(|undo| undo.least_ready).min().unwrap_or(0);
    let most_pods = undos.iter().map(|undo| undo.most_pods).max().unwrap_or(0);
    let at = place.name;
    println!("\nat {at} %");
    println!("  first bad answer to verdict      {verdict}");
    println!("  verdict to patch                 {patch}");
    println!("  patch to bad pods ordered away   {ordered}");
    println!("  patch to all restored            {restored}");
    println!("  of which the slowest pod's start {pod_start}");
    println!("  first bad answer to restored     {whole}");
    println!("  Ready pods never under {least_ready}, pods never over {most_pods}");
    figures.add(&format!("verdict_{at}_median_s"), verdict.median());
    figures.add(&format!("verdict_{at}_max_s"), verdict.most());
    figures.add(&format!("patch_{at}_max_s"), patch.most());
    figures.add(&format!("ordered_{at}_median_s"), ordered.median());
    figures.add(&format!("restored_{at}_median_s"), restored.median());
    figures.add(&format!("breach_to_restored_{at}_median_s"), whole.median());
    figures.add(&format!("min_ready_{at}"), least_ready);
    figures.add(&format!("max_pods_{at}"), most_pods);
    figures.keep(
        &format!("at{at}"),
        json!({
            "verdict": verdict.json(), "patch": patch.json(), "ordered": ordered.json(), "restored": restored.json(),
            "podStart": pod_start.json(), "whole": whole.json(),
        }),
    );
    figures.aim(&format!("{at} %: verdict, median"), verdict.median(), 5.0);
    figures.aim(&format!("{at} %: verdict, most"), verdict.most(), 10.0);
    figures.aim(&format!("{at} %: patch after the verdict, most"), patch.most(), 0.05);
    // Where stable pods are too few to serve alone, bad pods have to stay until those are Ready.
    let waits = if PODS - place.canaries < LEAST_READY { pod_start.most() } else { 0.0 };
    figures.aim(&format!("{at} %: ordered away after the patch, most"), ordered.most(), waits + 0.2);
    figures.aim(&format!("{at} %: restored beyond one pod's start, most"), beyond_start.most(), 1.0);
    figures
        .must(&format!("{at} %: Ready pods under {LEAST_READY}: {least_ready}"), least_ready >= LEAST_READY);
}

/// Random enough for the moment at which something breaks.
fn random_below(limit: u64) -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() % limit
}
