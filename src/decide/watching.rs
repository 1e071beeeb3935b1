//! After 100 %: the owner's fields are back, the Deployment is at rest, and it is still measured. A breach goes back, and so do pods that fail by
//! themselves, where its stage says nothing else. Where it has to be signed off it is watched until it is.

use std::time::Duration;

use jiff::Timestamp;

use super::approval::{self, AWAITING_APPROVAL, Counted, Signed};
use super::draft::Draft;
use super::evidence::{self, Evidence, Reason, shortened};
use super::judge::OnLimit;
use super::migrations;
use super::plan::Plan;
use super::podhealth::Failing;
use super::rest;
use super::rights;
use super::scene::Scene;
use super::snapshot::Pod;
use super::unheard;
use crate::api::status::{Run, SignatureOf, Stage, Stamp, StepStatus};
use crate::api::{Action, Outcome, Phase};

/// Canary pods fail by themselves, and it stands still for that.
const PODS_FAILING: &str = "PodsFailing";
/// What a container waits for that is only being made.
const BEGINS: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// What canary pods that fail by themselves lead to: back; in the watch, to what its stage says of a breached limit. There the version is not undone
/// for what is about a few of its pods, and not in it.
pub fn leads_to(draft: &mut Draft<'_>, scene: &Scene<'_>, failing: &[Failing]) -> OnLimit {
    if draft.run().stage != Stage::Watch {
        return OnLimit::Undo;
    }
    let leads_to = evidence::on_limit(draft, scene, OnLimit::Undo);
    // What the version is to blame for comes first.
    let spares = leads_to == OnLimit::Undo && failing.first().is_none_or(|worst| worst.is_of_surroundings);
    if spares { OnLimit::Hold } else { leads_to }
}

/// They do not lead back: it is told as a breached limit is.
pub fn note_failing(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    evidence: &mut Evidence,
    failing: &[Failing],
    leads_to: OnLimit,
) {
    let mut holds = Vec::new();
    for Failing { reason, message, is_of_surroundings, is_of_many } in failing {
        match (leads_to, is_of_surroundings) {
            (OnLimit::Undo, _) => {}
            (OnLimit::Hold, true) => {
                let why = "most pods of the version are Ready, so it is not undone for that";
                holds.push(format!("{message}; {why}"));
            }
            (OnLimit::Hold, false) => holds.push(message.clone()),
            (OnLimit::Notify, _) => {
                // That a few did once is no word about many.
                let which = if *is_of_many { "most canary pods" } else { "canary pods" };
                evidence::tell_once(
                    draft,
                    format!("{which} failed by themselves: {reason}"),
                    PODS_FAILING,
                    message,
                );
                if *is_of_many {
                    holds.push(format!("{message}; it does not become stable so"));
                }
            }
        }
    }
    if failing.is_empty() && leads_to == OnLimit::Hold {
        holds.extend(still_unready(draft, scene));
    }
    if holds.is_empty() {
        return;
    }
    let message = holds.join("; ");
    match &mut evidence.holds {
        // Whoever passes it over is to know of both.
        Some(known) => known.message = shortened(&format!("{}; {message}", known.message)),
        None => evidence.holds = Some(Reason { reason: PODS_FAILING, message }),
    }
}

/// What is tried again and again is not called the same all the time: it is over when the pods are Ready.
fn still_unready(draft: &Draft<'_>, scene: &Scene<'_>) -> Option<String> {
    draft.release.status.blocked_by.as_ref().filter(|known| known.reason == PODS_FAILING)?;
    // One that finds no node, or is not ready for what it says itself, has not failed.
    let waits = |pod: &Pod| pod.waiting.as_deref().is_some_and(|reason| !BEGINS.contains(&reason));
    let has_failed = |pod: &&Pod| waits(pod) || pod.ended.is_some();
    let unready = scene.canary_pods().filter(|pod| pod.ready_since.is_none());
    let unready = unready.filter(|pod| pod.unschedulable_since.is_none()).filter(has_failed).count();
    (unready > 0).then(|| format!("{unready} canary pods failed by themselves, and are not Ready yet"))
}

