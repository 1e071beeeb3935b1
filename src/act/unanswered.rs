//! What was to be made, and nobody knows whether it was: whose request was not answered, or was not waited for to its end. It may be there, or have been and be
//! gone with what it belonged to; who makes it again has to know. Remembered by this process alone: one that begins sees all there is first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::watch::ObjectKey;

/// So many are remembered. Those that are tried again are tried within minutes.
const MOST: usize = 1024;

/// Such objects of one kind.
#[derive(Default)]
pub struct Unanswered(Mutex<HashMap<ObjectKey, Instant>>);

impl Unanswered {
    pub fn holds(&self, object: &ObjectKey) -> bool {
        self.lock().contains_key(object)
    }

    /// It is asked for.
    pub fn add(&self, object: ObjectKey) {
        let mut known = self.lock();
        known.insert(object, Instant::now());
        if known.len() > MOST {
            let oldest = known.iter().min_by_key(|(_, since)| **since).map(|(object, _)| object.clone());
            oldest.map(|oldest| known.remove(&oldest));
        }
    }

    /// It is known what became of it.
    pub fn remove(&self, object: &ObjectKey) {
        self.lock().remove(object);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_too_many_the_oldest_is_forgotten() {
        let unanswered = Unanswered::default();
        let job = |number: usize| ObjectKey::new("ns", &format!("job-{number}"));
        for number in 0..=MOST {
            unanswered.add(job(number));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(!unanswered.holds(&job(0)));
        assert!((1..=MOST).all(|number| unanswered.holds(&job(number))));
    }
}
