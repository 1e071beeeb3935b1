//! The way back asks no calendar: 6. Whatever is closed and frozen, a look that finds a run on its way back orders it, unless it has been ordered or
//! something else than the calendar is in the way.
//!
//! How soon a run that waits goes on when its window opens is not looked at.

use std::time::Duration;

use tidegate::decide::calendar::{self, Fit};
use tidegate::decide::snapshot::ReleaseFacts;
use tidegate::decide::{Decision, Intent, Snapshot, gate};

use crate::world::World;

impl World {
    /// A process has decided.
    pub(super) fn check_calendar(&mut self, snapshot: &Snapshot, decision: &Decision) {
        let (Some(release), Some(target)) = (&snapshot.release, &snapshot.target) else { return };
        let status = decision.status.as_ref().unwrap_or(&*release.status);
        let Some(back) = status.run.as_ref().and_then(|run| run.back.as_ref()) else { return };
        if back.restored_at.is_some() || back.given_back_at.is_some() || !is_shut(snapshot, release) {
            return;
        }
        let stands = status.stable.as_ref().is_some_and(|stable| stable.fingerprint == target.fingerprint);
        let is_ordered = decision.intents.iter().any(|intent| matches!(intent, Intent::PatchWorkload { .. }));
        let blocker = status.blocked_by.as_ref().map(|blocker| blocker.reason.as_str());
        let is_barred = blocker.is_some_and(|reason| !gate::is_of_windows(reason) && reason != gate::FROZEN);
        self.check("6 (the way back waits for no window)", stands || is_ordered || is_barred, || {
            format!("{} is not ordered to go back: {blocker:?}", snapshot.key)
        });
    }
}

/// Whether no window is open, or a freeze holds.
fn is_shut(snapshot: &Snapshot, release: &ReleaseFacts) -> bool {
    let now = snapshot.now;
    let is_frozen = snapshot.freezes.known.iter().any(|freeze| freeze.from <= now && now < freeze.until);
    let calendar = release.spec.as_ref().ok().and_then(|spec| calendar::calendar(spec.windows.as_ref()).ok());
    is_frozen || calendar.is_some_and(|calendar| calendar.fit(now, Duration::ZERO) != Fit::Now)
}
