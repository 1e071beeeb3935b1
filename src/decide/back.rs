//! Going back: the stable template, at once; then, once stable stands, what becomes of the run.
//!
//! Needs no plan, window, approval or measurement: only the stable template, which is kept, and the owner's fields, of which
//! there are two copies. Nothing that is done beside it can keep it waiting.

mod after;
mod causes;
mod hooks;
mod newer;
mod order;
mod owed;
mod phases;
mod quarantine;
mod recount;
mod rejection;
mod room;
mod validation;
mod witnesses;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::checks;
use super::decision::{Awaited, Notice};
use super::draft::Draft;
use super::fields::{NATIVE_DEADLINE, Originals, Wanted};
use super::jobs::PlannedJob;
use super::locks;
use super::migrations;
use super::overwriting;
use super::pace::Stand;
use super::podhealth;
use super::rest;
use super::scene::Scene;
use super::snapshot::{ReleaseFacts, Snapshot, WayBack};
use super::stored;
use super::workload;
use crate::api::report::Undo;
use crate::api::status::{Back, Cause, CheckStatus, Progress, RevisionStatus, Run, Stage, Stamp, UndoAsked};
use crate::api::undo::UndoPhase;
use crate::api::{Action, Authors, Outcome, Phase, ReleaseSpec};
use crate::letters::on_one_line;
use causes::outcome;

pub use causes::{goes_on, is_for_a_while, is_undo};
pub use hooks::{errand as hook_errand, id as hook_id};
pub use newer::{say_what_is_lost, waits_to_be_kept};
pub use order::GoingBack;
pub use owed::{not_put_back, put_held, reverted};
pub use phases::{told_later, watch_asked, watch_communication};
pub use quarantine::{end as end_quarantines, over as quarantines_over, refusal as quarantine_refusal};
pub use rejection::end_without_target;
pub use validation::{PLACE as VALIDATION, criteria as validated_criteria};

/// Notes of a run that are kept.
pub const MOST_NOTES: usize = 16;
/// A template that was kept is seen by then, which may be after what it was kept for: each kind has a watch of its own, that lives for ten
/// seconds in a run.
pub const TEMPLATE_SEEN_WITHIN: Duration = Duration::from_secs(60);
/// What blocks a way back whose stable pods do not come.
pub const STABLE_FAILS: &str = "StablePodsFailing";

/// Why a run goes back.
pub struct Why {
    pub cause: Cause,
    pub message: String,
    pub by: Option<String>,
    pub breach_at: Option<Timestamp>,
}

impl Why {
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self { cause, message: on_one_line(&message).collect(), by: None, breach_at: None }
    }

    pub fn said_by(mut self, by: Option<String>) -> Self {
        self.by = by;
        self
    }

    pub fn seen_at(mut self, at: Option<Timestamp>) -> Self {
        self.breach_at = at;
        self
    }
}

/// Decides to go back, and orders it in the same decision: status first, then the Deployment. Where a migration bars the way back, only
/// people go it. A run that is back for a while only, or waits for a newer template to be kept, goes back anew, for good: it has hooks, budgets and an end
/// of its own from then on.
pub fn begin(draft: &mut Draft<'_>, scene: &Scene<'_>, why: Why) {
    if migrations::hold_instead(draft, scene, why.cause, &why.message) {
        return;
    }
    let now = draft.now();
    let run = draft.run();
    let stage = run.back.as_ref().and_then(|back| back.resume).unwrap_or(run.stage);
    let from = if stage == Stage::Preflight { Stage::Preflight } else { Stage::Steps };
    let resume = causes::goes_on(why.cause).then_some(from);
    // Before the first pod there is nothing to keep, and no flag that was on. What has gone back for a newer template does not say from where.
    let is_out = match stage {
        Stage::Preflight => false,
        Stage::Back => scene.stand.canary > 0,
        Stage::Steps | Stage::Watch => true,
    };
    let had_pods = is_out && why.cause != Cause::OldPodsRemain;
    let (hooks, worst, quarantined) = match is_undo(why.cause) && had_pods {
        true => {
            let worst = witnesses::worst(scene, scene.undo.evidence.pods);
            let worst = worst.into_iter().map(witnesses::stands).collect();
            (hooks::planned(scene), worst, quarantine::chosen(scene))
        }
        false => (Vec::new(), Vec::new(), Vec::new()),
    };
    // Who was asked took part of the time in which it was decided, whatever ended it; who refused had decided. That stands while a newer template is not kept.
    let is_over = |asked: &mut UndoAsked| asked.refused.is_none() || why.cause != Cause::Superseded;
    let asked = run.undo_asked.take_if(is_over);
    let asked = asked.filter(|asked| asked.refused.is_none() && is_undo(why.cause));
    let asked_at = asked.as_ref().map(|asked| asked.breach_at.unwrap_or(asked.at));
    let over = asked.iter().filter(|asked| asked.over).map(|_| UndoPhase::Decision).collect();
    let id = run.id.clone();
    let back = Back {
        cause: why.cause,
        message: why.message.clone(),
        by: why.by,
        breach_at: why.breach_at.map(Stamp).or(asked_at),
        decided_at: now,
        ordered_at: None,
        restored_at: None,
        resume,
        next: None,
        next_before: None,
        over_budget: asked.is_some_and(|asked| asked.over_budget),
        over,
        given_back_at: None,
        validating: None,
        validated_at: None,
        communicated_at: None,
        hooks,
        worst,
        quarantined,
    };
    draft.notices.push(Notice::warning("GoingBack", format!("run {id}: {}", why.message)));
    go(draft, scene, back);
}

