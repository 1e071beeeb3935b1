//! What the owner writes into the fields that a run borrows, and when.

use super::{LOCKED, SIGNED, orders, told, told_by};

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

#[test]
fn an_edit_after_the_fields_were_given_back_and_before_status_says_so_stays() {
    told(&format!(
        "replicas 3\nstrategy {}\n{SIGNED}\nready-after 1000\ncandidates 1\nat 5726 push v2 good\nat 7655 kill 5\nat 13226 push v3 stuck\nat 15737 edit {}\nrequest 7 throttled",
        r#"{"rollingUpdate":{"maxSurge":"50%","maxUnavailable":0},"type":"RollingUpdate"}"#,
        r#"{"rollingUpdate":{"maxSurge":0,"maxUnavailable":"1%"},"type":"RollingUpdate"}"#,
    ));
    // An undo that ends, whatever of it is the last that its process writes.
    for death in 1..14 {
        let story = format!(
            "at 0 kill {death}\nat 500 push v2 stuck\nat 2000 say Abort\nat 3500 edit {}",
            r#"{"rollingUpdate":{"maxSurge":2,"maxUnavailable":0},"type":"RollingUpdate"}"#
        );
        told(&story);
    }
}

#[test]
fn who_unparks_a_deployment_before_status_says_that_a_run_has_it_gets_all_fields_back() {
    told(
        r#"policies false
strategy {"rollingUpdate":{"maxSurge":2,"maxUnavailable":0},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"pilot","replicas":1,"soak":"5s"},{"name":"all","replicas":"100%"}],"watch":[{"every":"5s","for":"3s"}]}
at 3188 push v2 good
at 11093 set {"minReadySeconds":0}
request 3 swallowed"#,
    );
}

#[test]
fn who_applies_server_side_is_refused_in_mid_run_or_insists_and_changes_no_pace() {
    let edited = r#"{"type":"RollingUpdate","rollingUpdate":{"maxSurge":3,"maxUnavailable":0}}"#;
    let begin = format!("{LOCKED}\nat 1000 push v2 good\nat 3500 edit {edited}");
    let refused = told(&format!("{begin}\nat 4000 apply-server-side false"));
    let line = "gitops was refused deployments/shop: conflicts [(\"strategy\", \"tidegate\")]";
    assert!(refused.log.iter().any(|log| log.ends_with(line)), "{}", refused.log.join("\n"));
    let insisted = told(&format!("{begin}\nat 4000 apply-server-side true"));
    assert_eq!(orders(&insisted).0, orders(&refused).0, "{}", insisted.log.join("\n"));
}

#[test]
fn after_a_run_nobody_who_applies_server_side_is_refused_because_of_us() {
    let held_and_edited = r#"strategy {"type":"Recreate"}
release {"criteria":[],"steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"every":"5s","for":"30s"}]}
policies false
at 4121 push v2 good
at 6879 set {"minReadySeconds":2,"progressDeadlineSeconds":45,"strategy":{"rollingUpdate":{"maxSurge":"1%","maxUnavailable":3},"type":"RollingUpdate"}}"#;
    let undone = format!("{LOCKED}\nat 1000 push v2 crash");
    for story in [held_and_edited, &undone] {
        let outcome = told(&format!("{story}\nat 300000 apply-server-side false"));
        let applied = |line: &String| line.contains("gitops wrote deployments/shop");
        assert!(outcome.log.iter().any(applied), "{}", outcome.log.join("\n"));
    }
}

#[test]
fn a_strategy_that_somebody_writes_in_mid_run_without_policies_brings_no_pods() {
    let outcome = told(
        r#"replicas 3
strategy {"type":"Recreate"}
release {"criteria":[],"preflight":[{"job":{"template":{"spec":{"backoffLimit":0,"template":{"metadata":{"annotations":{}},"spec":{"containers":[{"image":"c","name":"c"}],"restartPolicy":"Never"}}}}},"name":"backup"}],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"3s"}]}
policies false
at 662 push v2 good
at 1432 set {"minReadySeconds":2,"progressDeadlineSeconds":45,"strategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":3},"type":"RollingUpdate"}}"#,
    );
    assert_eq!(outcome.end.version, "v2", "{}", outcome.log.join("\n"));
}

