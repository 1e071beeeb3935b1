//! The Service before a Deployment, and what comes to it: each request goes to one of the pods that are Ready at that moment, to all of them
//! alike. Pods that are not Ready leave their share to the others.
//!
//! Traffic is counted when somebody asks, or before pods change: in between it flows as it did.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::number;
use crate::native::{Native, Pod};
use crate::pages::Counted;
use crate::time::stamp;

/// Milliseconds for which a rate lasts.
const LASTS: u64 = 60_000;
/// Milliseconds until those go bad that go bad late.
const LATE: u64 = 180_000;
/// Parts of a request, so that a share of one in a millisecond is not lost.
const PARTS: u64 = 100_000_000;

/// A Service.
pub struct Service {
    /// Requests a second: for a minute each, and from the first again.
    rates: Vec<u64>,
    /// Milliseconds up to which all that came is counted.
    until: u64,
    /// By the number of a pod, in parts.
    parts: BTreeMap<u64, Parts>,
}

#[derive(Clone, Copy, Default)]
struct Parts {
    all: u64,
    failed: u64,
}

impl Service {
    /// One to which so many requests a second come, minute by minute.
    pub fn with(rates: Vec<u64>) -> Self {
        Self { rates, until: 0, parts: BTreeMap::new() }
    }

    /// Requests a second that come now.
    pub fn rate(&self, now: u64) -> u64 {
        let minute = usize::try_from(now / LASTS).unwrap_or(0);
        minute.checked_rem(self.rates.len()).map_or(0, |minute| self.rates[minute])
    }

    /// Requests a second when fewest come.
    pub fn least(&self) -> u64 {
        self.rates.iter().copied().min().unwrap_or(0)
    }

    /// What a pod has answered.
    pub fn counted(&self, pod: &str) -> Counted {
        let Parts { all, failed } = self.parts.get(&number(pod)).copied().unwrap_or_default();
        let failed = failed / PARTS;
        Counted { good: all / PARTS - failed, failed }
    }

    /// Shares out what has come since then among the pods that are Ready.
    pub fn count(&mut self, native: &Native, now: u64) {
        if self.until >= now {
            return;
        }
        let conducts: Vec<(&str, Conduct)> =
            native.sets.iter().map(|set| (set.name.as_str(), Conduct::of(&set.template))).collect();
        let conduct = |pod: &Pod| {
            let found = conducts.iter().find(|(set, _)| *set == pod.set);
            found.map_or(Conduct::default(), |(_, conduct)| *conduct)
        };
        let ready: Vec<(&Pod, u64, Conduct)> =
            endpoints(native).map(|pod| (pod, number(&pod.name), conduct(pod))).collect();
        while self.until < now {
            let (from, rate, until) = self.stretch(now);
            self.until = until;
            let pods = u64::try_from(ready.len()).unwrap_or(u64::MAX);
            // Where there is nobody, nobody counts it.
            let share = (rate * (until - from) * (PARTS / 1000)).checked_div(pods).unwrap_or(0);
            for (pod, number, conduct) in &ready {
                let parts = self.parts.entry(*number).or_default();
                parts.all += share;
                parts.failed += share / 100 * conduct.errors;
                if conduct.late_errors > 0 {
                    let since = pod.ready_since.unwrap_or(pod.born).as_millisecond();
                    let bad_from = u64::try_from(since - stamp(0).as_millisecond()).unwrap_or(0) + LATE;
                    let bad = until.saturating_sub(from.max(bad_from));
                    parts.failed += share / (until - from) * bad / 100 * conduct.late_errors;
                }
            }
        }
        if self.parts.len() > 2 * native.pods.len() + 8 {
            let living: BTreeSet<u64> = native.pods.iter().map(|pod| number(&pod.name)).collect();
            self.parts.retain(|number, _| living.contains(number));
        }
    }

    /// From when on nothing is counted, what comes from there on, and until when.
    fn stretch(&self, now: u64) -> (u64, u64, u64) {
        let minute = usize::try_from(self.until / LASTS).unwrap_or(0);
        match self.rates.as_slice() {
            [] => (self.until, 0, now),
            [always] => (self.until, *always, now),
            rates => {
                let end = self.until - self.until % LASTS + LASTS;
                (self.until, rates[minute % rates.len()], end.min(now))
            }
        }
    }
}

/// The pods to which requests go.
pub fn endpoints(native: &Native) -> impl Iterator<Item = &Pod> {
    native.pods.iter().filter(|pod| pod.ready_since.is_some() && pod.terminating_since.is_none())
}

/// How pods of a template answer, in percent.
#[derive(Clone, Copy, Default)]
struct Conduct {
    errors: u64,
    late_errors: u64,
}

impl Conduct {
    fn of(template: &serde_json::Value) -> Self {
        let percent = |name: &str| {
            let text = template["metadata"]["annotations"][name].as_str();
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        Self { errors: percent("errors"), late_errors: percent("errors-late") }
    }
}