/// Goes on with an undo that this process has ordered and could not note: it is known why, and need not look like the owner's revert. `None`: there
/// is none.
pub fn take_up(draft: &mut Draft<'_>, scene: &Scene<'_>) -> Option<()> {
    let seen = draft.snapshot.way_back.as_ref()?;
    if seen.run != draft.run().id || !is_undo(seen.back.cause) {
        return None;
    }
    draft.run().undo_asked = None;
    go(draft, scene, seen.back.clone());
    Some(())
}

fn go(draft: &mut Draft<'_>, scene: &Scene<'_>, back: Back) {
    let run = draft.run();
    run.stage = Stage::Back;
    locks::leave_queue(run);
    run.progress.soaking_since = None;
    run.back = Some(back);
    decide(draft, scene);
}

/// Goes back, and on from there once stable stands.
pub fn decide(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    if draft.run().back.as_ref().is_some_and(|back| back.given_back_at.is_some()) {
        return after::decide(draft, scene);
    }
    draft.urgent();
    draft.wake_in(rest::LOOK_AGAIN);
    let Ok(originals) = scene.originals.clone() else {
        let lost = scene.originals.as_ref().err().cloned().unwrap_or_default();
        let name = format!("deployment/{}", scene.target.name);
        draft.held(
            "OriginalsLost",
            format!("cannot go back: {lost}"),
            format!(
                "{}, then {}",
                draft.kubectl(&format!("rollout undo {name}")),
                draft.kubectl(&format!("edit {name}"))
            ),
        );
        return;
    };
    // As long as nothing is ordered they may be the owner's again, who may change them: what is given back is what they wrote last.
    draft.run().originals = originals.to_value();
    notice_newer(draft, scene);
    if is_left(draft, scene) {
        hold(draft, scene, &originals);
        return no_replicas(draft, scene, &format!("{}; {}", rest::NO_REPLICAS, overwriting::LEFT));
    }
    hooks::look(draft, scene);
    witnesses::look(draft, scene);
    let back = draft.run().back.clone().expect("only reached while going back");
    let message = back.message.clone();
    if back.restored_at.is_some() {
        return go_on(draft, scene, &originals, &back);
    }
    draft.phase(Phase::Undoing, message);
    if !is_noted(draft, &back) {
        draft.note_first();
        // Nothing is wrong with what serves. Ordered without a note, the stable template would look like its owner's revert, and the newer one would
        // never be put back; or, where that has come after, like an order, and what its owner has taken back would be.
        if back.cause == Cause::Superseded || owed::is_taken_back(draft, &back) {
            draft.only_noted();
        }
    }
    let Some(is_ordered) = order(draft, scene, &originals, &back) else { return };
    // After the order, in the same look: the native controller has to be told first, and is quick.
    quarantine::order(draft, scene);
    let stand = scene.stand;
    let now = draft.now();
    let observed = scene.target.observed_generation >= scene.target.generation;
    // What is ordered only now has not been carried out, however the pods stand: the fields are still those of a move.
    let ordered = is_ordered
        && scene.at_stable()
        && observed
        && stand.canary == 0
        && scene.canary_pods().next().is_none();
    let stands = ordered && stand.stable == stand.replicas && stand.stable_ready >= stand.replicas;
    // It may have been seen before, and not written yet.
    let seen = seen_here(draft.snapshot, draft.run());
    let Some(back) = draft.run().back.as_mut() else { return };
    if ordered && back.ordered_at.is_none() {
        back.ordered_at = seen.and_then(|seen| seen.back.ordered_at).or(Some(now));
    }
    if stands {
        back.restored_at = seen.and_then(|seen| seen.back.restored_at).or(Some(now));
    }
    let (cause, decided_at) = (back.cause, back.decided_at.0);
    phases::watch(draft, scene.undo);
    // Each time that room is made something is ordered, and what it waits for stays the same.
    if scene.at_stable() && !stands {
        if let Some(way) = way_of(scene, &originals, cause, decided_at) {
            room::say(draft, &way);
        }
        say_what_keeps_it(draft, scene, &originals, decided_at, "after it was decided to go back");
    }
    if !scene.at_stable() {
        stored::say_what_stands_instead(draft, scene);
    }
}

