//! Before the first pod: the new template is held until all its checks have passed, and its migrations are done. What runs the new version
//! comes last: nobody is to run what is not signed, or what its migrations have not made way for.

use std::time::Duration;

use super::back::MOST_NOTES;
use super::checks;
use super::decision::Notice;
use super::draft::Draft;
use super::gate;
use super::locks;
use super::migrations;
use super::plan::{CheckKind, Plan, PlannedCheck};
use super::rest;
use super::rights;
use super::scene::Scene;
use super::steps;
use super::unheard;
use crate::api::status::{CheckState, CheckStatus, Stage};
use crate::api::{Action, Phase};

/// What to do before the first pod.
pub fn decide(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    match ready(draft, scene) {
        Some(plan) => forward(draft, scene, plan),
        None => {
            let run = draft.run();
            let has_begun = !run.migrations.is_empty();
            locks::give_up(run, has_begun);
        }
    }
    migrations::remind(draft, scene);
}

/// The plan, when nothing stands in the way of what comes before the first pod; else says what does.
fn ready<'s>(draft: &mut Draft<'_>, scene: &'s Scene<'_>) -> Option<&'s Plan> {
    let originals = scene.originals.clone().ok()?;
    if let Some((stable, _)) = scene.kept(&scene.stable_fingerprint) {
        let held = rest::held_fields(scene, &originals, stable);
        draft.want(scene.target, &held, "hold the new template");
    }
    let plan = match scene.plan {
        Ok(plan) => plan,
        Err(problem) => {
            if let Some(written) = scene.written {
                checks::look_at_jobs(draft, scene, written);
                migrations::look(draft, scene, written);
            }
            let (reason, message, unblock) = rights::refused(draft, problem);
            draft.held(reason, message, unblock);
            return None;
        }
    };
    // Signatures may be given before it is time; a check is to be true when the first pod goes out.
    let hold = gate::before_the_first_pod(scene.snapshot, plan, draft.run());
    let is_time =
        |check: &PlannedCheck| !check.kind.comes_last() && (hold.is_none() || check.kind.is_signed());
    checks::look(draft, scene, &plan.checks, None, is_time);
    migrations::look(draft, scene, plan);
    // Held by the calendar it may be for weeks, and many at a time: only what ends that, or somebody's word, is a reason to look.
    let has_failed = checks::standing(draft.run(), &plan.checks, None).failed.is_some();
    let hold = hold.filter(|_| !has_failed);
    if hold.is_none() {
        draft.wake_in(rest::LOOK_AGAIN);
    }
    if let Some(said) = draft.run().paused.clone() {
        draft.held("Paused", said.sentence("pause"), draft.command(Action::Resume));
        return None;
    }
    if plan.suspend {
        draft.held("Suspended", "spec.suspend is true", "set spec.suspend to false");
        return None;
    }
    if unheard::holds(draft) {
        return None;
    }
    if let Some(mut hold) = hold {
        hold.message.push_str(&unsigned(draft, &plan.checks));
        draft.held_by(hold);
        return None;
    }
    open(draft, &plan.checks, |kind| !kind.comes_last()).then_some(plan)
}

/// Takes the locks, runs the migrations, asks what comes last, and then begins with the first step: one of them in a look.
fn forward(draft: &mut Draft<'_>, scene: &Scene<'_>, plan: &Plan) {
    if !locks::are_held(draft, scene, &plan.locks, Phase::Preflight)
        || !migrations::before_the_first_pod(draft, scene, plan)
    {
        return;
    }
    for check in plan.checks.iter().filter(|check| check.kind.comes_last()) {
        checks::look_at(draft, scene, check, None);
    }
    if !open(draft, &plan.checks, CheckKind::comes_last) {
        return;
    }
    let now = draft.now();
    let run = draft.run();
    if let Some(unread) = scene.snapshot.freezes.unread.clone().filter(|unread| !run.notes.contains(unread)) {
        run.notes.truncate(MOST_NOTES - 1);
        run.notes.push(unread);
    }
    run.stage = Stage::Steps;
    run.step = 0;
    run.progress = steps::begun(&plan.steps[0], now, 0);
    let id = run.id.clone();
    if !plan.checks.is_empty() {
        let word = passed(&run.checks, &plan.checks);
        draft.notices.push(Notice::normal("ChecksPassed", format!("run {id}: {word}")));
    }
    draft.phase(Phase::Moving, "the checks have passed; the first move begins");
    draft.wake_in(Duration::from_millis(200));
}

/// The signatures that are still missing, and can be given meanwhile: a sentence, or nothing.
fn unsigned(draft: &mut Draft<'_>, planned: &[PlannedCheck]) -> String {
    let waiting = planned.iter().filter(|check| check.kind.is_signed());
    let run = draft.run();
    let known = waiting.filter_map(|check| run.checks.iter().find(|known| known.name == check.name));
    let lacking = known.filter(|known| known.state.is_open());
    let words: Vec<String> = lacking.map(|known| format!("{}: {}", known.name, known.message)).collect();
    if words.is_empty() {
        String::new()
    } else {
        format!(". It can be signed meanwhile: {}", words.join("; "))
    }
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

/// Whether nothing stands in the way any more, of what is waited for now; else says what does.
fn open(draft: &mut Draft<'_>, planned: &[PlannedCheck], now: impl Fn(&CheckKind) -> bool) -> bool {
    let mut standing = checks::standing(draft.run(), planned, None);
    let is_of_now =
        |known: &CheckStatus| planned.iter().any(|check| check.name == known.name && now(&check.kind));
    standing.waiting.retain(is_of_now);
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
    let is_signed = |check: &CheckStatus| {
        planned.iter().any(|planned| planned.name == check.name && planned.kind.is_signed())
    };
    let waiting = &standing.waiting;
    let Some(first) = waiting.iter().find(|check| !is_signed(check)).or(waiting.first()) else {
        return true;
    };
    let names = waiting.iter().map(|check| check.name.as_str()).collect::<Vec<_>>().join(", ");
    draft.phase(Phase::Preflight, format!("a new template is held; waiting for checks: {names}"));
    let (reason, message, unblock) = checks::waited_for(draft, planned, first);
    draft.blocked(reason, message, unblock);
    false
}