/// What to do in the watch.
pub fn decide(draft: &mut Draft<'_>, scene: &Scene<'_>, evidence: &Evidence) {
    let originals = match &scene.originals {
        Ok(originals) => originals,
        Err(lost) => {
            migrations::let_others_go_first(draft.run());
            return rest::originals_lost(draft, scene.target, lost);
        }
    };
    let wanted = rest::at_rest_fields(scene.capture, originals);
    draft.want(scene.target, &wanted, "give the owner's fields back");
    let plan = match scene.plan {
        Ok(plan) => plan,
        Err(problem) => {
            if let Some(written) = scene.written {
                migrations::look(draft, scene, written);
            }
            migrations::let_others_go_first(draft.run());
            let (reason, message, unblock) = rights::refused(draft, problem);
            return draft.held(reason, message, unblock);
        }
    };
    let since = note_step(draft, scene, plan);
    migrations::look(draft, scene, plan);
    if !is_over(draft, scene, evidence, plan, since) {
        return migrations::let_others_go_first(draft.run());
    }
    if migrations::after_the_watch(draft, scene, plan) {
        succeed(draft, scene);
    }
}

/// Says in status how far the watch is: since when, which is returned, and until when.
pub fn note_step(draft: &mut Draft<'_>, scene: &Scene<'_>, plan: &Plan) -> Timestamp {
    let since = draft.run().all_since.map_or(scene.now(), |since| since.0);
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    draft.status.step = Some(StepStatus {
        index: count(plan.steps.len()),
        of: count(plan.steps.len()),
        name: "watch".into(),
        since: Some(Stamp(since)),
        until: Some(Stamp(ends(plan, since))),
        pods: scene.target.replicas,
    });
    since
}

/// Whether the watch is over within so long: by its time, or because somebody has said so.
pub fn may_end_within(time: Duration, now: Timestamp, plan: &Plan, run: &Run) -> bool {
    let since = run.all_since.map_or(now, |since| since.0);
    run.progress.skipped.is_some() || now + time >= ends(plan, since)
}

fn ends(plan: &Plan, since: Timestamp) -> Timestamp {
    since + plan.measuring.watch.last().map_or(Duration::ZERO, |stage| stage.until)
}

/// Whether the watch is over, and nothing holds what comes after. Else it says what it waits for.
fn is_over(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    evidence: &Evidence,
    plan: &Plan,
    since: Timestamp,
) -> bool {
    if let Some(said) = draft.run().paused.clone() {
        draft.held("Paused", said.sentence("pause"), draft.command(Action::Resume));
        return false;
    }
    if let Some(holds) = evidence.stands_in_the_way(&draft.run().progress) {
        let mut unblock = format!("{}, or {}", draft.command(Action::Skip), draft.command(Action::Abort));
        if holds.reason == PODS_FAILING {
            let see = draft.kubectl("get pods");
            unblock = format!("mend what keeps them, and it goes on by itself: {see}; or {unblock}");
        }
        // The next stage may say something else.
        draft.wake_in(rest::LOOK_AGAIN);
        draft.held(holds.reason, holds.message.clone(), unblock);
        return false;
    }
    if unheard::holds(draft) {
        return false;
    }
    if scene.now() < ends(plan, since) && draft.run().progress.skipped.is_none() {
        let mut stages = plan.measuring.watch.iter().map(|stage| since + stage.until);
        draft.wake_at(stages.find(|until| scene.now() < *until).unwrap_or(since));
        draft.wake_in(Duration::from_secs(600));
        draft.phase(Phase::Watching, format!("all pods are on the new revision: {}", evidence.words));
        return false;
    }
    if let Some((reason, message, unblock)) = approval::voided(draft, plan) {
        draft.wake_in(rest::LOOK_AGAIN);
        draft.phase(Phase::Watching, message.clone());
        draft.blocked(reason, message, unblock);
        return false;
    }
    let Some(signers) = &plan.sign_off else { return true };
    let of = SignatureOf::Approval;
    let counted = Counted { of, check: "", since, elsewhere: false, now: Some(scene.now()) };
    let Signed::Lacking(message) = approval::signed(draft.run(), signers, counted) else { return true };
    draft.wake_in(rest::LOOK_AGAIN);
    let unblock = approval::command(draft, signers);
    draft.phase(
        Phase::Watching,
        format!("the watch is over, and goes on until it is signed off: {}", evidence.words),
    );
    draft.blocked(AWAITING_APPROVAL, format!("sign-off: {message}"), unblock);
    false
}

fn succeed(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let canary = draft.status.canary.clone().unwrap_or_default();
    draft.status.rejected.retain(|known| known.fingerprint != canary.fingerprint);
    let took = draft.run().started_at.0;
    let seconds = (scene.now() - took).total(jiff::Unit::Second).unwrap_or(0.0);
    draft.end_run(Outcome::Succeeded, format!("{} is out after {seconds:.0} s", canary.revision));
    (draft.status.stable, draft.status.former) = (Some(canary), None);
    draft.status.verdicts.clear();
    draft.phase(Phase::Idle, "stable serves; waiting for a new template");
}
