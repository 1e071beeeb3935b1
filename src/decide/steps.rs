//! The steps of a run: move pods to the step's share, soak there, and leave it when everything that must be true is.

mod place;

use std::time::Duration;

use place::{find, note_passed, note_step};

use super::approval::{self, AWAITING_APPROVAL, Counted, Signed};
use super::asking;
use super::back;
use super::checks;
use super::decision::Notice;
use super::draft::Draft;
use super::evidence::{self, Evidence, Lacking, Reason};
use super::fields::{Originals, Wanted};
use super::gate;
use super::judge::OnUnknown;
use super::migrations;
use super::moving;
use super::pace::{self, Limits, Next, Pace, Stand};
use super::pilots::{self, Pilots};
use super::plan::{Plan, PlannedStep};
use super::rest;
use super::rights;
use super::scene::Scene;
use super::soak;
use super::unheard;
use super::watching;
use crate::api::check::OnFailure;
use crate::api::status::{Cause, CheckStatus, Progress, Run, SignatureOf, Stage, Stamp};
use crate::api::{Action, Phase};

pub use place::begun;

/// Evidence leaves so much of a soak at least: what shows late is to have a chance to show.
const LEAST_SOAK: Duration = Duration::from_secs(60);

/// What to do in a step.
pub fn decide(draft: &mut Draft<'_>, scene: &Scene<'_>, evidence: &Evidence) {
    let Ok(originals) = scene.originals.clone() else {
        let lost = scene.originals.as_ref().err().cloned().unwrap_or_default();
        return draft.held("OriginalsLost", lost, draft.command(Action::Abort));
    };
    if let Some((reason, message, unblock)) = stopped(draft, scene) {
        if let Some(written) = scene.written {
            checks::look_at_jobs(draft, scene, written);
        }
        freeze(draft, scene, &originals);
        return draft.held(reason, message, unblock);
    }
    let Ok(plan) = scene.plan else { return };
    let index = find(draft, scene, plan);
    let step = &plan.steps[index];
    let pods = step.share.of(scene.stand.replicas).unwrap_or(scene.stand.replicas);
    note_step(draft, plan, index, pods);
    if !scene.settled {
        moving::unsettled(draft);
        unheard::holds(draft);
        return;
    }
    moving::settled(draft);
    let next = if originals.recreate() { recreate(scene) } else { forward(scene, step, pods) };
    if next != Next::Rest {
        soak::rest(draft);
    }
    if matches!(next, Next::Order(_) | Next::Wait | Next::NoRoom) && unheard::lasts(scene.snapshot) {
        return wait_to_hear(draft, scene, &originals, &next);
    }
    let progress = &draft.run().progress;
    let is_begun = progress.moved.is_some() || progress.reached.is_some();
    let begins =
        matches!(next, Next::Order(_)) && !is_begun && (scene.stand.canary == 0 || progress.written_anew);
    if begins && let Some((reason, message, unblock)) = approval::voided(draft, plan) {
        stand_still(draft, scene, &originals);
        draft.wake_in(rest::LOOK_AGAIN);
        return draft.held(reason, message, unblock);
    }
    if begins && let Some(hold) = gate::before_a_move(scene.snapshot, plan, draft.run()) {
        stand_still(draft, scene, &originals);
        draft.wake_in(rest::LOOK_AGAIN);
        return draft.held_by(hold);
    }
    if begins && moving::waits_for_old_pods(draft, scene, &originals, step) {
        return;
    }
    if matches!(next, Next::Order(_) | Next::Wait)
        && migrations::barrier(draft.run()).is_some()
        && let Some(overdue) = moving::overdue(draft, scene, &originals)
    {
        // Before anything is ordered: it stands still where others go back.
        return back::begin(draft, scene, overdue);
    }
    match next {
        Next::TooMany if migrations::is_passed_over(draft.run()) => {
            soak(draft, scene, &originals, plan, index, pods, evidence);
        }
        Next::TooMany => {
            let message =
                format!("{} canary pods where step {} allows {pods}", scene.stand.canary, step.name);
            back::begin(draft, scene, back::Why::new(Cause::TooMany, message));
        }
        Next::Order(pace) => {
            let stands = order(draft, scene, &originals, pace);
            if !stands && !originals.recreate() {
                // All that were ordered before have come.
                draft.run().progress.moved = None;
            }
            moving::on_their_way(draft, scene, &originals, step, pods);
        }
        Next::Wait => {
            pause_once_carried_out(draft, scene, &originals);
            if moving::an_order_was_refused(draft, scene) {
                draft.run().progress.moved = None;
            }
            moving::on_their_way(draft, scene, &originals, step, pods);
        }
        Next::NoRoom => {
            let message = format!(
                "{} of {} stable pods are Ready: the Deployment's maxUnavailable leaves no room for a move",
                scene.counted.stable_ready, scene.counted.stable
            );
            draft.run().progress.moved = None;
            draft.wake_in(rest::LOOK_AGAIN);
            draft.held("StablePodsNotReady", message, "see why stable pods are not Ready");
        }
        Next::Rest => soak(draft, scene, &originals, plan, index, pods, evidence),
    }
}

