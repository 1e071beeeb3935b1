//! Before an undo somebody may be asked, where the author of the Release wants it so (`undo.approval`). The run stands still meanwhile, and goes back when
//! they agree, or when their time is over.
//!
//! Nothing else delays an undo. Pods that fail by themselves, what a person says, a newer template and missing replicas do not come by here;
//! while somebody is asked, a second breach starts nothing of its own. The clock stands in status: a restart does not begin it anew, and one that is set
//! back asks nobody for longer than their time from then.

use std::time::Duration;

use super::approval::{self, AWAITING_UNDO_APPROVAL, Counted, Signed, Signers};
use super::back::{self, Why};
use super::decision::Notice;
use super::draft::Draft;
use super::scene::Scene;
use super::{migrations, rest, steps};
use crate::api::signing::UndoApproval;
use crate::api::status::{SignatureOf, Stage, Stamp, UndoAsked};
use crate::api::{Action, ReleaseSpec};

/// Somebody has decided not to go back.
pub const UNDO_REFUSED: &str = "UndoRefused";

/// How long somebody is asked, where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(300);
/// No undo waits longer, whatever is written.
const LONGEST: Duration = Duration::from_secs(900);

/// Who is asked before an undo; it does not need the rest of the spec to be valid.
pub fn approval(spec: Option<&ReleaseSpec>) -> Option<&UndoApproval> {
    spec?.undo.as_ref()?.approval.as_ref()
}

/// How long they are asked.
pub fn timeout(approval: &UndoApproval) -> Duration {
    approval.timeout.as_ref().and_then(|timeout| timeout.parse()).unwrap_or(TIMEOUT).min(LONGEST)
}

/// Goes back, or asks first.
pub fn before(draft: &mut Draft<'_>, scene: &Scene<'_>, why: Why) {
    let is_barred = migrations::barrier(draft.run()).is_some();
    let Some(approval) = approval(draft.release.spec.as_deref().ok()).filter(|_| !is_barred) else {
        return back::begin(draft, scene, why);
    };
    let now = draft.now();
    let until = Stamp(now.0 + timeout(approval));
    let Why { cause, message, by: _, breach_at } = why;
    let message = message.trim_end_matches('.').to_owned();
    let run = draft.run();
    let note = format!("run {}: {message}. It goes back at {:.0} unless somebody refuses", run.id, until.0);
    run.undo_asked = Some(UndoAsked {
        cause,
        message,
        breach_at: breach_at.map(Stamp),
        at: now,
        until,
        over: false,
        over_budget: false,
        refused: None,
    });
    draft.notices.push(Notice::warning("UndoAsked", note));
    decide(draft, scene);
}

/// Somebody is asked: stands still, or goes back.
pub fn decide(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let Some(asked) = draft.run().undo_asked.clone() else { return };
    migrations::let_others_go_first(draft.run());
    if let Some(said) = &asked.refused {
        stand_still(draft, scene);
        let message = format!(
            "{} decided not to go back: {}. It would go back because: {}",
            said.by, said.reason, asked.message
        );
        let ways = [Action::Resume, Action::Retry, Action::Abort].map(|action| draft.command(action));
        return draft.held(UNDO_REFUSED, message, ways.join(", or "));
    }
    let approval = approval(draft.release.spec.as_deref().ok());
    let why = |how: String| {
        Why::new(asked.cause, format!("{}. {how}", asked.message)).seen_at(asked.breach_at.map(|at| at.0))
    };
    let Some(approval) = approval else {
        return back::begin(draft, scene, why("Nobody is asked any more".to_owned()));
    };
    let until = ends(&asked, draft.now(), timeout(approval));
    if let Some(asked) = &mut draft.run().undo_asked {
        asked.until = until;
    }
    let signers = Signers::of_undo(approval);
    let (of, since) = (SignatureOf::Undo, asked.at.0);
    let counted = Counted { of, check: "", since, elsewhere: false, now: None };
    let lacking = match approval::signed(draft.run(), &signers, counted) {
        Signed::Enough { by, until: _ } => {
            return back::begin(draft, scene, why(format!("Going back was agreed to by {by}")));
        }
        Signed::Lacking(message) => message,
    };
    if draft.now() >= until {
        let how_long = (until > asked.at).then(|| until.0.duration_since(asked.at.0).as_secs());
        let how_long = how_long.map_or_else(|| "time".to_owned(), |seconds| format!("{seconds} s"));
        return back::begin(draft, scene, why(format!("Who was asked said nothing in {how_long}")));
    }
    stand_still(draft, scene);
    back::watch_asked(draft, scene.undo);
    draft.wake_at(until.0);
    let message =
        format!("{}. It goes back at {:.0}, or when it is agreed to: {lacking}", asked.message, until.0);
    let roles = signers.roles.join("|");
    let agree = format!("{} --undo --role {roles}", draft.command(Action::Approve));
    let refuse = draft.kubectl(&format!("tidegate {} {}", Action::Reject.command(), draft.name()));
    let refuse = format!("{refuse} --undo --role {roles} --reason '...'");
    draft.held(AWAITING_UNDO_APPROVAL, message, format!("{agree}, or to stay {refuse}"));
    if let Some(blocker) = &mut draft.status.blocked_by {
        blocker.until = Some(until);
    }
}

/// When their time is over. By a clock that was set back, or another leader's that is behind, it has not begun yet: then no longer than it lasts from now.
/// Since when they are asked stays as it is: what they sign is bound to it.
fn ends(asked: &UndoAsked, now: Stamp, lasts: Duration) -> Stamp {
    if now < asked.at { asked.until.min(Stamp(now.0 + lasts)) } else { asked.until }
}

/// Nothing moves in mid-run; in the watch nothing does anyway, and the fields are their owner's.
fn stand_still(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    draft.wake_in(rest::LOOK_AGAIN);
    let Ok(originals) = &scene.originals else { return };
    match draft.run().stage {
        Stage::Steps => steps::freeze(draft, scene, originals),
        Stage::Watch => {
            let wanted = rest::at_rest_fields(scene.capture, originals);
            draft.want(scene.target, &wanted, "give the owner's fields back");
        }
        Stage::Preflight | Stage::Back => {}
    }
}
