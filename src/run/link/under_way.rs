//! Whether any run is under way: while one is, a watch that has gone silent must be noticed sooner.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::decide::Key;

/// Releases with a run under way, as far as we look at them.
#[derive(Default)]
pub struct UnderWay {
    keys: Mutex<HashSet<Key>>,
    any: watch::Sender<bool>,
}

impl UnderWay {
    /// Whether a run of this Release is under way.
    pub fn note(&self, key: &Key, under_way: bool) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if under_way {
            keys.insert(key.clone());
        } else {
            keys.remove(key);
        }
        self.say(!keys.is_empty());
    }

    /// Another process leads: it is its business.
    pub fn clear(&self) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.say(false);
    }

    /// Whether there is any, from now on.
    pub fn follow(&self) -> watch::Receiver<bool> {
        self.any.subscribe()
    }

    fn say(&self, any: bool) {
        self.any.send_if_modified(|known| std::mem::replace(known, any) != any);
    }
}
