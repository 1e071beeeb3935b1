//! The zones of judge.md: from a state to what it is worth.

use super::{
    Criterion, Evidence, Judgement, Reason, Settings, State, Verdict,
    criterion::{Slow, Terms, Thresholds, usable},
    evidence::{self, BETTER, Trials},
    interval::confidence,
    message::{percent, requests, substitutes, threshold},
    need,
    slot::{Bound, WARM_UP},
    state::Memory,
};

/// More than this share of the last minutes' canary measurements missing: no Pass.
const MOST_MISSING: f64 = 0.2;

/// One judgement per criterion, in their order.
///
/// | seen | verdict |
/// |---|---|
/// | evidence at α' that the canary is above the limit and worse than stable, stable was not over it | Breach, sticky |
/// | stable is over the limit now, or the canary is and no worse than stable | Hold, `StableAsBad` |
/// | evidence at β that the canary is above the target | Hold, `AboveTarget` |
/// | evidence at β that it is below the limit, none above the target, at most 20 % missing | Pass |
/// | none of these | Unknown, with what would settle it |
pub fn judge(criteria: &[Criterion], state: &State, settings: &Settings) -> Vec<Judgement> {
    criteria
        .iter()
        .enumerate()
        .map(|(index, criterion)| {
            let even = 1.0 / usable(criteria).filter(|(other, _)| !other.shadow).count().max(1) as f64;
            let first = criteria
                .iter()
                .position(|other| other.name == criterion.name && other.measure.terms().is_some());
            match criterion.measure.terms() {
                Some(terms) if first == Some(index) => {
                    let fresh;
                    let measure = criterion.measure.fingerprint();
                    let memory = match state.criteria.get(&criterion.name) {
                        Some(memory) if memory.measure == measure => memory,
                        Some(_) | None => {
                            fresh = Memory::new(measure, even, &terms);
                            &fresh
                        }
                    };
                    let case = Case {
                        criterion,
                        terms,
                        memory,
                        state,
                        thresholds: settings.thresholds(memory.share.0),
                    };
                    case.judgement()
                }
                Some(_) | None => invalid(criterion),
            }
        })
        .collect()
}

/// Everything one judgement looks at.
pub(super) struct Case<'a> {
    pub(super) criterion: &'a Criterion,
    pub(super) terms: Terms,
    pub(super) memory: &'a Memory,
    pub(super) state: &'a State,
    pub(super) thresholds: Thresholds,
}

/// What the zones decide; the rest of a judgement is the same for all.
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) reason: Reason,
    pub(super) message: String,
    /// What would change it.
    pub(super) settle: String,
    pub(super) trials: Trials,
    pub(super) need: Option<u64>,
    pub(super) evidence: Evidence,
}

