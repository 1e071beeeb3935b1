//! A write that the API server refuses: for want of a right, or because a policy, a webhook, a quota or its own validation will not have it; or since
//! something else has the name already of what was to be made; or one of which it says nothing at all, again and again.
//! It is said in status, with nothing else changed there, and what was to be written is decided on anew at the next look. What nothing waits
//! for is passed over, and said beside whatever else there is to say.

use jiff::Timestamp;

use super::back;
use super::decision::{self, Decision, Notice};
use super::draft::Draft;
use super::notify;
use super::snapshot::{Key, Snapshot};
use crate::api::right::Right;
use crate::api::status::Blocker;
use crate::api::{Action, Phase, ReleaseStatus};
use crate::letters::on_one_line;

/// Reason while a right is missing.
pub const MISSING_RIGHT: &str = "MissingRight";
/// Reason while a write is refused for anything else.
pub const WRITE_REFUSED: &str = "WriteRefused";

/// Words of the API server that are repeated at most, in characters.
const MOST_WORDS: usize = 512;

/// A write that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// As a sentence has it: `the creation of Job shop-backup`.
    pub what: String,
    pub why: Why,
}

/// Why it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The operator may not.
    Right(Right),
    /// Something else has its name: what is wrong with that, and the command that takes it out of the way.
    Taken { words: String, remedy: String },
    /// Whatever else, in the API server's words.
    Words(String),
    /// Nobody says anything, again and again, while the API server answers otherwise.
    Unanswered,
    /// It was not refused, as far as anybody knows, and the next try may well go out: only what nothing waits for is done without for that.
    Failed { category: &'static str, words: String },
}

/// What is done without when it is refused: by what it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DoneWithout {
    /// To say on a ReleaseAction, by its uid, what came of it.
    Mark(String),
    /// To keep a template, by its fingerprint: a newer one that stands where a run goes back for good, or the run's own.
    Template(String),
}

impl DoneWithout {
    /// Whether who was told that the one is refused need not be told of the other.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Mark(_), Self::Mark(_)) => true,
            (Self::Mark(_) | Self::Template(_), _) => self == other,
        }
    }
}

/// One that was refused, or failed, and done without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// When it was so last.
    pub at: Timestamp,
    pub refusal: Refusal,
}

impl Refusal {
    /// The reason, for status.
    pub fn reason(&self) -> &'static str {
        match &self.why {
            Why::Right(_) => MISSING_RIGHT,
            Why::Taken { .. } | Why::Words(_) | Why::Unanswered | Why::Failed { .. } => WRITE_REFUSED,
        }
    }

    /// What is wrong, bounded, on one line.
    pub fn sentence(&self) -> String {
        match &self.why {
            Why::Right(right) => right.to_string(),
            Why::Taken { words, remedy: _ } => format!("{} failed: {words}", self.what),
            Why::Words(words) => format!("{} was refused: {}", self.what, bounded(words)),
            Why::Failed { category: _, words } => format!("{} failed: {}", self.what, bounded(words)),
            Why::Unanswered => format!(
                "{} was not answered in time, again and again: a webhook that is asked about it hangs, or the API server does",
                self.what
            ),
        }
    }

    /// Whether it may have been a hiccup.
    pub fn may_pass(&self) -> bool {
        matches!(self.why, Why::Failed { .. })
    }

    /// What takes it away.
    fn unblock(&self, key: &Key) -> String {
        match &self.why {
            Why::Right(right) => right.remedy(),
            Why::Taken { words: _, remedy } => remedy.clone(),
            Why::Words(_) => format!(
                "mend what refuses it, or let the operator through there, and it goes on by itself: kubectl get validatingadmissionpolicies,validatingwebhookconfigurations,mutatingwebhookconfigurations, {}; or have the Deployment back: {}",
                decision::kubectl(key, "get resourcequotas"),
                decision::command(key, Action::HandBack)
            ),
            Why::Failed { .. } => {
                "wait: it is tried again by itself; or see what is wrong with the API server: kubectl get --raw '/readyz?verbose'".to_owned()
            }
            Why::Unanswered => format!(
                "mend what hangs, or let the operator through there, and it goes on by itself: kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations; or have the Deployment back: {}",
                decision::command(key, Action::HandBack)
            ),
        }
    }
}

fn bounded(words: &str) -> String {
    let words: String = on_one_line(words).take(MOST_WORDS).collect();
    words.trim().to_owned()
}

