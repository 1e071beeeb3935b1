//! `make bench-release`: what a good three-step run of ten pods costs the API server, from its own audit log; and what rest costs.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_real::audit::Requests;
use tidegate_real::cluster::{Options, scratch};
use tidegate_real::figures::{self, Figures};
use tidegate_real::load::Load;
use tidegate_real::operator::{binary, unique};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, shop_deployment};

const PODS: i32 = 10;
/// How long rest is looked at.
const REST: Duration = Duration::from_secs(60);
/// From the adoption to rest, and from the end of the run to its last write.
const SETTLE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    figures::run("bench-release", bench)
}

async fn bench(figures: &mut Figures) -> Result<()> {
    let shop = binary("shop")?.display().to_string();
    let audit = scratch()?.join(format!("audit-{}.log", unique()));
    let images = vec![("shop".into(), shop)];
    let options = Options { process_nodes: 1, images, audit: Some(audit.clone()), ..Options::default() };
    let stage = Stage::own(options).await?;
    let story = Story::begin(&stage, "cost").await;
    story.adopt(shop_deployment(PODS), story.release(spec())).await;
    let ready = |target: &Value| target["status"]["readyReplicas"].as_i64() == Some(PODS.into());
    story.until("ten Ready pods", async |story| ready(&story.target().await)).await;
    let _load = Load::start(&story.client, &story.namespace, 8080, 20.0).await;
    tokio::time::sleep(SETTLE).await;

    println!("at rest, for {} s", REST.as_secs());
    let rested = Timestamp::now();
    tokio::time::sleep(REST).await;
    let shipped = Timestamp::now();
    println!("a good run: 10 %, 50 %, 100 %, each soaked for 10 s, then watched for 15 s");
    story.ship("v2", &[]).await;
    let ended = story.until_ended(1).await;
    tokio::time::sleep(SETTLE).await;
    let done = Timestamp::now();

    let rest = Requests::read(&audit, rested, shipped)?;
    let run = Requests::read(&audit, shipped, done)?;
    figures.must(&format!("the run ended as {}", ended["outcome"]), ended["outcome"] == "Succeeded");
    println!("\nrequests of a run, but the Lease's and watches");
    run.print();
    println!("\nrequests at rest, in a minute, but the Lease's and watches");
    rest.print();
    let writes = run.writes() - run.of("events");
    figures.add("writes", writes);
    figures.add("deployment_writes", run.of("deployments"));
    figures.add("status_writes", run.of("releases/status"));
    figures.add("controller_revisions", run.of("controllerrevisions"));
    let named = run.of("deployments") + run.of("releases/status") + run.of("controllerrevisions");
    figures.add("other_writes", writes - named);
    figures.add("events", run.of("events"));
    figures.add("reads", run.reads());
    figures.add("failed", run.failed);
    figures.add("rest_writes_per_minute", rest.writes());
    figures.add("rest_reads_per_minute", rest.reads());
    figures.add("rest_lease_per_minute", rest.lease);
    figures.keep("run", run.json());
    figures.keep("rest", rest.json());
    figures.aim("writes besides events", count(writes), 30.0);
    figures.aim("writes of the Deployment", count(run.of("deployments")), 14.0);
    figures.aim("reads that are not watches", count(run.reads()), 0.0);
    figures.aim("writes at rest", count(rest.writes()), 0.0);
    figures.aim("reads at rest", count(rest.reads()), 0.0);

    stage.operator.lock().await.take();
    stage.cluster.stop().await?;
    std::fs::remove_file(audit)?;
    Ok(())
}

fn spec() -> Value {
    json!({
        "steps": [
            {"name": "tenth", "replicas": "10%", "soak": "10s"},
            {"name": "half", "replicas": "50%", "soak": "10s"},
            {"name": "all", "replicas": "100%"},
        ],
        "criteria": [
            {"name": "errors", "errorRate": {"target": "1%", "limit": "5%"}},
            {"name": "latency", "latency": {"quantile": 0.95, "target": "500ms", "limit": "1s"}},
        ],
        "watch": [{"for": "15s", "every": "1s"}],
    })
}

fn count(number: u64) -> f64 {
    number as f64
}
