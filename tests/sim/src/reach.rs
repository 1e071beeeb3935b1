//! What plays have come to: the faults that took effect, and the rules that were held against something. A story may name a fault of a
//! request that is never made, and a rule holds where nobody ever looks: neither shows anything, and both are counted here.

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

    /// Faults that never took effect, what none of them fell on, and rules that were never looked at, but for those of plays.
    pub fn missing(&self) -> Vec<&'static str> {
        let befallen = || self.befallen.keys();
        let kinds = KINDS.into_iter().filter(|wanted| !befallen().any(|(kind, _)| kind == wanted));
        let purposes = PURPOSES.into_iter();
        let purposes = purposes.filter(|(wanted, _)| !befallen().any(|(_, purpose)| purpose == wanted));
        let purposes = purposes.map(|(_, name)| name);
        let only_in_plays = |rule: &&str| ONLY_IN_PLAYS.iter().any(|(known, _)| known == rule);
        kinds.chain(purposes).chain(self.unseen().filter(|rule| !only_in_plays(rule))).collect()
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
            network.request(*purpose, *is_change);
        }
        let mut reach = Reach::default();
        reach.add(&story, &Outcome { befallen: network.befallen, ..Outcome::default() });
        reach
    }

    #[test]
    fn what_falls_on_nothing_or_can_do_nothing_to_it_does_not_count() {
        let text = "replicas 4\nrequest 1 conflict\nrequest 2 conflict\nrequest 3 late 5\nrequest 9 lost";
        let reach = played(text, &[(Purpose::Read, false), (Purpose::Write, true), (Purpose::Watch, false)]);
        let took_effect = BTreeMap::from([(("conflict", Purpose::Write), 1), (("late", Purpose::Watch), 1)]);
        assert_eq!((reach.named, &reach.befallen), (4, &took_effect));
        let missing = reach.missing();
        assert!(missing.contains(&"lost") && missing.contains(&"reads") && missing.contains(&"the Lease"));
        assert!(!missing.contains(&"conflict") && !missing.contains(&"writes"), "{missing:?}");
        assert!(reach.to_string().contains(" conflict 0/1/0/0 "), "{reach}");
    }

    #[test]
    fn a_rule_that_is_never_looked_at_is_missing_unless_it_is_one_of_plays() {
        let missing = played("replicas 4", &[]).missing();
        assert!(missing.contains(&"4 (guarded)"), "{missing:?}");
        assert!(ONLY_IN_PLAYS.iter().all(|(rule, _)| RULES.contains(rule) && !missing.contains(rule)));
    }
}
