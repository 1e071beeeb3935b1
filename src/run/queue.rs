//! Which Release to look at next. One Release is never worked on twice at once; what goes back goes first; each sleeps until its
//! wake time or an event, whichever comes first.
//!
//! What takes long is writing. So looking is for everybody, at once, and writing takes turns: a look that finds that its Release has
//! to go back goes on and writes; any other one that has something to write needs one of a few turns, and comes again when it is
//! given one. So a Release that has to go back is found out, and goes, however many wait for a slow API server.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::clock;
use crate::decide::Key;

/// Looks that may be under way besides those that have a turn to write.
pub const BESIDES: u16 = 16;

/// The queue. Shared by reference; none of its calls but `next` waits.
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    urgent: VecDeque<Key>,
    waiting: VecDeque<Key>,
    queued: HashSet<Key>,
    running: HashSet<Key>,
    /// Woken while running: to be looked at once more.
    again: HashSet<Key>,
    /// Going back: goes to the front whenever it is woken.
    going_back: HashSet<Key>,
    /// Turns to write that nobody has.
    turns: u16,
    writing: HashSet<Key>,
    /// Has something to write; first come, first served.
    in_turn: VecDeque<Key>,
    has_place: HashSet<Key>,
    timers: BTreeSet<(Instant, Key)>,
    timer_of: HashMap<Key, Instant>,
}

