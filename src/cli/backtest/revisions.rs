//! Past releases as the names of pods tell them: from the first pod of another ReplicaSet until one is alone again. It does not know
//! whether they were good.

use std::collections::BTreeSet;

use super::outcome::Went;
use super::spans::{When, revision_of};

/// Seconds that one revision must be alone for a release to be over.
pub const ALONE: i64 = 60;

/// What was seen so far.
pub struct Revisions {
    /// Seconds from one moment to the next.
    interval: i64,
    /// The revision that serves alone.
    serving: Option<String>,
    under_way: Option<UnderWay>,
    over: Vec<When>,
}

struct UnderWay {
    from: i64,
    canary: String,
    stable: String,
    /// Since when which of the two is alone.
    alone: Option<(i64, Alone)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    Canary,
    Stable,
}

/// A release that is over.
pub struct Ended {
    pub when: When,
    pub canary: String,
    pub stable: String,
    pub went: Went,
}

/// The names of pods do not tell revisions.
pub struct Nameless;

impl Revisions {
    /// Nothing yet.
    pub fn new(interval: i64) -> Self {
        Self { interval, serving: None, under_way: None, over: Vec::new() }
    }

    /// The pods of a moment, later than those before; the release that ended by it.
    pub fn see<'a>(
        &mut self,
        t: i64,
        pods: impl Iterator<Item = &'a str>,
    ) -> Result<Option<Ended>, Nameless> {
        let present: BTreeSet<&str> =
            pods.map(|pod| revision_of(pod).ok_or(Nameless)).collect::<Result<_, _>>()?;
        if present.is_empty() {
            return Ok(None);
        }
        let Some(mut under_way) = self.under_way.take() else {
            match &self.serving {
                Some(serving) => {
                    if let Some(canary) = present.iter().find(|one| *one != serving) {
                        self.begin(t, (*canary).to_owned(), serving.clone());
                    }
                }
                None if present.len() == 1 => self.serving = present.first().map(|one| (*one).to_owned()),
                None => {}
            }
            return Ok(None);
        };
        if let Some(third) = present.iter().find(|one| **one != under_way.canary && **one != under_way.stable)
        {
            let stable = under_way.stable.clone();
            let ended = self.end(under_way, t, Went::Superseded);
            self.begin(t, (*third).to_owned(), stable);
            return Ok(Some(ended));
        }
        let alone = match (
            present.contains(under_way.canary.as_str()),
            present.contains(under_way.stable.as_str()),
        ) {
            (true, false) => Some(Alone::Canary),
            (false, true) => Some(Alone::Stable),
            _ => None,
        };
        under_way.alone = match (alone, under_way.alone) {
            (Some(now), Some((since, before))) if now == before => Some((since, now)),
            (Some(now), _) => Some((t, now)),
            (None, _) => None,
        };
        Ok(match under_way.alone {
            Some((since, Alone::Canary)) if t - since >= ALONE => {
                self.serving = Some(under_way.canary.clone());
                Some(self.end(under_way, since, Went::Through))
            }
            Some((since, Alone::Stable)) if t - since >= ALONE => {
                Some(self.end(under_way, since, Went::Back))
            }
            _ => {
                self.under_way = Some(under_way);
                None
            }
        })
    }

    /// Nothing more is seen: what is under way is cut off.
    pub fn cut_off(&mut self, at: i64) -> Option<Ended> {
        let under_way = self.under_way.take()?;
        Some(self.end(under_way, at, Went::Unknown))
    }

    /// When the release under way began.
    pub fn under_way_since(&self) -> Option<i64> {
        self.under_way.as_ref().map(|under_way| under_way.from)
    }

    /// Releases so far, the one under way included.
    pub fn releases(&self) -> impl Iterator<Item = When> {
        let under_way = self.under_way_since().map(|from| When { from, to: i64::MAX });
        self.over.iter().copied().chain(under_way)
    }

    fn begin(&mut self, from: i64, canary: String, stable: String) {
        self.under_way = Some(UnderWay { from, canary, stable, alone: None });
    }

    fn end(&mut self, under_way: UnderWay, to: i64, went: Went) -> Ended {
        let UnderWay { from, canary, stable, alone: _ } = under_way;
        let when = When { from, to: to.max(from + self.interval) };
        self.over.push(when);
        Ended { when, canary, stable, went }
    }
}
