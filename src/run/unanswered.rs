//! Which writes about each Release hung, the last time that they were tried. The API server may wait for a webhook for longer than we wait for the API server:
//! then nobody ever says that it is the webhook, and only that it happens again tells it from a hiccup. What follows from that is not known here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::decide::{Intent, Key};

/// Of one Release. Some may never be tried again.
const AT_MOST: usize = 16;

/// By Release, as a sentence has them. Of most there are none.
#[derive(Default)]
pub struct Unanswered(Mutex<HashMap<Key, BTreeSet<String>>>);

impl Unanswered {
    /// All of these were tried just now, and none but those hung.
    pub fn note(&self, key: &Key, tried: &[Intent], unanswered: &BTreeSet<String>) {
        let mut all = self.lock();
        if unanswered.is_empty() && !all.contains_key(key) {
            return;
        }
        let known = all.entry(key.clone()).or_default();
        known.retain(|what| tried.iter().all(|tried| tried.what() != *what));
        if known.len() + unanswered.len() > AT_MOST {
            known.clear();
        }
        known.extend(unanswered.iter().cloned());
        if known.is_empty() {
            all.remove(key);
        }
    }

    /// Whether this one did.
    pub fn has(&self, key: &Key, what: &str) -> bool {
        self.lock().get(key).is_some_and(|known| known.contains(what))
    }

    /// There is nothing left to write about it.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// What hung while another term lasted says nothing of now.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drop_report(number: usize) -> Intent {
        Intent::DropReport { name: format!("r{number}") }
    }

    #[test]
    fn what_hung_is_known_until_it_is_answered_however_often_others_are() {
        let (hung, key) = (Unanswered::default(), Key { namespace: "ns".into(), name: "shop".into() });
        let intents: Vec<Intent> = (0..3).map(drop_report).collect();
        let what = |number: usize| intents[number].what();
        let known = || [0, 1, 2].map(|number| hung.has(&key, &what(number)));
        let none = BTreeSet::new();
        hung.note(&key, &intents[..2], &[what(1)].into());
        assert_eq!(known(), [false, true, false]);
        hung.note(&key, &intents[..1], &none);
        hung.note(&key, &intents[2..], &[what(2)].into());
        assert_eq!(known(), [false, true, true], "it was not tried");
        hung.note(&key, &intents[..2], &none);
        assert_eq!(known(), [false, false, true]);
        hung.note(&key, &intents, &none);
        assert!(hung.lock().is_empty(), "nothing is left of it");
    }

    #[test]
    fn of_one_release_no_more_is_known_than_there_is_room_for() {
        let (hung, key) = (Unanswered::default(), Key { namespace: "ns".into(), name: "shop".into() });
        for number in 0..=AT_MOST {
            let what = drop_report(number).what();
            hung.note(&key, &[drop_report(number)], &[what.clone()].into());
            assert!(hung.has(&key, &what));
            assert!(hung.lock()[&key].len() <= AT_MOST);
        }
    }
}
