//! What a target and a limit say that nobody can judge, in one list: which field, what is wrong with it, what to write. The plan refuses it where a run
//! would wait for it for ever; lint tells it wherever it stands.
//!
//! What is no number at all is the plan's to refuse. A limit that can be judged, and be neither breached nor kept, is for lint alone.

use crate::api::criterion::{Criterion, ErrorRate, LatencyBound, ValueBound};
use crate::api::text::Percent;

/// A field that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsound {
    /// Below the criterion: `latency.limit`
    pub field: &'static str,
    /// In a sentence without a full stop.
    pub problem: String,
    /// What to write.
    pub fix: &'static str,
}

impl Unsound {
    /// `no request takes less than 0ms; write more than that, such as 500ms`
    pub fn sentence(&self) -> String {
        let Self { field: _, problem, fix } = self;
        format!("{problem}; {fix}")
    }
}

/// Numbers that nothing can be held against.
pub fn numbers(Criterion { error_rate, latency, .. }: &Criterion) -> Vec<Unsound> {
    let mut found = Vec::new();
    let mut add = |field, problem, fix| found.push(Unsound { field, problem, fix });
    let is_nothing = |number: Option<f64>| number.is_some_and(|number| number <= 0.0);
    let no_more = |limit: &str| format!("nothing can be held against {limit} more than stable's");
    if let Some(ErrorRate { limit, relative_to: Some(_), ignore_below, .. }) = error_rate {
        if is_nothing(limit.factor()) {
            add("errorRate.limit", no_more(&limit.0), "write more than 0%, such as 50%");
        }
        if ignore_below.as_ref().and_then(Percent::share).is_some_and(|share| share >= 1.0) {
            let problem = "every error rate is at or below 100%: no canary would be too bad".to_owned();
            add("errorRate.ignoreBelow", problem, "write less than 100%, such as 0.1%");
        }
    }
    if let Some(LatencyBound { quantile, target, limit, relative_to, .. }) = latency {
        if !(*quantile > 0.0 && *quantile < 1.0) {
            let problem = format!("{quantile} is no quantile");
            add("latency.quantile", problem, "it is between 0 and 1: write 0.99");
        }
        let no_time = |latency: &str| format!("no request takes less than {latency}");
        if is_nothing(limit.seconds()) {
            add("latency.limit", no_time(&limit.0), "write more than that, such as 500ms");
        }
        if is_nothing(limit.factor()) {
            add("latency.limit", no_more(&limit.0), "write more than 0%, such as 50%");
        }
        if let Some(target) = target
            && relative_to.is_none()
            && is_nothing(target.seconds())
        {
            add("latency.target", no_time(&target.0), "write more than that, such as 250ms");
        }
    }
    found
}

/// A target beyond its limit: what is needed to advance does not lie within what is undone.
pub fn target(Criterion { error_rate, latency, value, .. }: &Criterion) -> Option<Unsound> {
    let above = |field, target: &str, limit: &str| Unsound {
        field,
        problem: format!("target {target} is above limit {limit}"),
        fix: "a target is at most the limit: exchange them",
    };
    let of_errors = || {
        let ErrorRate { target, limit, relative_to: None, .. } = error_rate.as_ref()? else { return None };
        let target = target.as_ref()?;
        (target.share()? > limit.factor()?).then(|| above("errorRate.target", &target.0, &limit.0))
    };
    let of_latency = || {
        let LatencyBound { target, limit, .. } = latency.as_ref()?;
        let target = target.as_ref()?;
        (target.seconds()? > limit.seconds()?).then(|| above("latency.target", &target.0, &limit.0))
    };
    of_errors().or_else(of_latency).or_else(|| target_of_value(value.as_ref()?))
}

/// The same of any other number. A target that cannot be met beside its limit looks the same way, or lies beyond it.
pub fn target_of_value(ValueBound { target, limit, .. }: &ValueBound) -> Option<Unsound> {
    let target = target.as_ref()?;
    let ((towards, wanted), (against, most)) = (target.parse()?, limit.parse()?);
    let is_upward = against.starts_with('>');
    let is_beyond = if is_upward { wanted > most } else { wanted < most };
    let (problem, fix) = if towards.starts_with('>') == is_upward {
        (
            format!("target '{}' looks the same way as limit '{}'", target.0, limit.0),
            "with limit 'value > 10' write a target such as 'value < 8'",
        )
    } else if is_beyond {
        (
            format!("target '{}' is beyond limit '{}'", target.0, limit.0),
            "a target lies on the good side of the limit",
        )
    } else {
        return None;
    };
    Some(Unsound { field: "value.target", problem, fix })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decide::judge::{self, Reason};
    use crate::decide::plan;

    /// What is found, and whether the judge can do anything with it.
    fn looked_at(kind: Value) -> (Vec<&'static str>, bool) {
        let mut written = json!({"name": "odd"});
        written.as_object_mut().expect("an object").extend(kind.as_object().expect("a kind").clone());
        let criterion: Criterion = serde_json::from_value(written).expect("a criterion");
        let counted = plan::criterion((0, &criterion)).expect("understood").expect("it counts requests");
        let judged = judge::judge(&[counted], &judge::State::default(), &judge::Settings::default());
        let found = numbers(&criterion).into_iter().chain(target(&criterion));
        (found.map(|unsound| unsound.field).collect(), judged[0].reason != Reason::InvalidCriterion)
    }

    #[test]
    fn a_field_is_named_of_exactly_those_that_the_judge_can_do_nothing_with() {
        let mut all = Vec::new();
        for limit in ["0%", "5%", "100%"] {
            all.push(json!({"errorRate": {"limit": limit}}));
            for other in ["0%", "1%", "5%", "6%", "100%"] {
                all.push(json!({"errorRate": {"limit": limit, "target": other}}));
                all.push(
                    json!({"errorRate": {"limit": limit, "relativeTo": "stable", "ignoreBelow": other}}),
                );
            }
        }
        for quantile in [0.0, 0.99, 1.0, 99.0] {
            let of = |limit: &str, more: Value| {
                let mut latency = json!({"quantile": quantile, "limit": limit});
                latency.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
                json!({"latency": latency})
            };
            for limit in ["0ms", "500ms"] {
                all.push(of(limit, json!({})));
                all.extend(["0s", "499ms", "0.5s", "2s"].map(|target| of(limit, json!({"target": target}))));
            }
            for limit in ["0%", "50%", "150%"] {
                all.push(of(limit, json!({"relativeTo": "stable"})));
                let more = json!({"relativeTo": "stable", "ignoreBelow": "0ms", "target": "0s"});
                all.push(of(limit, more));
            }
        }
        let mut named = std::collections::BTreeSet::new();
        for kind in all {
            let (fields, can_be_judged) = looked_at(kind.clone());
            assert_eq!(fields.is_empty(), can_be_judged, "{kind}: {fields:?}");
            named.extend(fields);
        }
        let each = [
            "errorRate.ignoreBelow",
            "errorRate.limit",
            "errorRate.target",
            "latency.limit",
            "latency.quantile",
            "latency.target",
        ];
        assert_eq!(Vec::from_iter(named), each);
    }
}
