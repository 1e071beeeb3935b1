//! Rules about criteria: targets, limits, and whether any limit is enforced at all.

use super::{Found, Subject};
use crate::api::OnLimit;
use crate::api::criterion::Criterion;
use crate::api::text::Percent;

fn criteria<'s>(subject: &Subject<'s>) -> impl Iterator<Item = (usize, &'s Criterion)> {
    subject.spec.criteria.as_deref().unwrap_or_default().iter().enumerate()
}

/// What is needed to advance lies within what is undone.
pub fn target(subject: &Subject<'_>, found: &mut Found) {
    for (index, criterion) in criteria(subject) {
        let field = |kind: &str| format!("spec.criteria[{index}].{kind}.target");
        let above = |target: &str, limit: &str| {
            (
                format!("target {target} is above limit {limit}"),
                "a target is at most the limit: exchange them",
            )
        };
        if let Some(rate) = &criterion.error_rate
            && let Some(target) = &rate.target
            && rate.relative_to.is_none()
            && target.share() > rate.limit.factor()
        {
            let (problem, fix) = above(&target.0, &rate.limit.0);
            found.add(field("errorRate"), problem, fix);
        }
        if let Some(latency) = &criterion.latency
            && let Some(target) = &latency.target
            && let (Some(wanted), Some(limit)) = (target.seconds(), latency.limit.seconds())
            && wanted > limit
        {
            let (problem, fix) = above(&target.0, &latency.limit.0);
            found.add(field("latency"), problem, fix);
        }
        if let Some(value) = &criterion.value
            && let Some(target) = &value.target
            && let (Some((towards, wanted)), Some((against, limit))) = (target.parse(), value.limit.parse())
        {
            let (up, same) = (against.starts_with('>'), towards.starts_with('>') == against.starts_with('>'));
            let beyond = if up { wanted > limit } else { wanted < limit };
            if same {
                let problem =
                    format!("target '{}' looks the same way as limit '{}'", target.0, value.limit.0);
                found.add(
                    field("value"),
                    problem,
                    "with limit 'value > 10' write a target such as 'value < 8'",
                );
            } else if beyond {
                let problem = format!("target '{}' is beyond limit '{}'", target.0, value.limit.0);
                found.add(field("value"), problem, "a target lies on the good side of the limit");
            }
        }
    }
}

/// Whether some criterion that stands in the way measures what pods do.
pub fn could_pass(subject: &Subject<'_>) -> bool {
    subject.spec.criteria.is_none()
        || criteria(subject).any(|(_, Criterion { error_rate, latency, value, .. })| {
            let enforced =
                |shadow: bool, on_limit: Option<OnLimit>| !shadow && on_limit != Some(OnLimit::Notify);
            error_rate.as_ref().is_some_and(|rate| enforced(rate.shadow, rate.on_limit))
                || latency.as_ref().is_some_and(|bound| enforced(bound.shadow, bound.on_limit))
                || value.as_ref().is_some_and(|bound| enforced(bound.shadow, bound.on_limit))
        })
}

