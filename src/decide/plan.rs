//! What the author of a Release means: defaults filled in, text turned into numbers, one-ofs turned into enums.
//!
//! The API server has refused most mistakes with a sentence; what is left gets one here. Going back needs no plan.

mod checks;
mod meaning;
mod undo;

use std::time::Duration;

use jiff::Timestamp;

pub use checks::{CheckKind, LONGEST_QUESTION, PlannedCheck, PlannedRetries, Question};
use checks::{checks, preflight, signers};
pub use meaning::Meaning;
pub use undo::{
    HookKind, KeptEvidence, ObjectPatch, PlannedHook, PlannedQuarantine, PlannedUndo, PlannedValidation, undo,
};

use super::approval::Signers;
use super::calendar::{self, Calendar};
use super::migrations::{self, PlannedMigration};
use super::traffic::{self, Traffic};
use super::unsound::{self, Unsound};
use super::{definition, judge, notify, pilots, telemetry, values};
use crate::api::criterion::{Criterion, NoData, OnLimit, OnUnknown, Reference, ValueBound};
use crate::api::release::Pilot;
use crate::api::status::Run;
use crate::api::text::{Condition, Latency, Percent, Share, Span};
use crate::api::{Capacity, CaptureMode, OnDelete, ReleaseSpec};

/// An error rate that is no news however little stable has.
const IGNORED_ERROR_RATE: f64 = 0.001;
/// How long a limit must be breached, where nothing is said.
const VALUE_FOR: Duration = Duration::from_secs(15);
const AVAILABILITY_FOR: Duration = Duration::from_secs(60);
/// Records of runs that are kept, where nothing is said.
const REPORTS_KEPT: i32 = 20;
/// The shortest deadline of a step, where none is given.
const LEAST_DEADLINE: Duration = Duration::from_secs(600);

/// What is wrong with a spec: which field, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct PlanError {
    pub field: String,
    pub problem: String,
}

/// A spec, understood.
#[derive(Clone, Debug)]
pub struct Plan {
    pub checks: Vec<PlannedCheck>,
    /// In their order.
    pub migrations: Vec<PlannedMigration>,
    pub locks: Vec<String>,
    /// Never empty; the last one is all pods.
    pub steps: Vec<PlannedStep>,
    /// Who says yes after the watch.
    pub sign_off: Option<Signers>,
    /// When it may start and move on.
    pub calendar: Calendar,
    /// How little must go on for that.
    pub traffic: Option<Traffic>,
    pub measuring: Measuring,
    pub retention: Retention,
    pub suspend: bool,
    pub capture: Option<CaptureMode>,
}

impl Plan {
    /// The checks of one place. `step`: at which; `None`: before the first pod.
    pub fn checks_at(&self, step: Option<&str>) -> &[PlannedCheck] {
        let Some(name) = step else { return &self.checks };
        let step = self.steps.iter().find(|step| step.name == name);
        step.map(|step| step.checks.as_slice()).unwrap_or_default()
    }
}

/// What is measured, and where. Understood by itself: whatever else is wrong with a spec, a breach still goes back.
#[derive(Clone, Debug)]
pub struct Measuring {
    /// What counts requests.
    pub criteria: Vec<judge::Criterion>,
    /// Everything else.
    pub values: Vec<values::Criterion>,
    pub watch: Vec<PlannedWatch>,
    pub source: Source,
    /// What counts are read with, in a word.
    pub definition: String,
}

impl Measuring {
    /// The stage of the watch that a run is in; none before all pods are on the new revision. While it waits to be signed off, the last one goes on.
    pub fn stage(&self, run: &Run, now: Timestamp) -> Option<&PlannedWatch> {
        let since = run.all_since?.0;
        self.watch.iter().find(|stage| now < since + stage.until).or(self.watch.last())
    }

    /// What a breach does now that usually does this: in the watch the stage may say so.
    pub fn on_limit(&self, run: &Run, now: Timestamp, usual: OnLimit) -> OnLimit {
        self.stage(run, now).and_then(|stage| stage.on_limit).unwrap_or(usual)
    }
}

/// A step with its numbers.
#[derive(Clone, Debug)]
pub struct PlannedStep {
    pub name: String,
    pub share: Share,
    /// Which of its pods count.
    pub pilot: Option<Pilot>,
    pub soak: Duration,
    /// Evidence cuts the soak short.
    pub advance_early: bool,
    /// Criteria that are still Unknown by then do what they are told to.
    pub deadline: Duration,
    pub checks: Vec<PlannedCheck>,
    pub approval: Option<Signers>,
}

