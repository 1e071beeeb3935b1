//! Events that wait to be written, in their namespaces' lines. Whoever has one to tell never waits: where there is no room, one is dropped.
//!
//! Lines come in turn, and it is the longest that loses its end: who tells much has the room that others leave, and drops nothing but their own.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Telling;
use crate::lines::Lines;

/// Events that may wait, of all namespaces.
const MOST: usize = 2000;

/// The lines. Shared by reference; none of its calls but `next` waits.
#[derive(Default)]
pub struct Waiting {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    lines: Lines<Telling>,
    /// Namespaces of which one is being written: the one after it waits for that.
    written: HashSet<String>,
}

impl Waiting {
    /// One more: a warning after those of its namespace that wait, and before what else does. What is dropped for it.
    pub fn push(&self, telling: Telling) -> Option<Telling> {
        let mut state = self.lock();
        let namespace = telling.key.namespace.clone();
        let is_warning = telling.notice.warning;
        state.lines.push_past(&namespace, telling, |waits| is_warning && !waits.notice.warning);
        let dropped = if state.lines.len() > MOST { state.lines.take_from_longest() } else { None };
        drop(state);
        self.changed.notify_one();
        dropped
    }

    /// The next one to write; waits until there is one. `done` must follow: until then no other one of its namespace comes.
    pub async fn next(&self) -> Telling {
        loop {
            let changed = self.changed.notified();
            let next = self.lock().take();
            if let Some(telling) = next {
                return telling;
            }
            changed.await;
        }
    }

    /// The one of this namespace has been written, or could not be.
    pub fn done(&self, namespace: &str) {
        self.lock().written.remove(namespace);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<Telling> {
        let telling = self.lines.take(|namespace| !self.written.contains(namespace), |_| true)?;
        self.written.insert(telling.key.namespace.clone());
        Some(telling)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::telling;
    use super::*;

    fn name(telling: &Telling) -> String {
        telling.key.to_string()
    }

    /// So many of those that come next, each of which is written at once.
    async fn come(waiting: &Waiting, count: usize) -> Vec<String> {
        let mut come = Vec::new();
        for _ in 0..count {
            let telling = waiting.next().await;
            waiting.done(&telling.key.namespace);
            come.push(name(&telling));
        }
        come
    }

    #[tokio::test(start_paused = true)]
    async fn namespaces_come_in_turn_and_in_each_of_them_warnings_before_what_else_waits() {
        let waiting = Waiting::default();
        for (number, warning) in [(0, false), (1, true), (2, false), (3, true)] {
            assert!(waiting.push(telling("crowd", number, warning)).is_none());
        }
        assert!(waiting.push(telling("one", 0, false)).is_none());
        assert_eq!(come(&waiting, 5).await, ["crowd/1", "one/0", "crowd/3", "crowd/0", "crowd/2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn while_one_is_being_written_others_come_of_other_namespaces_only() {
        let waiting = Waiting::default();
        (0..2).for_each(|number| drop(waiting.push(telling("slow", number, true))));
        let slow = waiting.next().await;
        assert_eq!(name(&slow), "slow/0");
        waiting.push(telling("other", 0, false));
        assert_eq!(come(&waiting, 1).await, ["other/0"]);
        assert!(tokio::time::timeout(Duration::from_secs(60), waiting.next()).await.is_err());
        waiting.done("slow");
        assert_eq!(come(&waiting, 1).await, ["slow/1"]);
    }

    #[test]
    fn who_tells_much_has_the_room_that_others_leave_and_drops_nothing_but_their_own() {
        let waiting = Waiting::default();
        for number in 0..MOST {
            assert!(waiting.push(telling("crowd", number, number % 2 == 0)).is_none());
        }
        let dropped =
            |namespace, number, warning| waiting.push(telling(namespace, number, warning)).as_ref().map(name);
        assert_eq!(dropped("crowd", 5000, false), Some("crowd/5000".into()));
        assert_eq!(
            dropped("crowd", 5001, true),
            Some("crowd/1999".into()),
            "no warning, while there is another one"
        );
        for number in 0..500 {
            let dropped = dropped("few", number, false).expect("one of the longest line");
            assert!(dropped.starts_with("crowd/"), "{dropped}");
        }
        let others = dropped("crowd", 5002, false);
        assert_eq!(others, Some("crowd/5002".into()));
        for number in 5003..6000 {
            assert!(dropped("crowd", number, true).is_some_and(|dropped| dropped.starts_with("crowd/")));
        }
        let last = dropped("crowd", 6000, true);
        assert_eq!(last, Some("crowd/6000".into()), "warnings only: the newest");
    }
}
