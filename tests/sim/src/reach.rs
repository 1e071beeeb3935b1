//! What plays have come to: the faults that took effect, and the rules that were held against something. A story may name a fault of a
//! request that is never made, and a rule holds where nobody ever looks: neither shows anything, and both are counted here. Of faults each
//! kind is counted with what it fell on: one that never befell a write of status says nothing of those, whatever else it befell.

pub mod pairs;

use std::collections::BTreeMap;
use std::fmt;

use crate::network::{Befallen, KINDS, PURPOSES};
use crate::play::Outcome;
use crate::story::Story;
use crate::watchman::RULES;

/// Rules that seeds need not come to, and why not; the plays that come to them see to it themselves.
pub const ONLY_IN_PLAYS: [(&str, &str); 2] = [
    (
        "2 (late, when another leads)",
        "a write is under way for longer than its process leads, which few seeds with an election have",
    ),
    (
        "7 (what heals is seen)",
        "a version is held by what is measured until somebody comes to help, which one seed in a thousand has",
    ),
];
/// Rules of which is told how seldom they were looked at.
const SELDOM: usize = 5;

/// What some plays have come to.
#[derive(Debug, Default)]
pub struct Reach {
    /// Faults that stories name.
    named: u64,
    befallen: Befallen,
    looked: BTreeMap<&'static str, u64>,
}

impl Reach {
    /// One more play.
    pub fn add(&mut self, story: &Story, outcome: &Outcome) {
        self.named += u64::try_from(story.faults.len() + story.lease_faults.len()).unwrap_or(0);
        for (fault, times) in &outcome.befallen {
            *self.befallen.entry(*fault).or_default() += times;
        }
        for (rule, times) in &outcome.looked {
            *self.looked.entry(*rule).or_default() += times;
        }
    }

    /// What so many seeds should have come to, and did not: kinds of faults with what they did not befall, and rules that were never looked at, but for
    /// those of plays.
    pub fn missing(&self, seeds: u64) -> Vec<String> {
        let pairs = pairs::demanded(seeds);
        let pairs = pairs.filter(|(kind, purpose, _)| !self.befallen.contains_key(&(*kind, *purpose)));
        let pairs = pairs.map(|(kind, _, name)| format!("{kind} on {name}"));
        let only_in_plays = |rule: &&str| ONLY_IN_PLAYS.iter().any(|(known, _)| known == rule);
        let rules = self.unseen().filter(|rule| seeds >= pairs::FEW && !only_in_plays(rule));
        pairs.chain(rules.map(str::to_owned)).collect()
    }

    /// Rules that were never looked at.
    fn unseen(&self) -> impl Iterator<Item = &'static str> {
        RULES.into_iter().filter(move |rule| !self.looked.contains_key(rule))
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took_effect: u64 = self.befallen.values().sum();
        let names = PURPOSES.map(|(_, name)| name).join("/");
        write!(out, "faults: {took_effect} of {} took effect; on {names}:", self.named)?;
        for kind in KINDS {
            let times = PURPOSES.map(|(purpose, _)| self.befallen.get(&(kind, purpose)).copied());
            write!(out, " {kind} {}", times.map(|times| times.unwrap_or(0).to_string()).join("/"))?;
        }
        let mut seldom: Vec<(u64, &str)> = self.looked.iter().map(|(rule, times)| (*times, *rule)).collect();
        seldom.sort_unstable();
        write!(out, "\nrules: {} of {} were looked at", RULES.len() - self.unseen().count(), RULES.len())?;
        let unseen = self.unseen().collect::<Vec<_>>();
        if !unseen.is_empty() {
            write!(out, ", never {}", unseen.join(", "))?;
        }
        let seldom = seldom.iter().take(SELDOM).map(|(times, rule)| format!("{rule} {times}"));
        write!(out, "; most seldom {}", seldom.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, Purpose};

    fn played(text: &str, requests: &[(Purpose, bool)]) -> Reach {
        let story: Story = text.parse().expect("a story");
        let mut network = Network::default();
        network.faults.clone_from(&story.faults);
        for (purpose, is_change) in requests {
            network.request(*purpose, *is_change, 0);
        }
        let mut reach = Reach::default();
        reach.add(&story, &Outcome { befallen: network.befallen, ..Outcome::default() });
        reach
    }

    #[test]
    fn what_falls_on_nothing_or_can_do_nothing_to_it_does_not_count() {
        let text = "replicas 4\nrequest 1 conflict\nrequest 2 conflict\nrequest 3 late 5\nrequest 9 lost";
        let reach = played(text, &[(Purpose::List, false), (Purpose::Status, true), (Purpose::Watch, false)]);
        let took_effect = BTreeMap::from([(("conflict", Purpose::Status), 1), (("late", Purpose::Watch), 1)]);
        assert_eq!((reach.named, &reach.befallen), (4, &took_effect));
        assert!(reach.to_string().contains(" conflict 0/0/0/1/0/0/0/0/0/0/0/0 "), "{reach}");
    }

    #[test]
    fn a_fault_that_befell_one_purpose_is_still_missing_on_the_others() {
        let reach = played("replicas 4\nrequest 1 conflict", &[(Purpose::Status, true)]);
        let missing = reach.missing(pairs::FEW);
        let is_missing = |pair: &str| missing.iter().any(|one| one == pair);
        assert!(!is_missing("conflict on status") && is_missing("conflict on Deployments"), "{missing:?}");
        assert!(is_missing("lost on status") && is_missing("late on the Lease"), "{missing:?}");
        assert!(!is_missing("conflict on lists") && !is_missing("lost on pods"), "{missing:?}");
        assert!(reach.missing(pairs::FEW - 1).is_empty(), "of few seeds nothing is demanded");
    }

    #[test]
    fn a_rule_that_is_never_looked_at_is_missing_unless_it_is_one_of_plays() {
        let missing = played("replicas 4", &[]).missing(pairs::FEW);
        let is_missing = |rule: &str| missing.iter().any(|one| one == rule);
        assert!(is_missing("4 (guarded)"), "{missing:?}");
        assert!(ONLY_IN_PLAYS.iter().all(|(rule, _)| RULES.contains(rule) && !is_missing(rule)));
    }
}
