//! Whether any run is under way, as far as is known to whoever watches, leading or not: while one is, a watch that has gone silent must be noticed sooner.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::decide::Key;

/// Releases with a run under way.
#[derive(Default)]
pub struct UnderWay {
    keys: Mutex<HashSet<Key>>,
    any: AnyUnderWay,
}

/// Whether there is any. Those who wait for one are woken in the order in which they began to wait, so that the same story has the same
/// requests in the same order: tokio's watch channel wakes them in an order of its own.
#[derive(Clone, Default)]
pub struct AnyUnderWay(Arc<Any>);

#[derive(Default)]
struct Any {
    is: AtomicBool,
    began: Notify,
}

impl AnyUnderWay {
    /// Whether there is one now.
    pub fn is(&self) -> bool {
        self.0.is.load(Ordering::Acquire)
    }

    /// Waits until there is one.
    pub async fn begins(&self) {
        loop {
            let began = self.0.began.notified();
            if self.is() {
                return;
            }
            began.await;
        }
    }

    fn say(&self, any: bool) {
        if !self.0.is.swap(any, Ordering::AcqRel) && any {
            self.0.began.notify_waiters();
        }
    }
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
        self.any.say(!keys.is_empty());
    }

    /// Whether there is any, from now on.
    pub fn follow(&self) -> AnyUnderWay {
        self.any.clone()
    }
}