/// Stands still, whatever was ordered.
pub fn freeze(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals) {
    stand_still(draft, scene, originals);
    soak::rest(draft);
    let progress = &mut draft.run().progress;
    (progress.moved, progress.unsettled) = (None, None);
}

/// Paused and parked, with the owner's fields noted: a look whose answer or status was lost may have given them back already, and what is parked without
/// them nobody could give back.
pub fn stand_still(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals) {
    let wanted = match scene.kept(&scene.stable_fingerprint).filter(|_| scene.tampered.is_none()) {
        Some((stable, _)) => Wanted::still(originals, stable, scene.on_delete),
        None => Wanted::frozen(originals),
    };
    if scene.tampered.is_none() && scene.target.originals.is_none() {
        // They may have changed them since: both copies are to be the same.
        draft.run().originals = originals.to_value();
    }
    draft.want(scene.target, &wanted, "stand still");
}

/// Somebody or something says: stand still.
fn stopped(draft: &mut Draft<'_>, scene: &Scene<'_>) -> Option<(&'static str, String, String)> {
    if let Some(tampered) = &scene.tampered {
        let unblock = format!(
            "{} (writes it anew), or {}",
            draft.command(Action::Resume),
            draft.command(Action::Abort)
        );
        return Some(("OriginalsTampered", format!("{tampered} in mid-run"), unblock));
    }
    if let Some(said) = &draft.run().paused {
        return Some(("Paused", said.sentence("pause"), draft.command(Action::Resume)));
    }
    match scene.plan {
        Err(problem) => Some(rights::refused(draft, problem)),
        Ok(plan) if plan.suspend => {
            Some(("Suspended", "spec.suspend is true".into(), "set spec.suspend to false".into()))
        }
        Ok(_) => None,
    }
}

fn forward(scene: &Scene<'_>, step: &PlannedStep, pods: i32) -> Next {
    let most = step.share.at_most_of(scene.stand.replicas).unwrap_or(pods);
    pace::forward(scene.counted, scene.limits, pods, most)
}

/// Whether the native controller has done what it may.
fn is_carried_out(scene: &Scene<'_>) -> bool {
    let Stand { replicas, stable, canary, .. } = scene.stand;
    let order = Limits::of(&scene.target.strategy, replicas);
    stable == replicas - order.unavailable && stable + canary == replicas + order.surge
}

/// All at once: the native controller takes every old pod down before it starts a new one.
fn recreate(scene: &Scene<'_>) -> Next {
    let stand = scene.stand;
    if stand.stable > 0 || stand.canary < stand.replicas {
        return Next::Order(Pace::PARKED);
    }
    if stand.good < stand.canary { Next::Wait } else { Next::Rest }
}

