//! What this process wrote last in the status of each Release, until it is seen what is shown of it. Where the API server keeps less ([`Pruned`]), decided on what is
//! left that would be written anew in each look, with the moment of that look. So what is left out is remembered for as long as that is shown. What follows
//! from it is not known here.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::atomic::{self, AtomicBool};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::act::Applied;
use crate::api::ReleaseStatus;
use crate::decide::Key;
use crate::decide::snapshot::ReleaseFacts;
use crate::observe::pruned::Pruned;

/// By Release. Of most there is none: all of it is shown a moment after it was written.
#[derive(Default)]
pub struct OwnStatus {
    all: Mutex<HashMap<Key, Own>>,
    /// It was told that some is left out.
    is_told: AtomicBool,
}

struct Own {
    /// Of the Release.
    uid: String,
    revision: i64,
    known: Known,
}

enum Known {
    /// What was written. It has not been seen what is shown of it.
    Written(Arc<ReleaseStatus>),
    Less(Arc<Pruned>),
}

impl OwnStatus {
    /// A status may have been written, about this.
    pub fn note(&self, key: &Key, release: Option<&ReleaseFacts>, applied: &Applied) {
        let (Some(release), Some(revision)) = (release, applied.revision) else { return };
        let mut all = self.lock();
        match &applied.status {
            Some(status) => {
                let (uid, known) = (release.uid.clone(), Known::Written(status.clone()));
                all.insert(key.clone(), Own { uid, revision, known });
            }
            None => drop(all.remove(key)),
        }
    }

    /// What is left out of our last write, where something is.
    pub fn pruned(&self, key: &Key) -> Option<Arc<Pruned>> {
        match &self.lock().get(key)?.known {
            Known::Written(_) => None,
            Known::Less(pruned) => Some(pruned.clone()),
        }
    }

    /// Whether it is seen now that less is shown of our last write. From here on that is known, until something else is shown.
    pub fn sees_less(&self, key: &Key, release: Option<&ReleaseFacts>) -> bool {
        let mut all = self.lock();
        let Some(own) = all.get_mut(key) else { return false };
        let Some(release) = release.filter(|release| release.uid == own.uid) else {
            all.remove(key);
            return false;
        };
        let shown = &release.status;
        let less = match (&own.known, shown.revision.cmp(&own.revision)) {
            // It has not come back yet; or this is known.
            (_, Ordering::Less) | (Known::Less(_), Ordering::Equal) => return false,
            (Known::Written(written), Ordering::Equal) => Pruned::of(written, shown),
            (_, Ordering::Greater) => None,
        };
        let Some(less) = less else {
            all.remove(key);
            return false;
        };
        own.known = Known::Less(Arc::new(less));
        if !self.is_told.swap(true, atomic::Ordering::Relaxed) {
            tracing::warn!(release = %key, "the API server does not keep all of a status: apply the CRDs of this version");
        }
        true
    }

    /// Another process may write from here on.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Own>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn release(uid: &str, status: Value) -> ReleaseFacts {
        ReleaseFacts {
            uid: uid.into(),
            generation: 1,
            resource_version: "1".into(),
            target: None,
            spec: Err("nobody asks for it".into()),
            meaning: Arc::default(),
            status: Arc::new(serde_json::from_value(status).expect("a status")),
            withheld: None,
        }
    }

    #[test]
    fn what_is_left_out_is_known_until_something_else_is_shown_and_nothing_is_kept_of_what_is_not() {
        let key = Key { namespace: "ns".into(), name: "shop".into() };
        let before = release("shop", json!({"revision": 1}));
        let written = release("shop", json!({"revision": 2, "linted": "abc"}));
        let less = release("shop", json!({"revision": 2}));
        // What is shown after revision 2 was written, whether it is seen that this is less, and whether nothing is to be known of it any more.
        for (shown, is_less, is_settled) in [
            (Some(before.clone()), false, false),
            (Some(written.clone()), false, true),
            (Some(less.clone()), true, false),
            (Some(release("shop", json!({"revision": 2, "linted": "def"}))), false, true),
            (Some(release("shop", json!({"revision": 3}))), false, true),
            (Some(release("another", json!({"revision": 1}))), false, true),
            (None, false, true),
        ] {
            let own = OwnStatus::default();
            let status = Some(written.status.clone());
            let applied = Applied { revision: Some(2), status, ..Applied::default() };
            own.note(&key, Some(&before), &applied);
            assert!(own.pruned(&key).is_none());
            assert_eq!(own.sees_less(&key, shown.as_ref()), is_less, "{shown:?}");
            assert_eq!(own.pruned(&key).is_some(), is_less, "{shown:?}");
            assert_eq!(own.lock().is_empty(), is_settled, "{shown:?}");
            if is_less {
                assert!(!own.sees_less(&key, Some(&written)), "what was written stands in its place");
                assert!(own.pruned(&key).is_some());
                // A status was written of which it is not known.
                own.note(&key, Some(&written), &Applied { revision: Some(3), ..Applied::default() });
                assert!(own.pruned(&key).is_none());
            }
        }
    }
}
