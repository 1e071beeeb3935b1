//! After 100 %: the owner's fields are back, the Deployment is at rest, and it is still measured. A breach goes back. Where it has to be signed off it is
//! watched until it is.

use std::time::Duration;

use jiff::Timestamp;

use super::approval::{self, AWAITING_APPROVAL, Counted, Signed};
use super::draft::Draft;
use super::evidence::Evidence;
use super::migrations;
use super::plan::Plan;
use super::rest;
use super::scene::Scene;
use super::unheard;
use crate::api::status::{Run, SignatureOf, Stamp, StepStatus};
use crate::api::{Action, Outcome, Phase};

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
    let Ok(plan) = scene.plan else {
        let problem = scene.plan.err().map(ToString::to_string).unwrap_or_default();
        migrations::let_others_go_first(draft.run());
        return draft.held("InvalidSpec", problem, draft.edit());
    };
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
    migrations::look(draft, scene, plan);
    if !is_over(draft, scene, evidence, plan, since) {
        return migrations::let_others_go_first(draft.run());
    }
    if migrations::after_the_watch(draft, scene, plan) {
        succeed(draft, scene);
    }
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
        let unblock = format!("{}, or {}", draft.command(Action::Skip), draft.command(Action::Abort));
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