/// Whether the Deployment has that order already.
fn order(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals, pace: Pace) -> bool {
    let Some((stable, _)) = scene.kept(&scene.stable_fingerprint) else {
        let stable = draft.status.stable.clone().unwrap_or_default();
        let lost = scene.snapshot.stable_is_lost(&stable.revision);
        draft.held(
            "StableTemplateLost",
            format!("{lost}: there would be no way back"),
            draft.command(Action::HandBack),
        );
        return false;
    };
    let wanted = Wanted::moving(originals, stable, scene.on_delete, pace, scene.target.replicas);
    draft.want(scene.target, &wanted, "move")
}

/// Standing at the step's share.
fn soak(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    originals: &Originals,
    plan: &Plan,
    index: usize,
    pods: i32,
    evidence: &Evidence,
) {
    let step = &plan.steps[index];
    let now = draft.now();
    let progress = &mut draft.run().progress;
    progress.moved = None;
    progress.good = scene.stand.good;
    let pilots = pilots::look(draft, scene, step, pods);
    let checked = if matches!(pilots, Pilots::Stand) {
        checks::look(draft, scene, &step.checks, Some(&step.name), |_| true);
        checked(draft, step)
    } else if checks::have_begun(draft.run(), &step.name) {
        checked(draft, step)
    } else {
        Checked::Yes
    };
    if let Checked::Undo(message) = checked {
        return asking::before(draft, scene, back::Why::new(Cause::CheckFailed, message));
    }
    if !matches!(pilots, Pilots::Stand) {
        return without_pilots(draft, scene, originals, step, evidence, pilots);
    }
    if let Checked::NotYet(reason, message, unblock) = checked {
        soak::rest(draft);
        stand_still(draft, scene, originals);
        draft.wake_in(rest::LOOK_AGAIN);
        if reason == checks::RUNNING {
            // What it waits for may be over, and not be heard.
            if unheard::holds(draft) {
                return;
            }
            draft.phase(Phase::Moving, message.clone());
            return draft.blocked(reason, message, unblock);
        }
        return draft.held(reason, message, unblock);
    }
    draft.run().progress.reached.get_or_insert(now);
    soak::count_in(draft);
    let is_unheard = unheard::lasts(scene.snapshot);
    if !is_unheard && evidence.stands_in_the_way(&draft.run().progress).is_none() {
        draft.run().progress.soaking_since.get_or_insert(now);
    } else {
        soak::rest(draft);
    }
    let progress = draft.run().progress.clone();
    if progress.skipped.is_none()
        && let Some(message) = undecided(step, scene, evidence, &progress)
    {
        return asking::before(draft, scene, back::Why::new(Cause::Undecided, message));
    }
    let soaked = soak::soaked(&progress, now.0);
    let soak = if step.advance_early && evidence.passed { step.soak.min(LEAST_SOAK) } else { step.soak };
    let left = soak.saturating_sub(soaked);
    let until = progress.soaking_since.map(|_| now.0 + left);
    if let Some(status) = &mut draft.status.step {
        status.until = until.map(Stamp);
    }
    if is_unheard {
        stand_still(draft, scene, originals);
        unheard::holds(draft);
        return;
    }
    let in_the_way = in_the_way(draft, scene, step, left, evidence, &progress);
    if let Some((reason, message, unblock)) = in_the_way.or_else(|| approval::voided(draft, plan)) {
        stand_still(draft, scene, originals);
        draft.wake_in(rest::LOOK_AGAIN);
        if reason == "Soak" {
            draft.wake_at(now.0 + left);
            return draft.phase(Phase::Soaking, message);
        }
        return draft.held(reason, message, unblock);
    }
    if index + 1 < plan.steps.len()
        && let Some(mut hold) = gate::before_a_move(scene.snapshot, plan, draft.run())
    {
        stand_still(draft, scene, originals);
        draft.wake_in(rest::LOOK_AGAIN);
        hold.message = format!("step {} is done and the next one waits: {}", step.name, hold.message);
        return draft.held_by(hold);
    }
    if pilots::are_unseen(scene, step) && progress.skipped.is_none() {
        stand_still(draft, scene, originals);
        draft.wake_in(rest::LOOK_AGAIN);
        return draft.phase(Phase::Soaking, format!("step {}: looking where its pods are", step.name));
    }
    if evidence.of_before && progress.skipped.is_none() {
        stand_still(draft, scene, originals);
        draft.wake_in(rest::LOOK_AGAIN);
        let message = format!("step {}: its pods are read again since the operator looks anew", step.name);
        return draft.phase(Phase::Soaking, message);
    }
    leave(draft, scene, originals, plan, index, evidence);
}

