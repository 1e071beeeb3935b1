//! What a run would be undone or ended for because it is not there, as far as is known: a Release that is gone, a Deployment that was deleted or made anew, of
//! which at rest it would be forgotten what is stable. Each kind is watched by itself, and how far a watch is behind nobody knows, least of all who begins to
//! lead. So the API server is asked before that is decided on: once, and what it has confirmed is remembered until it is known otherwise. What comes of it is
//! for `decide`; nothing is asked about what is there, nor, before pods go back, about a Release of which the watch itself has said that it was deleted: who
//! deletes one in mid-run does not wait for an answer. Who has just begun to lead asks also whether a Release is at rest whose Deployment, or what is kept
//! for it, looks otherwise: what is done at rest would break into a run, or a way back, that is yet to be heard of. What it is that may be missing, and how
//! it is asked about, is in `about`.

mod about;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::clock;
use crate::decide::fields::{PARKED_DEADLINE, parked};
use crate::decide::snapshot::Workload;
use crate::decide::{Key, Snapshot};
use crate::logged::logged;
use crate::watch::again::{NotRead, Reader};
use crate::watch::{ObjectKey, SharedIndex};
use about::About;

/// Asked for so long without an answer, what is known is taken for what there is: all watches have been begun anew twice by then, where they can be.
const PATIENCE: Duration = Duration::from_secs(30);
/// After so long even a watch that was silent while nobody knew of a run has been begun anew.
const LATE: Duration = Duration::from_secs(90);
/// How long a way back waits for its one answer.
const LONGEST_ASK: Duration = Duration::from_secs(2);
/// It is asked again no sooner: what is there is mostly heard of before.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// While others read it has not been asked at all, and says nothing: turns come back within the deadline of who has them.
const NO_TURN: Duration = Duration::from_millis(150);

/// What is known of what is missing.
#[derive(Default)]
pub struct Missing(Mutex<Known>);

#[derive(Default)]
struct Known {
    doubts: HashMap<Key, Doubt>,
    /// Since when this process leads; `None`: no other one ever did.
    leads_since: Option<Instant>,
    /// Whose status it has written since, while that told anything: each write is refused but on what there is, and nobody else has written any after it.
    written: HashSet<Key>,
}

#[derive(Clone)]
struct Doubt {
    about: About,
    /// Since when it is asked about, or since it was last said to be there; later by as long as there was no turn to ask.
    since: Instant,
    /// When it was tried last.
    tried: Instant,
    ask_at: Instant,
    /// There was no turn to ask when it was tried last: that is told once.
    lacks_turn: bool,
    /// It is missing, or is taken for that.
    is_settled: bool,
}

/// Whether stable has been ordered, by what stands on the Deployment.
fn goes_back(target: &Workload) -> bool {
    let waits_back = target.progress_deadline_seconds == Some(PARKED_DEADLINE);
    target.stable.is_some() && waits_back && !parked(target)
}

impl Missing {
    /// Whether this snapshot may be decided on: nothing is missing in it, or that has been asked about, or heard. What this process wrote itself it waits for
    /// otherwise: whoever has led for long knows whether a run is under way.
    pub fn is_known(&self, index: &SharedIndex, key: &Key, snapshot: &Snapshot) -> bool {
        let about = About::of(snapshot);
        let was_deleted = about == Some(About::Release) && index.lock().was_deleted(&ObjectKey::from(key));
        let mut known = self.lock();
        let Some(about) = about else {
            known.doubts.remove(key);
            return true;
        };
        match known.doubts.get(key).filter(|doubt| doubt.about == about) {
            Some(doubt) => doubt.is_settled,
            None => match about {
                About::Release => was_deleted && known.has_led_for(PATIENCE),
                About::Kept(_) | About::Deployment { .. } => false,
                About::Later { .. } => known.has_led_for(LATE) || known.written.contains(key),
            },
        }
    }

    /// Asks whether what is missing in this snapshot is there all the same.
    ///
    /// # Errors
    /// It is, and has not been heard of yet, or not as it is now; or there is no answer, and it can be waited for: when to look again.
    pub async fn ask(
        &self,
        index: &SharedIndex,
        reader: &Reader,
        key: &Key,
        snapshot: &Snapshot,
    ) -> Result<(), Duration> {
        let Some(about) = About::of(snapshot) else { return Ok(()) };
        let doubt = self.doubt(key, about);
        let now = clock::instant();
        if now < doubt.ask_at {
            return Err(doubt.ask_at - now);
        }
        // Pods wait well where they are, but not in the middle of a way back.
        let in_a_hurry = doubt.about == About::Release && snapshot.target.as_ref().is_some_and(goes_back);
        let asked = doubt.about.is_so(index, reader, key);
        let answer = match in_a_hurry {
            true => tokio::time::timeout(LONGEST_ASK, asked).await.unwrap_or(Err(NotRead::Late)),
            false => asked.await,
        };
        let now = clock::instant();
        let lacks_turn = matches!(answer, Err(NotRead::NoTurn));
        let (since, again, is_settled) = match answer {
            Ok(true) => (doubt.since, ASK_AGAIN, true),
            Ok(false) => {
                tracing::info!(release = %key, missing = ?doubt.about, "it is otherwise than is known, and has not been heard of as it is yet");
                (now, ASK_AGAIN, false)
            }
            Err(NotRead::NoTurn) => {
                if !doubt.lacks_turn {
                    tracing::info!(release = %key, missing = ?doubt.about, "whether it is there is asked once others have read");
                }
                (doubt.since + (now - doubt.tried), NO_TURN, false)
            }
            Err(error @ (NotRead::Gone | NotRead::Late | NotRead::Api(_))) => {
                tracing::warn!(release = %key, missing = ?doubt.about, error = %logged(&error), "it could not be read whether it is there");
                (doubt.since, ASK_AGAIN, in_a_hurry || now >= doubt.since + PATIENCE)
            }
        };
        self.lock().doubts.insert(
            key.clone(),
            Doubt { since, tried: now, ask_at: now + again, lacks_turn, is_settled, ..doubt },
        );
        if is_settled { Ok(()) } else { Err(again) }
    }

    /// What is known of it; where something else was missing before, it begins anew.
    fn doubt(&self, key: &Key, about: About) -> Doubt {
        let known = self.lock().doubts.get(key).filter(|doubt| doubt.about == about).cloned();
        let now = clock::instant();
        known.unwrap_or(Doubt {
            about,
            since: now,
            tried: now,
            ask_at: now,
            lacks_turn: false,
            is_settled: false,
        })
    }

    /// A term begins: another process may have led meanwhile, and there may be again what was missing.
    pub fn begin_term(&self) {
        *self.lock() = Known { leads_since: Some(clock::instant()), ..Known::default() };
    }

    /// The status of a Release was written.
    pub fn note_written(&self, key: &Key) {
        let mut known = self.lock();
        if known.has_led_for(LATE) {
            known.written.clear();
        } else {
            known.written.insert(key.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether it leads for so long that nothing which another process had in hand is yet to be heard of. Before that a Release that was deleted may have been
    /// made anew, and the run that is seen be that one's: its watch says so next.
    fn has_led_for(&self, time: Duration) -> bool {
        self.leads_since.is_none_or(|since| clock::instant() >= since + time)
    }
}
