//! Which Release to look at next. One Release is never worked on twice at once; what goes back goes first; each sleeps until its
//! wake time or an event, whichever comes first.
//!
//! What takes long is writing. So looking is for everybody, at once, and writing takes turns: a look that finds that its Release has
//! to go back goes on and writes; any other one that has something to write needs one of a few turns, and comes again when it is
//! given one. So a Release that has to go back is found out, and goes, however many wait for a slow API server.
//!
//! Whoever waits, for a look or a turn, waits in its namespace's line, and lines come in turn. What hangs (a webhook, say, that is asked about one
//! namespace only) hangs in its namespace's share.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::clock;
use crate::decide::Key;
use crate::lines::Lines;

/// Looks of a namespace that may be under way besides those that have a turn to write.
const BESIDES: usize = 16;
/// So many times as much is done at once in all namespaces as in one, which takes no more than it leaves to all others.
const IN_ALL: usize = 2;
/// After so many looks at Releases that go back, one after the other, one is at another that waits: nobody knows yet whether it has to go back too.
const IN_A_ROW: usize = 8;

/// The queue. Shared by reference; none of its calls but `next` waits.
pub struct Queue {
    state: Mutex<State>,
    changed: Notify,
    places: usize,
}

#[derive(Default)]
struct State {
    urgent: Waiting,
    waiting: Waiting,
    /// Has something to write.
    in_turn: Waiting,
    running: HashSet<Key>,
    looks: Places,
    writing: HashSet<Key>,
    turns: Places,
    /// Woken while running: to be looked at once more.
    again: HashSet<Key>,
    /// Going back: goes to the front whenever it is woken.
    going_back: HashSet<Key>,
    /// Looks at what goes back since the last one at something else.
    in_a_row: usize,
    /// Of those that do not go back, the last one had waited for a look.
    turn_is_next: bool,
    timers: BTreeSet<(Instant, Key)>,
    timer_of: HashMap<Key, Instant>,
}

/// Releases in their namespaces' lines, each once.
#[derive(Default)]
struct Waiting {
    lines: Lines<Key>,
    all: HashSet<Key>,
}

/// Places, of which a namespace takes one only while more are left than it has.
#[derive(Default)]
struct Places {
    free: usize,
    taken: HashMap<String, usize>,
}

impl Queue {
    /// A queue in which so many Releases of a namespace that do not go back are written about at once.
    pub fn with_turns(turns: u16) -> Self {
        let turns = usize::from(turns);
        let places = IN_ALL * (turns + BESIDES);
        let (looks, turns) = (Places::of(places), Places::of(IN_ALL * turns));
        let state = State { looks, turns, ..State::default() };
        Self { state: Mutex::new(state), changed: Notify::new(), places }
    }

    /// How many look at once, at most.
    pub fn places(&self) -> usize {
        self.places
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
        let turns = &state.turns;
        // Whoever waits for a turn that is free has it before those who come now.
        if turns.has_one_for(&key.namespace)
            && !state.in_turn.lines.any(|namespace| turns.has_one_for(namespace))
        {
            state.give_turn(key);
            return true;
        }
        state.in_turn.push(key.clone());
        false
    }

    /// It has been looked at.
    pub fn done(&self, key: &Key, going_back: bool) {
        let mut state = self.lock();
        if going_back {
            state.going_back.insert(key.clone());
        } else {
            state.going_back.remove(key);
        }
        drop(state);
        self.not_looked_at(key);
    }

    /// It could not be looked at yet. What goes back does so still.
    pub fn not_looked_at(&self, key: &Key) {
        let mut state = self.lock();
        state.end(key);
        if state.again.remove(key) {
            state.enqueue(key.clone());
        }
        drop(state);
        self.changed.notify_one();
    }

    /// It has not been looked at, and waits again as what it was.
    pub fn give_back(&self, key: Key) {
        let mut state = self.lock();
        state.end(&key);
        state.again.remove(&key);
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
        } else if self.going_back.contains(&key) {
            self.urgent.push(key);
        } else {
            self.waiting.push(key);
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
        match self.pick() {
            Some(key) => {
                self.begin(&key);
                (Some(key), None)
            }
            None => (None, self.timers.first().map(|(at, _)| *at)),
        }
    }

    /// What goes back first; of the others who waits for a look, and who waits for a turn, by turns: neither keeps the other waiting.
    fn pick(&mut self) -> Option<Key> {
        if self.in_a_row < IN_A_ROW
            && let Some(key) = self.urgent.take(&[&self.looks], &self.running)
        {
            self.in_a_row += 1;
            return Some(key);
        }
        let other = match self.turn_is_next {
            true => self.pick_in_turn().or_else(|| self.pick_waiting()),
            false => self.pick_waiting().or_else(|| self.pick_in_turn()),
        };
        if other.is_some() {
            self.in_a_row = 0;
            return other;
        }
        self.urgent.take(&[&self.looks], &self.running)
    }

