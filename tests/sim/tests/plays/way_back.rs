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
