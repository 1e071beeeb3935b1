//! Pods, or Jobs, cannot be listed and watched for minutes, while everything else goes on; a version fails meanwhile, or does not.

use super::{Outcome, second, told};

/// Pods of v2 fail a second after they are not heard any more.
fn fails_unheard(steps: &str, watch: &str) -> Outcome {
    let release =
        format!(r#"release {{"criteria":[],"steps":[{steps}],"watch":[{{"for":"{watch}","every":"5s"}}]}}"#);
    let outcome = told(&format!(
        "{release}\nat 1000 push v2 good\nat 30000 unread pods 600000\nat 31000 fail\nat 600000 says has not been heard since\nat 630000 receivers honest\nat 700000 pages honest"
    ));
    let log = outcome.log.join("\n");
    assert_eq!(outcome.end.outcome, "Undone", "{log}");
    assert_eq!(outcome.end.version, "v1", "{log}");
    let heard = second(&outcome, "-- receivers honest").expect("it is in the story");
    let undone = second(&outcome, "was undone: ").expect("it is told");
    assert!((heard..heard + 60.0).contains(&undone), "heard at {heard} s, undone at {undone} s\n{log}");
    outcome
}

#[test]
fn a_version_that_fails_unheard_in_a_soak_goes_no_further_and_is_undone_once_it_is_heard() {
    let steps = r#"{"name":"one","replicas":1,"soak":"1m"},{"name":"all","replicas":"100%"}"#;
    let outcome = fails_unheard(steps, "5s");
    assert_eq!(second(&outcome, "step one passed"), None, "{}", outcome.log.join("\n"));
}

#[test]
fn a_version_that_fails_unheard_in_the_watch_does_not_become_stable() {
    fails_unheard(r#"{"name":"all","replicas":"100%"}"#, "2m");
}

#[test]
fn watches_that_break_off_for_some_seconds_hold_nothing() {
    let outcome = told(
        "at 1000 push v2 good\nat 20000 unread pods 3000\nat 90000 drop-watches\nat 120000 unread replicasets 3000\nat 300000 pages honest",
    );
    let log = outcome.log.join("\n");
    assert_eq!(outcome.end.outcome, "Succeeded", "{log}");
    assert!(!log.contains("has not been heard since"), "{log}");
}

#[test]
fn a_job_of_a_step_that_is_made_unheard_undoes_nothing_and_passes_once_it_is_heard() {
    let job = r#"{"template":{"spec":{"backoffLimit":0,"template":{"spec":{"containers":[{"image":"c","name":"c"}],"restartPolicy":"Never"}}}}}"#;
    let steps = format!(
        r#"{{"name":"one","replicas":1,"checks":[{{"name":"smoke","job":{job}}}]}},{{"name":"all","replicas":"100%"}}"#
    );
    let release =
        format!(r#"release {{"criteria":[],"steps":[{steps}],"watch":[{{"for":"5s","every":"1s"}}]}}"#);
    let outcome = told(&format!(
        "{release}\nat 1000 push v2 good\nat 1500 unread jobs 90000\nat 80000 says has not been heard since\nat 300000 pages honest"
    ));
    let log = outcome.log.join("\n");
    let end = (outcome.end.outcome.as_str(), outcome.end.version.as_str());
    assert_eq!(end, (Some("Succeeded"), Some("v2")), "{log}");
}
