//! On the way back: that the rules about it are looked at where nothing else happens.

use serde_json::json;
use tidegate_sim::play::Outcome;

use super::{told, told_by};

/// Version 2 is held, and not parked.
const COUNTED: &str = r#"version "v2" paused true minReadySeconds null"#;

#[test]
fn on_an_undisturbed_way_back_every_rule_about_it_is_looked_at_and_holds() {
    let outcome = told("at 1000 push v2 good\nat 30000 say Abort");
    assert_eq!(outcome.end.outcome, "Aborted", "{}", outcome.log.join("\n"));
    for rule in [
        "6 (the way back is open)",
        "8 (enough pods Ready on the way back)",
        "8 (not too many pods on the way back)",
        "8 (stable pods stay on the way back)",
    ] {
        assert!(outcome.looked.contains_key(rule), "{rule}: {:?}", outcome.looked);
    }
}

#[test]
fn a_newer_template_over_which_a_tool_writes_the_version_of_the_run_is_named() {
    let outcome = told(
        "ready-after 20000\nat 1000 push v2 good\nat 70000 say Abort\nat 75000 push v3 good\nat 80000 push-by gitops v2 good",
    );
    let log = outcome.log.join("\n");
    assert_eq!((outcome.end.version, outcome.end.outcome), ("v1".into(), "Aborted".into()), "{log}");
    assert!(log.contains("does not come any more: the version of the run was written after it"), "{log}");
}

/// Where nothing held them, version 2 took the place of stable and version 3 followed, whose pods never start; its owner has gone back to version 2, which
/// serves, and was parked since.
fn goes_back_from_what_nobody_held(then: &str) -> Outcome {
    let story = r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":"100%","maxUnavailable":0},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"20s"}]}
policies false
candidates 0
beside 0
early true
at 3512 push v2 good
at 5473 push v3 stuck
at 11500 scale 5
at 12112 push v2 good
at 22027 apply
request 26 swallowed
request 27 swallowed
"#;
    told_by(5_039_841, &format!("{story}{then}"))
}

#[test]
fn pods_that_serve_are_counted_before_those_that_are_more_than_wanted_go() {
    let outcome = goes_back_from_what_nobody_held("");
    let log = outcome.log.join("\n");
    let ordered = outcome.log.iter().filter(|line| line.contains("operator 0 wrote deployments/shop"));
    let mut back = ordered.skip_while(|line| !line.contains(COUNTED)).skip(1);
    assert!(back.next().is_some_and(|line| line.contains(r#"version "v1" paused null"#)), "{log}");
    assert_eq!((outcome.end.version, outcome.end.outcome), ("v2".into(), "Succeeded".into()), "{log}");
}

#[test]
fn killed_scaled_or_told_otherwise_while_they_are_counted_somebody_serves_all_the_same() {
    for (then, version, outcome) in [
        ("delete-release", "v1", json!(null)),
        ("kill 0", "v2", json!("Succeeded")),
        ("say Abort", "v1", json!("Aborted")),
        ("say HandBack", "v2", json!("HandedBack")),
        ("scale 9", "v2", json!("Succeeded")),
    ] {
        let told = goes_back_from_what_nobody_held(&format!("at 23140 {then}"));
        let log = told.log.join("\n");
        let at = |what: &str| told.log.iter().position(|line| line.contains(what));
        assert!(at(COUNTED) < at(then) && at(COUNTED).is_some(), "{then}\n{log}");
        assert_eq!((&told.end.version, &told.end.outcome), (&json!(version), &outcome), "{then}\n{log}");
    }
}
