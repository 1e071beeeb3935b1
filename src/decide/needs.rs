//! Which measurements and answers are needed now. Pure, like everything here: `run/` fetches them.

use std::time::Duration;

use serde_json::Value;

use super::back;
use super::checks;
use super::gate;
use super::jobs::{self, EndedJob};
use super::judge::{Revision, WARM_UP};
use super::pace::Limits;
use super::pilots::{self, Placing};
use super::plan::{CheckKind, Measuring, Plan, PlannedCheck, Question, Source};
use super::rights;
use super::snapshot::{ProbeId, ReleaseFacts, Snapshot, Template};
use super::values::Kind;
use super::{promotion, telemetry, trial, workload};
use crate::api::ReleaseSpec;
use crate::api::status::{Back, CheckState, CheckStatus, Run, Stage};

/// A canary counts as young for so long after each step begins: it is measured every second.
const YOUNG: Duration = Duration::from_secs(120);
/// An answer that was Unknown is asked for again after so long.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(15);

/// A pod that has been Ready for so long is known to whoever scrapes it.
const SETTLED: Duration = Duration::from_secs(120);
/// Stable pods that one telemetry check asks.
const MOST_PODS: usize = 50;
/// So often a Prometheus server may come by before it must tell of a pod that is Ready.
const SCRAPES: u32 = 2;

/// What is needed.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    pub sampling: Option<Sampling>,
    pub probes: Vec<Probe>,
    /// Jobs that have ended, of which it is wanted what they said.
    pub outputs: Vec<EndedJob>,
    /// Pods of which it is wanted where they are.
    pub placing: Option<Placing>,
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
    /// From when on it has warmed up, unix seconds; `None`: not Ready.
    pub warm_from: Option<i64>,
    /// From when on whoever counts for it knows of it, unix seconds; `None`: not Ready.
    pub known_from: Option<i64>,
    pub restarts: u32,
}

impl SampledPod {
    /// Whether there should be something to read of it at that second. Before it is Ready nobody asks it for anything, and a server has to come by
    /// before it tells of it.
    pub fn is_due(&self, at: i64) -> bool {
        self.known_from.is_some_and(|from| from <= at)
    }
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
    pub question: Question,
    pub timeout: Duration,
    /// Ready pods of the canary, or of stable on the way back, for what is asked of each; or the trial pod.
    pub pods: Vec<ProbedPod>,
    pub about: About,
}

/// What a question is about that only the snapshot tells.
#[derive(Clone, Debug)]
pub enum About {
    /// All that is asked stands in the question.
    Nothing,
    Workload(Box<workload::Subject>),
    Images(promotion::Subject),
    Measured(Box<telemetry::Subject>),
}

/// A pod to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbedPod {
    pub name: String,
    pub ip: String,
    /// The first port of its first container that has one.
    pub port: Option<u16>,
    /// It is none of the Deployment's.
    pub on_trial: bool,
}

/// What is needed to decide about this Release.
pub fn needs(snapshot: &Snapshot) -> Needs {
    let Some(release) = &snapshot.release else { return Needs::default() };
    let (Some(run), Ok(spec)) = (&release.status.run, &release.spec) else { return Needs::default() };
    // Understood only where something asks for it.
    let recreate = run.originals["strategy"]["type"] == "Recreate";
    let plan = || release.plan(recreate).ok();
    let outputs = jobs::to_read(snapshot, run, release, || release.written(recreate));
    match run.stage {
        Stage::Preflight => Needs { probes: probes(snapshot, run, spec, plan), outputs, ..Needs::default() },
        Stage::Steps | Stage::Watch => {
            let Some(measuring) = release.measuring() else { return Needs::default() };
            let sampling = judged_by(snapshot, run, spec, measuring);
            let placing = pilots::needed(snapshot, run, spec);
            Needs { sampling, probes: probes(snapshot, run, spec, plan), outputs, placing }
        }
        Stage::Back if back::waits_to_be_kept(snapshot, &release.status) => {
            let measuring = release.measuring();
            let sampling = measuring.and_then(|measuring| judged_by(snapshot, run, spec, measuring));
            Needs { sampling, outputs, ..Needs::default() }
        }
        Stage::Back => after_going_back(snapshot, release, run, spec, outputs),
    }
}

/// What a version is judged by, if it is.
fn judged_by(snapshot: &Snapshot, run: &Run, spec: &ReleaseSpec, measuring: &Measuring) -> Option<Sampling> {
    let is_read = measuring.values.iter().any(|value| !value.kind.is_of_pods());
    let is_judged = is_read || !measuring.criteria.is_empty();
    is_judged.then(|| sampled(snapshot, run, spec, measuring)).flatten()
}

