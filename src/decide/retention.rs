//! Which records of runs are removed: beyond a count, or an age, and never the newest, whose digest the next one carries on.
//!
//! Known are those that status names. What a deleted Release left behind is nobody's, and stays.

use std::time::Duration;

use super::decision::Intent;
use super::draft::Draft;
use super::plan;
use crate::api::status::{KeptReport, ReportsStatus};

/// Records that status names at most. More are not removed by us.
pub const NAMED: usize = 128;
/// Most that are removed in one look: at a slow API server it sees nothing else meanwhile.
const AT_ONCE: usize = 4;
/// The rest of them come soon.
const REST: Duration = Duration::from_secs(1);

/// Notes a record, the newest.
pub fn note(reports: &mut ReportsStatus, report: KeptReport, digest: String) {
    // One that was written and not noted is written once.
    reports.kept.retain(|kept| kept.name != report.name);
    reports.kept.push(report);
    reports.digest = digest;
    let over = reports.kept.len().saturating_sub(NAMED);
    reports.kept.drain(..over);
}

/// Removes records that need not be kept any more. Only while no run is under way, and not in the look that ends one: what cannot be
/// removed holds nothing up.
pub fn remove_old(draft: &mut Draft<'_>) {
    if draft.status.run.is_some() || draft.release.status.run.is_some() {
        return;
    }
    let now = draft.snapshot.now;
    let Ok(spec) = &draft.release.spec else { return };
    let rule = plan::retention(spec);
    let Some(reports) = &mut draft.status.reports else { return };
    let older = reports.kept.len().saturating_sub(1);
    let over = reports.kept.len().saturating_sub(rule.keep);
    let due = |kept: &KeptReport| rule.no_longer_than.map(|age| kept.ended_at.0.saturating_add(age));
    let is_over = |kept: &KeptReport| due(kept).is_some_and(|due| due.is_ok_and(|due| due <= now));
    let aged = reports.kept.iter().take(older).take_while(|kept| is_over(kept)).count();
    let excess = over.max(aged);
    let removed: Vec<KeptReport> = reports.kept.drain(..excess.min(AT_ONCE)).collect();
    let next = reports.kept.first().filter(|_| reports.kept.len() > 1).and_then(due);
    draft.intents.extend(removed.into_iter().map(|kept| Intent::DropReport { name: kept.name }));
    if excess > AT_ONCE {
        draft.wake_in(REST);
    } else if let Some(Ok(next)) = next {
        draft.wake_at(next);
    }
}
