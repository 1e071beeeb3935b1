//! Which measurements and answers are needed now. Pure, like everything here: `run/` fetches them.

use std::time::Duration;

use serde_json::Value;

use super::gate;
use super::judge::Revision;
use super::plan::{self, CheckKind, Measuring, Plan, Source};
use super::snapshot::{ProbeId, ProbeResult, Snapshot};
use super::values::Kind;
use crate::api::status::{CheckState, Run, Stage};

/// A canary counts as young for so long after each step begins: it is measured every second.
const YOUNG: Duration = Duration::from_secs(120);
/// An answer that was Unknown is asked for again after so long.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(15);

/// What is needed.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    pub sampling: Option<Sampling>,
    pub probes: Vec<Probe>,
}

/// Pods to read, over and over.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// A new run starts with a clean ledger.
    pub run: String,
    pub source: Source,
    /// Whether requests are counted; else only `values` are read.
    pub counted: bool,
    /// Numbers to read beside.
    pub values: Vec<SampledValue>,
    pub requests: Option<(String, Option<String>)>,
    pub latency: Option<String>,
    /// Paths that are not traffic: those the Release names, and those that the pods' probes ask for.
    pub ignore_paths: Vec<String>,
    /// `None`: every second while young, else every five.
    pub every: Option<Duration>,
    pub young: bool,
    /// Nothing is known yet: what stable pods did before the run is wanted too.
    pub history: bool,
    pub pods: Vec<SampledPod>,
}

/// One pod to read.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledPod {
    pub name: String,
    pub revision: Revision,
    pub ip: String,
    pub port: u16,
    pub path: String,
    /// Unix seconds.
    pub started_at: Option<i64>,
    pub restarts: u32,
}

/// A number to read.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledValue {
    pub criterion: String,
    pub kind: Kind,
}

/// An answer to get.
#[derive(Clone, Debug)]
pub struct Probe {
    pub id: ProbeId,
    pub kind: CheckKind,
    pub timeout: Duration,
}

/// What is needed to decide about this Release.
pub fn needs(snapshot: &Snapshot) -> Needs {
    let Some(release) = &snapshot.release else { return Needs::default() };
    let (Some(run), Ok(spec)) = (&release.status.run, &release.spec) else { return Needs::default() };
    match run.stage {
        Stage::Preflight => {
            let recreate = run.originals["strategy"]["type"] == "Recreate";
            let Ok(plan) = plan::plan(spec, recreate) else { return Needs::default() };
            let waits = gate::before_the_first_pod(snapshot, &plan, run).is_some();
            let probes = if waits { Vec::new() } else { probes(snapshot, run, &plan) };
            Needs { sampling: None, probes }
        }
        Stage::Steps | Stage::Watch => {
            let metrics = spec.metrics.clone().unwrap_or_default();
            let Ok(measuring) = plan::measuring(spec) else { return Needs::default() };
            let sampling = sampling(snapshot, run, &measuring).map(|mut sampling| {
                sampling.requests = metrics.requests.map(|requests| (requests.name, requests.status_label));
                sampling.latency = metrics.latency.map(|latency| latency.name);
                sampling.ignore_paths.extend(metrics.ignore_paths);
                sampling.ignore_paths.sort();
                sampling.ignore_paths.dedup();
                sampling
            });
            Needs { sampling, probes: Vec::new() }
        }
        Stage::Back => Needs::default(),
    }
}

fn probes(snapshot: &Snapshot, run: &Run, plan: &Plan) -> Vec<Probe> {
    let due = |check: &plan::PlannedCheck| {
        if !matches!(check.kind, CheckKind::Http(_) | CheckKind::Config(_)) {
            return None;
        }
        let known = run.checks.iter().find(|known| known.name == check.name)?;
        if !matches!(known.state, CheckState::Waiting | CheckState::Unknown) {
            return None;
        }
        let id = ProbeId { run: run.id.clone(), check: check.name.clone(), attempt: known.attempt };
        let due = match snapshot.probes.get(&id) {
            None => true,
            Some(answer) => answer.result == ProbeResult::Unknown && snapshot.now >= answer.at + ASK_AGAIN,
        };
        due.then(|| Probe { id, kind: check.kind.clone(), timeout: check.timeout })
    };
    plan.checks.iter().filter_map(due).collect()
}