/// What it takes to know whether the version that was put back works. Understood by itself: what else is wrong with the spec keeps none
/// of it waiting.
fn after_going_back(
    snapshot: &Snapshot,
    release: &ReleaseFacts,
    run: &Run,
    spec: &ReleaseSpec,
    outputs: Vec<EndedJob>,
) -> Needs {
    let is_open = |back: &Back| back.validating.is_some() && back.validated_at.is_none();
    let is_open = run.back.as_ref().is_some_and(is_open);
    let planned = release.undo().validation.as_ref().filter(|_| is_open);
    let Some(validation) = planned else { return Needs { outputs, ..Needs::default() } };
    let measuring = release.measuring().filter(|_| !validation.measured.is_zero());
    let sampling = measuring.and_then(|measuring| {
        let criteria = back::validated_criteria(measuring);
        if criteria.is_empty() {
            return None;
        }
        let Measuring { criteria: _, values: _, watch, source, definition } = measuring;
        let (watch, source, definition) = (watch.clone(), source.clone(), definition.clone());
        let judged = Measuring { criteria, values: Vec::new(), watch, source, definition };
        let mut sampling = sampled(snapshot, run, spec, &judged)?;
        // A ledger of its own: what stable pods counted on the way back is not to be held against them.
        sampling.run = format!("{}-{}", run.id, back::VALIDATION);
        sampling.pods.retain(|pod| pod.revision == Revision::Stable);
        (sampling.every, sampling.young, sampling.history) = (None, true, false);
        Some(sampling)
    });
    let here = Here { planned: &validation.checks, step: Some(back::VALIDATION), measuring: None };
    Needs { sampling, probes: asked(snapshot, run, spec, &here), outputs, placing: None }
}

/// What is to be asked, where the run stands.
fn probes<'p>(
    snapshot: &Snapshot,
    run: &Run,
    spec: &ReleaseSpec,
    plan: impl FnOnce() -> Option<&'p Plan>,
) -> Vec<Probe> {
    // Status holds the checks of steps from when their pods stand.
    let is_over = |known: &CheckStatus| matches!(known.state, CheckState::Failed | CheckState::Skipped);
    let has_open = !run.checks.iter().all(is_over);
    let has_traffic = spec.windows.as_ref().is_some_and(|windows| windows.low_traffic.is_some());
    if !has_open && !has_traffic {
        return Vec::new();
    }
    let Some(plan) = plan() else { return Vec::new() };
    let traffic = has_traffic.then(|| gate::asks(snapshot, plan, run)).flatten();
    let checks = if has_open { of_checks(snapshot, run, spec, plan) } else { Vec::new() };
    traffic.into_iter().chain(checks).collect()
}

/// The checks of one place.
struct Here<'p> {
    planned: &'p [PlannedCheck],
    /// At which step; `None`: before the first pod.
    step: Option<&'p str>,
    measuring: Option<&'p Measuring>,
}

/// What the checks ask.
fn of_checks(snapshot: &Snapshot, run: &Run, spec: &ReleaseSpec, plan: &Plan) -> Vec<Probe> {
    let (planned, step) = match run.stage {
        Stage::Preflight if gate::before_the_first_pod(snapshot, plan, run).is_some() => return Vec::new(),
        Stage::Preflight => (&plan.checks, None),
        Stage::Steps => match usize::try_from(run.step).ok().and_then(|index| plan.steps.get(index)) {
            Some(step) => (&step.checks, Some(step.name.as_str())),
            None => return Vec::new(),
        },
        Stage::Watch | Stage::Back => return Vec::new(),
    };
    asked(snapshot, run, spec, &Here { planned, step, measuring: Some(&plan.measuring) })
}

/// What the checks of one place ask.
fn asked(snapshot: &Snapshot, run: &Run, spec: &ReleaseSpec, here: &Here<'_>) -> Vec<Probe> {
    let Here { planned, step, measuring } = *here;
    let revision = match run.stage {
        Stage::Back => Revision::Stable,
        Stage::Preflight | Stage::Steps | Stage::Watch => Revision::Canary,
    };
    let is_withheld = snapshot.release.as_ref().is_some_and(|release| release.withheld.is_some());
    let due = |check: &PlannedCheck| {
        if check.lent && is_withheld {
            return None;
        }
        let place = |known: &&CheckStatus| known.name == check.name && known.step.as_deref() == step;
        let known = run.checks.iter().find(place)?;
        let is_open = match known.state {
            CheckState::Waiting | CheckState::Unknown => true,
            CheckState::Passed => check.every.is_some(),
            CheckState::Failed | CheckState::Skipped => false,
        };
        if !is_open || known.retry_at.is_some_and(|at| at.0 > snapshot.now) {
            return None;
        }
        // Of a step that begins anew, the answers are those of before.
        if step.is_some() && known.since < run.progress.begun {
            return None;
        }
        let id = checks::id(run, known);
        let is_due = match snapshot.probes.get(&id) {
            None => true,
            Some(answer) => {
                checks::due_again(check, answer, snapshot.now).is_some_and(|due| due <= snapshot.now)
            }
        };
        if !is_due {
            return None;
        }
        let (question, timeout, pods) = match &check.kind {
            CheckKind::Approval(_) | CheckKind::Attest(_) | CheckKind::Job(_) => return None,
            CheckKind::Asked(question) if question.is_of_pods() => {
                (question.clone(), check.timeout, pods_of(snapshot, revision))
            }
            CheckKind::Asked(question) => (question.clone(), check.timeout, Vec::new()),
            CheckKind::Trial(http) => {
                let pods = vec![trial_pod(snapshot, known)?];
                (Question::Http((**http).clone()), trial::patience(http).min(check.timeout), pods)
            }
        };
        let about = about(snapshot, run, spec, measuring, &question);
        Some(Probe { id, question, timeout, pods, about })
    };
    planned.iter().filter_map(due).collect()
}

