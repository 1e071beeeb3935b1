//! Kept templates that this process has deleted. For a while they may be shown all the same, and their deletion may still be on its way: who needs one keeps it
//! anew. Deletions of a process that is no more are not known here.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::clock;
use crate::decide::Key;

/// Nothing is on its way for longer, and what has not brought anything for longer has been begun anew.
const AT_MOST: Duration = Duration::from_secs(180);

/// Those of all Releases, also of some that are gone: who makes one anew may want them.
#[derive(Default)]
pub struct LetGo(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// By Release and uid: when each was deleted last.
    all: HashMap<Key, BTreeMap<String, Instant>>,
    /// As they were deleted, one after the other, again and again.
    order: VecDeque<(Instant, Key, String)>,
}

impl LetGo {
    /// These were deleted just now.
    pub fn note(&self, key: &Key, uids: &[String]) {
        let now = clock::instant();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.forget_until(now);
        for uid in uids {
            known.all.entry(key.clone()).or_default().insert(uid.clone(), now);
            known.order.push_back((now, key.clone(), uid.clone()));
        }
    }

    /// Those of one Release, by uid.
    pub fn of(&self, key: &Key) -> BTreeSet<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.forget_until(clock::instant());
        known.all.get(key).into_iter().flat_map(|uids| uids.keys().cloned()).collect()
    }
}

impl Known {
    fn forget_until(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _, _)| *at + AT_MOST <= now) {
            let Some((_, key, uid)) = self.order.pop_front() else { return };
            let Some(uids) = self.all.get_mut(&key) else { continue };
            if uids.get(&uid).is_some_and(|at| *at + AT_MOST <= now) {
                uids.remove(&uid);
            }
            if uids.is_empty() {
                self.all.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn they_are_known_for_a_while_each_of_its_release() {
        let [shop, till] = ["shop", "till"].map(|name| Key { namespace: "ns".into(), name: name.into() });
        let let_go = LetGo::default();
        let known = |of: &Key| let_go.of(of).into_iter().collect::<Vec<_>>();
        let_go.note(&shop, &["k1".to_owned(), "k2".to_owned()]);
        tokio::time::advance(AT_MOST / 2).await;
        let_go.note(&shop, &["k1".to_owned()]);
        let_go.note(&till, &[]);
        assert_eq!(known(&shop), ["k1", "k2"]);
        assert!(known(&till).is_empty());
        tokio::time::advance(AT_MOST / 2).await;
        assert_eq!(known(&shop), ["k1"], "it was deleted again");
        tokio::time::advance(AT_MOST / 2).await;
        assert!(known(&shop).is_empty());
        assert!(let_go.0.lock().unwrap().all.is_empty(), "nothing is left of it");
    }
}
