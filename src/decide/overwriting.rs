//! While there are no replicas, stable stands in the place of a template that waits, and a tool that heals what it manages writes that one again, as often as
//! stable is put there: how soon it is put there again. Which template it is, and what becomes of it with replicas, is not known here.

use std::time::Duration;

use super::draft::Draft;
use super::snapshot::Workload;
use crate::api::status::Overwritten;

/// How long it is left after stable has been put there so many times: the first answer to a tool is given at once.
const LEFT_FOR: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(60), Duration::from_secs(120), Duration::from_secs(300)];

/// What is said while it is left.
pub const LEFT: &str = "the template is written again as often as stable is put in its place, and is held as it stands for a while";

/// Whether stable is put in the place of another template now. That is counted.
pub fn is_due(draft: &mut Draft<'_>) -> bool {
    let now = draft.now();
    let known = draft.status.overwritten;
    // The clock may have been set back.
    if let Some(Overwritten { times, at }) = known.filter(|known| known.at <= now) {
        let place = usize::try_from(times.saturating_sub(1)).unwrap_or(0);
        let due = at.0 + LEFT_FOR[place.min(LEFT_FOR.len() - 1)];
        if now.0 < due {
            draft.wake_at(due);
            return false;
        }
    }
    let times = known.map_or(0, |known| known.times).saturating_add(1);
    draft.status.overwritten = Some(Overwritten { times, at: now });
    true
}

/// With replicas nothing waits.
pub fn forget(draft: &mut Draft<'_>, target: &Workload) {
    if target.replicas > 0 {
        draft.status.overwritten = None;
    }
}
