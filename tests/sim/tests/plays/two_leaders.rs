//! Two processes that both write all the time, as where two believe that they lead: nothing but the tests of generation and resourceVersion, and names that are
//! taken once, stands between them (docs/faults.md). Who may write is asked of neither; all other rules hold, told once and called once by each of them.

use tidegate_sim::play::Outcome;

use super::{told, told_by};

const RELEASE: &str = r#"leaders 2
release {"criteria":[],"preflight":[{"name":"backup","job":{"template":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"c"}]}}}}}}],"steps":[{"name":"one","replicas":1,"soak":"5s"},{"name":"half","replicas":"50%","soak":"5s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"5s","every":"1s"}]}"#;

/// At the same time; and with the first one cut off after so much, whose writes of then arrive when the other has gone on.
fn both(before: &str, after: &str) -> [Outcome; 2] {
    let played = |between: &str| told(&[RELEASE, before, between, after, "at 60000 pages honest"].join("\n"));
    let (alike, late) = (played(""), played("at 6000 cut-off 6"));
    for process in 0..2 {
        let wrote = format!("operator {process} wrote ");
        assert!(late.log.iter().any(|line| line.contains(&wrote)), "{wrote}\n{}", late.log.join("\n"));
    }
    [alike, late]
}

#[test]
fn a_good_version_goes_out_once_and_its_job_runs_once_though_two_lead() {
    for outcome in both("at 1000 push v2 good", "") {
        let end = &outcome.end;
        assert_eq!(end.outcome, "Succeeded", "{}", outcome.log.join("\n"));
        assert_eq!((end.version.as_str(), end.jobs), (Some("v2"), 1), "{}", outcome.log.join("\n"));
    }
}

#[test]
fn a_version_that_somebody_aborts_comes_back_though_two_lead() {
    for outcome in both("at 1000 push v2 stuck", "at 9000 say Abort") {
        assert_eq!(outcome.end.version, "v1", "{}", outcome.log.join("\n"));
        assert_eq!(outcome.end.outcome, "Aborted", "{}", outcome.log.join("\n"));
    }
}

#[test]
fn a_version_that_is_superseded_makes_way_though_two_lead() {
    for outcome in both("at 1000 push v2 stuck\nat 5000 push v3 good", "") {
        assert_eq!(outcome.end.version, "v3", "{}", outcome.log.join("\n"));
        assert_eq!(outcome.end.outcome, "Succeeded", "{}", outcome.log.join("\n"));
    }
}

#[test]
fn a_release_that_is_deleted_takes_no_stable_template_along_that_a_run_of_the_other_one_needs() {
    // Of the Deployment the second one has heard nothing since the run began, and the first one's next look is not answered.
    let outcome = told_by(
        4_004_433,
        r#"replicas 3
strategy {"rollingUpdate":{"maxSurge":"25%","maxUnavailable":0},"type":"RollingUpdate"}
min-ready 0
release {"criteria":[],"preflight":[{"job":{"template":{"spec":{"backoffLimit":0,"template":{"metadata":{"annotations":{}},"spec":{"containers":[{"image":"c","name":"c"}],"restartPolicy":"Never"}}}}},"name":"backup"},{"http":{"podPath":"/version","podPort":8080},"name":"starts"}],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"3s"}]}
leaders 2
early true
at 1972 push v2 good
at 3319 freeze true
at 4255 delete-release
at 5160 receivers answerless
request 38 answerless
request 41 swallowed
request 77 answerless"#,
    );
    assert_eq!(outcome.end.version, "v1", "{}", outcome.log.join("\n"));
}
