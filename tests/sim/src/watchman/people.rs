//! Nothing that is owed to people is lost, and nothing is told twice: 10.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Told;
use crate::world::World;

/// What does not get through is tried so often, which takes about an hour: docs/notifications.md.
const TRIES: u32 = 19;

impl World {
    /// What status owes to people is told, or known not to be wanted, before it is owed no more; and each end of a run is owed.
    pub(super) fn check_owed(&mut self, before: Option<&Value>, after: &Value) {
        let Some(audiences) = after["spec"]["notify"].as_array() else { return };
        let owed = |release: &Value| -> BTreeSet<Told> {
            let all = release["status"]["notifications"]["owed"].as_array();
            let each = |owed: &Value| -> Vec<Told> {
                let id = owed["id"].as_str().unwrap_or_default().to_owned();
                let to = owed["to"].as_array().into_iter().flatten().filter_map(Value::as_str);
                to.map(|to| (id.clone(), to.to_owned())).collect()
            };
            all.into_iter().flatten().flat_map(each).collect()
        };
        let (was, is) = (before.map(owed).unwrap_or_default(), owed(after));
        let names: Vec<&str> = audiences.iter().filter_map(|one| one["name"].as_str()).collect();
        let forgotten: Vec<Told> = was
            .into_iter()
            .filter(|told| !is.contains(told) && names.contains(&told.1.as_str()))
            .filter(|told| !self.watchman.came.contains_key(told) && !self.watchman.refused.contains(told))
            .filter(|told| !self.is_given_up(told))
            .collect();
        self.check("10 (nothing owed is lost)", forgotten.is_empty(), || format!("{forgotten:?}"));
        let last = &after["status"]["lastRun"];
        let ended = before.is_some_and(|before| before["status"]["lastRun"]["number"] != last["number"]);
        if ended {
            let hears = |one: &&Value| {
                one["after"].is_null()
                    && one["events"].as_array().is_some_and(|events| events.contains(&last["outcome"]))
            };
            let all = after["status"]["notifications"]["owed"].as_array();
            let is_owed = |one: &Value| {
                all.into_iter().flatten().any(|owed| {
                    owed["event"] == last["outcome"]
                        && owed["run"] == last["id"]
                        && owed["to"].as_array().is_some_and(|to| to.contains(&one["name"]))
                })
            };
            let untold =
                audiences.iter().filter(hears).find(|one| !is_owed(one)).map(|one| one["name"].clone());
            self.check("10 (the end of a run is told)", untold.is_none(), || {
                format!("{untold:?} is not told of the end of run {}", last["id"])
            });
        }
        self.watchman.noted.extend(is);
    }

    /// A message has come to whom it is for. `answered`: who sent it knows.
    pub fn came(&mut self, process: usize, id: &str, to: &str, answered: bool) {
        let told = (id.to_owned(), to.to_owned());
        let noted = self.watchman.noted.contains(&told);
        self.check("10 (noted before it is told)", noted, || format!("{told:?}"));
        // One that leads again, after another one or after a while, does not know what it knew.
        let knows = self.watchman.identities.is_empty();
        let before = self.watchman.came.get(&told);
        let again = before.is_some_and(|all| all.contains(&(process, true)));
        self.check("10 (told once)", !(again && knows), || format!("{told:?} once more"));
        self.watchman.came.entry(told).or_default().push((process, answered));
    }

    /// Whoever was to be told has said nothing, or that it may be tried again.
    pub fn in_vain(&mut self, process: usize, id: &str, to: &str) {
        *self.watchman.in_vain.entry((process, (id.to_owned(), to.to_owned()))).or_default() += 1;
    }

    /// Whether one process has tried as often as is promised.
    fn is_given_up(&self, told: &Told) -> bool {
        let tries = self.watchman.in_vain.iter().filter(|((_, tried), _)| tried == told);
        tries.map(|(_, times)| *times).max().is_some_and(|times| times >= TRIES)
    }

    /// A receiver has said that it will not have it, however often it is tried.
    pub fn refused(&mut self, id: &str, to: &str) {
        self.watchman.refused.insert((id.to_owned(), to.to_owned()));
    }
}