/// Stable pods that do not come, which the end of an undo waits for, or a run that there were no replicas for: they fail by themselves, or their
/// owner's deadline has passed. It may be that none of them ever came: a Release made while there are no replicas takes what it finds for stable.
fn say_what_keeps_it(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    originals: &Originals,
    since: Timestamp,
    so_long: &str,
) {
    if let Some(message) = podhealth::stable_failing(scene.snapshot, &scene.stable_fingerprint) {
        return stable_fails(draft, &scene.stable_fingerprint, message);
    }
    match late(scene.snapshot, scene.stand, originals, since, so_long) {
        Ok(message) => stable_fails(draft, &scene.stable_fingerprint, message),
        Err(due) => draft.wake_at(due),
    }
}

/// That stable pods are late: since then their owner's deadline has passed. `Err`: when it will have.
pub fn late(
    snapshot: &Snapshot,
    stand: Stand,
    originals: &Originals,
    since: Timestamp,
    so_long: &str,
) -> Result<String, Timestamp> {
    let seconds = originals.deadline().unwrap_or(NATIVE_DEADLINE).max(0).unsigned_abs();
    let due = since + Duration::from_secs(seconds.into());
    if due > snapshot.now {
        return Err(due);
    }
    let Stand { stable_ready, replicas, .. } = stand;
    Ok(format!("{stable_ready} of {replicas} stable pods are Ready, {seconds} s {so_long}"))
}

/// Once they are Ready it goes on by itself. That something else is to serve instead only a person can say.
pub fn stable_fails(draft: &mut Draft<'_>, stable: &str, message: String) {
    let mut pods = draft.snapshot.live_pods(|fingerprint| fingerprint == stable);
    let pod = pods.find(|pod| pod.ready_since.is_none()).map(|pod| pod.name.as_str());
    let see = draft.kubectl(&format!("describe pod {}", pod.unwrap_or_default()));
    let (hand_back, resume) = (draft.command(Action::HandBack), draft.command(Action::Resume));
    let unblock = format!(
        "mend what keeps them, and it goes on by itself: {see}; or have another version serve: {hand_back}, push a template that starts, {resume}"
    );
    draft.blocked(STABLE_FAILS, message, unblock);
}

/// What somebody is told who wants something of a run that goes back; it needs nothing but its stable pods.
pub fn refusal(draft: &Draft<'_>) -> String {
    let known = draft.release.status.blocked_by.as_ref();
    match known.filter(|blocker| blocker.reason == STABLE_FAILS) {
        Some(_) => {
            let hand_back = draft.command(Action::HandBack);
            format!(
                "the run is going back, and goes on by itself once its stable pods are Ready; to have another version serve: {hand_back}"
            )
        }
        None => "the run is going back".to_owned(),
    }
}

/// What this process has seen of the way back that a run goes, whether or not status says it. What it was back for before, for a while only, is another one.
fn seen_here<'s>(snapshot: &'s Snapshot, run: &Run) -> Option<&'s WayBack> {
    let back = run.back.as_ref()?;
    let is_it = |seen: &&WayBack| seen.run == run.id && seen.back.decided_at == back.decided_at;
    snapshot.way_back.as_ref().filter(is_it)
}

