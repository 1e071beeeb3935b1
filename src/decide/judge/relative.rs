//! The zones of a criterion whose limit is stable's own.

use super::{
    Evidence, Reason, Verdict, evidence,
    message::{STANDS, percent, requests, seen},
    need,
    verdict::{Case, Finding},
};

impl Case<'_> {
    /// What is found where stable is the limit.
    pub(super) fn against_stable(&self) -> Finding {
        if self.memory.breached_at.is_some() {
            return self.worse_than_stable();
        }
        let Some(usual) = self.memory.spread.seen.share() else { return self.nothing_to_compare() };
        if self.terms.slow.is_some() && self.memory.bounds.is_none() {
            return self.nothing_to_compare();
        }
        if let Some(finding) = self.unmeasured() {
            return finding;
        }
        let below = self.below_what_matters();
        if let Some(evidence) = below.filter(|evidence| evidence.log_e >= evidence.threshold) {
            let message = format!(
                "{}, evidently less than {} whatever stable does",
                self.seen_to_pass(),
                percent(self.null())
            );
            let settle = self.bad_ones_in_a_row();
            return self.found(Verdict::Pass, Reason::WithinLimit, (message, settle), None, evidence);
        }
        let evidence = Evidence {
            log_e: self.memory.no_worse.map_or(0.0, |logs| evidence::log_mean_exp(&logs.0)),
            threshold: self.thresholds.above,
        };
        if evidence.log_e >= evidence.threshold {
            let message = format!("{}, evidently below {}", self.compared(usual), self.limit());
            let settle = self.worse_settles();
            return self.found(Verdict::Pass, Reason::WithinLimit, (message, settle), None, evidence);
        }
        self.no_evidence_of_worse(usual)
    }

    fn worse_than_stable(&self) -> Finding {
        let trials = self.memory.limit.trials();
        let usual = self.memory.spread.seen.share().unwrap_or(0.0);
        let message =
            format!("{}, above {} ({})", seen(trials, self.limit_bound()), self.limit(), percent(usual),);
        let said = (message, STANDS.to_owned());
        Finding {
            trials,
            ..self.found(Verdict::Breach, Reason::WorseThanStable, said, None, self.breach_evidence())
        }
    }

    fn nothing_to_compare(&self) -> Finding {
        let why = if self.memory.spread.seen.requests == 0 && self.memory.usual.is_empty() {
            "no stable pod had requests yet, so there is nothing to compare with"
        } else {
            "too few requests to stable pods, or no histogram of them, to know their quantile"
        };
        let said = settled(why, "by traffic to stable pods");
        self.found(Verdict::Unknown, Reason::NothingToCompare, said, None, self.breach_evidence())
    }

    /// Nothing speaks against it: enough when something as bad as twice the limit would have spoken by now.
    fn no_evidence_of_worse(&self, usual: f64) -> Finding {
        let have = self.memory.canary.requests;
        let evidence = self.breach_evidence();
        let twice = (usual * self.terms.too_much() * 2.0).min(1.0);
        let null = usual * self.terms.comparison().0;
        let need = (null > 0.0 && null < 1.0)
            .then(|| need::to_breach(twice, null, evidence.threshold, self.memory.tempered.0))
            .flatten();
        let compared = self.compared(usual);
        match need {
            Some(need) if have >= need => {
                let message = format!(
                    "{compared}; no evidence that it is above {}, and {} would have shown twice that",
                    self.limit(),
                    requests(need),
                );
                let said = (message, self.worse_settles());
                self.found(Verdict::Pass, Reason::NoWorse, said, None, evidence)
            }
            Some(need) => {
                let message = format!(
                    "{have} of about {} needed to tell whether it is above {}; so far {compared}",
                    requests(need),
                    self.limit(),
                );
                let said = (message, format!("by about {} more", requests(need - have)));
                self.found(Verdict::Unknown, Reason::TooFewRequests, said, Some(need), evidence)
            }
            None => {
                let why = format!("{compared}: too few bad ones among stable's requests to compare with");
                let said = settled(&why, "by a value for ignoreBelow, or more traffic");
                self.found(Verdict::Unknown, Reason::TooFewRequests, said, None, evidence)
            }
        }
    }

    /// What would end a Pass that rests on the comparison.
    fn worse_settles(&self) -> String {
        let Evidence { log_e, threshold } = self.breach_evidence();
        format!("by evidence that it is worse than stable, {log_e:.1} of {threshold:.1} so far")
    }

    /// That fewer are bad than is ignored; of latency, that fewer are slower than the limit than are to be by the quantile.
    fn below_what_matters(&self) -> Option<Evidence> {
        self.terms.limit.map(|_| self.pass_evidence())
    }

    fn seen_to_pass(&self) -> String {
        seen(self.memory.canary.for_pass(), self.memory.bounds.and_then(|bounds| bounds.pass))
    }

    fn seen(&self) -> String {
        seen(self.memory.canary.against_limit(), self.limit_bound())
    }

    fn compared(&self, usual: f64) -> String {
        let stable = match self.memory.bounds.and_then(|bounds| bounds.stable) {
            None => format!("stable's is {}", percent(usual)),
            Some(bound) => {
                let bound = super::message::duration(bound.seconds());
                format!("{} of stable's took longer than {bound}", percent(usual))
            }
        };
        format!("{}, {stable}", self.seen())
    }

    fn found(
        &self,
        verdict: Verdict,
        reason: Reason,
        (message, settle): (String, String),
        need: Option<u64>,
        evidence: Evidence,
    ) -> Finding {
        let trials = self.memory.canary.against_limit();
        Finding { verdict, reason, message, settle, trials, need, evidence }
    }
}

/// A message that ends with what settles it, and that by itself.
fn settled(why: &str, settle: &str) -> (String, String) {
    (format!("{why}; settled {settle}"), settle.to_owned())
}