/// What to write instead; nothing, when it has been said. Where the Release is gone there is no status to say it in. `decided`: the status that was to follow
/// what was refused, if one was.
pub fn decide(snapshot: &Snapshot, decided: Option<&ReleaseStatus>, refusal: &Refusal) -> Decision {
    let Some(release) = &snapshot.release else {
        let note = match &refusal.why {
            Why::Taken { words: _, remedy } => format!("{}: {remedy}", refusal.sentence()),
            Why::Right(_) | Why::Words(_) | Why::Unanswered | Why::Failed { .. } => refusal.sentence(),
        };
        let notice = Notice::warning(refusal.reason(), note).lasting();
        return Decision { notices: vec![notice], ..Decision::default() };
    };
    let mut draft = Draft::new(snapshot, release);
    let phase = draft.status.phase.unwrap_or(Phase::Idle);
    draft.phase(phase, refusal.sentence());
    let mut unblock = refusal.unblock(&snapshot.key);
    if back::waits_to_be_kept(snapshot, &draft.status) {
        let abort = draft.command(Action::Abort);
        unblock = format!(
            "{unblock}; or go back without the newer template, which then has to be pushed again: {abort}"
        );
        take_what_was_judged(&mut draft.status, decided);
    }
    draft.blocked(refusal.reason(), refusal.sentence(), unblock);
    notify::note(&mut draft);
    draft.finish()
}

/// Whether a blocker says that a write was refused, whichever it was.
pub fn is_one(blocker: &Blocker) -> bool {
    [MISSING_RIGHT, WRITE_REFUSED].contains(&blocker.reason.as_str())
}

/// Whether a blocker says that a patch of this Deployment was refused. Of what is done without it is only mentioned that it was.
pub fn is_of_an_order(blocker: &Blocker, deployment: &str) -> bool {
    let says = |begin: &str| blocker.message.starts_with(begin);
    match blocker.reason.as_str() {
        WRITE_REFUSED => says(&format!("the patch of Deployment {deployment} (")),
        MISSING_RIGHT => says("the operator may not patch deployments"),
        _ => false,
    }
}

/// What serves meanwhile is judged: who leads next goes on from that, and what has been counted in need not be kept in memory.
fn take_what_was_judged(status: &mut ReleaseStatus, decided: Option<&ReleaseStatus>) {
    let (Some(run), Some(decided)) = (&mut status.run, decided) else { return };
    let Some(judged) = decided.run.as_ref().filter(|judged| judged.id == run.id) else { return };
    (run.judge, run.values) = (judged.judge.clone(), judged.values.clone());
    status.verdicts.clone_from(&decided.verdicts);
}

/// Says what is done without, beside what is said already. Where nothing else stands in the way it is what people see first; a run goes on with it,
/// or back, so that it blocks none.
pub fn mention(draft: &mut Draft<'_>, refusal: &Refusal, what_of_it: &str) {
    let unblock = refusal.unblock(&draft.snapshot.key);
    draft.mention(refusal.reason(), format!("{what_of_it}: {}", refusal.sentence()), unblock);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_was_refused_is_told_from_what_is_done_without() {
        let says = |what: &str, why: Why, before: &str| {
            let refusal = Refusal { what: what.to_owned(), why };
            let (reason, message) = (refusal.reason().to_owned(), format!("{before}{}", refusal.sentence()));
            is_of_an_order(&Blocker { reason, message, ..Blocker::default() }, "shop")
        };
        let denied = || Why::Words("denied".to_owned());
        assert!(says("the patch of Deployment shop (move)", denied(), ""));
        assert!(says("the patch of Deployment shop (move)", Why::Unanswered, ""));
        assert!(!says("the patch of Deployment shop (move)", denied(), "it stays as it is: "));
        assert!(!says("the patch of Deployment shop-2 (move)", denied(), ""));
        assert!(!says("the deletion of ReleaseReport shop-r1", denied(), ""));
    }

    #[test]
    fn words_of_whoever_refuses_are_told_in_order_and_on_one_line() {
        let words = "denied:\u{202e} yb\u{2066} us\u{2028}and\u{2029}by\u{85}them\n".to_owned();
        let refusal = Refusal { what: "the creation of Job backup".to_owned(), why: Why::Words(words) };
        assert_eq!(refusal.sentence(), "the creation of Job backup was refused: denied: yb us and by them");
    }
}
