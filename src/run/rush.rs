//! Many ways back at once. The API server has better to do then than to take status: what orders nothing waits until stable stands again
//! everywhere, as long as that gets on, and for [`LONGEST`] at most.
//!
//! Only writing waits. What is seen meanwhile is kept with the time at which it was seen (`Findings::way_back`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::decide::Key;

/// So many ways back at once are a rush.
const MANY: usize = 10;
/// Where none has begun or come to its end for so long, nothing waits: they take their time.
const LULL: Duration = Duration::from_secs(10);
/// A way back that takes longer is not waited for, and no Release waits longer.
pub const LONGEST: Duration = Duration::from_secs(30);

/// Ways back that are not at their end.
#[derive(Default)]
pub struct Rush(Mutex<State>);

#[derive(Default)]
struct State {
    /// Since when.
    going: HashMap<Key, Instant>,
    /// When the last of them came to its end.
    ended: Option<Instant>,
    is_on: bool,
    /// Releases with something to write that waits, and since when.
    waiting: HashMap<Key, Instant>,
}

impl Rush {
    /// Whether this Release goes back and stable does not stand yet.
    pub fn note(&self, key: &Key, goes: bool, now: Instant) {
        let mut state = self.lock();
        if goes {
            state.going.entry(key.clone()).or_insert(now);
        } else if state.going.remove(key).is_some() {
            state.ended = Some(now);
        }
    }

    /// Whether what this Release has to write, and orders nothing, is to wait.
    pub fn has_it_wait(&self, key: &Key, now: Instant) -> bool {
        let mut state = self.lock();
        let fresh = state.going.values().filter(|since| now.duration_since(**since) < LONGEST).count();
        let mut moments = state.going.values().chain(&state.ended);
        let gets_on = moments.any(|at| now.duration_since(*at) < LULL);
        state.is_on = gets_on && (fresh >= MANY || (state.is_on && fresh > 0));
        if !state.is_on {
            // In the next one everybody waits anew.
            state.waiting.clear();
        }
        let waits = state.is_on && {
            let since = *state.waiting.entry(key.clone()).or_insert(now);
            now.duration_since(since) < LONGEST
        };
        if !waits {
            state.waiting.remove(key);
        }
        waits
    }

    /// Another process leads: it is its business.
    pub fn clear(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock;
    use super::*;

    fn key(number: usize) -> Key {
        Key { namespace: "ns".into(), name: number.to_string() }
    }

    fn of(going: usize, now: Instant) -> Rush {
        let rush = Rush::default();
        (0..going).for_each(|number| rush.note(&key(number), true, now));
        rush
    }

    #[test]
    fn a_few_ways_back_keep_nobody_waiting() {
        let now = clock::instant();
        assert!(!of(MANY - 1, now).has_it_wait(&key(99), now));
    }

    #[test]
    fn many_are_waited_for_until_the_last_of_them_stands() {
        let now = clock::instant();
        let rush = of(MANY, now);
        assert!(rush.has_it_wait(&key(99), now));
        (1..MANY).for_each(|number| rush.note(&key(number), false, now));
        assert!(rush.has_it_wait(&key(99), now), "one is still on its way");
        rush.note(&key(0), false, now);
        assert!(!rush.has_it_wait(&key(99), now));
    }

    #[test]
    fn those_that_take_their_time_are_not_waited_for() {
        let now = clock::instant();
        let rush = of(MANY, now);
        assert!(rush.has_it_wait(&key(99), now));
        assert!(!rush.has_it_wait(&key(99), now + LULL));
    }

    #[test]
    fn while_one_after_the_other_comes_to_its_end_the_others_are_waited_for() {
        let now = clock::instant();
        let rush = of(2 * MANY, now);
        let seconds = |number: usize| now + LULL / 2 * u32::try_from(number).unwrap();
        for number in 0..6 {
            assert!(rush.has_it_wait(&key(99), seconds(number)), "{number}");
            rush.note(&key(number), false, seconds(number));
        }
        assert_eq!(seconds(6), now + LONGEST);
        assert!(!rush.has_it_wait(&key(99), seconds(6)), "it has waited");
        assert!(!rush.has_it_wait(&key(98), seconds(6)), "those that are left take longer");
    }

    #[test]
    fn nobody_waits_longer_however_many_more_come() {
        let now = clock::instant();
        let rush = of(MANY, now);
        assert!(rush.has_it_wait(&key(99), now));
        (100..200).for_each(|number| rush.note(&key(number), true, now + LONGEST));
        assert!(!rush.has_it_wait(&key(99), now + LONGEST), "it has waited");
        assert!(rush.has_it_wait(&key(98), now + LONGEST), "that one begins to");
    }

    #[test]
    fn one_that_waited_and_then_had_something_to_order_waits_in_the_next_one_too() {
        let now = clock::instant();
        let rush = of(MANY, now);
        assert!(rush.has_it_wait(&key(99), now));
        (0..MANY).for_each(|number| rush.note(&key(number), false, now));
        assert!(!rush.has_it_wait(&key(98), now), "it is over");
        let next = now + 2 * LONGEST;
        (0..MANY).for_each(|number| rush.note(&key(number), true, next));
        assert!(rush.has_it_wait(&key(99), next));
    }
}
