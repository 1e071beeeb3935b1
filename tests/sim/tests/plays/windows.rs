//! Windows and freezes: a run waits for them, and what goes back does not.

use super::told;

const WAITS_FOR_NONE: &str = "6 (the way back waits for no window)";

#[test]
fn what_is_frozen_and_closed_waits_and_comes_back_at_once_when_it_is_aborted() {
    let blackout =
        r#"amend {"windows":{"blackouts":[{"from":"2027-01-01","to":"2027-01-31","reason":"stocktaking"}]}}"#;
    for (closes, words) in [("freeze true", "freeze stop holds it"), (blackout, "stocktaking")] {
        let outcome = told(&format!(
            "at 1000 push v2 good\nat 10000 {closes}\nat 90000 says {words}\nat 90000 say Abort\nat 120000 pages honest"
        ));
        let log = outcome.log.join("\n");
        assert_eq!(outcome.end.version, "v1", "{log}");
        assert_eq!(outcome.end.outcome, "Aborted", "{log}");
        assert!(outcome.looked.contains_key(WAITS_FOR_NONE), "{:?}\n{log}", outcome.looked);
    }
}

#[test]
fn a_run_that_is_frozen_goes_on_when_nothing_is_frozen_any_more() {
    let outcome = told(
        "at 500 freeze true\nat 1000 push v2 good\nat 60000 says freeze stop holds it\nat 61000 freeze false",
    );
    assert_eq!(outcome.end.outcome, "Succeeded", "{}", outcome.log.join("\n"));
    assert_eq!(outcome.end.version, "v2", "{}", outcome.log.join("\n"));
}
