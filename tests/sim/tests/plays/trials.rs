//! Trial pods of whoever died right after having made them.

use super::told;

#[test]
fn a_trial_pod_that_was_made_right_before_its_maker_died_is_the_one_that_is_asked() {
    let release = r#"{"criteria":[],"preflight":[{"job":{"template":{"spec":{"backoffLimit":0,"template":{"spec":{"containers":[{"image":"c","name":"c"}],"restartPolicy":"Never"}}}}},"name":"backup"},{"http":{"podPath":"/version","podPort":8080},"name":"starts"}],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"every":"1s","for":"5s"}]}"#;
    for writes in 1..=3 {
        let story = format!("replicas 1\nrelease {release}\nat 1778 push v3 good\nat 3030 kill {writes}");
        let outcome = told(&story);
        let log = outcome.log.join("\n");
        assert_eq!(log.matches(" made jobs/shop-trial-pod").count(), 1, "{writes}\n{log}");
        assert_eq!(outcome.end.outcome, "Succeeded", "{writes}\n{log}");
    }
}
