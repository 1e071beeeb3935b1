//! Pods that are to be Ready: as many as the owner's limits promise, as far as it is up to us.

use super::{told, told_by};

#[test]
fn a_scale_up_in_the_moment_of_the_last_order_takes_no_new_pod_that_serves() {
    told(
        r#"replicas 16
strategy {"rollingUpdate":{"maxSurge":"100%","maxUnavailable":"1%"},"type":"RollingUpdate"}
release {"criteria":[],"preflight":[{"job":{"template":{"spec":{"backoffLimit":0,"template":{"metadata":{"annotations":{}},"spec":{"containers":[{"image":"c","name":"c"}],"restartPolicy":"Never"}}}}},"name":"backup"}],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"3s"}]}
ready-after 1500
at 3171 push v2 good
at 7884 scale 23"#,
    );
}

#[test]
fn without_a_run_pods_are_promised_that_have_been_ready_for_as_long_as_their_owner_says() {
    told(
        r#"replicas 1
strategy {"rollingUpdate":{"maxSurge":3,"maxUnavailable":0},"type":"RollingUpdate"}
min-ready 1
release {"criteria":[],"steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"every":"5s","for":"30s"}]}
at 3935 delete-deployment
at 7519 make-deployment
at 8995 push v3 stuck
at 9179 push v4 crash"#,
    );
}

#[test]
fn pods_of_a_canary_that_was_left_under_a_newer_template_count_for_nothing() {
    // Its Release is deleted, and what stands there finished: the canary's ReplicaSet stays parked beneath it.
    told(
        r#"replicas 1
strategy {"rollingUpdate":{"maxSurge":4,"maxUnavailable":"50%"},"type":"RollingUpdate"}
release {"criteria":[],"onDelete":"Finish","steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"every":"5s","for":"30s"}]}
at 5793 push v2 errors
at 10480 cut-off 18
at 20687 push v3 stuck
at 28242 delete-release"#,
    );
}

#[test]
fn what_has_begun_before_it_is_held_costs_no_stable_pod() {
    told_by(
        742_073,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":3,"maxUnavailable":0},"type":"RollingUpdate"}
deadline 600
release {"capture":"React","criteria":[],"steps":[{"name":"some","replicas":3},{"name":"most","replicas":"80%","soak":"5s"},{"name":"all","replicas":"100%","soak":"3s"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
policies false
beside 2
at 3545 beside depot push v2 crash
at 6224 compact
at 7705 cut-off 19
at 11771 push v3 stuck
at 16661 kill 1"#,
    );
}

#[test]
fn what_has_begun_before_it_is_held_gets_no_pod_more_than_its_owner_allows() {
    told_by(
        721_857,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":"50%"},"type":"RollingUpdate"}
deadline 600
release {"capture":"React","criteria":[],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"3s"}]}
ready-after 1000
policies false
at 1411 drop-watches
at 2569 push v2 good
request 4 throttled"#,
    );
}

#[test]
fn who_waits_for_what_came_of_a_write_cannot_pause_what_is_scaled_meanwhile() {
    told_by(
        762_825,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"10%"},"type":"RollingUpdate"}
deadline 600
release {"criteria":[],"steps":[{"name":"pilot","replicas":1,"soak":"10s"},{"name":"half","replicas":"50%","soak":"5s"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 100
at 374 push v2 good
at 4316 scale 1
request 6 answerless
request 9 swallowed"#,
    );
}

#[test]
fn what_an_undo_has_surged_goes_at_the_owners_pace_when_it_is_handed_back() {
    // It had been scaled down and up again.
    told_by(
        37852,
        r#"replicas 16
strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":"34%"},"type":"RollingUpdate"}
min-ready 0
deadline 600
release {"criteria":[{"errorRate":{"limit":"5%","target":"1%"},"name":"errors"}],"steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"every":"5s","for":"30s"}]}
ready-after 20000
policies true
candidates 0
beside 0
at 2296 push v2 crash
at 8519 scale 8
at 9484 scale 13
at 12085 say HandBack"#,
    );
}
