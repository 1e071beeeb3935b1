//! Nodes that have no room for a pod more: who makes room for whom on the way back.

use tidegate_sim::play::Outcome;

use super::{second, told, told_by};

#[test]
fn on_full_nodes_a_bad_version_makes_room_for_the_one_that_comes_back() {
    // Where one may be unavailable it leaves its place; where none may, none does before it is known that there is no room.
    for (strategy, by) in [
        (r#"{"maxSurge":0,"maxUnavailable":1}"#, 21.0..45.0),
        (r#"{"maxSurge":1,"maxUnavailable":0}"#, 51.0..90.0),
    ] {
        let strategy = format!(r#"{{"type":"RollingUpdate","rollingUpdate":{strategy}}}"#);
        let steps = r#"release {"criteria":[],"steps":[{"name":"half","replicas":"50%","soak":"60s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"3s","every":"1s"}]}"#;
        let outcome = told(&format!(
            "strategy {strategy}\n{steps}\nat 1000 push v2 good\nat 20000 room 4\nat 21000 say Abort\nat 120000 room 4"
        ));
        let undone = second(&outcome, "\"stable serves; run r1 was aborted");
        assert!(undone.is_some_and(|second| by.contains(&second)), "{undone:?}\n{}", outcome.log.join("\n"));
    }
}

/// All pods are of the new version, and the nodes have room for two more: the watchman sees that no more are taken than their owner allows.
#[test]
fn on_nodes_that_are_nearly_full_pods_that_go_leave_their_places_and_make_no_more_room() {
    for what in ["say Abort", "push v3 good", "delete-release"] {
        let outcome = told(&format!(
            r#"replicas 10
release {{"criteria":[],"steps":[{{"name":"all","replicas":"100%","soak":"60s"}}],"watch":[{{"for":"3s","every":"1s"}}]}}
ready-after 3000
at 1000 push v2 good
at 40000 room 12
at 45000 {what}
at 150000 room 12"#
        ));
        let end =
            if what == "delete-release" { "deleted controllerrevisions/" } else { "made releasereports/" };
        let ended = second(&outcome, end);
        assert!(ended.is_some_and(|at| (45.0..75.0).contains(&at)), "{what}\n{}", outcome.log.join("\n"));
        assert!(outcome.looked.contains_key("8 (enough pods Ready on the way back)"), "{what}");
    }
}

#[test]
fn on_full_nodes_the_last_pod_that_serves_waits_for_a_stable_one() {
    let outcome = told(
        r#"replicas 5
strategy {"type":"RollingUpdate","rollingUpdate":{"maxSurge":0,"maxUnavailable":4}}
min-ready 1
release {"criteria":[],"steps":[{"name":"some","replicas":3},{"name":"most","replicas":"80%","soak":"10s"},{"name":"all","replicas":"100%","soak":"3s"}],"watch":[{"every":"1s","for":"3s"}]}
ready-after 4000
at 754 room 5
at 3631 push v2 good
at 31544 push v3 good"#,
    );
    assert_eq!(outcome.end.version, "v3", "{}", outcome.log.join("\n"));
}

/// On nodes that have no room for a pod more a Release is deleted in mid-run.
const NO_ROOM: &str = r#"replicas 2
strategy {"rollingUpdate":{"maxSurge":4,"maxUnavailable":0},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"some","replicas":3},{"name":"most","replicas":"80%","soak":"10s"},{"name":"all","replicas":"100%","soak":"3s"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
at 1795 push v2 errors
at 5986 room 2
at 15581 delete-release"#;

#[test]
fn on_full_nodes_a_deleted_release_makes_room_for_the_stable_pods_too() {
    let outcome = told_by(45283, &format!("{NO_ROOM}\nat 90000 room 2"));
    let deleted = second(&outcome, "operator 0 deleted controllerrevisions/");
    assert!(deleted.is_some_and(|second| second < 60.0), "{deleted:?}\n{}", outcome.log.join("\n"));
    told_by(45283, &format!("{NO_ROOM}\nat 19843 make-release\nat 25264 push v3 stuck"));
}

#[test]
fn a_release_that_is_made_anew_while_the_last_one_goes_back_brings_that_to_its_end_before_a_newer_template_goes_out()
 {
    for (made, pushed) in [(15_700, 15_800), (15_700, 17_000), (17_000, 17_100), (15_800, 15_700)] {
        for conduct in ["good", "stuck"] {
            let push = format!("at {pushed} push v3 {conduct}");
            let make = format!("at {made} make-release");
            let more = if made < pushed { [make, push] } else { [push, make] }.join("\n");
            let outcome = told_by(45283, &format!("{NO_ROOM}\n{more}"));
            if made < pushed {
                let end = if conduct == "good" { ("v3", "Idle") } else { ("v1", "Rejected") };
                let found = (outcome.end.version.as_str(), outcome.end.phase.as_str());
                assert_eq!(found, (Some(end.0), Some(end.1)), "{more}\n{}", outcome.log.join("\n"));
            }
        }
    }
}

/// The only pod that there is to be is of the new version when the nodes are full, and it has to go back. `undo`: of the Release.
fn only_pod(undo: &str, what: &str) -> Outcome {
    told_by(
        80520,
        &format!(
            r#"replicas 1
strategy {{"rollingUpdate":{{"maxSurge":4,"maxUnavailable":"10%"}},"type":"RollingUpdate"}}
release {{"criteria":[],"undo":{undo},"steps":[{{"name":"pilot","replicas":1,"soak":"30s"}},{{"name":"half","replicas":"50%","soak":"30s"}}],"watch":[{{"every":"1s","for":"20s"}}]}}
ready-after 1000
at 14166 push v2 good
at 37533 room 1
at 40170 {what}
at 150000 room 1"#
        ),
    )
}

#[test]
fn on_full_nodes_the_only_pod_serves_on_while_a_newer_template_waits_for_room() {
    let begins = |outcome: &Outcome| second(outcome, "run r2: owner changed the template");
    for (conduct, end) in [("crash", "v1"), ("good", "v3")] {
        let outcome = only_pod("{}", &format!("push v3 {conduct}"));
        assert_eq!(outcome.end.version, end, "{}", outcome.log.join("\n"));
        // There is room when the story is over.
        assert!(begins(&outcome).is_some_and(|second| second > 150.0), "{}", outcome.log.join("\n"));
    }
    // When it serves no more it makes room.
    let outcome = only_pod("{}", "push v3 good\nat 50000 flap 1 60");
    assert!(begins(&outcome).is_some_and(|second| second < 60.0), "{}", outcome.log.join("\n"));
}

#[test]
fn on_full_nodes_the_only_pod_makes_room_after_a_while_where_it_is_to_go_for_good() {
    for (what, end) in
        [("say Abort", "made releasereports/"), ("delete-release", "deleted controllerrevisions/")]
    {
        let outcome = only_pod("{}", what);
        let ended = second(&outcome, end);
        assert!(ended.is_some_and(|at| (70.0..110.0).contains(&at)), "{what}\n{}", outcome.log.join("\n"));
    }
    // Its author wants somebody to serve, whatever it is.
    let outcome = only_pod(r#"{"capacity":"CapacityFirst"}"#, "say Abort");
    let ended = second(&outcome, "made releasereports/");
    assert!(ended.is_some_and(|second| second > 150.0), "{}", outcome.log.join("\n"));
    assert_eq!(outcome.end.version, "v1", "{}", outcome.log.join("\n"));
}

#[test]
fn the_only_pod_makes_no_room_where_the_pod_before_it_is_about_to_leave_its_own() {
    for what in ["push v3 good", "say Abort", "delete-release"] {
        told_by(
            131_590,
            &format!(
                r#"replicas 1
strategy {{"rollingUpdate":{{"maxSurge":4,"maxUnavailable":0}},"type":"RollingUpdate"}}
release {{"criteria":[],"steps":[{{"name":"pilot","replicas":1,"soak":"20s"}},{{"name":"half","replicas":"50%","soak":"20s"}}],"watch":[{{"every":"5s","for":"30s"}}]}}
ready-after 500
at 875 room 2
at 1422 push v2 good
at 1962 {what}
at 3097 drop-watches"#
            ),
        );
    }
}

#[test]
fn the_only_pod_has_made_room_also_where_there_is_room_a_moment_later() {
    told_by(
        759_424,
        r#"replicas 1
strategy {"rollingUpdate":{"maxSurge":4,"maxUnavailable":0},"type":"RollingUpdate"}
deadline 600
release {"criteria":[],"steps":[{"name":"some","replicas":3},{"name":"most","replicas":"80%","soak":"30s"},{"name":"all","replicas":"100%","soak":"3s"}],"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
at 943 push v2 good
at 16936 room 1
at 30177 say Abort
at 60520 push v3 errors"#,
    );
}

#[test]
fn room_that_nobody_has_been_told_of_makes_no_order_wrong() {
    // The native controllers sleep while there is room again.
    told_by(
        19231,
        r#"replicas 4
strategy {"rollingUpdate":{"maxSurge":1,"maxUnavailable":0},"type":"RollingUpdate"}
min-ready 0
deadline 600
release {"criteria":[{"errorRate":{"limit":"5%","target":"1%"},"name":"errors"}],"metrics":{"prometheus":{"scrapeInterval":"5s","url":"http://prometheus.monitoring:9090"}},"preflight":[{"job":{"template":{"spec":{"backoffLimit":0,"template":{"metadata":{"annotations":{}},"spec":{"containers":[{"image":"c","name":"c"}],"restartPolicy":"Never"}}}}},"name":"backup"}],"steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"every":"5s","for":"30s"}]}
ready-after 1000
policies true
candidates 0
beside 0
at 12240 push v2 errors
at 19121 room 2
at 23130 prometheus error
at 26593 prometheus honest
at 62898 sleep 3453"#,
    );
}

#[test]
fn pods_that_are_not_heard_have_none_taken_for_them() {
    // Stable pods found no room when pods were heard last, and have found it since.
    told_by(
        8_028_160,
        r#"replicas 10
strategy {"rollingUpdate":{"maxSurge":"25%","maxUnavailable":0},"type":"RollingUpdate"}
min-ready 0
deadline 600
release {"criteria":[{"errorRate":{"limit":"5%","target":"1%"},"name":"errors"}],"steps":[{"name":"pilot","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"every":"5s","for":"30s"}]}
ready-after 1000
policies true
candidates 0
beside 0
page 1
at 327 room 1
at 659 push v2 errors
at 1108 compact
at 1756 room 10
at 3341 drop-watches
at 5304 drain n1 60
at 23762 unread pods 40000
at 114332 drain n2 60
request 58 forgotten
request 70 forgotten
request 87 late 13446"#,
    );
}
