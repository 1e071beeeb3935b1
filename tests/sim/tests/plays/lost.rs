//! What was written or answered, and lost or late on its way.

use super::told_by;

#[test]
fn the_job_of_a_hook_is_not_made_a_second_time_for_a_release_that_is_gone() {
    told_by(
        96_255,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":1,"maxUnavailable":1},"type":"RollingUpdate"}
deadline 600
release {"criteria":[],"notify":[{"events":["Undone","Succeeded","Aborted","Superseded","Started","AwaitingApproval","Held","MissingRight","StepPassed","Undoing","HandedBack","Rejected"],"name":"team","webhook":{"url":"https://team.example/hook"}},{"events":["AwaitingApproval","Held","Undoing","Undone","Aborted","Rejected"],"name":"duty","pagerDuty":{"secret":"duty"}}],"steps":[{"name":"all","replicas":"100%"}],"undo":{"budget":"10m","capacity":"MitigateFirst","evidence":{"logLines":20,"pods":1},"hooks":[{"job":{"template":{"spec":{"backoffLimit":0,"template":{"spec":{"containers":[{"image":"c","name":"c"}],"restartPolicy":"Never"}}}}},"name":"dump"}],"phases":{"execution":"30s","validation":"1m"},"quarantine":{"for":"1m","pods":3}},"watch":[{"every":"1s","for":"3s"}]}
ready-after 4000
at 51 push v2 crash
at 7155 delete-release
request 14 swallowed"#,
    );
}

#[test]
fn why_it_goes_back_is_known_to_who_ordered_it_and_could_not_note_it() {
    let outcome = told_by(
        37_552,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":"1%"},"type":"RollingUpdate"}
min-ready 0
deadline 30
release {"criteria":[],"steps":[{"name":"all","replicas":"100%"}],"undo":{"evidence":{"logLines":20,"pods":3},"quarantine":{"for":"5s","pods":3}},"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
policies true
at 5704 push v2 good
at 7728 cut-off 19
at 13739 cut-off 35"#,
    );
    let log = outcome.log.join("\n");
    assert!(log.contains("after 30 s without progress"), "{log}");
    assert!(!log.contains("put the stable template back"), "{log}");
    assert_eq!(outcome.end.phase, "Rejected", "{log}");
    assert_eq!(outcome.end.outcome, "Undone", "{log}");
}

#[test]
fn a_status_that_arrives_after_the_next_order_says_what_was_so_before() {
    told_by(
        19_730,
        r#"replicas 5
strategy {"rollingUpdate":{"maxSurge":1,"maxUnavailable":0},"type":"RollingUpdate"}
min-ready 0
deadline 600
release {"criteria":[],"steps":[{"name":"some","replicas":3},{"name":"most","replicas":"80%","soak":"10s"},{"name":"all","replicas":"100%","soak":"3s"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 100
policies true
at 12119 push v2 good
at 30575 scale 9
at 31650 scale 7
at 35128 scale 10
at 50063 apply-server-side true
request 13 swallowed
request 22 answerless
request 27 late 12172
request 28 conflict
request 29 answerless"#,
    );
}

#[test]
fn the_job_of_a_check_that_status_knows_nothing_of_is_not_made_again_for_a_release_that_is_gone() {
    told_by(
        226_303,
        r#"replicas 3
strategy {"rollingUpdate":{"maxSurge":2,"maxUnavailable":0},"type":"RollingUpdate"}
min-ready 0
deadline 30
release {"criteria":[],"preflight":[{"job":{"template":{"spec":{"backoffLimit":0,"template":{"metadata":{"annotations":{}},"spec":{"containers":[{"image":"c","name":"c"}],"restartPolicy":"Never"}}}}},"name":"backup"}],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 4000
policies true
at 3419 freeze true
at 5846 push v2 good
at 10413 cut-off 38
at 16318 delete-release
at 17832 make-release"#,
    );
}

#[test]
fn a_rollout_that_is_caught_late_keeps_its_owners_surge() {
    told_by(
        227_850,
        r#"replicas 10
strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":2},"type":"RollingUpdate"}
min-ready 0
deadline 600
release {"criteria":[],"locks":["db"],"preflight":[{"approval":{"roles":["qa"]},"name":"sign-off"}],"steps":[{"name":"pilot","replicas":1,"soak":"5s"},{"name":"half","replicas":"50%","soak":"2s"}],"watch":[{"every":"1s","for":"3s"}]}
ready-after 1000
policies false
beside 1
at 1353 push v2 crash
at 2659 compact
at 2965 beside till delete-release
at 6513 beside till make-release
at 6926 say Reject
at 7586 cut-off 30
at 11725 beside till push v2 good
at 12291 replay 6
at 14626 beside till say Abort
at 15313 push v3 stuck
at 16736 beside till push v3 crash
request 14 throttled 1
request 59 late 13614
request 123 throttled
request 126 swallowed
request 134 failed
request 165 lost
request 175 answerless
request 188 answerless
request 204 swallowed
request 244 late 777
request 260 swallowed
request 274 answerless
request 289 answerless
request 291 answerless
request 305 failed
request 315 swallowed
request 318 swallowed
request 330 swallowed
request 355 answerless
request 364 conflict
request 371 answerless
request 381 lost"#,
    );
}

#[test]
fn what_its_owner_has_taken_back_does_not_come_though_status_could_not_be_written_when_that_was_seen() {
    // Cut off, the operator hears of v2, which was written over the stable v1, and of v1 again at once. That v2 does not come any more is refused by an API server
    // that has too much to do, and the owner's fields were given back all the same: v1 looked like an order then, and v2 was put back.
    told_by(
        13_003_435,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":3,"maxUnavailable":2},"type":"RollingUpdate"}
min-ready 5
deadline 600
release {"criteria":[],"locks":["db"],"steps":[{"name":"pilot","pilot":{"atLeast":1,"nodes":{"matchLabels":{"tier":"pilot"}}},"replicas":1,"soak":"10s"},{"name":"half","replicas":"50%","soak":"10s"}],"watch":[{"every":"1s","for":"3s"}]}
ready-after 1000
policies true
candidates 1
beside 1
at 2974 push v2 good
at 2980 beside till push v2 good
at 2982 beside till push v1 good
at 3823 beside till push v2 good
at 4104 cut-off 15
at 15502 delete-deployment
at 16423 beside till push v1 good
at 17664 make-deployment
at 32008 make-deployment
request 10 lost
request 17 late 9064
request 20 throttled 1
request 26 answerless
request 35 throttled
request 37 late 1874
request 44 answerless
request 51 throttled"#,
    );
}
