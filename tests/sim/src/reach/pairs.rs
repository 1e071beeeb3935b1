//! Which kind of fault is to have befallen which purpose of a request, over how many seeds: all that is demanded of pairs stands here.
//!
//! The numbers are estimates, from how often a request of that purpose is made: a story has a few hundred requests, a fifth of them watches and a fifth
//! status, and each kind takes effect about once in two stories. Where a pair is missed that is nearly there, its number is too small.

use crate::network::{KINDS, OUT, PURPOSES, Purpose};

/// The set of the test suite.
pub const FEW: u64 = 200;
/// What `sim` plays where nothing else is asked for.
const SOME: u64 = 1_000;
const MANY: u64 = 10_000;
/// What `make sim` plays.
const MOST: u64 = 100_000;

/// Over so many seeds every kind of fault befalls this purpose, but for those below.
const WITHIN: [(Purpose, u64); 12] = [
    (Purpose::List, FEW),
    (Purpose::Get, SOME),
    (Purpose::Watch, FEW),
    (Purpose::Status, FEW),
    (Purpose::Deployment, FEW),
    (Purpose::Kept, SOME),
    (Purpose::Job, MANY),
    (Purpose::Pod, MOST),
    (Purpose::Record, SOME),
    (Purpose::Event, SOME),
    (Purpose::Other, MANY),
    (Purpose::Lease, FEW),
];

/// Kinds of faults that cannot befall some purposes, or do nothing to them, and why.
const NEVER: [(&str, &[Purpose], &str); 5] = [
    (
        OUT,
        &[Purpose::List, Purpose::Get, Purpose::Watch, Purpose::Lease],
        "these are writes of the operator's but that of the Lease, which `leading` troubles",
    ),
    (
        "conflict",
        &[Purpose::List, Purpose::Get, Purpose::Watch],
        "nobody can have been first with what is only read",
    ),
    (
        "conflict",
        &[Purpose::Kept, Purpose::Job, Purpose::Record, Purpose::Event],
        "these are made and deleted, and never changed",
    ),
    ("conflict", &[Purpose::Lease], "whoever takes a Lease before another one does it in the world itself"),
    (
        "forgotten",
        &[
            Purpose::Get,
            Purpose::Status,
            Purpose::Deployment,
            Purpose::Kept,
            Purpose::Job,
            Purpose::Pod,
            Purpose::Record,
            Purpose::Event,
            Purpose::Other,
            Purpose::Lease,
        ],
        "only lists and watches go on from what was before",
    ),
];

/// Pairs that so many seeds are to have come to, and what the purposes are called.
pub fn demanded(seeds: u64) -> impl Iterator<Item = (&'static str, Purpose, &'static str)> {
    KINDS.into_iter().flat_map(move |kind| {
        let demanded = PURPOSES
            .into_iter()
            .filter(move |(purpose, _)| within(*purpose) <= seeds && never(kind, *purpose).is_none());
        demanded.map(move |(purpose, name)| (kind, purpose, name))
    })
}

/// Seeds within which each kind befalls it.
fn within(purpose: Purpose) -> u64 {
    WITHIN.iter().find(|(known, _)| *known == purpose).map_or(0, |(_, seeds)| *seeds)
}

/// Why it cannot be.
pub fn never(kind: &str, purpose: Purpose) -> Option<&'static str> {
    let mut all = NEVER.iter();
    all.find(|(known, of, _)| *known == kind && of.contains(&purpose)).map(|(_, _, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_demanded_of_some_number_of_seeds_or_cannot_be() {
        let demanded: Vec<(&str, Purpose)> =
            demanded(MOST).map(|(kind, purpose, _)| (kind, purpose)).collect();
        for kind in KINDS {
            for (purpose, _) in PURPOSES {
                let is_demanded = demanded.contains(&(kind, purpose));
                assert_ne!(is_demanded, never(kind, purpose).is_some(), "{kind} {purpose:?}");
            }
        }
        assert!(NEVER.iter().all(|(kind, _, _)| KINDS.contains(kind)));
        assert!(WITHIN.iter().all(|(_, seeds)| [FEW, SOME, MANY, MOST].contains(seeds)));
    }

    #[test]
    fn few_seeds_have_to_come_to_less_than_many() {
        let many = [FEW - 1, FEW, SOME, MANY, MOST].map(|seeds| demanded(seeds).count());
        assert!(many.is_sorted_by(|fewer, more| fewer < more) && many[0] == 0, "{many:?}");
    }
}
