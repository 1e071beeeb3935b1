//! What the owner writes into the fields that a run borrows, and when.

use super::told;

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
