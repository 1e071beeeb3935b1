//! The part of a plan that is about the way back. Understood by itself: whatever else is wrong with a spec, going back goes by it; and what
//! is wrong with this part changes nothing of going back itself, which needs none of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{CheckKind, PlanError, PlannedCheck, checks, span};
use crate::api::ReleaseSpec;
use crate::api::text::{Span, is_object_name};
use crate::api::undo::{
    ConfigMapHook, HttpHook, PatchHook, UndoEvidence, UndoHook, UndoPhase, UndoPhases, UndoValidation,
};
use crate::decide::jobs::PlannedJob;

/// Pods of which evidence is kept, where nothing is said.
const PODS: usize = 1;
/// Lines of each log, where nothing is said.
const LOG_LINES: u32 = 50;
/// What has not answered by then is not waited for, where no budget says otherwise.
const LONGEST_VALIDATION: Duration = Duration::from_secs(600);
/// The same bounds as the schema's, for what was stored before it.
const MOST_PODS: usize = 3;
const MOST_LOG_LINES: u32 = 200;
const MOST_QUARANTINED: usize = 5;
const MOST_HOOKS: usize = 8;
/// What the policies guard against others than the operator, what runs programs, and what gives rights: by group, and in the core by resource.
const GUARDED_GROUPS: [&str; 4] = ["apps", "batch", "tidegate.dev", "rbac.authorization.k8s.io"];
const GUARDED_IN_THE_CORE: [&str; 4] = ["pods", "secrets", "serviceaccounts", "replicationcontrollers"];

/// The way back, understood.
#[derive(Clone, Debug)]
pub struct PlannedUndo {
    pub budget: Option<Duration>,
    pub phases: Vec<(UndoPhase, Duration)>,
    pub hooks: Vec<PlannedHook>,
    pub validation: Option<PlannedValidation>,
    pub evidence: KeptEvidence,
    pub quarantine: Option<PlannedQuarantine>,
}

impl Default for PlannedUndo {
    /// What is done where nothing is said, and where what is said cannot be understood.
    fn default() -> Self {
        Self {
            budget: None,
            phases: Vec::new(),
            hooks: Vec::new(),
            validation: None,
            evidence: KeptEvidence { pods: PODS, log_lines: LOG_LINES },
            quarantine: None,
        }
    }
}

impl PlannedUndo {
    /// How long a phase may take.
    pub fn budget_of(&self, phase: UndoPhase) -> Option<Duration> {
        self.phases.iter().find(|(known, _)| *known == phase).map(|(_, budget)| *budget)
    }
}

/// How the version that was put back is looked at.
#[derive(Clone, Debug)]
pub struct PlannedValidation {
    /// Stable pods are measured for so long; none: not at all.
    pub measured: Duration,
    /// What has not answered by then is not waited for.
    pub longest: Duration,
    pub checks: Vec<PlannedCheck>,
}

/// What is kept of the worst canary pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptEvidence {
    pub pods: usize,
    pub log_lines: u32,
}

/// Pods that are kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedQuarantine {
    pub pods: usize,
    pub lasts: Duration,
}

/// Something done beside the way back.
#[derive(Clone, Debug)]
pub struct PlannedHook {
    pub name: String,
    pub kind: HookKind,
}

/// What is done.
#[derive(Clone, Debug)]
pub enum HookKind {
    Call(Box<HttpHook>),
    Patch(ObjectPatch),
    Job(Arc<PlannedJob>),
}

/// A merge patch of an object of the Release's namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectPatch {
    /// Empty: the core.
    pub group: String,
    pub version: String,
    pub resource: String,
    pub name: String,
    pub patch: Value,
}

