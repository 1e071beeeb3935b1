//! A soak's clock: it goes while the step stands with nothing in its way, somebody looks, and what happens is heard.

use std::time::Duration;

use jiff::Timestamp;

use super::draft::Draft;
use crate::api::status::{Progress, Stamp};

/// How much of a soak a restart may cost at most.
const COUNT_IN_EVERY: Duration = Duration::from_secs(60);

/// Time in which nobody looked is not soaked: of what was before we came, status is witness up to when it was written last. So that
/// a restart costs little, it is written now and then; it is no reason for a write by itself.
pub fn count_in(draft: &mut Draft<'_>) {
    let (now, heard) = (draft.now(), heard_until(draft));
    let (looking_since, written) = (draft.snapshot.looking_since, draft.release.status.at);
    let progress = &mut draft.run().progress;
    let (Some(since), Some(written)) = (progress.soaking_since, written) else { return };
    let (until, from) = match looking_since {
        Some(looking_since) if since.0 < looking_since => {
            (written.0.clamp(since.0, looking_since), Stamp(looking_since))
        }
        // The clock was set back.
        _ if since.0 > now.0 => (written.0.max(since.0), now),
        _ if written.0 + COUNT_IN_EVERY <= now.0 => (heard, now),
        _ => return,
    };
    progress.soaked = milliseconds(soaked(progress, until));
    progress.soaking_since = Some(from);
}

/// The soak's clock stands still.
pub fn rest(draft: &mut Draft<'_>) {
    let heard = heard_until(draft);
    let progress = &mut draft.run().progress;
    if progress.soaking_since.is_some() {
        progress.soaked = milliseconds(soaked(progress, heard));
        progress.soaking_since = None;
    }
}

/// Until when a bad version would have shown that it is one.
fn heard_until(draft: &Draft<'_>) -> Timestamp {
    let now = draft.now().0;
    draft.snapshot.unheard.as_ref().map_or(now, |unheard| unheard.since.min(now))
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// How long it has been soaked by then.
pub fn soaked(progress: &Progress, now: Timestamp) -> Duration {
    let before = Duration::from_millis(u64::try_from(progress.soaked).unwrap_or(0));
    let lately = progress
        .soaking_since
        .map_or(Duration::ZERO, |since| Duration::try_from(now - since.0).unwrap_or_default());
    before + lately
}