/// A time of watching, until so long after 100 %.
#[derive(Clone, Debug)]
pub struct PlannedWatch {
    pub until: Duration,
    pub every: Duration,
    pub on_limit: Option<OnLimit>,
}

/// Where measurements come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    Pods { port: Option<i32>, path: Option<String> },
    Prometheus { server: crate::api::release::PrometheusSource, scrape_interval: Duration },
}

/// How often a Prometheus scrapes, unless told otherwise.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(15);

/// What an undo does first; it does not need the rest of the spec to be valid.
pub fn capacity(spec: Option<&ReleaseSpec>) -> Capacity {
    spec.and_then(|spec| spec.undo.as_ref()).and_then(|undo| undo.capacity).unwrap_or_default()
}

/// What becomes of a run when its Release is deleted.
pub fn on_delete(spec: Option<&ReleaseSpec>) -> OnDelete {
    spec.and_then(|spec| spec.on_delete).unwrap_or_default()
}

/// Which records of runs stay. A length of time that cannot be read is none: what is not understood deletes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub keep: usize,
    pub no_longer_than: Option<Duration>,
}

/// Which records of runs stay; it does not need the rest of the spec to be valid.
pub fn retention(spec: &ReleaseSpec) -> Retention {
    let written = spec.reports.as_ref();
    let keep = written.and_then(|reports| reports.keep).unwrap_or(REPORTS_KEPT);
    Retention {
        keep: usize::try_from(keep.max(1)).unwrap_or(1),
        no_longer_than: written.and_then(|reports| reports.r#for.as_ref()?.parse()),
    }
}

/// Understands a spec. `recreate`: the Deployment's strategy leaves no room for a share.
pub fn plan(spec: &ReleaseSpec, recreate: bool) -> Result<Plan, PlanError> {
    notify::check(spec)?;
    undo(spec)?;
    let checks = preflight(&spec.preflight)?;
    let (steps, measuring) = (steps(spec, recreate)?, measuring(spec)?);
    judgeable(spec)?;
    for (index, check) in checks.iter().enumerate() {
        if let CheckKind::Asked(Question::Telemetry(names)) = &check.kind {
            telemetry::criteria(&measuring, names.as_deref()).map_err(|problem| PlanError {
                field: format!("spec.preflight[{index}].telemetry"),
                problem,
            })?;
        }
    }
    Ok(Plan {
        checks,
        migrations: migrations::understood(&spec.migrations)?,
        locks: spec.locks.clone(),
        steps,
        sign_off: spec.sign_off.as_ref().map(|approval| signers(approval, "spec.signOff")).transpose()?,
        calendar: calendar::calendar(spec.windows.as_ref())?,
        traffic: traffic::traffic(spec, &measuring.source)?,
        measuring,
        retention: match spec.reports.as_ref().and_then(|reports| reports.r#for.as_ref()) {
            Some(age) => span(age, || "spec.reports.for".into()).map(|_| retention(spec))?,
            None => retention(spec),
        },
        suspend: spec.suspend,
        capture: spec.capture,
    })
}

/// Understands the part of a spec that measuring needs.
pub fn measuring(spec: &ReleaseSpec) -> Result<Measuring, PlanError> {
    let metrics = spec.metrics.clone().unwrap_or_default();
    let source = match (metrics.prometheus, metrics.pods) {
        (Some(server), _) => {
            let scrape_interval = match &server.scrape_interval {
                Some(interval) => span(interval, || "spec.metrics.prometheus.scrapeInterval".into())?,
                None => SCRAPE_INTERVAL,
            };
            Source::Prometheus { server, scrape_interval: scrape_interval.max(Duration::from_secs(1)) }
        }
        (None, pods) => {
            let pods = pods.unwrap_or_default();
            Source::Pods { port: pods.port, path: pods.path }
        }
    };
    let (mut criteria, mut values) = (Vec::new(), Vec::new());
    for (place, written) in spec.criteria.iter().flatten().enumerate() {
        match understood(place, written)? {
            Planned::Counted(counted) => criteria.push(counted),
            Planned::Value(value) => values.push(value),
        }
    }
    let asks = |value: &values::Criterion| matches!(value.kind, values::Kind::Promql { .. });
    if let Some(asking) = values.iter().find(|value| asks(value))
        && !matches!(source, Source::Prometheus { .. })
    {
        return Err(PlanError {
            field: format!("spec.criteria[{}].value.promql", asking.place),
            problem: "there is no server to ask: write its url as metrics.prometheus.url".into(),
        });
    }
    Ok(Measuring {
        criteria: if spec.criteria.is_none() { default_criteria() } else { criteria },
        values,
        watch: watch(spec)?,
        definition: definition::of_spec(spec, &source),
        source,
    })
}

fn steps(spec: &ReleaseSpec, recreate: bool) -> Result<Vec<PlannedStep>, PlanError> {
    let whole = |name: &str, soak| PlannedStep {
        name: name.into(),
        share: Share::percent(100),
        pilot: None,
        soak,
        advance_early: false,
        deadline: (soak * 2).max(LEAST_DEADLINE),
        checks: Vec::new(),
        approval: None,
    };
    if spec.steps.is_empty() && recreate {
        return Ok(vec![whole("all", Duration::ZERO)]);
    }
    if spec.steps.is_empty() {
        let soak = Duration::from_secs(300);
        let of = |name: &str, percent| PlannedStep { share: Share::percent(percent), ..whole(name, soak) };
        return Ok(vec![of("tenth", 10), of("half", 50), whole("all", Duration::ZERO)]);
    }
    let mut steps = Vec::new();
    for (index, step) in spec.steps.iter().enumerate() {
        let field = |name: &str| format!("spec.steps[{index}].{name}");
        if step.share_is_all() {
            steps.push(PlannedStep { name: step.name.clone(), ..whole("", Duration::ZERO) });
        } else if recreate {
            return Err(PlanError {
                field: field("replicas"),
                problem: "the Deployment's strategy is Recreate: all its pods change at once, so the only step can be 100%"
                    .into(),
            });
        } else if step.replicas.of(1).is_none() {
            return Err(PlanError { field: field("replicas"), problem: "write 3 or 10%".into() });
        } else {
            steps.push(PlannedStep {
                name: step.name.clone(),
                share: step.replicas.clone(),
                ..whole("", Duration::ZERO)
            });
        }
        let last = steps.len() - 1;
        steps[last].approval =
            step.approval.as_ref().map(|approval| signers(approval, &field("approval"))).transpose()?;
        steps[last].pilot =
            pilots::of(step).map_err(|(below, problem)| PlanError { field: field(below), problem })?;
        steps[last].advance_early = step.advance_early;
        steps[last].checks = checks(&step.checks, &field("checks"))?;
        let is_early = |check: &PlannedCheck| match &check.kind {
            CheckKind::Asked(question) => question.is_before_the_first_pod(),
            CheckKind::Approval(_) | CheckKind::Attest(_) | CheckKind::Job(_) | CheckKind::Trial(_) => false,
        };
        if let Some(early) = steps[last].checks.iter().position(is_early) {
            return Err(PlanError {
                field: format!("{}[{early}]", field("checks")),
                problem: "workload, promotion and telemetry are asked before the first pod: write them in preflight".into(),
            });
        }
        if let Some(soak) = &step.soak {
            steps[last].soak = span(soak, || field("soak"))?;
        }
        steps[last].deadline = match &step.deadline {
            Some(deadline) => span(deadline, || field("deadline"))?,
            None => (steps[last].soak * 2).max(LEAST_DEADLINE),
        };
    }
    if !steps.last().is_some_and(|step| step.share == Share::percent(100)) {
        let name = free_name(&steps);
        steps.push(whole(&name, Duration::ZERO));
    }
    Ok(steps)
}

/// A name for all pods that no step has: a run knows its step by that.
fn free_name(steps: &[PlannedStep]) -> String {
    let is_taken = |name: &str| steps.iter().any(|step| step.name == name);
    let mut name = "all".to_owned();
    if is_taken(&name) {
        name = "all-pods".to_owned();
    }
    let mut number = 2;
    while is_taken(&name) {
        name = format!("all-pods-{number}");
        number += 1;
    }
    name
}

impl crate::api::release::Step {
    fn share_is_all(&self) -> bool {
        self.replicas == Share::percent(100)
    }
}

fn watch(spec: &ReleaseSpec) -> Result<Vec<PlannedWatch>, PlanError> {
    let Some(stages) = &spec.watch else {
        let (until, every) = (Duration::from_secs(300), Duration::from_secs(5));
        return Ok(vec![PlannedWatch { until, every, on_limit: None }]);
    };
    let stage = |(index, stage): (usize, &crate::api::release::WatchStage)| {
        let every = span(&stage.every, || format!("spec.watch[{index}].every"))?;
        Ok(PlannedWatch {
            until: span(&stage.r#for, || format!("spec.watch[{index}].for"))?,
            every: every.max(Duration::from_secs(1)),
            on_limit: stage.on_limit,
        })
    };
    stages.iter().enumerate().map(stage).collect()
}

/// A criterion, by who judges it.
enum Planned {
    Counted(judge::Criterion),
    Value(values::Criterion),
}

/// Understands one criterion of the list; `None`: it counts no requests.
pub fn criterion((place, criterion): (usize, &Criterion)) -> Result<Option<judge::Criterion>, PlanError> {
    Ok(match understood(place, criterion)? {
        Planned::Counted(counted) => Some(counted),
        Planned::Value(_) => None,
    })
}

fn understood(place: usize, criterion: &Criterion) -> Result<Planned, PlanError> {
    let field = format!("spec.criteria[{place}]");
    let wrong = |problem: &str| PlanError { field: field.clone(), problem: problem.to_owned() };
    let Criterion { name, error_rate, latency, value, availability, restarts } = criterion;
    let share = |percent: &Percent| percent.share().ok_or_else(|| wrong("write 0.1% or 5%"));
    let seconds = |latency: &Latency| latency.seconds().ok_or_else(|| wrong("write 500ms or 1.5s"));
    let factor = |factor: Option<f64>| factor.ok_or_else(|| wrong("write 50% or 150%"));
    let counted = |measure, on_limit: Option<OnLimit>, on_unknown: Option<OnUnknown>, shadow| {
        Planned::Counted(judge::Criterion {
            name: name.clone(),
            measure,
            on_limit: on_limit.unwrap_or_default(),
            on_unknown: on_unknown.unwrap_or_default(),
            shadow,
        })
    };
    // What the pods' status says.
    let of_pods = |kind, limit, held_for, on_limit: Option<OnLimit>, shadow| {
        Planned::Value(values::Criterion {
            name: name.clone(),
            place,
            kind,
            limit,
            target: None,
            held_for,
            no_data: NoData::Unknown,
            on_limit: on_limit.unwrap_or_default(),
            on_unknown: OnUnknown::Hold,
            shadow,
        })
    };
    Ok(match (error_rate, latency, value, availability, restarts) {
        (Some(rate), None, None, None, None) => {
            let measure = match rate.relative_to {
                None => {
                    let limit = share(&Percent(rate.limit.0.clone()))?;
                    let target = rate.target.as_ref().map_or(Ok(limit), share)?;
                    judge::Measure::ErrorRate { target, limit }
                }
                Some(Reference::Stable) => judge::Measure::ErrorRateOfStable {
                    limit: factor(rate.limit.factor())?,
                    ignore_below: rate.ignore_below.as_ref().map_or(Ok(IGNORED_ERROR_RATE), share)?,
                },
            };
            counted(measure, rate.on_limit, rate.on_unknown, rate.shadow)
        }
        (None, Some(bound), None, None, None) => {
            let quantile = bound.quantile;
            let measure = match bound.relative_to {
                None => {
                    let limit = seconds(&Latency(bound.limit.0.clone()))?;
                    let target = bound.target.as_ref().map_or(Ok(limit), seconds)?;
                    judge::Measure::Latency { quantile, target, limit }
                }
                Some(Reference::Stable) => judge::Measure::LatencyOfStable {
                    quantile,
                    limit: factor(bound.limit.factor())?,
                    ignore_below: bound.ignore_below.as_ref().map_or(Ok(0.0), seconds)?,
                },
            };
            counted(measure, bound.on_limit, bound.on_unknown, bound.shadow)
        }
        (None, None, Some(bound), None, None) => Planned::Value(value_bound(place, name, bound)?),
        (None, None, None, Some(bound), None) => {
            let held_for = bound.r#for.as_ref().map_or(Ok(AVAILABILITY_FOR), |held_for| {
                span(held_for, || format!("{field}.availability.for"))
            })?;
            let limit =
                values::Bound { comparison: values::Comparison::Below, number: share(&bound.limit)? * 100.0 };
            of_pods(values::Kind::Availability, limit, held_for, bound.on_limit, bound.shadow)
        }
        (None, None, None, None, Some(bound)) => {
            let limit =
                values::Bound { comparison: values::Comparison::Above, number: f64::from(bound.limit) };
            of_pods(values::Kind::Restarts, limit, Duration::ZERO, bound.on_limit, bound.shadow)
        }
        _ => {
            return Err(wrong("needs exactly one of: errorRate, latency, value, availability, restarts"));
        }
    })
}

