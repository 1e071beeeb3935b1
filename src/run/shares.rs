//! Work for many namespaces, of which so much is done at once: a namespace has its share of the places and no more, and what finds none waits in
//! its namespace's own line. A place that becomes free goes to the lines in turn, so that whoever waits long holds up nobody but themselves.
//!
//! Plain data. It does nothing, and wakes nobody: what may begin is handed out, to whoever asks and to whoever has ended something.
//!
//! These lines are not [`crate::lines`]: there, one that was passed over keeps its turn; here, a namespace that had its share comes after all that wait
//! for a place when it may have one again.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::decide::Key;

/// Places in all.
pub const PLACES: usize = 64;
/// How many of them one namespace has at once.
pub const OF_A_NAMESPACE: usize = 8;

/// Something to do about a Release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn<I, W> {
    pub key: Key,
    /// Tells it from whatever else is done about this Release.
    pub id: I,
    pub work: W,
}

/// What is under way, and what waits.
#[derive(Debug)]
pub struct Shares<I, W> {
    /// By namespace; none is empty.
    under_way: HashMap<String, BTreeSet<(Key, I)>>,
    /// By namespace, in the order in which it came; none is empty.
    waiting: HashMap<String, VecDeque<Turn<I, W>>>,
    /// Namespaces in which something waits that have not had their share, each once: the next place goes to the first.
    next: VecDeque<String>,
    taken: usize,
}

impl<I, W> Default for Shares<I, W> {
    fn default() -> Self {
        Self { under_way: HashMap::new(), waiting: HashMap::new(), next: VecDeque::new(), taken: 0 }
    }
}

impl<I: Ord + Clone, W> Shares<I, W> {
    /// All that is wanted about this Release now, and what may begin for it. What waits and is wanted no more is forgotten; what waits and still is
    /// keeps its place in the line.
    pub fn want(&mut self, key: &Key, wanted: impl IntoIterator<Item = (I, W)>) -> Vec<Turn<I, W>> {
        let namespace = &key.namespace;
        let begun = self.under_way.get(namespace);
        let is_begun = |id: &I| begun.is_some_and(|begun| begun.contains(&(key.clone(), id.clone())));
        let mut wanted: Vec<(I, W)> = wanted.into_iter().filter(|(id, _)| !is_begun(id)).collect();
        let mut line = VecDeque::new();
        for mut turn in self.waiting.remove(namespace).unwrap_or_default() {
            if turn.key == *key {
                // It may be about other pods by now.
                let Some(place) = wanted.iter().position(|(id, _)| *id == turn.id) else { continue };
                turn.work = wanted.remove(place).1;
            }
            line.push_back(turn);
        }
        line.extend(wanted.into_iter().map(|(id, work)| Turn { key: key.clone(), id, work }));
        if line.is_empty() {
            return Vec::new();
        }
        self.waiting.insert(namespace.clone(), line);
        self.line_up(namespace);
        self.begin()
    }

    /// It has been done. What may begin in its place.
    pub fn done(&mut self, key: &Key, id: &I) -> Vec<Turn<I, W>> {
        let Some(begun) = self.under_way.get_mut(&key.namespace) else { return Vec::new() };
        if begun.remove(&(key.clone(), id.clone())) {
            self.taken -= 1;
        }
        if begun.is_empty() {
            self.under_way.remove(&key.namespace);
        }
        self.line_up(&key.namespace);
        self.begin()
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.next.clear();
    }

    fn has_room(&self, namespace: &str) -> bool {
        self.under_way.get(namespace).is_none_or(|begun| begun.len() < OF_A_NAMESPACE)
    }

    /// A namespace that may have something to begin is next after all others.
    fn line_up(&mut self, namespace: &str) {
        let is_next = self.next.iter().any(|known| known == namespace);
        if !is_next && self.waiting.contains_key(namespace) && self.has_room(namespace) {
            self.next.push_back(namespace.to_owned());
        }
    }

