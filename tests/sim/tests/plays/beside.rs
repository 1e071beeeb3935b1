//! What is done beside an undo: hooks, evidence, quarantine.

use std::collections::BTreeSet;

use tidegate_sim::play::Outcome;

use super::{orders, told, told_by};

const BESIDE: &str = r#""undo":{"hooks":[{"name":"flag","http":{"url":"http://flags.shop/new"}},{"name":"map","configMap":{"name":"flags","key":"new","value":"off"}},{"name":"dump","job":{"template":{"spec":{"template":{"spec":{}}}}}}],"evidence":{"pods":3},"validate":{"for":"5s","checks":[{"name":"smoke","http":{"podPath":"/healthz"}}]},"quarantine":{"pods":2,"for":"20s"}}"#;

#[test]
fn nothing_that_is_done_beside_an_undo_keeps_it_waiting() {
    let steps = r#""criteria":[],"steps":[{"name":"half","replicas":"50%","soak":"5m"}],"watch":[{"for":"3s","every":"1s"}]"#;
    for (conduct, more) in [("crash", ""), ("good", "\nat 20000 say Abort")] {
        let story = |release: &str, flags: &str| {
            format!(
                "release {{{release}}}\nat 500 flags {flags}\nat 1000 push v2 {conduct}{more}\nat 120000 flags honest"
            )
        };
        let (usual, last) = orders(&told(&story(steps, "honest")));
        for flags in ["honest", "down", "slow", "hanging", "failing", "refusing"] {
            let outcome = told(&story(&format!("{steps},{BESIDE}"), flags));
            let (orders, then) = orders(&outcome);
            assert_eq!(orders, usual, "{conduct}, {flags}\n{}", outcome.log.join("\n"));
            assert!(then < last + 0.5, "{conduct}, {flags}: {then} s, usually {last} s");
            assert_eq!(outcome.end.jobs, 1, "{conduct}, {flags}\n{}", outcome.log.join("\n"));
        }
    }
}

/// Pods that were taken out of their ReplicaSet.
fn kept(outcome: &Outcome) -> usize {
    pods(outcome, "wrote pods/")
}

/// To how many pods the operator has done this.
fn pods(outcome: &Outcome, what: &str) -> usize {
    let pod = |line: &'_ String| Some(line.split_once(what)?.1.to_owned());
    outcome.log.iter().filter_map(pod).collect::<BTreeSet<_>>().len()
}

#[test]
fn pods_in_quarantine_are_out_of_everything_and_gone_when_their_time_is_over() {
    for more in ["", "\nat 22000 kill 0", "\nat 25000 delete-release", "\nat 25000 delete-deployment"] {
        let outcome = told(&format!(
            r#"release {{"criteria":[],"steps":[{{"name":"half","replicas":"50%","soak":"5m"}}],"watch":[{{"for":"3s","every":"1s"}}],{BESIDE}}}
at 1000 push v2 good
at 20000 say Abort{more}
at 60000 flags honest"#
        ));
        assert_eq!(kept(&outcome), 2, "{more}\n{}", outcome.log.join("\n"));
        let wanted = if more.contains("deployment") { 0 } else { 2 };
        assert_eq!(pods(&outcome, "deleted pods/"), wanted, "{more}\n{}", outcome.log.join("\n"));
    }
}