/// The step is not reached yet, or has lost what it rests on. What leads back does so all the same.
fn without_pilots(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    originals: &Originals,
    step: &PlannedStep,
    evidence: &Evidence,
    pilots: Pilots,
) {
    if let Some(message) = undecided(step, scene, evidence, &draft.run().progress) {
        return asking::before(draft, scene, back::Why::new(Cause::Undecided, message));
    }
    soak::rest(draft);
    stand_still(draft, scene, originals);
    draft.wake_in(rest::LOOK_AGAIN);
    match pilots {
        Pilots::Stand => {}
        Pilots::Sought(message) => draft.phase(Phase::Moving, message),
        Pilots::Lacking(reason, message, unblock) => draft.held(reason, message, unblock),
    }
}

/// Whether a run may order a move within so long: it is about to begin a step, which may be one that is taken again or was written anew, or its
/// present step's soak is over by then and another step comes.
pub fn may_move_within(time: Duration, now: jiff::Timestamp, plan: &Plan, run: &Run) -> bool {
    let Some(index) = usize::try_from(run.step).ok().filter(|index| *index < plan.steps.len()) else {
        return false;
    };
    let Progress { reached, moved, skipped, .. } = &run.progress;
    let step = &plan.steps[index];
    let soak = if step.advance_early { step.soak.min(LEAST_SOAK) } else { step.soak };
    let left = soak.saturating_sub(soak::soaked(&run.progress, now));
    match (reached, moved) {
        (None, None) => true,
        (Some(_), _) => index + 1 < plan.steps.len() && (skipped.is_some() || left <= time),
        (None, Some(_)) => false,
    }
}

