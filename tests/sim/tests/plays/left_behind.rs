//! A Release that is gone in mid-run, and what its owner writes then.

use super::{told, told_by};

#[test]
fn a_newer_template_is_what_serves_in_the_end_just_before_its_release_goes_or_after() {
    let story = |policies: bool, pushed: u64| {
        let (push, delete) = (format!("at {pushed} push v3 good"), "at 30000 delete-release".to_owned());
        let then = if pushed < 30_000 { [push, delete] } else { [delete, push] }.join("\n");
        format!("replicas 10\nready-after 4000\npolicies {policies}\nat 1000 push v2 good\n{then}")
    };
    for policies in [true, false] {
        for pushed in [29_900, 29_999, 30_001, 30_050, 30_500, 32_000, 60_000] {
            let outcome = told(&story(policies, pushed));
            let log = outcome.log.join("\n");
            assert_eq!(outcome.end.version, "v3", "{policies} {pushed}\n{log}");
            assert_eq!(outcome.end.pods, 10, "{policies} {pushed}\n{log}");
        }
    }
}

const FINISH: &str = r#"release {"criteria":[],"onDelete":"Finish","steps":[{"name":"one","replicas":1},{"name":"half","replicas":"50%","soak":"1m"},{"name":"all","replicas":"100%"}],"watch":[{"every":"30s","for":"2m"}]}"#;

#[test]
fn a_newer_template_for_which_a_run_goes_back_is_what_serves_in_the_end_where_its_release_goes_then() {
    for deleted in [30_500, 32_000, 33_500] {
        let outcome = told(&format!(
            "replicas 10\n{FINISH}\nready-after 4000\nat 1000 push v2 good\nat 30000 push v3 good\nat {deleted} delete-release"
        ));
        let log = outcome.log.join("\n");
        assert_eq!((outcome.end.version, outcome.end.pods), ("v3".into(), 10), "{deleted}\n{log}");
    }
}

#[test]
fn the_version_of_a_run_that_waits_for_replicas_is_finished_where_its_release_goes_then() {
    // Before it is scaled up again, and while stable pods start.
    for then in ["at 40000 delete-release\nat 50000 scale 10", "at 40000 scale 10\nat 41000 delete-release"] {
        let outcome = told(&format!(
            "replicas 10\n{FINISH}\nready-after 4000\nat 1000 push v2 good\nat 30000 scale 0\n{then}"
        ));
        let log = outcome.log.join("\n");
        assert_eq!((outcome.end.version, outcome.end.pods), ("v2".into(), 10), "{then}\n{log}");
    }
}

#[test]
fn what_was_ordered_for_a_release_that_is_gone_may_come_after_another_one_was_made() {
    // The API server takes fourteen seconds for it, and nothing has been written to the Deployment since.
    told_by(
        8_004_169,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":"50%","maxUnavailable":"50%"},"type":"RollingUpdate"}
min-ready 0
deadline 600
release {"criteria":[],"onDelete":"Finish","preflight":[{"approval":{"roles":["qa"]},"name":"sign-off"}],"steps":[{"name":"some","replicas":3},{"name":"most","replicas":"80%","soak":"2s"},{"name":"all","replicas":"100%","soak":"3s"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
policies false
candidates 0
beside 0
at 3244 push v2 good
at 7196 delete-release
at 12503 kill 1
at 14373 make-release
request 6 conflict
request 10 late 13615"#,
    );
}
