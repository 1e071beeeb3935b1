//! The zones of a criterion whose limit is a number.

use super::{
    Evidence, Reason, Verdict,
    evidence::{BETTER, WORSE},
    message::{STANDS, requests, seen, threshold},
    need,
    state::Suspicion,
    verdict::{Case, Finding},
};

impl Case<'_> {
    /// What is found where the limit is a number.
    pub(super) fn against_limit(&self) -> Finding {
        let stable = Evidence {
            log_e: self.memory.stable.log_evidence(self.cash()),
            threshold: self.thresholds.above,
        };
        if let Some(until) = self.memory.breached_at {
            self.breach(until)
        } else if stable.log_e >= stable.threshold {
            self.stable_as_bad(stable)
        } else if self.memory.stable_served.is_some() && self.above_limit().log_e >= self.thresholds.worse {
            self.no_worse_than_stable()
        } else if let Some(finding) = self.above_target() {
            finding
        } else if let Some(finding) = self.unmeasured() {
            finding
        } else {
            self.measured()
        }
    }

    fn breach(&self, until: i64) -> Finding {
        let suspicion = &self.memory.limit;
        let trials = suspicion.trials();
        Finding {
            verdict: Verdict::Breach,
            reason: Reason::AboveLimit,
            message: format!(
                "{} within {} s, above {}",
                seen(trials, self.limit_bound()),
                until.saturating_sub(suspicion.since),
                self.limit(),
            ),
            settle: STANDS.to_owned(),
            trials,
            need: None,
            evidence: self.breach_evidence(),
        }
    }

    fn stable_as_bad(&self, evidence: Evidence) -> Finding {
        let settle = "when stable is below it".to_owned();
        Finding {
            verdict: Verdict::Hold,
            reason: Reason::StableAsBad,
            message: format!(
                "stable itself is over {}, which is not this release's fault; settled {settle}",
                self.limit()
            ),
            settle,
            trials: self.memory.canary.against_limit(),
            need: None,
            evidence,
        }
    }

    fn no_worse_than_stable(&self) -> Finding {
        let trials = self.memory.limit.trials();
        let settle = "by more requests to either".to_owned();
        Finding {
            verdict: Verdict::Hold,
            reason: Reason::StableAsBad,
            message: format!(
                "{}, above {} but not evidently worse than stable; settled {settle}",
                seen(trials, self.limit_bound()),
                self.limit(),
            ),
            settle,
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
        let trials = suspicion.trials();
        let target = threshold("target", share, self.target_seconds());
        Some(Finding {
            verdict: Verdict::Hold,
            reason: Reason::AboveTarget,
            message: format!(
                "{}, above {target} but not evidently above {}",
                seen(trials, self.memory.bounds.map(|bounds| bounds.target)),
                self.limit(),
            ),
            settle: format!("by a rate below {target} for a while"),
            trials,
            need: None,
            evidence,
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
        if lately.log_e >= self.thresholds.above {
            return Finding {
                verdict: Verdict::Unknown,
                reason: Reason::Worsening,
                message: format!(
                    "{seen}, but {} of the last {} were bad, which may be above {}",
                    self.memory.limit.bad,
                    requests(self.memory.limit.requests),
                    self.limit(),
                ),
                settle: "by more requests".to_owned(),
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
        let settle = self.bad_ones_in_a_row();
        Finding { verdict: Verdict::Pass, reason, message, settle, trials, need: None, evidence }
    }

    /// Requests came, and do not yet suffice.
    fn undecided(&self) -> Finding {
        let have = self.memory.canary.requests;
        let null = self.null();
        let against = self.memory.canary.against_limit();
        let worse = against.share().unwrap_or(0.0) > null;
        let (trials, bound, evidence, settle) = if worse {
            let evidence = self.breach_evidence();
            let share = against.share().unwrap_or(0.0);
            let first = need::to_breach(share, null, evidence.threshold, self.memory.tempered.0);
            let more = need::more(
                (evidence.threshold - evidence.log_e) * self.memory.tempered.0,
                share,
                null,
                &WORSE,
            );
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
        let (reason, message, settle) = match need {
            Some(need) => {
                let toward = if worse { "above" } else { "below" };
                let message = format!(
                    "{have} of about {} needed to tell whether it is {toward} {limit}; so far {seen}",
                    requests(need),
                );
                let settle = format!("by about {} more at this rate", requests(need.saturating_sub(have)));
                (Reason::TooFewRequests, message, settle)
            }
            None => {
                let settle = "by a rate that is clearly lower or higher, or another limit".to_owned();
                let message =
                    format!("{seen}, too near {limit} to tell on which side it is; settled {settle}");
                (Reason::NearLimit, message, settle)
            }
        };
        Finding { verdict: Verdict::Unknown, reason, message, settle, trials, need, evidence }
    }

    fn target_evidence(&self, suspicion: &Suspicion) -> Evidence {
        Evidence { log_e: suspicion.lanes.log_evidence(self.cash()), threshold: self.thresholds.above }
    }
}
