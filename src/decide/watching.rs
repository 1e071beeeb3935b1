//! After 100 %: the owner's fields are back, the Deployment is at rest, and it is still measured. A breach goes back. Where it has to be signed off it is
//! watched until it is.

use std::time::Duration;

use super::approval::{self, AWAITING_APPROVAL, Counted, Signed};
use super::draft::Draft;
use super::evidence::Evidence;
use super::migrations;
use super::rest;
use super::scene::Scene;
use crate::api::status::{SignatureOf, Stamp, StepStatus};
use crate::api::{Action, Outcome, Phase};

/// What to do in the watch.
pub fn decide(draft: &mut Draft<'_>, scene: &Scene<'_>, evidence: &Evidence) {
    let Ok(originals) = &scene.originals else { return };
    let wanted = rest::at_rest_fields(scene.capture, originals);
    draft.want(scene.target, &wanted, "give the owner's fields back");
    let Ok(plan) = &scene.plan else {
        let problem = scene.plan.as_ref().err().map(ToString::to_string).unwrap_or_default();
        return draft.held("InvalidSpec", problem, draft.edit());
    };
    let since = draft.run().all_since.map_or(scene.now(), |since| since.0);
    let until = since + plan.measuring.watch.last().map_or(Duration::ZERO, |stage| stage.until);
    let stage = plan
        .measuring
        .watch
        .iter()
        .position(|stage| scene.now() < since + stage.until)
        .unwrap_or(plan.measuring.watch.len());
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    draft.status.step = Some(StepStatus {
        index: count(plan.steps.len()),
        of: count(plan.steps.len()),
        name: "watch".into(),
        since: Some(Stamp(since)),
        until: Some(Stamp(until)),
        pods: scene.target.replicas,
    });
    migrations::look(draft, scene, plan);
    if let Some(said) = draft.run().paused.clone() {
        return draft.held("Paused", said.sentence("pause"), draft.command(Action::Resume));
    }
    if let Some(holds) = evidence.stands_in_the_way(&draft.run().progress) {
        let unblock = format!("{}, or {}", draft.command(Action::Skip), draft.command(Action::Abort));
        return draft.held(holds.reason, holds.message.clone(), unblock);
    }
    if scene.now() < until && draft.run().progress.skipped.is_none() {
        draft.wake_at(since + plan.measuring.watch.get(stage).map_or(Duration::ZERO, |stage| stage.until));
        draft.wake_in(Duration::from_secs(600));
        return draft.phase(Phase::Watching, format!("all pods are on the new revision: {}", evidence.words));
    }
    if let Some((reason, message, unblock)) = approval::voided(draft, plan) {
        draft.wake_in(rest::LOOK_AGAIN);
        draft.phase(Phase::Watching, message.clone());
        return draft.blocked(reason, message, unblock);
    }
    if let Some(signers) = &plan.sign_off {
        let counted = Counted { of: SignatureOf::Approval, check: "", since, now: Some(scene.now()) };
        if let Signed::Lacking(message) = approval::signed(draft.run(), signers, counted) {
            draft.wake_in(rest::LOOK_AGAIN);
            let unblock = approval::command(draft, signers);
            draft.phase(
                Phase::Watching,
                format!("the watch is over, and goes on until it is signed off: {}", evidence.words),
            );
            return draft.blocked(AWAITING_APPROVAL, format!("sign-off: {message}"), unblock);
        }
    }
    if migrations::after_the_watch(draft, scene, plan) {
        succeed(draft, scene);
    }
}

fn succeed(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let canary = draft.status.canary.clone().unwrap_or_default();
    draft.status.rejected.retain(|known| known.fingerprint != canary.fingerprint);
    let took = draft.run().started_at.0;
    let seconds = (scene.now() - took).total(jiff::Unit::Second).unwrap_or(0.0);
    draft.end_run(Outcome::Succeeded, format!("{} is out after {seconds:.0} s", canary.revision));
    draft.status.stable = Some(canary);
    draft.status.verdicts.clear();
    draft.phase(Phase::Idle, "stable serves; waiting for a new template");
}