#[test]
fn the_last_pod_that_serves_is_not_taken_into_quarantine() {
    let story = |undo: &str| {
        format!(
            r#"replicas 1
strategy {{"type":"RollingUpdate","rollingUpdate":{{"maxSurge":1,"maxUnavailable":0}}}}
release {{"criteria":[],"steps":[{{"name":"all","replicas":"100%"}}],"watch":[{{"for":"5m","every":"5s"}}],"undo":{{{undo}"quarantine":{{"pods":2,"for":"20s"}}}}}}
at 1000 push v2 good
at 20000 say Abort"#
        )
    };
    let usual = told(&story(""));
    assert_eq!((kept(&usual), &usual.end.version), (0, &"v1".into()), "{}", usual.log.join("\n"));
    let at_once = told(&story(r#""capacity":"MitigateFirst","#));
    assert_eq!(kept(&at_once), 1, "{}", at_once.log.join("\n"));
}

#[test]
fn an_operator_that_is_killed_after_each_write_comes_to_an_end_whatever_its_hooks_write() {
    let outcome = told(&format!(
        r#"release {{"criteria":[],"steps":[{{"name":"half","replicas":"50%","soak":"5m"}}],"watch":[{{"for":"3s","every":"1s"}}],{BESIDE}}}
at 0 mortal 1
at 1000 push v2 stuck
at 20000 say Abort"#
    ));
    assert_eq!(outcome.end.phase, "Rejected", "{}", outcome.log.join("\n"));
}

/// Both Releases count their runs from 1.
#[test]
fn a_release_that_is_made_anew_keeps_pods_and_calls_hooks_of_its_own() {
    let outcome = told_by(
        83991,
        r#"replicas 16
strategy {"rollingUpdate":{"maxSurge":0,"maxUnavailable":"25%"},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"some","replicas":3},{"name":"all","replicas":"100%"}],"undo":{"hooks":[{"http":{"url":"http://flags.shop/new"},"name":"flag"}],"quarantine":{"for":"5s","pods":3}},"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
at 7280 push v2 crash
at 122873 delete-release
at 135457 make-release
at 151486 push v4 crash"#,
    );
    assert_eq!(kept(&outcome), 6, "{}", outcome.log.join("\n"));
    assert_eq!(pods(&outcome, "deleted pods/"), 6, "{}", outcome.log.join("\n"));
}

#[test]
fn pods_of_a_template_that_is_seen_for_the_first_time_leave_the_service_in_quarantine_too() {
    let outcome = told_by(
        114_491,
        r#"replicas 3
strategy {"rollingUpdate":{"maxSurge":"25%","maxUnavailable":4},"type":"RollingUpdate"}
release {"criteria":[],"steps":[{"name":"tenth","replicas":"10%","soak":"2s"},{"name":"all","replicas":"100%"}],"undo":{"quarantine":{"for":"1m","pods":1}},"watch":[{"every":"1s","for":"20s"}]}
ready-after 1000
policies false
at 1378 push v2 stuck
at 2163 hold-watches 4059
at 2383 push v3 good
at 3161 say Abort"#,
    );
    assert_eq!(kept(&outcome), 1, "{}", outcome.log.join("\n"));
}

/// What it had begun another may have gone on with: it begins anew what status does not say is done.
#[test]
fn an_operator_that_leads_again_calls_a_hook_again_of_which_no_status_says_that_it_is_done() {
    let outcome = told_by(
        300_766,
        r#"release {"criteria":[],"steps":[{"name":"all","replicas":"100%"}],"undo":{"hooks":[{"http":{"url":"http://flags.shop/new"},"name":"flag"}],"validate":{"for":"20s"}},"watch":[{"every":"1s","for":"20s"}]}
deadline 30
candidates 1
at 8976 push v2 stuck
at 20389 flags hanging
at 47024 cut-off 11"#,
    );
    assert_eq!(outcome.end.outcome, "Undone", "{}", outcome.log.join("\n"));
}

/// Both count their runs from 1, and both hooks are called at the same time: the first is answered late, the second not as it should be.
#[test]
fn what_came_of_a_hook_is_not_taken_for_what_came_of_the_hook_of_a_release_made_anew() {
    let outcome = told(
        r#"release {"criteria":[],"steps":[{"name":"half","replicas":"50%","soak":"5m"}],"undo":{"hooks":[{"http":{"url":"http://flags.shop/new"},"name":"flag"}]},"watch":[{"for":"3s","every":"1s"}]}
at 500 flags slow
at 1000 push v2 good
at 20000 say Abort
at 20500 flags failing
at 21000 delete-release
at 21500 make-release
at 23000 push v3 good
at 26000 say Abort
at 70000 flags honest"#,
    );
    let failed = |line: &&String| line.contains("hook flag failed");
    assert_eq!(outcome.log.iter().filter(failed).count(), 1, "{}", outcome.log.join("\n"));
}
