//! What the owner writes into the fields that a run borrows, and when.

use super::{told, told_by};

#[test]
fn what_the_owner_changes_before_the_way_back_is_ordered_is_given_back() {
    // All pods are out and the fields are given back, and status cannot be written: by it the run is still in its last step. The owner writes a newer
    // template, and then their strategy anew, before the way back begins.
    told_by(
        158_310,
        r#"replicas 5
strategy {"rollingUpdate":{"maxSurge":3,"maxUnavailable":2},"type":"RollingUpdate"}
min-ready 0
release {"criteria":[],"steps":[{"name":"tenth","replicas":"10%","soak":"2s"},{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"3s"}]}
at 5925 push v2 errors
at 13904 push v3 crash
at 23637 hold-watches 4753
at 28842 edit {"rollingUpdate":{"maxSurge":3,"maxUnavailable":0},"type":"RollingUpdate"}
request 5 conflict
request 14 failed
request 18 answerless
request 19 late 7581
request 24 answerless
request 32 throttled
request 36 swallowed"#,
    );
}

#[test]
fn a_strategy_that_ends_a_recreate_before_its_run_is_the_owners() {
    // The first of the two is taken for theirs: nothing had been taken yet. The second is taken back, in mid-run.
    let rolling = |surge: &str| {
        format!(
            r#"set {{"minReadySeconds":2,"progressDeadlineSeconds":45,"strategy":{{"rollingUpdate":{{"maxSurge":{surge},"maxUnavailable":0}},"type":"RollingUpdate"}}}}"#
        )
    };
    let outcome = told(&format!(
        r#"replicas 1
strategy {{"type":"Recreate"}}
release {{"criteria":[],"steps":[{{"name":"some","replicas":3}},{{"name":"most","replicas":"80%","soak":"2s"}},{{"name":"all","replicas":"100%","soak":"3s"}}],"watch":[{{"every":"1s","for":"20s"}}]}}
policies false
at 2008 push v2 good
at 2952 {}
at 4154 {}"#,
        rolling("3"),
        rolling(r#""10%""#)
    ));
    assert_eq!(outcome.end.outcome, "Succeeded", "{}", outcome.log.join("\n"));
}
