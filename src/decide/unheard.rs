//! What goes forward waits while the operator does not hear of the cluster: of pods that it cannot list and watch it knows how they were, and a version
//! that has failed meanwhile would pass.
//!
//! The way back never comes by here.

use jiff::Timestamp;

use super::draft::Draft;
use super::evidence::shortened;
use super::rest;
use super::snapshot::{Snapshot, Unheard};

/// A run is held until the operator hears of the cluster again.
pub const CLUSTER_UNHEARD: &str = "ClusterUnheard";

/// Since when it has not, where that is no mere interruption.
pub fn since(snapshot: &Snapshot) -> Option<Timestamp> {
    lasting(snapshot).map(|unheard| unheard.since)
}

/// Holds the run that is under way, where something is not heard for so long. Nothing is ordered for it: what a move has been allowed it may still do, and
/// its time begins anew when it is heard again.
pub fn holds(draft: &mut Draft<'_>) -> bool {
    let Some(Unheard { kind, namespace: _, since, why }) = lasting(draft.snapshot) else { return false };
    let message = format!(
        "what there is of kind {kind} has not been heard since {since:.0}, and may have changed since: {why}"
    );
    let progress = &mut draft.run().progress;
    (progress.moved, progress.unsettled) = (None, None);
    draft.wake_in(rest::LOOK_AGAIN);
    draft.held(
        CLUSTER_UNHEARD,
        shortened(&message),
        "see why the API server does not answer, or refuses it: once it is heard again, this goes on by itself",
    );
    true
}

fn lasting(snapshot: &Snapshot) -> Option<&Unheard> {
    snapshot.unheard.as_ref().filter(|unheard| unheard.lasts(snapshot.now))
}
