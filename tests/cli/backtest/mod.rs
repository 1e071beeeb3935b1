//! Three days of a shop, replayed by the program itself against a fake Prometheus, without any cluster.

mod days;
mod numbers;
mod servers;
mod shown;
mod terminal;

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::past::{BEGINNING, DAY, HOUR, Past, Pod};

/// The first release goes out, this one comes back.
const GOOD: i64 = BEGINNING + DAY + 10 * HOUR;
const BAD: i64 = BEGINNING + 2 * DAY + 9 * HOUR;
const END: i64 = BEGINNING + 3 * DAY;

const NAMES: [&str; 6] = ["bbbbb", "ccccc", "ddddd", "fffff", "ggggg", "hhhhh"];

/// Six pods at four requests a second each with 0.2 % errors, but for what `trouble` adds to a pod at a moment.
fn shop(trouble: &dyn Fn(usize, i64) -> f64) -> Vec<Pod> {
    let mut pods = Vec::new();
    for (number, name) in NAMES.into_iter().enumerate() {
        let moved = GOOD + 60 * i64::try_from(number).unwrap();
        let usual = |at: i64| (4.0, 0.002 + trouble(number, at), 0.003);
        let phase = BEGINNING - HOUR + i64::try_from(number).unwrap();
        pods.push(Pod::new(&format!("checkout-5c8fd-{name}"), phase, moved, None, &usual));
        pods.push(Pod::new(&format!("checkout-7d9fb-{name}"), moved + 5, END, None, &usual));
    }
    let fails = |_: i64| (4.0, 0.25, 0.003);
    pods.push(Pod::new("checkout-9b4cc-zzzzz", BAD, BAD + 1200, None, &fails));
    pods
}

/// Every four hours a pod has fifteen bad minutes with 4 % errors.
fn flaky(number: usize, at: i64) -> f64 {
    let slice = (at - BEGINNING).div_euclid(4 * HOUR);
    let begins = (at - BEGINNING).rem_euclid(4 * HOUR);
    let mine = slice.rem_euclid(6) == i64::try_from(number).unwrap();
    if mine && (3 * HOUR..3 * HOUR + 900).contains(&begins) { 0.04 } else { 0.0 }
}

fn release(criteria: &Value) -> String {
    json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "metadata": {"name": "checkout"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"},
            "steps": [{"name": "tenth", "replicas": "10%", "soak": "20m"}, {"name": "all", "replicas": "100%"}],
            "watch": [{"for": "10m", "every": "15s"}],
            "metrics": {"prometheus": {"url": "http://prometheus.monitoring:9090"}},
            "criteria": criteria,
        },
    })
    .to_string()
}

fn usual() -> Value {
    json!([
        {"name": "errors", "errorRate": {"target": "1%", "limit": "5%"}},
        {"name": "latency", "latency": {"quantile": 0.99, "target": "500ms", "limit": "2s"}},
        {"name": "worse", "errorRate": {"relativeTo": "stable", "limit": "100%"}},
    ])
}

fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("backtest-{name}-{}.yaml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

async fn backtest(past: &Past, name: &str, criteria: &Value, more: &[&str]) -> Output {
    let file = file(name, &release(criteria));
    let output = command(&past.serve().await, &file, more).output().await.unwrap();
    std::fs::remove_file(file).unwrap();
    output
}

fn command(url: &str, file: &Path, more: &[&str]) -> Command {
    let mut command = of_the_release(file, more);
    command.args(["--prometheus", url]);
    command
}

/// The server that the Release names is asked.
fn of_the_release(file: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-tidegate"));
    command
        .env_clear()
        .env("KUBECONFIG", "/nowhere")
        .args(["backtest", "-n", "shop", "--to", "2026-11-21T00:00:00Z", "-f"])
        .arg(file)
        .args(more);
    command
}

fn moment(at: i64) -> String {
    jiff::Timestamp::from_second(at).unwrap().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}
