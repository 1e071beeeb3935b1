//! Runs that last for days.

use super::{Outcome, orders, told};

const HOUR: f64 = 3600.0;

/// The seconds at which status was written in this phase.
fn written(outcome: &Outcome, phase: &str) -> Vec<f64> {
    let what = format!(" operator 0 wrote releases/shop \"{phase}\"");
    let lines = outcome.log.iter().filter_map(|line| line.split_once(&what));
    lines.filter_map(|(second, _)| second.parse().ok()).collect()
}

#[test]
fn a_soak_of_two_days_and_a_watch_of_a_week_end_in_time_and_cost_little_while_they_last() {
    let outcome = told(
        r#"release {"criteria":[],"steps":[{"name":"one","replicas":1,"soak":"48h"},{"name":"all","replicas":"100%"}],"watch":[{"for":"168h","every":"1h"}]}
at 1000 push v2 good
at 790000000 pages honest"#,
    );
    assert_eq!(
        (&outcome.end.version, &outcome.end.outcome),
        (&"v2".into(), &"Succeeded".into()),
        "{}",
        outcome.described
    );
    let [soaking, watching, idle] = ["Soaking", "Watching", "Idle"].map(|phase| written(&outcome, phase));
    let since = |all: &[f64]| all.first().copied().expect("it was in each phase");
    let soaked = since(&watching) - since(&soaking);
    assert!((48.0 * HOUR..48.0 * HOUR + 60.0).contains(&soaked), "{soaked} s");
    let ended = idle.last().copied().expect("it came to its end");
    let watched = ended - since(&watching);
    assert!((168.0 * HOUR - 60.0..168.0 * HOUR + 60.0).contains(&watched), "{watched} s");
    // What of the soak is over is written down each minute; in the watch nothing is new.
    assert!(soaking.len() <= 48 * 60 + 10, "{} times in the soak", soaking.len());
    assert!(watching.len() <= 10, "{} times in the watch", watching.len());
    let (orders, _) = orders(&outcome);
    assert!(orders.len() <= 10, "{orders:#?}");
}
