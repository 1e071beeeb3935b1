//! The template of a run, which is kept when that begins: somebody may delete what keeps it. What is back for a while, and what becomes stable, is written from
//! that, so that it is kept anew for as long as it stands there. How other templates are kept is not known here.

use std::time::Duration;

use super::back::named;
use super::decision::Awaited;
use super::draft::Draft;
use super::refusal::{self, DoneWithout, Missed, Refusal, Why};
use super::rest;
use super::scene::Scene;
use super::snapshot::Snapshot;

/// That it is kept anew is tried again so long after it was refused, or failed.
const AGAIN: Duration = Duration::from_secs(30);
/// And after it was not answered again and again, where nothing waits for it: each try holds up all that comes after it in its look.
const AGAIN_UNANSWERED: Duration = Duration::from_secs(600);

/// Keeps it anew beside what a run does that does not go back: nothing of that waits for it.
pub fn keep_beside(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    if draft.status.run.as_ref().is_some_and(|run| run.back.is_none()) {
        keep(draft, scene, Awaited::Never);
    }
}

/// Keeps it anew before an order overwrites it. Where that is refused, it is done without.
pub fn keep_before(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    keep(draft, scene, Awaited::UnlessRefused);
}

fn keep(draft: &mut Draft<'_>, scene: &Scene<'_>, awaited: Awaited) {
    let (snapshot, now) = (scene.snapshot, scene.now());
    let canary = draft.status.canary.as_ref().map(|canary| canary.fingerprint.as_str());
    let is_there = canary == Some(scene.target.fingerprint.as_str());
    // What is kept, and not heard of, is not kept anew.
    if !is_there || snapshot.unheard_templates.is_some() {
        return;
    }
    let missed = missed(snapshot, &scene.target.fingerprint);
    // The clock may have been set back.
    let missed = missed.filter(|missed| missed.at <= now);
    if let Some(again) = missed.map(|missed| missed.at + left_alone(&missed.refusal, awaited))
        && now < again
    {
        return draft.wake_at(again);
    }
    rest::keep_as(draft, scene, &scene.current_revision(), awaited);
}

/// How long it is not tried again. That it is about to be overwritten is worth a try, where it was not refused.
fn left_alone(refusal: &Refusal, awaited: Awaited) -> Duration {
    let is_beside = awaited == Awaited::Never;
    if is_beside && refusal.why == Why::Unanswered {
        AGAIN_UNANSWERED
    } else if is_beside || !refusal.may_pass() {
        AGAIN
    } else {
        Duration::ZERO
    }
}

/// Says that it cannot be.
pub fn say_what_is_not_kept(draft: &mut Draft<'_>) {
    let snapshot = draft.snapshot;
    let canary = draft.status.run.as_ref().and(draft.status.canary.as_ref());
    let Some(canary) = canary.cloned() else { return };
    if let Some(missed) = missed(snapshot, &canary.fingerprint) {
        refusal::mention(draft, &missed.refusal, &format!("{} is not kept", named(&canary)));
    }
}

/// That keeping this one was refused, or failed, where it is not kept.
fn missed<'s>(snapshot: &'s Snapshot, fingerprint: &str) -> Option<&'s Missed> {
    let missed = snapshot.missed.get(&DoneWithout::Template(fingerprint.to_owned()))?;
    snapshot.kept(fingerprint).is_none().then_some(missed)
}
