//! Nothing is decided on what was there before our own last write, whatever came of the writes after it.

use super::{told, told_by};

#[test]
fn an_order_before_a_status_that_somebody_was_faster_with_is_waited_for() {
    // The Release was amended while its watch brought nothing: status is refused, look after look. Pods are heard of again before the
    // Deployment is, and a move is ordered.
    told_by(
        82751,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":2,"maxUnavailable":2},"type":"RollingUpdate"}
min-ready 5
release {"criteria":[{"errorRate":{"limit":"5%","target":"1%"},"name":"errors"}],"steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"every":"5s","for":"30s"}]}
ready-after 500
at 745 push v2 good
at 1889 hold-watches 7341
at 2980 amend {"watch":[{"every":"1s","for":"5s"}]}"#,
    );
}

#[test]
fn a_deployment_of_before_what_another_process_decided_on_is_waited_for() {
    // The standby has lost its watches, and has the Deployment of before the newer template, when it takes over a run that goes back for that. To it
    // somebody seemed to have put the version of the run back.
    let outcome = told_by(
        58_039,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":4},"type":"RollingUpdate"}
min-ready 1
deadline 600
release {"criteria":[],"steps":[{"name":"tenth","replicas":"10%","soak":"2s"},{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
policies false
candidates 2
at 1241 push v2 crash
at 1763 drop-watches
at 1763 compact
at 1955 push v3 good
at 2787 restart"#,
    );
    assert_eq!(outcome.end.version, "v3", "{}", outcome.log.join("\n"));
}

#[test]
fn a_status_before_an_order_that_failed_is_waited_for() {
    let release = r#"release {"criteria":[],"steps":[{"name":"one","replicas":1,"soak":"5s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"3s","every":"1s"}]}"#;
    // Which request it is that orders the way back depends on what was written before.
    for request in 8..20 {
        told(&format!(
            "{release}\nat 1000 push v2 stuck\nat 5000 say Abort\nat 5000 hold-watches 3000\nat 60000 pages honest\nrequest {request} failed"
        ));
    }
}

#[test]
fn what_is_cut_off_for_longer_than_anything_is_waited_for_waits_for_its_own_writes() {
    for candidates in [0, 1, 2] {
        told_by(
            113_847,
            &format!(
                r#"candidates {candidates}
strategy {{"rollingUpdate":{{"maxSurge":"100%","maxUnavailable":0}},"type":"RollingUpdate"}}
release {{"criteria":[],"steps":[{{"name":"pilot","replicas":1,"soak":"2s"}},{{"name":"half","replicas":"50%","soak":"30s"}}],"watch":[{{"every":"1s","for":"3s"}}]}}
ready-after 500
at 1177 push v2 errors
at 2411 push v2 good
at 3511 cut-off 38"#
            ),
        );
    }
}
