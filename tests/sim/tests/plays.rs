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
