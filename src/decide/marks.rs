//! What came of ReleaseActions, said on them once status says it: a few at a time, after everything that was decided, of which nothing waits for it. It
//! lets no action take effect (`actions`).

use std::time::Duration;

use super::decision::Intent;
use super::draft::Draft;
use super::elapsed::yet_to_come;
use super::refusal::{self, DoneWithout, Missed};
use super::snapshot::{ActionFacts, Snapshot};
use crate::api::status::{Handled, ReleaseStatus};

/// Entries kept at most; of actions that are not marked yet further ones wait.
pub const MOST_HANDLED: usize = 64;
/// So many of them are left for what stops a run, where marks are refused.
pub const LEFT_FOR_STOPS: usize = 16;
/// Actions that are marked in one look: at a slow API server a look with all of them would see nothing else for minutes.
const MARKS_AT_ONCE: usize = 4;
/// The others come soon.
const REST: Duration = Duration::from_secs(1);
/// Of the marks that were refused some are tried again after so long.
const MARK_AGAIN: Duration = Duration::from_secs(30);
/// For so long it may take until an action is seen, or a mark that went out: what watches actions may be silent. After that it need not be there any more.
const MARK_SEEN_WITHIN: Duration = Duration::from_secs(300);

/// An action that took effect, and is not seen to be marked.
struct Open<'a> {
    handled: &'a Handled,
    action: &'a ActionFacts,
    missed: Option<&'a Missed>,
}

/// Forgets actions that carry their mark, and took effect long ago: whoever leads next may not have heard of them yet, or of the mark, and would have
/// them take effect again.
pub fn forget_seen(draft: &mut Draft<'_>) {
    let (snapshot, now) = (draft.snapshot, draft.now().0);
    draft.status.handled.retain(|handled| {
        // Where it does not say, it was before this process marked it, or looked here first. It is not added: a CRD that does not know it has it left out
        // again. What is yet to come by this clock has not been long ago either.
        let seen = || snapshot.marked.get(&handled.uid).copied().max(snapshot.looking_since);
        let at = handled.at.map(|at| at.0).or_else(seen).map_or(now, |at| at.min(now));
        is_open(snapshot, handled) || now < at + MARK_SEEN_WITHIN
    });
}

/// How many are not seen to be marked.
pub fn count_open(draft: &Draft<'_>) -> usize {
    draft.status.handled.iter().filter(|handled| is_open(draft.snapshot, handled)).count()
}

/// Notes an action that took effect. Where there is no room for it the oldest goes of those that are seen to be marked.
pub fn note(draft: &mut Draft<'_>, handled: Handled) {
    let (snapshot, all) = (draft.snapshot, &mut draft.status.handled);
    let is_seen = |handled: &Handled| !is_open(snapshot, handled);
    if all.len() >= MOST_HANDLED
        && let Some(oldest) = all.iter().position(is_seen)
    {
        all.remove(oldest);
    }
    all.push(handled);
}

/// Whether it is not seen to be marked.
fn is_open(snapshot: &Snapshot, handled: &Handled) -> bool {
    snapshot.actions.iter().any(|action| action.uid == handled.uid)
}

/// Marks actions that status says took effect: first what was not tried yet, the present run's before others', and then what was refused, longest ago
/// before all. Where marks are refused, says so.
pub fn mark(draft: &mut Draft<'_>) {
    let (snapshot, now) = (draft.snapshot, draft.snapshot.now);
    let open = open(snapshot, &draft.release.status);
    let refused: Vec<&Missed> = open.iter().filter_map(|open| open.missed).collect();
    say_refused(draft, &refused);
    let refused_last = refused.iter().map(|missed| missed.at).max();
    let again = refused_last.and_then(|at| yet_to_come(at, MARK_AGAIN, now));
    let not_before = |open: &Open<'_>| match open.missed {
        Some(_) => again,
        None => yet_to_come(*snapshot.marked.get(&open.handled.uid)?, MARK_SEEN_WITHIN, now),
    };
    if let Some(next) = open.iter().filter_map(not_before).min() {
        draft.wake_at(next);
    }
    let mut due: Vec<Open<'_>> = open.into_iter().filter(|open| not_before(open).is_none()).collect();
    due.sort_by_key(|open| open.missed.map(|missed| missed.at));
    if due.len() > MARKS_AT_ONCE {
        draft.wake_in(REST);
    }
    let mark = |Open { handled, action, missed: _ }: Open<'_>| Intent::MarkAction {
        uid: handled.uid.clone(),
        name: action.name.clone(),
        done: handled.done,
        message: handled.message.clone(),
        at: now,
    };
    draft.intents.extend(due.into_iter().take(MARKS_AT_ONCE).map(mark));
}

/// The present run's first, each as they took effect.
fn open<'a>(snapshot: &'a Snapshot, status: &'a ReleaseStatus) -> Vec<Open<'a>> {
    let run = status.run.as_ref().map(|run| run.id.as_str());
    let open = |handled: &'a Handled| {
        let action = snapshot.actions.iter().find(|action| action.uid == handled.uid)?;
        let missed = snapshot.missed.get(&DoneWithout::Mark(handled.uid.clone()));
        Some(Open { handled, action, missed })
    };
    let mut open: Vec<Open<'a>> = status.handled.iter().filter_map(open).collect();
    open.sort_by_key(|open| open.action.run.as_deref() != run);
    open
}

/// In the words of the first, whichever was refused last: what is said changes only with what is so.
fn say_refused(draft: &mut Draft<'_>, refused: &[&Missed]) {
    let Some(first) = refused.first() else { return };
    let what_of_it = match refused.len() {
        1 => "what came of an action could not be said on it".to_owned(),
        count if count >= MOST_HANDLED - LEFT_FOR_STOPS => format!(
            "what came of {count} actions could not be said on them, and none but abort and pause is heard before it is"
        ),
        count => format!("what came of {count} actions could not be said on them"),
    };
    refusal::mention(draft, &first.refusal, &what_of_it);
}
