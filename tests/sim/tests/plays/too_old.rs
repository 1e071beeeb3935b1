//! Lists and watches that go on from what the API server has forgotten (410).

use super::{Outcome, told};

const STEPS: &str = r#"release {"criteria":[],"steps":[{"name":"one","replicas":1,"soak":"5s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"3s","every":"1s"}]}"#;

/// So often somebody was told this.
fn times(outcome: &Outcome, what: &str) -> usize {
    outcome.log.iter().filter(|line| line.contains(" was told of ") && line.contains(what)).count()
}

fn is_out(outcome: &Outcome, version: &str) {
    let (stands, end) = (&outcome.end.version, &outcome.end.outcome);
    assert_eq!((stands, end), (&version.into(), &"Succeeded".into()), "{}", outcome.log.join("\n"));
}

#[test]
fn a_watch_that_begins_too_long_ago_lists_anew_whether_it_is_refused_or_told_so_within_it() {
    for refuses in [false, true] {
        let outcome = told(&format!(
            "refuses-old {refuses}\n{STEPS}\nat 1000 push v2 good\nat 4000 drop-watches\nat 4000 compact\nat 60000 push v3 good"
        ));
        is_out(&outcome, "v3");
        let told = times(&outcome, "too old resource version");
        assert!(told >= 5, "of all kinds only {told} were too old\n{}", outcome.log.join("\n"));
    }
}

#[test]
fn a_list_whose_next_page_is_too_old_begins_anew() {
    let forgotten: Vec<String> = (1..=150).map(|request| format!("request {request} forgotten")).collect();
    let forgotten = forgotten.join("\n");
    for refuses in [false, true] {
        let outcome = told(&format!(
            "page 1\nrefuses-old {refuses}\n{STEPS}\nat 1000 push v2 good\nat 4000 drop-watches\nat 60000 push v3 good\n{forgotten}"
        ));
        is_out(&outcome, "v3");
        let told = times(&outcome, "pods: The provided continue parameter is too old");
        assert!(told > 0, "no page was too old\n{}", outcome.log.join("\n"));
    }
}

#[test]
fn an_api_server_that_gives_fewer_on_a_page_than_it_is_asked_for_says_which_pods_are_pilots() {
    let release = r#"{"criteria":[],"steps":[{"name":"pilot","pilot":{"atLeast":1,"nodes":{"matchLabels":{"tier":"pilot"}}},"replicas":1,"soak":"5s"},{"name":"all","replicas":"100%"}],"watch":[{"every":"5s","for":"10s"}]}"#;
    let outcome = told(&format!("replicas 40\nrelease {release}\npage 1\nat 2000 push v2 good"));
    let log = outcome.log.join("\n");
    assert_eq!(outcome.end.outcome, "Succeeded", "{log}");
    assert!(!log.contains("it cannot be told which pods"), "{log}");
}
