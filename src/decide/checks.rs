//! Checks before the first pod: all at once, each passed, failed, or not known yet. The new template is held meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::decision::{Intent, Notice};
use super::draft::Draft;
use super::fields::Wanted;
use super::gate;
use super::needs::ASK_AGAIN;
use super::plan::{CheckKind, PlannedCheck};
use super::rest;
use super::scene::Scene;
use super::snapshot::{JobFacts, ProbeId, ProbeResult};
use crate::api::check::Approval;
use crate::api::status::{CheckState, CheckStatus, Progress, Run, Signature, Stage};
use crate::api::{Action, Phase, RELEASE_LABEL};

/// Notes of a run that are kept.
const MOST_NOTES: usize = 16;

/// What to do before the first pod.
pub fn decide(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let Ok(originals) = scene.originals.clone() else { return };
    if let Some((stable, _)) = scene.kept(&scene.stable_fingerprint) {
        let held = Wanted::held(&originals, stable, scene.on_delete, scene.target.replicas);
        draft.want(scene.target, &held, "hold the new template");
    }
    let plan = match &scene.plan {
        Ok(plan) => plan,
        Err(problem) => {
            let unblock = draft.edit();
            return draft.held("InvalidSpec", problem.to_string(), unblock);
        }
    };
    let now = draft.now();
    let run = draft.run();
    run.checks.retain(|known| plan.checks.iter().any(|check| check.name == known.name));
    for check in &plan.checks {
        if !run.checks.iter().any(|known| known.name == check.name) {
            run.checks.push(CheckStatus {
                name: check.name.clone(),
                state: CheckState::Waiting,
                attempt: 1,
                message: String::new(),
                since: Some(now),
            });
        }
    }
    // Signatures may be given before it is time; a check is to be true when the first pod goes out.
    let hold = gate::before_the_first_pod(scene.snapshot, plan, draft.run());
    for (index, check) in plan.checks.iter().enumerate() {
        if hold.is_none() || matches!(check.kind, CheckKind::Approval(_)) {
            look(draft, scene, check, index);
        }
    }
    // Held by the calendar it may be for weeks, and many at a time: only what ends that, or somebody's word, is a reason to look.
    let has_failed = draft.run().checks.iter().any(|check| check.state == CheckState::Failed);
    let hold = hold.filter(|_| !has_failed);
    if hold.is_none() {
        draft.wake_in(rest::LOOK_AGAIN);
    }
    if let Some(said) = draft.run().paused.clone() {
        return draft.held("Paused", said.sentence("pause"), draft.command(Action::Resume));
    }
    if plan.suspend {
        return draft.held("Suspended", "spec.suspend is true", "set spec.suspend to false");
    }
    if let Some(mut hold) = hold {
        hold.message.push_str(&unsigned(draft, &plan.checks));
        return draft.held_by(hold);
    }
    if !open(draft, &plan.checks) {
        return;
    }
    let run = draft.run();
    if let Some(unread) = scene.snapshot.freezes.unread.clone().filter(|unread| !run.notes.contains(unread)) {
        run.notes.truncate(MOST_NOTES - 1);
        run.notes.push(unread);
    }
    run.stage = Stage::Steps;
    run.step = 0;
    run.progress = Progress { begun: Some(now), ..Progress::default() };
    let id = run.id.clone();
    if !plan.checks.is_empty() {
        let note = format!("run {id}: all {} checks passed", plan.checks.len());
        draft.notices.push(Notice::normal("ChecksPassed", note));
    }
    draft.phase(Phase::Moving, "the checks have passed; the first move begins");
    draft.wake_in(Duration::from_millis(200));
}