impl Queue {
    /// A queue in which so many Releases that do not go back are written about at once.
    pub fn with_turns(turns: u16) -> Self {
        let state = State { turns, ..State::default() };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Something about this Release may have changed.
    pub fn wake(&self, key: Key) {
        self.lock().enqueue(key);
        self.changed.notify_one();
    }

    /// Look at it then, at the latest.
    pub fn wake_at(&self, key: Key, at: Instant) {
        let mut state = self.lock();
        if state.timer_of.get(&key).is_some_and(|known| *known <= at) {
            return;
        }
        state.forget_timer(&key);
        state.timers.insert((at, key.clone()));
        state.timer_of.insert(key, at);
        drop(state);
        self.changed.notify_one();
    }

    /// The next Release to look at; waits until there is one. `done` must follow, or `give_back`.
    pub async fn next(&self) -> Key {
        loop {
            let changed = self.changed.notified();
            let (key, sleep_until) = self.lock().take(clock::instant());
            if let Some(key) = key {
                // There may be more: another worker takes it.
                self.changed.notify_one();
                return key;
            }
            match sleep_until {
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Whether a Release that is being looked at may be written about now. If not, it comes again when it is its turn.
    pub fn may_write(&self, key: &Key) -> bool {
        let mut state = self.lock();
        if state.writing.contains(key) {
            return true;
        }
        if state.turns > 0 && state.in_turn.is_empty() {
            state.give_turn(key);
            return true;
        }
        if state.has_place.insert(key.clone()) {
            state.in_turn.push_back(key.clone());
        }
        false
    }

    /// It has been looked at.
    pub fn done(&self, key: &Key, going_back: bool) {
        let mut state = self.lock();
        state.running.remove(key);
        if state.writing.remove(key) {
            state.turns += 1;
        }
        if going_back {
            state.going_back.insert(key.clone());
        } else {
            state.going_back.remove(key);
        }
        if state.again.remove(key) {
            state.enqueue(key.clone());
        }
        drop(state);
        self.changed.notify_one();
    }

    /// It has not been looked at, and waits again as what it was.
    pub fn give_back(&self, key: Key) {
        let mut state = self.lock();
        state.running.remove(&key);
        state.again.remove(&key);
        if state.writing.remove(&key) {
            state.turns += 1;
        }
        state.enqueue(key);
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enqueue(&mut self, key: Key) {
        if self.running.contains(&key) {
            self.again.insert(key);
        } else if self.queued.insert(key.clone()) {
            if self.going_back.contains(&key) {
                self.urgent.push_back(key);
            } else {
                self.waiting.push_back(key);
            }
        }
    }

    fn take(&mut self, now: Instant) -> (Option<Key>, Option<Instant>) {
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.forget_timer(&key);
            self.enqueue(key);
        }
        if let Some(key) = self.urgent.pop_front().or_else(|| self.waiting.pop_front()) {
            self.queued.remove(&key);
            self.begin(&key);
            return (Some(key), None);
        }
        if self.turns > 0
            && let Some(place) = self.in_turn.iter().position(|key| !self.running.contains(key))
            && let Some(key) = self.in_turn.remove(place)
        {
            self.has_place.remove(&key);
            self.give_turn(&key);
            self.begin(&key);
            return (Some(key), None);
        }
        (None, self.timers.first().map(|(at, _)| *at))
    }

    fn begin(&mut self, key: &Key) {
        self.running.insert(key.clone());
        self.forget_timer(key);
    }

    fn give_turn(&mut self, key: &Key) {
        self.turns -= 1;
        self.writing.insert(key.clone());
    }

    fn forget_timer(&mut self, key: &Key) {
        if let Some(at) = self.timer_of.remove(key) {
            self.timers.remove(&(at, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn key(name: &str) -> Key {
        Key { namespace: "ns".into(), name: name.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_back_goes_first() {
        let queue = Queue::with_turns(8);
        queue.wake(key("bad"));
        assert_eq!(queue.next().await, key("bad"));
        queue.done(&key("bad"), true);
        queue.wake(key("a"));
        queue.wake(key("b"));
        queue.wake(key("bad"));
        assert_eq!(queue.next().await, key("bad"));
    }

    #[tokio::test(start_paused = true)]
    async fn woken_while_worked_on_it_is_looked_at_once_more_and_by_one_only() {
        let queue = Queue::with_turns(8);
        queue.wake(key("a"));
        let taken = queue.next().await;
        queue.wake(key("a"));
        assert!(tokio::time::timeout(Duration::from_secs(1), queue.next()).await.is_err());
        queue.done(&taken, false);
        assert_eq!(queue.next().await, key("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_comes_again_and_goes_first_if_it_goes_back() {
        let queue = Queue::with_turns(1);
        queue.wake(key("bad"));
        queue.done(&queue.next().await, true);
        queue.wake(key("bad"));
        queue.wake(key("a"));
        let taken = queue.next().await;
        queue.wake(key("bad"));
        assert!(queue.may_write(&taken));
        queue.give_back(taken);
        assert_eq!(queue.next().await, key("bad"), "before what waited longer");
        assert_eq!(queue.next().await, key("a"));
        assert!(queue.may_write(&key("a")), "the turn was given back too");
    }

    #[tokio::test(start_paused = true)]
    async fn it_sleeps_until_the_earliest_wake() {
        let queue = Queue::with_turns(8);
        let start = clock::instant();
        queue.wake_at(key("late"), start + Duration::from_secs(60));
        queue.wake_at(key("early"), start + Duration::from_secs(5));
        queue.wake_at(key("late"), start + Duration::from_secs(3600));
        assert_eq!(queue.next().await, key("early"));
        assert_eq!(clock::instant() - start, Duration::from_secs(5));
        assert_eq!(queue.next().await, key("late"));
        assert_eq!(clock::instant() - start, Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_something_to_write_waits_for_a_turn_and_keeps_the_place() {
        let queue = Queue::with_turns(1);
        for name in ["a", "b", "c"] {
            queue.wake(key(name));
        }
        let looks = [queue.next().await, queue.next().await, queue.next().await];
        assert_eq!(looks.iter().map(|key| queue.may_write(key)).collect::<Vec<_>>(), [true, false, false]);
        queue.done(&looks[1], false);
        queue.done(&looks[2], false);
        queue.wake(key("c"));
        assert_eq!(queue.next().await, key("c"), "whatever happens to it is looked at meanwhile");
        assert!(!queue.may_write(&key("c")));
        queue.done(&key("c"), false);
        assert!(tokio::time::timeout(Duration::from_secs(1), queue.next()).await.is_err());
        queue.done(&looks[0], false);
        for name in ["b", "c"] {
            assert_eq!(queue.next().await, key(name));
            assert!(queue.may_write(&key(name)), "it has been given the turn");
            queue.done(&key(name), false);
        }
    }
}