/// Understands the way back.
pub fn undo(spec: &ReleaseSpec) -> Result<PlannedUndo, PlanError> {
    let Some(written) = &spec.undo else { return Ok(PlannedUndo::default()) };
    let of = |text: &Option<Span>, field: &str| {
        text.as_ref().map(|text| span(text, || format!("spec.undo.{field}"))).transpose()
    };
    let budget = of(&written.budget, "budget")?;
    let phases = phases(written.phases.as_ref(), budget)?;
    let quarantine = match &written.quarantine {
        Some(quarantine) => Some(PlannedQuarantine {
            pods: usize::try_from(quarantine.pods).unwrap_or(0).min(MOST_QUARANTINED),
            lasts: span(&quarantine.r#for, || "spec.undo.quarantine.for".into())?,
        }),
        None => None,
    };
    let mut planned = PlannedUndo {
        budget,
        phases,
        hooks: written.hooks.iter().take(MOST_HOOKS).enumerate().map(hook).collect::<Result<_, _>>()?,
        validation: None,
        evidence: evidence(written.evidence.as_ref()),
        quarantine,
    };
    planned.validation = match &written.validate {
        Some(written) => Some(validation(written, planned.budget_of(UndoPhase::Validation))?),
        None => None,
    };
    Ok(planned)
}

/// Budgets of phases that add up to no more than the budget of all.
fn phases(
    written: Option<&UndoPhases>,
    budget: Option<Duration>,
) -> Result<Vec<(UndoPhase, Duration)>, PlanError> {
    let Some(UndoPhases { decision, execution, validation, communication }) = written else {
        return Ok(Vec::new());
    };
    let all = [
        (UndoPhase::Decision, decision),
        (UndoPhase::Execution, execution),
        (UndoPhase::Validation, validation),
        (UndoPhase::Communication, communication),
    ];
    let mut phases = Vec::new();
    for (phase, text) in all {
        let Some(text) = text else { continue };
        phases.push((phase, span(text, || format!("spec.undo.phases.{}", phase.word()))?));
    }
    let sum = phases.iter().map(|(_, length)| *length).fold(Duration::ZERO, Duration::saturating_add);
    match budget {
        Some(budget) if sum > budget => Err(PlanError {
            field: "spec.undo.phases".into(),
            problem: format!(
                "together they may take {} s, more than the budget of {} s, which is for all of them",
                sum.as_secs(),
                budget.as_secs()
            ),
        }),
        Some(_) | None => Ok(phases),
    }
}

fn validation(written: &UndoValidation, budget: Option<Duration>) -> Result<PlannedValidation, PlanError> {
    let field = "spec.undo.validate";
    let measured = match &written.r#for {
        Some(text) => span(text, || format!("{field}.for"))?,
        None => Duration::ZERO,
    };
    if let Some(budget) = budget.filter(|budget| *budget < measured) {
        return Err(PlanError {
            field: format!("{field}.for"),
            problem: format!(
                "it is {} s, longer than the {} s that undo.phases.validation may take",
                measured.as_secs(),
                budget.as_secs()
            ),
        });
    }
    let checks = checks(&written.checks, &format!("{field}.checks"))?;
    for (index, check) in checks.iter().enumerate() {
        let problem = match &check.kind {
            CheckKind::Approval(_) | CheckKind::Attest(_) => {
                "nobody is asked once stable stands: leave it out, and write who is asked before it goes back as undo.approval"
            }
            CheckKind::Asked(question) if question.is_before_the_first_pod() => {
                "workload, promotion and telemetry are asked before the first pod: write them in preflight"
            }
            CheckKind::Job(_) | CheckKind::Asked(_) | CheckKind::Trial(_) => continue,
        };
        return Err(PlanError {
            field: format!("{field}.checks[{index}]"),
            problem: format!("check '{}': {problem}", check.name),
        });
    }
    Ok(PlannedValidation { measured, longest: budget.unwrap_or(LONGEST_VALIDATION).max(measured), checks })
}

fn evidence(written: Option<&UndoEvidence>) -> KeptEvidence {
    let pods = written.and_then(|written| written.pods).and_then(|pods| usize::try_from(pods).ok());
    let lines = written.and_then(|written| written.log_lines).and_then(|lines| u32::try_from(lines).ok());
    KeptEvidence {
        pods: pods.unwrap_or(PODS).min(MOST_PODS),
        log_lines: lines.unwrap_or(LOG_LINES).min(MOST_LOG_LINES),
    }
}

