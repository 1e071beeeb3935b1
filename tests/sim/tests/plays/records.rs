//! The record of a run is written before the status that ends it, whatever is refused.

use super::told_by;

/// A run that is aborted as it begins, and what comes right after that, and when.
fn aborted(at: u64, then: &str, refused: &[u64]) {
    let refused: String = refused.iter().map(|request| format!("\nrequest {request} throttled")).collect();
    told_by(
        125_087,
        &format!(
            r#"strategy {{"rollingUpdate":{{"maxSurge":"50%","maxUnavailable":0}},"type":"RollingUpdate"}}
release {{"criteria":[],"steps":[{{"name":"tenth","replicas":"10%","soak":"2s"}},{{"name":"all","replicas":"100%"}}],"watch":[{{"every":"1s","for":"3s"}}]}}
policies false
beside 1
at 653 beside till push v2 good
at 657 beside till say Abort
at {at} beside till {then}
at 60000 pages honest{refused}"#
        ),
    );
}

// Which request is the status that says why it goes back, and which the record, depends on what was written before.

#[test]
fn an_abort_that_is_carried_out_before_status_says_so_leaves_its_record() {
    for request in 8..20 {
        aborted(666, "push v1 good", &[7, 10, request]);
    }
}

#[test]
fn so_does_one_that_somebody_ends_by_a_hand_back() {
    for at in 658..662 {
        for first in 9..13 {
            for second in first + 1..first + 5 {
                aborted(at, "say HandBack", &[7, first, second]);
            }
        }
    }
}
