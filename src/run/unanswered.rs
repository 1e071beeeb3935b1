//! Which writes about each Release hung, the last time that they were tried. The API server may wait for a webhook for longer than we wait for the API server:
//! then nobody ever says that it is the webhook, and only that it happens again tells it from a hiccup. What follows from that is not known here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::decide::{Intent, Key};

/// Of one Release. Some may never be tried again.
const AT_MOST: usize = 16;
/// What hangs once more after this may be another hiccup. A write that failed is tried again sooner.
const TOGETHER: Duration = Duration::from_secs(120);

/// By Release, as a sentence has them, and when they hung. Of most there are none.
#[derive(Default)]
pub struct Unanswered(Mutex<HashMap<Key, BTreeMap<String, Instant>>>);

impl Unanswered {
    /// All of these were tried just now, and none but those hung.
    pub fn note(&self, key: &Key, tried: &[Intent], unanswered: &BTreeSet<String>, now: Instant) {
        let mut all = self.lock();
        if unanswered.is_empty() && !all.contains_key(key) {
            return;
        }
        let known = all.entry(key.clone()).or_default();
        known.retain(|what, _| tried.iter().all(|tried| tried.what() != *what));
        if known.len() + unanswered.len() > AT_MOST {
            known.clear();
        }
        known.extend(unanswered.iter().map(|what| (what.clone(), now)));
        if known.is_empty() {
            all.remove(key);
        }
    }

    /// Whether this one did, not long ago.
    pub fn has(&self, key: &Key, what: &str, now: Instant) -> bool {
        let all = self.lock();
        let hung = all.get(key).and_then(|known| known.get(what));
        hung.is_some_and(|at| now.saturating_duration_since(*at) < TOGETHER)
    }

    /// There is nothing left to write about it.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// What hung while another term lasted says nothing of now.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, BTreeMap<String, Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock;
    use super::*;

    fn drop_report(number: usize) -> Intent {
        Intent::DropReport { name: format!("r{number}") }
    }

    #[test]
    fn what_hung_is_known_until_it_is_answered_however_often_others_are() {
        let (hung, key) = (Unanswered::default(), Key { namespace: "ns".into(), name: "shop".into() });
        let intents: Vec<Intent> = (0..3).map(drop_report).collect();
        let what = |number: usize| intents[number].what();
        let now = clock::instant();
        let known = || [0, 1, 2].map(|number| hung.has(&key, &what(number), now));
        let none = BTreeSet::new();
        hung.note(&key, &intents[..2], &[what(1)].into(), now);
        assert_eq!(known(), [false, true, false]);
        hung.note(&key, &intents[..1], &none, now);
        hung.note(&key, &intents[2..], &[what(2)].into(), now);
        assert_eq!(known(), [false, true, true], "it was not tried");
        hung.note(&key, &intents[..2], &none, now);
        assert_eq!(known(), [false, false, true]);
        hung.note(&key, &intents, &none, now);
        assert!(hung.lock().is_empty(), "nothing is left of it");
    }

    #[test]
    fn of_one_release_no_more_is_known_than_there_is_room_for() {
        let (hung, key) = (Unanswered::default(), Key { namespace: "ns".into(), name: "shop".into() });
        let now = clock::instant();
        for number in 0..=AT_MOST {
            let what = drop_report(number).what();
            hung.note(&key, &[drop_report(number)], &[what.clone()].into(), now);
            assert!(hung.has(&key, &what, now));
            assert!(hung.lock()[&key].len() <= AT_MOST);
        }
    }

    #[test]
    fn what_hung_long_ago_is_no_reason_to_take_another_hiccup_for_more() {
        let (hung, key) = (Unanswered::default(), Key { namespace: "ns".into(), name: "shop".into() });
        let (what, began) = (drop_report(0).what(), clock::instant());
        let hangs = |after: u64| {
            let now = began + Duration::from_secs(after);
            let again = hung.has(&key, &what, now);
            hung.note(&key, &[drop_report(0)], &[what.clone()].into(), now);
            again
        };
        // The longest back-off, and the wait itself.
        assert_eq!([0, 85, 86 + 120, 300].map(hangs), [false, true, false, true]);
    }
}
