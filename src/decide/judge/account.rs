//! What a memory can say of itself, in full: for records, never for a verdict.

use super::count::Bounds;
use super::evidence::Trials;
use super::lanes::Lanes;
use super::state::{Memory, Suspicion};
use super::{Evidence, Settings};

/// Everything one verdict rests on, as numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// The canary's requests.
    pub canary: Trials,
    /// Stable's requests, those learnt from before the run included.
    pub stable: Trials,
    /// Start of the stretch that speaks against the canary, seconds, and its requests. `None`: nothing does.
    pub suspicion: Option<(i64, Trials)>,
    /// That the canary is worse than stable.
    pub worse: Evidence,
    /// That it is above the limit; where that is stable's, above what is ignored, or what the quantile allows. `None`: nothing of it was bet on, as
    /// where nothing is ignored.
    pub above_limit: Option<Evidence>,
    /// That it is above the target; `None` where target and limit are one.
    pub above_target: Option<Evidence>,
    /// φ, by which evidence was divided last.
    pub divided_by: f64,
    /// Where slow requests are counted.
    pub bounds: Option<Bounds>,
}

impl Memory {
    /// What is remembered, as numbers.
    pub fn account(&self, settings: &Settings) -> Account {
        let thresholds = settings.thresholds(self.share.0);
        let of = |suspicion: &Suspicion| Evidence {
            log_e: suspicion.lanes.log_evidence(self.schedule.cash),
            threshold: thresholds.above,
        };
        Account {
            canary: self.canary.against_limit(),
            stable: self.spread.seen,
            suspicion: (self.limit.requests > 0).then(|| (self.limit.since, self.limit.trials())),
            worse: Evidence { log_e: self.log_worse_evidence(), threshold: thresholds.worse },
            above_limit: (self.no_worse.is_none() || self.limit.lanes != Lanes::default())
                .then(|| of(&self.limit)),
            above_target: self.target.as_ref().map(of),
            divided_by: self.tempered.0,
            bounds: self.bounds,
        }
    }
}