fn sampling(snapshot: &Snapshot, run: &Run, measuring: &Measuring) -> Option<Sampling> {
    let status = &snapshot.release.as_ref()?.status;
    let values: Vec<SampledValue> = measuring
        .values
        .iter()
        .filter(|criterion| !criterion.kind.is_of_pods())
        .map(|criterion| SampledValue { criterion: criterion.name.clone(), kind: criterion.kind.clone() })
        .collect();
    if measuring.criteria.is_empty() && values.is_empty() {
        return None;
    }
    let stable = status.stable.as_ref()?.fingerprint.clone();
    let (mut pods, mut ignore_paths) = (Vec::new(), Vec::new());
    for set in &snapshot.sets {
        let revision = if set.fingerprint == stable { Revision::Stable } else { Revision::Canary };
        let template = snapshot.templates.values().find(|kept| kept.fingerprint == set.fingerprint);
        let template = template.map(|kept| kept.template.value());
        let (port, path) = template
            .as_ref()
            .map_or((80, "/metrics".into()), |template| endpoint(template, &measuring.source));
        ignore_paths.extend(template.as_ref().map(probed_paths).unwrap_or_default());
        for pod in snapshot.pods_of(&set.uid).filter(|pod| !pod.terminating && pod.started_at.is_some()) {
            let Some(ip) = pod.ip.clone() else { continue };
            pods.push(SampledPod {
                name: pod.name.clone(),
                revision,
                ip,
                port,
                path: path.clone(),
                started_at: pod.started_at.map(|at| at.as_second()),
                restarts: pod.restarts,
            });
        }
    }
    // Before the first canary pod too: what a new pod gets wrong while it starts is counted only by who was there before it.
    pods.sort_by(|one, other| one.name.cmp(&other.name));
    let since = run.all_since.or(run.progress.begun).unwrap_or(run.started_at).0;
    let every =
        run.all_since.and_then(|all| measuring.watch.iter().find(|stage| snapshot.now < all.0 + stage.until));
    Some(Sampling {
        run: run.id.clone(),
        source: measuring.source.clone(),
        counted: !measuring.criteria.is_empty(),
        values,
        requests: None,
        latency: None,
        ignore_paths,
        every: every.map(|stage| stage.every),
        young: snapshot.now < since + YOUNG,
        history: run.judge["lastSlot"].is_null(),
        pods,
    })
}

/// Paths that the kubelet asks for. Not `/`, which is more likely to be traffic too.
pub fn probed_paths(template: &Value) -> Vec<String> {
    let containers = template["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let probes = containers.iter().flat_map(|container| {
        ["startupProbe", "readinessProbe", "livenessProbe"]
            .map(|probe| container[probe]["httpGet"]["path"].as_str())
    });
    let without_query =
        |path: &str| path.split('?').next().unwrap_or_default().trim_end_matches('/').to_owned();
    probes.flatten().map(without_query).filter(|path| path.starts_with('/') && !path.contains('*')).collect()
}

/// Port and path of a template's metrics: the Release, else the usual annotations, else the port named `metrics`, else the first.
fn endpoint(template: &Value, source: &Source) -> (u16, String) {
    let annotations = &template["metadata"]["annotations"];
    let (wanted_port, wanted_path) = match source {
        Source::Pods { port, path } => (*port, path.clone()),
        Source::Prometheus { .. } => (None, None),
    };
    let path = wanted_path
        .or_else(|| {
            annotations["prometheus.io/path"].as_str().filter(|path| path.starts_with('/')).map(str::to_owned)
        })
        .unwrap_or_else(|| "/metrics".into());
    let ports = || {
        let containers = template["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
        containers
            .iter()
            .flat_map(|container| container["ports"].as_array().map(Vec::as_slice).unwrap_or_default())
    };
    let number = |port: &Value| u16::try_from(port["containerPort"].as_i64()?).ok();
    let port = wanted_port
        .and_then(|port| u16::try_from(port).ok())
        .or_else(|| annotations["prometheus.io/port"].as_str()?.parse().ok())
        .or_else(|| ports().find(|port| port["name"] == "metrics").and_then(number))
        .or_else(|| ports().next().and_then(number))
        .unwrap_or(80);
    (port, path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_kubelet_asks_for_is_not_traffic_unless_it_is_the_root() {
        let get = |path: &str| json!({"httpGet": {"path": path, "port": 8080}});
        let template = json!({"spec": {"containers": [
            {"readinessProbe": get("/api/ready/?deep=1"), "livenessProbe": get("/"), "startupProbe": get("/boot")},
            {"readinessProbe": {"tcpSocket": {"port": 1}}, "livenessProbe": {"httpGet": {"port": 2}}},
        ]}});
        assert_eq!(probed_paths(&template), ["/boot", "/api/ready"]);
        assert_eq!(probed_paths(&json!({})), Vec::<String>::new());
    }
}
