//! `make examples`: the runbooks of `examples/runbooks` on a real control plane, each with a version that is good and one that is bad.
//!
//! Ends with 1 when one of them does not end as its runbook says. Leaves nothing behind.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;
use futures::future::join_all;
use tidegate_real::cluster::{Cluster, Options};
use tidegate_real::operator::{NAMESPACE as SYSTEM, Operator, binary};
use tidegate_real::runbooks::course::{Course, Seen, Way};
use tidegate_real::runbooks::outside::{self, Outside};
use tidegate_real::runbooks::{self, ALL, Expected, Runbook};
use tidegate_real::stage;

/// Each runbook the good way and the bad way.
#[derive(Parser)]
struct Flags {
    /// How many times shorter soaks, watches and pauses are than the files say
    #[arg(long, default_value_t = 14_400, value_parser = clap::value_parser!(u32).range(1..))]
    speed: u32,
    /// Only these runbooks; default: all
    names: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            played = play(&flags) => played,
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
        }
    })
}

async fn play(flags: &Flags) -> Result<ExitCode> {
    let began = Instant::now();
    let mut chosen = Vec::new();
    for expected in chosen_of(&flags.names)? {
        chosen.push((expected, Runbook::read(expected.name)?));
    }
    println!(
        "Tidegate: runbooks as manifests. Soaks, watches and pauses are {} times shorter than written.\n",
        flags.speed
    );
    let cluster = Cluster::start(&options(&chosen)?).await?;
    let client = cluster.client("admin").await?;
    stage::install(&client, true).await?;
    let files: Vec<_> = chosen.iter().map(|(_, runbook)| &runbook.outside).collect();
    let outside = Outside::play(&files).await?;
    for document in chosen.iter().flat_map(|(_, runbook)| &runbook.settings) {
        stage::apply(&client, &outside.reached_by(document.clone()), "examples").await?;
    }
    outside::backups(&client).await?;
    for document in runbooks::installation()? {
        stage::apply(&client, &document, "examples").await?;
    }
    let operator = Operator::start(&cluster).await?;
    println!(
        "{:6.1} s  the operator leads, as ServiceAccount {SYSTEM}/tidegate",
        began.elapsed().as_secs_f64()
    );

    let courses = chosen.iter().map(|(expected, runbook)| {
        let link = (cluster.kubeconfig.clone(), client.clone());
        carry_out(*expected, runbook.clone(), link, (outside.clone(), flags.speed, began))
    });
    let ended = join_all(courses).await;

    println!();
    let mut as_expected = true;
    for ((expected, _), ended) in chosen.iter().zip(ended) {
        let (seen, error) = ended;
        for seen in &seen {
            println!("{}", seen.line(expected.name));
            if !seen.as_expected {
                as_expected = false;
                println!(
                    "examples: {} {}: not as its runbook says: {}",
                    expected.name,
                    seen.way.word(),
                    seen.message
                );
            }
        }
        if let Some(error) = error {
            as_expected = false;
            println!("examples: {}: {error:#}", expected.name);
        }
    }
    if as_expected {
        std::fs::remove_file(&operator.log)?;
    } else {
        eprintln!("what the operator said: {}", operator.log.display());
    }
    drop(operator);
    cluster.stop().await?;
    Ok(if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Both ways, as far as they come.
async fn carry_out(
    expected: Expected,
    runbook: Runbook,
    link: (std::path::PathBuf, kube::Client),
    how: (Outside, u32, Instant),
) -> (Vec<Seen>, Option<anyhow::Error>) {
    let mut seen = Vec::new();
    let played = async {
        let (good, bad) = (runbook.good.clone(), runbook.bad.clone());
        let (mut course, upstream) = Course::set_up(expected, runbook, link, how).await?;
        upstream.release(&good).await?;
        // While the good version is on its way in production, the bad one is tried where the good one was.
        let ahead = async { if expected.bad_was_tested { upstream.release(&bad).await } else { Ok(()) } };
        let (ended, tried) = tokio::join!(course.see_through(Way::Good), ahead);
        seen.push(ended?);
        tried?;
        seen.push(course.see_through(Way::Bad).await?);
        anyhow::Ok(())
    };
    let error = played.await.err();
    (seen, error)
}

fn chosen_of(names: &[String]) -> Result<Vec<Expected>> {
    let all = || ALL.map(|expected| expected.name).join(", ");
    if let Some(unknown) = names.iter().find(|name| ALL.iter().all(|expected| expected.name != **name)) {
        bail!("there is no runbook {unknown}: there are {}", all());
    }
    let is_chosen = |expected: &&Expected| names.is_empty() || names.iter().any(|name| name == expected.name);
    Ok(ALL.iter().filter(is_chosen).copied().collect())
}

/// Every workload's image is the shop; an image of a check or a migration is the script that says what such a one would say.
fn options(chosen: &[(Expected, Runbook)]) -> Result<Options> {
    let shop = binary("shop")?.display().to_string();
    let script = runbooks::directory().join("check.sh").display().to_string();
    let mut images: Vec<(String, String)> = chosen
        .iter()
        .map(|(_, runbook)| (format!("registry.internal/{}", runbook.release_name()), shop.clone()))
        .collect();
    for job in ["regression", "security", "load", "smoke", "migrate"] {
        images.push((format!("registry.internal/jobs/{job}"), format!("/bin/sh {script} {job}")));
    }
    Ok(Options { process_nodes: 1, images, ..Options::default() })
}
