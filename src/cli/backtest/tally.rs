//! What came of all replays, counted.

use std::collections::{BTreeMap, BTreeSet};

use super::limits::{FACTORS, Limited};
use super::outcome::{
    AtLimit, Called, Data, Deepest, OfCriterion, OfIncident, OfRelease, Quiet, Skipped, at_most, share,
};
use super::spans::shown;
use crate::decide::judge::{Judgement, Verdict};

/// All of it. What stands by criterion is in their order.
#[derive(Debug, Default)]
pub struct Replayed {
    criteria: Vec<Limited>,
    pub data: Data,
    pub quiet: Vec<Deepest>,
    windows: usize,
    windows_undone: usize,
    verdicts: Vec<BTreeMap<String, usize>>,
    unknown: Vec<BTreeMap<String, usize>>,
    pub releases: Vec<OfRelease>,
    pub incidents: Vec<OfIncident>,
    pub skipped: Vec<Skipped>,
    pub notes: BTreeSet<String>,
}

impl Replayed {
    /// Nothing yet.
    pub fn of(criteria: Vec<Limited>) -> Self {
        Self {
            verdicts: vec![BTreeMap::new(); criteria.len()],
            unknown: vec![BTreeMap::new(); criteria.len()],
            criteria,
            ..Self::default()
        }
    }

    /// Whether the judge would have gone back in this replay.
    pub fn is_undone(&self, deepest: &Deepest) -> bool {
        self.criteria.iter().zip(deepest).any(|(criterion, deep)| criterion.undoes() && *deep > 0)
    }

    /// The replays of one more window.
    pub fn quiet_window(&mut self, replays: Vec<Deepest>) {
        self.windows += 1;
        self.windows_undone += usize::from(replays.iter().any(|deepest| self.is_undone(deepest)));
        self.quiet.extend(replays);
    }

    /// Where each criterion stood at the end of a replay.
    pub fn count_verdicts(&mut self, judgements: &[Judgement]) {
        for (at, judgement) in judgements.iter().enumerate() {
            *self.verdicts[at].entry(format!("{:?}", judgement.verdict)).or_default() += 1;
            if judgement.verdict == Verdict::Unknown {
                *self.unknown[at].entry(format!("{:?}", judgement.reason)).or_default() += 1;
            }
        }
    }

    /// Quiet windows in figures.
    pub fn quiet(&self) -> Quiet {
        let false_undos = self.quiet.iter().filter(|deepest| self.is_undone(deepest)).count();
        Quiet {
            windows: self.windows,
            replays: self.quiet.len(),
            false_undos,
            per_run: share(false_undos, self.quiet.len()),
            at_most: at_most(self.windows_undone, self.windows),
        }
    }

    /// Criteria in figures.
    pub fn criteria(&self) -> Vec<OfCriterion> {
        self.criteria.iter().enumerate().map(|(at, criterion)| self.criterion(at, criterion)).collect()
    }

    fn criterion(&self, at: usize, criterion: &Limited) -> OfCriterion {
        let limits = FACTORS.iter().enumerate().filter_map(|(place, factor)| {
            let scaled = criterion.scaled(*factor)?;
            let breaches = self.quiet.iter().filter(|deepest| deepest[at] > place).count();
            let caught =
                |release: &&OfRelease| release.called == Some(Called::Bad) && release.breached[at][place];
            Some(AtLimit {
                factor: *factor,
                limit: scaled.limit(),
                breaches,
                per_run: share(breaches, self.quiet.len()),
                caught: self.releases.iter().filter(caught).count(),
            })
        });
        OfCriterion {
            name: criterion.name().to_owned(),
            limit: criterion.described(),
            undoes: criterion.undoes(),
            verdicts: self.verdicts[at].clone(),
            unknown: self.unknown[at].clone(),
            limits: limits.collect(),
        }
    }
}

/// A moment of the past as machines write it.
pub fn rfc3339(at: i64) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| shown(at), |at| at.to_string())
}
