//! What this process has tried to make. Whether it was made, nobody may have answered, or noted; it may be there, or have been and be gone with what it
//! belonged to: who makes it again has to know. Another process that begins sees all there is first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::watch::ObjectKey;

/// So many are remembered, the last ones. What is tried again is tried again within minutes.
const MOST: usize = 1024;

/// Such objects of one kind.
#[derive(Default)]
pub struct Tried(Mutex<VecDeque<ObjectKey>>);

impl Tried {
    pub fn holds(&self, object: &ObjectKey) -> bool {
        self.lock().contains(object)
    }

    /// It is tried.
    pub fn add(&self, object: ObjectKey) {
        let mut known = self.lock();
        known.retain(|other| *other != object);
        known.push_back(object);
        if known.len() > MOST {
            known.pop_front();
        }
    }

    /// It was not, after all: the try has not gone out.
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
        let tried = Tried::default();
        let job = |number: usize| ObjectKey::new("ns", &format!("job-{number}"));
        (0..MOST).for_each(|number| tried.add(job(number)));
        tried.add(job(0));
        tried.add(job(MOST));
        assert!(!tried.holds(&job(1)));
        assert!(tried.holds(&job(0)) && tried.holds(&job(2)) && tried.holds(&job(MOST)));
    }
}
