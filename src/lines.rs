//! Lines, one a namespace, that come in turn: whoever has a thousand waiting keeps another one waiting for no more than one of them.
//!
//! Plain data, in an order that follows from the calls alone. No call takes longer the more wait: `take` passes over what may not have its turn,
//! and looks at nothing else, so whoever says what may not sees to it that it is little.

use std::collections::{HashMap, VecDeque};

/// What waits, by namespace.
#[derive(Debug)]
pub struct Lines<T> {
    /// None is empty.
    lines: HashMap<String, VecDeque<T>>,
    /// The namespaces of these lines, each once: the first is next.
    next: VecDeque<String>,
    len: usize,
}

impl<T> Default for Lines<T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), next: VecDeque::new(), len: 0 }
    }
}

impl<T> Lines<T> {
    /// To the end of its namespace's line.
    pub fn push(&mut self, namespace: &str, item: T) {
        self.push_past(namespace, item, |_| false);
    }

    /// To the end of its namespace's line, but past those at the end of it that it may pass.
    pub fn push_past(&mut self, namespace: &str, item: T, may_pass: impl Fn(&T) -> bool) {
        if !self.lines.contains_key(namespace) {
            self.next.push_back(namespace.to_owned());
        }
        let line = self.lines.entry(namespace.to_owned()).or_default();
        let place = line.partition_point(|waits| !may_pass(waits));
        line.insert(place, item);
        self.len += 1;
    }

    /// The first that is ready in the next line that is open. That line comes after all others then; one that was passed over keeps its turn.
    pub fn take(&mut self, is_open: impl Fn(&str) -> bool, is_ready: impl Fn(&T) -> bool) -> Option<T> {
        let is_ready_in = |namespace: &String| self.lines.get(namespace)?.iter().position(&is_ready);
        let (turn, place) = self
            .next
            .iter()
            .enumerate()
            .filter(|(_, namespace)| is_open(namespace))
            .find_map(|(turn, namespace)| Some((turn, is_ready_in(namespace)?)))?;
        let namespace = self.next.remove(turn)?;
        let line = self.lines.get_mut(&namespace)?;
        let item = line.remove(place)?;
        if line.is_empty() {
            self.lines.remove(&namespace);
        } else {
            self.next.push_back(namespace);
        }
        self.len -= 1;
        Some(item)
    }

    /// The last one in the longest line.
    pub fn take_from_longest(&mut self) -> Option<T> {
        let length = |namespace: &String| self.lines.get(namespace).map(VecDeque::len);
        let (turn, namespace) =
            self.next.iter().enumerate().max_by_key(|(_, namespace)| length(namespace))?;
        let line = self.lines.get_mut(namespace)?;
        let item = line.pop_back()?;
        if line.is_empty() {
            self.lines.remove(namespace);
            self.next.remove(turn);
        }
        self.len -= 1;
        Some(item)
    }

    /// Whether somebody waits in a line that is open.
    pub fn any(&self, is_open: impl Fn(&str) -> bool) -> bool {
        self.next.iter().any(|namespace| is_open(namespace))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn drained(mut lines: Lines<u32>) -> Vec<u32> {
        std::iter::from_fn(|| lines.take(|_| true, |_| true)).collect()
    }

    #[test]
    fn lines_come_in_turn_and_one_that_comes_later_waits_for_one_of_each() {
        let mut lines = Lines::<u32>::default();
        (0..4).for_each(|item| lines.push("crowd", item));
        (10..12).for_each(|item| lines.push("few", item));
        lines.push("one", 20);
        assert_eq!(drained(lines), [0, 10, 20, 1, 11, 2, 3]);
    }

    #[test]
    fn what_is_not_open_or_not_ready_is_passed_over_and_keeps_its_place() {
        let mut lines = Lines::<u32>::default();
        (0..3).for_each(|item| lines.push("first", item));
        (10..12).for_each(|item| lines.push("second", item));
        assert_eq!(lines.take(|namespace| namespace != "first", |_| true), Some(10));
        assert_eq!(lines.take(|_| true, |item| *item != 0), Some(1));
        assert_eq!(
            lines.take(|_| true, |item| *item < 10),
            Some(0),
            "the second one's turn, with nothing ready"
        );
        assert_eq!(lines.take(|namespace| namespace == "third", |_| true), None);
        assert!(lines.any(|namespace| namespace == "second") && !lines.any(|namespace| namespace == "third"));
        assert_eq!(drained(lines), [11, 2]);
    }

    #[test]
    fn some_pass_others_of_their_line_and_the_longest_line_loses_its_end() {
        let mut lines = Lines::<u32>::default();
        for item in [11, 1, 12, 2] {
            lines.push_past("crowd", item, |waits| item < 10 && *waits > 10);
        }
        lines.push("one", 21);
        assert_eq!(lines.take_from_longest(), Some(12));
        assert_eq!(lines.len(), 4);
        assert_eq!(drained(lines), [1, 21, 2, 11]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        /// With lines of these namespaces closed.
        Take(Vec<usize>),
        Lose,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..5usize).prop_map(Step::Push),
            4 => proptest::collection::vec(0..5usize, 0..3).prop_map(Step::Take),
            1 => Just(Step::Lose),
        ]
    }

    proptest! {
        #[test]
        fn nobody_is_served_twice_while_another_one_who_may_be_waits(steps in proptest::collection::vec(step(), 0..200)) {
            let mut lines: Lines<(usize, usize)> = Lines::default();
            let mut waiting: BTreeMap<usize, VecDeque<usize>> = BTreeMap::new();
            // By namespace that waits, who has been served since it waits or was served itself, while it was open.
            let mut before: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(namespace) => {
                        lines.push(&namespace.to_string(), (namespace, number));
                        waiting.entry(namespace).or_default().push_back(number);
                        before.entry(namespace).or_default();
                    }
                    Step::Take(closed) => {
                        let is_open = |name: &str| !closed.iter().any(|namespace| namespace.to_string() == name);
                        let taken = lines.take(is_open, |_| true);
                        let Some((namespace, item)) = taken else {
                            prop_assert!(waiting.keys().all(|namespace| closed.contains(namespace)));
                            continue;
                        };
                        prop_assert!(!closed.contains(&namespace));
                        let line = waiting.get_mut(&namespace).expect("it waited");
                        prop_assert_eq!(line.pop_front(), Some(item));
                        if line.is_empty() {
                            waiting.remove(&namespace);
                        }
                        before.insert(namespace, Vec::new());
                        before.retain(|namespace, _| waiting.contains_key(namespace));
                        for (other, served) in &mut before {
                            if *other == namespace || closed.contains(other) {
                                continue;
                            }
                            prop_assert!(!served.contains(&namespace), "{other} waits while {namespace} is served twice");
                            served.push(namespace);
                        }
                    }
                    Step::Lose => {
                        let longest = waiting.values().map(VecDeque::len).max();
                        let lost = lines.take_from_longest();
                        prop_assert_eq!(lost.is_some(), longest.is_some());
                        let Some((namespace, item)) = lost else { continue };
                        let line = waiting.get_mut(&namespace).expect("it waited");
                        prop_assert_eq!(Some(line.len()), longest);
                        prop_assert_eq!(line.pop_back(), Some(item));
                        if line.is_empty() {
                            waiting.remove(&namespace);
                            before.remove(&namespace);
                        }
                    }
                }
                prop_assert_eq!(lines.len(), waiting.values().map(VecDeque::len).sum::<usize>());
            }
        }
    }
}