fn about(
    snapshot: &Snapshot,
    run: &Run,
    spec: &ReleaseSpec,
    measuring: Option<&Measuring>,
    question: &Question,
) -> About {
    let about = match question {
        Question::Http(_)
        | Question::Config(_)
        | Question::Tls(_)
        | Question::Dns(_)
        | Question::Objects(_)
        | Question::Traffic(_) => None,
        Question::Workload(_) => workload_of(snapshot, run).map(|it| About::Workload(Box::new(it))),
        Question::Promotion(_) => snapshot.target.as_ref().map(|target| {
            About::Images(promotion::Subject {
                namespace: snapshot.key.namespace.clone(),
                release: snapshot.key.name.clone(),
                images: target.images.clone(),
            })
        }),
        Question::Telemetry(names) => measuring
            .and_then(|measuring| telemetry_of(snapshot, run, spec, measuring, names.as_deref()))
            .map(|it| About::Measured(Box::new(it))),
    };
    about.unwrap_or(About::Nothing)
}

fn workload_of(snapshot: &Snapshot, run: &Run) -> Option<workload::Subject> {
    let target = snapshot.target.as_ref()?;
    let stable = snapshot.release.as_ref().and_then(|release| release.status.stable.as_ref());
    let strategy = &run.originals["strategy"];
    let surge = match strategy["type"] == "Recreate" {
        true => 0,
        false => Limits::of(strategy, target.replicas).surge,
    };
    Some(workload::Subject {
        template: target.template.clone(),
        stable: stable.and_then(|stable| snapshot.template(&stable.fingerprint)).cloned(),
        replicas: target.replicas,
        surge,
        own: snapshot.pods.iter().map(|pod| pod.name.clone()).collect(),
    })
}

/// Stable pods that are Ready: those that have been so for a while, where there are such; a server may not know of the others yet.
fn telemetry_of(
    snapshot: &Snapshot,
    run: &Run,
    spec: &ReleaseSpec,
    measuring: &Measuring,
    names: Option<&[String]>,
) -> Option<telemetry::Subject> {
    let criteria = telemetry::criteria(measuring, names).ok()?;
    let mut sampling = sampled(snapshot, run, spec, measuring)?;
    let ready_since = |pod: &SampledPod| {
        snapshot.pods.iter().find(|known| known.name == pod.name).and_then(|known| known.ready_since)
    };
    sampling.pods.retain(|pod| pod.revision == Revision::Stable && ready_since(pod).is_some());
    let is_settled = |pod: &SampledPod| ready_since(pod).is_some_and(|since| since + SETTLED <= snapshot.now);
    if sampling.pods.iter().any(is_settled) {
        sampling.pods.retain(is_settled);
    }
    sampling.pods.truncate(MOST_PODS);
    Some(telemetry::Subject { sampling, criteria })
}

/// The trial pod of a check, once it is Ready.
fn trial_pod(snapshot: &Snapshot, known: &CheckStatus) -> Option<ProbedPod> {
    let pod = snapshot.trials.get(known.job.as_ref()?)?.pod.as_ref()?;
    let template = snapshot.target.as_ref()?.template.value();
    let (name, ip) = (pod.name.clone(), pod.ip.clone().filter(|_| pod.serves())?);
    Some(ProbedPod { name, ip, port: ports(&template).find_map(number), on_trial: true })
}

