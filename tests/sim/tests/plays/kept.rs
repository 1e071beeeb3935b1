//! Somebody deletes what keeps a template while it stands in the Deployment.

use super::told;

#[test]
fn a_run_whose_template_is_kept_anew_goes_on_with_it_after_a_while_without_replicas() {
    let release = r#"release {"criteria":[],"steps":[{"name":"half","replicas":"50%","soak":"3m"},{"name":"all","replicas":"100%"}],"watch":[{"every":"5s","for":"30s"}]}"#;
    let outcome = told(&format!(
        "{release}\nat 1000 push v2 good\nat 60000 delete-copy\nat 65000 scale 0\nat 80000 scale 4"
    ));
    let log = outcome.log.join("\n");
    assert_eq!((outcome.end.version, outcome.end.outcome), ("v2".into(), "Succeeded".into()), "{log}");
}

#[test]
fn a_version_whose_template_is_kept_anew_in_the_watch_is_what_the_next_one_goes_back_to() {
    let release = r#"release {"criteria":[],"steps":[{"name":"all","replicas":"100%"}],"watch":[{"every":"5s","for":"10m"}]}"#;
    let outcome =
        told(&format!("{release}\nat 1000 push v2 good\nat 60000 delete-copy\nat 65000 push v3 crash"));
    let log = outcome.log.join("\n");
    assert_eq!((outcome.end.version, outcome.end.outcome), ("v2".into(), "Undone".into()), "{log}");
}