/// Whether status says already why we go back, what comes after, and what is given back. If not it is written before anything is ordered: to a
/// process that starts with a status of before, the stable template in the Deployment would look like a revert by somebody, the newer one would be
/// lost, and what the Deployment says of its owner's fields would look tampered with.
fn is_noted(draft: &Draft<'_>, back: &Back) -> bool {
    let originals = draft.status.run.as_ref().map(|run| &run.originals);
    let written = draft.release.status.run.as_ref().filter(|written| Some(&written.originals) == originals);
    let written = written.and_then(|written| written.back.as_ref());
    written.is_some_and(|written| written.cause == back.cause && written.next == back.next)
}

/// The owner may write a newer template while we go back: it is kept, and put back once stable stands.
fn notice_newer(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let canary = draft.status.canary.clone().unwrap_or_default().fingerprint;
    let current = scene.current_revision();
    let is_of_our_own = stored::is_of_our_own(draft);
    let Some(back) = draft.run().back.as_mut() else { return };
    if scene.at_stable() {
        return owed::note_revert(draft, scene);
    }
    if back.cause == Cause::NoReplicas && (scene.target.replicas == 0 || scene.stand.canary > 0) {
        // A scale-up starts the newest revision, held or not: so the stable template stands there for as long as it takes, and comes first where
        // that has happened.
        back.restored_at = None;
    }
    if back.restored_at.is_some() || is_of_our_own {
        return;
    }
    let known = back.next.as_ref().is_some_and(|next| next.fingerprint == current.fingerprint);
    if current.fingerprint == canary && back.cause != Cause::Reverted {
        return owed::note_written_again(draft, scene, &current);
    }
    // A revert that is itself reverted: what stands there now, before anything of ours was ordered, is the revert. It may be known
    // and not kept: we were killed between the two. A version that has to go does not wait for it.
    let awaited = if is_undo(back.cause) { Awaited::UnlessRefused } else { Awaited::Always };
    rest::keep_as(draft, scene, &current, awaited);
    if known {
        return;
    }
    let Some(back) = draft.run().back.as_mut() else { return };
    back.next_before = back.next.replace(current).map(|next| next.fingerprint);
    if matches!(back.cause, Cause::NoReplicas | Cause::TooMany) {
        back.cause = Cause::Superseded;
        back.message = "a newer template has come".into();
    }
}

/// Whether the run's template, which somebody has written again while there are no replicas, is left there for now.
fn is_left(draft: &mut Draft<'_>, scene: &Scene<'_>) -> bool {
    let waits = draft.run().back.as_ref().is_some_and(|back| back.cause == Cause::NoReplicas);
    let is_empty = scene.target.replicas == 0 && scene.stand.canary == 0;
    waits && is_empty && !scene.at_stable() && !overwriting::is_due(draft)
}

fn no_replicas(draft: &mut Draft<'_>, scene: &Scene<'_>, message: &str) {
    draft.run().progress.moved = None;
    let unblock = draft.kubectl(&format!("scale deployment/{} --replicas=...", scene.target.name));
    draft.held("NoReplicas", message, unblock);
}

/// Orders the way back, once, and again when somebody changed it: whether it had been ordered before. `None`: it cannot be.
fn order(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals, back: &Back) -> Option<bool> {
    let Some(way) = way_of(scene, originals, back.cause, back.decided_at.0) else {
        let stable = draft.status.stable.clone().unwrap_or_default();
        let lost = scene.snapshot.stable_is_lost(&stable.revision);
        draft.held("StableTemplateLost", format!("cannot go back: {lost}"), draft.command(Action::HandBack));
        return None;
    };
    if let Some(at) = way.seeks_room_at() {
        draft.wake_at(at);
    }
    if let Some(until) = way.recounts_until(back.decided_at.0) {
        draft.wake_at(until);
        let counted = Wanted::counted(originals, way.stable.0, way.on_delete);
        draft.want(scene.target, &counted, "have pods that serve counted before others go");
        return Some(false);
    }
    Some(draft.want(scene.target, &way.order(), "go back to stable"))
}

/// What it takes to go back, as was decided then. `None`: the stable template is not kept any more.
fn way_of<'s>(
    scene: &'s Scene<'_>,
    originals: &'s Originals,
    cause: Cause,
    since: Timestamp,
) -> Option<GoingBack<'s>> {
    let (name, kept) = scene.kept(&scene.stable_fingerprint)?;
    Some(GoingBack {
        snapshot: scene.snapshot,
        target: scene.target,
        originals,
        stable: (name, kept),
        stand: scene.stand,
        capacity: scene.capacity,
        for_good: is_undo(cause),
        is_late: late(scene.snapshot, scene.stand, originals, since, "").is_ok(),
        on_delete: scene.on_delete,
    })
}

