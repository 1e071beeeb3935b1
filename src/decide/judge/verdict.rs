//! The zones of judge.md: from a state to what it is worth.

use super::{
    Criterion, Evidence, Judgement, Reason, Settings, State, Verdict,
    criterion::Terms,
    evidence::{self, BETTER, Trials, WORSE},
    interval::confidence,
    message::{percent, requests, seen, substitutes, threshold},
    need,
    slot::Bound,
    state::{Memory, Suspicion},
};

/// More than this share of the step's canary measurements missing: no Pass.
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
                            fresh = Memory::new(measure, terms.target.is_some());
                            &fresh
                        }
                    };
                    let case = Case {
                        criterion,
                        terms,
                        memory,
                        state,
                        settings,
                        breach_threshold: settings.breach_threshold(criteria),
                        pass_threshold: settings.pass_threshold(),
                    };
                    case.judgement()
                }
                Some(_) | None => invalid(criterion),
            }
        })
        .collect()
}

/// Everything one judgement looks at.
struct Case<'a> {
    criterion: &'a Criterion,
    terms: Terms,
    memory: &'a Memory,
    state: &'a State,
    settings: &'a Settings,
    breach_threshold: f64,
    pass_threshold: f64,
}

/// What the zones decide; the rest of a judgement is the same for all.
struct Finding {
    verdict: Verdict,
    reason: Reason,
    message: String,
    trials: Trials,
    need: Option<u64>,
    evidence: Evidence,
}

