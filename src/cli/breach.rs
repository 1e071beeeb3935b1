//! What comes of a breached limit in the watch, in words. Pure, and by the rule that the operator goes by: this one only tells it.

use jiff::Timestamp;

use super::view::plain;
use crate::api::status::Run;
use crate::api::{OnLimit, Release};
use crate::decide::plan::{self, Measuring};

/// What comes of a breach, and of pods that fail, in the stage that the watch is in. Where the stage says nothing a breach is each criterion's own
/// affair, and pods that fail go back. What is only watched for its own sake (`shadow`) leads to nothing. Where it cannot be understood what to measure,
/// nothing is.
pub fn in_watch(release: &Release, run: &Run, now: Timestamp) -> String {
    match plan::measuring(&release.spec) {
        Ok(measuring) => format!("still measured: {}", does(&measuring, run, now)),
        Err(problem) => format!(
            "nothing is measured, for the spec is not valid ({}): {}",
            plain(&problem.to_string()),
            of_pods(OnLimit::Undo)
        ),
    }
}

fn does(measuring: &Measuring, run: &Run, now: Timestamp) -> String {
    let counted = measuring.criteria.iter().map(|it| (it.name.as_str(), it.on_limit, it.shadow));
    let values = measuring.values.iter().map(|it| (it.name.as_str(), it.on_limit, it.shadow));
    let enforced = counted.chain(values).filter(|(.., shadow)| !shadow);
    let breaches: Vec<(&str, OnLimit)> =
        enforced.map(|(name, usual, _)| (name, measuring.on_limit(run, now, usual))).collect();
    let pods = measuring.on_limit(run, now, OnLimit::Undo);
    let Some((_, first)) = breaches.first() else { return of_pods(pods).to_owned() };
    if breaches.iter().all(|(_, does)| does == first) {
        return of_all(*first, pods);
    }
    let mut parts = Vec::new();
    for does in [OnLimit::Undo, OnLimit::Hold, OnLimit::Notify] {
        let of = breaches.iter().filter(|(_, its)| *its == does).map(|(name, _)| *name);
        let names = of.collect::<Vec<_>>().join(" or ");
        if !names.is_empty() {
            let what = if parts.is_empty() { "a breach" } else { "one" };
            parts.push(format!("{what} of {names} {}", of_one(does)));
        }
    }
    format!("{}, and {}", parts.join(", "), of_pods(pods))
}

/// Where all criteria do the same.
fn of_all(breach: OnLimit, pods: OnLimit) -> String {
    if breach != pods {
        return format!("a breach {}, and {}", of_one(breach), of_pods(pods));
    }
    match breach {
        OnLimit::Undo => "a breach goes back".to_owned(),
        OnLimit::Hold => "a breach holds it, and pods that fail do".to_owned(),
        OnLimit::Notify => "a breach is only told, and so are pods that fail".to_owned(),
    }
}

fn of_one(breach: OnLimit) -> &'static str {
    match breach {
        OnLimit::Undo => "goes back",
        OnLimit::Hold => "holds it",
        OnLimit::Notify => "is only told",
    }
}

fn of_pods(pods: OnLimit) -> &'static str {
    match pods {
        OnLimit::Undo => "pods that fail go back",
        OnLimit::Hold => "pods that fail hold it",
        OnLimit::Notify => "pods that fail are only told",
    }
}