#[test]
fn an_edit_that_comes_before_status_says_that_a_run_has_the_fields_is_the_owners_word_on_what_may_be_missing()
{
    told_by(
        74144,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":"1%","maxUnavailable":0},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"pilot","replicas":1,"soak":"10s"},{"name":"half","replicas":"50%","soak":"30s"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
policies false
at 4680 push v2 stuck
at 7903 set {"minReadySeconds":2,"progressDeadlineSeconds":45,"strategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":1},"type":"RollingUpdate"}}
request 1 swallowed"#,
    );
    // And what they write is the pace of the hold.
    told_by(
        7_004_683,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":2,"maxUnavailable":0},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"pilot","replicas":1,"soak":"10s"},{"name":"half","replicas":"50%","soak":"30s"}],"watch":[{"every":"1s","for":"3s"}]}
ready-after 1000
policies false
at 5632 push v2 missing
at 13649 set {"minReadySeconds":2,"progressDeadlineSeconds":45,"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":0},"type":"RollingUpdate"}}
request 1 swallowed"#,
    );
}

#[test]
fn a_pause_that_somebody_says_where_nothing_is_parked_is_not_taken_for_the_owners() {
    // All pods are out and the fields are given back, and who did so is killed before status says it.
    for then in ["", r#"at 4165 set {"progressDeadlineSeconds":30}"#] {
        let story = r#"replicas 1
strategy {"type":"Recreate"}
release {"criteria":[],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
candidates 2
at 1129 push v2 good
at 2207 kill 1
at 3711 say Pause
"#;
        let outcome = told_by(6_017_321, &format!("{story}{then}"));
        let log = outcome.log.join("\n");
        assert!(
            log.contains("alice: Pause: standing still") && !log.contains("was changed in mid-run"),
            "{log}"
        );
        assert_eq!(outcome.end.outcome, "Succeeded", "{log}");
    }
}

#[test]
fn a_pause_that_somebody_says_when_the_fields_were_given_back_unheard_leaves_them_noted() {
    let outcome = told_by(
        9_021_413,
        r#"replicas 16
strategy {"rollingUpdate":{"maxSurge":"25%","maxUnavailable":2},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"tenth","replicas":"10%","soak":"2s"},{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
at 12836 push v2 good
at 21336 say Pause
at 46616 delete-release
request 2 answerless
request 18 answerless"#,
    );
    let log = outcome.log.join("\n");
    assert!(log.contains("alice: Pause: standing still") && !log.contains("is missing in mid-run"), "{log}");
    assert_eq!(outcome.end.version, "v1", "{log}");
}

#[test]
fn a_pause_of_the_owners_stays_when_nothing_is_going_on_and_when_nobody_paces_it_any_more() {
    for end in ["", "at 20000 say HandBack", "at 20000 delete-release"] {
        told(&format!("at 1000 pause true\n{end}"));
    }
}

#[test]
fn a_newer_template_that_fields_of_the_owners_are_taken_to_take_back_is_named() {
    let outcome = told_by(
        403_084,
        r#"replicas 20
strategy {"type":"Recreate"}
min-ready 0
deadline 60
release {"criteria":[],"onDelete":"Finish","preflight":[{"job":{"template":{"spec":{"backoffLimit":0,"template":{"metadata":{"annotations":{}},"spec":{"containers":[{"image":"c","name":"c"}],"restartPolicy":"Never"}}}}},"name":"backup"}],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"3s"}]}
ready-after 20000
policies false
candidates 0
beside 0
page 5
refuses-old true
at 2428 push v2 crash
at 4754 replay 5
at 5294 push v3 errors
at 6894 set {"minReadySeconds":2,"progressDeadlineSeconds":45,"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":1},"type":"RollingUpdate"}}
request 56 throttled
request 66 answerless"#,
    );
    let log = outcome.log.join("\n");
    assert!(log.contains("(shop:v3) does not come any more"), "{log}");
}

#[test]
fn what_was_handed_back_before_its_label_was_heard_of_is_held_by_nobody() {
    told_by(
        640_241,
        r#"replicas 4
strategy {"type":"Recreate"}
min-ready 0
deadline 600
release {"criteria":[],"steps":[{"name":"tenth","replicas":"10%","soak":"30s"},{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
policies true
candidates 0
beside 2
at 1018 push v2 good
at 1021 beside depot say Resume
at 4103 push v3 good
at 9609 restart
at 15583 delete-deployment
at 16844 beside till push v2 good
at 20527 beside till scale 0
at 20735 make-deployment
at 28048 push v4 errors
at 29608 say HandBack
request 9 failed
request 20 answerless
request 22 answerless
request 24 throttled 1
request 36 forgotten
request 39 forgotten
request 62 swallowed"#,
    );
}