/// Stable stands.
fn go_on(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals, back: &Back) {
    draft.phase(Phase::Undoing, format!("stable stands again: {}", back.message));
    // What was put back is looked at while a Job of a migration goes on, too; with a newer template waiting, not at all.
    let is_newer = back.next.is_some() || after::is_newer(draft, scene);
    let awaited = (is_undo(back.cause) && !is_newer).then(|| after::awaited(draft, scene)).flatten();
    phases::watch(draft, scene.undo);
    if let Some(awaited) = migrations::still_running(draft, scene) {
        // Nobody stops it in the middle; and what comes next may have one of its own.
        if !scene.at_stable() {
            hold(draft, scene, originals);
        }
        let message = format!("stable stands again; {}", awaited.message);
        return draft.blocked(migrations::RUNNING, message, awaited.unblock);
    }
    match back.cause {
        Cause::Breach
        | Cause::Undecided
        | Cause::PodsFailing
        | Cause::OldPodsRemain
        | Cause::CheckFailed
        | Cause::Abort
        | Cause::Reverted => match awaited {
            Some(words) => after::stand_by(draft, scene, originals, &words),
            None => {
                validation::cut_short(draft, after::NEWER);
                end(draft, scene, originals, back);
            }
        },
        Cause::Superseded => {
            put_back(draft, scene, originals, back, "the newer template");
        }
        Cause::NoReplicas if scene.target.replicas == 0 => {
            no_replicas(draft, scene, rest::NO_REPLICAS);
        }
        Cause::NoReplicas if scene.at_stable() && scene.stand.stable_ready < scene.target.replicas => {
            let message = "waiting for the stable pods after the scale-up";
            draft.held(
                "StablePodsNotReady",
                message,
                format!("wait, or: {}", draft.command(Action::HandBack)),
            );
            let (now, ready) = (draft.now(), scene.stand.stable_ready);
            let progress = &mut draft.run().progress;
            let known = progress.moved.filter(|_| progress.good == ready);
            let since = known.unwrap_or(now);
            (progress.moved, progress.good) = (Some(since), ready);
            say_what_keeps_it(draft, scene, originals, since.0, "without progress after the scale-up");
        }
        Cause::NoReplicas | Cause::TooMany => {
            put_back(draft, scene, originals, back, "the template of the run");
        }
    }
}

/// The record of a run is about to be written.
pub fn communicate(draft: &mut Draft<'_>) {
    let now = draft.now();
    validation::cut_short(draft, "the run ended before it was known");
    let Some(back) = draft.status.run.as_mut().and_then(|run| run.back.as_mut()) else { return };
    back.communicated_at = Some(now);
    let planned = draft.release.undo();
    phases::watch(draft, planned);
}

/// Jobs of hooks, and of checks of what was put back, that wait for their end or for what they said, each with what is planned.
pub fn open_jobs(run: &Run, back: &Back, release: &ReleaseFacts) -> Vec<(String, Arc<PlannedJob>)> {
    let is_of_one = |check: &&CheckStatus| check.step.as_deref() == Some(VALIDATION) && check.job.is_some();
    let mut checks = run.checks.iter().filter(is_of_one).peekable();
    if checks.peek().is_none() && back.hooks.iter().all(|hook| hook.job.is_none()) {
        return Vec::new();
    }
    let planned = release.undo();
    let mut jobs = hooks::open_jobs(back, planned);
    if let Some(validation) = &planned.validation {
        let may_be_read = |known: &&CheckStatus| {
            release.withheld.is_none() || checks::is_as_it_began(known, &validation.checks)
        };
        let checks = checks.filter(may_be_read);
        jobs.extend(checks.filter_map(|known| checks::open_job(known, &validation.checks)));
    }
    jobs
}

/// The way back, for the record of its run.
pub fn recorded(draft: &Draft<'_>, run: &Run, spec: Option<&ReleaseSpec>, undo: Undo) -> Undo {
    let Some(back) = &run.back else { return undo };
    Undo {
        validation: back.validating.as_ref().and_then(|validating| validating.found.clone()),
        hooks: back.hooks.clone(),
        pods: witnesses::recorded(draft.snapshot, &run.id, back),
        quarantined: back.quarantined.clone(),
        ..phases::recorded(back, spec, undo)
    }
}

