//! What goes forward waits while the operator does not hear of the cluster: of pods that it cannot list and watch it knows how they were, and a version
//! that has failed meanwhile would pass.
//!
//! The way back never comes by here. Where pods are heard, so is that a move does not come on.

use super::draft::Draft;
use super::evidence::shortened;
use super::rest;
use super::snapshot::{Snapshot, Unheard};
use crate::api::{Action, Phase};

/// A run is held until the operator hears of the cluster again.
pub const CLUSTER_UNHEARD: &str = "ClusterUnheard";

/// Whether something has not been heard for so long that this is no mere interruption.
pub fn lasts(snapshot: &Snapshot) -> bool {
    lasting(snapshot).is_some()
}

/// Whether that is what a move is seen by.
pub fn hides_pods(snapshot: &Snapshot) -> bool {
    lasting(snapshot).is_some_and(Unheard::is_of_pods)
}

/// Holds the run that is under way, where something is not heard for so long. Nothing is ordered for it: what a move has been allowed it may still do, and
/// where pods are not heard its time begins anew when they are again.
pub fn holds(draft: &mut Draft<'_>) -> bool {
    let Some(unheard) = lasting(draft.snapshot) else { return false };
    if unheard.is_of_pods() {
        let progress = &mut draft.run().progress;
        (progress.moved, progress.unsettled) = (None, None);
    }
    let message = wait(draft, &said(unheard), Action::Abort);
    draft.phase(Phase::Held, message);
    true
}

/// While kept templates are not heard, one that comes after stable may be kept unheard: that is waited for, and said so. `None`: they are heard.
pub fn hides_template(draft: &mut Draft<'_>, template: &str) -> Option<String> {
    let said = said(draft.snapshot.unheard_templates.as_ref()?);
    let message = format!("stable stands; {template}, which comes next, may be kept unheard: {said}");
    Some(wait(draft, &message, Action::HandBack))
}

/// It goes on once that kind is heard again. `otherwise`: what is said by whoever cannot wait for it.
fn wait(draft: &mut Draft<'_>, message: &str, otherwise: Action) -> String {
    let message = shortened(message);
    draft.wake_in(rest::LOOK_AGAIN);
    let unblock = unblock(draft, otherwise);
    draft.blocked(CLUSTER_UNHEARD, message.clone(), unblock);
    message
}

/// That nothing is heard of a kind, since when, and why.
pub fn said(unheard: &Unheard) -> String {
    let Unheard { kind, namespace: _, since, why } = unheard;
    format!(
        "what there is of kind {kind} has not been heard since {since:.0}, and may have changed since: {why}"
    )
}

/// What is to be done about a kind that is not heard, or by whoever cannot wait for it.
pub fn unblock(draft: &Draft<'_>, otherwise: Action) -> String {
    format!(
        "see why the API server does not answer, or refuses it: once it is heard again, this goes on by itself; or {}",
        draft.command(otherwise)
    )
}

fn lasting(snapshot: &Snapshot) -> Option<&Unheard> {
    snapshot.unheard.as_ref().filter(|unheard| unheard.lasts(snapshot.now))
}