/// Whether nothing stands in the way any more; else says what does.
fn open(draft: &mut Draft<'_>, planned: &[PlannedCheck]) -> bool {
    let checks = draft.run().checks.clone();
    let of = |state: CheckState| checks.iter().filter(move |check| check.state == state);
    if let Some(failed) = of(CheckState::Failed).next() {
        let message = format!("check {} failed: {}", failed.name, failed.message);
        let unblock = format!(
            "{}, or {}, or {}",
            draft.command(Action::Retry),
            draft.command(Action::Skip),
            draft.command(Action::Abort)
        );
        draft.held("CheckFailed", message, unblock);
        return false;
    }
    let waiting: Vec<&CheckStatus> = of(CheckState::Waiting).chain(of(CheckState::Unknown)).collect();
    let approval = |check: &CheckStatus| {
        planned.iter().find_map(|planned| match &planned.kind {
            CheckKind::Approval(approval) if planned.name == check.name => Some(approval),
            CheckKind::Approval(_) | CheckKind::Job(_) | CheckKind::Http(_) | CheckKind::Config(_) => None,
        })
    };
    let Some(first) = waiting.iter().find(|check| approval(check).is_none()).or(waiting.first()) else {
        return true;
    };
    let names = waiting.iter().map(|check| check.name.as_str()).collect::<Vec<_>>().join(", ");
    draft.phase(Phase::Preflight, format!("a new template is held; waiting for checks: {names}"));
    let message = format!("check {}: {}", first.name, first.message);
    match approval(first) {
        Some(approval) => {
            let unblock = approve_command(draft, approval);
            draft.blocked("AwaitingApproval", message, unblock);
        }
        None if first.state == CheckState::Unknown => {
            draft.blocked("CheckUnknown", message, "wait: it is asked again every 15 s");
        }
        None => draft.blocked("CheckRunning", message, "wait"),
    }
    false
}

/// The signatures that are still missing, and can be given meanwhile: a sentence, or nothing.
fn unsigned(draft: &mut Draft<'_>, planned: &[PlannedCheck]) -> String {
    let waiting = planned.iter().filter(|check| matches!(check.kind, CheckKind::Approval(_)));
    let run = draft.run();
    let known = waiting.filter_map(|check| run.checks.iter().find(|known| known.name == check.name));
    let lacking = known.filter(|known| known.state == CheckState::Waiting);
    let words: Vec<String> = lacking.map(|known| format!("{}: {}", known.name, known.message)).collect();
    if words.is_empty() {
        String::new()
    } else {
        format!(". It can be signed meanwhile: {}", words.join("; "))
    }
}

/// Looks at one check, and sets it going.
fn look(draft: &mut Draft<'_>, scene: &Scene<'_>, check: &PlannedCheck, index: usize) {
    let run = draft.run();
    let Some(known) = run.checks.iter().find(|known| known.name == check.name).cloned() else { return };
    if matches!(known.state, CheckState::Passed | CheckState::Failed | CheckState::Skipped) {
        return;
    }
    let id = ProbeId { run: run.id.clone(), check: check.name.clone(), attempt: known.attempt };
    let (state, message) = match &check.kind {
        CheckKind::Approval(approval) => {
            let since = run.started_at.0;
            match signed(run, approval, since) {
                Signed::Enough(by) => (CheckState::Passed, by),
                Signed::Lacking(message) => (CheckState::Waiting, message),
            }
        }
        CheckKind::Job(template) => job(draft, scene, check, &id, template),
        CheckKind::Http(_) | CheckKind::Config(_) => match scene.snapshot.probes.get(&id) {
            None => (CheckState::Waiting, "asked".to_owned()),
            Some(answer) => {
                if answer.result == ProbeResult::Unknown {
                    draft.wake_at(answer.at + ASK_AGAIN);
                }
                (answered(answer.result), answer.message.clone())
            }
        },
    };
    let name = check.name.clone();
    if state == CheckState::Failed {
        draft.notices.push(Notice::warning("CheckFailed", format!("check {name} failed: {message}")));
    }
    if let Some(known) = draft.run().checks.get_mut(index).filter(|known| known.name == name) {
        known.state = state;
        known.message = message.chars().take(512).collect();
    }
}

fn answered(result: ProbeResult) -> CheckState {
    match result {
        ProbeResult::Passed => CheckState::Passed,
        ProbeResult::Failed => CheckState::Failed,
        ProbeResult::Unknown => CheckState::Unknown,
    }
}