/// The run ends here: its template is remembered as rejected where it is not to be started again by itself.
fn end(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals, back: &Back) {
    let mut message = back.message.clone();
    if scene.at_stable() {
        let lost = back.next.as_ref().filter(|next| scene.kept(&next.fingerprint).is_none());
        if let Some(lost) = lost {
            if !newer::is_lost(draft, lost, back) {
                return;
            }
            message = format!(
                "{message}; {}, which its owner wrote meanwhile, could not be kept: push it again",
                named(lost)
            );
            draft.notices.push(Notice::warning("TemplateLost", format!("{} could not be kept", named(lost))));
        }
        match back.next.as_ref().filter(|_| lost.is_none()) {
            Some(next) => {
                if newer::waits_for_stable(draft, scene, next) || !put_next(draft, scene, originals, back) {
                    return;
                }
            }
            None => {
                let wanted = rest::at_rest_fields(scene.capture, originals);
                draft.want(scene.target, &wanted, "give the owner's fields back");
            }
        }
    } else {
        hold(draft, scene, originals);
    }
    // Only now: when that was is noted with it, and would be another moment in each look before.
    migrations::note_what_stays(draft, scene);
    rejection::remember(draft, back);
    draft.phase(Phase::Undoing, message.clone());
    draft.end_run(outcome(back.cause), message);
    draft.wake_in(Duration::from_millis(200));
}

/// A revision, and what it runs.
pub fn named(RevisionStatus { revision, images, .. }: &RevisionStatus) -> String {
    match images.as_slice() {
        [] => format!("template {revision}"),
        images => format!("template {revision} ({})", workload::shown(images)),
    }
}

/// Puts a template back, held, and goes on once it is there: with the same run, or with a new one.
fn put_back(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals, back: &Back, what: &str) {
    if scene.at_stable() {
        let next = back.next.clone().or_else(|| draft.status.canary.clone()).unwrap_or_default();
        let waits = match scene.kept(&next.fingerprint) {
            Some(_) => newer::waits_for_stable(draft, scene, &next),
            None => !newer::is_lost(draft, &next, back),
        };
        if waits {
            return;
        }
        if !put_next(draft, scene, originals, back) {
            let note = format!("{} could not be kept: push it again", named(&next));
            draft.notices.push(Notice::warning("TemplateLost", note));
            let gone = format!("{what} is not kept any more");
            draft.want(
                scene.target,
                &rest::at_rest_fields(scene.capture, originals),
                "give the owner's fields back",
            );
            draft.end_run(Outcome::Superseded, gone);
        }
        return;
    }
    let canary = draft.status.canary.clone().unwrap_or_default();
    match back
        .resume
        .filter(|_| back.cause != Cause::Superseded && scene.target.fingerprint == canary.fingerprint)
        // It had gone back from pods that nobody may move: the template waits without a run.
        .filter(|_| !scene.paused_by_owner())
    {
        Some(stage) => {
            let from_start = back.cause == Cause::NoReplicas;
            let now = draft.now();
            let run = draft.run();
            run.back = None;
            run.stage = stage;
            run.progress = Progress { begun: Some(now), ..Progress::default() };
            if from_start {
                run.step = 0;
            }
            draft.phase(Phase::Preflight, "taking the run up again");
        }
        None => {
            hold(draft, scene, originals);
            draft.end_run(Outcome::Superseded, back.message.clone());
            draft.phase(Phase::Idle, "the template that stands there is held");
        }
    }
}

/// Holds what its owner has written meanwhile. The pace on the way back is ours: without a run, and not parked, it would be taken for
/// the owner's.
fn hold(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals) {
    if let Some((stable, _)) = scene.kept(&scene.stable_fingerprint) {
        let held = rest::held_fields(scene, originals, stable);
        draft.want(scene.target, &held, "hold the newer template");
    }
}

/// Orders the newer template (or the run's own) back into the Deployment, held. False: it is not kept.
fn put_next(draft: &mut Draft<'_>, scene: &Scene<'_>, originals: &Originals, back: &Back) -> bool {
    let canary = draft.status.canary.clone().unwrap_or_default();
    let next = back.next.clone().unwrap_or(canary);
    let way = way_of(scene, originals, back.cause, back.decided_at.0);
    let (Some((_, kept)), Some(way)) = (scene.kept(&next.fingerprint), way) else {
        return false;
    };
    // It was written over what the run is about, which has not become stable. In the watch the list has begun anew.
    let authors = Authors::together(draft.run().changed_by.as_ref(), scene.target.changed_by.as_ref());
    owed::put_held(draft, &way, kept, authors.as_ref());
    true
}