fn hook((place, hook): (usize, &UndoHook)) -> Result<PlannedHook, PlanError> {
    let UndoHook { name, http, config_map, patch, job } = hook;
    let field = |kind: &str| format!("spec.undo.hooks[{place}]{kind}");
    let kind = match (http, config_map, patch, job) {
        (Some(http), None, None, None) => HookKind::Call(Box::new(http.clone())),
        (None, Some(map), None, None) => HookKind::Patch(map_patch(map, &field(".configMap"))?),
        (None, None, Some(patch), None) => HookKind::Patch(object_patch(patch, &field(".patch"))?),
        (None, None, None, Some(job)) => HookKind::Job(Arc::new(PlannedJob::of(job, &field(".job"))?)),
        _ => {
            return Err(PlanError {
                field: field(""),
                problem: format!("hook '{name}' needs exactly one of: http, configMap, patch, job"),
            });
        }
    };
    Ok(PlannedHook { name: name.clone(), kind })
}

fn map_patch(written: &ConfigMapHook, field: &str) -> Result<ObjectPatch, PlanError> {
    let ConfigMapHook { name, key, value } = written;
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let wrong = |below: &str, problem: String| PlanError { field: format!("{field}{below}"), problem };
    if !is_object_name(name) {
        return Err(wrong(".name", format!("'{name}' is not the name of an object")));
    }
    if key.is_empty() || !key.bytes().all(is_key) {
        let problem = format!("'{key}' is no key of a ConfigMap: write letters, digits, '-', '_' and '.'");
        return Err(wrong(".key", problem));
    }
    Ok(ObjectPatch {
        group: String::new(),
        version: "v1".into(),
        resource: "configmaps".into(),
        name: name.clone(),
        patch: json!({ "data": { key.as_str(): value } }),
    })
}

/// The rules of the schema again: one that was stored under an older schema would reach what a hook must not change, or make another request of ours
/// than a patch of one object.
fn object_patch(written: &PatchHook, field: &str) -> Result<ObjectPatch, PlanError> {
    let PatchHook { api_version, resource, name, patch } = written;
    let wrong = |below: &str, problem: String| PlanError { field: format!("{field}{below}"), problem };
    let (group, version) = match api_version.split_once('/') {
        Some((group, version)) => (Some(group), version),
        None => (None, api_version.as_str()),
    };
    if !group.is_none_or(|group| is_word(group, b"-.")) || !is_version(version) {
        let problem = format!("'{api_version}' is no apiVersion: write v1 or core.openfeature.dev/v1beta1");
        return Err(wrong(".apiVersion", problem));
    }
    if !is_word(resource, b"-") {
        let problem = format!(
            "'{resource}' is no resource: write the plural in lower case that kubectl api-resources shows, as in featureflags"
        );
        return Err(wrong(".resource", problem));
    }
    if !is_object_name(name) {
        return Err(wrong(".name", format!("'{name}' is not the name of an object")));
    }
    if !patch.is_object() {
        return Err(wrong(
            ".patch",
            "it is no object: write the fields that change, and null for what goes".into(),
        ));
    }
    let is_guarded = match group {
        Some(group) => GUARDED_GROUPS.contains(&group),
        None => GUARDED_IN_THE_CORE.contains(&resource.as_str()),
    };
    if is_guarded {
        return Err(wrong(
            "",
            format!(
                "hooks change no {resource} of {api_version}: no workloads, pods, Jobs, Secrets, accounts, roles, nor Tidegate's own kinds; name another object, or leave the hook out"
            ),
        ));
    }
    Ok(ObjectPatch {
        group: group.unwrap_or_default().to_owned(),
        version: version.to_owned(),
        resource: resource.clone(),
        name: name.clone(),
        patch: patch.clone(),
    })
}

/// `v1`, `v1beta1`.
fn is_version(text: &str) -> bool {
    let rest = text.strip_prefix('v').unwrap_or_default();
    rest.starts_with(|first: char| first.is_ascii_digit()) && is_word(rest, b"")
}

/// Lower case letters and digits, and between them these.
fn is_word(text: &str, between: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (first, last) = (text.as_bytes().first(), text.as_bytes().last());
    first.is_some_and(is_plain)
        && last.is_some_and(is_plain)
        && text.bytes().all(|byte| is_plain(&byte) || between.contains(&byte))
}