impl Case<'_> {
    fn judgement(&self) -> Judgement {
        let Finding { verdict, reason, message, trials, need, evidence } = self.finding();
        let note = substitutes(self.memory, &self.terms, &self.criterion.measure);
        let error = (-self.pass_threshold).exp();
        Judgement {
            criterion: self.criterion.name.clone(),
            verdict,
            reason,
            message: format!("{}{note}.", sentence(&message)),
            value: trials.share(),
            interval: (trials.requests > 0).then(|| confidence(trials, error)),
            limit: self.terms.limit,
            have: self.memory.canary.requests,
            need,
            evidence,
        }
    }

    fn finding(&self) -> Finding {
        let stable = Evidence {
            log_e: self.memory.stable.log_evidence(self.cash()),
            threshold: self.breach_threshold,
        };
        if let Some(t) = self.memory.breached_at {
            self.breach(t)
        } else if stable.log_e >= stable.threshold {
            self.stable_as_bad(stable)
        } else if self.above_limit().log_e >= self.breach_threshold {
            self.no_worse_than_stable()
        } else if let Some(finding) = self.above_target() {
            finding
        } else if let Some(finding) = self.unmeasured() {
            finding
        } else {
            self.measured()
        }
    }

    fn breach(&self, t: i64) -> Finding {
        let suspicion = &self.memory.limit;
        let trials = Trials::new(suspicion.requests, suspicion.bad);
        Finding {
            verdict: Verdict::Breach,
            reason: Reason::AboveLimit,
            message: format!(
                "{} within {} s, above {}",
                seen(trials, self.limit_bound()),
                t.saturating_sub(suspicion.since).saturating_add(1),
                self.limit(),
            ),
            trials,
            need: None,
            evidence: self.breach_evidence(),
        }
    }

    fn stable_as_bad(&self, evidence: Evidence) -> Finding {
        Finding {
            verdict: Verdict::Hold,
            reason: Reason::StableAsBad,
            message: format!(
                "stable itself is over {}, which is not this release's fault; settled when stable is below it",
                self.limit()
            ),
            trials: self.memory.canary.against_limit(),
            need: None,
            evidence,
        }
    }

    fn no_worse_than_stable(&self) -> Finding {
        let suspicion = &self.memory.limit;
        let trials = Trials::new(suspicion.requests, suspicion.bad);
        Finding {
            verdict: Verdict::Hold,
            reason: Reason::StableAsBad,
            message: format!(
                "{}, above {} but not evidently worse than stable; settled by more requests to either",
                seen(trials, self.limit_bound()),
                self.limit(),
            ),
            trials,
            need: None,
            evidence: self.breach_evidence(),
        }
    }

    fn above_target(&self) -> Option<Finding> {
        let share = self.terms.target?;
        let suspicion = self.memory.target.as_ref()?;
        let evidence = self.target_evidence(suspicion);
        if evidence.log_e < evidence.threshold {
            return None;
        }
        let trials = Trials::new(suspicion.requests, suspicion.bad);
        let target = threshold("target", share, self.terms.slow.map(|slow| slow.target));
        Some(Finding {
            verdict: Verdict::Hold,
            reason: Reason::AboveTarget,
            message: format!(
                "{}, above {target} but not evidently above {}",
                seen(trials, self.memory.bounds.map(|bounds| bounds.target)),
                self.limit(),
            ),
            trials,
            need: None,
            evidence,
        })
    }

    /// Nothing, too little or the wrong thing was measured.
    fn unmeasured(&self) -> Option<Finding> {
        let unread = self.memory.unread;
        let missing = self.state.missing.saturating_add(unread);
        let due = self.state.reported.saturating_add(self.state.missing);
        let too_many_missing = missing as f64 > MOST_MISSING * due as f64;
        let have = self.memory.canary.requests;
        let without_bucket = self.memory.bounds.is_some_and(|bounds| bounds.pass.is_none());
        let (reason, need, message) = if too_many_missing {
            let message = format!(
                "{missing} of {due} measurements of canary pods are missing in this step, at most {} may be; \
                 settled when the pods report again",
                percent(MOST_MISSING)
            );
            (Reason::MissingData, None, message)
        } else if without_bucket {
            let message = format!(
                "no histogram bucket ends at or below {}: {} measured, but nothing can show that it is kept; \
                 settled by a bucket bound there",
                self.limit(),
                requests(have),
            );
            (Reason::NoSuchBucket, None, message)
        } else if have == 0 {
            let need = need::to_pass(0.0, self.terms.limit, self.pass_threshold);
            let message = format!(
                "no requests reached the canary in {} s; about {} needed",
                self.seconds(),
                requests(need.unwrap_or(u64::MAX)),
            );
            (Reason::NoRequests, need, message)
        } else {
            return None;
        };
        Some(Finding {
            verdict: Verdict::Unknown,
            reason,
            message,
            trials: self.memory.canary.against_limit(),
            need,
            evidence: self.pass_evidence(),
        })
    }

    fn measured(&self) -> Finding {
        let trials = self.memory.canary.for_pass();
        let bound = self.memory.bounds.and_then(|bounds| bounds.pass);
        let seen = seen(trials, bound);
        let evidence = self.pass_evidence();
        if evidence.log_e < evidence.threshold {
            return self.undecided();
        }
        let lately = self.above_limit();
        if lately.log_e >= self.pass_threshold {
            return Finding {
                verdict: Verdict::Unknown,
                reason: Reason::Worsening,
                message: format!(
                    "{seen}, but {} of the last {} were bad, which may be above {}",
                    self.memory.limit.bad,
                    requests(self.memory.limit.requests),
                    self.limit(),
                ),
                trials,
                need: None,
                evidence: lately,
            };
        }
        let within_target = match self.terms.target {
            None => true,
            Some(target) => {
                let share = self.memory.canary.against_target().share();
                share.is_some_and(|share| share <= target)
            }
        };
        let (reason, message) = if within_target {
            let message = format!("{seen}, evidently below {}", self.limit());
            (Reason::WithinTarget, message)
        } else {
            let message =
                format!("{seen}, evidently below {} and not evidently above the target", self.limit());
            (Reason::WithinLimit, message)
        };
        Finding { verdict: Verdict::Pass, reason, message, trials, need: None, evidence }
    }

    /// Requests came, and do not yet suffice.
    fn undecided(&self) -> Finding {
        let have = self.memory.canary.requests;
        let null = self.terms.limit;
        let against = self.memory.canary.against_limit();
        let worse = against.share().unwrap_or(0.0) > null;
        let (trials, bound, evidence, settle) = if worse {
            let evidence = self.breach_evidence();
            let share = against.share().unwrap_or(0.0);
            let first = need::to_breach(share, null, evidence.threshold);
            let more = need::more(evidence.threshold - evidence.log_e, share, null, &WORSE);
            (against, self.limit_bound(), evidence, first.zip(more))
        } else {
            let trials = self.memory.canary.for_pass();
            let evidence = self.pass_evidence();
            let share = trials.share().unwrap_or(0.0);
            let first = need::to_pass(share, null, evidence.threshold);
            let more = need::more(evidence.threshold - evidence.log_e, share, null, &BETTER);
            let bound = self.memory.bounds.and_then(|bounds| bounds.pass);
            (trials, bound, evidence, first.zip(more))
        };
        let need = settle.map(|(first, more)| first.max(have.saturating_add(more)));
        let seen = seen(trials, bound);
        let limit = self.limit();
        let (reason, message) = match need {
            Some(need) => {
                let toward = if worse { "above" } else { "below" };
                let message = format!(
                    "{have} of about {} needed to tell whether it is {toward} {limit}; so far {seen}",
                    requests(need),
                );
                (Reason::TooFewRequests, message)
            }
            None => {
                let message = format!(
                    "{seen}, too near {limit} to tell on which side it is; \
                     settled by a rate that is clearly lower or higher, or another limit"
                );
                (Reason::NearLimit, message)
            }
        };
        Finding { verdict: Verdict::Unknown, reason, message, trials, need, evidence }
    }

    fn cash(&self) -> f64 {
        self.memory.schedule.cash
    }

    fn breach_evidence(&self) -> Evidence {
        Evidence { log_e: self.memory.log_breach_evidence(), threshold: self.breach_threshold }
    }

    /// Whatever stable does.
    fn above_limit(&self) -> Evidence {
        Evidence {
            log_e: self.memory.limit.lanes.log_evidence(self.cash()),
            threshold: self.breach_threshold,
        }
    }

    fn target_evidence(&self, suspicion: &Suspicion) -> Evidence {
        Evidence { log_e: suspicion.lanes.log_evidence(self.cash()), threshold: self.pass_threshold }
    }

    /// From the start and uncapped, so it needs nothing but the totals.
    fn pass_evidence(&self) -> Evidence {
        let ratios = evidence::budget(self.memory.canary.for_pass(), self.terms.limit, &BETTER);
        Evidence { log_e: evidence::log_mean_exp(&ratios), threshold: self.pass_threshold }
    }

    fn limit(&self) -> String {
        let seconds = self.terms.slow.map(|slow| slow.limit);
        threshold("limit", self.terms.limit, seconds)
    }

    fn limit_bound(&self) -> Option<Bound> {
        self.memory.bounds.map(|bounds| bounds.limit)
    }

    /// Time covered by the slots folded.
    fn seconds(&self) -> i64 {
        match (self.state.first_slot, self.state.last_slot) {
            (Some(first), Some(last)) => {
                last.saturating_sub(first).saturating_add(i64::from(self.settings.slot_seconds))
            }
            (Some(_) | None, _) => 0,
        }
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
        value: None,
        interval: None,
        limit: 0.0,
        have: 0,
        need: None,
        evidence: Evidence { log_e: 0.0, threshold: 0.0 },
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
