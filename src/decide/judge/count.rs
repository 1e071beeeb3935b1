//! From a pod's slot to the counts one criterion needs. Latency is a share: `slow(T)` = requests
//! − count(le = T), at a real bucket bound, never interpolated.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    criterion::{Slow, Terms},
    evidence::Trials,
    slot::{Bound, Revision, Slot},
};

/// Requests and the bad ones as each test counts them. For errors all three are the same; for a
/// latency threshold that is no bucket bound they differ, each to the cautious side of its test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// All requests.
    pub requests: u64,
    /// Bad ones for "is above the limit": slower than the bound at or next above the limit.
    pub limit: u64,
    /// Bad ones for "is above the target": slower than the bound at or next above the target.
    pub target: u64,
    /// Bad ones for "is below the limit": slower than the bound at or next below the limit.
    pub pass: u64,
}

impl Counts {
    /// Adds, and stays at the largest number rather than starting over.
    pub fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.limit = self.limit.saturating_add(other.limit);
        self.target = self.target.saturating_add(other.target);
        self.pass = self.pass.saturating_add(other.pass);
    }

    /// For "is above the limit".
    pub fn against_limit(self) -> Trials {
        Trials::new(self.requests, self.limit)
    }

    /// For "is above the target".
    pub fn against_target(self) -> Trials {
        Trials::new(self.requests, self.target)
    }

    /// For "is below the limit".
    pub fn for_pass(self) -> Trials {
        Trials::new(self.requests, self.pass)
    }
}

/// The bucket bounds a latency criterion is counted at, fixed before the first canary request is counted: bounds that moved with
/// the data could be picked to suit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bounds {
    /// At or next above the limit; `+Inf` (nothing is ever slower) when there is none.
    pub limit: Bound,
    /// At or next above the target; `+Inf` when there is none.
    pub target: Bound,
    /// At or next below the limit; `None`: every request might be too slow.
    pub pass: Option<Bound>,
    /// Where stable's requests are counted instead, when the limit is stable's: T, the bound nearest its quantile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<Bound>,
}

impl Bounds {
    /// Chooses among the bounds that all these slots share; `None` while no slot has a histogram, and, when the limit is stable's,
    /// while `usual` (stable's requests by bound, so far) are too few to know its quantile.
    pub(super) fn choose<'a>(
        slow: Slow,
        slots: impl IntoIterator<Item = &'a Slot>,
        usual: &BTreeMap<Bound, u64>,
    ) -> Option<Self> {
        let mut histograms = slots
            .into_iter()
            .filter(|slot| !slot.le.is_empty())
            .map(|slot| slot.le.keys().copied().collect::<BTreeSet<Bound>>());
        let first = histograms.next()?;
        let shared = histograms.fold(first, |shared, other| &shared & &other);
        let finite = || shared.iter().filter(|bound| bound.seconds().is_finite());
        let above = |seconds: f64| {
            finite().find(|bound| bound.seconds() >= seconds).copied().unwrap_or(Bound::INFINITE)
        };
        let below = |seconds: f64| finite().rfind(|bound| bound.seconds() <= seconds).copied();
        match slow {
            Slow::Than { target, limit } => {
                Some(Self { limit: above(limit), target: above(target), pass: below(limit), stable: None })
            }
            Slow::ThanStable { tail, times, at_least } => {
                let nearest = nearest(usual, tail).filter(|bound| shared.contains(bound))?;
                let seconds = (nearest.seconds() * times).max(at_least);
                let limit = above(seconds);
                Some(Self { limit, target: limit, pass: below(seconds), stable: Some(nearest) })
            }
        }
    }

    /// Where this revision is counted.
    fn of(&self, revision: Revision) -> (Bound, Bound, Option<Bound>) {
        match (revision, self.stable) {
            (Revision::Stable, Some(stable)) => (stable, stable, Some(stable)),
            (Revision::Stable | Revision::Canary, _) => (self.limit, self.target, self.pass),
        }
    }
}

/// Requests of stable pods before its quantile is taken for known.
const KNOWN_FROM: u64 = 200;

/// A bound that nothing is slower than is as near as one that a tenth of the wanted share is slower than.
const NO_TAIL: f64 = 0.1;

/// The bound whose share of slower requests is nearest `tail`, as a ratio.
fn nearest(usual: &BTreeMap<Bound, u64>, tail: f64) -> Option<Bound> {
    let requests = *usual.get(&Bound::INFINITE)?;
    if requests < KNOWN_FROM {
        return None;
    }
    let distance = |count: u64| {
        let share = requests.saturating_sub(count) as f64 / requests as f64;
        (share.max(tail * NO_TAIL) / tail).ln().abs()
    };
    let finite = usual.iter().filter(|(bound, _)| bound.seconds().is_finite());
    let nearest = finite.min_by(|one, other| distance(*one.1).total_cmp(&distance(*other.1)));
    nearest.map(|(bound, _)| *bound)
}

/// More than this share of a slot's requests without a status: it says nothing of errors.
pub const MOST_UNTOLD: f64 = 0.2;

/// What the slot says to the criterion; `None` when it should say something and cannot: no
/// histogram, or one without the bounds in use; of errors, when too many requests have no status. Few of those are left out: they are
/// no good ones.
pub(super) fn read(slot: &Slot, terms: &Terms, bounds: Option<&Bounds>) -> Option<Counts> {
    if terms.slow.is_none() {
        let untold = slot.untold.min(slot.requests);
        if untold as f64 > MOST_UNTOLD * slot.requests as f64 {
            return None;
        }
        let requests = slot.requests - untold;
        let bad = slot.errors.min(requests);
        return Some(Counts { requests, limit: bad, target: bad, pass: bad });
    }
    if slot.le.is_empty() && slot.requests == 0 {
        return Some(Counts::default());
    }
    let bounds = bounds?;
    let requests = slot.le.get(&Bound::INFINITE).copied().unwrap_or(slot.requests);
    let (limit, target, pass) = bounds.of(slot.revision);
    let slower = |bound: Bound| {
        if bound == Bound::INFINITE { Some(0) } else { Some(requests.saturating_sub(*slot.le.get(&bound)?)) }
    };
    if slot.le.is_empty() {
        return None;
    }
    Some(Counts {
        requests,
        limit: slower(limit)?,
        target: slower(target)?,
        pass: match pass {
            Some(bound) => slower(bound)?,
            None => requests,
        },
    })
}
