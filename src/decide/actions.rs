//! What people said: each ReleaseAction takes effect once. That it did is written in status first, and marked on the action after.

use super::back;
use super::checks;
use super::decision::{Intent, Notice};
use super::draft::Draft;
use super::fields::{Originals, Wanted};
use super::plan::CheckKind;
use super::scene::Scene;
use super::snapshot::ActionFacts;
use crate::api::check::Approval;
use crate::api::status::{Cause, CheckState, CheckStatus, Handled, Run, Said, Signature, Stage, Stamp};
use crate::api::{Action, Outcome};

/// Entries kept at most; an action is handled again only if it was made more than this many actions ago and never marked.
const MOST_HANDLED: usize = 64;

/// Marks actions that status says took effect, and forgets those that carry their mark.
pub fn mark(draft: &mut Draft<'_>) {
    let actions = &draft.snapshot.actions;
    draft
        .status
        .handled
        .retain(|handled| actions.iter().any(|action| action.uid == handled.uid && !action.marked));
    for handled in draft.release.status.handled.clone() {
        let Some(action) = actions.iter().find(|action| action.uid == handled.uid && !action.marked) else {
            continue;
        };
        draft.intents.push(Intent::MarkAction {
            name: action.name.clone(),
            done: handled.done,
            message: handled.message,
            at: draft.snapshot.now,
        });
    }
}

/// Lets each new action take effect.
pub fn apply(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    for action in &scene.snapshot.actions {
        let known = draft.status.handled.iter().any(|handled| handled.uid == action.uid);
        if action.marked || known || draft.status.handled.len() >= MOST_HANDLED {
            continue;
        }
        let result = admit(draft, scene, action).and_then(|()| take(draft, scene, action));
        let (done, message) = match result {
            Ok(message) => (true, message),
            Err(message) => (false, message),
        };
        if done {
            let who = action.by.as_deref().unwrap_or("somebody");
            let note = format!("{who}: {:?}: {message}", action.action);
            draft.notices.push(Notice::normal("ActionTaken", note));
        }
        draft.status.handled.push(Handled { uid: action.uid.clone(), action: action.action, done, message });
    }
}