/// A criterion that nobody can judge would hold a run for ever that it stands in the way of. The plan alone says so, and not what is measured: a breach of
/// the others goes back all the same.
fn judgeable(spec: &ReleaseSpec) -> Result<(), PlanError> {
    let waited_for = spec.criteria.iter().flatten().enumerate().filter(|(_, written)| is_waited_for(written));
    for (place, written) in waited_for {
        let first = unsound::numbers(written).into_iter().chain(unsound::target(written)).next();
        if let Some(unsound) = first {
            return Err(refused(place, &unsound));
        }
    }
    Ok(())
}

/// Whether no run goes on until it passes, of one that counts requests.
fn is_waited_for(Criterion { error_rate, latency, .. }: &Criterion) -> bool {
    let of_errors = error_rate.as_ref().map(|it| (it.shadow, it.on_limit, it.on_unknown));
    let of_latency = latency.as_ref().map(|it| (it.shadow, it.on_limit, it.on_unknown));
    of_errors.or(of_latency).is_some_and(|(shadow, on_limit, on_unknown)| {
        !shadow && on_limit != Some(OnLimit::Notify) && on_unknown != Some(OnUnknown::Promote)
    })
}

fn refused(place: usize, unsound: &Unsound) -> PlanError {
    PlanError { field: format!("spec.criteria[{place}].{}", unsound.field), problem: unsound.sentence() }
}

