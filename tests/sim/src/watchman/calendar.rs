//! The way back asks no calendar: 6. Whatever is closed and frozen, a look that finds a run on its way back orders it, unless it has been ordered or
//! something else than the calendar is in the way.
//!
//! How soon a run that waits goes on when its window opens is not looked at.

use std::time::Duration;

use tidegate::decide::calendar::{self, Fit};
use tidegate::decide::fields;
use tidegate::decide::snapshot::{ReleaseFacts, Workload};
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
        let holds = stands || is_ordered || is_barred || is_counted(target);
        self.check("6 (the way back waits for no window)", holds, || {
            format!("{} is not ordered to go back: {blocker:?}", snapshot.key)
        });
    }
}

/// Whether it is held, and not parked, for its pods to be counted before the order.
fn is_counted(target: &Workload) -> bool {
    target.paused && target.stable.is_some() && !fields::parked(target)
}

/// Whether no window is open, or a freeze holds.
fn is_shut(snapshot: &Snapshot, release: &ReleaseFacts) -> bool {
    let now = snapshot.now;
    let is_frozen = snapshot.freezes.known.iter().any(|freeze| freeze.from <= now && now < freeze.until);
    let calendar = release.spec.as_ref().ok().and_then(|spec| calendar::calendar(spec.windows.as_ref()).ok());
    is_frozen || calendar.is_some_and(|calendar| calendar.fit(now, Duration::ZERO) != Fit::Now)
}