/// Whether an action counts at all: known author, about the run that is under way.
fn admit(draft: &Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<(), String> {
    let stops = matches!(action.action, Action::Abort | Action::Pause);
    if !stops && !scene.snapshot.served.rights {
        return Err("policy tidegate-action-rights is not installed: who says this cannot be known".into());
    }
    let run = draft.status.run.as_ref().map(|run| run.id.clone());
    match (&action.run, run) {
        (Some(meant), Some(now)) if *meant != now => {
            Err(format!("it is about run {meant}; the run under way is {now}"))
        }
        _ => Ok(()),
    }
}

fn take(draft: &mut Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<String, String> {
    match action.action {
        Action::Approve => approve(draft, scene, action),
        Action::Reject => reject(draft, scene, action),
        Action::Abort => abort(draft, scene, action),
        Action::Pause => {
            let said = said(draft, action);
            going_on(draft)?.paused = Some(said);
            Ok("standing still".into())
        }
        Action::Resume => resume(draft, scene),
        Action::Retry => retry(draft, scene),
        Action::Skip => skip(draft, scene, action),
        Action::ClearRejection => clear_rejection(draft),
        Action::HandBack => hand_back(draft, scene, action),
    }
}

fn said(draft: &Draft<'_>, action: &ActionFacts) -> Said {
    Said { by: by(action), at: draft.now(), reason: action.reason.clone() }
}

fn by(action: &ActionFacts) -> String {
    action.by.clone().unwrap_or_else(|| "somebody".into())
}

/// The run, when there is one that is not going back already.
fn going_on<'d>(draft: &'d mut Draft<'_>) -> Result<&'d mut crate::api::status::Run, String> {
    match &mut draft.status.run {
        None => Err("no run is under way".into()),
        Some(run) if run.back.is_some() => Err("the run is going back".into()),
        Some(run) => Ok(run),
    }
}

fn approvals<'s>(scene: &'s Scene<'_>) -> Vec<&'s Approval> {
    let Ok(plan) = &scene.plan else { return Vec::new() };
    let checks = plan.checks.iter().filter_map(|check| match &check.kind {
        CheckKind::Approval(approval) => Some(approval),
        CheckKind::Job(_) | CheckKind::Asked(_) => None,
    });
    checks.chain(plan.steps.iter().filter_map(|step| step.approval.as_ref())).collect()
}

fn approve(draft: &mut Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<String, String> {
    let role = action.role.clone().unwrap_or_default();
    let asked: Vec<&Approval> =
        approvals(scene).into_iter().filter(|approval| approval.roles.contains(&role)).collect();
    let run = going_on(draft)?;
    if asked.is_empty() {
        return Err(format!("no approval of this release asks for role {role}"));
    }
    let by = by(action);
    if Some(&by) == run.changed_by.as_ref() && !asked.iter().any(|approval| approval.allow_author) {
        return Err(format!("{by} made the change that this run is about: somebody else must approve it"));
    }
    if run.signatures.len() >= MOST_HANDLED {
        return Err("there are too many signatures".into());
    }
    let at = Stamp(action.created);
    run.signatures.push(Signature {
        role: role.clone(),
        by,
        at,
        reason: action.reason.clone(),
        action: action.uid.clone(),
    });
    Ok(format!("signed as {role}"))
}

fn reject(draft: &mut Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<String, String> {
    let role = action.role.clone().unwrap_or_default();
    if !approvals(scene).iter().any(|approval| approval.roles.contains(&role)) {
        return Err(format!("no approval of this release asks for role {role}"));
    }
    going_on(draft)?;
    let message = format!("{} refused it as {role}: {}", by(action), action.reason);
    let why = back::Why::new(Cause::Abort, message).said_by(Some(by(action)));
    back::begin(draft, scene, why);
    Ok("refused: going back".into())
}

fn abort(draft: &mut Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<String, String> {
    going_on(draft)?;
    let message = format!("{} said abort: {}", by(action), action.reason);
    let why = back::Why::new(Cause::Abort, message).said_by(Some(by(action)));
    back::begin(draft, scene, why);
    Ok("going back to stable".into())
}

fn resume(draft: &mut Draft<'_>, scene: &Scene<'_>) -> Result<String, String> {
    if draft.status.handed_back.take().is_some() {
        draft.status.stable = None;
        return Ok("the Deployment is taken up again".into());
    }
    let tampered = scene.tampered.is_some();
    let run = going_on(draft)?;
    let paused = run.paused.take().is_some();
    if !tampered {
        return if paused { Ok("going on".into()) } else { Err("nothing is paused".into()) };
    }
    let (Ok(originals), Some((stable, _))) = (&scene.originals, scene.kept(&scene.stable_fingerprint)) else {
        return Err("the owner's fields cannot be told any more".into());
    };
    let wanted = Wanted::still(originals, stable, scene.on_delete);
    draft.want(scene.target, &wanted, "write the originals anew");
    Ok("the annotation is written anew from status".into())
}

fn retry(draft: &mut Draft<'_>, scene: &Scene<'_>) -> Result<String, String> {
    let now = draft.now();
    if let Some(run) = &mut draft.status.run {
        let mut again = 0;
        let here = step_of(run, scene);
        let is_here = |check: &CheckStatus| match run.stage {
            Stage::Preflight => check.step.is_none(),
            Stage::Steps => check.step.is_some() && check.step.as_deref() == here,
            Stage::Watch | Stage::Back => false,
        };
        for check in run.checks.iter_mut().filter(|check| is_here(check)) {
            let is_put_off = check.state == CheckState::Waiting && check.retry_at.is_some();
            if is_put_off || matches!(check.state, CheckState::Failed | CheckState::Unknown) {
                checks::begin_again(check, now);
                again += 1;
            }
        }
        return if again > 0 {
            Ok(format!("{again} checks are tried again"))
        } else {
            Err("no check has failed".into())
        };
    }
    let current = &scene.target.fingerprint;
    let held = draft.status.rejected.iter().position(|rejected| rejected.fingerprint == *current);
    if let Some(index) = held {
        draft.status.rejected.remove(index);
        return Ok("the template is tried again".into());
    }
    let Some(rejected) = draft.status.rejected.first().cloned() else {
        return Err("nothing was rejected".into());
    };
    let Some((_, kept)) = scene.kept(&rejected.fingerprint) else {
        return Err(format!("template {} is not kept any more: push it again", rejected.revision));
    };
    let (Ok(originals), Some((stable, _))) = (&scene.originals, scene.kept(&scene.stable_fingerprint)) else {
        return Err("the stable template is not kept".into());
    };
    let wanted = Wanted::held(originals, stable, scene.on_delete, scene.target.replicas)
        .with_template(rejected.fingerprint.clone(), kept.template.clone());
    draft.want(scene.target, &wanted, "put the rejected template back, held");
    draft.status.rejected.remove(0);
    Ok(format!("template {} is put back and tried again", rejected.revision))
}

fn skip(draft: &mut Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<String, String> {
    let said = said(draft, action);
    let approvals: Vec<String> = match &scene.plan {
        Ok(plan) => plan
            .checks
            .iter()
            .filter(|check| matches!(check.kind, CheckKind::Approval(_)))
            .map(|check| check.name.clone())
            .collect(),
        Err(_) => Vec::new(),
    };
    let run = going_on(draft)?;
    match run.stage {
        Stage::Preflight => {
            let mut skipped = 0;
            for check in run.checks.iter_mut().filter(|check| !approvals.contains(&check.name)) {
                skipped += usize::from(pass_over(check, &said));
            }
            if skipped == 0 {
                Err("only approvals are waited for: they cannot be skipped".into())
            } else {
                Ok(format!("{skipped} checks are skipped"))
            }
        }
        Stage::Steps | Stage::Watch => {
            let here = step_of(run, scene);
            for check in run.checks.iter_mut().filter(|check| check.step.as_deref() == here && here.is_some())
            {
                pass_over(check, &said);
            }
            run.progress.skipped = Some(said);
            Ok("what is waited for here counts as done".into())
        }
        Stage::Back => Err("the run is going back".into()),
    }
}

/// The name of the step that the run is at.
fn step_of<'s>(run: &Run, scene: &'s Scene<'_>) -> Option<&'s str> {
    let plan = scene.plan.as_ref().ok().filter(|_| run.stage == Stage::Steps)?;
    Some(plan.steps.get(usize::try_from(run.step).ok()?)?.name.as_str())
}

/// A check that has not passed counts as done. Whether it had not.
fn pass_over(check: &mut CheckStatus, said: &Said) -> bool {
    let is_open = !matches!(check.state, CheckState::Passed | CheckState::Skipped);
    if is_open {
        check.state = CheckState::Skipped;
        check.retry_at = None;
        check.message = format!("skipped by {}: {}", said.by, said.reason).chars().take(512).collect();
    }
    is_open
}

fn clear_rejection(draft: &mut Draft<'_>) -> Result<String, String> {
    let count = draft.status.rejected.len();
    draft.status.rejected.clear();
    if count > 0 {
        Ok(format!("{count} rejections are forgotten"))
    } else {
        Err("nothing was rejected".into())
    }
}

fn hand_back(draft: &mut Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<String, String> {
    let originals: &Originals =
        scene.originals.as_ref().map_err(|lost| format!("the owner's fields cannot be told: {lost}"))?;
    let wanted = Wanted::given_back(originals).labelled(None);
    draft.want(scene.target, &wanted, "hand the Deployment back");
    let said = said(draft, action);
    let message = format!("{} handed the Deployment back: {}", said.by, said.reason);
    draft.status.handed_back = Some(said);
    draft.end_run(Outcome::HandedBack, message);
    draft.status.stable = None;
    Ok("the Deployment is its owner's again".into())
}
