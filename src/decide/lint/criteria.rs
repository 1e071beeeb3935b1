//! Rules about criteria: targets, limits, and whether any limit is enforced at all.

use super::{Found, Subject};
use crate::api::OnLimit;
use crate::api::criterion::Criterion;
use crate::decide::unsound::{self, Unsound};

fn criteria<'s>(subject: &Subject<'s>) -> impl Iterator<Item = (usize, &'s Criterion)> {
    subject.spec.criteria.as_deref().unwrap_or_default().iter().enumerate()
}

fn add(found: &mut Found, index: usize, Unsound { field, problem, fix }: Unsound) {
    found.add(format!("spec.criteria[{index}].{field}"), problem, fix);
}

/// What is needed to advance lies within what is undone.
pub fn target(subject: &Subject<'_>, found: &mut Found) {
    for (index, criterion) in criteria(subject) {
        if let Some(unsound) = unsound::target(criterion) {
            add(found, index, unsound);
        }
    }
}

/// Whether some criterion that stands in the way measures what pods do.
pub fn could_pass(subject: &Subject<'_>) -> bool {
    subject.spec.criteria.is_none()
        || criteria(subject).any(|(_, Criterion { error_rate, latency, value, .. })| {
            error_rate.as_ref().is_some_and(|it| stops(it.on_limit, it.shadow))
                || latency.as_ref().is_some_and(|it| stops(it.on_limit, it.shadow))
                || value.as_ref().is_some_and(|it| stops(it.on_limit, it.shadow))
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
            let limit = rate.limit.factor().filter(|_| rate.relative_to.is_none());
            if limit.is_some_and(|limit| limit <= 0.0 || limit >= 1.0) {
                let problem = format!("no share of requests can be held against {}", rate.limit.0);
                found.add(field("errorRate.limit"), problem, "write more than 0% and less than 100%");
            }
        }
        if let Some(latency) = &criterion.latency
            && latency.limit.0.ends_with('%') != latency.relative_to.is_some()
        {
            let problem = format!("{} does not go with relativeTo as it is", latency.limit.0);
            let fix = "write a latency such as 500ms, or with relativeTo: stable a percentage such as 50%";
            found.add(field("latency.limit"), problem, fix);
        }
        let of_errors = criterion
            .error_rate
            .as_ref()
            .map(|rate| ("errorRate", rate.relative_to, rate.target.is_some(), rate.ignore_below.is_some()));
        let of_latency = criterion.latency.as_ref().map(|latency| {
            ("latency", latency.relative_to, latency.target.is_some(), latency.ignore_below.is_some())
        });
        for (kind, relative_to, has_target, ignores) in of_errors.into_iter().chain(of_latency) {
            if has_target && relative_to.is_some() {
                let problem = "with relativeTo: stable there is only a limit";
                found.add(field(&format!("{kind}.target")), problem, "leave it out");
            }
            if ignores && relative_to.is_none() {
                let problem = "it goes with relativeTo: stable";
                found.add(field(&format!("{kind}.ignoreBelow")), problem, "leave it out");
            }
        }
        for unsound in unsound::numbers(criterion) {
            add(found, index, unsound);
        }
        if let Some(availability) = &criterion.availability
            && availability.limit.share() == Some(0.0)
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
        error_rate.as_ref().map(|it| stops(it.on_limit, it.shadow)),
        latency.as_ref().map(|it| stops(it.on_limit, it.shadow)),
        value.as_ref().map(|it| stops(it.on_limit, it.shadow)),
        availability.as_ref().map(|it| stops(it.on_limit, it.shadow)),
        restarts.as_ref().map(|it| stops(it.on_limit, it.shadow)),
    ];
    kinds.contains(&Some(true)) || kinds.iter().all(Option::is_none)
}

/// Whether a breach sends a run back, or keeps it from going on.
fn stops(on_limit: Option<OnLimit>, shadow: bool) -> bool {
    match on_limit.unwrap_or_default() {
        OnLimit::Undo | OnLimit::Hold => !shadow,
        OnLimit::Notify => false,
    }
}