fn value_bound(place: usize, name: &str, bound: &ValueBound) -> Result<values::Criterion, PlanError> {
    let field = |name: &str| format!("spec.criteria[{place}].value{name}");
    let wrong = |name: &str, problem: &str| PlanError { field: field(name), problem: problem.to_owned() };
    let ValueBound {
        pod_gauge,
        promql,
        json,
        limit,
        target,
        r#for,
        by,
        no_data,
        on_limit,
        on_unknown,
        shadow,
    } = bound;
    let kind = match (pod_gauge, promql, json) {
        (Some(gauge), None, None) => {
            let is_word = |text: &str| {
                let plain = |letter: char| letter.is_ascii_alphanumeric() || "_:".contains(letter);
                text.chars().all(plain) && text.starts_with(|first: char| !first.is_ascii_digit())
            };
            if !is_word(&gauge.name) || !gauge.labels.keys().all(|label| is_word(label)) {
                let problem = "names of metrics and labels are made of letters, digits and '_'";
                return Err(wrong(".podGauge", problem));
            }
            values::Kind::PodGauge(values::Gauge { name: gauge.name.clone(), labels: gauge.labels.clone() })
        }
        (None, Some(query), None) => values::Kind::Promql { query: query.clone(), by: by.clone() },
        (None, None, Some(json)) => {
            values::Kind::Json { url: json.url.clone(), pointer: json.pointer.clone() }
        }
        _ => return Err(wrong("", "needs exactly one of: podGauge, promql, json")),
    };
    let condition = |name: &str, text: &Condition| {
        let parsed = text.parse().and_then(|(comparison, number)| values::Bound::new(comparison, number));
        parsed.ok_or_else(|| wrong(name, "write value > 0.8, with >, >=, < or <="))
    };
    let limit = condition(".limit", limit)?;
    let target = target.as_ref().map(|target| condition(".target", target)).transpose()?;
    if let Some(unsound) = unsound::target_of_value(bound) {
        return Err(refused(place, &unsound));
    }
    Ok(values::Criterion {
        name: name.to_owned(),
        place,
        kind,
        limit,
        target,
        held_for: r#for.as_ref().map_or(Ok(VALUE_FOR), |held_for| span(held_for, || field(".for")))?,
        no_data: no_data.unwrap_or_default(),
        on_limit: on_limit.unwrap_or_default(),
        on_unknown: on_unknown.unwrap_or_default(),
        shadow: *shadow,
    })
}

fn default_criteria() -> Vec<judge::Criterion> {
    let of = |name: &str, measure| judge::Criterion {
        name: name.into(),
        measure,
        on_limit: OnLimit::Undo,
        on_unknown: OnUnknown::Hold,
        shadow: false,
    };
    vec![
        of("errors", judge::Measure::ErrorRate { target: 0.01, limit: 0.05 }),
        of("latency", judge::Measure::Latency { quantile: 0.99, target: 0.5, limit: 2.0 }),
    ]
}

fn span(text: &Span, field: impl FnOnce() -> String) -> Result<Duration, PlanError> {
    text.parse().ok_or_else(|| PlanError { field: field(), problem: "write 90s, 15m, 1h30m or 48h".into() })
}