    fn pick_waiting(&mut self) -> Option<Key> {
        let key = self.waiting.take(&[&self.looks], &self.running)?;
        self.turn_is_next = true;
        Some(key)
    }

    fn pick_in_turn(&mut self) -> Option<Key> {
        let key = self.in_turn.take(&[&self.looks, &self.turns], &self.running)?;
        self.turn_is_next = false;
        self.give_turn(&key);
        Some(key)
    }

    fn begin(&mut self, key: &Key) {
        self.looks.take(&key.namespace);
        self.running.insert(key.clone());
        self.forget_timer(key);
    }

    fn end(&mut self, key: &Key) {
        if self.running.remove(key) {
            self.looks.give_back(&key.namespace);
        }
        if self.writing.remove(key) {
            self.turns.give_back(&key.namespace);
        }
    }

    fn give_turn(&mut self, key: &Key) {
        self.turns.take(&key.namespace);
        self.writing.insert(key.clone());
    }

    fn forget_timer(&mut self, key: &Key) {
        if let Some(at) = self.timer_of.remove(key) {
            self.timers.remove(&(at, key.clone()));
        }
    }
}

impl Waiting {
    fn push(&mut self, key: Key) {
        if !self.all.contains(&key) {
            self.lines.push(&key.namespace, key.clone());
            self.all.insert(key);
        }
    }

    /// The next one at which nobody looks, and whose namespace may have each of these places. What is passed over already has one, so it is not much.
    fn take(&mut self, places: &[&Places], running: &HashSet<Key>) -> Option<Key> {
        if places.iter().any(|places| places.free == 0) {
            return None;
        }
        let key = self.lines.take(
            |namespace| places.iter().all(|places| places.has_one_for(namespace)),
            |key| !running.contains(key),
        )?;
        self.all.remove(&key);
        Some(key)
    }
}

impl Places {
    fn of(free: usize) -> Self {
        Self { free, taken: HashMap::new() }
    }

    fn has_one_for(&self, namespace: &str) -> bool {
        self.taken.get(namespace).copied().unwrap_or_default() < self.free
    }

    fn take(&mut self, namespace: &str) {
        self.free -= 1;
        *self.taken.entry(namespace.to_owned()).or_default() += 1;
    }

