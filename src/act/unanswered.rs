//! What was to be made, and nobody knows whether it was: whose request was not answered, or was not waited for to its end. It may be there, or have been and be
//! gone with what it belonged to; who makes it again has to know. Remembered by this process alone: one that begins sees all there is first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::watch::ObjectKey;

/// So many are remembered, the last ones. Those that are tried again are tried within minutes.
const MOST: usize = 1024;

/// Such objects of one kind.
#[derive(Default)]
pub struct Unanswered(Mutex<VecDeque<ObjectKey>>);

impl Unanswered {
    pub fn holds(&self, object: &ObjectKey) -> bool {
        self.lock().contains(object)
    }

    /// It is asked for.
    pub fn add(&self, object: ObjectKey) {
        let mut known = self.lock();
        known.retain(|other| *other != object);
        known.push_back(object);
        if known.len() > MOST {
            known.pop_front();
        }
    }

    /// It is known what became of it.
    pub fn remove(&self, object: &ObjectKey) {
        self.lock().retain(|other| other != object);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<ObjectKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_the_one_that_was_tried_longest_ago_is_forgotten() {
        let unanswered = Unanswered::default();
        let job = |number: usize| ObjectKey::new("ns", &format!("job-{number}"));
        (0..MOST).for_each(|number| unanswered.add(job(number)));
        unanswered.add(job(0));
        unanswered.add(job(MOST));
        assert!(!unanswered.holds(&job(1)));
        assert!(unanswered.holds(&job(0)) && unanswered.holds(&job(2)) && unanswered.holds(&job(MOST)));
    }
}
