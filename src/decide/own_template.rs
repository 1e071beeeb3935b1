//! The template of a run, which is kept when that begins: somebody may delete what keeps it. What is back for a while, and what becomes stable, is written from
//! that, so that it is kept anew for as long as it stands there. How other templates are kept is not known here.

use std::time::Duration;

use super::back::named;
use super::draft::Draft;
use super::refusal::{self, DoneWithout, Missed};
use super::rest;
use super::scene::Scene;
use super::snapshot::Snapshot;

/// That it is kept anew is tried again so long after it was refused.
const AGAIN: Duration = Duration::from_secs(30);

/// Keeps it anew beside what a run does that does not go back: nothing of that waits for it.
pub fn keep_beside(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    if draft.status.run.as_ref().is_some_and(|run| run.back.is_none()) {
        keep(draft, scene);
    }
}

/// Keeps it anew. Where that is refused, it is done without.
pub fn keep(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let (snapshot, now) = (scene.snapshot, scene.now());
    let canary = draft.status.canary.as_ref().map(|canary| canary.fingerprint.as_str());
    let is_there = canary == Some(scene.target.fingerprint.as_str());
    // What is kept, and not heard of, is not kept anew.
    if !is_there || snapshot.unheard_templates.is_some() {
        return;
    }
    let refused = missed(snapshot, &scene.target.fingerprint).map(|missed| missed.at);
    // The clock may have been set back.
    if let Some(again) = refused.filter(|at| *at <= now).map(|at| at + AGAIN)
        && now < again
    {
        return draft.wake_at(again);
    }
    rest::keep_if(draft, scene, &scene.current_revision(), false);
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

/// That keeping this one was refused, where it is not kept.
fn missed<'s>(snapshot: &'s Snapshot, fingerprint: &str) -> Option<&'s Missed> {
    let missed = snapshot.missed.get(&DoneWithout::Template(fingerprint.to_owned()))?;
    snapshot.kept(fingerprint).is_none().then_some(missed)
}