/// The Ready pods of a revision that can be asked.
fn pods_of(snapshot: &Snapshot, revision: Revision) -> Vec<ProbedPod> {
    let stable = snapshot.release.as_ref().and_then(|release| release.status.stable.as_ref());
    let (Some(stable), Some(target)) = (stable, &snapshot.target) else { return Vec::new() };
    let is_stable = |fingerprint: &str| fingerprint == stable.fingerprint;
    let template = match revision {
        Revision::Canary => Some(target.template.value()),
        // On the way back somebody may have written the canary's again.
        Revision::Stable => snapshot.template(&stable.fingerprint).map(Template::value),
    };
    let port = template.as_ref().and_then(|template| ports(template).find_map(number));
    let pods = snapshot.live_pods(|fingerprint| is_stable(fingerprint) == (revision == Revision::Stable));
    let mut pods: Vec<ProbedPod> = pods
        .filter(|pod| pod.serves())
        .filter_map(|pod| {
            Some(ProbedPod { name: pod.name.clone(), ip: pod.ip.clone()?, port, on_trial: false })
        })
        .collect();
    pods.sort_by(|one, other| one.name.cmp(&other.name));
    pods
}

/// What is to be read, by the names that the Release gives.
fn sampled(snapshot: &Snapshot, run: &Run, spec: &ReleaseSpec, measuring: &Measuring) -> Option<Sampling> {
    if snapshot.release.as_ref().is_some_and(rights::server_is_withheld) {
        return None;
    }
    let metrics = spec.metrics.clone().unwrap_or_default();
    let mut sampling = sampling(snapshot, run, measuring)?;
    sampling.requests = metrics.requests.map(|requests| (requests.name, requests.status_label));
    sampling.latency = metrics.latency.map(|latency| latency.name);
    sampling.ignore_paths.extend(metrics.ignore_paths);
    sampling.ignore_paths.sort();
    sampling.ignore_paths.dedup();
    Some(sampling)
}

fn sampling(snapshot: &Snapshot, run: &Run, measuring: &Measuring) -> Option<Sampling> {
    let status = &snapshot.release.as_ref()?.status;
    let values: Vec<SampledValue> = measuring
        .values
        .iter()
        .filter(|criterion| !criterion.kind.is_of_pods())
        .map(|criterion| SampledValue { criterion: criterion.name.clone(), kind: criterion.kind.clone() })
        .collect();
    let stable = status.stable.as_ref()?.fingerprint.clone();
    let known_after = match &measuring.source {
        Source::Pods { .. } => Duration::ZERO,
        Source::Prometheus { scrape_interval, .. } => scrape_interval.saturating_mul(SCRAPES),
    };
    let known_after = i64::try_from(known_after.as_secs()).unwrap_or(i64::MAX / 4);
    let (mut pods, mut ignore_paths) = (Vec::new(), Vec::new());
    for set in &snapshot.sets {
        let revision = if set.fingerprint == stable { Revision::Stable } else { Revision::Canary };
        let template = snapshot.template(&set.fingerprint).map(Template::value);
        let (port, path) = template
            .as_ref()
            .map_or((80, "/metrics".into()), |template| endpoint(template, &measuring.source));
        ignore_paths.extend(template.as_ref().map(probed_paths).unwrap_or_default());
        for pod in snapshot.live_pods_of(&set.uid).filter(|pod| pod.started_at.is_some()) {
            let Some(ip) = pod.ip.clone() else { continue };
            pods.push(SampledPod {
                name: pod.name.clone(),
                revision,
                ip,
                port,
                path: path.clone(),
                started_at: pod.started_at.map(|at| at.as_second()),
                warm_from: pod.ready_since.map(|since| since.as_second() + WARM_UP),
                known_from: pod.ready_since.map(|since| since.as_second().saturating_add(known_after)),
                restarts: pod.restarts,
            });
        }
    }
    // Before the first canary pod too: what a new pod gets wrong while it starts is counted only by who was there before it.
    pods.sort_by(|one, other| one.name.cmp(&other.name));
    let since = run.all_since.or(run.progress.begun).unwrap_or(run.started_at).0;
    let stage = measuring.stage(run, snapshot.now);
    Some(Sampling {
        run: run.id.clone(),
        source: measuring.source.clone(),
        counted: !measuring.criteria.is_empty(),
        values,
        requests: None,
        latency: None,
        ignore_paths,
        every: stage.map(|stage| stage.every),
        young: snapshot.now < since + YOUNG,
        history: !run.judge.has("lastSlot"),
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

/// The ports that a template's containers name, in their order.
fn ports(template: &Value) -> impl Iterator<Item = &Value> {
    let containers = template["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    containers
        .iter()
        .flat_map(|container| container["ports"].as_array().map(Vec::as_slice).unwrap_or_default())
}

fn number(port: &Value) -> Option<u16> {
    u16::try_from(port["containerPort"].as_i64()?).ok()
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
    let port = wanted_port
        .and_then(|port| u16::try_from(port).ok())
        .or_else(|| annotations["prometheus.io/port"].as_str()?.parse().ok())
        .or_else(|| ports(template).find(|port| port["name"] == "metrics").and_then(number))
        .or_else(|| ports(template).next().and_then(number))
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
