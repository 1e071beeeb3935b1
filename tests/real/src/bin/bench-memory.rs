//! `make bench-memory`: what the operator keeps in memory at rest, with one Release and with a thousand; and how long it takes
//! to take up a thousand new ones.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tidegate_real::cluster::Options;
use tidegate_real::crowd::{self, Releases};
use tidegate_real::figures::{self, Figures};
use tidegate_real::stage::Stage;
use tidegate_real::story::{Story, paper_deployment};

const RELEASES: usize = 1000;
/// For all of them to be there.
const LONGEST: Duration = Duration::from_secs(900);
/// From the last change to rest.
const SETTLE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    figures::run("bench-memory", bench)
}

async fn bench(figures: &mut Figures) -> Result<()> {
    let stage = Stage::own(Options { paper_nodes: 3, ..Options::default() }).await?;
    let story = Story::begin(&stage, "memory").await;
    let releases = Releases::watch(&story);
    crowd::make(&story, 0..1, deployment).await?;
    crowd::make(&story, 0..1, release).await?;
    crowd::adopted(&releases, 1, LONGEST).await?;
    tokio::time::sleep(SETTLE).await;
    let one = resident(&stage).await?;
    println!("1 Release: {one:.1} MB");

    crowd::make(&story, 1..RELEASES, deployment).await?;
    story.until_within(LONGEST, "all pods Ready", async |story| crowd::ready(story).await >= RELEASES).await;
    let without = resident(&stage).await?;
    println!("{RELEASES} Deployments with a pod each, 1 Release: {without:.1} MB");
    let began = Instant::now();
    crowd::make(&story, 1..RELEASES, release).await?;
    let made = began.elapsed().as_secs_f64();
    crowd::adopted(&releases, RELEASES, LONGEST).await?;
    let adopted = began.elapsed().as_secs_f64();
    println!("{RELEASES} Releases made in {made:.1} s, the last one taken up after {adopted:.1} s");
    tokio::time::sleep(SETTLE).await;
    let thousand = resident(&stage).await?;
    println!("{RELEASES} Releases: {thousand:.1} MB");

    figures.add("one_mb", one);
    figures.add("deployments_only_mb", without);
    figures.add("thousand_mb", thousand);
    figures.add("made_s", made);
    figures.add("adopted_s", adopted);
    figures.aim("resident memory with one Release, in MB", one, 40.0);
    figures.aim("resident memory with a thousand Releases, in MB", thousand, 40.0);
    stage.operator.lock().await.take();
    stage.cluster.stop().await?;
    Ok(())
}

fn deployment(number: usize) -> Value {
    let name = crowd::name(number);
    let mut deployment = paper_deployment(1);
    deployment["metadata"]["name"] = json!(name);
    deployment["spec"]["selector"]["matchLabels"]["app"] = json!(name);
    deployment["spec"]["template"]["metadata"]["labels"]["app"] = json!(name);
    deployment
}

fn release(number: usize) -> Value {
    let name = crowd::name(number);
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "metadata": {"name": name},
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}},
    })
}

/// Resident memory of the operator, in MB of 1,000,000 bytes.
async fn resident(stage: &Stage) -> Result<f64> {
    let operator = stage.operator.lock().await;
    Ok(operator.as_ref().context("no operator")?.resident()? as f64 / 1e6)
}
