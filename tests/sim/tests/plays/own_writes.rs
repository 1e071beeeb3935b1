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

#[test]
fn a_template_that_was_let_go_and_is_shown_all_the_same_is_kept_anew() {
    // The Release is made anew while the watch of kept templates brings nothing: what the former one had let go is stable for the new one.
    told_by(
        4265,
        r#"replicas 2
strategy {"rollingUpdate":{"maxSurge":3,"maxUnavailable":"25%"},"type":"RollingUpdate"}
min-ready 5
deadline 600
release {"criteria":[],"onDelete":"Finish","steps":[{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"3s"}]}
ready-after 1000
policies true
candidates 0
beside 0
at 4155 push v2 good
at 6723 drop-watches
at 6723 compact
at 7522 delete-release
at 9207 make-release
at 12449 push v3 good
request 14 answerless
request 16 answerless
request 33 throttled 1
request 34 late 8734
request 42 throttled
request 54 throttled 1
request 58 failed
request 61 swallowed"#,
    );
}

#[test]
fn a_hooks_job_that_was_seen_is_not_made_again_after_its_release_has_gone() {
    // Nobody has answered that it was made, and nobody has heard yet that the Release has gone, and its Job with it.
    told_by(
        96255,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":1,"maxUnavailable":1},"type":"RollingUpdate"}
min-ready 0
deadline 600
release {"criteria":[],"notify":[{"events":["Undone","Succeeded","Aborted","Superseded","Started","AwaitingApproval","Held","MissingRight","StepPassed","Undoing","HandedBack","Rejected"],"name":"team","webhook":{"url":"https://team.example/hook"}},{"events":["AwaitingApproval","Held","Undoing","Undone","Aborted","Rejected"],"name":"duty","pagerDuty":{"secret":"duty"}}],"steps":[{"name":"all","replicas":"100%"}],"undo":{"budget":"10m","capacity":"MitigateFirst","evidence":{"logLines":20,"pods":1},"hooks":[{"job":{"template":{"spec":{"backoffLimit":0,"template":{"spec":{"containers":[{"image":"c","name":"c"}],"restartPolicy":"Never"}}}}},"name":"dump"}],"phases":{"execution":"30s","validation":"1m"},"quarantine":{"for":"1m","pods":3}},"watch":[{"every":"1s","for":"3s"}]}
ready-after 4000
policies true
candidates 0
beside 0
at 51 push v2 crash
at 3707 receivers refusing
at 5255 drop-watches
at 7155 delete-release
request 14 swallowed
request 23 late 5033
request 25 swallowed"#,
    );
}
