//! Who begins to lead has not heard of one kind for a while: what it misses is there, and a run of it is under way.

use super::told;

/// The version of a run that is under way when another process begins to lead, whose watch of one kind is behind, goes out all the same.
fn goes_out(before: &str) {
    let mut took_over = false;
    // Who is asked to stop may have a look under way, and the other one asks for the Lease every half second.
    for restart in [11_000, 11_250, 11_500] {
        let outcome = told(&format!(
            "candidates 2\n{before}\nat 9000 push v2 good\nat {restart} restart\nat 200000 pages honest"
        ));
        let log = outcome.log.join("\n");
        let (version, end) = (&outcome.end.version, &outcome.end.outcome);
        assert_eq!((version, end), (&"v2".into(), &"Succeeded".into()), "{restart}\n{log}");
        let (_, after) = log.split_once("-- restart").expect("it is in the story");
        took_over |= after.contains("operator 1 wrote deployments/shop");
    }
    assert!(took_over, "nobody began to lead whose watch was behind");
}

#[test]
fn a_release_that_who_begins_to_lead_has_not_heard_of_is_not_gone() {
    // It is made anew when the standby hears of no Release any more, which it does again ten seconds after it has seen that a run is under way.
    goes_out("at 500 delete-release\nat 1000 hold-standby releases 60000\nat 3000 make-release");
}

#[test]
fn a_deployment_that_who_begins_to_lead_has_not_heard_of_was_not_deleted() {
    goes_out("at 1000 hold-standby deployments 60000\nat 1500 delete-deployment\nat 3000 make-deployment");
}