/// A limit can be breached, and can be kept; a name is a criterion's own.
pub fn limit(subject: &Subject<'_>, found: &mut Found) {
    for (index, criterion) in criteria(subject) {
        if criteria(subject).take(index).any(|(_, before)| before.name == criterion.name) {
            let problem = format!("another criterion is called {} too", criterion.name);
            found.add(format!("spec.criteria[{index}].name"), problem, "give each a name of its own");
        }
        let field = |kind: &str| format!("spec.criteria[{index}].{kind}");
        if let Some(rate) = &criterion.error_rate {
            let limit = rate.limit.factor();
            if limit.is_some_and(|limit| limit <= 0.0 || rate.relative_to.is_none() && limit >= 1.0) {
                let problem = format!("no share of requests can be held against {}", rate.limit.0);
                found.add(field("errorRate.limit"), problem, "write more than 0% and less than 100%");
            }
            if rate.target.is_some() && rate.relative_to.is_some() {
                found.add(
                    field("errorRate.target"),
                    "with relativeTo: stable there is only a limit",
                    "leave it out",
                );
            }
            if rate.ignore_below.is_some() && rate.relative_to.is_none() {
                found.add(field("errorRate.ignoreBelow"), "it goes with relativeTo: stable", "leave it out");
            }
            if rate.ignore_below.as_ref().and_then(Percent::share).is_some_and(|share| share >= 1.0) {
                let problem = "every error rate is at or below 100%: no canary would be too bad";
                found.add(field("errorRate.ignoreBelow"), problem, "write less than 100%, such as 0.1%");
            }
        }
        if let Some(latency) = &criterion.latency {
            if !(latency.quantile > 0.0 && latency.quantile < 1.0) {
                let problem = format!("{} is no quantile", latency.quantile);
                found.add(field("latency.quantile"), problem, "it is between 0 and 1: write 0.99");
            }
            if latency.limit.0.ends_with('%') != latency.relative_to.is_some() {
                let problem = format!("{} does not go with relativeTo as it is", latency.limit.0);
                let fix =
                    "write a latency such as 500ms, or with relativeTo: stable a percentage such as 50%";
                found.add(field("latency.limit"), problem, fix);
            }
            let nothing = |number: Option<f64>| number.is_some_and(|number| number <= 0.0);
            if nothing(latency.limit.seconds()) {
                let problem = format!("no request takes less than {}", latency.limit.0);
                found.add(field("latency.limit"), problem, "write more than that, such as 500ms");
            }
            if nothing(latency.limit.factor()) {
                let problem = format!("nothing can be held against {} more than stable's", latency.limit.0);
                found.add(field("latency.limit"), problem, "write more than 0%, such as 50%");
            }
            if let Some(target) = &latency.target
                && nothing(target.seconds())
            {
                let problem = format!("no request takes less than {}", target.0);
                found.add(field("latency.target"), problem, "write more than that, such as 250ms");
            }
            if latency.target.is_some() && latency.relative_to.is_some() {
                found.add(
                    field("latency.target"),
                    "with relativeTo: stable there is only a limit",
                    "leave it out",
                );
            }
            if latency.ignore_below.is_some() && latency.relative_to.is_none() {
                found.add(field("latency.ignoreBelow"), "it goes with relativeTo: stable", "leave it out");
            }
        }
        if let Some(availability) = &criterion.availability
            && Percent(availability.limit.0.clone()).share() == Some(0.0)
        {
            found.add(
                field("availability.limit"),
                "fewer than none are never Ready",
                "write more than 0%, such as 90%",
            );
        }
    }
}

/// Some limit is enforced.
pub fn enforced(subject: &Subject<'_>, found: &mut Found) {
    let Some(criteria) = &subject.spec.criteria else { return };
    if criteria.is_empty() {
        let fix = "write one, or leave criteria out: errors and latency are judged then";
        return found.add(
            "spec.criteria",
            "there is no limit: nothing that is measured sends a bad release back",
            fix,
        );
    }
    if criteria.iter().all(|criterion| !is_enforced(criterion)) {
        let problem = "no limit is enforced: each criterion is a shadow or only notifies";
        found.add("spec.criteria", problem, "let one of them undo or hold");
    }
}

/// A criterion without a kind is the plan's to tell.
fn is_enforced(criterion: &Criterion) -> bool {
    let Criterion { name: _, error_rate, latency, value, availability, restarts } = criterion;
    let kinds = [
        error_rate.as_ref().map(|it| (it.on_limit, it.shadow)),
        latency.as_ref().map(|it| (it.on_limit, it.shadow)),
        value.as_ref().map(|it| (it.on_limit, it.shadow)),
        availability.as_ref().map(|it| (it.on_limit, it.shadow)),
        restarts.as_ref().map(|it| (it.on_limit, it.shadow)),
    ];
    let does = |(on_limit, shadow): (Option<OnLimit>, bool)| match on_limit.unwrap_or_default() {
        OnLimit::Undo | OnLimit::Hold => !shadow,
        OnLimit::Notify => false,
    };
    kinds.into_iter().flatten().any(does) || kinds.iter().all(Option::is_none)
}