/// A Job is made once for each run and try; its name says which, so that it is found again after a restart.
fn job(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    check: &PlannedCheck,
    id: &ProbeId,
    template: &Value,
) -> (CheckState, String) {
    let canary = draft.status.canary.clone().unwrap_or_default().fingerprint;
    let short: String = canary.chars().take(6).collect();
    let (release, attempt) = (draft.name(), id.attempt);
    // 63 characters at most: 52 of the Release leave too little for long names of checks, so the check's name is cut.
    let tail = format!("-{}-{short}-{attempt}", id.run);
    let room = 63usize.saturating_sub(tail.len());
    let head: String = format!("{release}-{}", check.name).chars().take(room).collect();
    let name = format!("{}{tail}", head.trim_end_matches('-'));
    match scene.snapshot.jobs.get(&name) {
        Some(JobFacts::Running) => (CheckState::Waiting, format!("job {name} is running")),
        Some(JobFacts::Succeeded) => (CheckState::Passed, format!("job {name} succeeded")),
        Some(JobFacts::Failed { message }) => (CheckState::Failed, format!("job {name} failed: {message}")),
        None => {
            if let Some(refused) = scene.snapshot.probes.get(id) {
                return (answered(refused.result), refused.message.clone());
            }
            let body = job_body(draft, check, &name, template);
            let (run, check) = (id.run.clone(), id.check.clone());
            draft.intents.push(Intent::CreateJob { name: name.clone(), check, run, attempt, body });
            (CheckState::Waiting, format!("job {name} is being made"))
        }
    }
}

fn job_body(draft: &Draft<'_>, check: &PlannedCheck, name: &str, template: &Value) -> Value {
    let mut metadata =
        template.get("metadata").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    metadata["name"] = json!(name);
    if !metadata["labels"].is_object() {
        metadata["labels"] = json!({});
    }
    metadata["labels"][RELEASE_LABEL] = json!(draft.name());
    metadata["labels"]["tidegate.dev/check"] = json!(check.name);
    metadata["ownerReferences"] = json!([{
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "name": draft.name(), "uid": draft.release.uid,
        "controller": true, "blockOwnerDeletion": false,
    }]);
    let mut spec = template["spec"].clone();
    if spec["activeDeadlineSeconds"].is_null() {
        spec["activeDeadlineSeconds"] = json!(check.timeout.as_secs().max(1));
    }
    if spec["ttlSecondsAfterFinished"].is_null() {
        spec["ttlSecondsAfterFinished"] = json!(86_400);
    }
    json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec })
}

/// Whether an approval has the signatures it needs.
pub enum Signed {
    /// By whom.
    Enough(String),
    /// What is missing.
    Lacking(String),
}

/// Counts signatures given since then: different people, and with several roles different roles, in whatever order they signed.
pub fn signed(run: &Run, approval: &Approval, since: Timestamp) -> Signed {
    // The API server tells moments to the second: one of the same second is not an earlier one.
    let since = since.as_second();
    let counts = |signature: &&Signature| {
        signature.at.0.as_second() >= since
            && approval.roles.contains(&signature.role)
            && (approval.allow_author || Some(&signature.by) != run.changed_by.as_ref())
    };
    let mut offers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for signature in run.signatures.iter().filter(counts) {
        offers.entry(&signature.by).or_default().push(&signature.role);
    }
    let by: Vec<String> = if approval.roles.len() > 1 {
        pairs(&offers).into_iter().map(|(role, person)| format!("{person} ({role})")).collect()
    } else {
        offers.iter().map(|(person, roles)| format!("{person} ({})", roles[0])).collect()
    };
    let have = i32::try_from(by.len()).unwrap_or(i32::MAX);
    if have >= approval.quorum {
        return Signed::Enough(format!("signed by {}", by.join(", ")));
    }
    Signed::Lacking(format!("{have} of {} signatures, roles: {}", approval.quorum, approval.roles.join(", ")))
}

/// As many pairs of a role and a person as there can be, each in one pair only (Kuhn's augmenting paths: roles are at most eight).
fn pairs<'r>(offers: &BTreeMap<&'r str, Vec<&'r str>>) -> BTreeMap<&'r str, &'r str> {
    let mut taken = BTreeMap::new();
    for person in offers.keys() {
        place(person, offers, &mut taken, &mut Vec::new());
    }
    taken
}

/// Finds a role for a person; who holds it already moves to another one, where there is one.
fn place<'r>(
    person: &'r str,
    offers: &BTreeMap<&'r str, Vec<&'r str>>,
    taken: &mut BTreeMap<&'r str, &'r str>,
    tried: &mut Vec<&'r str>,
) -> bool {
    for role in offers.get(person).into_iter().flatten().copied() {
        if tried.contains(&role) {
            continue;
        }
        tried.push(role);
        let holder = taken.get(role).copied();
        if holder.is_none_or(|holder| place(holder, offers, taken, tried)) {
            taken.insert(role, person);
            return true;
        }
    }
    false
}

/// The command that signs.
pub fn approve_command(draft: &Draft<'_>, approval: &Approval) -> String {
    format!("{} --role {}", draft.command(Action::Approve), approval.roles.join("|"))
}