impl Case<'_> {
    fn judgement(&self) -> Judgement {
        let Finding { verdict, reason, message, settle, trials, need, evidence } =
            if self.terms.times_stable.is_some() { self.against_stable() } else { self.against_limit() };
        let note = substitutes(self.memory, &self.terms, &self.criterion.measure);
        let error = (-self.thresholds.above).exp();
        Judgement {
            criterion: self.criterion.name.clone(),
            verdict,
            reason,
            message: format!("{}{note}.", sentence(&message)),
            settle,
            window: self.window(),
            value: trials.share(),
            interval: (trials.requests > 0).then(|| confidence(trials, error)),
            limit: self.limit_share(),
            have: self.memory.canary.requests,
            need,
            evidence,
            calibrated: self.memory.spread.is_calibrated(),
        }
    }

    /// The share of bad requests at the limit; where that is stable's, as far as stable's is known.
    fn limit_share(&self) -> f64 {
        match (self.terms.times_stable, self.memory.spread.seen.share()) {
            (Some(_), Some(share)) => (share * self.terms.too_much()).min(1.0),
            (Some(_), None) | (None, _) => self.null(),
        }
    }

    /// Nothing, too little or the wrong thing was measured.
    pub(super) fn unmeasured(&self) -> Option<Finding> {
        let missing = self.state.missing.total().saturating_add(self.memory.unread.total());
        let due = self.state.reported.total().saturating_add(self.state.missing.total());
        let too_many_missing = missing as f64 > MOST_MISSING * due as f64;
        let have = self.memory.canary.requests;
        let without_bucket = self.memory.bounds.is_some_and(|bounds| bounds.pass.is_none());
        let (reason, need, message, settle) = if too_many_missing {
            let settle = "when the pods report again".to_owned();
            let message = format!(
                "{missing} of {due} measurements of canary pods were missing lately, at most {} may be; \
                 settled {settle}",
                percent(MOST_MISSING)
            );
            (Reason::MissingData, None, message, settle)
        } else if without_bucket {
            let settle = "by a bucket bound there".to_owned();
            let message = format!(
                "no histogram bucket ends at or below {}: {} measured, but nothing can show that it is kept; \
                 settled {settle}",
                self.limit(),
                requests(have),
            );
            (Reason::NoSuchBucket, None, message, settle)
        } else if have == 0 && self.memory.warm_up > 0 {
            let need = need::to_pass(0.0, self.null(), self.thresholds.above);
            let settle = format!("by requests to pods that have been Ready for {WARM_UP} s");
            let message = format!(
                "the canary's pods are warming up: their {} so far are not compared with stable's; settled {settle}",
                requests(self.memory.warm_up)
            );
            (Reason::WarmingUp, need, message, settle)
        } else if have == 0 {
            let need = need::to_pass(0.0, self.null(), self.thresholds.above);
            let needed = requests(need.unwrap_or(u64::MAX));
            let message =
                format!("no requests reached the canary in {} s; about {needed} needed", self.seconds());
            (Reason::NoRequests, need, message, format!("by about {needed}"))
        } else {
            return None;
        };
        Some(Finding {
            verdict: Verdict::Unknown,
            reason,
            message,
            settle,
            trials: self.memory.canary.against_limit(),
            need,
            evidence: self.pass_evidence(),
        })
    }

    /// What would end a Pass.
    pub(super) fn bad_ones_in_a_row(&self) -> String {
        let more = need::bad_in_a_row(self.memory.canary.for_pass(), self.null(), self.thresholds.above);
        format!("by {} in a row that are bad", requests(more))
    }

    pub(super) fn cash(&self) -> f64 {
        self.memory.schedule.cash
    }

    /// What a breach still waits for: that the canary is above the limit, or that it is worse than stable.
    pub(super) fn breach_evidence(&self) -> Evidence {
        let worse = Evidence { log_e: self.memory.log_worse_evidence(), threshold: self.thresholds.worse };
        let above = self.above_limit();
        let lacks = |evidence: Evidence| evidence.threshold - evidence.log_e;
        if self.terms.limit.is_some() && lacks(above) > lacks(worse) { above } else { worse }
    }

    /// Whatever stable does.
    pub(super) fn above_limit(&self) -> Evidence {
        Evidence { log_e: self.memory.log_above_evidence(&self.terms), threshold: self.thresholds.above }
    }

    /// That it is below the limit: from the start and uncapped, so it needs nothing but the totals.
    pub(super) fn pass_evidence(&self) -> Evidence {
        let ratios = evidence::budget(self.memory.canary.for_pass(), self.null(), &BETTER);
        Evidence { log_e: evidence::log_mean_exp(&ratios), threshold: self.thresholds.above }
    }

    /// The share of bad requests that A1 tests for.
    pub(super) fn null(&self) -> f64 {
        self.terms.usual_share()
    }

    pub(super) fn target_seconds(&self) -> Option<f64> {
        match self.terms.slow? {
            Slow::Than { target, .. } => Some(target),
            Slow::ThanStable { .. } => None,
        }
    }

    /// The limit, for people.
    pub(super) fn limit(&self) -> String {
        if let Some(times) = self.terms.times_stable {
            return format!("the limit of {times} times stable's");
        }
        let seconds = match self.terms.slow {
            Some(Slow::Than { limit, .. }) => Some(limit),
            Some(Slow::ThanStable { .. }) | None => None,
        };
        threshold("limit", self.null(), seconds)
    }

    pub(super) fn limit_bound(&self) -> Option<Bound> {
        self.memory.bounds.map(|bounds| bounds.limit)
    }

    /// From the first slot on; a breach rests on nothing that came after it.
    fn window(&self) -> Option<(i64, i64)> {
        let (from, until) = self.state.window()?;
        Some((from, self.memory.breached_at.unwrap_or(until)))
    }

    /// Time covered by the slots folded.
    fn seconds(&self) -> i64 {
        self.state.window().map_or(0, |(from, until)| until.saturating_sub(from))
    }
}

fn invalid(criterion: &Criterion) -> Judgement {
    Judgement {
        criterion: criterion.name.clone(),
        verdict: Verdict::Unknown,
        reason: Reason::InvalidCriterion,
        message: "This criterion cannot be judged: error rates and quantiles lie between 0 and 1, latencies \
                  above 0, the target is not above the limit, and each name stands once."
            .to_owned(),
        settle: "by numbers that make sense".to_owned(),
        window: None,
        value: None,
        interval: None,
        limit: 0.0,
        have: 0,
        need: None,
        evidence: Evidence { log_e: 0.0, threshold: 0.0 },
        calibrated: false,
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
