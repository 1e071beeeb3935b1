//! Before the first pod: the new template is held until all its checks have passed.

use std::time::Duration;

use super::approval;
use super::checks;
use super::decision::Notice;
use super::draft::Draft;
use super::fields::Wanted;
use super::plan::{CheckKind, PlannedCheck};
use super::rest;
use super::scene::Scene;
use crate::api::status::{CheckState, CheckStatus, Progress, Stage};
use crate::api::{Action, Phase};

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
    checks::look(draft, scene, &plan.checks, None);
    draft.wake_in(rest::LOOK_AGAIN);
    if let Some(said) = draft.run().paused.clone() {
        return draft.held("Paused", said.sentence("pause"), draft.command(Action::Resume));
    }
    if plan.suspend {
        return draft.held("Suspended", "spec.suspend is true", "set spec.suspend to false");
    }
    if !open(draft, &plan.checks) {
        return;
    }
    let now = draft.now();
    let run = draft.run();
    run.stage = Stage::Steps;
    run.step = 0;
    run.progress = Progress { begun: Some(now), ..Progress::default() };
    let id = run.id.clone();
    if !plan.checks.is_empty() {
        let word = passed(&run.checks, &plan.checks);
        draft.notices.push(Notice::normal("ChecksPassed", format!("run {id}: {word}")));
    }
    draft.phase(Phase::Moving, "the checks have passed; the first move begins");
    draft.wake_in(Duration::from_millis(200));
}

/// "all 3 checks passed", or which did not and were no more than warnings.
fn passed(known: &[CheckStatus], planned: &[PlannedCheck]) -> String {
    let failed: Vec<&str> = known
        .iter()
        .filter(|check| {
            check.step.is_none() && matches!(check.state, CheckState::Failed | CheckState::Unknown)
        })
        .map(|check| check.name.as_str())
        .collect();
    match failed.as_slice() {
        [] => format!("all {} checks passed", planned.len()),
        failed => format!("the checks passed, but for warnings: {}", failed.join(", ")),
    }
}

/// Whether nothing stands in the way any more; else says what does.
fn open(draft: &mut Draft<'_>, planned: &[PlannedCheck]) -> bool {
    let standing = checks::standing(draft.run(), planned, None);
    if let Some(failed) = standing.failed {
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
    let approval = |check: &CheckStatus| {
        planned.iter().find_map(|planned| match &planned.kind {
            CheckKind::Approval(approval) if planned.name == check.name => Some(approval),
            CheckKind::Approval(_) | CheckKind::Job(_) | CheckKind::Asked(_) => None,
        })
    };
    let waiting = &standing.waiting;
    let Some(first) = waiting.iter().find(|check| approval(check).is_none()).or(waiting.first()) else {
        return true;
    };
    let names = waiting.iter().map(|check| check.name.as_str()).collect::<Vec<_>>().join(", ");
    draft.phase(Phase::Preflight, format!("a new template is held; waiting for checks: {names}"));
    match approval(first) {
        Some(approval) => {
            let message = format!("check {}: {}", first.name, first.message);
            let unblock = approval::command(draft, approval);
            draft.blocked("AwaitingApproval", message, unblock);
        }
        None => {
            let (reason, message, unblock) = checks::waited_for(draft, first);
            draft.blocked(reason, message, unblock);
        }
    }
    false
}