    fn give_back(&mut self, namespace: &str) {
        let Some(taken) = self.taken.get_mut(namespace) else { return };
        *taken -= 1;
        if *taken == 0 {
            self.taken.remove(namespace);
        }
        self.free += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "ns".into(), name: name.into() }
    }

    fn of(namespace: &str, number: usize) -> Key {
        Key { namespace: namespace.into(), name: number.to_string() }
    }

    /// Looks until this one comes, and wakes each one before it again; how many those are.
    async fn looks_before(queue: &Queue, awaited: &Key, going_back: bool) -> usize {
        for before in 0..2000 {
            let key = queue.next().await;
            queue.done(&key, going_back);
            if key == *awaited {
                return before;
            }
            queue.wake(key);
        }
        panic!("{awaited} does not come");
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
    async fn what_goes_back_and_could_not_be_looked_at_goes_first_still() {
        let queue = Queue::with_turns(8);
        queue.wake(key("bad"));
        assert_eq!(queue.next().await, key("bad"));
        queue.done(&key("bad"), true);
        queue.wake(key("bad"));
        assert_eq!(queue.next().await, key("bad"));
        queue.not_looked_at(&key("bad"));
        queue.wake(key("a"));
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

    #[tokio::test(start_paused = true)]
    async fn a_namespace_whose_releases_are_woken_all_the_time_keeps_another_one_waiting_for_one_look() {
        let queue = Queue::with_turns(8);
        (0..1000).for_each(|number| queue.wake(of("crowd", number)));
        let quiet = of("quiet", 0);
        for _ in 0..100 {
            queue.wake(quiet.clone());
            let before = looks_before(&queue, &quiet, false).await;
            assert!(before <= 1, "{before} looks");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nor_for_its_turn_to_write() {
        let queue = Queue::with_turns(1);
        let quiet = [of("quiet", 0), of("quiet", 1)];
        for key in &quiet {
            queue.wake(key.clone());
            assert_eq!(queue.next().await, *key);
        }
        assert!(queue.may_write(&quiet[0]) && !queue.may_write(&quiet[1]));
        queue.done(&quiet[1], false);
        (0..1000).for_each(|number| queue.wake(of("crowd", number)));
        queue.done(&quiet[0], false);
        let before = looks_before(&queue, &quiet[1], false).await;
        assert!(before <= 1, "{before} looks");
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_go_back_and_are_woken_all_the_time_others_are_looked_at_and_may_go_back_too() {
        let queue = Queue::with_turns(8);
        for number in 0..100 {
            queue.wake(of("crowd", number));
            queue.done(&queue.next().await, true);
        }
        (0..100).for_each(|number| queue.wake(of("crowd", number)));
        let quiet = of("quiet", 0);
        queue.wake(quiet.clone());
        let before = looks_before(&queue, &quiet, true).await;
        assert!(before <= IN_A_ROW, "{before} looks");
        queue.wake(quiet.clone());
        let before = looks_before(&queue, &quiet, true).await;
        assert!(before <= 1, "{before} looks: it goes back now");
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_in_one_namespace_leaves_as_many_places_to_others() {
        let queue = Queue::with_turns(8);
        for number in 0..100 {
            queue.wake(of("slow", number));
            queue.done(&queue.next().await, true);
        }
        (0..100).for_each(|number| queue.wake(of("slow", number)));
        let comes = || tokio::time::timeout(Duration::from_secs(1), queue.next());
        let mut hang = 0;
        while comes().await.is_ok() {
            hang += 1;
        }
        assert_eq!((hang, queue.places()), (24, 48));
        queue.wake(of("other", 0));
        assert_eq!(comes().await, Ok(of("other", 0)));
        queue.done(&of("slow", 0), true);
        assert_eq!(comes().await, Ok(of("slow", 24)), "as soon as one of its own has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_in_one_namespace_leaves_as_many_turns_to_others() {
        let queue = Queue::with_turns(8);
        let mut turns = 0;
        for number in 0..20 {
            queue.wake(of("slow", number));
            turns += usize::from(queue.may_write(&queue.next().await));
        }
        assert_eq!(turns, 8);
        queue.wake(of("other", 0));
        assert!(queue.may_write(&queue.next().await), "those who wait before it may not have this turn");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wake(usize, usize),
        Next,
        /// The one of those under way at this place.
        Write(usize),
        Done(usize, bool),
        GiveBack(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..3usize, 0..30usize).prop_map(|(namespace, number)| Step::Wake(namespace, number)),
            8 => Just(Step::Next),
            3 => (0..100usize).prop_map(Step::Write),
            4 => (0..100usize, 0..3u8).prop_map(|(place, back)| Step::Done(place, back == 0)),
            1 => (0..100usize).prop_map(Step::GiveBack),
        ]
    }

    proptest! {
        #[test]
        fn whoever_is_woken_is_looked_at_and_no_place_stays_free_that_somebody_may_have(
            steps in proptest::collection::vec(step(), 0..400),
        ) {
            let queue = Queue::with_turns(1);
            let mut running: Vec<Key> = Vec::new();
            // Woken, and not looked at since; told to wait for a turn, and not given one since.
            let (mut owed, mut refused) = (BTreeSet::<Key>::new(), BTreeSet::<Key>::new());
            // At the end whoever is under way ends, one after the other, and everybody comes.
            let end = (0..4000).map(|number| if number % 2 == 0 { Step::Next } else { Step::Done(0, false) });
            for step in steps.into_iter().chain(end) {
                match step {
                    Step::Wake(namespace, number) => {
                        let key = of(&namespace.to_string(), number);
                        owed.insert(key.clone());
                        queue.wake(key);
                    }
                    Step::Next => {
                        let (taken, _) = queue.lock().take(clock::instant());
                        let state = queue.lock();
                        let Some(key) = taken else {
                            for key in &owed {
                                let has_place = state.looks.has_one_for(&key.namespace);
                                prop_assert!(running.contains(key) || !has_place, "{key} waits for nothing");
                            }
                            for key in &refused {
                                let namespace = &key.namespace;
                                let may_come = state.looks.has_one_for(namespace) && state.turns.has_one_for(namespace);
                                prop_assert!(running.contains(key) || !may_come, "{key} waits for no turn");
                            }
                            continue;
                        };
                        prop_assert!(!running.contains(&key), "{key} is looked at already");
                        owed.remove(&key);
                        if state.writing.contains(&key) {
                            refused.remove(&key);
                        }
                        running.push(key);
                        for namespace in ["0", "1", "2"] {
                            let is_there = |key: &&Key| key.namespace == namespace;
                            let looks = running.iter().filter(is_there).count();
                            let turns = state.writing.iter().filter(is_there).count();
                            prop_assert!(looks <= queue.places() / 2 && turns <= 1, "{looks} looks, {turns} turns");
                        }
                        prop_assert!(running.len() <= queue.places() && state.writing.len() <= 2);
                    }
                    Step::Write(_) | Step::Done(..) | Step::GiveBack(_) if running.is_empty() => {}
                    Step::Write(place) => {
                        let key = &running[place % running.len()];
                        if !queue.may_write(key) {
                            refused.insert(key.clone());
                        }
                    }
                    Step::Done(place, going_back) => {
                        let key = running.remove(place % running.len());
                        queue.done(&key, going_back);
                    }
                    Step::GiveBack(place) => {
                        let key = running.remove(place % running.len());
                        owed.insert(key.clone());
                        queue.give_back(key);
                    }
                }
            }
            prop_assert!(owed.is_empty() && refused.is_empty(), "{owed:?} {refused:?} never came");
        }
    }
}
