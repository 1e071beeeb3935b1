//! A newer template that comes after stable, while it is not seen to be kept, or stable is not any more: whether it may be yet, and what is said of it. What
//! becomes of one that is kept is not known here.

use super::{Back, Cause, Draft, RevisionStatus, Scene, Snapshot, TEMPLATE_SEEN_WITHIN, named};
use crate::api::{Action, ReleaseStatus};
use crate::decide::evidence::shortened;
use crate::decide::refusal::{self, DoneWithout, Missed};
use crate::decide::rest::{self, LOOK_AGAIN};
use crate::decide::unheard;

/// Whether a run goes back for a newer template, which stands there, and has ordered nothing yet, since that has to be kept before: what serves meanwhile is
/// the version of the run.
pub fn waits_to_be_kept(snapshot: &Snapshot, status: &ReleaseStatus) -> bool {
    let back = status.run.as_ref().and_then(|run| run.back.as_ref());
    let (Some(back), Some(target)) = (back, &snapshot.target) else { return false };
    let at_stable = status.stable.as_ref().is_some_and(|stable| stable.fingerprint == target.fingerprint);
    let is_kept = snapshot.kept(&target.fingerprint).is_some_and(|(_, kept)| !kept.let_go);
    // What came of our own write is no newer template.
    let is_there = !at_stable && snapshot.stored.otherwise.is_none();
    back.cause == Cause::Superseded && back.ordered_at.is_none() && is_there && !is_kept
}

/// Whether it will not be kept: that was refused, or it has had the time to be seen. While kept templates are not heard it may be kept unseen: that is
/// said, and waited for.
pub fn is_lost(draft: &mut Draft<'_>, next: &RevisionStatus, back: &Back) -> bool {
    let snapshot = draft.snapshot;
    if refused(snapshot, next).is_some() {
        return true;
    }
    if unheard::hides_template(draft, &named(next)).is_some() {
        return false;
    }
    let given_up = back.restored_at.unwrap_or(back.decided_at).0.saturating_add(TEMPLATE_SEEN_WITHIN);
    let given_up = given_up.unwrap_or(snapshot.now);
    draft.wake_at(given_up);
    given_up <= snapshot.now
}

/// Whether the stable template, which stands there, is not kept any more: what comes next could not be gone back from. It is kept anew first, and that is said.
pub fn waits_for_stable(draft: &mut Draft<'_>, scene: &Scene<'_>, next: &RevisionStatus) -> bool {
    if scene.kept(&scene.stable_fingerprint).is_some() {
        return false;
    }
    rest::keep(draft, scene, &scene.current_revision());
    let revision = draft.status.stable.as_ref().map(|stable| stable.revision.as_str()).unwrap_or_default();
    let lost = scene.snapshot.stable_is_lost(revision);
    let message =
        format!("stable stands; {}, which comes next, waits: {lost}, and is kept anew", named(next));
    draft.wake_in(LOOK_AGAIN);
    let hand_back = draft.command(Action::HandBack);
    draft.blocked("StableTemplateLost", shortened(&message), format!("wait, or: {hand_back}"));
    true
}

/// Says of one that stands where a run goes back for good that it cannot be kept.
pub fn say_what_is_lost(draft: &mut Draft<'_>) {
    let back = draft.status.run.as_ref().and_then(|run| run.back.as_ref());
    let Some(next) = back.and_then(|back| back.next.clone()) else { return };
    if let Some(missed) = refused(draft.snapshot, &next) {
        let what_of_it = format!("{} is not kept, and will have to be pushed again", named(&next));
        refusal::mention(draft, &missed.refusal, &what_of_it);
    }
}

/// That keeping it was refused. What failed otherwise may yet be kept, or has been.
fn refused<'s>(snapshot: &'s Snapshot, next: &RevisionStatus) -> Option<&'s Missed> {
    let missed = snapshot.missed.get(&DoneWithout::Template(next.fingerprint.clone()))?;
    (!missed.refusal.may_pass()).then_some(missed)
}
