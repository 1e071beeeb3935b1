//! Single stories in the simulated cluster.

use tidegate_sim::play::{Outcome, play};
use tidegate_sim::story::Story;

fn told(text: &str) -> Outcome {
    let outcome = play(&text.parse().expect("a story"), 1);
    let shown = || format!("{:#?}\n{}\n{}", outcome.violations, outcome.log.join("\n"), outcome.described);
    assert!(outcome.violations.is_empty(), "{}", shown());
    outcome
}

#[test]
fn a_good_version_goes_out_through_the_whole_loop() {
    let outcome = told("at 1000 push v2 good");
    assert_eq!(outcome.end.version, "v2", "{}", outcome.log.join("\n"));
    assert_eq!(outcome.end.outcome, "Succeeded");
}

#[test]
fn a_version_whose_pods_crash_comes_back() {
    let outcome = told("at 1000 push v2 crash");
    assert_eq!(outcome.end.version, "v1", "{}", outcome.log.join("\n"));
    assert_eq!(outcome.end.outcome, "Undone");
    // Its pods crash a second after they start: what waits for anything else is later.
    let ordered = outcome.log.iter().rev().find(|line| line.contains("operator 0 wrote deployments/shop"));
    let seconds: Option<f64> = ordered.and_then(|line| line.split(' ').next()?.parse().ok());
    assert!(seconds.is_some_and(|seconds| seconds < 6.0), "{}", outcome.log.join("\n"));
}

#[test]
fn one_that_is_cut_off_from_the_lease_writes_no_more_when_another_leads() {
    let release = r#"release {"criteria":[],"steps":[{"name":"one","replicas":1,"soak":"20s"},{"name":"half","replicas":"50%","soak":"20s"}],"watch":[{"for":"20s","every":"5s"}]}"#;
    let outcome = told(&format!(
        "candidates 2\n{release}\nat 1000 push v2 good\nat 6000 cut-off 60\nat 90000 pages honest"
    ));
    assert_eq!(outcome.end.outcome, "Succeeded", "{}", outcome.log.join("\n"));
    let wrote = |who: &str| outcome.log.iter().any(|line| line.contains(&format!("{who} wrote deployments")));
    assert!(wrote("operator 0") && wrote("operator 1"), "{}", outcome.log.join("\n"));
}

#[test]
fn what_cannot_be_measured_is_not_promoted_and_not_undone() {
    let release = r#"release {"criteria":[{"name":"errors","errorRate":{"target":"1%","limit":"5%"}}],"steps":[{"name":"one","replicas":1,"soak":"20s"},{"name":"all","replicas":"100%"}],"watch":[{"for":"1m","every":"30s"}]}"#;
    for pages in ["silent", "nonsense"] {
        let outcome =
            told(&format!("{release}\nat 500 pages {pages}\nat 1000 push v2 good\nat 120000 pages {pages}"));
        let moved = |line: &&String| line.contains("operator 0 wrote deployments") && line.contains("\"v2\"");
        let before = outcome.log.iter().take_while(|line| !line.contains("120.")).filter(moved).count();
        assert!(before > 1, "{}", outcome.log.join("\n"));
    }
}

#[test]
fn while_its_watches_bring_nothing_it_does_not_decide_on_what_was_before_its_own_writes() {
    let outcome = told("at 1000 push v2 good\nat 1003 hold-watches 3000\nat 9000 hold-watches 4000");
    assert_eq!(outcome.end.outcome, "Succeeded", "{}", outcome.log.join("\n"));
}

#[test]
fn a_job_that_failed_is_run_once_more_when_somebody_says_retry() {
    let job = r#"{"name":"backup","job":{"template":{"spec":{"template":{"metadata":{"annotations":{"fails":"true"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"c"}]}}}}}}"#;
    let release = format!(
        r#"release {{"criteria":[],"preflight":[{job}],"steps":[{{"name":"all","replicas":"100%"}}],"watch":[{{"for":"3s","every":"1s"}}]}}"#
    );
    let outcome =
        told(&format!("{release}\nat 1000 push v2 good\nat 20000 say Retry\nat 60000 pages honest"));
    assert_eq!(outcome.end.jobs, 2, "{}", outcome.log.join("\n"));
}

#[test]
fn a_rejected_version_that_is_applied_again_is_held_and_no_run_begins() {
    let outcome = told("at 1000 push v2 crash\nat 20000 apply\nat 40000 apply");
    assert_eq!(outcome.end.phase, "Rejected", "{}", outcome.log.join("\n"));
    assert!(!outcome.log.iter().any(|line| line.contains("run r2")), "{}", outcome.log.join("\n"));
}

#[test]
fn a_version_that_answers_with_errors_comes_back_by_what_its_pods_say() {
    let release = r#"release {"criteria":[{"name":"errors","errorRate":{"target":"1%","limit":"5%"}}],"steps":[{"name":"one","replicas":1,"soak":"2m"},{"name":"all","replicas":"100%"}],"watch":[{"for":"1m","every":"30s"}]}"#;
    let outcome = told(&format!("{release}\nat 1000 push v2 errors"));
    assert_eq!(outcome.end.version, "v1", "{}", outcome.log.join("\n"));
    assert_eq!(outcome.end.outcome, "Undone");
    let good = told(&format!("{release}\nat 1000 push v2 good"));
    assert_eq!(good.end.outcome, "Succeeded", "{}", good.log.join("\n"));
}

#[test]
fn a_story_told_twice_is_the_same_story_to_the_last_write() {
    let text = "candidates 2\nat 1000 push v2 good\nat 20000 kill 2\nat 30000 scale 7\nat 31000 cut-off 20\nrequest 60 swallowed\nrequest 90 late 4000\nrequest 95 throttled";
    let story: Story = text.parse().expect("a story");
    let (one, other) = (play(&story, 3), play(&story, 3));
    assert_eq!(one.log, other.log);
    assert!(one.writes > 5, "{}", one.log.join("\n"));
    assert_eq!(story.to_string().parse::<Story>().as_ref(), Ok(&story));
}
