//! What people said: each ReleaseAction takes effect once. That it did is written in status first, and marked on the action after (`marks`).

mod signing;

use std::time::Duration;

use super::approval::{AWAITING_APPROVAL, AWAITING_ATTESTATION};
use super::back;
use super::checks;
use super::decision::Notice;
use super::draft::Draft;
use super::fields::{Originals, Wanted};
use super::gate;
use super::locks;
use super::marks::{self, LEFT_FOR_STOPS, MOST_HANDLED};
use super::migrations;
use super::notify;
use super::plan::CheckKind;
use super::scene::Scene;
use super::snapshot::{ActionFacts, FreezeFacts};
use crate::api::status::{Cause, CheckState, CheckStatus, Handled, LastRun, Pass, Passed, Run, Said, Stage};
use crate::api::undo::ValidationResult;
use crate::api::{Action, Authors, Outcome};
use crate::letters::on_one_line;
use signing::{agree, approve, asked_of, attest, refuse_undo};

/// Windows and freezes that a run passes at most.
const MOST_PASSES: usize = 16;

/// What a skip is told while people are waited for.
const ONLY_SIGNATURES: &str = "only signatures are waited for: they cannot be skipped";

/// What is said of a newer template that is waited for no longer.
const WITHOUT_NEWER: &str =
    ", and not for the newer template any more: where that is not kept it has to be pushed again";

/// What it comes to that somebody has a run go back for good.
#[derive(Clone, Copy, Debug)]
enum ToBeUndone {
    Now,
    /// It was back for a while, and does not go on.
    ForGood,
    /// It was to go back for a newer template, and waited for that to be kept.
    WithoutNewer,
}