    /// Takes what places there are.
    fn begin(&mut self) -> Vec<Turn<I, W>> {
        let mut begins = Vec::new();
        while self.taken < PLACES {
            let Some(namespace) = self.next.pop_front() else { break };
            let Some(line) = self.waiting.get_mut(&namespace) else { continue };
            let turn = line.pop_front();
            if line.is_empty() {
                self.waiting.remove(&namespace);
            }
            let Some(turn) = turn else { continue };
            let begun = self.under_way.entry(namespace.clone()).or_default();
            if begun.insert((turn.key.clone(), turn.id.clone())) {
                self.taken += 1;
                begins.push(turn);
            }
            self.line_up(&namespace);
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }

    fn ids(turns: &[Turn<u32, ()>]) -> Vec<(&str, u32)> {
        turns.iter().map(|turn| (turn.key.namespace.as_str(), turn.id)).collect()
    }

    fn many(ids: impl IntoIterator<Item = u32>) -> Vec<(u32, ())> {
        ids.into_iter().map(|id| (id, ())).collect()
    }

    #[test]
    fn a_namespace_has_its_share_and_the_next_comes_when_one_of_its_own_ends() {
        let mut shares = Shares::default();
        let shop = key("shop", "a");
        assert_eq!(shares.want(&shop, many(0..100)).len(), OF_A_NAMESPACE);
        // What is asked for again neither begins twice nor goes to the end of the line.
        assert_eq!(shares.want(&shop, many(0..100)), []);
        assert_eq!(ids(&shares.want(&key("other", "a"), many([0]))), [("other", 0)]);
        assert_eq!(ids(&shares.done(&shop, &3)), [("shop", 8)]);
        assert_eq!(ids(&shares.done(&shop, &0)), [("shop", 9)]);
        // Wanted no more.
        assert_eq!(shares.want(&shop, many([99])), []);
        assert_eq!(ids(&shares.done(&shop, &1)), [("shop", 99)]);
        assert_eq!(shares.done(&shop, &2), []);
        assert_eq!(shares.done(&shop, &2), [], "it has ended once");
    }

    #[test]
    fn where_all_places_are_taken_namespaces_come_in_turn() {
        let mut shares = Shares::default();
        for namespace in 0..8 {
            let key = key(&format!("full-{namespace}"), "a");
            assert_eq!(shares.want(&key, many(0..20)).len(), 8);
        }
        for namespace in ["late", "later"] {
            assert_eq!(shares.want(&key(namespace, "a"), many(0..3)), []);
        }
        let mut begun = Vec::new();
        for id in 0..8 {
            begun.extend(shares.done(&key("full-0", "a"), &id));
        }
        let one = |namespace: &str, id| (namespace.to_owned(), id);
        let begun: Vec<(String, u32)> = begun.into_iter().map(|turn| (turn.key.namespace, turn.id)).collect();
        let expected = [
            one("late", 0),
            one("later", 0),
            one("full-0", 8),
            one("late", 1),
            one("later", 1),
            one("full-0", 9),
            one("late", 2),
            one("later", 2),
        ];
        assert_eq!(begun, expected);
    }

    #[test]
    fn what_waits_is_forgotten_when_somebody_else_leads() {
        let mut shares = Shares::default();
        let shop = key("shop", "a");
        shares.want(&shop, many(0..9));
        shares.clear();
        assert_eq!(shares.done(&shop, &0), []);
        assert_eq!(ids(&shares.want(&shop, many(1..11))), [("shop", 8)]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Want(usize, usize, Vec<u32>),
        /// Ends the one of those under way at this place.
        Done(usize),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let wanted = proptest::collection::vec(0..20u32, 0..20);
        prop_oneof![
            4 => (0..12usize, 0..3usize, wanted).prop_map(|(namespace, name, ids)| Step::Want(namespace, name, ids)),
            8 => (0..1000usize).prop_map(Step::Done),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn nobody_has_more_than_a_share_and_no_place_stays_free_while_somebody_may_have_it(steps in proptest::collection::vec(step(), 0..200)) {
            let mut shares: Shares<u32, ()> = Shares::default();
            let mut under_way: Vec<(Key, u32)> = Vec::new();
            // The last thing that each Release has said, but for what has been done since.
            let mut wanted: std::collections::BTreeMap<Key, BTreeSet<u32>> = Default::default();
            for step in steps {
                let begun = match step {
                    Step::Want(namespace, name, ids) => {
                        let key = key(&format!("ns-{namespace}"), &format!("r-{name}"));
                        let ids: BTreeSet<u32> = ids.into_iter().collect();
                        wanted.insert(key.clone(), ids.clone());
                        shares.want(&key, many(ids))
                    }
                    Step::Done(_) if under_way.is_empty() => continue,
                    Step::Done(place) => {
                        let (key, id) = under_way.remove(place % under_way.len());
                        if let Some(ids) = wanted.get_mut(&key) {
                            ids.remove(&id);
                        }
                        // It may have been asked for again meanwhile: whoever wants it again says so.
                        shares.done(&key, &id)
                    }
                    Step::Clear => {
                        shares.clear();
                        wanted.clear();
                        Vec::new()
                    }
                };
                for Turn { key, id, work: () } in begun {
                    prop_assert!(wanted.get(&key).is_some_and(|ids| ids.contains(&id)), "{key} {id} is not wanted");
                    prop_assert!(!under_way.contains(&(key.clone(), id)), "{key} {id} begins twice");
                    under_way.push((key, id));
                }
                let count = |namespace: &str| under_way.iter().filter(|(key, _)| key.namespace == namespace).count();
                prop_assert!(under_way.len() <= PLACES);
                for (key, ids) in &wanted {
                    let waits = ids.iter().any(|id| !under_way.contains(&(key.clone(), *id)));
                    let taken = count(&key.namespace);
                    prop_assert!(taken <= OF_A_NAMESPACE);
                    prop_assert!(
                        !waits || taken == OF_A_NAMESPACE || under_way.len() == PLACES,
                        "{key} waits for nothing: {shares:?}"
                    );
                }
            }
        }
    }
}
