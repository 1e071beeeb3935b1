//! Replicas that change in the middle of a move, and pods that the native controller starts or takes by itself meanwhile.

use super::{told, told_by};

#[test]
fn scaled_down_while_it_surges_there_are_no_more_pods_than_the_owners_percentage_allows() {
    for paused in ["", "\nat 4000 say Pause"] {
        told(&format!(
            "replicas 10\nstrategy {}\nrelease {}\nready-after 20000\nat 166 push v2 good\nat 7239 scale 8{paused}",
            r#"{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":0},"type":"RollingUpdate"}"#,
            r#"{"criteria":[],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"3s"}]}"#,
        ));
    }
}

#[test]
fn sets_that_were_heard_of_before_the_pods_that_are_there_allow_no_move() {
    for seed in 11140..11150 {
        told_by(
            seed,
            r#"strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":"1%"},"type":"RollingUpdate"}
min-ready 5
release {"criteria":[],"steps":[{"name":"some","replicas":3},{"name":"most","replicas":"80%","soak":"5s"},{"name":"all","replicas":"100%","soak":"3s"}],"watch":[{"every":"1s","for":"20s"}]}
at 2759 push v2 good
at 5357 scale 0
at 9541 cut-off 40"#,
        );
    }
}

#[test]
fn pods_of_an_older_version_that_a_scale_up_from_nothing_starts_are_not_taken_for_those_of_the_one_that_is_released()
 {
    // Which request it is whose answer is missing depends on what was written before.
    let strangers = (26..30).filter(|request| {
        let outcome = told_by(
            6357,
            &format!(
                r#"replicas 10
strategy {{"rollingUpdate":{{"maxSurge":0,"maxUnavailable":1}},"type":"RollingUpdate"}}
release {{"criteria":[],"steps":[{{"name":"pilot","replicas":1,"soak":"2s"}},{{"name":"half","replicas":"50%","soak":"5s"}}],"watch":[{{"every":"1s","for":"20s"}}]}}
ready-after 4000
at 5639 push v2 good
at 12069 push v3 stuck
at 17607 scale 0
at 24365 scale 1
request {request} swallowed"#
            ),
        );
        outcome.log.iter().any(|line| line.contains("1 pods are of a revision that is neither"))
    });
    assert_ne!(strangers.count(), 0, "such pods were never there");
}

#[test]
fn scaled_down_to_one_in_mid_move_the_native_controller_takes_the_pod_that_it_may() {
    told(
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":"25%","maxUnavailable":0},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"pilot","replicas":1,"soak":"2s"},{"name":"half","replicas":"50%","soak":"5s"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 4000
candidates 1
at 2226 push v2 good
at 7097 kill 2
at 14773 scale 1"#,
    );
}

/// Owners who allow no pod to be unavailable, and two more than there are to be.
const TWO_MORE: &str = r#"strategy {"rollingUpdate":{"maxSurge":2,"maxUnavailable":0},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"tenth","replicas":"10%","soak":"2s"},{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"3s"}]}
ready-after 1500
at 1472 push v2 good"#;

#[test]
fn pods_that_were_ready_before_a_scale_down_are_not_taken_for_those_that_are_there_after_it() {
    told_by(61026, &format!("replicas 226\n{TWO_MORE}\nat 6659 scale 51"));
}

#[test]
fn an_order_for_so_many_pods_as_are_no_percentage_takes_none_of_fewer_while_its_pods_start() {
    let mut scaled = false;
    for at in [9300, 10_100] {
        let outcome = told(&format!("replicas 226\n{TWO_MORE}\nat {at} scale 51"));
        let before = outcome.log.iter().take_while(|line| !line.contains("-- scale"));
        let last = before.filter(|line| line.contains("operator 0 wrote deployments/shop")).last();
        scaled |=
            last.is_some_and(|order| order.contains("paused true") && order.contains("\"maxUnavailable\":8"));
    }
    assert!(scaled, "it was never scaled under such an order");
}

#[test]
fn replicas_that_grow_after_they_were_few_in_an_undo_leave_the_pod_that_serves() {
    told_by(
        42630,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"50%"},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"pilot","replicas":1,"soak":"5s"},{"name":"half","replicas":"50%","soak":"10s"}],"watch":[{"every":"1s","for":"3s"}]}
ready-after 4000
at 1213 push v2 good
at 11894 scale 3
at 13122 scale 16
at 13589 scale 1
at 16332 scale 6"#,
    );
}

#[test]
fn pods_of_a_version_that_went_back_count_for_nothing_with_the_native_controller_when_it_starts_them_again() {
    told_by(
        42730,
        r#"replicas 2
strategy {"rollingUpdate":{"maxSurge":"1%","maxUnavailable":0},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"pilot","replicas":1,"soak":"30s"},{"name":"half","replicas":"50%","soak":"10s"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
at 1335 push v2 good
at 5927 scale 0
at 9715 delete-release
at 10039 pause true
at 12525 push v4 crash
at 14453 make-release"#,
    );
}

#[test]
fn an_autoscaler_that_follows_what_comes_scales_in_the_middle_of_a_run_and_the_version_goes_out() {
    let outcome = told(
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":"25%","maxUnavailable":0},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"one","replicas":1,"soak":"40s"},{"name":"half","replicas":"50%","soak":"40s"},{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"20s"}]}
traffic 160 400 80
autoscaler 2 12
at 1000 push v2 good
at 240000 pages honest"#,
    );
    let log = outcome.log.join("\n");
    let wrote = |replicas: &str| {
        let wrote =
            |line: &&String| line.contains(" autoscaler wrote deployments/shop") && line.ends_with(replicas);
        outcome.log.iter().filter(wrote).count()
    };
    assert_eq!((wrote(" replicas 8"), wrote(" replicas 10")), (1, 1), "{log}");
    assert_eq!((&outcome.end.version, &outcome.end.outcome), (&"v2".into(), &"Succeeded".into()), "{log}");
}
