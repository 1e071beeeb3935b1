//! Which templates are not started again by themselves: those that were at fault, or would take stable away in vain; also where the Deployment goes
//! before stable stands.

use crate::api::Outcome;
use crate::api::status::{Back, Cause, Rejected};
use crate::decide::draft::Draft;

/// Rejections that are remembered.
const REMEMBERED: usize = 16;

/// Whether the template is not started again before somebody says so.
pub fn rejects(cause: Cause) -> bool {
    match cause {
        Cause::Breach | Cause::Undecided | Cause::PodsFailing | Cause::CheckFailed | Cause::Abort => true,
        // Nothing is known against it. But started again for a tool that writes it again, it would take stable pods down each time, for the
        // whole deadline where pods take longer than that to go.
        Cause::OldPodsRemain => true,
        // Who put it back themselves may put it out again.
        Cause::Reverted | Cause::Superseded | Cause::NoReplicas | Cause::TooMany => false,
    }
}

/// The run that goes back ends: its template is remembered where it is not started again.
pub fn remember(draft: &mut Draft<'_>, back: &Back) {
    if !rejects(back.cause) {
        return;
    }
    let canary = draft.status.canary.clone().unwrap_or_default();
    let (id, changed_by, now) = (draft.run().id.clone(), draft.run().changed_by.clone(), draft.now());
    let rejected = &mut draft.status.rejected;
    rejected.retain(|known| known.fingerprint != canary.fingerprint);
    rejected.insert(
        0,
        Rejected {
            fingerprint: canary.fingerprint,
            revision: canary.revision,
            at: now,
            reason: back.message.chars().take(512).collect(),
            run: id,
            changed_by,
        },
    );
    rejected.truncate(REMEMBERED);
}

/// The Deployment is gone, and with it the run, if there was one. What it went back from is no better for that.
pub fn end_without_target(draft: &mut Draft<'_>, message: &str) {
    if let Some(back) = draft.status.run.as_ref().and_then(|run| run.back.clone()) {
        remember(draft, &back);
    }
    draft.end_run(Outcome::Aborted, message);
}