/// What a step's own checks say.
enum Checked {
    Yes,
    /// Reason, message and way out.
    NotYet(&'static str, String, String),
    /// One has failed, and a failure goes back.
    Undo(String),
}

fn checked(draft: &mut Draft<'_>, step: &PlannedStep) -> Checked {
    let mut standing = checks::standing(draft.run(), &step.checks, Some(&step.name));
    if draft.run().progress.skipped.is_some() {
        // What somebody has to attest nobody skips.
        let is_signed = |known: &CheckStatus| {
            step.checks.iter().any(|check| check.name == known.name && check.kind.is_signed())
        };
        standing.failed = None;
        standing.waiting.retain(is_signed);
    }
    if let Some(failed) = standing.failed {
        let message = format!("step {}: check {} failed: {}", step.name, failed.name, failed.message);
        let planned = step.checks.iter().find(|check| check.name == failed.name);
        return match planned.map_or(OnFailure::Undo, |check| check.on_failure) {
            OnFailure::Undo => Checked::Undo(message),
            OnFailure::Hold => {
                let ways = [Action::Retry, Action::Skip, Action::Abort].map(|action| draft.command(action));
                Checked::NotYet("CheckFailed", message, ways.join(", or "))
            }
        };
    }
    match standing.waiting.first() {
        None => Checked::Yes,
        Some(first) => {
            let (reason, message, unblock) = checks::waited_for(draft, &step.checks, first);
            Checked::NotYet(reason, format!("step {}: {message}", step.name), unblock)
        }
    }
}

/// Nothing is ordered while something is not heard. A move that does not come on goes back all the same, where that is seen; one whose pods have all come
/// has its time anew with the next order.
fn wait_to_hear(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals, next: &Next) {
    if !moving::are_awaited(draft, scene, originals, next) {
        draft.run().progress.moved = None;
    } else if !unheard::hides_pods(scene.snapshot) {
        moving::comes_on(draft, scene.stand);
        if let Some(overdue) = moving::overdue(draft, scene, originals) {
            return back::begin(draft, scene, overdue);
        }
    }
    if *next == Next::Wait {
        pause_once_carried_out(draft, scene, originals);
    }
    unheard::holds(draft);
}

/// What is carried out, and was meant for so many replicas only, goes no further: scaled down meanwhile, the native controller would take more stable
/// pods than was meant; paused, it scales all in proportion.
fn pause_once_carried_out(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals) {
    if is_carried_out(scene) && !pace::scales(&scene.target.strategy, scene.stand.replicas, scene.limits) {
        stand_still(draft, scene, originals);
    }
}

/// The first thing that keeps the step from being left.
fn in_the_way(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    step: &PlannedStep,
    left: Duration,
    evidence: &Evidence,
    progress: &Progress,
) -> Option<(&'static str, String, String)> {
    let skip = draft.command(Action::Skip);
    if let Some(holds) = evidence.stands_in_the_way(progress) {
        return Some((
            holds.reason,
            holds.message.clone(),
            format!("{skip}, or {}", draft.command(Action::Abort)),
        ));
    }
    let skipped = progress.skipped.is_some();
    if !skipped && !left.is_zero() {
        let words = evidence.words.clone();
        return Some(("Soak", format!("step {}: {words}", step.name), skip));
    }
    if !skipped && let Some(lacking) = still_lacking(draft, scene, step, evidence, progress) {
        let (lacking, settle) = lacking;
        return Some((lacking.reason, lacking.message, format!("{settle}, or {skip}")));
    }
    let signers = step.approval.as_ref()?;
    let since = progress.reached.map_or(scene.now(), |reached| reached.0);
    let of = SignatureOf::Approval;
    let counted = Counted { of, check: "", since, elsewhere: false, now: Some(scene.now()) };
    match approval::signed(draft.run(), signers, counted) {
        Signed::Enough { .. } => None,
        Signed::Lacking(message) => {
            let unblock = approval::command(draft, signers);
            Some((AWAITING_APPROVAL, format!("step {}: {message}", step.name), unblock))
        }
    }
}

/// For so long at least whoever acts on a criterion's being Unknown has seen that it is.
const SEEN_FOR: Duration = Duration::from_secs(300);
/// How many times as long as the deadline a criterion with `onUnknown: Extend` is waited for.
const EXTENDED: u32 = 3;

/// Before that the criteria of a step may be Unknown. Who has only just begun to look has not seen yet whether they are.
fn due(step: &PlannedStep, scene: &Scene<'_>, reached: jiff::Timestamp) -> jiff::Timestamp {
    let seen = scene.snapshot.looking_since.map(|since| since + step.deadline.min(SEEN_FOR));
    seen.map_or(reached + step.deadline, |seen| seen.max(reached + step.deadline))
}

/// What is Unknown and stands in the way, and what would settle it: before the step's deadline everything, then what may not be passed over.
fn still_lacking(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    step: &PlannedStep,
    evidence: &Evidence,
    progress: &Progress,
) -> Option<(Reason, &'static str)> {
    let reached = progress.reached.map_or(draft.now().0, |reached| reached.0);
    let due = due(step, scene, reached);
    let last = due + step.deadline * (EXTENDED - 1);
    for moment in [due, last] {
        if moment > draft.now().0 {
            draft.wake_at(moment);
        }
    }
    let is_due = draft.now().0 >= due;
    let lacking = evidence.lacking.iter().find(|lacking| !is_due || lacking.then != OnUnknown::Promote);
    let Lacking { reason, settle, then } = lacking?;
    let message = match then {
        OnUnknown::Hold => reason.message.clone(),
        OnUnknown::Promote => {
            format!("{} From {due:.0} on it goes on all the same (onUnknown: Promote).", reason.message)
        }
        OnUnknown::Undo => format!("{} At {due:.0} it goes back (onUnknown: Undo).", reason.message),
        OnUnknown::Extend if draft.now().0 < last => {
            format!("{} It waits until {last:.0} (onUnknown: Extend).", reason.message)
        }
        OnUnknown::Extend => reason.message.clone(),
    };
    Some((Reason { reason: reason.reason, message }, settle))
}

/// A step is left, past its deadline, with what was Unknown then and may be passed over: only now is that so. What somebody has skipped they know of.
fn tell_what_was_promoted(draft: &mut Draft<'_>, step: &PlannedStep, evidence: &Evidence) {
    if draft.run().progress.skipped.is_some() {
        return;
    }
    let told = evidence.lacking.iter().map(|lacking| {
        let message = &lacking.reason.message;
        let note =
            format!("step {} was left after its deadline with a criterion Unknown: {message}", step.name);
        Notice::warning("PromotedUnknown", note)
    });
    draft.notices.extend(told);
}

/// A criterion is Unknown at the step's deadline that goes back on that.
fn undecided(
    step: &PlannedStep,
    scene: &Scene<'_>,
    evidence: &Evidence,
    progress: &Progress,
) -> Option<String> {
    let due = due(step, scene, progress.reached?.0);
    let lacking = evidence.lacking.iter().find(|lacking| lacking.then == OnUnknown::Undo)?;
    (scene.now() >= due).then(|| {
        format!(
            "{} Unknown past the deadline of {} s of step {} (onUnknown: Undo)",
            lacking.reason.message,
            step.deadline.as_secs(),
            step.name
        )
    })
}

/// The step is done: to the next one, or, with all pods on the new revision, to the watch.
fn leave(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    originals: &Originals,
    plan: &Plan,
    index: usize,
    evidence: &Evidence,
) {
    let now = draft.now();
    let step = &plan.steps[index];
    let id = draft.run().id.clone();
    tell_what_was_promoted(draft, step, evidence);
    evidence::begin_step(draft);
    note_passed(draft, scene, step);
    draft.wake_in(Duration::from_millis(200));
    if index + 1 < plan.steps.len() {
        let note = format!(
            "run {id}: step {} passed at {} of {} pods",
            step.name, scene.stand.canary, scene.stand.replicas
        );
        draft.notices.push(Notice::normal("StepPassed", note));
        let good = scene.stand.good;
        let run = draft.run();
        run.step += 1;
        run.progress = begun(&plan.steps[index + 1], now, good);
        let pods = plan.steps[index + 1].share.of(scene.stand.replicas).unwrap_or(0);
        note_step(draft, plan, index + 1, pods);
        draft.phase(
            Phase::Moving,
            format!("step {}: moving to {pods} canary pods", plan.steps[index + 1].name),
        );
        return;
    }
    let wanted = rest::at_rest_fields(scene.capture, originals);
    draft.want(scene.target, &wanted, "all pods are on the new revision: give the owner's fields back");
    let note = format!("run {id}: all {} pods are on the new revision", scene.stand.replicas);
    draft.notices.push(Notice::normal("AllPods", note));
    let run = draft.run();
    run.stage = Stage::Watch;
    run.all_since = Some(now);
    run.locks = None;
    run.progress = Progress { begun: Some(now), ..Progress::default() };
    watching::note_step(draft, scene, plan);
    draft.phase(Phase::Watching, "all pods are on the new revision; watching");
}