/// Lets each new action take effect.
pub fn apply(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let mut open = marks::count_open(draft);
    for action in &scene.snapshot.actions {
        let known = draft.status.handled.iter().any(|handled| handled.uid == action.uid);
        let most = if action.action.stops() { MOST_HANDLED } else { MOST_HANDLED - LEFT_FOR_STOPS };
        if known || open >= most {
            continue;
        }
        if draft.has_ordered() {
            // What was said before has been ordered only now: what this one asks for could not be, in the same look.
            return draft.wake_in(Duration::from_millis(200));
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
        let message = on_one_line(&message).collect();
        let (uid, at) = (action.uid.clone(), Some(draft.now()));
        marks::note(draft, Handled { uid, action: action.action, done, message, at });
        open += 1;
    }
}

/// Whether an action counts at all: known author, about the run that is under way.
fn admit(draft: &Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<(), String> {
    if !action.action.stops() && !scene.snapshot.served.rights {
        return Err("policy tidegate-action-rights is not in force: who says this cannot be known".into());
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
        Action::Approve if action.undo => agree(draft, action),
        Action::Approve => approve(draft, scene, action),
        Action::Reject if action.undo => refuse_undo(draft, action),
        Action::Reject => reject(draft, scene, action),
        Action::Attest => attest(draft, scene, action),
        Action::Abort => abort(draft, scene, action),
        Action::Pause => pause(draft, action),
        Action::Resume => resume(draft, scene),
        Action::Retry => retry(draft, scene),
        Action::Skip => skip(draft, scene, action),
        Action::PassFreeze => pass_freeze(draft, scene, action),
        Action::Acknowledge => {
            let said = said(draft, action);
            notify::acknowledge(draft, said)
        }
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
fn going_on<'d>(draft: &'d mut Draft<'_>) -> Result<&'d mut Run, String> {
    no_way_back(draft)?;
    draft.status.run.as_mut().ok_or_else(|| "no run is under way".into())
}

/// The run, when there is one that somebody can keep from going on: also one that is back for a while only.
fn to_be_stopped<'d>(draft: &'d mut Draft<'_>) -> Result<&'d mut Run, String> {
    if !draft.status.run.as_ref().is_some_and(back::is_for_a_while) {
        no_way_back(draft)?;
    }
    draft.status.run.as_mut().ok_or_else(|| "no run is under way".into())
}

/// The run, when there is one that somebody can have go back for good, and what that comes to: also one that is back for a while only, or waits for a newer template
/// to be kept.
fn to_be_undone(draft: &mut Draft<'_>) -> Result<ToBeUndone, String> {
    if back::waits_to_be_kept(draft.snapshot, &draft.status) {
        return Ok(ToBeUndone::WithoutNewer);
    }
    match back::is_for_a_while(to_be_stopped(draft)?) {
        true => Ok(ToBeUndone::ForGood),
        false => Ok(ToBeUndone::Now),
    }
}

fn no_way_back(draft: &Draft<'_>) -> Result<(), String> {
    match draft.status.run.as_ref().is_some_and(|run| run.back.is_some()) {
        true => Err(back::refusal(draft)),
        false => Ok(()),
    }
}

fn reject(draft: &mut Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<String, String> {
    let role = action.role.clone().unwrap_or_default();
    let (approvals, attests) = asked_of(scene);
    let mut signers = approvals.into_iter().chain(attests.into_iter().map(|attest| &attest.signers));
    // Without a plan nobody knows what is asked, and whoever may sign in this role says that it goes back.
    if scene.plan.is_ok() && !signers.any(|signers| signers.roles.contains(&role)) {
        return Err(format!("no approval of this release asks for role {role}"));
    }
    let done = match to_be_undone(draft)? {
        ToBeUndone::Now => "refused: going back".to_owned(),
        ToBeUndone::ForGood => "refused: going back for good".to_owned(),
        ToBeUndone::WithoutNewer => format!("refused: going back{WITHOUT_NEWER}"),
    };
    let message = format!("{} refused it as {role}: {}", by(action), action.reason);
    let why = back::Why::new(Cause::Abort, message).said_by(Some(by(action)));
    back::begin(draft, scene, why);
    Ok(done)
}

fn abort(draft: &mut Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<String, String> {
    let done = match to_be_undone(draft)? {
        ToBeUndone::Now => "going back to stable".to_owned(),
        ToBeUndone::ForGood => "going back for good: the run does not go on once stable stands".to_owned(),
        ToBeUndone::WithoutNewer => format!("going back to stable{WITHOUT_NEWER}"),
    };
    let message = format!("{} said abort: {}", by(action), action.reason);
    let why = back::Why::new(Cause::Abort, message).said_by(Some(by(action)));
    back::begin(draft, scene, why);
    Ok(done)
}

fn pause(draft: &mut Draft<'_>, action: &ActionFacts) -> Result<String, String> {
    let said = said(draft, action);
    let run = to_be_stopped(draft)?;
    run.paused = Some(said);
    Ok(match back::is_for_a_while(run) {
        true => "standing still once stable stands".into(),
        false => "standing still".into(),
    })
}

fn resume(draft: &mut Draft<'_>, scene: &Scene<'_>) -> Result<String, String> {
    if draft.status.handed_back.take().is_some() {
        draft.status.stable = None;
        return Ok("the Deployment is taken up again".into());
    }
    let tampered = scene.tampered.is_some();
    let run = to_be_stopped(draft)?;
    let paused = run.paused.take().is_some();
    if back::is_for_a_while(run) {
        return match paused {
            true => Ok("going on once stable stands".into()),
            false => Err("nothing is paused, and the run goes on by itself once stable stands".into()),
        };
    }
    let had_refused = forget_refusal(run);
    if !tampered {
        return if had_refused {
            Ok("going on: what is still wrong asks again".into())
        } else if paused {
            Ok("going on".into())
        } else {
            Err("nothing is paused".into())
        };
    }
    let (Ok(originals), Some((stable, _))) = (&scene.originals, scene.kept(&scene.stable_fingerprint)) else {
        return Err("the owner's fields cannot be told any more".into());
    };
    let wanted = Wanted::still(originals, stable, scene.on_delete);
    draft.want(scene.target, &wanted, "write the originals anew");
    Ok("the annotation is written anew from status".into())
}

/// An undo that was refused is asked about again, should there still be reason to. Whether it was.
fn forget_refusal(run: &mut Run) -> bool {
    run.undo_asked.take_if(|asked| asked.refused.is_some()).is_some()
}

/// While an undo is asked about, nothing but an answer to that ends it.
fn no_undo_is_asked_about(run: &Run) -> Result<(), String> {
    match &run.undo_asked {
        Some(asked) if asked.refused.is_none() => Err(
            "it is asked about an undo: that is agreed to or refused, with approve --undo or reject --undo"
                .into(),
        ),
        Some(_) | None => Ok(()),
    }
}

fn retry(draft: &mut Draft<'_>, scene: &Scene<'_>) -> Result<String, String> {
    no_way_back(draft)?;
    let now = draft.now();
    if let Some(run) = &mut draft.status.run {
        no_undo_is_asked_about(run)?;
        let had_refused = forget_refusal(run);
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
        if let Some(name) = migrations::retry(run, now) {
            return Ok(format!("migration {name} is tried again"));
        }
        return if again > 0 {
            Ok(format!("{again} checks are tried again"))
        } else if had_refused {
            Ok("going on: what is still wrong asks again".into())
        } else {
            Err("no check has failed".into())
        };
    }
    let current = &scene.target.fingerprint;
    let held = draft.status.rejected.iter().position(|rejected| rejected.fingerprint == *current);
    if let Some(index) = held {
        if scene.at_stable() {
            return Err("it serves already, unreleased: clear-rejection takes it as it is".into());
        }
        draft.status.rejected.remove(index);
        return Ok("the template is tried again".into());
    }
    let Some(rejected) = draft.status.rejected.first().cloned() else {
        return Err("nothing was rejected".into());
    };
    if !scene.at_stable() {
        return Err("a newer template stands there: it is not overwritten by one that was rejected".into());
    }
    let Some((_, kept)) = scene.kept(&rejected.fingerprint) else {
        return Err(format!("template {} is not kept any more: push it again", rejected.revision));
    };
    let (Ok(originals), Some((stable, _))) = (&scene.originals, scene.kept(&scene.stable_fingerprint)) else {
        return Err("the stable template is not kept".into());
    };
    let authors = Authors::together(rejected.changed_by.as_ref(), scene.target.changed_by.as_ref());
    let wanted = Wanted::held(originals, stable, scene.on_delete, scene.target.replicas)
        .by(authors.as_ref())
        .with_template(rejected.fingerprint.clone(), kept.template.clone());
    draft.want(scene.target, &wanted, "put the rejected template back, held");
    draft.status.rejected.remove(0);
    Ok(format!("template {} is put back and tried again", rejected.revision))
}

/// What is skipped is what status says it waits for: a window, else what its stage waits for.
fn skip(draft: &mut Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<String, String> {
    let said = said(draft, action);
    let blocker = draft.release.status.blocked_by.as_ref().map(|blocker| blocker.reason.as_str());
    if blocker.is_some_and(gate::is_of_windows) {
        pass(draft, action, Passed::Windows, None)?;
        return Ok("its windows do not hold this run any more".into());
    }
    if blocker == Some(gate::FROZEN) {
        return Err("a freeze holds it: that is passed with pass-freeze, on one of its grounds".into());
    }
    if blocker.is_some_and(|reason| [migrations::FAILED, migrations::UNKNOWN].contains(&reason)) {
        let skipped = migrations::skip(going_on(draft)?, &said);
        return skipped
            .map(|name| format!("migration {name} counts as done"))
            .ok_or_else(|| "no migration has failed".into());
    }
    if blocker == Some(locks::LOCKED) {
        return Err(
            "a lock is waited for: abort the run that has it, or take the lock out of spec.locks".into()
        );
    }
    if blocker == Some(migrations::RUNNING) {
        return Err("a migration is running: wait for its end, or say abort".into());
    }
    let planned = scene.plan.ok();
    let kind_of = |known: &CheckStatus| {
        let mut checks = planned?.checks_at(known.step.as_deref()).iter();
        checks.find(|check| check.name == known.name).map(|check| &check.kind)
    };
    let is_signed = |known: &CheckStatus| kind_of(known).is_some_and(CheckKind::is_signed);
    // What comes last is not what is waited for before it has begun.
    let is_to_come = |known: &CheckStatus| {
        let has_begun = known.job.is_some() || known.retry_at.is_some() || known.state != CheckState::Waiting;
        kind_of(known).is_some_and(CheckKind::comes_last) && !has_begun
    };
    let run = going_on(draft)?;
    no_undo_is_asked_about(run)?;
    match run.stage {
        Stage::Preflight => {
            let mut skipped = 0;
            for check in run.checks.iter_mut().filter(|check| !is_signed(check) && !is_to_come(check)) {
                skipped += usize::from(pass_over(check, &said));
            }
            if skipped == 0 {
                Err(ONLY_SIGNATURES.into())
            } else {
                Ok(format!("{skipped} checks are skipped"))
            }
        }
        Stage::Steps | Stage::Watch => {
            if blocker.is_some_and(|reason| [AWAITING_APPROVAL, AWAITING_ATTESTATION].contains(&reason)) {
                return Err(ONLY_SIGNATURES.into());
            }
            forget_refusal(run);
            let here = step_of(run, scene);
            let is_here = |check: &CheckStatus| check.step.as_deref() == here && here.is_some();
            for check in run.checks.iter_mut().filter(|check| is_here(check) && !is_signed(check)) {
                pass_over(check, &said);
            }
            run.progress.skipped_barrier |= blocker == Some(migrations::IRREVERSIBLE);
            run.progress.skipped = Some(said);
            run.progress.skipped_hold = blocker.map(str::to_owned);
            Ok("what is waited for here counts as done".into())
        }
        Stage::Back => Err("the run is going back".into()),
    }
}

/// The name of the step that the run is at.
fn step_of<'s>(run: &Run, scene: &'s Scene<'_>) -> Option<&'s str> {
    let plan = scene.plan.ok().filter(|_| run.stage == Stage::Steps)?;
    Some(plan.steps.get(usize::try_from(run.step).ok()?)?.name.as_str())
}

/// A check that has not passed counts as done. Whether it had not.
fn pass_over(check: &mut CheckStatus, said: &Said) -> bool {
    let is_open = !matches!(check.state, CheckState::Passed | CheckState::Skipped);
    if is_open {
        check.state = CheckState::Skipped;
        check.retry_at = None;
        let message = format!("skipped by {}: {}", said.by, said.reason);
        check.message = on_one_line(&message).take(512).collect();
    }
    is_open
}

fn pass_freeze(draft: &mut Draft<'_>, scene: &Scene<'_>, action: &ActionFacts) -> Result<String, String> {
    let name = action.freeze.as_deref().unwrap_or_default();
    let ground = action.ground.as_deref().unwrap_or_default();
    let Some(freeze) = scene.snapshot.freezes.known.iter().find(|freeze| freeze.name == name) else {
        return Err(format!("there is no freeze {name} that is about this release"));
    };
    if freeze.until <= scene.now() {
        return Err(format!("freeze {name} is over"));
    }
    if !freeze.grounds.iter().any(|known| known == ground) {
        let grounds = if freeze.grounds.is_empty() { "none".to_owned() } else { freeze.grounds.join(", ") };
        return Err(format!(
            "'{ground}' is no ground on which freeze {name} may be passed; there is: {grounds}"
        ));
    }
    pass(draft, action, Passed::Freeze, Some(freeze))?;
    Ok(format!("freeze {name} does not hold this run any more"))
}

/// Notes that the run may pass.
fn pass(
    draft: &mut Draft<'_>,
    action: &ActionFacts,
    of: Passed,
    freeze: Option<&FreezeFacts>,
) -> Result<(), String> {
    let said = said(draft, action);
    let run = going_on(draft)?;
    let (name, uid) = freeze.map(|freeze| (freeze.name.clone(), freeze.uid.clone())).unwrap_or_default();
    if run.passes.iter().any(|pass| pass.of == of && pass.freeze_uid == uid) {
        return Err("this run may pass already".into());
    }
    if run.passes.len() >= MOST_PASSES {
        return Err("this run has passed too much".into());
    }
    run.passes.push(Pass {
        of,
        freeze: name,
        freeze_uid: uid,
        ground: freeze.and(action.ground.clone()).unwrap_or_default(),
        by: said.by,
        at: said.at,
        reason: said.reason,
        action: action.uid.clone(),
    });
    Ok(())
}

fn clear_rejection(draft: &mut Draft<'_>) -> Result<String, String> {
    let count = draft.status.rejected.len();
    draft.status.rejected.clear();
    let failed = |last: &&mut LastRun| {
        let found = last.validation.as_ref().map(|found| found.result);
        found == Some(ValidationResult::ValidationFailed) && !last.validation_seen
    };
    let unseen = draft.status.last_run.as_mut().filter(failed).map(|last| last.validation_seen = true);
    if count == 0 && unseen.is_some() {
        return Ok("it is seen that what was put back does not work either".into());
    }
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
    let owed = note_handed_back(draft, scene, said);
    let owed = owed.map(|owed| format!("; {owed}")).unwrap_or_default();
    Ok(format!("the Deployment is its owner's again{owed}"))
}

/// The Deployment is its owner's from here on, until somebody says resume. What is not put back any more, where something was to be.
pub fn note_handed_back(draft: &mut Draft<'_>, scene: &Scene<'_>, said: Said) -> Option<String> {
    let owed = back::not_put_back(draft, scene);
    let handed = format!("{} handed the Deployment back: {}", said.by, said.reason);
    // An event has no room for more than a thousand letters, and somebody's words may be as long: what has to be pushed again comes first.
    let message = match &owed {
        Some(owed) => format!("{owed}; {handed}"),
        None => handed,
    };
    if draft.status.run.is_none() && owed.is_some() {
        // No end of a run tells it.
        draft.notices.push(Notice::warning("TemplateLost", message.clone()));
    }
    draft.status.handed_back = Some(said);
    draft.end_run(Outcome::HandedBack, message);
    (draft.status.stable, draft.status.former) = (None, None);
    owed
}
