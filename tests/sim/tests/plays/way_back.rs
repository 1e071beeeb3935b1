//! On the way back: that the rules about it are looked at where nothing else happens.

use super::told;

#[test]
fn on_an_undisturbed_way_back_every_rule_about_it_is_looked_at_and_holds() {
    let outcome = told("at 1000 push v2 good\nat 30000 say Abort");
    assert_eq!(outcome.end.outcome, "Aborted", "{}", outcome.log.join("\n"));
    for rule in [
        "6 (the way back is open)",
        "8 (enough pods Ready on the way back)",
        "8 (not too many pods on the way back)",
        "8 (stable pods stay on the way back)",
    ] {
        assert!(outcome.looked.contains_key(rule), "{rule}: {:?}", outcome.looked);
    }
}

#[test]
fn a_newer_template_over_which_a_tool_writes_the_version_of_the_run_is_named() {
    let outcome = told(
        "ready-after 20000\nat 1000 push v2 good\nat 70000 say Abort\nat 75000 push v3 good\nat 80000 push-by gitops v2 good",
    );
    let log = outcome.log.join("\n");
    assert_eq!((outcome.end.version, outcome.end.outcome), ("v1".into(), "Aborted".into()), "{log}");
    assert!(log.contains("does not come any more: the version of the run was written after it"), "{log}");
}
